/* SPDX-License-Identifier: BSD-3-Clause */
/* test_pair.c: see test_pair.h. */
#include "verbs/test_pair.h"

#include <stdio.h>

static void on_event(void *arg, enum verbs_conn_event event, const struct verbs_params *p, int rc);
static void told(struct end *e, const struct verbs_params *p, int rc);

/* --- opening -------------------------------------------------------------------------------------- */

static void watched(struct verbs_watcher *w, struct verbs_dev *d, enum verbs_dev_event event)
{
	struct pair *p = container_of(w, struct pair, watcher);

	switch (event) {
	case VERBS_DEV_CAME:
		if (!p->dev) {
			verbs_dev_ref(d);
			p->dev = d;
		}
		p->came++;
		break;
	case VERBS_DEV_GONE:
		p->gone++;
		break;
	case VERBS_DEV_PORT_UP:
		p->port_up++;
		break;
	case VERBS_DEV_PORT_DOWN:
		p->port_down++;
		break;
	}
}

static void open_verbs(void *arg)
{
	struct pair *p = arg;
	struct err e = { 0 };

	p->v = verbs_get(p->core, &e);
	if (!p->v)
		fprintf(stderr, "%s\n", e.text);
	must(p->v);
	p->watcher.event = watched;
	verbs_watch(p->v, &p->watcher);
}

static void done(void *arg, const struct verbs_wc *wcs, uint32_t count)
{
	struct end *e = arg;

	must(reactor_self() == e->reactor);
	must(count && count <= VERBS_POLL_MAX);
	for (uint32_t i = 0; i < count; i++) {
		must(e->wc_count < END_WCS);
		e->wcs[e->wc_count] = wcs[i];
		e->wc_count++;
		if (e->echo && wcs[i].op == VERBS_RECV && wcs[i].status == VERBS_OK) {
			uint32_t at = (uint32_t)(uintptr_t)wcs[i].ctx;
			struct verbs_sge sge = end_sge(e, at, wcs[i].len);
			struct verbs_wr wr = { .op = VERBS_SEND, .sges = &sge, .sge_count = 1, .signaled = true };
			struct verbs_recv r = { .sges = &sge, .sge_count = 1, .ctx = wcs[i].ctx };
			const struct verbs_wr *bad;

			e->echo--;
			must(!(e->srq ? verbs_srq_post(e->srq, &r) : verbs_post_recv(e->conn, &r)));
			must(!verbs_post(e->conn, &wr, &bad));
		}
	}
}

static void make_end(void *arg)
{
	struct end *e = arg;
	struct pair *p = e->pair;

	e->cq = verbs_cq_make(p->dev, 16, &e->err);
	must(e->cq);
	must(!verbs_mem_make(&e->mem, p->dev, END_MEM, &e->err));
}

static void make_srq(void *arg)
{
	struct end *e = arg;

	e->srq = verbs_srq_make(e->pair->dev, END_DEPTH, 1, &e->err);
	must(e->srq);
}

static void start_end(void *arg)
{
	struct end *e = arg;

	must(!verbs_cq_start(e->cq, done, e));
}

static void open_end(struct pair *p, struct end *e, uint32_t index)
{
	e->pair = p;
	e->reactor = core_reactor(p->core, index);
	world_on(core_control(p->core), make_end, e);
	world_on(e->reactor, start_end, e);
}

void pair_open(struct pair *p, uint32_t number, bool shared)
{
	memset(p, 0, sizeof(*p));
	p->core = world_begin(number);
	p->server_says = p->client_says =
		(struct verbs_params){ .read_depth = 4, .read_serve = 4, .retries = 7, .rnr_retries = 7 };
	p->send_max = END_DEPTH;
	world_on(core_control(p->core), open_verbs, p);
	assert_true(end_wait_for(&p->came, 1));
	open_end(p, &p->server, 0);
	open_end(p, &p->client, 1);
	if (shared && verbs_dev_info(p->dev)->srq_recv_max) {
		world_on(core_control(p->core), make_srq, &p->server);
		world_on(core_control(p->core), make_srq, &p->client);
	}
}

/* --- connecting ----------------------------------------------------------------------------------- */

static void make_queues(struct end *e)
{
	struct pair *p = e->pair;
	struct verbs_queues q = { .cq = e->cq, .srq = e->srq, .send_max = p->send_max, .recv_max = e->srq ? 0 : END_DEPTH,
	                          .send_sge_max = 4, .recv_sge_max = 1, .inline_max = p->inline_max };

	if (verbs_conn_make_queues(e->conn, &q, &e->err))
		fprintf(stderr, "%s\n", e->err.text);
	must(!e->err.code);
}

static void asked(void *arg, struct verbs_conn *c, const struct verbs_params *params)
{
	struct pair *p = arg;
	struct end *e = &p->server;

	must(!e->conn);
	e->conn = c;
	verbs_conn_set_event(c, on_event, e);
	told(e, params, 0);
	if (p->reject) {
		verbs_reject(c, p->server_says.data, p->server_says.data_len);
		verbs_conn_free(c);
		e->conn = NULL;
	} else {
		make_queues(e);
		must(!verbs_accept(c, &p->server_says));
	}
	e->asked++;
}

static void listen_now(void *arg)
{
	struct pair *p = arg;
	struct net_addr addr;

	must(!net_addr_parse(NET_ANY, world_address(), "0", &addr, NULL));
	p->listener = verbs_listen(p->v, &addr, 16, asked, p, &p->server.err);
	if (!p->listener)
		fprintf(stderr, "%s\n", p->server.err.text);
	must(p->listener);
	verbs_listener_addr(p->listener, &p->addr);
}

void pair_listen(struct pair *p) { world_on(core_control(p->core), listen_now, p); }

