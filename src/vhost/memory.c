/* SPDX-License-Identifier: BSD-3-Clause */
/* memory.c: versions of a guest's memory, and the log of its dirty pages. Control reactor, but for what says otherwise.
 *
 * Mappings are counted by versions, versions by views: a ring's use of one. A change publishes the next version to all
 * rings that run; the old one goes, with the mappings that only it has, when no request points into it any more.
 */
#include <errno.h>

#include "vhost/session.h"

/* --- regions ---------------------------------------------------------------------------------------------------- */

static void broken(struct share *share)
{
	vhost_session_break(container_of(share, struct vhost_region, share)->session,
	                    "guest memory is gone: the front-end shortened its file");
}

/* Of the current version, and given once more: requests that use it need not end. */
static struct vhost_region *find_same(const struct vhost_session_priv *s, const struct vu_region *at, int fd)
{
	for (uint32_t i = 0; s->mem && i < s->mem->count; i++) {
		struct vhost_region *r = s->mem->regions[i];

		if (r->at.guest == at->guest && r->at.user == at->user && share_is_same(&r->share, fd, at->offset, at->size))
			return r;
	}
	return NULL;
}

struct vhost_region *vhost_region_map(struct vhost_session_priv *s, const struct vu_region *at, int fd, struct err *e)
{
	struct vhost_region *r;

	if (!at->size || at->guest + at->size < at->guest || at->user + at->size < at->user ||
	    at->offset + at->size < at->offset) {
		err_set(e, -EINVAL, "region of guest address 0x%llx, %llu bytes: empty, or goes round the end",
		        (unsigned long long)at->guest, (unsigned long long)at->size);
		return NULL;
	}
	r = find_same(s, at, fd);
	if (r) {
		r->refs++;
		return r;
	}
	r = base_zalloc(sizeof(*r));
	r->at = *at;
	r->session = s;
	r->refs = 1;
	if (share_map(&r->share, fd, at->offset, at->size, true, e)) {
		free(r);
		return NULL;
	}
	share_on_broken(&r->share, core_control(s->vhost->core), broken);
	r->region.base = r->share.base;
	r->region.len = r->share.len;
	r->region.shared = true;
	mem_region_add(s->vhost->core, &r->region);
	return r;
}

static void region_unref(struct vhost_region *r)
{
	assert(r->refs > 0);
	if (--r->refs)
		return;
	if (r->awaited && r->awaited == r->session->await_round)
		r->session->awaited--;
	mem_region_remove(r->session->vhost->core, &r->region);
	share_unmap(&r->share);
	free(r);
}

static void inflight_broken(struct share *share)
{
	vhost_session_break(container_of(share, struct vhost_session_priv, inflight), "the in-flight region is gone");
}

void vhost_session_watch_inflight(struct vhost_session_priv *s)
{
	share_on_broken(&s->inflight, core_control(s->vhost->core), inflight_broken);
}

/* --- versions --------------------------------------------------------------------------------------------------- */

struct vhost_mem *vhost_mem_make(struct vhost_session_priv *s, uint32_t room)
{
	struct vhost_mem *m = base_zalloc(sizeof(*m) + room * sizeof(m->regions[0]));

	m->session = s;
	m->refs = 1;
	s->mems++;
	return m;
}

struct vhost_mem *vhost_mem_copy(struct vhost_session_priv *s, uint32_t room)
{
	struct vhost_mem *m = vhost_mem_make(s, room);

	m->count = s->mem ? s->mem->count : 0;
	assert(m->count <= room);
	for (uint32_t i = 0; i < m->count; i++) {
		m->regions[i] = s->mem->regions[i];
		m->regions[i]->refs++;
	}
	return m;
}

void vhost_mem_drop(struct vhost_mem *m, uint32_t i)
{
	region_unref(m->regions[i]);
	m->regions[i] = m->regions[--m->count];
}

void vhost_mem_unref(struct vhost_mem *m)
{
	struct vhost_session_priv *s = m->session;
	uint32_t awaited;

	assert(m->refs > 0);
	if (--m->refs)
		return;
	awaited = s->awaited;
	for (uint32_t i = 0; i < m->count; i++)
		region_unref(m->regions[i]);
	vq_mem_free(m->vq);
	s->mems--;
	free(m);
	if (awaited && !s->awaited)
		vhost_session_less(s);
	vhost_session_mem_gone(s);
}

