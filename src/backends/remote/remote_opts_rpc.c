/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_opts_rpc.c: what holds for all controllers: bdev_nvme_set_options.
 *
 * Only what was given is changed, and only what was given is saved: the rest follows this daemon's defaults.
 */
#include "backends/remote/remote_rpc_priv.h"

#include <errno.h>

struct set {
	char *action_on_timeout;
	uint64_t timeout_us, timeout_admin_us;
	uint32_t keep_alive_timeout_ms, io_queue_requests, tcp_connect_timeout_ms, ack_timeout_ms;
	int32_t bdev_retry_count, ctrlr_loss_timeout_sec;
	uint32_t reconnect_delay_sec, fast_io_fail_timeout_sec;
	uint32_t rdma_cm_event_timeout_ms;
	uint8_t transport_ack_timeout, transport_tos;
	bool disable_auto_failback, generate_uuids, enable_flush, io_path_stat, nvme_error_stat;
	bool warm_connections;
	char *reservations;
	char *write_replay;
	bool ccr;
	struct remote_multipath_args multipath_opts;
	struct rpc_texts dhchap_digests, dhchap_dhgroups;
};

static const char *const actions[] = { "none", "reset", "abort", NULL };
static const char *const reservers[] = { "local", "target", NULL };
static const char *const replays[] = { "safe", "immediate", NULL };

static const struct rpc_param set_params[] = {
	RPC_PARAM(struct set, action_on_timeout, .choices = actions, .doc = "What is done about I/O that takes too "
	          "long."),
	RPC_PARAM(struct set, timeout_us, .unit = "us", .doc = "From then on I/O takes too long; 0: never."),
	RPC_PARAM(struct set, timeout_admin_us, .unit = "us",
	          .doc = "With reset or abort: an admin command that takes longer ends the connection; 0: none does."),
	RPC_PARAM(struct set, keep_alive_timeout_ms, .unit = "ms",
	          .doc = "The target may forget us after this time without a sign of life, and we it; 10 s."),
	RPC_PARAM(struct set, io_queue_requests, .doc = "Entries of an I/O queue, 1024 at most; 0: 128."),
	RPC_PARAM(struct set, bdev_retry_count, .doc = "How often an I/O that may be repeated is; -1: without end, "
	          "3 at first."),
	RPC_PARAM(struct set, transport_ack_timeout, .max = 31,
	          .doc = "TCP: 2 to that power is how many ms sent data may stay unacknowledged; 0: the connect time-out. "
	                 "RDMA: 4.096 us times 2 to that power, for each of 8 tries; 0: the connection manager's."),
	RPC_PARAM(struct set, ctrlr_loss_timeout_sec, .unit = "s",
	          .doc = "A controller that is lost for that long is removed; -1, as at first: never, 0: no second "
		"attempt."),
	RPC_PARAM(struct set, reconnect_delay_sec, .unit = "s",
	          .doc = "Between two attempts to connect, a quarter more or less; when not given 2 s, growing to "
		"16 s."),
	RPC_PARAM(struct set, fast_io_fail_timeout_sec, .unit = "s",
	          .doc = "Lost for that long its I/O fails instead of waiting; 0: never; 30 s at first."),
	RPC_PARAM(struct set, disable_auto_failback, .doc = "Stay on a path that works when a better one comes back."),
	RPC_PARAM(struct set, generate_uuids, .doc = "No difference: a disk's UUID is the same after a restart in "
	          "any case."),
	RPC_PARAM(struct set, transport_tos, .doc = "RDMA: the type of service of packets; 0: the system's."),
	RPC_PARAM(struct set, rdma_cm_event_timeout_ms, .unit = "ms",
	          .doc = "RDMA: for the adapter to be found, and for the route, each; 0: the whole connect time-out."),
	RPC_PARAM(struct set, nvme_error_stat, .doc = "No difference: errors are always counted."),
	RPC_PARAM(struct set, io_path_stat, .doc = "No difference: I/O is always counted for each path."),
	RPC_PARAM(struct set, tcp_connect_timeout_ms, .unit = "ms",
	          .doc = "From looking up the address until the controller is ready; 0: 5 s."),
	RPC_PARAM(struct set, enable_flush, .doc = "No difference: a flush always goes to a target with a volatile "
	          "cache."),
	RPC_PARAM(struct set, multipath_opts, .params = remote_multipath_params, .param_count = REMOTE_MULTIPATH_PARAMS,
	          .doc = "How disks use several paths, to begin with."),
	RPC_PARAM(struct set, write_replay, .choices = replays,
	          .doc = "A write whose connection ended may still land: it goes out again when the target's limits "
		"exclude that "
	                 "(safe), or at once, as Linux does."),
	RPC_PARAM(struct set, ccr, .fallback = "true",
	          .doc = "Before that time, have a lost controller ended by another one of its subsystem (Cross-Controller "
	                 "Reset), where targets can."),
	RPC_PARAM(struct set, warm_connections,
	          .doc = "Cores that do not use a controller yet keep a connection to it that only has to log in."),
	RPC_PARAM(struct set, reservations, .choices = reservers,
	          .doc = "Whose reservations hosts of a disk make: this daemon's (local), or, for one host at a time, "
		"those of the namespace at its target."),
	RPC_PARAM(struct set, dhchap_digests,
	          .doc = "Hashes that are offered to prove who we are: sha256, sha384, sha512; all when left out."),
	RPC_PARAM(struct set, dhchap_dhgroups,
	          .doc = "Diffie-Hellman groups that are offered for it: null, ffdhe2048, ffdhe3072, ffdhe4096, ffdhe6144, "
	                 "ffdhe8192; all when left out."),
	RPC_IGNORED("arbitration_burst", .doc = "Queues are served in turn."),
	RPC_IGNORED("low_priority_weight", .doc = "Queues are served in turn."),
	RPC_IGNORED("medium_priority_weight", .doc = "Queues are served in turn."),
	RPC_IGNORED("high_priority_weight", .doc = "Queues are served in turn."),
	RPC_IGNORED("nvme_adminq_poll_period_us", .doc = "Nothing is polled."),
	RPC_IGNORED("nvme_ioq_poll_period_us", .doc = "Nothing is polled."),
	RPC_IGNORED("delay_cmd_submit", .doc = "What is submitted in one pass goes out together."),
	RPC_IGNORED("transport_retry_count", .doc = "See bdev_retry_count."),
	RPC_IGNORED("allow_accel_sequence", .doc = "There is no acceleration framework."),
	RPC_IGNORED("rdma_srq_size", .doc = "Each queue has a receive for every command that it may send: 16 bytes each."),
	RPC_IGNORED("rdma_max_cq_size", .doc = "Completion queues grow with their connections, as far as adapters go."),
	RPC_IGNORED("rdma_umr_per_io", .doc = "No memory is registered for single I/Os."),
};

