/* SPDX-License-Identifier: BSD-3-Clause */
/* initiator_io.c: commands and data of gantry-perf's iSCSI sessions. What a pass produced goes out in one sendmsg; what
 * arrives is copied once, from the receive buffer to the operation's.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "perf/initiator_priv.h"

#define SEND_IOVS 512

/* --- sending --------------------------------------------------------------------------------------- */

struct ini_tx *ini_tx_add(struct ini *i)
{
	struct ini_tx *x;

	if (i->tx_count == i->tx_size) {
		uint32_t size = i->tx_size ? i->tx_size * 2 : 64;
		struct ini_tx *grown = base_zalloc(size * sizeof(*grown));

		for (uint32_t n = 0; n < i->tx_count; n++)
			grown[n] = i->tx[(i->tx_first + n) % i->tx_size];
		free(i->tx);
		i->tx = grown;
		i->tx_size = size;
		i->tx_first = 0;
	}
	x = &i->tx[(i->tx_first + i->tx_count++) % i->tx_size];
	*x = (struct ini_tx){ .header_len = ISCSI_BHS_SIZE };
	return x;
}

void ini_tx_ready(struct ini *i, struct ini_tx *x)
{
	x->tail_len = iscsi_pad(x->len);
	if (i->ddgst && x->len) {
		uint32_t crc = crc32c_update(CRC32C_START, x->data, x->len);
		le32 digest = le32_of(crc32c_finish(crc32c_update(crc, x->tail, x->tail_len)));

		memcpy(x->tail + x->tail_len, &digest, sizeof(digest));
		x->tail_len += ISCSI_DIGEST_SIZE;
	}
	if (i->hdgst) {
		le32 digest = le32_of(crc32c_finish(crc32c_update(CRC32C_START, &x->hdr, ISCSI_BHS_SIZE)));

		memcpy(x->header_digest, &digest, sizeof(digest));
		x->header_len += ISCSI_DIGEST_SIZE;
	}
	if (!i->blocked)
		defer_last(&i->send_defer, ini_send);
}

static size_t tx_bytes(const struct ini_tx *x)
{
	return (size_t)x->header_len + x->len + x->tail_len;
}

/* The pieces of one PDU, without its first `skip` bytes. */
static int tx_iovs(struct ini_tx *x, size_t skip, struct iovec *iov)
{
	const struct iovec pieces[] = {
		{ &x->hdr, x->header_len }, { (void *)(uintptr_t)x->data, x->len }, { x->tail, x->tail_len }
	};
	int count = 0;

	_Static_assert(offsetof(struct ini_tx, header_digest) == ISCSI_BHS_SIZE, "the digest follows its header");
	for (size_t n = 0; n < ARRAY_SIZE(pieces); n++) {
		size_t len = pieces[n].iov_len, cut = skip < len ? skip : len;

		skip -= cut;
		if (len > cut)
			iov[count++] = (struct iovec){ (uint8_t *)pieces[n].iov_base + cut, len - cut };
	}
	return count;
}

static void tx_drop(struct ini *i, size_t sent)
{
	i->tx_sent += sent;
	while (i->tx_count && i->tx_sent >= tx_bytes(&i->tx[i->tx_first])) {
		i->tx_sent -= tx_bytes(&i->tx[i->tx_first]);
		i->tx_first = (i->tx_first + 1) % i->tx_size;
		i->tx_count--;
	}
}

void ini_send(struct defer *d)
{
	struct ini *i = container_of(d, struct ini, send_defer);
	struct iovec iov[SEND_IOVS + 3];

	while (i->tx_count && !i->over && !i->blocked) {
		size_t bytes = 0;
		ssize_t sent;
		int count = 0;

		for (uint32_t n = 0; n < i->tx_count && count < SEND_IOVS; n++) {
			struct ini_tx *x = &i->tx[(i->tx_first + n) % i->tx_size];

			count += tx_iovs(x, n ? 0 : i->tx_sent, iov + count);
			bytes += tx_bytes(x) - (n ? 0 : i->tx_sent);
		}
		sent = sock_send(i->sock, iov, count);
		if (sent < 0 && sent != -EAGAIN) {
			ini_broke(i, "sending failed: %s", strerror((int)-sent));
			return;
		}
		tx_drop(i, sent > 0 ? (size_t)sent : 0);
		i->blocked = sent < 0 || (size_t)sent < bytes;
	}
	if (!i->over)
		sock_want_write(i->sock, i->blocked);
}

