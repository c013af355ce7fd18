/* SPDX-License-Identifier: BSD-3-Clause */
/* registry.c: the devices of a daemon: they come, are opened and claimed, change their size, and go.
 *
 * Everything here runs on the control reactor. A device that goes tells those who have it open, refuses
 * new I/O with GONE meanwhile, and is destroyed when the last descriptor is closed.
 */
#include "bdev/bdev_waist.h"
#include "bdev/resv_priv.h"
#include "core/log.h"
#include "core/notify.h"

#include <errno.h>
#include <stdio.h>

#define PLAIN_MD_MAX 128u /* md.c has the metadata of several blocks in memory */

static bool name_taken(struct bdev_registry *reg, const struct bdev *b, struct err *e);
static int check_shape(const struct bdev *b, struct err *e);
static void announce(struct bdev_registry *reg, struct bdev *b);
static void tell(struct bdev *b, enum bdev_event event);

struct bdev_registry *bdev_registry_make(struct core *core)
{
	struct bdev_registry *reg = base_zalloc(sizeof(*reg));

	reg->core = core;
	list_init(&reg->bdevs);
	list_init(&reg->arrivals);
	list_init(&reg->qos_groups);
	for (uint32_t i = 0; i < ARRAY_SIZE(reg->throttled); i++)
		list_init(&reg->throttled[i]);
	list_init(&reg->orders);
	reg->parties = resv_parties_make();
	list_init(&reg->resv_listeners);
	return reg;
}

void bdev_registry_free(struct bdev_registry *reg)
{
	if (!reg)
		return;
	must(list_empty(&reg->bdevs));
	bdev_qos_groups_free(reg);
	bdev_orders_free(reg);
	bdev_resv_store_close(reg);
	resv_parties_free(reg->parties);
	free(reg);
}

struct core *bdev_registry_core(const struct bdev_registry *reg)
{
	return reg->core;
}

static void shape_atomics(struct bdev *b)
{
	if (!b->atomic_blocks)
		b->atomic_blocks = 1;
	if (!(b->native_ops & BDEV_BIT(COMPARE_AND_WRITE)))
		b->atomic_caw_blocks = b->max_caw_blocks = 0;
	if (!b->atomic_caw_blocks)
		b->atomic_caw_blocks = b->atomic_blocks;
	if (b->atomic_blocks == 1 && b->atomic_caw_blocks == 1)
		b->atomic_boundary_blocks = 0;
}

int bdev_register(struct bdev_registry *reg, struct bdev *b, struct err *e)
{
	uint8_t random[16];
	int rc;

	b->reg = reg;
	if (uuid_is_null(&b->uuid)) {
		core_random(random, sizeof(random));
		b->uuid = uuid_from_random(random);
	}
	rc = check_shape(b, e);
	if (rc != 0)
		return rc;
	if (name_taken(reg, b, e))
		return -EEXIST;
	if (b->dif_type) /* tuples are checked, not compared: emu_compare.c */
		b->native_ops &= ~(BDEV_BIT(COMPARE) | BDEV_BIT(COMPARE_AND_WRITE));
	shape_atomics(b);
	b->knows_bad &= (b->native_ops & BDEV_BIT(GET_LBA_STATUS)) != 0;
	if (!b->physical_block_size)
		b->physical_block_size = b->block_size;
	list_init(&b->descs);
	atomic_init(&b->removing, false);
	atomic_init(&b->open_channels, 0);
	b->destroying = false;
	b->holds = 0;
	b->claim = NULL;
	bdev_cores_make(b);
	bdev_resv_arrived(b);
	list_add_tail(&reg->bdevs, &b->link);
	bdev_resaved(b);
	log_debug("bdev: %s '%s' comes: %llu blocks of %u bytes", b->product, b->name,
	          (unsigned long long)atomic_load(&b->block_count), b->block_size);
	notify(reg->core, NOTIFY_BDEV_REGISTER, "%s", b->name);
	announce(reg, b);
	return 0;
}

