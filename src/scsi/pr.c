/* SPDX-License-Identifier: BSD-3-Clause */
/* pr.c: PERSISTENT RESERVE IN, RESERVE and RELEASE, the table of both, and who is told by unit attentions. */
#include "bdev/bdev_device.h"
#include "scsi/pr.h"
#include "scsi/transport_id.h"

static bool in_parse(struct scsi_task *t);
static void in_run(struct scsi_task *t);
static void capabilities_run(struct scsi_task *t);
static bool spc2_6_parse(struct scsi_task *t);
static bool spc2_10_parse(struct scsi_task *t);
static void spc2_run(struct scsi_task *t);

#define OP(name) SCSI_OP_##name, SCSI_SA_##name
#define SPC2 SCSI_ROW_RESERVES
#define SPC2_10 { 0, 0x1f, 0xff, 0xff, 0, 0, 0, 0xff, 0xff }
#define IN(name, text, run) \
	{ OP(PR_IN_##name), "PERSISTENT RESERVE IN, " text, 10, { 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, \
	  SCSI_ROW_STANDBY, in_parse, run }
#define OUT(name, text) \
	{ OP(PR_OUT_##name), "PERSISTENT RESERVE OUT, " text, 10, { 0, 0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff }, \
	  SCSI_ROW_RESERVES | SCSI_ROW_STANDBY, scsi_pr_out_parse, scsi_pr_out_run }

static const struct scsi_opcode rows[] = {
	{ OP(RESERVE_6), "RESERVE (6)", 6, { 0, 0x1f, 0xff, 0xff, 0xff }, SPC2, spc2_6_parse, spc2_run },
	{ OP(RELEASE_6), "RELEASE (6)", 6, { 0, 0x1f, 0xff }, SPC2, spc2_6_parse, spc2_run },
	{ OP(RESERVE_10), "RESERVE (10)", 10, SPC2_10, SPC2, spc2_10_parse, spc2_run },
	{ OP(RELEASE_10), "RELEASE (10)", 10, SPC2_10, SPC2, spc2_10_parse, spc2_run },
	IN(READ_KEYS, "READ KEYS", in_run),
	IN(READ_RESERVATION, "READ RESERVATION", in_run),
	IN(REPORT_CAPABILITIES, "REPORT CAPABILITIES", capabilities_run),
	IN(READ_FULL_STATUS, "READ FULL STATUS", in_run),
	OUT(REGISTER, "REGISTER"),
	OUT(RESERVE, "RESERVE"),
	OUT(RELEASE, "RELEASE"),
	OUT(CLEAR, "CLEAR"),
	OUT(PREEMPT, "PREEMPT"),
	OUT(PREEMPT_ABORT, "PREEMPT AND ABORT"),
	OUT(REGISTER_IGNORE, "REGISTER AND IGNORE EXISTING KEY"),
	OUT(REGISTER_MOVE, "REGISTER AND MOVE"),
};
const struct scsi_opcode_table scsi_pr_ops = { rows, ARRAY_SIZE(rows) };

/* --- PERSISTENT RESERVE IN ---------------------------------------------------------------------------- */

static bool in_parse(struct scsi_task *t)
{
	return scsi_task_moves(t, SCSI_DATA_IN, scsi_u16(t->cdb + 7));
}

#define CAP_CRH 0x10u      /* byte 2 */
#define CAP_SIP 0x08u
#define CAP_ATP 0x04u
#define CAP_PTPL 0x01u
#define CAP_TMV 0x80u      /* byte 3 */
#define CAP_PTPL_ON 0x01u
#define TYPES_4 0xeau      /* write exclusive -AR, exclusive -RO, write exclusive -RO, exclusive, write exclusive */
#define TYPES_5 0x01u      /* exclusive -AR */

static void capabilities_run(struct scsi_task *t)
{
	uint8_t buf[8] = { 0, sizeof(buf), CAP_CRH | CAP_SIP | CAP_ATP, CAP_TMV, TYPES_4, TYPES_5 };

	if (bdev_resv_can_persist(scsi_task_scsi(t)->reg))
		buf[2] |= CAP_PTPL;
	if (t->lu->ch && bdev_resv_persists(t->lu->ch))
		buf[3] |= CAP_PTPL_ON;
	scsi_task_complete_data(t, buf, sizeof(buf));
}

struct pr_in {
	struct scsi_task *task;
	struct resv_op op;
};

static void in_done(struct resv_op *op);

static void in_run(struct scsi_task *t)
{
	struct pr_in *in = base_zalloc(sizeof(*in));

	in->task = t;
	in->op.action = RESV_REPORT;
	bdev_resv_do(t->lu->desc, &t->nexus->who, &in->op, in_done);
}

static uint8_t *put_keys(const struct resv_report *r, uint8_t *at)
{
	for (uint32_t i = 0; i < r->count; i++, at += 8)
		scsi_put64(at, r->who[i].key);
	return at;
}

/* Of -all registrants nobody's key is said. */
static uint8_t *put_reservation(const struct resv_report *r, uint8_t *at)
{
	if (r->type == RESV_NONE)
		return at;
	for (uint32_t i = 0; i < r->count && !resv_type_is_all(r->type); i++)
		if (r->who[i].holds)
			scsi_put64(at, r->who[i].key);
	at[13] = resv_type_to_spc(r->type);
	return at + 16;
}

#define STATUS_HEAD 24u

/* A descriptor a nexus, never ALL_TG_PT: one that is registered by all ports may leave by one of them, hold by one of
 * them, and a port may come. An NVMe host is shown by its NQN, as if that were an iSCSI name: there is no TransportID
 * for it. */
static uint8_t *put_full_status(const struct resv_report *r, uint8_t *at)
{
	for (uint32_t i = 0; i < r->count; i++) {
		const struct resv_reported *w = &r->who[i];
		uint32_t len = scsi_transport_id_make(w->kind == RESV_SCSI_NEXUS ? w->port : w->name, at + STATUS_HEAD);

		scsi_put64(at, w->key);
		at[12] = w->holds;
		at[13] = w->holds ? resv_type_to_spc(r->type) : 0;
		scsi_put16(at + 18, w->port_id);
		scsi_put32(at + 20, len);
		at += STATUS_HEAD + len;
	}
	return at;
}

static void in_done(struct resv_op *op)
{
	struct pr_in *in = container_of(op, struct pr_in, op);
	struct resv_report *r = op->ret_report;
	struct scsi_task *t = in->task;
	uint8_t *buf, *end;

	if (op->result != RESV_OK || r->spc2) { /* while RESERVE of SPC-2 holds it there are no persistent ones */
		op->result = op->result == RESV_OK ? RESV_CONFLICT : op->result;
		scsi_pr_complete(t, op);
	} else {
		buf = base_zalloc(8 + 16 + r->count * (size_t)(STATUS_HEAD + SCSI_TRANSPORT_ID_MAX));
		if (t->op->service_action == SCSI_SA_PR_IN_READ_KEYS)
			end = put_keys(r, buf + 8);
		else if (t->op->service_action == SCSI_SA_PR_IN_READ_RESERVATION)
			end = put_reservation(r, buf + 8);
		else
			end = put_full_status(r, buf + 8);
		scsi_put32(buf, r->generation);
		scsi_put32(buf + 4, (uint32_t)(end - buf - 8));
		scsi_task_complete_data(t, buf, (uint32_t)(end - buf));
		free(buf);
	}
	free(r);
	free(in);
}

void scsi_pr_complete(struct scsi_task *t, const struct resv_op *op)
{
	switch (op->result) {
	case RESV_OK:
		scsi_task_complete(t);
		break;
	case RESV_CONFLICT:
		t->status = SCSI_RESERVATION_CONFLICT;
		scsi_task_complete(t);
		break;
	case RESV_BAD_FIELD:
		scsi_task_bad_param(t, 8, -1); /* the service action's key */
		break;
	case RESV_NO_PERSIST:
		scsi_task_bad_param(t, op->action == RESV_REGISTER_MOVE ? 17 : 20, 0); /* APTPL */
		break;
	case RESV_BAD_RELEASE:
		scsi_task_sense(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_RELEASE);
		break;
	case RESV_NO_ROOM:
		scsi_task_sense(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INSUFFICIENT_REGISTRATIONS);
		break;
	default:
		scsi_task_sense(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
	}
}

/* --- RESERVE and RELEASE of SPC-2 ----------------------------------------------------------------------- */

/* The whole unit, and for oneself: extents and third parties are long gone from the standards. */
static bool spc2_6_parse(struct scsi_task *t)
{
	return t->cdb[1] & 0x1f ? scsi_task_bad_field(t, 1, -1, true) : true;
}

static bool spc2_10_parse(struct scsi_task *t)
{
	return t->cdb[1] & 0x13 ? scsi_task_bad_field(t, 1, -1, true) : true;
}

static void spc2_done(struct resv_op *op)
{
	struct pr_in *in = container_of(op, struct pr_in, op);

	scsi_pr_complete(in->task, op);
	free(in);
}

static void spc2_run(struct scsi_task *t)
{
	struct pr_in *in = base_zalloc(sizeof(*in));
	bool reserves = t->cdb[0] == SCSI_OP_RESERVE_6 || t->cdb[0] == SCSI_OP_RESERVE_10;

	in->task = t;
	in->op.action = reserves ? RESV_SPC2_RESERVE : RESV_SPC2_RELEASE;
	bdev_resv_do(t->lu->desc, &t->nexus->who, &in->op, spc2_done);
}

struct pr_reset {
	struct scsi_lu *lu;
	struct scsi_sweep *sweep;
	struct resv_op op;
};

static void reset_done(struct resv_op *op)
{
	struct pr_reset *r = container_of(op, struct pr_reset, op);

	bdev_served_unref(&r->lu->dev);
	scsi_reset_less(r->sweep);
	free(r);
}

/* Nobody holds it, nearly always: then nobody waits behind what others have asked of the reservation. */
static bool is_held_by_spc2(const struct scsi_lu *lu)
{
	struct resv_report *r = bdev_resv_report(bdev_of(lu->dev.desc));
	bool held = r->spc2;

	free(r);
	return held;
}

void scsi_pr_reset(struct scsi_lu *lu, struct scsi_sweep *w)
{
	struct pr_reset *r;

	if (!lu->dev.desc || !is_held_by_spc2(lu))
		return;
	r = base_zalloc(sizeof(*r));
	r->lu = lu;
	r->sweep = w;
	r->op.action = RESV_SPC2_RESET;
	w->left++;
	bdev_served_ref(&lu->dev); /* it stays open */
	bdev_resv_do(lu->dev.desc, NULL, &r->op, reset_done);
}

/* --- unit attentions: control ------------------------------------------------------------------------------ */

static bool is_party(struct scsi_tell *tell, const struct scsi_seat *s)
{
	return s->party == (uint32_t)(uintptr_t)tell->arg;
}

static void tell_target(struct scsi_target *target, const struct bdev *b, uint32_t party, uint16_t asc, bool aborts)
{
	for (uint32_t lun = 0; target->map && lun < SCSI_LUNS_MAX; lun++) {
		const struct scsi_lu *lu = target->map->luns[lun].lu;
		struct scsi_tell *tell;

		if (!lu || !lu->dev.desc || bdev_of(lu->dev.desc) != b)
			continue;
		tell = base_zalloc(sizeof(*tell));
		*tell = (struct scsi_tell){ .target = target, .lun = lun, .asc_ascq = asc, .means = is_party,
		                            .arg = (void *)(uintptr_t)party };
		scsi_tell(tell);
		if (aborts)
			scsi_preempt(target, lun, b, party);
	}
}

static void heard(struct resv_listener *l, struct bdev *b, uint32_t party, enum resv_event event)
{
	static const uint16_t attentions[] = {
		[RESV_EVENT_REGISTRATION_PREEMPTED] = SCSI_ASC_REGISTRATIONS_PREEMPTED,
		[RESV_EVENT_RESERVATION_PREEMPTED] = SCSI_ASC_RESERVATIONS_PREEMPTED,
		[RESV_EVENT_RESERVATION_RELEASED] = SCSI_ASC_RESERVATIONS_RELEASED,
	};
	struct scsi *s = container_of(l, struct scsi, resv_listener);

	list_each(pos, &s->targets) {
		struct scsi_target *target = list_entry(pos, struct scsi_target, link);

		list_each(seat, &target->seats)
			if (list_entry(seat, struct scsi_seat, link)->party == party) { /* a party is of one device only */
				tell_target(target, b, party, attentions[event], l->aborts);
				return;
			}
	}
}

void scsi_pr_init(struct scsi *s)
{
	bdev_resv_listen(s->reg, &s->resv_listener, heard);
}

void scsi_pr_fini(struct scsi *s)
{
	bdev_resv_unlisten(&s->resv_listener);
}
