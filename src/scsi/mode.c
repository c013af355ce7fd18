/* SPDX-License-Identifier: BSD-3-Clause */
/* mode.c: mode pages as bytes. A page is a row: how it is shown, which of its bits can be changed, how it is taken. */
#include "scsi/mode.h"
#include "wire/scsi_mode.h"

struct page {
	uint8_t code, subpage, size;
	void (*show)(const struct scsi_mode_facts *f, const struct scsi_lu_state *m, void *page);
	void (*changeable)(const struct scsi_mode_facts *f, void *page); /* NULL: nothing */
	void (*take)(const void *page, struct scsi_lu_state *m);
};
#define PAGES_COUNT 6u
static const struct page pages[PAGES_COUNT];

void scsi_mode_defaults(const struct scsi_mode_facts *f, struct scsi_lu_state *ret_m)
{
	/* TAS: who is not told that a task of his was aborted by another waits for it until his time is up. */
	*ret_m = (struct scsi_lu_state){ .wce = f->volatile_cache, .tas = true };
}

/* --- sense ------------------------------------------------------------------------------------------------ */

static void page_begin(const struct page *p, uint8_t *at)
{
	memset(at, 0, p->size);
	at[0] = p->code;
	if (p->subpage) {
		struct scsi_mode_subpage *h = (struct scsi_mode_subpage *)at;

		h->code |= SCSI_MODE_SPF;
		h->subpage = p->subpage;
		h->length = be16_of(p->size - (uint16_t)sizeof(*h));
	} else {
		at[1] = (uint8_t)(p->size - sizeof(struct scsi_mode_page));
	}
}

static void page_make(const struct page *p, const struct scsi_mode_facts *f, const struct scsi_lu_state *m, uint8_t pc,
                      uint8_t *at)
{
	struct scsi_lu_state defaults;

	page_begin(p, at);
	if (pc == SCSI_PC_CHANGEABLE) {
		if (p->changeable)
			p->changeable(f, at);
		return;
	}
	scsi_mode_defaults(f, &defaults);
	p->show(f, pc == SCSI_PC_DEFAULT ? &defaults : m, at);
}

static bool asked(const struct page *p, uint8_t code, uint8_t subpage)
{
	return (code == SCSI_MODE_ALL || code == p->code) && (subpage == SCSI_MODE_SUBPAGE_ALL || subpage == p->subpage);
}

uint32_t scsi_mode_pages(const struct scsi_mode_facts *f, const struct scsi_lu_state *m, uint8_t pc, uint8_t code,
                         uint8_t subpage, uint8_t ret_pages[static SCSI_MODE_PAGES_MAX], bool *reterr_subpage)
{
	uint32_t len = 0;
	bool code_known = code == SCSI_MODE_ALL;

	for (uint32_t i = 0; i < PAGES_COUNT; i++) {
		const struct page *p = &pages[i];

		code_known = code_known || p->code == code;
		/* All pages, and one subpage number: reserved */
		if (!asked(p, code, subpage) || (code == SCSI_MODE_ALL && subpage && subpage != SCSI_MODE_SUBPAGE_ALL))
			continue;
		page_make(p, f, m, pc, ret_pages + len);
		len += p->size;
	}
	assert(len <= SCSI_MODE_PAGES_MAX);
	if (!len)
		*reterr_subpage = code_known;
	return len;
}

static uint32_t block_descriptor(const struct scsi_mode_facts *f, bool longlba, uint8_t *at)
{
	if (longlba) {
		struct scsi_mode_block_long *b = (struct scsi_mode_block_long *)at;

		*b = (struct scsi_mode_block_long){ .blocks = be64_of(f->blocks), .block_size = be32_of(f->block_size) };
		return sizeof(*b);
	}
	struct scsi_mode_block_short *b = (struct scsi_mode_block_short *)at;

	*b = (struct scsi_mode_block_short){ .blocks = be32_of((uint32_t)min_u64(f->blocks, UINT32_MAX)),
		.block_size = be24_of(f->block_size) };
	return sizeof(*b);
}

