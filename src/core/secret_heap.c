/* SPDX-License-Identifier: BSD-3-Clause */
/* secret_heap.c: a heap in no core dump, for a library that keeps keys in objects of its own.
 *
 * Pieces have one of a few sizes, and are cut from chunks; those that were given back are used again for the same size,
 * and a chunk of which none is out is given back whole, but for the one that is being cut. What is larger than all of
 * these is mapped by itself. A lock is enough: nothing that is done for each I/O allocates.
 */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/list.h"
#include "core/secret.h"

#define CHUNK_BYTES (1u << 20)
#define PIECE_MAX 65536u
/* 64, 96, 128, 192 ... 65536 bytes, with the head. */
#define SIZES 21u

struct chunk {
	_Alignas(16) uint32_t out;        /* pieces */
	uint32_t cut;                     /* bytes, this head among them */
	bool locked;
};
struct piece {
	_Alignas(16) uint32_t size_class; /* SIZES: mapped by itself */
	uint32_t at;                      /* in its chunk */
	size_t bytes;                     /* with the head */
	struct list link[];               /* of an unused one */
};
_Static_assert(sizeof(struct piece) == 16, "what follows it is aligned as malloc()'s is");
_Static_assert(sizeof(struct chunk) == 16, "and the first one, too");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list unused[SIZES];
static struct chunk *cutting;
static _Atomic uint64_t mapped;

static size_t class_bytes(uint32_t size_class)
{
	return (size_class & 1 ? 96ull : 64ull) << size_class / 2;
}

static uint32_t class_of(size_t bytes)
{
	uint32_t size_class = 0;

	while (class_bytes(size_class) < bytes)
		size_class++;
	return size_class;
}

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	(void)madvise(p, bytes, MADV_DONTDUMP);
	mapped += bytes;
	return p;
}

static struct piece *map_large(size_t bytes)
{
	struct piece *p;

	bytes = align_up(bytes, (size_t)sysconf(_SC_PAGESIZE));
	p = map(bytes);
	if (!p)
		return NULL;
	(void)secret_lock(p, bytes);
	*p = (struct piece){ .size_class = SIZES, .bytes = bytes };
	return p;
}

static struct piece *piece_at(struct chunk *c, uint32_t at) { return (struct piece *)(void *)((uint8_t *)c + at); }
static struct chunk *chunk_of(struct piece *p) { return (struct chunk *)(void *)((uint8_t *)p - p->at); }

static struct piece *cut(uint32_t size_class)
{
	uint32_t bytes = (uint32_t)class_bytes(size_class);
	struct piece *p;

	if (!cutting || CHUNK_BYTES - cutting->cut < bytes) {
		struct chunk *c = map(CHUNK_BYTES);

		if (!c)
			return NULL;
		cutting = c;
		c->locked = secret_lock(c, CHUNK_BYTES);
		c->cut = sizeof(*c);
	}
	p = piece_at(cutting, cutting->cut);
	*p = (struct piece){ .size_class = size_class, .at = cutting->cut, .bytes = bytes };
	cutting->cut += bytes;
	return p;
}

static struct piece *take(uint32_t size_class)
{
	struct list *l = &unused[size_class];
	struct piece *p;

	if (!l->next)
		list_init(l);
	if (list_empty(l)) {
		p = cut(size_class);
	} else {
		p = (struct piece *)(void *)((uint8_t *)l->next - offsetof(struct piece, link));
		list_pop(l);
	}
	if (p)
		chunk_of(p)->out++;
	return p;
}

static void put(struct piece *p)
{
	struct chunk *c = chunk_of(p);

	list_add_head(&unused[p->size_class], &p->link[0]);
	if (--c->out)
		return;
	for (uint32_t at = sizeof(*c); at < c->cut; at += (uint32_t)p->bytes) {
		p = piece_at(c, at);
		list_del(&p->link[0]);
	}
	c->cut = sizeof(*c);
	if (c == cutting)
		return;
	mapped -= CHUNK_BYTES;
	munmap(c, CHUNK_BYTES);
	/* The one that stays is the one that came last: where that was too much to lock, it need not be now. */
	if (!cutting->locked)
		cutting->locked = secret_lock(cutting, CHUNK_BYTES);
}

void *secret_heap_alloc(size_t bytes)
{
	struct piece *p;

	if (!bytes || bytes > SIZE_MAX / 2)
		return NULL;
	bytes += sizeof(*p);
	if (bytes > PIECE_MAX) {
		p = map_large(bytes);
	} else {
		pthread_mutex_lock(&lock);
		p = take(class_of(bytes));
		pthread_mutex_unlock(&lock);
	}
	return p ? p + 1 : NULL;
}

void secret_heap_free(void *at)
{
	struct piece *p = at;

	if (!at)
		return;
	p--;
	if (p->size_class == SIZES) {
		mapped -= p->bytes;
		munmap(p, p->bytes);
		return;
	}
	explicit_bzero(at, p->bytes - sizeof(*p));
	pthread_mutex_lock(&lock);
	put(p);
	pthread_mutex_unlock(&lock);
}

void *secret_heap_realloc(void *at, size_t bytes)
{
	size_t had = at ? ((struct piece *)at - 1)->bytes - sizeof(struct piece) : 0;
	void *to;

	if (at && bytes && bytes <= had)
		return at;
	to = secret_heap_alloc(bytes);
	if (to && at)
		memcpy(to, at, had);
	if (to || !bytes)
		secret_heap_free(at);
	return to;
}

uint64_t secret_heap_bytes(void) { return mapped; }
