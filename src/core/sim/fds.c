/* SPDX-License-Identifier: BSD-3-Clause */
/* fds.c: core/bell.h and core/share.h over simulated objects. */
#include "core/sim/fds.h"

#include <errno.h>

#include "core/bell.h"
#include "core/share.h"
#include "core/sim/machine.h"

#define FD_FIRST 1000 /* no number of the kernel's by accident */

struct sim_object {
	uint32_t holders;
	bool is_bell, rung;
	struct list ears;
	uint8_t *bytes;          /* of shared memory */
	uint64_t len, size;      /* len: of the file now */
	struct list mappings;
};

struct sim_fd {
	struct list link;        /* sim.fds */
	int number;
	struct core *core;       /* whose it is; NULL: nobody's */
	struct sim_object *object;
};

struct ear {
	struct list link;        /* object->ears */
	struct sim_ready node;
	struct reactor *reactor;
	struct bell *bell;
};

/* What share->slot is. */
struct mapping {
	struct list link;        /* object->mappings */
	struct list all;         /* sim.mappings */
	struct core *core;       /* whose it is; NULL: nobody's */
	struct sim_object *object;
	struct share *share;     /* NULL: unmapped, and the message is on its way */
	uint64_t end;
	struct reactor *owner;
	share_fn *fn;
	bool told, heard;
	struct msg msg;
};

static struct sim_fd *find(int fd);
static struct sim_object *object_make(void);
static void ear_hears(struct sim_ready *node);
static void mapping_free(struct mapping *m);
static void break_mapping(struct mapping *m);
static void told_on_core(struct msg *msg);
static void fd_close(struct sim_fd *f);

/* --- descriptors --- */

static struct sim_fd *find(int fd)
{
	list_each(l, &sim.fds) {
		struct sim_fd *f = list_entry(l, struct sim_fd, link);

		if (f->number == fd)
			return f;
	}
	return NULL;
}

static struct sim_object *object_make(void)
{
	struct sim_object *o = base_zalloc(sizeof(*o));

	o->holders = 1;
	list_init(&o->ears);
	list_init(&o->mappings);
	return o;
}

void sim_object_drop(struct sim_object *o)
{
	if (--o->holders)
		return;
	assert(list_empty(&o->ears));
	free(o->bytes);
	free(o);
}

struct sim_object *sim_object_of(int fd)
{
	struct sim_fd *f = find(fd);

	must(f);
	f->object->holders++;
	return f->object;
}

int sim_fd_make(struct sim_object *o, struct core *core)
{
	struct sim_fd *f = base_zalloc(sizeof(*f));

	f->number = FD_FIRST + (int)sim.last_fd++;
	f->core = core;
	f->object = o;
	list_add_tail(&sim.fds, &f->link);
	return f->number;
}

static struct core *core_self(void)
{
	return reactor_current ? reactor_current->core : NULL;
}

int core_fd_dup(int fd)
{
	struct sim_fd *f = find(fd);

	if (!f)
		return -EBADF;
	f->object->holders++;
	return sim_fd_make(f->object, core_self());
}

ssize_t core_fd_write(int fd, const void *buf, size_t len) { return -ENOTSUP; }
ssize_t core_fd_read(int fd, void *buf, size_t len) { return -ENOTSUP; }

void core_fd_close(int fd)
{
	struct sim_fd *f = find(fd);

	must(f); /* closed twice: on a real machine it might be somebody else's by now */
	fd_close(f);
}

static void fd_close(struct sim_fd *f)
{
	list_del(&f->link);
	sim_object_drop(f->object);
	free(f);
}

uint32_t sim_fds_open(const struct core *core)
{
	uint32_t count = 0;

	list_each(l, &sim.fds)
		count += !core || list_entry(l, struct sim_fd, link)->core == core;
	return count;
}

static void ears_forget(struct sim_object *o, const struct core *core)
{
	list_each_safe(l, &o->ears) {
		struct ear *ear = list_entry(l, struct ear, link);

		if (core && ear->reactor->core != core)
			continue;
		sim_ready_cancel(&ear->node);
		list_del(l);
		free(ear);
	}
}

/* NULL: the simulation ends, and so does what nobody has given back. */
void sim_fds_close_core(const struct core *core)
{
	list_each_safe(l, &sim.fds) {
		struct sim_fd *f = list_entry(l, struct sim_fd, link);

		ears_forget(f->object, core);
		if (!core || f->core == core)
			fd_close(f);
	}
	list_each_safe(l, &sim.mappings) {
		struct mapping *m = list_entry(l, struct mapping, all);

		if (!core || m->core == core)
			mapping_free(m);
	}
}

/* --- bells --- */

int bell_make(struct bell *b, struct err *e)
{
	struct sim_object *o = object_make();

	o->is_bell = true;
	*b = (struct bell){ .fd = sim_fd_make(o, core_self()), .open = true, .object = o };
	return 0;
}

int bell_take(struct bell *b, int fd, struct err *e)
{
	struct sim_fd *f = find(fd);

	*b = (struct bell){ .fd = fd };
	if (f && f->object->is_bell) {
		b->object = f->object;
		b->open = true;
		return 0;
	}
	if (f)
		fd_close(f);
	return err_set(e, -EINVAL, "descriptor %d is not an eventfd", fd);
}

