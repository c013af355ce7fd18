/* SPDX-License-Identifier: BSD-3-Clause */
/* look.h: memory that others write, and that an awake reactor looks at once a pass: a ring shared with a virtual
 * machine, say.
 *
 * Unlike a poller, a looker keeps no reactor awake. Before the reactor sleeps it is armed: it asks whoever writes to
 * ring its bell (core/bell.h), and looks once more; so that
 *
 *     who writes: publish, full fence, read whether the bell is asked for, ring
 *     arm():      ask for the bell, full fence, read what was published
 *
 * and at least one of the two sees the other. While it is armed it is not looked at. Its bell's function calls
 * looker_rang(): it is disarmed, and looked at in this pass and as long as its reactor stays awake, whatever the mode.
 * One that stays quiet in a reactor that others keep busy is armed as well after a while, so that a thousand idle
 * rings do not cost a thousand calls a pass. A reactor in poll mode arms none.
 */
#ifndef CORE_LOOK_H
#define CORE_LOOK_H

#include "core/core.h"

#define LOOKER_QUIET_NS (1 * NS_PER_MS) /* quiet for so long (and longer than a spin): armed while others are busy */

struct looker {
	/* Yours, set before looker_start(); each is called on the looker's reactor only. */
	uint32_t (*look)(struct looker *l);  /* take what is there, up to a budget of its own; how much that was */
	bool (*arm)(struct looker *l);       /* see above; true: something is there after all: then disarm(), look() */
	void (*disarm)(struct looker *l);    /* awake: no bell wanted while it is looked at */
	/* Core's. */
	const char *name;
	uint64_t looks, busy_looks;          /* calls of look(); those that found something */
	uint64_t arms, arms_in_vain, rings;  /* times armed; of those, something was there; looker_rang() */
	uint64_t busy_ns;                    /* when it last found something, or its bell rang */
	struct reactor *reactor;             /* NULL: not started */
	bool armed;
	struct list link;
};

/* Begin to look: in this pass, or the next. Not armed at first.
 *
 * Core: the calling reactor; stop it there. Memory: `l` stays until looker_stop(); `name` is static text.
 * Then: look() also runs when nobody rang; it must not mind finding nothing. */
void looker_start(struct looker *l, const char *name);
/* No function of it is called any more; from within them too. It is not disarmed: who goes does not mind a bell. No
 * effect when it is not started. */
void looker_stop(struct looker *l);
/* Its bell rang, or a message says that there is something: looked at in this pass if its turn is still to come, else
 * in the next, which follows at once. */
void looker_rang(struct looker *l);
static inline bool looker_is_started(const struct looker *l) { return l->reactor; }

/* The calling reactor's, armed ones too: for thread_get_pollers and "why awake". */
void reactor_visit_lookers(void (*visit)(const struct looker *l, void *arg), void *arg);

#endif
