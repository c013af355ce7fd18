/* SPDX-License-Identifier: BSD-3-Clause */
/* conn.c: a connection's life on a reactor: arriving, deadlines, orders from control, goodbye.
 *
 * Two must let go before it is freed: the socket, closed by either side, and the SCSI layer, whose nexus ends when
 * nothing that the session sent can land any more. Memory comes from and goes back to the control reactor, so that
 * nobody finds it freed within a pass.
 */
#include <errno.h>

#include "core/trace.h"
#include "iscsi/conn.h"

static void close_nexus(struct iscsi_conn *c);
static void nexus_ended(struct scsi_nexus *n);
static void gone_run(struct defer *d);
static void timer_due(struct timer *t);
static void look(struct iscsi_conn *c);
static void orders_here(struct msg *m);

const struct machine_state iscsi_conn_states[] = { CONN_STATES(MACHINE_ROW) };

void iscsi_conn_set_state(struct iscsi_conn *c, enum conn_state state)
{
	must(iscsi_conn_states[c->state].next & 1ull << state);
	trace(ISCSI_STATE, c->id, state);
	c->state = (uint8_t)state;
}

const char *iscsi_conn_name(const struct iscsi_conn *c)
{
	return c->login.initiator_name[0] ? c->login.initiator_name : "an initiator";
}

/* --- beginning --- */

/* The nexus begins in any case: it was joined. */
void iscsi_conn_arrive(struct msg *m)
{
	struct iscsi_conn *c = container_of(m, struct iscsi_conn, carry_msg);

	c->home = iscsi_home_self(c->conns);
	iscsi_home_begin(c->home);
	list_add_tail(&c->home->list, &c->link);
	iscsi_count(c->home, logins, 1);
	c->heard_ns = reactor_now_ns();
	scsi_nexus_begin(&c->nexus);
	c->nexus_on = true;
	iscsi_conn_set_state(c, CONN_READY);
	c->blocked = false;
	if (iscsi_conn_settle(c))
		iscsi_send_soon(c);
}

bool iscsi_conn_settle(struct iscsi_conn *c)
{
	int rc;

	carry_came(&c->where);
	rc = sock_attach(c->sock, iscsi_conn_ready, c);
	if (rc || c->home->stopping) {
		iscsi_conn_lose(c, rc ? strerror(-rc) : "the target stops");
		return false;
	}
	iscsi_conn_update_reading(c);
	iscsi_conn_start_timer(c);
	return true;
}

/* --- reading or not --- */

void iscsi_conn_update_reading(struct iscsi_conn *c)
{
	bool live = conn_is_live(c) && c->state != CONN_ADMIT && c->state != CONN_CARRIED;
	bool unheard = c->talks || (c->throttled && !c->owed);

	if (!c->sock || !c->home)
		return;
	sock_want_read(c->sock, c->state == CONN_DRAIN ||
	               (live && !carry_is_wanted(&c->move) && !unheard && !c->logged_out));
	if (unlikely(c->unheard && !unheard))
		c->heard_ns = reactor_now_ns(); /* what it said meanwhile is still to be read */
	c->unheard = unheard;
}

/* --- deadlines: one timer, armed while there is one --- */

static uint64_t after_ms(uint64_t ns, uint32_t ms)
{
	return ns + ms * NS_PER_MS;
}

void iscsi_conn_start_timer(struct iscsi_conn *c)
{
	switch ((enum conn_state)c->state) {
	case CONN_LOGIN:
		timer_start(&c->timer, c->conns->target->options.login_timeout_ms * NS_PER_MS, timer_due);
		break;
	case CONN_DISCOVERY:
	case CONN_READY:
		look(c);
		break;
	case CONN_DRAIN:
		timer_start(&c->timer, ISCSI_DRAIN_MS * NS_PER_MS, timer_due);
		break;
	default:
		break;
	}
}

/* A deadline that long from now is one of the timer's. */
static void within(struct iscsi_conn *c, uint32_t ms)
{
	uint64_t delay = ms * NS_PER_MS;

	if (!timer_is_running(&c->timer) || c->timer.deadline_ns > reactor_now_ns() + delay)
		timer_start(&c->timer, delay, timer_due);
}

