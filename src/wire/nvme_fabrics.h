/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme_fabrics.h: what NVMe over Fabrics adds: connect data, the discovery log, authentication messages.
 *
 * The commands themselves are part of struct nvme_sqe. Witnesses: libnvme for discovery and connect, SPDK's
 * nvmf_spec.h for authentication.
 */
#ifndef WIRE_NVME_FABRICS_H
#define WIRE_NVME_FABRICS_H

#include "wire/layout.h"

#define NVME_DISCOVERY_NQN "nqn.2014-08.org.nvmexpress.discovery"
#define NVME_NQN_UUID_PREFIX "nqn.2014-08.org.nvmexpress:uuid:"
#define NVME_TCP_PORT 4420
#define NVME_TCP_DISCOVERY_PORT 8009

/* Bits of nvme_connect.cattr. */
enum {
	NVME_CATTR_PRIOCLASS = 3 << 0,
	NVME_CATTR_DISABLE_SQFLOW = 1 << 2,
	NVME_CATTR_INDIVIOQDELS = 1 << 3,
};
/* Bits of nvme_cqe.authreq. */
enum { NVME_AUTHREQ_ATR = 1 << 1, NVME_AUTHREQ_ASCR = 1 << 2 };
/* nvme_cqe.iattr: where ipo counts from. */
enum { NVME_IATTR_SQE = 0, NVME_IATTR_DATA = 1 };

#define NVME_CNTLID_DYNAMIC 0xffff
#define NVME_CNTLID_STATIC_ANY 0xfffe

struct nvmf_connect_data {
	uint8_t hostid[16];
	le16 cntlid;
	uint8_t rsvd4[238];
	char subsysnqn[256];
	char hostnqn[256];
	uint8_t rsvd5[256];
};
WIRE_SIZE(struct nvmf_connect_data, 1024);
WIRE_AT(struct nvmf_connect_data, subsysnqn, 256);
WIRE_AT(struct nvmf_connect_data, hostnqn, 512);

/* --- discovery ------------------------------------------------------------------------------------- */

enum nvmf_trtype { NVMF_TRTYPE_RDMA = 1, NVMF_TRTYPE_FC = 2, NVMF_TRTYPE_TCP = 3, NVMF_TRTYPE_LOOP = 254 };
enum nvmf_adrfam { NVMF_ADRFAM_IP4 = 1, NVMF_ADRFAM_IP6 = 2, NVMF_ADRFAM_IB = 3, NVMF_ADRFAM_FC = 4 };
enum nvmf_subtype { NVMF_SUBTYPE_DISCOVERY = 1, NVMF_SUBTYPE_NVME = 2, NVMF_SUBTYPE_DISCOVERY_CURRENT = 3 };
enum { NVMF_TREQ_NOT_SPECIFIED, NVMF_TREQ_REQUIRED, NVMF_TREQ_NOT_REQUIRED, NVMF_TREQ_DISABLE_SQFLOW = 4 };
enum { NVMF_DISC_EFLAGS_DUPRETINFO = 1 << 0, NVMF_DISC_EFLAGS_EPCSD = 1 << 1, NVMF_DISC_EFLAGS_NCC = 1 << 2 };
enum { NVMF_TCP_SECTYPE_NONE = 0, NVMF_TCP_SECTYPE_TLS = 1, NVMF_TCP_SECTYPE_TLS13 = 2 };
enum { NVMF_RDMA_QPTYPE_CONNECTED = 1, NVMF_RDMA_PRTYPE_NOT_SPECIFIED = 1, NVMF_RDMA_CMS_RDMA_CM = 1 };

union nvmf_tsas {
	uint8_t common[256];
	struct { uint8_t sectype; } tcp;
	struct { uint8_t qptype, prtype, cms, rsvd3[5]; le16 pkey; } rdma;
};
WIRE_SIZE(union nvmf_tsas, 256);

struct nvmf_disc_log_entry {
	uint8_t trtype;
	uint8_t adrfam;
	uint8_t subtype;
	uint8_t treq;
	le16 portid;
	le16 cntlid;
	le16 asqsz;
	le16 eflags;
	uint8_t rsvd12[20];
	char trsvcid[32];
	uint8_t rsvd64[192];
	char subnqn[256];
	char traddr[256];
	union nvmf_tsas tsas;
};
WIRE_SIZE(struct nvmf_disc_log_entry, 1024);
WIRE_AT(struct nvmf_disc_log_entry, trsvcid, 32);
WIRE_AT(struct nvmf_disc_log_entry, subnqn, 256);
WIRE_AT(struct nvmf_disc_log_entry, tsas, 768);

struct nvmf_discovery_log {
	le64 genctr;
	le64 numrec;
	le16 recfmt;
	uint8_t dlpf;
	uint8_t rsvd19;
	le32 tdlpl;
	uint8_t rsvd24[1000];
	struct nvmf_disc_log_entry entries[];
};
WIRE_SIZE(struct nvmf_discovery_log, 1024);
WIRE_AT(struct nvmf_discovery_log, tdlpl, 20);

/* What a host asks for (log specific field), what a controller can (Supported Log Pages), and what it is (dlpf). */
enum { NVMF_DISC_EXTENDED = 1 << 0, NVMF_DISC_PORT_LOCAL = 1 << 1, NVMF_DISC_ALL_SUBSYSTEMS = 1 << 2 };

