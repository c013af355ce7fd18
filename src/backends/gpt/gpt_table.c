/* SPDX-License-Identifier: BSD-3-Clause */
/* gpt_table.c: see gpt_table.h. */
#include "backends/gpt/gpt_table.h"

#include <errno.h>
#include <isa-l/crc.h>

#include "base/bytes.h"
#include "base/text.h"

#define MBR_BYTES 512u
#define MBR_SIGNATURE 0xaa55
#define MBR_PROTECTIVE 0xee
#define HEADER_BYTES 92u
#define ENTRY_BYTES 128u
#define NAME_UNITS 36u

struct mbr_entry {
	uint8_t boot, first_chs[3], type, last_chs[3];
	le32 first_lba, blocks;
};

struct mbr {
	uint8_t code[446];
	struct mbr_entry entries[4];
	le16 signature;
};
_Static_assert(sizeof(struct mbr) == MBR_BYTES, "as it lies on a disk");

struct guid { /* mixed order: the first three fields are little endian */
	le32 a;
	le16 b, c;
	uint8_t rest[8];
};

struct raw_header {
	char signature[8];
	le32 revision, header_bytes, crc, reserved;
	le64 my_lba, other_lba, first_usable, last_usable;
	struct guid disk;
	le64 entries_lba;
	le32 entry_count, entry_bytes, entries_crc;
};
_Static_assert(sizeof(struct raw_header) == HEADER_BYTES, "as it lies on a disk");

struct raw_entry {
	struct guid type, id;
	le64 first, last, attributes;
	le16 name[NAME_UNITS];
};
_Static_assert(sizeof(struct raw_entry) == ENTRY_BYTES, "as it lies on a disk");

static bool entry_fits(const struct gpt_header *h, const struct raw_entry *raw, uint32_t number, struct gpt_table *t);
static void take_entry(const struct raw_entry *raw, uint32_t number, struct gpt_part *part);
static void drop_overlapping(struct gpt_table *t);
static void name_to_utf8(const le16 *units, char *name);
static void note(struct gpt_table *t, const char *fmt, ...) PRINTF(2, 3);

static struct uuid guid_of(struct guid g)
{
	be32 a = be32_of(le32_get(g.a));
	be16 b = be16_of(le16_get(g.b)), c = be16_of(le16_get(g.c));
	struct uuid u;

	memcpy(u.b, a.b, 4);
	memcpy(u.b + 4, b.b, 2);
	memcpy(u.b + 6, c.b, 2);
	memcpy(u.b + 8, g.rest, 8);
	return u;
}

bool gpt_is_protective_mbr(const void *block, size_t len)
{
	struct mbr mbr;

	assert(len >= MBR_BYTES);
	memcpy(&mbr, block, sizeof(mbr));
	if (le16_get(mbr.signature) != MBR_SIGNATURE)
		return false;
	for (uint32_t i = 0; i < ARRAY_SIZE(mbr.entries); i++) /* others beside it: a hybrid MBR, taken as Linux does */
		if (mbr.entries[i].type == MBR_PROTECTIVE && le32_get(mbr.entries[i].first_lba) == GPT_PRIMARY_LBA)
			return true;
	return false;
}

/* --- header ----------------------------------------------------------------------------------------------- */

/* The checksum is made with its own field zero. */
static uint32_t header_crc(const uint8_t *block, uint32_t header_bytes)
{
	const uint8_t zero[4] = { 0 };
	uint32_t at = offsetof(struct raw_header, crc);
	uint32_t crc = crc32_gzip_refl(0, block, at);

	crc = crc32_gzip_refl(crc, zero, sizeof(zero));
	return crc32_gzip_refl(crc, block + at + 4, header_bytes - at - 4);
}

static int check_entries_place(const struct gpt_header *h, uint64_t lba, uint64_t block_count, struct err *e)
{
	uint64_t first = h->entries_lba, last = first + h->entries_blocks - 1;

	if (first <= GPT_PRIMARY_LBA || first >= block_count || h->entries_blocks > block_count - first)
		return err_set(e, -EILSEQ, "its entries in block %llu are not on the device", (unsigned long long)first);
	if (first <= lba && lba <= last)
		return err_set(e, -EILSEQ, "its entries overlap the header");
	if (first <= h->last_usable && last >= h->first_usable)
		return err_set(e, -EILSEQ, "its entries lie where partitions may be");
	return 0;
}

int gpt_parse_header(const void *block, uint32_t block_size, uint64_t lba, uint64_t block_count,
                     struct gpt_header *ret_header, struct err *e)
{
	struct raw_header raw;
	struct gpt_header h;
	uint32_t bytes;
	int rc;