void bell_close(struct bell *b)
{
	if (!b->open)
		return;
	bell_unlisten(b);
	core_fd_close(b->fd);
	b->open = false;
	b->object = NULL;
}

void bell_ring(const struct bell *b)
{
	struct sim_object *o = b->object;

	assert(b->open);
	o->rung = true;
	list_each(l, &o->ears) {
		struct ear *ear = list_entry(l, struct ear, link);

		sim_ready_add(ear->reactor, &ear->node, ear_hears);
	}
}

int bell_listen(struct bell *b, const char *name, bell_fn *rang)
{
	struct sim_object *o = b->object;
	struct ear *ear = base_zalloc(sizeof(*ear));

	assert(b->open);
	assert(!b->listening);
	ear->reactor = reactor_current;
	ear->bell = b;
	list_add_tail(&o->ears, &ear->link);
	b->ear = ear;
	b->rang = rang;
	b->listening = true;
	if (o->rung)
		sim_ready_add(ear->reactor, &ear->node, ear_hears);
	return 0;
}

void bell_unlisten(struct bell *b)
{
	struct ear *ear = b->ear;

	if (!b->listening)
		return;
	must(ear->reactor == reactor_current);
	sim_ready_cancel(&ear->node);
	list_del(&ear->link);
	free(ear);
	b->ear = NULL;
	b->listening = false;
}

static void ear_hears(struct sim_ready *node)
{
	struct bell *b = container_of(node, struct ear, node)->bell;
	struct sim_object *o = b->object;

	if (!o->rung)
		return;
	o->rung = false;
	b->rang(b);
}

/* --- shared memory --- */

int share_make(const char *name, size_t len, struct err *e)
{
	struct sim_object *o = object_make();

	o->bytes = base_zalloc_aligned(4096, align_up(len, 4096));
	o->len = o->size = len;
	return sim_fd_make(o, core_self());
}

int64_t share_size(int fd)
{
	struct sim_fd *f = find(fd);

	return f && !f->object->is_bell ? (int64_t)f->object->len : -EINVAL;
}

int share_map(struct share *s, int fd, uint64_t offset, size_t len, bool writable, struct err *e)
{
	struct sim_fd *f = find(fd);
	struct mapping *m;

	*s = (struct share){ 0 };
	if (!f || f->object->is_bell)
		return err_set(e, -EINVAL, "descriptor %d cannot be mapped: it is not memory or a file", fd);
	if (!len)
		return err_set(e, -EINVAL, "no bytes of descriptor %d were asked for", fd);
	if (offset > f->object->len || len > f->object->len - offset)
		return err_set(e, -ERANGE, "descriptor %d cannot be mapped: its file has %llu bytes, and %zu at %llu were "
		               "asked for", fd, (unsigned long long)f->object->len, len, (unsigned long long)offset);
	m = base_zalloc(sizeof(*m));
	m->object = f->object;
	m->object->holders++;
	m->share = s;
	m->end = offset + len;
	m->core = core_self();
	list_add_tail(&m->object->mappings, &m->link);
	list_add_tail(&sim.mappings, &m->all);
	s->base = m->object->bytes + offset;
	s->len = len;
	s->page = 4096;
	s->offset = offset;
	s->file[0] = (uintptr_t)m->object;
	s->slot = m;
	return 0;
}

bool share_is_same(const struct share *s, int fd, uint64_t offset, size_t len)
{
	const struct mapping *m = s->slot;
	struct sim_fd *f = find(fd);

	return m && f && f->object == m->object && !share_is_broken(s) && s->offset == offset && s->len == len &&
	       offset <= f->object->len && len <= f->object->len - offset;
}

void share_unmap(struct share *s)
{
	struct mapping *m = s->slot;

	if (!m)
		return;
	must(!m->owner || m->owner == reactor_current);
	s->base = NULL;
	s->slot = NULL;
	m->share = NULL;
	if (!m->told || m->heard)
		mapping_free(m);
}

static void mapping_free(struct mapping *m)
{
	list_del(&m->link);
	list_del(&m->all);
	sim_object_drop(m->object);
	free(m);
}

void share_on_broken(struct share *s, struct reactor *r, share_fn *fn)
{
	struct mapping *m = s->slot;

	assert(!m->owner);
	m->owner = r;
	m->fn = fn;
	if (atomic_load(&s->broken))
		break_mapping(m);
}

void sim_share_truncate(int fd, uint64_t len)
{
	struct sim_fd *f = find(fd);
	struct sim_object *o;

	must(f && !f->object->is_bell && len <= f->object->len);
	o = f->object;
	memset(o->bytes + len, 0, o->size - len);
	o->len = len;
	list_each(l, &o->mappings) {
		struct mapping *m = list_entry(l, struct mapping, link);

		if (m->share && m->end > len)
			break_mapping(m);
	}
}

static void break_mapping(struct mapping *m)
{
	atomic_store(&m->share->broken, true);
	if (!m->owner || m->told)
		return;
	m->told = true;
	msg_send_from_signal(m->owner, &m->msg, told_on_core);
}

static void told_on_core(struct msg *msg)
{
	struct mapping *m = container_of(msg, struct mapping, msg);

	m->heard = true;
	if (m->share)
		m->fn(m->share);
	else
		mapping_free(m);
}
