/* SPDX-License-Identifier: BSD-3-Clause */
/* block.c: the table of the block commands; reading, writing, capacity, caches, and the limits hosts are told of.
 *
 * Residuals: a CDB may be about more bytes than the initiator offers to move. Then the blocks that fit whole are moved,
 * and the residual says the rest.
 */
#include "scsi/block.h"

static void read_write_done(struct bdev_io *io);

/* --- limits -- */

void scsi_block_limits(const struct scsi_lu *lu, struct scsi_limits *ret)
{
	const struct bdev_info *i = &lu->dev.info;
	uint32_t per_physical = max_u32(1, i->physical_block_size / i->block_size);
	uint32_t caw_max = SCSI_ATOMIC_BYTES_MAX / 2 / i->block_size;

	*ret = (struct scsi_limits){
		.transfer_blocks_max = SCSI_TRANSFER_BYTES_MAX / i->block_size,
		.transfer_blocks_optimal = i->optimal_io_blocks ? i->optimal_io_blocks : SCSI_ATOMIC_BYTES_MAX / i->block_size,
		.granularity = (uint16_t)min_u32(per_physical, UINT16_MAX),
		.write_same_blocks_max = SCSI_NODATA_BLOCKS_MAX,
		.caw_blocks_max = bdev_can(i, BDEV_COMPARE_AND_WRITE) ? (uint8_t)min_u32(caw_max, UINT8_MAX) : 0,
		.physical_exponent = (uint8_t)__builtin_ctz(per_physical),
	};
	if (i->max_caw_blocks)
		ret->caw_blocks_max = (uint8_t)min_u32(ret->caw_blocks_max, i->max_caw_blocks);
	ret->unmaps = bdev_can(i, BDEV_UNMAP);
	if (!ret->unmaps)
		return;
	ret->unmap_blocks_max = SCSI_NODATA_BLOCKS_MAX;
	ret->unmap_descs_max = SCSI_UNMAP_DESCS_MAX;
	ret->unmap_granularity = per_physical;
	ret->reads_zeroes = i->native_ops & BDEV_BIT(WRITE_ZEROES); /* then that is how it is done */
}

/* --- ranges -- */

static inline void read_range(const struct scsi_task *t, uint64_t *ret_lba, uint64_t *ret_count)
{
	const uint8_t *cdb = t->cdb;

	switch (t->op->cdb_len) {
	case 6:
		*ret_lba = scsi_u24(cdb + 1) & 0x1fffff;
		*ret_count = cdb[4] ? cdb[4] : 256;
		break;
	case 10:
		*ret_lba = scsi_u32(cdb + 2);
		*ret_count = scsi_u16(cdb + 7);
		break;
	case 12:
		*ret_lba = scsi_u32(cdb + 2);
		*ret_count = scsi_u32(cdb + 6);
		break;
	default:
		*ret_lba = scsi_u64(cdb + 2);
		*ret_count = scsi_u32(cdb + 10);
	}
}

void scsi_block_cdb_range(const struct scsi_task *t, uint64_t *ret_lba, uint64_t *ret_count)
{
	read_range(t, ret_lba, ret_count);
}

static bool check_range(struct scsi_task *t, uint64_t lba, uint64_t count)
{
	uint64_t blocks = bdev_block_count(t->lu->desc);

	if (likely(count <= blocks && lba <= blocks - count))
		return true;
	return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
}

bool scsi_block_range(struct scsi_task *t)
{
	uint64_t lba, count;

	read_range(t, &lba, &count);
	t->shift = t->lu->shift;
	t->io.lba = lba;
	t->io.count = count;
	return check_range(t, lba, count);
}

bool scsi_block_range_within(struct scsi_task *t, uint64_t blocks_max)
{
	uint64_t lba, count;

	read_range(t, &lba, &count);
	if (unlikely(count > blocks_max))
		return scsi_task_bad_field(t, SCSI_BLOCK_LEN_AT(t->op->cdb_len), -1, true);
	return scsi_block_range(t);
}

bool scsi_block_transfer(struct scsi_task *t)
{
	return scsi_block_range_within(t, SCSI_TRANSFER_BYTES_MAX >> t->lu->shift);
}

bool scsi_block_moves_out(struct scsi_task *t, uint32_t len)
{
	t->data = len ? SCSI_DATA_OUT : SCSI_DATA_NONE;
	t->data_len = len;
	t->moves = min_u32(len, t->expected_out) >> t->shift << t->shift;
	return true;
}

/* --- pieces -- */

