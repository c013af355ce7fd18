/* SPDX-License-Identifier: BSD-3-Clause */
/* file.c: secrets in files. A file that others could read, or could have put there, is refused. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keyring/keyring.h"
#include "keyring/keyring_priv.h"

/* O_NONBLOCK: a pipe of that name would be waited for. */
static int open_checked(const char *path, struct err *e)
{
	struct stat st;
	int fd, rc = 0;

	if (path[0] != '/')
		return err_set(e, -EPERM, "path: '%s' is relative to nobody knows what; give it from the root", path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return err_set(e, -errno, "path: key file '%s' cannot be opened: %s", path, strerror(errno));
	if (fstat(fd, &st))
		rc = err_set(e, -errno, "path: key file '%s' cannot be looked at: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		rc = err_set(e, -EINVAL, "path: '%s' is not a regular file", path);
	else if (st.st_uid != geteuid())
		rc = err_set(e, -EPERM, "path: key file '%s' belongs to user %u and the daemon runs as %u; chown it", path,
		             st.st_uid, geteuid());
	else if (st.st_mode & 077)
		rc = err_set(e, -EPERM, "path: key file '%s' has mode %04o, so that others can use it; chmod 0600 or 0400",
		             path, st.st_mode & 07777u);
	else if (st.st_size > KEYRING_SECRET_MAX)
		rc = err_set(e, -EINVAL, "path: key file '%s' has %lld bytes; no key has more than %u", path,
		             (long long)st.st_size, KEYRING_SECRET_MAX);
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

int keyring_file_check(const char *path, struct err *e)
{
	int fd = open_checked(path, e);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int keyring_file_read(const char *path, char *buf, size_t cap, size_t *ret_len, struct err *e)
{
	int fd = open_checked(path, e);
	ssize_t got;
	size_t len = 0;

	if (fd < 0)
		return fd;
	while ((got = read(fd, buf + len, cap - len)) > 0)
		len += (size_t)got;
	if (got < 0)
		err_set(e, -errno, "path: key file '%s' cannot be read: %s", path, strerror(errno));
	close(fd);
	if (got < 0)
		return e->code;
	*ret_len = len;
	return 0;
}
