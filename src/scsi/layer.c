/* SPDX-License-Identifier: BSD-3-Clause */
/* layer.c: the layer as a whole: make it, find a command's row, stop it. */
#include "scsi/pr.h"

/* Every file of commands. */
static const struct scsi_opcode_table *const tables[] = {
	&scsi_primary_ops, &scsi_block_ops, &scsi_pr_ops,
};

static void index_table(struct scsi *s, const struct scsi_opcode_table *table)
{
	for (uint32_t i = 0; i < table->count; i++) {
		uint8_t opcode = table->rows[i].opcode;

		if (!s->ops[opcode].count)
			s->ops[opcode].rows = &table->rows[i];
		must(&s->ops[opcode].rows[s->ops[opcode].count] == &table->rows[i]); /* rows of an opcode lie together */
		s->ops[opcode].count++;
	}
}

struct scsi *scsi_make(struct core *core, struct bdev_registry *reg)
{
	struct scsi *s = base_zalloc(sizeof(*s));

	s->core = core;
	s->reg = reg;
	scsi_flights_init(s);
	s->core_count = core_reactor_count(core);
	s->cores = base_zalloc_aligned(CACHE_LINE, s->core_count * sizeof(*s->cores));
	for (uint32_t i = 0; i < s->core_count; i++) {
		s->cores[i].scsi = s;
		s->cores[i].index = i;
		list_init(&s->cores[i].nexuses);
		list_init(&s->cores[i].maps);
		queue_init(&s->cores[i].done);
		scsi_flight_init(&s->cores[i]);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(tables); i++)
		index_table(s, tables[i]);
	list_init(&s->targets);
	list_init(&s->preempted);
	list_init(&s->preempt_waits);
	scsi_pr_init(s);
	return s;
}

const struct scsi_opcode *scsi_opcode_at(const struct scsi *s, uint32_t at)
{
	for (uint32_t opcode = 0; opcode < 256; opcode++) {
		if (at < s->ops[opcode].count)
			return &s->ops[opcode].rows[at];
		at -= s->ops[opcode].count;
	}
	return NULL;
}

const struct scsi_opcode *scsi_opcode_find(const struct scsi *s, uint8_t opcode, int service_action)
{
	for (uint32_t i = 0; i < s->ops[opcode].count; i++)
		if (service_action < 0 || s->ops[opcode].rows[i].service_action == service_action)
			return &s->ops[opcode].rows[i];
	return NULL;
}

static void stop_on_core(struct each *e)
{
	struct scsi_core *c = scsi_core_here(container_of(e, struct scsi, stop_each));

	if (c->watching)
		watch_stop(&c->watch);
	c->watching = false;
}

static void stopped(struct each *e)
{
	struct scsi *s = container_of(e, struct scsi, stop_each);

	s->stopped(s->stopped_arg);
}

void scsi_stop(struct scsi *s, void (*done)(void *arg), void *arg)
{
	assert(list_empty(&s->targets));
	s->stopped = done;
	s->stopped_arg = arg;
	each_core(&s->stop_each, s->core, stop_on_core, stopped);
}

void scsi_free(struct scsi *s)
{
	scsi_pr_fini(s);
	for (uint32_t i = 0; i < s->core_count; i++)
		scsi_stages_fini(&s->cores[i]);
	free(s->cores);
	free(s);
}
