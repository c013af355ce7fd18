/* SPDX-License-Identifier: BSD-3-Clause */
/* unix_path.c: the name of a listening UNIX socket: private from its first moment, and one owner at a time.
 *
 * Between finding that a socket is stale and having replaced it, another daemon could do the same, and one
 * would remove the other's. Whoever binds therefore holds a lock until it listens: a socket in the abstract
 * namespace, named after the path, which leaves no file behind and ends with the process.
 */
#include "net/os/unix_path.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h> /* its basename() */
#include <sys/socket.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/text.h"
#include "net/os/sock.h"

#define PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)
#define PROCESS_NAME_MAX 64

static int lock_path(const char *path, struct err *e);
static int bind_path(int fd, const struct net_addr *addr, struct err *e);
static int remove_stale(const struct net_addr *addr, struct err *e);
static int say_in_use(int probe, const char *path, struct err *e);
static void process_name(uint32_t pid, char buf[static PROCESS_NAME_MAX]);

int unix_path_listen(struct unix_path *u, int fd, const struct net_addr *addr, int backlog, struct err *e)
{
	const char *path = addr->un.sun_path;
	struct stat st;
	int lock = lock_path(path, e), rc;

	if (lock < 0)
		return lock;
	rc = bind_path(fd, addr, e);
	if (!rc && (listen(fd, backlog) || lstat(path, &st)))
		rc = err_set(e, -errno, "cannot listen on %s: %s", path, strerror(errno));
	close(lock);
	if (rc)
		return rc;
	memcpy(u->path, path, sizeof(u->path));
	u->dev = st.st_dev;
	u->ino = st.st_ino;
	return 0;
}

/* Returns the lock's descriptor. However the directory is spelt, its name here is the same. */
static int lock_path(const char *path, struct err *e)
{
	struct net_addr name = { .un.sun_family = AF_UNIX };
	char dir_buf[PATH_SIZE], base_buf[PATH_SIZE], *dir, *base;
	struct text t = text_over(name.un.sun_path + 1, PATH_SIZE - 1);
	struct stat st;
	int fd, error;

	memcpy(dir_buf, path, PATH_SIZE);
	memcpy(base_buf, path, PATH_SIZE);
	dir = dirname(dir_buf);
	base = basename(base_buf);
	if (stat(dir, &st))
		return err_set(e, -errno, "cannot listen on %s: directory %s: %s", path, dir, strerror(errno));
	text_add(&t, "gantry-%llx-%llx-%08x", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
	         crc32c_update(CRC32C_START, base, strlen(base)));
	name.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + t.len);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, -errno, "cannot listen on %s: no socket can be opened: %s", path, strerror(errno));
	if (!bind(fd, &name.any, name.len))
		return fd;
	error = errno;
	close(fd);
	return err_set(e, -error, "cannot listen on %s: %s; try again or choose another path", path,
	               error == EADDRINUSE ? "another process is about to" : strerror(error));
}

static int bind_path(int fd, const struct net_addr *addr, struct err *e)
{
	int rc;

	/* Linux makes the file with the socket's own mode: it never exists with another. */
	if (fchmod(fd, 0600))
		return err_set(e, -errno, "cannot listen on %s: its mode cannot be set: %s", addr->un.sun_path,
		               strerror(errno));
	if (!bind(fd, &addr->any, addr->len))
		return 0;
	if (errno != EADDRINUSE)
		return err_set(e, -errno, "cannot listen on %s: %s", addr->un.sun_path, strerror(errno));
	rc = remove_stale(addr, e);
	if (rc)
		return rc;
	if (bind(fd, &addr->any, addr->len))
		return err_set(e, -errno, "cannot listen on %s: %s", addr->un.sun_path, strerror(errno));
	return 0;
}

static int remove_stale(const struct net_addr *addr, struct err *e)
{
	const char *path = addr->un.sun_path;
	struct stat st;
	int probe, error;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : err_set(e, -errno, "cannot listen on %s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, -EEXIST, "cannot listen on %s: it exists and is not a socket; choose another path", path);
	probe = sock_open_fd(addr, e);
	if (probe < 0)
		return probe;
	error = connect(probe, &addr->any, addr->len) ? errno : 0;
	if (!error || error == EAGAIN) /* EAGAIN: alive, with a full queue */
		error = say_in_use(probe, path, e);
	else if (error != ECONNREFUSED && error != ENOENT)
		error = err_set(e, -error, "cannot listen on %s: a socket exists there that cannot be tried: %s", path,
		                strerror(error));
	else if (unlink(path) && errno != ENOENT)
		error = err_set(e, -errno, "cannot listen on %s: the socket left there cannot be removed: %s", path,
		                strerror(errno));
	else
		error = 0;
	close(probe);
	return error;
}

static int say_in_use(int probe, const char *path, struct err *e)
{
	struct ucred who;
	socklen_t len = sizeof(who);
	char name[PROCESS_NAME_MAX];

	if (getsockopt(probe, SOL_SOCKET, SO_PEERCRED, &who, &len) || who.pid <= 0)
		return err_set(e, -EADDRINUSE, "cannot listen on %s: another process listens there; stop it or choose another "
		               "path", path);
	process_name((uint32_t)who.pid, name);
	return err_set(e, -EADDRINUSE, "cannot listen on %s: process %d%s listens there; stop it or choose another path",
	               path, who.pid, name);
}

/* " (gantryd)", or nothing. */
static void process_name(uint32_t pid, char buf[static PROCESS_NAME_MAX])
{
	char file[48], comm[32] = "";
	struct text t = text_over(file, sizeof(file)), name = text_over(buf, PROCESS_NAME_MAX);
	int fd;
	ssize_t len;

	text_add(&t, "/proc/%u/comm", pid);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	len = read(fd, comm, sizeof(comm) - 1);
	close(fd);
	if (len > 1)
		text_add(&name, " (%.*s)", (int)len - 1, comm);
}

static bool is_ours(const struct unix_path *u)
{
	struct stat st;

	return u->path[0] && !lstat(u->path, &st) && st.st_dev == u->dev && st.st_ino == u->ino;
}

/* The group first: no other one has it in between. */
int unix_path_let_group(const struct unix_path *u, uint32_t gid, struct err *e)
{
	if (!is_ours(u))
		return err_set(e, -ESTALE, "the socket %s is no longer the one that was made", u->path);
	if (lchown(u->path, (uid_t)-1, gid) || chmod(u->path, 0660))
		return err_set(e, -errno, "the socket %s cannot be given to group %u: %s", u->path, gid,
		               errno == EPERM ? "gantryd is no member of it" : strerror(errno));
	return 0;
}

void unix_path_remove(struct unix_path *u)
{
	if (is_ours(u))
		(void)unlink(u->path);
	u->path[0] = 0;
}
