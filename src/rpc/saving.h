/* SPDX-License-Identifier: BSD-3-Clause */
/* saving.h: the saved configuration from what has changed since it was saved last. Private to rpc. */
#ifndef RPC_SAVING_H
#define RPC_SAVING_H

#include "rpc/changes.h"

struct rpc_save {
	struct json_object *array;
	struct rpc *rpc;
	struct saved_units *units;     /* NULL: everything anew */
	size_t merged;                 /* entries of `array` that have what was ignored */
};

/* As rpc_save_config(); entries that did not change are those of the last time, and belong to it, too. */
struct json_object *saving_changes(struct rpc *rpc);
/* The next time everything anew. */
void saving_forget(struct rpc *rpc);

#endif
