/* SPDX-License-Identifier: BSD-3-Clause */
/* secret.c: pages of their own for secrets. Those of two sizes share them, since of these there are many: keys as they
 * are configured, and what a connection with TLS has of each of its directions. */
#include "core/secret.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/log.h"

#define SIZES 2u
#define SLAB_BYTES 16384u /* of pieces of one size, which is kept */

static const uint32_t size_bytes[SIZES] = { 128, 1280 };

/* Before each piece. */
struct head {
	_Alignas(64) size_t bytes; /* without the head */
	uint32_t size;             /* SIZES: mapped by itself */
	struct head *next;         /* that is unused, too */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct head *unused[SIZES];

/* Where the process may not lock more (RLIMIT_MEMLOCK) it goes on: what matters most is that no dump has it. */
bool secret_lock(void *p, size_t bytes)
{
	static _Atomic bool told;

	if (!mlock2(p, bytes, MLOCK_ONFAULT))
		return true;
	if (!atomic_exchange(&told, true))
		log_debug("%zu bytes of secrets cannot be kept from the swap (%s; RLIMIT_MEMLOCK), nor may more", bytes,
		          strerror(errno));
	return false;
}

/* A child of ours has no use for it. */
static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED);
	(void)madvise(p, bytes, MADV_DONTDUMP);
	(void)madvise(p, bytes, MADV_WIPEONFORK);
	(void)secret_lock(p, bytes);
	return p;
}

static void put(struct head *h)
{
	h->next = unused[h->size];
	unused[h->size] = h;
}

static struct head *take(uint32_t size)
{
	size_t each = sizeof(struct head) + size_bytes[size];
	struct head *h;

	pthread_mutex_lock(&lock);
	if (!unused[size]) {
		uint8_t *slab = map(SLAB_BYTES);

		for (size_t at = 0; at + each <= SLAB_BYTES; at += each) {
			h = (struct head *)(void *)(slab + at);
			h->bytes = size_bytes[size];
			h->size = size;
			put(h);
		}
	}
	h = unused[size];
	unused[size] = h->next;
	pthread_mutex_unlock(&lock);
	return h;
}

void *secret_zalloc(size_t bytes)
{
	size_t mapped = align_up(sizeof(struct head) + bytes, (size_t)sysconf(_SC_PAGESIZE));
	struct head *h;

	for (uint32_t size = 0; size < SIZES; size++)
		if (bytes <= size_bytes[size])
			return take(size) + 1;
	h = map(mapped);
	h->bytes = mapped - sizeof(*h);
	h->size = SIZES;
	return h + 1;
}

void secret_free(void *p)
{
	struct head *h = p;

	if (!p)
		return;
	h--;
	explicit_bzero(p, h->bytes);
	if (h->size == SIZES) {
		munmap(h, sizeof(*h) + h->bytes);
		return;
	}
	pthread_mutex_lock(&lock);
	put(h);
	pthread_mutex_unlock(&lock);
}

char *secret_strdup(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(secret_zalloc(size), text, size);
}