/* All that moves is known: be about the piece that begins at t->base. */
static void cut_piece(struct scsi_task *t)
{
	t->whole = t->moves;
	t->moves = min_u32(t->whole - t->base, t->nexus->piece_bytes);
	t->io.lba += t->base >> t->shift;
}

void scsi_block_cut(struct scsi_task *t)
{
	if (t->nexus->piece_bytes && unlikely(t->moves > t->nexus->piece_bytes))
		cut_piece(t);
	t->io.count = t->moves >> t->shift;
}

/* It went well: the command is over, or goes on. */
static inline void moved(struct scsi_task *t)
{
	t->full_len = t->data_len;
	if (likely(!t->whole))
		return;
	t->more = t->whole - t->base > t->moves;
	t->paused_ns = reactor_now_ns();
}

/* --- reading and writing -- */

static inline void parse_lending(struct scsi_task *t)
{
	const struct bdev_view *v = t->lu;

	t->may_lend = true;
	t->lend_iovs_max = bdev_view_lend_iovs(v, t->moves);
}

static bool read_parse(struct scsi_task *t)
{
	uint64_t whole;

	if (unlikely(!scsi_block_transfer(t)))
		return false;
	if (unlikely(!t->io.count))
		return true;
	t->data = SCSI_DATA_IN;
	t->data_len = (uint32_t)t->io.count << t->shift;
	whole = ((uint64_t)t->expected_in + (1u << t->shift) - 1) >> t->shift << t->shift;
	t->moves = (uint32_t)min_u64(t->data_len, whole);
	scsi_block_cut(t);
	if (t->lu->lends && t->moves)
		parse_lending(t);
	return true;
}

static bool write_parse(struct scsi_task *t)
{
	if (unlikely(!scsi_block_transfer(t)))
		return false;
	scsi_block_moves_out(t, (uint32_t)t->io.count << t->shift);
	scsi_block_cut(t);
	t->may_consume = t->lu->consumes;
	t->io.op = BDEV_WRITE; /* for scsi_task_lend() */
	t->io.flags = scsi_block_fua(t);
	if (t->lu->lends_writes && t->moves)
		parse_lending(t);
	return true;
}

uint8_t scsi_block_through(const struct scsi_task *t)
{
	return t->lu->served->info.cache == BDEV_CACHE_VOLATILE && !scsi_task_state(t)->wce ? BDEV_IO_FUA : 0;
}

uint8_t scsi_block_fua(const struct scsi_task *t)
{
	return t->op->cdb_len > 6 && t->cdb[1] & 0x08 ? BDEV_IO_FUA : scsi_block_through(t);
}

bool scsi_block_begin(struct scsi_task *t, enum bdev_op op, bdev_done_fn *done)
{
	struct scsi_nexus *n = t->nexus;
	struct bdev_io *io = &t->io;

	if (unlikely(!t->lu->ch)) {
		scsi_task_sense(t, SCSI_HARDWARE_ERROR, SCSI_ASC_INTERNAL_FAILURE);
		return false;
	}
	io->op = (uint8_t)op;
	io->done = done;
	io->lease = &n->lease;
	io->lease_epoch = n->lease_epoch;
	io->who = &n->who;
	return true;
}

/* The device stays as long as its memory is here: the task counts in its view. */
bool scsi_task_lend(struct scsi_task *t)
{
	struct bdev_io *io = &t->io;

	assert(t->may_lend && t->data == SCSI_DATA_OUT && !t->lent && t->iov_max >= t->lend_iovs_max);
	if (unlikely(!t->lu->ch))
		return false;
	io->iovs = t->iovs;
	io->iov_max = t->iov_max;
	if (!bdev_write_lend(t->lu->ch, io))
		return false;
	t->lent = true;
	t->iov_count = io->iov_count;
	return true;
}

void scsi_block_complete(struct scsi_task *t)
{
	t->full_len = t->data_len;
	scsi_task_complete(t);
}

static void submit_data(struct scsi_task *t)
{
	struct bdev_io *io = &t->io;

	io->iovs = t->iovs;
	io->iov_count = t->iov_count;
	io->iov_max = t->iov_max;
	bdev_submit(t->lu->ch, io);
}

static void read_run(struct scsi_task *t)
{
	if (unlikely(!t->moves)) {
		scsi_block_complete(t);
		return;
	}
	if (unlikely(!scsi_block_begin(t, BDEV_READ, read_write_done)))
		return;
	t->io.flags = t->iov_count ? 0 : BDEV_IO_LEND;
	assert(t->iov_count || (t->may_lend && t->iov_max >= t->lend_iovs_max));
	submit_data(t);
}

