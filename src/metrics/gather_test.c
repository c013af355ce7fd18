/* SPDX-License-Identifier: BSD-3-Clause */
/* gather_test.c: who asks meanwhile gets the same text; and when the last thing that the end waits for is a text's
 * reader, the others that wait are answered before the metrics go. */
#include "core/rig_test.h"
#include "metrics/gather.h"

#define ASKS 3u

static struct bdev_registry *reg;
static struct metrics *metrics;
static struct metrics_ask asks[ASKS];
static struct metrics_text *got[ASKS];
static uint32_t answered;

static void gone(void *arg)
{
	check(answered == ASKS);
	for (uint32_t i = 0; i < ASKS; i++) {
		check(got[i] && got[i] == got[0] && strstr(got[i]->bytes, "gantry_build_info"));
		metrics_text_unref(got[i]);
	}
	bdev_registry_free(reg);
	rig_stop();
}

/* The first is an HTTP server's last request: that one has ended then. */
static void text_is_there(struct metrics_ask *a, struct metrics_text *text)
{
	got[a - asks] = text;
	answered++;
	if (a != asks)
		return;
	metrics->servers--;
	metrics_maybe_stopped(metrics);
}

static void start(void *arg)
{
	reg = bdev_registry_make(rig.core);
	metrics = metrics_make(rig.core, reg, NULL, "1");
	metrics->servers = 1;
	for (uint32_t i = 0; i < ASKS; i++)
		metrics_ask(metrics, &asks[i], text_is_there);
	metrics_stop(metrics, gone, NULL);
}

static void all_are_answered_before_the_end(void **state)
{
	rig_run(2, CORE_ADAPTIVE, start);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(all_are_answered_before_the_end) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
