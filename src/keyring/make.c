/* SPDX-License-Identifier: BSD-3-Clause */
/* make.c: new key files: whole or not there at all, never over another one, and nobody else's from the start. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keyring/keyring.h"

#define PATH_BYTES 4096u

static int dir_of(const char *path, char dir[static PATH_BYTES], struct err *e)
{
	const char *slash = strrchr(path, '/');

	if (path[0] != '/' || !slash[1] || strlen(path) >= PATH_BYTES - 16)
		return err_set(e, -EINVAL, "path: '%s' is no file's path from the root", path);
	snprintf(dir, PATH_BYTES, "%.*s", slash == path ? 1 : (int)(slash - path), path);
	return 0;
}

static int write_all(int fd, const char *text)
{
	size_t len = strlen(text), at = 0;

	while (at < len) {
		ssize_t wrote = write(fd, text + at, len - at);

		if (wrote < 0)
			return -errno;
		at += (size_t)wrote;
	}
	return fsync(fd) ? -errno : 0;
}

static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		rc = -errno;
	close(fd);
	return rc;
}

/* Under a name of its own first; link() gives it the other one only if nobody has that. */
static int write_and_link(const char *dir, const char *path, const char *text)
{
	char temp[PATH_BYTES + 16];
	int fd, rc;

	snprintf(temp, sizeof(temp), "%s/.new-XXXXXX", dir);
	fd = mkostemp(temp, O_CLOEXEC); /* mode 0600 */
	if (fd < 0)
		return -errno;
	rc = write_all(fd, text);
	close(fd);
	if (!rc && link(temp, path))
		rc = -errno;
	unlink(temp);
	return rc ? rc : sync_dir(dir);
}

int keyring_file_make(const char *path, const char *text, struct err *e)
{
	char dir[PATH_BYTES];
	int rc;

	if (dir_of(path, dir, e))
		return e->code;
	if (mkdir(dir, 0700) && errno != EEXIST)
		return err_set(e, -errno, "path: directory '%s' cannot be made: %s", dir, strerror(errno));
	rc = write_and_link(dir, path, text);
	if (rc == -EEXIST)
		return err_set(e, rc, "path: '%s' is there already, and keys are never written over others; choose another "
		               "name or path", path);
	if (rc)
		return err_set(e, rc, "path: key file '%s' cannot be written: %s", path, strerror(-rc));
	return 0;
}

int keyring_file_delete(const char *path, struct err *e)
{
	char dir[PATH_BYTES];

	if (dir_of(path, dir, e))
		return e->code;
	if (unlink(path) && errno != ENOENT)
		return err_set(e, -errno, "path: key file '%s' cannot be deleted: %s", path, strerror(errno));
	(void)sync_dir(dir);
	return 0;
}
