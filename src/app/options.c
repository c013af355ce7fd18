/* SPDX-License-Identifier: BSD-3-Clause */
/* options.c: the command line: SPDK's letters where they mean something here, and ours. What is SPDK's and has no
 * meaning is accepted and said, so that scripts written for its targets start this daemon unchanged. */
#include "app/options.h"

#include <argp.h>

#include "base/text.h"

#define STATUS_USAGE 2

enum { /* options without a letter */
	KEY_MODE = 256, KEY_INTERRUPT, KEY_MEMORY, KEY_WAIT, KEY_FORGIVE, KEY_STATE_DIR, KEY_VHOST_GROUP, KEY_LCORES,
	KEY_SILENCE, KEY_NO_RPC,
	KEY_ALLOWED, KEY_METRICS,
	KEY_IGNORED, /* and those that follow it in the table of what is ignored */
};

enum { GROUP_RUN = 1, GROUP_CONFIG, GROUP_LOG, GROUP_EYES, GROUP_SPDK };

/* SPDK's, without a meaning here: long name, letter, argument. */
static const struct ignored {
	const char *name;
	int letter;
	const char *arg, *why;
} ignored[] = {
	{ "no-pci", 'u', NULL, "no PCI device is ever looked for" },
	{ "single-file-segments", 'g', NULL, "there are no hugepages" },
	{ "mem-channels", 'n', "N", "there is no DPDK" },
	{ "main-core", 'p', "CPU", "the control thread has no core of its own" },
	{ "pci-blocked", 'B', "ADDRESS", "no PCI device is ever looked for" },
	{ "pci-allowed", 'A', "ADDRESS", "no PCI device is ever looked for" },
	{ "huge-unlink", 'R', NULL, "there are no hugepages" },
	{ "limit-coredump", 'd', NULL, "memory is small enough" },
	{ "huge-dir", 0, "DIR", "there are no hugepages" },
	{ "no-huge", 0, NULL, "there are no hugepages" },
	{ "num-trace-entries", 0, "N", "the rings have a fixed size" },
	{ "iova-mode", 0, "MODE", "there is no DPDK" },
	{ "base-virtaddr", 0, "ADDRESS", "there is no DPDK" },
	{ "env-context", 0, "TEXT", "there is no DPDK" },
	{ "disable-cpumask-locks", 0, NULL, "cores are not locked" },
	{ "vfio-vf-token", 0, "UUID", "there is no VFIO yet" },
	{ "msg-mempool-size", 0, "N", "messages need no pool" },
	{ "enforce-numa", 0, NULL, "memory is touched where it is used" },
};

