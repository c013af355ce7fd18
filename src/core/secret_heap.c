/* SPDX-License-Identifier: BSD-3-Clause */
/* secret_heap.c: a heap in no core dump, for a library that keeps keys in objects of its own.
 *
 * Pieces have one of a few sizes; those that were given back are used again for the same size. What is larger than all
 * of these is mapped by itself. A lock is enough: nothing that is done for each I/O allocates.
 */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/secret.h"

#define CHUNK_BYTES (1u << 20)
#define PIECE_MAX 65536u
/* 64, 96, 128, 192 ... 65536 bytes, with the head. */
#define SIZES 21u

struct piece {
	_Alignas(16) uint32_t size_class; /* SIZES: mapped by itself */
	size_t bytes;                     /* with the head */
	struct piece *next[];             /* unused ones */
};
_Static_assert(sizeof(struct piece) == 16, "what follows it is aligned as malloc()'s is");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct piece *unused[SIZES];
static uint8_t *chunk;
static size_t chunk_left;
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
	if (p)
		*p = (struct piece){ .size_class = SIZES, .bytes = bytes };
	return p;
}

static struct piece *take(uint32_t size_class)
{
	size_t bytes = class_bytes(size_class);
	struct piece *p = unused[size_class];

	if (p) {
		unused[size_class] = p->next[0];
		return p;
	}
	if (chunk_left < bytes) {
		chunk = map(CHUNK_BYTES);
		chunk_left = chunk ? CHUNK_BYTES : 0;
		if (!chunk)
			return NULL;
	}
	p = (struct piece *)(void *)chunk;
	chunk += bytes;
	chunk_left -= bytes;
	*p = (struct piece){ .size_class = size_class, .bytes = bytes };
	return p;
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
	p->next[0] = unused[p->size_class];
	unused[p->size_class] = p;
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
