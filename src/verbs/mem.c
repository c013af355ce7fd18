/* SPDX-License-Identifier: BSD-3-Clause */
/* mem.c: memory registered with adapters: all regions of mem_hook, and pieces of one's own.
 *
 * Registering pins pages and may take long: jobs do it. What is registered is a table per adapter, sorted by address,
 * published to all cores as an immutable version, so that verbs_find_key() is a binary search without a lock. A region
 * that goes is marked first: whatever comes to lie at its addresses is not taken for it, while cores still have the old
 * table; it is deregistered when none has.
 */
#include <errno.h>
#include <sys/resource.h>

#include "base/text.h"
#include "core/log.h"
#include "verbs/inside.h"

struct verbs_region {
	struct list link;            /* v->regions */
	const struct mem_region *r;
};

struct verbs_mr {
	struct list link;            /* dev->mrs */
	struct verbs_dev *dev;
	const struct mem_region *region; /* whose: NULL when it has gone */
	uint8_t *base;
	size_t len;
	bool of_buffers;
	bool working;                /* a job has it */
	bool registered;
	uint32_t tables;             /* that name it */
	_Atomic bool gone;
	struct verbs_key key;
	void *os;
	int rc;
	struct job job;
};

struct verbs_table {
	struct version version;
	struct verbs_dev *dev;
	uint32_t count;
	struct entry {
		uint8_t *base, *end;
		struct verbs_mr *mr;
	} entries[];
};

static void region_added(struct mem_hook *h, const struct mem_region *r);
static void region_removed(struct mem_hook *h, const struct mem_region *r);
static void mr_begin(struct verbs_dev *d, const struct mem_region *r);
static void mr_work(struct job *j);
static void mr_worked(struct job *j);
static void mr_refused(struct verbs_mr *m);
static void mr_free_if_over(struct verbs_mr *m);
static void publish(struct verbs_dev *d);
static void published(struct version_publish *p);
static void table_free(struct version *v);
static void end_if_over(struct verbs_dev *d);
static void say_why(struct err *e, const struct verbs_dev *d, size_t len, int rc);

/* --- regions ------------------------------------------------------------------------------------- */

void verbs_mem_begin(struct verbs *v)
{
	list_init(&v->regions);
	v->hook.added = region_added;
	v->hook.removed = region_removed;
	mem_hook_add(v->core, &v->hook);
}

/* Adapters go before, or with their last users. */
void verbs_mem_end(struct verbs *v) { mem_hook_remove(v->core, &v->hook); }

static void region_added(struct mem_hook *h, const struct mem_region *r)
{
	struct verbs *v = container_of(h, struct verbs, hook);
	struct verbs_region *region;

	if (r->shared)
		return; /* registering pins it; and what is told a key to it could reach all of a guest */
	region = base_zalloc(sizeof(*region));
	region->r = r;
	list_add_tail(&v->regions, &region->link);
	list_each(l, &v->devs) {
		struct verbs_dev *d = list_entry(l, struct verbs_dev, link);

		if (!d->lost)
			mr_begin(d, r);
	}
}

static void region_removed(struct mem_hook *h, const struct mem_region *r)
{
	struct verbs *v = container_of(h, struct verbs, hook);

	list_each_safe(l, &v->devs) {
		struct verbs_dev *d = list_entry(l, struct verbs_dev, link);

		list_each_safe(m_link, &d->mrs) {
			struct verbs_mr *m = list_entry(m_link, struct verbs_mr, link);

			if (m->region != r)
				continue;
			m->region = NULL;
			atomic_store(&m->gone, true);
			if (m->tables)
				publish(d);
			else
				mr_free_if_over(m);
		}
	}
	list_each_safe(l, &v->regions) {
		struct verbs_region *region = list_entry(l, struct verbs_region, link);

		if (region->r != r)
			continue;
		list_del(&region->link);
		free(region);
	}
}

void verbs_mem_dev_add(struct verbs_dev *d)
{
	version_slot_init(&d->slot, d->v->core);
	d->slot.free = table_free;
	list_each(l, &d->v->regions)
		mr_begin(d, list_entry(l, struct verbs_region, link)->r);
}

/* --- registering --------------------------------------------------------------------------------- */

