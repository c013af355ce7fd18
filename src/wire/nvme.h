/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme.h: NVMe queue entries, SGL descriptors, properties, and the codes of nvme_codes.h as enums.
 *
 * Names are the standard's, lower case. What Identify and log pages return, and what fabrics adds, is in the
 * headers included at the end. Layouts are compared with libnvme's in the tests.
 */
#ifndef WIRE_NVME_H
#define WIRE_NVME_H

#include "wire/layout.h"
#include "wire/nvme_codes.h"

#define NVME_NSID_NONE 0u
#define NVME_NSID_ALL 0xffffffffu
#define NVME_CNTLID_MAX 0xffef       /* FFF0h to FFFFh are reserved */
#define NVME_IDENTIFY_SIZE 4096
#define NVME_NQN_FIELD_SIZE 256
#define NVME_NQN_LEN_MAX 223

/* --- codes ----------------------------------------------------------------------------------------- */

enum nvme_data { NVME_DATA_NONE, NVME_DATA_H2C, NVME_DATA_C2H, NVME_DATA_BIDI };

/* Direction of the data of an opcode; for fabrics commands ask for the type's. */
static inline enum nvme_data nvme_data_of(uint8_t opc) { return (enum nvme_data)(opc & 3); }

#define NVME_ENUM_ADMIN(value, name, text, data) NVME_ADMIN_##name = value,
#define NVME_ENUM_CMD(value, name, text, data) NVME_CMD_##name = value,
#define NVME_ENUM_FABRICS(value, name, text, data) NVME_FABRICS_##name = value,
#define NVME_ENUM_SC(value, name, text) NVME_SC_##name = value,
#define NVME_ENUM_CNS(value, name, text) NVME_CNS_##name = value,
#define NVME_ENUM_LOG(value, name, text) NVME_LOG_##name = value,
#define NVME_ENUM_FEAT(value, name, text) NVME_FEAT_##name = value,
#define NVME_ENUM_AER(type, info, name, log) NVME_AER_##name = (type) | (info) << 8 | NVME_LOG_##log << 16,

enum nvme_admin_opcode { NVME_ADMIN_OPCODES(NVME_ENUM_ADMIN) };
enum nvme_io_opcode { NVME_IO_OPCODES(NVME_ENUM_CMD) };
enum nvme_fctype { NVME_FABRICS_TYPES(NVME_ENUM_FABRICS) };
enum nvme_cns { NVME_IDENTIFY_CNS(NVME_ENUM_CNS) };
enum nvme_log_page { NVME_LOG_PAGES(NVME_ENUM_LOG) };
enum nvme_feature { NVME_FEATURES(NVME_ENUM_FEAT) };
/* The value is dword 0 of the completion as it goes out. */
enum nvme_async_event { NVME_ASYNC_EVENTS(NVME_ENUM_AER) };

/* A status: code type and code as tabled, and the flags of the completion beside it. */
enum nvme_status {
	NVME_STATUS_GENERIC(NVME_ENUM_SC)
	NVME_STATUS_CMD_SPECIFIC(NVME_ENUM_SC)
	NVME_STATUS_IO_SPECIFIC(NVME_ENUM_SC)
	NVME_STATUS_FABRICS_SPECIFIC(NVME_ENUM_SC)
	NVME_STATUS_MEDIA(NVME_ENUM_SC)
	NVME_STATUS_PATH(NVME_ENUM_SC)

	NVME_SC_CODE = 0x7ff,  /* mask: code type and code */
	NVME_SC_CRD = 0x1800,  /* mask: command retry delay */
	NVME_SC_MORE = 0x2000, /* the error log has more */
	NVME_SC_DNR = 0x4000,  /* do not retry */
};

/* Names for people; "reserved" where the tables have none. Static text. */
const char *nvme_admin_name(uint8_t opc);
const char *nvme_io_name(uint8_t opc);
const char *nvme_fctype_name(uint8_t fctype);
const char *nvme_status_text(uint16_t status, bool of_fabrics_command);
const char *nvme_cns_name(uint8_t cns);
const char *nvme_log_name(uint8_t lid);
const char *nvme_feature_name(uint8_t fid);
/* Whether the tables know it, and for data that moves: which way. */
bool nvme_admin_known(uint8_t opc);
bool nvme_io_known(uint8_t opc);

