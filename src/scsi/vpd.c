/* SPDX-License-Identifier: BSD-3-Clause */
/* vpd.c: vital product data. A page is a row: its number, how much memory it needs, how it is made. Nothing is claimed
 * that does not work. */
#include "base/text.h"
#include "scsi/primary.h"
#include "wire/scsi_inquiry.h"
#include "wire/scsi_report.h"

/* A page in the making: behind the header. */
struct page {
	uint8_t *buf;
	uint32_t len, cap;
};
struct kind {
	uint8_t page;
	void (*make)(const struct scsi_task *t, struct page *p);
};
#define KINDS_COUNT 10u
static const struct kind kinds[KINDS_COUNT];

static void *add(struct page *p, uint32_t len)
{
	void *at = p->buf + p->len;

	must(len <= p->cap - p->len);
	p->len += len;
	return at;
}

static const struct kind *kind_of(uint8_t page)
{
	for (uint32_t i = 0; i < KINDS_COUNT; i++)
		if (kinds[i].page == page)
			return &kinds[i];
	return NULL;
}

bool scsi_vpd_exists(uint8_t page)
{
	return kind_of(page);
}

#define PAGE_BYTES 1024u
#define PORT_BYTES (sizeof(struct scsi_vpd_port) + 2 * sizeof(struct scsi_designator) + 4 + SCSI_PORT_NAME_MAX + 1)

void *scsi_vpd_make(const struct scsi_task *t, uint8_t page, uint32_t *ret_len)
{
	const struct kind *k = kind_of(page);
	struct page p = { .cap = PAGE_BYTES };
	struct scsi_vpd_header *h;

	if (!k)
		return NULL;
	if (page == SCSI_VPD_PORTS)
		p.cap += (uint32_t)(scsi_nexus_map(t->nexus)->port_count * PORT_BYTES);
	p.buf = base_zalloc(p.cap);
	h = add(&p, sizeof(*h));
	k->make(t, &p);
	p.len = min_u32(p.len, sizeof(*h) + UINT16_MAX);
	h->peripheral = SCSI_TYPE_DISK;
	h->page = page;
	h->length = be16_of((uint16_t)(p.len - sizeof(*h)));
	*ret_len = p.len;
	return p.buf;
}

static void supported(const struct scsi_task *t, struct page *p)
{
	for (uint32_t i = 0; i < KINDS_COUNT; i++)
		*(uint8_t *)add(p, 1) = kinds[i].page;
}

/* --- who it is ------------------------------------------------------------------------------------------------- */

static void serial_number(const struct scsi_task *t, struct page *p)
{
	char text[UUID_TEXT_MAX];

	memcpy(add(p, SCSI_SERIAL_LEN), uuid_to_text(&t->lu->served->info.uuid, text), SCSI_SERIAL_LEN);
}

/* Both halves of a UUID, one on the other: its version and variant have fixed bits in different places. */
void scsi_naa(const struct uuid *uuid, uint8_t ret_naa[static SCSI_NAA_LEN])
{
	for (uint32_t i = 0; i < SCSI_NAA_LEN; i++)
		ret_naa[i] = uuid->b[i] ^ uuid->b[i + SCSI_NAA_LEN];
	ret_naa[0] = (uint8_t)(SCSI_NAA_LOCAL << 4 | (ret_naa[0] & 0xf));
}

void scsi_t10_id(const struct uuid *uuid, uint8_t ret_id[static SCSI_T10_LEN])
{
	char text[UUID_TEXT_MAX];

	text_pad(ret_id, 8, SCSI_VENDOR, ' ');
	text_pad(ret_id + 8, 16, SCSI_PRODUCT, ' ');
	memcpy(ret_id + 24, uuid_to_text(uuid, text), SCSI_SERIAL_LEN);
}

void scsi_uuid_id(const struct uuid *uuid, uint8_t ret_id[static SCSI_UUID_LEN])
{
	ret_id[0] = 1 << 4;
	ret_id[1] = 0;
	memcpy(ret_id + 2, uuid->b, sizeof(uuid->b));
}

static void *designator(struct page *p, uint8_t code_set, uint8_t assoc_type, uint8_t len)
{
	struct scsi_designator *d = add(p, (uint32_t)sizeof(*d) + len);

	d->code_set = code_set;
	d->type = assoc_type;
	d->length = len;
	return d->value;
}

/* UTF-8, ended by a zero, filled to a multiple of four bytes. */
static void designator_name(const struct scsi_task *t, struct page *p, uint8_t assoc, const char *name)
{
	uint8_t len = (uint8_t)align_up(strlen(name) + 1, 4);

	memcpy(designator(p, (uint8_t)(t->nexus->target->protocol << 4 | SCSI_CODE_UTF8),
	                  assoc | SCSI_DESIGNATOR_PIV | SCSI_DESIGNATOR_NAME, len), name, strlen(name));
}

