/* SPDX-License-Identifier: BSD-3-Clause */
/* stats_rpc.c: bdev_get_iostat and bdev_reset_iostat: the devices are asked one after the other.
 *
 * Ticks are nanoseconds: tick_rate says so.
 */
#include <errno.h>

#include "bdev/bdev_device.h"
#include "bdev/bdev_rpc_priv.h"
#include "rpc/json.h"

static const char *const modes[] = { "none", "all", "maxmin", "error", NULL }; /* as enum bdev_stats_reset */

struct get_iostat {
	struct rpc_texts names;
	bool per_channel;
	char *reset_mode;
};

static const struct rpc_param get_iostat_params[] = {
	RPC_PARAM(struct get_iostat, names, .doc = "Only these devices."),
	RPC_PARAM(struct get_iostat, per_channel, .doc = "Of each core; for one device."),
	RPC_PARAM(struct get_iostat, reset_mode, .choices = modes, .fallback = "none",
	          .doc = "What to reset after reading."),
};

struct reset_iostat {
	char *name, *mode;
};

static const struct rpc_param reset_iostat_params[] = {
	RPC_PARAM(struct reset_iostat, name, .doc = "Only this device."),
	RPC_PARAM(struct reset_iostat, mode, .choices = modes, .fallback = "all", .doc = "What to reset."),
};

/* One call at work. */
struct iostat {
	struct bdev_stats_read read;
	struct rpc_call *call;
	struct bdev_registry *reg;
	struct json_object *result, *array; /* NULL: only reset */
	enum bdev_stats_reset mode;
	bool per_channel;
	char (*names)[BDEV_NAME_MAX];
	size_t count, at;
};

static void next_device(struct iostat *s);

static enum bdev_stats_reset mode_of(const char *text)
{
	uint32_t i = 0;

	while (modes[i + 1] && strcmp(modes[i], text) != 0)
		i++;
	return (enum bdev_stats_reset)i;
}

static void add_stats(struct json_object *o, const struct bdev *b, const struct bdev_stats *s)
{
	const struct { const char *bytes, *ops, *sum, *max, *min; enum bdev_op op; } rows[] = {
		{ "bytes_read", "num_read_ops", "read_latency_ticks", "max_read_latency_ticks", "min_read_latency_ticks",
		  BDEV_READ },
		{ "bytes_written", "num_write_ops", "write_latency_ticks", "max_write_latency_ticks",
		  "min_write_latency_ticks", BDEV_WRITE },
		{ "bytes_unmapped", "num_unmap_ops", "unmap_latency_ticks", "max_unmap_latency_ticks",
		  "min_unmap_latency_ticks", BDEV_UNMAP },
		{ "bytes_copied", "num_copy_ops", "copy_latency_ticks", "max_copy_latency_ticks", "min_copy_latency_ticks",
		  BDEV_COPY },
	};
	uint64_t block = b->block_size + (b->md_interleaved ? b->md_size : 0), errors = 0;
	struct json_object *io_error = json_object_new_object();

	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_add_u64(o, rows[i].bytes, s->op[rows[i].op].blocks * block);
		json_add_u64(o, rows[i].ops, s->op[rows[i].op].ops);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct bdev_op_stats *op = &s->op[rows[i].op];

		json_add_u64(o, rows[i].sum, op->latency_ns);
		json_add_u64(o, rows[i].max, op->latency_ns_max);
		json_add_u64(o, rows[i].min, op->latency_ns_min == UINT64_MAX ? 0 : op->latency_ns_min);
	}
	for (uint32_t i = 0; i < BDEV_OP_COUNT; i++)
		errors += s->op[i].errors;
	if (errors)
		json_add_u64(io_error, "failed", errors);
	json_object_object_add(o, "io_error", io_error);
}

static void add_channels(struct iostat *s)
{
	struct core *core = bdev_registry_core(s->reg);
	struct json_object *channels = json_object_new_array();

	json_object_object_add(s->result, "name", json_object_new_string(s->read.bdev->name));
	for (uint32_t i = 0; i <= core_reactor_count(core); i++) {
		struct json_object *o = json_object_new_object();

		json_add_u64(o, "thread_id", i == core_reactor_count(core) ? 1 : i + 2); /* as thread_get_stats has them */
		add_stats(o, s->read.bdev, &s->read.per_core[i]);
		json_object_array_add(channels, o);
	}
	json_object_object_add(s->result, "channels", channels);
}

/* Times in microseconds, as SPDK counts them in its periods. */
static void add_depth(struct json_object *o, const struct bdev_stats *sum)
{
	if (!sum->depth_period_us)
		return;
	json_add_u64(o, "queue_depth_polling_period", sum->depth_period_us);
	json_add_u64(o, "queue_depth", sum->in_flight);
	json_add_u64(o, "io_time", sum->busy_ns / NS_PER_US);
	json_add_u64(o, "weighted_io_time", sum->weighted_ns / NS_PER_US);
}

