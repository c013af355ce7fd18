/* SPDX-License-Identifier: BSD-3-Clause */
/* gpt_table_test.c: what is read from a table, and that a damaged one is not believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/gpt/gpt_image_test.h"
#include "backends/gpt/gpt_table.h"

/* 6527994e-2c5a-4eec-9613-8f5944074e8b as it lies on a disk. */
static const uint8_t TYPE[16] = { 0x4e, 0x99, 0x27, 0x65, 0x5a, 0x2c, 0xec, 0x4e, 0x96, 0x13, 0x8f, 0x59, 0x44, 0x07,
	                          0x4e, 0x8b };

static struct gpt_header header;
static struct gpt_table table;

static int parse(const struct gpt_image *g, uint64_t lba)
{
	int rc = gpt_parse_header(image_block(g, lba), g->block_size, lba, g->blocks, &header, NULL);

	if (rc == 0)
		rc = gpt_parse_entries(&header, image_block(g, header.entries_lba), header.entries_blocks * g->block_size,
		                       &table, NULL);
	return rc;
}

static struct gpt_image two_parts(uint32_t block_size)
{
	struct gpt_image g;

	image_init(&g, block_size, 1024);
	image_part(&g, 1, TYPE, 100, 199, "one");
	image_part(&g, 5, TYPE, 40, 40, "five");
	image_seal(&g);
	return g;
}

static void check_two_parts(void)
{
	char text[UUID_TEXT_MAX];

	assert_int_equal(table.count, 2);
	assert_int_equal(table.skipped, 0);
	assert_int_equal(table.parts[0].number, 1);
	assert_int_equal(table.parts[0].first, 100);
	assert_int_equal(table.parts[0].count, 100);
	assert_string_equal(table.parts[0].name, "one");
	assert_string_equal(uuid_to_text(&table.parts[0].type, text), "6527994e-2c5a-4eec-9613-8f5944074e8b");
	assert_string_equal(uuid_to_text(&table.parts[0].id, text), "a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1");
	assert_string_equal(uuid_to_text(&table.disk, text), "d1d1d1d1-d1d1-d1d1-d1d1-d1d1d1d1d1d1");
	assert_int_equal(table.parts[1].number, 5);
	assert_int_equal(table.parts[1].count, 1);
	assert_string_equal(table.parts[1].name, "five");
}

/* The checksum every other tool uses: a private one would read only our own disks. */
static void the_checksum_is_zlibs(void **state)
{
	assert_int_equal(crc32_gzip_refl(0, (const uint8_t *)"123456789", 9), 0xcbf43926);
}

static void both_copies_say_the_same(void **state)
{
	static const uint32_t sizes[] = { 512, 4096 };

	for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct gpt_image g = two_parts(sizes[i]);

		assert_true(gpt_is_protective_mbr(g.disk, g.block_size));
		assert_int_equal(parse(&g, 1), 0);
		check_two_parts();
		memset(&table, 0, sizeof(table));
		assert_int_equal(parse(&g, 1023), 0);
		check_two_parts();
		free(g.disk);
	}
}

/* A flipped bit anywhere in a header or its entries must be noticed. */
static void every_flipped_bit_is_noticed(void **state)
{
	struct gpt_image g = two_parts(512);

	for (uint32_t at = 512; at < 512 + 92; at++) {
		g.disk[at] ^= 0x10;
		assert_int_not_equal(parse(&g, 1), 0);
		g.disk[at] ^= 0x10;
	}
	for (uint32_t at = 1024; at < 1024 + 128 * 128; at += 7) {
		g.disk[at] ^= 1;
		assert_int_not_equal(parse(&g, 1), 0);
		g.disk[at] ^= 1;
	}
	assert_int_equal(parse(&g, 1), 0);
	free(g.disk);
}

static void not_every_mbr_is_protective(void **state)
{
	struct gpt_image g = two_parts(512);

	g.disk[510] = 0;
	assert_false(gpt_is_protective_mbr(g.disk, 512));
	g.disk[510] = 0x55;
	g.disk[454] = 63;
	assert_false(gpt_is_protective_mbr(g.disk, 512));
	memcpy(g.disk + 446 + 48, g.disk + 446, 16); /* the fourth of a hybrid one */
	g.disk[446 + 48 + 8] = 1;
	assert_true(gpt_is_protective_mbr(g.disk, 512));
	free(g.disk);
}

