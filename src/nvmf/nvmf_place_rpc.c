/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_place_rpc.c: which cores connections may live on, and moving one by hand. */
#include "nvmf/nvmf.h"
#include "nvmf/nvmf_rpc_priv.h"

struct move_args {
	char *nqn, *tgt_name;
	uint16_t cntlid, qid;
	uint32_t lcore;
	bool pin;
};

static const struct rpc_param move_params[] = {
#define P(field, ...) RPC_PARAM(struct move_args, field, __VA_ARGS__)
	P(nqn, .required = true, .doc = "NQN of the subsystem."),
	P(tgt_name, .doc = "Name of the target: nvmf_tgt."),
	P(cntlid, .required = true, .doc = "The controller, as in nvmf_subsystem_get_qpairs."),
	P(qid, .required = true, .doc = "The queue pair; 0 is the admin queue."),
	P(lcore, .required = true, .doc = "The CPU to whose reactor it goes, as in framework_get_reactors."),
	P(pin, .fallback = "true", .doc = "It stays there: the dynamic scheduler leaves it alone."),
#undef P
};

struct move_call {
	struct nvmf_move move;
	struct rpc_call *call;
};

static void move_done(struct nvmf_move *m)
{
	struct move_call *mc = container_of(m, struct move_call, move);

	if (m->err.code)
		rpc_reply_err(mc->call, &m->err);
	else
		rpc_reply_true(mc->call);
	free(mc);
}

static void handle_move_qpair(struct rpc_call *call, void *args)
{
	struct nvmf_target *t = rpc_ctx(call);
	struct move_args *a = args;
	uint64_t on = core_reactors_on(t->core, &a->lcore, 1);
	struct move_call *mc;

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	if (!on) {
		rpc_reply_error(call, ERR_BAD_PARAM, "lcore: no reactor runs on CPU %u; framework_get_reactors tells where "
		                "they are", a->lcore);
		return;
	}
	mc = base_zalloc(sizeof(*mc));
	mc->call = call;
	mc->move.target = t;
	mc->move.done = move_done;
	nvmf_move_qpair(&mc->move, a->nqn, a->cntlid, a->qid, core_reactor(t->core, (uint32_t)__builtin_ctzll(on)), a->pin);
}

bool nvmf_rpc_set_poll_groups_mask(struct rpc_call *call, struct nvmf_target *t, const char *mask)
{
	uint32_t cpus[CORE_PINS_MAX], count;
	struct err e = { 0 };
	uint64_t on;

	if (core_parse_cpus("poll_groups_mask", mask, CORE_PINS_MAX, cpus, &count, &e)) {
		rpc_reply_err(call, &e);
		return false;
	}
	on = core_reactors_on(t->core, cpus, count);
	if ((uint32_t)__builtin_popcountll(on) != count) {
		rpc_reply_error(call, ERR_BAD_PARAM, "poll_groups_mask: \"%s\" names a CPU on which no reactor runs; "
		                "framework_get_reactors tells where they are", mask);
		return false;
	}
	nvmf_set_place_mask(t, on);
	return true;
}

char *nvmf_rpc_poll_groups_mask(struct nvmf_target *t)
{
	uint64_t on = sched_place_allowed(&t->place);
	uint32_t cpus[CORE_REACTORS_MAX], count = 0;

	for (uint32_t i = 0; i < t->core_count; i++)
		if (on >> i & 1)
			cpus[count++] = reactor_cpu(core_reactor(t->core, i));
	return core_cpus_mask(cpus, count);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_move_qpair", struct move_args, move_params, handle_move_qpair, .flags = RPC_RUNTIME,
	           .returns = "true",
	           .doc = "Move a host's connection to another core, in the midst of its I/O; it is read no further until "
	                  "what it has in hand is answered, then goes on there."),
};

void nvmf_place_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
}
