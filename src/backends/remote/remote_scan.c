/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_scan.c: from what a controller has to disks: namespaces that come, grow and go.
 *
 * Each path tells what it has: when it comes up, and again whenever its controller says that something changed. A
 * namespace with the same id over another path is the same disk when its identifiers say so too; when they do not,
 * that path is not used for it, and a sentence says so. A disk goes when no path has its namespace any more; a path
 * that is merely down still has what it had.
 */
#include "backends/remote/remote_ctl.h"

#include <errno.h>
#include <stdio.h>

#include "core/log.h"

const char remote_product[] = "NVMe disk";

#define FLBAS_EXTENDED (1u << 4)
#define LOOKS_APART_NS (100 * NS_PER_MS)
#define CCR_LOG_BYTES 4096u
#define TAKE_AT_ONCE 8u                 /* namespaces in one pass */

static void event(struct nvme_ctrlr *c, uint8_t type, uint8_t info, uint8_t log_page, void *arg);
static void look_begins(struct remote_path *p);
static void look(struct remote_path *p);
static void changed_list_read(struct nvme_log_read *r);
static void ccr_log_read(struct nvme_log_read *r);
static void slots_read(struct nvme_log_read *r);
static void revision_read(struct nvme_revision_read *r);
static void scanned_again(struct nvme_ctrlr *c, const struct err *e, void *arg);
static void ana_read(struct remote_path *p);
static void take_namespaces(struct remote_path *p);
static void take_one(struct remote_path *p, const struct nvme_ns_info *ns);
static void disk_make(struct remote_path *p, const struct nvme_ns_info *ns);
static void disk_destroy(struct bdev *b);
static void disk_describe(const struct bdev *b, bdev_emit_fn *emit, void *arg);

static const struct bdev_ops disk_ops = {
	.channel_open = remote_channel_open, .channel_close = remote_channel_close, .submit = remote_submit,
	.abort = remote_abort, .remove = remote_disk_remove, .destroy = disk_destroy, .describe = disk_describe,
	.resv = remote_resv,
};

/* --- looking --------------------------------------------------------------------------------------------------- */

/* The controller is new: opening it has read its namespaces. */
void remote_scan_begin(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;

	ctl->ns_stale = ctl->ana_stale = ctl->take_stale = ctl->ccr_stale = ctl->fw_stale = false;
	nvme_ctrlr_on_event(p->ctrlr, event, p);
	look_begins(p);
	take_namespaces(p);
}

void remote_scan_end(struct remote_path *p)
{
	timer_stop(&p->ctl->take);
	timer_stop(&p->ctl->look_soon);
	remote_path_look_ended(p);
	p->ctl->looking = false;
	p->ctl->look_round++;
	remote_ana_end(p);
}

static void event(struct nvme_ctrlr *c, uint8_t type, uint8_t info, uint8_t log_page, void *arg)
{
	struct remote_path *p = arg;
	uint32_t value = type | (uint32_t)info << 8 | (uint32_t)log_page << 16;

	if (value == NVME_AER_NOTICE_NS_CHANGED)
		p->ctl->ns_stale = true;
	else if (value == NVME_AER_NOTICE_ANA)
		p->ctl->ana_stale = true;
	else if (value == NVME_AER_NOTICE_CCR_COMPLETED)
		p->ctl->ccr_stale = true;
	else if (value == NVME_AER_NOTICE_FW_ACT_STARTING)
		p->ctl->fw_stale = true;
	if (p->ctl->ccr_stale)
		remote_fence_told(p);
	look(p);
}

/* I/O says so, and may say so again at once: a target that contradicts itself is not asked without end. */
static void look_soon(struct timer *t)
{
	look(container_of(t, struct remote_path_ctl, look_soon)->path);
}

static void io_asks(struct remote_path *p)
{
	uint64_t now = reactor_now_ns(), next = p->ctl->looked_ns + LOOKS_APART_NS;

	if (p->state != REMOTE_PATH_UP || timer_is_running(&p->ctl->look_soon))
		return;
	if (now >= next)
		look(p);
	else
		timer_start(&p->ctl->look_soon, next - now, look_soon);
}

void remote_path_ana_changed(struct remote_path *p)
{
	p->ctl->ana_stale = true;
	io_asks(p);
}

void remote_path_fw_changed(struct remote_path *p)
{
	p->ctl->fw_stale = true;
	look(p);
}

void remote_path_ns_changed(struct remote_path *p)
{
	p->ctl->ns_stale = true;
	io_asks(p);
}

