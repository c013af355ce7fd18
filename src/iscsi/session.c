/* SPDX-License-Identifier: BSD-3-Clause */
/* session.c: the register of connections and sessions, on the control reactor; where sessions begin; the end of all.
 *
 * An entry is the connection itself, whose memory control gives and takes. What control wants of one that lives on a
 * core it asks for by an order (conn.c), and hears that it is gone by a message; in between it reads only what is
 * constant, or atomic.
 */
#include <errno.h>
#include <strings.h>

#include "core/notify.h"
#include "iscsi/conn.h"

/* An end that waits for an entry. */
struct meant {
	struct meant *next;
	struct iscsi_conns_end *end;
};

static void gone_on_control(struct msg *m);
static void entry_free(struct iscsi_conn *c);
static void stop_on_core(struct each *e);
static void stop_told(struct each *e);
static void maybe_stopped(struct iscsi_conns *cs);
static void mover_is_off(void *arg);
static void end_on_core(struct each *e);
static void all_ended(struct each *e);
static void offer(struct sched_mover *m, struct sched_offers *o);
static void move(struct sched_mover *m, uint64_t id, struct reactor *to, void (*done)(void *arg, int rc), void *arg);

/* --- making ------------------------------------------------------------------------------------------------------ */

struct iscsi_conns *iscsi_conns_make(struct iscsi_target *t)
{
	struct iscsi_conns *cs = base_zalloc(sizeof(*cs));

	cs->target = t;
	cs->core = t->core;
	cs->core_count = core_reactor_count(t->core);
	cs->homes = base_zalloc_aligned(CACHE_LINE, (cs->core_count + 1) * sizeof(*cs->homes));
	for (uint32_t i = 0; i <= cs->core_count; i++) {
		cs->homes[i].conns = cs;
		list_init(&cs->homes[i].list);
	}
	list_init(&cs->entries);
	sched_place_init(&cs->place, t->core);
	cs->mover.offer = offer;
	cs->mover.move = move;
	sched_add_mover(t->core, &cs->mover);
	return cs;
}

void iscsi_conns_set_options(struct iscsi_target *t)
{
	const struct iscsi_options *o = &t->options;

	atomic_store(&t->conns->data_timeout_ms, o->data_timeout_ms);
	atomic_store(&t->conns->nop_interval_ms, o->nop_in_interval_s * 1000);
	atomic_store(&t->conns->nop_timeout_ms, o->nop_timeout_s * 1000);
}

void iscsi_conns_free(struct iscsi_conns *cs)
{
	assert(!cs->entry_count);
	free(cs->homes);
	free(cs);
}

/* --- coming and going -------------------------------------------------------------------------------------------- */

void iscsi_conn_accept(struct iscsi_portal *p, struct sock *s)
{
	struct iscsi_conns *cs = p->group->target->conns;
	const struct sock_opts opts = { .ack_timeout_ms = 0 };
	struct iscsi_conn *c;
	int rc;

	if (cs->stopping) {
		sock_close(s);
		return;
	}
	sock_set_opts(s, &opts);
	iscsi_conns_set_options(cs->target);
	c = iscsi_conn_make(cs, p, s);
	c->id = ++cs->last_id;
	list_add_tail(&cs->entries, &c->entry);
	cs->entry_count++;
	rc = sock_attach(s, iscsi_conn_ready, c);
	if (rc)
		iscsi_conn_lose(c, strerror(-rc));
	else
		iscsi_conn_start_timer(c);
}

void iscsi_conn_gone(struct iscsi_conn *c)
{
	if (c->counted)
		sched_place_left(&c->conns->place, reactor_self());
	msg_send(core_control(c->conns->core), &c->gone_msg, gone_on_control);
}

