/* SPDX-License-Identifier: BSD-3-Clause */
/* format.c: the table's rows with what was gathered, in Prometheus' text format 0.0.4.
 *
 * What is told apart by name is bounded, see metrics.h. A label's value is UTF-8 and escaped, whatever a host calls
 * itself.
 */
#include <sys/resource.h>
#include <unistd.h>

#include "backends/remote/remote.h"
#include "core/notify.h"
#include "core/watch.h"
#include "iscsi/iscsi.h"
#include "metrics/format.h"
#include "metrics/process.h"
#include "vhost/vhost.h"

#define METRIC_ROW(id, name, type, help) { name, type, help },
const struct metrics_row metrics_rows[] = { METRICS(METRIC_ROW) };

static void process(FILE *f, const struct gathering *g);
static void cores(FILE *f, const struct gathering *g);
static void memory(FILE *f, const struct gathering *g);
static void waits(FILE *f, const struct gathering *g);
static void target(FILE *f, const struct gathering *g);
static void devices(FILE *f, const struct gathering *g);
static void remote_paths(FILE *f, const struct gathering *g);
static void target_nodes(FILE *f, const struct gathering *g);
static void vhost_ctrlrs(FILE *f, const struct gathering *g);

char *metrics_format(const struct gathering *g, size_t *ret_len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_len);

	must(f);
	process(f, g);
	cores(f, g);
	memory(f, g);
	waits(f, g);
	if (g->m->nvmf)
		target(f, g);
	metrics_stages(f, g);
	devices(f, g);
	if (g->m->remote)
		remote_paths(f, g);
	if (g->m->iscsi)
		target_nodes(f, g);
	if (g->m->vhost)
		vhost_ctrlrs(f, g);
	must(fclose(f) == 0);
	return text;
}

/* --- the process --- */

