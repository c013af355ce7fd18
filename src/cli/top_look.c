/* SPDX-License-Identifier: BSD-3-Clause */
/* top_look.c: two looks at the daemon's counters make rates: of cores, disks and hosts. */
#include <stdio.h>
#include <time.h>

#include "cli/top.h"

#define EXPORTS_ASKED 64 /* a look asks that many exports who is connected */

static const struct top_column core_columns[] = {
	{ "CORE", "name", TOP_TEXT }, { "CPU", "cpu", TOP_COUNT }, { "MODE", "mode", TOP_TEXT },
	{ "BUSY", "busy", TOP_PERCENT }, { "ASLEEP", "asleep", TOP_PERCENT }, { "ON_CPU", "on_cpu", TOP_PERCENT },
	{ "WAKES/S", "wakes", TOP_COUNT }, { "WHY_AWAKE", "why", TOP_TEXT },
};
static const struct top_column disk_columns[] = {
	{ "DISK", "name", TOP_TEXT }, { "READS/S", "reads", TOP_COUNT }, { "WRITES/S", "writes", TOP_COUNT },
	{ "READ", "read_bytes", TOP_BYTES }, { "WRITTEN", "write_bytes", TOP_BYTES }, { "R_LAT", "read_us", TOP_US },
	{ "W_LAT", "write_us", TOP_US }, { "OTHER/S", "others", TOP_COUNT },
};
static const struct top_column host_columns[] = {
	{ "HOST", "host", TOP_TEXT }, { "EXPORT", "export", TOP_TEXT }, { "FROM", "from", TOP_TEXT },
	{ "QUEUES", "queues", TOP_COUNT }, { "IO/S", "ios", TOP_COUNT }, { "DATA", "bytes", TOP_BYTES },
	{ "CORES", "cores", TOP_TEXT },
};

static struct json_object *take(struct top *t, struct err *e);
static struct json_object *cores(struct json_object *before, struct json_object *now);
static void explain(struct json_object *before, struct json_object *now, double s, char *buf, size_t size);
static struct json_object *disks(struct json_object *before, struct json_object *now, double seconds);
static struct json_object *hosts(struct cli *c, const char *before, const char *now, double seconds);
static double rate(struct json_object *before, struct json_object *now, const char *key, double seconds);
static void add_number(struct json_object *o, const char *key, double v);

void top_init(struct top *t, struct cli *c)
{
	*t = (struct top){ .c = c, .sections = {
		[TOP_CORES] = { "cores", "Cores", core_columns, ARRAY_SIZE(core_columns), 3 },
		[TOP_DISKS] = { "disks", "Disks", disk_columns, ARRAY_SIZE(disk_columns), 1 },
		[TOP_HOSTS] = { "hosts", "Hosts", host_columns, ARRAY_SIZE(host_columns), 3 },
	} };
}

void top_fini(struct top *t)
{
	top_latencies(t, false);
	json_object_put(t->last);
}

void top_latencies(struct top *t, bool on)
{
	struct err e = { 0 };
	struct json_object *params, *disks = NULL;

	if (on && !t->timed && cli_method(t->c, "bdev_enable_histogram")) {
		disks = client_call(t->c, "bdev_get_bdevs", NULL, &e);
		t->timed = json_object_new_array();
	}
	for (size_t i = 0; i < list_count(disks); i++) {
		const char *name = field_text(list_at(disks, i), "name");
		struct json_object *kept = client_ask(t->c, &e, "bdev_get_histogram", "name", name, NULL);

		if (!kept) /* who keeps one already goes on */
			json_object_array_add(t->timed, json_object_new_string(name));
		json_object_put(kept);
	}
	json_object_put(disks);
	for (size_t i = 0; i < list_count(t->timed); i++) {
		params = json_object_new_object();
		json_object_object_add(params, "name", json_object_get(list_at(t->timed, i)));
		json_object_object_add(params, "enable", json_object_new_boolean(on));
		json_object_put(client_call(t->c, "bdev_enable_histogram", params, &e));
		json_object_put(params);
	}
	if (!on) {
		json_object_put(t->timed);
		t->timed = NULL;
	}
}

