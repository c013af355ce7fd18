/* SPDX-License-Identifier: BSD-3-Clause */
/* opts.c: gantry-perf's command line; letters as spdk_nvme_perf's where they mean the same. */
#include <argp.h>
#include <stdio.h>

#include "base/text.h"
#include "perf/perf.h"

enum {
	OPT_VERIFY = 256, OPT_RATE, OPT_JSON, OPT_MODE, OPT_SEED, OPT_IO_QUEUE_SIZE, OPT_QUIET, OPT_DISK, OPT_IO_TIMEOUT,
	OPT_ISCSI, OPT_VHOST, OPT_PACKED, OPT_PSK, OPT_DHCHAP, OPT_DHCHAP_CTRLR, OPT_CONNECT_TIMEOUT
};

static const struct argp_option rows[] = {
	{ "transport", 'r', "PATH", 0,
	  "Remote subsystem: 'trtype:TCP|RDMA adrfam:IPv4 traddr:ADDR trsvcid:PORT subnqn:NQN [hostnqn:NQN] [ns:ID]'. "
	  "May be given several times.", 1 },
	{ "iscsi", OPT_ISCSI, "URL", 0, "Instead of -r: a logical unit, iscsi://[USER@]HOST[:PORT]/TARGET[/LUN]. May be "
	  "given several times. With a user CHAP's secret is in the environment: GANTRY_CHAP_SECRET.", 1 },
	{ "vhost", OPT_VHOST, "SOCKET", 0, "Instead of -r: the virtio-blk disk behind a vhost-user server's socket. May be "
	  "given several times. A worker has one queue of it.", 1 },
	{ "disk", OPT_DISK, "NAME", 0, "Instead of -r: a disk of a running daemon, from the daemon's own reactors.", 1 },
	{ "socket", 's', "PATH", 0, "Of --disk: the daemon's RPC socket; $GANTRY_SOCKET, or the usual one, when left out.",
	  1 },
	{ "io-depth", 'q', "N", 0, "I/Os in flight of a worker, spread over its queue pairs.", 1 },
	{ "io-size", 'o', "BYTES", 0, "Size of an I/O; 4k, 1M are understood.", 1 },
	{ "io-pattern", 'w', "PATTERN", 0, "read, write, randread, randwrite, rw or randrw.", 1 },
	{ "rwmixread", 'M', "PERCENT", 0, "Reads among rw and randrw.", 1 },
	{ "time", 't', "SECONDS", 0, "How long to measure.", 1 },
	{ "warmup-time", 'a', "SECONDS", 0, "Run this long before measuring.", 1 },
	{ "num-qpairs", 'P', "N", 0, "Queue pairs (connections) per worker and namespace; 1 by default.", 1 },
	{ "core-mask", 'c', "CPUS", 0, "Workers' CPUs: a mask (0x6) or a list ([1,2]); by default the first, or of "
	  "--disk all that the daemon has.", 1 },
	{ "number-ios", 'd', "N", 0, "End after this many I/Os of each worker and namespace.", 2 },
	{ "rate", OPT_RATE, "IOPS", 0, "Each worker sends at most this many I/Os a second.", 2 },
	{ "verify", OPT_VERIFY, NULL, 0, "Write patterns, check every read against them, read all back at the end.", 2 },
	{ "io-queue-size", OPT_IO_QUEUE_SIZE, "N", 0, "Entries of an I/O queue; 128 by default. Of --vhost descriptors, "
	  "three an I/O; 512 by default.", 2 },
	{ "packed", OPT_PACKED, NULL, 0, "Of --vhost: packed rings, where the server has them.", 2 },
	{ "enable-tcp-hdgst", 'H', NULL, 0, "Header digests.", 2 },
	{ "enable-tcp-ddgst", 'I', NULL, 0, "Data digests.", 2 },
	{ "psk-path", OPT_PSK, "FILE", 0, "TLS by the key in this file (NVMeTLSkey-1:...), mode 0600.", 2 },
	{ "dhchap-key", OPT_DHCHAP, "FILE", 0, "Prove who we are by the key in this file (DHHC-1:...), mode 0600.", 2 },
	{ "dhchap-ctrlr-key", OPT_DHCHAP_CTRLR, "FILE", 0, "The target has to prove itself by the key in this file.", 2 },
	{ "keepalive", 'k', "MS", 0, "Keep-alive time-out; 10000 by default.", 2 },
	{ "connect-timeout", OPT_CONNECT_TIMEOUT, "MS", 0, "A connection that takes longer, name look-up and login "
	  "included, ends the run; 5000 by default.", 2 },
	{ "io-timeout", OPT_IO_TIMEOUT, "MS", 0, "An I/O that takes longer ends the run; 30000 by default, 0: never.", 2 },
	{ "metadata", 'e', "FMT", 0, "Protection information: PRACT=0|1, PRCHK=GUARD|REFTAG|APPTAG, with a comma "
	  "between; HOST=0: only the target checks. -o is of data alone.", 2 },
	{ "mode", OPT_MODE, "MODE", 0, "Workers: poll (default), adaptive or interrupt.", 2 },
	{ "seed", OPT_SEED, "N", 0, "Start of the random sequence.", 2 },
	{ "latency", 'L', NULL, 0, "Print percentiles (always in --json).", 3 },
	{ "json", OPT_JSON, NULL, 0, "Print the result as one JSON object.", 3 },
	{ "quiet", OPT_QUIET, NULL, 0, "No live line.", 3 },
	{ 0 }
};