static void gone_on_control(struct msg *m)
{
	struct iscsi_conn *c = container_of(m, struct iscsi_conn, gone_msg);

	c->is_gone = true;
	if (c->counted)
		notify(c->conns->core, NOTIFY_HOST_DISCONNECTED, "%s %s", c->login.initiator_name, c->node->name);
	if (c->node) {
		struct iscsi_counts *k = &c->node->counts;

		k->pdus_in += atomic_load(&c->pdus_in);
		k->pdus_out += atomic_load(&c->pdus_out);
		k->bytes_in += atomic_load(&c->bytes_in);
		k->bytes_out += atomic_load(&c->bytes_out);
		k->commands += atomic_load(&c->commands_in);
	}
	iscsi_conn_unheld(c);
}

void iscsi_conn_unheld(struct iscsi_conn *c)
{
	if (c->is_gone && !c->order_out && !c->hand)
		entry_free(c);
}

void iscsi_orders_back(struct msg *m)
{
	struct iscsi_conn *c = container_of(m, struct iscsi_conn, order_msg);

	c->order_out = false;
	if (c->orders && !c->is_gone)
		iscsi_conn_order(c, 0);
	else
		iscsi_conn_unheld(c);
}

static void free_slots(struct iscsi_conn *c)
{
	mem_uncharge(c->conns->core, c->slots_bytes);
	free(c->slots);
	free(c->tag_next);
}

/* Who waited for it goes on: ends, and a login that takes its place. */
static void entry_free(struct iscsi_conn *c)
{
	struct iscsi_conns *cs = c->conns;
	struct meant *meant = c->meant;

	list_del(&c->entry);
	cs->entry_count--;
	iscsi_login_fini(&c->login);
	iscsi_text_end(&c->text);
	free_slots(c);
	if (c->node)
		iscsi_node_unref(c->node);
	iscsi_portal_unref(c->visitor.portal);
	free(c);
	while (meant) {
		struct meant *next = meant->next;

		if (--meant->end->left == 0)
			meant->end->done(meant->end);
		free(meant);
		meant = next;
	}
	list_each_safe(l, &cs->entries) {
		struct iscsi_conn *other = list_entry(l, struct iscsi_conn, entry);

		/* One that lives elsewhere is not ours to look at. */
		if (carry_at(&other->where) == core_control(cs->core) && other->state == CONN_ADMIT)
			iscsi_conn_admit_go_on(other);
	}
	maybe_stopped(cs);
}

struct iscsi_conn *iscsi_conns_find(struct iscsi_conns *cs, uint64_t id)
{
	list_each(l, &cs->entries)
		if (list_entry(l, struct iscsi_conn, entry)->id == id && !list_entry(l, struct iscsi_conn, entry)->is_gone)
			return list_entry(l, struct iscsi_conn, entry);
	return NULL;
}

/* --- sessions of one initiator port ------------------------------------------------------------------------------ */

/* The same initiator port at the same target port: they would be the same nexus. */
static bool same_nexus(const struct iscsi_conn *a, const struct iscsi_conn *b)
{
	return a->node == b->node && a->visitor.portal->group == b->visitor.portal->group &&
	       !memcmp(a->login.isid, b->login.isid, sizeof(a->login.isid)) &&
	       !strcasecmp(a->login.initiator_name, b->login.initiator_name);
}

/* Of several logins of one port the last one gets through. */
bool iscsi_conns_reinstate(struct iscsi_conn *c)
{
	bool any = false;

	list_each(l, &c->conns->entries) {
		struct iscsi_conn *other = list_entry(l, struct iscsi_conn, entry);

		if (other == c)
			break;
		if (!other->node || !same_nexus(other, c))
			continue;
		any = true;
		if (!other->told_to_go)
			iscsi_conn_order(other, ORDER_REPLACED);
		other->told_to_go = true;
	}
	return any;
}

static bool tsih_is_used(const struct iscsi_conns *cs, uint16_t tsih)
{
	list_each(l, &cs->entries)
		if (list_entry(l, struct iscsi_conn, entry)->tsih == tsih)
			return true;
	return false;
}

