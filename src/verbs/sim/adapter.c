/* SPDX-License-Identifier: BSD-3-Clause */
/* adapter.c: simulated adapters: as machines have them, what is registered with them, and what goes wrong. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "verbs/sim/inside.h"

#define GIVE_UP_NS (3 * NS_PER_S)
#define RNR_NS (100 * NS_PER_US)

struct sim_verbs sim_verbs;

void sim_verbs_fault(const char *fmt, ...)
{
	va_list ap;

	fputs("sim: RDMA: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

/* --- beginning and end ---------------------------------------------------------------------------- */

void sim_verbs_start(const struct sim_verbs_opts *opts)
{
	struct sim_verbs_opts *o = &sim_verbs.opts;

	must(!sim_verbs.on);
	memset(&sim_verbs, 0, sizeof(sim_verbs));
	sim_verbs.on = true;
	if (opts)
		*o = *opts;
	if (!o->latency_ns_max)
		*o = (struct sim_verbs_opts){ NS_PER_US, 20 * NS_PER_US, o->give_up_ns, o->rnr_ns, o->check_unchanged };
	o->give_up_ns = o->give_up_ns ? o->give_up_ns : GIVE_UP_NS;
	o->rnr_ns = o->rnr_ns ? o->rnr_ns : RNR_NS;
	list_init(&sim_verbs.adapters);
	list_init(&sim_verbs.channels);
	list_init(&sim_verbs.conns);
	list_init(&sim_verbs.listeners);
	sim_verbs.last_qp = 16;
	sim_verbs.last_key = 16;
	sim_verbs.last_port = 40000;
}

void sim_verbs_end(void)
{
	struct list *l;

	must(sim_verbs.on);
	must(list_empty(&sim_verbs.conns));     /* verbs_conn_free() each */
	must(list_empty(&sim_verbs.listeners)); /* verbs_listener_close() */
	must(list_empty(&sim_verbs.channels));  /* verbs_put() */
	must(!sim_verbs.cqs);                   /* verbs_cq_free() */
	must(!sim_verbs.srqs);                  /* verbs_srq_free() */
	while ((l = list_pop(&sim_verbs.adapters))) {
		struct sim_adapter *a = list_entry(l, struct sim_adapter, link);

		must(list_empty(&a->devs));     /* its reactors have to go on for a while after verbs_put() */
		must(list_empty(&a->mrs));      /* verbs_mem_free() */
		free(a);
	}
	sim_verbs.on = false;
}

static uint32_t or(uint32_t value, uint32_t usual) { return value ? value : usual; }

struct sim_adapter *sim_adapter_add(struct core *core, const struct sim_adapter_opts *o)
{
	struct sim_adapter *a = base_zalloc(sizeof(*a));

	must(sim_verbs.on);
	a->core = core;
	a->info = (struct verbs_dev_info){
		.numa_node = o->numa_node, .send_invalidate = !o->lacks_invalidate,
		.conns_max = or(o->conns_max, 65536), .send_max = or(o->send_max, 32768), .recv_max = or(o->recv_max, 32768),
		.sge_max = or(o->sge_max, 16), .read_sge_max = or(o->sge_max, 16), .read_depth_max = or(o->read_depth_max, 16),
		.read_serve_max = or(o->read_serve_max, 16), .srq_recv_max = o->lacks_srq ? 0 : or(o->srq_recv_max, 32768),
		.srq_sge_max = o->lacks_srq ? 0 : or(o->srq_sge_max, 4), .cq_max = or(o->cq_max, 65536),
	};
	must(a->info.sge_max <= SIM_SGES_MAX);
	snprintf(a->info.name, sizeof(a->info.name), "%s", o->name);
	must(!net_addr_parse(NET_ANY, o->address, "0", &a->addr, NULL));
	a->inline_max = o->inline_max;
	a->lacks_cq_resize = o->lacks_cq_resize;
	a->bytes_max = o->register_bytes_max;
	list_init(&a->mrs);
	list_init(&a->devs);
	list_init(&a->conns);
	list_add_tail(&sim_verbs.adapters, &a->link);
	sim_adapter_return(a);
	return a;
}

/* --- adapters and whoever opened them ------------------------------------------------------------- */

