/* SPDX-License-Identifier: BSD-3-Clause */
/* pr_out.c: PERSISTENT RESERVE OUT: from the parameter list to an operation on the device's reservation.
 *
 * Who is meant beside the asker (SPEC_I_PT, ALL_TG_PT, REGISTER AND MOVE) is found on the control reactor, which knows
 * nexuses and ports.
 */
#include "bdev/bdev_device.h"
#include "scsi/pr.h"
#include "scsi/transport_id.h"

#define LIST_LEN 24u           /* without TransportIDs */
#define LIST_MAX 16384u
#define SPEC_I_PT 0x08u        /* byte 20 */
#define ALL_TG_PT 0x04u
#define APTPL 0x01u
#define MOVE_UNREG 0x02u       /* byte 17, of REGISTER AND MOVE */
#define MOVE_APTPL 0x01u

struct pr_out {
	struct scsi_ask ask;
	struct resv_op op;
	struct each each;
	struct scsi_preempt_wait wait;
	uint32_t len;
	uint16_t bad_at;                  /* byte of the list that is wrong; 0: none */
	bool too_many;
	struct resv_identity *others;
	char (*names)[2][SCSI_PORT_NAME_MAX + 1]; /* of others: device and port */
	uint8_t list[];
};

static void on_control(struct scsi_ask *a);
static void done(struct resv_op *op);
static void answered(struct scsi_ask *a);

static int sa_of(const struct scsi_task *t)
{
	return t->op->service_action;
}

static bool has_type(const struct scsi_task *t)
{
	int sa = sa_of(t);

	return sa == SCSI_SA_PR_OUT_RESERVE || sa == SCSI_SA_PR_OUT_RELEASE || sa == SCSI_SA_PR_OUT_PREEMPT ||
	       sa == SCSI_SA_PR_OUT_PREEMPT_ABORT;
}

bool scsi_pr_out_parse(struct scsi_task *t)
{
	uint32_t len = scsi_u32(t->cdb + 5);

	if (has_type(t) && t->cdb[2] >> 4) /* the scope is the logical unit */
		return scsi_task_bad_field(t, 2, 7, true);
	if (has_type(t) && resv_type_from_spc(t->cdb[2] & 0x0f) == RESV_TYPE_COUNT)
		return scsi_task_bad_field(t, 2, 3, true);
	if (len < LIST_LEN || len > LIST_MAX)
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	return scsi_task_moves(t, SCSI_DATA_OUT, len);
}

static bool moves(const struct pr_out *o)
{
	return o->op.action == RESV_REGISTER_MOVE;
}

static bool registers(const struct pr_out *o)
{
	return o->op.action == RESV_REGISTER || o->op.action == RESV_REGISTER_IGNORE;
}

