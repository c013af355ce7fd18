/* SPDX-License-Identifier: BSD-3-Clause */
/* ns.c: a namespace from opening its device to closing it.
 *
 *     control   nvmf_ns_open()     device opened and claimed
 *     each core nvmf_ns_enter()    channel opened; counted by versions and commands
 *     each core last count gone    channel closed, control is told
 *     control   last core told     device closed; those who wait for that go on
 */
#include "bdev/bdev_device.h"
#include "nvmf/target.h"

static void device_event(struct bdev_desc *desc, enum bdev_event event, void *arg);
static void left_on_control(struct msg *m);
static void close_if_unused(struct nvmf_ns *ns);

/* --- opening: control --------------------------------------------------------------------------------- */

static struct bdev_desc *open_device(struct nvmf_ns *ns, const char *name, bool read_only, struct err *e)
{
	struct bdev *b = bdev_find(ns->target->reg, name);
	struct bdev_desc *desc;
	bool write;

	if (!b) {
		err_set(e, -ENODEV, "bdev_name: there is no device '%s'; bdev_get_bdevs lists those that exist", name);
		return NULL;
	}
	write = !b->read_only && !read_only;
	desc = bdev_open_served(ns->target->reg, name, write, "NVMe-oF target", device_event, ns, e);
	for (uint32_t i = 0; desc && i < ns->view_count; i++)
		ns->view[i].consumes = b->consumes;
	return desc;
}

static int check_device(const struct bdev_info *info, struct err *e)
{
	if (info->md_size)
		return err_set(e, -ENOTSUP, "bdev_name: device '%s' keeps %u bytes of metadata with each block, which "
		               "namespaces cannot show yet; make it without metadata", info->name, info->md_size);
	if (!is_pow2(info->block_size) || info->block_size < 512)
		return err_set(e, -EINVAL, "bdev_name: device '%s' has blocks of %u bytes; a namespace needs a power of two "
		               "of at least 512", info->name, info->block_size);
	return 0;
}

static void fill_views(struct nvmf_ns *ns)
{
	for (uint32_t i = 0; i < ns->view_count; i++) {
		struct nvmf_ns_view *v = &ns->view[i];

		v->ns = ns;
		v->desc = ns->desc;
		v->shift = (uint8_t)__builtin_ctz(ns->info.block_size);
		v->lends = ns->info.lends;
		v->lends_writes = ns->info.lends_writes;
		v->read_only = ns->info.read_only;
		if (v->lends)
			v->lend_iovs_small = bdev_lend_iovs_max(ns->desc, max_u32(1, NVMF_LEND_SMALL >> v->shift));
	}
}

struct nvmf_ns *nvmf_ns_open(struct nvmf_target *t, const char *nqn, const struct nvmf_ns_opts *opts, struct err *e)
{
	struct nvmf_ns *ns = base_zalloc_aligned(CACHE_LINE, sizeof(*ns) + t->core_count * sizeof(ns->view[0]));

	ns->target = t;
	ns->view_count = t->core_count;
	list_init(&ns->waiters);
	ns->desc = open_device(ns, opts->bdev_name, opts->read_only, e);
	if (!ns->desc) {
		free(ns);
		return NULL;
	}
	bdev_get_info(ns->desc, &ns->info);
	ns->made_read_only = opts->read_only;
	ns->info.read_only |= opts->read_only;
	if (check_device(&ns->info, e)) {
		bdev_close(ns->desc);
		free(ns);
		return NULL;
	}
	ns->refs = 1;
	t->ns_alive++;
	ns->nsid = opts->nsid;
	ns->anagrpid = opts->anagrpid;
	text_pad(ns->bdev_name, sizeof(ns->bdev_name) - 1, ns->info.name, 0);
	text_pad(ns->nqn, sizeof(ns->nqn) - 1, nqn, 0);
	ns->uuid = uuid_is_null(&opts->uuid) ? ns->info.uuid : opts->uuid;
	memcpy(ns->nguid, opts->nguid, sizeof(ns->nguid));
	memcpy(ns->eui64, opts->eui64, sizeof(ns->eui64));
	ns->has_nguid = opts->has_nguid;
	ns->has_eui64 = opts->has_eui64;
	if (!ns->has_nguid) { /* as SPDK: the UUID serves as NGUID, so that every host finds one that it understands */
		memcpy(ns->nguid, ns->uuid.b, sizeof(ns->nguid));
	}
	fill_views(ns);
	return ns;
}

void nvmf_ns_ref(struct nvmf_ns *ns)
{
	ns->refs++;
}

void nvmf_ns_unref(struct nvmf_ns *ns)
{
	assert(ns->refs > 0);
	ns->refs--;
	close_if_unused(ns);
}

void nvmf_ns_wait_closed(struct nvmf_ns *ns, struct nvmf_ns_wait *w, void (*fn)(struct nvmf_ns_wait *w))
{
	w->fn = fn;
	list_add_tail(&ns->waiters, &w->link);
	close_if_unused(ns);
}

/* The device goes as soon as no core uses it, though versions that are being left may still name the namespace. */
static void close_if_unused(struct nvmf_ns *ns)
{
	struct nvmf_target *t = ns->target;
	struct list *l;

	if (ns->desc && !ns->cores_in && (!ns->refs || !list_empty(&ns->waiters))) {
		bdev_close(ns->desc);
		ns->desc = NULL;
	}
	if (ns->desc)
		return;
	ns->refs++; /* waiters may give theirs back */
	while ((l = list_pop(&ns->waiters))) {
		struct nvmf_ns_wait *w = list_entry(l, struct nvmf_ns_wait, link);

		w->fn(w);
	}
	if (--ns->refs)
		return;
	t->ns_alive--;
	for (uint32_t i = 0; i < ns->view_count; i++)
		free(ns->view[i].stages);
	free(ns);
}

static void device_event(struct bdev_desc *desc, enum bdev_event event, void *arg)
{
	struct nvmf_ns *ns = arg;

	if (event == BDEV_EVENT_REMOVE)
		nvmf_change_ns_gone(ns);
	else if (event == BDEV_EVENT_RESIZE)
		nvmf_change_ns_resized(ns);
}

/* --- on each core ------------------------------------------------------------------------------------------ */

bool nvmf_ns_enter(struct nvmf_ns *ns, uint32_t core_index, struct err *e)
{
	struct nvmf_ns_view *v = &ns->view[core_index];

	if (v->refs++ == 0)
		v->ch = bdev_channel_get(v->desc, e);
	return v->ch != NULL;
}

void nvmf_ns_leave_slow(struct nvmf_ns_view *v)
{
	if (v->ch)
		bdev_channel_put(v->ch);
	v->ch = NULL;
	msg_send(core_control(v->ns->target->core), &v->left_msg, left_on_control);
}

static void left_on_control(struct msg *m)
{
	struct nvmf_ns *ns = container_of(m, struct nvmf_ns_view, left_msg)->ns;

	assert(ns->cores_in > 0);
	ns->cores_in--;
	close_if_unused(ns);
}
