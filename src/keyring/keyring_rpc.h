/* SPDX-License-Identifier: BSD-3-Clause */
/* keyring_rpc.h: keyring_file_add_key and its kin. */
#ifndef KEYRING_KEYRING_RPC_H
#define KEYRING_KEYRING_RPC_H

struct keyring;
struct rpc;

/* Control reactor. */
void keyring_rpc_add(struct rpc *rpc, struct keyring *k);

#endif
