/* SPDX-License-Identifier: BSD-3-Clause */
/* conn_fuzz.c: bytes from a wire into a session of a whole target, over the simulated network.
 *
 * The first byte says how the session was negotiated, and whether buffers are hard to get. The rest is pieces: a length
 * byte and what to send. Some pieces are whole PDUs around fuzzed fields, since valid framing would hardly be found by
 * chance; what they name is mostly there. In the end nothing may be left: no connection, no buffer.
 */
#include <stdio.h>

#include "core/log.h"
#include "core/mem.h"
#include "iscsi/test_world.h"
#include "wire/scsi.h"

#define DIGESTS 1u
#define SMALL 2u
#define UNASKED 4u
#define NO_LOGIN 8u
#define DRY 0x10u /* buffers are hard to get */
#define MOVES 0x20u
#define PIECES 0x40u /* most commands are long */

static struct test_world world;
static struct host host;
static uint8_t data[65536];

static void begin(void)
{
	static bool begun;

	if (begun)
		return;
	begun = true;
	log_set_level(LOG_ERROR);
	world_start(&world, 1, NULL);
}

static bool behave(uint8_t how)
{
	char keys[256];

	if (how & NO_LOGIN)
		return true;
	snprintf(keys, sizeof(keys), "%s%s%s", how & DIGESTS ? "HeaderDigest=CRC32C\nDataDigest=CRC32C\n" : "",
	         how & SMALL ? "MaxRecvDataSegmentLength=512\nMaxBurstLength=4096\nFirstBurstLength=2048\n"
	                       "MaxOutstandingR2T=4\n" : "",
	         how & UNASKED ? "InitialR2T=No\n" : "");
	return host_login(&host, "iqn.2026-11.test:fuzz", keys);
}

/* A command: CDB, direction, lengths, number are fuzz, or nearly right. */
static void send_command(const uint8_t *at, uint32_t len)
{
	union iscsi_bhs b = host_rw(&host, at[0] & 1, at[1], 1u + at[2]);
	uint32_t data_len = at[0] & 2 ? at[3] * 64u : 0;

	b.command.itt = be32_of(at[0] & 4 ? host.itt : ++host.itt);
	b.command.cmd_sn = be32_of(at[0] & 8 ? host.cmd_sn + at[3] : host.cmd_sn++);
	if (at[0] & 16)
		b.command.flags = at[4];
	if (at[0] & 32)
		b.command.expected_len = be32_of(at[4] * 100u);
	if (len > 5)
		memcpy(b.command.cdb, at + 5, min_u32(len - 5, 16));
	if (at[0] & 64)
		b.h.opcode |= ISCSI_IMMEDIATE;
	host_send_pdu(&host, &b, data, data_len);
}

static void send_data_out(const uint8_t *at)
{
	uint32_t ttt = at[0] & 1 ? ISCSI_TAG_NONE : (uint32_t)(at[1] & 7) << 24 | (uint32_t)(at[1] >> 3 & 7) << 16 | at[2];

	host_data_out(&host, host.itt - (at[0] >> 1 & 3), ttt, at[3] & 3, (at[3] >> 2) * 512u, data, at[4] * 256u,
	              at[0] & 8);
}

/* What has no data of its own kind: NOP, task management, text, logout, SNACK, with fuzz in their fields. */
static void send_other(const uint8_t *at, uint32_t len)
{
	static const uint8_t opcodes[] = { ISCSI_OP_NOP_OUT, ISCSI_OP_TMF, ISCSI_OP_TEXT, ISCSI_OP_LOGOUT, ISCSI_OP_SNACK,
	                                   ISCSI_OP_LOGIN, ISCSI_OP_TMF, ISCSI_OP_NOP_OUT };
	union iscsi_bhs b = { .h = { .opcode = opcodes[at[0] & 7] | ISCSI_IMMEDIATE, .flags = ISCSI_FINAL } };
	uint32_t data_len = 0;

	b.h.itt = be32_of(++host.itt);
	b.nop_out.ttt = be32_of(ISCSI_TAG_NONE);
	b.nop_out.cmd_sn = be32_of(host.cmd_sn);
	if (b.h.opcode == (ISCSI_OP_TMF | ISCSI_IMMEDIATE)) {
		b.tmf.function = ISCSI_FINAL | (at[1] & 15);
		b.tmf.ref_task_tag = be32_of(host.itt - 1 - (at[1] >> 4));
		b.tmf.ref_cmd_sn = be32_of(host.cmd_sn - 1 - (at[2] & 3));
	} else if (len > 4) {
		data_len = min_u32(len - 4, 60);
	}
	if (at[0] & 8) {
		b.h.opcode = (uint8_t)(b.h.opcode & ~ISCSI_IMMEDIATE);
		host.cmd_sn += at[0] & 16 ? 0 : 1;
	}
	if (at[0] & 32)
		b.h.flags = at[3];
	host_send_pdu(&host, &b, at + 4, data_len);
}

/* --- a move in between --- */

static struct iscsi_move hand;
static bool moving;

static void moved(struct iscsi_move *m)
{
	moving = false;
}

static void find_session(void *arg, const struct iscsi_conn_info *i)
{
	if (i->phase == ISCSI_CONN_NORMAL)
		*(uint32_t *)arg = i->id;
}

static void move(void *arg)
{
	static uint32_t to;
	uint32_t id = 0;

	iscsi_conns_each(world.target, find_session, &id);
	if (!id || moving)
		return;
	moving = true;
	hand = (struct iscsi_move){ .done = moved };
	iscsi_conn_move(world.target, &hand, id, core_reactor(world.core, ++to % world.cores));
}

static void send_pieces(const uint8_t *at, const uint8_t *end, bool moves)
{
	while (end - at > 1) {
		uint32_t len = (uint32_t)min_u64(at[0] & 0x1f, (size_t)(end - at - 1));
		uint8_t kind = at[0] >> 5;

		at++;
		if (kind <= 2 && len >= 5)
			send_command(at, len);
		else if (kind == 3 && len >= 5)
			send_data_out(at);
		else if (kind <= 5 && len >= 4)
			send_other(at, len);
		else
			host_send(&host, at, len);
		if (kind & 1)
			world_pass(50 * NS_PER_US);
		if (kind == 7 && moves)
			sim_as(core_control(world.core), move, NULL);
		at += len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct mem_stats m;

	if (size < 2 || size > 4096)
		return 0;
	begin();
	world.target->options.piece_bytes = bytes[0] & PIECES ? 4096 : 1u << 20;
	host_open(&host, &world);
	if (behave(bytes[0])) {
		mem_starve(world.core, bytes[0] & DRY ? 2 : 0);
		host.peer.ignores = true; /* a few hundred bytes can ask for more answers than a test keeps */
		send_pieces(bytes + 1, bytes + size, bytes[0] & MOVES);
		world_pass(5 * NS_PER_MS);
		mem_starve(world.core, 0);
	}
	host_close(&host);
	world_pass(300 * NS_PER_MS);
	must(!moving);
	must(!sim_net_connections());
	mem_get_stats(world.core, &m);
	must(!m.in_use_bytes && !m.charged_bytes && !m.waiting);
	return 0;
}
