/* SPDX-License-Identifier: BSD-3-Clause */
/* rogue.c: see rogue.h. */
#include "rogue.h"

static void any_payload(const struct guest *g, struct vu_msg *m);
static uint64_t some_number(const struct guest *g);

void rogue_scribbles(struct guest *g)
{
	bool rings = sim_chance(70);
	uint32_t from = rings ? 0 : g->data_at, to = rings ? g->data_at : g->memory_len;

	for (uint64_t n = 1 + sim_draw(20); n; n--) {
		uint32_t at = from + (uint32_t)sim_draw(to - from);

		*guest_at(g, at) = (uint8_t)(sim_chance(50) ? sim_draw(256) : sim_draw(3));
	}
	for (uint32_t i = 0; g->inflight.base && sim_chance(30) && i < 4; i++)
		g->inflight.base[sim_draw(g->inflight.len)] = (uint8_t)sim_draw(256);
}

void rogue_says(struct guest *g)
{
	static const uint8_t kinds[] = { VU_PAYLOAD_NONE, VU_PAYLOAD_U64, VU_PAYLOAD_STATE, VU_PAYLOAD_ADDR,
		VU_PAYLOAD_MEMORY, VU_PAYLOAD_MEM_REG, VU_PAYLOAD_LOG, VU_PAYLOAD_CONFIG, VU_PAYLOAD_INFLIGHT };
	static const uint8_t usual[VU_REQUEST_END] = {
		[VU_SET_FEATURES] = VU_PAYLOAD_U64, [VU_SET_MEM_TABLE] = VU_PAYLOAD_MEMORY, [VU_SET_LOG_BASE] = VU_PAYLOAD_LOG,
		[VU_SET_VRING_NUM] = VU_PAYLOAD_STATE, [VU_SET_VRING_ADDR] = VU_PAYLOAD_ADDR,
		[VU_SET_VRING_BASE] = VU_PAYLOAD_STATE, [VU_GET_VRING_BASE] = VU_PAYLOAD_STATE,
		[VU_SET_VRING_KICK] = VU_PAYLOAD_U64, [VU_SET_VRING_CALL] = VU_PAYLOAD_U64, [VU_SET_VRING_ERR] = VU_PAYLOAD_U64,
		[VU_SET_PROTOCOL_FEATURES] = VU_PAYLOAD_U64, [VU_SET_VRING_ENABLE] = VU_PAYLOAD_STATE,
		[VU_IOTLB_MSG] = VU_PAYLOAD_IOTLB, [VU_GET_CONFIG] = VU_PAYLOAD_CONFIG, [VU_SET_CONFIG] = VU_PAYLOAD_CONFIG,
		[VU_GET_INFLIGHT_FD] = VU_PAYLOAD_INFLIGHT, [VU_SET_INFLIGHT_FD] = VU_PAYLOAD_INFLIGHT,
		[VU_VRING_KICK] = VU_PAYLOAD_STATE, [VU_ADD_MEM_REG] = VU_PAYLOAD_MEM_REG,
		[VU_REM_MEM_REG] = VU_PAYLOAD_MEM_REG, [VU_SET_STATUS] = VU_PAYLOAD_U64,
	};
	const int some_fds[] = { g->fd, g->inflight_fd, bell_fd(&g->queues[0].kick), bell_fd(&g->queues[0].call) };
	uint32_t request = (uint32_t)sim_draw(sim_chance(95) ? VU_REQUEST_END : 60), len, count = 0;
	uint8_t bytes[VU_BYTES_MAX];
	int fds[4];
	struct vu_msg m;

	vu_request(request, request < VU_REQUEST_END && sim_chance(90) ? (enum vu_payload)usual[request] :
	           (enum vu_payload)kinds[sim_draw(ARRAY_SIZE(kinds))], &m);
	memset(&m.u64, 0, sizeof(m) - offsetof(struct vu_msg, u64));
	any_payload(g, &m);
	m.flags |= sim_chance(50) ? VU_FLAG_NEED_REPLY : 0;
	len = vu_encode(&m, bytes);
	if (sim_chance(5))
		bytes[sim_draw(len)] = (uint8_t)sim_draw(256);
	if (sim_chance(3))
		len = 1 + (uint32_t)sim_draw(len);
	for (uint64_t n = sim_chance(50) ? 1 : sim_draw(5); n; n--) {
		fds[count] = some_fds[sim_draw(4)];
		count += fds[count] >= 0;
	}
	guest_say_raw(g, bytes, len, fds, count);
}

static void any_payload(const struct guest *g, struct vu_msg *m)
{
	switch (m->kind) {
	case VU_PAYLOAD_STATE:
		m->state = (struct vu_state){ (uint32_t)sim_draw(5), (uint32_t)some_number(g) };
		break;
	case VU_PAYLOAD_ADDR:
		m->addr = (struct vu_addr){ (uint32_t)sim_draw(5), (uint32_t)sim_draw(3), some_number(g), some_number(g),
			some_number(g), some_number(g) };
		break;
	case VU_PAYLOAD_MEMORY:
		m->memory.count = (uint32_t)sim_draw(VU_REGIONS_MAX + 1);
		for (uint32_t i = 0; i < m->memory.count; i++)
			m->memory.at[i] = (struct vu_region){ some_number(g), some_number(g), some_number(g), some_number(g) };
		break;
	case VU_PAYLOAD_MEM_REG:
		m->region = (struct vu_region){ some_number(g), some_number(g), some_number(g), some_number(g) };
		break;
	case VU_PAYLOAD_LOG:
		m->log = (struct vu_log){ some_number(g), some_number(g) };
		break;
	case VU_PAYLOAD_CONFIG:
		m->config = (struct vu_config){ (uint32_t)sim_draw(300), (uint32_t)sim_draw(VU_CONFIG_MAX), 0, { 1 } };
		break;
	case VU_PAYLOAD_INFLIGHT:
		m->inflight = (struct vu_inflight){ some_number(g), sim_draw(3) * 8, (uint16_t)sim_draw(130),
			(uint16_t)sim_draw(1100) };
		break;
	default:
		m->u64 = some_number(g);
	}
}

/* Mostly near what there is. */
static uint64_t some_number(const struct guest *g)
{
	switch (sim_draw(6)) {
	case 0:
		return sim_draw(4);
	case 1:
		return GUEST_USER + sim_draw(g->memory_len) / 16 * 16;
	case 2:
		return GUEST_BASE + sim_draw(g->memory_len) / GUEST_PAGE * GUEST_PAGE;
	case 3:
		return sim_draw(g->memory_len);
	case 4:
		return UINT64_MAX - sim_draw(5000);
	default:
		return sim_draw(UINT64_MAX);
	}
}