static void look_begins(struct remote_path *p)
{
	p->ctl->looking = true;
	p->ctl->looked_ns = reactor_now_ns();
	remote_path_look_began(p);
}

static void read_log(struct remote_path *p, uint8_t lid, uint8_t lsp, uint32_t len,
                     void (*done)(struct nvme_log_read *r))
{
	struct remote_path_ctl *ctl = p->ctl;

	ctl->reading = true;
	ctl->log_round = ctl->look_round;
	ctl->page = base_zalloc(len);
	ctl->log = (struct nvme_log_read){ .lid = lid, .lsp = lsp, .nsid = NVME_NSID_ALL, .buf = ctl->page, .len = len,
	                                   .done = done, .arg = p };
	nvme_ctrlr_get_log(p->ctrlr, &ctl->log);
}

/* One look at a time; what becomes stale meanwhile is looked at again afterwards. */
static void look(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;

	if (ctl->looking || ctl->reading || p->state != REMOTE_PATH_UP)
		return;
	if (ctl->ns_stale) {
		ctl->ns_stale = false;
		look_begins(p);
		read_log(p, NVME_LOG_CHANGED_NS, 0, sizeof(struct nvme_ns_list), changed_list_read);
	} else if (ctl->take_stale) {
		ctl->take_stale = false;
		look_begins(p);
		take_namespaces(p);
	} else if (ctl->ana_stale) {
		ctl->ana_stale = false;
		look_begins(p);
		remote_ana_read(p, ana_read);
	} else if (ctl->ccr_stale) {
		ctl->ccr_stale = false;
		look_begins(p);
		read_log(p, NVME_LOG_CROSS_CTRL_RESET, NVME_LOG_CCR_LSP_RMC, CCR_LOG_BYTES, ccr_log_read);
	} else if (ctl->fw_stale) {
		ctl->fw_stale = false;
		look_begins(p);
		read_log(p, NVME_LOG_FW_SLOT, 0, sizeof(struct nvme_firmware_slot), slots_read);
	}
}

static void look_ends(struct remote_path *p)
{
	p->ctl->looking = false;
	remote_path_look_ended(p);
	look(p);
}

/* Its answer is here. False: the path, lost meanwhile, has waited for it to go on. */
static bool page_was_read(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;

	ctl->reading = false;
	free(ctl->page);
	ctl->page = NULL;
	if (ctl->log_round == ctl->look_round)
		return true;
	remote_path_look(p);
	return false;
}

/* What it says was asked for already; this lets the controller tell of the next one, and forget those that are over. */
static void ccr_log_read(struct nvme_log_read *r)
{
	struct remote_path *p = r->arg;

	if (page_was_read(p))
		look_ends(p);
}

/* Reading it lets the controller tell of the next activation, and is answered when this one is over. What runs then
 * Identify says. */
static void slots_read(struct nvme_log_read *r)
{
	struct remote_path *p = r->arg;
	struct remote_path_ctl *ctl = p->ctl;

	free(ctl->page);
	ctl->page = base_zalloc(NVME_IDENTIFY_SIZE);
	ctl->revision = (struct nvme_revision_read){ .page = ctl->page, .done = revision_read, .arg = p };
	if (ctl->log_round == ctl->look_round)
		nvme_ctrlr_read_revision(p->ctrlr, &ctl->revision);
	else
		revision_read(&ctl->revision);
}

static void revision_read(struct nvme_revision_read *r)
{
	struct remote_path *p = r->arg;
	char text[512];

	if (!page_was_read(p))
		return;
	log_notice("remote: %s runs firmware '%s'", remote_path_text(p, text), nvme_ctrlr_info(p->ctrlr)->firmware);
	look_ends(p);
}

/* Reading it lets the controller tell of the next change; what is in it says less than looking at all of them. */
static void changed_list_read(struct nvme_log_read *r)
{
	struct remote_path *p = r->arg;

	if (page_was_read(p))
		nvme_ctrlr_scan(p->ctrlr, scanned_again, p);
}

static void scanned_again(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct remote_path *p = arg;

	if (e) {
		log_warning("remote: %s", e->text);
		remote_ana_read(p, ana_read);
	} else {
		take_namespaces(p);
	}
}

static void ana_read(struct remote_path *p)
{
	p->ctl->looking = false;
	remote_path_look_ended(p);
	remote_group_changed(p->group);
	if (p->state == REMOTE_PATH_SCANNING)
		remote_path_scanned(p);
	look(p);
}

/* --- taking what was found ------------------------------------------------------------------------------------- */

