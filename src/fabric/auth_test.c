/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_test.c: secrets, responses against vectors, and the two ends of DH-HMAC-CHAP against each other and against
 * messages that are wrong in one way each.
 *
 * The vectors were computed with Python's hmac, hashlib, zlib and base64; the tests over the wire (tests/proto) compute
 * theirs as they go, by an implementation of their own.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "fabric/auth.h"

#define HOST "nqn.2014-08.org.nvmexpress:uuid:6b8b4567-327b-43c6-8b8b-456766334873"
#define SUB "nqn.2016-06.io.gantry:vectors"

/* --- secrets ----------------------------------------------------------------------------------------------------- */

static const struct vector {
	uint8_t hash;
	bool grouped;
	const char *secret, *host, *controller;
} vectors[] = {
	{ 1, false, "DHHC-1:00:ICcuNTxDSlFYX2ZtdHuCiZCXnqWss7rByM/W3eTr8vmMpzdS:",
	  "262b97d82c2e73efb8773ed87e8229dfb7fb5fbf9b0215fbf62c0ebc4b5844f8",
	  "99474c367e9ccafc4ce58c6ffc0383ce0dfac05011c17f88fc3e2017bd45d844" },
	{ 1, true, "DHHC-1:01:ICcuNTxDSlFYX2ZtdHuCiZCXnqWss7rByM/W3eTr8vmMpzdS:",
	  "4c4d78047cd166b2b57134864c9d97bba737c2963233d3d5233000032c748fe9",
	  "58eaef552addf50ec187b89597ebc57ddb91cf6ad3edd67f77886ec9f1c02e08" },
	{ 2, false, "DHHC-1:02:"
	  "MDc+RUxTWmFob3Z9hIuSmaCnrrW8w8rR2N/m7fT7AgkQFx4lLDM6QUhPVl1ka3J51wkKvA==:",
	  "d59c090c7d09fe6c552bfe558f1e0ba734fe043a619ed6bc04074f1429908bc9b31c504138c3c9ca9bf0fdba29c5e186",
	  "5d80660ec4bb84904b519324872565d05dd488bce833c90799ed685f9bd64727c7cc51bbd9079defcb528c92a1ef1bb4" },
	{ 3, true, "DHHC-1:03:"
	  "QEdOVVxjanF4f4aNlJuiqbC3vsXM09rh6O/2/QQLEhkgJy41PENKUVhfZm10e4KJkJeepayzusHIz9bd5Ovy+eQYloY=:",
	  "e7b1de402876fcb54f5a3f352153b20d4e325f601c2de0af76a2fbf81d5ca820"
	  "e0835d35d215d0e2b153eaedfe1a9737d8cd92cf98a198fa53d72f052a025599",
	  "8758324de23e7a04af4e561421d3cd0f76f3bc1c463f910ef6ed05b342ccf653"
	  "ea048a00bc02d4ab6eda066836c9a3a9a8e3b16c54b0c24bec9df02891c0b769" },
	{ 3, true, "DHHC-1:00:"
	  "MDc+RUxTWmFob3Z9hIuSmaCnrrW8w8rR2N/m7fT7AgkQFx4lLDM6QUhPVl1ka3J51wkKvA==:",
	  "30a3ac33c1b33d285bb3b817a4a7d7eaacbcaec7baae459b0bed58fd8ad7e31f"
	  "bbc9aac88fef6bd96968f5ae664fa3d281fc4ff2833bb283ff419d6792f6a37a",
	  "7063ddf588b3719ebfdd5a4c0e80c49b7a2ed2d7d4463bf5dfdf1b8a97dc95c1"
	  "ad40147cfa9887d7d7f00675e95efdc7b840b6760f13ac44cb66f01a214192d5" },
	{ 2, false, "DHHC-1:01:"
	  "QEdOVVxjanF4f4aNlJuiqbC3vsXM09rh6O/2/QQLEhkgJy41PENKUVhfZm10e4KJkJeepayzusHIz9bd5Ovy+eQYloY=:",
	  "04546c8f9e239e0fb1188c32520d5f024ebb23e898e50c360fddaec8667664ea60c332c3c2786e735df6093a4acd9a0b",
	  "d626b00a2a69571dcddfa9319e3ffab25f77ac92a25801a16b738ba855952c25c404c5b4e48955ac0d0919d15f6e6da2" },
};