static uint32_t data_timeout_ms(const struct iscsi_conn *c)
{
	return atomic_load_explicit(&c->conns->data_timeout_ms, memory_order_relaxed);
}

void iscsi_conn_owes_data(struct iscsi_conn *c)
{
	if (unlikely(c->throttled))
		iscsi_conn_update_reading(c);
	within(c, data_timeout_ms(c));
}

void iscsi_conn_has_gap(struct iscsi_conn *c)
{
	c->gap_ns = reactor_now_ns();
	within(c, data_timeout_ms(c));
}

void iscsi_conn_is_blocked(struct iscsi_conn *c)
{
	c->blocked_ns = reactor_now_ns();
	if (c->state == CONN_READY || c->state == CONN_DISCOVERY)
		within(c, data_timeout_ms(c));
}

static void timed_out(struct iscsi_conn *c, const char *why)
{
	if (log_may(&c->home->complaints))
		log_warning("iSCSI: %s: %s: disconnecting", iscsi_conn_name(c), why);
	iscsi_count(c->home, timed_out, 1);
	iscsi_conn_lose(c, why);
}

static void timer_due(struct timer *t)
{
	struct iscsi_conn *c = container_of(t, struct iscsi_conn, timer);

	if (c->state == CONN_LOGIN || c->state == CONN_ADMIT)
		timed_out(c, "its login takes too long");
	else if (c->state == CONN_DRAIN)
		iscsi_conn_lose(c, "all was said");
	else
		look(c);
}

/* Since when data is awaited that was asked for, or that a command announced. */
static uint64_t oldest_owed(struct iscsi_conn *c)
{
	uint64_t oldest = UINT64_MAX;

	for (uint32_t i = 0; c->owed && i < c->touched; i++) {
		const struct iscsi_task *t = conn_task(c, i);

		if (t->state == TASK_RECEIVE && t->owes)
			oldest = min_u64(oldest, t->since_ns);
	}
	return oldest;
}

/* When the next of the initiator's deadlines is over; 0: one is. An initiator is asked whether it is there only when
 * nothing at all was heard: one that is busy need not answer pings, and one that is not read cannot. */
static uint64_t ping_due(struct iscsi_conn *c, uint64_t now)
{
	uint32_t interval = atomic_load_explicit(&c->conns->nop_interval_ms, memory_order_relaxed);
	uint32_t timeout = atomic_load_explicit(&c->conns->nop_timeout_ms, memory_order_relaxed);

	if (!interval)
		return UINT64_MAX;
	if (c->ping_ttt != ISCSI_TAG_NONE && c->heard_ns > c->ping_ns)
		c->ping_ttt = ISCSI_TAG_NONE;
	if (c->unheard)
		return now + NS_PER_S;
	if (c->ping_ttt != ISCSI_TAG_NONE)
		return now >= after_ms(c->ping_ns, timeout) ? 0 : after_ms(c->ping_ns, timeout);
	if (c->state == CONN_DISCOVERY) { /* is not pinged: initiators do not expect it there */
		uint64_t end = after_ms(c->heard_ns, interval + timeout);

		return now >= end ? 0 : end;
	}
	if (now < after_ms(c->heard_ns, interval))
		return after_ms(c->heard_ns, interval);
	if (carry_is_wanted(&c->move) || c->logged_out)
		return now + NS_PER_S;
	iscsi_conn_ping(c);
	return after_ms(now, min_u32(interval, timeout)); /* if it is answered the next one is due then */
}

/* On its one connection commands come in order: what is missing behind others was never sent, and nothing recovers it
 * (ErrorRecoveryLevel 0). Until when it may come all the same. */
static uint64_t gap_due(const struct iscsi_conn *c)
{
	return (c->held || c->later) && !c->logged_out ? after_ms(c->gap_ns, data_timeout_ms(c)) : UINT64_MAX;
}

/* Each R2T has its deadline, moved by each piece of data; so has what is to be sent, by each piece that is taken: who
 * does not read keeps answers, and what they lie in, from others. The timer goes by the first to come. */
