/* SPDX-License-Identifier: BSD-3-Clause */
/* load_rpc.c: bdev_perf_start: a load on a disk, answered when it is over; ended when nobody waits for the answer any
 * more, or the daemon stops. */
#include "load/load_rpc.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "load/load.h"
#include "rpc/json.h"
#include "rpc/rpc.h"

#define CALLER_NS (250 * NS_PER_MS) /* how often it is looked whether somebody waits still */
#define QD_MAX 4096

struct load_rpc {
	struct bdev_registry *reg;
	struct rpc_drain_hook drain;
	struct list runs;
};

struct run {
	struct load load;
	struct list link;
	struct rpc_call *call;
	struct timer caller_timer;
	uint32_t pattern;               /* of patterns[] */
};

struct perf_start {
	char *name, *rw, *cores;
	uint8_t rwmixread;
	uint32_t qd, io_size, time, warmup;
	uint64_t number_ios, seed;
	bool verify;
};

static const char *const patterns[] = { "read", "write", "randread", "randwrite", "rw", "randrw", NULL };
static const struct { bool random; int8_t read_percent; } pattern_means[] = { /* -1: a mix */
	{ false, 100 }, { false, 0 }, { true, 100 }, { true, 0 }, { false, -1 }, { true, -1 },
};

static const struct rpc_param perf_start_params[] = {
	RPC_PARAM(struct perf_start, name,    .required = true, .doc = "Name of the device."),
	RPC_PARAM(struct perf_start, rw,      .required = true, .choices = patterns, .doc = "What is done to it."),
	RPC_PARAM(struct perf_start, rwmixread, .fallback = "50", .max = 100, .unit = "percent",
	          .doc = "Reads among rw and randrw."),
	RPC_PARAM(struct perf_start, qd,      .fallback = "32", .min = 1, .max = QD_MAX, .unit = "I/Os",
	          .doc = "How many are in flight on each reactor."),
	RPC_PARAM(struct perf_start, io_size, .fallback = "4096", .min = 512, .max = 16 * MIB, .multiple_of = 512,
	          .unit = "bytes", .doc = "Size of an I/O."),
	RPC_PARAM(struct perf_start, time,    .fallback = "10", .max = 86400, .unit = "s",
	          .doc = "How long to measure; 0: until number_ios."),
	RPC_PARAM(struct perf_start, warmup,  .max = 3600, .unit = "s", .doc = "Run this long before measuring."),
	RPC_PARAM(struct perf_start, number_ios, .unit = "I/Os",
	          .doc = "End after this many on each reactor; 0: no limit."),
	RPC_PARAM(struct perf_start, verify,
	          .doc = "Write patterns, check every read against them, read all back at the end."),
	RPC_PARAM(struct perf_start, cores,   .doc = "CPUs of the reactors that do it, [1,2] or 0x6; all when left out."),
	RPC_PARAM(struct perf_start, seed,    .fallback = "1", .doc = "Start of the random sequence."),
};

static int fill_opts(struct load_rpc *r, const struct perf_start *a, struct load_opts *ret_opts, struct err *e);
static void look_for_caller(struct timer *t);
static void run_done(struct load *l);
static struct json_object *result_json(const struct run *run);

static uint32_t pattern_of(const struct perf_start *a)
{
	uint32_t i = 0;

	while (strcasecmp(patterns[i], a->rw) != 0)
		i++; /* it is one of them */
	return i;
}

static void handle_perf_start(struct rpc_call *call, void *args)
{
	struct load_rpc *r = rpc_ctx(call);
	const struct perf_start *a = args;
	struct run *run = base_zalloc(sizeof(*run));
	struct load_opts opts;
	struct err e = { 0 };

	run->call = call;
	if (fill_opts(r, a, &opts, &e) || load_start(&run->load, r->reg, &opts, run_done, &e)) {
		free(run);
		rpc_reply_err(call, &e);
		return;
	}
	list_add_tail(&r->runs, &run->link);
	run->pattern = pattern_of(a);
	timer_start(&run->caller_timer, CALLER_NS, look_for_caller);
}

