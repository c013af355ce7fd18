/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_keys_rpc.c: bdev_nvme_set_keys. The keys are read once before anything changes, so that a mistyped one costs
 * nothing but the answer. */
#include <errno.h>

#include "backends/remote/remote_rpc_priv.h"
#include "keyring/keyring.h"

struct set_keys {
	char *name, *dhchap_key, *dhchap_ctrlr_key;
};

static const struct rpc_param set_keys_params[] = {
	RPC_PARAM(struct set_keys, name, .required = true, .doc = "Name of the controller."),
	RPC_PARAM(struct set_keys, dhchap_key,
	          .doc = "Name of the key by which we prove who we are from now on; none when left out."),
	RPC_PARAM(struct set_keys, dhchap_ctrlr_key,
	          .doc = "Name of the key by which the target has to prove who it is; none when left out."),
};

struct setting {
	struct job job;
	struct remote_rekey rekey;
	struct rpc_call *call;
	const struct set_keys *args;
	struct keyring_key *key, *ctrlr_key;
	struct err err;
};

static void set_end(struct setting *s)
{
	rpc_reply_rc(s->call, s->err.code, &s->err);
	keyring_key_unref(s->key);
	keyring_key_unref(s->ctrlr_key);
	free(s);
}

static void check_one(const struct keyring_key *key, const char *param, struct err *ret)
{
	struct err e = { 0 };

	if (key && !ret->code && nvme_key_check(key, &e))
		err_set(ret, e.code, "%s: %s", param, e.text);
}

static void check_in_job(struct job *j)
{
	struct setting *s = container_of(j, struct setting, job);

	check_one(s->key, "dhchap_key", &s->err);
	check_one(s->ctrlr_key, "dhchap_ctrlr_key", &s->err);
}

static void rekeyed(struct remote_rekey *w)
{
	struct setting *s = container_of(w, struct setting, rekey);

	s->err = w->err;
	set_end(s);
}

static void checked(struct job *j)
{
	struct setting *s = container_of(j, struct setting, job);
	struct remote_rpc *rr = rpc_ctx(s->call);
	struct remote_group *g = remote_group_find(rr->remote, s->args->name);

	if (!s->err.code && (!g || g->leaving))
		err_set(&s->err, -ENODEV, "name: controller '%s' was detached meanwhile", s->args->name);
	s->rekey.done = rekeyed;
	if (s->err.code || remote_group_set_keys(g, s->key, s->ctrlr_key, &s->rekey, &s->err))
		set_end(s);
}

static void handle_set_keys(struct rpc_call *call, void *args)
{
	struct remote_rpc *rr = rpc_ctx(call);
	const struct set_keys *a = args;
	struct setting *s;

	if (!remote_rpc_group(call, a->name))
		return;
	s = base_zalloc(sizeof(*s));
	s->call = call;
	s->args = a;
	if (a->dhchap_ctrlr_key && !a->dhchap_key)
		err_set(&s->err, -EINVAL, "dhchap_ctrlr_key: is of no use without dhchap_key; give both");
	s->key = remote_key_named(rr->remote, "dhchap_key", a->dhchap_key, &s->err);
	s->ctrlr_key = remote_key_named(rr->remote, "dhchap_ctrlr_key", a->dhchap_ctrlr_key, &s->err);
	if (s->err.code)
		set_end(s);
	else
		job_start(&s->job, check_in_job, checked);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_nvme_set_keys", struct set_keys, set_keys_params, handle_set_keys, .flags = RPC_RUNTIME,
	           .doc = "Give a controller other keys of DH-HMAC-CHAP. Its connections prove themselves by them at once; "
	                  "one that cannot is lost, and tried again.", .returns = "true"),
};

void remote_keys_rpc_add(struct remote_rpc *rr)
{
	rpc_add_methods(bdev_rpc_of(rr->br), methods, ARRAY_SIZE(methods), rr);
}
