/* SPDX-License-Identifier: BSD-3-Clause */
/* mode_cmd.c: MODE SENSE and MODE SELECT, of six and ten bytes. What a host changes is so for all: it goes to the
 * control reactor, comes back to every core as part of the next version, and the other nexuses hear of it. */
#include "scsi/mode.h"
#include "scsi/block.h"
#include "scsi/primary.h"
#include "wire/scsi_mode.h"

#define DBD 0x08u
#define LLBAA 0x10u
#define PF 0x10u
#define SP 0x01u

static bool is_ten(const struct scsi_task *t)
{
	return t->cdb[0] == SCSI_OP_MODE_SENSE_10 || t->cdb[0] == SCSI_OP_MODE_SELECT_10;
}

void scsi_mode_facts(const struct bdev_view *v, struct scsi_mode_facts *ret)
{
	*ret = (struct scsi_mode_facts){ .volatile_cache = v->served->info.cache == BDEV_CACHE_VOLATILE,
		.read_only = v->read_only, .block_size = 1u << v->shift, .blocks = bdev_block_count(v->desc) };
}

/* --- sense -------------------------------------------------------------------------------------------------- */

static uint32_t sense_list(const struct scsi_task *t, uint8_t list[static SCSI_MODE_LIST_MAX], bool *reterr_subpage)
{
	const struct scsi_mode_ask ask = { .ten = is_ten(t), .dbd = t->cdb[1] & DBD,
		.llbaa = is_ten(t) && t->cdb[1] & LLBAA, .pc = t->cdb[2] >> 6, .code = t->cdb[2] & SCSI_MODE_CODE,
		.subpage = t->cdb[3] };
	struct scsi_mode_facts f;

	scsi_mode_facts(t->lu, &f);
	return scsi_mode_list(&f, scsi_task_state(t), &ask, list, reterr_subpage);
}

bool scsi_mode_sense_parse(struct scsi_task *t)
{
	uint8_t list[SCSI_MODE_LIST_MAX];
	bool subpage;

	if (t->cdb[2] >> 6 == SCSI_PC_SAVED)
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_SAVING_NOT_SUPPORTED);
	if (!sense_list(t, list, &subpage))
		return scsi_task_bad_field(t, subpage ? 3 : 2, subpage ? -1 : 5, true);
	return scsi_task_moves(t, SCSI_DATA_IN, is_ten(t) ? scsi_u16(t->cdb + 7) : t->cdb[4]);
}

void scsi_mode_sense_run(struct scsi_task *t)
{
	uint8_t list[SCSI_MODE_LIST_MAX];
	bool subpage;
	uint32_t len = sense_list(t, list, &subpage);

	scsi_task_complete_data(t, list, len);
}

/* --- select ------------------------------------------------------------------------------------------------- */

bool scsi_mode_select_parse(struct scsi_task *t)
{
	uint32_t len = is_ten(t) ? scsi_u16(t->cdb + 7) : t->cdb[4];

	if (t->cdb[1] & SP) /* nothing can be saved */
		return scsi_task_bad_field(t, 1, 0, true);
	if (len && !(t->cdb[1] & PF)) /* SCSI-1's formats */
		return scsi_task_bad_field(t, 1, 4, true);
	if (len > SCSI_MODE_LIST_MAX)
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	return scsi_task_moves(t, SCSI_DATA_OUT, len);
}

struct mode_select {
	struct scsi_ask ask;
	enum scsi_mode_error error;
	bool uncaches;                     /* WCE was set and is not any more */
	uint16_t bad_byte;
	uint8_t bad_bit;
	uint8_t list[SCSI_MODE_LIST_MAX];
};

static bool same(const struct scsi_lu_state *a, const struct scsi_lu_state *b)
{
	return a->wce == b->wce && a->swp == b->swp && a->d_sense == b->d_sense && a->tas == b->tas;
}

static void flushed(struct bdev_io *io)
{
	struct scsi_task *t = container_of(io, struct scsi_task, io);

	scsi_task_set_io_status(t, io);
	scsi_task_complete(t);
}

static void select_answered(struct scsi_ask *a)
{
	const struct mode_select *s = container_of(a, struct mode_select, ask);

	switch (s->error) {
	case SCSI_MODE_OK:
		if (s->uncaches && !a->task->aborted && !a->task->lu->read_only)
			scsi_block_flush(a->task, flushed);
		else
			scsi_task_complete(a->task);
		break;
	case SCSI_MODE_BAD_LENGTH:
		scsi_task_sense(a->task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		break;
	case SCSI_MODE_BAD_FIELD:
		scsi_task_bad_param(a->task, s->bad_byte, s->bad_bit);
		break;
	}
}

/* What is there now decides what changes: another host may have been first. From when it is published writes go to the
 * media; what earlier ones left in the cache follows before the command ends. */
static void select_on_control(struct scsi_ask *a)
{
	struct mode_select *s = container_of(a, struct mode_select, ask);
	struct scsi_lu_state before = a->state;
	struct scsi_mode_facts f;

	scsi_mode_facts(a->task->lu, &f);
	s->error = scsi_mode_take(&f, is_ten(a->task), s->list, a->task->data_len, &a->state, &s->bad_byte, &s->bad_bit);
	s->uncaches = before.wce && !a->state.wce;
	if (s->error || same(&before, &a->state))
		scsi_ask_answer(a);
	else
		scsi_ask_change(a, SCSI_ASC_MODE_PARAMETERS_CHANGED, scsi_ask_answer);
}

void scsi_mode_select_run(struct scsi_task *t)
{
	struct mode_select *s;

	if (!scsi_task_has_list(t, 0))
		return;
	s = scsi_task_ask(t, sizeof(*s));
	scsi_task_read_params(t, 0, s->list, t->data_len);
	scsi_ask_send(&s->ask, select_on_control, select_answered);
}