/* A listener may register devices and take listeners off, itself and others: a mark of ours stays where we are. */
static void announce(struct bdev_registry *reg, struct bdev *b)
{
	struct bdev_arrival *here = base_zalloc(sizeof(*here)); /* not on the stack: compilers warn of such lists */

	list_add_head(&reg->arrivals, &here->link);
	while (here->link.next != &reg->arrivals) {
		struct list *next = here->link.next;
		struct bdev_arrival *a = list_entry(next, struct bdev_arrival, link);

		list_del(&here->link);
		list_insert(next, &here->link);
		if (a->fn)
			a->fn(a, b);
	}
	list_del(&here->link);
	free(here);
}

void bdev_arrival_add(struct bdev_registry *reg, struct bdev_arrival *a,
                      void (*fn)(struct bdev_arrival *a, struct bdev *b))
{
	a->fn = fn;
	list_add_tail(&reg->arrivals, &a->link);
}

void bdev_on_going(struct bdev_registry *reg, void (*fn)(void *arg, struct bdev *b), void *arg)
{
	reg->going = fn;
	reg->going_arg = arg;
}

bool bdev_returns(const struct bdev_desc *desc)
{
	return desc->bdev->returns;
}

void bdev_arrival_remove(struct bdev_arrival *a)
{
	list_del(&a->link);
}

/* What the waist relies on; a back-end that gets this wrong hears of it before the first I/O does. */
static int check_shape(const struct bdev *b, struct err *e)
{
	uint64_t count = atomic_load(&b->block_count);

	must(b->ops && b->ops->submit && b->ops->destroy && b->product);
	must(!b->lends || b->ops->release);
	if (!b->name[0])
		return err_set(e, -EINVAL, "a block device needs a name");
	if (b->block_size < 512 || b->block_size % 512)
		return err_set(e, -EINVAL, "block_size: %u is not a multiple of 512", b->block_size);
	if ((uint64_t)b->block_size + b->md_size > MEM_IO_BYTES_MAX) /* emulations have a block in memory */
		return err_set(e, -EINVAL, "block_size: %u bytes, and %u of metadata, are more than the %u of the largest I/O",
		               b->block_size, b->md_size, MEM_IO_BYTES_MAX);
	if (b->physical_block_size % 512)
		return err_set(e, -EINVAL, "physical_block_size: %u is not a multiple of 512", b->physical_block_size);
	if (b->dif_type > 3)
		return err_set(e, -EINVAL, "dif_type: %u is none of 0, 1, 2, 3", b->dif_type);
	if (b->dif_type && b->md_size < 8)
		return err_set(e, -EINVAL, "dif_type: protection information takes 8 bytes, and md_size is %u", b->md_size);
	if (!count || count > (1ull << 62) / (b->block_size + b->md_size))
		return err_set(e, -EINVAL, "num_blocks: %llu blocks of %u bytes are not a size a device can have",
		               (unsigned long long)count, b->block_size);
	return 0;
}

static bool answers_to(const struct bdev *b, const char *name)
{
	char text[UUID_TEXT_MAX];

	if (strcmp(b->name, name) == 0 || strcasecmp(uuid_to_text(&b->uuid, text), name) == 0)
		return true;
	for (uint32_t i = 0; i < BDEV_ALIASES_MAX; i++)
		if (b->aliases[i][0] && strcmp(b->aliases[i], name) == 0)
			return true;
	return false;
}

struct bdev *bdev_find(struct bdev_registry *reg, const char *name)
{
	list_each(l, &reg->bdevs) {
		struct bdev *b = list_entry(l, struct bdev, link);

		if (answers_to(b, name))
			return b;
	}
	return NULL;
}

struct bdev *bdev_first(struct bdev_registry *reg)
{
	return list_first(&reg->bdevs, struct bdev, link);
}

