/* SPDX-License-Identifier: BSD-3-Clause */
/* xcopy_test.c: a copy that takes the wrong blocks, or that a host may make of what it may not read, destroys or gives
 * away data without one byte on the wire to show for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "scsi/primary_rig.h"
#include "wire/scsi_inquiry.h"
#include "wire/scsi_report.h"

static struct rig rig;
static struct host a;

static int begin(void **state)
{
	hosts_start(&rig, 2);
	host_join(&rig, &a, 1, 1);
	return 0;
}

static int end(void **state)
{
	rig_stop(&rig);
	host_leave(&a);
	return 0;
}

/* --- lists ------------------------------------------------------------------------------------------------ */

static uint32_t at; /* in a.out */

static void list_begin(uint8_t id, uint8_t flags)
{
	memset(a.out, 0, SCSI_XCOPY_LIST_MAX * 2);
	a.out[0] = id;
	a.out[1] = flags;
	at = sizeof(struct scsi_xcopy_lid1);
}

static void list_cscd(uint32_t lun)
{
	struct scsi_xcopy_cscd *d = (struct scsi_xcopy_cscd *)(a.out + at);
	struct uuid uuid = { "0123456789abcde0" };

	uuid.b[15] = (uint8_t)('0' + lun);
	d->type = SCSI_XCOPY_CSCD_ID;
	d->code_set = SCSI_CODE_BINARY;
	d->designator_type = SCSI_DESIGNATOR_NAA;
	d->designator_length = SCSI_NAA_LEN;
	scsi_naa(&uuid, d->designator);
	d->block_size = be24_of(lun == 2 ? 4096 : 512);
	at += (uint32_t)sizeof(*d);
	scsi_put16(a.out + 2, (uint16_t)(scsi_u16(a.out + 2) + sizeof(*d)));
}

static void list_segment(uint16_t src, uint16_t dst, uint64_t src_lba, uint64_t dst_lba, uint16_t blocks)
{
	struct scsi_xcopy_b2b *s = (struct scsi_xcopy_b2b *)(a.out + at);

	*s = (struct scsi_xcopy_b2b){ .h = { .type = SCSI_XCOPY_B2B, .length = be16_of(sizeof(*s) - 4), .src = be16_of(src),
		.dst = be16_of(dst) }, .blocks = be16_of(blocks), .src_lba = be64_of(src_lba), .dst_lba = be64_of(dst_lba) };
	at += (uint32_t)sizeof(*s);
	scsi_put32(a.out + 8, scsi_u32(a.out + 8) + (uint32_t)sizeof(*s));
}

static void list_bytes(uint16_t src, uint16_t dst, uint64_t src_lba, uint64_t dst_lba, uint32_t bytes)
{
	struct scsi_xcopy_b2b_offset *s = (struct scsi_xcopy_b2b_offset *)(a.out + at);

	*s = (struct scsi_xcopy_b2b_offset){ .h = { .type = SCSI_XCOPY_B2B_OFFSET, .length = be16_of(sizeof(*s) - 4),
		.src = be16_of(src), .dst = be16_of(dst) }, .bytes = be32_of(bytes), .src_lba = be64_of(src_lba),
		.dst_lba = be64_of(dst_lba) };
	at += (uint32_t)sizeof(*s);
	scsi_put32(a.out + 8, scsi_u32(a.out + 8) + (uint32_t)sizeof(*s));
}

static uint8_t copy_of(uint32_t lun, uint32_t len)
{
	uint8_t cdb[16] = { SCSI_OP_EXTENDED_COPY_LID1 };

	scsi_put32(cdb + 10, len);
	return host_cmd(&a, lun, cdb, sizeof(cdb), len);
}

static uint8_t copy(void)
{
	return copy_of(0, at);
}

static void assert_check(uint8_t status, uint8_t key, uint16_t asc)
{
	assert_int_equal(status, SCSI_CHECK_CONDITION);
	assert_int_equal(a.key, key);
	assert_int_equal(a.asc, asc);
}

static uint8_t copy_status(uint8_t id)
{
	return CMD(&a, 0, 0, SCSI_OP_COPY_STATUS_LID1, SCSI_SA_COPY_STATUS_LID1, id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0);
}

