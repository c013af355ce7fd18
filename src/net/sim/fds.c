/* SPDX-License-Identifier: BSD-3-Clause */
/* fds.c: descriptors that travel over simulated UNIX sockets: parcels beside the bytes. As in the kernel they come with
 * the first of the bytes they were sent with, a receive may begin before those but does not read beyond them, and what
 * is not asked for is closed. */
#include <errno.h>

#include "net/sim/inside.h"

ssize_t sock_send_fds(struct sock *s, const struct iovec *iov, int count, const int *fds, uint32_t fd_count)
{
	struct pipe *out = sock_out(s);
	uint64_t at = out->tail;
	struct parcel *p;
	ssize_t sent;

	assert(fd_count <= SOCK_FDS_MAX);
	if (s->tls && fd_count)
		return -EOPNOTSUPP;
	must(!fd_count || net_addr_family(&s->conn->addr[1]) == NET_UNIX);
	sent = sock_send(s, iov, count);
	if (sent <= 0 || !fd_count || out->tail == at)
		return sent;
	p = base_zalloc(sizeof(*p));
	p->at = at;
	p->end = out->tail;
	p->count = fd_count;
	for (uint32_t i = 0; i < fd_count; i++)
		p->objects[i] = sim_object_of(fds[i]);
	list_add_tail(&out->parcels, &p->link);
	return sent;
}

static struct parcel *first(const struct pipe *p)
{
	return list_first(&p->parcels, struct parcel, link);
}

uint32_t parcels_limit(const struct pipe *p, uint32_t len)
{
	const struct parcel *parcel = first(p);

	return parcel ? (uint32_t)min_u64(len, parcel->end - p->head) : len;
}

static void parcel_free(struct parcel *p)
{
	for (uint32_t i = 0; i < p->count; i++)
		sim_object_drop(p->objects[i]);
	list_del(&p->link);
	free(p);
}

void parcels_drop(struct pipe *p, bool all)
{
	struct parcel *parcel;

	while ((parcel = first(p)) && (all || parcel->at < p->head))
		parcel_free(parcel);
}

ssize_t sock_recv_fds(struct sock *s, void *buf, size_t len, int *fds, uint32_t *count)
{
	struct iovec iov = { buf, len };
	struct pipe *in = sock_in(s);
	uint32_t room = *count;
	struct parcel *p;
	ssize_t got;

	*count = 0;
	if (s->tls)
		return sock_recv(s, buf, len);
	got = sim_sock_recv(s, &iov, 1);
	p = first(in);
	if (!p || p->at >= in->head)
		return got;
	if (p->count > room) {
		parcel_free(p);
		return -EMSGSIZE;
	}
	for (uint32_t i = 0; i < p->count; i++)
		fds[i] = sim_fd_make(p->objects[i], s->core);
	*count = p->count;
	p->count = 0; /* they are the caller's */
	parcel_free(p);
	return got;
}
