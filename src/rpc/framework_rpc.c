/* SPDX-License-Identifier: BSD-3-Clause */
/* framework_rpc.c: the daemon as a whole: start-up, modes, memory, the end. */
#include <errno.h>
#include <signal.h>

#include "base/text.h"
#include "core/mem.h"
#include "rpc/core_rpc.h"

/* A caller of framework_wait_init. */
struct waiting {
	struct list link;
	struct rpc_call *call;
};

static rpc_loaded_fn started;
static void say_running(void *arg);
static void say_stopping(struct rpc_drain_hook *h);
static void save_scheduler(void *ctx, struct json_object *array);

static void handle_framework_start_init(struct rpc_call *call, void *args)
{
	struct rpc_core_methods *m = rpc_ctx(call);

	m->host->start_init(m->host->arg, started, call);
}

static void started(void *arg, const struct err *e)
{
	if (e)
		rpc_reply_err(arg, e);
	else
		rpc_reply_true(arg);
}

static void handle_framework_wait_init(struct rpc_call *call, void *args)
{
	struct rpc_core_methods *m = rpc_ctx(call);
	struct waiting *w;

	if (rpc_is_running(m->rpc)) {
		rpc_reply_true(call);
		return;
	}
	w = base_zalloc(sizeof(*w));
	w->call = call;
	list_add_tail(&m->waiting, &w->link);
}

static void say_running(void *arg)
{
	struct rpc_core_methods *m = arg;

	for (struct list *at; (at = list_pop(&m->waiting));) {
		struct waiting *w = list_entry(at, struct waiting, link);

		rpc_reply_true(w->call);
		free(w);
	}
}

static void say_stopping(struct rpc_drain_hook *h)
{
	struct rpc_core_methods *m = container_of(h, struct rpc_core_methods, drain);

	for (struct list *at; (at = list_pop(&m->waiting));) {
		struct waiting *w = list_entry(at, struct waiting, link);

		rpc_reply_error(w->call, -ESHUTDOWN, "the daemon is stopping");
		free(w);
	}
}

static void handle_framework_get_subsystems(struct rpc_call *call, void *args)
{
	/* What a subsystem needs of those before it: SPDK's clients follow it when they save a part. */
	static const struct { const char *subsystem, *needs; } needs[] = {
		{ "accel", "iobuf" }, { "bdev", "accel" }, { "bdev", "keyring" }, { "bdev", "vmd" }, { "bdev", "sock" },
		{ "bdev", "iobuf" }, { "nvmf", "bdev" }, { "nvmf", "keyring" }, { "nvmf", "sock" },
	};
	struct json_object *result = json_object_new_array();
	const char *name;

	for (size_t i = 0; (name = rpc_subsystem_name(rpc_of(call), i)); i++) {
		struct json_object *o = json_append_object(result), *depends;

		json_add_text(o, "subsystem", name);
		depends = json_add_array(o, "depends_on");
		for (size_t k = 0; k < ARRAY_SIZE(needs); k++)
			if (strcmp(needs[k].subsystem, name) == 0)
				json_object_array_add(depends, json_object_new_string(needs[k].needs));
	}
	rpc_reply(call, result);
}

/* --- modes ------------------------------------------------------------------------------------------------- */

struct set_mode {
	char *mode;
	uint32_t reactor;
};

static const char *const mode_names[] = { "adaptive", "poll", "interrupt", NULL };

static const struct rpc_param set_mode_params[] = {
	RPC_PARAM(struct set_mode, mode,    .required = true, .choices = mode_names,
	          .doc = "What to do when there is nothing to do: spin a bounded time and then sleep, never sleep, "
	                 "sleep at once."),
	RPC_PARAM(struct set_mode, reactor, .max = CORE_REACTORS_MAX - 1,
	          .doc = "Which I/O reactor, counted from 0; all of them when left out."),
};

