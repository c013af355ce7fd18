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

/* A PDU that came ahead of others. */
struct iscsi_later {
	struct iscsi_later *next;
	uint32_t cmd_sn;
	bool in_turn;
	union iscsi_bhs bhs;
	uint8_t *buf;
	uint32_t len;
};

static bool take_skipped(struct iscsi_conn *c)
{
	uint32_t at = c->exp_cmd_sn % ISCSI_QUEUE_DEPTH_MAX;
	bool skipped = c->skipped[at / 8] >> at % 8 & 1;

	c->skipped[at / 8] &= (uint8_t)~(1u << at % 8);
	return skipped;
}

static struct iscsi_task *held_task(struct iscsi_conn *c, uint32_t cmd_sn)
{
	for (uint32_t i = 0; c->held && i < c->touched; i++) {
		struct iscsi_task *t = conn_task(c, i);

		if (t->state != TASK_FREE && !t->immediate && !t->in_turn && t->cmd_sn == cmd_sn)
			return t;
	}
	return NULL;
}

static struct iscsi_later *later_pdu(struct iscsi_conn *c, uint32_t cmd_sn)
{
	for (struct iscsi_later *l = c->later; l; l = l->next)
		if (l->cmd_sn == cmd_sn)
			return l;
	return NULL;
}

static bool take_held(struct iscsi_conn *c)
{
	struct iscsi_task *t = held_task(c, c->exp_cmd_sn);
	struct iscsi_later *l = t ? NULL : later_pdu(c, c->exp_cmd_sn);

	if (t) {
		t->in_turn = true;
		c->held--;
		c->window_used++;
	} else if (l) {
		l->in_turn = true;
	} else {
		return false;
	}
	c->held_go_on = true;
	return true;
}

static void window_moves(struct iscsi_conn *c)
{
	c->exp_cmd_sn++;
	if (unlikely(c->held || c->later))
		c->gap_ns = reactor_now_ns();
	while (unlikely(take_skipped(c)) || unlikely((c->held || c->later) && take_held(c)))
		c->exp_cmd_sn++;
}

/* Ahead of others: a PDU of that number came, or need not be waited for. */
static bool is_known(struct iscsi_conn *c, uint32_t cmd_sn)
{
	uint32_t at = cmd_sn % ISCSI_QUEUE_DEPTH_MAX;

	return held_task(c, cmd_sn) || later_pdu(c, cmd_sn) || (c->skipped[at / 8] >> at % 8 & 1);
}

bool iscsi_cmd_sn_is_missing(struct iscsi_conn *c, uint32_t cmd_sn)
{
	return !iscsi_sn_before(cmd_sn, c->exp_cmd_sn) && !iscsi_sn_before(conn_max_cmd_sn(c), cmd_sn) &&
	       !is_known(c, cmd_sn);
}

enum cmd_sn iscsi_cmd_sn_came(struct iscsi_conn *c, const struct iscsi_hdr *h, uint32_t cmd_sn)
{
	if (iscsi_is_immediate(h))
		return CMD_SN_NEXT;
	if (likely(cmd_sn == c->exp_cmd_sn && c->window_used < c->depth)) {
		window_moves(c);
		return CMD_SN_NEXT;
	}
	if (iscsi_cmd_sn_is_missing(c, cmd_sn)) {
		if (!c->held && !c->later)
			iscsi_conn_has_gap(c);
		return CMD_SN_AHEAD;
	}
	iscsi_count(c->home, ignored, 1); /* silently, says RFC 7143 4.2.2.1 */
	return CMD_SN_IGNORE;
}

void iscsi_cmd_sn_skip(struct iscsi_conn *c, uint32_t cmd_sn)
{
	uint32_t at = cmd_sn % ISCSI_QUEUE_DEPTH_MAX;

	if (cmd_sn == c->exp_cmd_sn)
		window_moves(c);
	else
		c->skipped[at / 8] |= (uint8_t)(1u << at % 8);
}