static void bytes_of(const char *hex, uint8_t *ret)
{
	for (; *hex; hex += 2)
		*ret++ = (uint8_t)(strchr("0123456789abcdef", hex[0]) - "0123456789abcdef") << 4 |
		         (uint8_t)(strchr("0123456789abcdef", hex[1]) - "0123456789abcdef");
}

static struct fabric_auth_key key_of(const char *text)
{
	struct fabric_auth_key key;

	assert_int_equal(fabric_auth_key_parse("k", text, strlen(text), &key, NULL), 0);
	return key;
}

/* Another host's or target's idea of a response would be refused. */
static void responses_are_those_of_the_vectors(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct fabric_auth_key key = key_of(v->secret);
		uint8_t challenge[64], session[64], got[64], want[64];
		struct fabric_auth_proof p = { .hash = v->hash, .session = v->grouped ? session : NULL, .challenge = challenge,
			.seqnum = 0x12345678, .t_id = 0xbeef, .host_nqn = HOST, .subsystem_nqn = SUB };

		for (uint32_t n = 0; n < 64; n++) {
			challenge[n] = (uint8_t)(3 * n + 1);
			session[n] = (uint8_t)(5 * n + 9);
		}
		assert_true(fabric_auth_respond(&p, &key, got));
		bytes_of(v->host, want);
		assert_memory_equal(got, want, fabric_auth_hash_len(v->hash));
		p.controller = true;
		assert_true(fabric_auth_respond(&p, &key, got));
		bytes_of(v->controller, want);
		assert_memory_equal(got, want, fabric_auth_hash_len(v->hash));
	}
}

/* What we make could not be read by others, nor by us. */
static void a_secret_survives_its_text(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		struct fabric_auth_key key = key_of(vectors[i].secret);
		char text[FABRIC_AUTH_TEXT_MAX], file[FABRIC_AUTH_TEXT_MAX + 2];

		fabric_auth_key_print(&key, text);
		assert_string_equal(text, vectors[i].secret);
		snprintf(file, sizeof(file), "%s\r\n", text);
		key = key_of(file);
		fabric_auth_key_print(&key, text);
		assert_string_equal(text, vectors[i].secret);
	}
	for (uint8_t hash = 0; hash <= NVMF_HASH_SHA512; hash++) {
		struct fabric_auth_key key, again;
		char text[FABRIC_AUTH_TEXT_MAX];

		fabric_auth_key_make(hash, &key);
		fabric_auth_key_print(&key, text);
		again = key_of(text);
		assert_int_equal(again.hash, hash);
		assert_int_equal(again.len, hash > 1 ? fabric_auth_hash_len(hash) : 32);
		assert_memory_equal(again.secret, key.secret, key.len);
	}
}

