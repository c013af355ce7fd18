/* SPDX-License-Identifier: BSD-3-Clause */
/* cdb_fuzz.c: any bytes as CDBs, with data and lengths of any kind, on two nexuses, with task management in between.
 *
 * Input: steps of 20 bytes and what they take behind them: who and what, the CDB, the length the initiator says, how
 * many of the bytes that follow are its data. Every command is answered; a refusal says why; the units can be used
 * after it.
 */
#include "core/log.h"
#include "scsi/test_rig.h"

#define STEPS_MAX 16
#define STEP 20u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct rig rig;
static struct rig_nexus *nexuses[2];
static uint8_t buffer[65536];
static struct rig_task *pending[STEPS_MAX];
static uint32_t pending_count;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	rig_start(&rig, 3);
	log_set_level(LOG_ERROR);
	nexuses[0] = rig_join(&rig, 0, "iqn.host-a,i,0x1");
	nexuses[1] = rig_join(&rig, 1, "iqn.host-b,i,0x1");
	return 0;
}

static void wait_all(void)
{
	for (uint32_t i = 0; i < pending_count; i++) {
		struct rig_task t;

		rig_end(pending[i], &t);
		must(t.status != SCSI_CHECK_CONDITION || t.sense_len >= 8);
		must(t.got <= t.len);
	}
	pending_count = 0;
}

static void manage(struct rig_nexus *q, uint8_t what, uint32_t lun)
{
	static const uint8_t functions[] = { SCSI_TMF_ABORT_TASK, SCSI_TMF_ABORT_TASK_SET, SCSI_TMF_CLEAR_TASK_SET,
		SCSI_TMF_LU_RESET, SCSI_TMF_TARGET_WARM_RESET, SCSI_TMF_NEXUS_RESET, SCSI_TMF_QUERY_TASK, SCSI_TMF_CLEAR_ACA };

	rig_tmf(q, functions[what & 7], lun, pending_count ? pending[0]->task.tag : 0);
}

/* who: bit 0 nexus, 1-2 LUN, 3-4 direction, 5-6 attribute, 7 task management first. Returns how much it took. */
static size_t step(const uint8_t *in, size_t size)
{
	static const uint8_t dirs[] = { SCSI_DATA_NONE, SCSI_DATA_OUT, SCSI_DATA_IN, SCSI_DATA_OUT };
	struct rig_nexus *q = nexuses[in[0] & 1];
	uint32_t lun = in[0] >> 1 & 3, len = scsi_u16(in + 17), there = min_u32(in[19], (uint32_t)(size - STEP));
	enum scsi_data dir = dirs[in[0] >> 3 & 3];
	struct rig_cdb c = { { 0 } };

	memcpy(c.b, in + 1, 16);
	if (in[0] & 0x80)
		manage(q, in[19], lun);
	for (uint32_t i = 0; pending_count && i < pending_count; i++)
		if (pending[i]->q == q && dir != SCSI_DATA_NONE) {
			wait_all(); /* they share the buffer */
			break;
		}
	memset(buffer, in[0], len);
	memcpy(buffer, in + STEP, there);
	rig.no_lending = in[18] & 1;
	pending[pending_count++] = rig_send(q, lun, &c, dir, buffer, dir == SCSI_DATA_NONE ? 0 : len,
	                                    (uint8_t)(1 + (in[0] >> 5 & 3)));
	return STEP + there;
}

/* Whatever hosts did to each other can be undone. */
static void settle(void)
{
	struct rig_cdb clear = { .b = { SCSI_OP_TEST_UNIT_READY } };
	struct rig_cdb start = { .b = { SCSI_OP_START_STOP_UNIT, 0, 0, 0, 1 } };
	struct rig_cdb inquiry = { .b = { SCSI_OP_INQUIRY, 0, 0, 0, 36 } };

	wait_all();
	for (uint32_t i = 0; i < 2; i++) {
		for (uint32_t lun = 0; lun < 3; lun++) {
			for (uint32_t n = 0; n < SCSI_ATTENTIONS_MAX; n++)
				rig_cmd(nexuses[i], lun, &clear, SCSI_DATA_NONE, NULL, 0, NULL);
			must(!rig_cmd(nexuses[i], lun, &inquiry, SCSI_DATA_IN, buffer, 36, NULL));
			rig_cmd(nexuses[i], lun, &start, SCSI_DATA_NONE, NULL, 0, NULL);
		}
		must(!nexuses[i]->n.task_count && !nexuses[i]->n.gates && !nexuses[i]->n.waiting);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0;

	for (uint32_t i = 0; i < STEPS_MAX && at + STEP <= size; i++)
		at += step(data + at, size - at);
	settle();
	return 0;
}