static const struct argp_option rows[] = {
	{ NULL, 0, NULL, 0, "Running", GROUP_RUN },
	{ "cpumask", 'm', "CPUS", 0, "CPUs to run on, one I/O reactor each: a mask (0x5) or a list ([0,2-3]); "
	  "the first one is the default", GROUP_RUN },
	{ "lcores", KEY_LCORES, "CPUS", 0, "The same as -m", GROUP_RUN },
	{ "mode", KEY_MODE, "MODE", 0, "What a reactor does when there is nothing to do: adaptive (spin some microseconds, "
	  "then sleep; the default), poll (never sleep) or interrupt (sleep at once). RPC framework_set_mode changes it",
	  GROUP_RUN },
	{ "interrupt-mode", KEY_INTERRUPT, NULL, 0, "The same as --mode interrupt", GROUP_RUN },
	{ "memory", KEY_MEMORY, "SIZE", 0, "Most memory for data in flight, such as 512M; 256M is the default. It is used "
	  "when needed; RAM disks come on top", GROUP_RUN },
	{ "mem-size", 's', "MB", 0, "The same as --memory, in MiB", GROUP_RUN },

	{ NULL, 0, NULL, 0, "Configuration", GROUP_CONFIG },
	{ "rpc-socket", 'r', "PATH", 0, "Take RPCs at this UNIX socket; " OPTIONS_SOCKET " is the default", GROUP_CONFIG },
	{ "no-rpc-server", KEY_NO_RPC, NULL, 0, "Take no RPCs", GROUP_CONFIG },
	{ "config", 'c', "FILE", 0, "Begin with this configuration, as RPC save_config gives it; comments are allowed",
	  GROUP_CONFIG },
	{ "json", 'c', "FILE", OPTION_ALIAS, NULL, GROUP_CONFIG },
	{ "json-ignore-init-errors", KEY_FORGIVE, NULL, 0, "Run without what fails in that configuration; RPC "
	  "config_get_missing names it", GROUP_CONFIG },
	{ "wait-for-rpc", KEY_WAIT, NULL, 0, "Begin to run at RPC framework_start_init", GROUP_CONFIG },
	{ "state-dir", KEY_STATE_DIR, "DIR", 0, "Keep the configuration in this directory: every change is there "
	  "before it is answered. What is there wins over -c, which is for an empty one", GROUP_CONFIG },
	{ "vhost-path", 'S', "DIR", 0, "Make the sockets of vhost controllers in this directory, which has to exist; the "
	  "working directory is the default", GROUP_CONFIG },
	{ "vhost-group", KEY_VHOST_GROUP, "GROUP", 0, "Let members of this group connect to them, too, such as kvm for the "
	  "machines of libvirt", GROUP_CONFIG },
	{ "vhost-socket-dir", 'S', "DIR", OPTION_ALIAS | OPTION_HIDDEN, NULL, GROUP_CONFIG },
	{ "rpcs-allowed", KEY_ALLOWED, "LIST", OPTION_HIDDEN, NULL, GROUP_CONFIG },

	{ NULL, 0, NULL, 0, "Log (standard error)", GROUP_LOG },
	{ "logflag", 'L', "WHAT", 0, "error, warning, notice (the default), info or debug; or a part whose debug lines are "
	  "wanted: nvmf, nvmf_tcp, bdev, rpc, ..., all; may be repeated", GROUP_LOG },
	{ "silence-noticelog", KEY_SILENCE, NULL, 0, "Only warnings and errors", GROUP_LOG },
	{ NULL, 0, NULL, 0, "Looking at it", GROUP_EYES },
	{ "metrics", KEY_METRICS, "ADDR:PORT", 0, "Serve metrics for Prometheus by HTTP at /metrics; a port alone means "
	  "loopback. RPC metrics_start_server does it later", GROUP_EYES },
	{ "shm-id", 'i', "ID", 0, "Name the trace file /dev/shm/gantry_trace.ID; it is named by the process id otherwise",
	  GROUP_EYES },
	{ "tpoint-group", 'e', "GROUPS", 0, "Trace from the beginning: groups thread, sock, nvmf_tcp, bdev or all, with "
	  "commas; gantry-trace shows it", GROUP_EYES },

	{ NULL, 'h', NULL, OPTION_HIDDEN, NULL, 0 }, /* SPDK's letters for help and version */
	{ NULL, 'v', NULL, OPTION_HIDDEN, NULL, 0 },
	{ 0 },
};

static const char doc[] =
	"Serves block devices over NVMe/TCP, NVMe/RDMA, iSCSI and vhost-user."
	"\v"
	"It runs in the foreground until SIGTERM or SIGINT; a second one ends it at once. Options of SPDK's targets that "
	"have no meaning here are accepted.\n\n"
	"Status: 0 after a clean stop, 1 when it could not start, 2 for a wrong option.";

static error_t parse_option(int key, char *arg, struct argp_state *state);
static error_t parse_ignored(int key, char *arg, struct argp_state *state);
static void ignore(struct options *o, const char *name, const char *why);
static void parse_log(struct options *o, const char *arg);
static void parse_mode(struct options *o, const char *arg, struct argp_state *state);
static void parse_shm_id(struct options *o, const char *arg, struct argp_state *state);
static void parse_memory(struct options *o, const char *arg, uint64_t unit, struct argp_state *state);

