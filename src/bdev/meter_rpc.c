/* SPDX-License-Identifier: BSD-3-Clause */
/* meter_rpc.c: latency histograms in SPDK's shape and in one for people, and metering of the queue depth.
 *
 * SPDK's histogram has 2^granularity buckets for each power of two, the first two ranges with one value each:
 * base/hist.h is the same with granularity 6 and range 0 first, so its buckets are sent as they are. Ticks are
 * nanoseconds.
 */
#include <errno.h>

#include "bdev/bdev_rpc_priv.h"
#include "bdev/meter.h"
#include "rpc/json.h"

/* --- bdev_enable_histogram, bdev_set_qd_sampling_period ---------------------------------------------------- */

struct enable_histogram {
	char *name, *opc;
	bool enable;
};

static const struct rpc_param enable_histogram_params[] = {
	RPC_PARAM(struct enable_histogram, name, .required = true, .doc = "Name of the device."),
	RPC_PARAM(struct enable_histogram, enable, .required = true,
	          .doc = "Whether latencies are kept; those kept before are forgotten."),
	RPC_PARAM(struct enable_histogram, opc, .doc = "Only of this operation, as supported_io_types names it."),
	RPC_IGNORED("granularity", .doc = "Buckets of a power of two: always 64, an error under 1.6 %."),
	RPC_IGNORED("min_nsec", .doc = "Every latency has its bucket."),
	RPC_IGNORED("max_nsec", .doc = "Every latency has its bucket."),
};

struct set_qd_sampling_period {
	char *name;
	uint64_t period;
};

static const struct rpc_param set_qd_sampling_period_params[] = {
	RPC_PARAM(struct set_qd_sampling_period, name, .required = true, .doc = "Name of the device."),
	RPC_PARAM(struct set_qd_sampling_period, period, .required = true, .unit = "us",
	          .doc = "0: the depth is not metered. Any other: it is, at every change of it; there is no timer."),
};

static void meter_set(struct bdev_meter_call *c)
{
	rpc_reply_true(c->arg);
	free(c);
}

static struct bdev_meter_call *meter_call(struct rpc_call *call)
{
	struct bdev_meter_call *c = base_zalloc(sizeof(*c));

	c->arg = call;
	return c;
}

static bool op_by_name(const char *name, enum bdev_op *ret_op)
{
	for (uint32_t op = 0; op < BDEV_OP_COUNT; op++) {
		if (strcmp(bdev_op_name((enum bdev_op)op), name) != 0)
			continue;
		*ret_op = (enum bdev_op)op;
		return true;
	}
	return false;
}

static void handle_enable_histogram(struct rpc_call *call, void *args)
{
	struct enable_histogram *a = args;
	uint32_t ops = (1u << BDEV_OP_COUNT) - 1;
	struct bdev *b = bdev_rpc_find(call, a->name);
	enum bdev_op op;

	if (!b)
		return;
	if (a->opc && !op_by_name(a->opc, &op)) {
		rpc_reply_error(call, -EINVAL, "opc: '%s' is no operation of a block device; supported_io_types in "
		                "bdev_get_bdevs names them", a->opc);
		return;
	}
	if (a->opc)
		ops = 1u << op;
	bdev_hist_set(b, a->enable ? ops : 0, meter_call(call), meter_set);
}

static void handle_set_qd_sampling_period(struct rpc_call *call, void *args)
{
	struct set_qd_sampling_period *a = args;
	struct bdev *b = bdev_rpc_find(call, a->name);

	if (b)
		bdev_depth_set(b, a->period, meter_call(call), meter_set);
}

/* --- reading ---------------------------------------------------------------------------------------------- */

struct get_histogram {
	char *name;
};

static const struct rpc_param get_histogram_params[] = {
	RPC_PARAM(struct get_histogram, name, .required = true, .doc = "Name of the device."),
};

struct get_borders {
	char *name;
	struct json_object *borders;
};