struct json_object *top_look(struct top *t, struct err *e)
{
	struct json_object *now = take(t, e), *look, *version;
	struct timespec ts;
	double seconds;
	uint64_t now_ns;

	if (!now)
		return NULL;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	now_ns = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
	seconds = (double)(now_ns - t->last_ns) / 1e9;
	look = t->last ? json_object_new_object() : NULL;
	if (look) {
		version = client_call(t->c, "spdk_get_version", NULL, e);
		json_object_object_add(look, "version", json_object_get(field(version, "version")));
		json_object_put(version);
		json_object_object_add(look, "pid", json_object_get(field(now, "pid")));
		add_number(look, "seconds", seconds);
		json_object_object_add(look, "cores", cores(field(t->last, "cores"), field(now, "cores")));
		json_object_object_add(look, "disks", disks(field(t->last, "disks"), field(now, "disks"), seconds));
		json_object_object_add(look, "hosts", hosts(t->c, json_object_get_string(field(t->last, "metrics")),
		                                             json_object_get_string(field(now, "metrics")), seconds));
		json_object_object_add(look, "memory", json_object_get(field(now, "memory")));
	}
	json_object_put(t->last);
	t->last = now;
	t->last_ns = now_ns;
	return look;
}

/* What the daemon does not have is left out. */
static struct json_object *take(struct top *t, struct err *e)
{
	struct json_object *now, *answer = client_call(t->c, "framework_get_reactors", NULL, e);
	struct err ignored = { 0 };

	if (!answer)
		return NULL;
	now = json_object_new_object();
	json_object_object_add(now, "pid", json_object_get(field(answer, "pid")));
	json_object_put(answer);
	answer = client_call(t->c, "gantry_get_wakeups", NULL, &ignored);
	json_object_object_add(now, "cores", json_object_get(field(answer, "reactors")));
	json_object_put(answer);
	answer = client_call(t->c, "bdev_get_iostat", NULL, &ignored);
	json_object_object_add(now, "disks", json_object_get(field(answer, "bdevs")));
	json_object_put(answer);
	json_object_object_add(now, "memory", client_call(t->c, "framework_get_memory", NULL, &ignored));
	json_object_object_add(now, "metrics", metrics_take(t->c));
	return now;
}

static double rate(struct json_object *before, struct json_object *now, const char *key, double seconds)
{
	uint64_t then = field_u64(before, key), it = field_u64(now, key);

	return it > then && seconds > 0 ? (double)(it - then) / seconds : 0; /* counted from zero again: nothing is known */
}

/* One digit after the point is more than anybody reads. */
static void add_number(struct json_object *o, const char *key, double v)
{
	char text[32];

	snprintf(text, sizeof(text), "%.1f", v);
	json_object_object_add(o, key, json_object_new_double_s(v, text));
}

static struct json_object *cores(struct json_object *before, struct json_object *now)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < list_count(now); i++) {
		struct json_object *r = list_at(now, i), *b = list_find(before, "name", field_text(r, "name"));
		struct json_object *o = json_object_new_object(), *then = b ? b : r;
		double busy = rate(then, r, "busy_ns", 1), idle = rate(then, r, "idle_ns", 1);
		double sleep = rate(then, r, "sleep_ns", 1), all = busy + idle + sleep;
		char why[256];

		explain(then, r, all / 1e9, why, sizeof(why));
		all = all > 0 ? all / 100 : 1;
		json_object_object_add(o, "name", json_object_get(field(r, "name")));
		if (field(r, "cpu"))
			json_object_object_add(o, "cpu", json_object_get(field(r, "cpu")));
		json_object_object_add(o, "mode", json_object_get(field(r, "mode")));
		add_number(o, "busy", busy / all);
		add_number(o, "asleep", sleep / all);
		add_number(o, "on_cpu", rate(then, r, "cpu_ns", 1) / all);
		add_number(o, "wakes", rate(then, r, "sleeps", all * 100 / 1e9));
		json_object_object_add(o, "why", json_object_new_string(why));
		json_object_array_add(array, o);
	}
	return array;
}

