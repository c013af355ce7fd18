/* SPDX-License-Identifier: BSD-3-Clause */
/* core_methods.h: methods of the daemon itself: framework_*, thread_*, log_*, configuration, descriptions.
 *
 * They need only core and rpc; the daemon lends them what they cannot do by themselves.
 */
#ifndef RPC_CORE_METHODS_H
#define RPC_CORE_METHODS_H

#include "rpc/rpc.h"

struct rpc_host {
	const char *version;                          /* "0.1.0" */
	uint32_t version_numbers[3];
	uint64_t pid;
	/* framework_start_init: go from --wait-for-rpc to running, by rpc_set_running(); `done` as for a configuration. */
	void (*start_init)(void *arg, rpc_loaded_fn *done, void *done_arg);
	/* spdk_kill_instance. */
	void (*send_signal)(void *arg, int signal_number);
	void *arg;
};

struct rpc_core_methods;
/* `host` stays the caller's. Add first: the savers' order is the configuration's. */
struct rpc_core_methods *rpc_add_core_methods(struct rpc *rpc, const struct rpc_host *host);
/* After rpc_drain(), before rpc_free(). */
void rpc_core_methods_free(struct rpc_core_methods *m);
/* What is accepted and ignored for SPDK's sake. Add last: a module's own method of such a name wins. */
void rpc_add_ignored_methods(struct rpc *rpc);

#endif