/* Only where something has waited: what for, how often, and how many do now. */
static void add_waits(struct json_object *o, const struct bdev_stats *sum)
{
	struct json_object *array = NULL, *wait;

	for (uint32_t i = 0; i < BDEV_WAIT_COUNT; i++) {
		if (!sum->waits[i].waits)
			continue;
		array = array ? array : json_add_array(o, "waits");
		wait = json_append_object(array);
		json_add_text(wait, "name", bdev_wait_name((enum bdev_wait)i));
		json_add_u64(wait, "count", sum->waits[i].waits);
		json_add_u64(wait, "waiting", sum->waits[i].waiting);
	}
}

static void device_read(struct bdev_stats_read *r)
{
	struct iostat *s = container_of(r, struct iostat, read);
	struct json_object *o;

	if (s->per_channel) {
		add_channels(s);
	} else if (s->array) {
		o = json_object_new_object();
		json_object_object_add(o, "name", json_object_new_string(r->bdev->name));
		add_stats(o, r->bdev, &r->sum);
		add_depth(o, &r->sum);
		add_waits(o, &r->sum);
		json_object_array_add(s->array, o);
	}
	next_device(s);
}

/* A device that went away meanwhile is left out. */
static void next_device(struct iostat *s)
{
	struct bdev *b = NULL;

	while (s->at < s->count && !(b = bdev_find(s->reg, s->names[s->at++])))
		;
	if (b) {
		bdev_stats_get(s->reg, b, &s->read, s->mode, device_read);
		return;
	}
	if (s->result)
		rpc_reply(s->call, s->result);
	else
		rpc_reply_true(s->call);
	free(s->names);
	free(s);
}

static size_t count_all(struct bdev_registry *reg)
{
	size_t n = 0;

	for (struct bdev *b = bdev_first(reg); b; b = bdev_next(b))
		n++;
	return n;
}

/* Which devices: those named, or all. NULL: one is not there, and the caller has been told. */
static struct iostat *iostat_make(struct rpc_call *call, char *const *names, size_t count)
{
	struct bdev_registry *reg = ((struct bdev_rpc *)rpc_ctx(call))->reg;
	struct bdev *b = bdev_first(reg);
	bool all = !count;
	struct iostat *s;

	for (size_t i = 0; i < count; i++)
		if (!bdev_find(reg, names[i])) {
			rpc_reply_error(call, -ENODEV, "name: there is no block device '%s'; leave it out to see all", names[i]);
			return NULL;
		}
	s = base_zalloc(sizeof(*s));
	s->call = call;
	s->reg = reg;
	s->count = all ? count_all(reg) : count;
	s->names = base_zalloc(s->count * sizeof(*s->names) + 1);
	for (size_t i = 0; i < s->count; i++) {
		b = all ? (i ? bdev_next(b) : b) : bdev_find(reg, names[i]);
		memcpy(s->names[i], b->name, sizeof(b->name));
	}
	return s;
}

static void handle_get_iostat(struct rpc_call *call, void *args)
{
	struct get_iostat *a = args;
	struct iostat *s;

	if (a->per_channel && a->names.count != 1) {
		rpc_reply_error(call, -EINVAL, "per_channel: needs exactly one device in names");
		return;
	}
	s = iostat_make(call, a->names.at, a->names.count);
	if (!s)
		return;
	s->mode = mode_of(a->reset_mode);
	s->per_channel = a->per_channel;
	s->result = json_object_new_object();
	json_add_u64(s->result, "tick_rate", NS_PER_S);
	json_add_u64(s->result, "ticks", core_clock_ns());
	if (!s->per_channel) {
		s->array = json_object_new_array();
		json_object_object_add(s->result, "bdevs", s->array);
	}
	next_device(s);
}

static void handle_reset_iostat(struct rpc_call *call, void *args)
{
	struct reset_iostat *a = args;
	struct iostat *s = iostat_make(call, &a->name, a->name ? 1 : 0);

	if (!s)
		return;
	s->mode = mode_of(a->mode);
	next_device(s);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_get_iostat", struct get_iostat, get_iostat_params, handle_get_iostat,
	           .flags = RPC_RUNTIME | RPC_READS,
	           .doc = "What devices did.", .returns = "tick_rate, ticks, bdevs"),
	RPC_METHOD("bdev_reset_iostat", struct reset_iostat, reset_iostat_params, handle_reset_iostat,
	           .flags = RPC_RUNTIME,
	           .doc = "Count from zero again.", .returns = "true"),
};

void bdev_rpc_add_stats(struct bdev_rpc *br)
{
	rpc_add_methods(br->rpc, methods, ARRAY_SIZE(methods), br);
}
