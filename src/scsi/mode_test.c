/* SPDX-License-Identifier: BSD-3-Clause */
/* mode_test.c: a mode page that is wrong by a byte makes hosts guess the cache wrong, and a parameter list that is
 * taken half leaves the unit in a state nobody asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "scsi/mode.h"
#include "wire/scsi_mode.h"

static const struct scsi_mode_facts cached = { .volatile_cache = true, .block_size = 512, .blocks = 1000 };
static const struct scsi_mode_facts plain = { .block_size = 4096, .blocks = 1ull << 33 };

static const uint8_t *page_in(const uint8_t *list, uint32_t len, uint32_t first, uint8_t code)
{
	for (uint32_t at = first; at < len;) {
		if ((list[at] & 0x3f) == code && !(list[at] & SCSI_MODE_SPF))
			return list + at;
		at += list[at] & SCSI_MODE_SPF ? 4u + scsi_u16(list + at + 2) : 2u + list[at + 1];
	}
	base_must_failed("the page is in the list", __FILE__, __LINE__, __func__);
}

static void all_pages_fill_a_list_exactly(void **state)
{
	uint8_t list[SCSI_MODE_LIST_MAX];
	struct scsi_mode_ask ask = { .code = SCSI_MODE_ALL };
	struct scsi_lu_state m;
	uint32_t len, at, count = 0;
	uint8_t before = 0;
	bool subpage;

	scsi_mode_defaults(&cached, &m);
	len = scsi_mode_list(&cached, &m, &ask, list, &subpage);
	assert_int_equal(list[0], len - 1);
	assert_int_equal(list[2], SCSI_MODE_DPOFUA);
	assert_int_equal(list[3], 8);
	assert_int_equal(scsi_u32(list + 4), 1000);
	assert_int_equal(scsi_u24(list + 9), 512);
	for (at = 12; at < len; at += 2u + list[at + 1], count++) {
		assert_false(list[at] & SCSI_MODE_SPF); /* not asked for */
		assert_true((list[at] & 0x3f) > before);
		before = list[at] & 0x3f;
	}
	assert_int_equal(at, len);
	assert_int_equal(count, 5);
	ask.subpage = SCSI_MODE_SUBPAGE_ALL;
	assert_int_equal(scsi_mode_list(&cached, &m, &ask, list, &subpage), len + 32);
}

static void a_long_descriptor_holds_what_a_short_one_cannot(void **state)
{
	uint8_t list[SCSI_MODE_LIST_MAX];
	struct scsi_mode_ask ask = { .ten = true, .code = SCSI_MODE_CACHING };
	struct scsi_lu_state m = { .swp = true };
	bool subpage;

	assert_int_equal(scsi_mode_list(&plain, &m, &ask, list, &subpage), 8 + 8 + 20);
	assert_int_equal(scsi_u32(list + 8), UINT32_MAX);
	assert_int_equal(list[3], SCSI_MODE_DPOFUA | SCSI_MODE_WP);
	ask.llbaa = true;
	assert_int_equal(scsi_mode_list(&plain, &m, &ask, list, &subpage), 8 + 16 + 20);
	assert_int_equal(list[4], SCSI_MODE_LONGLBA);
	assert_int_equal(scsi_u64(list + 8), 1ull << 33);
	assert_int_equal(scsi_u32(list + 20), 4096);
	ask.dbd = true;
	assert_int_equal(scsi_mode_list(&plain, &m, &ask, list, &subpage), 8 + 20);
	assert_int_equal(scsi_u16(list), 26);
}

static void the_cache_can_be_switched_only_where_there_is_one(void **state)
{
	uint8_t pages[SCSI_MODE_PAGES_MAX];
	struct scsi_lu_state m;
	bool subpage;

	scsi_mode_defaults(&plain, &m);
	assert_false(m.wce);
	assert_int_equal(scsi_mode_pages(&plain, &m, SCSI_PC_CHANGEABLE, SCSI_MODE_CACHING, 0, pages, &subpage), 20);
	assert_int_equal(pages[2], 0);
	scsi_mode_defaults(&cached, &m);
	assert_true(m.wce);
	scsi_mode_pages(&cached, &m, SCSI_PC_CHANGEABLE, SCSI_MODE_CACHING, 0, pages, &subpage);
	assert_int_equal(pages[2], SCSI_CACHING2_WCE);
	m.wce = false;
	scsi_mode_pages(&cached, &m, SCSI_PC_CURRENT, SCSI_MODE_CACHING, 0, pages, &subpage);
	assert_int_equal(pages[2], 0);
	scsi_mode_pages(&cached, &m, SCSI_PC_DEFAULT, SCSI_MODE_CACHING, 0, pages, &subpage);
	assert_int_equal(pages[2], SCSI_CACHING2_WCE);
}

static void what_there_is_not_is_told_apart(void **state)
{
	uint8_t pages[SCSI_MODE_PAGES_MAX];
	struct scsi_lu_state m = { 0 };
	bool subpage = true;

	assert_int_equal(scsi_mode_pages(&plain, &m, 0, 0x1a, 0, pages, &subpage), 0);
	assert_false(subpage);
	assert_int_equal(scsi_mode_pages(&plain, &m, 0, SCSI_MODE_CONTROL, 2, pages, &subpage), 0);
	assert_true(subpage);
	assert_int_equal(scsi_mode_pages(&plain, &m, 0, SCSI_MODE_ALL, 1, pages, &subpage), 0);
	assert_true(subpage);
	assert_int_equal(scsi_mode_pages(&plain, &m, 0, SCSI_MODE_CONTROL, SCSI_MODE_SUBPAGE_ALL, pages, &subpage), 44);
}