uint32_t scsi_mode_list(const struct scsi_mode_facts *f, const struct scsi_lu_state *m, const struct scsi_mode_ask *ask,
                        uint8_t ret_list[static SCSI_MODE_LIST_MAX], bool *reterr_subpage)
{
	uint32_t header = ask->ten ? sizeof(struct scsi_mode_header10) : sizeof(struct scsi_mode_header6);
	uint8_t specific = SCSI_MODE_DPOFUA | (f->read_only || m->swp ? SCSI_MODE_WP : 0);
	uint32_t descriptor = ask->dbd ? 0 : block_descriptor(f, ask->llbaa, ret_list + header);
	uint32_t len = header + descriptor, body;

	_Static_assert(sizeof(struct scsi_mode_header10) + sizeof(struct scsi_mode_block_long) + SCSI_MODE_PAGES_MAX <=
	               SCSI_MODE_LIST_MAX, "all of it fits");
	body = scsi_mode_pages(f, m, ask->pc, ask->code, ask->subpage, ret_list + len, reterr_subpage);
	if (!body)
		return 0;
	len += body;
	if (ask->ten) {
		struct scsi_mode_header10 *h = (struct scsi_mode_header10 *)ret_list;

		*h = (struct scsi_mode_header10){ .length = be16_of((uint16_t)(len - sizeof(h->length))),
			.device_specific = specific, .longlba = descriptor && ask->llbaa ? SCSI_MODE_LONGLBA : 0,
			.descriptor_length = be16_of((uint16_t)descriptor) };
	} else {
		struct scsi_mode_header6 *h = (struct scsi_mode_header6 *)ret_list;

		*h = (struct scsi_mode_header6){ .length = (uint8_t)(len - 1), .device_specific = specific,
			.descriptor_length = (uint8_t)descriptor };
	}
	return len;
}

/* --- select ------------------------------------------------------------------------------------------------- */

struct reader {
	const uint8_t *list;
	uint32_t len, at;
	uint16_t bad_byte;
	uint8_t bad_bit;
};

static enum scsi_mode_error bad(struct reader *r, uint32_t byte, uint8_t bit)
{
	r->bad_byte = (uint16_t)byte;
	r->bad_bit = bit;
	return SCSI_MODE_BAD_FIELD;
}

/* A descriptor may repeat what is so, or say nothing by zeroes; the format is not a host's to change. */
static enum scsi_mode_error take_descriptor(struct reader *r, const struct scsi_mode_facts *f, uint32_t len,
                                            bool longlba)
{
	uint64_t blocks, most = longlba ? UINT64_MAX : UINT32_MAX;
	uint32_t block_size;

	if (!len)
		return SCSI_MODE_OK;
	if (longlba) {
		const struct scsi_mode_block_long *b = (const struct scsi_mode_block_long *)(r->list + r->at);

		blocks = be64_get(b->blocks);
		block_size = be32_get(b->block_size);
	} else {
		const struct scsi_mode_block_short *b = (const struct scsi_mode_block_short *)(r->list + r->at);

		blocks = be32_get(b->blocks);
		block_size = be24_get(b->block_size);
	}
	if (blocks && blocks != most && blocks != f->blocks)
		return bad(r, r->at, 7);
	if (block_size && block_size != f->block_size)
		return bad(r, r->at + (longlba ? 12 : 5), 7);
	r->at += len;
	return SCSI_MODE_OK;
}

static enum scsi_mode_error take_header(struct reader *r, const struct scsi_mode_facts *f, bool ten)
{
	const struct scsi_mode_header10 *h10 = (const struct scsi_mode_header10 *)r->list;
	const struct scsi_mode_header6 *h6 = (const struct scsi_mode_header6 *)r->list;
	uint32_t header = ten ? sizeof(*h10) : sizeof(*h6), descriptor;
	bool longlba;