/* True: deal with the PDU at hand now. */
static bool in_turn(struct iscsi_conn *c, uint32_t cmd_sn)
{
	struct iscsi_later *l;

	switch (iscsi_cmd_sn_came(c, &c->rx_bhs.h, cmd_sn)) {
	case CMD_SN_NEXT:
		return true;
	case CMD_SN_IGNORE:
		return false;
	case CMD_SN_AHEAD:
		break;
	}
	if (iscsi_opcode(&c->rx_bhs.h) == ISCSI_OP_LOGOUT) {
		/* Nothing comes after it, says RFC 7143 11.14: what is missing does not either. */
		iscsi_cmd_sn_skip(c, cmd_sn);
		return true;
	}
	if (c->rx_buf && c->later_bytes + c->rx_buf_len > ISCSI_SAY_BYTES_MAX) {
		iscsi_conn_break(c, ISCSI_REJECT_LONG_OPERATION, "CmdSN: too much came ahead of its turn");
		return false;
	}
	l = base_zalloc(sizeof(*l));
	*l = (struct iscsi_later){ .next = c->later, .cmd_sn = cmd_sn, .bhs = c->rx_bhs, .buf = c->rx_buf,
	                           .len = c->rx_buf ? c->rx_buf_len : 0 };
	c->later_bytes += l->len;
	c->rx_buf = NULL;
	c->later = l;
	return false;
}

static void later_goes_on(struct iscsi_conn *c, struct iscsi_later *l)
{
	struct iscsi_later **at = &c->later;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	c->later_bytes -= l->len;
	c->rx_bhs = l->bhs;
	c->rx_bhs.h.opcode |= ISCSI_IMMEDIATE; /* its number has been counted */
	c->rx_buf = l->buf;
	c->rx_buf_len = l->len;
	free(l);
	iscsi_conn_pdu(c);
	free(c->rx_buf);
	c->rx_buf = NULL;
}

/* In order of their numbers. */
void iscsi_held_go_on(struct iscsi_conn *c)
{
	assert(!c->rx_buf && !c->rx_task);
	c->held_go_on = false;
	while (conn_is_live(c) && !c->logged_out) {
		struct iscsi_task *task = NULL;
		struct iscsi_later *later = NULL;

		for (uint32_t i = 0; i < c->touched; i++) {
			struct iscsi_task *t = conn_task(c, i);

			if (t->state == TASK_ORDER && t->in_turn && (!task || iscsi_sn_before(t->cmd_sn, task->cmd_sn)))
				task = t;
		}
		for (struct iscsi_later *l = c->later; l; l = l->next)
			if (l->in_turn && (!later || iscsi_sn_before(l->cmd_sn, later->cmd_sn)))
				later = l;
		if (later && (!task || iscsi_sn_before(later->cmd_sn, task->cmd_sn)))
			later_goes_on(c, later);
		else if (task)
			iscsi_task_in_turn(task);
		else
			return;
	}
}

void iscsi_later_end(struct iscsi_conn *c)
{
	while (c->later) {
		struct iscsi_later *l = c->later;

		c->later = l->next;
		free(l->buf);
		free(l);
	}
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
		else if (in_turn(c, be32_get(bhs->tmf.cmd_sn)))
			iscsi_conn_tmf(c, &bhs->tmf);
		break;
	case ISCSI_OP_TEXT:
		if (in_turn(c, be32_get(bhs->text.cmd_sn)))
			on_text(c);
		break;
	case ISCSI_OP_LOGOUT:
		if (in_turn(c, be32_get(bhs->logout.cmd_sn)))
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

	if (!in_turn(c, be32_get(nop->cmd_sn)))
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
		if (c->talks) { /* and one receive holds thousands of requests, each worth a list of all targets */
			iscsi_conn_break(c, ISCSI_REJECT_LONG_OPERATION, "too many requests before their answers were read");
			return;
		}
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
	carry_send(&j->conn->where, m, text_back);
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
	iscsi_conn_less(c);
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
	iscsi_tasks_leave_luns(c);
	s = iscsi_say_make(ISCSI_OP_ASYNC, &data, sizeof(data));
	s->bhs.async.lun = be64_of(lun);
	s->bhs.async.itt = be32_of(ISCSI_TAG_NONE);
	s->bhs.async.event = ISCSI_ASYNC_SCSI;
	iscsi_say(c, s);
}