/* --- properties (registers of a controller) -------------------------------------------------------- */

#define NVME_ENUM_REG(offset, name, bytes) NVME_REG_##name = offset,
enum nvme_property { NVME_PROPERTIES(NVME_ENUM_REG) };

/*        word     field   low  bits */
#define NVME_BIT_FIELDS(X) \
	X(cap,     mqes,     0, 16) /* maximum queue entries supported, 0's based */ \
	X(cap,     cqr,     16,  1) /* contiguous queues required */ \
	X(cap,     ams,     17,  2) \
	X(cap,     to,      24,  8) /* timeout until ready, 500 ms */ \
	X(cap,     dstrd,   32,  4) \
	X(cap,     nssrs,   36,  1) \
	X(cap,     css,     37,  8) /* bit 0: NVM; 6: by CSI; 7: admin only */ \
	X(cap,     bps,     45,  1) \
	X(cap,     cps,     46,  2) \
	X(cap,     mpsmin,  48,  4) /* 2^(12 + n) bytes */ \
	X(cap,     mpsmax,  52,  4) \
	X(cap,     pmrs,    56,  1) \
	X(cap,     cmbs,    57,  1) \
	X(cap,     crms,    59,  2) /* bit 0: ready with media; 1: independent of media */ \
	X(vs,      ter,      0,  8) \
	X(vs,      mnr,      8,  8) \
	X(vs,      mjr,     16, 16) \
	X(cc,      en,       0,  1) \
	X(cc,      css,      4,  3) /* 0: NVM; 6: all by CSI; 7: admin only */ \
	X(cc,      mps,      7,  4) \
	X(cc,      ams,     11,  3) \
	X(cc,      shn,     14,  2) /* 1: normal; 2: abrupt shutdown */ \
	X(cc,      iosqes,  16,  4) /* 2^n bytes */ \
	X(cc,      iocqes,  20,  4) \
	X(cc,      crime,   24,  1) \
	X(csts,    rdy,      0,  1) \
	X(csts,    cfs,      1,  1) /* controller fatal status */ \
	X(csts,    shst,     2,  2) /* 1: shutting down; 2: shutdown complete */ \
	X(csts,    nssro,    4,  1) \
	X(csts,    pp,       5,  1) \
	X(aqa,     asqs,     0, 12) \
	X(aqa,     acqs,    16, 12) \
	X(crto,    crwmt,    0, 16) \
	X(crto,    crimt,   16, 16) \
	X(flags,   fuse,     0,  2) /* of a command: 1: first, 2: second of a fused pair */ \
	X(flags,   psdt,     6,  2) /* of a command: 0: PRP; 1: SGL; 2: SGL, also for metadata */

/* nvme_cc_en(cc), and nvme_cc_with_en(cc, 1) for a changed copy. */
#define NVME_BIT_ACCESS(word, field, low, bits) \
	static inline uint64_t nvme_##word##_##field(uint64_t word) \
	{ \
		return word >> (low) & ((1ull << (bits)) - 1); \
	} \
	static inline uint64_t nvme_##word##_with_##field(uint64_t word, uint64_t value) \
	{ \
		assert(value < 1ull << (bits)); \
		return (word & ~(((1ull << (bits)) - 1) << (low))) | value << (low); \
	}
NVME_BIT_FIELDS(NVME_BIT_ACCESS)

#define NVME_VERSION(major, minor, tertiary) ((uint32_t)(major) << 16 | (minor) << 8 | (tertiary))

/* --- SGL descriptors ------------------------------------------------------------------------------- */

enum nvme_sgl_type {
	NVME_SGL_DATA_BLOCK = 0,
	NVME_SGL_BIT_BUCKET = 1,
	NVME_SGL_SEGMENT = 2,
	NVME_SGL_LAST_SEGMENT = 3,
	NVME_SGL_KEYED_DATA_BLOCK = 4,
	NVME_SGL_TRANSPORT_DATA_BLOCK = 5,
};
enum nvme_sgl_subtype {
	NVME_SGL_ADDRESS = 0,
	NVME_SGL_OFFSET = 1,      /* into the data of the capsule */
	NVME_SGL_INVALIDATE = 15, /* keyed: invalidate the key remotely */
	NVME_SGL_TRANSPORT = 10,  /* data moves as the transport likes */
};
#define NVME_SGL_ID(type, subtype) ((uint8_t)((type) << 4 | (subtype)))

