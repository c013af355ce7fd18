/* SPDX-License-Identifier: BSD-3-Clause */
/* pr_fuzz.c: two initiators and any PERSISTENT RESERVE OUT: each is answered, and what READ FULL STATUS says afterwards
 * is consistent.
 *
 * Input: commands, each of a byte for who and which service action, one for scope and type, one for how long the list
 * is, and the list.
 */
#include "core/log.h"
#include "scsi/test_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define COMMANDS_MAX 8

static struct rig rig;
static struct rig_nexus *hosts[2];
static uint8_t list[256], in[32768];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_level(LOG_ERROR);
	rig_start(&rig, 5);
	hosts[0] = rig_join(&rig, 0, "iqn.a,i,0x000000000001");
	hosts[1] = rig_join(&rig, 1, "iqn.b,i,0x000000000002");
	return 0;
}

static uint32_t pr_out(struct rig_nexus *q, uint8_t sa, uint8_t type, uint32_t len)
{
	struct rig_cdb c = { .b = { 0x5f, sa & 0x1f, type } };

	scsi_put32(c.b + 5, len);
	return rig_try(q, 0, &c, SCSI_DATA_OUT, list, len);
}

static size_t step(const uint8_t *at, size_t size)
{
	uint32_t len = at[2], there = min_u32((uint32_t)size - 3, len);

	memset(list, 0, sizeof(list));
	memcpy(list, at + 3, there);
	pr_out(hosts[at[0] >> 7], at[0], at[1], len);
	return 3 + there;
}

/* Every registrant has a key and a TransportID, and at most one holds it, or all do. */
static void check(void)
{
	struct rig_cdb c = { .b = { 0x5e, SCSI_SA_PR_IN_READ_FULL_STATUS } };
	uint32_t at = 8, end, count = 0, holders = 0;
	uint8_t type = 0;

	scsi_put16(c.b + 7, sizeof(in));
	for (uint32_t tries = 0; rig_try(hosts[0], 0, &c, SCSI_DATA_IN, in, sizeof(in)); tries++)
		must(tries < SCSI_ATTENTIONS_MAX);
	end = at + scsi_u32(in + 4);
	must(end <= sizeof(in));
	for (; at < end; count++) {
		must(scsi_u64(in + at));
		holders += in[at + 12] & 1;
		type |= in[at + 13];
		must(scsi_u32(in + at + 20) >= 24);
		at += 24 + scsi_u32(in + at + 20);
	}
	must(at == end);
	must(type >= 7 ? holders == count : holders == (type ? 1 : 0));
}

static void forget(void)
{
	memset(list, 0, sizeof(list));
	scsi_put64(list + 8, 1);
	for (uint32_t tries = 0; pr_out(hosts[0], SCSI_SA_PR_OUT_REGISTER_IGNORE, 0, 24); tries++)
		must(tries < SCSI_ATTENTIONS_MAX);
	scsi_put64(list, 1);
	must(pr_out(hosts[0], SCSI_SA_PR_OUT_CLEAR, 0, 24) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0;

	for (uint32_t n = 0; n < COMMANDS_MAX && size - at >= 3; n++)
		at += step(data + at, size - at);
	check();
	forget();
	return 0;
}
