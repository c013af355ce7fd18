/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrlr_keep_alive.c: Keep Alive, and what is taken for life.
 *
 * Keep Alive goes out at half the time-out, with a command id of its own: it never waits behind other admin commands.
 * Its answer need not come for the connection to live: whatever is received on any queue of the path counts. Only when
 * a Keep Alive is out and nothing at all came for the whole time is the target given up.
 */
#include <errno.h>

#include "nvme/host.h"

static void keep_alive_look(struct timer *t);

static uint64_t alive_ns(const struct nvme_ctrlr *c)
{
	return atomic_load_explicit(c->opts.alive_ns, memory_order_relaxed);
}

static void keep_alive_done(struct nvme_op *op)
{
	container_of(op, struct nvme_ctrlr, keep_alive_op)->keep_alive_out = false;
}

static void keep_alive_send(struct nvme_ctrlr *c, uint64_t now_ns)
{
	c->keep_alive_out = true;
	c->keep_alive_sent_ns = now_ns;
	c->keep_alive_op = (struct nvme_op){ .cmd.opc = NVME_ADMIN_KEEP_ALIVE, .done = keep_alive_done };
	nvme_qpair_submit_reserved(c->admin, &c->keep_alive_op, CTRLR_CID_KEEP_ALIVE);
}

static void keep_alive_look(struct timer *t)
{
	struct nvme_ctrlr *c = container_of(t, struct nvme_ctrlr, keep_alive_timer);
	uint64_t limit_ns = c->opts.keep_alive_ms * NS_PER_MS, half_ns = limit_ns / 2, now_ns = reactor_now_ns();
	uint64_t silent_ns = now_ns - min_u64(max_u64(alive_ns(c), c->began_ns), now_ns);

	/* Half of the time since it was sent: a daemon that was stopped meanwhile has to ask first. */
	if (c->keep_alive_out && silent_ns >= limit_ns && now_ns - c->keep_alive_sent_ns >= half_ns) {
		ctrlr_fail(c, NVME_REASON_KEEP_ALIVE, -ETIMEDOUT, "the target does not answer Keep Alive; nothing came "
		           "for %llu ms", (unsigned long long)(silent_ns / NS_PER_MS));
		return;
	}
	if (!c->keep_alive_out)
		keep_alive_send(c, now_ns);
	timer_start(t, silent_ns < limit_ns ? min_u64(half_ns, limit_ns - silent_ns) : half_ns, keep_alive_look);
}

void ctrlr_keep_alive_begin(struct nvme_ctrlr *c)
{
	timer_start(&c->keep_alive_timer, c->opts.keep_alive_ms * NS_PER_MS / 2, keep_alive_look);
}
