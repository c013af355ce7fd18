/* SPDX-License-Identifier: BSD-3-Clause */
/* load.c: see load.h. */
#include "load.h"

#include <stdio.h>

#include "seeds.h"
#include "wire/scsi.h"

void member_fail(struct member *m, const char *what)
{
	seeds_fail("guest %u: %s", m->index, what);
}

static struct fate *fate_at(struct member *m, uint32_t generation)
{
	if (generation >= m->fate_room) {
		uint32_t room = max_u32(m->fate_room * 2, 1024);

		m->fates = realloc(m->fates, room * sizeof(*m->fates));
		memset(m->fates + m->fate_room, 0, (room - m->fate_room) * sizeof(*m->fates));
		m->fate_room = room;
	}
	return &m->fates[generation];
}

void load_begins(void *arg, uint64_t lba, const uint8_t *data)
{
	struct member *m = arg;

	if (oracle_generation(data) < m->fate_room)
		fate_at(m, oracle_generation(data))->begun = true;
}

bool load_has_begun(struct member *m, const struct guest_req *r)
{
	return r->generation && r->generation < m->fate_room && m->fates[r->generation].begun;
}

/* Just when it lands. */
void load_lands(void *arg, uint64_t lba, const uint8_t *data)
{
	struct member *m = arg;
	struct fate *f;

	if (!data)
		return;
	if (oracle_generation(data) >= m->fate_room) {
		seeds_fail("guest %u: bytes that nobody wrote land at block %llu", m->index, (unsigned long long)lba);
		return;
	}
	f = fate_at(m, oracle_generation(data));
	if (f->state != FATE_OUT)
		seeds_fail("guest %u: a write lands at block %llu after %s", m->index, (unsigned long long)lba,
		           f->state == FATE_ANSWERED ? "its answer" : "the reset of its device");
	else if (!f->lands_left)
		seeds_fail("guest %u: a write lands twice at block %llu", m->index, (unsigned long long)lba);
	else
		f->lands_left--;
}

static bool is_write(const struct guest_req *r)
{
	return r->type == VIRTIO_BLK_T_OUT || r->type == VIRTIO_BLK_T_WRITE_ZEROES;
}

static void write_ends(struct member *m, struct guest_req *r, bool ok, enum fate_state state)
{
	oracle_write_end(m->oracle, r->lba, r->count, r->generation, ok);
	fate_at(m, r->generation)->state = state;
}

static void check_read(struct member *m, struct guest_req *r)
{
	uint32_t answer = m->guest.scsi ? sizeof(struct virtio_scsi_cmd_resp) : 1;
	char why[256], id[VIRTIO_BLK_ID_BYTES + 1] = "";

	if (r->type == VIRTIO_BLK_T_IN) {
		if (!oracle_read_end(m->oracle, r->lba, r->count, r->began, guest_at(&m->guest, r->data), why, sizeof(why)))
			member_fail(m, why);
	} else {
		snprintf(id, sizeof(id), "disk%u", m->index);
		if (memcmp(guest_at(&m->guest, r->data), id, VIRTIO_BLK_ID_BYTES))
			member_fail(m, "GET ID tells another disk's");
	}
	if (!r->q->drv.in_order && r->written != r->len + answer)
		seeds_fail("guest %u: a read of %u bytes wrote %u", m->index, r->len, r->written);
}

static bool blk_ended_well(struct member *m, const struct guest_req *r)
{
	uint8_t status = *guest_at(&m->guest, r->hdr + GUEST_ANSWER_AT);

	sim_note(status);
	if (status != VIRTIO_BLK_S_OK && !(status == VIRTIO_BLK_S_IOERR && m->media.fail_percent))
		seeds_fail("guest %u: a request of type %u ends with status %u", m->index, r->type, status);
	return status == VIRTIO_BLK_S_OK;
}

/* A nexus that is new, or whose disk has grown, is told so once instead. */
static bool scsi_ended_well(struct member *m, const struct guest_req *r)
{
	struct virtio_scsi_cmd_resp a;
	uint32_t key;

	memcpy(&a, guest_at(&m->guest, r->hdr + GUEST_ANSWER_AT), sizeof(a));
	key = a.status == SCSI_CHECK_CONDITION ? a.sense[(a.sense[0] & 0x7f) >= 0x72 ? 1 : 2] & 0xfu : 0;
	sim_note((uint64_t)a.response << 16 | a.status << 8 | key);
	if (a.response == VIRTIO_SCSI_S_OK && a.status == SCSI_GOOD)
		return true;
	if ((a.response == VIRTIO_SCSI_S_ABORTED || a.response == VIRTIO_SCSI_S_RESET ||
	     a.response == VIRTIO_SCSI_S_BAD_TARGET) && hba_is_disturbed(m, r))
		return false;
	if (!(a.response == VIRTIO_SCSI_S_BUSY || (a.response == VIRTIO_SCSI_S_OK && (a.status == SCSI_BUSY ||
	      a.status == SCSI_TASK_SET_FULL || (a.status == SCSI_CHECK_CONDITION && (key == SCSI_UNIT_ATTENTION ||
	      (m->media.fail_percent && key == SCSI_MEDIUM_ERROR)))))))
		seeds_fail("guest %u: command %02xh ends with response %u, status %02xh, sense key %u", m->index, r->cdb[0],
		           a.response, a.status, key);
	return false;
}