static void handle_framework_set_mode(struct rpc_call *call, void *args)
{
	struct rpc_core_methods *m = rpc_ctx(call);
	struct set_mode *a = args;
	struct core *core = rpc_core(m->rpc);
	uint32_t count = core_reactor_count(core);
	enum core_mode mode = 0;

	while (strcmp(core_mode_name(mode), a->mode) != 0)
		mode++;
	if (rpc_given(call, "reactor") && a->reactor >= count) {
		rpc_reply_error(call, ERR_BAD_PARAM, "reactor: there is no reactor %u; they are 0 to %u", a->reactor,
		                count - 1);
		return;
	}
	for (uint32_t i = 0; i < count; i++)
		if (!rpc_given(call, "reactor") || i == a->reactor)
			reactor_set_mode(core_reactor(core, i), mode);
	m->mode_set = true;
	rpc_reply_true(call);
}

/* Only what was set over RPC: otherwise the command line decides at the next start too. */
static void save_scheduler(void *ctx, struct json_object *array)
{
	struct rpc_core_methods *m = ctx;
	struct core *core = rpc_core(m->rpc);

	sched_rpc_save(m, array);
	watch_rpc_save(m, array);
	for (uint32_t i = 0; m->mode_set && i < core_reactor_count(core); i++) {
		struct set_mode a = { .mode = (char *)core_mode_name(reactor_mode(core_reactor(core, i))), .reactor = i };
		struct json_object *entry = json_append_object(array), *params;

		params = rpc_params_to_json(set_mode_params, ARRAY_SIZE(set_mode_params), &a);
		json_add_u64(params, "reactor", i); /* 0 is not the same as absent */
		json_add_text(entry, "method", "framework_set_mode");
		json_object_object_add(entry, "params", params);
	}
}

/* --- memory ------------------------------------------------------------------------------------------------ */

static void handle_framework_get_memory(struct rpc_call *call, void *args)
{
	struct json_object *result = json_object_new_object();
	struct mem_stats s;

	mem_get_stats(rpc_core(rpc_of(call)), &s);
	json_add_u64(result, "budget_bytes", s.budget_bytes);
	json_add_u64(result, "buffers_bytes", s.buffers_bytes);
	json_add_u64(result, "in_use_bytes", s.in_use_bytes);
	json_add_u64(result, "in_use_bytes_max", s.in_use_bytes_max);
	json_add_u64(result, "charged_bytes", s.charged_bytes);
	json_add_u64(result, "charge_bytes_max", s.charge_bytes_max);
	json_add_u64(result, "waits", s.waits);
	json_add_u64(result, "waiting", s.waiting);
	rpc_reply(call, result);
}

/* --- the end ------------------------------------------------------------------------------------------------ */

#define SIGNALS(X) X(SIGINT) X(SIGTERM) X(SIGQUIT) X(SIGHUP) X(SIGKILL) X(SIGUSR1)
#define SIGNAL_NAME(name) #name,
#define SIGNAL_NUMBER(name) name,

struct kill_instance {
	struct json_object *sig_name;
};

static const struct rpc_param kill_instance_params[] = {
	RPC_PARAM(struct kill_instance, sig_name, .required = true,
	          .doc = "SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGKILL or SIGUSR1; or its number."),
};

static void handle_spdk_kill_instance(struct rpc_call *call, void *args)
{
	static const char *const names[] = { SIGNALS(SIGNAL_NAME) };
	static const int numbers[] = { SIGNALS(SIGNAL_NUMBER) };
	struct rpc_core_methods *m = rpc_ctx(call);
	struct kill_instance *a = args;
	const char *given = json_object_get_string(a->sig_name);
	uint64_t number = 0;
	bool is_number = text_parse_u64(given, &number, NULL) == 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (is_number ? number != (uint64_t)numbers[i] : strcmp(given, names[i]) && strcmp(given, names[i] + 3))
			continue;
		rpc_reply_true(call);
		m->host->send_signal(m->host->arg, numbers[i]);
		return;
	}
	rpc_reply_error(call, ERR_BAD_PARAM,
	                "sig_name: \"%.40s\" is not one of: SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGKILL, SIGUSR1", given);
}

/* --- the rest of what SPDK's clients ask at start ---------------------------------------------------------- */

static void handle_framework_get_pci_devices(struct rpc_call *call, void *args)
{
	rpc_reply(call, json_object_new_array());
}

static void handle_framework_get_governor(struct rpc_call *call, void *args)
{
	rpc_reply(call, json_object_new_object()); /* as SPDK without one */
}