/* --- commands ------------------------------------------------------------------------------------- */

/* A sequence of Data-Outs: unsolicited, or for an R2T. */
static void send_data_out(struct ini *i, uint32_t tag, uint32_t ttt, uint32_t at, uint32_t end)
{
	const struct ini_op *op = i->tags[tag];

	for (uint32_t data_sn = 0, len; at < end; at += len, data_sn++) {
		struct ini_tx *x = ini_tx_add(i);

		len = min_u32(end - at, i->send_max);
		x->data = op->data + at;
		x->len = len;
		x->hdr.data_out = (struct iscsi_data_out){
			.opcode = ISCSI_OP_DATA_OUT, .flags = at + len == end ? ISCSI_FINAL : 0, .data_len = be24_of(len),
			.lun = be64_of((uint64_t)i->url.lun << 48), .itt = be32_of(tag), .ttt = be32_of(ttt),
			.exp_stat_sn = be32_of(i->exp_stat_sn), .data_sn = be32_of(data_sn), .offset = be32_of(at),
		};
		ini_tx_ready(i, x);
	}
}

static void send_command(struct ini *i, struct ini_op *op)
{
	struct ini_tx *x = ini_tx_add(i);
	uint32_t tag = i->free_tags[--i->free_count], unasked = 0, immediate;

	i->tags[tag] = op;
	i->out_count++;
	op->status = op->key = 0;
	op->asc = 0;
	op->got = 0;
	if (op->is_write) {
		x->data = op->data;
		x->len = i->immediate_data ? min_u32(min_u32(op->len, i->send_max), i->first_burst) : 0;
		unasked = i->initial_r2t ? x->len : min_u32(op->len, i->first_burst);
	}
	x->hdr.command = (struct iscsi_command){
		.opcode = ISCSI_OP_COMMAND,
		.flags = (uint8_t)((unasked > x->len ? 0 : ISCSI_FINAL) | ISCSI_ATTR_SIMPLE |
		                   (op->len ? op->is_write ? ISCSI_WRITE : ISCSI_READ : 0)),
		.data_len = be24_of(x->len), .lun = be64_of((uint64_t)i->url.lun << 48), .itt = be32_of(tag),
		.expected_len = be32_of(op->len), .cmd_sn = be32_of(i->cmd_sn++), .exp_stat_sn = be32_of(i->exp_stat_sn),
	};
	memcpy(x->hdr.command.cdb, op->cdb, sizeof(op->cdb));
	immediate = x->len; /* the line may move when it grows */
	ini_tx_ready(i, x);
	send_data_out(i, tag, ISCSI_TAG_NONE, immediate, unasked);
}

static bool may_send(const struct ini *i)
{
	return i->free_count && !iscsi_sn_before(i->max_cmd_sn, i->cmd_sn);
}

void ini_submit(struct ini *i, struct ini_op *op)
{
	op->tries = 0;
	if (i->over) {
		op->status = INI_STATUS_LOST;
		op->done(op);
	} else if (may_send(i) && queue_empty(&i->waiting)) {
		send_command(i, op);
	} else {
		queue_push(&i->waiting, &op->link);
	}
}

static void send_waiting(struct ini *i)
{
	struct queue_link *l;

	while (!i->over && may_send(i) && (l = queue_pop(&i->waiting)))
		send_command(i, container_of(l, struct ini_op, link));
}

static void op_ended(struct ini *i, uint32_t tag, uint8_t status)
{
	struct ini_op *op = i->tags[tag];

	i->tags[tag] = NULL;
	i->free_tags[i->free_count++] = (uint16_t)tag;
	i->out_count--;
	if (status == SCSI_CHECK_CONDITION && op->key == SCSI_UNIT_ATTENTION && op->tries++ < INI_TRIES_MAX) {
		queue_push(&i->waiting, &op->link); /* it says something else, and was not done */
		return;
	}
	op->tries = 0;
	op->status = status;
	op->done(op);
}

/* --- answers --------------------------------------------------------------------------------------- */

static struct ini_op *op_of(struct ini *i, uint32_t tag)
{
	struct ini_op *op = tag < INI_TAGS ? i->tags[tag] : NULL;

	if (!op)
		ini_broke(i, "an answer to tag %08x, which is not out", tag);
	return op;
}

