/* SPDX-License-Identifier: BSD-3-Clause */
/* io_fuzz.c: I/O commands that get past the first checks: small ranges of a few namespaces, lists of ranges, fused
 * halves, reservations of two hosts' queues on two cores, Aborts, and a namespace that comes and goes meanwhile.
 *
 * Input: STEP_BYTES for each command. After every input all queues are closed, every command must have been answered
 * once, and nothing may be left.
 */
#include "nvmf/test_rig.h"

#define COMMANDS_MAX 48
#define STEP_BYTES 16
#define DATA_BYTES 16384u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct rig rig;

static const uint8_t opcodes[16] = {
	NVME_CMD_FLUSH, NVME_CMD_WRITE, NVME_CMD_READ, NVME_CMD_WRITE_UNCOR, NVME_CMD_COMPARE, NVME_CMD_WRITE_ZEROES,
	NVME_CMD_DSM, NVME_CMD_VERIFY, NVME_CMD_COPY, NVME_CMD_COPY, NVME_CMD_RESV_REGISTER, NVME_CMD_RESV_ACQUIRE,
	NVME_CMD_RESV_RELEASE, NVME_CMD_RESV_REPORT, NVME_ADMIN_GET_LBA_STATUS, NVME_ADMIN_ABORT_CMD,
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct malloc_opts opts = { .name = "Other", .block_size = RIG_BLOCK, .block_count = 128 };
	struct err e;
	struct bdev *b;

	rig_start(&rig, 9);
	log_set_level(LOG_ERROR);
	must(!malloc_create(rig.reg, &opts, &b, &e));
	must(!rig_add_ns(&rig, "Other", 3));
	return 0;
}

#define QUEUES 4
struct one {
	struct rig_qp *q[QUEUES]; /* an admin and an I/O queue of each controller */
	struct rig_req *rq[COMMANDS_MAX];
	uint8_t *buffer[COMMANDS_MAX];
	uint32_t count;
};

static void knows_formats(struct rig_qp *admin)
{
	struct nvme_feat_host_behavior b = { .cdfe = le16_of(1 << 2) };
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_SET_FEATURES, 0);

	sqe.features.fid = NVME_FEAT_HOST_BEHAVIOR;
	must(!rig_cmd(admin, &sqe, &b, sizeof(b), NULL));
}

static void fill(uint8_t *buffer, const uint8_t *in, uint8_t opc)
{
	struct nvme_copy_range *copy = (struct nvme_copy_range *)buffer;
	struct nvme_dsm_range *dsm = (struct nvme_dsm_range *)buffer;

	memset(buffer, in[15] & 3, DATA_BYTES); /* few values: compares match now and then */
	for (uint32_t i = 0; opc == NVME_CMD_COPY && i < 256; i++)
		copy[i] = (struct nvme_copy_range){ .snsid = le32_of(in[8 + i % 4] & 3), .slba = le64_of(in[9 + i % 5]),
			                            .nlb = le16_of(in[10 + i % 3] & 15),
			                            .sopt = le16_of((uint16_t)(in[7] << 8)) };
	for (uint32_t i = 0; opc == NVME_CMD_DSM && i < 256; i++)
		dsm[i] = (struct nvme_dsm_range){ .slba = le64_of(in[9 + i % 5]), .nlb = le32_of(in[10 + i % 3] & 15) };
	if (opc == NVME_CMD_RESV_REGISTER || opc == NVME_CMD_RESV_ACQUIRE || opc == NVME_CMD_RESV_RELEASE)
		for (uint32_t i = 0; i < 16; i++)
			buffer[i] = i % 8 ? 0 : in[8 + i / 8] & 3;
}

static void step(struct one *o, const uint8_t *in)
{
	uint8_t opc = opcodes[in[0] & 15];
	bool admin = (in[0] & 15) >= 14;
	struct rig_qp *q = o->q[(in[0] >> 3 & 2) | !admin];
	struct nvme_sqe sqe = rig_sqe(opc, in[1] & 32 ? NVME_NSID_ALL : in[1] & 3);
	uint8_t *buffer = malloc(DATA_BYTES);

	must(buffer);
	sqe.flags |= in[0] >> 6;
	sqe.cdw10 = le32_of(in[2] | (uint32_t)(in[1] & 64) << 25);
	sqe.cdw12 = le32_of((in[3] & 31) | (uint32_t)in[4] << 24 | (uint32_t)(in[5] & 15) << 8);
	if (opc == NVME_CMD_COPY || opc == NVME_CMD_DSM) {
		sqe.cdw12 = le32_of((uint32_t)in[3] | (uint32_t)(in[5] & 3) << 8 | (uint32_t)in[4] << 24);
		if (opc == NVME_CMD_DSM) {
			sqe.cdw10 = le32_of(in[3]);
			sqe.cdw11 = le32_of(in[5] & 7);
		}
	} else if (opc == NVME_CMD_RESV_REGISTER || opc == NVME_CMD_RESV_ACQUIRE || opc == NVME_CMD_RESV_RELEASE) {
		sqe.cdw10 = le32_of((in[2] & 15u) | (uint32_t)(in[3] & 7) << 8 | (uint32_t)(in[4] & 192) << 24);
	} else if (opc == NVME_CMD_RESV_REPORT) {
		sqe.cdw10 = le32_of(in[2]);
		sqe.cdw11 = le32_of(in[3] & 1);
	} else if (opc == NVME_ADMIN_GET_LBA_STATUS) {
		sqe.cdw12 = le32_of(in[3]);
		sqe.cdw13 = le32_of(in[4] | 0x10000000u | (uint32_t)(in[5] & 1) << 24);
	} else if (opc == NVME_ADMIN_ABORT_CMD) {
		sqe.cdw10 = le32_of(1u | (uint32_t)in[2] << 16);
	}
	fill(buffer, in, opc);
	o->buffer[o->count] = buffer;
	o->rq[o->count] = rig_send(q, &sqe, buffer, DATA_BYTES);
	if (in[0] & 32)
		rig_wait(o->rq[o->count], NS_PER_MS);
	o->count++;
	if (in[6] == 1)
		rig_remove_ns(&rig, 3);
	else if (in[6] == 2)
		rig_add_ns(&rig, "Other", 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct one o = { .count = 0 };

	for (uint32_t i = 0; i < QUEUES; i += 2) {
		uint16_t cntlid;

		o.q[i] = rig_admin(&rig, i / 2, &cntlid);
		o.q[i + 1] = rig_io(&rig, i / 2 + 1, 1, cntlid);
		knows_formats(o.q[i]);
	}
	for (size_t at = 0; at + STEP_BYTES <= size && o.count < COMMANDS_MAX; at += STEP_BYTES)
		step(&o, data + at);
	for (int i = QUEUES; i-- > 0;) {
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
	rig_add_ns(&rig, "Other", 3); /* each input begins with it */
	return 0;
}
