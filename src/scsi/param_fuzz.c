/* SPDX-License-Identifier: BSD-3-Clause */
/* param_fuzz.c: any bytes as the parameter list of the primary commands that have one: MODE SELECT, EXTENDED COPY,
 * SET TARGET PORT GROUPS.
 *
 * Input: commands, each of a byte that chooses it, two bytes of list length as the CDB says it, two of how much of the
 * list comes, and the list. Every command is answered, the units still answer after it, and nothing is left.
 */
#include "core/log.h"
#include "scsi/primary_rig.h"

#define COMMANDS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct rig rig;
static struct host host;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	hosts_start(&rig, 9);
	log_set_level(LOG_ERROR);
	host_join(&rig, &host, 1, 1);
	return 0;
}

static void make_cdb(uint8_t which, uint16_t len, uint8_t cdb[static 16])
{
	memset(cdb, 0, 16);
	switch (which & 3) {
	case 0:
		cdb[0] = SCSI_OP_MODE_SELECT_6;
		cdb[1] = 0x10;
		cdb[4] = (uint8_t)len;
		break;
	case 1:
		cdb[0] = SCSI_OP_MODE_SELECT_10;
		cdb[1] = 0x10;
		scsi_put16(cdb + 7, len);
		break;
	case 2:
		cdb[0] = SCSI_OP_EXTENDED_COPY_LID1;
		scsi_put32(cdb + 10, len);
		break;
	default:
		cdb[0] = SCSI_OP_SET_TARGET_GROUPS;
		cdb[1] = SCSI_SA_SET_TARGET_GROUPS;
		scsi_put32(cdb + 6, len);
	}
}

/* Returns how much of the input it took. */
static size_t step(const uint8_t *in, size_t size)
{
	uint16_t len = scsi_u16(in + 1), comes = scsi_u16(in + 3);
	uint32_t there = min_u32((uint32_t)size - 5, comes);
	uint8_t cdb[16];

	make_cdb(in[0], len, cdb);
	memset(host.out, in[0], comes);
	memcpy(host.out, in + 5, there);
	host_cmd(&host, in[0] >> 2 & 3, cdb, sizeof(cdb), comes);
	return 5 + there;
}

static void settle(void)
{
	static const uint8_t ready[6] = { SCSI_OP_TEST_UNIT_READY };
	static const uint8_t inquiry[6] = { SCSI_OP_INQUIRY, 1, 0x83, 4, 0 };

	for (uint32_t lun = 0; lun < 3; lun++) {
		for (uint32_t i = 0; i < SCSI_ATTENTIONS_MAX; i++)
			host_cmd(&host, lun, ready, sizeof(ready), 0);
		must(!host_cmd(&host, lun, inquiry, sizeof(inquiry), 0));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0;

	for (uint32_t i = 0; i < COMMANDS_MAX && at + 5 <= size; i++)
		at += step(data + at, size - at);
	settle();
	rig_set_alua(&rig, 1, SCSI_ALUA_OPTIMIZED);
	rig_set_alua(&rig, 2, SCSI_ALUA_OPTIMIZED);
	return 0;
}
