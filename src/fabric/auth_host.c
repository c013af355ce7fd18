/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_host.c: the host's end of DH-HMAC-CHAP. */
#include <openssl/crypto.h>

#include "core/core.h"
#include "fabric/auth_common.h"

static const struct machine_state states[] = { FABRIC_AUTH_HOST_STATES(MACHINE_ROW) };

static bool take_challenge(struct fabric_auth_host *a, const struct nvmf_auth_challenge *m, uint32_t len);
static bool take_success1(struct fabric_auth_host *a, const struct nvmf_auth_success1 *m, uint32_t len);

void fabric_auth_host_init(struct fabric_auth_host *a, const struct fabric_auth_opts *opts)
{
	memset(a, 0, sizeof(*a));
	a->m = (struct machine){ states, "auth", FABRIC_AUTH_HOST_NEGOTIATE };
	a->c.opts = *opts;
	a->c.t_id = opts->t_id;
	if (opts->concat) { /* see auth_ctrlr.c: there is no key to be made of these */
		a->c.opts.hashes &= ~(1u << NVMF_HASH_SHA512);
		a->c.opts.groups &= ~(1u << NVMF_DH_NULL);
	}
}

void fabric_auth_host_fini(struct fabric_auth_host *a)
{
	fabric_auth_wipe(&a->c);
	OPENSSL_cleanse(a->psk, sizeof(a->psk));
}

enum fabric_auth_wants fabric_auth_host_wants(const struct fabric_auth_host *a)
{
	switch ((enum fabric_auth_host_state)a->m.state) {
	case FABRIC_AUTH_HOST_NEGOTIATE:
	case FABRIC_AUTH_HOST_REPLY:
	case FABRIC_AUTH_HOST_SUCCESS2:
	case FABRIC_AUTH_HOST_FAILURE2:
		return FABRIC_AUTH_SEND;
	case FABRIC_AUTH_HOST_CHALLENGE:
	case FABRIC_AUTH_HOST_SUCCESS1:
		return FABRIC_AUTH_RECEIVE;
	case FABRIC_AUTH_HOST_COMPLETED:
		return FABRIC_AUTH_GOOD;
	case FABRIC_AUTH_HOST_ERROR:
	case FABRIC_AUTH_HOST_STATE_COUNT:
		break;
	}
	return FABRIC_AUTH_BAD;
}

