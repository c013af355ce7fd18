/* SPDX-License-Identifier: BSD-3-Clause */
/* tls_record_test.c: the key schedule's vectors, and what becomes of every record that a peer may send or may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <errno.h>

#include "core/secret.h"
#include "net/tls/test_rig.h"

static struct core *core;
static struct rig rig;
static uint8_t buf[1u << 18], content[BODY_MAX];

static int world(void **state)
{
	core = rig_world();
	return 0;
}


static int begin(void **state)
{
	rig_begin(&rig, core, TLS_SHA256, true);
	return 0;
}

static int end(void **state)
{
	rig_end(&rig);
	return 0;
}

static const struct tls *tls(void) { return rig.sock->tls; }

static void unhex(const char *text, uint8_t *to)
{
	unsigned int byte;

	for (; sscanf(text, "%2x", &byte) == 1; text += 2)
		*to++ = (uint8_t)byte;
}

/* --- vectors: RFC 8448, section 3, "application" --- */

static void keys_are_those_of_the_standards_example(void **state)
{
	static const struct {
		const char *secret, *key, *iv;
	} sides[] = {
		{ "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5", "17422dda596ed5d9acd890e3c63f5051",
		  "5b78923dee08579033e523d9" },
		{ "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643", "9f02283b6c9c07efc26bb9f2ac92e356",
		  "cf782b88dd83549aadf1e984" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
		uint8_t secret[32], key[16], iv[12], want[16];

		unhex(sides[i].secret, secret);
		expand_label(TLS_SHA256, secret, "key", key, sizeof(key));
		unhex(sides[i].key, want);
		assert_memory_equal(key, want, sizeof(key));
		expand_label(TLS_SHA256, secret, "iv", iv, sizeof(iv));
		unhex(sides[i].iv, want);
		assert_memory_equal(iv, want, sizeof(iv));
	}
}

/* Both libraries that this machine has; of a build with one, or a machine that is not faster by the other, the one. */
static uint32_t libraries(const struct gcm *ret_gcm[2])
{
	ret_gcm[0] = &gcm_openssl;
	ret_gcm[1] = gcm_multi_buffer();
	return ret_gcm[1] ? 2 : 1;
}

/* The client's 50 bytes of application data. */
static void is_the_standards_example(const struct gcm *gcm)
{
	static const char record_text[] =
		"1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292"
		"a2977014bd1e3deae63aeebb21694915e4";
	uint8_t secret[32], plain[50], record[72], made[72], opened[50], type = 0;
	struct iovec from = { plain, sizeof(plain) }, to = { opened, sizeof(opened) };
	struct cursor c = cursor_over(&from, 1);
	struct keys seal, open;
	enum alert alert;
	uint32_t len = 0;

	for (uint8_t i = 0; i < sizeof(plain); i++)
		plain[i] = i;
	unhex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5", secret);
	unhex(record_text, record);
	gcm_use(gcm);
	keys_begin(&seal, TLS_SHA256, secret, true);
	keys_begin(&open, TLS_SHA256, secret, false);
	gcm_use(NULL);
	assert_ptr_equal(seal.gcm, gcm);
	assert_int_equal(record_seal(&seal, REC_DATA, &c, sizeof(plain), made), sizeof(made));
	assert_memory_equal(made, record, sizeof(made));
	assert_true(record_open(&open, record, 67, cursor_over(&to, 1), &type, &len, &alert));
	assert_int_equal(type, REC_DATA);
	assert_int_equal(len, sizeof(plain));
	assert_memory_equal(opened, plain, sizeof(plain));
	keys_end(&seal);
	keys_end(&open);
}

static void a_record_is_the_standards_example(void **state)
{
	const struct gcm *gcm[2];

	for (uint32_t i = 0, count = libraries(gcm); i < count; i++)
		is_the_standards_example(gcm[i]);
}

/* --- the libraries --- */

#define SPLIT_MAX 700u

struct side {
	const struct gcm *gcm;
	void *at;
};

static struct side side_begin(const struct gcm *gcm, size_t key_bytes, bool seals)
{
	static const uint8_t keys[2][32] = { "one that is not the last", "the one that messages are of" };
	struct side s = { gcm, secret_zalloc(gcm->bytes) };

	for (int i = 0; i < 2; i++)
		gcm->key(s.at, keys[i], key_bytes, seals);
	return s;
}

static void side_end(struct side *s)
{
	s->gcm->end(s->at);
	secret_free(s->at);
}

/* In three pieces, whose ends are given; `to` may be `from`. */
static void crypt(struct side *s, uint8_t *to, const uint8_t *from, uint32_t first, uint32_t second, uint32_t len)
{
	static const uint8_t nonce[GCM_NONCE_BYTES] = "not twice", header[GCM_HEADER_BYTES] = { 23, 3, 3, 1, 2 };

	s->gcm->begin(s->at, nonce, header);
	if (first)
		s->gcm->crypt(s->at, to, from, first);
	if (second > first)
		s->gcm->crypt(s->at, to + first, from + first, second - first);
	if (len > second)
		s->gcm->crypt(s->at, to + second, from + second, len - second);
}

/* Sealed by one in pieces, opened by the other in other pieces, where it lies. */
static void agree(struct side *seal, struct side *open, uint32_t first, uint32_t second, uint32_t len)
{
	static uint8_t plain[PLAIN_MAX + 1], sealed[PLAIN_MAX + 1 + GCM_TAG_BYTES];

	for (uint32_t i = 0; !plain[1] && i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 7 + (i >> 8));
	crypt(seal, sealed, plain, first, second, len);
	seal->gcm->seal(seal->at, sealed + len);
	sealed[len + second % GCM_TAG_BYTES] ^= 1;
	crypt(open, sealed, sealed, len - second, len - first, len);
	assert_memory_equal(sealed, plain, len);
	assert_false(open->gcm->open(open->at, sealed + len));
	sealed[len + second % GCM_TAG_BYTES] ^= 1;
	crypt(seal, sealed, plain, 0, 0, len);
	crypt(open, sealed, sealed, len - second, len - first, len);
	assert_memory_equal(sealed, plain, len);
	assert_true(open->gcm->open(open->at, sealed + len));
}

/* A record lies in pieces as its owner's memory does: what a library keeps between them is right wherever they end. */
static void each_library_opens_what_the_other_seals(void **state)
{
	const struct gcm *gcm[2];
	uint32_t count = libraries(gcm);

	for (uint32_t which = 0; which < 2 * count * count; which++) {
		struct side seal = side_begin(gcm[which / 2 % count], which % 2 ? 32 : 16, true);
		struct side open = side_begin(gcm[which / 2 / count], which % 2 ? 32 : 16, false);

		for (uint32_t len = 1; len <= SPLIT_MAX; len += 1 + len / 50)
			for (uint32_t first = 0; first <= len; first++)
				agree(&seal, &open, first, first + (len - first) * (first % 7) / 6, len);
		for (uint32_t first = 0; first < 300; first++)
			agree(&seal, &open, first, PLAIN_MAX - first * 41, PLAIN_MAX + first % 2);
		side_end(&seal);
		side_end(&open);
	}
}

/* --- what is received --- */

static void padding_is_taken_off(void **state)
{
	rig_give(&rig, REC_DATA, "abc", 3, 5);
	rig_give(&rig, REC_DATA, buf, 5000, 11384);
	rig_give(&rig, REC_DATA, "", 0, 1000);
	rig_give(&rig, REC_DATA, "de", 2, 0);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), 5005);
	assert_memory_equal(buf, "abc", 3);
	assert_memory_equal(buf + 5003, "de", 2);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), -EAGAIN);
}

