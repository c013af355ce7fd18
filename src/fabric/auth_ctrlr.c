/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_ctrlr.c: the controller's end of DH-HMAC-CHAP: what the host says is checked in the order of its fields, and the
 * first thing that is wrong is the reason it is given. */
#include <openssl/crypto.h>

#include "core/core.h"
#include "fabric/auth_common.h"

static const struct machine_state states[] = { FABRIC_AUTH_CTRLR_STATES(MACHINE_ROW) };

static bool take_negotiate(struct fabric_auth_ctrlr *a, const struct nvmf_auth_negotiate *m, uint32_t len);
static bool take_reply(struct fabric_auth_ctrlr *a, const struct nvmf_auth_reply *m, uint32_t len);
static bool take_success2(struct fabric_auth_ctrlr *a, const struct nvmf_auth_header *h, uint32_t len);
static bool take_failure2(struct fabric_auth_ctrlr *a, const struct nvmf_auth_failure *m, uint32_t len);

void fabric_auth_ctrlr_init(struct fabric_auth_ctrlr *a, const struct fabric_auth_opts *opts)
{
	memset(a, 0, sizeof(*a));
	a->m = (struct machine){ states, "auth", FABRIC_AUTH_CTRLR_NEGOTIATE };
	a->c.opts = *opts;
}

void fabric_auth_ctrlr_fini(struct fabric_auth_ctrlr *a)
{
	fabric_auth_wipe(&a->c);
	OPENSSL_cleanse(a->psk, sizeof(a->psk));
}

