/* SPDX-License-Identifier: BSD-3-Clause */
/* await.c: waits until the commands that one host has begun in one namespace are over, and for nobody else's.
 *
 * Once every core serves a version that hides the namespace no command of that host begins in it any more, so that what
 * each core still finds in its queue pairs only becomes less. A command that is waited for says so when it ends (one
 * bit, looked at where its list is at hand anyway); then the core looks again.
 */
#include "nvmf/change.h"

struct nvmf_await {
	struct list link;                 /* nvmf_core.awaits */
	struct msg msg;
	struct nvmf_work *work;
	const struct bdev_view *view;
	const char *host;
};

static void look_on_core(struct msg *m);
static void over_on_control(struct msg *m);

enum seq_result nvmf_step_await_host(struct seq *s)
{
	struct nvmf_work *w = container_of(s, struct nvmf_work, seq);
	struct nvmf_target *t = w->target;

	if (!w->ns_count)
		return SEQ_NEXT;
	w->awaits = base_zalloc(t->core_count * sizeof(*w->awaits));
	w->awaits_out = t->core_count;
	for (uint32_t i = 0; i < t->core_count; i++) {
		struct nvmf_await *a = &w->awaits[i];

		a->work = w;
		a->view = &w->ns[0]->dev.view[i];
		a->host = w->host;
		msg_send(core_reactor(t->core, i), &a->msg, look_on_core);
	}
	return SEQ_WAIT;
}

/* Uses others than the one that it names: copies from there, flushes all. */
static bool spans(const struct nvmf_req *req)
{
	return req->qpair->qid && (req->cmd.opc == NVME_CMD_COPY || req->cmd.opc == NVME_CMD_FLUSH);
}

/* Marks them. */
static bool any_left(struct nvmf_core *nc, const struct nvmf_await *a)
{
	bool any = false;

	list_each(l, &nc->qpairs) {
		struct nvmf_qpair *qp = list_entry(l, struct nvmf_qpair, link);

		if (!qp->ctrlr || strcmp(qp->ctrlr->who.name, a->host))
			continue;
		list_each(r, &qp->executing) {
			struct nvmf_req *req = list_entry(r, struct nvmf_req, link);

			if (req->ns != a->view && !spans(req))
				continue;
			req->awaited = true;
			any = true;
		}
	}
	return any;
}

static void look_on_core(struct msg *m)
{
	struct nvmf_await *a = container_of(m, struct nvmf_await, msg);
	struct nvmf_core *nc = nvmf_core_here(a->work->target);

	if (any_left(nc, a))
		list_add_tail(&nc->awaits, &a->link);
	else
		msg_send(core_control(nc->target->core), m, over_on_control);
}

void nvmf_awaits_look(struct nvmf_core *nc)
{
	list_each_safe(l, &nc->awaits) {
		struct nvmf_await *a = list_entry(l, struct nvmf_await, link);

		if (any_left(nc, a))
			continue;
		list_del(l);
		msg_send(core_control(nc->target->core), &a->msg, over_on_control);
	}
}

static void over_on_control(struct msg *m)
{
	struct nvmf_work *w = container_of(m, struct nvmf_await, msg)->work;

	if (--w->awaits_out)
		return;
	free(w->awaits);
	w->awaits = NULL;
	seq_resume(&w->seq, 0);
}