struct no_args {
	char unused;
};

static const struct rpc_param context_switch_params[] = {
	RPC_IGNORED("enabled", .doc = "thread_get_stats and gantry_get_wakeups tell more."),
};

static void handle_framework_monitor_context_switch(struct rpc_call *call, void *args)
{
	struct json_object *result = json_object_new_object();

	json_add_bool(result, "enabled", false);
	rpc_reply(call, result);
}

static const struct rpc_method methods[] = {
	RPC_METHOD_BARE("framework_start_init", handle_framework_start_init, .flags = RPC_STARTUP,
		.doc = "Begin to run, after --wait-for-rpc.", .returns = "true"),
	RPC_METHOD_BARE("framework_wait_init", handle_framework_wait_init, .flags = RPC_STARTUP | RPC_RUNTIME | RPC_READS,
		.doc = "Answer when the daemon runs.", .returns = "true"),
	RPC_METHOD_BARE("framework_get_subsystems", handle_framework_get_subsystems, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "The parts of the saved configuration, in the order in which they are loaded.",
		.returns = "[{subsystem, depends_on: [...]}]"),
	RPC_METHOD_BARE("framework_get_pci_devices", handle_framework_get_pci_devices, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "PCI devices in use; none.", .returns = "[]"),
	RPC_METHOD_BARE("framework_get_governor", handle_framework_get_governor, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "Who sets the CPUs' frequency: the kernel, nobody here.", .returns = "{}"),
	RPC_METHOD("framework_monitor_context_switch", struct no_args, context_switch_params,
		handle_framework_monitor_context_switch, .flags = RPC_STARTUP | RPC_RUNTIME | RPC_READS,
		.doc = "Whether context switches are written to the log: never.", .returns = "{enabled: false}"),
	RPC_METHOD("framework_set_mode", struct set_mode, set_mode_params, handle_framework_set_mode,
		.flags = RPC_STARTUP | RPC_RUNTIME, .doc = "Change what reactors do when idle, while they run; no I/O is lost.",
		.returns = "true"),
	RPC_METHOD_BARE("framework_get_memory", handle_framework_get_memory, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "The memory budget (--memory): how it is divided, what is used, who waits.",
		.returns = "{budget_bytes, buffers_bytes, in_use_bytes, in_use_bytes_max, charged_bytes, charge_bytes_max, "
		           "waits, waiting}"),
	RPC_METHOD("spdk_kill_instance", struct kill_instance, kill_instance_params, handle_spdk_kill_instance,
		.flags = RPC_STARTUP | RPC_RUNTIME | RPC_READS, .doc = "Send the daemon a signal; SIGTERM and SIGINT stop "
		        "it cleanly.",
		.returns = "true"),
};

void framework_rpc_add(struct rpc_core_methods *m)
{
	rpc_add_methods(m->rpc, methods, ARRAY_SIZE(methods), m);
	rpc_add_saver(m->rpc, "scheduler", save_scheduler, m);
}

/* --- all of them -------------------------------------------------------------------------------------------- */

struct rpc_core_methods *rpc_add_core_methods(struct rpc *rpc, const struct rpc_host *host)
{
	struct rpc_core_methods *m = base_zalloc(sizeof(*m));

	m->rpc = rpc;
	m->host = host;
	m->began_ns = core_clock_ns();
	list_init(&m->waiting);
	rpc_on_running(rpc, say_running, m);
	m->drain.fn = say_stopping;
	rpc_on_drain(rpc, &m->drain);
	framework_rpc_add(m);
	thread_rpc_add(m);
	sched_rpc_add(m);
	watch_rpc_add(m);
	log_rpc_add(m);
	sock_rpc_add(m);
	spdk_rpc_add(m);
	config_rpc_add(m);
	describe_rpc_add(m);
	notify_rpc_add(m);
	trace_rpc_add(m);
	state_rpc_add(m);
	return m;
}

void rpc_core_methods_free(struct rpc_core_methods *m)
{
	if (!m)
		return;
	rpc_on_running(m->rpc, NULL, NULL);
	notify_rpc_free(m);
	free(m);
}