/* An idle connection has no buffers. */
static void buffers_are_there_while_something_is_partial(void **state)
{
	static uint8_t much[16000];

	rig_give(&rig, REC_DATA, much, sizeof(much), 0);
	assert_int_equal(rig_recv(&rig, buf, 1), 1);
	assert_non_null(tls()->rx);
	assert_int_equal(rig_pass(&rig), SOCK_READABLE);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), 15999);
	assert_null(tls()->rx);
	rig_give(&rig, REC_DATA, much, 100, 0);
	rig.sock->in_len -= 50; /* the rest comes later */
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), -EAGAIN);
	assert_non_null(tls()->rx);
	assert_int_equal(rig_pass(&rig), 0);
	assert_int_equal(rig_send(&rig, much, sizeof(much)), sizeof(much));
	assert_null(tls()->tx);
}

/* It is not released, and the peer hears why. */
static void fails(enum alert alert)
{
	uint8_t type = 0;
	uint32_t len = 0;

	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), -EBADMSG);
	assert_true(rig_take(&rig, &type, content, &len));
	assert_int_equal(type, REC_ALERT);
	assert_int_equal(len, 2);
	assert_int_equal(content[0], 2);
	assert_int_equal(content[1], alert);
	assert_false(rig.sock->want_read);
	assert_int_equal(rig_pass(&rig), SOCK_FAILED); /* once */
	assert_int_equal(rig_pass(&rig), 0);
	assert_int_equal(rig_send(&rig, "x", 1), -EBADMSG);
	assert_non_null(tls()->why);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), -EBADMSG);
}