/* --- copies ----------------------------------------------------------------------------------------------- */

static void blocks_are_where_they_were_sent(void **state)
{
	assert_int_equal(host_fill(&a, 0, 100, 8, 512, 0x11), SCSI_GOOD);
	assert_int_equal(host_fill(&a, 0, 1000, 10, 512, 0x22), SCSI_GOOD);
	assert_int_equal(host_fill(&a, 1, 50, 10, 512, 0x33), SCSI_GOOD);
	list_begin(1, SCSI_XCOPY_ID_DISCARD);
	list_cscd(0);
	list_cscd(1);
	list_segment(0, 0, 100, 1001, 8);
	list_segment(0, 1, 100, 51, 8);
	list_segment(0, 1, 0, 0, 0); /* nothing at all */
	assert_int_equal(copy(), SCSI_GOOD);
	assert_true(host_finds(&a, 0, 1000, 1, 512, 0x22));
	assert_true(host_finds(&a, 0, 1001, 8, 512, 0x11));
	assert_true(host_finds(&a, 0, 1009, 1, 512, 0x22));
	assert_true(host_finds(&a, 1, 50, 1, 512, 0x33));
	assert_true(host_finds(&a, 1, 51, 8, 512, 0x11));
	assert_true(host_finds(&a, 1, 59, 1, 512, 0x33));
}

static void a_copy_longer_than_a_piece_is_whole(void **state)
{
	assert_int_equal(host_fill(&a, 0, 0, 1, 512, 0x44), SCSI_GOOD);
	assert_int_equal(host_fill(&a, 0, 20000, 1, 512, 0x55), SCSI_GOOD);
	list_begin(0, SCSI_XCOPY_ID_NONE);
	list_cscd(0);
	list_cscd(1);
	list_bytes(0, 1, 0, 40000, 20001 * 512);
	assert_int_equal(copy_of(1, at), SCSI_GOOD);
	assert_true(host_finds(&a, 1, 40000, 1, 512, 0x44));
	assert_true(host_finds(&a, 1, 60000, 1, 512, 0x55));
}

static void the_unit_that_was_asked_needs_no_name(void **state)
{
	assert_int_equal(host_fill(&a, 2, 1, 2, 4096, 0x66), SCSI_GOOD);
	list_begin(9, 0);
	list_segment(SCSI_XCOPY_CSCD_SELF, SCSI_XCOPY_CSCD_SELF, 1, 10, 2);
	assert_int_equal(copy_of(2, at), SCSI_GOOD);
	assert_true(host_finds(&a, 2, 10, 2, 4096, 0x66));
}

static void what_became_of_a_copy_can_be_asked(void **state)
{
	assert_check(copy_status(77), SCSI_ILLEGAL_REQUEST, 0x2400);
	list_begin(77, 0);
	list_cscd(0);
	list_segment(0, 0, 0, 4096, 64);
	assert_int_equal(copy(), SCSI_GOOD);
	assert_int_equal(copy_status(77), SCSI_GOOD);
	assert_int_equal(a.got, 12);
	assert_int_equal(scsi_u32(a.in), 8);
	assert_int_equal(a.in[4], SCSI_COPY_DONE);
	assert_int_equal(scsi_u16(a.in + 5), 1);
	assert_int_equal(scsi_u32(a.in + 8), 32);
	for (uint8_t id = 78; id < 78 + SCSI_COPIES_KEPT; id++) {
		a.out[0] = id;
		assert_int_equal(copy(), SCSI_GOOD);
	}
	assert_check(copy_status(77), SCSI_ILLEGAL_REQUEST, 0x2400); /* newer ones took its place */
	assert_int_equal(copy_status(81), SCSI_GOOD);
}