static void designator_u16(const struct scsi_task *t, struct page *p, uint8_t type, uint16_t value)
{
	scsi_put16((uint8_t *)designator(p, (uint8_t)(t->nexus->target->protocol << 4 | SCSI_CODE_BINARY),
	                                 SCSI_DESIGNATOR_PIV | SCSI_ASSOC_PORT | type, 4) + 2, value);
}

/* In the order in which hosts that read only the first ones want them. */
static void device_id(const struct scsi_task *t, struct page *p)
{
	const struct scsi_port *port = scsi_map_port(scsi_nexus_map(t->nexus), t->nexus->port);
	const struct uuid *uuid = &t->lu->served->info.uuid;

	scsi_naa(uuid, designator(p, SCSI_CODE_BINARY, SCSI_ASSOC_LU | SCSI_DESIGNATOR_NAA, SCSI_NAA_LEN));
	scsi_t10_id(uuid, designator(p, SCSI_CODE_ASCII, SCSI_ASSOC_LU | SCSI_DESIGNATOR_T10, SCSI_T10_LEN));
	scsi_uuid_id(uuid, designator(p, SCSI_CODE_BINARY, SCSI_ASSOC_LU | SCSI_DESIGNATOR_UUID, SCSI_UUID_LEN));
	designator_u16(t, p, SCSI_DESIGNATOR_RELATIVE_PORT, t->nexus->port);
	if (port)
		designator_u16(t, p, SCSI_DESIGNATOR_PORT_GROUP, port->group);
	if (port && port->name[0])
		designator_name(t, p, SCSI_ASSOC_PORT, port->name);
	if (t->nexus->target->name[0])
		designator_name(t, p, SCSI_ASSOC_DEVICE, t->nexus->target->name);
}

static void ports(const struct scsi_task *t, struct page *p)
{
	const struct scsi_map *map = scsi_nexus_map(t->nexus);

	for (uint32_t i = 0; i < map->port_count; i++) {
		const struct scsi_port *port = &map->ports[i];
		struct scsi_vpd_port *d;
		uint32_t before;

		if (p->len + PORT_BYTES > sizeof(struct scsi_vpd_header) + UINT16_MAX)
			return;                    /* the page's length has 16 bits */
		d = add(p, sizeof(*d));
		d->relative_id = be16_of(port->id);
		before = p->len;
		if (port->name[0])
			designator_name(t, p, SCSI_ASSOC_PORT, port->name);
		d->designators_length = be16_of((uint16_t)(p->len - before));
	}
}

/* --- what it can ------------------------------------------------------------------------------------------------- */

static void *rest(struct page *p, size_t size)
{
	add(p, (uint32_t)(size - sizeof(struct scsi_vpd_header)));
	return p->buf;
}

static void extended(const struct scsi_task *t, struct page *p)
{
	struct scsi_vpd_extended *e = rest(p, sizeof(*e));

	e->flags5 = SCSI_EXT5_SIMPSUP | SCSI_EXT5_ORDSUP | SCSI_EXT5_HEADSUP;
	e->flags6 = t->lu->served->info.cache == BDEV_CACHE_VOLATILE ? SCSI_EXT6_V_SUP : 0;
	e->sense_length_max = SCSI_SENSE_MAX;
}

/* Every page is one for all nexuses. */
static void mode_policy(const struct scsi_task *t, struct page *p)
{
	struct scsi_vpd_mode_policy *m = add(p, sizeof(*m));

	m->page = 0x3f;
	m->subpage = 0xff;
}

static void block_limits(const struct scsi_task *t, struct page *p)
{
	struct scsi_vpd_block_limits *b = rest(p, sizeof(*b));
	struct scsi_limits l;

	scsi_block_limits(scsi_lu_of(t->lu), &l);
	b->caw_max = l.caw_blocks_max;
	b->transfer_granularity = be16_of(l.granularity);
	b->transfer_max = be32_of(l.transfer_blocks_max);
	b->transfer_optimal = be32_of(l.transfer_blocks_optimal);
	b->unmap_max = be32_of(l.unmap_blocks_max);
	b->unmap_descriptors_max = be32_of(l.unmap_descs_max);
	if (l.unmap_granularity) {
		b->unmap_granularity = be32_of(l.unmap_granularity);
		b->unmap_alignment = be32_of(1u << 31); /* from block 0 on */
	}
	b->write_same_max = be64_of(l.write_same_blocks_max);
}

static void block_characteristics(const struct scsi_task *t, struct page *p)
{
	struct scsi_vpd_block_characteristics *b = rest(p, sizeof(*b));

	b->rotation_rate = be16_of(SCSI_NON_ROTATING);
	/* SYNCHRONIZE CACHE and FUA reach the medium (FUAB); VERIFY compares unmapped blocks too, as zeroes (VBULS). */
	b->flags8 = SCSI_BDC8_FUAB | SCSI_BDC8_VBULS;
}