uint16_t iscsi_conns_tsih(struct iscsi_conns *cs, uint16_t wanted)
{
	if (wanted && !tsih_is_used(cs, wanted))
		return wanted;
	while (!++cs->last_tsih || tsih_is_used(cs, cs->last_tsih))
		;
	return cs->last_tsih;
}

/* --- what the configuration asks --------------------------------------------------------------------------------- */

static enum iscsi_conn_phase phase_of(const struct iscsi_conn *c)
{
	if (c->is_gone || c->told_to_go)
		return ISCSI_CONN_ENDING;
	if (c->tsih)
		return c->node ? ISCSI_CONN_NORMAL : ISCSI_CONN_DISCOVERY;
	return ISCSI_CONN_LOGIN;
}

static const char *stage_of(const struct iscsi_conn *c)
{
	if (c->tsih)
		return "full_feature_phase";
	if (!c->login.pdus)
		return "not_started";
	return iscsi_csg(c->login.flags) == ISCSI_STAGE_OPERATIONAL ? "operational_negotiation_phase" :
	                                                              "security_negotiation_phase";
}

static struct iscsi_conn_info info_of(struct iscsi_conn *c)
{
	struct iscsi_conn_info i = {
		.id = (uint32_t)c->id, .phase = phase_of(c), .login_stage = stage_of(c), .cid = c->login.cid, .tsih = c->tsih,
		.initiator = c->login.initiator_name, .local = c->visitor.local, .peer = c->visitor.peer,
		.pg = c->visitor.portal->group, .node = c->node ? c->node : c->login.node,
		.reactor = carry_at(&c->where), .header_digest = c->login.params.header_digest,
		.data_digest = c->login.params.data_digest, .params = &c->login.params, .since_us = c->since_us,
		.pdus_in = atomic_load(&c->pdus_in), .pdus_out = atomic_load(&c->pdus_out),
		.bytes_in = atomic_load(&c->bytes_in), .bytes_out = atomic_load(&c->bytes_out),
		.commands = atomic_load(&c->commands_in),
	};

	memcpy(i.isid, c->login.isid, sizeof(i.isid));
	return i;
}

void iscsi_conns_each(struct iscsi_target *t, void (*fn)(void *arg, const struct iscsi_conn_info *i), void *arg)
{
	list_each(l, &t->conns->entries) {
		const struct iscsi_conn_info i = info_of(list_entry(l, struct iscsi_conn, entry));

		fn(arg, &i);
	}
}

void iscsi_conns_end(struct iscsi_target *t, struct iscsi_conns_end *e)
{
	e->left = 1; /* until all were told */
	list_each(l, &t->conns->entries) {
		struct iscsi_conn *c = list_entry(l, struct iscsi_conn, entry);
		const struct iscsi_conn_info i = info_of(c);
		struct meant *meant;

		if (!e->matches(e, &i))
			continue;
		meant = base_zalloc(sizeof(*meant));
		meant->end = e;
		meant->next = c->meant;
		c->meant = meant;
		e->left++;
		c->told_to_go = true;
		iscsi_conn_order(c, ORDER_END);
	}
	if (--e->left == 0)
		e->done(e);
}

void iscsi_conns_request_logout(struct iscsi_node *n, const struct iscsi_portal_group *pg)
{
	list_each(l, &n->target->conns->entries) {
		struct iscsi_conn *c = list_entry(l, struct iscsi_conn, entry);

		if (c->node == n && (!pg || c->visitor.portal->group == pg))
			iscsi_conn_order(c, ORDER_ASK_LOGOUT);
	}
}

