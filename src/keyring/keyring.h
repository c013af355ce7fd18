/* SPDX-License-Identifier: BSD-3-Clause */
/* keyring.h: secrets by name. A key is a name and where its secret is; the secret itself is read each time it is used,
 * by whoever uses it, in a job, and wiped: so that it is in no core dump for longer than it takes, and a file that was
 * exchanged is a new key from then on.
 *
 *     keyring_add_file(k, "key0", "/etc/gantry/key0", &e)    control reactor
 *     key = keyring_get(k, "key0", &e)                       a reference
 *     keyring_key_read(key, buf, sizeof(buf), &len, &e)      in a job; then OPENSSL_cleanse(buf)
 *     keyring_key_unref(key)
 *
 * Who holds a reference keeps a key that was removed from the ring: it can be read, and is saved as long as no other of
 * its name is there, so that what names it can be made again.
 */
#ifndef KEYRING_KEYRING_H
#define KEYRING_KEYRING_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/list.h"

#define KEYRING_NAME_MAX 128u
#define KEYRING_SECRET_MAX 1024u /* bytes a key's file may have */

struct keyring;
enum keyring_kind { KEYRING_FILE, KEYRING_LINUX, KEYRING_MEMORY };

struct keyring_key {
	const char *name;            /* constant, as the next two */
	const char *path;            /* a file's; KEYRING_MEMORY: the secret; NULL */
	enum keyring_kind kind;
	int32_t serial;              /* the kernel's */
	_Atomic uint32_t refs;
	/* control */
	bool removed;
	struct list link;
};

/* Control reactor, as all that takes a keyring. */
struct keyring *keyring_make(void);
/* Keys live on as long as somebody holds them. */
void keyring_free(struct keyring *k);
int keyring_add_file(struct keyring *k, const char *name, const char *path, struct err *e) MUST_USE;
/* For tests and simulations: `secret` is copied. */
int keyring_add_memory(struct keyring *k, const char *name, const char *secret, struct err *e) MUST_USE;
int keyring_remove(struct keyring *k, const char *name, struct err *e) MUST_USE;
/* The same, unless somebody holds it: -EBUSY. */
int keyring_remove_unused(struct keyring *k, const char *name, struct err *e) MUST_USE;
/* May a key be added by this name? */
int keyring_check_new_name(struct keyring *k, const char *name, struct err *e) MUST_USE;
/* A new reference; NULL with a sentence that begins with `param`: -ENOENT. Names are looked for in the kernel's keyring
 * when that is allowed. */
struct keyring_key *keyring_get(struct keyring *k, const char *param, const char *name, struct err *e);
/* The n-th of them, removed ones that are held last; NULL: no more. */
struct keyring_key *keyring_at(struct keyring *k, uint32_t n);
/* Whether removed keys have to be saved: no other has the name. */
bool keyring_is_last_of_name(struct keyring *k, const struct keyring_key *key);
/* Look for names that are not here in the kernel's keyring. Errors: the kernel has none. */
int keyring_use_linux(struct keyring *k, bool use, struct err *e) MUST_USE;
bool keyring_uses_linux(const struct keyring *k);

/* Any thread. */
static inline struct keyring_key *keyring_key_ref(struct keyring_key *key)
{
	if (key)
		atomic_fetch_add(&key->refs, 1);
	return key;
}
void keyring_key_unref(struct keyring_key *key); /* NULL is fine */

/* Core: any thread that may wait. At most `cap` bytes; wipe them. */
int keyring_key_read(const struct keyring_key *key, char *buf, size_t cap, size_t *ret_len, struct err *e) MUST_USE;
/* What a key's file has to be: absolute, regular, ours, and readable by nobody else. The same core. */
int keyring_file_check(const char *path, struct err *e) MUST_USE;
/* A new key's file, mode 0600, with its directory (0700) if only that is missing: lasting when it returns, and never
 * over another file. The same core. */
int keyring_file_make(const char *path, const char *text, struct err *e) MUST_USE;
/* None there is fine. */
int keyring_file_delete(const char *path, struct err *e) MUST_USE;

#endif
