/* SPDX-License-Identifier: BSD-3-Clause */
/* gather_test.c: who asks meanwhile gets the same text; and when the last thing that the end waits for is a text's
 * reader, the others that wait are answered before the metrics go. Beyond the limits all names are one row, whose
 * labels are nobody's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/text.h"
#include "metrics/gather.h"

/* Checks on reactors are asserted afterwards: cmocka's jump. */
static struct {
	struct core *core;
	const char *failed;
} rig;
#define check(cond) ((cond) ? (void)0 : (void)(rig.failed = #cond))

static void rig_run(void (*start)(void *arg))
{
	struct err e = { 0 };
	int code;

	rig.failed = NULL;
	rig.core = core_make(&(struct core_opts){ .mode = CORE_ADAPTIVE, .stall_ms = 60000 }, &e);
	if (!rig.core)
		fail_msg("%s", e.text);
	code = core_run(rig.core, start, NULL);
	core_free(rig.core);
	if (rig.failed)
		fail_msg("%s", rig.failed);
	assert_int_equal(code, 0);
}

static void rig_stop(void) { core_stop(rig.core, 0); }

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
	rig_run(start);
}

/* --- names ------------------------------------------------------------------------------------------- */

static struct gathering *two_cores(uint32_t rows)
{
	struct gathering *g = base_zalloc(sizeof(*g) + 3 * sizeof(g->cores[0]));

	g->core_count = 3;
	g->m = metrics;
	for (uint32_t c = 0; c < g->core_count; c++) {
		struct stage_eyes *eyes = &g->cores[c].nvmf.stages;

		g->cores[c].reactor = core_reactor(rig.core, 0);
		if (c + 1 == g->core_count)
			continue;
		eyes->hosts = base_zalloc(rows * sizeof(*eyes->hosts));
		eyes->units = base_zalloc(rows * sizeof(*eyes->units));
		eyes->host_count = eyes->unit_count = rows;
		for (uint32_t i = 0; i < rows; i++) {
			uint32_t number = i + c * rows / 2; /* half of them on both cores */
			struct text host = text_over(eyes->hosts[i].host, sizeof(eyes->hosts[i].host));
			struct text nqn = text_over(eyes->units[i].target, sizeof(eyes->units[i].target));

			if (i)
				text_add(&host, "nqn.host-%u", number);
			else
				text_add(&host, "%s", STAGE_OTHERS); /* first, as a core has it */
			text_add(&nqn, "nqn.sub-%u", number);
			eyes->units[i].unit = 1;
			eyes->hosts[i].counts.errors = eyes->units[i].counts.errors = 1;
		}
	}
	return g;
}

/* How often a series is there, and the sum of all values of its metric. */
static uint32_t series(const char *text, const char *name, const char *labels, uint64_t *ret_sum)
{
	uint32_t count = 0;

	*ret_sum = 0;
	for (const char *at = text; (at = strstr(at, name)); at++) {
		const char *end = strstr(at, "} ");

		if (at[strlen(name)] != '{' || !end)
			continue;
		*ret_sum += strtoull(end + 2, NULL, 10);
		count += strncmp(at + strlen(name), labels, strlen(labels)) == 0;
	}
	return count;
}

static struct nvmf_target *target;

static void target_gone(void *arg)
{
	bdev_registry_free(reg);
	rig_stop();
}

static void names_gone(void *arg)
{
	nvmf_target_stop(target, target_gone, NULL);
}

static void names_start(void *arg)
{
	struct gathering *g;
	uint64_t sum;
	size_t len;
	char *text;

	reg = bdev_registry_make(rig.core);
	target = nvmf_target_make(rig.core, reg);
	metrics = metrics_make(rig.core, reg, target, "1");
	g = two_cores(METRICS_NAMESPACES_MAX);
	text = metrics_format(g, &len);
	check(series(text, "gantry_host_errors_total", "{host=\"(others)\"}", &sum) == 1);
	check(sum == 2 * METRICS_NAMESPACES_MAX);
	check(series(text, "gantry_namespace_errors_total", "{subsystem=\"(others)\"", &sum) == 1);
	check(sum == 2 * METRICS_NAMESPACES_MAX);
	free(text);
	for (uint32_t c = 0; c < g->core_count; c++)
		nvmf_eyes_free(&g->cores[c].nvmf);
	free(g);
	metrics_stop(metrics, names_gone, NULL);
}

static void the_others_are_one_row(void **state)
{
	rig_run(names_start);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_are_answered_before_the_end),
		cmocka_unit_test(the_others_are_one_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
