/* SPDX-License-Identifier: BSD-3-Clause */
/* md.c: metadata that are somewhere else than the device has them, and protection information.
 *
 * A device has its metadata behind each block's data or apart; the caller gives them as the device has them, behind the
 * data (BDEV_IO_EXTENDED) or not at all (BDEV_IO_PLAIN). Where the two differ a read or write is done by children of a
 * bounded number of blocks, whose iovecs describe the caller's data and the metadata where the device wants them:
 * data are never copied. Metadata that the caller does not have lie in the context.
 *
 * Protection information is checked at the waist, for every device in the same way: of what is written before the
 * device sees it, of what is read before the caller does.
 */
#include "bdev/md.h"

#define MD_IOVS 264u             /* of a child */
#define MD_SCRATCH 4096u         /* bytes of metadata of a child, where the caller has none */

struct md {
	struct bdev_family family;
	struct bdev_io child;
	struct bdev_io *parent;
	uint64_t done;               /* blocks of the parent */
	struct iov_cursor data, md;  /* where the parent's are */
	struct iov_cursor piece;     /* the same of data, at the beginning of the piece */
	struct iovec iovs[MD_IOVS];
	uint8_t scratch[MD_SCRATCH];
};

static void abort_child(struct bdev_family *f);
static void next_piece(struct md *m);
static uint64_t describe(struct md *m, uint64_t blocks);
static void child_done(struct bdev_io *child);
static void end(struct md *m, enum bdev_status st);

uint32_t bdev_md_bytes(void)
{
	return sizeof(struct md);
}

/* --- what every I/O with such flags passes ------------------------------------------------------------------ */

struct pi_shape bdev_pi_shape(const struct bdev *b)
{
	return (struct pi_shape){ .block_size = b->block_size, .md_size = b->md_size, .type = b->dif_type,
	                          .at_head = b->dif_is_head_of_md };
}

static struct bdev_tags tags_of(const struct bdev_io *io)
{
	return (struct bdev_tags){ .ref = io->ref_tag, .app = io->app_tag, .mask = io->app_mask };
}

static bool is_type_3(const struct bdev *b) { return b->dif_type == 3; }

/* Whose descriptor is plain says nothing about tags: they are made and looked for here. */
static void make_plain(const struct bdev_channel *ch, struct bdev_io *io)
{
	io->flags &= (uint16_t)~BDEV_IO_MD;
	io->flags |= ch->md_flags;
	io->ref_tag = is_type_3(ch->bdev) ? 0 : (uint32_t)io->lba;
	io->app_tag = io->app_mask = 0;
	if (io->op != BDEV_COPY && io->op != BDEV_COMPARE_AND_WRITE)
		return;
	io->flags |= (uint16_t)BDEV_IO_SRC_PRCHK(ch->md_flags & BDEV_IO_PRCHK);
	if (io->op == BDEV_COPY)
		io->from = (struct bdev_tags){ .ref = is_type_3(ch->bdev) ? 0 : (uint32_t)io->copy.src_lba };
	else
		io->compare = (struct bdev_tags){ .ref = io->ref_tag };
}

enum bdev_status bdev_md_begin(struct bdev_channel *ch, struct bdev_io *io)
{
	const struct bdev *b = ch->bdev;

	if (ch->md_flags)
		make_plain(ch, io);
	if (!b->md_size)
		io->flags &= (uint16_t)~(BDEV_IO_PLAIN | BDEV_IO_EXTENDED);
	if (io->flags & BDEV_IO_PLAIN) /* what is not there needs no place */
		io->flags &= (uint16_t)~(BDEV_IO_EXTENDED | BDEV_IO_PRACT);
	if (!b->dif_type && io->flags & (BDEV_IO_PRCHK | BDEV_IO_SRC_PRCHK(BDEV_IO_PRCHK) | BDEV_IO_PRACT))
		return BDEV_ST_UNSUPPORTED;
	return BDEV_ST_OK;
}

/* Of the caller's: apart only where the device has them so and they came. NULL: behind the data. False: there are
 * none to look at. */
