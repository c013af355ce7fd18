/* SPDX-License-Identifier: BSD-3-Clause */
/* file.c: disks over files come, are looked at again, and go. On the control reactor, with jobs for what may block.
 *
 * The descriptor keeps its number while the disk lives. A file that is opened again is put behind it with dup3(), so
 * that I/O on other cores uses the one or the other, and never a number that was closed and means something else.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "backends/file/file_disk.h"

#define LOOK_AGAIN_NS (1 * NS_PER_S)
#define MAX_UNMAP_BYTES (1ull << 30)   /* of one range: what a helper does in one go */

static void file_destroy(struct bdev *b);
static void file_describe(const struct bdev *b, bdev_emit_fn *emit, void *arg);

static const struct bdev_ops file_ops = {
	.channel_open = file_channel_open,
	.channel_close = file_channel_close,
	.submit = file_submit,
	.abort = file_abort,
	.destroy = file_destroy,
	.describe = file_describe,
};

struct file_backend *file_backend_make(struct bdev_registry *reg, const char *product,
                                       const struct file_engine *const *engines)
{
	struct file_backend *fb = base_zalloc(sizeof(*fb));
	uint32_t count = 0;

	fb->reg = reg;
	fb->product = product;
	for (; engines[count]; count++) {
		must(count < FILE_ENGINES_MAX - 1);
		fb->engines[count] = engines[count];
	}
	fb->engines[count] = &file_threads;
	return fb;
}

void file_backend_free(struct file_backend *fb)
{
	if (!fb)
		return;
	for (uint32_t i = 0; i < ARRAY_SIZE(fb->lanes); i++)
		must(!fb->lanes[i]);
	free(fb);
}

/* --- create ----------------------------------------------------------------------------------------------- */

struct making {
	struct job job;
	struct file_backend *fb;
	struct file_opts opts;
	char *name, *filename;
	const struct file_engine *engine;
	int fd, refused;
	struct file_shape shape;
	struct err err;
	file_made_fn *done;
	void *arg;
};

static void make_work(struct job *j);
static void make_opened(struct job *j);
static struct bdev *make_disk(struct making *m);
static void say_what_is_less(const struct making *m);
static void say_who_else_has_it(const struct file_disk *d);

void file_create(struct file_backend *fb, const struct file_opts *opts, file_made_fn *done, void *arg)
{
	struct making *m = base_zalloc(sizeof(*m));

	m->fb = fb;
	m->opts = *opts;
	m->name = base_strdup(opts->name);
	m->filename = base_strdup(opts->filename);
	m->engine = fb->engine;
	m->done = done;
	m->arg = arg;
	job_start(&m->job, make_work, make_opened);
}

static void make_work(struct job *j)
{
	struct making *m = container_of(j, struct making, job);
	struct file_want want = { .name = m->name, .filename = m->filename, .block_size = m->opts.block_size,
	                          .read_only = m->opts.read_only };

	for (uint32_t i = 0; !m->engine; i++) {
		int rc = m->fb->engines[i]->probe();

		if (rc)
			m->refused = m->refused ? m->refused : rc;
		else
			m->engine = m->fb->engines[i];
	}
	m->fd = file_open(&want, &m->shape, &m->err);
}

static void make_opened(struct job *j)
{
	struct making *m = container_of(j, struct making, job);
	struct bdev *b = m->fd < 0 ? NULL : make_disk(m);

	if (m->fd >= 0 && !b)
		close(m->fd);
	m->done(m->arg, b, b ? NULL : &m->err);
	free(m->name);
	free(m->filename);
	free(m);
}

static uint32_t native_ops(const struct making *m)
{
	uint32_t ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(FLUSH) | BDEV_BIT(RESET);

	if (m->opts.fallocate && !m->opts.read_only)
		ops |= BDEV_BIT(UNMAP) | BDEV_BIT(WRITE_ZEROES);
	return m->shape.is_block_device ? ops : ops | BDEV_BIT(GET_LBA_STATUS);
}

static struct bdev *make_disk(struct making *m)
{
	const struct file_shape *s = &m->shape;
	struct file_disk *d = base_zalloc(sizeof(*d));

