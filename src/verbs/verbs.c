/* SPDX-License-Identifier: BSD-3-Clause */
/* verbs.c: what a daemon has of RDMA once: its adapters, and who watches them come and go.
 *
 * An adapter is told of when every core knows its registered memory. It is freed when nobody holds it any more, it is
 * gone or RDMA as a whole is, and its memory is no longer registered.
 */
#include "verbs/inside.h"

#include <errno.h>

#include "core/log.h"

#define PART "verbs"
#define ENDS_PART "verbs that end"

/* There while something was put back and has not ended. */
struct ends {
	struct core_part part;
	uint32_t count;
	void (*over)(void *arg);
	void *arg;
};

static void tell(struct verbs *v, struct verbs_dev *d, enum verbs_dev_event event);
static void drop_dev(struct verbs_dev *d);
static void free_if_over(struct verbs *v);

struct verbs *verbs_get(struct core *core, struct err *e)
{
	struct core_part *p = core_find_part(core, PART);
	struct verbs *v;

	if (p) {
		v = container_of(p, struct verbs, part);
		v->users++;
		return v;
	}
	v = base_zalloc(sizeof(*v));
	v->core = core;
	v->users = 1;
	list_init(&v->devs);
	list_init(&v->watchers);
	list_init(&v->listeners);
	core_add_part(core, &v->part, PART);
	verbs_mem_begin(v);
	if (!platform_verbs_open(v, e))
		return v;
	v->os = NULL;
	verbs_put(v);
	return NULL;
}

void verbs_put(struct verbs *v)
{
	assert(v->users);
	if (--v->users)
		return;
	assert(list_empty(&v->watchers));
	assert(list_empty(&v->listeners));
	core_remove_part(v->core, &v->part); /* who asks from now on gets a new one */
	v->going = true;
	verbs_end_begins(v->core);
	if (v->os)
		platform_verbs_close(v);
	v->os = NULL;
	list_each_safe(l, &v->devs) {
		struct verbs_dev *d = list_entry(l, struct verbs_dev, link);

		if (!d->lost)
			drop_dev(d);
	}
	verbs_mem_end(v);
	free_if_over(v);
}

static void free_if_over(struct verbs *v)
{
	struct core *core = v->core;

	if (!v->going || !list_empty(&v->devs))
		return;
	free(v);
	verbs_end_is_over(core);
}

static struct ends *find_ends(const struct core *core)
{
	struct core_part *p = core_find_part(core, ENDS_PART);

	return p ? container_of(p, struct ends, part) : NULL;
}

void verbs_end_begins(struct core *core)
{
	struct ends *ends = find_ends(core);

	if (!ends) {
		ends = base_zalloc(sizeof(*ends));
		core_add_part(core, &ends->part, ENDS_PART);
	}
	ends->count++;
}

void verbs_end_is_over(struct core *core)
{
	struct ends *ends = find_ends(core);
	struct ends was = *ends;

	if (--ends->count)
		return;
	core_remove_part(core, &ends->part);
	free(ends);
	if (was.over)
		was.over(was.arg);
}

bool verbs_is_over(struct core *core, void (*over)(void *arg), void *arg)
{
	struct ends *ends = find_ends(core);

	if (!ends)
		return true;
	ends->over = over;
	ends->arg = arg;
	return false;
}

const char *verbs_status_text(enum verbs_status s)
{
#define STATUS_TEXT(name, text) [VERBS_##name] = text,
	static const char *const texts[] = { VERBS_STATUSES(STATUS_TEXT) };

	return s < VERBS_STATUS_COUNT ? texts[s] : texts[VERBS_OTHER];
}

/* --- adapters come and go ------------------------------------------------------------------------ */

void verbs_dev_add(struct verbs *v, struct verbs_dev *d)
{
	d->v = v;
	d->refs = 1; /* its being there */
	list_init(&d->conns);
	list_init(&d->mrs);
	list_add_tail(&v->devs, &d->link);
	atomic_store(&d->there, true);
	verbs_mem_dev_add(d);
}

void verbs_dev_usable(struct verbs_dev *d)
{
	d->told = true;
	log_info("RDMA: adapter %s is ready", d->info.name);
	verbs_dev_ref(d); /* whoever is told may lose it */
	tell(d->v, d, VERBS_DEV_CAME);
	if (!d->port_up)
		tell(d->v, d, VERBS_DEV_PORT_DOWN);
	verbs_conns_dev_usable(d);
	verbs_dev_unref(d);
}

void verbs_dev_unusable(struct verbs_dev *d)
{
	d->unusable = true;
	verbs_conns_dev_lost(d);
}

void verbs_dev_lost(struct verbs_dev *d)
{
	if (d->lost)
		return;
	log_notice("RDMA: adapter %s is gone", d->info.name);
	atomic_store(&d->there, false);
	d->lost = true;
	verbs_conns_dev_lost(d);
	if (d->told && !d->v->going)
		tell(d->v, d, VERBS_DEV_GONE);
	verbs_dev_unref(d);
}

/* RDMA ends, not the adapter. */
static void drop_dev(struct verbs_dev *d)
{
	d->lost = true;
	verbs_dev_unref(d);
}

void verbs_dev_port(struct verbs_dev *d, bool up)
{
	if (d->port_up == up)
		return;
	d->port_up = up;
	if (d->told && !d->lost)
		tell(d->v, d, up ? VERBS_DEV_PORT_UP : VERBS_DEV_PORT_DOWN);
}

static void tell(struct verbs *v, struct verbs_dev *d, enum verbs_dev_event event)
{
	list_each_safe(l, &v->watchers) {
		struct verbs_watcher *w = list_entry(l, struct verbs_watcher, link);

		w->event(w, d, event);
	}
}

void verbs_dev_ref(struct verbs_dev *d)
{
	assert(d->refs);
	d->refs++;
}

void verbs_dev_unref(struct verbs_dev *d)
{
	assert(d->refs);
	if (!--d->refs)
		verbs_mem_dev_end(d);
}

/* No memory is registered with it any more, and no core knows it. */
void verbs_dev_ended(struct verbs_dev *d)
{
	struct verbs *v = d->v;

	assert(list_empty(&d->conns));
	list_del(&d->link);
	platform_dev_free(d);
	free_if_over(v);
}

/* --- asking --------------------------------------------------------------------------------------- */

const struct verbs_dev_info *verbs_dev_info(const struct verbs_dev *d) { return &d->info; }
bool verbs_dev_is_there(const struct verbs_dev *d) { return atomic_load_explicit(&d->there, memory_order_acquire); }

void verbs_visit_devs(struct verbs *v, void (*visit)(void *arg, struct verbs_dev *d, bool port_up), void *arg)
{
	list_each_safe(l, &v->devs) {
		struct verbs_dev *d = list_entry(l, struct verbs_dev, link);

		if (d->told && !d->lost)
			visit(arg, d, d->port_up);
	}
}

void verbs_watch(struct verbs *v, struct verbs_watcher *w)
{
	list_add_tail(&v->watchers, &w->link);
	list_each_safe(l, &v->devs) {
		struct verbs_dev *d = list_entry(l, struct verbs_dev, link);

		if (!d->told || d->lost)
			continue;
		w->event(w, d, VERBS_DEV_CAME);
		if (!d->port_up)
			w->event(w, d, VERBS_DEV_PORT_DOWN);
	}
}

void verbs_unwatch(struct verbs *v, struct verbs_watcher *w) { list_del(&w->link); }