void load_used(struct guest_req *r)
{
	struct member *m = member_of(r->q->g);
	bool ok;

	if (r->q->side) {
		hba_used(r);
		return;
	}
	if (m->guest.rogue)
		return;
	ok = m->guest.scsi ? scsi_ended_well(m, r) : blk_ended_well(m, r);
	m->ios++;
	m->ios_failed += !ok;
	m->ios_scsi += m->guest.scsi;
	sim_note(r->lba);
	if (is_write(r))
		write_ends(m, r, ok, FATE_ANSWERED);
	else if (r->type != VIRTIO_BLK_T_FLUSH && ok)
		check_read(m, r);
}

static void choose(struct member *m, struct guest_req *r)
{
	uint32_t blocks_max = GUEST_DATA / m->w->block_size;
	uint64_t blocks = m->guest.capacity / (m->w->block_size / VIRTIO_BLK_SECTOR);
	uint64_t dice = sim_draw(100);

	if (!blocks || m->guest.scsi)
		blocks = m->media.blocks;
	r->type = dice < 45 ? VIRTIO_BLK_T_IN : dice < 88 ? VIRTIO_BLK_T_OUT : dice < 93 ? VIRTIO_BLK_T_WRITE_ZEROES :
	          dice < 97 ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_GET_ID;
	if (m->guest.scsi && r->type == VIRTIO_BLK_T_GET_ID)
		r->type = VIRTIO_BLK_T_FLUSH;
	r->count = 1 + (uint32_t)sim_draw(sim_chance(70) ? 2 : blocks_max);
	r->lba = sim_draw(blocks - r->count + 1);
}

static void fill_zeroes(struct member *m, struct guest_req *r, uint8_t *data)
{
	uint32_t sectors = m->w->block_size / VIRTIO_BLK_SECTOR;
	struct virtio_blk_discard_write_zeroes range = { .sector = le64_of(r->lba * sectors),
		.num_sectors = le32_of(r->count * sectors) };

	r->len = m->guest.scsi ? m->w->block_size : sizeof(range);
	memset(data, 0, r->len);
	if (!m->guest.scsi)
		memcpy(data, &range, sizeof(range));
}

static void fill(struct member *m, struct guest_req *r)
{
	uint8_t *data = guest_at(&m->guest, r->data);

	r->len = r->count * m->w->block_size;
	r->generation = 0;
	switch (r->type) {
	case VIRTIO_BLK_T_IN:
		memset(data, 0xa5, r->len);
		r->began = oracle_read_begin(m->oracle);
		break;
	case VIRTIO_BLK_T_OUT:
		r->generation = oracle_write_begin(m->oracle, r->lba, r->count, data);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		r->generation = oracle_zeroes_begin(m->oracle, r->lba, r->count);
		fill_zeroes(m, r, data);
		break;
	case VIRTIO_BLK_T_FLUSH:
		r->len = 0;
		break;
	case VIRTIO_BLK_T_GET_ID:
		r->len = VIRTIO_BLK_ID_BYTES;
		break;
	}
	if (r->generation)
		*fate_at(m, r->generation) = (struct fate){ FATE_OUT, r->count, false };
}

static void fill_cdb(struct guest_req *r)
{
	uint8_t op = r->type == VIRTIO_BLK_T_IN ? SCSI_OP_READ_16 : r->type == VIRTIO_BLK_T_OUT ? SCSI_OP_WRITE_16 :
	             r->type == VIRTIO_BLK_T_FLUSH ? SCSI_OP_SYNC_CACHE_16 : SCSI_OP_WRITE_SAME_16;
	be64 lba = be64_of(r->lba);
	be32 count = be32_of(r->count);

	memset(r->cdb, 0, sizeof(r->cdb));
	r->cdb[0] = op;
	memcpy(r->cdb + 2, &lba, sizeof(lba));
	memcpy(r->cdb + 10, &count, sizeof(count));
}

/* Whose sectors are blocks of the disk. */
static void submit(struct member *m, struct guest_req *r)
{
	uint64_t lba = r->lba;
	bool there;

	fill_cdb(r);
	r->disturbs = m->disturbs;
	r->must_end = false;
	r->lba *= m->w->block_size / VIRTIO_BLK_SECTOR;
	there = guest_submit(r);
	r->lba = lba;
	must(there || m->guest.rogue);
}

void load_more(struct guest_queue *q)
{
	struct member *m = member_of(q->g);

	if (q->side) {
		hba_more(q);
		return;
	}
	for (uint32_t i = 0; i < GUEST_REQS && q->out < q->depth; i++) {
		struct guest_req *r = &q->reqs[i];

		if (m->over || !m->ops_left || seeds_failed() || q->drv.descs_free < 16)
			return;
		if (r->out || !guest_may_use(q->g, r))
			continue;
		choose(m, r);
		fill(m, r);
		submit(m, r);
	}
}

void load_outlives(struct member *m)
{
	for (uint32_t n = 0; n < m->guest.all_count; n++)
		for (uint32_t i = 0; i < GUEST_REQS; i++) {
			const struct guest_req *r = &m->guest.queues[n].reqs[i];

			if (r->out && r->generation)
				fate_at(m, r->generation)->lands_left += r->count;
		}
}

void load_fence(struct member *m)
{
	for (uint32_t n = 0; n < m->guest.all_count; n++)
		for (uint32_t i = 0; i < GUEST_REQS; i++) {
			struct guest_req *r = &m->guest.queues[n].reqs[i];

			if (r->out && is_write(r))
				write_ends(m, r, false, FATE_FENCED);
		}
}