static int fill_opts(struct load_rpc *r, const struct perf_start *a, struct load_opts *ret_opts, struct err *e)
{
	struct core *core = bdev_registry_core(r->reg);
	uint32_t cpus[CORE_REACTORS_MAX], count = 0, pattern = pattern_of(a);

	*ret_opts = (struct load_opts){
		.name = a->name, .verify = a->verify, .depth = a->qd, .io_bytes = a->io_size, .time_s = a->time,
		.warmup_s = a->warmup, .io_limit = a->number_ios, .seed = a->seed,
		.random = pattern_means[pattern].random,
		.read_percent = pattern_means[pattern].read_percent < 0 ? a->rwmixread :
		                                                          (uint8_t)pattern_means[pattern].read_percent,
	};
	if (!a->time && !a->number_ios)
		return err_set(e, ERR_BAD_PARAM, "time: 0 without number_ios would never end");
	if (!a->cores)
		return 0;
	if (core_parse_cpus("cores", a->cores, CORE_REACTORS_MAX, cpus, &count, e))
		return e->code;
	ret_opts->reactors = core_reactors_on(core, cpus, count);
	if (!ret_opts->reactors)
		return err_set(e, -EINVAL, "cores: this daemon has no reactor on %s; gantry status lists them", a->cores);
	return 0;
}

static void look_for_caller(struct timer *t)
{
	struct run *run = container_of(t, struct run, caller_timer);
	struct err e = { 0 };

	if (rpc_is_heard(run->call)) {
		timer_start(t, CALLER_NS, look_for_caller);
		return;
	}
	err_set(&e, -ECANCELED, "nobody waits for the result any more");
	load_stop(&run->load, &e);
}

static void run_done(struct load *l)
{
	struct run *run = container_of(l, struct run, load);

	timer_stop(&run->caller_timer);
	list_del(&run->link);
	if (l->err.code)
		rpc_reply_err(run->call, &l->err);
	else
		rpc_reply(run->call, result_json(run));
	load_fini(l);
	free(run);
}

/* --- the result, as gantry-perf says it ------------------------------------------------------- */

static double seconds_of(const struct load_worker *w)
{
	return w->ended_ns > w->measure_from_ns ? (double)(w->ended_ns - w->measure_from_ns) / NS_PER_S : 0;
}

static double iops_of(const struct load_worker *w)
{
	double s = seconds_of(w);

	return s > 0 ? (double)w->hist.count / s : 0;
}

static void add_double(struct json_object *o, const char *key, double v)
{
	char text[64];

	snprintf(text, sizeof(text), "%.2f", v);
	json_object_object_add(o, key, json_object_new_double_s(v, text));
}

static void add_latencies(struct json_object *o, const struct hist *h)
{
	static const struct { double percent; const char *key; } percentiles[] = {
		{ 50, "p50" }, { 90, "p90" }, { 95, "p95" }, { 99, "p99" }, { 99.9, "p99.9" }, { 99.99, "p99.99" },
	};
	struct json_object *us = json_add_object(o, "latency_us");

	add_double(us, "mean", (double)hist_mean(h) / NS_PER_US);
	add_double(us, "min", (double)h->min / NS_PER_US);
	add_double(us, "max", (double)h->max / NS_PER_US);
	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++)
		add_double(us, percentiles[i].key, (double)hist_percentile(h, percentiles[i].percent) / NS_PER_US);
}

