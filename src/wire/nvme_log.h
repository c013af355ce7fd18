/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme_log.h: log pages and the data of features. Field names are the standard's, as in libnvme. */
#ifndef WIRE_NVME_LOG_H
#define WIRE_NVME_LOG_H

#include "wire/layout.h"
#include "wire/nvme_identify.h"

struct nvme_supported_log_pages {
	le32 lid_support[256]; /* bit 0: supported; 1: index offset supported */
};
WIRE_SIZE(struct nvme_supported_log_pages, 1024);

enum { NVME_LID_SUPPORTED = 1 << 0, NVME_LID_INDEX_OFFSET = 1 << 1 };

struct nvme_error_log_page { /* one entry; a page holds them newest first */
	le64 error_count;
	le16 sqid;
	le16 cmdid;
	le16 status_field;
	le16 parm_error_location;
	le64 lba;
	le32 nsid;
	uint8_t vs;
	uint8_t trtype;
	uint8_t rsvd[2];
	le64 cs;
	le16 trtype_spec_info;
	uint8_t rsvd2[22];
};
WIRE_SIZE(struct nvme_error_log_page, 64);

struct nvme_smart_log {
	uint8_t critical_warning;
	le16 temperature; /* Kelvin */
	uint8_t avail_spare;
	uint8_t spare_thresh;
	uint8_t percent_used;
	uint8_t endu_grp_crit_warn_sumry;
	uint8_t rsvd7[25];
	le128 data_units_read; /* of 1000 x 512 bytes, rounded up */
	le128 data_units_written;
	le128 host_reads;
	le128 host_writes;
	le128 ctrl_busy_time;
	le128 power_cycles;
	le128 power_on_hours;
	le128 unsafe_shutdowns;
	le128 media_errors;
	le128 num_err_log_entries;
	le32 warning_temp_time;
	le32 critical_comp_time;
	le16 temp_sensor[8];
	le32 thm_temp1_trans_count;
	le32 thm_temp2_trans_count;
	le32 thm_temp1_total_time;
	le32 thm_temp2_total_time;
	uint8_t rsvd232[280];
};
WIRE_SIZE(struct nvme_smart_log, 512);
enum {
	NVME_SMART_CRIT_SPARE = 1 << 0,
	NVME_SMART_CRIT_TEMPERATURE = 1 << 1,
	NVME_SMART_CRIT_DEGRADED = 1 << 2,
	NVME_SMART_CRIT_MEDIA = 1 << 3,
	NVME_SMART_CRIT_VOLATILE_MEMORY = 1 << 4,
	NVME_SMART_CRIT_PMR_RO = 1 << 5,
};

struct nvme_firmware_slot {
	uint8_t afi; /* bits 0-2: active slot */
	uint8_t rsvd1[7];
	char frs[7][8];
	uint8_t rsvd2[448];
};
WIRE_SIZE(struct nvme_firmware_slot, 512);

/* NVME_LOG_CHANGED_NS is a struct nvme_ns_list; more than fit: its first entry is NVME_NSID_ALL. */

struct nvme_cmd_effects_log {
	le32 acs[256];
	le32 iocs[256];
	uint8_t rsvd[2048];
};
WIRE_SIZE(struct nvme_cmd_effects_log, 4096);
enum {
	NVME_CMD_EFFECTS_CSUPP = 1 << 0,
	NVME_CMD_EFFECTS_LBCC = 1 << 1, /* may change logical blocks */
	NVME_CMD_EFFECTS_NCC = 1 << 2,  /* may change namespace capabilities */
	NVME_CMD_EFFECTS_NIC = 1 << 3,
	NVME_CMD_EFFECTS_CCC = 1 << 4,
	NVME_CMD_EFFECTS_CSE = 3 << 16, /* mask: 1: no other command on the namespace; 2: on any */
	NVME_CMD_EFFECTS_UUID_SEL = 1 << 19,
};
/* Who is affected: of a command or a feature. */
enum { NVME_SCOPE_NS = 1 << 20, NVME_SCOPE_CTRL = 1 << 21, NVME_SCOPE_SUBSYSTEM = 1 << 25 };

