/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_common.c: what the two ends of DH-HMAC-CHAP do alike. */
#include "fabric/auth_common.h"

#include <openssl/crypto.h>
#include <stdio.h>

#include "core/core.h"

void fabric_auth_blame(struct fabric_auth_common *c, uint8_t explanation, const char *fmt, ...)
{
	va_list ap;

	if (c->failure)
		return;
	c->failure = explanation ? explanation : NVMF_AUTH_EXPL_FAILED; /* the peer's may be anything */
	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
}

void fabric_auth_header(struct nvmf_auth_header *h, uint8_t type, uint8_t id, uint16_t t_id)
{
	*h = (struct nvmf_auth_header){ .auth_type = type, .auth_id = id, .t_id = le16_of(t_id) };
}

uint32_t fabric_auth_put_failure(const struct fabric_auth_common *c, uint8_t id, void *message)
{
	struct nvmf_auth_failure *f = message;

	fabric_auth_header(&f->h, NVMF_AUTH_COMMON, id, c->t_id);
	f->rc = NVMF_AUTH_FAILED;
	f->rce = c->failure;
	return sizeof(*f);
}

uint32_t fabric_auth_seqnum(void)
{
	uint32_t n = (uint32_t)core_random_u64();

	return n ? n : 1;
}

void fabric_auth_wipe(struct fabric_auth_common *c)
{
	fabric_auth_dh_free(c->dh);
	c->dh = NULL;
	OPENSSL_cleanse(c->challenge, sizeof(c->challenge));
	OPENSSL_cleanse(c->response, sizeof(c->response));
	OPENSSL_cleanse(c->peer_response, sizeof(c->peer_response));
}

void fabric_auth_list(struct text *t, uint32_t set, const char *(*name)(uint8_t id))
{
	const char *between = "";

	for (uint8_t id = 0; id < 32; id++) {
		if (!(set & 1u << id))
			continue;
		if (name(id))
			text_add(t, "%s%s", between, name(id));
		else
			text_add(t, "%sid %u", between, id);
		between = ", ";
	}
	if (!*between)
		text_add(t, "nothing");
}

const char *fabric_auth_failure_text(uint8_t explanation)
{
	static const char *const texts[] = {
		[NVMF_AUTH_EXPL_FAILED] = "authentication failed",
		[NVMF_AUTH_EXPL_PROTOCOL_UNUSABLE] = "authentication protocol not usable",
		[NVMF_AUTH_EXPL_SCC_MISMATCH] = "secure channel concatenation mismatch",
		[NVMF_AUTH_EXPL_HASH_UNUSABLE] = "hash function not usable",
		[NVMF_AUTH_EXPL_DHGROUP_UNUSABLE] = "Diffie-Hellman group not usable",
		[NVMF_AUTH_EXPL_INCORRECT_PAYLOAD] = "incorrect payload",
		[NVMF_AUTH_EXPL_INCORRECT_MESSAGE] = "incorrect protocol message",
	};

	return explanation < ARRAY_SIZE(texts) && texts[explanation] ? texts[explanation] : "unknown reason";
}