/* What kept it awake: what it polls, or what ended its sleeps and what it found to do. */
static void explain(struct json_object *before, struct json_object *now, double seconds, char *buf, size_t size)
{
	static const char *const keys[] = { "fd_events", "messages", "timers", "polls_busy", "looks_busy" };
	static const char *const names[] = { "fd", "msg", "timer", "poll", "look" };
	struct text t = text_over(buf, size);
	struct json_object *pollers = field(now, "pollers");

	for (size_t i = 0; i < list_count(pollers); i++) {
		struct json_object *p = list_at(pollers, i);

		text_add(&t, "%s%s", i ? ", " : "polls ", json_object_is_type(p, json_type_object) ? field_text(p, "name")
		                                                                                 : json_object_get_string(p));
	}
	if (!t.len && strcmp(field_text(now, "mode"), "poll") == 0)
		text_add(&t, "mode poll");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		double r = rate(field(before, "work"), field(now, "work"), keys[i], seconds);

		if (r >= 0.5)
			text_add(&t, "%s%s %.0f/s", t.len ? ", " : "", names[i], r);
	}
	if (!t.len)
		text_add(&t, "idle");
}

static struct json_object *disks(struct json_object *before, struct json_object *now, double seconds)
{
	static const char *const other[] = { "num_unmap_ops", "num_copy_ops", "num_flush_ops", "num_write_zeroes_ops" };
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < list_count(now); i++) {
		struct json_object *d = list_at(now, i), *b = list_find(before, "name", field_text(d, "name"));
		struct json_object *o = json_object_new_object(), *then = b ? b : d;
		double reads = rate(then, d, "num_read_ops", seconds), writes = rate(then, d, "num_write_ops", seconds);
		double read_ticks = rate(then, d, "read_latency_ticks", seconds), others = 0;
		double write_ticks = rate(then, d, "write_latency_ticks", seconds);

		for (size_t k = 0; k < ARRAY_SIZE(other); k++)
			others += rate(then, d, other[k], seconds);
		json_object_object_add(o, "name", json_object_get(field(d, "name")));
		add_number(o, "reads", reads);
		add_number(o, "writes", writes);
		add_number(o, "others", others);
		add_number(o, "read_bytes", rate(then, d, "bytes_read", seconds));
		add_number(o, "write_bytes", rate(then, d, "bytes_written", seconds));
		/* ticks are nanoseconds here; a disk that does not measure says 0 */
		if (reads > 0 && read_ticks > 0)
			add_number(o, "read_us", read_ticks / reads / 1e3);
		if (writes > 0 && write_ticks > 0)
			add_number(o, "write_us", write_ticks / writes / 1e3);
		json_object_array_add(array, o);
	}
	return array;
}

static double grown(double before, double now)
{
	return now > before ? now - before : 0;
}

/* Requests of a vhost controller's front-ends, of which there is one, but for a moment. */
static void add_vhost_ios(struct json_object *h, const char *before, const char *now, double seconds)
{
	const char *ctrlr = field_text(h, "export");

	add_number(h, "ios", grown(metrics_sum(before, "gantry_vhost_commands_total", "ctrlr", ctrlr),
	                           metrics_sum(now, "gantry_vhost_commands_total", "ctrlr", ctrlr)) / seconds);
}

/* A host's I/O is that of all its exports together. */
static struct json_object *hosts(struct cli *c, const char *before, const char *now, double seconds)
{
	struct err e = { 0 };
	struct json_object *all = hosts_take(c, EXPORTS_ASKED, &e), *array = json_object_new_array();

