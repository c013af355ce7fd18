/* SPDX-License-Identifier: BSD-3-Clause */
/* core.c: what a core's secured sockets share. Buffers are taken while something is partial, so that idle connections
 * have none. */
#include "core/mem.h"
#include "net/tls/inside.h"

#define PART "net/tls"

static void core_end(struct reactor_part *p);

struct tls_core *tls_core_self(void)
{
	struct reactor_part *p = reactor_find_part(PART);
	struct tls_core *c;

	if (p)
		return container_of(p, struct tls_core, part);
	c = malloc(sizeof(*c)); /* the scratch's pages come when they are used */
	must(c);
	memset(c, 0, offsetof(struct tls_core, scratch));
	list_init(&c->lingers);
	reactor_add_part(&c->part, PART, core_end);
	return c;
}

static void core_end(struct reactor_part *p)
{
	struct tls_core *c = container_of(p, struct tls_core, part);

	while (!list_empty(&c->lingers))
		sock_raw_close(list_entry(c->lingers.next, struct lingerer, link)->tls->sock);
	SSL_CTX_free(c->ctx[0]);
	SSL_CTX_free(c->ctx[1]);
	for (struct rx *rx; (rx = c->rx);) {
		c->rx = rx->next;
		free(rx);
	}
	for (int large = 0; large < 2; large++)
		for (struct tx *tx; (tx = c->tx[large]);) {
			c->tx[large] = tx->next;
			free(tx);
		}
	free(c);
}

/* To the memory budget, so that others find less. Who is in the middle of a record has to end it, and is not refused:
 * what does not fit is beside the budget. */
static struct core *charge(const struct tls_core *c, uint64_t bytes)
{
	struct core *core = c ? reactor_core(reactor_self()) : NULL;

	return core && mem_charge(core, bytes) ? core : NULL;
}

static void uncharge(struct core *core, uint64_t bytes)
{
	if (core)
		mem_uncharge(core, bytes);
}

struct rx *rx_take(struct tls_core *c)
{
	struct rx *rx = c ? c->rx : NULL;

	if (rx) {
		c->rx = rx->next;
		c->rx_spare--;
	} else {
		rx = malloc(sizeof(*rx));
		must(rx);
	}
	rx->charged = charge(c, sizeof(*rx));
	rx->plain_at = rx->plain_end = rx->at = rx->end = 0;
	return rx;
}

void rx_give(struct tls_core *c, struct rx *rx)
{
	uncharge(rx->charged, sizeof(*rx));
	if (!c || c->rx_spare == SPARE_MAX) {
		free(rx);
		return;
	}
	rx->next = c->rx;
	c->rx = rx;
	c->rx_spare++;
}

struct tx *tx_take(struct tls_core *c, uint32_t size)
{
	int large = size > TX_SMALL;
	struct tx *tx = c ? c->tx[large] : NULL;

	if (tx) {
		c->tx[large] = tx->next;
		c->tx_spare[large]--;
	} else {
		tx = malloc(sizeof(*tx) + size);
		must(tx);
	}
	tx->charged = charge(c, sizeof(*tx) + size);
	tx->size = size;
	tx->at = tx->end = 0;
	return tx;
}

void tx_give(struct tls_core *c, struct tx *tx)
{
	int large = tx->size > TX_SMALL;

	uncharge(tx->charged, sizeof(*tx) + tx->size);
	if (!c || c->tx_spare[large] == SPARE_MAX) {
		free(tx);
		return;
	}
	tx->next = c->tx[large];
	c->tx[large] = tx;
	c->tx_spare[large]++;
}