struct vhost_spot vhost_mem_spot(const struct vhost_mem *m, uint64_t user)
{
	for (uint32_t i = 0; i < m->count; i++) {
		const struct vhost_region *r = m->regions[i];
		uint64_t at = user - r->at.user;

		if (at < r->at.size)
			return (struct vhost_spot){ { r->share.file[0], r->share.file[1] }, r->share.offset + at };
	}
	return (struct vhost_spot){ 0 };
}

void vhost_mem_give_up(struct vhost_session_priv *s, struct err *e)
{
	s->awaited = 0;
	s->await_round++;
	err_set(e, -EBUSY, "requests that the disk has still use memory that was taken away, and cannot be aborted");
	vhost_session_less(s);
}

static int index_regions(struct vhost_mem *m, struct err *e)
{
	struct vq_region *at = base_zalloc((m->count + 1) * sizeof(*at));

	for (uint32_t i = 0; i < m->count; i++) {
		const struct vhost_region *r = m->regions[i];

		at[i] = (struct vq_region){ .addr = r->at.guest, .len = r->at.size, .host = r->share.base, .user = r->at.user };
	}
	m->vq = vq_mem_make(at, m->count, e);
	free(at);
	return m->vq ? 0 : e->code;
}

static bool has(const struct vhost_mem *m, const struct vhost_region *r)
{
	for (uint32_t i = 0; i < m->count; i++)
		if (m->regions[i] == r)
			return true;
	return false;
}

/* The message at hand is answered when nobody uses what `m` has no more of `old`: requests of older versions may. */
static void await_missing(struct vhost_session_priv *s, const struct vhost_mem *m, const struct vhost_mem *old)
{
	s->await_round++;
	for (uint32_t i = 0; i < old->count; i++) {
		if (has(m, old->regions[i]))
			continue;
		old->regions[i]->awaited = s->await_round;
		s->awaited++;
	}
	s->waits += s->awaited > 0;
}

/* Who asked to hear of it hears when nothing is used any more of what was taken away, which may take as long as a
 * request does. */
void vhost_mem_publish(struct vhost_session_priv *s, struct vhost_mem *m, struct err *e)
{
	struct vhost_mem *old = s->mem;

	if (e->code || index_regions(m, e)) {
		vhost_mem_unref(m);
		return;
	}
	s->mem = m;
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++)
		if (s->rings[i])
			vhost_queue_remap(s->rings[i]);
	if (!old)
		return;
	if (vu_wants_reply(&s->msg))
		await_missing(s, m, old);
	vhost_mem_unref(old);
}

/* --- views ------------------------------------------------------------------------------------------------------ */

struct vhost_view *vhost_view_make(struct vhost_mem *m)
{
	struct vhost_view *v = base_zalloc(sizeof(*v));

	v->mem = m;
	m->refs++;
	return v;
}

static void view_left(struct msg *msg)
{
	struct vhost_view *v = container_of(msg, struct vhost_view, msg);

	vhost_mem_unref(v->mem);
	free(v);
}

void vhost_view_left(struct vhost_view *v)
{
	assert(!v->tasks);
	msg_send(core_control(v->mem->session->vhost->core), &v->msg, view_left);
}

/* --- the log ---------------------------------------------------------------------------------------------------- */

static void log_broken(struct share *share)
{
	vhost_session_break(container_of(share, struct vhost_log, share)->session, "the dirty log is gone");
}

void vhost_log_set(struct vhost_session_priv *s, const struct vu_log *at, int fd, struct err *e)
{
	struct vhost_log *l = base_zalloc(sizeof(*l)), *old = s->log;

	l->session = s;
	l->refs = 1;
	if (share_map(&l->share, fd, at->offset, at->size, true, e)) {
		free(l);
		return;
	}
	share_on_broken(&l->share, core_control(s->vhost->core), log_broken);
	l->vq = (struct vq_log){ .base = l->share.base, .size_bytes = l->share.len };
	s->log = l;
	vhost_queues_relog(s);
	if (old)
		vhost_log_unref(old);
}

void vhost_log_unref(struct vhost_log *l)
{
	assert(l->refs > 0);
	if (--l->refs)
		return;
	share_unmap(&l->share);
	free(l);
}