	for (size_t i = 0; i < list_count(all); i++) {
		struct json_object *h = list_at(all, i);
		const char *name = field_text(h, "host");

		if (!field_u64(h, "controllers"))
			continue;
		json_object_array_add(array, json_object_get(h));
		if (!before || !now)
			continue;
		if (strcmp(field_text(h, "from"), CLI_FROM_VHOST) == 0) {
			add_vhost_ios(h, before, now, seconds);
			continue;
		}
		add_number(h, "ios", grown(metrics_sum(before, "gantry_host_ios_total", "host", name),
		                           metrics_sum(now, "gantry_host_ios_total", "host", name)) / seconds);
		add_number(h, "bytes", grown(metrics_sum(before, "gantry_host_bytes_total", "host", name),
		                             metrics_sum(now, "gantry_host_bytes_total", "host", name)) / seconds);
	}
	json_object_put(all);
	return array;
}

/* --- shown ------------------------------------------------------------------------------------------------------ */

static void show(const struct top_column *column, struct json_object *row, char buf[static 64])
{
	struct json_object *v = field(row, column->key);
	double n = json_object_get_double(v);

	if (!v)
		snprintf(buf, 64, "-");
	else if (column->unit == TOP_PERCENT)
		snprintf(buf, 64, "%.0f %%", n);
	else if (column->unit == TOP_BYTES)
		snprintf(buf, 64, "%.1f MB/s", n / 1e6);
	else if (column->unit == TOP_US && n >= 10000)
		snprintf(buf, 64, "%.1f ms", n / 1000);
	else if (column->unit == TOP_US)
		snprintf(buf, 64, "%.0f us", n);
	else
		snprintf(buf, 64, "%.0f", n);
}

/* Larger numbers first, texts by the alphabet; `reverse` turns it round. */
static int compare(const struct top_section *s, struct json_object *a, struct json_object *b)
{
	const struct top_column *column = &s->columns[s->sort];
	struct json_object *x = field(a, column->key), *y = field(b, column->key);
	double difference = json_object_get_double(y) - json_object_get_double(x);
	int order;

	if (column->unit == TOP_TEXT)
		order = strcmp(field_text(a, column->key), field_text(b, column->key));
	else
		order = (difference > 0) - (difference < 0);
	return s->reverse ? -order : order;
}

void top_table(const struct top_section *s, struct json_object *look, bool mark_sort, struct table *table)
{
	struct json_object *rows = field(look, s->name), **sorted;
	static char titles[512]; /* the table keeps it; one at a time is shown */
	struct text t = text_over(titles, sizeof(titles));
	size_t count = list_count(rows);

	for (size_t i = 0; i < s->column_count; i++)
		text_add(&t, "%s%s%s%s", i ? " " : "", s->columns[i].unit != TOP_TEXT ? ">" : "", s->columns[i].title,
		         mark_sort && i == s->sort ? "*" : "");
	table_init(table, titles);
	sorted = base_zalloc((count + 1) * sizeof(*sorted));
	for (size_t i = 0; i < count; i++) { /* insertion: rows stay in their order where they are equal */
		struct json_object *row = list_at(rows, i);
		size_t at = i;

		for (; at > 0 && compare(s, sorted[at - 1], row) > 0; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = row;
	}
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < s->column_count; k++) {
			char number[64];

			if (s->columns[k].unit == TOP_TEXT) {
				table_cell(table, "%s", field_text(sorted[i], s->columns[k].key));
			} else {
				show(&s->columns[k], sorted[i], number);
				table_cell(table, "%s", number);
			}
		}
	}
	free(sorted);
}

void top_head(struct top *t, struct json_object *look, char *buf, size_t size)
{
	struct json_object *memory = field(look, "memory");
	char used[32], budget[32];

	text_size(field_u64(memory, "in_use_bytes"), used);
	text_size(field_u64(memory, "budget_bytes"), budget);
	snprintf(buf, size, "%s, pid %s, %zu disks, %zu hosts, memory %s of %s%s", field_text(look, "version"),
	         field_text(look, "pid"), list_count(field(look, "disks")), list_count(field(look, "hosts")), used, budget,
	         field_u64(memory, "waiting") ? ", REQUESTS WAIT FOR MEMORY" : "");
}
