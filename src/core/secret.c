/* SPDX-License-Identifier: BSD-3-Clause */
/* secret.c: pages of their own for secrets. */
#include "core/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Before each piece, in its first page. */
struct head {
	_Alignas(64) size_t mapped;
};

/* Where the process may not lock more (RLIMIT_MEMLOCK) it goes on: what matters most is that no dump has it. A child
 * of ours has no use for it either. */
void *secret_zalloc(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), mapped = align_up(sizeof(struct head) + bytes, page);
	struct head *h = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(h != MAP_FAILED);
	(void)madvise(h, mapped, MADV_DONTDUMP);
	(void)madvise(h, mapped, MADV_WIPEONFORK);
	(void)mlock(h, mapped);
	h->mapped = mapped;
	return h + 1;
}

void secret_free(void *p)
{
	struct head *h = p;

	if (!p)
		return;
	h--;
	explicit_bzero(p, h->mapped - sizeof(*h));
	munmap(h, h->mapped);
}

char *secret_strdup(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(secret_zalloc(size), text, size);
}
