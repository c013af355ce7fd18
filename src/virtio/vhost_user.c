/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_user.c: vhost-user messages from bytes and to bytes. */
#include "virtio/vhost_user.h"

#include <errno.h>

struct row {
	const char *name;
	struct vu_row row;
};

#define ROW(id, label, kind, fd_max, need, answer) \
	[id] = { #label, { VU_PAYLOAD_##kind, fd_max, VU_P_##need, VU_PAYLOAD_##answer } },
static const struct row requests[VU_REQUEST_END] = { VU_REQUESTS(ROW) };
static const struct row backend_requests[VU_B_REQUEST_END] = { VU_BACKEND_REQUESTS(ROW) };

static const struct size { uint32_t least, most; } sizes[VU_PAYLOAD_COUNT] = {
#define SIZE(kind, min, max) { min, max },
	VU_PAYLOADS(SIZE)
};

static int header(struct vu_rx *rx, struct err *e);
static int message(struct vu_rx *rx, struct vu_msg *m, struct err *e);
static enum vu_payload kind_of(enum vu_side side, const struct row *row, uint32_t size);
static int decode(struct vu_msg *m, const uint8_t *p, uint32_t size, const char *name, struct err *e);

static const struct row *find(enum vu_side side, uint32_t request)
{
	if (side == VU_REQUEST || side == VU_REPLY)
		return request < ARRAY_SIZE(requests) && requests[request].name ? &requests[request] : NULL;
	return request < ARRAY_SIZE(backend_requests) && backend_requests[request].name ? &backend_requests[request] : NULL;
}

const char *vu_name(enum vu_side side, uint32_t request)
{
	const struct row *row = find(side, request);

	return row ? row->name : "unknown request";
}

bool vu_row(enum vu_side side, uint32_t request, struct vu_row *ret_row)
{
	const struct row *row = find(side, request);

	if (row)
		*ret_row = row->row;
	return row;
}

/* --- receiving --------------------------------------------------------------------------------------------------- */

void vu_rx_init(struct vu_rx *rx, enum vu_side side)
{
	rx->side = side;
	rx->have = 0;
	rx->want = sizeof(struct vu_wire_hdr);
	rx->fd_count = 0;
}

void *vu_rx_room(struct vu_rx *rx, uint32_t *ret_len)
{
	assert(rx->have < rx->want && rx->want <= sizeof(rx->bytes));
	*ret_len = rx->want - rx->have;
	return rx->bytes + rx->have;
}

int vu_rx_got(struct vu_rx *rx, uint32_t len, const int *fds, uint32_t count, struct vu_msg *ret_msg, struct err *e)
{
	assert(len <= rx->want - rx->have);
	assert(count <= VU_FDS_MAX - rx->fd_count);
	for (uint32_t i = 0; i < count; i++)
		rx->fds[rx->fd_count++] = fds[i];
	rx->have += len;
	if (rx->have < rx->want)
		return 0;
	if (rx->want == sizeof(struct vu_wire_hdr)) {
		if (header(rx, e))
			return e->code;
		if (rx->have < rx->want)
			return 0;
	}
	return message(rx, ret_msg, e);
}

static struct vu_wire_hdr hdr_of(const struct vu_rx *rx)
{
	struct vu_wire_hdr h;

	memcpy(&h, rx->bytes, sizeof(h));
	return h;
}

/* The header is here: what is believed of it bounds what follows. */
static int header(struct vu_rx *rx, struct err *e)
{
	struct vu_wire_hdr h = hdr_of(rx);
	uint32_t request = le32_get(h.request), flags = le32_get(h.flags), size = le32_get(h.size);
	bool reply = rx->side == VU_REPLY || rx->side == VU_BACKEND_REPLY;

	if ((flags & VU_FLAG_VERSION_MASK) != VU_VERSION)
		return err_set(e, -EPROTO, "message %u has version %u; %u is the one there is", request,
		               flags & VU_FLAG_VERSION_MASK, VU_VERSION);
	if (!(flags & VU_FLAG_REPLY) != !reply)
		return err_set(e, -EPROTO, "message %u %s a reply", request, reply ? "is not" : "says that it is");
	if (size > VU_PAYLOAD_MAX)
		return err_set(e, -EPROTO, "message %u (%s) has a payload of %u bytes; the longest there is has %u", request,
		               vu_name(rx->side, request), size, VU_PAYLOAD_MAX);
	rx->want += size;
	return 0;
}

static int message(struct vu_rx *rx, struct vu_msg *m, struct err *e)
{
	struct vu_wire_hdr h = hdr_of(rx);
	uint32_t size = le32_get(h.size);
	const struct row *row;

	m->request = le32_get(h.request);
	m->flags = le32_get(h.flags);
	row = find(rx->side, m->request);
	m->kind = row ? kind_of(rx->side, row, size) : VU_PAYLOAD_OTHER;
	if (size < sizes[m->kind].least || size > sizes[m->kind].most)
		return err_set(e, -EPROTO, "%s has a payload of %u bytes; it takes %u to %u", vu_name(rx->side, m->request),
		               size, sizes[m->kind].least, sizes[m->kind].most);
	if (decode(m, rx->bytes + sizeof(h), size, vu_name(rx->side, m->request), e))
		return e->code;
	if (row && rx->fd_count > row->row.fds && rx->side != VU_REPLY)
		return err_set(e, -EPROTO, "%s came with %u descriptors; it takes at most %u", row->name, rx->fd_count,
		               row->row.fds);
	m->fd_count = rx->fd_count;
	memcpy(m->fds, rx->fds, rx->fd_count * sizeof(m->fds[0]));
	vu_rx_init(rx, rx->side);
	return 1;
}

/* A reply is what the table says, or the acknowledgement of REPLY_ACK, or empty (SET_LOG_BASE). */
static enum vu_payload kind_of(enum vu_side side, const struct row *row, uint32_t size)
{
	enum vu_payload kind = row->row.request;

	if (side == VU_REPLY || side == VU_BACKEND_REPLY) {
		kind = row->row.reply;
		if (kind == VU_PAYLOAD_NONE && size)
			kind = VU_PAYLOAD_U64;
		if (!size)
			kind = VU_PAYLOAD_NONE; /* GET_CONFIG that failed */
	}
	return kind;
}

static struct vu_region region_of(const struct vu_wire_region *w)
{
	return (struct vu_region){ le64_get(w->guest), le64_get(w->size), le64_get(w->user), le64_get(w->offset) };
}

static struct vu_wire_region region_to(const struct vu_region *r)
{
	return (struct vu_wire_region){ le64_of(r->guest), le64_of(r->size), le64_of(r->user), le64_of(r->offset) };
}

static int decode_memory(struct vu_msg *m, const uint8_t *p, uint32_t size, const char *name, struct err *e)
{
	const struct vu_wire_region *at = (const void *)(p + 8);
	le32 count;

	memcpy(&count, p, sizeof(count));
	m->memory.count = le32_get(count);
	if (m->memory.count > VU_REGIONS_MAX)
		return err_set(e, -EPROTO, "%s has %u regions; at most %u fit", name, m->memory.count, VU_REGIONS_MAX);
	if (size < 8 + m->memory.count * sizeof(*at))
		return err_set(e, -EPROTO, "%s says %u regions, but its payload has %u bytes", name, m->memory.count, size);
	for (uint32_t i = 0; i < m->memory.count; i++)
		m->memory.at[i] = region_of(&at[i]);
	return 0;
}

/* Front-ends ask with the length that they want, and may or may not send as many bytes along. */
static int decode_config(struct vu_msg *m, const uint8_t *p, uint32_t size, const char *name, struct err *e)
{
	const struct vu_wire_config *w = (const void *)p;

	m->config.offset = le32_get(w->offset);
	m->config.size = le32_get(w->size);
	m->config.flags = le32_get(w->flags);
	if (m->config.size > VU_CONFIG_MAX || m->config.offset > VU_CONFIG_MAX - m->config.size)
		return err_set(e, -EPROTO, "%s means bytes %u to %llu of the configuration; it has at most %u", name,
		               m->config.offset, (unsigned long long)m->config.offset + m->config.size, VU_CONFIG_MAX);
	if (m->request == VU_SET_CONFIG && size < 12 + m->config.size)
		return err_set(e, -EPROTO, "%s means %u bytes, but its payload has %u", name, m->config.size, size);
	memset(m->config.data, 0, sizeof(m->config.data));
	memcpy(m->config.data, w->data, size - 12);
	return 0;
}

static int decode(struct vu_msg *m, const uint8_t *p, uint32_t size, const char *name, struct err *e)
{
	union {
		le64 u64;
		struct vu_wire_state state;
		struct vu_wire_addr addr;
		struct vu_wire_region region;
		struct vu_wire_log log;
		struct vu_wire_iotlb iotlb;
		struct vu_wire_area area;
		struct vu_wire_inflight inflight;
		struct vu_wire_transfer transfer;
	} w = { 0 };

	if (size <= sizeof(w))
		memcpy(&w, p, size);
	switch (m->kind) {
	case VU_PAYLOAD_U64:
		m->u64 = le64_get(w.u64);
		break;
	case VU_PAYLOAD_STATE:
		m->state = (struct vu_state){ le32_get(w.state.index), le32_get(w.state.num) };
		break;
	case VU_PAYLOAD_ADDR:
		m->addr = (struct vu_addr){ le32_get(w.addr.index), le32_get(w.addr.flags), le64_get(w.addr.desc),
		                            le64_get(w.addr.used), le64_get(w.addr.avail), le64_get(w.addr.log) };
		break;
	case VU_PAYLOAD_MEMORY:
		return decode_memory(m, p, size, name, e);
	case VU_PAYLOAD_MEM_REG:
		memcpy(&w.region, p + 8, sizeof(w.region));
		m->region = region_of(&w.region);
		break;
	case VU_PAYLOAD_LOG:
		m->log = (struct vu_log){ le64_get(w.log.size), le64_get(w.log.offset) };
		break;
	case VU_PAYLOAD_IOTLB:
		m->iotlb = (struct vu_iotlb){ le64_get(w.iotlb.iova), le64_get(w.iotlb.size), le64_get(w.iotlb.user),
		                              w.iotlb.perm, w.iotlb.type };
		break;
	case VU_PAYLOAD_CONFIG:
		return decode_config(m, p, size, name, e);
	case VU_PAYLOAD_AREA:
		m->area = (struct vu_area){ le64_get(w.area.index), le64_get(w.area.size), le64_get(w.area.offset) };
		break;
	case VU_PAYLOAD_INFLIGHT:
		m->inflight = (struct vu_inflight){ le64_get(w.inflight.size), le64_get(w.inflight.offset),
		                                    le16_get(w.inflight.queues), le16_get(w.inflight.queue_size) };
		break;
	case VU_PAYLOAD_TRANSFER:
		m->transfer = (struct vu_transfer){ le32_get(w.transfer.direction), le32_get(w.transfer.phase) };
		break;
	case VU_PAYLOAD_NONE:
	case VU_PAYLOAD_OTHER:
	case VU_PAYLOAD_COUNT:
		break;
	}
	return 0;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static uint32_t encode_memory(const struct vu_msg *m, uint8_t *p)
{
	le32 head[2] = { le32_of(m->memory.count), le32_of(0) };

	assert(m->memory.count <= VU_REGIONS_MAX);
	memcpy(p, head, sizeof(head));
	for (uint32_t i = 0; i < m->memory.count; i++) {
		struct vu_wire_region w = region_to(&m->memory.at[i]);

		memcpy(p + sizeof(head) + i * sizeof(w), &w, sizeof(w));
	}
	return sizeof(head) + m->memory.count * (uint32_t)sizeof(struct vu_wire_region);
}

static uint32_t encode_config(const struct vu_msg *m, uint8_t *p)
{
	struct vu_wire_config *w = (void *)p;

	assert(m->config.size <= VU_CONFIG_MAX);
	w->offset = le32_of(m->config.offset);
	w->size = le32_of(m->config.size);
	w->flags = le32_of(m->config.flags);
	memcpy(w->data, m->config.data, m->config.size);
	return 12 + m->config.size;
}

static uint32_t put(uint8_t *p, const void *from, uint32_t len)
{
	memcpy(p, from, len);
	return len;
}

#define PUT(type, ...) put(p, &(type){ __VA_ARGS__ }, sizeof(type))
static uint32_t encode_payload(const struct vu_msg *m, uint8_t *p)
{
	switch (m->kind) {
	case VU_PAYLOAD_U64:
		put(p, &(le64[]){ le64_of(m->u64) }, sizeof(le64));
		return sizeof(le64);
	case VU_PAYLOAD_STATE:
		return PUT(struct vu_wire_state, le32_of(m->state.index), le32_of(m->state.num));
	case VU_PAYLOAD_ADDR:
		return PUT(struct vu_wire_addr, le32_of(m->addr.index), le32_of(m->addr.flags), le64_of(m->addr.desc),
		           le64_of(m->addr.used), le64_of(m->addr.avail), le64_of(m->addr.log));
	case VU_PAYLOAD_MEMORY:
		return encode_memory(m, p);
	case VU_PAYLOAD_MEM_REG:
		memset(p, 0, 8);
		return 8 + put(p + 8, &(struct vu_wire_region[]){ region_to(&m->region) }, sizeof(struct vu_wire_region));
	case VU_PAYLOAD_LOG:
		return PUT(struct vu_wire_log, le64_of(m->log.size), le64_of(m->log.offset));
	case VU_PAYLOAD_IOTLB:
		return PUT(struct vu_wire_iotlb, le64_of(m->iotlb.iova), le64_of(m->iotlb.size), le64_of(m->iotlb.user),
		           m->iotlb.perm, m->iotlb.type);
	case VU_PAYLOAD_CONFIG:
		return encode_config(m, p);
	case VU_PAYLOAD_AREA:
		return PUT(struct vu_wire_area, le64_of(m->area.index), le64_of(m->area.size), le64_of(m->area.offset));
	case VU_PAYLOAD_INFLIGHT:
		return PUT(struct vu_wire_inflight, le64_of(m->inflight.size), le64_of(m->inflight.offset),
		           le16_of(m->inflight.queues), le16_of(m->inflight.queue_size));
	case VU_PAYLOAD_TRANSFER:
		return PUT(struct vu_wire_transfer, le32_of(m->transfer.direction), le32_of(m->transfer.phase));
	case VU_PAYLOAD_NONE:
	case VU_PAYLOAD_OTHER:
	case VU_PAYLOAD_COUNT:
		break;
	}
	return 0;
}
#undef PUT

uint32_t vu_encode(const struct vu_msg *m, uint8_t *buf)
{
	uint32_t size = encode_payload(m, buf + sizeof(struct vu_wire_hdr));
	struct vu_wire_hdr h = { le32_of(m->request), le32_of(m->flags), le32_of(size) };

	memcpy(buf, &h, sizeof(h));
	return (uint32_t)sizeof(h) + size;
}
