/* SPDX-License-Identifier: BSD-3-Clause */
/* status.c: gantry status: what a daemon is and does, on one page.
 *
 * Shares of time are of the last moment: reactors are asked twice. What the daemon does not have is left out.
 */
#include <stdio.h>
#include <time.h>

#include "base/text.h"
#include "cli/cli.h"

#define SAMPLE_NS (200 * NS_PER_MS)
#define LINE_MAX_BYTES 1024

struct sample {
	struct json_object *version, *before, *after, *bdevs, *reservations, *subsystems, *nodes, *vhost, *memory, *remote;
};

static int run_status(struct cli *c, struct cli_args *args);
static int take(struct cli *c, struct sample *s, struct err *e);
static struct json_object *ask(struct cli *c, const char *method);
static void line(const char *fmt, ...) PRINTF(1, 2);
static void show_head(struct cli *c, struct sample *s);
static void show_reactors(struct sample *s);
static void show_disks(struct sample *s);
static void show_subsystems(struct cli *c, struct sample *s);
static void show_subsystem(struct cli *c, struct json_object *sub);
static void show_memory(struct sample *s);
static void print_as_json(struct sample *s);

static const struct cli_verb verbs[] = {
	{ NULL, "", "what runs, on one page: reactors, disks, subsystems and who is connected, memory", run_status,
	  .example = "gantry status" },
};
const struct cli_noun status_noun = { "status", "what runs, on one page", verbs, ARRAY_SIZE(verbs) };

static int run_status(struct cli *c, struct cli_args *args)
{
	struct sample s = { 0 };
	struct err e = { 0 };

	if (take(c, &s, &e) == 0 && c->json) {
		print_as_json(&s);
	} else if (!e.code) {
		show_head(c, &s);
		show_reactors(&s);
		show_disks(&s);
		show_subsystems(c, &s);
		iscsi_show_status(c, line);
		vhost_show_status(c, line);
		show_memory(&s);
	}
	json_object_put(s.version);
	json_object_put(s.before);
	json_object_put(s.after);
	json_object_put(s.bdevs);
	json_object_put(s.reservations);
	json_object_put(s.subsystems);
	json_object_put(s.nodes);
	json_object_put(s.vhost);
	json_object_put(s.memory);
	json_object_put(s.remote);
	return e.code ? cli_fail(&e) : CLI_OK;
}

static int take(struct cli *c, struct sample *s, struct err *e)
{
	struct timespec moment = { .tv_nsec = (long)SAMPLE_NS };

	s->version = client_call(c, "spdk_get_version", NULL, e);
	if (!s->version)
		return e->code;
	s->before = ask(c, "framework_get_reactors");
	nanosleep(&moment, NULL);
	s->after = ask(c, "framework_get_reactors");
	s->bdevs = ask(c, "bdev_get_bdevs");
	s->reservations = ask(c, "bdev_get_reservations");
	s->subsystems = ask(c, "nvmf_get_subsystems");
	s->nodes = ask(c, "iscsi_get_target_nodes");
	s->vhost = ask(c, "vhost_get_controllers");
	s->memory = ask(c, "framework_get_memory");
	s->remote = ask(c, "bdev_nvme_get_controllers");
	return 0;
}

/* NULL: it does not have that. */
static struct json_object *ask(struct cli *c, const char *method)
{
	struct err e = { 0 };

	return client_call(c, method, NULL, &e);
}

/* No wider than the terminal. */
static void line(const char *fmt, ...)
{
	char buf[LINE_MAX_BYTES];
	struct text t = text_over(buf, min_u64(cli_width(), sizeof(buf) - 1) + 1);
	va_list ap;

	va_start(ap, fmt);
	text_vadd(&t, fmt, ap);
	va_end(ap);
	if (t.cut && t.cap > 4)
		text_end_with(&t, "...");
	printf("%s\n", t.buf);
}

static void show_head(struct cli *c, struct sample *s)
{
	const char *pid = field_text(s->after, "pid");

	line("%s%s%s, RPC on %s", field_text(s->version, "version"), *pid ? ", pid " : "", pid, c->socket);
	if (!s->after)
		line("  waiting for framework_start_init");
}

static void show_reactors(struct sample *s)
{
	struct json_object *before = field(s->before, "reactors"), *after = field(s->after, "reactors");
	double rate = (double)field_u64(s->after, "tick_rate");

	if (!list_count(after) || list_count(before) != list_count(after))
		return;
	line("\nREACTOR  CPU  MODE        BUSY  ASLEEP  CPU TIME");
	for (size_t i = 0; i < list_count(after); i++) {
		struct json_object *b = json_object_array_get_idx(before, i), *a = json_object_array_get_idx(after, i);
		uint64_t busy = field_u64(a, "busy") - field_u64(b, "busy"), idle = field_u64(a, "idle") - field_u64(b, "idle");
		uint64_t sleep = field_u64(a, "sleep") - field_u64(b, "sleep"), cpu = field_u64(a, "cpu") - field_u64(b, "cpu");
		double all = busy + idle ? (double)(busy + idle) : 1;
		char lifetime[32];

		text_duration((uint64_t)((double)field_u64(a, "cpu") / (rate > 0 ? rate : 1e9) * 1e9), lifetime);
		line("%-7zu  %3lu  %-9s  %4.0f %%  %4.0f %%  %4.1f %% now, %s", i, field_u64(a, "lcore"),
		     *field_text(a, "mode") ? field_text(a, "mode") : "poll", 100 * (double)busy / all,
		     100 * (double)sleep / all, 100 * (double)cpu / all, lifetime);
	}
}

