/* SPDX-License-Identifier: BSD-3-Clause */
/* admin_fuzz.c: any 64 bytes as a command, on an unconnected, an admin, an I/O and a discovery queue, with any data.
 *
 * Input: for each command a byte that chooses the queue and how long to wait, 64 bytes of command, a byte that
 * chooses data. After every input all queues are closed, every command must have been answered once, and nothing may
 * be left.
 */
#include "nvmf/test_rig.h"

#define COMMANDS_MAX 24
#define STEP_BYTES (1 + 64 + 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct rig rig;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	rig_start(&rig, 9);
	log_set_level(LOG_ERROR);
	return 0;
}

#define QUEUES 5
struct one {
	struct rig_qp *q[QUEUES];
	struct rig_req *rq[COMMANDS_MAX];
	uint8_t *buffer[COMMANDS_MAX];
	uint32_t count;
};

static void open_queues(struct one *o)
{
	uint16_t cntlid, ignored;

	o->q[0] = rig_open(&rig, 0);
	o->q[1] = rig_admin(&rig, 1, &cntlid);
	o->q[2] = rig_io(&rig, 2, 1, cntlid);
	o->q[3] = rig_open(&rig, 0);
	must(!rig_connect(o->q[3], 0, NVMF_DISCOVERY_NQN, &ignored));
	must(!rig_property_set(o->q[3], NVME_REG_CC, RIG_CC_ENABLE));
	o->q[4] = rig_admin(&rig, 0, &ignored); /* of the same host as q[1] */
}

/* Each can have the other's controller reset. */
static void name_other(const struct one *o, const struct rig_qp *q, struct nvme_ccr *cmd)
{
	const struct rig_qp *other = q == o->q[4] ? o->q[1] : o->q[4];

	if (other->qp.closing || !other->qp.ctrlr)
		return;
	cmd->icid = le16_of(other->qp.ctrlr->cntlid);
	cmd->ciu = other->qp.ctrlr->ciu;
	cmd->cirn = le64_of(other->qp.ctrlr->cirn);
}

static void step(struct one *o, const uint8_t *in)
{
	struct rig_qp *q = o->q[in[0] & 16 ? 4 : in[0] & 3];
	struct nvme_sqe sqe;
	uint8_t *buffer;

	if (q->qp.closing)
		return;
	memcpy(&sqe, in + 1, sizeof(sqe));
	if (in[0] & 4) /* most commands should get past the first check */
		sqe.flags = 1 << 6;
	if (in[65] & 4 && sqe.opc == NVME_ADMIN_CROSS_CTRL_RESET)
		name_other(o, q, &sqe.ccr);
	buffer = malloc(RIG_DATA_MAX);
	must(buffer);
	for (uint32_t i = 0; i < 4096; i++)
		buffer[i] = in[1 + i % 64] ^ in[65];
	if (in[65] & 1 && sqe.opc == NVME_ADMIN_FABRICS)
		rig_connect_data((struct nvmf_connect_data *)buffer, in[65] & 2 ? RIG_NQN : NVMF_DISCOVERY_NQN, RIG_HOST,
		                 0xffff);
	o->buffer[o->count] = buffer;
	o->rq[o->count] = rig_send(q, &sqe, buffer, RIG_DATA_MAX);
	if (in[0] & 8)
		rig_wait(o->rq[o->count], NS_PER_MS);
	o->count++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct one o = { .count = 0 };

	open_queues(&o);
	for (size_t at = 0; at + STEP_BYTES <= size && o.count < COMMANDS_MAX; at += STEP_BYTES)
		step(&o, data + at);
	for (int i = 0; i < QUEUES; i++) {
		if (!o.q[i]->qp.closing)
			rig_close(o.q[i]);
		must(rig_gone(o.q[i]));
	}
	for (uint32_t i = 0; i < o.count; i++) {
		must(o.rq[i]->done);
		free(o.rq[i]);
		free(o.buffer[i]);
	}
	rig_pass(NS_PER_MS);
	must(!rig.target->ctrlrs_alive);
	return 0;
}