	if (!m->fb->engine)
		m->fb->engine = m->engine;
	d->fb = m->fb;
	d->fd = m->fd;
	d->shape = *s;
	d->direct = s->direct;
	d->in_memory = s->in_memory;
	d->is_block_device = s->is_block_device;
	d->mem_align = s->mem_align;
	d->len_align = s->len_align;
	d->fallocate = m->opts.fallocate;
	d->block_size_given = m->opts.block_size != 0;
	atomic_init(&d->thin, s->thin);
	queue_init(&d->looks);
	d->bdev = (struct bdev){
		.ops = &file_ops, .product = m->fb->product, .uuid = m->opts.uuid,
		.block_size = s->block_size, .physical_block_size = s->physical_block_size,
		.block_count = s->bytes / s->block_size, .native_ops = native_ops(m), .read_only = m->opts.read_only,
		.thin = s->thin, .cache = s->cache, .fua = true, .consumes = s->in_memory,
		.max_io_blocks = s->in_memory ? 0 : MEM_IO_BYTES_MAX / s->block_size, /* what can be bounced */
		.max_unmap_blocks = (uint32_t)(MAX_UNMAP_BYTES / s->block_size),
		.channel_ctx_bytes = sizeof(struct file_channel), .io_ctx_bytes = sizeof(struct file_io),
		/* files in memory are read and written within submit() */
		.io_ctx_ops = s->in_memory ? ~(BDEV_BIT(READ) | BDEV_BIT(WRITE)) : 0,
		.sleeps = s->in_memory ? "inline" :
		          s->direct || m->engine->buffered ? m->engine->sleeps : file_threads.sleeps,
	};
	file_sync_init(d);
	snprintf(d->bdev.name, sizeof(d->bdev.name), "%s", m->name);
	if (bdev_register(m->fb->reg, &d->bdev, &m->err)) {
		file_sync_fini(d);
		free(d);
		return NULL;
	}
	d->filename = m->filename;
	m->filename = NULL;
	say_what_is_less(m);
	say_who_else_has_it(d);
	return &d->bdev;
}

static void say_what_is_less(const struct making *m)
{
	if (m->refused && !atomic_exchange(&m->fb->said, true))
		log_notice("%s: the system refuses %s (%s): %s does its work", m->fb->product, m->fb->engines[0]->name,
		           strerror(-m->refused), m->engine->name);
	if (m->shape.why_buffered)
		log_notice("%s '%s': goes through the page cache: %s", m->fb->product, m->name, m->shape.why_buffered);
}

/* SPDK takes it, and a state that has it would lose a disk by a refusal. Of block devices the kernel refuses it. */
static void say_who_else_has_it(const struct file_disk *d)
{
	for (struct bdev *b = bdev_first(d->fb->reg); b; b = bdev_next(b)) {
		const struct file_disk *other = b->ops == &file_ops ? file_disk_of(b) : NULL;

		if (!other || other == d || other->shape.dev != d->shape.dev || other->shape.ino != d->shape.ino ||
		    (b->read_only && d->bdev.read_only))
			continue;
		log_warning("%s '%s': its file '%s' is disk '%s', too: what is written to one changes the other without a "
		            "word to its hosts", d->fb->product, d->bdev.name, d->filename, b->name);
		return;
	}
}

/* --- find, describe --------------------------------------------------------------------------------------- */

static struct file_disk *find(struct file_backend *fb, const char *name, struct err *e)
{
	struct bdev *b = bdev_find(fb->reg, name);

	if (!b)
		err_set(e, -ENODEV, "name: there is no block device '%s'; bdev_get_bdevs lists those there are", name);
	else if (b->ops != &file_ops || file_disk_of(b)->fb != fb)
		err_set(e, -EINVAL, "name: block device '%s' is a %s, not a disk of kind %s", name, b->product, fb->product);
	else
		return file_disk_of(b);
	return NULL;
}