const char *fabric_auth_ctrlr_state_name(uint8_t state)
{
	static const char *const names[] = {
		[FABRIC_AUTH_CTRLR_NEGOTIATE] = "negotiate", [FABRIC_AUTH_CTRLR_CHALLENGE] = "challenge",
		[FABRIC_AUTH_CTRLR_REPLY] = "reply", [FABRIC_AUTH_CTRLR_SUCCESS1] = "success1",
		[FABRIC_AUTH_CTRLR_SUCCESS2] = "success2", [FABRIC_AUTH_CTRLR_FAILURE1] = "failure1",
		[FABRIC_AUTH_CTRLR_COMPLETED] = "completed", [FABRIC_AUTH_CTRLR_ERROR] = "error",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

#define FAIL(a, reason, ...) \
	(fabric_auth_blame(&(a)->c, NVMF_AUTH_EXPL_##reason, __VA_ARGS__), \
	 machine_goto(&(a)->m, FABRIC_AUTH_CTRLR_FAILURE1), false)

/* --- from the host ----------------------------------------------------------------------------------------------- */

bool fabric_auth_ctrlr_take(struct fabric_auth_ctrlr *a, const void *message, uint32_t len)
{
	const struct nvmf_auth_header *h = message;
	uint8_t state = a->m.state;

	assert(!a->c.working);
	if (state == FABRIC_AUTH_CTRLR_FAILURE1 || state == FABRIC_AUTH_CTRLR_COMPLETED || state == FABRIC_AUTH_CTRLR_ERROR)
		return false; /* it has to fetch why it failed, or begin anew */
	if (len < sizeof(*h))
		return FAIL(a, INCORRECT_PAYLOAD, "the host sent a message of %u bytes", len);
	if (h->auth_type == NVMF_AUTH_COMMON && h->auth_id == NVMF_AUTH_NEGOTIATE && state == FABRIC_AUTH_CTRLR_NEGOTIATE)
		return take_negotiate(a, message, len);
	if (h->auth_type == NVMF_AUTH_COMMON && h->auth_id == NVMF_AUTH_FAILURE2 &&
	    (state == FABRIC_AUTH_CTRLR_REPLY || state == FABRIC_AUTH_CTRLR_SUCCESS2))
		return take_failure2(a, message, len);
	if (h->auth_type == NVMF_AUTH_DHCHAP && h->auth_id == NVMF_AUTH_REPLY && state == FABRIC_AUTH_CTRLR_REPLY)
		return take_reply(a, message, len);
	if (h->auth_type == NVMF_AUTH_DHCHAP && h->auth_id == NVMF_AUTH_SUCCESS2 && state == FABRIC_AUTH_CTRLR_SUCCESS2)
		return take_success2(a, message, len);
	return FAIL(a, INCORRECT_MESSAGE, "the host sent message %02xh of type %u in state %s", h->auth_id, h->auth_type,
	            fabric_auth_ctrlr_state_name(state));
}

static const struct nvmf_auth_descriptor *find_dhchap(const struct nvmf_auth_negotiate *m)
{
	for (uint32_t i = 0; i < m->napd; i++)
		if (m->descs[i].authid == NVMF_AUTH_DHCHAP)
			return &m->descs[i];
	return NULL;
}

/* Identifiers that we could not count as a bit are nobody's. */
static uint32_t set_of(const uint8_t *ids, uint32_t count)
{
	uint32_t set = 0;

	for (uint32_t i = 0; i < count; i++)
		if (ids[i] < 32)
			set |= 1u << ids[i];
	return set;
}

/* The strongest that both have. */
static uint8_t strongest(uint32_t set) { return (uint8_t)(31 - __builtin_clz(set)); }

static bool nothing_in_common(struct fabric_auth_ctrlr *a, const char *what, uint8_t reason, uint32_t theirs,
                              uint32_t ours, const char *(*name)(uint8_t id))
{
	char offered[128], permitted[128];
	struct text t = text_over(offered, sizeof(offered)), p = text_over(permitted, sizeof(permitted));

	fabric_auth_list(&t, theirs, name);
	fabric_auth_list(&p, ours, name);
	fabric_auth_blame(&a->c, reason, "no %s in common: the host offers %s; permitted here are %s", what, offered,
	                  permitted);
	machine_goto(&a->m, FABRIC_AUTH_CTRLR_FAILURE1);
	return false;
}

static bool take_negotiate(struct fabric_auth_ctrlr *a, const struct nvmf_auth_negotiate *m, uint32_t len)
{
	const struct nvmf_auth_descriptor *d;
	uint32_t hashes, groups, our_hashes, our_groups;

	a->c.t_id = le16_get(m->h.t_id);
	if (len < sizeof(*m) || len != sizeof(*m) + m->napd * sizeof(*d))
		return FAIL(a, INCORRECT_PAYLOAD, "the host's negotiate message of %u bytes is cut or too long", len);
	if (m->sc_c && m->sc_c != a->c.opts.concat)
		return FAIL(a, SCC_MISMATCH, "the host asks for a secure channel (%u), which is not offered here", m->sc_c);
	if (!m->sc_c && a->c.opts.only)
		return FAIL(a, SCC_MISMATCH, "the host asks for no secure channel (nvme connect --concat), without which it "
		            "may not go on here");
	a->sc_c = m->sc_c;
	d = find_dhchap(m);
	if (!d)
		return FAIL(a, PROTOCOL_UNUSABLE, "the host offers no DH-HMAC-CHAP");
	if (d->halen > sizeof(d->hash_ids) || d->dhlen > sizeof(d->dhg_ids))
		return FAIL(a, INCORRECT_PAYLOAD, "the host's negotiate message counts %u hashes and %u groups", d->halen,
		            d->dhlen);
	hashes = set_of(d->hash_ids, d->halen);
	groups = set_of(d->dhg_ids, d->dhlen);
	/* No cipher suite of TLS 1.3 goes with SHA-512, and without a group there is no secret to make a key of. */
	our_hashes = a->c.opts.hashes & ~(m->sc_c ? 1u << NVMF_HASH_SHA512 : 0);
	our_groups = a->c.opts.groups & ~(m->sc_c ? 1u << NVMF_DH_NULL : 0);
	if (!(hashes & our_hashes))
		return nothing_in_common(a, "hash", NVMF_AUTH_EXPL_HASH_UNUSABLE, hashes, our_hashes, fabric_auth_hash_name);
	if (!(groups & our_groups))
		return nothing_in_common(a, "Diffie-Hellman group", NVMF_AUTH_EXPL_DHGROUP_UNUSABLE, groups, our_groups,
		                         fabric_auth_group_name);
	a->c.hash = strongest(hashes & our_hashes);
	a->c.group = strongest(groups & our_groups);
	a->c.hash_len = (uint8_t)fabric_auth_hash_len(a->c.hash);
	a->c.seqnum = fabric_auth_seqnum();
	core_random(a->c.challenge, a->c.hash_len);
	machine_goto(&a->m, FABRIC_AUTH_CTRLR_CHALLENGE);
	a->c.working = a->c.group != NVMF_DH_NULL;
	return a->c.working;
}

static bool take_reply(struct fabric_auth_ctrlr *a, const struct nvmf_auth_reply *m, uint32_t len)
{
	uint32_t hl = a->c.hash_len, dhvlen;

	if (len < sizeof(*m))
		return FAIL(a, INCORRECT_PAYLOAD, "the host's reply of %u bytes is cut", len);
	dhvlen = le16_get(m->dhvlen);
	if (m->hl != hl)
		return FAIL(a, INCORRECT_PAYLOAD, "the host's reply has a response of %u bytes; %s has %u: its hash differs",
		            m->hl, fabric_auth_hash_name(a->c.hash), hl);
	if (dhvlen % 4 || dhvlen > sizeof(a->c.peer) || !dhvlen != !fabric_auth_group_len(a->c.group))
		return FAIL(a, INCORRECT_PAYLOAD, "the host's reply has a DH value of %u bytes; group %s was chosen", dhvlen,
		            fabric_auth_group_name(a->c.group));
	if (len != sizeof(*m) + 2 * hl + dhvlen)
		return FAIL(a, INCORRECT_PAYLOAD, "the host's reply of %u bytes is cut or too long", len);
	if (le16_get(m->h.t_id) != a->c.t_id)
		return FAIL(a, INCORRECT_PAYLOAD, "the host's reply is of transaction %u; this is %u", le16_get(m->h.t_id),
		            a->c.t_id);
	/* Without a sequence number a challenge is for the key alone, and asks for no proof. */
	if (m->cvalid > 1 || (m->cvalid && !le32_get(m->seqnum) && !a->sc_c) || (!m->cvalid && a->sc_c))
		return FAIL(a, INCORRECT_PAYLOAD, "the host's reply has CVALID %u with sequence number %u", m->cvalid,
		            le32_get(m->seqnum));
	a->mutual = m->cvalid && le32_get(m->seqnum);
	a->c.peer_seqnum = le32_get(m->seqnum);
	a->c.peer_len = (uint16_t)dhvlen;
	memcpy(a->c.peer_response, m->rval, hl);
	memcpy(a->c.peer_challenge, m->rval + hl, hl);
	memcpy(a->c.peer, m->rval + 2 * hl, dhvlen);
	a->c.working = true;
	return true;
}

static bool take_success2(struct fabric_auth_ctrlr *a, const struct nvmf_auth_header *h, uint32_t len)
{
	if (len != sizeof(struct nvmf_auth_success2))
		return FAIL(a, INCORRECT_PAYLOAD, "the host's success2 has %u bytes", len);
	if (le16_get(h->t_id) != a->c.t_id)
		return FAIL(a, INCORRECT_PAYLOAD, "the host's success2 is of transaction %u; this is %u", le16_get(h->t_id),
		            a->c.t_id);
	machine_goto(&a->m, FABRIC_AUTH_CTRLR_COMPLETED);
	return false;
}

static bool take_failure2(struct fabric_auth_ctrlr *a, const struct nvmf_auth_failure *m, uint32_t len)
{
	if (len != sizeof(*m))
		return FAIL(a, INCORRECT_PAYLOAD, "the host's failure2 has %u bytes", len);
	if (le16_get(m->h.t_id) != a->c.t_id)
		return FAIL(a, INCORRECT_PAYLOAD, "the host's failure2 is of transaction %u; this is %u",
		            le16_get(m->h.t_id), a->c.t_id);
	fabric_auth_blame(&a->c, m->rce, "the host refuses us: %s%s", fabric_auth_failure_text(m->rce),
	                  a->m.state == FABRIC_AUTH_CTRLR_SUCCESS2 ? "; its controller key differs from the one here" : "");
	machine_goto(&a->m, FABRIC_AUTH_CTRLR_ERROR);
	return false;
}

/* --- the heavy part ---------------------------------------------------------------------------------------------- */

static struct fabric_auth_proof proof_of(const struct fabric_auth_ctrlr *a, const uint8_t *session)
{
	return (struct fabric_auth_proof){ .hash = a->c.hash, .session = session, .t_id = a->c.t_id,
		.host_nqn = a->c.opts.host_nqn, .subsystem_nqn = a->c.opts.subsystem_nqn };
}

static bool host_could_have(const struct fabric_auth_ctrlr *a, const struct fabric_auth_proof *p,
                            const struct fabric_auth_key *key)
{
	uint8_t right[FABRIC_AUTH_HASH_MAX];
	bool same = fabric_auth_respond(p, key, right) && !CRYPTO_memcmp(right, a->c.peer_response, a->c.hash_len);

	OPENSSL_cleanse(right, sizeof(right));
	return same;
}

/* Linux's host from 6.15 to 6.17 says which kind of channel it wants and signs 0: what it says then can be changed on
 * the way, to no more than that a key is made here which nobody has. */
static bool host_knows(const struct fabric_auth_ctrlr *a, const struct fabric_auth_proof *p,
                       const struct fabric_auth_key *key)
{
	struct fabric_auth_proof without = *p;

	without.sc_c = 0;
	return host_could_have(a, p, key) || (p->sc_c && host_could_have(a, &without, key));
}

/* Whoever mixed up two keys, or how one is transformed, is told so; what is tried here are keys that we have. */
static void say_what_differs(struct fabric_auth_ctrlr *a, const struct fabric_auth_proof *p,
                             const struct fabric_auth_key *key, const struct fabric_auth_key *ctrlr_key)
{
	struct fabric_auth_key other = *key;

	if (ctrlr_key && host_could_have(a, p, ctrlr_key))
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_FAILED, "the host proves itself with the controller's key: its two "
		                  "keys are exchanged");
	for (other.hash = 0; other.hash <= NVMF_HASH_SHA512; other.hash++)
		if (other.hash != key->hash && host_could_have(a, p, &other))
			fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_FAILED, "the host has the same secret as DHHC-1:%02x; here it is "
			                  "DHHC-1:%02x: the transformation differs", other.hash, key->hash);
	fabric_auth_key_wipe(&other);
	fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_FAILED, "the host's response is wrong: its key differs from the one here");
}

