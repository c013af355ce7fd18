/* SPDX-License-Identifier: BSD-3-Clause */
/* gather.c: one gathering at a time: a message to each reactor, one more for the devices, then the text. Who asks
 * meanwhile gets the same text, and so does who asks soon after. */
#include "metrics/gather.h"

#include <errno.h>

#include "base/text.h"

static void gather(struct metrics *m);
static void gather_on_core(struct each *e);
static void gather_here(struct gathering *g);
static void cores_done(struct each *e);
static void devices_done(struct bdev_stats_all *d);
static void give(struct metrics_ask *a, struct metrics_text *text);

struct metrics *metrics_make(struct core *core, struct bdev_registry *reg, struct nvmf_target *nvmf,
                             const char *version)
{
	struct metrics *m = base_zalloc(sizeof(*m));

	m->core = core;
	m->reg = reg;
	m->nvmf = nvmf;
	m->version = version;
	list_init(&m->asks);
	return m;
}

void metrics_add_remote(struct metrics *m, struct remote *r)
{
	m->remote = r;
}

void metrics_add_vhost(struct metrics *m, struct vhost *v)
{
	m->vhost = v;
}

void metrics_add_scsi(struct metrics *m, struct scsi *s)
{
	m->scsi = s;
}

void metrics_add_iscsi(struct metrics *m, struct iscsi_target *t)
{
	m->iscsi = t;
}

void metrics_text_unref(struct metrics_text *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	free(t->bytes);
	free(t);
}

void metrics_ask(struct metrics *m, struct metrics_ask *a,
                 void (*fn)(struct metrics_ask *a, struct metrics_text *text))
{
	a->fn = fn;
	if (m->text && core_clock_ns() - m->text->made_ns < METRICS_FRESH_MS * NS_PER_MS) {
		give(a, m->text);
		return;
	}
	list_add_tail(&m->asks, &a->link);
	if (!m->gathering)
		gather(m);
}

static void give(struct metrics_ask *a, struct metrics_text *text)
{
	atomic_fetch_add(&text->refs, 1);
	a->fn(a, text);
}

static void gather(struct metrics *m)
{
	uint32_t count = core_reactor_count(m->core) + 1;
	struct gathering *g = base_zalloc(sizeof(*g) + count * sizeof(g->cores[0]));

	g->m = m;
	g->core_count = count;
	m->gathering = g;
	m->gathered++;
	each_core(&g->each, m->core, gather_on_core, cores_done);
}

static void gather_on_core(struct each *e)
{
	gather_here(container_of(e, struct gathering, each));
}

static void gather_here(struct gathering *g)
{
	struct reactor *r = reactor_self();
	struct gathered_core *c = &g->cores[reactor_index(r)];

	c->reactor = r;
	c->mode = reactor_mode(r);
	reactor_get_stats(r, &c->stats);
	c->wait_count = waits_get(c->waits);
	if (g->m->nvmf && !reactor_is_control(r))
		nvmf_eyes_read(g->m->nvmf, &c->nvmf);
	if (g->m->scsi && !reactor_is_control(r))
		scsi_eyes_read(g->m->scsi, &c->scsi);
	if (g->m->vhost && !reactor_is_control(r))
		vhost_eyes_read(g->m->vhost, &c->vhost);
}

static void cores_done(struct each *e)
{
	struct gathering *g = container_of(e, struct gathering, each);

	gather_here(g); /* control's own share */
	bdev_stats_all_get(g->m->reg, &g->devices, METRICS_DEVICES_MAX, devices_done);
}

static void devices_done(struct bdev_stats_all *d)
{
	struct gathering *g = container_of(d, struct gathering, devices);
	struct metrics *m = g->m;
	struct metrics_text *text = base_zalloc(sizeof(*text));

	atomic_init(&text->refs, 1);
	text->made_ns = core_clock_ns();
	text->bytes = metrics_format(g, &text->len);
	bdev_stats_all_end(d);
	for (uint32_t i = 0; i < g->core_count; i++) {
		nvmf_eyes_free(&g->cores[i].nvmf);
		stage_eyes_free(&g->cores[i].scsi);
		stage_eyes_free(&g->cores[i].vhost);
	}
	metrics_text_unref(m->text);
	m->text = text;
	while (!list_empty(&m->asks)) {
		struct metrics_ask *a = list_first(&m->asks, struct metrics_ask, link);

		list_del(&a->link);
		give(a, text);
	}
	free(g);
	m->gathering = NULL; /* not before: who got it may have been the last that the end waited for */
	metrics_maybe_stopped(m);
}

/* --- the server, and the end --- */

int metrics_serve(struct metrics *m, const char *host, uint16_t port, struct err *e)
{
	struct text where;

	if (m->http)
		return err_set(e, -EALREADY, "the metrics are served already; metrics_stop_server ends that");
	m->http = metrics_http_start(m, host, port, e);
	if (!m->http)
		return e->code;
	where = text_over(m->host, sizeof(m->host));
	text_add(&where, "%s", host);
	m->port = port;
	return 0;
}

bool metrics_unserve(struct metrics *m)
{
	if (!m->http)
		return false;
	metrics_http_stop(m->http);
	m->http = NULL;
	m->by_rpc = false;
	return true;
}

void metrics_stop(struct metrics *m, void (*done)(void *arg), void *arg)
{
	m->stopped_arg = arg;
	metrics_unserve(m);
	m->stopped = done; /* not within unserve */
	metrics_maybe_stopped(m);
}

void metrics_maybe_stopped(struct metrics *m)
{
	void (*stopped)(void *arg) = m->stopped;
	void *arg = m->stopped_arg;

	if (!stopped || m->gathering || m->servers)
		return;
	metrics_text_unref(m->text);
	free(m);
	stopped(arg);
}

int metrics_parse_address(const char *text, char ret_host[static 64], uint16_t *ret_port, struct err *e)
{
	const char *colon = strrchr(text, ':'), *begin = text, *end = colon;
	struct text host = text_over(ret_host, 64);
	uint64_t port = 0;

	if (text[0] == '[') {
		begin++;
		end = strchr(text, ']');
		if (!end || (colon && colon < end) || (colon && colon != end + 1))
			return err_set(e, ERR_BAD_PARAM, "\"%s\" is not an address and a port, such as [::1]:9110", text);
	}
	if (text_parse_u64(colon ? colon + 1 : text, &port, NULL) || port > UINT16_MAX)
		return err_set(e, ERR_BAD_PARAM, "\"%s\" does not end with a port, such as 127.0.0.1:9110", text);
	if (colon)
		text_add(&host, "%.*s", (int)(end - begin), begin);
	if (!ret_host[0])
		text_add(&host, "127.0.0.1");
	if (host.cut)
		return err_set(e, ERR_BAD_PARAM, "\"%s\" is too long for an address", text);
	*ret_port = (uint16_t)port;
	return 0;
}
