/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme_identify.h: what Identify returns. Field names are the standard's, as in libnvme. */
#ifndef WIRE_NVME_IDENTIFY_H
#define WIRE_NVME_IDENTIFY_H

#include "wire/layout.h"

typedef struct { uint8_t b[16]; } le128; /* capacities: the low eight bytes are enough for us */

static inline le128 le128_of(uint64_t v)
{
	le128 x = { { 0 } };
	le64 low = le64_of(v);

	memcpy(x.b, low.b, sizeof(low.b));
	return x;
}

/* --- controller ------------------------------------------------------------------------------------ */

struct nvme_id_psd {
	le16 mp;
	uint8_t rsvd2;
	uint8_t flags;
	le32 enlat;
	le32 exlat;
	uint8_t rrt;
	uint8_t rrl;
	uint8_t rwt;
	uint8_t rwl;
	le16 idlp;
	uint8_t ips;
	uint8_t rsvd19;
	le16 actp;
	uint8_t apws;
	uint8_t rsvd23[9];
};
WIRE_SIZE(struct nvme_id_psd, 32);

struct nvme_id_ctrl {
	le16 vid;
	le16 ssvid;
	char sn[20];
	char mn[40];
	char fr[8];
	uint8_t rab;
	uint8_t ieee[3];
	uint8_t cmic;
	uint8_t mdts;
	le16 cntlid;
	le32 ver;
	le32 rtd3r;
	le32 rtd3e;
	le32 oaes;
	le32 ctratt;
	le16 rrls;
	uint8_t rsvd102[9];
	uint8_t cntrltype;
	uint8_t fguid[16];
	le16 crdt1;
	le16 crdt2;
	le16 crdt3;
	uint8_t crcap;
	uint8_t ciu;  /* which of the controllers that have had this cntlid; never 0 */
	le64 cirn;    /* the same, at random */
	uint8_t rsvd144[109];
	uint8_t nvmsr;
	uint8_t vwci;
	uint8_t mec;
	le16 oacs;
	uint8_t acl;
	uint8_t aerl;
	uint8_t frmw;
	uint8_t lpa;
	uint8_t elpe;
	uint8_t npss;
	uint8_t avscc;
	uint8_t apsta;
	le16 wctemp;
	le16 cctemp;
	le16 mtfa;
	le32 hmpre;
	le32 hmmin;
	le128 tnvmcap;
	le128 unvmcap;
	le32 rpmbs;
	le16 edstt;
	uint8_t dsto;
	uint8_t fwug;
	le16 kas;
	le16 hctma;
	le16 mntmt;
	le16 mxtmt;
	le32 sanicap;
	le32 hmminds;
	le16 hmmaxd;
	le16 nsetidmax;
	le16 endgidmax;
	uint8_t anatt;
	uint8_t anacap;
	le32 anagrpmax;
	le32 nanagrpid;
	le32 pels;
	le16 domainid;
	uint8_t rsvd358[10];
	le128 megcap;
	uint8_t tmpthmha;
	uint8_t rsvd385;
	le16 cqt; /* ms; command quiesce time */
	uint8_t rsvd388[124];
	uint8_t sqes;
	uint8_t cqes;
	le16 maxcmd;
	le32 nn;
	le16 oncs;
	le16 fuses;
	uint8_t fna;
	uint8_t vwc;
	le16 awun;
	le16 awupf;
	uint8_t icsvscc;
	uint8_t nwpc;
	le16 acwu;
	le16 ocfs;
	le32 sgls;
	le32 mnan;
	le128 maxdna;
	le32 maxcna;
	uint8_t rsvd564[204];
	char subnqn[256];
	uint8_t rsvd1024[768];
	le32 ioccsz; /* from here to ccrl: fabrics only */
	le32 iorcsz;
	le16 icdoff;
	uint8_t fcatt;
	uint8_t msdbd;
	le16 ofcs;
	uint8_t dctype;
	uint8_t ccrl; /* cross-controller resets that may be in progress; 0: it knows none */
	uint8_t rsvd1808[240];
	struct nvme_id_psd psd[32];
	uint8_t vs[1024];
};
WIRE_SIZE(struct nvme_id_ctrl, 4096);
WIRE_AT(struct nvme_id_ctrl, ciu, 135);
WIRE_AT(struct nvme_id_ctrl, cirn, 136);
WIRE_AT(struct nvme_id_ctrl, oacs, 256);
WIRE_AT(struct nvme_id_ctrl, kas, 320);
WIRE_AT(struct nvme_id_ctrl, sqes, 512);
WIRE_AT(struct nvme_id_ctrl, sgls, 536);
WIRE_AT(struct nvme_id_ctrl, subnqn, 768);
WIRE_AT(struct nvme_id_ctrl, ioccsz, 1792);
WIRE_AT(struct nvme_id_ctrl, ccrl, 1807);
WIRE_AT(struct nvme_id_ctrl, psd, 2048);

enum { NVME_CMIC_MULTI_PORT = 1 << 0, NVME_CMIC_MULTI_CTRL = 1 << 1, NVME_CMIC_ANA = 1 << 3 };
enum { NVME_CNTRLTYPE_IO = 1, NVME_CNTRLTYPE_DISCOVERY = 2, NVME_CNTRLTYPE_ADMIN = 3 };