static void check_reply(struct fabric_auth_ctrlr *a, const struct fabric_auth_key *key,
                        const struct fabric_auth_key *ctrlr_key)
{
	uint8_t session[FABRIC_AUTH_HASH_MAX];
	bool grouped = a->c.group != NVMF_DH_NULL;
	struct fabric_auth_proof p = proof_of(a, grouped ? session : NULL), ours = p;

	p.challenge = a->c.challenge;
	p.seqnum = a->c.seqnum;
	p.sc_c = a->sc_c; /* our own proof has 0 there */
	ours.controller = true;
	ours.challenge = a->c.peer_challenge;
	ours.seqnum = a->c.peer_seqnum;
	if (!key)
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_FAILED, "there is no key here for this host");
	else if (grouped && !fabric_auth_dh_meet(a->c.dh, a->c.hash, a->c.peer, a->c.peer_len, session))
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_INCORRECT_PAYLOAD, "the host's DH value is none of group %s",
		                  fabric_auth_group_name(a->c.group));
	else if (!host_knows(a, &p, key))
		say_what_differs(a, &p, key, ctrlr_key);
	else if (a->mutual && !CRYPTO_memcmp(a->c.challenge, a->c.peer_challenge, a->c.hash_len))
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_FAILED, "the host's challenge is our own, sent back");
	else if (a->mutual && !ctrlr_key)
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_FAILED, "the host asks for a proof, and there is no controller key "
		                  "(dhchap_ctrlr_key) here for this host");
	else if (a->mutual && !fabric_auth_respond(&ours, ctrlr_key, a->c.response))
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_FAILED, "OpenSSL failed to hash");
	else if (a->sc_c && !fabric_auth_generate(a->c.hash, session, a->c.challenge, a->c.peer_challenge, a->psk))
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_FAILED, "OpenSSL failed to hash");
	OPENSSL_cleanse(session, sizeof(session));
	machine_goto(&a->m, a->c.failure ? FABRIC_AUTH_CTRLR_FAILURE1 : FABRIC_AUTH_CTRLR_SUCCESS1);
}

