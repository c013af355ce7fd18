/* SPDX-License-Identifier: BSD-3-Clause */
/* gcm_multi_buffer.c: AES-GCM by Intel's multi-buffer library, on CPUs that do AES in vectors of 512 bits (VAES). On
 * others it is no faster than OpenSSL.
 *
 * Of its manager only the functions for one message at a time are wanted, which any thread may call; it is made once to
 * have it look at the CPU, and test itself, and is given back.
 */
#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <pthread.h>

#include "core/log.h"
#include "net/tls/gcm.h"

/* SAFE_DATA: it was built to leave nothing of a key in registers or on the stack. */
#define NEEDED (IMB_CPUFLAGS_AVX512_T2 | IMB_FEATURE_SAFE_DATA | IMB_FEATURE_SELF_TEST | IMB_FEATURE_SELF_TEST_PASS)

/* Of one length of key. */
struct functions {
	aes_gcm_pre_t key;
	aes_gcm_init_t begin;
	aes_gcm_enc_dec_update_t crypt[2];       /* opens, seals */
	aes_gcm_enc_dec_finalize_t finish[2];
};

struct multi_buffer {
	struct gcm_key_data key;
	struct gcm_context_data message;
	const struct functions *of;
	bool seals;
	uint8_t tag[GCM_TAG_BYTES];
};

static struct functions aes128, aes256;
static bool fast;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void mb_key(void *at, const uint8_t *key, size_t key_bytes, bool seals)
{
	struct multi_buffer *m = at;

	m->of = key_bytes == 32 ? &aes256 : &aes128;
	m->seals = seals;
	m->of->key(key, &m->key);
}

static void mb_begin(void *at, const uint8_t *nonce, const uint8_t *header)
{
	struct multi_buffer *m = at;

	m->of->begin(&m->key, &m->message, nonce, header, GCM_HEADER_BYTES);
}

static void mb_crypt(void *at, uint8_t *to, const uint8_t *from, size_t len)
{
	struct multi_buffer *m = at;

	m->of->crypt[m->seals](&m->key, &m->message, to, from, len);
}

static void mb_seal(void *at, uint8_t *ret_tag)
{
	struct multi_buffer *m = at;

	m->of->finish[true](&m->key, &m->message, ret_tag, GCM_TAG_BYTES);
}

/* What the tag should have been is nobody's to know: it stays where the key is. */
static bool mb_open(void *at, const uint8_t *tag)
{
	struct multi_buffer *m = at;

	m->of->finish[false](&m->key, &m->message, m->tag, GCM_TAG_BYTES);
	return !CRYPTO_memcmp(m->tag, tag, GCM_TAG_BYTES);
}

static void mb_end(void *at) {}

static const struct gcm multi_buffer = {
	"multi-buffer", sizeof(struct multi_buffer), mb_key, mb_begin, mb_crypt, mb_seal, mb_open, mb_end,
};

static void look(void)
{
	IMB_MGR *m;

	/* Has the CPU these, and does the system keep their registers? Else all of the library's look is for nothing. */
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("vpclmulqdq"))
		return;
	m = alloc_mb_mgr(0);
	if (!m)
		return;
	init_mb_mgr_auto(m, NULL);
	fast = (m->features & NEEDED) == NEEDED;
	aes128 = (struct functions){
		m->gcm128_pre, m->gcm128_init, { m->gcm128_dec_update, m->gcm128_enc_update },
		{ m->gcm128_dec_finalize, m->gcm128_enc_finalize },
	};
	aes256 = (struct functions){
		m->gcm256_pre, m->gcm256_init, { m->gcm256_dec_update, m->gcm256_enc_update },
		{ m->gcm256_dec_finalize, m->gcm256_enc_finalize },
	};
	free_mb_mgr(m);
	if (fast)
		log_info("TLS: records are sealed and opened by Intel's multi-buffer library %s", imb_get_version_str());
}

const struct gcm *gcm_multi_buffer(void)
{
	pthread_once(&once, look);
	return fast ? &multi_buffer : NULL;
}
