/* SPDX-License-Identifier: BSD-3-Clause */
/* guest_log.c: a guest's live migration: pages that its driver or the device wrote to are copied until it stops. */
#include <stdio.h>

#include "guest.h"

void guest_log_begin(struct guest *g, guest_heard_fn *begun)
{
	uint64_t size = align_up((GUEST_BASE + g->memory_len) / GUEST_PAGE / 8 + 1, GUEST_PAGE);
	struct err e = { 0 };
	struct vu_msg m;

	guest_log_drop(g);
	g->log_fd = share_make("log", size, &e);
	must(!share_map(&g->log, g->log_fd, 0, size, true, &e));
	vu_request(VU_SET_LOG_BASE, VU_PAYLOAD_LOG, &m);
	m.log = (struct vu_log){ size, 0 };
	m.fd_count = 1;
	m.fds[0] = g->log_fd;
	guest_say(g, &m, NULL, NULL);
	guest_say_features(g, g->features | VIRTIO_BIT(VIRTIO_F_LOG_ALL));
	for (uint32_t n = 0; n < g->all_count; n++)
		guest_say_addr(&g->queues[n], VU_VRING_LOG, NULL);
	guest_say_none(g, VU_GET_FEATURES, begun);
}

static bool take_bit(struct guest *g, uint32_t page)
{
	uint64_t bit = GUEST_BASE / GUEST_PAGE + page;
	uint8_t *byte = g->log.base + bit / 8, mask = (uint8_t)(1u << bit % 8);
	bool is_set = *byte & mask;

	*byte &= (uint8_t)~mask;
	return is_set;
}

void guest_copy(struct guest *g)
{
	if (!g->logging) { /* the first time: all of it */
		g->logging = true;
		memset(g->own, 0, g->memory_len / GUEST_PAGE);
		memcpy(g->copy, g->share.base, g->memory_len);
		return;
	}
	for (uint32_t page = 0; page < g->memory_len / GUEST_PAGE; page++) {
		bool marked = take_bit(g, page);

		if (!marked && !g->own[page])
			continue;
		g->own[page] = 0;
		g->pages_copied += marked;
		memcpy(g->copy + page * GUEST_PAGE, guest_at(g, page * GUEST_PAGE), GUEST_PAGE);
	}
}

void guest_log_end(struct guest *g)
{
	char what[160];

	guest_copy(g);
	for (uint32_t at = 0; at < g->memory_len; at++) {
		if (g->copy[at] == *guest_at(g, at))
			continue;
		snprintf(what, sizeof(what), "after the last copy byte 0x%x of its memory differs (the rings end at 0x%x): its "
		         "page was not marked", at, g->data_at);
		for (uint32_t n = 0; n < g->all_count; n++)
			for (int a = 0; a < 3; a++)
				if (at - g->queues[n].area[a] < g->queues[n].area_len[a])
					snprintf(what, sizeof(what), "after the last copy byte 0x%x of area %d of queue %u (%u "
					         "descriptors, %u bytes) differs: its page was not marked", at - g->queues[n].area[a], a, n,
					         g->queues[n].size, g->queues[n].area_len[a]);
		g->ops->wrong(g, what);
		break;
	}
	g->logging = false;
	guest_say_features(g, g->features);
}

void guest_log_drop(struct guest *g)
{
	share_unmap(&g->log);
	if (g->log_fd >= 0)
		core_fd_close(g->log_fd);
	g->log_fd = -1;
	g->logging = false;
}
