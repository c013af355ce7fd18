/* SPDX-License-Identifier: BSD-3-Clause */
/* sched_rpc.c: the scheduler, and where threads run, with SPDK's methods.
 *
 * What SPDK's schedulers move are threads; here it is what lives on a reactor, connections first. A scheduler that does
 * not exist here is accepted and is like static; what was asked for is saved.
 */
#include <errno.h>

#include "core/log.h"
#include "core/sched.h"
#include "rpc/core_rpc.h"

#define TEXT_MAX 64        /* of a scheduler's name, kept */
#define PERIOD_US_MIN 1000 /* what looking costs would count as load */

struct set_scheduler {
	char *name;
	uint64_t period;
	uint32_t load_limit, core_limit, core_busy;
};

static const struct rpc_param set_scheduler_params[] = {
#define P(field, ...) RPC_PARAM(struct set_scheduler, field, __VA_ARGS__)
	P(name, .required = true, .min = 1, .max = TEXT_MAX - 1,
	  .doc = "static: connections stay where they are. dynamic: they leave saturated cores and are packed onto few "
	         "when there is little to do. Others are taken for static."),
	P(period, .max = UINT64_MAX / NS_PER_US, .unit = "us",
	  .doc = "How often dynamic looks, while there is load; as before when left out, at first 1 s; at least 1 ms."),
	P(load_limit, .max = 100, .unit = "%",
	  .doc = "dynamic: a core with less load is packed onto others; at first 20."),
	P(core_limit, .max = 100, .unit = "%",
	  .doc = "dynamic: a core is not filled beyond it, by packing not beyond half of it; at first 80."),
	P(core_busy, .max = 100, .unit = "%", .doc = "dynamic: a core with so much load is saturated; at first 95."),
#undef P
	RPC_IGNORED("mappings", .doc = "Threads do not move; nvmf_move_qpair moves a connection."),
};

static void handle_framework_set_scheduler(struct rpc_call *call, void *args)
{
	struct rpc_core_methods *m = rpc_ctx(call);
	struct set_scheduler *a = args;
	const struct sched_opts opts = {
		.dynamic = !strcmp(a->name, "dynamic"),
		.period_ns = a->period ? max_u64(a->period, PERIOD_US_MIN) * NS_PER_US : 0, .load_limit = a->load_limit,
		.core_limit = a->core_limit, .core_busy = a->core_busy,
	};

	if (!opts.dynamic && strcmp(a->name, "static"))
		log_notice("rpc: framework_set_scheduler: there is no scheduler %s here; it is taken for static", a->name);
	sched_set(rpc_core(m->rpc), &opts);
	memcpy(m->sched.name, a->name, strlen(a->name) + 1); /* its length was checked */
	m->sched.period = a->period ? a->period : m->sched.period;
	m->sched.load_limit = a->load_limit ? a->load_limit : m->sched.load_limit;
	m->sched.core_limit = a->core_limit ? a->core_limit : m->sched.core_limit;
	m->sched.core_busy = a->core_busy ? a->core_busy : m->sched.core_busy;
	rpc_reply_true(call);
}

static char *mask_of_reactors(struct core *core, uint64_t reactors)
{
	uint32_t cpus[CORE_REACTORS_MAX], count = 0;

	for (uint32_t i = 0; i < core_reactor_count(core); i++)
		if (reactors >> i & 1)
			cpus[count++] = reactor_cpu(core_reactor(core, i));
	return core_cpus_mask(cpus, count);
}