/* A person would be told "invalid", or have the secret in the log. */
static void a_wrong_secret_is_told_what_is_wrong(void **state)
{
	static const struct { const char *text, *says; } wrong[] = {
		{ "", "does not begin with DHHC-1:" },
		{ "NVMeTLSkey-1:01:AAAA:", "does not begin with DHHC-1:" },
		{ "DHHC-1:", "not followed by" },
		{ "DHHC-1:04:AAAA:", "not followed by" },
		{ "DHHC-1:1:AAAA:", "not followed by" },
		{ "DHHC-1:00:", "cut off" },
		{ "DHHC-1:00:ABCD", "cut off" },
		{ "DHHC-1:00:QUJDRA==:", "8 characters of base64" },
		{ "DHHC-1:00:ICcuNTxDSlFYX2ZtdHuCiZCXnqWss7rByM/W3eTr8vmM~zdS:", "is not one of base64's" },
		{ "DHHC-1:00:JCcuNTxDSlFYX2ZtdHuCiZCXnqWss7rByM/W3eTr8vmMpzdS:", "wrong checksum" },
		{ "DHHC-1:00:ICcuNTxDSlFYX2ZtdHuCiZCXnqWss7rByM/W3eTr8vmMpzc=:", "secret of 31 bytes" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct fabric_auth_key key;
		struct err e = { 0 };

		assert_int_equal(fabric_auth_key_parse("mine", wrong[i].text, strlen(wrong[i].text), &key, &e), -EINVAL);
		assert_non_null(strstr(e.text, wrong[i].says));
		assert_non_null(strstr(e.text, "'mine'"));
		assert_null(strstr(e.text, "JCcu"));
	}
}

/* --- conversations ----------------------------------------------------------------------------------------------- */

struct pair {
	struct fabric_auth_ctrlr c;
	struct fabric_auth_host h;
	struct fabric_auth_key keys[4]; /* host's and controller's: as the host has them, and as the controller does */
	bool no_ctrlr_key;             /* the controller has none of its own */
	/* Spoil the n-th message of the host's, or of the controller's. */
	int spoil_host, spoil_ctrlr;
	void (*spoil)(uint8_t *message, uint32_t *len);
};

static struct pair *pair_of(uint8_t hash, uint8_t group, bool mutual, uint8_t concat)
{
	struct fabric_auth_opts o = { .hashes = 1u << hash, .groups = 1u << group, .host_nqn = HOST, .subsystem_nqn = SUB,
		.mutual = mutual, .concat = concat, .only = concat != 0, .t_id = 77 };
	struct pair *p = base_zalloc(sizeof(*p));

	fabric_auth_host_init(&p->h, &o);
	fabric_auth_ctrlr_init(&p->c, &o);
	fabric_auth_key_make(hash, &p->keys[0]);
	fabric_auth_key_make(0, &p->keys[1]);
	p->keys[2] = p->keys[0];
	p->keys[3] = p->keys[1];
	p->spoil_host = p->spoil_ctrlr = -1;
	return p;
}

static struct pair *pair_make(uint8_t hash, uint8_t group, bool mutual) { return pair_of(hash, group, mutual, 0); }

static void pair_free(struct pair *p)
{
	fabric_auth_host_fini(&p->h);
	fabric_auth_ctrlr_fini(&p->c);
	free(p);
}

/* Messages lie in buffers of exactly their size, for the sanitizers. */
static void *exactly(const uint8_t *message, uint32_t len)
{
	uint8_t *copy = malloc(len + !len);

	memcpy(copy, message, len);
	return copy;
}

static void host_speaks(struct pair *p, int n)
{
	uint8_t message[FABRIC_AUTH_MESSAGE_MAX], *copy;
	uint32_t len = fabric_auth_host_give(&p->h, message);

	if (n == p->spoil_host)
		p->spoil(message, &len);
	copy = exactly(message, len);
	if (fabric_auth_ctrlr_take(&p->c, copy, len))
		fabric_auth_ctrlr_work(&p->c, &p->keys[2], p->no_ctrlr_key ? NULL : &p->keys[3]);
	free(copy);
}

static void host_fetches(struct pair *p, int n)
{
	uint8_t message[FABRIC_AUTH_MESSAGE_MAX], *copy;
	uint32_t len = fabric_auth_ctrlr_give(&p->c, message, sizeof(message));

	if (n == p->spoil_ctrlr)
		p->spoil(message, &len);
	copy = exactly(message, len);
	if (fabric_auth_host_take(&p->h, copy, len))
		fabric_auth_host_work(&p->h, &p->keys[0], &p->keys[1]);
	free(copy);
}

/* Until the host is done. */
static bool talk(struct pair *p)
{
	int said = 0, fetched = 0;

	for (;;) {
		switch (fabric_auth_host_wants(&p->h)) {
		case FABRIC_AUTH_SEND:
			host_speaks(p, said++);
			break;
		case FABRIC_AUTH_RECEIVE:
			host_fetches(p, fetched++);
			break;
		case FABRIC_AUTH_GOOD:
			return true;
		case FABRIC_AUTH_BAD:
			return false;
		}
		must(said + fetched < 16);
	}
}

/* The two ends would come back with different keys of TLS, or with one that anybody could make. */
static void a_proof_makes_the_same_key_at_both_ends(void **state)
{
	const uint8_t none[FABRIC_AUTH_HASH_MAX] = { 0 };

	for (uint8_t hash = NVMF_HASH_SHA256; hash <= NVMF_HASH_SHA384; hash++) {
		for (int mutual = 0; mutual < 2; mutual++) {
			struct pair *p = pair_of(hash, NVMF_DH_2048, mutual, NVMF_AUTH_NEW_TLS_PSK);

			assert_true(talk(p));
			assert_int_equal(p->c.sc_c, NVMF_AUTH_NEW_TLS_PSK);
			assert_memory_equal(p->c.psk, p->h.psk, fabric_auth_hash_len(hash));
			assert_memory_not_equal(p->h.psk, none, fabric_auth_hash_len(hash));
			fabric_auth_host_fini(&p->h);
			assert_memory_equal(p->h.psk, none, sizeof(none));
			pair_free(p);
		}
	}
}

/* Some hash or group would not work with anybody. */
static void every_hash_and_group_is_understood(void **state)
{
	for (uint8_t hash = NVMF_HASH_SHA256; hash <= NVMF_HASH_SHA512; hash++) {
		for (uint8_t group = NVMF_DH_NULL; group <= NVMF_DH_8192; group++) {
			struct pair *p;

			if (group > NVMF_DH_3072 && hash != NVMF_HASH_SHA256)
				continue; /* a tenth of a second each, and nothing new */
			p = pair_make(hash, group, group & 1);
			assert_true(talk(p));
			assert_int_equal(p->c.m.state, FABRIC_AUTH_CTRLR_COMPLETED);
			assert_int_equal(p->c.c.hash, hash);
			assert_int_equal(p->c.c.group, group);
			assert_int_equal(p->c.c.failure, 0);
			assert_int_equal(p->h.c.failure, 0);
			pair_free(p);
		}
	}
}

/* A weak hash or group would be used though both sides have a better one. */
static void the_strongest_in_common_is_chosen(void **state)
{
	struct pair *p = pair_make(NVMF_HASH_SHA256, NVMF_DH_NULL, false);

	p->h.c.opts.hashes = 1 << NVMF_HASH_SHA256 | 1 << NVMF_HASH_SHA384 | 1 << NVMF_HASH_SHA512;
	p->c.c.opts.hashes = 1 << NVMF_HASH_SHA256 | 1 << NVMF_HASH_SHA384;
	p->h.c.opts.groups = 1 << NVMF_DH_NULL | 1 << NVMF_DH_2048;
	p->c.c.opts.groups = FABRIC_AUTH_ALL_GROUPS;
	assert_true(talk(p));
	assert_int_equal(p->c.c.hash, NVMF_HASH_SHA384);
	assert_int_equal(p->c.c.group, NVMF_DH_2048);
	pair_free(p);
}

/* --- how it fails: the reason on the wire, and the sentence ------------------------------------------------------ */

static void expect_refusal(struct pair *p, uint8_t reason, const char *ctrlr_says)
{
	assert_false(talk(p));
	assert_int_equal(p->c.m.state, FABRIC_AUTH_CTRLR_ERROR);
	assert_int_equal(p->c.c.failure, reason);
	assert_int_equal(p->h.c.failure, reason);
	if (!strstr(p->c.c.why, ctrlr_says))
		fail_msg("'%s' instead of '%s'", p->c.c.why, ctrlr_says);
	pair_free(p);
}

/* Anybody could come in; or who may not would never learn why. */
static void a_wrong_key_is_refused_and_named(void **state)
{
	for (uint8_t group = NVMF_DH_NULL; group <= NVMF_DH_2048; group++) {
		struct pair *p = pair_make(NVMF_HASH_SHA256, group, false);

		p->keys[2].secret[31] ^= 1;
		expect_refusal(p, NVMF_AUTH_EXPL_FAILED, "its key differs from the one here");

		p = pair_make(NVMF_HASH_SHA256, group, false);
		p->keys[2].hash = 0;
		expect_refusal(p, NVMF_AUTH_EXPL_FAILED, "the host has the same secret as DHHC-1:01; here it is DHHC-1:00");

		p = pair_make(NVMF_HASH_SHA256, group, true);
		p->keys[0] = p->keys[3];
		expect_refusal(p, NVMF_AUTH_EXPL_FAILED, "its two keys are exchanged");

		p = pair_make(NVMF_HASH_SHA256, group, true);
		p->no_ctrlr_key = true;
		expect_refusal(p, NVMF_AUTH_EXPL_FAILED, "there is no controller key");

		p = pair_make(NVMF_HASH_SHA256, group, true);
		p->keys[3].secret[0] ^= 1;
		expect_refusal(p, NVMF_AUTH_EXPL_FAILED, "its controller key differs");

		p = pair_make(NVMF_HASH_SHA256, group, false);
		p->h.c.opts.host_nqn = "nqn.2014-08.org.nvmexpress:uuid:00000000-327b-43c6-8b8b-456766334873";
		expect_refusal(p, NVMF_AUTH_EXPL_FAILED, "its key differs from the one here");
	}
}

static void nothing_in_common_is_refused_and_named(void **state)
{
	struct pair *p = pair_make(NVMF_HASH_SHA256, NVMF_DH_NULL, false);

	p->c.c.opts.hashes = 1 << NVMF_HASH_SHA384 | 1 << NVMF_HASH_SHA512;
	expect_refusal(p, NVMF_AUTH_EXPL_HASH_UNUSABLE, "the host offers sha256; permitted here are sha384, sha512");

	p = pair_make(NVMF_HASH_SHA256, NVMF_DH_NULL, false);
	p->c.c.opts.groups = 1 << NVMF_DH_2048;
	expect_refusal(p, NVMF_AUTH_EXPL_DHGROUP_UNUSABLE, "the host offers null; permitted here are ffdhe2048");
}

static void cut_one(uint8_t *m, uint32_t *len) { --*len; }
static void add_one(uint8_t *m, uint32_t *len) { m[(*len)++] = 0; }
static void cut_to_5(uint8_t *m, uint32_t *len) { *len = 5; }
static void cut_to_15(uint8_t *m, uint32_t *len) { *len = 15; }
static void other_t_id(uint8_t *m, uint32_t *len) { m[4] ^= 1; }
static void other_type(uint8_t *m, uint32_t *len) { m[0] = 9; }
static void other_id(uint8_t *m, uint32_t *len) { m[1] = 0x42; }
static void secure_channel(uint8_t *m, uint32_t *len) { m[6] = 1; }
static void no_dhchap(uint8_t *m, uint32_t *len) { m[8] = 2; }
static void many_hashes(uint8_t *m, uint32_t *len) { m[8 + 2] = 31; }
static void no_hash(uint8_t *m, uint32_t *len) { m[8 + 2] = 0; }
static void no_group(uint8_t *m, uint32_t *len) { m[8 + 3] = 0; }
static void many_descriptors(uint8_t *m, uint32_t *len) { m[7] = 200; }
static void other_hl(uint8_t *m, uint32_t *len) { m[6] = 48; }
static void odd_dhvlen(uint8_t *m, uint32_t *len) { m[10]++; }
static void other_cvalid(uint8_t *m, uint32_t *len) { m[8] = 2; }
static void no_seqnum(uint8_t *m, uint32_t *len) { memset(m + 12, 0, 4); }
static void dh_of_one(uint8_t *m, uint32_t *len) { memset(m + *len - 256, 0, 256); m[*len - 1] = 1; }
static void dh_beyond(uint8_t *m, uint32_t *len) { memset(m + *len - 256, 0xff, 256); }
static void other_hash(uint8_t *m, uint32_t *len) { m[8] = 2; m[6] = 48; }
static void other_group(uint8_t *m, uint32_t *len) { m[9] = 5; }
static void rvalid_0(uint8_t *m, uint32_t *len) { m[8] = 0; }
static void other_rval(uint8_t *m, uint32_t *len) { m[20] ^= 4; }

/* A message that is wrong in one way would be believed, or refused for another reason than its own. */
static void wrong_messages_of_the_host(void **state)
{
#define R(x) NVMF_AUTH_EXPL_##x
	static const struct { int n; void (*spoil)(uint8_t *m, uint32_t *len); uint8_t reason; } rows[] = {
		{ 0, cut_one, R(INCORRECT_PAYLOAD) },         { 0, add_one, R(INCORRECT_PAYLOAD) },
		{ 0, cut_to_5, R(INCORRECT_PAYLOAD) },        { 0, other_type, R(INCORRECT_MESSAGE) },
		{ 0, other_id, R(INCORRECT_MESSAGE) },        { 0, secure_channel, R(SCC_MISMATCH) },
		{ 0, no_dhchap, R(PROTOCOL_UNUSABLE) },       { 0, many_hashes, R(INCORRECT_PAYLOAD) },
		{ 0, no_hash, R(HASH_UNUSABLE) },             { 0, no_group, R(DHGROUP_UNUSABLE) },
		{ 0, many_descriptors, R(INCORRECT_PAYLOAD) },
		{ 1, cut_one, R(INCORRECT_PAYLOAD) },         { 1, add_one, R(INCORRECT_PAYLOAD) },
		{ 1, cut_to_15, R(INCORRECT_PAYLOAD) },       { 1, other_t_id, R(INCORRECT_PAYLOAD) },
		{ 1, other_hl, R(INCORRECT_PAYLOAD) },        { 1, odd_dhvlen, R(INCORRECT_PAYLOAD) },
		{ 1, other_cvalid, R(INCORRECT_PAYLOAD) },    { 1, no_seqnum, R(INCORRECT_PAYLOAD) },
		{ 1, dh_of_one, R(INCORRECT_PAYLOAD) },       { 1, dh_beyond, R(INCORRECT_PAYLOAD) },
		{ 1, other_type, R(INCORRECT_MESSAGE) },
		{ 2, cut_one, R(INCORRECT_PAYLOAD) },         { 2, other_t_id, R(INCORRECT_PAYLOAD) },
		{ 2, other_id, R(INCORRECT_MESSAGE) },
	};
#undef R

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pair *p = pair_make(NVMF_HASH_SHA256, NVMF_DH_2048, true);
		uint8_t buf[64];

		p->spoil_host = rows[i].n;
		p->spoil = rows[i].spoil;
		assert_int_equal(talk(p), rows[i].n == 2); /* the host has heard success by then */
		assert_int_equal(p->c.c.failure, rows[i].reason);
		assert_true(p->c.c.why[0]);
		if (rows[i].n == 2)
			assert_int_equal(fabric_auth_ctrlr_give(&p->c, buf, sizeof(buf)), sizeof(struct nvmf_auth_failure));
		else
			assert_int_equal(p->h.c.failure, rows[i].reason);
		assert_int_equal(p->c.m.state, FABRIC_AUTH_CTRLR_ERROR);
		pair_free(p);
	}
}