static void damage_anywhere_is_noticed(void **state)
{
	for (uint32_t at = 5; at < 5 + 40 + 1 + 16; at++) {
		end(NULL);
		begin(NULL);
		rig_give(&rig, REC_DATA, buf, 40, 0);
		rig.sock->in[at] ^= 0x10;
		fails(ALERT_BAD_RECORD_MAC);
	}
}

static void data_before_damage_is_received(void **state)
{
	uint32_t first;

	rig_give(&rig, REC_DATA, buf, 2000, 0);
	first = rig.sock->in_len;
	rig_give(&rig, REC_DATA, buf, 2000, 0);
	rig.sock->in[first + 100] ^= 1;
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), 2000);
	assert_int_equal(rig_pass(&rig), SOCK_READABLE);
	fails(ALERT_BAD_RECORD_MAC);
}

static void a_record_twice_is_noticed(void **state)
{
	rig_give(&rig, REC_DATA, buf, 40, 0);
	rig_give_raw(&rig, rig.sock->in, rig.sock->in_len);
	assert_int_equal(rig_recv(&rig, buf, 40), 40);
	fails(ALERT_BAD_RECORD_MAC);
}

static void lengths_have_limits(void **state)
{
	static const struct {
		uint8_t header[5];
		enum alert alert;
	} bad[] = {
		{ { 23, 3, 3, 0x41, 0x01 }, ALERT_RECORD_OVERFLOW }, { { 23, 3, 3, 0xff, 0xff }, ALERT_RECORD_OVERFLOW },
		{ { 23, 3, 3, 0, 16 }, ALERT_BAD_RECORD_MAC }, { { 23, 3, 3, 0, 0 }, ALERT_BAD_RECORD_MAC },
		/* not sealed: an alert, a message, ChangeCipherSpec; and no TLS at all */
		{ { 21, 3, 3, 0, 2 }, ALERT_UNEXPECTED_MESSAGE }, { { 22, 3, 3, 0, 5 }, ALERT_UNEXPECTED_MESSAGE },
		{ { 20, 3, 3, 0, 1 }, ALERT_UNEXPECTED_MESSAGE }, { { 4, 0, 24, 0, 24 }, ALERT_UNEXPECTED_MESSAGE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		end(NULL);
		begin(NULL);
		rig_give_raw(&rig, bad[i].header, 5);
		fails(bad[i].alert);
	}
}

/* More content than a record may have, in a body that is not too long. */
static void content_has_a_limit(void **state)
{
	static uint8_t inner[PLAIN_MAX + 1], record[PLAIN_MAX + 1 + OVERHEAD_BYTES];
	uint32_t body = sizeof(inner) + 1 + TAG_BYTES;
	uint8_t header[5] = { 23, 3, 3, (uint8_t)(body >> 8), (uint8_t)body }, type = REC_DATA;

	memcpy(record, header, 5);
	rig.out.gcm->begin(rig.out.cipher, rig.out.iv, header);
	rig.out.gcm->crypt(rig.out.cipher, record + 5, inner, sizeof(inner));
	rig.out.gcm->crypt(rig.out.cipher, record + 5 + sizeof(inner), &type, 1);
	rig.out.gcm->seal(rig.out.cipher, record + 6 + sizeof(inner));
	rig_give_raw(&rig, record, sizeof(record));
	fails(ALERT_RECORD_OVERFLOW);
}

static void records_of_other_kinds_are_refused(void **state)
{
	static const struct {
		uint8_t type, content[6], len, pad;
		enum alert alert;
	} bad[] = {
		{ 0, { 0 }, 0, 0, ALERT_UNEXPECTED_MESSAGE },                            /* zeros only */
		{ REC_CCS, { 1 }, 1, 0, ALERT_UNEXPECTED_MESSAGE },
		{ 24, { 1 }, 1, 0, ALERT_UNEXPECTED_MESSAGE },
		{ REC_HANDSHAKE, { 0 }, 0, 0, ALERT_UNEXPECTED_MESSAGE },                /* empty */
		{ REC_HANDSHAKE, { 13, 0, 0, 0 }, 4, 0, ALERT_UNEXPECTED_MESSAGE },      /* CertificateRequest */
		{ REC_HANDSHAKE, { 1, 0, 0, 1, 0 }, 5, 0, ALERT_UNEXPECTED_MESSAGE },    /* ClientHello: renegotiation */
		{ REC_HANDSHAKE, { 4, 0, 0, 1, 0 }, 5, 0, ALERT_UNEXPECTED_MESSAGE },    /* a client's ticket */
		{ REC_HANDSHAKE, { 24, 0, 0, 1, 2 }, 5, 0, ALERT_ILLEGAL_PARAMETER },
		{ REC_HANDSHAKE, { 24, 0, 0, 2, 0, 0 }, 6, 0, ALERT_DECODE_ERROR },
		{ REC_HANDSHAKE, { 24, 0, 0, 0 }, 4, 0, ALERT_DECODE_ERROR },
		{ REC_HANDSHAKE, { 24, 0, 0, 1, 0, 24 }, 6, 0, ALERT_UNEXPECTED_MESSAGE }, /* more with the old key */
		{ REC_ALERT, { 1 }, 1, 0, ALERT_DECODE_ERROR },
		{ REC_ALERT, { 1, 0, 1, 0 }, 4, 0, ALERT_DECODE_ERROR },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		end(NULL);
		begin(NULL);
		rig_give(&rig, bad[i].type, bad[i].content, bad[i].len, bad[i].pad);
		fails(bad[i].alert);
	}
}

static void data_within_a_message_is_refused(void **state)
{
	rig_give(&rig, REC_HANDSHAKE, "\x18\0\0", 3, 0);
	rig_give(&rig, REC_DATA, "x", 1, 0);
	fails(ALERT_UNEXPECTED_MESSAGE);
}

static void tickets_are_of_no_use(void **state)
{
	static uint8_t ticket[3000] = { 4, 0, 0x0b, 0xb4 };

	end(NULL);
	rig_begin(&rig, core, TLS_SHA384, false);
	rig_give(&rig, REC_HANDSHAKE, ticket, 2, 0); /* in parts, and another one right behind */
	rig_give(&rig, REC_HANDSHAKE, ticket + 2, 1000, 0);
	rig_give(&rig, REC_HANDSHAKE, ticket + 1002, 1998, 0);
	rig_give(&rig, REC_HANDSHAKE, ticket, 3000, 3);
	rig_give(&rig, REC_DATA, "x", 1, 0);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), 1);
}

