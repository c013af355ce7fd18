/* SPDX-License-Identifier: BSD-3-Clause */
/* primary_rig.c: hosts whose commands are bytes. */
#include "scsi/primary_rig.h"

#include <stdio.h>

static void make_disks(void *arg)
{
	struct rig *r = arg;
	static const struct malloc_opts disks[] = {
		{ .name = "disk0", .block_count = DISK_BLOCKS, .block_size = 512, .uuid = { "0123456789abcde0" } },
		{ .name = "disk1", .block_count = DISK_BLOCKS, .block_size = 512, .uuid = { "0123456789abcde1" } },
		{ .name = "disk2", .block_count = 64, .block_size = 4096, .uuid = { "0123456789abcde2" } },
	};
	struct bdev *b;

	for (uint32_t i = 0; i < ARRAY_SIZE(disks); i++)
		must(!malloc_create(r->reg, &disks[i], &b, NULL));
}

void hosts_start(struct rig *r, uint64_t seed)
{
	static const char *const names[] = { "disk0", "disk1", "disk2" };

	rig_start(r, seed);
	rig_on(core_control(r->core), make_disks, r);
	for (uint32_t lun = 0; lun < ARRAY_SIZE(names); lun++) {
		rig_remove_lun(r, lun);
		must(!rig_add_lun(r, names[lun], lun, false));
	}
}

void host_join(struct rig *r, struct host *h, uint32_t core, uint16_t port)
{
	char name[64];

	memset(h, 0, sizeof(*h));
	h->in = base_zalloc(HOST_DATA_MAX);
	h->out = base_zalloc(HOST_DATA_MAX);
	snprintf(name, sizeof(name), "iqn.2026-01.io.gantry:host%u,i,0x%012x", core, core);
	h->q = rig_join(r, core, name);
	h->q->n.port = port;
	for (uint32_t lun = 0; lun < 3; lun++)
		while (CMD(h, lun, 0, SCSI_OP_TEST_UNIT_READY, 0, 0, 0, 0, 0))
			;
}

void host_leave(struct host *h)
{
	free(h->in);
	free(h->out);
}

uint8_t host_cmd(struct host *h, uint32_t lun, const uint8_t *cdb, uint32_t cdb_len, uint32_t out_len)
{
	struct rig_cdb c = { 0 };
	struct rig_task rt;
	uint8_t status;

	memcpy(c.b, cdb, cdb_len);
	memset(h->in, 0xee, 4096); /* what is not sent is not taken for something */
	if (out_len)
		status = rig_cmd(h->q, lun, &c, SCSI_DATA_OUT, h->out, out_len, &rt);
	else
		status = rig_cmd(h->q, lun, &c, SCSI_DATA_IN, h->in, HOST_DATA_MAX, &rt);
	h->got = rt.got;
	h->key = rt.key;
	h->asc = rt.asc;
	memcpy(h->sense, rt.sense, sizeof(h->sense));
	return status;
}

uint8_t host_fill(struct host *h, uint32_t lun, uint32_t lba, uint16_t blocks, uint32_t block_size, uint8_t with)
{
	struct rig_cdb c = rig_rw(SCSI_OP_WRITE_10, lba, blocks);

	memset(h->out, with, blocks * block_size);
	return host_cmd(h, lun, c.b, 10, blocks * block_size);
}

bool host_finds(struct host *h, uint32_t lun, uint32_t lba, uint16_t blocks, uint32_t block_size, uint8_t with)
{
	struct rig_cdb c = rig_rw(SCSI_OP_READ_10, lba, blocks);

	if (host_cmd(h, lun, c.b, 10, 0) || h->got != blocks * block_size)
		return false;
	for (uint32_t i = 0; i < h->got; i++)
		if (h->in[i] != with)
			return false;
	return true;
}
