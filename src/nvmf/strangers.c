/* SPDX-License-Identifier: BSD-3-Clause */
/* strangers.c: see strangers.h. Nothing here looks at every connection or at every address: who opens thousands makes
 * it no dearer to see who goes.
 */
#include "nvmf/strangers.h"

/* An address that connections are there of. */
struct nvmf_peer {
	struct list link;
	struct net_addr addr;         /* its port is the first one's */
	struct list all;              /* struct nvmf_stranger, the oldest first */
	uint32_t conns, strangers, connected;
	struct level *level;          /* NULL: it has no strangers */
	struct list in_level;
};

/* The addresses that have as many strangers, in the order in which they came to have them. There are few levels: 90
 * at the most of 4,096 strangers, as those of n levels are n * (n + 1) / 2 at least. */
struct level {
	struct list link;             /* the highest first */
	struct list peers;
	uint32_t strangers;
};

void nvmf_strangers_init(struct nvmf_strangers *s, uint32_t max)
{
	*s = (struct nvmf_strangers){ .max = max };
	for (uint32_t i = 0; i < ARRAY_SIZE(s->levels); i++)
		list_init(&s->levels[i]);
	for (uint32_t i = 0; i < ARRAY_SIZE(s->peers); i++)
		list_init(&s->peers[i]);
}

/* --- addresses ------------------------------------------------------------------------------------------- */

static uint32_t bucket_of(const struct net_addr *addr)
{
	const uint8_t *bytes = NULL;
	uint32_t size = 0, hash = 0x811c9dc5; /* FNV-1a */

	if (net_addr_family(addr) == NET_IPV4) {
		bytes = (const uint8_t *)&addr->v4.sin_addr;
		size = sizeof(addr->v4.sin_addr);
	} else if (net_addr_family(addr) == NET_IPV6) {
		bytes = (const uint8_t *)&addr->v6.sin6_addr;
		size = sizeof(addr->v6.sin6_addr);
	}
	for (uint32_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 0x01000193;
	return (hash ^ hash >> 16) % NVMF_PEER_BUCKETS;
}

static struct nvmf_peer *find(const struct nvmf_strangers *s, const struct net_addr *addr)
{
	list_each(l, &s->peers[bucket_of(addr)]) {
		struct nvmf_peer *p = list_entry(l, struct nvmf_peer, link);

		if (net_addr_same_host(&p->addr, addr))
			return p;
	}
	return NULL;
}

static struct nvmf_peer *make(struct nvmf_strangers *s, const struct net_addr *addr)
{
	struct nvmf_peer *p = base_zalloc(sizeof(*p));

	p->addr = *addr;
	list_init(&p->all);
	list_init(&p->in_level);
	list_add_tail(&s->peers[bucket_of(addr)], &p->link);
	return p;
}

static struct level *level_of(struct list *levels, uint32_t strangers)
{
	struct list *before = levels;
	struct level *l;

	list_each(at, levels) {
		l = list_entry(at, struct level, link);
		if (l->strangers == strangers)
			return l;
		if (l->strangers < strangers)
			break;
		before = at;
	}
	l = base_zalloc(sizeof(*l));
	l->strangers = strangers;
	list_init(&l->peers);
	list_insert(before, &l->link);
	return l;
}

/* It has more or fewer strangers than before, or is another host than before. */
static void settle(struct nvmf_strangers *s, struct nvmf_peer *p)
{
	struct level *was = p->level;

	p->level = p->strangers ? level_of(&s->levels[p->connected > 0], p->strangers) : NULL;
	if (p->level == was)
		return;
	list_del(&p->in_level);
	if (p->level)
		list_add_tail(&p->level->peers, &p->in_level);
	if (was && list_empty(&was->peers)) {
		list_del(&was->link);
		free(was);
	}
}

uint32_t nvmf_strangers_of(const struct nvmf_strangers *s, const struct net_addr *addr)
{
	const struct nvmf_peer *p = find(s, addr);

	return p ? p->strangers : 0;
}

/* --- who comes and goes ---------------------------------------------------------------------------------- */

static void no_stranger(struct nvmf_strangers *s, struct nvmf_stranger *who)
{
	if (!list_linked(&who->link))
		return;
	list_del(&who->link);
	who->peer->strangers--;
	s->count--;
}

void nvmf_stranger_came(struct nvmf_strangers *s, struct nvmf_stranger *who, const struct net_addr *addr)
{
	struct nvmf_peer *p = find(s, addr);

	if (!p)
		p = make(s, addr);
	*who = (struct nvmf_stranger){ .peer = p };
	list_add_tail(&p->all, &who->link);
	p->conns++;
	p->strangers++;
	s->count++;
	settle(s, p);
}

static struct nvmf_stranger *oldest_but(const struct nvmf_peer *p, const struct nvmf_stranger *who)
{
	struct list *first = p->all.next;

	if (first == &who->link)
		first = first->next;
	return first == &p->all ? NULL : list_entry(first, struct nvmf_stranger, link);
}

static struct nvmf_stranger *first_of_level(const struct level *level, const struct nvmf_stranger *but)
{
	list_each(l, &level->peers) {
		struct nvmf_stranger *goes = oldest_but(list_entry(l, struct nvmf_peer, in_level), but);

		if (goes)
			return goes;
	}
	return NULL;
}

/* One address at the most is passed over: where it is the only one. */
static struct nvmf_stranger *first_but(const struct nvmf_strangers *s, const struct nvmf_stranger *who)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(s->levels); i++) {
		list_each(l, &s->levels[i]) {
			struct nvmf_stranger *goes = first_of_level(list_entry(l, struct level, link), who);

			if (goes)
				return goes;
		}
	}
	return NULL;
}

struct nvmf_stranger *nvmf_stranger_stays(struct nvmf_strangers *s, const struct nvmf_stranger *who)
{
	struct nvmf_stranger *goes;

	if (s->count <= s->max || !list_linked(&who->link))
		return NULL;
	goes = first_but(s, who);
	must(goes);
	no_stranger(s, goes);
	settle(s, goes->peer);
	s->crowded_out++;
	return goes;
}

void nvmf_stranger_connected(struct nvmf_strangers *s, struct nvmf_stranger *who)
{
	no_stranger(s, who);
	who->peer->connected += !who->connected;
	who->connected = true;
	settle(s, who->peer);
}

void nvmf_stranger_gone(struct nvmf_strangers *s, struct nvmf_stranger *who)
{
	struct nvmf_peer *p = who->peer;

	no_stranger(s, who);
	p->connected -= who->connected;
	settle(s, p);
	if (--p->conns)
		return;
	list_del(&p->link);
	free(p);
}
