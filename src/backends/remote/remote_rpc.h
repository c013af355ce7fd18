/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_rpc.h: bdev_nvme_attach_controller and its kin. */
#ifndef BACKENDS_REMOTE_REMOTE_RPC_H
#define BACKENDS_REMOTE_REMOTE_RPC_H

#include "backends/remote/remote.h"
#include "bdev/bdev_rpc.h"

struct remote_rpc {
	struct bdev_rpc *br;
	struct json_object *options;    /* what bdev_nvme_set_options was given; NULL: nothing */
	struct remote *remote;
	struct bdev_rpc_kind kind;
	struct bdev_rpc_saver saver;
	struct rpc_drain_hook drain;
	struct list attaching;          /* calls that wait for their first attempt */
	struct list updates;            /* remote_firmware_rpc.c's: firmware that is on its way */
	struct list commands;           /* remote_admin_rpc.c's: single ones that are not answered yet */
	struct rpc_drain_hook updates_drain, commands_drain;
	uint64_t load_until_ns;         /* entries of a configuration that is loaded wait for their targets until then */
	uint64_t load_last_ns;
};

/* Control reactor, as all here. */
void remote_rpc_init(struct remote_rpc *rr, struct bdev_rpc *br);
/* Detach everything; `done` runs once, not from within. */
void remote_rpc_stop(struct remote_rpc *rr, void (*done)(void *arg), void *arg);
void remote_rpc_fini(struct remote_rpc *rr);
/* Where keys are found by their names. */
struct keyring;
void remote_rpc_set_keyring(struct remote_rpc *rr, struct keyring *k);
/* For transports to be added to. */
struct nvme_host;
struct nvme_host *remote_rpc_host(struct remote_rpc *rr);

#endif