static const struct rpc_param get_borders_params[] = {
	RPC_PARAM(struct get_borders, name, .required = true, .doc = "Name of the device."),
	RPC_PARAM(struct get_borders, borders, .required = true, .unit = "us",
	          .doc = "Ascending list of borders between counts."),
};

#define BORDERS_MAX 1024u

struct reading {
	struct bdev_hist_read read;
	struct rpc_call *call;
	struct hist all; /* of the operations together */
	uint64_t *borders_ns;
	size_t border_count;
	struct json_object *(*answer)(struct reading *r);
};

static void histogram_read(struct bdev_hist_read *read)
{
	struct reading *r = container_of(read, struct reading, read);

	for (uint32_t op = 0; op < BDEV_OP_COUNT; op++)
		hist_merge(&r->all, &read->hist[op]);
	rpc_reply(r->call, r->answer(r));
	free(r->borders_ns);
	free(r);
}

static struct reading *reading_make(struct rpc_call *call, struct bdev *b,
                                    struct json_object *(*answer)(struct reading *))
{
	struct reading *r;

	if (!b->hist_ops) {
		rpc_reply_error(call, -EINVAL, "name: no latencies of '%s' are kept; bdev_enable_histogram begins with it",
		                b->name);
		return NULL;
	}
	r = base_zalloc(sizeof(*r));
	r->call = call;
	r->answer = answer;
	return r;
}

static char *base64(const void *bytes, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = base_zalloc((len + 2) / 3 * 4 + 1), *at = text;
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t left = (uint32_t)min_u64(len - i, 3);
		uint32_t v = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (left > 2 ? b[i + 2] : 0);

		for (uint32_t k = 0; k < 4; k++)
			*at++ = k <= left ? digits[v >> (18 - 6 * k) & 63] : '=';
	}
	return text;
}

/* Numbers as this machine has them, as SPDK sends them. */
static struct json_object *as_spdk(struct reading *r)
{
	struct json_object *o = json_object_new_object();
	char *text = base64(r->all.bucket, sizeof(r->all.bucket));

	json_add_text(o, "histogram", text);
	free(text);
	json_add_u64(o, "bucket_shift", HIST_SUB_BITS); /* as it was called before it was called granularity */
	json_add_u64(o, "granularity", HIST_SUB_BITS);
	json_add_u64(o, "min_range", 0);
	json_add_u64(o, "max_range", 64 - HIST_SUB_BITS);
	json_add_u64(o, "tsc_rate", NS_PER_S);
	return o;
}

/* How many lie below the first border, between it and the next, ..., beyond the last. */
static struct json_object *as_borders(struct reading *r)
{
	struct json_object *o = json_object_new_object(), *counts = json_add_array(o, "borders_count");
	uint32_t bucket = 0;

	for (size_t i = 0; i <= r->border_count; i++) {
		uint64_t sum = 0;

		for (; bucket < HIST_BUCKETS; bucket++) {
			if (i < r->border_count && hist_bucket_floor(bucket) >= r->borders_ns[i])
				break;
			sum += r->all.bucket[bucket];
		}
		json_object_array_add(counts, json_object_new_uint64(sum));
	}
	return o;
}

static void add_latencies(struct json_object *array, const char *op, const struct hist *h)
{
	static const struct { const char *name; double percent; } marks[] = {
		{ "p50_ns", 50 }, { "p90_ns", 90 }, { "p99_ns", 99 }, { "p99_9_ns", 99.9 }, { "p99_99_ns", 99.99 },
	};
	struct json_object *o = json_append_object(array);

	json_add_text(o, "operation", op);
	json_add_u64(o, "count", h->count);
	json_add_u64(o, "mean_ns", hist_mean(h));
	json_add_u64(o, "min_ns", h->min);
	for (uint32_t i = 0; i < ARRAY_SIZE(marks); i++)
		json_add_u64(o, marks[i].name, hist_percentile(h, marks[i].percent));
	json_add_u64(o, "max_ns", h->max);
}

static struct json_object *as_percentiles(struct reading *r)
{
	struct json_object *o = json_object_new_object(), *array;

