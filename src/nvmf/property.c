/* SPDX-License-Identifier: BSD-3-Clause */
/* property.c: Property Get and Set: a fabrics controller's registers. */
#include "nvmf/target.h"

#define BAD_PROPERTY (NVME_SC_CONNECT_INVALID_PARAM | NVME_SC_DNR) /* code 82h: as SPDK's and Linux's targets say it */
#define SIZE_4 0
#define SIZE_8 1

bool nvmf_property_parse(struct nvmf_req *req)
{
	if (req->qpair->qid)
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	return true;
}

uint64_t nvmf_cap(const struct nvmf_ctrlr *c)
{
	uint64_t cap = 0;

	cap = nvme_cap_with_mqes(cap, c->transport->opts.max_queue_depth - 1u);
	cap = nvme_cap_with_cqr(cap, 1);
	cap = nvme_cap_with_to(cap, 20); /* 10 s: a reset waits for I/O of the past to end */
	cap = nvme_cap_with_css(cap, 1);
	return cap;
}

/* False: no such property. Properties of 8 bytes may be read by halves. */
static bool property_get(const struct nvmf_ctrlr *c, uint32_t offset, uint8_t size, uint64_t *ret)
{
	if (offset == NVME_REG_CAP && size == SIZE_8)
		*ret = nvmf_cap(c);
	else if (offset == NVME_REG_CAP && size == SIZE_4)
		*ret = (uint32_t)nvmf_cap(c);
	else if (offset == NVME_REG_CAP + 4 && size == SIZE_4)
		*ret = nvmf_cap(c) >> 32;
	else if (offset == NVME_REG_VS && size == SIZE_4)
		*ret = NVMF_VS;
	else if (offset == NVME_REG_CC && size == SIZE_4)
		*ret = atomic_load(&c->cc);
	else if (offset == NVME_REG_CSTS && size == SIZE_4)
		*ret = c->csts;
	else if (offset == NVME_REG_NSSR && size == SIZE_4)
		*ret = 0;
	else
		return false;
	return true;
}

void nvmf_property_get_run(struct nvmf_req *req)
{
	const struct nvme_property_cmd *cmd = &req->cmd.property;
	uint64_t value = 0;

	if (!property_get(req->qpair->ctrlr, le32_get(cmd->ofst), cmd->attrib & 7, &value)) {
		nvmf_req_complete(req, BAD_PROPERTY);
		return;
	}
	req->cpl.value = le64_of(value);
	nvmf_req_complete(req, NVME_SC_SUCCESS);
}

void nvmf_property_set_run(struct nvmf_req *req)
{
	const struct nvme_property_cmd *cmd = &req->cmd.property;
	bool ok = le32_get(cmd->ofst) == NVME_REG_CC && (cmd->attrib & 7) == SIZE_4 &&
	          nvmf_ctrlr_set_cc(req->qpair->ctrlr, (uint32_t)le64_get(cmd->value));

	nvmf_req_complete(req, ok ? NVME_SC_SUCCESS : BAD_PROPERTY);
}