struct bdev *bdev_next(struct bdev *b)
{
	return b->link.next == &b->reg->bdevs ? NULL : list_entry(b->link.next, struct bdev, link);
}

static bool name_taken(struct bdev_registry *reg, const struct bdev *b, struct err *e)
{
	char text[UUID_TEXT_MAX];
	const char *names[BDEV_ALIASES_MAX + 2] = { b->name, uuid_to_text(&b->uuid, text) };
	struct bdev *other;

	for (uint32_t i = 0; i < BDEV_ALIASES_MAX; i++)
		names[i + 2] = b->aliases[i];
	for (uint32_t i = 0; i < ARRAY_SIZE(names); i++) {
		other = names[i][0] ? bdev_find(reg, names[i]) : NULL;
		if (!other)
			continue;
		err_set(e, -EEXIST, "name: '%s' is taken by the %s %s; choose another one", names[i], other->product,
		        other->name);
		return true;
	}
	return false;
}

/* --- opening ---------------------------------------------------------------------------------------------- */

struct bdev_desc *bdev_open(struct bdev_registry *reg, const char *name, bool write, const char *owner,
                            bdev_event_fn *event, void *arg, struct err *e)
{
	struct bdev *b = bdev_find(reg, name);
	struct bdev_desc *desc;

	if (!b) {
		err_set(e, -ENODEV, "there is no block device '%s'; bdev_get_bdevs lists those there are", name);
		return NULL;
	}
	if (atomic_load(&b->removing)) {
		err_set(e, -ENODEV, "block device '%s' is being removed", name);
		return NULL;
	}
	if (write && b->claim) {
		err_set(e, -EPERM, "block device '%s' is claimed by %s, and only one can write to it; take it away there first",
		        name, b->claim->owner);
		return NULL;
	}
	desc = base_zalloc(sizeof(*desc));
	desc->bdev = b;
	desc->write = write;
	desc->event = event;
	desc->arg = arg;
	desc->told = reg->events;
	snprintf(desc->owner, sizeof(desc->owner), "%s", owner ? owner : "somebody");
	list_add_tail(&b->descs, &desc->link);
	log_debug("bdev: '%s' is opened for %s by %s", b->name, write ? "writing" : "reading", desc->owner);
	return desc;
}

struct bdev *bdev_of(const struct bdev_desc *desc)
{
	return desc->bdev;
}

/* Another who serves it, or NULL; `same`: of the same name only. */
static struct bdev_desc *served_by(const struct bdev *b, const struct bdev_desc *but, const char *same)
{
	list_each(l, &b->descs) {
		struct bdev_desc *d = list_entry(l, struct bdev_desc, link);

		if (d != but && d->served && (!same || strcmp(d->owner, same) == 0))
			return d;
	}
	return NULL;
}

int bdev_plain(struct bdev_desc *desc, struct err *e)
{
	const struct bdev *b = desc->bdev;

	if (b->md_size > PLAIN_MD_MAX)
		return err_set(e, -ENOTSUP, "device '%s' has %u bytes of metadata in each block; up to %u can be hidden",
		               b->name, b->md_size, PLAIN_MD_MAX);
	desc->plain = b->md_size != 0;
	return 0;
}

struct bdev_desc *bdev_open_served(struct bdev_registry *reg, const char *name, bool write, const char *owner,
                                   bdev_event_fn *event, void *arg, struct err *e)
{
	struct bdev *b = bdev_find(reg, name);
	struct bdev_desc *claim = b ? b->claim : NULL, *desc;
	bool shared = write && claim && claim->served && !served_by(b, NULL, owner);

	if (shared)
		b->claim = NULL; /* for a moment: it stands in nobody's way who serves the device, too */
	desc = bdev_open(reg, name, write, owner, event, arg, e);
	if (shared)
		b->claim = claim;
	if (!desc)
		return NULL;
	if (write && !shared && bdev_claim(desc, e)) {
		bdev_close(desc);
		return NULL;
	}
	desc->served = write;
	return desc;
}

