/* SPDX-License-Identifier: BSD-3-Clause */
/* seq_test.c: whichever step fails, what was done before is undone, in reverse. */
#include <errno.h>

#include "core/rig_test.h"
#include "core/seq.h"

static char trail[32], trails[8][32];
static struct seq seq;
static struct timer timer;
static uint32_t round_at;

static void note(char c) { strncat(trail, (char[]){ c, 0 }, sizeof(trail) - strlen(trail) - 1); }
static void resume_late(struct timer *t) { seq_resume(&seq, 0); }

static enum seq_result one(struct seq *s) { note('a'); return SEQ_NEXT; }
static enum seq_result undo_one(struct seq *s) { note('A'); return SEQ_NEXT; }
static enum seq_result two(struct seq *s)
{
	note('b');
	timer_start(&timer, 0, resume_late);
	return SEQ_WAIT;
}
static enum seq_result undo_two(struct seq *s)
{
	note('B');
	timer_start(&timer, 0, resume_late);
	return SEQ_WAIT;
}
/* What it waits for is there before it begins to wait. */
static enum seq_result three(struct seq *s) { note('c'); seq_resume(s, 0); return SEQ_WAIT; }
static enum seq_result four(struct seq *s) { note('d'); return SEQ_NEXT; }
static enum seq_result undo_four(struct seq *s) { note('D'); return SEQ_NEXT; }

static const struct seq_step steps[] = {
	{ "one",   one,   undo_one },
	{ "two",   two,   undo_two },
	{ "three", three, NULL },
	{ "four",  four,  undo_four },
};

static void next_round(void);

static void seq_done(struct seq *s)
{
	memcpy(trails[round_at], trail, sizeof(trail));
	check((s->err.code != 0) == (s->fail_at != 0));
	if (round_at++ == ARRAY_SIZE(steps))
		rig_stop();
	else
		next_round();
}

static void next_round(void)
{
	trail[0] = 0;
	seq.fail_at = round_at;
	seq_start(&seq, "test", steps, ARRAY_SIZE(steps), seq_done);
}

static void rounds_start(void *arg) { next_round(); }

static void every_failure_undoes_what_went_before(void **state)
{
	round_at = 0;
	rig_run(1, CORE_INTERRUPT, rounds_start);
	assert_string_equal(trails[0], "abcd");
	assert_string_equal(trails[1], "");
	assert_string_equal(trails[2], "aA");
	assert_string_equal(trails[3], "abBA");
	assert_string_equal(trails[4], "abcBA");
}

static enum seq_result refuse(struct seq *s)
{
	err_set(&s->err, -EBUSY, "the door is shut");
	return SEQ_FAILED;
}
static void resume_failed(struct timer *t) { seq_resume(&seq, -ENOSPC); }
static enum seq_result fail_late(struct seq *s)
{
	timer_start(&timer, 0, resume_failed);
	return SEQ_WAIT;
}
static const struct seq_step refusing[] = { { "one", one, undo_one }, { "refuse", refuse, NULL } };
static const struct seq_step failing[] = { { "one", one, undo_one }, { "late", fail_late, undo_two } };
static struct err first_err, second_err;

static void late_done(struct seq *s)
{
	second_err = s->err;
	rig_stop();
}

static void refused(struct seq *s)
{
	first_err = s->err;
	seq_start(&seq, "late", failing, ARRAY_SIZE(failing), late_done);
}

static void errors_start(void *arg)
{
	seq.fail_at = 0;
	seq_start(&seq, "refusing", refusing, ARRAY_SIZE(refusing), refused);
}

static void first_sentence_is_kept(void **state)
{
	trail[0] = 0;
	rig_run(1, CORE_INTERRUPT, errors_start);
	assert_int_equal(first_err.code, -EBUSY);
	assert_string_equal(first_err.text, "the door is shut");
	assert_int_equal(second_err.code, -ENOSPC);
	assert_string_equal(trail, "aAaA"); /* the step that failed is not undone */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_failure_undoes_what_went_before),
		cmocka_unit_test(first_sentence_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