static void process(FILE *f, const struct gathering *g)
{
	struct rusage usage = { 0 };
	struct rlimit limit = { 0 };
	uint64_t virtual_pages, resident_pages;
	struct labels l;
	uint64_t start_s = process_start_s(), page = (uint64_t)sysconf(_SC_PAGESIZE);

	labels_init(&l);
	label(&l, "version", g->m->version);
	head(f, METRIC_BUILD);
	put(f, METRIC_BUILD, &l, 1);
	if (start_s)
		one(f, METRIC_PROC_START, start_s);
	getrusage(RUSAGE_SELF, &usage);
	head(f, METRIC_PROC_CPU);
	put_seconds(f, METRIC_PROC_CPU, NULL,
	            (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * NS_PER_S +
	            (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * NS_PER_US);
	if (process_pages(&virtual_pages, &resident_pages)) {
		one(f, METRIC_PROC_VIRTUAL, virtual_pages * page);
		one(f, METRIC_PROC_RSS, resident_pages * page);
	}
	one(f, METRIC_PROC_FDS, process_fds());
	getrlimit(RLIMIT_NOFILE, &limit);
	one(f, METRIC_PROC_FDS_MAX, limit.rlim_cur);
	one(f, METRIC_IO_STUCK, watch_stuck_count(g->m->core));
	one(f, METRIC_NOTES, notify_next_id(g->m->core));
	one(f, METRIC_NOTES_DROPPED, notify_dropped(g->m->core));
	one(f, METRIC_SCRAPES, g->m->gathered);
}

/* --- cores --- */

/* A metric of struct reactor_stats: one value a core, or several that a label tells apart. */
struct core_row {
	enum metric metric;
	size_t offset;
	bool seconds;
	const char *label, *value;
};
#define CORE(field) offsetof(struct reactor_stats, field)
static const struct core_row core_rows[] = {
	{ METRIC_CORE_BUSY,    CORE(busy_ns),            true,  NULL, NULL },
	{ METRIC_CORE_IDLE,    CORE(idle_ns),            true,  NULL, NULL },
	{ METRIC_CORE_SLEEP,   CORE(sleep_ns),           true,  NULL, NULL },
	{ METRIC_CORE_CPU,     CORE(cpu_ns),             true,  NULL, NULL },
	{ METRIC_CORE_PASSES,  CORE(passes),             false, "found", "any" },
	{ METRIC_CORE_PASSES,  CORE(busy_passes),        false, "found", "work" },
	{ METRIC_CORE_SLEEPS,  CORE(sleeps),             false, NULL, NULL },
	{ METRIC_CORE_WAKES,   CORE(wakes_message),      false, "by", "message" },
	{ METRIC_CORE_WAKES,   CORE(wakes_fd),           false, "by", "fd" },
	{ METRIC_CORE_WAKES,   CORE(wakes_timer),        false, "by", "timer" },
	{ METRIC_CORE_WORK,    CORE(messages),           false, "kind", "message" },
	{ METRIC_CORE_WORK,    CORE(fd_events),          false, "kind", "fd" },
	{ METRIC_CORE_WORK,    CORE(timers),             false, "kind", "timer" },
	{ METRIC_CORE_WORK,    CORE(polls_busy),         false, "kind", "poll" },
	{ METRIC_CORE_WORK,    CORE(looks_busy),         false, "kind", "look" },
	{ METRIC_CORE_WORK,    CORE(defers),             false, "kind", "deferred" },
	{ METRIC_CORE_DEPTH,   CORE(message_depth_max),  false, NULL, NULL },
	{ METRIC_CORE_AGE,     CORE(message_age_max_ns), true,  NULL, NULL },
	{ METRIC_CORE_LONGEST, CORE(longest_ns),         true,  NULL, NULL },
	{ METRIC_CORE_LONGEST_CPU, CORE(longest_cpu_ns), true,  NULL, NULL },
	{ METRIC_CORE_STALLS,  CORE(stalls),             false, NULL, NULL },
};

static void core_value(FILE *f, const struct core_row *row, const struct gathered_core *c)
{
	uint64_t v = *(const uint64_t *)((const char *)&c->stats + row->offset);
	char name[16];
	struct labels l;

	labels_init(&l);
	label(&l, "core", core_name(c, name));
	if (row->label)
		label(&l, row->label, row->value);
	if (row->seconds)
		put_seconds(f, row->metric, &l, v);
	else
		put(f, row->metric, &l, v);
}

static void cores(FILE *f, const struct gathering *g)
{
	struct labels l;
	char name[16];

	head(f, METRIC_CORE_MODE);
	for (uint32_t i = 0; i < g->core_count; i++) {
		for (enum core_mode mode = 0; mode < CORE_MODE_COUNT; mode++) {
			labels_init(&l);
			label(&l, "core", core_name(&g->cores[i], name));
			label(&l, "mode", core_mode_name(mode));
			put(f, METRIC_CORE_MODE, &l, g->cores[i].mode == mode);
		}
	}
	for (uint32_t r = 0; r < ARRAY_SIZE(core_rows); r++) {
		if (!r || core_rows[r].metric != core_rows[r - 1].metric)
			head(f, core_rows[r].metric);
		for (uint32_t i = 0; i < g->core_count; i++)
			core_value(f, &core_rows[r], &g->cores[i]);
	}
}

static void memory(FILE *f, const struct gathering *g)
{
	struct mem_stats s;

	mem_get_stats(g->m->core, &s);
	one(f, METRIC_MEM_BUDGET, s.budget_bytes);
	one(f, METRIC_MEM_CHARGED, s.charged_bytes);
	one(f, METRIC_MEM_IN_USE, s.in_use_bytes);
	one(f, METRIC_MEM_IN_USE_MAX, s.in_use_bytes_max);
	one(f, METRIC_MEM_WAITING, s.waiting);
}

/* --- waits --- */

static void wait_value(FILE *f, enum metric m, const struct wait_account *a, const struct labels *l, uint64_t now_ns)
{
	switch (m) {
	case METRIC_WAITS: put(f, m, l, a->waits); break;
	case METRIC_WAITING: put(f, m, l, a->waiting); break;
	case METRIC_WAIT_TIME: put_seconds(f, m, l, a->total_ns); break;
	case METRIC_WAIT_LONGEST: put_seconds(f, m, l, a->longest_ns); break;
	case METRIC_WAIT_ALARM: put(f, m, l, wait_alarms(a, now_ns)); break;
	default: put(f, m, l, a->alarms); break;
	}
}

static void waits(FILE *f, const struct gathering *g)
{
	uint64_t now_ns = core_clock_ns();
	struct labels l;
	char name[16];

	for (enum metric m = METRIC_WAITS; m <= METRIC_WAIT_ALARMS; m++) {
		head(f, m);
		for (uint32_t i = 0; i < g->core_count; i++) {
			for (uint32_t w = 0; w < g->cores[i].wait_count; w++) {
				labels_init(&l);
				label(&l, "core", core_name(&g->cores[i], name));
				label(&l, "wait", g->cores[i].waits[w].name);
				wait_value(f, m, &g->cores[i].waits[w], &l, now_ns);
			}
		}
	}
}

/* --- the target --- */

static void two_kinds(FILE *f, const struct gathering *g, enum metric m, size_t admin, size_t io)
{
	const char *const kinds[] = { "admin", "io" };
	const size_t offsets[] = { admin, io };
	struct labels l;
	char name[16];

	head(f, m);
	for (uint32_t i = 0; i + 1 < g->core_count; i++) {
		for (uint32_t k = 0; k < 2; k++) {
			labels_init(&l);
			label(&l, "core", core_name(&g->cores[i], name));
			label(&l, "kind", kinds[k]);
			put(f, m, &l, *(const uint64_t *)((const char *)&g->cores[i].nvmf + offsets[k]));
		}
	}
}

struct transport_out {
	FILE *f;
	const char *core;
};

static void transport_value(void *arg, const char *transport, const char *key, uint64_t v)
{
	const struct transport_out *o = arg;
	struct labels l;

	labels_init(&l);
	label(&l, "core", o->core);
	label(&l, "transport", transport);
	label(&l, "event", key);
	put(o->f, METRIC_TRANSPORT, &l, v);
}

static void tls_value(void *arg, const char *result, uint64_t v)
{
	struct labels l;

	labels_init(&l);
	label(&l, "result", result);
	put(arg, METRIC_TLS, &l, v);
}

static void ccr_value(void *arg, const char *event, uint64_t v)
{
	struct labels l;

	labels_init(&l);
	label(&l, "event", event);
	put(arg, METRIC_CCR, &l, v);
}

static void target(FILE *f, const struct gathering *g)
{
	char name[16];

#define EYES(field) offsetof(struct nvmf_eyes, field)
	two_kinds(f, g, METRIC_QUEUES, EYES(admin_queues), EYES(io_queues));
	two_kinds(f, g, METRIC_QUEUES_EVER, EYES(admin_queues_ever), EYES(io_queues_ever));
	two_kinds(f, g, METRIC_COMMANDS, EYES(admin_commands), EYES(io_commands));
	head(f, METRIC_TRANSPORT);
	for (uint32_t i = 0; i + 1 < g->core_count; i++) {
		struct transport_out o = { f, core_name(&g->cores[i], name) };

		nvmf_eyes_transports(g->m->nvmf, i, transport_value, &o);
	}
	head(f, METRIC_TLS);
	nvmf_eyes_tls(g->m->nvmf, tls_value, f);
	head(f, METRIC_CCR);
	nvmf_eyes_ccr(g->m->nvmf, ccr_value, f);
}

/* --- devices --- */

static uint64_t device_value(enum metric m, const struct bdev_op_stats *s, uint64_t block)
{
	return m == METRIC_DEV_OPS ? s->ops : m == METRIC_DEV_BYTES ? s->blocks * block :
	       m == METRIC_DEV_ERRORS ? s->errors : m == METRIC_DEV_LATENCY ? s->latency_ns : s->latency_ns_max;
}

static void device(FILE *f, enum metric m, const struct bdev *b, const struct bdev_stats *s)
{
	uint64_t block = b->block_size + (b->md_interleaved ? b->md_size : 0u);
	struct labels l;

	if (m == METRIC_DEV_IN_FLIGHT || m == METRIC_DEV_SIZE) {
		labels_init(&l);
		label(&l, "bdev", b->name);
		put(f, m, &l, m == METRIC_DEV_SIZE ? atomic_load(&b->block_count) * b->block_size : s->in_flight);
		return;
	}
	for (uint32_t op = 0; op < BDEV_OP_COUNT; op++) {
		if (op > BDEV_UNMAP && !s->op[op].ops && !s->op[op].errors)
			continue; /* of the rare ones only what happened */
		labels_init(&l);
		label(&l, "bdev", b->name);
		label(&l, "op", bdev_op_name(op));
		if (m == METRIC_DEV_LATENCY || m == METRIC_DEV_LATENCY_MAX)
			put_seconds(f, m, &l, device_value(m, &s->op[op], block));
		else
			put(f, m, &l, device_value(m, &s->op[op], block));
	}
}

static void devices(FILE *f, const struct gathering *g)
{
	struct bdev_stats sum;

	for (enum metric m = METRIC_DEV_OPS; m <= METRIC_DEV_SIZE; m++) {
		head(f, m);
		for (uint32_t i = 0; i < g->devices.count; i++) {
			bdev_stats_all_sum(&g->devices, i, &sum);
			device(f, m, g->devices.bdevs[i], &sum);
		}
	}
}

/* --- paths of remote controllers --- */

/* Of what is listed by a callback: also target nodes. */
struct path_rows {
	FILE *f;
	enum metric m;
	uint32_t count;
};

static void path_labels(struct labels *l, const struct remote_path_counts *c)
{
	labels_init(l);
	label(l, "controller", c->name);
	label(l, "traddr", c->traddr);
	label(l, "trsvcid", c->trsvcid);
}

static void path_row(const struct path_rows *r, const struct remote_path_counts *c, const char *name, const char *value,
                     uint64_t v)
{
	struct labels l;

	path_labels(&l, c);
	if (name)
		label(&l, name, value);
	put(r->f, r->m, &l, v);
}

static void remote_path(const struct remote_path_counts *c, void *arg)
{
	struct path_rows *r = arg;

	if (r->count++ >= METRICS_PATHS_MAX)
		return;
	if (r->m == METRIC_PATH_UP) {
		path_row(r, c, NULL, NULL, c->up);
	} else if (r->m == METRIC_PATH_TRIES) {
		path_row(r, c, "result", "tried", c->attempts);
		path_row(r, c, "result", "ready", c->connected);
	} else if (r->m == METRIC_PATH_OUT) {
		path_row(r, c, NULL, NULL, c->outstanding);
	} else if (r->m == METRIC_PATH_ENDS) {
		for (uint32_t i = 0; i < c->end_count; i++)
			if (c->ends[i].value) /* of the many only what happened */
				path_row(r, c, "reason", c->ends[i].name, c->ends[i].value);
	} else {
		for (uint32_t i = 0; i < c->io_count; i++)
			path_row(r, c, "event", c->io[i].name, c->io[i].value);
	}
}

static void remote_paths(FILE *f, const struct gathering *g)
{
	struct path_rows r = { .f = f };

	for (r.m = METRIC_PATH_UP; r.m <= METRIC_PATH_OUT; r.m++) {
		head(f, r.m);
		r.count = 0;
		remote_each_path(g->m->remote, remote_path, &r);
	}
}

/* --- target nodes of iSCSI --- */

static void node_row(const struct path_rows *r, const char *node, const char *direction, uint64_t v)
{
	struct labels l;

	labels_init(&l);
	label(&l, "target", node);
	if (direction)
		label(&l, "direction", direction);
	put(r->f, r->m, &l, v);
}

static void target_node(void *arg, const char *node, const struct iscsi_counts *c)
{
	struct path_rows *r = arg;

	if (r->count++ >= METRICS_NODES_MAX)
		return;
	if (r->m == METRIC_NODE_SESSIONS) {
		node_row(r, node, NULL, c->sessions);
	} else if (r->m == METRIC_NODE_LOGINS) {
		node_row(r, node, NULL, c->logins);
	} else if (r->m == METRIC_NODE_COMMANDS) {
		node_row(r, node, NULL, c->commands);
	} else {
		bool pdus = r->m == METRIC_NODE_PDUS;

		node_row(r, node, "in", pdus ? c->pdus_in : c->bytes_in);
		node_row(r, node, "out", pdus ? c->pdus_out : c->bytes_out);
	}
}

static void iscsi_value(void *arg, const char *key, uint64_t v)
{
	const struct transport_out *o = arg;
	struct labels l;

	labels_init(&l);
	label(&l, "core", o->core);
	label(&l, "event", key);
	put(o->f, METRIC_ISCSI, &l, v);
}

static void target_nodes(FILE *f, const struct gathering *g)
{
	struct path_rows r = { .f = f };
	char name[16];

	for (r.m = METRIC_NODE_SESSIONS; r.m <= METRIC_NODE_BYTES; r.m++) {
		head(f, r.m);
		r.count = 0;
		iscsi_target_count(g->m->iscsi, target_node, &r);
	}
	head(f, METRIC_ISCSI);
	for (uint32_t i = 0; i < g->core_count; i++) {
		struct transport_out o = { f, core_name(&g->cores[i], name) };

		iscsi_target_stats(g->m->iscsi, i, iscsi_value, &o);
	}
}

/* --- controllers of vhost --- */

static void vhost_ctrlrs(FILE *f, const struct gathering *g)
{
	for (enum metric m = METRIC_VM_SESSIONS; m <= METRIC_VM_CALLS; m++) {
		uint32_t count = 0;

		head(f, m);
		for (struct vhost_ctrlr *c = NULL; (c = vhost_ctrlr_next(g->m->vhost, c)) && count++ < METRICS_NODES_MAX;) {
			struct vhost_ctrlr_info info;
			struct vhost_counts n;
			struct labels l;

			vhost_ctrlr_get(c, &info);
			vhost_ctrlr_count(c, &n);
			labels_init(&l);
			label(&l, "ctrlr", info.name);
			put(f, m, &l, (const uint64_t[]){ n.sessions, n.queues, n.in_flight, n.sessions_ever, n.commands, n.kicks,
			                                  n.calls }[m - METRIC_VM_SESSIONS]);
		}
	}
}