static uint32_t number(struct argp_state *state, const char *option, const char *arg, uint64_t min, uint64_t max)
{
	struct err e = { 0 };
	uint64_t v = 0;

	if (text_parse_size(arg, &v, &e))
		argp_error(state, "%s: %s", option, e.text);
	if (v < min || v > max)
		argp_error(state, "%s: %s is not between %llu and %llu", option, arg, (unsigned long long)min,
		           (unsigned long long)max);
	return (uint32_t)v;
}

static void set_pattern(struct argp_state *state, struct perf_opts *o, const char *arg)
{
	static const struct { const char *name; bool random; int8_t read_percent; } patterns[] = {
		{ "read", false, 100 }, { "write", false, 0 }, { "randread", true, 100 },
		{ "randwrite", true, 0 }, { "rw", false, -1 }, { "randrw", true, -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		if (strcmp(arg, patterns[i].name))
			continue;
		o->pattern = patterns[i].name;
		o->random = patterns[i].random;
		if (patterns[i].read_percent >= 0)
			o->read_percent = (uint8_t)patterns[i].read_percent;
		return;
	}
	argp_error(state, "-w: '%s' is none of read, write, randread, randwrite, rw, randrw", arg);
}

static void set_mode(struct argp_state *state, struct perf_opts *o, const char *arg)
{
	for (enum core_mode m = 0; m < CORE_MODE_COUNT; m++) {
		if (!strcmp(arg, core_mode_name(m))) {
			o->mode = m;
			return;
		}
	}
	argp_error(state, "--mode: '%s' is none of poll, adaptive, interrupt", arg);
}

static void add_path(struct argp_state *state, struct perf_opts *o, const char *arg)
{
	struct err e = { 0 };

	if (o->path_count == PERF_PATHS_MAX)
		argp_error(state, "-r: more than %d subsystems", PERF_PATHS_MAX);
	if (nvme_path_parse(arg, &o->paths[o->path_count], &e))
		argp_error(state, "-r: %s", e.text);
	o->path_count++;
}

static void add_url(struct argp_state *state, struct perf_opts *o, const char *arg)
{
	struct err e = { 0 };

	if (o->url_count == PERF_PATHS_MAX)
		argp_error(state, "--iscsi: more than %d logical units", PERF_PATHS_MAX);
	if (ini_url_parse(arg, &o->urls[o->url_count], &e))
		argp_error(state, "--iscsi: %s", e.text);
	o->url_count++;
}

static void add_vhost(struct argp_state *state, struct perf_opts *o, const char *arg)
{
	if (o->vhost_count == PERF_PATHS_MAX)
		argp_error(state, "--vhost: more than %d sockets", PERF_PATHS_MAX);
	o->vhosts[o->vhost_count++] = arg;
}

/* Queues of a vhost-user server's disk: one a worker. */
static void check_vhost(struct argp_state *state, const struct perf_opts *o)
{
	if (o->packed && !o->vhost_count)
		argp_error(state, "--packed: only with --vhost");
	if (o->vhost_count && o->qpairs > 1)
		argp_error(state, "-P %u: not with --vhost; a worker has one queue, so give more workers: -c", o->qpairs);
}

/* Keys belong to a host's name. */
static void check_keys(struct argp_state *state, const struct perf_opts *o)
{
	bool keys = o->psk_path || o->dhchap_path || o->dhchap_ctrlr_path;

	if (o->dhchap_ctrlr_path && !o->dhchap_path)
		argp_error(state, "--dhchap-ctrlr-key: is of no use without --dhchap-key; give both");
	if (keys && !o->path_count)
		argp_error(state, "--psk-path, --dhchap-key: only with -r");
	for (uint32_t i = 0; keys && i < o->path_count; i++)
		if (!o->paths[i].hostnqn[0])
			argp_error(state, "-r: say as which host (hostnqn:NQN): keys belong to a name");
}

/* What a run that has begun is lost by, when nothing is acknowledged any more, is not shortened by it. */
static void set_connect_timeout(struct perf_opts *o, uint32_t ms)
{
	o->host.connect_timeout_ms = ms;
	o->host.ack_timeout_ms = max_u32(ms, 5000);
}

static void check(struct argp_state *state, struct perf_opts *o, bool mix_given, uint8_t mix, const char *remote_only)
{
	uint32_t kinds = !!o->path_count + !!o->disk + !!o->url_count + !!o->vhost_count;

	if (!kinds)
		argp_error(state, "-r is missing: which remote subsystem? Or --iscsi: which logical unit? Or --vhost: which "
		           "server's socket? Or --disk: which disk of a daemon?");
	if (kinds > 1)
		argp_error(state, "-r, --iscsi, --vhost and --disk: one of them");
	check_vhost(state, o);
	check_keys(state, o);
	if (o->host.connect_timeout_ms && !o->path_count)
		argp_error(state, "--connect-timeout: only with -r");
	if (remote_only && o->disk)
		argp_error(state, "%s: not with --disk; it is about connections, or about our own workers", remote_only);
	if (!o->pattern)
		argp_error(state, "-w is missing: which pattern?");
	if (!o->depth)
		argp_error(state, "-q is missing: how many I/Os in flight?");
	if (!o->io_bytes)
		argp_error(state, "-o is missing: how large an I/O?");
	if (!o->time_s && !o->io_limit)
		argp_error(state, "-t is missing: for how many seconds?");
	if (strstr(o->pattern, "rw")) {
		if (!mix_given)
			argp_error(state, "-M is missing: which part of %s is reads?", o->pattern);
		o->read_percent = mix;
	} else if (mix_given && mix != o->read_percent) {
		argp_error(state, "-M %u: %s has no mix; use rw or randrw", mix, o->pattern);
	}
}

struct parsing {
	struct perf_opts *o;
	const char *remote_only;    /* an option that --disk has no use for; NULL: none */
	bool mix_given;
	uint8_t mix;
};

static error_t parse_one(int key, char *arg, struct argp_state *state)
{
	static const struct { int key; const char *name; } remote_only[] = {
		{ 'P', "-P" }, { 'H', "-H" }, { 'I', "-I" }, { 'k', "-k" }, { 'e', "-e" },
		{ OPT_RATE, "--rate" }, { OPT_MODE, "--mode" },
		{ OPT_IO_QUEUE_SIZE, "--io-queue-size" }, { OPT_IO_TIMEOUT, "--io-timeout" }, { OPT_PSK, "--psk-path" },
		{ OPT_DHCHAP, "--dhchap-key" }, { OPT_DHCHAP_CTRLR, "--dhchap-ctrlr-key" },
		{ OPT_CONNECT_TIMEOUT, "--connect-timeout" },
	};
	struct parsing *p = state->input;
	struct perf_opts *o = p->o;

	for (size_t i = 0; i < ARRAY_SIZE(remote_only); i++)
		if (key == remote_only[i].key)
			p->remote_only = remote_only[i].name;
	switch (key) {
	case OPT_DISK: o->disk = arg; break;
	case 's': o->socket = arg; break;
	case 'r': add_path(state, o, arg); break;
	case OPT_VHOST: add_vhost(state, o, arg); break;
	case OPT_PACKED: o->packed = true; break;
	case OPT_ISCSI: add_url(state, o, arg); break;
	case 'q': o->depth = number(state, "-q", arg, 1, 65536); break;
	case 'o': o->io_bytes = number(state, "-o", arg, 512, 16 * MIB); break;
	case 'w': set_pattern(state, o, arg); break;
	case 'M': p->mix_given = true; p->mix = (uint8_t)number(state, "-M", arg, 0, 100); break;
	case 't': o->time_s = number(state, "-t", arg, 1, 86400 * 30); break;
	case 'a': o->warmup_s = number(state, "-a", arg, 0, 86400); break;
	case 'P': o->qpairs = number(state, "-P", arg, 1, 4096); break;
	case 'c': o->cpus = arg; break;
	case 'd': o->io_limit = number(state, "-d", arg, 1, UINT32_MAX); break;
	case 'H': o->host.header_digest = true; break;
	case 'I': o->host.data_digest = true; break;
	case 'k': o->host.keep_alive_ms = number(state, "-k", arg, 1, UINT32_MAX); break;
	case OPT_IO_TIMEOUT: o->host.io_timeout_ms = number(state, "--io-timeout", arg, 0, UINT32_MAX); break;
	case OPT_CONNECT_TIMEOUT: set_connect_timeout(o, number(state, "--connect-timeout", arg, 1, UINT32_MAX)); break;
	case OPT_PSK: o->psk_path = arg; break;
	case OPT_DHCHAP: o->dhchap_path = arg; break;
	case OPT_DHCHAP_CTRLR: o->dhchap_ctrlr_path = arg; break;
	case 'L': o->latency = true; break;
	case OPT_RATE: o->rate = number(state, "--rate", arg, 1, UINT32_MAX); break;
	case 'e':
		if (!perf_metadata_parse(arg, &o->metadata))
			argp_error(state, "-e: '%s' is not like PRACT=0,PRCHK=GUARD|REFTAG", arg);
		break;
	case OPT_VERIFY: o->verify = true; break;
	case OPT_JSON: o->json = true; break;
	case OPT_QUIET: o->quiet = true; break;
	case OPT_MODE: set_mode(state, o, arg); break;
	case OPT_SEED: o->seed = number(state, "--seed", arg, 0, UINT32_MAX); break;
	case OPT_IO_QUEUE_SIZE: o->host.io_queue_size = (uint16_t)number(state, "--io-queue-size", arg, 2, 65535); break;
	case ARGP_KEY_END: check(state, o, p->mix_given, p->mix, p->remote_only); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int perf_opts_parse(int argc, char **argv, struct perf_opts *ret_opts)
{
	static const struct argp argp = {
		.options = rows, .parser = parse_one,
		.doc = "Measure or verify remote NVMe namespaces, iSCSI logical units, vhost-user servers' disks, or disks of "
		       "a daemon.\v"
		       "Example: gantry-perf -q 32 -o 4k -w randread -t 10 \\\n"
		       "  -r 'trtype:TCP adrfam:IPv4 traddr:127.0.0.1 trsvcid:4420 subnqn:nqn.2026-01.io.gantry:disk'\n"
		       "iSCSI: gantry-perf -q 32 -o 4k -w randread -t 10 --iscsi iscsi://127.0.0.1/iqn.2016-06.io:disk/0\n"
		       "vhost-user: gantry-perf -q 32 -o 4k -w randread -t 10 --vhost /run/gantry/vhost.0\n"
		       "Within a daemon: gantry-perf --disk disk0 -q 32 -o 4k -w randread -t 10",
	};
	struct parsing p = { .o = ret_opts };

	*ret_opts = (struct perf_opts){ .qpairs = 1, .mode = CORE_POLL, .seed = 1, .host.io_timeout_ms = 30000 };
	return argp_parse(&argp, argc, argv, 0, NULL, &p);
}
