/* SPDX-License-Identifier: BSD-3-Clause */
/* config.c: versions of the configuration: copy, change the copy, count what versions share. */
#include "nvmf/config.h"

#include "keyring/keyring.h"
#include "nvmf/target.h"

static struct nvmf_subsystem *subsystem_copy(const struct nvmf_subsystem *s);
static void subsystem_unref(struct nvmf_target *t, struct nvmf_subsystem *s);
static void subsystem_sum_up(struct nvmf_subsystem *s);
static void hosts_give(struct nvmf_subsystem *s, uint32_t nsid);
static void referrals_unref(struct nvmf_referrals *r);

struct nvmf_config *nvmf_config_copy(struct nvmf_target *t, const struct nvmf_config *from)
{
	struct nvmf_config *c = base_zalloc_aligned(CACHE_LINE, sizeof(*c));

	c->target = t;
	c->change = from ? from->change + 1 : 1;
	c->genctr = from ? from->genctr : 0;
	c->referrals = from ? from->referrals : NULL;
	if (c->referrals)
		c->referrals->refs++;
	for (uint32_t i = 0; from && i < NVMF_SUBSYSTEMS_MAX; i++) {
		c->subs[i] = from->subs[i];
		if (c->subs[i])
			c->subs[i]->refs++;
	}
	return c;
}

void nvmf_config_drop(struct nvmf_config *c)
{
	for (uint32_t i = 0; i < NVMF_SUBSYSTEMS_MAX; i++)
		if (c->subs[i])
			subsystem_unref(c->target, c->subs[i]);
	referrals_unref(c->referrals);
	free(c);
}

void nvmf_config_free(struct version *v)
{
	struct nvmf_target *t = container_of(v, struct nvmf_config, v)->target;

	nvmf_config_drop(container_of(v, struct nvmf_config, v));
	nvmf_target_less(t, &t->configs_old);
}

struct nvmf_subsystem *nvmf_config_find(const struct nvmf_config *c, const char *nqn)
{
	for (uint32_t i = 0; i < NVMF_SUBSYSTEMS_MAX; i++)
		if (c->subs[i] && !strcmp(c->subs[i]->nqn, nqn))
			return c->subs[i];
	return NULL;
}

struct nvmf_subsystem *nvmf_config_add_subsystem(struct nvmf_config *c, bool discovery)
{
	struct nvmf_subsystem *s;
	uint32_t id = NVMF_DISCOVERY_ID;

	if (!discovery || c->subs[id])
		while (++id < NVMF_SUBSYSTEMS_MAX && (c->subs[id] || c->target->ctrlrs_of[id]))
			; /* queues of one that was removed know it by its place until they are gone */
	if (id >= min_u32(NVMF_SUBSYSTEMS_MAX, c->target->subsystems_max))
		return NULL;
	s = base_zalloc(sizeof(*s));
	s->refs = 1;
	s->stamp = ++c->target->stamps;
	s->id = id;
	s->discovery = discovery;
	s->roster = nvmf_roster_make(c->target, discovery);
	s->ops_all = ~0u;
	c->subs[id] = s;
	return s;
}

struct nvmf_subsystem *nvmf_config_edit(struct nvmf_config *c, uint32_t id)
{
	struct nvmf_subsystem *old = c->subs[id];

	c->subs[id] = subsystem_copy(old);
	c->subs[id]->stamp = ++c->target->stamps;
	subsystem_unref(c->target, old);
	return c->subs[id];
}

void nvmf_config_remove_subsystem(struct nvmf_config *c, uint32_t id)
{
	subsystem_unref(c->target, c->subs[id]);
	c->subs[id] = NULL;
}

void nvmf_subsystem_set_ns(struct nvmf_config *c, struct nvmf_subsystem *s, uint32_t nsid, struct nvmf_ns *ns)
{
	struct nvmf_ns **place = &s->ns[nsid - 1];

	assert(nsid >= 1 && nsid <= s->ns_max);
	if (*place != ns) {
		if (ns)
			bdev_served_ref(&ns->dev);
		if (*place)
			bdev_served_unref(&(*place)->dev);
		*place = ns;
	}
	s->ns_changed[nsid - 1] = c->change;
	if (!ns)
		hosts_give(s, nsid);
	subsystem_sum_up(s);
}

