/* SPDX-License-Identifier: BSD-3-Clause */
/* app.h: one daemon: what its modules hang off. Private to app. */
#ifndef APP_APP_H
#define APP_APP_H

#include "app/options.h"
#include "backends/aio/aio_rpc.h"
#include "backends/gpt/gpt_rpc.h"
#include "backends/powercut/powercut_rpc.h"
#include "backends/raid/raid_rpc.h"
#include "backends/remote/remote_rpc.h"
#include "backends/virtio/virtio_rpc.h"
#include "backends/uring/uring_rpc.h"
#include "bdev/bdev_rpc.h"
#include "core/os/trace_file.h"
#include "rpc/core_methods.h"
#include "rpc/state.h"

struct bdev_registry;
struct iscsi_target;
struct keyring;
struct load_rpc;
struct metrics;
struct nvme_rpc;
struct nvmf_target;
struct scsi;
struct vhost;

struct app {
	const struct options *options;
	struct core *core;
	char *config;                   /* the text of -c; NULL: none */
	size_t config_len;

	struct files *state_files;      /* of --state-dir, until the state has them; NULL: none */
	struct files *resv_files;       /* the same, for reservations: the state owns them */
	bool resv_opening, resv_stop_waits; /* they are being read; and whoever stops waits for that */
	struct bdev_arrival arrival;

	struct rpc_host host;
	struct rpc *rpc;
	struct rpc_core_methods *core_methods;
	struct keyring *keyring;
	struct keyring_rpc *keyring_rpc;
	char *key_dir;                  /* where keys that are made go; NULL: nowhere without being told */
	struct bdev_registry *bdevs;
	struct bdev_rpc *bdev_rpc;
	struct load_rpc *load;
	struct bdev_rpc_kind malloc_kind, null_kind;
	struct bdev_rpc_order_kind passthru_kind, split_kind, delay_kind, error_kind;
	struct file_rpc aio;
	struct file_rpc uring;
	struct gpt_rpc gpt;
	struct raid_rpc raid;
	struct powercut_rpc powercut;
	struct remote_rpc remote;
	struct virtio_rpc virtio;
	struct msg bdev_went;           /* one more device, when stopping */
	struct nvme_rpc *nvme;
	struct nvmf_target *nvmf;
	struct scsi *scsi;
	struct iscsi_target *iscsi;
	struct vhost *vhost;
	struct mdns_rpc *mdns;
	struct metrics *metrics;
	struct trace_file trace;
	bool eyes_wait;                 /* for the metrics' end */
	struct rpc_server *server;
	const char *rpc_at;             /* where it serves, for people; NULL: nowhere */

	struct source signals;
	int signal_fd;
	uint32_t started;               /* modules; the next to stop is the last of them */
	uint64_t began_ns;
	bool stopping;
	int status;                     /* what the process will end with */
	rpc_loaded_fn *start_done;      /* of framework_start_init */
	void *start_done_arg;
};

/* For core_run(): runs on the control reactor. */
void app_start(void *arg);
/* Stop everything, then the core. The first call's status counts. */
void app_stop(struct app *a, int status);

/* --- eyes.c: a module ---------------------------------------------------------------------------------- */

int eyes_start(struct app *a, struct err *e) MUST_USE;
bool eyes_stop(struct app *a);

/* --- modules.c ----------------------------------------------------------------------------------------- */

/* Start all, downwards. Errors: the module's sentence; app_stop() stops those that had started. */
int modules_start(struct app *a, struct err *e) MUST_USE;
/* Stop the last that runs; it calls again when that is done, and at last core_stop(). */
void modules_stop_next(struct app *a);

#endif