void file_facts_of(const struct bdev *b, struct file_facts *ret_facts)
{
	const struct file_disk *d = file_disk_of(b);

	*ret_facts = (struct file_facts){
		.filename = d->filename, .engine = d->fb->engine->name, .block_size_given = d->block_size_given,
		.read_only = b->read_only, .fallocate = d->fallocate, .direct = d->direct, .in_memory = d->in_memory,
		.is_block_device = d->is_block_device, .failed = atomic_load(&d->state) != FILE_GOOD,
	};
}

static void file_describe(const struct bdev *b, bdev_emit_fn *emit, void *arg)
{
	static const char *const states[] = { "good", "failed: writing out failed; rescan it", "lost" };
	const struct file_disk *d = file_disk_of(b);

	emit(arg, "way", d->in_memory ? "memory" : d->direct ? "direct" : "page cache");
	emit(arg, "engine", d->in_memory ? "inline" : d->direct || d->fb->engine->buffered ? d->fb->engine->name :
	                    file_threads.name);
	emit(arg, "state", states[atomic_load(&d->state)]);
}

/* --- look again ------------------------------------------------------------------------------------------- */

struct looking {
	struct job job;
	struct queue_link link;
	struct file_disk *disk;
	uint64_t bytes;
	bool opened;
	struct file_shape shape;
	struct err err;
	file_looked_fn *done;      /* NULL: nobody asked; the disk seems lost */
	void *arg;
};

static void look_next(struct file_disk *d);
static void look_work(struct job *j);
static void hold_again(struct file_disk *d, struct file_want *want);
static void looked(struct job *j);
static void destroy_now(struct file_disk *d);

static void look(struct file_disk *d, file_looked_fn *done, void *arg)
{
	struct looking *l = base_zalloc(sizeof(*l));

	l->disk = d;
	l->done = done;
	l->arg = arg;
	queue_push(&d->looks, &l->link);
	if (d->jobs++ == 0)
		look_next(d);
}

/* One at a time: each goes by what the one before has found. */
static void look_next(struct file_disk *d)
{
	struct looking *l = container_of(queue_pop(&d->looks), struct looking, link);

	job_start(&l->job, look_work, looked);
}

void file_rescan(struct file_backend *fb, const char *name, file_looked_fn *done, void *arg)
{
	struct err e = { 0 };
	struct file_disk *d = find(fb, name, &e);

	if (d && atomic_load(&d->bdev.removing))
		err_set(&e, -ENODEV, "block device '%s' is being removed", name);
	if (e.code)
		done(arg, &e);
	else
		look(d, done, arg);
}

/* Can the one take the other's place? Sizes may differ, what users were told may not. */
static bool is_alike(const struct file_disk *d, const struct file_shape *s, struct err *e)
{
	if (s->is_block_device == d->is_block_device && s->in_memory == d->in_memory &&
	    s->direct == d->direct && s->mem_align <= max_u32(d->mem_align, 1) &&
	    s->len_align <= max_u32(d->len_align, 1) &&
	    (s->cache == d->bdev.cache || s->cache == BDEV_CACHE_NONE)) /* who was told of no cache would not flush */
		return true;
	err_set(e, -EINVAL, "filename: what is at '%s' now is of another kind than it was; delete the device and make "
	        "it again", d->filename);
	return false;
}

/* On a helper. The path is opened each time: what is there now may be another file. */
static void look_work(struct job *j)
{
	struct looking *l = container_of(j, struct looking, job);
	struct file_disk *d = l->disk;
	struct file_want want = { .name = d->bdev.name, .filename = d->filename, .block_size = d->bdev.block_size,
	                          .read_only = d->bdev.read_only, .again = true };
	bool good = atomic_load(&d->state) == FILE_GOOD;
	int fd;

	if (d->is_block_device && good && file_size(d->fd, true, &l->bytes) == 0 && l->bytes)
		return;
	fd = file_open(&want, &l->shape, &l->err);
	if (fd < 0)
		return;
	l->bytes = l->shape.bytes;
	if (good && l->shape.dev == d->shape.dev && l->shape.ino == d->shape.ino) {
		close(fd);
		return;
	}
	if (is_alike(d, &l->shape, &l->err)) {
		l->opened = dup3(fd, d->fd, O_CLOEXEC) >= 0;
		if (!l->opened)
			err_set(&l->err, -errno, "cannot take the place of '%s': %s", d->filename, strerror(errno));
	}
	close(fd);
	if (l->opened && d->is_block_device)
		hold_again(d, &want);
}

