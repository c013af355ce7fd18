/* SPDX-License-Identifier: BSD-3-Clause */
/* psk_test.c: keys of TLS: their text, what is derived from them, and the identities that name them.
 *
 * The configured keys and the identities of version 1 that are transformed, in both ways of deriving, are the vectors
 * of libnvme's own tests (test/psk.c); TLS keys and other identities were computed with Python's hmac, which gave
 * libnvme's for those.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "fabric/psk.h"

#define HOST "nqn.psk-test-host"
#define SUB "nqn.psk-test-subsys"
#define KEY32 "VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"
#define KEY48 "VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwP/w0S89ELi3W2LxIcLXVsDn8kXZQ==:"

static const struct vector {
	const char *text;
	uint8_t version;
	bool generated, compat;
	const char *identity, *key;
} vectors[] = {
	{ "NVMeTLSkey-1:00:" KEY32, 0, false, false, "NVMe0R01 " HOST " " SUB,
	  "ec85300ba827726bd3bc4fc07f3a34aec5fe7c8ccac05fefc2f021c74e0df9ef" },
	{ "NVMeTLSkey-1:00:" KEY32, 1, true, false,
	  "NVMe1G01 " HOST " " SUB " quJVUJjp/BImWR0UQay/MjSfEgyAr6TyBOWybS/B404=",
	  "a45d08ee4639c7570729bb3e57e905e466a49a15ece5401af906830c4d3bdb0b" },
	{ "NVMeTLSkey-1:01:" KEY32, 0, false, false, "NVMe0R01 " HOST " " SUB,
	  "05c6503551ad136e6ee32e6eeb3f6d500b69701d84ec71e328f65c7f51566f68" },
	{ "NVMeTLSkey-1:01:" KEY32, 1, false, false,
	  "NVMe1R01 " HOST " " SUB " iSbjiStwJ/1TrTvDlt2fjFmzvsytOJelidNnA+X5lEU=",
	  "8fc3c0badfd4c0c66fa3ca33aadd0314f85536cc9bc47338b60f3e6e563786ca" },
	{ "NVMeTLSkey-1:01:" KEY32, 1, false, true,
	  "NVMe1R01 " HOST " " SUB " 66GuqV08TsAGII39teWUfwQwizjv06Jy8jOcX3NAAzM=",
	  "b9f5ab2a41ba6e72a23a12066302a2f775fa6c0942c8e0b18ca8ac07edf305e2" },
	{ "NVMeTLSkey-1:01:" KEY32, 0, false, true, "NVMe0R01 " HOST " " SUB,
	  "09fb1983ac6d6d0353e7cae4f23daddd651c367fa347c59d9cf6936f5a83eafb" },
	{ "NVMeTLSkey-1:00:" KEY48, 0, false, false, "NVMe0R02 " HOST " " SUB,
	  "b5dd464067a9378ba2226d71f005d7ac90ed8696e4b2142084384365597201d33ba26f8aeeb529574d4267bd294a828e" },
	{ "NVMeTLSkey-1:02:" KEY48, 0, false, false, "NVMe0R02 " HOST " " SUB,
	  "f42ba63824cdfe421914c582921f85b5b5b7e2d4df084caeedc9be20b212e8bb0fe8a23e9d59a1c8fc6449da4970a78d" },
	{ "NVMeTLSkey-1:02:" KEY48, 1, false, false, "NVMe1R02 " HOST " " SUB
	  " QhW2+Rp6RzHlNtCslyRxMnwJ11tKKhz8JCAQpQ+XUD8f9td1VeH5h53yz2wKJG1a",
	  "a2b2f943f479fc682555cec89857c80ed004ce92f32a973d5764155bb7e36b17a85368a0666d250afac9282dda2e62ca" },
	{ "NVMeTLSkey-1:02:" KEY48, 1, false, true, "NVMe1R02 " HOST " " SUB
	  " RsKmYJ3nAn1ApjjMloJFbAkLPivONDAX/xW327YBUsn2eGShXSjCZvBaOxscLqmz",
	  "fcefe2e2a2e682b1447dcabf1ec268f78f08c63cd075753abcc8bda2c5c34d48d3014aa8d76ad80107e4f5c9f27e2149" },
};

static struct fabric_psk key_of(const char *text)
{
	struct fabric_psk key;
	struct err e = { 0 };

	assert_int_equal(fabric_psk_parse("k", text, strlen(text), &key, &e), 0);
	return key;
}

/* Nobody else's key would fit ours. */
static void keys_and_identities_are_those_of_the_vectors(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct fabric_psk key = key_of(v->text);
		struct fabric_psk_form form = { .version = v->version, .generated = v->generated, .compat = v->compat,
			.host_nqn = HOST, .subsystem_nqn = SUB };
		struct tls_offer offer;
		char hex[2 * TLS_PSK_MAX + 1];

		assert_true(fabric_psk_configured_offer(&key, &form, &offer));
		assert_string_equal(offer.identity, v->identity);
		assert_int_equal(offer.psk.hash, key.len == 48 ? TLS_SHA384 : TLS_SHA256);
		assert_int_equal(offer.psk.len, key.len);
		for (uint32_t n = 0; n < offer.psk.len; n++)
			snprintf(hex + 2 * n, 3, "%02x", offer.psk.key[n]);
		assert_string_equal(hex, v->key);
	}
}