static void look(struct iscsi_conn *c)
{
	uint64_t now = reactor_now_ns(), data = oldest_owed(c), next;

	if (data != UINT64_MAX)
		data = after_ms(data, data_timeout_ms(c));
	if (now >= data) {
		timed_out(c, "it was asked for data and is silent");
		return;
	}
	next = c->blocked ? after_ms(c->blocked_ns, data_timeout_ms(c)) : UINT64_MAX;
	if (now >= next) {
		timed_out(c, "it takes none of its answers");
		return;
	}
	if (c->logout_by_ns && now >= c->logout_by_ns) {
		timed_out(c, "it was asked to log out and did not");
		return;
	}
	if (now >= gap_due(c)) {
		timed_out(c, "commands numbered before those that it sent do not come");
		return;
	}
	next = min_u64(min_u64(next, gap_due(c)), min_u64(data, c->logout_by_ns ? c->logout_by_ns : UINT64_MAX));
	data = ping_due(c, now);
	if (!data) {
		timed_out(c, "it does not answer");
		return;
	}
	next = min_u64(next, data);
	if (next != UINT64_MAX)
		timer_start(&c->timer, next - now, timer_due);
}

/* --- orders: control -> where it lives -> control --- */

void iscsi_conn_order(struct iscsi_conn *c, uint32_t bits)
{
	c->orders |= bits;
	if (c->order_out || c->is_gone)
		return;
	c->orders_now = c->orders;
	c->orders = 0;
	c->order_out = true;
	carry_send(&c->where, &c->order_msg, orders_here);
}

static void orders_here(struct msg *m)
{
	struct iscsi_conn *c = container_of(m, struct iscsi_conn, order_msg);

	if (!iscsi_conn_here(c, m, orders_here))
		return;
	if (c->orders_now & ORDER_REPLACED)
		iscsi_conn_lose(c, "its initiator logged in anew");
	else if (c->orders_now & ORDER_END)
		iscsi_conn_end(c, "the configuration ends it");
	else if ((c->orders_now & ORDER_ASK_LOGOUT) && c->state == CONN_READY && !c->logout_by_ns) {
		iscsi_conn_tell(c, ISCSI_ASYNC_LOGOUT_REQUEST, ISCSI_LOGOUT_S);
		c->logout_by_ns = reactor_now_ns() + ISCSI_LOGOUT_S * NS_PER_S;
		look(c);
	}
	msg_send(core_control(c->conns->core), m, iscsi_orders_back);
}

/* --- ending ------------------------------------------------------------------------------------------------------ */

void iscsi_conn_break(struct iscsi_conn *c, uint8_t reason, const char *why)
{
	struct iscsi_say *s;

	if (log_may(&c->home->complaints))
		log_warning("iSCSI: %s sent a bad %s: %s: disconnecting", iscsi_conn_name(c),
		            iscsi_opcode_text(c->rx_bhs.h.opcode), why);
	iscsi_count(c->home, protocol_errors, 1);
	iscsi_count(c->home, rejects, 1);
	s = iscsi_say_make(ISCSI_OP_REJECT, &c->rx_bhs, sizeof(c->rx_bhs));
	s->bhs.reject.reason = reason;
	s->bhs.reject.itt = be32_of(ISCSI_TAG_NONE);
	iscsi_conn_drain(c, s);
}

void iscsi_conn_end(struct iscsi_conn *c, const char *why)
{
	struct iscsi_say *s;

	if (!conn_is_live(c))
		return;
	if (c->state != CONN_READY) {
		iscsi_conn_lose(c, why);
		return;
	}
	log_debug("iSCSI: %s: session ends: %s", iscsi_conn_name(c), why);
	s = iscsi_say_make(ISCSI_OP_ASYNC, NULL, 0);
	s->bhs.async.itt = be32_of(ISCSI_TAG_NONE);
	s->bhs.async.event = ISCSI_ASYNC_SESSION_DROP;
	s->bhs.async.param2 = be16_of(c->params.time2wait);
	iscsi_conn_drain(c, s);
}

void iscsi_conn_disconnect(struct scsi_nexus *n)
{
	iscsi_conn_end(conn_of(n), "the device goes, or was reset");
}

