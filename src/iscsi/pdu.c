/* SPDX-License-Identifier: BSD-3-Clause */
/* pdu.c: what an initiator sends that is no command and no data, and what we say that answers none: command numbering,
 * NOP, text, logout, Reject, asynchronous messages.
 *
 * Each answer is a small block of its own in the connection's line. An initiator that asks and does not read is not
 * read on when too many of them wait.
 */
#include "iscsi/conn.h"
#include "wire/scsi.h"

static void on_nop_out(struct iscsi_conn *c);
static void on_text(struct iscsi_conn *c);
static void text_on_control(struct msg *m);
static void text_back(struct msg *m);
static void on_logout(struct iscsi_conn *c);

/* --- command numbers --------------------------------------------------------------------------------------------- */

static void window_moves(struct iscsi_conn *c)
{
	c->exp_cmd_sn++;
	c->skipped >>= 1;
	while (unlikely(c->skipped & 1)) {
		c->exp_cmd_sn++;
		c->skipped >>= 1;
	}
}

/* Commands come in order of their numbers, since a session has one connection, on which nothing is lost. */
bool iscsi_cmd_sn_came(struct iscsi_conn *c, const struct iscsi_hdr *h, uint32_t cmd_sn)
{
	if (iscsi_is_immediate(h))
		return true;
	if (likely(cmd_sn == c->exp_cmd_sn && c->window_used < c->depth)) {
		window_moves(c);
		return true;
	}
	if (iscsi_sn_before(cmd_sn, c->exp_cmd_sn) || iscsi_sn_before(conn_max_cmd_sn(c), cmd_sn)) {
		iscsi_count(c->home, ignored, 1); /* silently, says RFC 7143 4.2.2.1 */
		return false;
	}
	iscsi_conn_break(c, ISCSI_REJECT_PROTOCOL_ERROR, "CmdSN: commands before it are missing");
	return false;
}

/* What skips more than a word's bits at once keeps its gap. */
void iscsi_cmd_sn_skip(struct iscsi_conn *c, uint32_t cmd_sn)
{
	uint32_t ahead = cmd_sn - c->exp_cmd_sn;

	if (ahead >= 32)
		return;
	if (ahead) {
		c->skipped |= 1u << ahead;
		return;
	}
	window_moves(c);
}

/* --- saying ------------------------------------------------------------------------------------------------------ */

struct iscsi_say *iscsi_say_make(uint8_t opcode, const void *data, uint32_t len)
{
	struct iscsi_say *s = malloc(sizeof(*s) + len);

	must(s);
	memset(s, 0, sizeof(*s));
	s->takes_stat_sn = true;
	s->bhs.h.opcode = opcode;
	s->bhs.h.flags = ISCSI_FINAL;
	s->bhs.h.data_len = be24_of(len);
	s->len = len;
	if (len)
		memcpy(s->bytes, data, len);
	return s;
}

void iscsi_say(struct iscsi_conn *c, struct iscsi_say *s)
{
	if (!c->sock || (c->state == CONN_DRAIN && !s->closes)) {
		free(s);
		return;
	}
	c->says++;
	c->say_bytes += s->len;
	iscsi_send_push(c, &s->out);
	if (unlikely(c->says >= ISCSI_SAYS_MAX || c->say_bytes >= ISCSI_SAY_BYTES_MAX) && !c->talks) {
		c->talks = true;
		iscsi_conn_update_reading(c);
	}
}

/* It was sent, or never will be. */
void iscsi_say_end(struct iscsi_conn *c, struct iscsi_say *s)
{
	c->says--;
	c->say_bytes -= s->len;
	free(s);
	if (unlikely(c->talks) && c->says < ISCSI_SAYS_MAX / 2 && c->say_bytes < ISCSI_SAY_BYTES_MAX / 2) {
		c->talks = false;
		iscsi_conn_update_reading(c);
	}
}

void iscsi_conn_reject(struct iscsi_conn *c, uint8_t reason)
{
	struct iscsi_say *s = iscsi_say_make(ISCSI_OP_REJECT, &c->rx_bhs, sizeof(c->rx_bhs));

	s->bhs.reject.reason = reason;
	s->bhs.reject.itt = be32_of(ISCSI_TAG_NONE);
	iscsi_count(c->home, rejects, 1);
	log_debug("iSCSI: %s: %s rejected: %s", iscsi_conn_name(c), iscsi_opcode_text(c->rx_bhs.h.opcode),
	          iscsi_reject_text(reason));
	iscsi_say(c, s);
}