static void wrong_messages_of_the_controller(void **state)
{
#define R(x) NVMF_AUTH_EXPL_##x
	static const struct { int n; void (*spoil)(uint8_t *m, uint32_t *len); uint8_t reason; } rows[] = {
		{ 0, cut_one, R(INCORRECT_PAYLOAD) },   { 0, cut_to_5, R(INCORRECT_PAYLOAD) },
		{ 0, cut_to_15, R(INCORRECT_PAYLOAD) }, { 0, other_t_id, R(INCORRECT_PAYLOAD) },
		{ 0, other_type, R(INCORRECT_MESSAGE) }, { 0, other_id, R(INCORRECT_MESSAGE) },
		{ 0, other_hl, R(INCORRECT_PAYLOAD) },  { 0, no_seqnum, R(INCORRECT_PAYLOAD) },
		{ 0, other_hash, R(HASH_UNUSABLE) },    { 0, other_group, R(DHGROUP_UNUSABLE) },
		{ 0, dh_of_one, R(INCORRECT_PAYLOAD) }, { 0, dh_beyond, R(INCORRECT_PAYLOAD) },
		{ 1, cut_one, R(INCORRECT_PAYLOAD) },   { 1, cut_to_15, R(INCORRECT_PAYLOAD) },
		{ 1, other_t_id, R(INCORRECT_PAYLOAD) }, { 1, rvalid_0, R(INCORRECT_PAYLOAD) },
		{ 1, other_hl, R(INCORRECT_PAYLOAD) },  { 1, other_rval, R(FAILED) },
		{ 1, other_id, R(INCORRECT_MESSAGE) },
	};
#undef R

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pair *p = pair_make(NVMF_HASH_SHA256, NVMF_DH_2048, true);

		p->spoil_ctrlr = rows[i].n;
		p->spoil = rows[i].spoil;
		assert_false(talk(p));
		assert_int_equal(p->h.c.failure, rows[i].reason);
		assert_true(p->h.c.why[0]);
		assert_int_equal(p->c.m.state, FABRIC_AUTH_CTRLR_ERROR);
		pair_free(p);
	}
}

