/* SPDX-License-Identifier: BSD-3-Clause */
/* keyring.c: the ring: names, references, what was removed and is still held. */
#include "keyring/keyring.h"

#include <errno.h>

#include "core/secret.h"
#include "keyring/keyring_priv.h"

struct keyring {
	struct list keys, removed;
	bool linux_allowed;
};

struct keyring *keyring_make(void)
{
	struct keyring *k = base_zalloc(sizeof(*k));

	list_init(&k->keys);
	list_init(&k->removed);
	return k;
}

static void drop(struct keyring_key *key)
{
	list_del(&key->link);
	key->removed = true;
	keyring_key_unref(key);
}

/* Keys that nobody but the ring holds any more: removed ones, and those that were found in the kernel's keyring. */
static void sweep(struct keyring *k)
{
	list_each_safe(l, &k->removed)
		if (atomic_load(&list_entry(l, struct keyring_key, link)->refs) == 1)
			drop(list_entry(l, struct keyring_key, link));
	list_each_safe(l, &k->keys) {
		struct keyring_key *key = list_entry(l, struct keyring_key, link);

		if (key->kind == KEYRING_LINUX && atomic_load(&key->refs) == 1)
			drop(key);
	}
}

void keyring_free(struct keyring *k)
{
	if (!k)
		return;
	list_splice(&k->keys, &k->removed);
	list_each_safe(l, &k->keys)
		drop(list_entry(l, struct keyring_key, link));
	free(k);
}

/* ":key0" is "key0" of the ring without a name, as SPDK has it; there is no other. */
static const char *plain(const char *name) { return *name == ':' ? name + 1 : name; }

static struct keyring_key *find(struct keyring *k, const char *name)
{
	list_each(l, &k->keys)
		if (!strcmp(list_entry(l, struct keyring_key, link)->name, plain(name)))
			return list_entry(l, struct keyring_key, link);
	return NULL;
}

static struct keyring_key *add(struct keyring *k, const char *name, enum keyring_kind kind, const char *path)
{
	struct keyring_key *key = base_zalloc(sizeof(*key));

	key->name = base_strdup(plain(name));
	key->kind = kind;
	if (path)
		key->path = kind == KEYRING_MEMORY ? secret_strdup(path) : base_strdup(path);
	atomic_store(&key->refs, 1);
	list_add_tail(&k->keys, &key->link);
	return key;
}

int keyring_check_new_name(struct keyring *k, const char *name, struct err *e)
{
	if (!*plain(name) || strlen(plain(name)) > KEYRING_NAME_MAX)
		return err_set(e, -EINVAL, "name: '%s' has no or more than %u characters; choose another", name,
		               KEYRING_NAME_MAX);
	if (strchr(plain(name), ':'))
		return err_set(e, -EINVAL, "name: '%s' names a keyring before its colon, and there is one only; leave that out",
		               name);
	if (find(k, name))
		return err_set(e, -EEXIST, "name: there is a key '%s' already; remove it with keyring_file_remove_key, or "
		               "choose another name", plain(name));
	return 0;
}

int keyring_add_file(struct keyring *k, const char *name, const char *path, struct err *e)
{
	if (keyring_check_new_name(k, name, e))
		return e->code;
	add(k, name, KEYRING_FILE, path);
	return 0;
}

int keyring_add_memory(struct keyring *k, const char *name, const char *secret, struct err *e)
{
	if (keyring_check_new_name(k, name, e))
		return e->code;
	add(k, name, KEYRING_MEMORY, secret);
	return 0;
}

int keyring_remove_unused(struct keyring *k, const char *name, struct err *e)
{
	const struct keyring_key *key = find(k, name);

	if (key && atomic_load(&key->refs) > 1)
		return err_set(e, -EBUSY, "name: key '%s' is in use; take it from its hosts and controllers first",
		               plain(name));
	return keyring_remove(k, name, e);
}

int keyring_remove(struct keyring *k, const char *name, struct err *e)
{
	struct keyring_key *key = find(k, name);

	if (!key)
		return err_set(e, -ENOKEY, "name: there is no key '%s'; keyring_get_keys lists them", plain(name));
	if (key->kind == KEYRING_LINUX)
		return err_set(e, -EINVAL, "name: '%s' is a key of the kernel's keyring; remove it there, with keyctl",
		               plain(name));
	list_del(&key->link);
	key->removed = true;
	list_add_tail(&k->removed, &key->link);
	sweep(k);
	return 0;
}

struct keyring_key *keyring_get(struct keyring *k, const char *param, const char *name, struct err *e)
{
	struct keyring_key *key = find(k, name);
	int32_t serial = 0;

	if (!key && k->linux_allowed && !keyring_linux_find(plain(name), &serial)) {
		key = add(k, name, KEYRING_LINUX, NULL);
		key->serial = serial;
	}
	if (!key)
		err_set(e, -ENOENT, "%s: there is no key '%s'; add it with keyring_file_add_key first%s", param, plain(name),
		        k->linux_allowed ? ", or to the kernel's keyring" : "");
	return keyring_key_ref(key);
}

struct keyring_key *keyring_at(struct keyring *k, uint32_t n)
{
	if (!n)
		sweep(k);
	list_each(l, &k->keys)
		if (!n--)
			return list_entry(l, struct keyring_key, link);
	list_each(l, &k->removed)
		if (!n--)
			return list_entry(l, struct keyring_key, link);
	return NULL;
}

bool keyring_is_last_of_name(struct keyring *k, const struct keyring_key *key)
{
	const struct keyring_key *last = find(k, key->name);

	list_each(l, &k->removed)
		if (!last && !strcmp(list_entry(l, struct keyring_key, link)->name, key->name))
			last = list_entry(l, struct keyring_key, link);
	return last == key;
}

int keyring_use_linux(struct keyring *k, bool use, struct err *e)
{
	if (use && keyring_linux_check(e))
		return e->code;
	k->linux_allowed = use;
	return 0;
}

bool keyring_uses_linux(const struct keyring *k) { return k->linux_allowed; }

/* --- a key: any thread ------------------------------------------------------------------------------------------- */

void keyring_key_unref(struct keyring_key *key)
{
	if (!key || atomic_fetch_sub(&key->refs, 1) != 1)
		return;
	if (key->kind == KEYRING_MEMORY)
		secret_free((char *)(uintptr_t)key->path);
	else
		free((char *)(uintptr_t)key->path);
	free((char *)(uintptr_t)key->name);
	free(key);
}

int keyring_key_read(const struct keyring_key *key, char *buf, size_t cap, size_t *ret_len, struct err *e)
{
	switch (key->kind) {
	case KEYRING_FILE:
		return keyring_file_read(key->path, buf, cap, ret_len, e);
	case KEYRING_LINUX:
		return keyring_linux_read(key->serial, key->name, buf, cap, ret_len, e);
	case KEYRING_MEMORY:
		break;
	}
	must(strlen(key->path) <= cap);
	*ret_len = strlen(key->path);
	memcpy(buf, key->path, *ret_len);
	return 0;
}