/* What we make could not be read by others, nor by us. */
static void a_key_survives_its_text(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		struct fabric_psk key = key_of(vectors[i].text);
		char text[FABRIC_PSK_TEXT_MAX], file[FABRIC_PSK_TEXT_MAX + 2];

		fabric_psk_print(&key, text);
		assert_string_equal(text, vectors[i].text);
		snprintf(file, sizeof(file), "%s\r\n", text);
		key = key_of(file);
		fabric_psk_print(&key, text);
		assert_string_equal(text, vectors[i].text);
	}
	for (uint8_t cipher = TLS_SHA256; cipher <= TLS_SHA384; cipher++)
		for (uint8_t plain = 0; plain < 2; plain++) {
			struct fabric_psk key, again;
			char text[FABRIC_PSK_TEXT_MAX];

			fabric_psk_make(plain ? 0 : cipher, cipher, &key);
			fabric_psk_print(&key, text);
			again = key_of(text);
			assert_int_equal(fabric_psk_cipher(&again), cipher);
			assert_memory_equal(again.secret, key.secret, key.len);
		}
}

/* A person would be told "invalid", or have the key in the log. */
static void a_wrong_key_is_told_what_is_wrong(void **state)
{
	static const struct { const char *text, *says; } wrong[] = {
		{ "", "does not begin with NVMeTLSkey-1:" },
		{ "DHHC-1:00:ICcuNTxDSlFYX2ZtdHuCiZCXnqWss7rByM/W3eTr8vmMpzdS:", "does not begin with NVMeTLSkey-1:" },
		{ "NVMeTLSkey-2:01:" KEY32, "does not begin with NVMeTLSkey-1:" },
		{ "NVMeTLSkey-1:", "not followed by" },
		{ "NVMeTLSkey-1:03:" KEY32, "not followed by" },
		{ "NVMeTLSkey-1:1:" KEY32, "not followed by" },
		{ "NVMeTLSkey-1:01:", "cut off" },
		{ "NVMeTLSkey-1:01:VRLb", "cut off" },
		{ "NVMeTLSkey-1:01:QUJDRA==:", "8 characters of base64" },
		{ "NVMeTLSkey-1:00:QEdOVVxjanF4f4aNlJuiqbC3vsXM09rh6O/2/QQLEhkgJy41PENKUVhfZm10e4KJkJeepayzusHIz9bd5Ovy"
		  "+eQYloY=:", "92 characters of base64" },
		{ "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf~DRLz0QuLdbYvEhwtdWwNf9LrZ:", "is not one of base64's" },
		{ "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrY:", "wrong checksum" },
		{ "NVMeTLSkey-1:02:" KEY32, "says 02 and has 32 bytes" },
		{ "NVMeTLSkey-1:01:" KEY48, "says 01 and has 48 bytes" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct fabric_psk key;
		struct err e = { 0 };

		assert_int_equal(fabric_psk_parse("mine", wrong[i].text, strlen(wrong[i].text), &key, &e), -EINVAL);
		assert_non_null(strstr(e.text, "'mine'"));
		assert_non_null(strstr(e.text, wrong[i].says));
		assert_null(strstr(e.text, "VRLb"));
	}
}

/* A host would be looked for under a wrong name, or a bad identity be taken for a good one. */
static void an_identity_says_who_and_how(void **state)
{
	static const char *const wrong[] = { "", "NVM", "NVMe", "NVMe0", "NVMe0R", "NVMe0R01", "NVMe0R01 ", "nvme0R01 a b",
		"NVMe2R01 a b", "NVMe0X01 a b", "NVMe0R00 a b", "NVMe0R03 a b", "NVMe0R11 a b", "NVMe0R01a b", "NVMe0R01 a",
		"NVMe0R01 a ", "NVMe0R01  b", "NVMe0R01 a  b", "NVMe0R01 a b ", "NVMe0R01 a b c", "NVMe1R01 a b",
		"NVMe1R01 a b ", "NVMe1R01 a b c", "NVMe1R02 a b quJVUJjp/BImWR0UQay/MjSfEgyAr6TyBOWybS/B404=" };
	struct fabric_psk_identity id;
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		assert_int_equal(fabric_psk_identity_parse(vectors[i].identity, &id, NULL), 0);
		assert_string_equal(id.host_nqn, HOST);
		assert_string_equal(id.subsystem_nqn, SUB);
		assert_int_equal(id.version, vectors[i].version);
		assert_int_equal(id.generated, vectors[i].generated);
		assert_int_equal(id.hash, strstr(vectors[i].text, KEY48) ? TLS_SHA384 : TLS_SHA256);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		e = (struct err){ 0 };
		assert_int_equal(fabric_psk_identity_parse(wrong[i], &id, &e), -EINVAL);
		assert_true(e.text[0]);
	}
}

