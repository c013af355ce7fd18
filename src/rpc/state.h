/* SPDX-License-Identifier: BSD-3-Clause */
/* state.h: the configuration that lasts: what is desired, journaled in a directory (docs/STATE.md).
 *
 * From rpc_state_begin() on every call that changed what save_config gives is answered when the change is lasting.
 * What is
 * journaled is the difference that it made there, so what was made up (UUIDs, names, numbers) is kept as it was made.
 * Without a directory nothing is kept. Control reactor.
 */
#ifndef RPC_STATE_H
#define RPC_STATE_H

#include "core/files.h"
#include "rpc/rpc.h"

/* Read the state in `files`, which is the state's from now on. `done` as for a configuration: an error is one that
 * nobody should start over. Once at most, before anything is configured. */
void rpc_state_open(struct rpc *rpc, struct files *files, rpc_loaded_fn *done, void *arg);
/* What it holds, to be loaded; NULL: it is empty, or there is none. Borrowed. */
struct json_object *rpc_state_config(struct rpc *rpc);
uint64_t rpc_state_version(struct rpc *rpc);
/* Everything that was to be loaded is: keep what is there, and from now on each change. */
void rpc_state_begin(struct rpc *rpc, rpc_loaded_fn *done, void *arg);
/* `done` runs, maybe at once, when nothing is being written any more. After rpc_drain(). */
void rpc_state_close(struct rpc *rpc, void (*done)(void *arg), void *arg);
/* What save_config gives has changed without a call: that is to last, too. */
void rpc_state_changed(struct rpc *rpc);
/* A device came: entries that wait for something of this name are tried again. */
void rpc_state_arrived(struct rpc *rpc, const char *name, const char *uuid);
/* What `entry` made has gone with its device, for a while: it is kept as missing (config_get_missing, save_config), and
 * made again when a device comes that it names, if that has this UUID. A reference is taken. */
void rpc_state_keep(struct rpc *rpc, const char *subsystem, struct json_object *entry, const char *uuid,
                    const struct err *why);
/* Something else has its place now, or nobody wants it: it is not missing any more. False: it was not. */
bool rpc_state_forget(struct rpc *rpc, struct json_object *entry);

#endif