static void write_run(struct scsi_task *t)
{
	if (unlikely(!t->moves)) {
		scsi_block_complete(t);
		return;
	}
	if (unlikely(!scsi_block_begin(t, BDEV_WRITE, read_write_done)))
		return;
	submit_data(t);
	t->consumed = t->io.consumed;
}

static void read_write_done(struct bdev_io *io)
{
	struct scsi_task *t = scsi_task_of(io);

	t->lent = io->lent;
	if (likely(scsi_task_set_io_status(t, io))) {
		moved(t);
		if (t->data == SCSI_DATA_IN) {
			t->iov_count = io->iov_count;
			t->sent_len = min_u32(t->moves, t->expected_in - t->base);
		}
	}
	scsi_task_finish(t);
}

void scsi_block_done(struct bdev_io *io)
{
	struct scsi_task *t = scsi_task_of(io);

	if (scsi_task_set_io_status(t, io))
		moved(t);
	scsi_task_finish(t);
}

/* --- capacity -- */

static bool capacity_10_parse(struct scsi_task *t)
{
	if (!(t->cdb[8] & 1) && scsi_u32(t->cdb + 2))
		return scsi_task_bad_field(t, 2, -1, true); /* an address without PMI */
	return scsi_task_moves(t, SCSI_DATA_IN, 8);
}

static void capacity_10_run(struct scsi_task *t)
{
	uint64_t last = bdev_block_count(t->lu->desc) - 1;
	uint8_t data[8];

	scsi_put32(data, (uint32_t)min_u64(last, UINT32_MAX));
	scsi_put32(data + 4, 1u << t->lu->shift);
	scsi_task_complete_data(t, data, sizeof(data));
}

static bool capacity_16_parse(struct scsi_task *t)
{
	if (!(t->cdb[14] & 1) && scsi_u64(t->cdb + 2))
		return scsi_task_bad_field(t, 2, -1, true);
	return scsi_task_moves(t, SCSI_DATA_IN, scsi_u32(t->cdb + 10));
}

static void capacity_16_run(struct scsi_task *t)
{
	struct scsi_limits limits;
	uint8_t data[32] = { 0 };

	scsi_block_limits(scsi_lu_of(t->lu), &limits);
	scsi_put64(data, bdev_block_count(t->lu->desc) - 1);
	scsi_put32(data + 8, 1u << t->lu->shift);
	data[13] = limits.physical_exponent;
	data[14] = (uint8_t)((limits.unmaps ? 0x80 : 0) | (limits.reads_zeroes ? 0x40 : 0));
	scsi_task_complete_data(t, data, sizeof(data));
}

/* --- caches -- */

/* What goes on after its command was answered. */
struct flush {
	struct bdev_io io;
	struct bdev_view *lu;
};

static void flushed(struct bdev_io *io)
{
	struct flush *f = container_of(io, struct flush, io);

	bdev_view_put(f->lu);
	free(f);
}

/* IMMED: nobody waits for it, and what comes of it nobody hears. */
static void flush_behind(struct scsi_task *t)
{
	struct flush *f;

	if (!t->lu->ch)
		return;
	f = base_zalloc(sizeof(*f));
	f->lu = t->lu;
	f->lu->refs++;
	f->io.op = BDEV_FLUSH;
	f->io.count = bdev_block_count(t->lu->desc);
	f->io.done = flushed;
	bdev_submit(t->lu->ch, &f->io);
}

void scsi_block_flush(struct scsi_task *t, bdev_done_fn *done)
{
	if (!scsi_block_begin(t, BDEV_FLUSH, done))
		return;
	t->io.flags = 0;
	t->io.iov_count = 0;
	t->io.lba = 0;
	t->io.count = bdev_block_count(t->lu->desc);
	bdev_submit(t->lu->ch, &t->io);
}

static void sync_run(struct scsi_task *t)
{
	if (t->cdb[1] & 0x02) {
		flush_behind(t);
		scsi_block_complete(t);
		return;
	}
	scsi_block_flush(t, scsi_block_done);
}

/* --- the table -- */

#define ROW(name) SCSI_OP_##name, SCSI_SA_##name, #name
#define DATA SCSI_ROW_DATA
#define READS (SCSI_ROW_MEDIUM | SCSI_ROW_CONFLICT_READ)
#define WRITES (SCSI_ROW_MEDIUM | SCSI_ROW_WRITES | SCSI_ROW_CONFLICT_WRITE)
#define U8 0xff
#define U16 0xff, 0xff
#define U32 0xff, 0xff, 0xff, 0xff
#define U64 U32, U32
#define GROUP 0x1f

