/* SPDX-License-Identifier: BSD-3-Clause */
/* unix_path.c: the name of a listening UNIX socket: private from its first moment, and one owner at a time.
 *
 * Between finding that a socket is stale and having replaced it, another daemon could do the same, and one
 * would remove the other's. Whoever binds therefore holds a lock on the directory until it listens; it leaves
 * no file behind, and ends with the process.
 */
#include "net/os/unix_path.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "net/os/sock.h"

#define LOCK_TRIES 50
#define LOCK_PAUSE_NS (10 * NS_PER_MS)
#define PROCESS_NAME_MAX 64

static int lock_directory(const char *path, struct err *e);
static int bind_path(int fd, const struct net_addr *addr, struct err *e);
static int remove_stale(const struct net_addr *addr, struct err *e);
static int say_in_use(int probe, const char *path, struct err *e);
static void process_name(uint32_t pid, char buf[static PROCESS_NAME_MAX]);

int unix_path_listen(struct unix_path *u, int fd, const struct net_addr *addr, int backlog, struct err *e)
{
	const char *path = addr->un.sun_path;
	struct stat st;
	int lock = lock_directory(path, e), rc;

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

/* The daemon starts, or a person asks for one more socket: waiting a moment for another who does the same is
 * better than failing. */
static int lock_directory(const char *path, struct err *e)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
	char buf[sizeof(((struct sockaddr_un *)0)->sun_path)], *dir;
	int fd;

	memcpy(buf, path, sizeof(buf));
	dir = dirname(buf);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "cannot listen on %s: directory %s: %s", path, dir, strerror(errno));
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		if (i == LOCK_TRIES || (errno != EWOULDBLOCK && errno != EINTR)) {
			int error = errno;

			close(fd);
			return err_set(e, -error, "cannot listen on %s: another process holds a lock on the directory %s; "
			               "try again", path, dir);
		}
		nanosleep(&pause, NULL);
	}
	return fd;
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

void unix_path_remove(struct unix_path *u)
{
	struct stat st;

	if (u->path[0] && !lstat(u->path, &st) && st.st_dev == u->dev && st.st_ino == u->ino)
		(void)unlink(u->path);
	u->path[0] = 0;
}
