/* SPDX-License-Identifier: BSD-3-Clause */
/* tls_record_fuzz.c: what a peer may send after the handshake, and an owner do meanwhile; and before it, first of all.
 *
 * The first byte says which end, which hash, and how the raw socket behaves. The rest is pieces: a byte that says what,
 * and a byte of length. Some pieces are bytes as they are; others are sealed with the right key, since what lies behind
 * a tag would never be found by chance.
 */
#include <errno.h>

#include "net/tls/test_rig.h"

#define SERVES 1u
#define SHA384 2u
#define SMALL_READS 4u
#define NO_ROOM 8u

static struct core *core;
static struct rig rig;
static uint8_t buf[1u << 18];

static void attach_here(void *arg)
{
	struct rig *r = arg;

	tls_detached(r->sock->tls);
	tls_attached(r->sock->tls);
}

/* As another process would take it over. */
static void thaw_here(void *arg)
{
	struct rig *r = arg;
	struct freeze out, in;

	tls_detached(r->sock->tls);
	if (!r->sock->tls->error) {
		freeze_init(&out);
		sock_tls_freeze(&out, r->sock);
		tls_free(r->sock->tls);
		freeze_init_thaw(&in, out.buf, out.len);
		sock_tls_freeze(&in, r->sock);
		must(freeze_ok(&in));
		freeze_fini(&out);
	}
	tls_attached(r->sock->tls);
}

static void shut_here(void *arg)
{
	tls_shutdown_send(arg);
}

static void receive(size_t len)
{
	ssize_t n = rig_recv(&rig, buf, len);

	must(n >= 0 ? (size_t)n <= len : n == -EAGAIN || n == -EBADMSG || n == -ECONNRESET || n == -ECONNABORTED);
}

static void piece(uint8_t what, const uint8_t *at, uint32_t len)
{
	static const uint8_t update[] = { HS_KEY_UPDATE, 0, 0, 1, 1 };

	switch (what & 15) {
	case 0:
		rig_give_raw(&rig, at, len);
		break;
	case 1:
		rig_give(&rig, REC_HANDSHAKE, at, len, what >> 4);
		break;
	case 2:
		rig_give(&rig, REC_DATA, at, len, (what >> 4) * 700u);
		break;
	case 3:
		rig_give(&rig, REC_DATA, buf, len * 64, what >> 4);
		break;
	case 4:
		rig_give(&rig, REC_ALERT, at, len, what >> 4);
		break;
	case 5:
		if (len)
			rig_give(&rig, at[0], at + 1, len - 1, what >> 4);
		break;
	case 6:
		rig_give(&rig, REC_HANDSHAKE, update, sizeof(update), 0);
		keys_update(&rig.out);
		break;
	case 7:
		rig.sock->peer_ended = true;
		break;
	case 8:
		receive(1 + len);
		break;
	case 9:
		receive(sizeof(buf));
		break;
	case 10:
		(void)rig_send(&rig, buf, 1 + len * 600u);
		break;
	case 11:
		rig.sock->room = 200u * len;
		rig.sock->out_len = 0;
		rig_ready(&rig, SOCK_WRITABLE | SOCK_READABLE);
		break;
	case 12:
		rig_do(&rig, attach_here, &rig);
		break;
	case 13:
		rig_do(&rig, thaw_here, &rig);
		break;
	case 14:
		sock_tls_set_key_limit(rig.sock, 1 + len);
		break;
	default:
		rig_do(&rig, shut_here, rig.sock->tls);
	}
}

/* More bytes never make less of it. */
static void look_for_hello(const uint8_t *data, size_t size)
{
	bool whole = false;

	for (size_t n = 0; n <= min_u64(size, 64); n++) {
		must(!whole || tls_hello_is_whole(data, n));
		whole = tls_hello_is_whole(data, n);
	}
	must(!whole || tls_hello_is_whole(data, size));
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
	look_for_hello(data, size);
	how = *data++;
	rig_begin(&rig, core, how & SHA384 ? TLS_SHA384 : TLS_SHA256, how & SERVES);
	rig.sock->recv_max = how & SMALL_READS ? 1 + (how >> 4) : 0;
	if (how & NO_ROOM)
		rig.sock->room = 100;
	while (end - data >= 2) {
		uint32_t len = (uint32_t)min_u64(data[1], (size_t)(end - data - 2));

		piece(data[0], data + 2, len);
		data += 2 + len;
	}
	receive(sizeof(buf));
	rig_pass(&rig);
	rig_end(&rig);
	return 0;
}