void iscsi_conns_count(const struct iscsi_node *n, struct iscsi_counts *ret_counts)
{
	*ret_counts = n->counts;
	list_each(l, &n->target->conns->entries) {
		struct iscsi_conn *c = list_entry(l, struct iscsi_conn, entry);

		if (c->node != n || c->is_gone)
			continue;
		ret_counts->sessions += phase_of(c) == ISCSI_CONN_NORMAL;
		ret_counts->pdus_in += atomic_load(&c->pdus_in);
		ret_counts->pdus_out += atomic_load(&c->pdus_out);
		ret_counts->bytes_in += atomic_load(&c->bytes_in);
		ret_counts->bytes_out += atomic_load(&c->bytes_out);
		ret_counts->commands += atomic_load(&c->commands_in);
	}
}

void iscsi_conns_stats(const struct iscsi_conns *cs, uint32_t core_index,
                       void (*emit)(void *arg, const char *key, uint64_t v), void *arg)
{
	const struct iscsi_home *h = &cs->homes[core_index];

#define EMIT(key, meaning) emit(arg, #key, __atomic_load_n(&h->counters.key, __ATOMIC_RELAXED));
	ISCSI_COUNTERS(EMIT)
}

/* --- the scheduler's --------------------------------------------------------------------------------------------- */

static void offer(struct sched_mover *m, struct sched_offers *o)
{
	struct iscsi_conns *cs = container_of(m, struct iscsi_conns, mover);

	list_each(l, &iscsi_home_self(cs)->list) {
		struct iscsi_conn *c = list_entry(l, struct iscsi_conn, link);
		const struct sched_item item = {
			.id = c->id, .work = c->work, .allowed = sched_place_allowed(&cs->place),
			.fixed = sched_rests(m, c->moved_round) || c->pinned || c->state != CONN_READY,
		};

		c->work = 0;
		sched_offer(o, &item);
	}
}

static void move(struct sched_mover *m, uint64_t id, struct reactor *to, void (*done)(void *arg, int rc), void *arg)
{
	struct iscsi_conns *cs = container_of(m, struct iscsi_conns, mover);

	list_each(l, &iscsi_home_self(cs)->list) {
		struct iscsi_conn *c = list_entry(l, struct iscsi_conn, link);

		if (c->id != id)
			continue;
		c->moved_round = m->round;
		iscsi_conn_carry(c, to, done, arg);
		return;
	}
	done(arg, -ENOTCONN);
}

/* --- stopping: tell every core, wait for every connection, then take the cores' parts down ----------------------- */

void iscsi_conns_stop(struct iscsi_conns *cs, void (*done)(void *arg), void *arg)
{
	assert(!cs->stopping);
	cs->stopping = true;
	cs->stopped = done;
	cs->stopped_arg = arg;
	sched_remove_mover(cs->core, &cs->mover, mover_is_off, cs);
}

static void lose_all(struct iscsi_home *h)
{
	h->stopping = true;
	list_each_safe(l, &h->list)
		iscsi_conn_lose(list_entry(l, struct iscsi_conn, link), "the target stops");
}

static void mover_is_off(void *arg)
{
	struct iscsi_conns *cs = arg;

	lose_all(&cs->homes[cs->core_count]);
	each_core(&cs->each, cs->core, stop_on_core, stop_told);
}

static void stop_on_core(struct each *e)
{
	lose_all(iscsi_home_self(container_of(e, struct iscsi_conns, each)));
}

static void stop_told(struct each *e)
{
	struct iscsi_conns *cs = container_of(e, struct iscsi_conns, each);

	cs->told = true;
	maybe_stopped(cs);
}

static void maybe_stopped(struct iscsi_conns *cs)
{
	if (!cs->told || cs->entry_count)
		return;
	cs->told = false;
	iscsi_home_end(&cs->homes[cs->core_count]);
	each_core(&cs->each, cs->core, end_on_core, all_ended);
}

static void end_on_core(struct each *e)
{
	iscsi_home_end(iscsi_home_self(container_of(e, struct iscsi_conns, each)));
}

static void all_ended(struct each *e)
{
	struct iscsi_conns *cs = container_of(e, struct iscsi_conns, each);

	cs->stopped(cs->stopped_arg);
}
