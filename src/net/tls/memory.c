/* SPDX-License-Identifier: BSD-3-Clause */
/* memory.c: where OpenSSL's own objects lie: those of connections have their AES keys, those of handshakes all secrets
 * of them, as have those in which DH-HMAC-CHAP and CHAP are computed. */
#include <openssl/crypto.h>

#include "core/secret.h"
#include "net/tls.h"

static void *alloc(size_t bytes, const char *file, int line) { return secret_heap_alloc(bytes); }
static void *again(void *at, size_t bytes, const char *file, int line) { return secret_heap_realloc(at, bytes); }
static void give_back(void *at, const char *file, int line) { secret_heap_free(at); }

bool tls_keep_from_dumps(void)
{
	return CRYPTO_set_mem_functions(alloc, again, give_back) == 1;
}