int bdev_claim(struct bdev_desc *desc, struct err *e)
{
	struct bdev *b = desc->bdev;

	if (b->claim == desc)
		return 0;
	if (b->claim)
		return err_set(e, -EPERM, "block device '%s' is claimed by %s", b->name, b->claim->owner);
	list_each(l, &b->descs) {
		struct bdev_desc *other = list_entry(l, struct bdev_desc, link);

		if (other != desc && other->write)
			return err_set(e, -EPERM, "block device '%s' cannot be claimed: %s has it open for writing",
			               b->name, other->owner);
	}
	b->claim = desc;
	return 0;
}

void bdev_close(struct bdev_desc *desc)
{
	struct bdev *b;

	if (!desc)
		return;
	b = desc->bdev;
	for (uint32_t i = 0; i <= core_reactor_count(b->reg->core); i++)
		must(!desc->channels[i]);
	if (b->claim == desc)
		b->claim = served_by(b, desc, NULL);
	log_debug("bdev: '%s' is closed by %s", b->name, desc->owner);
	list_del(&desc->link);
	free(desc);
	bdev_try_destroy(b);
}

/* Each descriptor once, even when those that are told close themselves or others. */
static void tell(struct bdev *b, enum bdev_event event)
{
	uint64_t number = ++b->reg->events;
	struct bdev_desc *next;

	do {
		next = NULL;
		list_each(l, &b->descs) {
			next = list_entry(l, struct bdev_desc, link);
			if (next->told < number)
				break;
			next = NULL;
		}
		if (next) {
			next->told = number;
			if (next->event)
				next->event(next, event, next->arg);
		}
	} while (next);
}

/* --- going and changing ----------------------------------------------------------------------------------- */

void bdev_unregister(struct bdev *b, void (*done)(void *arg, int rc), void *arg)
{
	if (atomic_exchange(&b->removing, true)) {
		done(arg, -EBUSY); /* somebody else removes it already */
		return;
	}
	bdev_resaved(b);
	log_debug("bdev: %s '%s' goes", b->product, b->name);
	notify(b->reg->core, NOTIFY_BDEV_UNREGISTER, "%s", b->name);
	b->unregister_done = done;
	b->unregister_arg = arg;
	b->holds++; /* until everybody was told */
	if (b->reg->going)
		b->reg->going(b->reg->going_arg, b);
	bdev_qos_removing(b);
	tell(b, BDEV_EVENT_REMOVE);
	if (b->ops->remove)
		b->ops->remove(b);
	b->holds--;
	bdev_try_destroy(b);
}

void bdev_try_destroy(struct bdev *b)
{
	if (!atomic_load(&b->removing) || b->holds || !list_empty(&b->descs) || b->destroying)
		return;
	must(atomic_load(&b->open_channels) == 0);
	b->destroying = true;
	b->ops->destroy(b);
}

void bdev_destroyed(struct bdev *b)
{
	must(b->destroying);
	list_del(&b->link);
	bdev_cores_free(b);
	if (b->unregister_done)
		b->unregister_done(b->unregister_arg, 0);
}

void bdev_resaved(struct bdev *b)
{
	b->saved_stamp = ++b->reg->saved_stamps;
}

int bdev_resize(struct bdev *b, uint64_t block_count, struct err *e)
{
	uint64_t max = (1ull << 62) / (b->block_size + b->md_size);

	if (atomic_load(&b->removing))
		return err_set(e, -ENODEV, "block device '%s' is being removed", b->name);
	if (!block_count || block_count > max)
		return err_set(e, -EINVAL, "block device '%s' cannot have %llu blocks: 1 to %llu are possible", b->name,
		               (unsigned long long)block_count, (unsigned long long)max);
	if (atomic_exchange(&b->block_count, block_count) != block_count) {
		bdev_resaved(b);
		notify(b->reg->core, NOTIFY_BDEV_RESIZE, "%s", b->name);
		b->holds++;
		tell(b, BDEV_EVENT_RESIZE);
		b->holds--;
		bdev_try_destroy(b);
	}
	return 0;
}