/* --- PDUs -------------------------------------------------------------------------------------------------------- */

void iscsi_conn_pdu(struct iscsi_conn *c)
{
	const union iscsi_bhs *bhs = &c->rx_bhs;

	if (c->state == CONN_LOGIN) {
		iscsi_conn_login_pdu(c);
		return;
	}
	if (!conn_is_live(c))
		return; /* its header was judged */
	switch (iscsi_opcode(&bhs->h)) {
	case ISCSI_OP_NOP_OUT:
		on_nop_out(c);
		break;
	case ISCSI_OP_TMF:
		iscsi_count(c->home, task_management, 1);
		if (c->state != CONN_READY)
			iscsi_conn_break(c, ISCSI_REJECT_PROTOCOL_ERROR, "task management in a discovery session");
		else if (iscsi_cmd_sn_came(c, &bhs->h, be32_get(bhs->tmf.cmd_sn)))
			iscsi_conn_tmf(c, &bhs->tmf);
		break;
	case ISCSI_OP_TEXT:
		if (iscsi_cmd_sn_came(c, &bhs->h, be32_get(bhs->text.cmd_sn)))
			on_text(c);
		break;
	case ISCSI_OP_LOGOUT:
		if (iscsi_cmd_sn_came(c, &bhs->h, be32_get(bhs->logout.cmd_sn)))
			on_logout(c);
		break;
	default:
		break; /* what else passed the check was rejected when its header came */
	}
}

/* --- NOP --- */

static void on_nop_out(struct iscsi_conn *c)
{
	const struct iscsi_nop_out *nop = &c->rx_bhs.nop_out;
	struct iscsi_say *s;

	if (!iscsi_cmd_sn_came(c, &c->rx_bhs.h, be32_get(nop->cmd_sn)))
		return;
	if (be32_get(nop->itt) == ISCSI_TAG_NONE) {
		if (be32_get(nop->ttt) == c->ping_ttt)
			c->ping_ttt = ISCSI_TAG_NONE;
		return;
	}
	s = iscsi_say_make(ISCSI_OP_NOP_IN, c->rx_buf, c->rx_buf ? min_u32(c->rx_buf_len, c->params.max_send) : 0);
	s->bhs.nop_in.itt = nop->itt;
	s->bhs.nop_in.ttt = be32_of(ISCSI_TAG_NONE);
	s->bhs.nop_in.lun = nop->lun;
	iscsi_count(c->home, pings, 1);
	iscsi_say(c, s);
}

void iscsi_conn_ping(struct iscsi_conn *c)
{
	struct iscsi_say *s = iscsi_say_make(ISCSI_OP_NOP_IN, NULL, 0);

	c->ping_ttt = (uint32_t)c->id << 8 & 0x7fffff00u;
	c->ping_ns = reactor_now_ns();
	s->takes_stat_sn = false;
	s->bhs.nop_in.itt = be32_of(ISCSI_TAG_NONE);
	s->bhs.nop_in.ttt = be32_of(c->ping_ttt);
	iscsi_count(c->home, our_pings, 1);
	iscsi_say(c, s);
}

/* --- text: a discovery session's are answered here; others go to control, where the configuration is --- */

struct iscsi_text_job {
	struct msg msg;
	struct iscsi_conn *conn;
	struct iscsi_text_req bhs;
	struct iscsi_say *answer;
	uint32_t max_send;            /* as negotiated by then */
	uint32_t len;
	uint8_t data[];
};

