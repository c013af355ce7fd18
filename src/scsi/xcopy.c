/* SPDX-License-Identifier: BSD-3-Clause */
/* xcopy.c: EXTENDED COPY (LID1): blocks of logical units copied here instead of through the host.
 *
 * Copied is between logical units of this device, which the nexus may use anyhow: a host does not reach a disk by
 * knowing its name. Who is named and what is to be copied is checked as a whole before the first block moves. Then the
 * segments are copied one after the other, in pieces, each a copy of the disk's own, fenced by the nexus' lease and
 * subject to reservations like its other I/O.
 */
#include "scsi/primary.h"
#include "wire/scsi_inquiry.h"
#include "wire/scsi_report.h"

#define PIECE_BYTES (4u * 1024 * 1024)

struct segment {
	struct bdev_view *src, *dst;
	uint64_t src_lba, dst_lba, blocks;
};
struct xcopy {
	struct scsi_task *task;
	uint8_t list_id;
	bool has_id;
	uint32_t cscds_at, cscd_count, segments_at, segments_end;
	struct bdev_view *units[SCSI_XCOPY_CSCDS_MAX]; /* NULL: not to be reached */
	uint32_t segment_count, at;
	uint64_t done;                 /* blocks of the segment */
	uint64_t bytes;                /* of all of them */
	struct segment segments[SCSI_XCOPY_SEGMENTS_MAX];
	uint8_t list[SCSI_XCOPY_LIST_MAX];
};

static bool read_header(struct xcopy *x);
static bool read_cscds(struct xcopy *x);
static bool read_segments(struct xcopy *x);
static void next_piece(struct xcopy *x);

bool scsi_xcopy_parse(struct scsi_task *t)
{
	uint32_t len = scsi_u32(t->cdb + 10);

	if (len && (len < sizeof(struct scsi_xcopy_lid1) || len > SCSI_XCOPY_LIST_MAX))
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	return scsi_task_moves(t, SCSI_DATA_OUT, len);
}

void scsi_xcopy_run(struct scsi_task *t)
{
	struct xcopy *x;

	if (!scsi_task_has_list(t, 0))
		return;
	x = t->own = base_zalloc(sizeof(*x));
	x->task = t;
	scsi_task_read_params(t, 0, x->list, t->data_len);
	if (!read_header(x) || !read_cscds(x) || !read_segments(x))
		return;
	for (uint32_t i = 0; i < x->cscd_count; i++)
		if (x->units[i])
			x->units[i]->refs++; /* it is in the map: it has been entered */
	if (x->has_id)
		scsi_copy_begun(t, x->list_id);
	next_piece(x);
}

/* --- what is asked: all of it is looked at before anything is done ---------------------------------------- */

static bool refuse(struct xcopy *x, uint8_t key, uint16_t asc)
{
	scsi_task_sense(x->task, key, asc);
	return false;
}

static bool bad_param(struct xcopy *x, uint32_t byte, int bit)
{
	scsi_task_bad_param(x->task, (uint16_t)byte, bit);
	return false;
}

/* `x->at` says which segment it is about. Sets the sense, completes nothing. */
static void set_copy_aborted(struct xcopy *x, uint16_t asc)
{
	scsi_task_refuse(x->task, SCSI_COPY_ABORTED, asc);
	scsi_task_set_command_specific(x->task, x->at); /* its last two bytes: the segment's number */
}

static bool abort_copy(struct xcopy *x, uint32_t segment, uint16_t asc)
{
	x->at = segment;
	set_copy_aborted(x, asc);
	scsi_task_complete(x->task);
	return false;
}