static void handle_framework_get_scheduler(struct rpc_call *call, void *args)
{
	struct core *core = rpc_core(rpc_of(call));
	struct json_object *result = json_object_new_object(), *did;
	char *mask = mask_of_reactors(core, sched_isolated(core));
	struct sched_stats stats;
	struct sched_opts opts;

	sched_get(core, &opts);
	sched_get_stats(core, &stats);
	json_add_text(result, "scheduler_name", opts.dynamic ? "dynamic" : "static");
	json_add_u64(result, "scheduler_period", opts.period_ns / NS_PER_US);
	json_add_text(result, "isolated_core_mask", mask);
	json_add_u64(result, "scheduling_core", reactor_cpu(core_reactor(core, sched_first_core(core))));
	if (opts.dynamic) {
		json_add_u64(result, "load_limit", opts.load_limit);
		json_add_u64(result, "core_limit", opts.core_limit);
		json_add_u64(result, "core_busy", opts.core_busy);
		did = json_add_object(result, "did");
		json_add_u64(did, "rounds", stats.rounds);
		json_add_u64(did, "moves", stats.moves);
		json_add_u64(did, "failed", stats.failed);
		json_add_u64(did, "naps", stats.naps);
		json_add_u64(did, "parks", stats.parks);
	}
	free(mask);
	rpc_reply(call, result);
}

/* --- which cores --- */

struct set_options {
	char *isolated_core_mask;
	uint32_t scheduling_core;
};

static const struct rpc_param set_options_params[] = {
	RPC_PARAM(struct set_options, isolated_core_mask,
	          .doc = "CPUs whose reactors the scheduler leaves alone: a mask or a list."),
	RPC_PARAM(struct set_options, scheduling_core, .doc = "The CPU whose reactor is filled first when it packs."),
};

/* The reactors on the CPUs of a mask; 0 of an empty one. */
static int parse_reactors(struct core *core, const char *name, const char *mask, uint64_t *ret_reactors, struct err *e)
{
	uint32_t cpus[CORE_PINS_MAX], count;

	*ret_reactors = 0;
	if (!mask[strspn(mask, "0x")])
		return 0;
	if (core_parse_cpus(name, mask, CORE_PINS_MAX, cpus, &count, e))
		return e->code;
	*ret_reactors = core_reactors_on(core, cpus, count);
	return (uint32_t)__builtin_popcountll(*ret_reactors) == count ? 0 : err_set(e, ERR_BAD_PARAM,
		"%s: \"%s\" names a CPU on which no reactor runs; framework_get_reactors tells where they are", name, mask);
}

static void handle_scheduler_set_options(struct rpc_call *call, void *args)
{
	struct rpc_core_methods *m = rpc_ctx(call);
	struct core *core = rpc_core(m->rpc);
	struct set_options *a = args;
	uint64_t isolated = sched_isolated(core), on;
	uint32_t first = sched_first_core(core);
	struct err e = { 0 };

	if (a->isolated_core_mask && parse_reactors(core, "isolated_core_mask", a->isolated_core_mask, &isolated, &e)) {
		rpc_reply_err(call, &e);
		return;
	}
	if (rpc_given(call, "scheduling_core")) {
		on = core_reactors_on(core, &a->scheduling_core, 1);
		if (!on) {
			rpc_reply_error(call, ERR_BAD_PARAM, "scheduling_core: no reactor runs on CPU %u; framework_get_reactors "
			                "tells where they are", a->scheduling_core);
			return;
		}
		first = (uint32_t)__builtin_ctzll(on);
	}
	if (isolated >> first & 1) {
		rpc_reply_error(call, ERR_BAD_PARAM, "isolated_core_mask: it names the scheduling core, CPU %u; leave that out",
		                reactor_cpu(core_reactor(core, first)));
		return;
	}
	sched_set_cores(core, isolated, first);
	m->sched.cores_set = true;
	rpc_reply_true(call);
}

/* --- saving ------------------------------------------------------------------------------------------------------ */

