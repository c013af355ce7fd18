/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rig.h: a secured socket over a raw one that a test holds in its hands: what it receives was put there, what it
 * sends stays there. For tests and fuzz targets of net/tls, without a network. */
#ifndef NET_TLS_TEST_RIG_H
#define NET_TLS_TEST_RIG_H

#include "core/sim/sim.h"
#include "net/tls/inside.h"

#define RIG_BYTES (1u << 20)

/* Raw. */
struct sock {
	struct tls *tls;
	sock_ready_fn *ready;
	void *arg;
	uint8_t in[RIG_BYTES], out[RIG_BYTES];
	uint32_t in_at, in_len, out_len;
	uint32_t room;          /* what the kernel takes before it is full */
	uint32_t recv_max;      /* at once; 0: all */
	bool want_read, want_write, peer_ended, shut, closed;
	uint32_t told;          /* events since it was asked last */
};

struct rig {
	struct core *core;
	struct sock *sock;
	struct keys in, out;    /* the peer's: what it opens, and seals, with; OpenSSL's, whoever's ours are */
	uint32_t out_at;        /* what was opened of what it sent */
};

struct core *rig_world(void);
void rig_world_end(struct core *core);
/* As the reactor. */
struct sock *rig_sock(void);
/* A secured socket whose handshake is over. */
void rig_begin(struct rig *r, struct core *core, uint8_t hash, bool serves);
void rig_end(struct rig *r);
/* Give the peer's record: `pad` zeros behind the content. */
void rig_give(struct rig *r, uint8_t type, const void *content, uint32_t len, uint32_t pad);
void rig_give_raw(struct rig *r, const void *bytes, uint32_t len);
/* The next record that it sent; false: none. `content` has room for PLAIN_MAX. */
bool rig_take(struct rig *r, uint8_t *ret_type, uint8_t *content, uint32_t *ret_len);
ssize_t rig_recv(struct rig *r, void *buf, size_t len);
ssize_t rig_send(struct rig *r, const void *bytes, size_t len);
void rig_ready(struct rig *r, uint32_t events);
void rig_do(struct rig *r, void (*fn)(void *arg), void *arg);
/* Its deferred calls; returns what its owner was told since it was asked last. */
uint32_t rig_pass(struct rig *r);

#endif