/* --- key updates --- */

static void give_update(uint8_t asks)
{
	const uint8_t message[] = { HS_KEY_UPDATE, 0, 0, 1, asks };

	rig_give(&rig, REC_HANDSHAKE, message, sizeof(message), 0);
	keys_update(&rig.out);
}

static void takes_update(void)
{
	uint8_t type = 0;
	uint32_t len = 0;

	assert_true(rig_take(&rig, &type, content, &len));
	assert_int_equal(type, REC_HANDSHAKE);
	assert_int_equal(len, 5);
	assert_memory_equal(content, "\x18\0\0\1\0", 5);
	keys_update(&rig.in);
}

static void takes_data(const char *text)
{
	uint8_t type = 0;
	uint32_t len = 0;

	assert_true(rig_take(&rig, &type, content, &len));
	assert_int_equal(type, REC_DATA);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(content, text, len);
}

static void updates_that_ask_are_answered(void **state)
{
	give_update(0);
	rig_give(&rig, REC_DATA, "a", 1, 0);
	give_update(1);
	rig_give(&rig, REC_DATA, "b", 1, 0);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), 2);
	takes_update();
	assert_int_equal(rig_send(&rig, "c", 1), 1);
	takes_data("c");
}

/* The kernel takes nothing: the answer waits, once, and leaves when there is room, whether or not its owner cares. */
static void an_answer_waits_for_room(void **state)
{
	rig.sock->room = 10;
	assert_int_equal(rig_send(&rig, "data", 4), 4);
	assert_int_equal(rig_send(&rig, "more", 4), -EAGAIN);
	assert_true(rig.sock->want_write);
	for (int i = 0; i < 5; i++) {
		give_update(1);
		rig_give(&rig, REC_DATA, "x", 1, 0);
	}
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), 5);
	rig.sock->room = 1000;
	rig_ready(&rig, SOCK_WRITABLE);
	takes_data("data");
	takes_update();
	assert_false(rig.sock->want_write);
	assert_int_equal(rig_pass(&rig), 0);
	assert_int_equal(rig_send(&rig, "more", 4), 4);
	takes_data("more");
}