static void mr_begin(struct verbs_dev *d, const struct mem_region *r)
{
	struct verbs_mr *m = base_zalloc(sizeof(*m));

	m->dev = d;
	m->region = r;
	m->base = r->base;
	m->len = r->len;
	m->of_buffers = r->of_buffers;
	d->mrs_of_buffers += m->of_buffers;
	list_add_tail(&d->mrs, &m->link);
	m->working = true;
	job_start(&m->job, mr_work, mr_worked);
}

static void mr_work(struct job *j)
{
	struct verbs_mr *m = container_of(j, struct verbs_mr, job);

	if (!atomic_load(&m->gone))
		m->rc = platform_mr_make(m->dev, m->base, m->len, true, &m->key, &m->os);
	else
		m->rc = -ECANCELED;
}

static void mr_worked(struct job *j)
{
	struct verbs_mr *m = container_of(j, struct verbs_mr, job);
	struct verbs_dev *d = m->dev;

	m->working = false;
	m->registered = !m->rc;
	d->mrs_of_buffers -= m->of_buffers;
	if (!m->registered && !atomic_load(&m->gone) && !d->lost)
		mr_refused(m);
	if (m->registered && !atomic_load(&m->gone))
		publish(d);
	else
		mr_free_if_over(m);
}

/* Buffers that are not registered make an adapter useless; other memory is copied to and from. */
static void mr_refused(struct verbs_mr *m)
{
	struct err e = { 0 };

	atomic_store(&m->gone, true);
	say_why(&e, m->dev, m->len, m->rc);
	if (!m->of_buffers) {
		log_warning("%s; it is copied from and to", e.text);
		return;
	}
	if (!m->dev->unusable) {
		log_error("%s; the adapter is not used", e.text);
		verbs_dev_unusable(m->dev);
	}
}

static void say_why(struct err *e, const struct verbs_dev *d, size_t len, int rc)
{
	struct rlimit limit = { 0 };
	char size[32], may[32];

	text_size(len, size);
	if (rc == -ENOMEM && !getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur != RLIM_INFINITY)
		err_set(e, rc, "RDMA: adapter %s cannot register %s of memory: the process may lock %s (RLIMIT_MEMLOCK); raise "
		        "that (ulimit -l, LimitMEMLOCK= of the unit), or give less --memory", d->info.name, size,
		        text_size(limit.rlim_cur, may));
	else
		err_set(e, rc, "RDMA: adapter %s cannot register %s of memory: %s", d->info.name, size, strerror(-rc));
}

/* --- deregistering -------------------------------------------------------------------------------- */

static void unmake_work(struct job *j)
{
	struct verbs_mr *m = container_of(j, struct verbs_mr, job);

	platform_mr_free(m->dev, m->os);
}

static void unmade(struct job *j)
{
	struct verbs_mr *m = container_of(j, struct verbs_mr, job);

	m->working = m->registered = false;
	mr_free_if_over(m);
}

/* Gone, no core has a table that names it, and no job is at it: deregister, then free. */
static void mr_free_if_over(struct verbs_mr *m)
{
	struct verbs_dev *d = m->dev;

	if (!atomic_load(&m->gone) || m->tables || m->working)
		return;
	if (m->registered) {
		m->working = true;
		job_start(&m->job, unmake_work, unmade);
		return;
	}
	list_del(&m->link);
	free(m);
	end_if_over(d);
}

/* Nobody holds the adapter any more. */
void verbs_mem_dev_end(struct verbs_dev *d)
{
	d->ending = true;
	list_each_safe(l, &d->mrs) {
		struct verbs_mr *m = list_entry(l, struct verbs_mr, link);

		m->region = NULL;
		atomic_store(&m->gone, true);
	}
	publish(d);
}

static void end_if_over(struct verbs_dev *d)
{
	if (d->ending && !d->publishing && !d->tables && list_empty(&d->mrs))
		verbs_dev_ended(d);
}