/* Headers whose checksum is right and whose contents are not: what a mistaken or malicious tool writes. */
static void a_header_must_make_sense(void **state)
{
	static const struct { uint32_t at; uint64_t value; } wrong[] = {
		{ 24, 2 },                                      /* its own place */
		{ 40, 1 }, { 40, 2000 }, { 40, UINT64_MAX },    /* first usable */
		{ 48, 1024 }, { 48, 33 }, { 48, UINT64_MAX },   /* last usable */
		{ 72, 0 }, { 72, 1 }, { 72, 500 }, { 72, 1023 }, { 72, UINT64_MAX }, /* entries */
		{ 80, 0x8000000000ull }, { 80, 0x8000000081ull }, { 80, 0x80ffffffffull }, /* how many */
		{ 80, 0x0000004000000080ull }, { 80, 0x000000c000000080ull }, { 80, 0x8000000000000080ull }, /* how large */
	};
	struct gpt_image g = two_parts(512);
	uint8_t good[512];

	memcpy(good, g.disk + 512, 512);
	for (uint32_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		memcpy(g.disk + 512, good, 512);
		image_u64(g.disk + 512 + wrong[i].at, wrong[i].value);
		image_u32(g.disk + 512 + 16, 0);
		image_u32(g.disk + 512 + 16, crc32_gzip_refl(0, g.disk + 512, 92));
		assert_int_not_equal(gpt_parse_header(g.disk + 512, 512, 1, g.blocks, &header, NULL), 0);
	}
	free(g.disk);
}

static void partitions_outside_or_on_each_other_are_skipped(void **state)
{
	struct gpt_image g;

	image_init(&g, 512, 1024);
	image_part(&g, 1, TYPE, 100, 199, "a");
	image_part(&g, 2, TYPE, 199, 300, "on a");
	image_part(&g, 3, TYPE, 400, 399, "backwards");
	image_part(&g, 4, TYPE, 1000, 1010, "on the backup");
	image_part(&g, 5, TYPE, 1, 50, "on the header");
	image_part(&g, 6, TYPE, 600, 610, "good");
	image_part(&g, 7, TYPE, 0, UINT64_MAX, "all");
	image_seal(&g);
	assert_int_equal(parse(&g, 1), 0);
	assert_int_equal(table.count, 1);
	assert_int_equal(table.parts[0].number, 6);
	assert_int_equal(table.skipped, 6);
	assert_true(table.note[0]);
	free(g.disk);
}

/* A name ends up in JSON: it has to be UTF-8 whatever lies on the disk. */
static void names_become_utf8(void **state)
{
	static const uint16_t units[36] = { 'a', 0xe4, 0x20ac, 0xd83d, 0xde00, 0xd800, 'b', 0xdc00 };
	struct gpt_image g;

	image_init(&g, 4096, 256);
	image_part(&g, 1, TYPE, 100, 199, "");
	memcpy(image_block(&g, 2) + 56, units, sizeof(units));
	image_part(&g, 2, TYPE, 50, 60, "");
	memset(image_block(&g, 2) + 128 + 56, 0xef, 72); /* 36 units of three bytes each: the longest */
	image_seal(&g);
	assert_int_equal(parse(&g, 1), 0);
	assert_string_equal(table.parts[0].name, "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd" "b\xef\xbf\xbd");
	assert_int_equal(strlen(table.parts[1].name), 108);
	free(g.disk);
}

/* Larger entries, fewer of them, more than one block's worth. */
static void entries_may_have_other_sizes(void **state)
{
	struct gpt_image g;

	image_init(&g, 512, 1024);
	g.entry_bytes = 512;
	g.entry_count = 9;
	image_part(&g, 9, TYPE, 100, 199, "nine");
	image_seal(&g);
	assert_int_equal(parse(&g, 1), 0);
	assert_int_equal(header.entries_blocks, 9);
	assert_int_equal(table.count, 1);
	assert_int_equal(table.parts[0].number, 9);
	free(g.disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_checksum_is_zlibs),
		cmocka_unit_test(both_copies_say_the_same),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(not_every_mbr_is_protective),
		cmocka_unit_test(a_header_must_make_sense),
		cmocka_unit_test(partitions_outside_or_on_each_other_are_skipped),
		cmocka_unit_test(names_become_utf8),
		cmocka_unit_test(entries_may_have_other_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
