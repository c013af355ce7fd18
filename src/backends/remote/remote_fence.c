/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_fence.c: a controller that was lost is ended by another one of its subsystem: Cross-Controller Reset.
 *
 * A life of a path that left something in limbo asks every controller of the group that is up and knows the command,
 * one after the other, also that of its own path when it is connected again. Only one answer counts: Immediate Reset
 * Successful. "Not yet" and "busy" are asked again after a while, or when the controller tells of the end; any other
 * answer, and silence, leave the life to its time (remote_lives.c). So nothing depends on what a log page says.
 */
#include "backends/remote/remote_ctl.h"

#include "core/log.h"

#define ASK_AGAIN_NS (1 * NS_PER_S)     /* it is not over yet, or there are too many */
#define SILENCE_NS (5 * NS_PER_S)       /* another one is asked */
#define FENCE_CCR_DW0_IRS 1u            /* Immediate Reset Successful */

/* One command; lives until its answer, which comes in any case, but maybe not before the other path ends: who asked is
 * not kept for it. */
struct remote_fence_ask {
	struct nvme_op op;
	struct list link;               /* in the path's asks */
	struct remote_path *p;          /* NULL: it has gone */
	uint32_t life;
	uint8_t via;                    /* path index */
};

static void answered(struct nvme_op *op);
static void look_later(struct timer *t);

static struct remote_life *life_of(struct remote_path *p, uint32_t life)
{
	for (uint32_t i = 0; i < p->ctl->life_count; i++)
		if (p->ctl->lives[i].life == life)
			return &p->ctl->lives[i];
	return NULL;
}

static bool can_ask(const struct remote_path *via)
{
	return via && via->state == REMOTE_PATH_UP && nvme_ctrlr_reason(via->ctrlr) == NVME_REASON_NONE &&
	       nvme_ctrlr_info(via->ctrlr)->ccrl;
}

static struct remote_path *choose(const struct remote_path *p, const struct remote_life *l)
{
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		if (can_ask(p->group->paths[i]) && !(l->tried & 1u << i))
			return p->group->paths[i];
	return NULL;
}

static void ask(struct remote_path *p, struct remote_life *l, struct remote_path *via)
{
	struct remote_fence_ask *a = base_zalloc(sizeof(*a));

	a->p = p;
	a->life = l->life;
	a->via = via->index;
	a->op = (struct nvme_op){ .cmd.opc = NVME_ADMIN_CROSS_CTRL_RESET, .done = answered };
	a->op.cmd.ccr.icid = le16_of(l->who.cntlid);
	a->op.cmd.ccr.ciu = l->who.ciu;
	a->op.cmd.ccr.cirn = le64_of(l->who.cirn);
	l->ask = a;
	l->look_ns = reactor_now_ns() + SILENCE_NS;
	list_add_tail(&p->ctl->asks, &a->link);
	p->ctl->ccr_sent++;
	nvme_ctrlr_submit_admin(via->ctrlr, &a->op);
}

static bool waits(const struct remote_life *l, uint64_t now)
{
	return l->who.ciu && l->due_ns > now;
}

void remote_fence_look(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;
	uint64_t now = reactor_now_ns(), next = UINT64_MAX;

	timer_stop(&ctl->fence);
	if (!p->group->remote->opts.ccr)
		return;
	for (uint32_t i = 0; i < ctl->life_count; i++) {
		struct remote_life *l = &ctl->lives[i];
		struct remote_path *via;

		if (!waits(l, now))
			continue;
		if (l->ask && now >= l->look_ns) { /* it says nothing */
			l->tried |= 1u << l->ask->via;
			l->ask = NULL;
		}
		if (!l->ask && now >= l->look_ns && (via = choose(p, l)))
			ask(p, l, via);
		if (l->look_ns > now)
			next = min_u64(next, l->look_ns);
	}
	if (next != UINT64_MAX)
		timer_start(&ctl->fence, next - now, look_later);
}

static void look_later(struct timer *t)
{
	remote_fence_look(container_of(t, struct remote_path_ctl, fence)->path);
}

static bool asks_again(uint16_t status, bool reset)
{
	return (!status && !reset) || status == NVME_SC_CCR_IN_PROGRESS || status == NVME_SC_CCR_LIMIT_EXCEEDED ||
	       status == NVME_SC_CCR_LOG_FULL;
}

static void answered(struct nvme_op *op)
{
	struct remote_fence_ask *a = container_of(op, struct remote_fence_ask, op);
	struct remote_path *p = a->p;
	struct remote_life *l = p ? life_of(p, a->life) : NULL;
	uint16_t status = nvme_op_status(op);
	bool reset = !status && (le32_get(op->cpl.dw0) & FENCE_CCR_DW0_IRS);
	bool ended;
	uint64_t now = reactor_now_ns();
	char text[512];

	list_del(&a->link);
	if (!p) {
		free(a);
		return;
	}
	ended = p->ctl->ended;
	if (l && l->ask == a)
		l->ask = NULL;
	if (l && reset && waits(l, now)) {
		log_info("remote: %s: its controller %u has been reset by way of another one: what was not answered goes out "
		         "again", remote_path_text(p, text), l->who.cntlid);
		p->ctl->ccr_done++;
		l->due_ns = now;
	} else if (l && !l->ask && asks_again(status, reset)) {
		l->look_ns = now + ASK_AGAIN_NS;
	} else if (l && !l->ask) {
		l->look_ns = now;
		l->tried |= 1u << a->via;
	}
	free(a);
	remote_lives_look(p); /* it may be gone, and have been kept for this only: then it is freed */
	if (!ended)
		remote_fence_look(p);
}

void remote_fence_forget(struct remote_path *p)
{
	struct list *l;

	while ((l = list_pop(&p->ctl->asks))) {
		list_entry(l, struct remote_fence_ask, link)->p = NULL;
		list_init(l);
	}
}

void remote_fence_path_up(struct remote_path *via)
{
	if (!can_ask(via))
		return;
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		struct remote_path *p = via->group->paths[i];

		if (!p || !p->ctl->life_count)
			continue;
		for (uint32_t k = 0; k < p->ctl->life_count; k++)
			p->ctl->lives[k].tried &= ~(1u << via->index);
		remote_fence_look(p);
	}
}

void remote_fence_told(struct remote_path *via)
{
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		struct remote_path *p = via->group->paths[i];

		for (uint32_t k = 0; p && k < p->ctl->life_count; k++)
			if (!p->ctl->lives[k].ask)
				p->ctl->lives[k].look_ns = 0;
		if (p && p->ctl->life_count)
			remote_fence_look(p);
	}
}