/* The one before was held exclusively until now, so this one could not be. */
static void hold_again(struct file_disk *d, struct file_want *want)
{
	struct file_shape shape;
	int fd;

	want->again = false;
	fd = file_open(want, &shape, NULL);
	if (fd < 0)
		return;
	if (shape.direct == d->direct)
		dup3(fd, d->fd, O_CLOEXEC);
	close(fd);
}

static void looked(struct job *j)
{
	struct looking *l = container_of(j, struct looking, job);
	struct file_disk *d = l->disk;
	uint64_t blocks = l->bytes / d->bdev.block_size;

	d->jobs--;
	if (l->opened) {
		d->shape.dev = l->shape.dev;
		d->shape.ino = l->shape.ino;
		atomic_store(&d->thin, l->shape.thin);
		atomic_store(&d->state, FILE_GOOD);
		log_notice("%s '%s': '%s' was opened again", d->bdev.product, d->bdev.name, d->filename);
	}
	if (!l->err.code && !atomic_load(&d->bdev.removing) && blocks != atomic_load(&d->bdev.block_count)) {
		log_notice("%s '%s' has %llu blocks now", d->bdev.product, d->bdev.name, (unsigned long long)blocks);
		if (bdev_resize(&d->bdev, blocks, &l->err))
			log_warning("%s", l->err.text);
	}
	if (l->done)
		l->done(l->arg, l->err.code ? &l->err : NULL);
	else
		atomic_store(&d->look_asked, false);
	free(l);
	if (d->jobs)
		look_next(d);
	else if (d->destroy_waits && !atomic_load(&d->look_asked))
		destroy_now(d);
}

/* --- a disk that seems gone ------------------------------------------------------------------------------- */

static void look_on_control(struct msg *m)
{
	look(container_of(m, struct file_disk, look_msg), NULL, NULL);
}

/* Called for each I/O that finds it so: looked at once in a while, as long as somebody wants it. */
void file_seems_lost(struct file_disk *d)
{
	uint8_t good = FILE_GOOD;
	uint64_t now_ns = reactor_now_ns();

	if (atomic_compare_exchange_strong(&d->state, &good, FILE_LOST)) {
		atomic_fetch_add(&d->sync_failures, 1);
		log_error("%s '%s': '%s' is gone; it is opened again when it is back", d->bdev.product, d->bdev.name,
		          d->filename);
	} else if (good != FILE_LOST) {
		return;
	}
	if (now_ns < atomic_load(&d->look_after_ns) || atomic_exchange(&d->look_asked, true))
		return;
	atomic_store(&d->look_after_ns, now_ns + LOOK_AGAIN_NS);
	msg_send(core_control(bdev_registry_core(d->fb->reg)), &d->look_msg, look_on_control);
}

/* --- delete ----------------------------------------------------------------------------------------------- */

int file_delete(struct file_backend *fb, const char *name, void (*done)(void *arg, int rc), void *arg, struct err *e)
{
	struct err why = { 0 };
	struct file_disk *d = find(fb, name, &why);

	if (!d)
		return err_set(e, why.code, "%s", why.text);
	bdev_unregister(&d->bdev, done, arg);
	return 0;
}

/* No I/O is left, so whoever asked for a look has sent it by now. */
static void file_destroy(struct bdev *b)
{
	struct file_disk *d = file_disk_of(b);

	d->destroy_waits = true;
	if (!d->jobs && !atomic_load(&d->look_asked))
		destroy_now(d);
}

static void close_work(struct job *j)
{
	close(container_of(j, struct file_disk, close_job)->fd); /* may write out what the page cache holds */
}

static void closed(struct job *j)
{
	struct file_disk *d = container_of(j, struct file_disk, close_job);

	bdev_destroyed(&d->bdev);
	file_sync_fini(d);
	free(d->filename);
	free(d);
}

static void destroy_now(struct file_disk *d)
{
	d->destroy_waits = false;
	job_start(&d->close_job, close_work, closed);
}
