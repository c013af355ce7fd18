/* SPDX-License-Identifier: BSD-3-Clause */
/* chap.c: CHAP by OpenSSL's digests. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "core/core.h"
#include "iscsi/chap.h"

enum chap_state { CHAP_NO, CHAP_METHOD_AGREED, CHAP_CHALLENGED, CHAP_OVER };

/* Strongest first. */
static const struct algorithm {
	uint8_t number;
	uint8_t len;
	const char *name;
} algorithms[] = {
	{ ISCSI_CHAP_SHA3_256, 32, "SHA3-256" },
	{ ISCSI_CHAP_SHA256, 32, "SHA256" },
	{ ISCSI_CHAP_SHA1, 20, "SHA1" },
	{ ISCSI_CHAP_MD5, 16, "MD5" },
};

static uint16_t challenge(struct iscsi_login *l, const struct iscsi_chap_said *said, struct iscsi_text_out *out);
static uint16_t verify(struct iscsi_login *l, const struct iscsi_chap_said *said, struct iscsi_text_out *out);
static bool is_right(struct iscsi_login *l, const struct iscsi_login_secret *s, const char *response);
static uint16_t answer(struct iscsi_login *l, const struct iscsi_login_secret *s, const struct iscsi_chap_said *said,
                       struct iscsi_text_out *out);

static uint16_t fail(struct iscsi_login *l, uint16_t status, const char *why)
{
	snprintf(l->why, sizeof(l->why), "%s", why);
	return status;
}

/* --- algorithms ------------------------------------------------------------------------------------------------ */

static const struct algorithm *algorithm_of(uint8_t number)
{
	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++)
		if (algorithms[i].number == number)
			return &algorithms[i];
	return NULL;
}

uint32_t iscsi_chap_available(void)
{
	uint32_t set = 0;

	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
		EVP_MD *md = EVP_MD_fetch(NULL, algorithms[i].name, NULL);

		if (md)
			set |= 1u << algorithms[i].number;
		EVP_MD_free(md);
	}
	return set;
}

const char *iscsi_chap_name(uint8_t algorithm)
{
	const struct algorithm *a = algorithm_of(algorithm);

	return a ? a->name : "unknown";
}

uint32_t iscsi_chap_response(uint8_t algorithm, uint8_t id, const uint8_t *secret, uint32_t secret_len,
                             const uint8_t *bytes, uint32_t len, uint8_t ret[static ISCSI_CHAP_DIGEST_MAX])
{
	const struct algorithm *a = algorithm_of(algorithm);
	EVP_MD *md = a ? EVP_MD_fetch(NULL, a->name, NULL) : NULL;
	EVP_MD_CTX *ctx = md ? EVP_MD_CTX_new() : NULL;
	bool good = ctx && EVP_DigestInit_ex(ctx, md, NULL) && EVP_DigestUpdate(ctx, &id, 1) &&
	            EVP_DigestUpdate(ctx, secret, secret_len) && EVP_DigestUpdate(ctx, bytes, len) &&
	            EVP_DigestFinal_ex(ctx, ret, NULL);

	EVP_MD_CTX_free(ctx);
	EVP_MD_free(md);
	return good ? a->len : 0;
}

/* --- the conversation ------------------------------------------------------------------------------------------ */

void iscsi_chap_begin(struct iscsi_chap *chap)
{
	chap->state = CHAP_METHOD_AGREED;
}

uint16_t iscsi_chap_step(struct iscsi_login *l, const struct iscsi_chap_said *said, struct iscsi_text_out *out)
{
	if (!said->a && !said->i && !said->c && !said->n && !said->r)
		return ISCSI_LOGIN_SUCCESS;
	switch ((enum chap_state)l->chap.state) {
	case CHAP_METHOD_AGREED:
		if (!said->a || said->i || said->c || said->n || said->r)
			return fail(l, ISCSI_LOGIN_INITIATOR_ERROR, "CHAP begins with CHAP_A alone");
		return challenge(l, said, out);
	case CHAP_CHALLENGED:
		if (said->a || !said->n || !said->r)
			return fail(l, ISCSI_LOGIN_INITIATOR_ERROR, "a CHAP challenge is answered by CHAP_N and CHAP_R");
		if (!said->i != !said->c)
			return fail(l, ISCSI_LOGIN_INITIATOR_ERROR, "CHAP_I and CHAP_C go together");
		return verify(l, said, out);
	case CHAP_NO:
	case CHAP_OVER:
		break;
	}
	return fail(l, ISCSI_LOGIN_INITIATOR_ERROR, "keys of CHAP when CHAP is not under way");
}

static uint16_t challenge(struct iscsi_login *l, const struct iscsi_chap_said *said, struct iscsi_text_out *out)
{
	struct iscsi_chap *chap = &l->chap;
	const struct algorithm *found = NULL;
	char number[4];

	for (size_t i = 0; i < ARRAY_SIZE(algorithms) && !found; i++) {
		snprintf(number, sizeof(number), "%u", algorithms[i].number);
		if ((l->chap_algorithms & 1u << algorithms[i].number) && iscsi_value_list_has(said->a, number))
			found = &algorithms[i];
	}
	if (!found)
		return fail(l, ISCSI_LOGIN_AUTH_FAILED, "CHAP_A offers no algorithm that is permitted here");
	chap->state = CHAP_CHALLENGED;
	chap->algorithm = found->number;
	chap->challenge_len = found->len;
	core_random(&chap->id, sizeof(chap->id));
	core_random(chap->challenge, chap->challenge_len);
	iscsi_text_put_number(out, "CHAP_A", chap->algorithm);
	iscsi_text_put_number(out, "CHAP_I", chap->id);
	iscsi_text_put_binary(out, "CHAP_C", chap->challenge, chap->challenge_len);
	return ISCSI_LOGIN_SUCCESS;
}