static bool cursors(const struct bdev *b, const struct bdev_io *io, struct iov_cursor *data, struct iov_cursor *md,
                    struct iov_cursor **ret_md)
{
	bool apart = !b->md_interleaved && !(io->flags & BDEV_IO_EXTENDED);

	if (apart && !io->md_iovs)
		return false;
	*data = iov_cursor_over(io->iovs, io->iov_count);
	*md = iov_cursor_over(io->md_iovs, io->md_iov_count);
	*ret_md = apart ? md : NULL;
	return true;
}

static enum bdev_status verify(const struct bdev *b, const struct bdev_io *io, struct bdev_tags tags, uint32_t checks,
                               const void *then)
{
	struct pi_shape s = bdev_pi_shape(b);
	struct iov_cursor data, apart, *md;

	if (!cursors(b, io, &data, &apart, &md))
		return BDEV_ST_BAD_FIELD;
	return pi_verify(&s, data, md, io->count, tags, checks, then);
}

enum bdev_status bdev_md_verify(const struct bdev *b, const struct bdev_io *io, struct bdev_tags tags, uint32_t checks)
{
	return verify(b, io, tags, checks, NULL);
}

enum bdev_status bdev_md_generate(const struct bdev *b, const struct bdev_io *io, struct bdev_tags tags)
{
	struct pi_shape s = bdev_pi_shape(b);
	struct iov_cursor data, apart, *md;

	if (!cursors(b, io, &data, &apart, &md))
		return BDEV_ST_BAD_FIELD;
	pi_generate(&s, data, md, io->count, tags);
	return BDEV_ST_OK;
}

/* The half of a compare-and-write that is written. */
static enum bdev_status check_second_half(const struct bdev_channel *ch, const struct bdev_io *io)
{
	struct pi_shape s = bdev_pi_shape(ch->bdev);
	struct iov_cursor data, apart, *md;

	if (!cursors(ch->bdev, io, &data, &apart, &md))
		return BDEV_ST_BAD_FIELD;
	iov_skip(&data, io->count * bdev_io_block_bytes(ch, io));
	if (md)
		iov_skip(md, io->count * ch->bdev->md_size);
	if (io->flags & BDEV_IO_PRACT)
		pi_generate(&s, data, md, io->count, tags_of(io));
	else if (io->flags & BDEV_IO_PRCHK)
		return pi_verify(&s, data, md, io->count, tags_of(io), io->flags, NULL);
	return BDEV_ST_OK;
}

enum bdev_status bdev_md_check(struct bdev_channel *ch, struct bdev_io *io)
{
	const struct bdev *b = ch->bdev;
	bool apart = !b->md_interleaved && !(io->flags & BDEV_IO_EXTENDED);

	if (!b->dif_type || io->flags & BDEV_IO_PLAIN)
		return BDEV_ST_OK;
	if (io->op == BDEV_COMPARE_AND_WRITE)
		return check_second_half(ch, io);
	if (io->op == BDEV_WRITE && io->flags & BDEV_IO_PRACT)
		return bdev_md_generate(b, io, tags_of(io));
	if (io->op == BDEV_WRITE && io->flags & BDEV_IO_PRCHK)
		return bdev_md_verify(b, io, tags_of(io), io->flags);
	if (io->op == BDEV_READ && io->flags & BDEV_IO_PRCHK) {
		if (apart && !io->md_iovs)
			return BDEV_ST_BAD_FIELD;
		io->waist |= WAIST_PI;
	}
	return BDEV_ST_OK;
}

/* The data of the next answer of the batch, if they will be looked at too. */
static const void *data_after(const struct bdev_io *io)
{
	const struct bdev_io *next = io->link.next ? container_of(io->link.next, struct bdev_io, link) : NULL;

	if (!next || !(next->waist & WAIST_PI) || next->status != BDEV_ST_OK || !next->iov_count)
		return NULL;
	return next->iovs[0].iov_base;
}

