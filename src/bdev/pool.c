/* SPDX-License-Identifier: BSD-3-Clause */
/* pool.c: contexts of I/Os, one pool per device and core, with a wait that has a name.
 *
 * A pool grows by whole chunks up to its limit, so that a device that is used deeper than it was when its channel was
 * opened still works, and never by one I/O. At the limit an I/O waits in line; whoever gives a context back
 * wakes the line, later in the same pass.
 */
#include "bdev/bdev_waist.h"

struct chunk {
	struct queue_link link;
	CACHE_ALIGNED char objects[];
};

static bool grow(struct bdev_pool *p);
static void wake(struct defer *d);

void bdev_pool_init(struct bdev_pool *p, struct bdev_core *core, const char *name, uint32_t size, uint32_t chunk,
                    uint32_t max, void (*again)(struct bdev_channel *ch, struct bdev_io *io))
{
	*p = (struct bdev_pool){ .name = name, .chunk = chunk, .max = max, .core = core, .again = again };
	p->size = size ? align_up(size, CACHE_LINE) : 0;
	queue_init(&p->waiting);
}

void bdev_pool_fini(struct bdev_pool *p)
{
	must(p->used == 0 && queue_empty(&p->waiting));
	while (p->chunks) {
		struct chunk *c = container_of(p->chunks, struct chunk, link);

		p->chunks = c->link.next;
		free(c);
	}
	p->free = NULL;
	p->made = 0;
}

void *bdev_pool_take(struct bdev_pool *p, struct bdev_io *io)
{
	struct queue_link *object;

	/* First come, first served: who has not waited does not pass those who do. */
	if (unlikely((!queue_empty(&p->waiting) && !p->granting) || (!p->free && !grow(p)))) {
		p->waits++;
		bdev_wait_begins(p->name);
		queue_push(&p->waiting, &io->link);
		return NULL;
	}
	object = p->free;
	p->free = object->next;
	if (++p->used > p->used_max)
		p->used_max = p->used;
	return object;
}

void bdev_pool_give(struct bdev_pool *p, void *object)
{
	struct queue_link *l = object;

	assert(p->used > 0);
	p->used--;
	l->next = p->free;
	p->free = l;
	if (unlikely(!queue_empty(&p->waiting)))
		defer_run(&p->wake, wake);
}

static void wake(struct defer *d)
{
	struct bdev_pool *p = container_of(d, struct bdev_pool, wake);

	while (p->free && !queue_empty(&p->waiting)) {
		struct bdev_io *io = container_of(queue_pop(&p->waiting), struct bdev_io, link);

		bdev_wait_ends(p->name, io);
		p->granting = true;
		p->again(io->ch, io);
		p->granting = false;
	}
}

static bool grow(struct bdev_pool *p)
{
	uint32_t count = min_u32(p->chunk, p->max - p->made);
	struct chunk *c;

	if (!count)
		return false;
	c = base_zalloc_aligned(CACHE_LINE, sizeof(*c) + (size_t)count * p->size);
	c->link.next = p->chunks;
	p->chunks = &c->link;
	p->made += count;
	for (uint32_t i = count; i-- > 0;) {
		struct queue_link *l = (struct queue_link *)(c->objects + (size_t)i * p->size);

		l->next = p->free;
		p->free = l;
	}
	return true;
}