#define FAIL(a, reason, ...) \
	(fabric_auth_blame(&(a)->c, NVMF_AUTH_EXPL_##reason, __VA_ARGS__), \
	 machine_goto(&(a)->m, FABRIC_AUTH_HOST_FAILURE2), false)

/* --- to the controller ------------------------------------------------------------------------------------------- */

static uint32_t give_negotiate(struct fabric_auth_host *a, struct nvmf_auth_negotiate *m)
{
	struct nvmf_auth_descriptor *d = m->descs;

	memset(m, 0, sizeof(*m) + sizeof(*d));
	fabric_auth_header(&m->h, NVMF_AUTH_COMMON, NVMF_AUTH_NEGOTIATE, a->c.t_id);
	m->sc_c = a->c.opts.concat;
	m->napd = 1;
	d->authid = NVMF_AUTH_DHCHAP;
	for (uint8_t id = 0; id < 8; id++) {
		if (a->c.opts.hashes & FABRIC_AUTH_ALL_HASHES & 1u << id)
			d->hash_ids[d->halen++] = id;
		if (a->c.opts.groups & FABRIC_AUTH_ALL_GROUPS & 1u << id)
			d->dhg_ids[d->dhlen++] = id;
	}
	machine_goto(&a->m, FABRIC_AUTH_HOST_CHALLENGE);
	return sizeof(*m) + sizeof(*d);
}

static uint32_t give_reply(struct fabric_auth_host *a, struct nvmf_auth_reply *m)
{
	uint32_t hl = a->c.hash_len, dhvlen = fabric_auth_group_len(a->c.group);

	memset(m, 0, sizeof(*m) + 2 * hl);
	fabric_auth_header(&m->h, NVMF_AUTH_DHCHAP, NVMF_AUTH_REPLY, a->c.t_id);
	m->hl = (uint8_t)hl;
	m->cvalid = a->c.opts.mutual || a->c.opts.concat; /* without a sequence number it is for the key alone */
	m->dhvlen = le16_of((uint16_t)dhvlen);
	m->seqnum = le32_of(a->c.seqnum);
	memcpy(m->rval, a->c.response, hl);
	memcpy(m->rval + hl, a->c.challenge, hl);
	memcpy(m->rval + 2 * hl, a->c.public, dhvlen);
	machine_goto(&a->m, FABRIC_AUTH_HOST_SUCCESS1);
	return (uint32_t)sizeof(*m) + 2 * hl + dhvlen;
}

static uint32_t give_success2(struct fabric_auth_host *a, struct nvmf_auth_success2 *m)
{
	memset(m, 0, sizeof(*m));
	fabric_auth_header(&m->h, NVMF_AUTH_DHCHAP, NVMF_AUTH_SUCCESS2, a->c.t_id);
	machine_goto(&a->m, FABRIC_AUTH_HOST_COMPLETED);
	return sizeof(*m);
}

uint32_t fabric_auth_host_give(struct fabric_auth_host *a, void *message)
{
	assert(!a->c.working && fabric_auth_host_wants(a) == FABRIC_AUTH_SEND);
	switch ((enum fabric_auth_host_state)a->m.state) {
	case FABRIC_AUTH_HOST_NEGOTIATE:
		return give_negotiate(a, message);
	case FABRIC_AUTH_HOST_REPLY:
		return give_reply(a, message);
	case FABRIC_AUTH_HOST_SUCCESS2:
		return give_success2(a, message);
	default:
		break;
	}
	machine_goto(&a->m, FABRIC_AUTH_HOST_ERROR);
	return fabric_auth_put_failure(&a->c, NVMF_AUTH_FAILURE2, message);
}

/* --- from the controller ----------------------------------------------------------------------------------------- */

static bool take_failure1(struct fabric_auth_host *a, const struct nvmf_auth_failure *m)
{
	fabric_auth_blame(&a->c, m->rce, "the controller refuses us: %s", fabric_auth_failure_text(m->rce));
	machine_goto(&a->m, FABRIC_AUTH_HOST_ERROR);
	return false;
}

bool fabric_auth_host_take(struct fabric_auth_host *a, const void *message, uint32_t len)
{
	const struct nvmf_auth_header *h = message;

	assert(!a->c.working && fabric_auth_host_wants(a) == FABRIC_AUTH_RECEIVE);
	if (len < sizeof(struct nvmf_auth_failure))
		return FAIL(a, INCORRECT_PAYLOAD, "the controller sent a message of %u bytes", len);
	if (h->auth_type == NVMF_AUTH_COMMON && h->auth_id == NVMF_AUTH_FAILURE1)
		return take_failure1(a, message);
	if (h->auth_type == NVMF_AUTH_DHCHAP && h->auth_id == NVMF_AUTH_CHALLENGE &&
	    a->m.state == FABRIC_AUTH_HOST_CHALLENGE)
		return take_challenge(a, message, len);
	if (h->auth_type == NVMF_AUTH_DHCHAP && h->auth_id == NVMF_AUTH_SUCCESS1 && a->m.state == FABRIC_AUTH_HOST_SUCCESS1)
		return take_success1(a, message, len);
	return FAIL(a, INCORRECT_MESSAGE, "the controller sent message %02xh of type %u when %s", h->auth_id, h->auth_type,
	            states[a->m.state].meaning);
}

/* The controller may pad what it sends to what was asked for. */
static bool take_challenge(struct fabric_auth_host *a, const struct nvmf_auth_challenge *m, uint32_t len)
{
	uint32_t hl, dhvlen;

	if (len < sizeof(*m))
		return FAIL(a, INCORRECT_PAYLOAD, "the challenge of %u bytes is cut", len);
	hl = fabric_auth_hash_len(m->hash_id);
	dhvlen = le16_get(m->dhvlen);
	if (le16_get(m->h.t_id) != a->c.t_id)
		return FAIL(a, INCORRECT_PAYLOAD, "the challenge is of transaction %u; this is %u", le16_get(m->h.t_id),
		            a->c.t_id);
	if (m->hash_id >= 32 || !hl || !(a->c.opts.hashes & 1u << m->hash_id))
		return FAIL(a, HASH_UNUSABLE, "the controller chose hash %u, which was not offered", m->hash_id);
	if (m->dhg_id >= 32 || !fabric_auth_group_name(m->dhg_id) || !(a->c.opts.groups & 1u << m->dhg_id))
		return FAIL(a, DHGROUP_UNUSABLE, "the controller chose Diffie-Hellman group %u, which was not offered",
		            m->dhg_id);
	if (m->hl != hl || !le32_get(m->seqnum))
		return FAIL(a, INCORRECT_PAYLOAD, "the challenge has %u bytes and sequence number %u", m->hl,
		            le32_get(m->seqnum));
	if (dhvlen > sizeof(a->c.peer) || !dhvlen != !fabric_auth_group_len(m->dhg_id) || len < sizeof(*m) + hl + dhvlen)
		return FAIL(a, INCORRECT_PAYLOAD, "the challenge of %u bytes has a DH value of %u bytes; its group is %s", len,
		            dhvlen, fabric_auth_group_name(m->dhg_id));
	a->c.hash = m->hash_id;
	a->c.group = m->dhg_id;
	a->c.hash_len = (uint8_t)hl;
	a->c.peer_seqnum = le32_get(m->seqnum);
	a->c.peer_len = (uint16_t)dhvlen;
	memcpy(a->c.peer_challenge, m->cval, hl);
	memcpy(a->c.peer, m->cval + hl, dhvlen);
	if (a->c.opts.mutual)
		a->c.seqnum = fabric_auth_seqnum();
	if (a->c.opts.mutual || a->c.opts.concat)
		core_random(a->c.challenge, hl);
	a->c.working = true;
	return true;
}

static bool take_success1(struct fabric_auth_host *a, const struct nvmf_auth_success1 *m, uint32_t len)
{
	uint32_t hl = a->c.hash_len;

	if (len < sizeof(*m) + (a->c.opts.mutual ? hl : 0))
		return FAIL(a, INCORRECT_PAYLOAD, "success1 of %u bytes is cut", len);
	if (le16_get(m->h.t_id) != a->c.t_id)
		return FAIL(a, INCORRECT_PAYLOAD, "success1 is of transaction %u; this is %u", le16_get(m->h.t_id), a->c.t_id);
	if (!a->c.opts.mutual) {
		machine_goto(&a->m, FABRIC_AUTH_HOST_COMPLETED);
		return false;
	}
	if (m->rvalid != 1 || m->hl != hl)
		return FAIL(a, INCORRECT_PAYLOAD, "the controller was asked for a proof and sent none (RVALID %u, %u bytes)",
		            m->rvalid, m->hl);
	if (CRYPTO_memcmp(m->rval, a->c.peer_response, hl))
		return FAIL(a, FAILED, "the controller's response is wrong: its controller key differs from the one here");
	machine_goto(&a->m, FABRIC_AUTH_HOST_SUCCESS2);
	return false;
}

/* --- the heavy part ---------------------------------------------------------------------------------------------- */

void fabric_auth_host_work(struct fabric_auth_host *a, const struct fabric_auth_key *key,
                           const struct fabric_auth_key *ctrlr_key)
{
	uint8_t session[FABRIC_AUTH_HASH_MAX];
	bool grouped = a->c.group != NVMF_DH_NULL;
	struct fabric_auth_proof p = { .hash = a->c.hash, .session = grouped ? session : NULL, .t_id = a->c.t_id,
		.host_nqn = a->c.opts.host_nqn, .subsystem_nqn = a->c.opts.subsystem_nqn,
		.challenge = a->c.peer_challenge, .seqnum = a->c.peer_seqnum };
	struct fabric_auth_proof theirs = p;

	p.sc_c = a->c.opts.concat; /* theirs has 0 there */

	assert(a->c.working && a->m.state == FABRIC_AUTH_HOST_CHALLENGE);
	theirs.controller = true;
	theirs.challenge = a->c.challenge;
	theirs.seqnum = a->c.seqnum;
	if (grouped)
		a->c.dh = fabric_auth_dh_make(a->c.group, a->c.public);
	if (!key || (a->c.opts.mutual && !ctrlr_key))
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_FAILED, "our key could not be read");
	else if (grouped && !a->c.dh)
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_FAILED, "OpenSSL failed to draw a DH value");
	else if (grouped && !fabric_auth_dh_meet(a->c.dh, a->c.hash, a->c.peer, a->c.peer_len, session))
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_INCORRECT_PAYLOAD, "the controller's DH value is none of group %s",
		                  fabric_auth_group_name(a->c.group));
	else if (!fabric_auth_respond(&p, key, a->c.response) ||
	         (a->c.opts.mutual && !fabric_auth_respond(&theirs, ctrlr_key, a->c.peer_response)))
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_FAILED, "OpenSSL failed to hash");
	else if (a->c.opts.concat &&
	         !fabric_auth_generate(a->c.hash, session, a->c.peer_challenge, a->c.challenge, a->psk))
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_FAILED, "OpenSSL failed to hash");
	OPENSSL_cleanse(session, sizeof(session));
	fabric_auth_dh_free(a->c.dh);
	a->c.dh = NULL;
	a->c.working = false;
	machine_goto(&a->m, a->c.failure ? FABRIC_AUTH_HOST_FAILURE2 : FABRIC_AUTH_HOST_REPLY);
}