	json_add_text(o, "name", r->read.bdev->name);
	array = json_add_array(o, "latencies");
	for (uint32_t op = 0; op < BDEV_OP_COUNT; op++)
		if (r->read.hist[op].count)
			add_latencies(array, bdev_op_name((enum bdev_op)op), &r->read.hist[op]);
	return o;
}

static void handle_get_histogram(struct rpc_call *call, void *args)
{
	struct get_histogram *a = args;
	struct bdev *b = bdev_rpc_find(call, a->name);
	struct reading *r = b ? reading_make(call, b, as_spdk) : NULL;

	if (r)
		bdev_hist_get(b, &r->read, histogram_read);
}

static void handle_get_latencies(struct rpc_call *call, void *args)
{
	struct get_histogram *a = args;
	struct bdev *b = bdev_rpc_find(call, a->name);
	struct reading *r = b ? reading_make(call, b, as_percentiles) : NULL;

	if (r)
		bdev_hist_get(b, &r->read, histogram_read);
}

static bool borders_ok(struct json_object *borders)
{
	int64_t before = -1;

	if (!json_object_is_type(borders, json_type_array) || json_object_array_length(borders) > BORDERS_MAX ||
	    !json_object_array_length(borders))
		return false;
	for (size_t i = 0; i < json_object_array_length(borders); i++) {
		struct json_object *v = json_object_array_get_idx(borders, i);
		int64_t us = json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : -1;

		if (us <= before || us > INT64_MAX / (int64_t)NS_PER_US)
			return false;
		before = us;
	}
	return true;
}

static void handle_get_borders(struct rpc_call *call, void *args)
{
	struct get_borders *a = args;
	struct bdev *b = bdev_rpc_find(call, a->name);
	struct reading *r;

	if (!b)
		return;
	if (!borders_ok(a->borders)) {
		rpc_reply_error(call, -EINVAL, "borders: not an ascending list of up to %u numbers of microseconds",
		                BORDERS_MAX);
		return;
	}
	r = reading_make(call, b, as_borders);
	if (!r)
		return;
	r->border_count = json_object_array_length(a->borders);
	r->borders_ns = base_zalloc(r->border_count * sizeof(*r->borders_ns));
	for (size_t i = 0; i < r->border_count; i++)
		r->borders_ns[i] = json_object_get_uint64(json_object_array_get_idx(a->borders, i)) * NS_PER_US;
	bdev_hist_get(b, &r->read, histogram_read);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_enable_histogram", struct enable_histogram, enable_histogram_params, handle_enable_histogram,
	           .flags = RPC_RUNTIME, .doc = "Keep latencies of a device's operations, or no longer.",
	           .returns = "true"),
	RPC_METHOD("bdev_get_histogram", struct get_histogram, get_histogram_params, handle_get_histogram,
	           .flags = RPC_RUNTIME | RPC_READS,
	           .doc = "Latencies of all operations that are kept, as SPDK's tools read them.",
	           .returns = "histogram in base64, bucket_shift, tsc_rate"),
	RPC_METHOD("bdev_get_histogram_borders", struct get_borders, get_borders_params, handle_get_borders,
	           .flags = RPC_RUNTIME | RPC_READS, .doc = "Latencies that are kept, counted between borders.",
	           .returns = "borders_count: one more than borders"),
	RPC_METHOD("bdev_get_latencies", struct get_histogram, get_histogram_params, handle_get_latencies,
	           .flags = RPC_RUNTIME | RPC_READS, .doc = "Latencies of each operation that is kept, for people.",
	           .returns = "name, latencies: per operation count, mean, percentiles"),
	RPC_METHOD("bdev_set_qd_sampling_period", struct set_qd_sampling_period, set_qd_sampling_period_params,
	           handle_set_qd_sampling_period, .flags = RPC_RUNTIME,
	           .doc = "Meter a device's queue depth, for bdev_get_iostat.", .returns = "true"),
};

void bdev_rpc_add_meter(struct bdev_rpc *br)
{
	rpc_add_methods(br->rpc, methods, ARRAY_SIZE(methods), br);
}