struct nvme_sgl {
	le64 addr;
	union {
		struct {
			le32 length;
			uint8_t rsvd12[3];
		};
		struct {
			uint8_t klength[3]; /* keyed: 24 bits */
			le32 key;
		};
	};
	uint8_t id;
};
WIRE_SIZE(struct nvme_sgl, 16);
WIRE_AT(struct nvme_sgl, length, 8);
WIRE_AT(struct nvme_sgl, key, 11);
WIRE_AT(struct nvme_sgl, id, 15);

static inline uint32_t nvme_sgl_klength(const struct nvme_sgl *sgl)
{
	return sgl->klength[0] | (uint32_t)sgl->klength[1] << 8 | (uint32_t)sgl->klength[2] << 16;
}

/* --- submission queue entry ------------------------------------------------------------------------ */

/* Bits of nvme_rw.control and nvme_copy.control. */
enum {
	NVME_RW_DTYPE = 0xf << 4, /* mask: directive type */
	NVME_RW_STC = 1 << 8,     /* storage tag check */
	NVME_RW_DEAC = 1 << 9,    /* write zeroes: deallocate */
	NVME_RW_PRCHK_REF = 1 << 10,
	NVME_RW_PRCHK_APP = 1 << 11,
	NVME_RW_PRCHK_GUARD = 1 << 12,
	NVME_RW_PRACT = 1 << 13,
	NVME_RW_FUA = 1 << 14,
	NVME_RW_LR = 1 << 15,
};
enum { NVME_DSM_IDR = 1 << 0, NVME_DSM_IDW = 1 << 1, NVME_DSM_AD = 1 << 2 };
enum { NVME_FEAT_SEL_CURRENT, NVME_FEAT_SEL_DEFAULT, NVME_FEAT_SEL_SAVED, NVME_FEAT_SEL_SUPPORTED };
enum nvme_csi { NVME_CSI_NVM = 0, NVME_CSI_KV = 1, NVME_CSI_ZNS = 2 };