static void what_cannot_be_copied_is_not_begun(void **state)
{
	assert_int_equal(host_fill(&a, 0, 200, 1, 512, 0x77), SCSI_GOOD);
	assert_int_equal(host_fill(&a, 0, 300, 1, 512, 0x88), SCSI_GOOD);
	list_begin(1, 0);
	list_cscd(0);
	list_segment(0, 0, 200, 300, 1);
	list_segment(0, 1, 200, 300, 1);
	assert_check(copy(), SCSI_COPY_ABORTED, SCSI_ASC_COPY_TARGET_NOT_REACHABLE); /* there is no second descriptor */
	assert_int_equal(scsi_u32(a.sense + 8), 1);
	list_begin(1, 0);
	list_cscd(0);
	list_segment(0, 0, 200, 300, 1);
	list_segment(0, 0, 200, DISK_BLOCKS - 1, 2);
	assert_check(copy(), SCSI_COPY_ABORTED, SCSI_ASC_NONE); /* beyond the end */
	list_begin(1, 0);
	list_cscd(0);
	list_segment(0, 0, UINT64_MAX, 300, 2);
	assert_check(copy(), SCSI_COPY_ABORTED, SCSI_ASC_NONE);
	list_begin(1, 0);
	list_cscd(0);
	list_cscd(2);
	list_segment(0, 1, 200, 0, 1);
	assert_check(copy(), SCSI_COPY_ABORTED, SCSI_ASC_COPY_ERROR); /* blocks of another size */
	list_begin(1, 0);
	list_cscd(7); /* no such unit */
	list_segment(0, 0, 200, 300, 1);
	assert_check(copy(), SCSI_COPY_ABORTED, SCSI_ASC_COPY_TARGET_NOT_REACHABLE);
	assert_true(host_finds(&a, 0, 300, 1, 512, 0x88));
}