/* oaes; and, which asynchronous events the host wants: feature NVME_FEAT_ASYNC_EVENT. */
enum {
	NVME_OAES_NS = 1 << 8, /* attached namespaces changed */
	NVME_OAES_FW = 1 << 9,
	NVME_OAES_ANA = 1 << 11,
	NVME_OAES_LBA_STATUS = 1 << 13,
	NVME_OAES_CCR = 1 << 20, /* a cross-controller reset has completed */
};
#define NVME_OAES_DISCOVERY 0x80000000u

enum {
	NVME_CTRATT_HOSTID_128 = 1 << 0,
	NVME_CTRATT_TBKAS = 1 << 6, /* traffic keeps the connection alive */
	NVME_CTRATT_UUID_LIST = 1 << 9,
	NVME_CTRATT_MDS = 1 << 10,
	NVME_CTRATT_ELBAS = 1 << 15,
};
enum {
	NVME_OACS_SECURITY = 1 << 0,
	NVME_OACS_FORMAT = 1 << 1,
	NVME_OACS_FIRMWARE = 1 << 2,
	NVME_OACS_NS_MGMT = 1 << 3,
	NVME_OACS_LBA_STATUS = 1 << 9,
};
enum {
	NVME_FRMW_SLOT1_READ_ONLY = 1 << 0,
	NVME_FRMW_RUN_AT_ONCE = 1 << 4, /* without a reset */
};
static inline uint8_t nvme_frmw_slots(uint8_t frmw) { return frmw >> 1 & 7; }
#define NVME_FWUG_BYTES 4096u /* the unit of FWUG; 0: nothing is said */
#define NVME_FWUG_ANY 0xffu   /* a dword will do */
enum {
	NVME_LPA_SMART_PER_NS = 1 << 0,
	NVME_LPA_CMD_EFFECTS = 1 << 1,
	NVME_LPA_EXTENDED = 1 << 2,
	NVME_LPA_LI0_LI5_LI12_LI13 = 1 << 5, /* what commands, log pages and features there are can be read */
};
enum {
	NVME_ANACAP_OPTIMIZED = 1 << 0,
	NVME_ANACAP_NONOPTIMIZED = 1 << 1,
	NVME_ANACAP_INACCESSIBLE = 1 << 2,
	NVME_ANACAP_PERSISTENT_LOSS = 1 << 3,
	NVME_ANACAP_CHANGE = 1 << 4,
	NVME_ANACAP_GRPID_NO_CHANGE = 1 << 6,
};
enum {
	NVME_ONCS_COMPARE = 1 << 0,
	NVME_ONCS_WRITE_UNCOR = 1 << 1,
	NVME_ONCS_DSM = 1 << 2,
	NVME_ONCS_WRITE_ZEROES = 1 << 3,
	NVME_ONCS_SAVE_FEATURES = 1 << 4,
	NVME_ONCS_RESERVATIONS = 1 << 5,
	NVME_ONCS_TIMESTAMP = 1 << 6,
	NVME_ONCS_VERIFY = 1 << 7,
	NVME_ONCS_COPY = 1 << 8,
};
enum { NVME_NWPC_WRITE_PROTECT = 1 << 0 }; /* nwpc: a namespace can be write protected, and no more */
enum { NVME_FUSES_COMPARE_AND_WRITE = 1 << 0 };
enum { NVME_VWC_PRESENT = 1 << 0, NVME_VWC_FLUSH_NOT_ALL = 2 << 1, NVME_VWC_FLUSH_ALL = 3 << 1 }; /* NSID of all */
enum {
	NVME_SGLS_SUPPORTED = 1 << 0, /* no alignment asked for */
	NVME_SGLS_KEYED = 1 << 2,
	NVME_SGLS_BIT_BUCKET = 1 << 16,
	NVME_SGLS_OVERSIZE = 1 << 18,
	NVME_SGLS_OFFSET = 1 << 20,
	NVME_SGLS_TRANSPORT = 1 << 21,
};
enum { NVME_FCATT_STATIC = 1 << 0 }; /* controllers are of the static model */
enum { NVME_OFCS_DISCONNECT = 1 << 0 };

/* --- namespace ------------------------------------------------------------------------------------- */

struct nvme_lbaf {
	le16 ms;
	uint8_t ds; /* 2^n bytes */
	uint8_t rp;
};
WIRE_SIZE(struct nvme_lbaf, 4);

