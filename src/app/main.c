/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c: gantryd: from the command line to the reactors. app.c goes on, on the control reactor. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/app.h"
#include "net/tls.h"

#define CONFIG_BYTES_MAX (64u << 20)

static void keep_keys_from_dumps(void);
static void raise_limits(void);
static void block_signals(void);
static int read_config(struct app *a, const char *path, struct err *e);
static int fail(const struct err *e);

int main(int argc, char **argv)
{
	struct options options;
	struct app app = { .options = &options, .signal_fd = -1 };
	struct err e = { 0 };
	int status;

	keep_keys_from_dumps();
	options_parse(&options, argc, argv);
	raise_limits();
	block_signals();
	log_set_level(options.log_level);
	log_set_flags(options.log_flags);
	if (options.config && read_config(&app, options.config, &e))
		return fail(&e);
	if (options.state_dir)
		app.state_files = files_os_open(options.state_dir, &e);
	app.core = e.code ? NULL : core_make(&options.core, &e);
	if (!app.core) {
		files_free(app.state_files);
		free(app.config);
		return fail(&e);
	}
	status = core_run(app.core, app_start, &app);
	core_free(app.core);
	trace_file_end(&app.trace);
	files_free(app.state_files);
	if (app.signal_fd >= 0)
		close(app.signal_fd);
	free(app.config);
	return status;
}

/* Before OpenSSL has any object. A library that made one while it was loaded leaves us only this: no dump at all. */
static void keep_keys_from_dumps(void)
{
	if (tls_keep_from_dumps())
		return;
	fprintf(stderr, "gantryd: OpenSSL is in use already, and its keys would be in a core dump: there will be none\n");
	prctl(PR_SET_DUMPABLE, 0);
}

/* A connection needs a descriptor; the soft limit of 1024 is there for programs that use select(). */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Before any thread is made: all inherit the mask, and app.c reads them from a descriptor. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int read_config(struct app *a, const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t cap = 0;
	ssize_t n = 0;

	if (fd < 0)
		return err_set(e, -errno, "-c: %s cannot be opened: %s", path, strerror(errno));
	do {
		a->config_len += (size_t)n;
		if (a->config_len == cap) {
			cap = cap ? 2 * cap : 65536;
			a->config = realloc(a->config, cap);
			must(a->config);
		}
		n = read(fd, a->config + a->config_len, cap - a->config_len);
	} while (n > 0 && a->config_len < CONFIG_BYTES_MAX);
	if (n < 0)
		err_set(e, -errno, "-c: %s cannot be read: %s", path, strerror(errno));
	else if (n > 0)
		err_set(e, -EFBIG, "-c: %s is larger than 64 MiB; that cannot be a configuration", path);
	close(fd);
	return e->code;
}

static int fail(const struct err *e)
{
	fprintf(stderr, "gantryd: %s\n", e->text);
	return 1;
}