/* The longest names there may be would be cut, or written beside the field. */
static void names_have_limits(void **state)
{
	struct fabric_psk key = key_of(vectors[7].text);
	char host[NVME_NQN_LEN_MAX + 2], sub[NVME_NQN_LEN_MAX + 2];
	struct fabric_psk_form form = { .version = 1, .host_nqn = host, .subsystem_nqn = sub };
	struct fabric_psk_identity id;
	struct tls_offer offer;

	memset(host, 'h', sizeof(host));
	memset(sub, 's', sizeof(sub));
	host[NVME_NQN_LEN_MAX] = sub[NVME_NQN_LEN_MAX] = 0;
	assert_true(fabric_psk_configured_offer(&key, &form, &offer));
	assert_int_equal(strlen(offer.identity), TLS_IDENTITY_MAX);
	assert_int_equal(fabric_psk_identity_parse(offer.identity, &id, NULL), 0);
	assert_string_equal(id.subsystem_nqn, sub);
	form.version = 0;
	assert_false(fabric_psk_configured_offer(&key, &form, &offer));
	sub[245 - NVME_NQN_LEN_MAX] = 0;
	assert_true(fabric_psk_configured_offer(&key, &form, &offer));
	sub[245 - NVME_NQN_LEN_MAX] = 's';
	sub[246 - NVME_NQN_LEN_MAX] = 0;
	assert_false(fabric_psk_configured_offer(&key, &form, &offer));
	form.version = 1;
	host[NVME_NQN_LEN_MAX] = 'h';
	host[NVME_NQN_LEN_MAX + 1] = 0;
	assert_false(fabric_psk_configured_offer(&key, &form, &offer));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_and_identities_are_those_of_the_vectors),
		cmocka_unit_test(a_key_survives_its_text),
		cmocka_unit_test(a_wrong_key_is_told_what_is_wrong),
		cmocka_unit_test(an_identity_says_who_and_how),
		cmocka_unit_test(names_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
