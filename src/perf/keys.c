/* SPDX-License-Identifier: BSD-3-Clause */
/* keys.c: keys of gantry-perf's connections: files, never words of the command line, which anybody can read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "keyring/keyring.h"
#include "perf/perf.h"

static struct keyring_key *key_of(struct perf *p, const char *option, const char *path, struct err *e)
{
	char *whole = path && !e->code ? realpath(path, NULL) : NULL;
	struct keyring_key *key = NULL;

	if (!path || e->code)
		return NULL;
	if (!whole)
		err_set(e, -errno, "key file '%s' is not there: %s", path, strerror(errno));
	else if (!keyring_file_check(whole, e) && !keyring_add_file(p->keyring, option, whole, e))
		key = keyring_get(p->keyring, option, option, e);
	free(whole);
	if (e->code)
		fprintf(stderr, "gantry-perf: %s: %s\n", option, e->text);
	return key;
}

bool perf_keys_take(struct perf *p)
{
	struct nvme_host_opts *h = &p->opts.host;
	struct err e = { 0 };

	p->keyring = keyring_make();
	h->psk = key_of(p, "--psk-path", p->opts.psk_path, &e);
	h->key = key_of(p, "--dhchap-key", p->opts.dhchap_path, &e);
	h->ctrlr_key = key_of(p, "--dhchap-ctrlr-key", p->opts.dhchap_ctrlr_path, &e);
	return !e.code;
}

void perf_keys_give(struct perf *p)
{
	keyring_key_unref(p->opts.host.psk);
	keyring_key_unref(p->opts.host.key);
	keyring_key_unref(p->opts.host.ctrlr_key);
	keyring_free(p->keyring);
}
