/* SPDX-License-Identifier: BSD-3-Clause */
/* file_open.c: open a file or block device and find out what it is. On helper threads: any of this may block.
 *
 * O_DIRECT is asked for and used where block size and alignment allow it; files in memory (tmpfs) have no use for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "backends/file/file_disk.h"

#define TMPFS_NUMBER 0x01021994
#define RAMFS_NUMBER 0x858458f6
#define FOUND_BLOCK_MAX 4096u  /* file systems that like larger transfers still have smaller blocks */
#define ALIGN_UNKNOWN 4096u    /* kernels before 6.1 do not say */

static int find_shape(int fd, const struct file_want *w, struct file_shape *s, struct err *e);

int file_open(const struct file_want *w, struct file_shape *s, struct err *e)
{
	int flags = (w->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK, fd, rc;
	struct stat st;

	/* Exclusively, for a block device: nobody writes to a disk that is mounted. A pipe must not block. */
	if (stat(w->filename, &st) == 0 && S_ISBLK(st.st_mode) && !w->read_only && !w->again)
		flags |= O_EXCL;
	fd = open(w->filename, flags);
	if (fd < 0) {
		rc = -errno;
		return err_set(e, rc, "filename: cannot open '%s': %s%s", w->filename, strerror(-rc),
		               rc == -ENOENT && w->again ? "; bring it back, or put another in its place" :
		               rc == -ENOENT ? "; make the file first (truncate -s SIZE FILE)" :
		               rc == -EBUSY ? "; it is mounted or part of another device" : "");
	}
	*s = (struct file_shape){ 0 };
	rc = find_shape(fd, w, s, e);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int file_size(int fd, bool is_block_device, uint64_t *ret_bytes)
{
	struct stat st;

	if (is_block_device)
		return ioctl(fd, BLKGETSIZE64, ret_bytes) == 0 ? 0 : -errno;
	if (fstat(fd, &st))
		return -errno;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

/* --- the parts of a shape --------------------------------------------------------------------------------- */

static void find_block_size(int fd, const struct stat *st, struct file_shape *s)
{
	unsigned physical = 0;
	int logical = 0;

	if (!s->is_block_device) {
		s->physical_block_size = s->block_size = is_pow2((uint32_t)st->st_blksize) && st->st_blksize >= 512 ?
		                         min_u32((uint32_t)st->st_blksize, FOUND_BLOCK_MAX) : FOUND_BLOCK_MAX;
		return;
	}
	s->block_size = ioctl(fd, BLKSSZGET, &logical) == 0 && logical >= 512 ? (uint32_t)logical : 512;
	s->physical_block_size = s->block_size;
	if (ioctl(fd, BLKPBSZGET, &physical) == 0 && physical > s->block_size)
		s->physical_block_size = physical;
}

static int take_block_size(const struct file_want *w, struct file_shape *s, struct err *e)
{
	if (!w->block_size)
		return 0;
	if (w->block_size < 512 || w->block_size > 65536 || !is_pow2(w->block_size))
		return err_set(e, -EINVAL, "block_size: %u is not a power of two from 512 to 65536", w->block_size);
	s->block_size = w->block_size;
	if (s->physical_block_size < w->block_size)
		s->physical_block_size = w->block_size;
	return 0;
}

/* What O_DIRECT asks of offsets and of memory; 0: it is not possible. */
static uint32_t find_alignment(int fd, const struct file_shape *s, uint32_t *ret_mem_align)
{
	*ret_mem_align = ALIGN_UNKNOWN;
#ifdef STATX_DIOALIGN
	struct statx x;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) == 0 && x.stx_mask & STATX_DIOALIGN) {
		*ret_mem_align = x.stx_dio_mem_align;
		return x.stx_dio_offset_align;
	}
#endif
	return s->is_block_device ? s->block_size : ALIGN_UNKNOWN;
}

static void try_direct(int fd, struct file_shape *s)
{
	uint32_t offset_align = find_alignment(fd, s, &s->mem_align);
	int flags = fcntl(fd, F_GETFL);

	if (!offset_align)
		s->why_buffered = "the file system has no O_DIRECT for it";
	else if (s->block_size % offset_align)
		s->why_buffered = "its blocks are smaller than O_DIRECT allows";
	else if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) != 0)
		s->why_buffered = "the file system refuses O_DIRECT";
	s->direct = !s->why_buffered;
	if (!s->mem_align)
		s->mem_align = 1;
	s->len_align = offset_align ? offset_align : 1;
}

/* "write through" means that what was answered is on the media; whatever else, it may not be. */
static bool writes_through(const struct stat *st)
{
	char path[80], text[16] = "";
	FILE *f;

	/* a partition's queue is its disk's */
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/write_cache", major(st->st_rdev), minor(st->st_rdev));
	f = fopen(path, "re");
	if (!f) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../queue/write_cache", major(st->st_rdev),
		         minor(st->st_rdev));
		f = fopen(path, "re");
	}
	if (!f)
		return false;
	if (!fgets(text, sizeof(text), f))
		text[0] = 0;
	fclose(f);
	return strncmp(text, "write through", 13) == 0;
}

static enum bdev_cache find_cache(const struct stat *st, const struct file_shape *s)
{
	if (s->in_memory)
		return BDEV_CACHE_LOST_ANYWAY;
	return s->is_block_device && s->direct && writes_through(st) ? BDEV_CACHE_NONE : BDEV_CACHE_VOLATILE;
}

static int find_shape(int fd, const struct file_want *w, struct file_shape *s, struct err *e)
{
	struct statfs fs = { 0 };
	struct stat st;
	int rc;

	if (fstat(fd, &st))
		return err_set(e, -errno, "filename: cannot look at '%s': %s", w->filename, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, -EINVAL, "filename: '%s' is neither a file nor a block device", w->filename);
	s->is_block_device = S_ISBLK(st.st_mode);
	s->dev = s->is_block_device ? st.st_rdev : st.st_dev;
	s->ino = s->is_block_device ? 0 : st.st_ino;
	if (!s->is_block_device && fstatfs(fd, &fs) == 0)
		s->in_memory = fs.f_type == TMPFS_NUMBER || (unsigned long)fs.f_type == RAMFS_NUMBER;
	rc = file_size(fd, s->is_block_device, &s->bytes);
	if (rc)
		return err_set(e, rc, "filename: cannot find the size of '%s': %s", w->filename, strerror(-rc));
	find_block_size(fd, &st, s);
	rc = take_block_size(w, s, e);
	if (rc)
		return rc;
	if (s->bytes < s->block_size || (!w->again && s->bytes % s->block_size))
		return err_set(e, -EINVAL, "filename: '%s' has %llu bytes, which is not a number of blocks of %u bytes; "
		               "change its size (truncate -s) or give another block_size", w->filename,
		               (unsigned long long)s->bytes, s->block_size);
	s->thin = !s->is_block_device && (uint64_t)st.st_blocks * 512 < s->bytes;
	if (!s->in_memory)
		try_direct(fd, s);
	s->cache = find_cache(&st, s);
	return 0;
}