struct nvme_fid_supported_effects_log {
	le32 fid_support[256];
};
WIRE_SIZE(struct nvme_fid_supported_effects_log, 1024);
enum {
	NVME_FID_SUPPORTED = 1 << 0,
	NVME_FID_UDCC = 1 << 1, /* may change user data */
	NVME_FID_NCC = 1 << 2,
	NVME_FID_NIC = 1 << 3,
	NVME_FID_CCC = 1 << 4,
};

struct nvme_mi_cmd_effects_log {
	le32 mi_cmd_support[256];
	uint8_t rsvd[3072];
};
WIRE_SIZE(struct nvme_mi_cmd_effects_log, 4096);

enum nvme_ana_state {
	NVME_ANA_OPTIMIZED = 1,
	NVME_ANA_NONOPTIMIZED = 2,
	NVME_ANA_INACCESSIBLE = 3,
	NVME_ANA_PERSISTENT_LOSS = 4,
	NVME_ANA_CHANGE = 15,
};
enum { NVME_LOG_ANA_LSP_RGO = 1 }; /* log specific field: groups only, no namespaces */

struct nvme_ana_group_desc {
	le32 grpid;
	le32 nnsids;
	le64 chgcnt;
	uint8_t state;
	uint8_t rsvd17[15];
	le32 nsids[];
};
WIRE_SIZE(struct nvme_ana_group_desc, 32);

struct nvme_ana_log {
	le64 chgcnt;
	le16 ngrps;
	uint8_t rsvd10[6];
	struct nvme_ana_group_desc descs[]; /* of different lengths */
};
WIRE_SIZE(struct nvme_ana_log, 16);

/* Layout as in nvme-cli's review of the Base Specification 2.3. No witness was found for the values of ccrs, the bits
 * of ccrf (they stay 0) and the bit of the log specific field: docs/FAILOVER.md says what follows if others choose
 * otherwise. */
struct nvme_ccr_log_entry {
	le16 icid;    /* the impacted controller */
	uint8_t ciu;
	uint8_t rsvd3;
	le16 acid;    /* the controller that was asked */
	uint8_t ccrs; /* enum nvme_ccrs */
	uint8_t ccrf;
};
WIRE_SIZE(struct nvme_ccr_log_entry, 8);
enum nvme_ccrs { NVME_CCRS_IN_PROGRESS = 0, NVME_CCRS_SUCCESS = 1, NVME_CCRS_FAILED = 2 };
enum { NVME_LOG_CCR_LSP_RMC = 1 }; /* remove those that have completed */

#define NVME_CCR_LOG_ENTRIES_MAX 511u
struct nvme_ccr_log {
	le16 ne;
	uint8_t rsvd2[6];
	struct nvme_ccr_log_entry entries[];
};
WIRE_SIZE(struct nvme_ccr_log, 8);

struct nvme_resv_notification_log {
	le64 lpc;
	uint8_t rnlpt;
	uint8_t nalp;
	uint8_t rsvd9[2];
	le32 nsid;
	uint8_t rsvd16[48];
};
WIRE_SIZE(struct nvme_resv_notification_log, 64);
enum {
	NVME_RESV_NOTIFY_EMPTY,
	NVME_RESV_NOTIFY_REGISTRATION_PREEMPTED,
	NVME_RESV_NOTIFY_RESERVATION_RELEASED,
	NVME_RESV_NOTIFY_RESERVATION_PREEMPTED,
};

/* --- data of features ------------------------------------------------------------------------------ */

struct nvme_timestamp {
	uint8_t timestamp[6]; /* ms since 1970 */
	uint8_t attr; /* bit 0: it stood still meanwhile; bits 1-3: where it came from */
	uint8_t rsvd;
};
WIRE_SIZE(struct nvme_timestamp, 8);
enum { NVME_NO_WRITE_PROTECT, NVME_WRITE_PROTECT }; /* feature NVME_FEAT_WRITE_PROTECT */
enum { NVME_TIMESTAMP_OF_RESET = 0 << 1, NVME_TIMESTAMP_OF_HOST = 1 << 1 };

struct nvme_feat_host_behavior {
	uint8_t acre; /* 1: the host understands command retry delays */
	uint8_t etdas;
	uint8_t lbafee;
	uint8_t hdisns;
	le16 cdfe; /* copy descriptor formats 2 and up that the host knows */
	uint8_t rsvd6[506];
};
WIRE_SIZE(struct nvme_feat_host_behavior, 512);

#endif