/* What SENSE gave goes back, with a change. */
static uint32_t sensed(const struct scsi_mode_facts *f, bool ten, uint8_t *list, const struct scsi_lu_state *m)
{
	struct scsi_mode_ask ask = { .ten = ten, .code = SCSI_MODE_ALL, .subpage = SCSI_MODE_SUBPAGE_ALL };
	bool subpage;

	return scsi_mode_list(f, m, &ask, list, &subpage);
}

static void what_was_sensed_can_be_selected(void **state)
{
	uint8_t list[SCSI_MODE_LIST_MAX], bit;
	struct scsi_lu_state m, before;
	uint16_t byte;

	for (uint32_t ten = 0; ten < 2; ten++) {
		uint32_t len;

		scsi_mode_defaults(&cached, &m);
		len = sensed(&cached, ten, list, &m);
		before = m;
		assert_int_equal(scsi_mode_take(&cached, ten, list, len, &m, &byte, &bit), SCSI_MODE_OK);
		assert_memory_equal(&m, &before, sizeof(m));
		((uint8_t *)page_in(list, len, ten ? 16 : 12, SCSI_MODE_CONTROL))[2] |= SCSI_CONTROL2_D_SENSE;
		((uint8_t *)page_in(list, len, ten ? 16 : 12, SCSI_MODE_CONTROL))[4] |= SCSI_CONTROL4_SWP;
		((uint8_t *)page_in(list, len, ten ? 16 : 12, SCSI_MODE_CACHING))[2] &= (uint8_t)~SCSI_CACHING2_WCE;
		assert_int_equal(scsi_mode_take(&cached, ten, list, len, &m, &byte, &bit), SCSI_MODE_OK);
		assert_true(m.d_sense && m.swp && !m.wce && m.tas);
	}
}

static void a_list_is_taken_whole_or_not_at_all(void **state)
{
	uint8_t list[SCSI_MODE_LIST_MAX], bit = 0;
	struct scsi_lu_state m, before;
	uint16_t byte = 0;
	uint32_t len;

	scsi_mode_defaults(&cached, &m);
	before = m;
	len = sensed(&cached, false, list, &m);
	((uint8_t *)page_in(list, len, 12, SCSI_MODE_CACHING))[2] &= (uint8_t)~SCSI_CACHING2_WCE;
	((uint8_t *)page_in(list, len, 12, SCSI_MODE_EXCEPTIONS))[3] = 6;
	assert_int_equal(scsi_mode_take(&cached, false, list, len, &m, &byte, &bit), SCSI_MODE_BAD_FIELD);
	assert_int_equal(byte, page_in(list, len, 12, SCSI_MODE_EXCEPTIONS) + 3 - list);
	assert_int_equal(bit, 2);
	assert_memory_equal(&m, &before, sizeof(m));
}

static void every_cut_of_a_list_is_refused(void **state)
{
	uint8_t list[SCSI_MODE_LIST_MAX], bit;
	struct scsi_lu_state m;
	uint16_t byte;
	uint32_t len, good = 0;

	scsi_mode_defaults(&cached, &m);
	len = sensed(&cached, true, list, &m);
	for (uint32_t cut = 1; cut <= len; cut++) {
		uint8_t *copy = malloc(cut); /* so that a sanitizer sees what is read beyond it */

		memcpy(copy, list, cut);
		good += scsi_mode_take(&cached, true, copy, cut, &m, &byte, &bit) == SCSI_MODE_OK;
		free(copy);
	}
	assert_int_equal(good, 7); /* behind the descriptor, and behind each of the pages */
	assert_int_equal(scsi_mode_take(&cached, true, list, 0, &m, &byte, &bit), SCSI_MODE_OK);
}

static void the_format_is_not_a_hosts_to_change(void **state)
{
	uint8_t list[12] = { 0, 0, 0, 8 }, bit;
	struct scsi_lu_state m = { 0 };
	uint16_t byte;

	assert_int_equal(scsi_mode_take(&cached, false, list, 12, &m, &byte, &bit), SCSI_MODE_OK);
	scsi_put32(list + 4, 999);
	assert_int_equal(scsi_mode_take(&cached, false, list, 12, &m, &byte, &bit), SCSI_MODE_BAD_FIELD);
	assert_int_equal(byte, 4);
	scsi_put32(list + 4, 1000);
	scsi_put24(list + 9, 4096);
	assert_int_equal(scsi_mode_take(&cached, false, list, 12, &m, &byte, &bit), SCSI_MODE_BAD_FIELD);
	assert_int_equal(byte, 9);
	scsi_put24(list + 9, 512);
	assert_int_equal(scsi_mode_take(&cached, false, list, 12, &m, &byte, &bit), SCSI_MODE_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_pages_fill_a_list_exactly),
		cmocka_unit_test(a_long_descriptor_holds_what_a_short_one_cannot),
		cmocka_unit_test(the_cache_can_be_switched_only_where_there_is_one),
		cmocka_unit_test(what_there_is_not_is_told_apart),
		cmocka_unit_test(what_was_sensed_can_be_selected),
		cmocka_unit_test(a_list_is_taken_whole_or_not_at_all),
		cmocka_unit_test(every_cut_of_a_list_is_refused),
		cmocka_unit_test(the_format_is_not_a_hosts_to_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