static void a_list_that_is_not_one_is_refused(void **state)
{
	list_begin(1, 0);
	list_cscd(0);
	list_segment(0, 0, 0, 300, 1);
	assert_check(copy_of(0, at - 1), SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	assert_check(copy_of(0, 47), SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	assert_check(copy_of(0, 15), SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	assert_int_equal(copy_of(0, 0), SCSI_GOOD);
	a.out[16] = 0xe0;
	assert_check(copy(), SCSI_ILLEGAL_REQUEST, SCSI_ASC_UNSUPPORTED_TARGET_DESCRIPTOR);
	a.out[16] = 0xe4;
	a.out[48] = 0x03;
	assert_check(copy(), SCSI_ILLEGAL_REQUEST, SCSI_ASC_UNSUPPORTED_SEGMENT_DESCRIPTOR);
	a.out[48] = 0x02;
	a.out[51]--;
	assert_check(copy(), SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_PARAMETERS);
	a.out[51]++;
	a.out[15] = 1;
	assert_check(copy(), SCSI_ILLEGAL_REQUEST, SCSI_ASC_INLINE_DATA_LENGTH);
	a.out[15] = 0;
	scsi_put32(a.out + 8, UINT32_MAX);
	assert_check(copy(), SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	list_begin(1, SCSI_XCOPY_ID_NONE);
	assert_check(copy(), SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_PARAMETERS);
}

static void limits_are_the_ones_that_are_told(void **state)
{
	uint32_t cscds, segments, longest;

	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_COPY_PARAMETERS, SCSI_SA_COPY_PARAMETERS, 0, 0, 0, 0, 0, 0, 0, 0,
	                 0, 0, 4, 0, 0,
	                     0), SCSI_GOOD);
	assert_int_equal(scsi_u32(a.in), a.got - 4);
	cscds = scsi_u16(a.in + 8);
	segments = scsi_u16(a.in + 10);
	longest = scsi_u32(a.in + 12);
	list_begin(1, 0);
	for (uint32_t i = 0; i < cscds; i++)
		list_cscd(0);
	for (uint32_t i = 0; i < segments; i++)
		list_bytes(0, (uint16_t)(cscds - 1), i, 5000 + i, 512);
	assert_int_equal(at, 16 + longest);
	assert_int_equal(copy(), SCSI_GOOD);
	list_segment(0, 0, 0, 1, 1);
	assert_check(copy(), SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	list_begin(1, 0);
	for (uint32_t i = 0; i <= cscds; i++)
		list_cscd(0);
	list_segment(0, 0, 0, 1, 1);
	assert_check(copy(), SCSI_ILLEGAL_REQUEST, SCSI_ASC_TOO_MANY_TARGET_DESCRIPTORS);
	list_begin(1, 0);
	list_cscd(0);
	for (uint32_t i = 0; i <= segments; i++)
		list_segment(0, 0, 0, 1, 1);
	assert_check(copy(), SCSI_ILLEGAL_REQUEST, SCSI_ASC_TOO_MANY_SEGMENT_DESCRIPTORS);
}

/* --- copies that do not end by themselves ----------------------------------------------------------------------- */

#define LONG_BLOCKS 20001u
#define STEPS_MAX 60u

/* Between the two first disks, some steps of the simulation into it. */
static struct rig_task *copy_begun(struct rig_nexus *q, uint32_t steps)
{
	struct rig_cdb cdb = { { SCSI_OP_EXTENDED_COPY_LID1 } };
	struct rig_task *rt;

	list_begin(5, 0);
	list_cscd(0);
	list_cscd(1);
	list_bytes(0, 1, 0, 40000, LONG_BLOCKS * 512);
	scsi_put32(cdb.b + 10, at);
	rt = rig_send(q, 0, &cdb, SCSI_DATA_OUT, a.out, at, SCSI_ATTR_SIMPLE);
	while (steps-- && sim_step())
		;
	return rt;
}

static void take_attentions(void)
{
	for (uint32_t lun = 0; lun < 3; lun++)
		while (CMD(&a, lun, 0, SCSI_OP_TEST_UNIT_READY, 0, 0, 0, 0, 0))
			;
}

static void a_reset_ends_a_copy_wherever_it_is(void **state)
{
	uint32_t aborted = 0;

	for (uint32_t steps = 0; steps < STEPS_MAX; steps++) {
		struct rig_task *rt = copy_begun(a.q, steps), ended;

		assert_int_equal(rig_tmf(a.q, SCSI_TMF_LU_RESET, 0, 0), SCSI_TMF_COMPLETE);
		assert_true(rt->done);
		rig_end(rt, &ended);
		aborted += ended.aborted;
		take_attentions();
		assert_int_equal(copy_status(5), SCSI_GOOD);
		assert_true(a.in[4] == SCSI_COPY_FAILED || !ended.aborted);
	}
	assert_true(aborted > 0);
}

static void a_disk_that_goes_waits_for_its_copy_only(void **state)
{
	for (uint32_t steps = 0; steps < STEPS_MAX; steps++) {
		struct rig_task *rt = copy_begun(a.q, steps);

		assert_int_equal(rig_remove_lun(&rig, steps % 2), 0);
		assert_true(rt->done || rig_wait(rt, NS_PER_S));
		rig_end(rt, NULL);
		assert_int_equal(rig_add_lun(&rig, steps % 2 ? "disk1" : "disk0", steps % 2, false), 0);
		take_attentions();
	}
}

static void a_host_that_goes_leaves_no_copy_behind(void **state)
{
	for (uint32_t steps = 0; steps < STEPS_MAX; steps++) {
		struct host other;
		struct rig_task *rt;

		host_join(&rig, &other, 2, 2);
		rt = copy_begun(other.q, steps);
		rig_end_nexus(other.q);
		assert_true(rig_gone(other.q));
		assert_true(rt->done);
		rig_end(rt, NULL);
		host_leave(&other);
		assert_true(host_fill(&a, 1, 40000, 1, 512, 0x99) == SCSI_GOOD); /* and it stays so */
		rig_pass(NS_PER_MS);
		assert_true(host_finds(&a, 1, 40000, 1, 512, 0x99));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_are_where_they_were_sent),
		cmocka_unit_test(a_copy_longer_than_a_piece_is_whole),
		cmocka_unit_test(the_unit_that_was_asked_needs_no_name),
		cmocka_unit_test(what_became_of_a_copy_can_be_asked),
		cmocka_unit_test(what_cannot_be_copied_is_not_begun),
		cmocka_unit_test(a_list_that_is_not_one_is_refused),
		cmocka_unit_test(limits_are_the_ones_that_are_told),
		cmocka_unit_test(a_reset_ends_a_copy_wherever_it_is),
		cmocka_unit_test(a_disk_that_goes_waits_for_its_copy_only),
		cmocka_unit_test(a_host_that_goes_leaves_no_copy_behind),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
