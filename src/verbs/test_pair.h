/* SPDX-License-Identifier: BSD-3-Clause */
/* test_pair.h: two ends of RDMA in one core, for tests: queues on a reactor each, and a record of all they are told.
 *
 * Functions are called from outside of reactors, and have done their work when they return.
 */
#ifndef VERBS_TEST_PAIR_H
#define VERBS_TEST_PAIR_H

#include "core/mem.h"
#include "verbs/test_world.h"

#define END_WCS 8192u
#define END_MEM MEM_IO_BYTES_MAX
#define END_DEPTH 64u

struct end {
	struct pair *pair;
	struct reactor *reactor;
	struct verbs_cq *cq;
	struct verbs_srq *srq;       /* NULL: receives of its own */
	struct verbs_mem mem;
	struct verbs_conn *conn;
	/* what was told */
	_Atomic uint32_t resolved, established, rejected, unreachable, ended, asked;
	struct verbs_params said;    /* with the last of them */
	uint8_t data[256];
	int rc;
	_Atomic uint32_t wc_count;   /* first wcs[i], then this */
	struct verbs_wc wcs[END_WCS];
	_Atomic uint32_t echo;       /* messages to send back as they come */
	struct err err;
};

struct pair {
	struct core *core;
	struct verbs *v;
	struct verbs_dev *dev;
	struct verbs_watcher watcher;
	struct verbs_listener *listener;
	struct net_addr addr;
	struct end server, client;
	/* how they connect */
	struct verbs_params server_says, client_says;
	uint32_t send_max, inline_max;
	bool reject;
	_Atomic uint32_t came, gone, port_up, port_down;
};

/* Open: an adapter has come, completion queues are started. */
void pair_open(struct pair *p, uint32_t number, bool shared);
/* Close whatever is open. */
void pair_close(struct pair *p);
void pair_listen(struct pair *p);
/* The client connects; returns when it was told how that went. Who connects or is asked makes its queues first. */
void pair_connect(struct pair *p);
void pair_establish(struct pair *p);    /* and both ends are */
void pair_disconnect(struct pair *p);   /* and both ends were told */
void end_disconnect(struct end *e);     /* and it was told; the other side may not be reached */
void pair_free_conns(struct pair *p);

/* Of an end. */
int end_recv(struct end *e, uint32_t at, uint32_t len);              /* ctx is `at` */
int end_post(struct end *e, const struct verbs_wr *wr);              /* a chain */
/* Until so many completions were told in all. */
bool end_wait(struct end *e, uint32_t count);
bool end_wait_for(_Atomic uint32_t *what, uint32_t count);
struct verbs_sge end_sge(const struct end *e, uint32_t at, uint32_t len);
static inline uint8_t *end_at(const struct end *e, uint32_t at) { return (uint8_t *)e->mem.base + at; }
static inline void *end_ctx(uint32_t at) { return (void *)(uintptr_t)at; }

#endif
