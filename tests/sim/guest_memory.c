/* SPDX-License-Identifier: BSD-3-Clause */
/* guest_memory.c: a guest's memory as the device is told of it: as a table, or region by region; and memory that is
 * unplugged and plugged again. */
#include "guest.h"

/* All but what is unplugged, in pieces: rings are in the first one. */
static uint32_t cut_memory(const struct guest *g, struct guest_piece *ret_pieces)
{
	uint32_t cuts = (uint32_t)sim_draw(4), begin = 0, all = g->unplugged ? g->plug_at : g->memory_len, count = 0;

	for (uint32_t i = 0; i <= cuts; i++) {
		uint32_t least = max_u32(begin, g->data_at), pages = (g->plug_at - least) / GUEST_PAGE;
		uint32_t end = i == cuts ? g->plug_at : least + (uint32_t)sim_draw(pages) * GUEST_PAGE;

		if (end == begin)
			continue;
		ret_pieces[count++] = (struct guest_piece){ begin, end - begin };
		begin = end;
	}
	if (all > begin)
		ret_pieces[count++] = (struct guest_piece){ begin, all - begin };
	return count;
}

static struct vu_region region_of(const struct guest_piece *p)
{
	return (struct vu_region){ GUEST_BASE + p->at, p->len, GUEST_USER + p->at, p->at };
}

static void say_region(struct guest *g, uint32_t request, const struct guest_piece *p, guest_heard_fn *heard)
{
	struct vu_msg m;

	vu_request(request, VU_PAYLOAD_MEM_REG, &m);
	m.region = region_of(p);
	m.fd_count = request == VU_ADD_MEM_REG;
	m.fds[0] = g->fd;
	guest_say(g, &m, NULL, heard);
}

static bool by_region(const struct guest *g) { return g->protocol & VU_P_BIT(CONFIGURE_MEM_SLOTS); }

static void say_table(struct guest *g)
{
	struct guest_piece pieces[GUEST_PIECES_MAX];
	struct vu_msg m;

	vu_request(VU_SET_MEM_TABLE, VU_PAYLOAD_MEMORY, &m);
	m.fd_count = m.memory.count = cut_memory(g, pieces);
	for (uint32_t i = 0; i < m.fd_count; i++) {
		m.memory.at[i] = region_of(&pieces[i]);
		m.fds[i] = g->fd;
	}
	guest_say(g, &m, NULL, NULL);
}

/* What is there already takes its own place, in whatever order. */
void guest_say_memory(struct guest *g)
{
	uint32_t from;

	if (!by_region(g)) {
		say_table(g);
		return;
	}
	if (!g->piece_count)
		g->piece_count = cut_memory(g, g->pieces);
	from = (uint32_t)sim_draw(g->piece_count);
	for (uint32_t i = 0; i < g->piece_count; i++)
		say_region(g, VU_ADD_MEM_REG, &g->pieces[(from + i) % g->piece_count], NULL);
}

void guest_drop_memory(struct guest *g)
{
	for (; by_region(g) && g->piece_count; g->piece_count--)
		say_region(g, VU_REM_MEM_REG, &g->pieces[g->piece_count - 1], NULL);
}

void guest_unplug(struct guest *g)
{
	g->unplugging = true;
	for (uint32_t n = 0; n < g->all_count; n++)
		for (uint32_t i = GUEST_REQS - GUEST_PLUGGED_REQS; i < GUEST_REQS; i++)
			if (g->queues[n].reqs[i].out)
				return; /* not yet */
	memcpy(g->plug_was, guest_at(g, g->plug_at), g->memory_len - g->plug_at);
	g->unplugging = false;
	g->unplugged = true;
	if (by_region(g))
		say_region(g, VU_REM_MEM_REG, &g->pieces[--g->piece_count], NULL);
	else
		say_table(g);
}

static void plugged(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	g->unplugged = false;
}

static void plugged_by_table(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	g->unplugging = false;
}

void guest_plug(struct guest *g)
{
	struct guest_piece *p = &g->pieces[g->piece_count];

	if (memcmp(g->plug_was, guest_at(g, g->plug_at), g->memory_len - g->plug_at))
		g->ops->wrong(g, "memory was written to that had been taken away");
	if (by_region(g)) {
		*p = (struct guest_piece){ g->plug_at, g->memory_len - g->plug_at };
		g->piece_count++;
		say_region(g, VU_ADD_MEM_REG, p, plugged);
		return;
	}
	g->unplugged = false; /* as of that table; nothing is put there before it is answered */
	g->unplugging = true;
	say_table(g);
	guest_say_none(g, VU_GET_FEATURES, plugged_by_table);
}
