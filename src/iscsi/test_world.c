/* SPDX-License-Identifier: BSD-3-Clause */
/* test_world.c: building it, and the raw initiator's few verbs. */
#include <stdio.h>

#include "backends/malloc/malloc.h"
#include "base/crc32c.h"
#include "core/log.h"
#include "iscsi/test_world.h"
#include "scsi/scsi.h"

/* --- the target -------------------------------------------------------------------------------------------------- */

static void must_be(const struct err *e)
{
	if (e->code)
		fprintf(stderr, "setting up: %s\n", e->text);
	must(!e->code);
}

static void node_is_there(struct iscsi_change *c)
{
	must_be(&c->err);
	container_of(c, struct test_world, change)->serving = true;
}

static void serve(void *arg)
{
	struct test_world *w = arg;
	const struct malloc_opts disk = { .name = "disk", .block_size = TEST_BLOCK, .block_count = TEST_BLOCKS };
	const struct iscsi_portal_spec portal = { "127.0.0.1", "3260" };
	const char *const any = "ANY";
	const struct iscsi_initiators all = { &any, &any, 1, 1 };
	const struct iscsi_map_pair pair = { 1, 1 };
	const struct iscsi_lun_spec lun = { .bdev_name = "disk", .lun = 0 };
	struct err e = { 0 };
	struct bdev *b;

	w->reg = bdev_registry_make(w->core);
	must(!malloc_create(w->reg, &disk, &b, NULL));
	w->scsi = scsi_make(w->core, w->reg);
	w->target = iscsi_target_make(w->core, w->reg, w->scsi);
	w->target->options.data_timeout_ms = 3000;
	w->target->options.login_timeout_ms = 2000;
	w->target->options.nop_in_interval_s = 5;
	w->target->options.nop_timeout_s = 5;
	if (w->piece_bytes)
		w->target->options.piece_bytes = w->piece_bytes;
	if (iscsi_portal_group_add(w->target, 1, &portal, 1, false, false, &e) ||
	    iscsi_initiator_group_add(w->target, 1, &all, &e))
		must_be(&e);
	w->change.done = node_is_there;
	iscsi_node_add(w->target, &(struct iscsi_node_opts){ .name = TEST_NODE, .pairs = &pair, .pair_count = 1,
	               .luns = &lun, .lun_count = 1, .queue_depth = 32 }, &w->change);
}

static bool is_serving(void *arg)
{
	return ((struct test_world *)arg)->serving;
}

void world_start(struct test_world *w, uint64_t seed, const struct sim_net_opts *net)
{
	const struct test_world asked = { .cores = w->cores ? w->cores : 2, .piece_bytes = w->piece_bytes };
	uint64_t memory_bytes = w->memory_bytes;

	*w = asked;
	sim_pair_start(seed, net, w->cores, memory_bytes, &w->core, &w->host_core);
	sim_as(core_control(w->core), serve, w);
	must(sim_run(is_serving, w, 10 * NS_PER_S));
}

static void unregistered(void *arg, int rc)
{
	struct test_world *w = arg;

	bdev_registry_free(w->reg);
	w->stopped = true;
}

static void scsi_stopped(void *arg)
{
	struct test_world *w = arg;

	scsi_free(w->scsi);
	must(!malloc_delete(w->reg, "disk", unregistered, w, NULL));
}

static void target_stopped(void *arg)
{
	scsi_stop(((struct test_world *)arg)->scsi, scsi_stopped, arg);
}

static void stop(void *arg)
{
	iscsi_target_stop(((struct test_world *)arg)->target, target_stopped, arg);
}

static bool is_stopped(void *arg)
{
	return ((struct test_world *)arg)->stopped;
}

void world_stop(struct test_world *w)
{
	sim_as(core_control(w->core), stop, w);
	must(sim_run(is_stopped, w, 100 * NS_PER_S));
	sim_pair_end(w->core, w->host_core);
}

void world_pass(uint64_t ns)
{
	sim_run(NULL, NULL, ns);
}

struct counting {
	const char *key;
	uint64_t sum;
};

static void count(void *arg, const char *key, uint64_t v)
{
	struct counting *c = arg;

	if (!strcmp(c->key, key))
		c->sum += v;
}

uint64_t world_count(struct test_world *w, const char *key)
{
	struct counting c = { .key = key };

	for (uint32_t i = 0; i <= w->cores; i++)
		iscsi_conns_stats(w->target->conns, i, count, &c);
	return c.sum;
}

/* --- an initiator's socket --------------------------------------------------------------------------------------- */

