/* SPDX-License-Identifier: BSD-3-Clause */
/* machine.h: state machines from one table.
 *
 * A module writes one X-macro with a row per state: name, meaning, legal next states. From it come
 * the enum, the names and the check of each transition:
 *
 *     #define REQ_STATES(X) \
 *             X(REQ, NEW,     "parse the command",      TO(REQ, EXECUTE) | TO(REQ, RESPOND)) \
 *             X(REQ, EXECUTE, "the device has it",      TO(REQ, RESPOND)) \
 *             X(REQ, RESPOND, "the answer is going out", 0)
 *     enum req_state { REQ_STATES(MACHINE_ENUM) REQ_STATE_COUNT };
 *     static const struct machine_state req_states[] = { REQ_STATES(MACHINE_ROW) };
 *
 * A step returns NEXT (call the step of the state it went to), WAIT (something named will resume it)
 * or DONE (the machine ended; the object may be gone). Waiting is a return value, not a state.
 */
#ifndef CORE_MACHINE_H
#define CORE_MACHINE_H

#include "base/base.h"

enum step { STEP_NEXT, STEP_WAIT, STEP_DONE };

struct machine_state {
	const char *name, *meaning;
	uint64_t next; /* bit n: state n may follow */
};

struct machine {
	const struct machine_state *states;
	const char *name;
	uint8_t state;
};

#define TO(M, S) (1ull << M##_##S)
#define MACHINE_ENUM(M, S, meaning, next) M##_##S,
#define MACHINE_ROW(M, S, meaning, next) [M##_##S] = { #S, meaning, next },

/* Go to another state; the table must allow it. Returns STEP_NEXT so a step can end with it. */
static inline enum step machine_goto(struct machine *m, uint8_t state)
{
	must(m->states[m->state].next & (1ull << state));
	m->state = state;
	return STEP_NEXT;
}

#endif
