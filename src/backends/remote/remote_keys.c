/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_keys.c: other keys for paths that exist, by which they prove once more who we are.
 *
 * The admin queue first, then every core's queue pair; I/O goes on meanwhile. A proof that fails ends its queue pair,
 * and with it the path, which is connected again by its own rules, with the new keys. The old ones are given back when
 * nothing of the controller that had them is left.
 */
#include <errno.h>

#include "backends/remote/remote_ctl.h"
#include "keyring/keyring.h"

static void admin_proved(struct nvme_qpair *qp, const struct err *e, void *arg);
static void lanes_proved(struct remote_path *p);
static void path_proved(struct remote_path *p, const struct err *e);

struct keyring_key *remote_key_named(const struct remote *r, const char *param, const char *name, struct err *e)
{
	if (!name || e->code)
		return NULL;
	if (r->keyring)
		return keyring_get(r->keyring, param, name, e);
	err_set(e, -ENOTSUP, "%s: there is no keyring here", param);
	return NULL;
}

void remote_keys_take(const struct nvme_host_opts *h)
{
	keyring_key_ref(h->key);
	keyring_key_ref(h->ctrlr_key);
	keyring_key_ref(h->psk);
}

void remote_keys_give(struct nvme_host_opts *h)
{
	keyring_key_unref(h->key);
	keyring_key_unref(h->ctrlr_key);
	keyring_key_unref(h->psk);
	h->key = h->ctrlr_key = h->psk = NULL;
}

static void keep_old(struct remote_path_ctl *ctl, struct keyring_key *key)
{
	if (!key)
		return;
	ctl->old_keys = reallocarray(ctl->old_keys, ctl->old_key_count + 1, sizeof(*ctl->old_keys));
	must(ctl->old_keys);
	ctl->old_keys[ctl->old_key_count++] = key;
}

static void exchange(struct remote_path *p, struct keyring_key *key, struct keyring_key *ctrlr_key)
{
	struct nvme_host_opts *o = &p->opts.host;

	keep_old(p->ctl, o->key);
	keep_old(p->ctl, o->ctrlr_key);
	o->key = keyring_key_ref(key);
	o->ctrlr_key = keyring_key_ref(ctrlr_key);
	if (p->ctrlr)
		nvme_ctrlr_set_keys(p->ctrlr, o->key, o->ctrlr_key);
	else
		remote_keys_closed(p);
}

static void prove(struct remote_path *p)
{
	p->ctl->proving = true;
	p->ctl->prove_again = false;
	if (p->opts.host.key)
		nvme_ctrlr_authenticate(p->ctrlr, admin_proved, p);
	else
		remote_lanes_prove(p, lanes_proved);
}

int remote_group_set_keys(struct remote_group *g, struct keyring_key *key, struct keyring_key *ctrlr_key,
                          struct remote_rekey *w, struct err *e)
{
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		if (g->paths[i] && g->paths[i]->ctl->proving)
			return err_set(e, -EBUSY, "%s proves itself by keys that were changed a moment ago; try again", g->name);
	w->err = (struct err){ 0 };
	w->left = 1;
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		struct remote_path *p = g->paths[i];

		if (!p || remote_path_going(p))
			continue;
		exchange(p, key, ctrlr_key);
		p->ctl->prove_again = p->ctrlr != NULL;
		if (p->state != REMOTE_PATH_UP)
			continue;
		p->ctl->rekey = w;
		w->left++;
		prove(p);
	}
	if (--w->left == 0)
		w->done(w);
	return 0;
}

void remote_keys_up(struct remote_path *p)
{
	if (p->ctl->prove_again && !p->ctl->proving)
		prove(p);
}

void remote_keys_closed(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;

	assert(!p->ctrlr);
	for (uint32_t i = 0; i < ctl->old_key_count; i++)
		keyring_key_unref(ctl->old_keys[i]);
	free(ctl->old_keys);
	ctl->old_keys = NULL;
	ctl->old_key_count = 0;
	ctl->prove_again = false; /* the next controller begins with the keys of now */
}

static void admin_proved(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct remote_path *p = arg;
	struct err lost = { 0 };
	char text[512];

	(void)qp;
	if (e) {
		path_proved(p, e);
	} else if (p->state != REMOTE_PATH_UP) {
		err_set(&lost, -ENOTCONN, "%s was lost before all its queues proved themselves by the new keys; they do when "
		        "it comes again", remote_path_text(p, text));
		path_proved(p, &lost);
	} else {
		remote_lanes_prove(p, lanes_proved);
	}
}

static void lanes_proved(struct remote_path *p)
{
	path_proved(p, p->prove_err.code ? &p->prove_err : NULL);
}

static void path_proved(struct remote_path *p, const struct err *e)
{
	struct remote_rekey *w = p->ctl->rekey;

	p->ctl->proving = false;
	p->ctl->rekey = NULL;
	if (w && e && !w->err.code)
		w->err = *e;
	if (w && --w->left == 0)
		w->done(w);
	remote_path_look(p); /* it may have waited for this to be freed */
}