static const struct scsi_opcode rows[] = {
	/* CDB length, bits of it from byte 0 on; flags; parse, run */
	{ ROW(READ_6),  6, { 0, 0x1f, U16, U8 }, READS | DATA, read_parse, read_run },
	{ ROW(READ_10), 10, { 0, 0x18, U32, GROUP, U16 }, READS | DATA, read_parse, read_run },
	{ ROW(READ_12), 12, { 0, 0x18, U32, U32, GROUP }, READS | DATA, read_parse, read_run },
	{ ROW(READ_16), 16, { 0, 0x18, U64, U32, GROUP }, READS | DATA, read_parse, read_run },
	{ ROW(WRITE_6),  6, { 0, 0x1f, U16, U8 }, WRITES | DATA, write_parse, write_run },
	{ ROW(WRITE_10), 10, { 0, 0x18, U32, GROUP, U16 }, WRITES | DATA, write_parse, write_run },
	{ ROW(WRITE_12), 12, { 0, 0x18, U32, U32, GROUP }, WRITES | DATA, write_parse, write_run },
	{ ROW(WRITE_16), 16, { 0, 0x18, U64, U32, GROUP }, WRITES | DATA, write_parse, write_run },
	{ ROW(READ_CAPACITY_10), 10, { 0, 0, U32, 0, 0, 0x01 }, SCSI_ROW_MEDIUM | SCSI_ROW_STANDBY, capacity_10_parse,
		capacity_10_run },
	{ ROW(READ_CAPACITY_16), 16, { 0, 0, U64, U32, 0x01 }, SCSI_ROW_MEDIUM | SCSI_ROW_STANDBY, capacity_16_parse,
		capacity_16_run },
	{ ROW(GET_LBA_STATUS_16), 16, { 0, 0, U64, U32, U8 }, READS, scsi_lba_status_parse, scsi_lba_status_run },
	{ ROW(SYNC_CACHE_10), 10, { 0, 0x06, U32, GROUP, U16 }, WRITES & ~SCSI_ROW_WRITES, scsi_block_range, sync_run },
	{ ROW(SYNC_CACHE_16), 16, { 0, 0x06, U64, U32, GROUP }, WRITES & ~SCSI_ROW_WRITES, scsi_block_range, sync_run },
	{ ROW(PREFETCH_10), 10, { 0, 0x02, U32, GROUP, U16 }, READS, scsi_block_range, scsi_block_complete },
	{ ROW(PREFETCH_16), 16, { 0, 0x02, U64, U32, GROUP }, READS, scsi_block_range, scsi_block_complete },
	{ ROW(VERIFY_10), 10, { 0, 0x16, U32, GROUP, U16 }, READS, scsi_verify_parse, scsi_verify_run },
	{ ROW(VERIFY_12), 12, { 0, 0x16, U32, U32, GROUP }, READS, scsi_verify_parse, scsi_verify_run },
	{ ROW(VERIFY_16), 16, { 0, 0x16, U64, U32, GROUP }, READS, scsi_verify_parse, scsi_verify_run },
	{ ROW(WRITE_VERIFY_10), 10, { 0, 0x16, U32, GROUP, U16 }, WRITES | DATA, scsi_write_verify_parse,
		scsi_write_verify_run },
	{ ROW(WRITE_VERIFY_12), 12, { 0, 0x16, U32, U32, GROUP }, WRITES | DATA, scsi_write_verify_parse,
		scsi_write_verify_run },
	{ ROW(WRITE_VERIFY_16), 16, { 0, 0x16, U64, U32, GROUP }, WRITES | DATA, scsi_write_verify_parse,
		scsi_write_verify_run },
	{ ROW(COMPARE_AND_WRITE), 16, { 0, 0x18, U64, 0, 0, 0, U8, GROUP }, WRITES, scsi_caw_parse, scsi_caw_run },
	{ ROW(ORWRITE_16), 16, { 0, 0x18, U64, U32, GROUP }, WRITES, scsi_orwrite_parse, scsi_orwrite_run },
	{ ROW(UNMAP), 10, { 0, 0x01, 0, 0, 0, 0, GROUP, U16 }, WRITES, scsi_unmap_parse, scsi_unmap_run },
	{ ROW(WRITE_SAME_10), 10, { 0, 0x18, U32, GROUP, U16 }, WRITES, scsi_write_same_parse, scsi_write_same_run },
	{ ROW(WRITE_SAME_16), 16, { 0, 0x19, U64, U32, GROUP }, WRITES, scsi_write_same_parse, scsi_write_same_run },
};
const struct scsi_opcode_table scsi_block_ops = { rows, ARRAY_SIZE(rows) };
