/* SPDX-License-Identifier: BSD-3-Clause */
/* lookup.c: a controller's address from its name.
 *
 * A number needs no one else. A name does, and while its server is dead each look-up holds a helper thread for many
 * seconds: so only some of a core's look-ups run at once, and the others wait in line until their deadline. A look-up
 * outlives its controller, and the line the host, until the last one came back.
 */
#include "nvme/host.h"

#define LOOKUPS_MAX 4u

struct lookup {
	struct net_resolve resolve;
	struct lookup_line *line;
	struct nvme_ctrlr *ctrlr;       /* NULL: it went meanwhile */
	struct list link;               /* of those that wait */
};

/* Of one host on one core. */
struct lookup_line {
	uint32_t running;
	bool orphaned;                  /* the host is gone */
	struct list waiting;
};

static void lookup_back(struct net_resolve *r);

static void lookup_run(struct lookup *l)
{
	const struct nvme_path *p = &l->ctrlr->path;

	l->line->running++;
	net_resolve(&l->resolve, p->adrfam, p->traddr, p->trsvcid, lookup_back);
}

static void line_next(struct lookup_line *line)
{
	struct list *next;

	if (line->running < LOOKUPS_MAX && (next = list_pop(&line->waiting)))
		lookup_run(list_entry(next, struct lookup, link));
	if (line->orphaned && !line->running)
		free(line);
}

static void lookup_back(struct net_resolve *r)
{
	struct lookup *l = container_of(r, struct lookup, resolve);
	struct lookup_line *line = l->line;
	struct nvme_ctrlr *c = l->ctrlr;
	struct net_addr addr = r->addr;
	struct err e = r->err;

	free(l);
	line->running--;
	line_next(line);
	if (!c)
		return;
	c->lookup = NULL;
	ctrlr_resolved(c, &addr, e.code ? &e : NULL);
}

static struct lookup_line *line_of(struct nvme_host *h)
{
	uint32_t i = reactor_index(reactor_self());

	if (!h->lookups[i]) {
		h->lookups[i] = base_zalloc(sizeof(*h->lookups[i]));
		list_init(&h->lookups[i]->waiting);
	}
	return h->lookups[i];
}

void ctrlr_lookup_start(struct nvme_ctrlr *c)
{
	struct net_addr addr;
	struct lookup *l;

	if (!net_addr_parse(c->path.adrfam, c->path.traddr, c->path.trsvcid, &addr, NULL)) {
		ctrlr_resolved(c, &addr, NULL);
		return;
	}
	l = base_zalloc(sizeof(*l));
	l->ctrlr = c;
	l->line = line_of(c->host);
	c->lookup = l;
	list_add_tail(&l->line->waiting, &l->link);
	line_next(l->line);
}

void ctrlr_lookup_forget(struct nvme_ctrlr *c)
{
	struct lookup *l = c->lookup;

	c->lookup = NULL;
	if (!l)
		return;
	l->ctrlr = NULL;
	if (list_linked(&l->link)) {
		list_del(&l->link);
		free(l);
	}
}

void nvme_host_lookups_free(struct nvme_host *h)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(h->lookups); i++) {
		struct lookup_line *line = h->lookups[i];

		if (!line)
			continue;
		line->orphaned = true;
		assert(list_empty(&line->waiting)); /* all controllers were closed */
		if (!line->running)
			free(line);
	}
}