static void updates_without_end_are_refused(void **state)
{
	for (int i = 0; i < 40; i++)
		give_update(1);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), -EBADMSG);
}

static int set_limit(struct rig *r, uint64_t records)
{
	sock_tls_set_key_limit(r->sock, records);
	return 0;
}

static void a_key_seals_so_many_records(void **state)
{
	set_limit(&rig, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(rig_send(&rig, "old", 3), 3);
		takes_data("old");
	}
	assert_int_equal(rig_send(&rig, "new", 3), 3);
	takes_update();
	takes_data("new");
}

/* Linux's NVMe/TCP would lose the connection. */
static void a_peer_that_may_not_know_updates_is_spared(void **state)
{
	rig.in.seq = ((struct tls *)(uintptr_t)tls())->out.seq = 1u << 25;
	assert_int_equal(rig_send(&rig, "old", 3), 3);
	takes_data("old");
	give_update(0);
	rig_give(&rig, REC_DATA, "x", 1, 0);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), 1);
	assert_int_equal(rig_send(&rig, "new", 3), 3);
	takes_update();
	takes_data("new");
}

/* --- ends --- */

static void close_notify_is_the_end(void **state)
{
	rig_give(&rig, REC_DATA, "last", 4, 0);
	rig_give(&rig, REC_ALERT, "\1\x5a", 2, 0); /* user_canceled */
	rig_give(&rig, REC_ALERT, "\1\0", 2, 0);
	rig_give(&rig, REC_DATA, "beyond", 6, 0);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), 4);
	assert_int_equal(rig_pass(&rig), SOCK_READABLE);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), 0);
	assert_false(rig.sock->want_read);
	assert_int_equal(rig_pass(&rig), 0);
	assert_int_equal(rig_send(&rig, "still", 5), 5);
	takes_data("still");
}

static void an_end_without_it_is_a_reset(void **state)
{
	rig_give(&rig, REC_DATA, "last", 4, 0);
	rig.sock->peer_ended = true;
	assert_int_equal(rig_recv(&rig, buf, 4), 4);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), -ECONNRESET);
}

static void the_peers_alert_has_a_name(void **state)
{
	rig_give(&rig, REC_ALERT, "\2\x14", 2, 0);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), -ECONNABORTED);
	assert_string_equal(tls()->why, "bad_record_mac");
}

static void shut_down_here(void *arg)
{
	tls_shutdown_send(arg);
}

static void shutting_down_says_so_behind_what_waits(void **state)
{
	uint8_t type = 0;
	uint32_t len = 0;

	rig.sock->room = 10;
	assert_int_equal(rig_send(&rig, "last", 4), 4);
	rig_do(&rig, shut_down_here, rig.sock->tls);
	assert_false(rig.sock->shut);
	assert_int_equal(rig_send(&rig, "more", 4), -EPIPE);
	rig.sock->room = 1000;
	rig_ready(&rig, SOCK_WRITABLE);
	takes_data("last");
	assert_true(rig_take(&rig, &type, content, &len));
	assert_int_equal(type, REC_ALERT);
	assert_memory_equal(content, "\1\0", 2);
	assert_true(rig.sock->shut);
}