static void told(struct end *e, const struct verbs_params *p, int rc)
{
	e->rc = rc;
	e->said = (struct verbs_params){ 0 };
	memset(e->data, 0, sizeof(e->data));
	if (!p)
		return;
	e->said = *p;
	if (p->data_len)
		memcpy(e->data, p->data, p->data_len);
}

static void on_event(void *arg, enum verbs_conn_event event, const struct verbs_params *p, int rc)
{
	struct end *e = arg;

	must(reactor_is_control(reactor_self()));
	if (p || event == VERBS_CONN_UNREACHABLE)
		told(e, p, rc);
	switch (event) {
	case VERBS_CONN_RESOLVED:
		e->resolved++;
		make_queues(e);
		must(!verbs_connect(e->conn, &e->pair->client_says));
		break;
	case VERBS_CONN_ESTABLISHED:
		e->established++;
		break;
	case VERBS_CONN_REJECTED:
		e->rejected++;
		break;
	case VERBS_CONN_UNREACHABLE:
		e->unreachable++;
		break;
	case VERBS_CONN_ENDED:
		e->ended++;
		break;
	}
}

static void resolve(void *arg)
{
	struct pair *p = arg;
	struct end *e = &p->client;

	e->conn = verbs_resolve(p->v, &p->addr, NULL, 2000, on_event, e, &e->err);
	must(e->conn);
}

static bool is_decided(void *arg)
{
	struct end *e = arg;

	return e->established || e->rejected || e->unreachable;
}

void pair_connect(struct pair *p)
{
	world_on(core_control(p->core), resolve, p);
	assert_true(world_wait(is_decided, &p->client));
}

void pair_establish(struct pair *p)
{
	pair_listen(p);
	pair_connect(p);
	assert_int_equal(p->client.established, 1);
	assert_true(end_wait_for(&p->server.established, 1));
}

/* --- the end -------------------------------------------------------------------------------------- */

static void disconnect(void *arg)
{
	struct end *e = arg;

	verbs_disconnect(e->conn);
	verbs_disconnect(e->conn);
}

void end_disconnect(struct end *e)
{
	world_on(core_control(e->pair->core), disconnect, e);
	assert_true(end_wait_for(&e->ended, 1));
}

void pair_disconnect(struct pair *p)
{
	end_disconnect(&p->client);
	assert_true(end_wait_for(&p->server.ended, 1));
}

static void forget(void *arg)
{
	struct end *e = arg;

	verbs_conn_forget(e->conn);
}

static void free_conn(void *arg)
{
	struct end *e = arg;

	verbs_conn_free(e->conn);
	e->conn = NULL;
}

static void end_free_conn(struct end *e, bool has_queues)
{
	if (!e->conn)
		return;
	if (has_queues)
		world_on(e->reactor, forget, e);
	world_on(core_control(e->pair->core), free_conn, e);
}

void pair_free_conns(struct pair *p)
{
	end_free_conn(&p->client, p->client.resolved);
	end_free_conn(&p->server, true);
}

static void stop_end(void *arg)
{
	struct end *e = arg;

	verbs_cq_stop(e->cq);
}

static void unmake_end(void *arg)
{
	struct end *e = arg;

	if (e->srq)
		verbs_srq_free(e->srq);
	verbs_cq_free(e->cq);
	verbs_mem_free(&e->mem);
}

static void close_verbs(void *arg)
{
	struct pair *p = arg;

	if (p->listener)
		verbs_listener_close(p->listener);
	verbs_unwatch(p->v, &p->watcher);
	verbs_dev_unref(p->dev);
	verbs_put(p->v);
}

void pair_close(struct pair *p)
{
	struct end *ends[] = { &p->client, &p->server };

	pair_free_conns(p);
	for (uint32_t i = 0; i < 2; i++) {
		world_on(ends[i]->reactor, stop_end, ends[i]);
		world_on(core_control(p->core), unmake_end, ends[i]);
	}
	world_on(core_control(p->core), close_verbs, p);
	world_end(p->core);
}

/* --- posting and waiting -------------------------------------------------------------------------- */

struct verbs_sge end_sge(const struct end *e, uint32_t at, uint32_t len)
{
	return (struct verbs_sge){ (uint64_t)(uintptr_t)end_at(e, at), len, e->mem.lkey };
}

struct post {
	struct end *e;
	const struct verbs_wr *wr;
	const struct verbs_recv *recv;
	int rc;
};

static void post_on_core(void *arg)
{
	struct post *p = arg;
	const struct verbs_wr *bad = NULL;

	if (p->wr)
		p->rc = verbs_post(p->e->conn, p->wr, &bad);
	else
		p->rc = p->e->srq ? verbs_srq_post(p->e->srq, p->recv) : verbs_post_recv(p->e->conn, p->recv);
}

int end_recv(struct end *e, uint32_t at, uint32_t len)
{
	struct verbs_sge sge = end_sge(e, at, len);
	struct verbs_recv r = { .ctx = end_ctx(at), .sges = &sge, .sge_count = 1 };
	struct post p = { .e = e, .recv = &r };

	world_on(e->reactor, post_on_core, &p);
	return p.rc;
}

int end_post(struct end *e, const struct verbs_wr *wr)
{
	struct post p = { .e = e, .wr = wr };

	world_on(e->reactor, post_on_core, &p);
	return p.rc;
}

struct counter {
	_Atomic uint32_t *what;
	uint32_t count;
};

static bool has_counted(void *arg)
{
	struct counter *c = arg;

	return *c->what >= c->count;
}

bool end_wait_for(_Atomic uint32_t *what, uint32_t count)
{
	return world_wait(has_counted, &(struct counter){ what, count });
}

bool end_wait(struct end *e, uint32_t count) { return end_wait_for(&e->wc_count, count); }
