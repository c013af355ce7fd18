/* SPDX-License-Identifier: BSD-3-Clause */
/* initiator.h: a small iSCSI initiator for gantry-perf: one session of one connection to one logical unit, on the
 * reactor that opened it. CHAP one way; error recovery level 0: when anything is wrong it is over.
 */
#ifndef PERF_INITIATOR_H
#define PERF_INITIATOR_H

#include "net/net.h"

struct ini_url {                /* iscsi://[USER@]HOST[:PORT]/TARGET[/LUN] */
	struct net_addr addr;
	char user[256];             /* of CHAP, whose secret is in $GANTRY_CHAP_SECRET; "": none */
	char target[224];
	uint32_t lun;
};
int ini_url_parse(const char *text, struct ini_url *ret_url, struct err *e) MUST_USE;

struct ini_op {
	uint8_t cdb[16];
	bool is_write;
	uint8_t *data;
	uint32_t len;
	void (*done)(struct ini_op *op);
	/* Set before done(). */
	uint8_t status, key;        /* SCSI status; 0xff: the session is over */
	uint16_t asc;               /* ASC and ASCQ */
	uint32_t got;               /* bytes read, or sent */
	/* The session's. */
	uint8_t tries;
	struct queue_link link;
};

struct ini_opts {
	bool header_digest, data_digest;
	uint32_t io_timeout_ms;     /* nothing comes for so long although something is expected: over; 0: never */
	uint32_t number;            /* of the session among ours: makes its initiator port its own */
};

struct ini_info {
	uint64_t block_count;
	uint32_t block_size;
};

struct ini;
/* `ready` comes once: the unit is there, its size is known, or e says what is wrong. `gone` after it, at most once: the
 * session is over; all operations have been answered with status 0xff. */
struct ini *ini_open(const struct ini_url *url, const struct ini_opts *opts,
                     void (*ready)(struct ini *i, const struct err *e, void *arg),
                     void (*gone)(struct ini *i, const struct err *e, void *arg), void *arg);
const struct ini_info *ini_get_info(const struct ini *i);
/* READ (16) or WRITE (16): CDB and direction; zeroes the rest. */
void ini_op_rw(struct ini_op *op, bool is_write, uint64_t lba, uint32_t blocks);
void ini_submit(struct ini *i, struct ini_op *op);
/* End it; what is outstanding is answered. */
void ini_fail(struct ini *i, const struct err *e);
void ini_close(struct ini *i);
const char *ini_op_text(const struct ini_op *op, char buf[static 80]);

#endif
