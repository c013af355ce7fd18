/* SPDX-License-Identifier: BSD-3-Clause */
/* unix_path.h: the name of a listening UNIX socket in the file system. Private to net/os. */
#ifndef NET_OS_UNIX_PATH_H
#define NET_OS_UNIX_PATH_H

#include <sys/stat.h>

#include "net/net.h"

struct unix_path {
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* empty: none */
	dev_t dev;                                              /* which file is ours */
	ino_t ino;
};

/* Bind `fd` to the path with mode 0600 and listen. A socket somebody listens on is an error that names the
 * process; one left behind is replaced; anything else is left alone. */
int unix_path_listen(struct unix_path *u, int fd, const struct net_addr *addr, int backlog, struct err *e) MUST_USE;
/* Members of the group may connect, too. */
int unix_path_let_group(const struct unix_path *u, uint32_t gid, struct err *e) MUST_USE;
/* Remove the path if it still is ours. */
void unix_path_remove(struct unix_path *u);

#endif
