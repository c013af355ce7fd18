/* SPDX-License-Identifier: BSD-3-Clause */
/* resv_party.c: who may register: NVMe hosts and SCSI nexuses of a daemon, each with a small number. Control reactor.
 *
 * A number is somebody's as long as a controller or nexus uses it or a device's state names it; then it is given to
 * the next who comes.
 */
#include "bdev/resv_priv.h"

#define FIRST_CAP 64u

struct resv_parties *resv_parties_make(void)
{
	struct resv_parties *p = base_zalloc(sizeof(*p));

	for (uint32_t i = 0; i < RESV_BUCKETS; i++)
		list_init(&p->buckets[i]);
	p->cap = FIRST_CAP;
	p->by_id = base_zalloc(p->cap * sizeof(struct resv_party *));
	p->free_from = 1;
	return p;
}

static void party_free(struct resv_party *y)
{
	list_del(&y->link);
	free(y->name);
	free(y->port);
	free(y->target);
	free(y);
}

void resv_parties_free(struct resv_parties *p)
{
	for (uint32_t i = 1; i < p->cap; i++)
		if (p->by_id[i])
			party_free(p->by_id[i]);
	free(p->by_id);
	free(p);
}

static uint32_t mix(uint32_t h, const void *data, size_t len)
{
	const uint8_t *b = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ b[i]) * 16777619u;
	return h;
}

/* By what makes them one and the same, and nothing else. */
static uint32_t bucket_of(const struct resv_identity *id)
{
	uint32_t h = mix(2166136261u, &id->host_id, sizeof(id->host_id));

	if (id->kind == RESV_SCSI_NEXUS)
		h = mix(mix(mix(2166136261u, id->port, strlen(id->port)), id->target, strlen(id->target)), &id->port_id,
		        sizeof(id->port_id));
	return h % RESV_BUCKETS;
}

static bool is(const struct resv_party *y, const struct resv_identity *id)
{
	if (y->kind != id->kind)
		return false;
	if (id->kind == RESV_NVME_HOST) /* without an identifier it is nobody else, and not who had its number before */
		return !uuid_is_null(&id->host_id) && uuid_equal(&y->host_id, &id->host_id);
	return y->port_id == id->port_id && strcmp(y->port, id->port) == 0 && strcmp(y->target, id->target) == 0;
}

static char *copy_text(const char *s)
{
	size_t len = strlen(s) + 1;
	char *to = base_zalloc(len);

	memcpy(to, s, len);
	return to;
}

static uint32_t free_number(struct resv_parties *p)
{
	uint32_t id = p->free_from;

	while (id < p->cap && p->by_id[id])
		id++;
	if (id == p->cap) {
		p->by_id = realloc(p->by_id, 2 * p->cap * sizeof(struct resv_party *));
		must(p->by_id);
		memset(&p->by_id[p->cap], 0, p->cap * sizeof(struct resv_party *));
		p->cap *= 2;
	}
	p->free_from = id + 1;
	return id;
}

struct resv_party *resv_party_take(struct resv_parties *p, const struct resv_identity *identity)
{
	struct resv_identity id = *identity;
	struct list *bucket;
	struct resv_party *y;

	id.name = id.name ? id.name : "";
	id.port = id.port ? id.port : "";
	id.target = id.target ? id.target : "";
	if (id.kind == RESV_SCSI_NEXUS)
		id.host_id = (struct uuid){ .b = { 0 } };
	bucket = &p->buckets[bucket_of(&id)];
	list_each(l, bucket) {
		y = list_entry(l, struct resv_party, link);
		if (is(y, &id)) {
			y->refs++;
			return y;
		}
	}
	y = base_zalloc(sizeof(*y));
	y->refs = 1;
	y->id = free_number(p);
	y->kind = (uint8_t)id.kind;
	y->port_id = id.port_id;
	y->host_id = id.host_id;
	y->name = copy_text(id.name);
	y->port = copy_text(id.port);
	y->target = copy_text(id.target);
	list_add_tail(bucket, &y->link);
	p->by_id[y->id] = y;
	return y;
}

void resv_party_ref(struct resv_parties *p, uint32_t id)
{
	p->by_id[id]->refs++;
}

void resv_party_unref(struct resv_parties *p, uint32_t id)
{
	struct resv_party *y = p->by_id[id];

	assert(y && y->refs > 0);
	if (--y->refs)
		return;
	p->by_id[id] = NULL;
	p->free_from = min_u32(p->free_from, id);
	party_free(y);
}