static uint8_t index_of(const char *const *names, const char *name)
{
	uint8_t i = 0;

	while (names[i] && strcmp(names[i], name) != 0)
		i++;
	return i;
}

static int times_from(struct rpc_call *call, const struct set *a, struct remote_opts *o, struct err *e)
{
	struct remote_path_opts t = { 0 };
	int rc = remote_times_from(o, rpc_given(call, "ctrlr_loss_timeout_sec"), a->ctrlr_loss_timeout_sec,
	                           rpc_given(call, "reconnect_delay_sec"), a->reconnect_delay_sec,
	                           rpc_given(call, "fast_io_fail_timeout_sec"), a->fast_io_fail_timeout_sec, &t, e);

	if (rc == 0) {
		o->ctrlr_loss_timeout_sec = t.ctrlr_loss_timeout_sec;
		o->reconnect_delay_sec = t.reconnect_delay_sec;
		o->fast_io_fail_timeout_sec = t.fast_io_fail_timeout_sec;
		o->reconnects_grow = t.reconnects_grow;
	}
	return rc;
}

static int set_from(struct rpc_call *call, const char *param, const struct rpc_texts *names,
                    uint32_t (*bit_of)(const char *name), uint32_t *set, struct err *e)
{
	uint32_t bits = 0;

	if (!rpc_given(call, param))
		return 0;
	for (size_t i = 0; i < names->count; i++) {
		uint32_t bit = bit_of(names->at[i]);

		if (!bit)
			return err_set(e, ERR_BAD_PARAM, "%s: there is no '%s'; see the method's help for those that exist", param,
			               names->at[i]);
		bits |= bit;
	}
	if (!bits)
		return err_set(e, ERR_BAD_PARAM, "%s: with an empty list no target could be proved anything; leave it out "
		               "for all", param);
	*set = bits;
	return 0;
}