int platform_verbs_open(struct verbs *v, struct err *e)
{
	struct sim_channel *ch;
	uint32_t found = 0;

	must(sim_verbs.on);
	ch = base_zalloc(sizeof(*ch));
	ch->v = v;
	list_init(&ch->events);
	list_each(l, &sim_verbs.adapters) {
		struct sim_adapter *a = list_entry(l, struct sim_adapter, link);

		if (a->core != v->core || !a->here)
			continue;
		sim_dev_make(v, a);
		found++;
	}
	if (!found) {
		free(ch);
		return err_set(e, -ENODEV, "RDMA: this machine has no adapter");
	}
	list_add_tail(&sim_verbs.channels, &ch->link);
	v->os = ch;
	return 0;
}

void sim_dev_make(struct verbs *v, struct sim_adapter *a)
{
	struct sim_dev *d = base_zalloc(sizeof(*d));

	d->adapter = a;
	d->dev.info = a->info;
	d->dev.port_up = a->port_up;
	list_add_tail(&a->devs, &d->link);
	verbs_dev_add(v, &d->dev);
}

void platform_dev_free(struct verbs_dev *dev)
{
	struct sim_dev *d = container_of(dev, struct sim_dev, dev);

	sim_untell_dev(d);
	list_del(&d->link);
	free(d);
}

struct sim_adapter *sim_adapter_of(const struct verbs_dev *d)
{
	return container_of(d, struct sim_dev, dev)->adapter;
}

static struct sim_channel *channel_of(const struct core *core)
{
	list_each(l, &sim_verbs.channels) {
		struct sim_channel *ch = list_entry(l, struct sim_channel, link);

		if (ch->v->core == core)
			return ch;
	}
	return NULL;
}

void sim_adapter_remove(struct sim_adapter *a)
{
	sim_note(a->info.cq_max);
	a->here = false;
	while (!list_empty(&a->conns))
		sim_conn_adapter_gone(list_entry(a->conns.next, struct sim_conn, adapter_link));
	list_each_safe(l, &a->devs) {
		struct sim_dev *d = list_entry(l, struct sim_dev, link);

		d->adapter = NULL;
		list_del(&d->link);
		sim_tell_dev(d, CM_LOST);
	}
}

void sim_adapter_return(struct sim_adapter *a)
{
	struct sim_channel *ch = channel_of(a->core);

	must(!a->here);
	a->here = a->port_up = true;
	if (ch)
		sim_tell_adapter(ch, a);
}

void sim_adapter_port(struct sim_adapter *a, bool up)
{
	sim_note(up);
	a->port_up = up;
	list_each(l, &a->devs)
		sim_tell_dev(list_entry(l, struct sim_dev, link), CM_PORT);
}

void sim_adapter_link(struct sim_adapter *a, bool lost_to, bool lost_from, uint64_t delay_ns)
{
	sim_note(delay_ns);
	a->lost_to = lost_to;
	a->lost_from = lost_from;
	a->delay_ns = delay_ns;
}

bool sim_is_lost(const struct sim_adapter *from, const struct sim_adapter *to)
{
	return !from || !to || !from->here || !to->here || !from->port_up || !to->port_up || from->lost_from || to->lost_to;
}

uint64_t sim_latency_ns(const struct sim_adapter *a, const struct sim_adapter *b)
{
	const struct sim_verbs_opts *o = &sim_verbs.opts;
	uint64_t ns = o->latency_ns_min + sim_draw(o->latency_ns_max - o->latency_ns_min + 1);

	for (int i = 0; i < 2; i++, a = b)
		if (a)
			ns += a->delay_ns + (a->slow_ns_max ? sim_draw(a->slow_ns_max) : 0);
	return ns;
}

/* --- memory --------------------------------------------------------------------------------------- */

static struct sim_mr *mr_make(struct sim_adapter *a, void *base, size_t len)
{
	struct sim_mr *m = base_zalloc(sizeof(*m));

	m->adapter = a;
	m->base = base;
	m->len = len;
	m->key = sim_verbs.last_key += 1 + (uint32_t)sim_draw(200);
	a->bytes += len;
	list_add_tail(&a->mrs, &m->link);
	return m;
}

int platform_mr_make(struct verbs_dev *d, void *base, size_t len, bool remote, struct verbs_key *ret_key, void **ret_mr)
{
	struct sim_adapter *a = sim_adapter_of(d);
	struct sim_mr *m;

	if (!a)
		return -ENODEV;
	if (a->bytes_max && len > a->bytes_max - min_u64(a->bytes, a->bytes_max))
		return -ENOMEM;
	m = mr_make(a, base, len);
	m->local = true;
	m->remote = remote;
	*ret_key = (struct verbs_key){ m->key, m->key };
	*ret_mr = m;
	return 0;
}