/* --- tables --------------------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->base < y->base ? -1 : x->base > y->base;
}

static struct verbs_table *table_make(struct verbs_dev *d)
{
	struct verbs_table *t;
	uint32_t count = 0;

	list_each(l, &d->mrs)
		count++;
	t = base_zalloc_aligned(CACHE_LINE, align_up(sizeof(*t) + count * sizeof(t->entries[0]), CACHE_LINE));
	t->dev = d;
	list_each(l, &d->mrs) {
		struct verbs_mr *m = list_entry(l, struct verbs_mr, link);

		if (!m->registered || m->working || atomic_load(&m->gone))
			continue;
		t->entries[t->count++] = (struct entry){ m->base, m->base + m->len, m };
		m->tables++;
	}
	qsort(t->entries, t->count, sizeof(t->entries[0]), by_address);
	d->tables++;
	return t;
}

static void publish(struct verbs_dev *d)
{
	struct verbs_table *t = NULL;

	d->changed = true;
	if (d->publishing)
		return;
	d->changed = false;
	d->publishing = true;
	if (!d->ending)
		t = table_make(d);
	version_publish(&d->slot, &d->publish, t ? &t->version : NULL, published);
}

static void published(struct version_publish *p)
{
	struct verbs_dev *d = container_of(p, struct verbs_dev, publish);

	d->publishing = false;
	if (d->changed) {
		publish(d);
		return;
	}
	if (!d->mrs_of_buffers && !d->told && !d->unusable && !d->lost)
		verbs_dev_usable(d);
	if (!d->ending || d->publishing) /* whoever was told let it go */
		return;
	d->publishing = true; /* the last one must not take the adapter along here */
	list_each_safe(l, &d->mrs)
		mr_free_if_over(list_entry(l, struct verbs_mr, link));
	d->publishing = false;
	end_if_over(d);
}

static void table_free(struct version *v)
{
	struct verbs_table *t = container_of(v, struct verbs_table, version);
	struct verbs_dev *d = t->dev;

	for (uint32_t i = 0; i < t->count; i++) {
		t->entries[i].mr->tables--;
		mr_free_if_over(t->entries[i].mr);
	}
	free(t);
	d->tables--;
	end_if_over(d);
}

bool verbs_find_key(const struct verbs_dev *d, const void *at, size_t len, struct verbs_key *ret_key)
{
	struct version *v = version_current((struct version_slot *)(uintptr_t)&d->slot);
	const struct verbs_table *t;
	const uint8_t *from = at;
	uint32_t low = 0, high;

	if (unlikely(!v))
		return false;
	t = container_of(v, struct verbs_table, version);
	for (high = t->count; low < high;) { /* the first that begins after it */
		uint32_t middle = (low + high) / 2;

		if (t->entries[middle].base <= from)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || from >= t->entries[low - 1].end || len > (size_t)(t->entries[low - 1].end - from))
		return false;
	if (unlikely(atomic_load_explicit(&t->entries[low - 1].mr->gone, memory_order_acquire)))
		return false;
	*ret_key = t->entries[low - 1].mr->key;
	return true;
}

/* --- memory of one's own -------------------------------------------------------------------------- */

#define PAGE 4096u

static int own_make(struct verbs_mem *m, struct verbs_dev *d, size_t len, bool remote, struct err *e)
{
	struct verbs_key key;
	int rc;

	assert(len);
	*m = (struct verbs_mem){ .len = align_up(len, PAGE), .dev = d };
	m->base = base_zalloc_aligned(PAGE, m->len);
	rc = platform_mr_make(d, m->base, m->len, remote, &key, &m->mr);
	if (rc) {
		say_why(e, d, m->len, rc);
		free(m->base);
		*m = (struct verbs_mem){ 0 };
		return rc;
	}
	verbs_dev_ref(d);
	m->lkey = key.lkey;
	m->rkey = remote ? key.rkey : 0;
	return 0;
}

int verbs_mem_make(struct verbs_mem *m, struct verbs_dev *d, size_t len, struct err *e)
{
	return own_make(m, d, len, false, e);
}

int verbs_mem_make_remote(struct verbs_mem *m, struct verbs_dev *d, size_t len, struct err *e)
{
	return own_make(m, d, len, true, e);
}

void verbs_mem_free(struct verbs_mem *m)
{
	if (!m->base)
		return;
	platform_mr_free(m->dev, m->mr);
	verbs_dev_unref(m->dev);
	free(m->base);
	*m = (struct verbs_mem){ 0 };
}