/* The last answers before Logout's are those of tasks that the SCSI layer has. */
void iscsi_conn_log_out(struct iscsi_conn *c, struct iscsi_say *farewell)
{
	c->farewell = farewell;
	c->logged_out = true;
	iscsi_conn_update_reading(c);
	for (uint32_t i = 0; i < c->touched; i++)
		if (iscsi_task_waits(conn_task(c, i)))
			iscsi_task_drop(conn_task(c, i));
	iscsi_conn_last_task(c);
}

/* Who reads the answer relies on it that the session is over: what it had reserved is anybody's. */
void iscsi_conn_last_task(struct iscsi_conn *c)
{
	struct iscsi_say *s = c->farewell;

	if (!s || c->in_use || c->tmfs || !conn_is_live(c))
		return;
	c->leaving = true;
	carry_cancel(&c->move);
	close_nexus(c);
	if (c->nexus_on && !c->nexus_over)
		return;
	c->farewell = NULL;
	iscsi_say(c, s);
}

/* What was begun is finished, and `last` said; the rest will never be answered. */
void iscsi_conn_drain(struct iscsi_conn *c, struct iscsi_say *last)
{
	if (c->nexus_on && !c->leaving)
		iscsi_count(c->home, reset, 1);
	c->leaving = true;
	iscsi_send_to_raw(c, false);
	carry_cancel(&c->move);
	iscsi_conn_set_state(c, CONN_DRAIN);
	iscsi_send_drop_tasks(c);
	close_nexus(c);
	if (last) {
		last->closes = true;
		iscsi_say(c, last);
	}
	iscsi_conn_update_reading(c); /* to hear it close */
	iscsi_conn_start_timer(c);
}

void iscsi_conn_said_all(struct iscsi_conn *c)
{
	c->close_soon = false;
	if (conn_is_live(c))
		iscsi_conn_drain(c, NULL);
	sock_shutdown_send(c->sock);
}

void iscsi_conn_lose(struct iscsi_conn *c, const char *why)
{
	if (c->state == CONN_LOST)
		return;
	log_debug("iSCSI: %s: connection ends: %s", iscsi_conn_name(c), why);
	carry_cancel(&c->move);
	if (c->nexus_on && !c->leaving)
		iscsi_count(c->home, reset, 1);
	c->leaving = true;
	iscsi_conn_set_state(c, CONN_LOST);
	timer_stop(&c->timer);
	sock_close(c->sock);
	c->sock = NULL;
	iscsi_send_forget(c);
	close_nexus(c);
	free(c->farewell);
	c->farewell = NULL;
	free(c->rx_buf);
	c->rx_buf = NULL;
	iscsi_conn_maybe_gone(c);
}

static void close_nexus(struct iscsi_conn *c)
{
	if (!c->nexus_on || c->nexus_ending)
		return;
	c->nexus_ending = true;
	if (c->throttled)
		mem_wait_cancel(&c->throttle);
	c->throttled = false;
	iscsi_later_end(c);
	iscsi_task_end_all(c);
	scsi_nexus_end(&c->nexus, nexus_ended);
}

static void nexus_ended(struct scsi_nexus *n)
{
	struct iscsi_conn *c = conn_of(n);

	assert(!c->in_use && !c->executing);
	c->nexus_over = true;
	iscsi_conn_last_task(c);
	iscsi_conn_maybe_gone(c);
}

void iscsi_conn_maybe_gone(struct iscsi_conn *c)
{
	if (!c->sock && (!c->nexus_on || c->nexus_over) && !c->tmfs && !c->texts && !c->in_use)
		defer_last(&c->gone, gone_run);
}

void iscsi_conn_less(struct iscsi_conn *c)
{
	iscsi_conn_last_task(c);
	carry_look_soon(&c->move);
	if (c->state == CONN_LOST)
		iscsi_conn_maybe_gone(c);
}

/* Nobody up the stack has it in hand any more. */
static void gone_run(struct defer *d)
{
	struct iscsi_conn *c = container_of(d, struct iscsi_conn, gone);

	if (c->flush.queued || c->admit.queued) {
		defer_last(&c->gone, gone_run);
		return;
	}
	list_del(&c->link);
	iscsi_conn_gone(c);
}
