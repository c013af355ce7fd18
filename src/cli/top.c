/* SPDX-License-Identifier: BSD-3-Clause */
/* top.c: gantry top: what cores, disks and hosts do, again and again: on a terminal as a screen, else as text or
 * JSON. */
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cli/top.h"

#define INTERVAL_MS 1000

static int run_top(struct cli *c, struct cli_args *a);

static const struct cli_option options[] = {
	{ "once", NULL, "One look, as text" },
	{ "count", "N", "That many looks, as text" },
	{ "interval", "SECONDS", "How long a look takes; 1 when left out, 0.1 the least" },
	{ "latency", NULL, "Measure latencies meanwhile; a few nanoseconds an I/O" },
	{ "plain", NULL, "Text, on a terminal too" },
};
static const struct cli_verb verbs[] = {
	{ NULL, "", "cores, disks and hosts, and what they do now", run_top, CLI_OPTIONS(options),
	  .help = "On a terminal it is a screen that tells its keys; otherwise text, a block for each look. With --json "
	          "every "
	          "look is one line. Latencies are shown of disks that measure them (bdev_enable_histogram), or of all "
		"with "
	          "--latency, which ends with it.",
	  .example = "gantry top\ngantry top --once\ngantry top --json --count 2" },
};
const struct cli_noun top_noun = { "top", "cores, disks and hosts, and what they do now", verbs, ARRAY_SIZE(verbs) };

static int looks(struct top *t, uint64_t count, uint64_t interval_ms);
static void print_look(struct top *t, struct json_object *look);
static int parse_interval(const char *text, uint64_t *ret_ms);

static int run_top(struct cli *c, struct cli_args *a)
{
	uint64_t interval_ms = INTERVAL_MS, count = 0;
	const char *given = args_value(a, "interval"), *times = args_value(a, "count");
	struct top t;
	int status;

	if (given && parse_interval(given, &interval_ms))
		return cli_misuse("--interval: \"%s\" is not a time from 0.1 to 3600 seconds", given);
	if (times && (text_parse_u64(times, &count, NULL) || !count))
		return cli_misuse("--count: \"%s\" is not a number of looks", times);
	if (args_has(a, "once"))
		count = 1;
	top_init(&t, c);
	if (args_has(a, "latency"))
		top_latencies(&t, true);
	if (count || c->json || args_has(a, "plain") || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO) ||
	    !top_screen(&t, interval_ms, &status))
		status = looks(&t, count, interval_ms);
	top_fini(&t);
	return status;
}

/* "1", "0.5" */
static int parse_interval(const char *text, uint64_t *ret_ms)
{
	const char *point = strchr(text, '.');
	uint64_t whole = 0, tenths = 0;
	char seconds[16];

	snprintf(seconds, sizeof(seconds), "%.*s", (int)(point ? point - text : 15), text);
	if ((*seconds && text_parse_u64(seconds, &whole, NULL)) ||
	    (point && (strlen(point) != 2 || text_parse_u64(point + 1, &tenths, NULL))))
		return -1;
	*ret_ms = whole * 1000 + tenths * 100;
	return whole > 3600 || *ret_ms < 100 ? -1 : 0;
}

static volatile sig_atomic_t stopped;

static void stop(int number)
{
	stopped = 1;
}

/* A signal ends it in order: what was switched on for it is switched off. */
static int looks(struct top *t, uint64_t count, uint64_t interval_ms)
{
	const struct sigaction action = { .sa_handler = stop };
	struct timespec pause = { .tv_sec = (time_t)(interval_ms / 1000), .tv_nsec = (long)(interval_ms % 1000 * 1000000) };
	struct err e = { 0 };
	uint64_t seen = 0;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	while (!stopped && (!count || seen < count)) {
		struct json_object *look = top_look(t, &e);

		if (e.code) {
			json_object_put(look);
			return cli_fail(&e);
		}
		if (look && t->c->json)
			printf("%s\n", json_object_to_json_string_ext(look, JSON_C_TO_STRING_PLAIN |
			                                              JSON_C_TO_STRING_NOSLASHESCAPE));
		else if (look)
			print_look(t, look);
		if (look && fflush(stdout))
			return CLI_OK; /* nobody reads on */
		seen += look != NULL;
		json_object_put(look);
		if (!count || seen < count)
			nanosleep(&pause, NULL);
	}
	return CLI_OK;
}

static void print_look(struct top *t, struct json_object *look)
{
	char head[512];

	top_head(t, look, head, sizeof(head));
	print_wrapped(head, 0);
	for (size_t i = 0; i < TOP_SECTIONS; i++) {
		struct top_section *s = &t->sections[i];
		struct table table;

		printf("\n");
		if (!list_count(field(look, s->name))) {
			printf("No %s\n", s->name);
			continue;
		}
		top_table(s, look, false, &table);
		table_print(&table);
	}
	printf("\n");
}