	if (r->len < header)
		return SCSI_MODE_BAD_LENGTH;
	longlba = ten && (h10->longlba & SCSI_MODE_LONGLBA);
	descriptor = ten ? be16_get(h10->descriptor_length) : h6->descriptor_length;
	r->at = header;
	if (ten ? h10->medium_type : h6->medium_type)
		return bad(r, ten ? 2 : 1, 7);
	if (descriptor && descriptor != (longlba ? sizeof(struct scsi_mode_block_long)
	                                         : sizeof(struct scsi_mode_block_short)))
		return bad(r, ten ? 6 : 3, 7);
	if (r->len - header < descriptor)
		return SCSI_MODE_BAD_LENGTH;
	return take_descriptor(r, f, descriptor, longlba);
}

static const struct page *page_find(uint8_t code, uint8_t subpage)
{
	for (uint32_t i = 0; i < PAGES_COUNT; i++)
		if (pages[i].code == code && pages[i].subpage == subpage)
			return &pages[i];
	return NULL;
}

/* Bits that cannot be changed must be as they are. */
static enum scsi_mode_error check_fixed(struct reader *r, const struct page *p, const struct scsi_mode_facts *f,
                                        const struct scsi_lu_state *m)
{
	uint8_t now[SCSI_MODE_PAGES_MAX], mask[SCSI_MODE_PAGES_MAX];
	uint32_t first = p->subpage ? sizeof(struct scsi_mode_subpage) : sizeof(struct scsi_mode_page);

	page_make(p, f, m, SCSI_PC_CURRENT, now);
	page_make(p, f, m, SCSI_PC_CHANGEABLE, mask);
	for (uint32_t i = first; i < p->size; i++) {
		uint8_t wrong = (uint8_t)((r->list[r->at + i] ^ now[i]) & ~mask[i]);

		if (wrong)
			return bad(r, r->at + i, (uint8_t)(31 - __builtin_clz(wrong)));
	}
	return SCSI_MODE_OK;
}

static enum scsi_mode_error take_page(struct reader *r, const struct scsi_mode_facts *f, struct scsi_lu_state *m)
{
	const uint8_t *at = r->list + r->at;
	uint32_t left = r->len - r->at, first, size;
	bool sub = at[0] & SCSI_MODE_SPF;
	const struct page *p;
	enum scsi_mode_error st;

	first = sub ? sizeof(struct scsi_mode_subpage) : sizeof(struct scsi_mode_page);
	if (left < first)
		return SCSI_MODE_BAD_LENGTH;
	p = page_find(at[0] & SCSI_MODE_CODE, sub ? at[1] : 0);
	if (!p)
		return bad(r, r->at, 5);
	if (sub != (p->subpage != 0))
		return bad(r, r->at, 6);
	size = first + (sub ? (uint32_t)at[2] << 8 | at[3] : at[1]);
	if (size != p->size)
		return bad(r, r->at + (sub ? 2 : 1), 7);
	if (left < size)
		return SCSI_MODE_BAD_LENGTH;
	st = check_fixed(r, p, f, m);
	if (st)
		return st;
	if (p->take)
		p->take(at, m);
	r->at += size;
	return SCSI_MODE_OK;
}

enum scsi_mode_error scsi_mode_take(const struct scsi_mode_facts *f, bool ten, const uint8_t *list, uint32_t len,
                                    struct scsi_lu_state *m, uint16_t *reterr_byte, uint8_t *reterr_bit)
{
	struct reader r = { .list = list, .len = len };
	struct scsi_lu_state made = *m;
	enum scsi_mode_error st;

	if (!len)
		return SCSI_MODE_OK;
	st = take_header(&r, f, ten);
	while (!st && r.at < r.len)
		st = take_page(&r, f, &made);
	if (st == SCSI_MODE_OK)
		*m = made;
	if (st == SCSI_MODE_BAD_FIELD) {
		*reterr_byte = r.bad_byte;
		*reterr_bit = r.bad_bit;
	}
	return st;
}

/* --- the pages ------------------------------------------------------------------------------------------------ */

/* Bad blocks are the device's own business. */
static void show_error_recovery(const struct scsi_mode_facts *f, const struct scsi_lu_state *m, void *page)
{
	struct scsi_mode_error_recovery *p = page;

	p->flags2 = SCSI_RER2_AWRE | SCSI_RER2_ARRE;
}

