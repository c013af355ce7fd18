/* SPDX-License-Identifier: BSD-3-Clause */
/* conn_login.c: a connection's first phase, on the control reactor: login PDUs through the engine (login.h),
 * admission, and text requests, of discovery sessions and of others.
 *
 * A normal session that passed its login waits until older ones of its initiator port have ended (session
 * reinstatement): nothing of theirs lands any more when the last login answer is sent. Then it is joined to its SCSI
 * device and leaves for a core, with that answer still to be sent.
 */
#include "core/notify.h"
#include "base/text.h"
#include "iscsi/conn.h"

static void discovery_begins(struct iscsi_conn *c);
static void admit(struct iscsi_conn *c);
static void admit_run(struct defer *d);
static void admit_now(struct iscsi_conn *c);
static void refuse(struct iscsi_conn *c, uint16_t status, const char *why);
static void make_slots(struct iscsi_conn *c);
static void leave_control(struct iscsi_conn *c);

static const struct scsi_nexus_ops nexus_ops = {
	.task_done = iscsi_task_done,
	.disconnect = iscsi_conn_disconnect,
	.event = iscsi_conn_event,
};

/* The first slots are not touched: an idle connection shall stay small. */
struct iscsi_conn *iscsi_conn_make(struct iscsi_conns *cs, struct iscsi_portal *p, struct sock *s)
{
	struct iscsi_conn *c = malloc(sizeof(*c));

	must(c);
	memset(c, 0, offsetof(struct iscsi_conn, first));
	c->conns = cs;
	c->sock = s;
	c->home = &cs->homes[cs->core_count];
	iscsi_home_begin(c->home);
	list_add_tail(&c->home->list, &c->link);
	carry_begins(&c->where, reactor_self());
	c->ping_ttt = ISCSI_TAG_NONE;
	c->depth = 1;
	c->params = ISCSI_PARAMS_DEFAULT;
	queue_init(&c->out);
	queue_init(&c->turns);
	iscsi_rx_init(&c->rx);
	c->since_us = core_wall_us();
	iscsi_portal_ref(p);
	c->visitor.target = cs->target;
	c->visitor.portal = p;
	sock_local_addr(s, &c->visitor.local);
	sock_peer_addr(s, &c->visitor.peer);
	c->login.ops = &iscsi_config_login_ops;
	c->login.arg = &c->visitor;
	iscsi_options_params(&cs->target->options, &c->login.ours);
	c->login.window = cs->target->options.max_queue_depth;
	iscsi_login_init(&c->login);
	return c;
}

/* --- login PDUs -------------------------------------------------------------------------------------------------- */

static struct iscsi_say *login_answer(struct iscsi_conn *c)
{
	struct iscsi_say *s = iscsi_say_make(ISCSI_OP_LOGIN_RSP, c->login.answer.data, c->login.answer.len);

	s->bhs.login_rsp = c->login.answer.bhs;
	s->as_it_is = true;
	return s;
}

static void refused(struct iscsi_conn *c)
{
	char peer[NET_ADDR_TEXT_MAX];

	iscsi_count(c->home, login_failures, 1);
	if (log_may(&c->home->complaints))
		log_notice("iSCSI: %s at %s: login refused: %s", iscsi_conn_name(c), net_addr_text(&c->visitor.peer, peer),
		           c->login.why[0] ? c->login.why : iscsi_login_status_text(c->login.status));
	iscsi_conn_drain(c, login_answer(c));
}

void iscsi_conn_login_pdu(struct iscsi_conn *c)
{
	switch (iscsi_login_pdu(&c->login, &c->rx_bhs, c->rx_buf, c->rx_buf ? c->rx_buf_len : 0)) {
	case ISCSI_LOGIN_ANSWER:
		iscsi_say(c, login_answer(c));
		return;
	case ISCSI_LOGIN_DONE:
		if (c->login.session_type == ISCSI_DISCOVERY)
			discovery_begins(c);
		else
			admit(c);
		return;
	case ISCSI_LOGIN_REFUSED:
		refused(c);
		return;
	case ISCSI_LOGIN_CLOSE:
		break;
	}
	iscsi_count(c->home, login_failures, 1);
	iscsi_conn_lose(c, c->login.why);
}

/* --- full feature phase ------------------------------------------------------------------------------------------ */

/* The answer is the last PDU without digests. */
static void full_feature(struct iscsi_conn *c)
{
	c->tsih = iscsi_conns_tsih(c->conns, c->login.tsih);
	iscsi_login_accept(&c->login, c->tsih);
	iscsi_say(c, login_answer(c));
	iscsi_send_to_raw(c, true);
	c->params = c->login.params;
	c->rx.header_digest = c->params.header_digest;
	c->rx.data_digest = c->params.data_digest;
	c->as = (struct iscsi_receiver){
		.full_feature = true, .immediate_data = c->params.immediate_data, .initial_r2t = c->params.initial_r2t,
		.data_max = c->params.max_recv, .first_burst = c->params.first_burst,
	};
	c->depth = c->login.window;
	c->exp_cmd_sn = c->login.exp_cmd_sn;
	c->stat_sn = c->login.stat_sn;
	c->text.params = &c->login.params;
	iscsi_login_fini(&c->login);
}

static void discovery_begins(struct iscsi_conn *c)
{
	c->login.window = 16; /* text requests, NOPs */
	full_feature(c);
	c->text.discovery = true;
	c->heard_ns = reactor_now_ns();
	iscsi_conn_set_state(c, CONN_DISCOVERY);
	iscsi_count(c->home, logins, 1);
	timer_stop(&c->timer);
	iscsi_conn_start_timer(c);
}