void fabric_auth_ctrlr_work(struct fabric_auth_ctrlr *a, const struct fabric_auth_key *key,
                            const struct fabric_auth_key *ctrlr_key)
{
	assert(a->c.working);
	if (a->m.state == FABRIC_AUTH_CTRLR_REPLY) {
		check_reply(a, key, ctrlr_key);
	} else {
		assert(a->m.state == FABRIC_AUTH_CTRLR_CHALLENGE && !a->c.dh);
		a->c.dh = fabric_auth_dh_make(a->c.group, a->c.public);
		if (!a->c.dh)
			(void)FAIL(a, FAILED, "OpenSSL failed to draw a DH value of group %s", fabric_auth_group_name(a->c.group));
	}
	a->c.working = false;
}

/* --- to the host ------------------------------------------------------------------------------------------------- */

static uint32_t give_challenge(struct fabric_auth_ctrlr *a, struct nvmf_auth_challenge *m)
{
	uint32_t hl = a->c.hash_len, dhvlen = fabric_auth_group_len(a->c.group);

	memset(m, 0, sizeof(*m));
	fabric_auth_header(&m->h, NVMF_AUTH_DHCHAP, NVMF_AUTH_CHALLENGE, a->c.t_id);
	m->hl = (uint8_t)hl;
	m->hash_id = a->c.hash;
	m->dhg_id = a->c.group;
	m->dhvlen = le16_of((uint16_t)dhvlen);
	m->seqnum = le32_of(a->c.seqnum);
	memcpy(m->cval, a->c.challenge, hl);
	memcpy(m->cval + hl, a->c.public, dhvlen);
	machine_goto(&a->m, FABRIC_AUTH_CTRLR_REPLY);
	return (uint32_t)sizeof(*m) + hl + dhvlen;
}