void host_open(struct host *h, struct test_world *w)
{
	memset(h, 0, sizeof(*h));
	h->w = w;
	h->cmd_sn = 1;
	h->piece = 5000;
	iscsi_rx_init(&h->rx);
	sim_peer_open(&h->peer, core_reactor(w->host_core, 0), "3260", HOST_IN_BYTES);
}

void host_close(struct host *h)
{
	sim_peer_close(&h->peer);
}

void host_send(struct host *h, const void *bytes, uint32_t len)
{
	sim_peer_put(&h->peer, bytes, len);
	sim_peer_flush(&h->peer);
}

/* --- PDUs -------------------------------------------------------------------------------------------------------- */

static void put_digest(struct host *h, uint32_t crc)
{
	le32 digest = le32_of(crc32c_finish(crc));

	sim_peer_put(&h->peer, &digest, sizeof(digest));
}

void host_send_pdu(struct host *h, const union iscsi_bhs *bhs, const void *data, uint32_t len)
{
	static const uint8_t zeroes[4];
	union iscsi_bhs b = *bhs;

	b.h.data_len = be24_of(len);
	sim_peer_put(&h->peer, &b, sizeof(b));
	if (h->header_digest)
		put_digest(h, crc32c_update(CRC32C_START, &b, sizeof(b)));
	sim_peer_put(&h->peer, data, len);
	sim_peer_put(&h->peer, zeroes, iscsi_pad(len));
	if (h->data_digest && len)
		put_digest(h, crc32c_update(crc32c_update(CRC32C_START, data, len), zeroes, iscsi_pad(len)));
	sim_peer_flush(&h->peer);
}

static uint32_t whole_len(const struct host *h)
{
	const struct iscsi_hdr *hdr = (const struct iscsi_hdr *)sim_peer_at(&h->peer);
	uint32_t have = sim_peer_left(&h->peer), len;

	if (have < sizeof(*hdr))
		return 0;
	len = iscsi_data_len(hdr);
	len = iscsi_header_size(hdr, h->header_digest) + len + iscsi_pad(len) +
	      (len && h->data_digest ? ISCSI_DIGEST_SIZE : 0);
	return have >= len ? len : 0;
}

static bool whole_pdu(void *arg)
{
	struct host *h = arg;

	return h->peer.ended || whole_len(h);
}

bool host_recv(struct host *h, union iscsi_bhs *ret, const uint8_t **ret_data, uint32_t *ret_len, uint64_t ns)
{
	const uint8_t *at, *end;
	enum iscsi_rx_event ev;
	uint32_t len;

	if (ret_data)
		*ret_data = NULL;
	if (ret_len)
		*ret_len = 0;
	sim_run(whole_pdu, h, ns);
	len = whole_len(h);
	if (!len)
		return false;
	at = sim_peer_at(&h->peer);
	end = at + len;
	h->peer.in_at += len;
	while ((ev = iscsi_rx_next(&h->rx, &at, end)) != ISCSI_RX_MORE) {
		must(ev != ISCSI_RX_BAD);
		if (ev == ISCSI_RX_HEADER)
			*ret = *h->rx.bhs;
		if (ev == ISCSI_RX_DATA && ret_data) {
			*ret_data = h->rx.span;
			*ret_len = h->rx.span_len;
		}
		must(ev != ISCSI_RX_END || h->rx.digest_good);
	}
	h->max_cmd_sn = be32_get(ret->nop_in.max_cmd_sn);
	return true;
}

/* --- login ------------------------------------------------------------------------------------------------------- */

static uint32_t put_keys(char *to, const char *keys)
{
	uint32_t len = 0;

	for (; *keys; keys++)
		to[len++] = *keys == '\n' ? 0 : *keys;
	return len;
}