/* A remote disk whose controller has several paths, and some do not work, or none. */
static const char *paths_of(struct sample *s, struct json_object *disk, char text[static 48])
{
	const char *name = field_text(disk, "name");

	text[0] = 0;
	for (size_t i = 0; i < list_count(s->remote); i++) {
		struct json_object *group = list_at(s->remote, i), *paths = field(group, "ctrlrs");
		const char *prefix = field_text(group, "name");
		size_t len = strlen(prefix), lost = 0;

		if (strncmp(name, prefix, len) != 0 || name[len] != 'n' || name[len + 1 + strspn(name + len + 1, "0123456789")])
			continue;
		for (size_t p = 0; p < list_count(paths); p++)
			lost += strcmp(field_text(list_at(paths, p), "state"), "enabled") != 0;
		if (lost && lost == list_count(paths))
			snprintf(text, 48, "  LOST");
		else if (lost)
			snprintf(text, 48, "  %zu of %zu paths lost", lost, list_count(paths));
	}
	return text;
}

static void show_disks(struct sample *s)
{
	size_t count = list_count(s->bdevs), widest = 4;

	if (!s->bdevs)
		return;
	if (!count) {
		line("\nNo disks");
		return;
	}
	for (size_t i = 0; i < count; i++)
		widest = max_u64(widest, strlen(field_text(json_object_array_get_idx(s->bdevs, i), "name")));
	widest = min_u64(widest, 40);
	line("\n%-*s  %-14s  %10s  BLOCK", (int)widest, "DISK", "KIND", "SIZE");
	for (size_t i = 0; i < count; i++) {
		struct json_object *b = json_object_array_get_idx(s->bdevs, i);
		char size[32], paths[48];

		text_size(field_u64(b, "num_blocks") * field_u64(b, "block_size"), size);
		line("%-*s  %-14s  %10s  %5lu%s%s", (int)widest, field_text(b, "name"), field_text(b, "product_name"), size,
		     field_u64(b, "block_size"), field_bool(b, "claimed") ? "  claimed" : "", paths_of(s, b, paths));
		reservation_show_status(list_find(s->reservations, "name", field_text(b, "name")), line);
	}
}

static void show_subsystems(struct cli *c, struct sample *s)
{
	if (!s->subsystems)
		return;
	if (!list_count(s->subsystems)) {
		line("\nNo subsystems");
		return;
	}
	line("\nSUBSYSTEM");
	for (size_t i = 0; i < list_count(s->subsystems); i++)
		show_subsystem(c, json_object_array_get_idx(s->subsystems, i));
}

static void show_subsystem(struct cli *c, struct json_object *sub)
{
	struct json_object *listeners = field(sub, "listen_addresses"), *hosts = field(sub, "hosts");
	struct json_object *namespaces = field(sub, "namespaces"), *params, *connected;
	struct err e = { 0 };

	line("%s%s", field_text(sub, "nqn"), strcmp(field_text(sub, "subtype"), "Discovery") == 0 ? "  (discovery)" : "");
	for (size_t i = 0; i < list_count(listeners); i++) {
		struct json_object *l = json_object_array_get_idx(listeners, i);

		line("  listens    %s %s:%s", field_text(l, "trtype"), field_text(l, "traddr"), field_text(l, "trsvcid"));
	}
	for (size_t i = 0; i < list_count(namespaces); i++) {
		struct json_object *ns = json_object_array_get_idx(namespaces, i);

		line("  namespace  %lu: %s", field_u64(ns, "nsid"), field_text(ns, "bdev_name"));
	}
	if (field_bool(sub, "allow_any_host"))
		line("  allows     any host");
	for (size_t i = 0; i < list_count(hosts); i++)
		line("  allows     %s", field_text(json_object_array_get_idx(hosts, i), "nqn"));

	params = json_object_new_object();
	json_object_object_add(params, "nqn", json_object_get(field(sub, "nqn")));
	connected = client_call(c, "nvmf_subsystem_get_controllers", params, &e);
	for (size_t i = 0; i < list_count(connected); i++) {
		struct json_object *ctrlr = json_object_array_get_idx(connected, i);

		line("  connected  %s, controller %lu, %lu queues", field_text(ctrlr, "hostnqn"), field_u64(ctrlr, "cntlid"),
		     field_u64(ctrlr, "num_io_qpairs"));
	}
	json_object_put(connected);
	json_object_put(params);
}

static void show_memory(struct sample *s)
{
	char used[32], most[32], charged[32], budget[32];

	if (!s->memory)
		return;
	text_size(field_u64(s->memory, "in_use_bytes"), used);
	text_size(field_u64(s->memory, "in_use_bytes_max"), most);
	text_size(field_u64(s->memory, "charged_bytes"), charged);
	text_size(field_u64(s->memory, "budget_bytes"), budget);
	line("\nMemory: %s in flight now (most so far: %s), %s of connections, budget %s", used, most, charged, budget);
	if (field_u64(s->memory, "waiting"))
		line("  %lu requests wait for memory; a larger budget: gantryd --memory", field_u64(s->memory, "waiting"));
}

static void print_as_json(struct sample *s)
{
	struct json_object *all = json_object_new_object();

	json_object_object_add(all, "version", json_object_get(s->version));
	json_object_object_add(all, "reactors", json_object_get(field(s->after, "reactors")));
	json_object_object_add(all, "bdevs", json_object_get(s->bdevs));
	json_object_object_add(all, "reservations", json_object_get(s->reservations));
	json_object_object_add(all, "subsystems", json_object_get(s->subsystems));
	json_object_object_add(all, "target_nodes", json_object_get(s->nodes));
	json_object_object_add(all, "vhost_controllers", json_object_get(s->vhost));
	json_object_object_add(all, "memory", json_object_get(s->memory));
	json_object_object_add(all, "remote", json_object_get(s->remote));
	cli_print_json(all);
	json_object_put(all);
}
