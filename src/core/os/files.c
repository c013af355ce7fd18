/* SPDX-License-Identifier: BSD-3-Clause */
/* files.c: core/files.h over the kernel's files. */
#include "core/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

#define FILE_BYTES_MAX (1ull << 30)

struct files_os {
	struct files files;
	int dir, lock;
	char *path;
};

static struct files_os *os_of(struct files *f)
{
	return container_of(f, struct files_os, files);
}

static int os_lock(struct files *f, const char *name, int64_t *ret_owner)
{
	struct files_os *os = os_of(f);
	char text[32] = { 0 };
	uint64_t pid = 0;
	ssize_t n;
	int fd = openat(os->dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		int rc = -errno;

		n = pread(fd, text, sizeof(text) - 1, 0);
		text[strcspn(text, "\n")] = 0;
		*ret_owner = n > 0 && text_parse_u64(text, &pid, NULL) == 0 ? (int64_t)pid : 0;
		close(fd);
		return rc;
	}
	n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n) {
		int rc = errno ? -errno : -ENOSPC;

		close(fd);
		return rc;
	}
	os->lock = fd;
	return 0;
}

static int os_open(struct files *f, const char *name, bool make)
{
	int fd = openat(os_of(f)->dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0), 0600);

	return fd < 0 ? -errno : fd;
}

static int os_read_all(struct files *f, int handle, char **ret_bytes, size_t *ret_len)
{
	struct stat st;
	size_t len = 0;
	char *bytes;

	if (fstat(handle, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size > FILE_BYTES_MAX)
		return -EFBIG;
	bytes = base_zalloc((size_t)st.st_size + 1);
	while (len < (size_t)st.st_size) {
		ssize_t n = pread(handle, bytes + len, (size_t)st.st_size - len, (off_t)len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int rc = -errno;

			free(bytes);
			return rc;
		}
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_bytes = bytes;
	*ret_len = len;
	return 0;
}

static int os_write(struct files *f, int handle, uint64_t at, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = pwrite(handle, bytes, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		at += (uint64_t)n;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

static int os_sync(struct files *f, int handle)
{
	return fdatasync(handle) ? -errno : 0;
}

static int os_truncate(struct files *f, int handle, uint64_t len)
{
	return ftruncate(handle, (off_t)len) ? -errno : 0;
}

static void os_close(struct files *f, int handle)
{
	close(handle);
}

static int os_rename(struct files *f, const char *from, const char *to)
{
	struct files_os *os = os_of(f);

	return renameat(os->dir, from, os->dir, to) ? -errno : 0;
}

static int os_remove(struct files *f, const char *name)
{
	return unlinkat(os_of(f)->dir, name, 0) ? -errno : 0;
}

static int os_sync_names(struct files *f)
{
	return fsync(os_of(f)->dir) ? -errno : 0;
}

static void os_free(struct files *f)
{
	struct files_os *os = os_of(f);

	if (os->lock >= 0)
		close(os->lock);
	close(os->dir);
	free(os->path);
	free(os);
}

static const struct files_ops os_ops = {
	os_lock, os_open, os_read_all, os_write, os_sync, os_truncate, os_close, os_rename, os_remove, os_sync_names,
	        os_free,
};

/* That the directory itself has a name is the parent's to keep. */
static int sync_parent(int dir)
{
	int parent = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (parent < 0)
		return -errno;
	rc = fsync(parent) ? -errno : 0;
	close(parent);
	return rc;
}

struct files *files_os_open(const char *path, struct err *e)
{
	struct files_os *os;
	bool made = mkdir(path, 0700) == 0;
	int dir;

	if (!made && errno != EEXIST) {
		err_set(e, -errno, "%s cannot be made: %s", path, strerror(errno));
		return NULL;
	}
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		err_set(e, -errno, "%s cannot be opened: %s", path, strerror(errno));
		return NULL;
	}
	if (made)
		sync_parent(dir); /* one that may not be read cannot be synced: nothing to be done about that */
	os = base_zalloc(sizeof(*os));
	os->path = base_strdup(path);
	os->files.ops = &os_ops;
	os->files.path = os->path;
	os->dir = dir;
	os->lock = -1;
	return &os->files;
}
