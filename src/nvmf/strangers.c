/* SPDX-License-Identifier: BSD-3-Clause */
/* strangers.c: see strangers.h. */
#include "nvmf/strangers.h"

/* An address that connections are there of: linear, as there are at most as many as connections, and a connection is
 * rare beside what it does. */
struct nvmf_peer {
	struct list link;
	struct net_addr addr;         /* its port is the first one's */
	uint32_t conns, strangers, connected;
};

void nvmf_strangers_init(struct nvmf_strangers *s, uint32_t max)
{
	*s = (struct nvmf_strangers){ .max = max };
	list_init(&s->all);
	list_init(&s->peers);
}

static struct nvmf_peer *find(const struct nvmf_strangers *s, const struct net_addr *addr)
{
	list_each(l, &s->peers) {
		struct nvmf_peer *p = list_entry(l, struct nvmf_peer, link);

		if (net_addr_same_host(&p->addr, addr))
			return p;
	}
	return NULL;
}

uint32_t nvmf_strangers_of(const struct nvmf_strangers *s, const struct net_addr *addr)
{
	const struct nvmf_peer *p = find(s, addr);

	return p ? p->strangers : 0;
}

static void no_stranger(struct nvmf_strangers *s, struct nvmf_stranger *who)
{
	if (!list_linked(&who->link))
		return;
	list_del(&who->link);
	who->peer->strangers--;
	s->count--;
}

static bool goes_before(const struct nvmf_stranger *a, const struct nvmf_stranger *b)
{
	if (!a->peer->connected != !b->peer->connected)
		return !a->peer->connected;
	return a->peer->strangers > b->peer->strangers;
}

void nvmf_stranger_came(struct nvmf_strangers *s, struct nvmf_stranger *who, const struct net_addr *addr)
{
	struct nvmf_peer *p = find(s, addr);

	if (!p) {
		p = base_zalloc(sizeof(*p));
		p->addr = *addr;
		list_add_tail(&s->peers, &p->link);
	}
	*who = (struct nvmf_stranger){ .peer = p };
	list_add_tail(&s->all, &who->link);
	p->conns++;
	p->strangers++;
	s->count++;
}

/* From the oldest on, so that of equals it is the oldest. */
struct nvmf_stranger *nvmf_stranger_stays(struct nvmf_strangers *s, const struct nvmf_stranger *who)
{
	struct nvmf_stranger *goes = NULL;

	if (s->count <= s->max || !list_linked(&who->link))
		return NULL;
	list_each(l, &s->all) {
		struct nvmf_stranger *other = list_entry(l, struct nvmf_stranger, link);

		if (other != who && (!goes || goes_before(other, goes)))
			goes = other;
	}
	must(goes);
	no_stranger(s, goes);
	s->crowded_out++;
	return goes;
}

void nvmf_stranger_connected(struct nvmf_strangers *s, struct nvmf_stranger *who)
{
	no_stranger(s, who);
	who->peer->connected += !who->connected;
	who->connected = true;
}

void nvmf_stranger_gone(struct nvmf_strangers *s, struct nvmf_stranger *who)
{
	struct nvmf_peer *p = who->peer;

	no_stranger(s, who);
	p->connected -= who->connected;
	if (--p->conns)
		return;
	list_del(&p->link);
	free(p);
}