/* What follows an entry of an extended log; as many attributes follow. Witness: SPDK's nvmf_spec.h. */
struct nvmf_disc_log_extension {
	le32 tel;     /* of the entry as a whole */
	le16 numexat;
	le16 rsvd;
};
WIRE_SIZE(struct nvmf_disc_log_extension, 8);
struct nvmf_disc_log_attribute {
	le16 type;
	le16 len;     /* a multiple of 4 */
	uint8_t value[];
};
WIRE_SIZE(struct nvmf_disc_log_attribute, 4);
enum { NVMF_DISC_ATTR_ADMIN_LABEL = 2 }; /* in ASCII */
#define NVMF_ADMIN_LABEL_MIN 4
#define NVMF_ADMIN_LABEL_MAX 256

/* --- authentication (DH-HMAC-CHAP) ----------------------------------------------------------------- */

#define NVME_AUTH_SECP 0xe9 /* nvme_security.secp; spsp0 and spsp1 are 1 */

enum nvmf_auth_type { NVMF_AUTH_COMMON = 0, NVMF_AUTH_DHCHAP = 1 };
enum nvmf_auth_id {
	NVMF_AUTH_NEGOTIATE = 0x00,
	NVMF_AUTH_CHALLENGE = 0x01,
	NVMF_AUTH_REPLY = 0x02,
	NVMF_AUTH_SUCCESS1 = 0x03,
	NVMF_AUTH_SUCCESS2 = 0x04,
	NVMF_AUTH_FAILURE2 = 0xf0,
	NVMF_AUTH_FAILURE1 = 0xf1,
};
enum nvmf_dhchap_hash { NVMF_HASH_NONE = 0, NVMF_HASH_SHA256 = 1, NVMF_HASH_SHA384 = 2, NVMF_HASH_SHA512 = 3 };
enum nvmf_dhchap_group {
	NVMF_DH_NULL = 0,
	NVMF_DH_2048 = 1,
	NVMF_DH_3072 = 2,
	NVMF_DH_4096 = 3,
	NVMF_DH_6144 = 4,
	NVMF_DH_8192 = 5,
};
#define NVMF_AUTH_FAILED 1 /* the only reason code; the explanations are: */
enum nvmf_auth_explanation {
	NVMF_AUTH_EXPL_FAILED = 1,
	NVMF_AUTH_EXPL_PROTOCOL_UNUSABLE = 2,
	NVMF_AUTH_EXPL_SCC_MISMATCH = 3,
	NVMF_AUTH_EXPL_HASH_UNUSABLE = 4,
	NVMF_AUTH_EXPL_DHGROUP_UNUSABLE = 5,
	NVMF_AUTH_EXPL_INCORRECT_PAYLOAD = 6,
	NVMF_AUTH_EXPL_INCORRECT_MESSAGE = 7,
};

struct nvmf_auth_descriptor {
	uint8_t authid;
	uint8_t rsvd1;
	uint8_t halen;
	uint8_t dhlen;
	uint8_t hash_ids[30];
	uint8_t dhg_ids[30];
};
WIRE_SIZE(struct nvmf_auth_descriptor, 64);

/* The beginning of every message. */
struct nvmf_auth_header {
	uint8_t auth_type;
	uint8_t auth_id;
	uint8_t rsvd2[2];
	le16 t_id;
};
WIRE_SIZE(struct nvmf_auth_header, 6);

/* nvmf_auth_negotiate.sc_c: what is to become of the connection. Linux: NVME_AUTH_SECP_*. */
enum nvmf_auth_sc { NVMF_AUTH_NO_SC = 0, NVMF_AUTH_SC = 1, NVMF_AUTH_NEW_TLS_PSK = 2, NVMF_AUTH_REPLACE_TLS_PSK = 3 };

struct nvmf_auth_negotiate {
	struct nvmf_auth_header h;
	uint8_t sc_c;
	uint8_t napd;
	struct nvmf_auth_descriptor descs[];
};
WIRE_SIZE(struct nvmf_auth_negotiate, 8);

struct nvmf_auth_challenge {
	struct nvmf_auth_header h;
	uint8_t hl;
	uint8_t rsvd7;
	uint8_t hash_id;
	uint8_t dhg_id;
	le16 dhvlen;
	le32 seqnum;
	uint8_t cval[]; /* hl bytes, then dhvlen bytes of DH value */
};
WIRE_SIZE(struct nvmf_auth_challenge, 16);

struct nvmf_auth_reply {
	struct nvmf_auth_header h;
	uint8_t hl;
	uint8_t rsvd7;
	uint8_t cvalid;
	uint8_t rsvd9;
	le16 dhvlen;
	le32 seqnum;
	uint8_t rval[]; /* hl bytes, hl bytes of host challenge, dhvlen bytes of DH value */
};
WIRE_SIZE(struct nvmf_auth_reply, 16);

struct nvmf_auth_success1 {
	struct nvmf_auth_header h;
	uint8_t hl;
	uint8_t rsvd7;
	uint8_t rvalid;
	uint8_t rsvd9[7];
	uint8_t rval[]; /* hl bytes when rvalid */
};
WIRE_SIZE(struct nvmf_auth_success1, 16);

struct nvmf_auth_success2 {
	struct nvmf_auth_header h;
	uint8_t rsvd6[10];
};
WIRE_SIZE(struct nvmf_auth_success2, 16);

struct nvmf_auth_failure {
	struct nvmf_auth_header h;
	uint8_t rc;
	uint8_t rce;
};
WIRE_SIZE(struct nvmf_auth_failure, 8);

#endif
