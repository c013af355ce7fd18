/* SPDX-License-Identifier: BSD-3-Clause */
/* port_groups.c: asymmetric access (ALUA): REPORT TARGET PORT GROUPS and SET TARGET PORT GROUPS.
 *
 * What a state refuses is the tables' business (SCSI_ROW_STANDBY, SCSI_ROW_UNAVAILABLE).
 */
#include "scsi/primary.h"
#include "wire/scsi_report.h"

#define FORMAT(cdb) ((cdb)[1] >> 5)
#define FORMAT_EXTENDED 1u

/* --- report ---------------------------------------------------------------------------------------------------- */

bool scsi_report_groups_parse(struct scsi_task *t)
{
	if (FORMAT(t->cdb) > FORMAT_EXTENDED)
		return scsi_task_bad_field(t, 1, 7, true);
	return scsi_task_moves(t, SCSI_DATA_IN, scsi_u32(t->cdb + 6));
}

static uint32_t put_group(uint8_t *at, const struct scsi_map *map, const struct scsi_group *g)
{
	struct scsi_rtpg_group *d = (struct scsi_rtpg_group *)at;
	uint32_t len = sizeof(*d);

	d->state = g->state;
	d->supported = SCSI_RTPG_AO_SUP | SCSI_RTPG_AN_SUP | SCSI_RTPG_S_SUP | SCSI_RTPG_U_SUP;
	d->group = be16_of(g->id);
	d->status_code = g->status;
	for (uint32_t i = 0; i < map->port_count && d->port_count < UINT8_MAX; i++) {
		if (map->ports[i].group != g->id)
			continue;
		((struct scsi_rtpg_port *)(at + len))->relative_id = be16_of(map->ports[i].id);
		len += sizeof(struct scsi_rtpg_port);
		d->port_count++;
	}
	return len;
}

void scsi_report_groups_run(struct scsi_task *t)
{
	const struct scsi_map *map = scsi_nexus_map(t->nexus);
	bool ext = FORMAT(t->cdb) == FORMAT_EXTENDED;
	uint32_t len = ext ? sizeof(struct scsi_rtpg_extended) : sizeof(be32);
	uint8_t *buf = base_zalloc(len + map->group_count * sizeof(struct scsi_rtpg_group) +
	                           map->port_count * sizeof(struct scsi_rtpg_port));

	if (ext)
		((struct scsi_rtpg_extended *)buf)->format = FORMAT_EXTENDED << 4; /* a change is there at once */
	for (uint32_t i = 0; i < map->group_count; i++)
		len += put_group(buf + len, map, &map->groups[i]);
	scsi_put32(buf, len - (uint32_t)sizeof(be32));
	scsi_task_complete_data(t, buf, len);
	free(buf);
}

/* --- set ---------------------------------------------------------------------------------------------------- */

#define GROUPS_AT 4u   /* behind four reserved bytes */
#define GROUPS_MAX SCSI_PORTS_MAX

bool scsi_set_groups_parse(struct scsi_task *t)
{
	uint32_t len = scsi_u32(t->cdb + 6);

	if (len > GROUPS_AT + GROUPS_MAX * sizeof(struct scsi_stpg_group))
		return scsi_task_bad_field(t, 6, -1, true);
	if (len && (len < GROUPS_AT || (len - GROUPS_AT) % sizeof(struct scsi_stpg_group)))
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	return scsi_task_moves(t, SCSI_DATA_OUT, len);
}

static const struct scsi_group *group_find(const struct scsi_map *map, uint16_t id)
{
	for (uint32_t i = 0; i < map->group_count; i++)
		if (map->groups[i].id == id)
			return &map->groups[i];
	return NULL;
}

struct set_groups {
	struct scsi_ask ask;
	struct scsi_change change;
	uint32_t at, count;
	struct scsi_stpg_group groups[GROUPS_MAX];
};

static bool check_group(struct scsi_task *t, const struct set_groups *s, uint32_t i)
{
	uint16_t at = (uint16_t)(GROUPS_AT + i * sizeof(s->groups[0]));

	if ((s->groups[i].state & 0xf) > SCSI_ALUA_UNAVAILABLE) {
		scsi_task_bad_param(t, at, 3);
		return false;
	}
	if (!group_find(scsi_nexus_map(t->nexus), be16_get(s->groups[i].group))) {
		scsi_task_bad_param(t, at + 2, -1);
		return false;
	}
	return true;
}

static void set_groups_answered(struct scsi_ask *a)
{
	if (a->result)
		scsi_task_sense(a->task, SCSI_HARDWARE_ERROR, SCSI_ASC_SET_GROUPS_FAILED);
	else
		scsi_task_complete(a->task);
}

static void set_groups_next(struct set_groups *s);

static void set_group_done(struct scsi_change *c)
{
	struct set_groups *s = c->arg;

	if (c->err.code) {
		s->ask.result = 1;
		scsi_ask_answer(&s->ask);
		return;
	}
	set_groups_next(s);
}

/* One after the other: each is a change of its own, and hosts hear of each. */
static void set_groups_next(struct set_groups *s)
{
	const struct scsi_stpg_group *g = &s->groups[s->at];

	if (s->at == s->count) {
		scsi_ask_answer(&s->ask);
		return;
	}
	s->at++;
	s->change = (struct scsi_change){ .done = set_group_done, .arg = s };
	scsi_target_set_alua_by(s->ask.seat, be16_get(g->group), g->state & 0xf, &s->change);
}

static void set_groups_on_control(struct scsi_ask *a)
{
	set_groups_next(container_of(a, struct set_groups, ask));
}

void scsi_set_groups_run(struct scsi_task *t)
{
	uint32_t len = t->data_len;
	struct set_groups *s;

	if (!scsi_task_has_list(t, GROUPS_AT))
		return;
	s = scsi_task_ask(t, sizeof(*s));
	s->count = (len - GROUPS_AT) / (uint32_t)sizeof(s->groups[0]);
	scsi_task_read_params(t, GROUPS_AT, s->groups, len - GROUPS_AT);
	for (uint32_t i = 0; i < s->count; i++)
		if (!check_group(t, s, i))
			return;
	scsi_ask_send(&s->ask, set_groups_on_control, set_groups_answered);
}
