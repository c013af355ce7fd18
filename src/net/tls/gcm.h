/* SPDX-License-Identifier: BSD-3-Clause */
/* gcm.h: AES-GCM (NIST SP 800-38D), of one key in one direction, over pieces, by one of two libraries. Private to
 * net/tls.
 *
 *     gcm = gcm_used();
 *     at = secret_zalloc(gcm->bytes);
 *     gcm->key(at, key, 16, true);
 *     gcm->begin(at, nonce, header);                 a message ...
 *     gcm->crypt(at, to, from, len);                 ... of pieces as they lie, in place or not
 *     gcm->seal(at, tag);                            or gcm->open(at, tag)
 *     gcm->end(at);
 *     secret_free(at);
 *
 * OpenSSL's is always there. Intel's multi-buffer library (libipsec-mb) is used where it was there when we were built
 * and this CPU has what makes it faster: AES in vectors of 512 bits, which OpenSSL has from 3.1 on. bench/README.md has
 * the figures; nothing differs that a peer could see.
 */
#ifndef NET_TLS_GCM_H
#define NET_TLS_GCM_H

#include "base/base.h"

#define GCM_NONCE_BYTES 12u
#define GCM_HEADER_BYTES 5u /* authenticated, and not encrypted: a record's header */
#define GCM_TAG_BYTES 16u

/* `at` is one direction's: `bytes`, which hold the key or lead to it; zeroes before the first key. */
struct gcm {
	const char *name;
	size_t bytes;
	/* Of 16 or 32 bytes; a later one takes its place. */
	void (*key)(void *at, const uint8_t *key, size_t key_bytes, bool seals);
	void (*begin)(void *at, const uint8_t *nonce, const uint8_t *header);
	/* More than nothing. What comes out when opening does not count before open(). */
	void (*crypt)(void *at, uint8_t *to, const uint8_t *from, size_t len);
	void (*seal)(void *at, uint8_t *ret_tag);
	/* Is this its tag? The time that takes tells nothing about it. */
	bool (*open)(void *at, const uint8_t *tag);
	/* Whatever it has elsewhere; the bytes are wiped by their owner. */
	void (*end)(void *at);
};

extern const struct gcm gcm_openssl;
/* NULL: this build has it not, or this machine nothing that makes it faster. Any thread; a process's first call takes
 * half a millisecond. */
const struct gcm *gcm_multi_buffer(void);

/* By keys that are made from now on, of any thread. NULL: the fastest, as if nothing had been said. */
void gcm_use(const struct gcm *gcm);
const struct gcm *gcm_used(void);

#endif
