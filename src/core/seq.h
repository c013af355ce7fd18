/* SPDX-License-Identifier: BSD-3-Clause */
/* seq.h: control operations as a list of steps with their undoing.
 *
 * A step does its part and returns SEQ_NEXT, SEQ_WAIT (something calls seq_resume() later) or
 * SEQ_FAILED (the sentence is in seq->err). When a step fails, the undo of every step before it runs
 * in reverse order; an undo cannot fail but may wait. Each step's name and time is logged at debug
 * level; a test can make step n fail (seq_fail_at) and see that nothing is left behind.
 */
#ifndef CORE_SEQ_H
#define CORE_SEQ_H

#include "core/core.h"

struct seq;
enum seq_result { SEQ_NEXT, SEQ_WAIT, SEQ_FAILED };
typedef enum seq_result seq_do_fn(struct seq *s);
typedef enum seq_result seq_undo_fn(struct seq *s);

struct seq_step {
	const char *name;
	seq_do_fn *run;
	seq_undo_fn *undo; /* NULL: nothing to undo */
};

struct seq {
	const char *name;
	const struct seq_step *steps;
	uint32_t count, at;
	bool undoing, waiting;
	bool in_step, resumed;        /* seq_resume() from within the step that is about to wait */
	int resumed_code;
	struct err err;               /* first failure */
	void (*done)(struct seq *s);  /* err.code is 0 on success; may free the seq's container */
	uint64_t step_began_ns;
	uint32_t fail_at;             /* tests: fail instead of running step n (from 1); 0: never */
};

/* Run on the calling reactor; `done` runs once, possibly before this returns. */
void seq_start(struct seq *s, const char *name, const struct seq_step *steps, uint32_t count,
               void (*done)(struct seq *s));
/* End a SEQ_WAIT, on the same reactor. `code` 0 goes on; otherwise the step failed (s->err says why). */
void seq_resume(struct seq *s, int code);

#endif