/* Nothing follows close_notify, whatever the peer asks for. */
static void nothing_is_answered_after_the_end(void **state)
{
	rig_do(&rig, shut_down_here, rig.sock->tls);
	rig.sock->out_len = 0;
	give_update(1);
	rig_give(&rig, REC_DATA, "x", 1, 0);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), 1);
	rig_give(&rig, REC_ALERT, "x", 1, 0);
	assert_int_equal(rig_recv(&rig, buf, sizeof(buf)), -EBADMSG);
	assert_int_equal(rig.sock->out_len, 0);
}

static void close_here(void *arg)
{
	struct sock *s = arg;

	if (tls_close(s->tls))
		s->closed = true;
}

/* What was sent is delivered by a socket without an owner. */
static void closing_waits_for_what_was_sent(void **state)
{
	uint8_t type = 0;
	uint32_t len = 0;

	rig.sock->room = 10;
	assert_int_equal(rig_send(&rig, "last", 4), 4);
	rig_do(&rig, close_here, rig.sock);
	assert_false(rig.sock->closed);
	rig.sock->room = 1000;
	rig_ready(&rig, SOCK_WRITABLE);
	assert_true(rig.sock->closed);
	assert_null(rig.sock->tls);
	takes_data("last");
	assert_true(rig_take(&rig, &type, content, &len));
	assert_int_equal(type, REC_ALERT);
}

static void closing_does_not_wait_for_ever(void **state)
{
	rig.sock->room = 10;
	assert_int_equal(rig_send(&rig, "last", 4), 4);
	rig_do(&rig, close_here, rig.sock);
	assert_false(rig.sock->closed);
	(void)sim_run(NULL, NULL, 60 * NS_PER_S);
	assert_true(rig.sock->closed);
}

/* Peers that come, ask for much, do not listen and are sent away would fill the memory. */
static void the_oldest_waits_no_longer_when_many_do(void **state)
{
	struct rig first = rig;
	struct tls_core *c = tls()->core;

	first.sock->room = 10;
	assert_int_equal(rig_send(&first, "last", 4), 4);
	rig_do(&first, close_here, first.sock);
	rig_begin(&rig, core, TLS_SHA256, true);
	rig.sock->room = 10;
	assert_int_equal(rig_send(&rig, "last", 4), 4);
	assert_int_equal(c->linger_count, 1);
	c->linger_count = LINGERS_MAX;
	rig_do(&rig, close_here, rig.sock);
	assert_true(first.sock->closed);
	assert_false(rig.sock->closed);
	assert_int_equal(c->linger_count, LINGERS_MAX);
	c->linger_count = 1;
	rig_end(&first);
}

/* --- back pressure --- */

/* When too many sockets of a core have a whole buffer unsent, the next keeps one record, and takes the others back: the
 * caller gives those bytes again, and the stream is the same. */
static void too_much_unsent_is_taken_back(void **state)
{
	static uint8_t data[100000];
	size_t sent = 0, got = 0;
	ssize_t n;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 >> 3);
	tls()->core->large_kept = TX_LARGE_KEPT_MAX;
	while (sent < sizeof(data)) {
		rig.sock->room = 20000;
		rig_ready(&rig, SOCK_WRITABLE);
		n = rig_send(&rig, data + sent, sizeof(data) - sent);
		assert_true(n > 0 || n == -EAGAIN);
		if (n > 0)
			sent += (size_t)n;
		assert_true(!tls()->tx || tls()->tx->size == TX_SMALL);
	}
	rig.sock->room = 100000;
	rig_ready(&rig, SOCK_WRITABLE);
	for (uint8_t type; got < sizeof(data);) {
		uint32_t len = 0;

		assert_true(rig_take(&rig, &type, content, &len));
		assert_memory_equal(content, data + got, len);
		got += len;
	}
	tls()->core->large_kept = 0;
}

static void detach_here(void *arg)
{
	tls_detached(arg);
}