bool nvmf_subsystem_allows_host(const struct nvmf_subsystem *s, const char *host_nqn)
{
	return s->allow_any_host || nvmf_subsystem_host_at(s, host_nqn) >= 0;
}

int nvmf_subsystem_host_at(const struct nvmf_subsystem *s, const char *host_nqn)
{
	for (uint32_t i = 0; i < s->host_count; i++)
		if (!strcmp(s->hosts[i].nqn, host_nqn))
			return (int)i;
	return -1;
}

void nvmf_host_ref_keys(struct nvmf_host *h)
{
	keyring_key_ref(h->key);
	keyring_key_ref(h->ctrlr_key);
	keyring_key_ref(h->psk);
}

void nvmf_host_unref_keys(struct nvmf_host *h)
{
	keyring_key_unref(h->key);
	keyring_key_unref(h->ctrlr_key);
	keyring_key_unref(h->psk);
}

bool nvmf_subsystem_wants_proof(const struct nvmf_subsystem *s, const char *host_nqn)
{
	int at = nvmf_subsystem_host_at(s, host_nqn);

	return at >= 0 && s->hosts[at].key;
}

int nvmf_subsystem_listener_at(const struct nvmf_subsystem *s, const struct nvmf_transport *tr,
                               const struct net_addr *a)
{
	for (uint32_t i = 0; i < s->listener_count; i++)
		if (s->listeners[i].transport == tr && net_addr_equal(&s->listeners[i].addr, a))
			return (int)i;
	return -1;
}

const struct nvmf_listener *nvmf_subsystem_way(const struct nvmf_subsystem *s, const struct nvmf_transport *tr,
                                               const struct net_addr *local)
{
	for (uint32_t i = 0; i < s->listener_count; i++)
		if (s->listeners[i].transport == tr && net_addr_covers(&s->listeners[i].addr, local))
			return &s->listeners[i];
	return NULL;
}

void nvmf_subsystem_add_listener(struct nvmf_subsystem *s, const struct nvmf_listener *l, uint8_t ana)
{
	struct nvmf_listener *added;

	s->listeners = realloc(s->listeners, (s->listener_count + 1) * sizeof(*s->listeners));
	must(s->listeners != NULL);
	added = &s->listeners[s->listener_count++];
	*added = *l;
	added->ana = base_zalloc((s->ns_max + 1) * sizeof(*added->ana));
	for (uint32_t g = 0; g < s->ns_max; g++)
		added->ana[g].state = added->ana[g].to = ana;
	subsystem_sum_up(s);
}

void nvmf_subsystem_remove_listener(struct nvmf_subsystem *s, uint32_t at)
{
	free(s->listeners[at].ana);
	s->listener_count--;
	memmove(&s->listeners[at], &s->listeners[at + 1], (s->listener_count - at) * sizeof(*s->listeners));
	subsystem_sum_up(s);
}

void nvmf_subsystem_set_ana(struct nvmf_config *c, struct nvmf_subsystem *s, uint32_t at, uint32_t group,
                            uint8_t state, uint8_t to)
{
	struct nvmf_ana *ana = s->listeners[at].ana;

	for (uint32_t g = group ? group - 1 : 0; g < (group ? group : s->ns_max); g++)
		ana[g] = (struct nvmf_ana){ .changed = c->change, .state = state, .to = to };
	subsystem_sum_up(s);
}

bool nvmf_subsystem_ana_arrives(struct nvmf_config *c, struct nvmf_subsystem *s, uint64_t since)
{
	bool any = false;

	for (uint32_t i = 0; i < s->listener_count; i++) {
		for (uint32_t g = 0; g < s->ns_max; g++) {
			struct nvmf_ana *ana = &s->listeners[i].ana[g];

			if (ana->state != NVME_ANA_CHANGE || ana->changed != since)
				continue;
			ana->state = ana->to;
			ana->changed = c->change;
			any = true;
		}
	}
	subsystem_sum_up(s);
	return any;
}

/* Both groups' lists of namespaces are others now, whichever way a host came. */
void nvmf_subsystem_set_ns_group(struct nvmf_config *c, struct nvmf_subsystem *s, uint32_t nsid, uint32_t group)
{
	for (uint32_t i = 0; i < s->listener_count; i++) {
		struct nvmf_ana *from = &s->listeners[i].ana[s->ns_group[nsid - 1] - 1], *to = &s->listeners[i].ana[group - 1];

		if (from->state != NVME_ANA_CHANGE) /* its number is what its end is known by */
			from->changed = c->change;
		if (to->state != NVME_ANA_CHANGE)
			to->changed = c->change;
	}
	s->ns_group[nsid - 1] = group;
	s->ns_changed[nsid - 1] = c->change;
}