enum bdev_status bdev_md_verify_read(const struct bdev_io *io)
{
	return verify(io->ch->bdev, io, tags_of(io), io->flags, data_after(io));
}

static bool is_elsewhere(const struct bdev *b, const struct bdev_io *io)
{
	return io->flags & BDEV_IO_PLAIN || (io->flags & BDEV_IO_EXTENDED && !b->md_interleaved);
}

bool bdev_md_emulate(struct bdev_channel *ch, struct bdev_io *io)
{
	const uint32_t makes = BDEV_IO_PLAIN | BDEV_IO_PRACT, checks = BDEV_IO_PRCHK | BDEV_IO_SRC_PRCHK(BDEV_IO_PRCHK);
	const struct bdev *b = ch->bdev;
	bdev_emu_fn *fn = NULL;

	if (io->op == BDEV_READ || io->op == BDEV_WRITE)
		fn = is_elsewhere(b, io) ? bdev_emu_md : NULL;
	else if (io->op == BDEV_COMPARE)
		fn = is_elsewhere(b, io) || b->dif_type ? bdev_emu_compare : NULL;
	else if (io->op == BDEV_COMPARE_AND_WRITE)
		fn = is_elsewhere(b, io) || b->dif_type ? bdev_emu_caw : NULL;
	else if (b->dif_type && io->op == BDEV_VERIFY)
		fn = io->flags & BDEV_IO_PRCHK ? bdev_emu_verify : NULL;
	else if (b->dif_type && io->op == BDEV_COPY)
		fn = io->flags & (makes | checks) ? bdev_emu_copy : NULL;
	else if (b->dif_type && io->op == BDEV_WRITE_ZEROES)
		fn = io->flags & makes ? bdev_emu_write_zeroes : NULL;
	if (fn)
		fn(ch, io);
	return fn != NULL;
}

/* --- reads and writes by children ------------------------------------------------------------------------------- */

void bdev_emu_md(struct bdev_channel *ch, struct bdev_io *io)
{
	struct md *m = bdev_pool_take(&ch->core->mds, io);

	if (!m)
		return;
	memset(m, 0, offsetof(struct md, iovs));
	m->parent = io;
	m->data = iov_cursor_over(io->iovs, io->iov_count);
	m->md = iov_cursor_over(io->md_iovs, io->md_iov_count);
	bdev_family_begin(io, &m->family, abort_child);
	next_piece(m);
}

static void abort_child(struct bdev_family *f)
{
	struct md *m = container_of(f, struct md, family);

	bdev_abort(m->parent->ch, &m->child);
}

static void next_piece(struct md *m)
{
	struct bdev_io *io = m->parent, *child = &m->child;
	struct bdev_channel *ch = io->ch;
	uint64_t left = io->count - m->done, blocks = min_u64(left, ch->max_io_blocks);
	bool plain = io->flags & BDEV_IO_PLAIN, whole;

	if (!left || io->waist & WAIST_ABORT) {
		end(m, left ? BDEV_ST_ABORTED : BDEV_ST_OK);
		return;
	}
	if (plain)
		blocks = min_u64(blocks, MD_SCRATCH / ch->bdev->md_size);
	child->op = io->op;
	child->flags = io->flags & BDEV_IO_FUA; /* left when the device keeps that promise itself */
	child->lba = io->lba + m->done;
	child->region = NULL;
	child->done = child_done;
	m->piece = m->data;
	child->count = describe(m, blocks);
	if (!child->count) {
		end(m, BDEV_ST_BAD_FIELD); /* a block in more pieces than anybody needs */
		return;
	}
	whole = child->count == io->count;
	bdev_child_start(child, io);
	if (whole && child->consumed && io->op == BDEV_WRITE)
		io->consumed = true;
}

/* Where the scratch has the metadata of a piece's block. */
static uint8_t *scratch_at(struct md *m, uint64_t block)
{
	return m->scratch + block * m->parent->ch->bdev->md_size;
}