struct nvme_id_ns {
	le64 nsze;
	le64 ncap;
	le64 nuse;
	uint8_t nsfeat;
	uint8_t nlbaf; /* 0's based */
	uint8_t flbas;
	uint8_t mc;
	uint8_t dpc;
	uint8_t dps;
	uint8_t nmic;
	uint8_t rescap;
	uint8_t fpi;
	uint8_t dlfeat;
	le16 nawun;
	le16 nawupf;
	le16 nacwu;
	le16 nabsn;
	le16 nabo;
	le16 nabspf;
	le16 noiob;
	le128 nvmcap;
	le16 npwg;
	le16 npwa;
	le16 npdg;
	le16 npda;
	le16 nows;
	le16 mssrl;
	le32 mcl;
	uint8_t msrc;
	uint8_t rsvd81;
	uint8_t nulbaf;
	uint8_t rsvd83[9];
	le32 anagrpid;
	uint8_t rsvd96[3];
	uint8_t nsattr;
	le16 nvmsetid;
	le16 endgid;
	uint8_t nguid[16];
	uint8_t eui64[8];
	struct nvme_lbaf lbaf[64];
	le64 lbstm;
	uint8_t vs[3704];
};
WIRE_SIZE(struct nvme_id_ns, 4096);
WIRE_AT(struct nvme_id_ns, nguid, 104);
WIRE_AT(struct nvme_id_ns, lbaf, 128);

enum {
	NVME_NSFEAT_THIN = 1 << 0,
	NVME_NSFEAT_NATOMIC = 1 << 1,
	NVME_NSFEAT_DULBE = 1 << 2,
	NVME_NSFEAT_UID_REUSE = 1 << 3,
	NVME_NSFEAT_IO_OPT = 1 << 4,
};
enum { NVME_FLBAS_EXTENDED = 1 << 4 };
enum { NVME_MC_EXTENDED = 1 << 0, NVME_MC_SEPARATE = 1 << 1 };
enum {
	NVME_DPC_TYPE1 = 1 << 0,
	NVME_DPC_TYPE2 = 1 << 1,
	NVME_DPC_TYPE3 = 1 << 2,
	NVME_DPC_FIRST = 1 << 3,
	NVME_DPC_LAST = 1 << 4,
};
enum { NVME_DPS_FIRST = 1 << 3 };
enum { NVME_NMIC_SHARED = 1 << 0 };
enum {
	NVME_RESCAP_PTPL = 1 << 0,
	NVME_RESCAP_WE = 1 << 1,
	NVME_RESCAP_EA = 1 << 2,
	NVME_RESCAP_WERO = 1 << 3,
	NVME_RESCAP_EARO = 1 << 4,
	NVME_RESCAP_WEAR = 1 << 5,
	NVME_RESCAP_EAAR = 1 << 6,
	NVME_RESCAP_IEK_13 = 1 << 7,
};
enum { NVME_DLFEAT_READS_0S = 1, NVME_DLFEAT_READS_FS = 2, NVME_DLFEAT_WRITE_ZEROES = 1 << 3 };
enum { NVME_NSATTR_WRITE_PROTECTED = 1 << 0 };

/* CNS 05h for the NVM command set: what newer namespaces say about protection information. */
struct nvme_nvm_id_ns {
	le64 lbstm;
	uint8_t pic;
	uint8_t rsvd9[3];
	le32 elbaf[64];
	uint8_t rsvd268[3828];
};
WIRE_SIZE(struct nvme_nvm_id_ns, 4096);

/* CNS 06h for the NVM command set: limits of single commands. */
struct nvme_id_ctrl_nvm {
	uint8_t vsl;
	uint8_t wzsl;
	uint8_t wusl;
	uint8_t dmrl;
	le32 dmrsl;
	le64 dmsl;
	uint8_t rsvd16[4080];
};
WIRE_SIZE(struct nvme_id_ctrl_nvm, 4096);

/* CNS 08h: a namespace without what depends on its command set. */
struct nvme_id_independent_id_ns {
	uint8_t nsfeat;
	uint8_t nmic;
	uint8_t rescap;
	uint8_t fpi;
	le32 anagrpid;
	uint8_t nsattr;
	uint8_t rsvd9;
	le16 nvmsetid;
	le16 endgid;
	uint8_t nstat; /* bit 0: ready */
	uint8_t rsvd15[4081];
};
WIRE_SIZE(struct nvme_id_independent_id_ns, 4096);

/* --- lists ----------------------------------------------------------------------------------------- */

struct nvme_ns_list {
	le32 ns[1024]; /* ascending, ends with 0 */
};
WIRE_SIZE(struct nvme_ns_list, 4096);

struct nvme_ctrl_list {
	le16 num;
	le16 identifier[2047];
};
WIRE_SIZE(struct nvme_ctrl_list, 4096);

struct nvme_ns_id_desc {
	uint8_t nidt;
	uint8_t nidl;
	uint8_t rsvd2[2];
	uint8_t nid[];
};
WIRE_SIZE(struct nvme_ns_id_desc, 4);
/*        type name   bytes */
#define NVME_NS_ID_DESCS(X) \
	X(1,   EUI64, 8)  \
	X(2,   NGUID, 16) \
	X(3,   UUID,  16) \
	X(4,   CSI,   1)
#define NVME_ENUM_NIDT(type, name, bytes) NVME_NIDT_##name = type, NVME_NIDT_##name##_LEN = bytes,
enum { NVME_NS_ID_DESCS(NVME_ENUM_NIDT) };

/* CNS 1Ch: combinations of command sets; bit n of a vector: command set n. */
struct nvme_id_iocs {
	le64 iocsc[512];
};
WIRE_SIZE(struct nvme_id_iocs, 4096);

#endif
