/* SPDX-License-Identifier: BSD-3-Clause */
/* tls_shake_fuzz.c: a handshake with a peer that is not quite one.
 *
 * The first byte says which end is ours, and whether the other one is honest at first: then its bytes are changed, cut
 * and repeated as the rest says. Else the rest is what the peer sends. OpenSSL parses messages; what it is asked to do,
 * what it asks us, and how it ends are ours.
 */
#include <errno.h>

#include "net/tls/test_rig.h"

#define SERVES 1u
#define HONEST 2u
#define OTHER_KEY 4u
#define SHA384 8u
#define TURNS_MAX 32u

static struct core *core;
static struct rig ours, theirs;
static uint32_t dones, our_dones, secured;
static struct tls_offer offer;
static bool other_key;

static void done(void *arg, struct sock *s, const struct err *e)
{
	dones++;
	our_dones += s == ours.sock;
	if (e)
		must(e->code && e->text[0] && !sock_tls_hash(s) && !sock_tls_identity(s));
	else
		must(sock_tls_hash(s) == offer.psk.hash && !strcmp(sock_tls_identity(s), offer.identity));
	secured += !e;
	must(e || !other_key);
}

static bool find(void *arg, struct sock *s, const char *identity, struct tls_psk *ret_psk)
{
	*ret_psk = offer.psk;
	ret_psk->key[0] ^= other_key;
	return !strcmp(identity, offer.identity);
}

static void client_here(void *arg)
{
	sock_tls_client(arg, &offer, 1, done, NULL);
}

static void server_here(void *arg)
{
	sock_tls_server(arg, find, done, NULL);
}

static void free_here(void *arg)
{
	struct sock *s = arg;

	tls_free(s->tls);
}

/* It has something to do while its handshake lasts: what it deferred, and what came. */
static void step(struct rig *r)
{
	rig_pass(r);
	if (r->sock->tls->shake)
		rig_ready(r, SOCK_READABLE | SOCK_WRITABLE);
}

/* What one sent reaches the other, changed as it was asked for. */
static void carry(struct rig *from, struct rig *to, const uint8_t **at, const uint8_t *end, bool honest)
{
	struct sock *s = from->sock;

	if (!honest && end - *at >= 3 && s->out_len) {
		uint32_t where = ((*at)[0] | (uint32_t)(*at)[1] << 8) % s->out_len;

		switch ((*at)[2] & 3) {
		case 0:
			s->out[where] ^= (uint8_t)((*at)[2] >> 2 | 1);
			break;
		case 1:
			s->out_len = where;
			break;
		case 2:
			rig_give_raw(to, s->out, where);
			break;
		default:
			break;
		}
		*at += 3;
	}
	rig_give_raw(to, s->out, s->out_len);
	s->out_len = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;
	uint8_t how;

	if (!core)
		core = rig_world();
	if (!size)
		return 0;
	how = *data++;
	dones = our_dones = secured = 0;
	other_key = how & OTHER_KEY;
	memcpy(offer.identity, "host", 5);
	offer.psk.hash = how & SHA384 ? TLS_SHA384 : TLS_SHA256;
	offer.psk.len = (uint8_t)hash_bytes(offer.psk.hash);
	ours = (struct rig){ .core = core, .sock = rig_sock() };
	theirs = (struct rig){ .core = core, .sock = rig_sock() };
	rig_do(&ours, how & SERVES ? server_here : client_here, ours.sock);
	if (how & HONEST) {
		rig_do(&theirs, how & SERVES ? client_here : server_here, theirs.sock);
		for (uint32_t turn = 0; turn < TURNS_MAX && dones < 2; turn++) {
			step(&ours);
			carry(&theirs, &ours, &data, end, false);
			carry(&ours, &theirs, &data, end, true);
			step(&theirs);
		}
		rig_do(&theirs, free_here, theirs.sock);
	} else {
		step(&ours);
		rig_give_raw(&ours, data, (uint32_t)size - 1);
		step(&ours);
	}
	ours.sock->peer_ended = true;
	step(&ours);
	must(our_dones == 1);
	must(secured == 2 || size > 1 || other_key || !(how & HONEST)); /* nobody changed anything */
	rig_do(&ours, free_here, ours.sock);
	free(ours.sock);
	free(theirs.sock);
	return 0;
}
