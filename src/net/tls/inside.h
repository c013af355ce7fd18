/* SPDX-License-Identifier: BSD-3-Clause */
/* inside.h: what a secured socket is inside. Private to net/tls.
 *
 * keys.c makes a direction's key from its secret; record.c seals and opens one record, by AES-GCM of one of two
 * libraries (gcm.h); handshake.c has OpenSSL agree on the secrets, why.c says in a sentence why it could not; recv.c
 * and send.c are the two directions; tls.c the verbs, readiness and what moves to another process; core.c what a
 * core's secured sockets share.
 *
 * The sections named here are those of RFC 8446.
 */
#ifndef NET_TLS_INSIDE_H
#define NET_TLS_INSIDE_H

#include <openssl/ssl.h>

#include "net/secure.h"
#include "net/tls.h"
#include "net/tls/gcm.h"

#define HEADER_BYTES GCM_HEADER_BYTES
#define TAG_BYTES GCM_TAG_BYTES
#define PLAIN_MAX 16384u                          /* of one record's content (5.1) */
#define BODY_MAX (PLAIN_MAX + 256u)               /* of one record's ciphertext (5.2) */
#define OVERHEAD_BYTES (HEADER_BYTES + 1 + TAG_BYTES) /* of a record we send: the type inside, no padding */
#define SECRET_MAX 48u
#define IV_BYTES GCM_NONCE_BYTES

enum { REC_CCS = 20, REC_ALERT = 21, REC_HANDSHAKE = 22, REC_DATA = 23 };
enum { HS_TICKET = 4, HS_KEY_UPDATE = 24 };
enum alert {
	ALERT_CLOSE_NOTIFY = 0, ALERT_UNEXPECTED_MESSAGE = 10, ALERT_BAD_RECORD_MAC = 20, ALERT_RECORD_OVERFLOW = 22,
	ALERT_HANDSHAKE_FAILURE = 40, ALERT_ILLEGAL_PARAMETER = 47, ALERT_DECODE_ERROR = 50, ALERT_DECRYPT_ERROR = 51,
	ALERT_PROTOCOL_VERSION = 70, ALERT_INTERNAL_ERROR = 80, ALERT_USER_CANCELED = 90,
	ALERT_UNKNOWN_PSK_IDENTITY = 115,
};
const char *alert_name(uint8_t alert);

/* --- where bytes come from, or go to --- */

struct cursor {
	const struct iovec *iov;
	int count;
	size_t at;      /* in *iov */
	size_t left;
};
static inline struct cursor cursor_over(const struct iovec *iov, int count)
{
	struct cursor c = { .iov = iov, .count = count };

	for (int i = 0; i < count; i++)
		c.left += iov[i].iov_len;
	return c;
}
/* The next piece, of at most `max` bytes, more than none; and go beyond it. */
static inline struct iovec cursor_next(struct cursor *c, size_t max)
{
	struct iovec piece;

	while (c->at == c->iov->iov_len) {
		c->iov++;
		c->count--;
		c->at = 0;
	}
	piece.iov_base = (uint8_t *)c->iov->iov_base + c->at;
	piece.iov_len = min_u64(max, c->iov->iov_len - c->at);
	c->at += piece.iov_len;
	c->left -= piece.iov_len;
	return piece;
}
void cursor_put(struct cursor *c, const uint8_t *bytes, size_t len);

/* --- keys and records --- */

/* One direction. */
struct keys {
	const struct gcm *gcm;
	uint64_t seq;
	uint8_t hash;           /* enum tls_hash */
	bool seals;
	void *cipher;           /* gcm->bytes, of core/secret.h ... */
	uint8_t *secret;        /* ... SECRET_MAX behind them ... */
	uint8_t *iv;            /* ... IV_BYTES ... */
	uint8_t *nonce;         /* ... and as many for a record's, whose first is the IV itself */
};
uint32_t hash_bytes(uint8_t hash);
/* HKDF-Expand-Label with an empty context (7.1). `len` is at most the hash's. */
void expand_label(uint8_t hash, const uint8_t *secret, const char *label, uint8_t *to, uint32_t len);
void keys_begin(struct keys *k, uint8_t hash, const uint8_t *secret, bool seals);
void keys_update(struct keys *k); /* 7.2 */
void keys_end(struct keys *k);

/* A record of `len` bytes of content at `to`, which has room for OVERHEAD_BYTES more. Returns its length. */
uint32_t record_seal(struct keys *k, uint8_t type, struct cursor *from, uint32_t len, uint8_t *to);
/* The length of the body that a header announces; 0 with the alert when it cannot be one. */
uint32_t record_body(const uint8_t *header, enum alert *ret_alert);
/* Open the record at `record`: its content goes to `to`, which has room for all that it might be (body - TAG_BYTES - 1)
 * and may be the record's own body; nothing of it counts before this returned true. */