/* A host that fetches before it has said anything, too little, or once too often would leave us in a state without an
 * answer. */
static void fetching_out_of_turn(void **state)
{
	struct pair *p = pair_make(NVMF_HASH_SHA256, NVMF_DH_NULL, false);
	struct nvmf_auth_failure f;

	assert_int_equal(fabric_auth_ctrlr_give(&p->c, &f, 7), 0);
	assert_int_equal(p->c.m.state, FABRIC_AUTH_CTRLR_NEGOTIATE);
	assert_int_equal(fabric_auth_ctrlr_give(&p->c, &f, sizeof(f)), sizeof(f));
	assert_int_equal(f.h.auth_id, NVMF_AUTH_FAILURE1);
	assert_int_equal(f.rc, NVMF_AUTH_FAILED);
	assert_int_equal(f.rce, NVMF_AUTH_EXPL_INCORRECT_MESSAGE);
	pair_free(p);

	p = pair_make(NVMF_HASH_SHA256, NVMF_DH_NULL, false);
	host_speaks(p, 0);
	assert_int_equal(fabric_auth_ctrlr_give(&p->c, &f, sizeof(f)), sizeof(f));
	assert_int_equal(f.rce, NVMF_AUTH_EXPL_INCORRECT_PAYLOAD);
	pair_free(p);

	p = pair_make(NVMF_HASH_SHA256, NVMF_DH_NULL, false);
	assert_true(talk(p));
	assert_int_equal(fabric_auth_ctrlr_give(&p->c, &f, sizeof(f)), sizeof(f));
	assert_int_equal(f.rce, NVMF_AUTH_EXPL_INCORRECT_MESSAGE);
	assert_int_equal(p->c.m.state, FABRIC_AUTH_CTRLR_COMPLETED);
	pair_free(p);
}

