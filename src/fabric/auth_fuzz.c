/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_fuzz.c: any messages, in any order, to either end of DH-HMAC-CHAP, and any text as a secret: nothing is read
 * that was not sent, nobody is let in, and what is given fits.
 *
 * Byte 0 chooses: the end, whether both prove themselves, whether a key of TLS may, or has to, come of it. Then
 * messages: two bytes of length, that many bytes; a length from f000h on fetches one instead, into a buffer of its
 * lower bits.
 */
#include "base/text.h"
#include "fabric/auth.h"

static const struct fabric_auth_key fixed = { .hash = 1, .len = 32, .secret = "a secret that nobody knows ....." };

static void *exactly(const uint8_t *at, uint32_t len)
{
	uint8_t *copy = malloc(len + !len);

	memcpy(copy, at, len);
	return copy;
}

static void secret(const uint8_t *data, size_t len)
{
	struct fabric_auth_key key;
	char text[FABRIC_AUTH_TEXT_MAX], *copy = exactly(data, (uint32_t)len);
	struct err e = { 0 };

	if (!fabric_auth_key_parse("k", copy, len, &key, &e)) {
		fabric_auth_key_print(&key, text);
		must(len >= strlen(text) && !memcmp(text, copy, 10));
	} else {
		must(e.text[0]);
	}
	free(copy);
}

static void to_ctrlr(struct fabric_auth_ctrlr *a, const uint8_t *at, uint32_t len, bool fetch)
{
	uint8_t out[FABRIC_AUTH_MESSAGE_MAX];
	void *copy;

	if (fetch) {
		must(fabric_auth_ctrlr_give(a, out, len) <= len);
		return;
	}
	copy = exactly(at, len);
	if (fabric_auth_ctrlr_take(a, copy, len))
		fabric_auth_ctrlr_work(a, &fixed, &fixed);
	free(copy);
	must(a->m.state != FABRIC_AUTH_CTRLR_COMPLETED && a->m.state != FABRIC_AUTH_CTRLR_SUCCESS1);
}

static void to_host(struct fabric_auth_host *a, const uint8_t *at, uint32_t len)
{
	uint8_t out[FABRIC_AUTH_MESSAGE_MAX];
	void *copy;

	while (fabric_auth_host_wants(a) == FABRIC_AUTH_SEND)
		must(fabric_auth_host_give(a, out) <= sizeof(out));
	if (fabric_auth_host_wants(a) != FABRIC_AUTH_RECEIVE)
		return;
	copy = exactly(at, len);
	if (fabric_auth_host_take(a, copy, len))
		fabric_auth_host_work(a, &fixed, &fixed);
	free(copy);
	must(!a->c.opts.mutual || fabric_auth_host_wants(a) != FABRIC_AUTH_GOOD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fabric_auth_opts o = { .hashes = FABRIC_AUTH_ALL_HASHES, .groups = 1 << NVMF_DH_NULL | 1 << NVMF_DH_2048,
		.host_nqn = "nqn.2014-08.org.nvmexpress:h", .subsystem_nqn = "nqn.2014-08.org.nvmexpress:s", .t_id = 1 };
	struct fabric_auth_ctrlr c;
	struct fabric_auth_host h;
	const uint8_t *end = data + size;

	if (size < 1)
		return 0;
	if ((data[0] & 3) == 3) {
		secret(data + 1, size - 1);
		return 0;
	}
	o.mutual = data[0] & 2;
	o.concat = data[0] & 4 ? NVMF_AUTH_NEW_TLS_PSK : NVMF_AUTH_NO_SC;
	o.only = data[0] & 8;
	fabric_auth_ctrlr_init(&c, &o);
	fabric_auth_host_init(&h, &o);
	for (const uint8_t *at = data + 1; end - at >= 2;) {
		uint32_t len = (uint32_t)at[0] | (uint32_t)at[1] << 8;
		bool fetch = len >= 0xf000;

		at += 2;
		len = fetch ? len & 0xfff : (uint32_t)min_u64(len, (uint64_t)(end - at));
		if (data[0] & 1)
			to_host(&h, at, fetch ? 0 : len);
		else
			to_ctrlr(&c, at, len, fetch);
		at += fetch ? 0 : len;
	}
	fabric_auth_ctrlr_fini(&c);
	fabric_auth_host_fini(&h);
	return 0;
}