static void make_md(struct md *m, uint64_t block, struct iov_cursor data)
{
	const struct bdev *b = m->parent->ch->bdev;
	struct iovec iov = { .iov_base = scratch_at(m, block), .iov_len = b->md_size };
	struct iov_cursor md = iov_cursor_over(&iov, 1);
	struct pi_shape s = bdev_pi_shape(b);
	struct bdev_tags tags = tags_of(m->parent);

	memset(iov.iov_base, 0, iov.iov_len);
	tags.ref = pi_ref_after(&s, tags.ref, m->done + block);
	if (b->dif_type)
		pi_generate(&s, data, &md, 1, tags);
}

/* Iovecs of one list, and how many there may be. */
struct list_of_iovs {
	struct iovec *at;
	uint32_t used, max;
};

static bool add_slice(struct list_of_iovs *l, struct iov_cursor *from, size_t len)
{
	uint32_t n = iov_slice(from, len, l->at + l->used, l->max - l->used);

	l->used += n;
	return n != 0;
}

static bool add_memory(struct list_of_iovs *l, void *at, size_t len)
{
	struct iovec *last = l->used ? &l->at[l->used - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == (uint8_t *)at) {
		last->iov_len += len;
		return true;
	}
	if (l->used == l->max)
		return false;
	l->at[l->used++] = (struct iovec){ .iov_base = at, .iov_len = len };
	return true;
}

/* As many blocks as the iovecs have room for: how many. */
static uint64_t describe(struct md *m, uint64_t blocks)
{
	const struct bdev *b = m->parent->ch->bdev;
	bool plain = m->parent->flags & BDEV_IO_PLAIN, writes = m->parent->op == BDEV_WRITE;
	struct list_of_iovs data = { m->iovs, 0, b->md_interleaved ? MD_IOVS : MD_IOVS / 2 };
	struct list_of_iovs apart = { m->iovs + MD_IOVS / 2, 0, MD_IOVS / 2 }, *md = b->md_interleaved ? &data : &apart;
	uint64_t i;

	for (i = 0; i < blocks; i++) {
		struct iov_cursor before = m->data;
		uint32_t used = data.used;

		if (!add_slice(&data, &m->data, b->block_size))
			break;
		if (plain && writes)
			make_md(m, i, before);
		if (plain ? !add_memory(md, scratch_at(m, i), b->md_size) : !add_slice(md, &m->data, b->md_size)) {
			m->data = before;
			data.used = used;
			break;
		}
	}
	m->child.iovs = data.at;
	m->child.iov_count = (uint16_t)data.used;
	m->child.md_iovs = b->md_interleaved ? NULL : apart.at;
	m->child.md_iov_count = (uint16_t)(b->md_interleaved ? 0 : apart.used);
	return i;
}

/* What was read and is about to be dropped. */
static enum bdev_status verify_piece(struct md *m)
{
	const struct bdev *b = m->parent->ch->bdev;
	struct iovec iov = { .iov_base = m->scratch, .iov_len = m->child.count * b->md_size };
	struct iov_cursor md = iov_cursor_over(&iov, 1);
	struct bdev_tags tags = tags_of(m->parent);
	struct pi_shape s = bdev_pi_shape(b);

	tags.ref = pi_ref_after(&s, tags.ref, m->done);
	return pi_verify(&s, m->piece, &md, m->child.count, tags, m->parent->flags, NULL);
}

static void child_done(struct bdev_io *child)
{
	struct md *m = container_of(child, struct md, child);
	const struct bdev_io *io = m->parent;
	enum bdev_status st = child->status;

	if (st == BDEV_ST_OK && io->op == BDEV_READ && io->flags & BDEV_IO_PLAIN && io->flags & BDEV_IO_PRCHK)
		st = verify_piece(m);
	if (st != BDEV_ST_OK) {
		end(m, st);
		return;
	}
	m->done += child->count;
	next_piece(m);
}

static void end(struct md *m, enum bdev_status st)
{
	struct bdev_io *parent = m->parent;

	bdev_pool_give(&parent->ch->core->mds, m);
	bdev_io_end(parent, st);
}
