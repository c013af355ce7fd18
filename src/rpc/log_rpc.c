/* SPDX-License-Identifier: BSD-3-Clause */
/* log_rpc.c: how much the log says. There is one level; SPDK's two names for it mean the same. Flags choose the parts
 * whose debug lines are written, whatever the level is. */
#include "core/log.h"
#include "rpc/core_rpc.h"

#define LEVEL_NAME(name) #name,
static const char *const level_names[] = { LOG_LEVELS(LEVEL_NAME) "WARN", NULL };

struct set_level {
	char *level;
};

static const struct rpc_param set_level_params[] = {
	RPC_PARAM(struct set_level, level, .required = true, .choices = level_names,
	          .doc = "The least important lines that are still written."),
};

static void handle_log_set_level(struct rpc_call *call, void *args)
{
	struct set_level *a = args;
	enum log_level level = LOG_WARNING; /* WARN is SPDK's short name */

	if (strcmp(a->level, "WARN") != 0 && !log_level_parse(a->level, &level))
		must(!"every choice but WARN is a level");
	log_set_level(level);
	rpc_reply_true(call);
}

static void handle_log_get_level(struct rpc_call *call, void *args)
{
	rpc_reply(call, json_object_new_string(log_level_name(log_get_level())));
}

struct flag {
	char *flag;
};

static const struct rpc_param flag_params[] = {
	RPC_PARAM(struct flag, flag, .required = true, .doc = "A part, as log_get_flags lists them, or \"all\"."),
};

/* SPDK has many more; a script that switches one of those on goes on. */
static uint64_t flags_of(const struct flag *a)
{
	uint64_t flags = log_flag_parse(a->flag);

	if (!flags)
		log_notice("rpc: there is no log flag %s; log_get_flags lists those there are", a->flag);
	return flags;
}

static void handle_log_set_flag(struct rpc_call *call, void *args)
{
	log_set_flags(log_get_flags() | flags_of(args));
	rpc_reply_true(call);
}

/* The last one that goes, or all: no debug lines at all, as if there had never been any. */
static void handle_log_clear_flag(struct rpc_call *call, void *args)
{
	uint64_t all = (1ull << LOG_FLAG_COUNT) - 1, left = log_get_flags() & ~flags_of(args) & all;

	log_set_flags(left);
	if (!left && log_get_level() == LOG_DEBUG)
		log_set_level(LOG_NOTICE);
	rpc_reply_true(call);
}

static void handle_log_get_flags(struct rpc_call *call, void *args)
{
	struct json_object *result = json_object_new_object();
	uint64_t on = log_get_flags();

	json_add_bool(result, "all", on ? on == LOG_FLAGS_ALL : log_enabled(LOG_DEBUG));
	for (uint32_t f = 0; f < LOG_FLAG_COUNT; f++)
		json_add_bool(result, log_flag_name((enum log_flag)f), on ? on >> f & 1 : log_enabled(LOG_DEBUG));
	rpc_reply(call, result);
}

struct timestamps {
	bool enabled;
};

static const struct rpc_param timestamps_params[] = {
	RPC_PARAM(struct timestamps, enabled, .required = true, .doc = "Whether lines begin with the time."),
};

static void handle_log_enable_timestamps(struct rpc_call *call, void *args)
{
	struct timestamps *a = args;

	log_set_timestamps(a->enabled);
	rpc_reply_true(call);
}

#define BOTH (RPC_STARTUP | RPC_RUNTIME)
static const struct rpc_method methods[] = {
	RPC_METHOD("log_set_level", struct set_level, set_level_params, handle_log_set_level, .flags = BOTH,
		.doc = "Set how much the log says.", .returns = "true"),
	RPC_METHOD("log_set_print_level", struct set_level, set_level_params, handle_log_set_level, .flags = BOTH,
		.doc = "The same as log_set_level: the log goes to one place.", .returns = "true"),
	RPC_METHOD_BARE("log_get_level", handle_log_get_level, .flags = BOTH | RPC_READS,
		.doc = "How much the log says.", .returns = "\"NOTICE\""),
	RPC_METHOD_BARE("log_get_print_level", handle_log_get_level, .flags = BOTH | RPC_READS,
		.doc = "The same as log_get_level.", .returns = "\"NOTICE\""),
	RPC_METHOD("log_set_flag", struct flag, flag_params, handle_log_set_flag, .flags = BOTH,
		.doc = "Write debug lines of a part, beside those of others that are on.", .returns = "true"),
	RPC_METHOD("log_clear_flag", struct flag, flag_params, handle_log_clear_flag, .flags = BOTH,
		.doc = "Write no debug lines of a part.", .returns = "true"),
	RPC_METHOD_BARE("log_get_flags", handle_log_get_flags, .flags = BOTH | RPC_READS,
		.doc = "Of which parts debug lines are written.", .returns = "{all: false, nvmf: true, ...}"),
	RPC_METHOD("log_enable_timestamps", struct timestamps, timestamps_params, handle_log_enable_timestamps, .flags =
	           BOTH,
		.doc = "Begin the log's lines with the time, or not.", .returns = "true"),
};

void log_rpc_add(struct rpc_core_methods *m)
{
	rpc_add_methods(m->rpc, methods, ARRAY_SIZE(methods), m);
}