static bool read_header(struct xcopy *x)
{
	const struct scsi_xcopy_lid1 *h = (const struct scsi_xcopy_lid1 *)x->list;
	uint32_t cscds = be16_get(h->cscd_length), segments = be32_get(h->segments_length), len = x->task->data_len;
	uint32_t id_usage = h->flags & SCSI_XCOPY_ID_USAGE;

	if (id_usage == SCSI_XCOPY_ID_RESERVED)
		return bad_param(x, 1, 4);
	if (id_usage == SCSI_XCOPY_ID_NONE && h->list_id)
		return bad_param(x, 0, -1);
	if (be32_get(h->inline_length))
		return refuse(x, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INLINE_DATA_LENGTH);
	if (segments > len || sizeof(*h) + cscds + segments > len || cscds % sizeof(struct scsi_xcopy_cscd))
		return refuse(x, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	x->has_id = id_usage != SCSI_XCOPY_ID_NONE;
	x->list_id = h->list_id;
	x->cscds_at = sizeof(*h);
	x->cscd_count = cscds / sizeof(struct scsi_xcopy_cscd);
	x->segments_at = x->cscds_at + cscds;
	x->segments_end = x->segments_at + segments;
	if (x->cscd_count > SCSI_XCOPY_CSCDS_MAX)
		return refuse(x, SCSI_ILLEGAL_REQUEST, SCSI_ASC_TOO_MANY_TARGET_DESCRIPTORS);
	if (x->has_id && scsi_copy_in_progress(x->task, x->list_id))
		return refuse(x, SCSI_ILLEGAL_REQUEST, SCSI_ASC_OPERATION_IN_PROGRESS);
	return true;
}

/* A designator of VPD page 83h. */
static bool is_named(const struct scsi_xcopy_cscd *d, const struct scsi_lu *lu)
{
	uint8_t id[SCSI_T10_LEN];
	uint32_t len;

	if (d->designator_type & 0x30) /* association: not the logical unit */
		return false;
	switch (d->designator_type & 0xf) {
	case SCSI_DESIGNATOR_NAA:
		scsi_naa(&lu->dev.info.uuid, id);
		len = SCSI_NAA_LEN;
		break;
	case SCSI_DESIGNATOR_UUID:
		scsi_uuid_id(&lu->dev.info.uuid, id);
		len = SCSI_UUID_LEN;
		break;
	default:
		return false;                  /* the others are longer than a descriptor has room for */
	}
	return (d->code_set & 0xf) == SCSI_CODE_BINARY && d->designator_length == len && !memcmp(d->designator, id, len);
}

static struct bdev_view *unit_find(const struct xcopy *x, const struct scsi_xcopy_cscd *d)
{
	const struct scsi_nexus *n = x->task->nexus;
	const struct scsi_map *map = scsi_nexus_map(n);

	for (uint32_t lun = 0; lun < SCSI_LUNS_MAX; lun++) {
		struct scsi_lu *lu = map->luns[lun].lu;

		if (lu && is_named(d, lu) && lu->dev.view[n->core->index].ch)
			return &lu->dev.view[n->core->index];
	}
	return NULL;
}

static bool read_cscds(struct xcopy *x)
{
	for (uint32_t i = 0; i < x->cscd_count; i++) {
		uint32_t at = x->cscds_at + i * (uint32_t)sizeof(struct scsi_xcopy_cscd);
		const struct scsi_xcopy_cscd *d = (const struct scsi_xcopy_cscd *)(x->list + at);

		if (d->type != SCSI_XCOPY_CSCD_ID)
			return refuse(x, SCSI_ILLEGAL_REQUEST, SCSI_ASC_UNSUPPORTED_TARGET_DESCRIPTOR);
		if (d->designator_length > sizeof(d->designator))
			return bad_param(x, at + offsetof(struct scsi_xcopy_cscd, designator_length), -1);
		x->units[i] = unit_find(x, d);
		if (x->units[i] && be24_get(d->block_size) && be24_get(d->block_size) != 1u << x->units[i]->shift)
			return bad_param(x, at + offsetof(struct scsi_xcopy_cscd, block_size), -1);
	}
	return true;
}

static struct bdev_view *unit_at(const struct xcopy *x, be16 index)
{
	uint16_t i = be16_get(index);

	if (i == SCSI_XCOPY_CSCD_SELF)
		return x->task->lu;
	return i < x->cscd_count ? x->units[i] : NULL;
}

static bool fits(const struct bdev_view *v, uint64_t lba, uint64_t blocks)
{
	uint64_t count = bdev_block_count(v->desc);

	return lba <= count && blocks <= count - lba;
}

/* The numbers of either kind of segment. */
static bool read_extent(struct xcopy *x, uint32_t at, struct segment *s)
{
	const struct scsi_xcopy_b2b *b = (const struct scsi_xcopy_b2b *)(x->list + at);
	const struct scsi_xcopy_b2b_offset *o = (const struct scsi_xcopy_b2b_offset *)(x->list + at);
	uint32_t bytes;

	s->src_lba = be64_get(b->src_lba);
	s->dst_lba = be64_get(b->dst_lba);
	if (b->h.type == SCSI_XCOPY_B2B) {
		s->blocks = be16_get(b->blocks);
		return true;
	}
	bytes = be32_get(o->bytes);
	s->blocks = bytes >> s->src->shift;
	if (bytes > SCSI_XCOPY_SEGMENT_BYTES_MAX || bytes & ((1u << s->src->shift) - 1))
		return bad_param(x, at + offsetof(struct scsi_xcopy_b2b_offset, bytes), -1);
	if (be16_get(o->src_offset)) /* whole blocks only */
		return bad_param(x, at + offsetof(struct scsi_xcopy_b2b_offset, src_offset), -1);
	if (be16_get(o->dst_offset))
		return bad_param(x, at + offsetof(struct scsi_xcopy_b2b_offset, dst_offset), -1);
	return true;
}

/* Of the logical unit's common state, as the map of this core has it: written by hosts? */
static bool is_protected(const struct xcopy *x, const struct bdev_view *v)
{
	return v->read_only || scsi_nexus_map(x->task->nexus)->luns[scsi_lu_of(v)->lun].state.swp;
}

/* Its cache was switched off by a host: what is answered is on media. */
static bool is_uncached(const struct xcopy *x, const struct bdev_view *v)
{
	const struct scsi_map *map = scsi_nexus_map(x->task->nexus);

	return v->served->info.cache == BDEV_CACHE_VOLATILE && !map->luns[scsi_lu_of(v)->lun].state.wce;
}

static bool read_segment(struct xcopy *x, uint32_t at, uint32_t number)
{
	const struct scsi_xcopy_segment *h = (const struct scsi_xcopy_segment *)(x->list + at);
	struct segment *s = &x->segments[number];

	s->src = unit_at(x, h->src);
	s->dst = unit_at(x, h->dst);
	if (!s->src || !s->dst)
		return abort_copy(x, number, SCSI_ASC_COPY_TARGET_NOT_REACHABLE);
	if (!read_extent(x, at, s))
		return false;
	if (s->src->shift != s->dst->shift)
		return abort_copy(x, number, SCSI_ASC_COPY_ERROR);
	if (!fits(s->src, s->src_lba, s->blocks) || !fits(s->dst, s->dst_lba, s->blocks))
		return abort_copy(x, number, SCSI_ASC_NONE);
	if (is_protected(x, s->dst))
		return refuse(x, SCSI_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
	return true;
}

/* First what they are, then what they say: who named too much is not told about a detail. */
static bool check_shapes(struct xcopy *x)
{
	for (uint32_t at = x->segments_at; at < x->segments_end;) {
		const struct scsi_xcopy_segment *h = (const struct scsi_xcopy_segment *)(x->list + at);
		uint32_t left = x->segments_end - at, size;

		if (left < sizeof(*h))
			return refuse(x, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		if (x->segment_count == SCSI_XCOPY_SEGMENTS_MAX)
			return refuse(x, SCSI_ILLEGAL_REQUEST, SCSI_ASC_TOO_MANY_SEGMENT_DESCRIPTORS);
		if (h->type == SCSI_XCOPY_B2B)
			size = sizeof(struct scsi_xcopy_b2b);
		else if (h->type == SCSI_XCOPY_B2B_OFFSET)
			size = sizeof(struct scsi_xcopy_b2b_offset);
		else
			return refuse(x, SCSI_ILLEGAL_REQUEST, SCSI_ASC_UNSUPPORTED_SEGMENT_DESCRIPTOR);
		if (be16_get(h->length) != size - 4)
			return bad_param(x, at + offsetof(struct scsi_xcopy_segment, length), -1);
		if (left < size)
			return refuse(x, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		at += size;
		x->segment_count++;
	}
	return true;
}

static bool read_segments(struct xcopy *x)
{
	uint32_t at = x->segments_at;

	if (!check_shapes(x))
		return false;
	for (uint32_t i = 0; i < x->segment_count; i++) {
		const struct scsi_xcopy_segment *h = (const struct scsi_xcopy_segment *)(x->list + at);

		if (!read_segment(x, at, i))
			return false;
		at += 4u + be16_get(h->length);
	}
	x->at = 0;
	return true;
}

/* --- the copying ------------------------------------------------------------------------------------------ */

static void finish(struct xcopy *x)
{
	struct scsi_task *t = x->task;

	for (uint32_t i = 0; i < x->cscd_count; i++)
		if (x->units[i])
			bdev_view_put(x->units[i]);
	if (x->has_id)
		scsi_copy_ended(t, x->list_id, t->status == SCSI_GOOD && !t->aborted, x->at, x->bytes);
	scsi_task_complete(t); /* later in the pass: there may have been nothing to wait for */
}

static void piece_done(struct bdev_io *io)
{
	struct xcopy *x = container_of(io, struct scsi_task, io)->own;

	if (!scsi_task_set_io_status(x->task, io)) {
		/* What is the initiator's own to deal with stays as it is; else the copy has failed, whatever the cause. */
		if (x->task->status == SCSI_CHECK_CONDITION && !x->task->aborted)
			set_copy_aborted(x, SCSI_ASC_COPY_ERROR);
		finish(x);
		return;
	}
	x->done += io->count;
	x->bytes += io->count << x->segments[x->at].dst->shift;
	next_piece(x);
}

static void submit_piece(struct xcopy *x, const struct segment *s)
{
	struct scsi_task *t = x->task;
	struct bdev_io *io = &t->io;

	io->op = BDEV_COPY;
	io->flags = (uint16_t)(BDEV_IO_SRC | (is_uncached(x, s->dst) ? BDEV_IO_FUA : 0));
	io->iov_count = 0;
	io->lba = s->dst_lba + x->done;
	io->count = min_u64(s->blocks - x->done, PIECE_BYTES >> s->dst->shift);
	io->copy.src_lba = s->src_lba + x->done;
	io->copy.src = s->src->ch;
	io->lease = &t->nexus->lease;
	io->lease_epoch = t->nexus->lease_epoch;
	io->who = &t->nexus->who;
	io->done = piece_done;
	bdev_submit(s->dst->ch, io);
}

static void next_piece(struct xcopy *x)
{
	while (x->at < x->segment_count && x->done == x->segments[x->at].blocks) {
		x->at++;
		x->done = 0;
	}
	if (x->at == x->segment_count || x->task->aborted)
		finish(x);
	else
		submit_piece(x, &x->segments[x->at]);
}
