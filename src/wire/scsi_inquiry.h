/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi_inquiry.h: what INQUIRY returns: standard data and vital product data pages. Field names are the standard's. */
#ifndef WIRE_SCSI_INQUIRY_H
#define WIRE_SCSI_INQUIRY_H

#include "wire/layout.h"

/* --- standard data --------------------------------------------------------------------------------------- */

struct scsi_inquiry_data {
	uint8_t peripheral;      /* qualifier << 5 | device type */
	uint8_t rmb;             /* bit 7: removable medium; bit 6: part of a conglomerate */
	uint8_t version;
	uint8_t format;          /* NORMACA, HISUP, response data format 2 */
	uint8_t additional_length;
	uint8_t flags5, flags6, flags7;
	char vendor[8];
	char product[16];
	char revision[4];
	uint8_t vs36[20];
	uint8_t rsvd56[2];
	be16 version_descriptors[8];
	uint8_t rsvd74[22];
};
WIRE_SIZE(struct scsi_inquiry_data, 96);
WIRE_AT(struct scsi_inquiry_data, vendor, 8);
WIRE_AT(struct scsi_inquiry_data, version_descriptors, 58);

enum {
	SCSI_TYPE_DISK = 0x00,
	SCSI_TYPE_WELL_KNOWN = 0x1e,
	SCSI_TYPE_UNKNOWN = 0x1f,
	SCSI_QUALIFIER_NO_LU = 3 << 5,   /* the target port cannot have a logical unit there */
};
enum { SCSI_VERSION_SPC4 = 0x06 };
enum { SCSI_INQ_FORMAT_2 = 2, SCSI_INQ_HISUP = 1 << 4, SCSI_INQ_NORMACA = 1 << 5 };
enum { SCSI_INQ5_PROTECT = 1 << 0, SCSI_INQ5_3PC = 1 << 3, SCSI_INQ5_TPGS_IMPLICIT = 1 << 4,
	SCSI_INQ5_TPGS_EXPLICIT = 2 << 4 };
enum { SCSI_INQ6_MULTIP = 1 << 4 };
enum { SCSI_INQ7_CMDQUE = 1 << 1 };
/* SPC's table of version descriptors: a standard, no version of it claimed. */
enum scsi_version_descriptor {
	SCSI_VERSION_DESC_SAM5 = 0x00a0,
	SCSI_VERSION_DESC_SPC4 = 0x0460,
	SCSI_VERSION_DESC_SBC3 = 0x04c0,
	SCSI_VERSION_DESC_ISCSI = 0x0960,
};

/* --- vital product data -------------------------------------------------------------------------------------- */

enum scsi_vpd {
	SCSI_VPD_SUPPORTED = 0x00,
	SCSI_VPD_SERIAL = 0x80,
	SCSI_VPD_DEVICE_ID = 0x83,
	SCSI_VPD_EXTENDED = 0x86,
	SCSI_VPD_MODE_POLICY = 0x87,
	SCSI_VPD_PORTS = 0x88,
	SCSI_VPD_THIRD_PARTY_COPY = 0x8f,
	SCSI_VPD_BLOCK_LIMITS = 0xb0,
	SCSI_VPD_BLOCK_CHARACTERISTICS = 0xb1,
	SCSI_VPD_PROVISIONING = 0xb2,
};

struct scsi_vpd_header {
	uint8_t peripheral;
	uint8_t page;
	be16 length;
};
WIRE_SIZE(struct scsi_vpd_header, 4);

/* 83h, 88h: a designator. */
struct scsi_designator {
	uint8_t code_set;        /* protocol << 4 | enum scsi_code_set */
	uint8_t type;            /* PIV, association << 4 | enum scsi_designator_type */
	uint8_t rsvd2;
	uint8_t length;
	uint8_t value[];
};
WIRE_SIZE(struct scsi_designator, 4);
enum scsi_code_set { SCSI_CODE_BINARY = 1, SCSI_CODE_ASCII = 2, SCSI_CODE_UTF8 = 3 };
enum { SCSI_ASSOC_LU = 0 << 4, SCSI_ASSOC_PORT = 1 << 4, SCSI_ASSOC_DEVICE = 2 << 4, SCSI_DESIGNATOR_PIV = 1 << 7 };
enum scsi_designator_type {
	SCSI_DESIGNATOR_VENDOR = 0x0,
	SCSI_DESIGNATOR_T10 = 0x1,
	SCSI_DESIGNATOR_EUI64 = 0x2,
	SCSI_DESIGNATOR_NAA = 0x3,
	SCSI_DESIGNATOR_RELATIVE_PORT = 0x4,
	SCSI_DESIGNATOR_PORT_GROUP = 0x5,
	SCSI_DESIGNATOR_LU_GROUP = 0x6,
	SCSI_DESIGNATOR_NAME = 0x8,
	SCSI_DESIGNATOR_UUID = 0xa,
};
enum { SCSI_NAA_LOCAL = 0x3 };

