/* SPDX-License-Identifier: BSD-3-Clause */
/* secret.c: pages of their own for secrets; small ones share them: each connection with TLS has two. */
#include "core/secret.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SMALL_BYTES 64u
#define SLAB_BYTES 16384u /* of small ones, which is kept */

/* Before each piece. */
struct head {
	_Alignas(64) size_t mapped; /* 0: it is a small one */
	struct head *next;          /* that is unused, too */
};
struct small {
	struct head head;
	uint8_t bytes[SMALL_BYTES];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct head *unused;

/* Where the process may not lock more (RLIMIT_MEMLOCK) it goes on: what matters most is that no dump has it. A child
 * of ours has no use for it either. */
static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED);
	(void)madvise(p, bytes, MADV_DONTDUMP);
	(void)madvise(p, bytes, MADV_WIPEONFORK);
	(void)mlock(p, bytes);
	return p;
}

static void put_small(struct head *h)
{
	h->next = unused;
	unused = h;
}

static void *small_zalloc(void)
{
	struct head *h;

	pthread_mutex_lock(&lock);
	if (!unused) {
		struct small *slab = map(SLAB_BYTES);

		for (size_t i = 0; i < SLAB_BYTES / sizeof(*slab); i++)
			put_small(&slab[i].head);
	}
	h = unused;
	unused = h->next;
	pthread_mutex_unlock(&lock);
	return h + 1;
}

void *secret_zalloc(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), mapped = align_up(sizeof(struct head) + bytes, page);
	struct head *h;

	if (bytes <= SMALL_BYTES)
		return small_zalloc();
	h = map(mapped);
	h->mapped = mapped;
	return h + 1;
}

void secret_free(void *p)
{
	struct head *h = p;

	if (!p)
		return;
	h--;
	explicit_bzero(p, h->mapped ? h->mapped - sizeof(*h) : SMALL_BYTES);
	if (h->mapped) {
		munmap(h, h->mapped);
		return;
	}
	pthread_mutex_lock(&lock);
	put_small(h);
	pthread_mutex_unlock(&lock);
}

char *secret_strdup(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(secret_zalloc(size), text, size);
}
