/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_host_rpc.c: methods that say which hosts may use a subsystem, and how they prove who they are. */
#include "fabric/auth.h"
#include "fabric/psk.h"
#include "keyring/keyring.h"
#include "nvmf/nvmf_rpc_priv.h"

struct host_args {
	char *nqn, *host, *tgt_name;
};

static const struct rpc_param host_params[] = {
	NVMF_RPC_NQN(struct host_args),
	RPC_PARAM(struct host_args, host, .required = true, .doc = "NQN of the host."),
	NVMF_RPC_TGT(struct host_args),
	RPC_IGNORED("timeout_ms"), /* it is answered when nothing of the host can land any more, and that is soon */
};

struct keyed_host_args {
	char *nqn, *host, *tgt_name, *dhchap_key, *dhchap_ctrlr_key, *psk;
};

static const struct rpc_param keyed_host_params[] = {
	NVMF_RPC_NQN(struct keyed_host_args),
	RPC_PARAM(struct keyed_host_args, host, .required = true, .doc = "NQN of the host."),
	NVMF_RPC_TGT(struct keyed_host_args),
	RPC_PARAM(struct keyed_host_args, dhchap_key,
	          .doc = "Name of the key (keyring_file_add_key) by which the host proves who it is: DH-HMAC-CHAP."),
	RPC_PARAM(struct keyed_host_args, dhchap_ctrlr_key,
	          .doc = "Name of the key by which its controllers prove who they are, when the host asks for that."),
};
static const struct rpc_param add_host_params[] = {
	NVMF_RPC_NQN(struct keyed_host_args),
	RPC_PARAM(struct keyed_host_args, host, .required = true, .doc = "NQN of the host."),
	NVMF_RPC_TGT(struct keyed_host_args),
	RPC_PARAM(struct keyed_host_args, psk,
	          .doc = "Name of the key of TLS (keyring_file_add_key, NVMeTLSkey-1:...): the host has to come through a "
	                 "listener with secure_channel."),
	RPC_PARAM(struct keyed_host_args, dhchap_key,
	          .doc = "Name of the key (keyring_file_add_key) by which the host proves who it is: DH-HMAC-CHAP."),
	RPC_PARAM(struct keyed_host_args, dhchap_ctrlr_key,
	          .doc = "Name of the key by which its controllers prove who they are, when the host asks for that."),
};

/* Its keys are read once before the change, so that who gives a wrong one hears of it, and not the host. */
struct keyed_call {
	struct job job;
	struct rpc_call *call;
	const struct keyed_host_args *args;
	struct nvmf_host_keys keys;
	int rc;
	struct err err;
	void (*change)(struct nvmf_change *c, const char *nqn, const char *host, const struct nvmf_host_keys *keys);
};

static int try_key(const struct keyring_key *key, const char *param, struct err *ret)
{
	struct fabric_auth_key secret = { 0 };
	struct err e = { 0 };
	int rc = key ? fabric_auth_key_read(key, &secret, &e) : 0;

	fabric_auth_key_wipe(&secret);
	return rc ? err_set(ret, rc, "%s: %s", param, e.text) : 0;
}

static void try_keys_in_job(struct job *j)
{
	struct keyed_call *k = container_of(j, struct keyed_call, job);
	struct fabric_psk psk = { 0 };
	struct err e = { 0 };

	if (k->keys.psk && fabric_psk_read(k->keys.psk, &psk, &e))
		k->rc = err_set(&k->err, e.code, "psk: %s", e.text);
	fabric_psk_wipe(&psk);
	if (k->rc)
		return;
	k->rc = try_key(k->keys.key, "dhchap_key", &k->err);
	if (!k->rc)
		k->rc = try_key(k->keys.ctrlr_key, "dhchap_ctrlr_key", &k->err);
}

static void keyed_end(struct keyed_call *k)
{
	if (k->err.code)
		rpc_reply_err(k->call, &k->err);
	else
		k->change(nvmf_rpc_change(k->call), k->args->nqn, k->args->host, &k->keys);
	keyring_key_unref(k->keys.key);
	keyring_key_unref(k->keys.ctrlr_key);
	keyring_key_unref(k->keys.psk);
	free(k);
}

