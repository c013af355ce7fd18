/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_fuzz.c: a host that posts what it likes, against a whole target over simulated adapters.
 *
 * The first byte says how far the host behaves before it does not: fuzzed private data, or a good connection, with or
 * without Connect, of an admin or an I/O queue. The rest is pieces: a byte of kind and length, and bytes: raw capsules,
 * commands around fuzzed fields and descriptors, lists of descriptors. In the end nothing may be left: no
 * connection, no buffer, no shared receive.
 */
#include "core/log.h"
#include "core/mem.h"
#include "nvmf/rdma/test_world.h"

#define IO_QUEUE 1u
#define PRIVATE 2u  /* the private data is fuzz */
#define CONNECT 4u
#define DRY 8u      /* buffers are hard to get */
#define RUDE 16u    /* it closes while things are under way */

static struct test_world world;
static struct host admin, host;
static uint16_t cntlid;

static void begin(void)
{
	static bool begun;

	if (begun)
		return;
	begun = true;
	log_set_level(LOG_ERROR);
	world.cores = 1;
	world_start(&world, 1, NULL);
	host_ready(&admin, &world, 0, &cntlid);
}

static bool behave(uint8_t how, const uint8_t *at, size_t len)
{
	uint16_t id = cntlid;

	host_init(&host, &world, how & IO_QUEUE, 32);
	if (how & PRIVATE) {
		memcpy(&host.req, at, min_u64(len, sizeof(host.req)));
		host.params.data_len = (uint8_t)min_u64(len, VERBS_PRIVATE_MAX);
		host.params.data = at;
		host.params.read_serve = len ? at[len - 1] & 0x1f : 0;
	}
	if (!host_connect_rdma(&host))
		return false;
	return !(how & CONNECT) || !host_connect(&host, how & IO_QUEUE, how & IO_QUEUE ? id : NVME_CNTLID_DYNAMIC, &id);
}

/* One byte each: opcode, blocks, descriptor, its length, capsule's length; the rest goes over the command's fields, or
 * over the data. */
static void send_command(const uint8_t *at, uint32_t len)
{
	static const uint8_t ids[] = { 0x40, 0x4f, 0x01, 0x31, 0x00, 0x5a, 0x45, 0x30 };
	uint8_t data[4224] = { 0 };
	struct nvme_sqe sqe = host_rw(at[0], 0, 1u + at[1]);
	uint32_t data_len = (at[4] * 32u) % 4200;

	sqe.sgl1 = host_keyed(&host, at[3] * 64u, at[2] & 8 ? at[3] * 512u : (1u + at[1]) * TEST_BLOCK, false);
	sqe.sgl1.id = ids[at[2] & 7];
	if (sqe.sgl1.id == 0x31 || sqe.sgl1.id == 0x01 || sqe.sgl1.id == 0x30) {
		sqe.sgl1 = host_in_capsule(at[3] & 0x3f, sqe.sgl1.id == 0x01 ? (1u + at[1]) * TEST_BLOCK : (at[3] >> 3) * 16u);
		sqe.sgl1.id = ids[at[2] & 7];
		for (uint32_t i = 0; i < 20; i++) {
			struct nvme_sgl d = host_keyed(&host, i * 4096, (1u + at[1]) * 64u, at[2] & 16);

			memcpy(data + (at[3] & 0x3f) + i * sizeof(d), &d, sizeof(d));
		}
	}
	if (at[2] & 32)
		memcpy(data, at + 5, len - 5);
	else if (at[2] & 64)
		memcpy((uint8_t *)&sqe + 24, at + 5, min_u32(len - 5, 40));
	host_command(&host, &sqe, data, data_len);
}

static void send_pieces(const uint8_t *at, const uint8_t *end)
{
	while (end - at > 1 && !host.ended && host.sent < HOST_SLOTS - 32) {
		uint32_t len = (uint32_t)min_u64(at[0] & 0x3f, (size_t)(end - at - 1));
		uint8_t kind = at[0] >> 6;

		at++;
		if (kind <= 1 && len >= 5)
			send_command(at, len);
		else if (kind == 2 && len)
			host_raw(&host, at, len);
		else
			world_pass(20 * NS_PER_US);
		at += len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 4096)
		return 0;
	begin();
	if (behave(data[0], data + 1, size - 1)) {
		mem_starve(world.core, data[0] & DRY ? 2 : 0);
		send_pieces(data + 1, data + size);
		if (!(data[0] & RUDE))
			world_pass(5 * NS_PER_MS);
		mem_starve(world.core, 0);
	}
	host_close(&host);
	must(world_conns_become(&world, 1));
	must(world_holds_nothing(&world));
	return 0;
}