/* The first of each, for people. */
static void add_complaints(struct json_object *o, const struct load *l)
{
	char text[256];

	for (uint32_t i = 0; i < l->worker_count; i++) {
		const struct load_worker *w = &l->workers[i];

		if (w->errors && !json_object_object_get_ex(o, "first_error", NULL)) {
			snprintf(text, sizeof(text), "LBA %llu: %s", (unsigned long long)w->first_error_lba,
			         bdev_status_text(w->first_error));
			json_add_text(o, "first_error", text);
		}
		if (w->miscompares && !json_object_object_get_ex(o, "first_miscompare", NULL)) {
			snprintf(text, sizeof(text), "LBA %llu: byte %llu is not what was written last",
			         (unsigned long long)w->first_miscompare_lba, (unsigned long long)w->first_miscompare_at);
			json_add_text(o, "first_miscompare", text);
		}
	}
}

static struct json_object *result_json(const struct run *run)
{
	const struct load *l = &run->load;
	struct json_object *o = json_object_new_object(), *list;
	struct hist *all = base_zalloc(sizeof(*all));
	uint64_t errors = 0, miscompares = 0;
	double iops = 0;

	json_add_text(o, "name", l->name);
	json_add_text(o, "pattern", patterns[run->pattern]);
	json_add_u64(o, "io_bytes", l->opts.io_bytes);
	json_add_u64(o, "depth", l->opts.depth);
	json_add_u64(o, "workers", l->worker_count);
	for (uint32_t i = 0; i < l->worker_count; i++) {
		hist_merge(all, &l->workers[i].hist);
		iops += iops_of(&l->workers[i]);
		errors += l->workers[i].errors;
		miscompares += l->workers[i].miscompares;
	}
	json_add_u64(o, "ios", all->count);
	add_double(o, "iops", iops);
	add_double(o, "mib_per_s", iops * l->opts.io_bytes / MIB);
	json_add_u64(o, "errors", errors);
	json_add_u64(o, "miscompares", miscompares);
	add_complaints(o, l);
	add_latencies(o, all);
	list = json_add_array(o, "reactors");
	for (uint32_t i = 0; i < l->worker_count; i++) {
		struct json_object *w = json_append_object(list);

		json_add_u64(w, "cpu", reactor_cpu(l->workers[i].reactor));
		json_add_u64(w, "ios", l->workers[i].hist.count);
		add_double(w, "iops", iops_of(&l->workers[i]));
		add_double(w, "mib_per_s", iops_of(&l->workers[i]) * l->opts.io_bytes / MIB);
		add_latencies(w, &l->workers[i].hist);
	}
	free(all);
	return o;
}

/* --- the method ------------------------------------------------------------------------------- */

static const struct rpc_method methods[] = { /* it configures nothing: RPC_READS */
	RPC_METHOD("bdev_perf_start", struct perf_start, perf_start_params, handle_perf_start,
		.flags = RPC_RUNTIME | RPC_READS,
		.doc = "Run a load on a disk, on the daemon's own reactors, and tell how fast it was. One that writes is "
		       "refused while somebody uses the disk, and what was on it is lost. Ends early when its caller goes.",
		.returns = "{name, pattern, io_bytes, depth, workers, ios, iops, mib_per_s, errors, miscompares, first_error, "
		           "first_miscompare, latency_us: {mean, min, max, p50, p90, p95, p99, p99.9, p99.99}, "
		           "reactors: [{cpu, ios, iops, mib_per_s, latency_us}]}"),
};

static void drain(struct rpc_drain_hook *h)
{
	struct load_rpc *r = container_of(h, struct load_rpc, drain);
	struct err e = { 0 };

	err_set(&e, -ESHUTDOWN, "the daemon is stopping");
	list_each(at, &r->runs)
		load_stop(&list_entry(at, struct run, link)->load, &e);
}

struct load_rpc *load_rpc_make(struct rpc *rpc, struct bdev_registry *reg)
{
	struct load_rpc *r = base_zalloc(sizeof(*r));

	r->reg = reg;
	r->drain.fn = drain;
	list_init(&r->runs);
	rpc_on_drain(rpc, &r->drain);
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), r);
	return r;
}

void load_rpc_free(struct load_rpc *r)
{
	assert(list_empty(&r->runs));
	free(r);
}
