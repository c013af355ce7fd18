/* SPDX-License-Identifier: BSD-3-Clause */
/* fds.c: descriptors that travel over UNIX sockets. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/trace.h"
#include "net/os/sock.h"

static uint32_t collect(struct msghdr *m, int *fds, uint32_t room, bool *ret_too_many);

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(SOCK_FDS_MAX * sizeof(int))];
};

ssize_t sock_send_fds(struct sock *s, const struct iovec *iov, int count, const int *fds, uint32_t fd_count)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count };
	union control control = { 0 };
	struct cmsghdr *c;
	ssize_t sent;

	assert(count <= SOCK_IOV_MAX);
	assert(fd_count <= SOCK_FDS_MAX);
	if (s->tls && fd_count)
		return -EOPNOTSUPP; /* nothing would seal them */
	if (!fd_count)
		return sock_send(s, iov, count);
	m.msg_control = &control;
	m.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
	memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	do
		sent = sendmsg(s->source.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	trace(SOCK_SEND, s->source.fd, sent);
	return sent;
}

ssize_t sock_recv_fds(struct sock *s, void *buf, size_t len, int *fds, uint32_t *count)
{
	struct iovec iov = { buf, len };
	union control control;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };
	uint32_t room = min_u32(*count, SOCK_FDS_MAX);
	bool too_many = false;
	ssize_t got;

	*count = 0;
	if (s->tls)
		return sock_recv(s, buf, len);
	m.msg_controllen = room ? CMSG_SPACE(room * sizeof(int)) : 0;
	do
		got = recvmsg(s->source.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got >= 0)
		*count = collect(&m, fds, room, &too_many);
	if (!(m.msg_flags & MSG_CTRUNC) && !too_many)
		return sock_received(s, got);
	/* the kernel cuts them for both reasons */
	got = *count < room && !too_many ? -EMFILE : -EMSGSIZE;
	for (uint32_t i = 0; i < *count; i++)
		close(fds[i]);
	*count = 0;
	return got;
}

/* Control data is padded, so that one more than asked for may fit. */
static uint32_t collect(struct msghdr *m, int *fds, uint32_t room, bool *ret_too_many)
{
	uint32_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		const uint8_t *data = CMSG_DATA(c);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
			int fd;

			memcpy(&fd, data + at, sizeof(fd));
			if (count < room) {
				fds[count++] = fd;
				continue;
			}
			close(fd);
			*ret_too_many = true;
		}
	}
	return count;
}
