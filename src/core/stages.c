/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.c: counts and times of stages, and what is told apart by name, within limits. */
#include "core/stages.h"

#include "base/text.h"

const char *stage_name(enum stage stage)
{
#define STAGE_NAME(id, name, doc) name,
	static const char *const names[] = { STAGES(STAGE_NAME) };

	return stage < STAGE_COUNT ? names[stage] : "unknown";
}

const char *stage_kind_name(enum stage_kind kind)
{
	static const char *const names[] = { "read", "write", "other" };

	return kind < STAGE_KIND_COUNT ? names[kind] : "unknown";
}

void stage_name_set(char *to, size_t size, const char *from)
{
	struct text t = text_over(to, size);

	text_add_utf8(&t, from);
}

/* --- counts --- */

void stage_counts_add(struct stage_counts *into, const struct stage_counts *from)
{
	for (uint32_t i = 0; i < STAGE_KIND_COUNT; i++) {
		into->ios[i] += from->ios[i];
		into->bytes[i] += from->bytes[i];
	}
	into->errors += from->errors;
	into->at_once += from->at_once;
	for (uint32_t s = 0; s < STAGE_COUNT; s++) {
		into->stage[s].sum_ns += from->stage[s].sum_ns;
		for (uint32_t i = 0; i < STAGE_BUCKETS; i++)
			into->stage[s].bucket[i] += from->stage[s].bucket[i];
	}
}

/* --- by name --- */

/* Memory comes when somebody works: an idle connection shall stay small. */
struct stage_unit *stage_unit_find(struct stage_unit **first, uint32_t unit)
{
	struct stage_unit **at = first, *u;
	uint32_t count = 0;

	for (; *at && (*at)->unit != unit; at = &(*at)->next)
		if (++count == STAGE_QUEUE_UNITS)
			return stage_unit_find(first, STAGE_UNIT_OTHERS);
	u = *at;
	if (u) {
		*at = u->next;
	} else {
		u = base_zalloc(sizeof(*u));
		u->unit = count == STAGE_QUEUE_UNITS - 1 ? STAGE_UNIT_OTHERS : unit;
	}
	u->next = *first;
	*first = u;
	return u;
}

/* The last of them stands for all that came when there were many. */
struct stage_host *stage_host_find(struct stage_hosts *hosts, const char *name)
{
	struct stage_host *h = hosts->first;
	struct text t;

	for (; h; h = h->next)
		if (strcmp(h->name, name) == 0)
			return h;
	if (hosts->count == STAGE_HOSTS_MAX) {
		for (h = hosts->first; strcmp(h->name, STAGE_OTHERS) != 0; h = h->next)
			;
		return h;
	}
	if (++hosts->count == STAGE_HOSTS_MAX)
		name = STAGE_OTHERS;
	h = base_zalloc(sizeof(*h));
	t = text_over(h->name, sizeof(h->name));
	text_add(&t, "%s", name);
	h->next = hosts->first;
	hosts->first = h;
	return h;
}

void stage_hosts_fini(struct stage_hosts *hosts)
{
	while (hosts->first) {
		struct stage_host *h = hosts->first;

		hosts->first = h->next;
		free(h);
	}
}

void stage_error_count(struct stage_errors *e, uint32_t code)
{
	uint32_t i = 0;

	while (i < e->count && e->at[i].code != code)
		i++;
	if (i == e->count) {
		if (i == STAGE_ERRORS_MAX)
			i--;
		else
			e->at[e->count++].code = code;
	}
	e->at[i].count++;
}

/* --- what a core tells --- */

void stage_eyes_begin(struct stage_eyes *eyes, const struct stage_hosts *hosts, const struct stage_errors *errors,
                      const struct flight *f)
{
	*eyes = (struct stage_eyes){ .errors = *errors, .slow_ios = f->slow_count, .slow_limit_ns = f->limit_ns };
	eyes->hosts = base_zalloc((STAGE_HOSTS_MAX + 1) * sizeof(*eyes->hosts));
	eyes->queues = base_zalloc(STAGE_QUEUES_MAX * sizeof(*eyes->queues));
	eyes->units = base_zalloc(STAGE_UNITS_MAX * sizeof(*eyes->units));
	for (const struct stage_host *h = hosts->first; h; h = h->next)
		stage_counts_add(&stage_eyes_host(eyes, h->name)->counts, &h->counts);
}

void stage_eyes_free(struct stage_eyes *eyes)
{
	free(eyes->hosts);
	free(eyes->queues);
	free(eyes->units);
	memset(eyes, 0, sizeof(*eyes));
}

/* One row more than are told apart: it takes the rest. */
struct stage_row *stage_eyes_host(struct stage_eyes *eyes, const char *name)
{
	struct stage_row *row;

	for (uint32_t i = 0; i < eyes->host_count; i++)
		if (strcmp(eyes->hosts[i].host, name) == 0)
			return &eyes->hosts[i];
	if (eyes->host_count > STAGE_HOSTS_MAX)
		return &eyes->hosts[STAGE_HOSTS_MAX];
	row = &eyes->hosts[eyes->host_count];
	stage_name_set(row->host, sizeof(row->host), eyes->host_count++ == STAGE_HOSTS_MAX ? STAGE_OTHERS : name);
	return row;
}

struct stage_row *stage_eyes_queue(struct stage_eyes *eyes)
{
	if (eyes->queue_count < STAGE_QUEUES_MAX)
		return &eyes->queues[eyes->queue_count++];
	eyes->left_out++;
	return NULL;
}

/* Beyond the limit it is only said that there are more. */
void stage_eyes_add_unit(struct stage_eyes *eyes, const char *target, uint32_t unit, const char *device,
                         const struct stage_counts *counts)
{
	struct stage_row *row = eyes->units;
	uint32_t i = 0;

	for (; i < eyes->unit_count; i++, row++)
		if (row->unit == unit && strcmp(row->target, target) == 0)
			break;
	if (i == STAGE_UNITS_MAX) {
		eyes->left_out++;
		return;
	}
	if (i == eyes->unit_count) {
		eyes->unit_count++;
		stage_name_set(row->target, sizeof(row->target), target);
		stage_name_set(row->device, sizeof(row->device), device);
		row->unit = unit;
	}
	stage_counts_add(&row->counts, counts);
}
