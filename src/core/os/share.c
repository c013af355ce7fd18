/* SPDX-License-Identifier: BSD-3-Clause */
/* share.c: core/share.h over mmap(), and the handler that saves who touches a page that is gone.
 *
 * The handler runs on the thread that touched the page, at any place. What it needs lies in a fixed table of ranges
 * that is read without locks: a range's slot is complete before its address can be found, and it is given back only
 * when nobody touches the range any more. The message to the owner lies in the slot too, so that a share can go while
 * it is on its way.
 */
#include "core/share.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/os/os.h"

#define PAGES_SINGLY 4u /* so many faults of one range are given a page each; then twice as much each time */

struct slot {
	_Atomic uintptr_t begin;       /* 0: not to be found by the handler */
	_Atomic size_t len;
	_Atomic bool taken;
	size_t page;
	int prot;
	_Atomic uint32_t faults;
	struct share *_Atomic share;   /* NULL: unmapped */
	struct reactor *_Atomic owner; /* set after fn */
	share_fn *fn;
	_Atomic bool told;             /* msg was sent */
	bool heard;                    /* and has run; owner's */
	struct msg msg;
};

static struct slot slots[SHARES_MAX];
static _Atomic uint32_t slots_used; /* those before it */
static struct sigaction before;
static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;

static int check_file(int fd, uint64_t offset, size_t len, size_t *ret_page, struct err *e);
static void file_of(int fd, uint64_t ret_file[static 2]);
static struct slot *take_slot(void);
static void give_slot(struct slot *slot);
static void tell(struct slot *slot);
static void told_on_core(struct msg *m);
static void guard_shares(void);
static void on_fault(int signo, siginfo_t *info, void *context);
static struct slot *find(uintptr_t at);
static bool stand_in(struct slot *slot, uintptr_t at, bool one_page);

/* --- mapping --- */

int share_map(struct share *s, int fd, uint64_t offset, size_t len, bool writable, struct err *e)
{
	int prot = PROT_READ | (writable ? PROT_WRITE : 0), rc;
	struct slot *slot;
	uint64_t begin;
	size_t page = (size_t)sysconf(_SC_PAGESIZE), whole;
	uint8_t *at;

	*s = (struct share){ 0 };
	rc = check_file(fd, offset, len, &page, e);
	if (rc)
		return rc;
	guard_shares();
	slot = take_slot();
	if (!slot)
		return err_set(e, -ENOSPC, "shared memory cannot be mapped: %u pieces are, and there is no room for more",
		               SHARES_MAX);
	begin = offset & ~(uint64_t)(page - 1);
	whole = align_up(offset - begin + len, page);
	at = mmap(NULL, whole, prot, MAP_SHARED | MAP_NORESERVE, fd, (off_t)begin);
	if (at == MAP_FAILED) {
		rc = err_set(e, -errno, "%zu bytes of shared memory cannot be mapped: %s", len, strerror(errno));
		give_slot(slot);
		return rc;
	}
	(void)madvise(at, whole, MADV_DONTDUMP); /* a guest's memory is not ours to keep */
	s->base = at + (offset - begin);
	s->len = len;
	s->page = page;
	s->offset = offset;
	file_of(fd, s->file);
	s->slot = slot;
	slot->page = page;
	slot->prot = prot;
	atomic_store(&slot->share, s);
	atomic_store(&slot->len, whole);
	atomic_store(&slot->begin, (uintptr_t)at);
	return 0;
}

/* Only what is a file, of memory or on a disk: a device's pages are not ours to stand in for. */
static int check_file(int fd, uint64_t offset, size_t len, size_t *ret_page, struct err *e)
{
	int64_t size = share_size(fd);
	struct statfs fs;

	if (size < 0)
		return err_set(e, (int)size, "descriptor %d cannot be mapped: it is not memory or a file", fd);
	if (!len)
		return err_set(e, -EINVAL, "no bytes of descriptor %d were asked for", fd);
	if (offset > (uint64_t)size || len > (uint64_t)size - offset)
		return err_set(e, -ERANGE, "descriptor %d cannot be mapped: its file has %lld bytes, and %zu at %llu were "
		               "asked for", fd, (long long)size, len, (unsigned long long)offset);
	if (!fstatfs(fd, &fs) && fs.f_type == HUGETLBFS_MAGIC)
		*ret_page = (size_t)fs.f_bsize;
	return 0;
}

/* A mapping keeps its file: the numbers are nobody else's until it goes. */
static void file_of(int fd, uint64_t ret_file[static 2])
{
	struct stat st;

	must(fstat(fd, &st) == 0);
	ret_file[0] = st.st_dev;
	ret_file[1] = st.st_ino;
}

bool share_is_same(const struct share *s, int fd, uint64_t offset, size_t len)
{
	uint64_t file[2];
	size_t page;
	struct err e = { 0 };

	if (!s->slot || share_is_broken(s) || s->offset != offset || s->len != len ||
	    check_file(fd, offset, len, &page, &e))
		return false;
	file_of(fd, file);
	return file[0] == s->file[0] && file[1] == s->file[1];
}

void share_unmap(struct share *s)
{
	struct slot *slot = s->slot;
	void *at;

	if (!slot)
		return;
	assert(!atomic_load(&slot->owner) || atomic_load(&slot->owner) == reactor_current);
	at = (void *)atomic_exchange(&slot->begin, 0);
	must(munmap(at, atomic_load(&slot->len)) == 0);
	s->base = NULL;
	s->slot = NULL;
	atomic_store(&slot->share, NULL);
	if (!atomic_load(&slot->told) || slot->heard)
		give_slot(slot);
}