/* Where it is in by_nsid, or would be. */
static uint32_t place_of(const struct remote_group *g, uint32_t nsid)
{
	uint32_t low = 0, high = g->disk_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (g->by_nsid[middle]->nsid < nsid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct remote_disk *remote_disk_find(struct remote_group *g, uint32_t nsid)
{
	uint32_t at = place_of(g, nsid);

	return at < g->disk_count && g->by_nsid[at]->nsid == nsid ? g->by_nsid[at] : NULL;
}

struct remote_disk *remote_disk_of(const struct bdev *b)
{
	return b->ops == &disk_ops ? container_of(b, struct remote_disk, bdev) : NULL;
}

static bool is_in(const struct nvme_ctrlr_info *info, uint32_t nsid)
{
	uint32_t low = 0, high = info->ns_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (info->ns[middle].nsid < nsid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < info->ns_count && info->ns[low].nsid == nsid && info->ns[low].usable;
}

static void look_if_lost(struct remote_disk *d)
{
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		if (d->ns[i].present)
			return;
	if (!d->group->leaving) /* which lets go of all, a few at a time */
		remote_disk_unregister(d);
}

/* Those that it has not any more; false: there are more than go at a time. */
static bool drop_others(struct remote_path *p, const struct nvme_ctrlr_info *info)
{
	uint32_t left = TAKE_AT_ONCE;

	list_each_safe(l, &p->group->disks) {
		struct remote_disk *d = list_entry(l, struct remote_disk, link);

		if (!d->ns[p->index].present || is_in(info, d->nsid))
			continue;
		if (!left--)
			return false;
		d->ns[p->index].present = false;
		look_if_lost(d);
	}
	return true;
}

static void say_unusable(const struct remote_path *p, const struct nvme_ns_info *ns)
{
	char text[512];

	if (ns->status)
		log_notice("remote: %s: namespace %u cannot be used: Identify was answered with '%s'",
		           remote_path_text(p, text), ns->nsid, nvme_status_text(ns->status, true));
	else
		log_notice("remote: %s: namespace %u cannot be used: %llu blocks of %u bytes, %u of metadata, are no format "
		           "for this host", remote_path_text(p, text), ns->nsid, (unsigned long long)ns->block_count,
		           ns->block_size, ns->md_size);
}

/* What there is, all together: each look finds it again, but it is said only when it changed. */
static void count_namespaces(struct remote_path *p)
{
	const struct nvme_ctrlr_info *info = nvme_ctrlr_info(p->ctrlr);
	struct remote_path_ctl *ctl = p->ctl;
	uint64_t hash = 0xcbf29ce484222325ull;
	char text[512];

	ctl->ns_count = info->ns_count;
	ctl->usable_count = 0;
	for (uint32_t i = 0; i < info->ns_count; i++) {
		const struct nvme_ns_info *ns = &info->ns[i];

		ctl->usable_count += ns->usable;
		if (!ns->usable)
			hash = (hash ^ ns->nsid ^ (uint64_t)ns->block_size << 32 ^ (uint64_t)ns->status << 16) * 0x100000001b3ull;
	}
	hash ^= !ctl->usable_count;
	ctl->says_unusable = hash != ctl->unusable;
	ctl->unusable = hash;
	if (!ctl->usable_count && ctl->says_unusable)
		log_warning("remote: %s has %s: there are no disks of it", remote_path_text(p, text),
		            info->ns_count ? "no namespace that can be used" : "no namespace for this host");
}

static void take_some(struct timer *t)
{
	struct remote_path *p = container_of(t, struct remote_path_ctl, take)->path;
	const struct nvme_ctrlr_info *info = nvme_ctrlr_info(p->ctrlr);
	struct remote_group *g = p->group;
	uint32_t *at = &p->ctl->take_at;

	for (uint32_t n = 0; !g->leaving && *at < info->ns_count && n < TAKE_AT_ONCE; n++, ++*at)
		if (info->ns[*at].usable)
			take_one(p, &info->ns[*at]);
		else if (p->ctl->says_unusable)
			say_unusable(p, &info->ns[*at]);
	remote_group_changed(g);
	if (!g->leaving && (*at < info->ns_count || !drop_others(p, info)))
		timer_start(&p->ctl->take, 0, take_some);
	else
		remote_ana_read(p, ana_read);
}

/* A target may have thousands: a few in a pass. The ANA log follows. */
static void take_namespaces(struct remote_path *p)
{
	p->ctl->take_at = 0;
	count_namespaces(p);
	take_some(&p->ctl->take);
}

void remote_scan_path_gone(struct remote_path *p)
{
	list_each(l, &p->group->wishes) {
		struct remote_wish *w = list_entry(l, struct remote_wish, link);

		if (w->preferred == p->index)
			w->preferred = REMOTE_NO_PATH;
	}
	list_each_safe(l, &p->group->disks) {
		struct remote_disk *d = list_entry(l, struct remote_disk, link);

		d->ns[p->index] = (struct remote_ns){ 0 };
		if (d->preferred == p->index)
			d->preferred = REMOTE_NO_PATH;
		look_if_lost(d);
	}
}

/* Two that have an identifier of the same kind must agree on it. */
static bool same_namespace(const struct nvme_ns_info *a, const struct nvme_ns_info *b)
{
	if (a->has_uuid && b->has_uuid && !uuid_equal(&a->uuid, &b->uuid))
		return false;
	if (a->has_nguid && b->has_nguid && memcmp(a->nguid, b->nguid, sizeof(a->nguid)) != 0)
		return false;
	return !(a->has_eui64 && b->has_eui64) || memcmp(a->eui64, b->eui64, sizeof(a->eui64)) == 0;
}

static bool same_shape(const struct nvme_ns_info *a, const struct nvme_ns_info *b)
{
	return a->block_size == b->block_size && a->md_size == b->md_size && a->dps == b->dps &&
	       (a->flbas & FLBAS_EXTENDED) == (b->flbas & FLBAS_EXTENDED);
}

static uint32_t block_bytes(const struct remote_disk *d)
{
	return d->bdev.block_size + (d->bdev.md_interleaved ? d->bdev.md_size : 0);
}

/* What keeps a path from being used for a disk that others have; NULL: nothing. */
static const char *difference(const struct remote_disk *d, const struct nvme_ctrlr_info *c,
                              const struct nvme_ns_info *ns)
{
	if (!same_namespace(&d->info, ns))
		return "another one than over the other paths (its UUID, NGUID or EUI-64 differs)";
	if (!same_shape(&d->info, ns))
		return "of another block size than over the other paths";
	if (remote_io_bytes_max(c) < (uint64_t)d->one_act_blocks * block_bytes(d))
		return "behind a controller whose commands (MDTS) are too small for what is one act over the other paths: a "
		       "block, or what is compared or written as one";
	if (c->vwc & NVME_VWC_PRESENT && d->bdev.cache == BDEV_CACHE_NONE) /* flushes would not reach it */
		return "behind a controller with a volatile write cache, which those of the other paths do not have";
	return NULL;
}

/* The waist cuts I/O to what the largest of its controllers ever took, and who takes less has it cut again on the way
 * (remote_io.c). More counts for who opens the disk from now on. */
static void take_limit(struct remote_disk *d, const struct nvme_ctrlr_info *c, struct remote_ns *ns)
{
	uint32_t bytes = remote_io_bytes_max(c), blocks = min_u32(bytes / block_bytes(d), 65536);

	if (blocks < d->bdev.max_io_blocks && ns->io_bytes_max != bytes)
		log_notice("remote: %s: one of its controllers takes commands of %u KiB; larger reads and writes are cut for "
		           "it", d->bdev.name, bytes >> 10);
	ns->io_bytes_max = bytes;
	if (blocks > d->bdev.max_io_blocks)
		d->bdev.max_io_blocks = blocks;
}

static void resize(struct remote_disk *d, uint64_t blocks)
{
	struct err e = { 0 };

	if (atomic_load(&d->bdev.block_count) == blocks)
		return;
	if (bdev_resize(&d->bdev, blocks, &e) != 0)
		log_warning("remote: %s", e.text);
	else
		log_notice("remote: %s has %llu blocks now", d->bdev.name, (unsigned long long)blocks);
}

static void take_one(struct remote_path *p, const struct nvme_ns_info *ns)
{
	struct remote_disk *d = remote_disk_find(p->group, ns->nsid);
	const char *differs;
	bool known;
	char text[512];

	if (!d) {
		disk_make(p, ns);
		return;
	}
	known = d->ns[p->index].present;
	d->ns[p->index].present = false;
	if (d->going)
		return; /* looked at again when it has gone */
	differs = difference(d, nvme_ctrlr_info(p->ctrlr), ns);
	if (!differs) {
		d->ns[p->index].differs = NULL;
		d->ns[p->index].present = true;
		if (!known)
			d->ns[p->index].access = REMOTE_ACCESS_OPTIMIZED; /* until the ANA log says otherwise */
		d->info.block_count = ns->block_count;
		take_limit(d, nvme_ctrlr_info(p->ctrlr), &d->ns[p->index]);
		resize(d, ns->block_count);
		return;
	}
	if (d->ns[p->index].differs != differs) /* a constant: each kind is one */
		log_warning("remote: %s: namespace %u is %s; this path is not used for %s", remote_path_text(p, text),
		            ns->nsid, differs, d->bdev.name);
	d->ns[p->index].differs = differs;
	look_if_lost(d); /* the only one that had it: what was there has gone, and this comes in its place */
}

/* --- disks --------------------------------------------------------------------------------------------------- */

/* The namespace's own, or one that follows from its name: the same after a restart. */
static struct uuid disk_uuid(const struct remote_disk *d)
{
	struct uuid u = { { 0 } };
	uint64_t h[2] = { 0xcbf29ce484222325ull, 0x84222325cbf29ce4ull };

	if (d->info.has_nguid) {
		memcpy(u.b, d->info.nguid, sizeof(u.b));
		return u;
	}
	if (d->info.has_uuid)
		return d->info.uuid;
	for (uint32_t i = 0; i < 2; i++) {
		for (const char *c = d->group->subnqn; *c; c++)
			h[i] = (h[i] ^ (uint8_t)*c) * 0x100000001b3ull;
		for (const char *c = d->bdev.name; *c; c++)
			h[i] = (h[i] ^ (uint8_t)*c) * 0x100000001b3ull;
	}
	memcpy(u.b, h, sizeof(h));
	return uuid_from_random(u.b);
}

/* The lowest that is free: views have a place for each. */
static uint32_t take_index(struct remote_group *g)
{
	uint32_t index = 0;
	uint8_t *taken = g->disk_slots ? memchr(g->index_used, 0, g->disk_slots) : NULL;

	if (taken) {
		index = (uint32_t)(taken - g->index_used);
	} else {
		index = g->disk_slots++;
		g->index_used = realloc(g->index_used, g->disk_slots);
		must(g->index_used);
	}
	g->index_used[index] = 1;
	return index;
}

static void add_to_group(struct remote_group *g, struct remote_disk *d)
{
	uint32_t at = place_of(g, d->nsid);

	d->index = take_index(g);
	list_add_tail(&g->disks, &d->link);
	g->by_nsid = reallocarray(g->by_nsid, g->disk_count + 1, sizeof(*g->by_nsid));
	must(g->by_nsid);
	memmove(&g->by_nsid[at + 1], &g->by_nsid[at], (g->disk_count - at) * sizeof(*g->by_nsid));
	g->by_nsid[at] = d;
	g->disk_count++;
}

static void take_from_group(struct remote_group *g, struct remote_disk *d)
{
	uint32_t at = place_of(g, d->nsid);

	assert(g->by_nsid[at] == d);
	list_del(&d->link);
	g->index_used[d->index] = 0;
	g->disk_count--;
	memmove(&g->by_nsid[at], &g->by_nsid[at + 1], (g->disk_count - at) * sizeof(*g->by_nsid));
}

static void disk_fill(struct remote_disk *d, const struct nvme_ctrlr_info *c, const struct nvme_ns_info *ns)
{
	struct bdev *b = &d->bdev;
	uint32_t block = ns->block_size;

	b->ops = &disk_ops;
	snprintf(b->name, sizeof(b->name), "%sn%u", d->group->name, ns->nsid);
	b->product = remote_product;
	b->block_size = block;
	b->md_size = ns->md_size;
	b->md_interleaved = ns->md_size && ns->flbas & FLBAS_EXTENDED;
	if (b->md_interleaved && ns->md_size >= 8 && (ns->dps & 7) <= 3) {
		b->dif_type = ns->dps & 7;
		b->dif_is_head_of_md = b->dif_type && ns->dps & NVME_DPS_FIRST;
	}
	d->prchk = (uint16_t)(b->dif_type ? d->group->prchk & ~(b->dif_type == 3 ? NVME_RW_PRCHK_REF : 0) : 0);
	b->physical_block_size = ns->write_granularity_blocks > 1 ? block * ns->write_granularity_blocks : block;
	atomic_init(&b->block_count, ns->block_count);
	remote_disk_shape(d, c, ns);
	b->resv_outside = d->group->remote->opts.reservations_at_target;
	b->uuid = disk_uuid(d);
}

static void disk_free(struct remote_disk *d)
{
	for (uint32_t i = 0; i < remote_core_count(d->group->remote); i++)
		free(atomic_load(&d->stats[i]));
	free(d->stats);
	free(d);
}

/* Another device may have its UUID: the same namespace under another name, perhaps, or what a target in this very
 * daemon serves. Then it gets one of its own. */
static int register_it(struct remote_disk *d, const struct nvme_ns_info *ns, struct err *e)
{
	struct bdev_registry *reg = d->group->remote->reg;
	char text[UUID_TEXT_MAX];

	if (bdev_register(reg, &d->bdev, NULL) == 0)
		return 0;
	if (bdev_find(reg, uuid_to_text(&d->bdev.uuid, text)) && !bdev_find(reg, d->bdev.name)) {
		log_notice("remote: %s: another device has its UUID %s (the same namespace, perhaps); it gets one "
		           "of its own",
		           d->bdev.name, text);
		d->info.has_nguid = d->info.has_uuid = false;
		d->bdev.uuid = disk_uuid(d);
		d->info.has_nguid = ns->has_nguid;
		d->info.has_uuid = ns->has_uuid;
	}
	return bdev_register(reg, &d->bdev, e);
}

static void disk_make(struct remote_path *p, const struct nvme_ns_info *ns)
{
	struct remote_group *g = p->group;
	struct remote_disk *d = base_zalloc(sizeof(*d));
	const struct remote_wish *wish = remote_wish_find(g, ns->nsid);
	struct err e = { 0 };
	char text[512];

	d->group = g;
	d->nsid = ns->nsid;
	d->info = *ns;
	d->policy = g->policy;
	d->selector = g->selector;
	d->rr_min_io = g->rr_min_io;
	d->preferred = wish ? wish->preferred : REMOTE_NO_PATH;
	if (wish && wish->policy_given) {
		d->policy = wish->policy;
		d->selector = wish->selector;
		d->rr_min_io = wish->rr_min_io;
	}
	d->stats = base_zalloc(remote_core_count(g->remote) * sizeof(*d->stats));
	disk_fill(d, nvme_ctrlr_info(p->ctrlr), ns);
	d->ns[p->index] = (struct remote_ns){ .present = true, .access = REMOTE_ACCESS_OPTIMIZED };
	add_to_group(g, d);
	if (register_it(d, ns, &e) == 0)
		return;
	log_error("remote: %s: namespace %u: %s", remote_path_text(p, text), ns->nsid, e.text);
	take_from_group(g, d);
	disk_free(d);
}

static void unregistered(void *arg, int rc)
{
	(void)arg;
	(void)rc;
}

void remote_disk_unregister(struct remote_disk *d)
{
	if (d->going)
		return;
	d->going = true;
	d->bdev.returns = !d->group->leaving; /* the target may have the namespace again */
	if (!atomic_load(&d->bdev.removing))
		bdev_unregister(&d->bdev, unregistered, NULL);
}

/* Cores must not see it any more before its memory goes. */
static void disk_unpublished(struct remote_wait *w)
{
	struct remote_disk *d = container_of(w, struct remote_disk, unpublished);
	struct remote_group *g = d->group;

	take_from_group(g, d);
	timer_stop(&d->reach);
	bdev_destroyed(&d->bdev);
	disk_free(d);
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		if (!g->paths[i])
			continue;
		g->paths[i]->ctl->take_stale = true; /* it may have come back meanwhile,
			or something else in its place */
		look(g->paths[i]);
	}
	remote_group_look(g);
}

/* Both have to be there: no user has it, and no core is about to end its I/O. */
static void disk_leave(struct remote_disk *d)
{
	if (!d->destroyed || !d->removed || d->gone)
		return;
	d->going = d->gone = true;
	d->unpublished.done = disk_unpublished;
	remote_group_when_published(d->group, &d->unpublished);
}

static void disk_destroy(struct bdev *b)
{
	struct remote_disk *d = container_of(b, struct remote_disk, bdev);

	d->destroyed = true;
	disk_leave(d);
}

void remote_disk_removed(struct remote_disk *d)
{
	d->removed = true;
	disk_leave(d);
}

static void disk_describe(const struct bdev *b, bdev_emit_fn *emit, void *arg)
{
	const struct remote_disk *d = container_of(b, const struct remote_disk, bdev);

	emit(arg, "mp_policy", remote_policy_name(d->policy));
	if (d->policy == REMOTE_ACTIVE_ACTIVE)
		emit(arg, "selector", remote_selector_name(d->selector));
}