	assert(block_size >= 512);
	memcpy(&raw, block, sizeof(raw));
	bytes = le32_get(raw.header_bytes);
	if (memcmp(raw.signature, "EFI PART", 8) != 0)
		return err_set(e, -EILSEQ, "there is no signature");
	if (bytes < HEADER_BYTES || bytes > block_size)
		return err_set(e, -EILSEQ, "its size is said to be %u bytes", bytes);
	if (header_crc(block, bytes) != le32_get(raw.crc))
		return err_set(e, -EILSEQ, "its checksum does not match");
	if (le64_get(raw.my_lba) != lba)
		return err_set(e, -EILSEQ, "it says it lies in block %llu", (unsigned long long)le64_get(raw.my_lba));
	h = (struct gpt_header){
		.disk = guid_of(raw.disk), .block_size = block_size,
		.first_usable = le64_get(raw.first_usable), .last_usable = le64_get(raw.last_usable),
		.entries_lba = le64_get(raw.entries_lba), .entries_crc = le32_get(raw.entries_crc),
		.entry_bytes = le32_get(raw.entry_bytes), .entry_count = le32_get(raw.entry_count),
	};
	if (h.first_usable <= GPT_PRIMARY_LBA || h.first_usable > h.last_usable || h.last_usable >= block_count)
		return err_set(e, -EILSEQ, "its usable blocks are said to be %llu to %llu, of a device of %llu",
		               (unsigned long long)h.first_usable, (unsigned long long)h.last_usable,
		               (unsigned long long)block_count);
	if (h.entry_bytes < ENTRY_BYTES || !is_pow2(h.entry_bytes) || !h.entry_count || h.entry_count > GPT_PARTS_MAX ||
	    h.entry_bytes > GPT_ENTRIES_BYTES_MAX / h.entry_count)
		return err_set(e, -EILSEQ, "it has %u entries of %u bytes; %u of 128 to 512 are understood", h.entry_count,
		               h.entry_bytes, GPT_PARTS_MAX);
	h.entries_blocks = div_up((uint64_t)h.entry_count * h.entry_bytes, block_size);
	rc = check_entries_place(&h, lba, block_count, e);
	if (rc == 0)
		*ret_header = h;
	return rc;
}

/* --- entries ---------------------------------------------------------------------------------------------- */

int gpt_parse_entries(const struct gpt_header *h, const void *entries, size_t len, struct gpt_table *ret_table,
                      struct err *e)
{
	size_t bytes = (size_t)h->entry_count * h->entry_bytes;
	const uint8_t *at = entries;

	must(bytes <= len);
	if (crc32_gzip_refl(0, at, bytes) != h->entries_crc)
		return err_set(e, -EILSEQ, "the checksum of its entries does not match");
	memset(ret_table, 0, sizeof(*ret_table));
	ret_table->disk = h->disk;
	for (uint32_t i = 0; i < h->entry_count; i++, at += h->entry_bytes) {
		struct raw_entry raw;
		struct uuid type;

		memcpy(&raw, at, sizeof(raw));
		type = guid_of(raw.type);
		if (!uuid_is_null(&type) && entry_fits(h, &raw, i + 1, ret_table))
			take_entry(&raw, i + 1, &ret_table->parts[ret_table->count++]);
	}
	drop_overlapping(ret_table);
	return 0;
}

static bool entry_fits(const struct gpt_header *h, const struct raw_entry *raw, uint32_t number, struct gpt_table *t)
{
	uint64_t first = le64_get(raw->first), last = le64_get(raw->last);

	if (first >= h->first_usable && first <= last && last <= h->last_usable)
		return true;
	note(t, "partition %u is said to be blocks %llu to %llu, of %llu to %llu that are usable", number,
	     (unsigned long long)first, (unsigned long long)last, (unsigned long long)h->first_usable,
	     (unsigned long long)h->last_usable);
	return false;
}

static void take_entry(const struct raw_entry *raw, uint32_t number, struct gpt_part *part)
{
	part->number = number;
	part->first = le64_get(raw->first);
	part->count = le64_get(raw->last) - part->first + 1;
	part->type = guid_of(raw->type);
	part->id = guid_of(raw->id);
	name_to_utf8(raw->name, part->name);
}

static bool overlap(const struct gpt_part *a, const struct gpt_part *b)
{
	return a->first < b->first + b->count && b->first < a->first + a->count;
}

/* Of two that overlap neither is right: nobody can say whose the blocks are. */
static void drop_overlapping(struct gpt_table *t)
{
	bool bad[GPT_PARTS_MAX] = { false };
	uint32_t kept = 0;

	for (uint32_t i = 0; i < t->count; i++) {
		for (uint32_t k = 0; k < i; k++) {
			if (!overlap(&t->parts[i], &t->parts[k]))
				continue;
			if (!bad[i])
				note(t, "partitions %u and %u overlap", t->parts[k].number, t->parts[i].number);
			t->skipped += !bad[k];
			bad[i] = bad[k] = true;
		}
	}
	for (uint32_t i = 0; i < t->count; i++)
		if (!bad[i])
			t->parts[kept++] = t->parts[i];
	t->count = kept;
}

/* One more was skipped; the first reason is kept. */
static void note(struct gpt_table *t, const char *fmt, ...)
{
	struct text text;
	va_list ap;

	if (t->skipped++)
		return;
	text = text_over(t->note, sizeof(t->note));
	va_start(ap, fmt);
	text_vadd(&text, fmt, ap);
	va_end(ap);
}

static uint32_t put_utf8(char *to, uint32_t c)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (char)(0xc0 | c >> 6);
		to[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		to[0] = (char)(0xe0 | c >> 12);
		to[1] = (char)(0x80 | (c >> 6 & 0x3f));
		to[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	to[0] = (char)(0xf0 | c >> 18);
	to[1] = (char)(0x80 | (c >> 12 & 0x3f));
	to[2] = (char)(0x80 | (c >> 6 & 0x3f));
	to[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Halves of pairs that stand alone become U+FFFD. A pair is two units and four bytes: it fits. */
static void name_to_utf8(const le16 *units, char *name)
{
	uint32_t len = 0;

	for (uint32_t i = 0; i < NAME_UNITS && le16_get(units[i]); i++) {
		uint32_t c = le16_get(units[i]);
		uint32_t next = i + 1 < NAME_UNITS ? le16_get(units[i + 1]) : 0;

		if (c >= 0xd800 && c < 0xdc00 && next >= 0xdc00 && next < 0xe000) {
			c = 0x10000 + ((c - 0xd800) << 10) + (next - 0xdc00);
			i++;
		} else if (c >= 0xd800 && c < 0xe000) {
			c = 0xfffd;
		}
		len += put_utf8(name + len, c);
	}
	assert(len < GPT_NAME_MAX);
	name[len] = 0;
}