static struct slot *take_slot(void)
{
	for (uint32_t i = 0; i < SHARES_MAX; i++) {
		struct slot *slot = &slots[i];
		uint32_t used = atomic_load(&slots_used);

		if (atomic_exchange(&slot->taken, true))
			continue;
		while (used <= i && !atomic_compare_exchange_weak(&slots_used, &used, i + 1))
			;
		return slot;
	}
	return NULL;
}

static void give_slot(struct slot *slot)
{
	atomic_store(&slot->faults, 0);
	atomic_store(&slot->owner, NULL);
	atomic_store(&slot->told, false);
	slot->heard = false;
	atomic_store(&slot->taken, false);
}

/* --- telling --- */

/* Whoever comes second of the owner and the fault sees the other, and tells. */
void share_on_broken(struct share *s, struct reactor *r, share_fn *fn)
{
	struct slot *slot = s->slot;

	assert(!atomic_load(&slot->owner));
	slot->fn = fn;
	atomic_store(&slot->owner, r);
	if (atomic_load(&s->broken))
		tell(slot);
}

static void tell(struct slot *slot)
{
	struct reactor *owner = atomic_load(&slot->owner);

	if (owner && !atomic_exchange(&slot->told, true))
		msg_send_from_signal(owner, &slot->msg, told_on_core);
}

static void told_on_core(struct msg *m)
{
	struct slot *slot = container_of(m, struct slot, msg);
	struct share *s = atomic_load(&slot->share);

	slot->heard = true;
	if (s)
		slot->fn(s);
	else
		give_slot(slot);
}

/* --- the fault --- */

/* With each share: a library may have put another handler in its place. */
static void guard_shares(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK }, now;

	pthread_mutex_lock(&installing);
	must(sigaction(SIGBUS, NULL, &now) == 0);
	if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_fault) {
		before = now;
		must(sigaction(SIGBUS, &sa, NULL) == 0);
	}
	pthread_mutex_unlock(&installing);
}

/* What is not ours happens once more, to who would have had it. */
static void on_fault(int signo, siginfo_t *info, void *context)
{
	int saved = errno;
	uintptr_t at = (uintptr_t)info->si_addr;
	struct slot *slot = info->si_code > 0 ? find(at) : NULL;
	struct share *s = slot ? atomic_load(&slot->share) : NULL;

	if (s && stand_in(slot, at, info->si_code != BUS_ADRERR)) {
		atomic_store(&s->broken, true);
		tell(slot);
		errno = saved;
		return;
	}
	sigaction(signo, &before, NULL);
	if (info->si_code <= 0)
		raise(signo);
}

static struct slot *find(uintptr_t at)
{
	uint32_t count = atomic_load(&slots_used);

	for (uint32_t i = 0; i < count; i++) {
		uintptr_t begin = atomic_load(&slots[i].begin);

		if (begin && at >= begin && at - begin < atomic_load(&slots[i].len))
			return &slots[i];
	}
	return NULL;
}

/* A file that was shortened has lost all that follows. But huge pages that ran out are missed one by one, and of what
 * is there as little as possible shall be hidden. Page by page to the end a process could not have so many mappings. */
static bool stand_in(struct slot *slot, uintptr_t at, bool one_page)
{
	uintptr_t begin = atomic_load(&slot->begin);
	size_t first = (at - begin) / slot->page, left = atomic_load(&slot->len) / slot->page - first;
	uint32_t faults = atomic_fetch_add(&slot->faults, 1);
	size_t pages = one_page || faults < PAGES_SINGLY ? 1 : (size_t)1 << min_u32(faults - PAGES_SINGLY + 1, 40);
	void *want = (void *)(begin + first * slot->page);

	/* the bare call: to a sanitizer mmap() is a write to all of it, and it does not expect that in a handler */
	return (uintptr_t)syscall(SYS_mmap, want, min_u64(pages, left) * slot->page, slot->prot,
	                          MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == (uintptr_t)want;
}

/* --- descriptors --- */

int share_make(const char *name, size_t len, struct err *e)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), rc;

	if (fd < 0)
		return err_set(e, -errno, "no shared memory can be made: %s", strerror(errno));
	if (!ftruncate(fd, (off_t)len) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		return fd;
	rc = err_set(e, -errno, "%zu bytes of shared memory cannot be made: %s", len, strerror(errno));
	close(fd);
	return rc;
}

int64_t share_size(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	return S_ISREG(st.st_mode) ? st.st_size : -EINVAL;
}

int core_fd_dup(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? -errno : copy;
}

/* Whoever has the other end never has this one, so that it may as well be changed. */
static int do_not_wait(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? -errno : 0;
}

ssize_t core_fd_write(int fd, const void *buf, size_t len)
{
	ssize_t n = do_not_wait(fd);

	if (n)
		return n;
	n = write(fd, buf, len);
	return n < 0 ? -errno : n;
}

ssize_t core_fd_read(int fd, void *buf, size_t len)
{
	ssize_t n = do_not_wait(fd);

	if (n)
		return n;
	n = read(fd, buf, len);
	return n < 0 ? -errno : n;
}

void core_fd_close(int fd)
{
	close(fd);
}