/* --- who sees a namespace ------------------------------------------------------------------------ */

void nvmf_hosts_unref(struct nvmf_ns_hosts *h)
{
	if (h && --h->refs == 0)
		free(h);
}

static void hosts_give(struct nvmf_subsystem *s, uint32_t nsid)
{
	nvmf_hosts_unref(s->ns_hosts[nsid - 1]);
	s->ns_hosts[nsid - 1] = NULL;
}

int nvmf_ns_hosts_at(const struct nvmf_ns_hosts *h, const char *host_nqn)
{
	for (uint32_t i = 0; i < h->count; i++)
		if (!strcmp(h->nqns[i], host_nqn))
			return (int)i;
	return -1;
}

static void hosts_replace(struct nvmf_subsystem *s, uint32_t nsid, struct nvmf_ns_hosts *h)
{
	hosts_give(s, nsid);
	s->ns_hosts[nsid - 1] = h;
	subsystem_sum_up(s);
}

struct nvmf_ns_hosts *nvmf_hosts_make(const char *const *nqns, uint32_t count)
{
	struct nvmf_ns_hosts *h = base_zalloc(sizeof(*h) + count * sizeof(h->nqns[0]));

	h->refs = 1;
	h->count = count;
	for (uint32_t i = 0; nqns && i < count; i++)
		text_pad(h->nqns[i], NVMF_NQN_MAX, nqns[i], 0);
	return h;
}

void nvmf_subsystem_hide_ns(struct nvmf_subsystem *s, uint32_t nsid)
{
	hosts_replace(s, nsid, nvmf_hosts_make(NULL, 0));
}

void nvmf_subsystem_show_ns(struct nvmf_subsystem *s, uint32_t nsid, const char *host_nqn)
{
	const struct nvmf_ns_hosts *old = s->ns_hosts[nsid - 1];
	struct nvmf_ns_hosts *h = nvmf_hosts_make(NULL, old->count + 1);

	memcpy(h->nqns, old->nqns, old->count * sizeof(h->nqns[0]));
	text_pad(h->nqns[old->count], NVMF_NQN_MAX, host_nqn, 0);
	hosts_replace(s, nsid, h);
}

void nvmf_subsystem_unshow_ns(struct nvmf_subsystem *s, uint32_t nsid, uint32_t at)
{
	const struct nvmf_ns_hosts *old = s->ns_hosts[nsid - 1];
	struct nvmf_ns_hosts *h = nvmf_hosts_make(NULL, old->count - 1);

	memcpy(h->nqns, old->nqns, at * sizeof(h->nqns[0]));
	memcpy(h->nqns[at], old->nqns[at + 1], (h->count - at) * sizeof(h->nqns[0]));
	hosts_replace(s, nsid, h);
}

/* --- referrals ----------------------------------------------------------------------------------- */

static void referrals_unref(struct nvmf_referrals *r)
{
	if (!r || --r->refs)
		return;
	for (uint32_t i = 0; i < r->count; i++)
		nvmf_hosts_unref(r->at[i].hosts);
	free(r);
}

static void referrals_replace(struct nvmf_config *c, struct nvmf_referrals *r)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (r->at[i].hosts)
			r->at[i].hosts->refs++;
	r->refs = 1;
	referrals_unref(c->referrals);
	c->referrals = r;
}

void nvmf_config_add_referral(struct nvmf_config *c, const struct nvmf_referral *r)
{
	uint32_t count = c->referrals ? c->referrals->count : 0;
	struct nvmf_referrals *more = base_zalloc(sizeof(*more) + (count + 1) * sizeof(*r));

	if (count)
		memcpy(more->at, c->referrals->at, count * sizeof(*r));
	more->at[count] = *r;
	more->count = count + 1;
	referrals_replace(c, more);
	nvmf_hosts_unref(r->hosts);
}

