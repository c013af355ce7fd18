/* SPDX-License-Identifier: BSD-3-Clause */
/* session.h: the register of connections and sessions, as the configuration sees it. Control
 * reactor. */
#ifndef ISCSI_SESSION_H
#define ISCSI_SESSION_H

#include "iscsi/config.h"

struct iscsi_conns *iscsi_conns_make(struct iscsi_target *t);
/* Every connection is ended, and no new one comes: then done. */
void iscsi_conns_stop(struct iscsi_conns *c, void (*done)(void *arg), void *arg);
void iscsi_conns_free(struct iscsi_conns *c);

/* t->options may have changed: for what cores look at. */
void iscsi_conns_set_options(struct iscsi_target *t);

/* A connection that was accepted at `p`: logs in. Takes `s`. */
void iscsi_conn_accept(struct iscsi_portal *p, struct sock *s);

/* What a connection is; for the moment of the call. */
enum iscsi_conn_phase { ISCSI_CONN_LOGIN, ISCSI_CONN_DISCOVERY, ISCSI_CONN_NORMAL, ISCSI_CONN_ENDING };
struct iscsi_conn_info {
	uint32_t id;                      /* of its own: moves are asked for by it */
	enum iscsi_conn_phase phase;
	const char *login_stage;          /* "not_started", "security_negotiation_phase", ...: SPDK's words */
	uint16_t cid, tsih;
	const char *initiator;            /* "" until it is known */
	uint8_t isid[6];
	struct net_addr local, peer;
	struct iscsi_portal_group *pg;
	struct iscsi_node *node;          /* NULL: a discovery session, or not known yet */
	struct reactor *reactor;
	bool header_digest, data_digest;
	const struct iscsi_params *params; /* constant from full feature phase on, but for the longest segments */
	uint64_t since_us;                /* wall clock */
	/* counted on its core, read while it counts */
	uint64_t pdus_in, pdus_out, bytes_in, bytes_out, commands;
};
void iscsi_conns_each(struct iscsi_target *t, void (*fn)(void *arg, const struct iscsi_conn_info *i), void *arg);

/* End those that match, in any phase. done runs once, maybe before the call returns, when none that matched is left and
 * nothing of theirs can land any more. */
struct iscsi_conns_end {
	bool (*matches)(struct iscsi_conns_end *e, const struct iscsi_conn_info *i);
	void (*done)(struct iscsi_conns_end *e);
	struct list link;                 /* the register's */
	uint32_t left;
};
void iscsi_conns_end(struct iscsi_target *t, struct iscsi_conns_end *e);

/* Ask hosts to log out of a node (asynchronous message); pg NULL: whatever they came in by. */
void iscsi_conns_request_logout(struct iscsi_node *n, const struct iscsi_portal_group *pg);

/* Put a session on another core, where the scheduler leaves it when it is pinned. done: later. */
struct iscsi_move {
	void (*done)(struct iscsi_move *m);
	struct err err;
	bool pinned;
	void *own;
};
void iscsi_conn_move(struct iscsi_target *t, struct iscsi_move *m, uint32_t id, struct reactor *to);

/* What all sessions of a node have counted since the daemon began; `sessions`: there are now. */
void iscsi_conns_count(const struct iscsi_node *n, struct iscsi_counts *ret_counts);

/*        key                  meaning */
#define ISCSI_COUNTERS(X) \
	X(recvs,               "receive calls") \
	X(recv_bytes,          "bytes received") \
	X(sends,               "send calls") \
	X(sent_bytes,          "bytes sent") \
	X(short_sends,         "sends that could not finish") \
	X(commands,            "SCSI commands received") \
	X(immediate_bytes,     "data bytes that came with their commands") \
	X(r2ts,                "R2Ts sent") \
	X(data_out_pdus,       "Data-Out PDUs received") \
	X(data_in_pdus,        "Data-In PDUs sent") \
	X(direct_bytes,        "bytes received straight into tasks' buffers") \
	X(lent_writes,         "writes received in memory of their device") \
	X(in_place_writes,     "writes executed from the receive buffer") \
	X(answered_early,      "receives whose commands were answered before the next connection's turn") \
	X(rx_pinned,           "receive buffers a device kept for a while") \
	X(data_on_heap,        "writes with data unasked for that found no pool buffer") \
	X(room_waits,          "commands that waited for buffers or iovecs") \
	X(task_management,     "task management requests") \
	X(pings,               "NOP-Outs answered") \
	X(our_pings,           "NOP-Ins sent to hear whether somebody is there") \
	X(texts,               "text requests of full feature phase") \
	X(rejects,             "Reject PDUs sent") \
	X(ignored,             "commands outside of the window, and data nobody waits for any more: dropped") \
	X(header_digest_errors, "connections ended for a wrong header digest") \
	X(data_digest_errors,  "PDUs with a wrong data digest") \
	X(protocol_errors,     "connections ended for what RFC 7143 forbids") \
	X(timed_out,           "connections ended for silence") \
	X(logouts,             "logouts") \
	X(reset,               "sessions that ended without a logout") \
	X(login_failures,      "logins refused or not finished") \
	X(logins,              "sessions that reached full feature phase") \
	X(moved_in,            "sessions moved to this core")
#define ISCSI_COUNTER_FIELD(key, meaning) uint64_t key;
struct iscsi_counters {
	ISCSI_COUNTERS(ISCSI_COUNTER_FIELD)
};
/* Of one core; index core_reactor_count(): of the control reactor, that is, of logins and discovery. Values may be a
 * pass old. */
void iscsi_conns_stats(const struct iscsi_conns *cs, uint32_t core_index,
                       void (*emit)(void *arg, const char *key, uint64_t v), void *arg);

#endif
