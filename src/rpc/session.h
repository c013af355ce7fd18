/* SPDX-License-Identifier: BSD-3-Clause */
/* session.h: JSON-RPC 2.0 with one client, without a socket: bytes in, bytes out. Private to rpc.
 *
 * Requests of one client begin in the order in which they came and may end in another; those of a batch run one after
 * the other, so that a batch may make a thing and use it. A client that does not read its answers, or
 * has too many requests in progress, is not read from until that changes.
 */
#ifndef RPC_SESSION_H
#define RPC_SESSION_H

#include "rpc/rpc.h"
#include "rpc/stream.h"

#define SESSION_PENDING_MAX 64          /* requests and batches in progress */
#define SESSION_OUTPUT_MAX (1u << 20)   /* unread answers beyond which no request is taken */
#define SESSION_BATCH_OUTPUT_MAX (32u << 20) /* answers of one batch; the rest of it is refused */
#define SESSION_PASS_MAX 64             /* requests of batches begun in one pass */

struct session {
	struct rpc *rpc;
	struct stream stream;
	struct list requests, batches;  /* in progress */
	uint32_t pending;
	char *out;
	size_t out_at, out_len, out_cap;
	bool closing;                   /* an error from which there is no going on: nothing more is taken */
	void (*wake)(void *arg);        /* there is output, or more input may be taken, or session_run() has work */
	void *arg;
};

void session_init(struct session *s, struct rpc *rpc, void (*wake)(void *arg), void *arg);
/* Requests in progress go on; their answers are dropped. */
void session_fini(struct session *s);

bool session_can_take(const struct session *s);
/* Returns how many bytes were taken; fewer than `len` when the session is full or closing. */
size_t session_take(struct session *s, const char *bytes, size_t len);
/* Go on with batches. True: there is more to do in the next pass. */
bool session_run(struct session *s);
/* What to send. */
static inline size_t session_output(const struct session *s, const char **ret_bytes)
{
	*ret_bytes = s->out ? s->out + s->out_at : NULL;
	return s->out_len - s->out_at;
}
void session_sent(struct session *s, size_t len);
/* Say an error that belongs to no request, and close. */
void session_refuse(struct session *s, int code, const char *sentence);

#endif
