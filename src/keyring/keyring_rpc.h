/* SPDX-License-Identifier: BSD-3-Clause */
/* keyring_rpc.h: keyring_file_add_key and its kin. */
#ifndef KEYRING_KEYRING_RPC_H
#define KEYRING_KEYRING_RPC_H

#include "base/err.h"

struct keyring;
struct rpc;

#define KEYRING_TEXT_MAX 256u

/* How new keys are made: the caller's, as long as the methods are there. */
struct keyring_maker {
	const char *dir;             /* where their files go when nobody says; NULL: somebody has to */
	int (*make)(const char *kind, const char *hash, char text[], struct err *e); /* KEYRING_TEXT_MAX bytes; control */
};

struct keyring_rpc;
/* Control reactor. */
struct keyring_rpc *keyring_rpc_add(struct rpc *rpc, struct keyring *k, const struct keyring_maker *maker);
void keyring_rpc_free(struct keyring_rpc *kr);

#endif
