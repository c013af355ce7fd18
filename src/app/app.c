/* SPDX-License-Identifier: BSD-3-Clause */
/* app.c: a daemon's life on its control reactor: modules, configuration, readiness, signals, the end.
 *
 * start:  modules -> read the state, and reservations -> methods for start-up, of the state or of -c
 *         -> [--wait-for-rpc: serve, wait for framework_start_init] -> running -> the other methods
 *         -> everything lasts -> serve -> "ready"
 * stop:   a signal, an RPC or a failure -> modules, upwards -> core_stop()
 */
#include "app/app.h"
#include "app/systemd.h"
#include "bdev/reservation.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void start_signals(struct app *a);
static void load(struct app *a, enum rpc_load part, rpc_loaded_fn *done);
static void fail(struct app *a, const struct err *e);
static rpc_loaded_fn state_read, reservations_read, startup_loaded, runtime_loaded, state_lasts;
static void begin_to_run(void *arg, rpc_loaded_fn *done, void *done_arg);
static void serve(struct app *a, const char *how);
static void signal_came(struct source *s, uint32_t events);
static void send_signal(void *arg, int signal_number);

void app_start(void *arg)
{
	struct app *a = arg;
	struct err e = { 0 };

	a->began_ns = core_clock_ns();
	for (uint32_t i = 0; i + 1 < a->options->ignored_count; i += 2)
		log_notice("gantryd: --%s is accepted and has no effect: %s", a->options->ignored[i],
		           a->options->ignored[i + 1]);
	a->host = (struct rpc_host){ .version = GANTRY_VERSION,
		.version_numbers = { GANTRY_VERSION_NUMBERS }, .pid = (uint64_t)getpid(), .start_init = begin_to_run,
		.send_signal = send_signal, .arg = a };
	start_signals(a);
	if (modules_start(a, &e)) {
		log_error("gantryd: %s", e.text);
		app_stop(a, 1);
		return;
	}
	a->resv_files = a->state_files;
	if (a->state_files)
		rpc_state_open(a->rpc, a->state_files, state_read, a);
	else
		load(a, RPC_LOAD_STARTUP, startup_loaded);
	a->state_files = NULL;
}

void app_stop(struct app *a, int status)
{
	if (a->stopping)
		return;
	a->stopping = true;
	a->status = status;
	systemd_stopping();
	modules_stop_next(a);
}

static void load(struct app *a, enum rpc_load part, rpc_loaded_fn *done)
{
	if (rpc_state_config(a->rpc))
		rpc_load_json(a->rpc, rpc_state_config(a->rpc), part | RPC_LOAD_STATE, done, a);
	else if (a->config)
		rpc_load_config(a->rpc, a->config, a->config_len,
		                part | (a->options->forgiving ? RPC_LOAD_STATE : RPC_LOAD_PATIENT), done, a);
	else
		done(a, NULL);
}

static void fail(struct app *a, const struct err *e)
{
	const char *from = rpc_state_config(a->rpc) ? a->options->state_dir : a->options->config;

	log_error("gantryd: %s: %s", from ? from : a->options->state_dir, e->text);
	app_stop(a, 1);
}

/* False: the daemon ends, or is to end now. */
static bool state_is_good(struct app *a, const struct err *e)
{
	if (!a->stopping && e) {
		log_error("gantryd: --state-dir: %s", e->text);
		app_stop(a, 1);
	}
	return !a->stopping && !e;
}

/* What is there wins over the file, which is for the first time. */
static void state_read(void *arg, const struct err *e)
{
	struct app *a = arg;
	const char *dir = a->options->state_dir, *file = a->options->config;

	if (!state_is_good(a, e))
		return;
	if (!rpc_state_config(a->rpc))
		log_notice("gantryd: the state in %s is empty: it begins with %s", dir, file ? file : "nothing");
	else if (file)
		log_notice("gantryd: the configuration is version %lu of the state in %s; -c %s is not used, for the state "
		           "is not empty", (unsigned long)rpc_state_version(a->rpc), dir, file);
	else
		log_notice("gantryd: the configuration is version %lu of the state in %s",
		           (unsigned long)rpc_state_version(a->rpc), dir);
	a->resv_opening = true;
	bdev_resv_store_open(a->bdevs, a->resv_files, reservations_read, a);
}

/* Before any device comes that may be reserved. */
static void reservations_read(void *arg, const struct err *e)
{
	struct app *a = arg;

	a->resv_opening = false;
	if (a->resv_stop_waits)
		modules_stop_next(a);
	if (state_is_good(a, e))
		load(a, RPC_LOAD_STARTUP, startup_loaded);
}

static void startup_loaded(void *arg, const struct err *e)
{
	struct app *a = arg;

	if (a->stopping)
		return;
	if (e) {
		fail(a, e);
	} else if (a->options->wait_for_rpc) {
		serve(a, "waiting for framework_start_init");
	} else {
		begin_to_run(a, NULL, NULL);
	}
}

static void begin_to_run(void *arg, rpc_loaded_fn *done, void *done_arg)
{
	struct app *a = arg;

	a->start_done = done;
	a->start_done_arg = done_arg;
	rpc_set_running(a->rpc, true);
	load(a, RPC_LOAD_RUNTIME, runtime_loaded);
}

static void runtime_loaded(void *arg, const struct err *e)
{
	struct app *a = arg;

	if (e)
		state_lasts(a, e);
	else
		rpc_state_begin(a->rpc, state_lasts, a);
}

static void state_lasts(void *arg, const struct err *e)
{
	struct app *a = arg;

	if (a->start_done)
		a->start_done(a->start_done_arg, e);
	if (a->stopping)
		return;
	if (e) {
		fail(a, e);
		return;
	}
	free(a->config);
	a->config = NULL;
	serve(a, "ready");
}

static void serve(struct app *a, const char *how)
{
	if (a->server)
		rpc_server_serve(a->server);
	systemd_ready(how);
	log_notice("gantryd: %s, RPC on %s", how, a->rpc_at ? a->rpc_at : "no socket");
}

/* --- signals ------------------------------------------------------------------------------------------------ */

/* main() has blocked them before any thread was made, so that they come here only. */
static void start_signals(struct app *a)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	a->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	must(a->signal_fd >= 0);
	must(source_start(&a->signals, a->signal_fd, EPOLLIN, "signals", signal_came) == 0);
}

static void signal_came(struct source *s, uint32_t events)
{
	struct app *a = container_of(s, struct app, signals);
	struct signalfd_siginfo info;

	while (read(s->fd, &info, sizeof(info)) == sizeof(info)) {
		int number = (int)info.ssi_signo;

		if (number == SIGUSR1) {
			log_notice("gantryd: SIGUSR1 has no meaning");
			continue;
		}
		if (a->stopping) {
			log_warning("gantryd: SIG%s again: ending at once", sigabbrev_np(number));
			_exit(128 + number);
		}
		log_notice("gantryd: SIG%s: stopping", sigabbrev_np(number));
		app_stop(a, 0);
	}
}

static void send_signal(void *arg, int signal_number)
{
	(void)arg;
	kill(getpid(), signal_number);
}
