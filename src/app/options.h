/* SPDX-License-Identifier: BSD-3-Clause */
/* options.h: the command line of gantryd. */
#ifndef APP_OPTIONS_H
#define APP_OPTIONS_H

#include "core/core.h"
#include "core/log.h"

#define OPTIONS_SOCKET "/var/tmp/spdk.sock" /* where SPDK's clients look */
#define OPTIONS_IGNORED_MAX 32

struct options {
	struct core_opts core;
	const char *socket;           /* NULL: no RPC server */
	const char *config;           /* NULL: none */
	const char *state_dir;        /* NULL: nothing is kept */
	const char *vhost_group;      /* who may connect to them, too: a group's name or number; NULL: nobody */
	const char *vhost_dir;        /* where vhost's sockets are made; NULL: the working directory */
	bool wait_for_rpc, forgiving; /* forgiving: of what fails in `config` */
	const char *metrics;          /* ADDR:PORT; NULL: not served */
	const char *tpoints;          /* trace points to begin with; NULL: none */
	int shm_id;                   /* names the trace file; negative: the process id does */
	enum log_level log_level;
	uint64_t log_flags;
	const char *ignored[OPTIONS_IGNORED_MAX]; /* given, without a meaning here: one line each once the log is there */
	uint32_t ignored_count;
};

/* Ends the process for --help, --version and what is wrong (status 2). */
void options_parse(struct options *o, int argc, char **argv);

#endif
