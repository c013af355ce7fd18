/* SPDX-License-Identifier: BSD-3-Clause */
/* lu.c: a logical unit from opening its device to closing it.
 *
 *     control   scsi_lu_open()     device opened, claimed for hosts
 *     each core scsi_lu_enter()    channel opened; counted by map versions and tasks
 *     each core last count gone    channel closed, control is told
 *     control   last core told     device closed; those who wait for that go on
 */
#include "bdev/bdev_device.h"
#include "core/log.h"
#include "scsi/scsi_priv.h"

static void left_on_control(struct msg *m);
static void close_if_unused(struct scsi_lu *lu);

/* --- opening: control -- */

static struct bdev_desc *open_device(struct scsi_lu *lu, const char *name, bool read_only, struct err *e)
{
	struct bdev_registry *reg = lu->target->scsi->reg;
	struct bdev *b = bdev_find(reg, name);
	char owner[64]; /* one of its own: a device may be several LUNs, of several devices */
	struct text text = text_over(owner, sizeof(owner));
	struct bdev_desc *desc;
	bool write;

	if (!b) {
		err_set(e, -ENODEV, "bdev_name: there is no device '%s'; bdev_get_bdevs lists those that exist", name);
		return NULL;
	}
	write = !b->read_only && !read_only;
	text_add(&text, "LUN %u (%llu) of %s", lu->lun, (unsigned long long)++lu->target->scsi->lus_made, lu->target->name);
	desc = bdev_open_served(reg, name, write, owner, scsi_lu_device_event, lu, e);
	for (uint32_t i = 0; desc && i < lu->view_count; i++)
		lu->view[i].consumes = b->consumes;
	return desc;
}

static int check_device(const struct bdev_info *info, struct err *e)
{
	if (info->md_size)
		return err_set(e, -ENOTSUP, "bdev_name: device '%s' keeps %u bytes of metadata with each block, which "
		               "LUNs cannot show yet; make it without metadata", info->name, info->md_size);
	if (!is_pow2(info->block_size) || info->block_size < 512)
		return err_set(e, -EINVAL, "bdev_name: device '%s' has blocks of %u bytes; a LUN needs a power of two "
		               "of at least 512", info->name, info->block_size);
	return 0;
}

static void fill_views(struct scsi_lu *lu)
{
	for (uint32_t i = 0; i < lu->view_count; i++) {
		struct scsi_lu_view *v = &lu->view[i];

		v->lu = lu;
		v->desc = lu->desc;
		v->shift = (uint8_t)__builtin_ctz(lu->info.block_size);
		v->lends = lu->info.lends;
		v->lends_writes = lu->info.lends_writes;
		v->read_only = lu->info.read_only;
		if (v->lends)
			v->lend_iovs_small = bdev_lend_iovs_max(lu->desc, max_u32(1, SCSI_LEND_SMALL >> v->shift));
	}
}

struct scsi_lu *scsi_lu_open(struct scsi_target *t, uint32_t lun, const struct scsi_lun_opts *opts, struct err *e)
{
	uint32_t cores = t->scsi->core_count;
	struct scsi_lu *lu = base_zalloc_aligned(CACHE_LINE, sizeof(*lu) + cores * sizeof(lu->view[0]));

	lu->target = t;
	lu->lun = lun;
	lu->view_count = cores;
	list_init(&lu->waiters);
	lu->desc = open_device(lu, opts->bdev_name, opts->read_only, e);
	if (!lu->desc) {
		free(lu);
		return NULL;
	}
	bdev_get_info(lu->desc, &lu->info);
	if (check_device(&lu->info, e)) {
		bdev_close(lu->desc);
		free(lu);
		return NULL;
	}
	lu->made_read_only = opts->read_only;
	lu->info.read_only |= opts->read_only;
	lu->uuid = lu->info.uuid;
	lu->refs = 1;
	t->busy++;
	text_pad(lu->bdev_name, sizeof(lu->bdev_name) - 1, lu->info.name, 0);
	fill_views(lu);
	return lu;
}

void scsi_lu_ref(struct scsi_lu *lu)
{
	lu->refs++;
}

void scsi_lu_unref(struct scsi_lu *lu)
{
	assert(lu->refs > 0);
	lu->refs--;
	close_if_unused(lu);
}

void scsi_lu_wait_closed(struct scsi_lu *lu, struct scsi_lu_wait *w, void (*fn)(struct scsi_lu_wait *w))
{
	w->fn = fn;
	list_add_tail(&lu->waiters, &w->link);
	close_if_unused(lu);
}

/* The device goes as soon as no core uses it, though versions that are being left may still name the unit. */
static void close_if_unused(struct scsi_lu *lu)
{
	struct list *l;

	if (lu->desc && !lu->cores_in && (!lu->refs || !list_empty(&lu->waiters))) {
		bdev_close(lu->desc);
		lu->desc = NULL;
	}
	if (lu->desc)
		return;
	lu->refs++; /* waiters may give theirs back */
	while ((l = list_pop(&lu->waiters))) {
		struct scsi_lu_wait *w = list_entry(l, struct scsi_lu_wait, link);

		w->fn(w);
	}
	if (--lu->refs)
		return;
	scsi_target_less(lu->target);
	free(lu);
}

/* --- on each core -- */

bool scsi_lu_enter(struct scsi_lu *lu, uint32_t core_index, struct err *e)
{
	struct scsi_lu_view *v = &lu->view[core_index];

	if (v->refs++ == 0)
		v->ch = bdev_channel_get(v->desc, e);
	return v->ch != NULL;
}

void scsi_lu_leave_slow(struct scsi_lu_view *v)
{
	if (v->ch)
		bdev_channel_put(v->ch);
	v->ch = NULL;
	msg_send(core_control(v->lu->target->scsi->core), &v->left_msg, left_on_control);
}

static void left_on_control(struct msg *m)
{
	struct scsi_lu *lu = container_of(m, struct scsi_lu_view, left_msg)->lu;

	assert(lu->cores_in > 0);
	lu->cores_in--;
	close_if_unused(lu);
}
