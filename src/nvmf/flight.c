/* SPDX-License-Identifier: BSD-3-Clause */
/* flight.c: what the flight recorder (core/flight.c) keeps of an NVMe command. */
#include "nvmf/stages.h"
#include "nvmf/target.h"

static void fill(struct flight_io *io, const void *command)
{
	struct nvmf_slow_io *s = container_of(io, struct nvmf_slow_io, io);
	const struct nvmf_req *req = command;
	const struct nvmf_qpair *qp = req->qpair;
	const struct bdev_view *v = nvmf_ns_find(qp, le32_get(req->cmd.nsid));

	s->lba = le64_get(req->cmd.rw.slba);
	s->len = req->data_len;
	s->blocks_1 = le16_get(req->cmd.rw.nlb);
	s->nsid = le32_get(req->cmd.nsid);
	s->qid = qp->qid;
	s->cid = le16_get(req->cmd.cid);
	s->cntlid = qp->ctrlr->cntlid;
	s->status = nvme_cqe_status(&req->cpl) & NVME_SC_CODE;
	s->opc = req->cmd.opc;
	stage_name_set(s->host, sizeof(s->host), qp->ctrlr->who.name);
	stage_name_set(s->nqn, sizeof(s->nqn), qp->ctrlr->nqn);
	stage_name_set(s->device, sizeof(s->device), v ? v->served->bdev_name : "");
}

static struct flight *flight_of(struct flights *all, uint32_t core_index)
{
	return &container_of(all, struct nvmf_target, flights)->cores[core_index].flight;
}

void nvmf_flights_init(struct nvmf_target *t) { t->flights = (struct flights){ .core = t->core, .of = flight_of }; }
struct flights *nvmf_flights(struct nvmf_target *t) { return &t->flights; }

void nvmf_flight_init(struct nvmf_core *nc)
{
	nc->flight.size = sizeof(struct nvmf_slow_io);
	nc->flight.fill = fill;
	nc->flight.set_limit_ns = &nc->target->flights.limit_ns;
}