/* What was overheard would open the door again. */
static void a_response_is_good_once(void **state)
{
	struct pair *p = pair_make(NVMF_HASH_SHA256, NVMF_DH_NULL, false);
	struct pair *q = pair_make(NVMF_HASH_SHA256, NVMF_DH_NULL, false);
	uint8_t message[FABRIC_AUTH_MESSAGE_MAX];
	uint32_t len;

	q->keys[2] = p->keys[2];
	host_speaks(p, 0);
	host_fetches(p, 0);
	host_speaks(q, 0);
	fabric_auth_ctrlr_give(&q->c, message, sizeof(message));
	len = fabric_auth_host_give(&p->h, message);
	assert_true(fabric_auth_ctrlr_take(&q->c, message, len));
	fabric_auth_ctrlr_work(&q->c, &q->keys[2], NULL);
	assert_int_equal(q->c.m.state, FABRIC_AUTH_CTRLR_FAILURE1);
	pair_free(p);
	pair_free(q);
}

/* A refusal whose reason is 0 would look like none. */
static void a_refusal_without_a_reason_is_one(void **state)
{
	struct pair *p = pair_make(NVMF_HASH_SHA256, NVMF_DH_NULL, false);
	struct nvmf_auth_failure f = { .h = { .auth_id = NVMF_AUTH_FAILURE2, .t_id = le16_of(77) }, .rc = 1 };
	uint8_t message[FABRIC_AUTH_MESSAGE_MAX];

	host_speaks(p, 0);
	fabric_auth_ctrlr_give(&p->c, message, sizeof(message));
	assert_false(fabric_auth_ctrlr_take(&p->c, &f, sizeof(f)));
	assert_int_equal(p->c.m.state, FABRIC_AUTH_CTRLR_ERROR);
	assert_int_equal(p->c.c.failure, NVMF_AUTH_EXPL_FAILED);
	f.h.auth_id = NVMF_AUTH_FAILURE1;
	assert_false(fabric_auth_host_take(&p->h, &f, sizeof(f)));
	assert_int_equal(fabric_auth_host_wants(&p->h), FABRIC_AUTH_BAD);
	assert_int_equal(p->h.c.failure, NVMF_AUTH_EXPL_FAILED);
	assert_true(p->h.c.why[0]);
	pair_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(responses_are_those_of_the_vectors),
		cmocka_unit_test(a_secret_survives_its_text),
		cmocka_unit_test(a_wrong_secret_is_told_what_is_wrong),
		cmocka_unit_test(every_hash_and_group_is_understood),
		cmocka_unit_test(a_proof_makes_the_same_key_at_both_ends),
		cmocka_unit_test(the_strongest_in_common_is_chosen),
		cmocka_unit_test(a_wrong_key_is_refused_and_named),
		cmocka_unit_test(nothing_in_common_is_refused_and_named),
		cmocka_unit_test(wrong_messages_of_the_host),
		cmocka_unit_test(wrong_messages_of_the_controller),
		cmocka_unit_test(fetching_out_of_turn),
		cmocka_unit_test(a_response_is_good_once),
		cmocka_unit_test(a_refusal_without_a_reason_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
