/* SPDX-License-Identifier: BSD-3-Clause */
/* initiator_priv.h: a session from within. Private to initiator*.c. */
#ifndef PERF_INITIATOR_PRIV_H
#define PERF_INITIATOR_PRIV_H

#include "base/text.h"
#include "perf/initiator.h"
#include "wire/iscsi.h"
#include "wire/scsi.h"

#define INI_TRIES_MAX 100u         /* unit attentions that one operation may meet */
#define INI_TAGS 1024u             /* commands out at a time */
#define INI_RECV_MAX 262144u       /* our MaxRecvDataSegmentLength */
#define INI_FIRST_BURST 262144u    /* of data that comes unasked: what we offer */
#define INI_RX_BYTES 262144u
#define INI_STATUS_LOST 0xffu

/* A PDU to be sent: header, data of the operation, digests. */
struct ini_tx {
	union iscsi_bhs hdr;
	uint8_t header_digest[4], tail[8]; /* tail: padding and data digest */
	uint32_t header_len, tail_len, len;
	const uint8_t *data;
};

struct ini_rx {
	uint8_t *buf;
	uint32_t from, to;
	struct ini_op *op;             /* Data-In under way: goes straight into its buffer ... */
	uint32_t at, left;             /* ... from here, so much */
	uint32_t crc, skip;            /* of the data so far; padding and digest behind it */
	union iscsi_bhs hdr;
};

struct ini {
	struct ini_url url;
	struct ini_opts opts;
	struct ini_info info;
	void (*ready)(struct ini *i, const struct err *e, void *arg);
	void (*gone)(struct ini *i, const struct err *e, void *arg);
	void *arg;
	uint8_t isid[3];               /* random: other processes have sessions too */
	struct sock *sock;
	struct timer timer;
	struct err err;
	bool connected, full_feature, is_ready, over, blocked;
	/* login: without a user it begins with the parameters */
	enum { INI_ASK_CHAP, INI_ASK_ALGORITHM, INI_ASK_CHALLENGE, INI_ASK_PARAMETERS } stage;
	struct { bool agreed; char algorithm[4], id[4], challenge[2 * 1024 + 3]; } chap;
	/* agreed */
	bool immediate_data, initial_r2t, hdgst_agreed, ddgst_agreed, hdgst, ddgst;
	uint32_t send_max, first_burst;
	/* numbers */
	uint32_t cmd_sn, max_cmd_sn, exp_stat_sn, tries, out_count;
	uint64_t heard_ns;
	struct ini_op *tags[INI_TAGS];
	uint16_t free_tags[INI_TAGS];
	uint32_t free_count;
	struct queue waiting;          /* for the command window, or a tag */
	/* sending: a ring of PDUs */
	struct ini_tx *tx;
	uint32_t tx_first, tx_count, tx_size;
	size_t tx_sent;                /* bytes of the first one that are sent */
	struct defer send_defer;
	struct ini_rx rx;
	/* login, and the first commands */
	char text[1024];
	struct ini_op first;
	uint8_t first_data[32];
};

void ini_broke(struct ini *i, const char *fmt, ...) PRINTF(2, 3);
void ini_on_login(struct ini *i, const struct iscsi_login_rsp *r, char *text, uint32_t len);
/* initiator_chap.c */
const char *ini_chap_secret(void);                        /* NULL: there is none */
void ini_chap_take(struct ini *i, const char *key, const char *value);
void ini_chap_offer(struct text *to);
bool ini_chap_answer(struct ini *i, struct text *to);      /* false: it broke */
/* initiator_io.c */
struct ini_tx *ini_tx_add(struct ini *i);                 /* zeroed; at the end of the line */
void ini_tx_ready(struct ini *i, struct ini_tx *x);         /* all but digests and padding is filled in */
void ini_send(struct defer *d);
void ini_receive(struct ini *i);

#endif