/* Dwords 10 to 15 by command. Fields wider than their name are as in the standard: 0's based counts stay so. */
struct nvme_rw { /* read, write, compare, verify, write zeroes, write uncorrectable */
	le64 slba;
	le16 nlb;
	le16 control;
	uint8_t dsm, rsvd53;
	le16 dspec;
	le32 ilbrt;
	le16 lbat, lbatm;
};
struct nvme_dsm {
	uint8_t nr, rsvd41[3];
	le32 attributes;
	le32 cdw12, cdw13, cdw14, cdw15;
};
struct nvme_copy {
	le64 sdlba;
	uint8_t nr;
	uint8_t df_prinfor; /* descriptor format in the low four bits */
	le16 control;
	le16 rsvd52, dspec;
	le32 ilbrt;
	le16 lbat, lbatm;
};
struct nvme_get_lba_status {
	le64 slba;
	le32 mndw;
	le16 rl;
	uint8_t rsvd54, atype;
	le32 cdw14, cdw15;
};
struct nvme_resv {
	uint8_t action; /* bits 0-2: RREGA, RACQA, RRELA; 3: IEKEY */
	uint8_t rtype;
	uint8_t rsvd42;
	uint8_t cptpl; /* bits 6-7, register only */
	le32 cdw11, cdw12, cdw13, cdw14, cdw15;
};
struct nvme_resv_report {
	le32 numd;
	uint8_t eds, rsvd45[3]; /* bit 0: extended data structure */
	le32 cdw12, cdw13, cdw14, cdw15;
};
struct nvme_identify {
	uint8_t cns, rsvd41;
	le16 cntid;
	le16 cnssid;
	uint8_t rsvd46, csi;
	le32 cdw12, cdw13;
	uint8_t uuidx, rsvd57[3];
	le32 cdw15;
};
struct nvme_get_log_page {
	uint8_t lid;
	uint8_t lsp_rae; /* bits 0-6: log specific; 7: retain asynchronous event */
	le16 numdl, numdu;
	le16 lsi;
	le64 lpo;
	uint8_t uuidx, rsvd57;
	uint8_t ot; /* bit 7: LPO counts entries */
	uint8_t csi;
	le32 cdw15;
};
struct nvme_features {
	uint8_t fid;
	uint8_t sel; /* get: bits 0-2 */
	uint8_t rsvd42;
	uint8_t sv; /* set: bit 7, save */
	le32 cdw11, cdw12, cdw13;
	uint8_t uuidx, rsvd57[3];
	le32 cdw15;
};
struct nvme_abort {
	le16 sqid, cid;
	le32 cdw11, cdw12, cdw13, cdw14, cdw15;
};
struct nvme_ccr { /* cross-controller reset */
	le16 icid;    /* the impacted controller, by the three that its Identify told */
	uint8_t ciu, rsvd43;
	le32 cdw11;
	le64 cirn;
	le32 cdw14, cdw15;
};
struct nvme_fw_download {
	le32 numd; /* dwords, 0's based */
	le32 ofst; /* dwords */
	le32 cdw12, cdw13, cdw14, cdw15;
};
struct nvme_fw_commit {
	uint8_t fs_ca; /* bits 0-2: slot, 0: the controller chooses; 3-5: enum nvme_fw_action */
	uint8_t rsvd41[3];
	le32 cdw11, cdw12, cdw13, cdw14, cdw15;
};
enum nvme_fw_action {
	NVME_FW_REPLACE = 0,            /* the image goes to the slot */
	NVME_FW_REPLACE_AND_ENABLE = 1, /* and runs after the next reset */
	NVME_FW_ENABLE = 2,             /* what is in the slot runs after the next reset */
	NVME_FW_REPLACE_AND_RUN = 3,    /* it runs at once */
};
struct nvme_create_sq {
	le16 qid, qsize;
	le16 flags; /* bit 0: contiguous; 1-2: priority */
	le16 cqid;
	le16 nvmsetid, rsvd50;
	le32 cdw13, cdw14, cdw15;
};
struct nvme_create_cq {
	le16 qid, qsize;
	le16 flags; /* bit 0: contiguous; 1: interrupts enabled */
	le16 iv;
	le32 cdw12, cdw13, cdw14, cdw15;
};
struct nvme_security { /* security send and receive; fabrics' authentication send and receive */
	uint8_t nssf, spsp0, spsp1, secp;
	le32 tl; /* transfer or allocation length */
	le32 cdw12, cdw13, cdw14, cdw15;
};
struct nvme_connect {
	le16 recfmt;
	le16 qid;
	le16 sqsize; /* 0's based */
	uint8_t cattr;
	uint8_t rsvd47;
	le32 kato; /* ms */
	uint8_t rsvd52[12];
};
struct nvme_property_cmd { /* property get and set */
	uint8_t attrib; /* bits 0-2: 0: four bytes; 1: eight bytes */
	uint8_t rsvd41[3];
	le32 ofst;
	le64 value;
	uint8_t rsvd56[8];
};
struct nvme_disconnect {
	le16 recfmt;
	uint8_t rsvd42[22];
};

