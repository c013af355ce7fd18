/* SPDX-License-Identifier: BSD-3-Clause */
/* carry.h: move something that lives on a core (a connection, a ring) to another one: freeze, carry, thaw.
 *
 * What wants to move takes nothing new in, and waits for what its core has in hand: that ends where it began. If that
 * takes longer than its patience it stays. The object stays the same and keeps its address; what it is passes through
 * struct freeze, so that the same routine can write it for another process.
 *
 *     old core   carry_start()    wanted: may_leave() is asked now, and after each carry_look_soon()
 *     old core   leave()          comes to rest, is frozen, and forgets what was frozen
 *     new core   arrive()         belongs there, and is thawed
 *     new core   live()           goes on; this may as well be its end
 *     old core   done(arg, 0)
 */
#ifndef CORE_CARRY_H
#define CORE_CARRY_H

#include "core/core.h"
#include "core/freeze.h"

struct carry;
struct carry_ops {
	const char *what;                     /* for the log: "NVMe/TCP: a connection" */
	uint32_t patience_ms;
	/* Its old core. False: something is in hand; whoever ends that calls carry_look_soon(). */
	bool (*may_leave)(struct carry *c);
	void (*stay)(struct carry *c);        /* it took too long: as if nobody had asked */
	void (*leave)(struct carry *c, struct reactor *to, struct freeze *f);
	/* Its new core. */
	void (*arrive)(struct carry *c, struct freeze *f);
	void (*live)(struct carry *c);
};

/* rc: 0, it has arrived; -ENOTCONN, it is gone; -EALREADY, it is there, or moves already; -EBUSY, what it had in hand
 * took too long: it stays. */
typedef void carry_done_fn(void *arg, int rc);

/* Embedded in what is carried; zeroed: nobody wants to. */
struct carry {
	struct carrying *now;                 /* wants to move, or is on its way */
	struct defer look;
};
static inline bool carry_is_wanted(const struct carry *c) { return unlikely(c->now != NULL); }

/* Carry `c` to an I/O reactor; `lives` false: it is too late for that.
 *
 * Core:   its own.
 * Then:   done(arg, rc) runs on this core, later, in any case.
 * Errors: as rc. */
void carry_start(struct carry *c, const struct carry_ops *ops, struct reactor *to, bool lives, carry_done_fn *done,
                 void *arg);
/* It is going for good: no part of it is used any more. No effect when nobody wants it to move. Its core. */
void carry_cancel(struct carry *c);
/* Something ended: maybe it can go now. Looked at when the pass ends, if it wants to move at all. */
void carry_look(struct defer *d);
static inline void carry_look_soon(struct carry *c)
{
	if (carry_is_wanted(c))
		defer_last(&c->look, carry_look);
}

/* Where it lives, for those elsewhere who send it messages. */
struct carry_home {
	_Atomic(struct reactor *) at;         /* told where it leaves */
	bool here;                            /* at's, as all that follows: it has come */
	struct msg_chain early;               /* messages that came before it */
};
static inline struct reactor *carry_at(struct carry_home *h) { return atomic_load(&h->at); }
/* Its life begins on `at`; nobody has sent it anything yet. */
static inline void carry_begins(struct carry_home *h, struct reactor *at)
{
	h->here = true;
	atomic_store(&h->at, at);
}
/* It leaves this core. What reaches it from now on follows. */
static inline void carry_goes(struct carry_home *h, struct reactor *to)
{
	h->here = false;
	atomic_store(&h->at, to);
}
/* It is here: so is what came before it, again, in its order. */
static inline void carry_came(struct carry_home *h)
{
	h->here = true;
	msg_send_chain(reactor_self(), &h->early);
}
static inline void carry_send(struct carry_home *h, struct msg *m, msg_fn *fn) { msg_send(carry_at(h), m, fn); }
/* A message reached a core: is it the right one, and what it is for has come? Otherwise it was passed on, or kept; fn
 * runs again where both meet. Until then nothing else of what it is for may be looked at: another core may have it. */
bool carry_met(struct carry_home *h, struct msg *m, msg_fn *fn);

/* What to tell a person who asked for it; `what`: "the session". No effect with rc 0. */
void carry_explain(const char *what, int rc, struct err *e);

#endif