void options_parse(struct options *o, int argc, char **argv)
{
	struct argp_option ignored_rows[ARRAY_SIZE(ignored) + 1] = { 0 };
	const struct argp ignored_argp = { .options = ignored_rows, .parser = parse_ignored };
	const struct argp_child children[] = { { .argp = &ignored_argp }, { 0 } };
	const struct argp argp = { .options = rows, .parser = parse_option, .doc = doc, .children = children };

	*o = (struct options){ .socket = OPTIONS_SOCKET, .log_level = LOG_NOTICE, .shm_id = -1 };
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		ignored_rows[i] = (struct argp_option){ .name = ignored[i].name, .arg = ignored[i].arg, .flags = OPTION_HIDDEN,
			.key = ignored[i].letter ? ignored[i].letter : KEY_IGNORED + (int)i };
	argp_program_version = "gantryd " GANTRY_VERSION;
	argp_err_exit_status = STATUS_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, o);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = o;
		break;
	case 'm': case KEY_LCORES:
		o->core.cpus = arg;
		break;
	case KEY_MODE:
		parse_mode(o, arg, state);
		break;
	case KEY_INTERRUPT:
		o->core.mode = CORE_INTERRUPT;
		break;
	case KEY_MEMORY:
		parse_memory(o, arg, 1, state);
		break;
	case 's':
		parse_memory(o, arg, MIB, state);
		break;
	case 'r':
		o->socket = arg;
		break;
	case KEY_NO_RPC:
		o->socket = NULL;
		break;
	case 'c':
		o->config = arg;
		break;
	case KEY_METRICS:
		o->metrics = arg;
		break;
	case 'e':
		o->tpoints = arg;
		break;
	case 'i':
		parse_shm_id(o, arg, state);
		break;
	case KEY_FORGIVE:
		o->forgiving = true;
		break;
	case KEY_WAIT:
		o->wait_for_rpc = true;
		break;
	case 'L':
		parse_log(o, arg);
		break;
	case KEY_SILENCE:
		o->log_level = LOG_WARNING;
		break;
	case 'h':
		argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
		break;
	case 'v':
		printf("%s\n", argp_program_version);
		exit(0);
	case KEY_STATE_DIR:
		if (!*arg)
			argp_error(state, "--state-dir: a directory is wanted");
		o->state_dir = arg;
		break;
	case 'S':
		o->vhost_dir = arg;
		break;
	case KEY_VHOST_GROUP:
		o->vhost_group = arg;
		break;
	case KEY_ALLOWED:
		argp_error(state, "--rpcs-allowed: this version cannot restrict methods; the socket's mode (0600) keeps "
		           "others out");
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "\"%s\" is not an option; all options begin with - or --", arg);
		break;
	case ARGP_KEY_END:
		if (!o->socket && o->wait_for_rpc)
			argp_error(state, "--wait-for-rpc and --no-rpc-server together would wait for ever; leave one out");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* A level, or a part of the daemon. */
static void parse_log(struct options *o, const char *arg)
{
	uint64_t flag;

	if (log_level_parse(arg, &o->log_level))
		return;
	flag = log_flag_parse(arg);
	o->log_flags |= flag;
	if (!flag)
		ignore(o, "logflag", "that is neither a level (error, warning, notice, info, debug) nor a part of this "
		       "daemon; log_get_flags lists those");
}

static void ignore(struct options *o, const char *name, const char *why)
{
	if (o->ignored_count + 2 > OPTIONS_IGNORED_MAX)
		return;
	o->ignored[o->ignored_count++] = name;
	o->ignored[o->ignored_count++] = why;
}

static error_t parse_ignored(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	(void)arg;
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
		if (key != (ignored[i].letter ? ignored[i].letter : KEY_IGNORED + (int)i))
			continue;
		ignore(o, ignored[i].name, ignored[i].why);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static void parse_mode(struct options *o, const char *arg, struct argp_state *state)
{
	for (enum core_mode mode = 0; mode < CORE_MODE_COUNT; mode++) {
		if (strcmp(core_mode_name(mode), arg) == 0) {
			o->core.mode = mode;
			return;
		}
	}
	argp_error(state, "--mode: \"%s\" is not one of: adaptive, poll, interrupt", arg);
}

/* SPDK's scripts say -1 for none. */
static void parse_shm_id(struct options *o, const char *arg, struct argp_state *state)
{
	uint64_t id;

	if (strcmp(arg, "-1") == 0)
		o->shm_id = -1;
	else if (text_parse_u64(arg, &id, NULL) || id > INT32_MAX)
		argp_error(state, "--shm-id: \"%s\" is not a number", arg);
	else
		o->shm_id = (int)id;
}

/* A bare number counts in `unit`. */
static void parse_memory(struct options *o, const char *arg, uint64_t unit, struct argp_state *state)
{
	struct err e = { 0 };
	uint64_t bytes;

	if (text_parse_u64(arg, &bytes, NULL) == 0 && bytes <= UINT64_MAX / unit)
		bytes *= unit;
	else if (text_parse_size(arg, &bytes, &e))
		argp_error(state, "--memory: %s", e.text);
	o->core.memory_bytes = bytes;
}