bool host_login(struct host *h, const char *initiator, const char *keys)
{
	union iscsi_bhs bhs = { .login = {
		.opcode = ISCSI_OP_LOGIN | ISCSI_IMMEDIATE,
		.flags = ISCSI_TRANSIT | ISCSI_STAGE_OPERATIONAL << ISCSI_CSG_SHIFT | ISCSI_STAGE_FULL_FEATURE,
		.isid = { 0x80, 0, 0, 0, 0, 1 }, .cid = be16_of(1), .cmd_sn = be32_of(h->cmd_sn),
	} };
	char text[4096], head[1024];
	uint32_t len;

	snprintf(head, sizeof(head), "InitiatorName=%s\nTargetName=%s\nSessionType=Normal\n", initiator, TEST_NODE);
	len = put_keys(text, head);
	len += put_keys(text + len, keys);
	for (uint32_t i = 0; i < 8; i++) {
		host_send_pdu(h, &bhs, text, len);
		if (!host_recv(h, &bhs, NULL, NULL, 20 * NS_PER_S) || bhs.login_rsp.opcode != ISCSI_OP_LOGIN_RSP ||
		    be16_get(bhs.login_rsp.status))
			return false;
		h->exp_stat_sn = be32_get(bhs.login_rsp.stat_sn) + 1;
		if (bhs.login_rsp.flags & ISCSI_TRANSIT)
			break;
		len = 0;
		bhs.login.opcode = ISCSI_OP_LOGIN | ISCSI_IMMEDIATE;
		bhs.login.flags = ISCSI_TRANSIT | ISCSI_STAGE_OPERATIONAL << ISCSI_CSG_SHIFT | ISCSI_STAGE_FULL_FEATURE;
		bhs.login.cmd_sn = be32_of(h->cmd_sn);
		bhs.login.cid = be16_of(1);
	}
	h->header_digest = h->rx.header_digest = strstr(keys, "HeaderDigest=CRC32C");
	h->data_digest = h->rx.data_digest = strstr(keys, "DataDigest=CRC32C");
	return true;
}

void host_ready(struct host *h, struct test_world *w, const char *initiator, const char *keys)
{
	const union iscsi_bhs ready = { .command = { .opcode = ISCSI_OP_COMMAND, .flags = ISCSI_FINAL } };

	host_open(h, w);
	must(host_login(h, initiator, keys));
	for (uint32_t i = 0; i < 4 && host_run(h, &ready, NULL, 0, 0, NULL, 0); i++)
		; /* unit attentions */
}

/* --- commands ---------------------------------------------------------------------------------------------------- */

union iscsi_bhs host_rw(struct host *h, bool write, uint32_t lba, uint32_t blocks)
{
	union iscsi_bhs b = { .command = {
		.opcode = ISCSI_OP_COMMAND, .flags = ISCSI_FINAL | (write ? ISCSI_WRITE : ISCSI_READ) | ISCSI_ATTR_SIMPLE,
		.expected_len = be32_of(blocks * TEST_BLOCK),
	} };

	b.command.cdb[0] = write ? 0x2a : 0x28;
	scsi_put32(b.command.cdb + 2, lba);
	scsi_put16(b.command.cdb + 7, (uint16_t)blocks);
	return b;
}

void host_data_out(struct host *h, uint32_t itt, uint32_t ttt, uint32_t sn, uint32_t offset, const void *data,
                   uint32_t len, bool final)
{
	const union iscsi_bhs b = { .data_out = {
		.opcode = ISCSI_OP_DATA_OUT, .flags = final ? ISCSI_FINAL : 0, .itt = be32_of(itt), .ttt = be32_of(ttt),
		.data_sn = be32_of(sn), .offset = be32_of(offset), .lun = be64_of(h->lun),
	} };

	host_send_pdu(h, &b, data, len);
}

void host_answer_r2t(struct host *h, const struct iscsi_r2t *r, const uint8_t *data)
{
	uint32_t at = be32_get(r->offset), end = at + be32_get(r->desired_len), sn = 0;

	for (uint32_t n; at < end; at += n, sn++) {
		n = min_u32(h->piece, end - at);
		host_data_out(h, be32_get(r->itt), be32_get(r->ttt), sn, at, data + at, n, at + n == end);
	}
}

uint16_t host_run(struct host *h, const union iscsi_bhs *cmd, const void *data, uint32_t len, uint32_t immediate,
                  void *to, uint32_t to_len)
{
	union iscsi_bhs b = *cmd;
	const uint8_t *in;
	uint32_t in_len, sn = 0;

	b.command.itt = be32_of(++h->itt);
	b.command.cmd_sn = be32_of(h->cmd_sn++);
	host_send_pdu(h, &b, data, immediate);
	while (host_recv(h, &b, &in, &in_len, 20 * NS_PER_S)) {
		switch (b.h.opcode) {
		case ISCSI_OP_R2T:
			must(be32_get(b.r2t.r2t_sn) == sn++);
			host_answer_r2t(h, &b.r2t, data);
			break;
		case ISCSI_OP_DATA_IN:
			must(be32_get(b.data_in.data_sn) == sn++);
			must(be32_get(b.data_in.offset) + in_len <= to_len);
			memcpy((uint8_t *)to + be32_get(b.data_in.offset), in, in_len);
			if (b.data_in.flags & ISCSI_STATUS)
				return b.data_in.status;
			break;
		case ISCSI_OP_RESPONSE:
			return b.response.status;
		case ISCSI_OP_ASYNC:
		case ISCSI_OP_NOP_IN:
			break;
		default:
			return UINT16_MAX;
		}
	}
	return UINT16_MAX;
}
