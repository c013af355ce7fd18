/* SPDX-License-Identifier: BSD-3-Clause */
/* seq.c: running a list of steps, and undoing it backwards from where it failed. */
#include "core/seq.h"

#include <errno.h>

#include "base/text.h"
#include "core/log.h"

static void run(struct seq *s);

void seq_start(struct seq *s, const char *name, const struct seq_step *steps, uint32_t count,
               void (*done)(struct seq *s))
{
	uint32_t fail_at = s->fail_at;

	*s = (struct seq){ .name = name, .steps = steps, .count = count, .done = done, .fail_at = fail_at };
	run(s);
}

static enum seq_result step(struct seq *s);
static bool settle(struct seq *s, enum seq_result result);

static void run(struct seq *s)
{
	for (;;) {
		enum seq_result result;

		if (s->undoing ? s->at == 0 : s->at == s->count) {
			s->done(s);
			return;
		}
		result = step(s);
		if (result == SEQ_WAIT && s->resumed)
			result = s->resumed_code && !s->undoing ? SEQ_FAILED : SEQ_NEXT;
		s->resumed = false;
		if (!settle(s, result))
			return;
	}
}

static const struct seq_step *step_now(const struct seq *s)
{
	return &s->steps[s->undoing ? s->at - 1 : s->at];
}

static enum seq_result step(struct seq *s)
{
	const struct seq_step *now = step_now(s);
	enum seq_result result = SEQ_NEXT;

	s->step_began_ns = core_clock_ns();
	if (!s->undoing && s->fail_at == s->at + 1) {
		err_set(&s->err, -ECANCELED, "%s: step \"%s\" was made to fail by a test", s->name, now->name);
		return SEQ_FAILED;
	}
	s->in_step = true;
	if (!s->undoing)
		result = now->run(s);
	else if (now->undo)
		result = now->undo(s);
	s->in_step = false;
	return result;
}

static void say(const struct seq *s, enum seq_result result)
{
	char duration[32];

	if (log_debugs())
		log_debug("%s: %s \"%s\" %s after %s", s->name, s->undoing ? "undoing" : "step", step_now(s)->name,
		          result == SEQ_FAILED ? "failed" : "done",
		          text_duration(core_clock_ns() - s->step_began_ns, duration));
}

/* What a step came to. False: it waits. */
static bool settle(struct seq *s, enum seq_result result)
{
	if (result == SEQ_WAIT) {
		s->waiting = true;
		return false;
	}
	say(s, result);
	if (s->undoing) {
		must(result != SEQ_FAILED); /* an undo cannot fail */
		s->at--;
	} else if (result == SEQ_NEXT) {
		s->at++;
	} else {
		if (!s->err.code)
			err_set(&s->err, -EIO, "%s: step \"%s\" failed", s->name, step_now(s)->name);
		s->undoing = true;
	}
	return true;
}

void seq_resume(struct seq *s, int code)
{
	if (code && !s->undoing && !s->err.code)
		err_set(&s->err, code, "%s: step \"%s\" failed: %s", s->name, step_now(s)->name, strerror(abs(code)));
	if (s->in_step) {
		s->resumed = true;
		s->resumed_code = code;
		return;
	}
	must(s->waiting);
	s->waiting = false;
	settle(s, code && !s->undoing ? SEQ_FAILED : SEQ_NEXT);
	run(s);
}