/* A name that nobody has takes the same steps as a wrong secret, and the initiator hears the same of both. */
static uint16_t verify(struct iscsi_login *l, const struct iscsi_chap_said *said, struct iscsi_text_out *out)
{
	struct iscsi_login_secret s = { 0 };
	uint16_t status = ISCSI_LOGIN_SUCCESS;
	bool known, right;

	l->chap.state = CHAP_OVER;
	if (!*said->n || strlen(said->n) > ISCSI_CHAP_NAME_MAX)
		return fail(l, ISCSI_LOGIN_AUTH_FAILED, "CHAP_N is empty or too long");
	known = l->ops->secret(l->arg, l, said->n, &s);
	right = is_right(l, &s, said->r);
	if (!known)
		status = fail(l, ISCSI_LOGIN_AUTH_FAILED, "CHAP_N is no user of this target");
	else if (s.len == 0 || !right)
		status = fail(l, ISCSI_LOGIN_AUTH_FAILED, "CHAP_R is wrong");
	else if (said->c)
		status = answer(l, &s, said, out);
	else if (l->auth == ISCSI_AUTH_MUTUAL)
		status = fail(l, ISCSI_LOGIN_AUTH_FAILED, "mutual CHAP is required, and the initiator asks for no proof");
	OPENSSL_cleanse(&s, sizeof(s));
	OPENSSL_cleanse(l->chap.challenge, sizeof(l->chap.challenge));
	if (status == ISCSI_LOGIN_SUCCESS) {
		l->chap.authenticated = true;
		memcpy(l->chap.user, said->n, strlen(said->n) + 1);
	}
	return status;
}

static bool is_right(struct iscsi_login *l, const struct iscsi_login_secret *s, const char *response)
{
	uint8_t theirs[ISCSI_CHAP_DIGEST_MAX] = { 0 }, right[ISCSI_CHAP_DIGEST_MAX];
	uint32_t their_len = 0, len;
	bool same;

	len = iscsi_chap_response(l->chap.algorithm, l->chap.id, s->secret, s->len, l->chap.challenge,
	                          l->chap.challenge_len, right);
	same = iscsi_value_binary(response, theirs, sizeof(theirs), &their_len) && len > 0 && their_len == len &&
	       !CRYPTO_memcmp(theirs, right, len);
	OPENSSL_cleanse(right, sizeof(right));
	return same;
}

/* RFC 7143 12.1.3, 9.2.1: our own challenge sent back to us, or one secret for both directions, would have us do the
 * initiator's work for it. */
static uint16_t answer(struct iscsi_login *l, const struct iscsi_login_secret *s, const struct iscsi_chap_said *said,
                       struct iscsi_text_out *out)
{
	uint8_t bytes[ISCSI_BINARY_MAX], response[ISCSI_CHAP_DIGEST_MAX];
	uint32_t len, response_len;
	uint64_t id;

	if (!iscsi_value_number(said->i, &id) || id > UINT8_MAX)
		return fail(l, ISCSI_LOGIN_INITIATOR_ERROR, "CHAP_I is not a number below 256");
	if (!iscsi_value_binary(said->c, bytes, sizeof(bytes), &len) || len == 0)
		return fail(l, ISCSI_LOGIN_INITIATOR_ERROR, "CHAP_C is no binary value of 1 to 1024 bytes");
	if (l->auth == ISCSI_AUTH_NONE || s->mutual_len == 0)
		return fail(l, ISCSI_LOGIN_AUTH_FAILED, "mutual CHAP is asked for, and this user has no secret for it");
	if (len == l->chap.challenge_len && !CRYPTO_memcmp(bytes, l->chap.challenge, len))
		return fail(l, ISCSI_LOGIN_AUTH_FAILED, "CHAP_C is our own challenge, sent back");
	if (s->len == s->mutual_len && !CRYPTO_memcmp(s->secret, s->mutual_secret, s->len))
		return fail(l, ISCSI_LOGIN_AUTH_FAILED, "both directions have the same CHAP secret: RFC 7143 forbids it");
	response_len = iscsi_chap_response(l->chap.algorithm, (uint8_t)id, s->mutual_secret, s->mutual_len, bytes, len,
	                                   response);
	if (response_len == 0)
		return fail(l, ISCSI_LOGIN_TARGET_ERROR, "OpenSSL failed to hash");
	iscsi_text_put(out, "CHAP_N", "%s", s->mutual_name);
	iscsi_text_put_binary(out, "CHAP_R", response, response_len);
	OPENSSL_cleanse(response, sizeof(response));
	return ISCSI_LOGIN_SUCCESS;
}
