/* SPDX-License-Identifier: BSD-3-Clause */
/* listener.c: listeners of the simulated network. */
#include <errno.h>

#include "net/sim/inside.h"

#define BACKLOG 4096u
#define ACCEPTS_A_PASS 8u

static void listener_on_ready(struct sim_ready *node);

struct listener *listener_open(const struct net_addr *addr, uint32_t backlog, listener_fn *fn, void *arg, struct err *e)
{
	struct net_addr a = *addr;
	char text[NET_ADDR_TEXT_MAX];
	struct listener *l;

	if (net_addr_family(&a) != NET_UNIX && !net_addr_port(&a))
		net_addr_set_port(&a, net_free_port());
	list_each(other, &sim_net.listeners) {
		if (!net_addr_equal(&list_entry(other, struct listener, link)->addr, &a))
			continue;
		err_set(e, -EADDRINUSE, "cannot listen on %s: another socket of the simulation does", net_addr_text(&a, text));
		return NULL;
	}
	l = base_zalloc(sizeof(*l));
	l->reactor = reactor_self();
	l->addr = a;
	l->fn = fn;
	l->arg = arg;
	l->backlog = backlog ? backlog : BACKLOG;
	list_init(&l->queue);
	list_add_tail(&sim_net.listeners, &l->link);
	return l;
}

struct listener *listener_adopt(int fd, listener_fn *fn, void *arg, struct err *e)
{
	err_set(e, -EOPNOTSUPP, "the simulated network has no descriptors");
	return NULL;
}

int listener_let_group(struct listener *l, uint32_t gid, struct err *e)
{
	return 0; /* there are no users */
}

void listener_close(struct listener *l)
{
	if (l->gone)
		*l->gone = true;
	sim_ready_cancel(&l->node);
	while (!list_empty(&l->queue))
		sock_reset(list_entry(l->queue.next, struct sock, link));
	list_del(&l->link);
	free(l);
}

void listener_addr(const struct listener *l, struct net_addr *ret_addr)
{
	*ret_addr = l->addr;
}

/* The address itself before a wildcard. */
struct listener *listener_find(const struct net_addr *addr)
{
	struct listener *found = NULL;

	list_each(link, &sim_net.listeners) {
		struct listener *l = list_entry(link, struct listener, link);

		if (net_addr_equal(&l->addr, addr))
			return l;
		if (!found && net_addr_covers(&l->addr, addr))
			found = l;
	}
	return found;
}

bool listener_take(struct listener *l, struct conn *c)
{
	struct sock *s;

	if (l->queued == l->backlog)
		return false;
	s = sim_sock_make(c, 1);
	s->core = reactor_core(l->reactor);
	list_add_tail(&l->queue, &s->link);
	l->queued++;
	sim_ready_add(l->reactor, &l->node, listener_on_ready);
	return true;
}

static void listener_on_ready(struct sim_ready *node)
{
	struct listener *l = container_of(node, struct listener, node);
	struct reactor *reactor = l->reactor;
	bool gone = false;
	struct list *link;

	l->gone = &gone;
	for (uint32_t i = 0; i < ACCEPTS_A_PASS && (link = list_pop(&l->queue)); i++) {
		l->queued--;
		l->fn(l->arg, list_entry(link, struct sock, link));
		if (gone)
			return;
	}
	l->gone = NULL;
	if (!list_empty(&l->queue))
		sim_ready_add(reactor, node, listener_on_ready);
}