void sched_rpc_save(struct rpc_core_methods *m, struct json_object *array)
{
	struct core *core = rpc_core(m->rpc);
	struct json_object *entry, *params;
	char *mask;

	if (m->sched.cores_set) {
		mask = mask_of_reactors(core, sched_isolated(core));
		entry = json_append_object(array);
		json_add_text(entry, "method", "scheduler_set_options");
		params = json_add_object(entry, "params");
		json_add_text(params, "isolated_core_mask", mask);
		json_add_u64(params, "scheduling_core", reactor_cpu(core_reactor(core, sched_first_core(core))));
		free(mask);
	}
	if (m->sched.name[0]) {
		const struct set_scheduler a = {
			.name = m->sched.name, .period = m->sched.period, .load_limit = m->sched.load_limit,
			.core_limit = m->sched.core_limit, .core_busy = m->sched.core_busy,
		};

		entry = json_append_object(array);
		json_add_text(entry, "method", "framework_set_scheduler");
		json_object_object_add(entry, "params",
		                       rpc_params_to_json(set_scheduler_params, ARRAY_SIZE(set_scheduler_params), &a));
	}
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

struct set_cpumask {
	uint64_t id;
	char *cpumask;
};

static const struct rpc_param set_cpumask_params[] = {
	RPC_PARAM(struct set_cpumask, id,      .required = true, .min = 1, .doc = "The thread, as in thread_get_stats."),
	RPC_PARAM(struct set_cpumask, cpumask, .required = true, .doc = "CPUs: a mask in hexadecimal, or a list."),
};

struct pinning {
	struct msg msg;
	struct rpc_call *call;
	int rc;
	uint32_t count, cpus[CORE_PINS_MAX];
};

static void pinned_on_control(struct msg *m)
{
	struct pinning *p = container_of(m, struct pinning, msg);

	if (p->rc)
		rpc_reply_error(p->call, p->rc, "cpumask: the thread cannot run there: %s; are these CPUs that this process "
		                "may use (taskset -p, the container's cpuset)?", strerror(-p->rc));
	else
		rpc_reply_true(p->call);
	free(p);
}

static void pin_on_core(struct msg *m)
{
	struct pinning *p = container_of(m, struct pinning, msg);

	p->rc = reactor_pin(p->cpus, p->count);
	msg_send(core_control(reactor_core(reactor_self())), m, pinned_on_control);
}

static void handle_thread_set_cpumask(struct rpc_call *call, void *args)
{
	struct set_cpumask *a = args;
	struct core *core = rpc_core(rpc_of(call));
	uint32_t count = core_reactor_count(core);
	struct err e = { 0 };
	struct pinning *p;

	if (a->id > count + 1) {
		rpc_reply_error(call, ERR_BAD_PARAM, "id: there is no thread %lu; the ids are 1 to %u", a->id, count + 1);
		return;
	}
	p = base_zalloc(sizeof(*p));
	p->call = call;
	if (core_parse_cpus("cpumask", a->cpumask, CORE_PINS_MAX, p->cpus, &p->count, &e)) {
		rpc_reply_err(call, &e);
		free(p);
		return;
	}
	msg_send(a->id == 1 ? core_control(core) : core_reactor(core, (uint32_t)a->id - 2), &p->msg, pin_on_core);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("framework_set_scheduler", struct set_scheduler, set_scheduler_params, handle_framework_set_scheduler,
		.flags = RPC_STARTUP | RPC_RUNTIME, .doc = "Choose who moves connections between cores: nobody, or by load.",
		.returns = "true"),
	RPC_METHOD_BARE("framework_get_scheduler", handle_framework_get_scheduler,
		.flags = RPC_STARTUP | RPC_RUNTIME | RPC_READS,
		.doc = "The scheduler and its options; of the dynamic one also what it did.",
		.returns = "{scheduler_name, scheduler_period, isolated_core_mask, scheduling_core, load_limit, core_limit, "
		           "core_busy, did: {rounds, moves, failed, naps, parks}}"),
	RPC_METHOD("scheduler_set_options", struct set_options, set_options_params, handle_scheduler_set_options,
		.flags = RPC_STARTUP, .doc = "Which cores the scheduler leaves alone, and which one it fills first.",
		.returns = "true"),
	RPC_METHOD("thread_set_cpumask", struct set_cpumask, set_cpumask_params, handle_thread_set_cpumask,
		.flags = RPC_RUNTIME,
		.doc = "Run a reactor's thread, with all that lives on it, or the control thread, on these CPUs only. It may "
		       "share them with others; its memory stays where it is. nvmf_move_qpair moves a connection.",
		.returns = "true"),
};

void sched_rpc_add(struct rpc_core_methods *m)
{
	rpc_add_methods(m->rpc, methods, ARRAY_SIZE(methods), m);
}
