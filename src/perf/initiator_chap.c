/* SPDX-License-Identifier: BSD-3-Clause */
/* initiator_chap.c: who we are, where a target wants to know: CHAP as RFC 7143 12.1.3 has it, one way.
 *
 *     AuthMethod=CHAP -> CHAP_A -> CHAP_N, CHAP_R -> on with the parameters
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "perf/initiator_priv.h"

#define CHALLENGE_MAX 1024u

/* Strongest first. */
static const struct { const char *number, *name; } algorithms[] = {
	{ "8", "SHA3-256" }, { "7", "SHA256" }, { "6", "SHA1" }, { "5", "MD5" },
};

const char *ini_chap_secret(void)
{
	return getenv("GANTRY_CHAP_SECRET");
}

void ini_chap_take(struct ini *i, const char *key, const char *value)
{
	if (!strcmp(key, "AuthMethod"))
		i->chap.agreed = !strcmp(value, "CHAP");
	else if (!strcmp(key, "CHAP_A"))
		snprintf(i->chap.algorithm, sizeof(i->chap.algorithm), "%s", value);
	else if (!strcmp(key, "CHAP_I"))
		snprintf(i->chap.id, sizeof(i->chap.id), "%s", value);
	else if (!strcmp(key, "CHAP_C"))
		snprintf(i->chap.challenge, sizeof(i->chap.challenge), "%s", value);
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "0x...", as targets write it. 0: it is none. */
static uint32_t bytes_of(const char *text, uint8_t to[static CHALLENGE_MAX])
{
	size_t len = strlen(text);

	if (len < 4 || len % 2 || len / 2 - 1 > CHALLENGE_MAX || text[0] != '0' || (text[1] | 0x20) != 'x')
		return 0;
	for (size_t n = 1; n < len / 2; n++) {
		int high = nibble(text[2 * n]), low = nibble(text[2 * n + 1]);

		if (high < 0 || low < 0)
			return 0;
		to[n - 1] = (uint8_t)(high << 4 | low);
	}
	return (uint32_t)(len / 2 - 1);
}

/* hash(id, secret, challenge); returns its length, 0: it cannot be had. */
static uint32_t hash(const char *name, uint8_t id, const uint8_t *challenge, uint32_t len, uint8_t ret[EVP_MAX_MD_SIZE])
{
	const char *secret = ini_chap_secret();
	EVP_MD *md = EVP_MD_fetch(NULL, name, NULL);
	EVP_MD_CTX *ctx = md ? EVP_MD_CTX_new() : NULL;
	unsigned int got = 0;
	bool good = ctx && EVP_DigestInit_ex(ctx, md, NULL) && EVP_DigestUpdate(ctx, &id, 1) &&
	            EVP_DigestUpdate(ctx, secret, strlen(secret)) && EVP_DigestUpdate(ctx, challenge, len) &&
	            EVP_DigestFinal_ex(ctx, ret, &got);

	EVP_MD_CTX_free(ctx);
	EVP_MD_free(md);
	return good ? got : 0;
}

static const char *name_of(const char *number)
{
	for (size_t n = 0; n < ARRAY_SIZE(algorithms); n++)
		if (!strcmp(algorithms[n].number, number))
			return algorithms[n].name;
	return NULL;
}

bool ini_chap_answer(struct ini *i, struct text *to)
{
	uint8_t challenge[CHALLENGE_MAX], digest[EVP_MAX_MD_SIZE];
	uint32_t len = bytes_of(i->chap.challenge, challenge), digest_len;
	const char *name = name_of(i->chap.algorithm);
	uint64_t id;

	if (!name || !len || text_parse_u64(i->chap.id, &id, NULL) || id > 255) {
		ini_broke(i, "login: its CHAP challenge cannot be read (CHAP_A=%s CHAP_I=%s)", i->chap.algorithm, i->chap.id);
		return false;
	}
	digest_len = hash(name, (uint8_t)id, challenge, len, digest);
	if (!digest_len) {
		ini_broke(i, "login: it wants CHAP by %s, which OpenSSL does not have here", name);
		return false;
	}
	text_add(to, "CHAP_N=%s%cCHAP_R=0x", i->url.user, 0);
	for (uint32_t n = 0; n < digest_len; n++)
		text_add(to, "%02x", digest[n]);
	text_add(to, "%c", 0);
	return true;
}

void ini_chap_offer(struct text *to)
{
	text_add(to, "CHAP_A=");
	for (size_t n = 0; n < ARRAY_SIZE(algorithms); n++)
		text_add(to, "%s%s", n ? "," : "", algorithms[n].number);
	text_add(to, "%c", 0);
}