struct nvme_sqe {
	uint8_t opc;
	uint8_t flags;
	le16 cid;
	union {
		le32 nsid;
		uint8_t fctype; /* opc NVME_ADMIN_FABRICS, on every queue */
	};
	le32 cdw2, cdw3;
	le64 mptr;
	union {
		struct { le64 prp1, prp2; };
		struct nvme_sgl sgl1;
	};
	union {
		struct { le32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15; };
		struct nvme_rw rw;
		struct nvme_dsm dsm;
		struct nvme_copy copy;
		struct nvme_get_lba_status get_lba_status;
		struct nvme_resv resv;
		struct nvme_resv_report resv_report;
		struct nvme_identify identify;
		struct nvme_get_log_page get_log_page;
		struct nvme_features features;
		struct nvme_abort abort;
		struct nvme_ccr ccr;
		struct nvme_fw_download fw_download;
		struct nvme_fw_commit fw_commit;
		struct nvme_create_sq create_sq;
		struct nvme_create_cq create_cq;
		struct nvme_security security;
		struct nvme_connect connect;
		struct nvme_property_cmd property;
		struct nvme_disconnect disconnect;
	};
};
WIRE_SIZE(struct nvme_sqe, 64);
WIRE_SIZE(struct nvme_rw, 24);
WIRE_SIZE(struct nvme_dsm, 24);
WIRE_SIZE(struct nvme_copy, 24);
WIRE_SIZE(struct nvme_get_lba_status, 24);
WIRE_SIZE(struct nvme_resv, 24);
WIRE_SIZE(struct nvme_resv_report, 24);
WIRE_SIZE(struct nvme_identify, 24);
WIRE_SIZE(struct nvme_get_log_page, 24);
WIRE_SIZE(struct nvme_features, 24);
WIRE_SIZE(struct nvme_abort, 24);
WIRE_SIZE(struct nvme_ccr, 24);
WIRE_SIZE(struct nvme_fw_download, 24);
WIRE_SIZE(struct nvme_fw_commit, 24);
WIRE_SIZE(struct nvme_create_sq, 24);
WIRE_SIZE(struct nvme_create_cq, 24);
WIRE_SIZE(struct nvme_security, 24);
WIRE_SIZE(struct nvme_connect, 24);
WIRE_SIZE(struct nvme_property_cmd, 24);
WIRE_SIZE(struct nvme_disconnect, 24);
WIRE_AT(struct nvme_sqe, fctype, 4);
WIRE_AT(struct nvme_sqe, mptr, 16);
WIRE_AT(struct nvme_sqe, sgl1, 24);
WIRE_AT(struct nvme_sqe, cdw10, 40);
WIRE_AT(struct nvme_sqe, rw.dspec, 54);
WIRE_AT(struct nvme_sqe, rw.lbatm, 62);
WIRE_AT(struct nvme_sqe, copy.dspec, 54);
WIRE_AT(struct nvme_sqe, get_lba_status.atype, 55);
WIRE_AT(struct nvme_sqe, identify.csi, 47);
WIRE_AT(struct nvme_sqe, identify.uuidx, 56);
WIRE_AT(struct nvme_sqe, get_log_page.lpo, 48);
WIRE_AT(struct nvme_sqe, get_log_page.csi, 59);
WIRE_AT(struct nvme_sqe, features.cdw11, 44);
WIRE_AT(struct nvme_sqe, features.uuidx, 56);
WIRE_AT(struct nvme_sqe, security.secp, 43);
WIRE_AT(struct nvme_sqe, ccr.cirn, 48);
WIRE_AT(struct nvme_sqe, connect.sqsize, 44);
WIRE_AT(struct nvme_sqe, connect.cattr, 46);
WIRE_AT(struct nvme_sqe, connect.kato, 48);
WIRE_AT(struct nvme_sqe, property.ofst, 44);
WIRE_AT(struct nvme_sqe, property.value, 48);

/* Number of dwords asked for (0's based in the command), as bytes. */
static inline uint64_t nvme_get_log_page_size(const struct nvme_get_log_page *cmd)
{
	return ((uint64_t)(le16_get(cmd->numdl) | (uint32_t)le16_get(cmd->numdu) << 16) + 1) * 4;
}

/* --- completion queue entry ------------------------------------------------------------------------ */

struct nvme_cqe {
	union {
		struct { le32 dw0, dw1; };
		le64 value;                                         /* property get */
		struct { le16 cntlid, authreq; };                   /* connect: success */
		struct { le16 ipo; uint8_t iattr; uint8_t rsvd3; }; /* connect: the parameter that is invalid */
	};
	le16 sqhd;
	le16 sqid;
	le16 cid;
	le16 status; /* bit 0: phase; the rest: enum nvme_status */
};
WIRE_SIZE(struct nvme_cqe, 16);
WIRE_AT(struct nvme_cqe, iattr, 2);
WIRE_AT(struct nvme_cqe, sqhd, 8);
WIRE_AT(struct nvme_cqe, cid, 12);
WIRE_AT(struct nvme_cqe, status, 14);

