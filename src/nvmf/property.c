/* SPDX-License-Identifier: BSD-3-Clause */
/* property.c: Property Get and Set: a fabrics controller's registers. */
#include "nvmf/target.h"

/* Not to be set; and no such property, or not of that size: nvme-cli before 2.4 (show-regs) compares the whole status,
 * so there is no DNR. */
#define BAD_PROPERTY (NVME_SC_INVALID_FIELD | NVME_SC_DNR)
#define NO_PROPERTY  NVME_SC_INVALID_FIELD
#define SIZE_4 0
#define SIZE_8 1
#define NSSR_VALUE 0x4e564d65u /* "NVMe" */

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
	cap = nvme_cap_with_to(cap, NVMF_READY_500MS);
	cap = nvme_cap_with_nssrs(cap, c->nssr);
	cap = nvme_cap_with_css(cap, 1);
	cap = nvme_cap_with_crms(cap, 1); /* ready with media */
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
	else if (offset == NVME_REG_CRTO && size == SIZE_4)
		*ret = nvme_crto_with_crwmt(0, NVMF_READY_500MS);
	else
		return false;
	return true;
}

void nvmf_property_get_run(struct nvmf_req *req)
{
	const struct nvme_property_cmd *cmd = &req->cmd.property;
	uint64_t value = 0;

	if (!property_get(req->qpair->ctrlr, le32_get(cmd->ofst), cmd->attrib & 7, &value)) {
		nvmf_error_at(req, offsetof(struct nvme_sqe, property.ofst), 0);
		nvmf_req_complete(req, NO_PROPERTY);
		return;
	}
	req->cpl.value = le64_of(value);
	nvmf_req_complete(req, NVME_SC_SUCCESS);
}

/* --- set --------------------------------------------------------------------------------------------- */

/* The status, but for `ret_later`: it will be answered. */
static uint16_t set_nssr(struct nvmf_req *req, uint32_t value, bool *ret_later)
{
	struct nvmf_ctrlr *c = req->qpair->ctrlr;

	if (!c->nssr)
		return BAD_PROPERTY;
	if (value != NSSR_VALUE || c->nssr_req) /* other values mean nothing; it is being reset */
		return NVME_SC_SUCCESS;
	c->nssr_req = req;
	*ret_later = true;
	msg_send(core_control(c->target->core), &c->nssr_msg, nvmf_nssr_on_control);
	return NVME_SC_SUCCESS;
}

static uint16_t property_set(struct nvmf_req *req, uint32_t offset, uint32_t value, bool *ret_later)
{
	struct nvmf_ctrlr *c = req->qpair->ctrlr;

	switch (offset) {
	case NVME_REG_CC:
		return nvmf_ctrlr_set_cc(c, value) ? NVME_SC_SUCCESS : BAD_PROPERTY;
	case NVME_REG_CSTS: /* nothing but a bit that writing 1 clears */
		if (nvme_csts_nssro(value))
			c->csts = (uint32_t)nvme_csts_with_nssro(c->csts, 0);
		return NVME_SC_SUCCESS;
	case NVME_REG_NSSR:
		return set_nssr(req, value, ret_later);
	default:
		return BAD_PROPERTY;
	}
}

void nvmf_property_set_run(struct nvmf_req *req)
{
	const struct nvme_property_cmd *cmd = &req->cmd.property;
	bool later = false;
	uint16_t status = BAD_PROPERTY;

	if ((cmd->attrib & 7) == SIZE_4)
		status = property_set(req, le32_get(cmd->ofst), (uint32_t)le64_get(cmd->value), &later);
	if (status)
		nvmf_error_at(req, offsetof(struct nvme_sqe, property.ofst), 0);
	if (!later)
		nvmf_req_complete(req, status);
}