bool record_open(struct keys *k, const uint8_t *record, uint32_t body, struct cursor to, uint8_t *ret_type,
                 uint32_t *ret_len, enum alert *ret_alert);

/* --- buffers --- */

/* What was received and is not the owner's yet: opened content, then bytes as they came. */
struct rx {
	struct rx *next;
	struct core *charged;   /* while it is somebody's; NULL: to nobody */
	uint32_t plain_at, plain_end, at, end;
	uint8_t bytes[HEADER_BYTES + BODY_MAX];
};
/* Records that are not sent yet. */
struct tx {
	struct tx *next;
	struct core *charged;
	uint32_t at, end, size;
	uint8_t bytes[];
};
#define TX_SPARE 128u /* for alerts and key updates behind the data */
#define TX_LARGE (4 * (PLAIN_MAX + OVERHEAD_BYTES) + TX_SPARE)
#define TX_SMALL (PLAIN_MAX + OVERHEAD_BYTES + TX_SPARE)
#define RX_AT_ONCE (64u * 1024)
#define TX_LARGE_KEPT_MAX 32u /* by a core's sockets, while their peers do not take it; then one record each */
#define LINGERS_MAX 256u      /* of a core: peers that come, ask and do not listen would fill the memory otherwise */
#define SPARE_MAX 16u         /* unused buffers of each kind that a core keeps */

struct tls_core {
	struct reactor_part part;
	SSL_CTX *ctx[2];        /* clients', servers'; made when needed */
	struct rx *rx;
	struct tx *tx[2];       /* small, large */
	uint32_t rx_spare, tx_spare[2];
	uint32_t large_kept;
	struct list lingers;
	uint32_t linger_count;
	uint8_t scratch[RX_AT_ONCE + HEADER_BYTES + BODY_MAX];
};
struct tls_core *tls_core_self(void);
struct rx *rx_take(struct tls_core *c);
void rx_give(struct tls_core *c, struct rx *rx); /* `c` NULL: on no core now */
struct tx *tx_take(struct tls_core *c, uint32_t size);
void tx_give(struct tls_core *c, struct tx *tx);

/* --- a secured socket --- */

struct shake;

/* A socket that its owner closed while something was unsent. */
struct lingerer {
	struct list link;       /* tls_core.lingers */
	struct timer timer;
	struct tls *tls;
};

struct tls {
	struct sock *sock;
	struct tls_core *core;  /* of the reactor it is attached to */
	struct shake *shake;    /* NULL: it is over */
	struct lingerer *linger;
	char *identity;
	const char *why;        /* it failed; static text */
	struct keys in, out;
	struct rx *rx;
	struct tx *tx;          /* what waits for the kernel */
	struct defer again;
	uint64_t key_records;   /* sent with one key; 0: nobody said */
	int error;              /* fatal: for both directions */
	int send_error;
	bool serves;            /* it was the server */
	bool want_read, want_write;
	bool ended;             /* close_notify came */
	bool end_told, failure_told;
	bool shut, shut_below;  /* close_notify was sealed; the socket below was told */
	bool update_due;        /* a key update of ours */
	bool kept_large;        /* `tx` is counted by its core */
	uint8_t updates;        /* of the peer's, without data in between */
	bool peer_updates;      /* it sent one: so it knows of them */
	/* a handshake message that is under way */
	uint8_t hs_head[5], hs_have;
	uint32_t hs_left;
};

struct tls *tls_make(struct sock *s);
/* The handshake is over. */
void tls_begin(struct tls *t);
void tls_update_wants(struct tls *t);
/* Tell what is left in a later call, if anything is. */
void tls_look_again(struct tls *t);
/* Is there anything for the owner that no descriptor will tell? */
bool tls_has_more(const struct tls *t);
/* The peer broke the protocol: tell it, and fail. */
void tls_fatal(struct tls *t, enum alert alert, const char *why);

/* linger.c: may it be closed now? False: it will be later. */
bool linger_begin(struct tls *t);
void linger_ready(struct tls *t, uint32_t events);
void linger_end(struct tls *t);

/* handshake.c */
void shake_ready(struct tls *t, uint32_t events);
void shake_free(struct tls *t);
/* send.c: false: not all of it left yet. */
bool tls_flush(struct tls *t);
void tls_put_control(struct tls *t, uint8_t type, const void *bytes, uint32_t len);
void tls_send_update(struct tls *t);
void tls_answer(struct tls *t);

#endif