/* With the flags beside the code; fabrics have no phase. */
static inline uint16_t nvme_cqe_status(const struct nvme_cqe *cqe) { return le16_get(cqe->status) >> 1; }
static inline void nvme_cqe_set_status(struct nvme_cqe *cqe, uint16_t status)
{
	cqe->status = le16_of((uint16_t)(status << 1));
}

/* --- data of I/O commands -------------------------------------------------------------------------- */

struct nvme_dsm_range {
	le32 cattr;
	le32 nlb; /* not 0's based */
	le64 slba;
};
WIRE_SIZE(struct nvme_dsm_range, 16);
#define NVME_DSM_RANGES_MAX 256

#define NVME_COPY_SOPT_FAST_ONLY 0x8000u
struct nvme_copy_range { /* descriptor formats 0 and 2 */
	le32 snsid; /* 2 */
	uint8_t rsvd4[4];
	le64 slba;
	le16 nlb;
	uint8_t rsvd18[4];
	le16 sopt; /* 2 */
	le32 eilbrt;
	le16 elbatm;
	le16 elbat;
};
WIRE_SIZE(struct nvme_copy_range, 32);

struct nvme_lba_status_desc {
	le64 dslba;
	le32 nlb;
	uint8_t rsvd12;
	uint8_t status;
	uint8_t rsvd14[2];
};
WIRE_SIZE(struct nvme_lba_status_desc, 16);

struct nvme_lba_status {
	le32 nlsd;
	uint8_t cmpc; /* 1: there is no room for more; 2: all of the range was looked at */
	uint8_t rsvd5[3];
	struct nvme_lba_status_desc descs[];
};
WIRE_SIZE(struct nvme_lba_status, 8);

enum nvme_resv_rtype {
	NVME_RESV_NONE,
	NVME_RESV_WE,   /* write exclusive */
	NVME_RESV_EA,   /* exclusive access */
	NVME_RESV_WERO, /* registrants only */
	NVME_RESV_EARO,
	NVME_RESV_WEAR, /* all registrants */
	NVME_RESV_EAAR,
};
enum { NVME_RREGA_REGISTER, NVME_RREGA_UNREGISTER, NVME_RREGA_REPLACE };
enum { NVME_RACQA_ACQUIRE, NVME_RACQA_PREEMPT, NVME_RACQA_PREEMPT_AND_ABORT };
enum { NVME_RRELA_RELEASE, NVME_RRELA_CLEAR };
enum { NVME_CPTPL_NO_CHANGE = 0, NVME_CPTPL_CLEAR = 2, NVME_CPTPL_PERSIST = 3 };

struct nvme_resv_keys { /* register: crkey and nrkey; acquire: crkey and prkey; release: crkey alone */
	le64 crkey;
	le64 nrkey;
};
WIRE_SIZE(struct nvme_resv_keys, 16);

struct nvme_registered_ctrl {
	le16 cntlid;
	uint8_t rcsts; /* bit 0: holds the reservation */
	uint8_t rsvd3[5];
	le64 hostid;
	le64 rkey;
};
WIRE_SIZE(struct nvme_registered_ctrl, 24);

struct nvme_registered_ctrl_ext {
	le16 cntlid;
	uint8_t rcsts;
	uint8_t rsvd3[5];
	le64 rkey;
	uint8_t hostid[16];
	uint8_t rsvd32[32];
};
WIRE_SIZE(struct nvme_registered_ctrl_ext, 64);

/* nvme_registered_ctrl follow at 24; of the extended form nvme_registered_ctrl_ext at 64. */
struct nvme_resv_status {
	le32 gen;
	uint8_t rtype;
	le16 regctl;
	uint8_t rsvd7[2];
	uint8_t ptpls;
	uint8_t rsvd10[14];
};
WIRE_SIZE(struct nvme_resv_status, 24);
#define NVME_RESV_STATUS_EXT_SIZE 64

#include "wire/nvme_fabrics.h"
#include "wire/nvme_identify.h"
#include "wire/nvme_log.h"

#endif