/* Between two reactors there is nobody to wait, but what can be said is. */
static void ends_while_detached(void **state)
{
	uint8_t type = 0;
	uint32_t len = 0;

	rig.sock->room = 10;
	assert_int_equal(rig_send(&rig, "last", 4), 4);
	rig_do(&rig, detach_here, rig.sock->tls);
	rig.sock->room = 1000;
	rig_do(&rig, shut_down_here, rig.sock->tls);
	takes_data("last");
	assert_true(rig_take(&rig, &type, content, &len));
	assert_int_equal(type, REC_ALERT);
	assert_true(rig.sock->shut);
	rig_do(&rig, close_here, rig.sock);
	assert_true(rig.sock->closed);
}

/* Who still waits for its peer when the core ends is closed with it. */
static int world_end(void **state)
{
	begin(NULL);
	rig.sock->room = 10;
	if (rig_send(&rig, "last", 4) != 4)
		return -1;
	rig_do(&rig, close_here, rig.sock);
	if (rig.sock->closed)
		return -1;
	rig_world_end(core);
	if (!rig.sock->closed || rig.sock->tls)
		return -1;
	free(rig.sock);
	keys_end(&rig.in);
	keys_end(&rig.out);
	return 0;
}

/* Who sends half of it would take a place in which others could shake hands. */
static void a_hello_is_whole_or_not(void **state)
{
	static const uint8_t hello[] = { 22, 3, 1, 0, 6, 1, 0, 0, 2, 3, 3 };
	static const uint8_t split[] = { 22, 3, 1, 0, 2, 1, 0, 22, 3, 1, 0, 0, 22, 3, 1, 0, 4, 0, 2, 3, 3 };
	uint8_t much[64] = { 22, 3, 1, 0, 59, 1, 0, 1, 0 };

	for (size_t n = 0; n <= sizeof(hello); n++)
		assert_int_equal(tls_hello_is_whole(hello, n), n == sizeof(hello));
	for (size_t n = 0; n <= sizeof(split); n++)
		assert_int_equal(tls_hello_is_whole(split, n), n == sizeof(split));
	assert_false(tls_hello_is_whole(much, sizeof(much))); /* the message goes on in another record */
	assert_true(tls_hello_is_whole((const uint8_t *)"", 1)); /* an ICReq */
	assert_true(tls_hello_is_whole((const uint8_t *)"GET", 3));
	much[8] = 55;
	much[7] = 0;
	assert_true(tls_hello_is_whole(much, sizeof(much)));
	assert_false(tls_hello_is_whole(much, sizeof(much) - 1));
}

int main(void)
{
#define IN_RIG(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_those_of_the_standards_example),
		cmocka_unit_test(a_hello_is_whole_or_not),
		cmocka_unit_test(a_record_is_the_standards_example),
		cmocka_unit_test(each_library_opens_what_the_other_seals),
		IN_RIG(padding_is_taken_off),
		IN_RIG(buffers_are_there_while_something_is_partial),
		IN_RIG(damage_anywhere_is_noticed),
		IN_RIG(data_before_damage_is_received),
		IN_RIG(a_record_twice_is_noticed),
		IN_RIG(lengths_have_limits),
		IN_RIG(content_has_a_limit),
		IN_RIG(records_of_other_kinds_are_refused),
		IN_RIG(data_within_a_message_is_refused),
		IN_RIG(tickets_are_of_no_use),
		IN_RIG(updates_that_ask_are_answered),
		IN_RIG(an_answer_waits_for_room),
		IN_RIG(updates_without_end_are_refused),
		IN_RIG(a_key_seals_so_many_records),
		IN_RIG(a_peer_that_may_not_know_updates_is_spared),
		IN_RIG(close_notify_is_the_end),
		IN_RIG(an_end_without_it_is_a_reset),
		IN_RIG(the_peers_alert_has_a_name),
		IN_RIG(shutting_down_says_so_behind_what_waits),
		IN_RIG(nothing_is_answered_after_the_end),
		IN_RIG(closing_waits_for_what_was_sent),
		IN_RIG(closing_does_not_wait_for_ever),
		IN_RIG(the_oldest_waits_no_longer_when_many_do),
		IN_RIG(ends_while_detached),
		IN_RIG(too_much_unsent_is_taken_back),
	};

	return cmocka_run_group_tests(tests, world, world_end);
}