static void on_response(struct ini *i, const struct iscsi_response *r, const uint8_t *data, uint32_t len)
{
	struct ini_op *op = op_of(i, be32_get(r->itt));

	if (!op)
		return;
	if (len >= 2 + 14) { /* sense data behind its length; fixed or descriptor format */
		const uint8_t *sense = data + 2;
		bool fixed = (sense[0] & 0x7e) == 0x70;

		op->key = (fixed ? sense[2] : sense[1]) & 0xf;
		op->asc = (uint16_t)(fixed ? sense[12] << 8 | sense[13] : sense[2] << 8 | sense[3]);
	}
	if (op->is_write)
		op->got = op->len;
	op_ended(i, be32_get(r->itt), r->response ? INI_STATUS_LOST : r->status);
}

static void on_nop_in(struct ini *i, const struct iscsi_nop_in *r)
{
	struct ini_tx *x;

	if (be32_get(r->ttt) == ISCSI_TAG_NONE)
		return;
	x = ini_tx_add(i);
	x->hdr.nop_out = (struct iscsi_nop_out){
		.opcode = ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE, .flags = ISCSI_FINAL, .lun = r->lun,
		.itt = be32_of(ISCSI_TAG_NONE), .ttt = r->ttt, .cmd_sn = be32_of(i->cmd_sn),
		.exp_stat_sn = be32_of(i->exp_stat_sn),
	};
	ini_tx_ready(i, x);
}

static void on_r2t(struct ini *i, const struct iscsi_r2t *r)
{
	struct ini_op *op = op_of(i, be32_get(r->itt));
	uint32_t at = be32_get(r->offset), len = be32_get(r->desired_len);

	if (!op)
		return;
	if (!op->is_write || len > op->len || at > op->len - len)
		ini_broke(i, "an R2T for %u bytes at %u of %u", len, at, op->len);
	else
		send_data_out(i, be32_get(r->itt), be32_get(r->ttt), at, at + len);
}

/* StatSN and the command window are in the same place of all answers. */
static void take_numbers(struct ini *i, const union iscsi_bhs *b, bool has_status)
{
	uint32_t max = be32_get(b->nop_in.max_cmd_sn);

	i->heard_ns = reactor_now_ns();
	if (has_status)
		i->exp_stat_sn = be32_get(b->nop_in.stat_sn) + 1;
	if (iscsi_sn_before(i->max_cmd_sn, max))
		i->max_cmd_sn = max;
}

/* A PDU other than Data-In, whole. */
static void on_pdu(struct ini *i, const union iscsi_bhs *b, uint8_t *data, uint32_t len)
{
	uint8_t opcode = iscsi_opcode(&b->h);

	take_numbers(i, b, opcode != ISCSI_OP_R2T && (opcode != ISCSI_OP_NOP_IN || be32_get(b->h.itt) != ISCSI_TAG_NONE));
	if (!i->full_feature && opcode != ISCSI_OP_LOGIN_RSP) {
		ini_broke(i, "%s instead of an answer to the login", iscsi_opcode_text(opcode));
		return;
	}
	switch (opcode) {
	case ISCSI_OP_LOGIN_RSP: ini_on_login(i, &b->login_rsp, (char *)data, len); break;
	case ISCSI_OP_RESPONSE: on_response(i, &b->response, data, len); break;
	case ISCSI_OP_R2T: on_r2t(i, &b->r2t); break;
	case ISCSI_OP_NOP_IN: on_nop_in(i, &b->nop_in); break;
	case ISCSI_OP_REJECT: ini_broke(i, "the target rejects: %s", iscsi_reject_text(b->reject.reason)); break;
	case ISCSI_OP_ASYNC:
		if (b->async.event != ISCSI_ASYNC_SCSI)
			ini_broke(i, "the target ends the session (event %u)", b->async.event);
		break;
	default: ini_broke(i, "PDU %02x, which was not asked for", opcode);
	}
}

/* --- receiving ---------------------------------------------------------------------------------------- */

static bool digest_fits(const uint8_t *at, uint32_t crc)
{
	return le32_get(*(const le32 *)at) == crc;
}

static void data_in_ended(struct ini *i)
{
	const struct iscsi_data_in *d = &i->rx.hdr.data_in;

	i->rx.op = NULL;
	take_numbers(i, &i->rx.hdr, d->flags & ISCSI_STATUS);
	if (d->flags & ISCSI_STATUS)
		op_ended(i, be32_get(d->itt), d->status);
}