static void show_disconnect(const struct scsi_mode_facts *f, const struct scsi_lu_state *m, void *page)
{
}

static void show_caching(const struct scsi_mode_facts *f, const struct scsi_lu_state *m, void *page)
{
	struct scsi_mode_caching *p = page;

	p->flags2 = m->wce ? SCSI_CACHING2_WCE : 0;
	p->flags12 = SCSI_CACHING12_DRA; /* nothing is read that nobody asked for */
}

static void caching_changeable(const struct scsi_mode_facts *f, void *page)
{
	struct scsi_mode_caching *p = page;

	p->flags2 = f->volatile_cache ? SCSI_CACHING2_WCE : 0;
}

static void caching_take(const void *page, struct scsi_lu_state *m)
{
	const struct scsi_mode_caching *p = page;

	m->wce = p->flags2 & SCSI_CACHING2_WCE;
}

/* Each nexus has a task set of its own (TST 1); simple tasks overtake each other; nothing is aborted because another
 * task failed (QERR 0); log parameters are not saved (GLTSD). */
static void show_control(const struct scsi_mode_facts *f, const struct scsi_lu_state *m, void *page)
{
	struct scsi_mode_control *p = page;

	p->flags2 = SCSI_CONTROL2_TST_NEXUS | SCSI_CONTROL2_GLTSD | (m->d_sense ? SCSI_CONTROL2_D_SENSE : 0);
	p->flags3 = SCSI_CONTROL3_REORDER;
	p->flags4 = m->swp ? SCSI_CONTROL4_SWP : 0;
	p->flags5 = m->tas ? SCSI_CONTROL5_TAS : 0;
	p->busy_timeout = be16_of(UINT16_MAX); /* not limited */
}

static void control_changeable(const struct scsi_mode_facts *f, void *page)
{
	struct scsi_mode_control *p = page;

	p->flags2 = SCSI_CONTROL2_D_SENSE;
	p->flags4 = SCSI_CONTROL4_SWP;
	p->flags5 = SCSI_CONTROL5_TAS;
}

static void control_take(const void *page, struct scsi_lu_state *m)
{
	const struct scsi_mode_control *p = page;

	m->d_sense = p->flags2 & SCSI_CONTROL2_D_SENSE;
	m->swp = p->flags4 & SCSI_CONTROL4_SWP;
	m->tas = p->flags5 & SCSI_CONTROL5_TAS;
}

static void show_control_ext(const struct scsi_mode_facts *f, const struct scsi_lu_state *m, void *page)
{
	struct scsi_mode_control_ext *p = page;

	p->flags4 = SCSI_CONTROL_EXT4_IALUAE;
}

/* There are no informational exceptions: nothing here wears out or grows warm. */
static void show_exceptions(const struct scsi_mode_facts *f, const struct scsi_lu_state *m, void *page)
{
	struct scsi_mode_exceptions *p = page;

	p->flags2 = SCSI_EXCEPTIONS2_DEXCPT;
}

#define SIZE(page) sizeof(struct scsi_mode_##page)
static const struct page pages[PAGES_COUNT] = {
	/* page, subpage, size                            shown by             what changes        taken by */
	{ SCSI_MODE_ERROR_RECOVERY, 0, SIZE(error_recovery), show_error_recovery, NULL,               NULL },
	{ SCSI_MODE_DISCONNECT,     0, SIZE(disconnect),     show_disconnect,     NULL,               NULL },
	{ SCSI_MODE_CACHING,        0, SIZE(caching),        show_caching,        caching_changeable, caching_take },
	{ SCSI_MODE_CONTROL,        0, SIZE(control),        show_control,        control_changeable, control_take },
	{ SCSI_MODE_CONTROL, SCSI_MODE_SUBPAGE_EXTENSION, SIZE(control_ext), show_control_ext, NULL,  NULL },
	{ SCSI_MODE_EXCEPTIONS,     0, SIZE(exceptions),     show_exceptions,     NULL,               NULL },
};