static void admit(struct iscsi_conn *c)
{
	c->node = c->login.node;
	iscsi_node_ref(c->node);
	list_del(&c->entry); /* in the order of logins: the last one replaces all others */
	list_add_tail(&c->conns->entries, &c->entry);
	iscsi_conn_set_state(c, CONN_ADMIT);
	iscsi_conn_update_reading(c);
	defer_run(&c->admit, admit_run);
}

/* Nobody up the stack has it in hand any more: it may leave. */
static void admit_run(struct defer *d)
{
	struct iscsi_conn *c = container_of(d, struct iscsi_conn, admit);

	if (c->state == CONN_ADMIT)
		iscsi_conn_admit_go_on(c);
}

void iscsi_conn_admit_go_on(struct iscsi_conn *c)
{
	if (!iscsi_conns_reinstate(c))
		admit_now(c);
}

/* As SPC-5 names an iSCSI initiator port: its name, ",i,0x" and the ISID. */
static void name_port(struct iscsi_conn *c)
{
	const uint8_t *i = c->login.isid;
	struct text name = text_over(c->nexus.who.name, sizeof(c->nexus.who.name));
	struct text port = text_over(c->nexus.initiator_port, sizeof(c->nexus.initiator_port));

	for (const char *at = c->login.initiator_name; *at; at++)
		text_add(&name, "%c", *at >= 'A' && *at <= 'Z' ? *at | 0x20 : *at);
	text_add(&port, "%s,i,0x%02x%02x%02x%02x%02x%02x", c->nexus.who.name, i[0], i[1], i[2], i[3], i[4], i[5]);
}

static void admit_now(struct iscsi_conn *c)
{
	struct err e = { 0 };

	if (c->node->gone || !c->node->scsi) {
		refuse(c, ISCSI_LOGIN_REMOVED, "the target node was removed");
		return;
	}
	name_port(c);
	c->nexus.port = (uint16_t)c->visitor.portal->group->tag;
	c->nexus.piece_bytes = c->conns->target->options.piece_bytes;
	if (scsi_nexus_join(&c->nexus, c->node->scsi, &nexus_ops, &e)) {
		refuse(c, ISCSI_LOGIN_UNAVAILABLE, e.text);
		return;
	}
	c->blocked = true; /* nothing is sent from here any more */
	full_feature(c);
	make_slots(c);
	leave_control(c);
}

static void refuse(struct iscsi_conn *c, uint16_t status, const char *why)
{
	iscsi_login_refuse(&c->login, status, why);
	refused(c);
}

/* The slots are reserved, and charged to the budget; memory is touched as the initiator uses its window. */
static void make_slots(struct iscsi_conn *c)
{
	uint32_t more = c->depth + ISCSI_IMMEDIATE_SLOTS - ISCSI_FIRST_SLOTS;
	uint64_t bytes = more * sizeof(struct iscsi_task);

	c->slot_count = ISCSI_FIRST_SLOTS + more;
	c->slots = malloc(bytes);
	c->tag_next = malloc(c->slot_count * sizeof(*c->tag_next));
	must(c->slots && c->tag_next);
	if (mem_charge(c->conns->core, bytes))
		c->slots_bytes = bytes;
	else if (log_may(&c->home->complaints))
		log_warning("iSCSI: the command slots of all sessions exceed the memory budget; raise --memory");
}

static void leave_control(struct iscsi_conn *c)
{
	struct reactor *to = sched_place(&c->conns->place, c->conns->core_count > 1 ? sock_incoming_cpu(c->sock) : -1);

	c->counted = true;
	c->node->counts.logins++;
	notify(c->conns->core, NOTIFY_HOST_CONNECTED, "%s %s", c->login.initiator_name, c->node->name);
	timer_stop(&c->timer);
	defer_cancel(&c->flush);
	defer_cancel(&c->admit);
	sock_want_write(c->sock, false);
	sock_detach(c->sock);
	list_del(&c->link);
	c->home = NULL;
	iscsi_conn_set_state(c, CONN_CARRIED);
	carry_goes(&c->where, to);
	log_debug("iSCSI: %s: session of %s begins on reactor %u", iscsi_conn_name(c), c->node->name, reactor_index(to));
	msg_send(to, &c->carry_msg, iscsi_conn_arrive);
}

/* --- text requests ----------------------------------------------------------------------------------------------- */

struct iscsi_say *iscsi_text_answer(struct iscsi_conn *c, const struct iscsi_text_req *bhs, const uint8_t *data,
                                    uint32_t len)
{
	struct iscsi_text_nego *n = &c->text;
	struct iscsi_say *s;

	switch (iscsi_text_pdu(n, bhs, data, len)) {
	case ISCSI_TEXT_REJECT:
		s = iscsi_say_make(ISCSI_OP_REJECT, bhs, sizeof(*bhs));
		s->bhs.reject.reason = n->reject;
		s->bhs.reject.itt = be32_of(ISCSI_TAG_NONE);
		return s;
	case ISCSI_TEXT_TARGETS:
		iscsi_send_targets(&c->visitor, c->login.initiator_name,
		                   n->targets[0] ? n->targets : c->login.target_name, n);
		iscsi_text_targets_done(n);
		break;
	case ISCSI_TEXT_ANSWER:
		break;
	}
	s = iscsi_say_make(ISCSI_OP_TEXT_RSP, n->answer.data, n->answer.len);
	s->bhs.text_rsp = n->answer.bhs;
	return s;
}
