/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp_conn_fuzz.c: bytes from a wire into a connection of a whole target, over the simulated network.
 *
 * The first byte says how far the host behaves before it does not: ICReq, Connect of an admin or an I/O queue, which
 * digests. The rest is pieces: a length byte and what to send. Some pieces are commands and data PDUs around fuzzed
 * fields, since valid framing would hardly be found by chance. In the end nothing may be left:
 * no connection, no buffer.
 */
#include "core/log.h"
#include "core/mem.h"
#include "nvmf/tcp/test_world.h"

#define IO_QUEUE 1u
#define HELLO 2u
#define CONNECT 4u
#define DIGESTS 3 /* shift, two bits */
#define DRY 0x20u /* buffers are hard to get */

static struct test_world world;
static struct host admin, host;

static void begin(void)
{
	static bool begun;
	uint16_t cntlid;

	if (begun)
		return;
	begun = true;
	log_set_level(LOG_ERROR);
	world.protected = true;
	world_start(&world, 1, NULL, NULL);
	host_ready(&admin, &world, 0, 0, 0, &cntlid);
	world.fuzz_cntlid = cntlid;
}

static bool behave(uint8_t how)
{
	uint16_t cntlid = world.fuzz_cntlid;

	if (!(how & HELLO))
		return true;
	if (!host_hello(&host, 0, how >> DIGESTS & 3))
		return false;
	if (!(how & CONNECT))
		return true;
	return !host_connect(&host, how & IO_QUEUE, how & IO_QUEUE ? cntlid : NVME_CNTLID_DYNAMIC, &cntlid);
}

/* A command: opcode, SGL and length are fuzz, and so is how much data comes with it. */
static void send_command(const uint8_t *at, uint32_t len)
{
	static const uint8_t sgl_ids[] = { 0x5a, 0x01, 0x00, 0x40 };
	static const uint8_t data[8192];
	struct nvme_sqe sqe = host_rw(at[0], 0, 1u + at[1]);
	uint32_t data_len = len > 5 ? (at[4] | (uint32_t)at[5] << 8) % sizeof(data) : 0;

	if (len > 6)
		memcpy((uint8_t *)&sqe + 40, at + 6, min_u32(len - 6, 24));
	sqe.nsid = le32_of(at[2] & 8 ? 2 : 1);
	sqe.sgl1.id = sgl_ids[at[2] & 3];
	sqe.sgl1.length = le32_of(at[2] & 4 ? (1u + at[1]) * (at[2] & 8 ? 520 : TEST_BLOCK) : at[3] * 64u);
	host_command(&host, &sqe, data, data_len);
}

static void send_h2c_data(const uint8_t *at)
{
	static const uint8_t data[256 * TEST_BLOCK];

	host_h2c_data(&host, (uint16_t)(host.cid - (at[0] & 3)), at[1] & 7, at[2] * TEST_BLOCK, data, at[3] * TEST_BLOCK,
	              at[0] & 4);
}

static void send_pieces(const uint8_t *at, const uint8_t *end)
{
	while (end - at > 1) {
		uint32_t len = (uint32_t)min_u64(at[0] & 0x3f, (size_t)(end - at - 1));
		uint8_t kind = at[0] >> 6;

		at++;
		if (kind == 1 && len >= 4)
			send_command(at, len);
		else if (kind == 2 && len >= 4)
			send_h2c_data(at);
		else
			host_send(&host, at, len);
		if (kind == 3)
			world_pass(50 * NS_PER_US);
		at += len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mem_stats m;

	if (size < 2 || size > 4096)
		return 0;
	begin();
	host_open(&host, &world);
	if (behave(data[0])) {
		mem_starve(world.core, data[0] & DRY ? 2 : 0);
		host.peer.ignores = true; /* a few hundred bytes can ask for more answers than a test keeps */
		send_pieces(data + 1, data + size);
		world_pass(5 * NS_PER_MS);
		mem_starve(world.core, 0);
	}
	host_close(&host);
	world_pass(10 * NS_PER_MS);
	must(sim_net_connections() == 1);
	mem_get_stats(world.core, &m);
	must(!m.in_use_bytes && !m.waiting);
	return 0;
}
