/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrlr_ask.c: the commands of a controller's state machine. One is out at a time, with a command id of its own, so
 * that nothing its users have submitted can stand in its way.
 */
#include <errno.h>

#include "nvme/host.h"

#define CTRLR_POLL_NS (10 * NS_PER_MS)

static void answered(struct nvme_op *op)
{
	struct nvme_ctrlr *c = container_of(op, struct nvme_ctrlr, op);
	uint16_t status = nvme_op_status(op);
	bool optional = c->optional;

	c->optional = false;
	if (c->machine.state == CTRLR_FAILED || nvme_qpair_is_dead(c->admin))
		return; /* admin_gone() says why */
	if (!status || optional)
		ctrlr_run(c);
	else
		ctrlr_fail(c, NVME_REASON_BAD_ANSWER, -EIO, "the target answered '%s'",
		           nvme_status_text(status, op->cmd.opc == NVME_ADMIN_FABRICS));
}

enum step ctrlr_ask(struct nvme_ctrlr *c, const struct nvme_sqe *cmd, enum nvme_op_data data, uint32_t len)
{
	c->asked = true;
	c->iov = (struct iovec){ c->page, len };
	c->op = (struct nvme_op){ .cmd = *cmd, .iovs = &c->iov, .iov_count = len ? 1 : 0, .data = (uint8_t)data,
		                  .data_len = len, .done = answered };
	nvme_qpair_submit_reserved(c->admin, &c->op, CTRLR_CID_STATE);
	return STEP_WAIT;
}

enum step ctrlr_ask_property(struct nvme_ctrlr *c, enum nvme_property offset, bool wide)
{
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_FABRICS, .fctype = NVME_FABRICS_PROPERTY_GET };

	cmd.property.attrib = wide;
	cmd.property.ofst = le32_of(offset);
	return ctrlr_ask(c, &cmd, NVME_OP_NONE, 0);
}

enum step ctrlr_ask_to_set(struct nvme_ctrlr *c, enum nvme_property offset, uint64_t value)
{
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_FABRICS, .fctype = NVME_FABRICS_PROPERTY_SET };

	cmd.property.ofst = le32_of(offset);
	cmd.property.value = le64_of(value);
	return ctrlr_ask(c, &cmd, NVME_OP_NONE, 0);
}

static void ask_csts(struct timer *t)
{
	ctrlr_ask_property(container_of(t, struct nvme_ctrlr, poll_timer), NVME_REG_CSTS, false);
}

enum step ctrlr_ask_csts_later(struct nvme_ctrlr *c)
{
	timer_start(&c->poll_timer, CTRLR_POLL_NS, ask_csts);
	return STEP_WAIT;
}

struct nvme_sqe ctrlr_identify(enum nvme_cns cns, uint32_t nsid)
{
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_IDENTIFY, .nsid = le32_of(nsid) };

	cmd.identify.cns = (uint8_t)cns;
	return cmd;
}