void platform_mr_free(struct verbs_dev *d, void *mr)
{
	struct sim_mr *m = mr;

	m->adapter->bytes -= m->len;
	list_del(&m->link);
	free(m);
}

struct sim_mr *sim_mr_find(const struct sim_adapter *a, uint32_t key, uint64_t at, uint64_t len, bool remote)
{
	list_each(l, &a->mrs) {
		struct sim_mr *m = list_entry(l, struct sim_mr, link);
		uint64_t base = (uint64_t)(uintptr_t)m->base;

		if (m->key != key)
			continue;
		if (m->invalid || !(remote ? m->remote : m->local))
			return NULL;
		return at >= base && at - base <= m->len && len <= m->len - (at - base) ? m : NULL;
	}
	return NULL;
}

struct sim_key {
	struct sim_mr *mr;
};

struct sim_key *sim_key_make(struct sim_adapter *a, void *at, size_t len, uint32_t *ret_rkey)
{
	struct sim_key *k = base_zalloc(sizeof(*k));

	k->mr = mr_make(a, at, len);
	k->mr->remote = k->mr->may_invalidate = true;
	*ret_rkey = k->mr->key;
	return k;
}

bool sim_key_is_valid(const struct sim_key *k) { return !k->mr->invalid; }

void sim_key_free(struct sim_key *k)
{
	platform_mr_free(NULL, k->mr);
	free(k);
}

/* --- what goes wrong ------------------------------------------------------------------------------ */

void sim_adapter_lose_completion(struct sim_adapter *a, enum verbs_op op, uint32_t nth)
{
	a->lose_completion = nth;
	a->lose_op = (uint8_t)op;
}

void sim_adapter_lose_ring(struct sim_adapter *a, uint32_t nth) { a->lose_ring = nth; }
uint32_t sim_adapter_lost(const struct sim_adapter *a) { return a->lost; }
void sim_adapter_rnr(struct sim_adapter *a, uint32_t count) { a->rnr = count; }
void sim_adapter_slow(struct sim_adapter *a, uint64_t ns_max) { a->slow_ns_max = ns_max; }

void sim_adapter_fail_posts(struct sim_adapter *a, uint32_t every_nth, int rc)
{
	a->fail_posts = every_nth;
	a->fail_rc = rc;
}

void sim_adapter_fail_receives(struct sim_adapter *a, uint32_t every_nth) { a->fail_receives = every_nth; }

static bool is_open(const struct sim_conn *c)
{
	return c->cm == SIM_CM_OPEN && c->active && c->peer && c->peer->cm == SIM_CM_OPEN && !c->silent;
}

/* NULL: any adapter's. The n-th from its active side. */
static struct sim_conn *open_of(const struct sim_adapter *a, uint32_t n)
{
	list_each(l, &sim_verbs.conns) {
		struct sim_conn *c = list_entry(l, struct sim_conn, link);

		if (is_open(c) && (!a || c->adapter == a || c->peer->adapter == a) && n-- == 0)
			return c;
	}
	return NULL;
}

uint32_t sim_adapter_conns(const struct sim_adapter *a)
{
	uint32_t n = 0;

	list_each(l, &sim_verbs.conns) {
		struct sim_conn *c = list_entry(l, struct sim_conn, link);

		n += is_open(c) && (!a || c->adapter == a || c->peer->adapter == a);
	}
	return n;
}

void sim_adapter_cut(struct sim_adapter *a, uint32_t n, bool silent)
{
	struct sim_conn *c = open_of(a, n);

	if (c)
		sim_conn_cut(c, silent);
}

uint32_t sim_verbs_conns(void) { return sim_adapter_conns(NULL); }
void sim_verbs_cut(uint32_t n, bool silent) { sim_adapter_cut(NULL, n, silent); }

uint64_t sim_verbs_in_flight(void)
{
	uint64_t n = 0;

	list_each(l, &sim_verbs.conns) {
		struct sim_conn *c = list_entry(l, struct sim_conn, link);

		list_each(w, &c->queued)
			n++;
		list_each(w, &c->flying)
			n++;
		list_each(w, &c->back)
			n++;
	}
	return n;
}
