/* SPDX-License-Identifier: BSD-3-Clause */
/* linger.c: what was sent is delivered, also when its owner closes the socket before the kernel has taken it: the
 * socket lives on without an owner until then, as the kernel's own does. */
#include "net/tls/inside.h"

#define LINGER_NS (10 * NS_PER_S) /* a peer that takes nothing for that long loses it */

static void ran_out(struct timer *timer);

bool linger_begin(struct tls *t)
{
	struct lingerer *l;

	if (t->shake || t->error)
		return false;
	tls_shutdown_send(t);
	if (!t->tx || !t->core)
		return false;
	if (t->core->linger_count == LINGERS_MAX) /* the oldest had its time */
		sock_raw_close(list_entry(t->core->lingers.next, struct lingerer, link)->tls->sock);
	t->core->linger_count++;
	l = base_zalloc(sizeof(*l));
	l->tls = t;
	t->linger = l;
	t->want_read = t->want_write = false;
	tls_look_again(t);
	tls_update_wants(t);
	list_add_tail(&t->core->lingers, &l->link);
	timer_start(&l->timer, LINGER_NS, ran_out);
	return true;
}

void linger_ready(struct tls *t, uint32_t events)
{
	if ((events & SOCK_FAILED) || tls_flush(t) || t->send_error)
		sock_raw_close(t->sock);
}

static void ran_out(struct timer *timer)
{
	sock_raw_close(container_of(timer, struct lingerer, timer)->tls->sock);
}

void linger_end(struct tls *t)
{
	if (t->core) {
		timer_stop(&t->linger->timer);
		t->core->linger_count--;
	}
	list_del(&t->linger->link);
	free(t->linger);
	t->linger = NULL;
}
