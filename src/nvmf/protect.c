/* SPDX-License-Identifier: BSD-3-Clause */
/* protect.c: the feature Namespace Write Protection Config: a host has a namespace written by nobody, until a host
 * takes that back.
 *
 * It is a change of the configuration: every core refuses writes when it is answered, other hosts are told, and it is
 * saved with the namespace. Offered only where what is saved lasts by itself, as the standard asks of it: with
 * --state-dir. Protection until a power cycle, or for ever, is not offered.
 */
#include "bdev/reservation.h"
#include "nvmf/target.h"

struct protect {
	struct nvmf_change change;
	struct msg msg;
	struct nvmf_req *req;
	bool on;
	uint16_t status;
};

static void protect_on_control(struct msg *m);
static void changed(struct nvmf_change *c);
static void answer(struct msg *m);

bool nvmf_protect_offered(const struct nvmf_target *t)
{
	return bdev_resv_can_persist(t->reg);
}

/* One namespace, and a state that there is. */
uint16_t nvmf_protect_check(const struct nvmf_req *req)
{
	struct bdev_view *v;

	if (!nvmf_protect_offered(req->qpair->target))
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	v = nvmf_ns_find(req->qpair, le32_get(req->cmd.nsid));
	if (!v)
		return NVME_SC_INVALID_NS | NVME_SC_DNR;
	if (req->cmd.opc != NVME_ADMIN_SET_FEATURES)
		return NVME_SC_SUCCESS;
	if ((le32_get(req->cmd.features.cdw11) & 7) > NVME_WRITE_PROTECT)
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	/* Who configured it, or the device, has said so: no host can change that. */
	return v->served->info.read_only ? NVME_SC_FEATURE_NOT_CHANGEABLE | NVME_SC_DNR : NVME_SC_SUCCESS;
}

uint16_t nvmf_protect_get(struct nvmf_req *req, uint32_t *ret_value)
{
	struct bdev_view *v = nvmf_ns_find(req->qpair, le32_get(req->cmd.nsid));

	if (!v)
		return NVME_SC_INVALID_NS | NVME_SC_DNR;
	*ret_value = v->read_only ? NVME_WRITE_PROTECT : NVME_NO_WRITE_PROTECT;
	return NVME_SC_SUCCESS;
}

void nvmf_protect_set(struct nvmf_req *req, uint32_t value)
{
	struct protect *p = base_zalloc(sizeof(*p));

	p->req = req;
	p->on = (value & 7) == NVME_WRITE_PROTECT;
	msg_send(core_control(req->qpair->target->core), &p->msg, protect_on_control);
}

static void protect_on_control(struct msg *m)
{
	struct protect *p = container_of(m, struct protect, msg);
	const struct nvmf_ctrlr *c = p->req->qpair->ctrlr;
	uint32_t nsid = le32_get(p->req->cmd.nsid);

	log_notice("host %s %s namespace %u of %s", c->who.name, p->on ? "write protects" : "lets all hosts write", nsid,
	           c->nqn);
	p->change = (struct nvmf_change){ .target = c->target, .done = changed };
	nvmf_protect_ns(&p->change, c->nqn, nsid, p->on);
}

static void changed(struct nvmf_change *c)
{
	struct protect *p = container_of(c, struct protect, change);

	if (c->err.code)
		p->status = NVME_SC_INVALID_NS | NVME_SC_DNR; /* it has gone meanwhile */
	else if (c->target->host_changed)
		c->target->host_changed(c->target->host_changed_arg);
	msg_send(p->req->qpair->reactor, &p->msg, answer); /* a queue pair with a command at work stays where it is */
}

static void answer(struct msg *m)
{
	struct protect *p = container_of(m, struct protect, msg);

	nvmf_req_complete(p->req, p->status);
	free(p);
}