/* --- asking ----------------------------------------------------------------------------------------------- */

void bdev_get_info(const struct bdev_desc *desc, struct bdev_info *ret_info)
{
	bdev_info_of(desc->bdev, ret_info);
	if (likely(!desc->plain))
		return;
	ret_info->md_size = 0;
	ret_info->md_interleaved = ret_info->lends = ret_info->lends_zeroes = ret_info->lends_writes = false;
	ret_info->dif_type = 0;
}

void bdev_info_of(const struct bdev *b, struct bdev_info *ret_info)
{
	*ret_info = (struct bdev_info){
		.name = b->name, .product = b->product, .uuid = b->uuid,
		.block_size = b->block_size, .physical_block_size = b->physical_block_size,
		.md_size = b->md_size, .md_interleaved = b->md_interleaved,
		.dif_type = b->dif_type, .dif_is_head_of_md = b->dif_is_head_of_md,
		.block_count = atomic_load_explicit(&b->block_count, memory_order_relaxed),
		.ops = bdev_usable_ops(b), .native_ops = b->native_ops,
		.lends = b->lends, .lends_zeroes = b->lends && b->lends_zeroes,
		.lends_writes = b->ops->write_lend != NULL, .fua = b->fua, .read_only = b->read_only,
		.thin = b->thin, .knows_bad = b->knows_bad, .cache = b->cache,
		.optimal_io_blocks = b->optimal_io_blocks, .max_io_blocks = b->max_io_blocks,
		.max_unmap_blocks = b->max_unmap_blocks, .atomic_blocks = b->atomic_blocks,
		.atomic_boundary_blocks = b->atomic_boundary_blocks, .atomic_caw_blocks = b->atomic_caw_blocks,
		.max_caw_blocks = b->max_caw_blocks,
	};
}

uint64_t bdev_block_count(const struct bdev_desc *desc)
{
	return atomic_load_explicit(&desc->bdev->block_count, memory_order_relaxed);
}

static uint32_t lend_iovs_of_one(const struct bdev *b, uint32_t blocks)
{
	return b->ops->lend_iovs_max ? b->ops->lend_iovs_max(b, blocks) : 1;
}

/* A read that is split is lent part by part; a write is not. */
uint32_t bdev_lend_iovs_max(const struct bdev_desc *desc, uint32_t blocks)
{
	const struct bdev *b = desc->bdev;
	uint32_t part = b->max_io_blocks;

	if (!b->lends)
		return 0;
	if (!part || blocks <= part)
		return lend_iovs_of_one(b, blocks);
	return blocks / part * lend_iovs_of_one(b, part) + (blocks % part ? lend_iovs_of_one(b, blocks % part) : 0);
}

#define OP_NAME(op, name, data) name,
#define STATUS_NAME(status, text) #status,
#define STATUS_TEXT(status, text) text,
static const char *const op_names[] = { BDEV_OPS(OP_NAME) };
static const char *const status_names[] = { BDEV_STATUSES(STATUS_NAME) };
static const char *const status_texts[] = { BDEV_STATUSES(STATUS_TEXT) };

const char *bdev_op_name(enum bdev_op op)
{
	return op < BDEV_OP_COUNT ? op_names[op] : "unknown";
}

const char *bdev_status_name(enum bdev_status st)
{
	return st < BDEV_STATUS_COUNT ? status_names[st] : "UNKNOWN";
}

const char *bdev_status_text(enum bdev_status st)
{
	return st < BDEV_STATUS_COUNT ? status_texts[st] : "unknown";
}