static void keys_tried(struct job *j)
{
	keyed_end(container_of(j, struct keyed_call, job));
}

static struct keyring_key *key_named(struct nvmf_target *t, const char *param, const char *name, struct err *e)
{
	if (!name || e->code)
		return NULL;
	if (t->keyring)
		return keyring_get(t->keyring, param, name, e);
	err_set(e, -ENOTSUP, "%s: there is no keyring here", param);
	return NULL;
}

static struct keyed_call *keyed_make(struct rpc_call *call, const struct keyed_host_args *a)
{
	struct nvmf_target *t = rpc_ctx(call);
	struct keyed_call *k = base_zalloc(sizeof(*k));

	k->call = call;
	k->args = a;
	k->keys.set_key = rpc_given(call, "dhchap_key");
	k->keys.set_ctrlr_key = rpc_given(call, "dhchap_ctrlr_key");
	k->keys.key = key_named(t, "dhchap_key", a->dhchap_key, &k->err);
	k->keys.ctrlr_key = key_named(t, "dhchap_ctrlr_key", a->dhchap_ctrlr_key, &k->err);
	return k;
}

static void keyed_start(struct keyed_call *k)
{
	if (k->err.code || (!k->keys.key && !k->keys.ctrlr_key && !k->keys.psk))
		keyed_end(k);
	else
		job_start(&k->job, try_keys_in_job, keys_tried);
}

static void handle_add_host(struct rpc_call *call, void *args)
{
	struct nvmf_target *t = rpc_ctx(call);
	struct keyed_host_args *a = args;
	struct keyed_call *k;

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	k = keyed_make(call, a);
	k->change = nvmf_add_host_keys;
	if (a->psk && a->psk[0] == '/')
		err_set(&k->err, -EINVAL, "psk: '%s' is a path; give it a name by keyring_file_add_key, and that name here",
		        a->psk);
	k->keys.psk = key_named(t, "psk", a->psk, &k->err);
	if (k->keys.ctrlr_key && !k->keys.key)
		err_set(&k->err, -EINVAL, "dhchap_ctrlr_key: is of no use without dhchap_key; give both");
	keyed_start(k);
}

static void handle_set_keys(struct rpc_call *call, void *args)
{
	struct keyed_host_args *a = args;
	struct keyed_call *k;

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	k = keyed_make(call, a);
	k->change = nvmf_set_host_keys;
	keyed_start(k);
}

static void handle_remove_host(struct rpc_call *call, void *args)
{
	struct host_args *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_remove_host(nvmf_rpc_change(call), a->nqn, a->host);
}

struct allow_any {
	char *nqn, *tgt_name;
	bool allow_any_host;
};

static const struct rpc_param allow_any_params[] = {
	NVMF_RPC_NQN(struct allow_any),
	RPC_PARAM(struct allow_any, allow_any_host, .required = true, .doc = "Let any host in."),
	NVMF_RPC_TGT(struct allow_any),
};

static void handle_allow_any(struct rpc_call *call, void *args)
{
	struct allow_any *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_allow_any_host(nvmf_rpc_change(call), a->nqn, a->allow_any_host);
}

/* --- the table ----------------------------------------------------------------------------------- */

#define CHANGES .flags = RPC_RUNTIME, .returns = "true"
static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_subsystem_add_host", struct keyed_host_args, add_host_params, handle_add_host,
	           CHANGES, .doc = "Let a host use a subsystem; one with a key has to prove who it is."),
	RPC_METHOD("nvmf_subsystem_set_keys", struct keyed_host_args, keyed_host_params, handle_set_keys,
	           CHANGES, .doc = "Exchange keys of a host. What is connected stays; later proofs are by the new keys."),
	RPC_METHOD("nvmf_subsystem_remove_host", struct host_args, host_params, handle_remove_host,
	           CHANGES, .doc = "Let a host use a subsystem no more; its controllers are disconnected."),
	RPC_METHOD("nvmf_subsystem_allow_any_host", struct allow_any, allow_any_params, handle_allow_any,
	           CHANGES, .doc = "Let any host use a subsystem, or only those of its list."),
};

void nvmf_host_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
}
