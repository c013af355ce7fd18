/* SPDX-License-Identifier: BSD-3-Clause */
/* share.h: memory shared with another process through a descriptor: a guest's, an in-flight region, a log of dirty
 * pages.
 *
 * The other side may shorten its file, and then a page of ours is gone: touching it raises SIGBUS. Zeros of our own
 * stand in for it and what comes after it, the instruction goes on, the share is marked broken and its owner is told by
 * message. Other shares, and the daemon, live on. (The kernel's own accesses give EFAULT instead, and tell nobody.)
 * A fault outside of all shares ends the process, as ever.
 *
 * In the simulator a share is heap memory found by the number of a simulated descriptor: two sides really share it.
 */
#ifndef CORE_SHARE_H
#define CORE_SHARE_H

#include "core/core.h"

#define SHARES_MAX 4096u /* of one process */

struct share;
typedef void share_fn(struct share *s);
struct share {
	uint8_t *base;        /* of the bytes asked for; NULL: not mapped */
	size_t len;
	size_t page;          /* their page size: 4 KiB, or a huge page's */
	_Atomic bool broken;  /* zeros stand in for some of it; stays so until it is unmapped */
	uint64_t offset, file[2]; /* what it shows: from where, of which file */
	void *slot;
};

/* Map `len` bytes at `offset` of a file's, neither of which need be whole pages. Nothing is touched or reserved.
 *
 * Core: any. Memory: `s` stays where it is until share_unmap(); the descriptor stays yours and may be closed at once.
 * Errors: sentence: not a file's descriptor, too short, no room. `s` is not mapped then. */
int share_map(struct share *s, int fd, uint64_t offset, size_t len, bool writable, struct err *e) MUST_USE;
/* Nobody touches it any more. On the reactor that share_on_broken() named, if it was called, and before that core is
 * freed. No effect when it is not mapped; zeroed memory is not. */
void share_unmap(struct share *s);
/* Would mapping that show the same memory? No when the file has become too short for it, or the share is broken. */
bool share_is_same(const struct share *s, int fd, uint64_t offset, size_t len);
static inline bool share_is_broken(const struct share *s) { return atomic_load(&s->broken); }

/* Call `fn` on `r`, once, when the share is found broken, or if it already was; not any more after share_unmap().
 * Once per mapping. */
void share_on_broken(struct share *s, struct reactor *r, share_fn *fn);

/* A new piece of memory that can be shared, and that nobody can shorten: a descriptor, or a negative errno with a
 * sentence. `name` is for /proc only. */
int share_make(const char *name, size_t len, struct err *e) MUST_USE;

/* The size of a file behind a descriptor; negative errno: not a file's. */
int64_t share_size(int fd);
/* A second descriptor for the same thing (close-on-exec), or negative errno. */
int core_fd_dup(int fd) MUST_USE;
/* A few bytes to or from a pipe or a file that somebody handed over, without waiting: how many, or negative errno. The
 * simulator has none: -ENOTSUP. */
ssize_t core_fd_write(int fd, const void *buf, size_t len);
ssize_t core_fd_read(int fd, void *buf, size_t len);
/* Close one that was received or made here. */
void core_fd_close(int fd);

#endif