static void on_text(struct iscsi_conn *c)
{
	struct iscsi_text_job *j;
	uint32_t len = c->rx_buf ? c->rx_buf_len : 0;

	iscsi_count(c->home, texts, 1);
	if (c->state == CONN_DISCOVERY) {
		iscsi_say(c, iscsi_text_answer(c, &c->rx_bhs.text, c->rx_buf, len));
		return;
	}
	if (c->texts) {
		iscsi_conn_reject(c, ISCSI_REJECT_PROTOCOL_ERROR); /* one at a time, says RFC 7143 11.10 */
		return;
	}
	j = malloc(sizeof(*j) + len);
	must(j);
	*j = (struct iscsi_text_job){ .conn = c, .bhs = c->rx_bhs.text, .len = len };
	if (len)
		memcpy(j->data, c->rx_buf, len);
	c->texts++;
	msg_send(core_control(c->conns->core), &j->msg, text_on_control);
}

static void text_on_control(struct msg *m)
{
	struct iscsi_text_job *j = container_of(m, struct iscsi_text_job, msg);

	j->answer = iscsi_text_answer(j->conn, &j->bhs, j->data, j->len);
	j->max_send = j->conn->login.params.max_send;
	msg_send(atomic_load(&j->conn->where), m, text_back);
}

static void text_back(struct msg *m)
{
	struct iscsi_text_job *j = container_of(m, struct iscsi_text_job, msg);
	struct iscsi_conn *c = j->conn;

	if (!iscsi_conn_here(c, m, text_back))
		return;
	c->texts--;
	if (conn_is_live(c) && j->max_send != c->params.max_send) {
		iscsi_send_to_raw(c, false); /* what was begun was cut as it was */
		c->params.max_send = j->max_send;
	}
	iscsi_say(c, j->answer);
	free(j);
	iscsi_conn_text_ended(c);
}

/* --- logout --- */

static void on_logout(struct iscsi_conn *c)
{
	const struct iscsi_logout_req *req = &c->rx_bhs.logout;
	uint8_t reason = req->reason & ISCSI_FUNCTION_MASK, answer = ISCSI_LOGOUT_RSP_CLOSED;
	struct iscsi_say *s = iscsi_say_make(ISCSI_OP_LOGOUT_RSP, NULL, 0);

	if (reason == ISCSI_LOGOUT_RECOVERY)
		answer = ISCSI_LOGOUT_RSP_NO_RECOVERY;
	else if (reason == ISCSI_LOGOUT_CONNECTION && be16_get(req->cid) != c->login.cid)
		answer = ISCSI_LOGOUT_RSP_NO_CID;
	s->bhs.logout_rsp.itt = req->itt;
	s->bhs.logout_rsp.response = answer;
	s->bhs.logout_rsp.time2wait = be16_of(c->params.time2wait);
	s->bhs.logout_rsp.time2retain = be16_of(c->params.time2retain);
	if (answer != ISCSI_LOGOUT_RSP_CLOSED) {
		iscsi_say(c, s);
		return;
	}
	iscsi_count(c->home, logouts, 1);
	s->closes = true;
	iscsi_conn_log_out(c, s);
}

/* --- asynchronous messages --------------------------------------------------------------------------------------- */

void iscsi_conn_tell(struct iscsi_conn *c, uint8_t event, uint16_t seconds)
{
	struct iscsi_say *s = iscsi_say_make(ISCSI_OP_ASYNC, NULL, 0);

	s->bhs.async.itt = be32_of(ISCSI_TAG_NONE);
	s->bhs.async.event = event;
	s->bhs.async.param3 = be16_of(seconds);
	iscsi_say(c, s);
}

/* LUNs came or went, one was resized: the sense that the next command would be answered with is told at once. */
void iscsi_conn_event(struct scsi_nexus *n, uint64_t lun, uint8_t asc, uint8_t ascq)
{
	struct iscsi_conn *c = conn_of(n);
	struct {
		be16 len;
		struct scsi_sense_fixed sense;
	} data = { .len = be16_of(sizeof(data.sense)),
	           .sense = { .code = SCSI_SENSE_FIXED, .key = SCSI_UNIT_ATTENTION, .additional_len = 10,
	                      .asc = asc, .ascq = ascq } };
	struct iscsi_say *s;

	if (c->state != CONN_READY)
		return;
	s = iscsi_say_make(ISCSI_OP_ASYNC, &data, sizeof(data));
	s->bhs.async.lun = be64_of(lun);
	s->bhs.async.itt = be32_of(ISCSI_TAG_NONE);
	s->bhs.async.event = ISCSI_ASYNC_SCSI;
	iscsi_say(c, s);
}