static uint32_t give_success1(struct fabric_auth_ctrlr *a, struct nvmf_auth_success1 *m)
{
	memset(m, 0, sizeof(*m));
	fabric_auth_header(&m->h, NVMF_AUTH_DHCHAP, NVMF_AUTH_SUCCESS1, a->c.t_id);
	m->hl = a->c.hash_len; /* Linux's host wants to see it whether or not a response follows */
	m->rvalid = a->mutual;
	if (a->mutual)
		memcpy(m->rval, a->c.response, a->c.hash_len);
	machine_goto(&a->m, a->mutual ? FABRIC_AUTH_CTRLR_SUCCESS2 : FABRIC_AUTH_CTRLR_COMPLETED);
	return (uint32_t)sizeof(*m) + (a->mutual ? a->c.hash_len : 0);
}

uint32_t fabric_auth_ctrlr_give(struct fabric_auth_ctrlr *a, void *message, uint32_t room)
{
	uint32_t hl = a->c.hash_len;

	assert(!a->c.working);
	if (a->m.state == FABRIC_AUTH_CTRLR_CHALLENGE &&
	    room >= sizeof(struct nvmf_auth_challenge) + hl + fabric_auth_group_len(a->c.group))
		return give_challenge(a, message);
	if (a->m.state == FABRIC_AUTH_CTRLR_SUCCESS1 && room >= sizeof(struct nvmf_auth_success1) + (a->mutual ? hl : 0))
		return give_success1(a, message);
	if (room < sizeof(struct nvmf_auth_failure))
		return 0;
	if (a->m.state == FABRIC_AUTH_CTRLR_CHALLENGE || a->m.state == FABRIC_AUTH_CTRLR_SUCCESS1)
		(void)FAIL(a, INCORRECT_PAYLOAD, "the host fetches %u bytes, which the message does not fit in", room);
	else if (a->m.state == FABRIC_AUTH_CTRLR_COMPLETED || a->m.state == FABRIC_AUTH_CTRLR_ERROR)
		fabric_auth_blame(&a->c, NVMF_AUTH_EXPL_INCORRECT_MESSAGE, "the host fetches a message after the last");
	else if (a->m.state != FABRIC_AUTH_CTRLR_FAILURE1)
		(void)FAIL(a, INCORRECT_MESSAGE, "the host fetches a message in state %s, when one of its own is awaited",
		           fabric_auth_ctrlr_state_name(a->m.state));
	if (a->m.state == FABRIC_AUTH_CTRLR_FAILURE1)
		machine_goto(&a->m, FABRIC_AUTH_CTRLR_ERROR);
	return fabric_auth_put_failure(&a->c, NVMF_AUTH_FAILURE1, message);
}