/* What was given, into a copy of what is in force. */
static int opts_from(struct rpc_call *call, const struct set *a, struct remote_opts *o, struct err *e)
{
	const struct remote_multipath_args *m = &a->multipath_opts;
	uint8_t policy, selector;

#define TAKE(field) if (rpc_given(call, #field)) o->field = a->field
	TAKE(timeout_us);
	TAKE(timeout_admin_us);
	TAKE(io_queue_requests);
	TAKE(bdev_retry_count);
	TAKE(transport_tos);
	TAKE(disable_auto_failback);
	TAKE(generate_uuids);
	TAKE(enable_flush);
	TAKE(warm_connections);
	TAKE(ccr);
#undef TAKE
	if (a->keep_alive_timeout_ms)
		o->keep_alive_timeout_ms = a->keep_alive_timeout_ms;
	if (a->action_on_timeout)
		o->action_on_timeout = (enum remote_on_timeout)index_of(actions, a->action_on_timeout);
	if (rpc_given(call, "transport_ack_timeout")) {
		o->ack_timeout_ms = a->transport_ack_timeout ? 1u << a->transport_ack_timeout : 0;
		o->ack_exponent = a->transport_ack_timeout;
	}
	if (rpc_given(call, "rdma_cm_event_timeout_ms"))
		o->cm_timeout_ms = a->rdma_cm_event_timeout_ms;
	if (rpc_given(call, "tcp_connect_timeout_ms"))
		o->connect_timeout_ms = a->tcp_connect_timeout_ms;
	if (a->reservations)
		o->reservations_at_target = strcmp(a->reservations, "target") == 0;
	if (a->write_replay)
		o->write_replay_immediate = strcmp(a->write_replay, "immediate") == 0;
	if (o->bdev_retry_count < -1)
		return err_set(e, ERR_BAD_PARAM, "bdev_retry_count: %d is less than -1, which means without end",
		               o->bdev_retry_count);
	if (remote_policy_from(m->policy, m->selector, &policy, &selector, e) != 0)
		return e->code;
	if (m->policy) {
		o->policy = policy;
		o->selector = selector;
		o->rr_min_io = m->min_io;
	}
	if (set_from(call, "dhchap_digests", &a->dhchap_digests, nvme_auth_hash_bit, &o->auth_hashes, e) != 0 ||
	    set_from(call, "dhchap_dhgroups", &a->dhchap_dhgroups, nvme_auth_group_bit, &o->auth_groups, e) != 0)
		return e->code;
	return times_from(call, a, o, e);
}

/* What was given is what is saved. */
static void keep_given(struct remote_rpc *rr, struct rpc_call *call)
{
	struct json_object *params = rpc_given_params(call), *copy;

	for (size_t i = 0; i < ARRAY_SIZE(set_params); i++) {
		struct json_object *v = NULL;

		if (set_params[i].ignored || !rpc_given(call, set_params[i].name) ||
		    !json_object_object_get_ex(params, set_params[i].name, &v))
			continue;
		copy = NULL;
		json_object_deep_copy(v, &copy, NULL);
		if (!rr->options)
			rr->options = json_object_new_object();
		json_object_object_add(rr->options, set_params[i].name, copy);
	}
}

static void handle_set(struct rpc_call *call, void *args)
{
	struct remote_rpc *rr = rpc_ctx(call);
	struct remote_opts o = rr->remote->opts;
	struct err e = { 0 };

	if (!list_empty(&rr->remote->groups)) {
		rpc_reply_error(call, -EPERM, "not permitted with NVMe controllers attached; detach them first");
	} else if (opts_from(call, args, &o, &e) != 0) {
		rpc_reply_err(call, &e);
	} else {
		rr->remote->opts = o;
		keep_given(rr, call);
		rpc_reply_true(call);
	}
}

void remote_opts_rpc_save(struct remote_rpc *rr, struct json_object *array)
{
	struct json_object *entry;

	if (!rr->options)
		return;
	entry = json_append_object(array);
	json_add_text(entry, "method", "bdev_nvme_set_options");
	json_object_object_add(entry, "params", json_object_get(rr->options));
}

void remote_opts_rpc_free(struct remote_rpc *rr)
{
	json_object_put(rr->options);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_nvme_set_options", struct set, set_params, handle_set, .flags = RPC_STARTUP | RPC_RUNTIME,
	           .doc = "Change what holds for all NVMe controllers; while none is attached.", .returns = "true"),
};

void remote_opts_rpc_add(struct remote_rpc *rr)
{
	rpc_add_methods(bdev_rpc_of(rr->br), methods, ARRAY_SIZE(methods), rr);
}