/* False: the task has its answer. */
static bool check_list(struct scsi_task *t, const struct pr_out *o)
{
	const uint8_t *p = o->list;
	bool spec = !moves(o) && p[20] & SPEC_I_PT;

	if (spec && o->op.action != RESV_REGISTER) {
		scsi_task_bad_param(t, 20, 3);
		return false;
	}
	if (!moves(o) && !spec && o->len != LIST_LEN) {
		scsi_task_sense(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		return false;
	}
	if (spec && (o->len < LIST_LEN + 4 || scsi_u32(p + 24) > o->len - LIST_LEN - 4)) {
		scsi_task_sense(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		return false;
	}
	if (moves(o) && scsi_u32(p + 20) > o->len - LIST_LEN) {
		scsi_task_sense(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		return false;
	}
	return true;
}

static uint8_t flags_of(const struct pr_out *o)
{
	const uint8_t *p = o->list;

	if (moves(o))
		return (uint8_t)((p[17] & MOVE_APTPL ? RESV_F_PERSIST : RESV_F_VOLATILE) |
		                 (p[17] & MOVE_UNREG ? RESV_F_UNREGISTER : 0));
	if (registers(o))
		return (uint8_t)((p[20] & APTPL ? RESV_F_PERSIST : RESV_F_VOLATILE) |
		                 (p[20] & ALL_TG_PT ? RESV_F_ALL_PORTS : 0) |
		                 (p[20] & SPEC_I_PT ? RESV_F_FOR_OTHERS : 0));
	return 0;
}

void scsi_pr_out_run(struct scsi_task *t)
{
	static const uint8_t actions[] = {
		[SCSI_SA_PR_OUT_REGISTER] = RESV_REGISTER, [SCSI_SA_PR_OUT_RESERVE] = RESV_RESERVE,
		[SCSI_SA_PR_OUT_RELEASE] = RESV_RELEASE, [SCSI_SA_PR_OUT_CLEAR] = RESV_CLEAR,
		[SCSI_SA_PR_OUT_PREEMPT] = RESV_PREEMPT, [SCSI_SA_PR_OUT_PREEMPT_ABORT] = RESV_PREEMPT_ABORT,
		[SCSI_SA_PR_OUT_REGISTER_IGNORE] = RESV_REGISTER_IGNORE, [SCSI_SA_PR_OUT_REGISTER_MOVE] = RESV_REGISTER_MOVE,
	};
	struct pr_out *o;

	if (!scsi_task_has_list(t, 0))
		return;
	o = scsi_task_ask(t, sizeof(*o) + t->data_len);
	o->len = t->data_len;
	scsi_task_read_params(t, 0, o->list, o->len);
	o->op.action = actions[sa_of(t)];
	o->op.type = (uint8_t)resv_type_from_spc(t->cdb[2] & 0x0f);
	o->op.key = scsi_u64(o->list);
	o->op.new_key = scsi_u64(o->list + 8);
	if (!check_list(t, o))
		return;
	o->op.flags = flags_of(o);
	scsi_ask_send(&o->ask, on_control, answered);
}

/* --- who else is meant: control -------------------------------------------------------------------------- */

static bool add_nexus(struct pr_out *o, const char *device, const char *port_name, uint16_t port)
{
	struct scsi_target *target = o->ask.seat->target;
	struct resv_identity *id;

	if (o->op.other_count == RESV_OTHERS_MAX) {
		o->too_many = true;
		return false;
	}
	if (!o->others) {
		o->others = base_zalloc(RESV_OTHERS_MAX * sizeof(*o->others));
		o->names = base_zalloc(RESV_OTHERS_MAX * sizeof(*o->names));
	}
	id = &o->others[o->op.other_count];
	text_pad(o->names[o->op.other_count][0], SCSI_PORT_NAME_MAX, device, 0);
	text_pad(o->names[o->op.other_count][1], SCSI_PORT_NAME_MAX, port_name, 0);
	*id = (struct resv_identity){ .kind = RESV_SCSI_NEXUS, .port_id = port, .target = target->name };
	id->name = o->names[o->op.other_count][0];
	id->port = o->names[o->op.other_count][1];
	o->op.other_count++;
	return true;
}

/* Through the asker's port, or through all of the device's. */
static bool add_initiator(struct pr_out *o, const char *port_name)
{
	const struct scsi_seat *from = o->ask.seat;
	const struct scsi_map *map = from->target->map;
	char device[SCSI_NAME_MAX + 1];
	bool same = strcmp(port_name, from->initiator_port) == 0;

	scsi_transport_id_device(port_name, device);
	if (!(o->op.flags & RESV_F_ALL_PORTS))
		return same || add_nexus(o, device, port_name, from->port);
	for (uint32_t i = 0; map && i < map->port_count; i++)
		if (!(same && map->ports[i].id == from->port) && !add_nexus(o, device, port_name, map->ports[i].id))
			return false;
	return true;
}

/* A device's name stands for all of its ports that are here. */
static bool add_device(struct pr_out *o, const char *name)
{
	list_each(l, &o->ask.seat->target->seats) {
		const struct scsi_seat *s = list_entry(l, struct scsi_seat, link);

		if (strcasecmp(s->initiator, name) == 0 && !add_initiator(o, s->initiator_port))
			return false;
	}
	return true;
}

static void add_listed(struct pr_out *o)
{
	uint32_t at = LIST_LEN + 4, end = at + scsi_u32(o->list + 24);

	while (at < end) {
		char name[SCSI_PORT_NAME_MAX + 1];
		bool is_port = false;
		uint32_t len = scsi_transport_id_read(o->list + at, end - at, name, &is_port);

		if (!len) {
			o->bad_at = (uint16_t)at;
			return;
		}
		if (!(is_port ? add_initiator(o, name) : add_device(o, name)))
			return;
		at += len;
	}
}

static void add_destination(struct pr_out *o)
{
	const struct scsi_map *map = o->ask.seat->target->map;
	char name[SCSI_PORT_NAME_MAX + 1], device[SCSI_NAME_MAX + 1];
	uint16_t port = scsi_u16(o->list + 18);
	bool is_port = false;

	if (!scsi_transport_id_read(o->list + LIST_LEN, scsi_u32(o->list + 20), name, &is_port) || !is_port) {
		o->bad_at = LIST_LEN;
		return;
	}
	scsi_transport_id_device(name, device);
	for (uint32_t i = 0; map && i < map->port_count; i++)
		if (map->ports[i].id == port) {
			add_nexus(o, device, name, port);
			return;
		}
	o->bad_at = 18;
}

static void on_control(struct scsi_ask *a)
{
	struct pr_out *o = container_of(a, struct pr_out, ask);

	if (moves(o))
		add_destination(o);
	else if (o->op.action == RESV_REGISTER && o->list[20] & SPEC_I_PT)
		add_listed(o);
	if (o->op.flags & RESV_F_ALL_PORTS)
		add_initiator(o, a->seat->initiator_port);
	if (o->bad_at || o->too_many) {
		scsi_ask_answer(a);
		return;
	}
	o->op.others = o->others;
	bdev_resv_do(a->lu->dev.desc, &a->task->nexus->who, &o->op, done);
}

/* Who lost something is told by mail to its core: it arrives before this does. The answer may not come before the unit
 * attention. */
static void nothing(struct each *e)
{
	(void)e;
}

static void nothing_is_left(struct scsi_preempt_wait *w)
{
	scsi_ask_answer(&container_of(w, struct pr_out, wait)->ask);
}

/* PREEMPT AND ABORT means that nothing is left which the preempted had sent: the device says so of what it had begun,
 * this of what waited for its data or its turn. */
static void all_told(struct each *e)
{
	struct pr_out *o = container_of(e, struct pr_out, each);

	if (o->op.action != RESV_PREEMPT_ABORT || !o->ask.lu->dev.desc) {
		scsi_ask_answer(&o->ask);
		return;
	}
	o->wait = (struct scsi_preempt_wait){ .bdev = bdev_of(o->ask.lu->dev.desc), .fn = nothing_is_left };
	scsi_preempt_wait(o->ask.seat->target->scsi, &o->wait);
}

static void done(struct resv_op *op)
{
	struct pr_out *o = container_of(op, struct pr_out, op);

	each_core(&o->each, o->ask.seat->target->scsi->core, nothing, all_told);
}

static void answered(struct scsi_ask *a)
{
	struct pr_out *o = container_of(a, struct pr_out, ask);
	struct scsi_task *t = a->task;

	free(o->others);
	free(o->names);
	if (o->too_many)
		o->op.result = RESV_NO_ROOM;
	if (o->bad_at)
		scsi_task_bad_param(t, o->bad_at, -1);
	else
		scsi_pr_complete(t, &o->op);
}