struct scsi_vpd_extended {
	struct scsi_vpd_header h;
	uint8_t checks;          /* SPT and protection checks */
	uint8_t flags5, flags6, flags7, flags8;
	uint8_t microcode;
	be16 self_test_minutes;
	uint8_t flags12;
	uint8_t sense_length_max;
	uint8_t rsvd14[50];
};
WIRE_SIZE(struct scsi_vpd_extended, 64);
enum { SCSI_EXT5_SIMPSUP = 1 << 0, SCSI_EXT5_ORDSUP = 1 << 1, SCSI_EXT5_HEADSUP = 1 << 2 };
enum { SCSI_EXT6_V_SUP = 1 << 0, SCSI_EXT6_NV_SUP = 1 << 1 };

struct scsi_vpd_mode_policy {
	uint8_t page, subpage;
	uint8_t policy;          /* 0: shared by all nexuses */
	uint8_t rsvd3;
};
WIRE_SIZE(struct scsi_vpd_mode_policy, 4);

/* 88h: a port; its initiator transport id (none) and its designators follow each length. */
struct scsi_vpd_port {
	be16 rsvd0, relative_id;
	be16 rsvd4, initiator_length;
	be16 rsvd8, designators_length;
};
WIRE_SIZE(struct scsi_vpd_port, 12);

struct scsi_vpd_block_limits {
	struct scsi_vpd_header h;
	uint8_t wsnz;            /* 1: WRITE SAME of no blocks is refused */
	uint8_t caw_max;
	be16 transfer_granularity;
	be32 transfer_max, transfer_optimal;
	be32 prefetch_max;
	be32 unmap_max, unmap_descriptors_max;
	be32 unmap_granularity;
	be32 unmap_alignment;    /* bit 31: valid */
	be64 write_same_max;
	be32 atomic_max, atomic_alignment, atomic_granularity;
	be32 atomic_boundary_transfer_max, atomic_boundary_max;
};
WIRE_SIZE(struct scsi_vpd_block_limits, 64);
WIRE_AT(struct scsi_vpd_block_limits, unmap_max, 20);
WIRE_AT(struct scsi_vpd_block_limits, write_same_max, 36);
WIRE_AT(struct scsi_vpd_block_limits, atomic_max, 44);

struct scsi_vpd_block_characteristics {
	struct scsi_vpd_header h;
	be16 rotation_rate;      /* 1: does not rotate */
	uint8_t product_type;
	uint8_t form_factor;
	uint8_t flags8;
	uint8_t rsvd9[55];
};
WIRE_SIZE(struct scsi_vpd_block_characteristics, 64);
enum { SCSI_NON_ROTATING = 1, SCSI_BDC8_VBULS = 1 << 0, SCSI_BDC8_FUAB = 1 << 1 };

struct scsi_vpd_provisioning {
	struct scsi_vpd_header h;
	uint8_t threshold_exponent;
	uint8_t flags5;
	uint8_t type;
	uint8_t threshold_percentage;
};
WIRE_SIZE(struct scsi_vpd_provisioning, 8);
enum { SCSI_LBP5_ANC_SUP = 1 << 1, SCSI_LBP5_LBPRZ = 1 << 2, SCSI_LBP5_LBPWS10 = 1 << 5, SCSI_LBP5_LBPWS = 1 << 6,
	SCSI_LBP5_LBPU = 1 << 7 };
enum { SCSI_LBP_FULL = 0, SCSI_LBP_RESOURCE = 1, SCSI_LBP_THIN = 2 };

/* 8Fh: descriptors of the third-party copy page; each a multiple of four bytes long. */
struct scsi_copy_desc {
	be16 type;
	be16 length;
};
WIRE_SIZE(struct scsi_copy_desc, 4);
enum scsi_copy_desc_type {
	SCSI_COPY_DESC_COMMANDS = 0x0001,
	SCSI_COPY_DESC_PARAMETERS = 0x0004,
	SCSI_COPY_DESC_DESCRIPTORS = 0x0008,
	SCSI_COPY_DESC_CSCD_IDS = 0x000c,
	SCSI_COPY_DESC_GENERAL = 0x8001,
	SCSI_COPY_DESC_HELD_DATA = 0xc001,
};
struct scsi_copy_desc_parameters {
	struct scsi_copy_desc h;
	uint8_t rsvd4[4];
	be16 cscd_max, segments_max;
	be32 list_length_max, inline_length_max;
	uint8_t rsvd20[12];
};
WIRE_SIZE(struct scsi_copy_desc_parameters, 32);
struct scsi_copy_desc_general {
	struct scsi_copy_desc h;
	be32 copies_max, identified_copies_max;
	be32 segment_length_max;
	uint8_t segment_granularity; /* log2 */
	uint8_t inline_granularity;
	uint8_t rsvd18[18];
};
WIRE_SIZE(struct scsi_copy_desc_general, 36);
struct scsi_copy_desc_held_data {
	struct scsi_copy_desc h;
	be32 held_data_limit;
	uint8_t held_data_granularity;
	uint8_t rsvd9[23];
};
WIRE_SIZE(struct scsi_copy_desc_held_data, 32);

#endif
