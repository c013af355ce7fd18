/* SPDX-License-Identifier: BSD-3-Clause */
/* lists.c: pages of Identify that are lists of ids: namespaces, and controllers, which the control reactor knows. */
#include "nvmf/target.h"

static bool is_our_set(const struct nvmf_req *req)
{
	return req->cmd.identify.csi == NVME_CSI_NVM;
}

/* --- namespaces ------------------------------------------------------------------------------------- */

/* A namespace is attached to all controllers of hosts that may know of it: what is allocated is active. */
uint16_t nvmf_list_ns(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page)
{
	struct nvme_ns_list *list = page;
	uint32_t after = le32_get(req->cmd.nsid), count = 0;

	if (after >= NVME_NSID_ALL - 1)
		return NVME_SC_INVALID_NS | NVME_SC_DNR;
	for (uint32_t nsid = after + 1; nsid <= s->ns_max && count < ARRAY_SIZE(list->ns); nsid++)
		if (nvmf_ns_find(req->qpair, nsid))
			list->ns[count++] = le32_of(nsid);
	return NVME_SC_SUCCESS;
}

uint16_t nvmf_list_ns_csi(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page)
{
	return is_our_set(req) ? nvmf_list_ns(req, s, page) : NVME_SC_INVALID_FIELD | NVME_SC_DNR;
}

uint16_t nvmf_list_allocated(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page)
{
	return nvmf_list_ns(req, s, page);
}

uint16_t nvmf_list_allocated_csi(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page)
{
	return is_our_set(req) ? nvmf_list_allocated(req, s, page) : NVME_SC_INVALID_FIELD | NVME_SC_DNR;
}

/* --- controllers: there and back -------------------------------------------------------------------- */

#define CNTLIDS 65536u

struct ctrlrs {
	struct msg msg;
	struct nvmf_req *req;
	struct nvme_ctrl_list list;
	uint64_t there[CNTLIDS / 64];     /* bit per cntlid: the roster is in no order */
};

/* Static ones are there without a host, too; such a one sees what its next host is to see. */
static void note_unused(struct ctrlrs *a, const struct nvmf_subsystem *s, bool all, uint32_t nsid)
{
	uint64_t taken[NVMF_STATICS_MAX / 64];

	nvmf_static_taken(s, taken);
	for (uint32_t id = s->min_cntlid; id <= s->max_cntlid; id++) {
		const struct nvmf_static *st = nvmf_subsystem_static(s, (uint16_t)id);
		uint32_t at = id - s->min_cntlid;

		if (!(taken[at / 64] >> at % 64 & 1) && (all || nvmf_subsystem_shows(s, nsid, st ? st->host : "")))
			a->there[id / 64] |= 1ull << id % 64;
	}
}

/* All controllers, or those whose hosts see the namespace. */
static void note_ctrlrs(struct ctrlrs *a, const struct nvmf_ctrlr *self)
{
	const struct nvmf_subsystem *s = self->target->config->subs[self->sub_id];
	bool all = a->req->cmd.identify.cns == NVME_CNS_CTRL_LIST;
	uint32_t nsid = le32_get(a->req->cmd.nsid);

	if (!s)
		return;
	if (s->is_static)
		note_unused(a, s, all, nsid);
	list_each(l, &self->roster->ctrlrs) {
		const struct nvmf_ctrlr *c = list_entry(l, struct nvmf_ctrlr, link);

		if (!c->dying && !c->unborn && (all || nvmf_subsystem_shows(s, nsid, c->who.name)))
			a->there[c->cntlid / 64] |= 1ull << c->cntlid % 64;
	}
}

static void list_answer(struct msg *m)
{
	struct ctrlrs *a = container_of(m, struct ctrlrs, msg);

	nvmf_req_complete_data(a->req, &a->list, sizeof(a->list));
	free(a);
}

static void list_on_control(struct msg *m)
{
	struct ctrlrs *a = container_of(m, struct ctrlrs, msg);
	uint32_t count = 0;

	note_ctrlrs(a, a->req->qpair->ctrlr);
	for (uint32_t id = le16_get(a->req->cmd.identify.cntid); id < CNTLIDS; id++)
		if ((a->there[id / 64] & 1ull << id % 64) && count < ARRAY_SIZE(a->list.identifier))
			a->list.identifier[count++] = le16_of((uint16_t)id);
	a->list.num = le16_of((uint16_t)count);
	msg_send(a->req->qpair->reactor, m, list_answer); /* a queue pair with a command at work stays where it is */
}

/* CNS 12h: those a namespace is attached to; 13h: all of the subsystem. From CNTID on, ascending. */
void nvmf_list_ctrlrs_run(struct nvmf_req *req, const struct nvmf_subsystem *s)
{
	uint32_t nsid = le32_get(req->cmd.nsid);
	struct ctrlrs *a;

	if (req->cmd.identify.cns == NVME_CNS_NS_CTRL_LIST && (!nsid || nsid > s->ns_max)) {
		nvmf_req_complete(req, NVME_SC_INVALID_NS | NVME_SC_DNR);
		return;
	}
	a = base_zalloc(sizeof(*a));
	a->req = req;
	if (req->cmd.identify.cns == NVME_CNS_NS_CTRL_LIST && !nvmf_ns_find(req->qpair, nsid))
		list_answer(&a->msg); /* attached to none */
	else
		msg_send(core_control(req->qpair->target->core), &a->msg, list_on_control);
}