void nvmf_config_remove_referral(struct nvmf_config *c, uint32_t at)
{
	uint32_t count = c->referrals->count - 1;
	struct nvmf_referrals *less = base_zalloc(sizeof(*less) + count * sizeof(less->at[0]));

	memcpy(less->at, c->referrals->at, at * sizeof(less->at[0]));
	memcpy(less->at + at, c->referrals->at + at + 1, (count - at) * sizeof(less->at[0]));
	less->count = count;
	referrals_replace(c, less);
}

int nvmf_config_referral_at(const struct nvmf_config *c, const struct nvmf_referral *r)
{
	for (uint32_t i = 0; c->referrals && i < c->referrals->count; i++) {
		const struct nvmf_referral *o = &c->referrals->at[i];

		if (o->trtype == r->trtype && net_addr_equal(&o->addr, &r->addr) && !strcmp(o->subnqn, r->subnqn))
			return (int)i;
	}
	return -1;
}

/* --- sharing ------------------------------------------------------------------------------------- */

static void *copy_of(const void *p, size_t size)
{
	void *copy;

	if (!p || !size)
		return NULL;
	copy = base_zalloc(size);
	memcpy(copy, p, size);
	return copy;
}

static struct nvmf_subsystem *subsystem_copy(const struct nvmf_subsystem *s)
{
	struct nvmf_subsystem *c = base_zalloc(sizeof(*c));

	*c = *s;
	c->refs = 1;
	c->roster->refs++;
	c->ns = copy_of(s->ns, s->ns_max * sizeof(*s->ns));
	c->ns_changed = copy_of(s->ns_changed, s->ns_max * sizeof(*s->ns_changed));
	c->ns_group = copy_of(s->ns_group, s->ns_max * sizeof(*s->ns_group));
	c->ns_hosts = copy_of(s->ns_hosts, s->ns_max * sizeof(*s->ns_hosts));
	c->hosts = copy_of(s->hosts, s->host_count * sizeof(*s->hosts));
	for (uint32_t i = 0; i < c->host_count; i++)
		nvmf_host_ref_keys(&c->hosts[i]);
	c->statics = copy_of(s->statics, s->static_count * sizeof(*s->statics));
	c->listeners = copy_of(s->listeners, s->listener_count * sizeof(*s->listeners));
	for (uint32_t i = 0; i < c->listener_count; i++)
		c->listeners[i].ana = copy_of(s->listeners[i].ana, (s->ns_max + 1) * sizeof(struct nvmf_ana));
	for (uint32_t i = 0; i < c->ns_max; i++) {
		if (c->ns[i])
			bdev_served_ref(&c->ns[i]->dev);
		if (c->ns_hosts[i])
			c->ns_hosts[i]->refs++;
	}
	return c;
}

static void subsystem_unref(struct nvmf_target *t, struct nvmf_subsystem *s)
{
	assert(s->refs > 0);
	if (--s->refs)
		return;
	for (uint32_t i = 0; i < s->ns_max; i++) {
		if (s->ns[i])
			bdev_served_unref(&s->ns[i]->dev);
		nvmf_hosts_unref(s->ns_hosts[i]);
	}
	nvmf_roster_unref(t, s->roster);
	for (uint32_t i = 0; i < s->listener_count; i++)
		free(s->listeners[i].ana);
	for (uint32_t i = 0; i < s->host_count; i++)
		nvmf_host_unref_keys(&s->hosts[i]);
	free(s->ns);
	free(s->ns_changed);
	free(s->ns_group);
	free(s->ns_hosts);
	free(s->statics);
	free(s->hosts);
	free(s->listeners);
	free(s);
}

/* What its controllers say about it as a whole. */
static void subsystem_sum_up(struct nvmf_subsystem *s)
{
	s->ns_count = 0;
	s->ops_all = ~0u;
	s->knows_bad = false;
	s->volatile_cache = s->limited = false;
	for (uint32_t i = 0; i < s->listener_count; i++)
		for (uint32_t g = 0; g < s->ns_max; g++)
			s->limited |= s->listeners[i].ana[g].state > NVME_ANA_NONOPTIMIZED;
	for (uint32_t i = 0; i < s->ns_max; i++) {
		if (!s->ns[i])
			continue;
		s->ns_count++;
		s->limited |= s->ns_hosts[i] != NULL;
		s->ops_all &= s->ns[i]->dev.info.ops;
		s->knows_bad |= s->ns[i]->dev.info.knows_bad;
		s->volatile_cache |= s->ns[i]->dev.info.cache == BDEV_CACHE_VOLATILE;
	}
}