static bool data_in_begins(struct ini *i, uint32_t len)
{
	const struct iscsi_data_in *d = &i->rx.hdr.data_in;
	struct ini_op *op = op_of(i, be32_get(d->itt));
	uint32_t at = be32_get(d->offset);

	if (!op)
		return false;
	if (op->is_write || at != op->got || len > op->len - at) {
		ini_broke(i, "%u bytes of data at %u; %u of %u were there", len, at, op->got, op->len);
		return false;
	}
	i->rx.op = op;
	i->rx.at = at;
	i->rx.left = len;
	i->rx.crc = CRC32C_START;
	i->rx.skip = iscsi_pad(len) + (i->ddgst && len ? ISCSI_DIGEST_SIZE : 0);
	op->got += len;
	return true;
}

/* As much of a Data-In's data as has arrived. False: more has to come. */
static bool take_data_in(struct ini *i)
{
	struct ini_rx *rx = &i->rx;
	uint32_t take = min_u32(rx->left, rx->to - rx->from);
	uint32_t pad = rx->skip & 3;

	memcpy(rx->op->data + rx->at, rx->buf + rx->from, take);
	if (i->ddgst)
		rx->crc = crc32c_update(rx->crc, rx->buf + rx->from, take);
	rx->from += take;
	rx->at += take;
	rx->left -= take;
	if (rx->left || rx->to - rx->from < rx->skip)
		return false;
	rx->crc = crc32c_update(rx->crc, rx->buf + rx->from, pad);
	rx->from += rx->skip;
	if (rx->skip > pad && !digest_fits(rx->buf + rx->from - ISCSI_DIGEST_SIZE, crc32c_finish(rx->crc)))
		ini_broke(i, "a data digest is wrong");
	else
		data_in_ended(i);
	return true;
}

/* A PDU, as far as it has arrived. False: more has to come. */
static bool take_pdu(struct ini *i)
{
	struct ini_rx *rx = &i->rx;
	uint8_t *at = rx->buf + rx->from;
	const union iscsi_bhs *b = (const union iscsi_bhs *)at;
	uint32_t have = rx->to - rx->from, header, len, whole;

	if (have < ISCSI_BHS_SIZE)
		return false;
	header = iscsi_header_size(&b->h, i->hdgst);
	len = iscsi_data_len(&b->h);
	if (len > INI_RECV_MAX) {
		ini_broke(i, "a PDU with %u bytes of data", len);
		return true;
	}
	if (have < header)
		return false;
	if (i->hdgst && !digest_fits(at + header - ISCSI_DIGEST_SIZE,
	                             crc32c_finish(crc32c_update(CRC32C_START, at, header - ISCSI_DIGEST_SIZE)))) {
		ini_broke(i, "a header digest is wrong");
		return true;
	}
	if (iscsi_opcode(&b->h) == ISCSI_OP_DATA_IN && i->full_feature) {
		rx->hdr = *b;
		rx->from += header;
		return !data_in_begins(i, len) || take_data_in(i);
	}
	whole = header + len + iscsi_pad(len) + (i->ddgst && len ? ISCSI_DIGEST_SIZE : 0);
	if (whole > INI_RX_BYTES)
		ini_broke(i, "a PDU of %u bytes", whole);
	if (have < whole)
		return i->over;
	rx->from += whole;
	rx->hdr = *b;
	on_pdu(i, &rx->hdr, at + header, len);
	return true;
}

static void take_all(struct ini *i)
{
	struct ini_rx *rx = &i->rx;

	while (!i->over && (rx->op ? take_data_in(i) : take_pdu(i)))
		;
	memmove(rx->buf, rx->buf + rx->from, rx->to - rx->from);
	rx->to -= rx->from;
	rx->from = 0;
}

void ini_receive(struct ini *i)
{
	struct ini_rx *rx = &i->rx;

	for (int budget = 4; budget && !i->over; budget--) {
		ssize_t got = sock_recv(i->sock, rx->buf + rx->to, INI_RX_BYTES - rx->to);
		bool full = got == (ssize_t)(INI_RX_BYTES - rx->to);

		if (got == -EAGAIN)
			break;
		if (got <= 0) {
			ini_broke(i, "%s", got ? strerror((int)-got) : "the target closed the connection");
			return;
		}
		rx->to += (uint32_t)got;
		take_all(i);
		if (!full)
			break;
	}
	if (!i->over)
		send_waiting(i);
}