static void provisioning(const struct scsi_task *t, struct page *p)
{
	struct scsi_vpd_provisioning *b = rest(p, sizeof(*b));
	struct scsi_limits l;

	scsi_block_limits(scsi_lu_of(t->lu), &l);
	if (!l.unmaps)
		return;
	b->flags5 = SCSI_LBP5_LBPU | SCSI_LBP5_LBPWS | SCSI_LBP5_LBPWS10 | (l.reads_zeroes ? SCSI_LBP5_LBPRZ : 0);
	b->type = t->lu->served->info.thin ? SCSI_LBP_THIN : SCSI_LBP_RESOURCE;
}

/* --- third-party copy ------------------------------------------------------------------------------------ */

static struct scsi_copy_desc desc_of(uint16_t type, size_t size)
{
	return (struct scsi_copy_desc){ be16_of(type), be16_of((uint16_t)(size - sizeof(struct scsi_copy_desc))) };
}

/* How many bytes, and they. */
static void copy_list(struct page *p, uint16_t type, const uint8_t *list, uint8_t bytes)
{
	size_t size = sizeof(struct scsi_copy_desc) + align_up(1u + bytes, 4);
	struct scsi_copy_desc *d = add(p, (uint32_t)size);
	uint8_t *at = (uint8_t *)(d + 1);

	*d = desc_of(type, size);
	at[0] = bytes;
	memcpy(at + 1, list, bytes);
}

static void copy_cscd_ids(struct page *p)
{
	struct scsi_copy_desc *d = add(p, sizeof(*d) + 4);
	uint8_t *at = (uint8_t *)(d + 1);

	*d = desc_of(SCSI_COPY_DESC_CSCD_IDS, sizeof(*d) + 4);
	scsi_put16(at, 2);
	scsi_put16(at + 2, SCSI_XCOPY_CSCD_SELF);
}

static void third_party_copy(const struct scsi_task *t, struct page *p)
{
	static const uint8_t commands[] = {
		SCSI_OP_EXTENDED_COPY_LID1, 1, SCSI_SA_EXTENDED_COPY_LID1,
		SCSI_OP_COPY_PARAMETERS, 2, SCSI_SA_COPY_STATUS_LID1, SCSI_SA_COPY_PARAMETERS,
	};
	static const uint8_t types[] = { SCSI_XCOPY_B2B, SCSI_XCOPY_B2B_OFFSET, SCSI_XCOPY_CSCD_ID };
	struct scsi_copy_desc_parameters *c;
	struct scsi_copy_desc_general *g;
	struct scsi_copy_desc_held_data *held;

	copy_list(p, SCSI_COPY_DESC_COMMANDS, commands, sizeof(commands));
	c = add(p, sizeof(*c));
	c->h = desc_of(SCSI_COPY_DESC_PARAMETERS, sizeof(*c));
	c->cscd_max = be16_of(SCSI_XCOPY_CSCDS_MAX);
	c->segments_max = be16_of(SCSI_XCOPY_SEGMENTS_MAX);
	c->list_length_max = be32_of(SCSI_XCOPY_LIST_MAX - sizeof(struct scsi_xcopy_lid1));
	copy_list(p, SCSI_COPY_DESC_DESCRIPTORS, types, sizeof(types));
	copy_cscd_ids(p);
	g = add(p, sizeof(*g));
	g->h = desc_of(SCSI_COPY_DESC_GENERAL, sizeof(*g));
	g->copies_max = be32_of(SCSI_XCOPY_COPIES_MAX);
	g->identified_copies_max = be32_of(SCSI_XCOPY_COPIES_MAX);
	g->segment_length_max = be32_of(SCSI_XCOPY_SEGMENT_BYTES_MAX);
	held = add(p, sizeof(*held));
	held->h = desc_of(SCSI_COPY_DESC_HELD_DATA, sizeof(*held));
}

static const struct kind kinds[KINDS_COUNT] = {
	{ SCSI_VPD_SUPPORTED,             supported },
	{ SCSI_VPD_SERIAL,                serial_number },
	{ SCSI_VPD_DEVICE_ID,             device_id },
	{ SCSI_VPD_EXTENDED,              extended },
	{ SCSI_VPD_MODE_POLICY,           mode_policy },
	{ SCSI_VPD_PORTS,                 ports },
	{ SCSI_VPD_THIRD_PARTY_COPY,      third_party_copy },
	{ SCSI_VPD_BLOCK_LIMITS,          block_limits },
	{ SCSI_VPD_BLOCK_CHARACTERISTICS, block_characteristics },
	{ SCSI_VPD_PROVISIONING,          provisioning },
};
