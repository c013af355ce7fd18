/* SPDX-License-Identifier: BSD-3-Clause */
/* iscsi_rpc_priv.h: what the files of the target's methods share. */
#ifndef ISCSI_ISCSI_RPC_PRIV_H
#define ISCSI_ISCSI_RPC_PRIV_H

#include "base/text.h"
#include "iscsi/session.h"
#include "rpc/json.h"
#include "rpc/rpc.h"
#include "scsi/scsi.h"

/* A change and the call that waits for it. */
struct iscsi_change_call {
	struct iscsi_change change;
	struct rpc_call *call;
	void *own;                        /* freed with it */
};
struct iscsi_change_call *iscsi_change_call(struct rpc_call *call);
/* true, or the error. */
void iscsi_change_reply(struct iscsi_change *c);

/* The four of them are the same everywhere. */
#define ISCSI_CHAP_FIELDS bool disable_chap, require_chap, mutual_chap; uint32_t chap_group
#define ISCSI_CHAP_ROWS(S, who) \
	RPC_PARAM(S, disable_chap, .doc = who " do not authenticate."), \
	RPC_PARAM(S, require_chap, .doc = who " must authenticate, by CHAP."), \
	RPC_PARAM(S, mutual_chap, .doc = "The target proves itself too; with require_chap."), \
	RPC_PARAM(S, chap_group, .max = ISCSI_GROUP_TAG_MAX, .doc = "Authentication group with the secrets; 0: none.")
#define ISCSI_CHAP_POLICY(a) (struct iscsi_chap_policy){ \
	.disable_chap = (a)->disable_chap, .require_chap = (a)->require_chap, .mutual_chap = (a)->mutual_chap, \
	.chap_group = (a)->chap_group }
/* A group that does not exist (yet): a configuration may make it later, a person is told. False: answered. */
bool iscsi_rpc_group_ok(struct rpc_call *call, uint32_t chap_group);
/* The same for calls that SPDK's save_config writes before the groups, and SPDK's rpc.py makes one by one: the log
 * tells. */
void iscsi_rpc_group_later(struct rpc_call *call, uint32_t chap_group);

struct iscsi_name_args {
	char *name;
};

void iscsi_node_rpc_add(struct rpc *rpc, struct iscsi_target *t);
void iscsi_get_rpc_add(struct rpc *rpc, struct iscsi_target *t);
/* Entries of the saved configuration. */
struct json_object *iscsi_save_call(struct json_object *array, const char *method);
struct json_object *iscsi_save_lun(struct json_object *array, const char *node, uint32_t lun, const char *bdev_name,
                                   bool read_only);
void iscsi_save(void *ctx, struct rpc_save *save);

const char *iscsi_alua_name(uint8_t state);

#endif
