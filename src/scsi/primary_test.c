/* SPDX-License-Identifier: BSD-3-Clause */
/* primary_test.c: hosts believe what these commands say and set up a disk by it: a wrong length is read beyond, a wrong
 * name makes two disks one, a state that is not kept is data written where it must not be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "scsi/primary_rig.h"
#include "wire/scsi_inquiry.h"
#include "wire/scsi_mode.h"
#include "wire/scsi_report.h"

static struct rig rig;
static struct host a, b; /* by ports 1 and 2, on two cores */

static int begin(void **state)
{
	hosts_start(&rig, 1);
	host_join(&rig, &a, 1, 1);
	host_join(&rig, &b, 2, 2);
	return 0;
}

static int end(void **state)
{
	rig_stop(&rig);
	host_leave(&a);
	host_leave(&b);
	return 0;
}

static void assert_check(struct host *h, uint8_t status, uint8_t key, uint16_t asc)
{
	assert_int_equal(status, SCSI_CHECK_CONDITION);
	assert_int_equal(h->key, key);
	assert_int_equal(h->asc, asc);
}

static uint8_t tur(struct host *h, uint32_t lun)
{
	return CMD(h, lun, 0, SCSI_OP_TEST_UNIT_READY, 0, 0, 0, 0, 0);
}

static uint8_t vpd(struct host *h, uint32_t lun, uint8_t page)
{
	return CMD(h, lun, 0, SCSI_OP_INQUIRY, 1, page, 0xff, 0xff, 0);
}

/* --- INQUIRY ---------------------------------------------------------------------------------------------------- */

static void inquiry_says_what_it_is(void **state)
{
	const struct scsi_inquiry_data *d = (const struct scsi_inquiry_data *)a.in;

	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_INQUIRY, 0, 0, 2, 0, 0), SCSI_GOOD);
	assert_int_equal(a.got, sizeof(*d));
	assert_int_equal(d->additional_length, a.got - 5);
	assert_int_equal(d->peripheral, SCSI_TYPE_DISK);
	assert_int_equal(d->format & 0xf, 2);
	assert_memory_equal(d->vendor, "GANTRY  ", 8);
	assert_int_equal(be16_get(d->version_descriptors[3]), SCSI_VERSION_DESC_ISCSI);
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_INQUIRY, 0, 0, 0, 5, 0), SCSI_GOOD);
	assert_int_equal(a.got, 5);
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_INQUIRY, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_int_equal(a.got, 0);
	assert_check(&a, CMD(&a, 0, 0, SCSI_OP_INQUIRY, 0, 0x83, 0, 255, 0), SCSI_ILLEGAL_REQUEST, 0x2400);
	assert_check(&a, CMD(&a, 0, 0, SCSI_OP_INQUIRY, 2, 0, 0, 255, 0), SCSI_ILLEGAL_REQUEST, 0x2400);
}

static void where_no_unit_is_inquiry_says_so(void **state)
{
	assert_int_equal(CMD(&a, 9, 0, SCSI_OP_INQUIRY, 0, 0, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(a.in[0], 0x7f);
	assert_int_equal(vpd(&a, 9, 0), SCSI_GOOD);
	assert_int_equal(a.got, 5);
	assert_check(&a, vpd(&a, 9, 0x83), SCSI_ILLEGAL_REQUEST, 0x2400);
	assert_check(&a, tur(&a, 9), SCSI_ILLEGAL_REQUEST, 0x2500);
	assert_int_equal(CMD(&a, 9, 0, SCSI_OP_REQUEST_SENSE, 0, 0, 0, 252, 0), SCSI_GOOD);
	assert_int_equal(a.in[2], SCSI_ILLEGAL_REQUEST);
	assert_int_equal(a.in[12], 0x25);
}

static void every_page_that_is_listed_can_be_read(void **state)
{
	uint8_t list[64];
	uint32_t count;

	assert_int_equal(vpd(&a, 0, 0), SCSI_GOOD);
	count = scsi_u16(a.in + 2);
	assert_int_equal(a.got, count + 4);
	memcpy(list, a.in + 4, count);
	for (uint32_t i = 0; i < count; i++) {
		assert_true(!i || list[i] > list[i - 1]);
		assert_int_equal(vpd(&a, 0, list[i]), SCSI_GOOD);
		assert_int_equal(a.in[1], list[i]);
		assert_int_equal(scsi_u16(a.in + 2) + 4, a.got);
	}
	assert_check(&a, vpd(&a, 0, 0x81), SCSI_ILLEGAL_REQUEST, 0x2400);
}

/* The designator of a kind in page 83h, which has to be well formed. */
static const struct scsi_designator *designator(struct host *h, uint32_t lun, uint8_t assoc_type)
{
	const struct scsi_designator *found = NULL;

	assert_int_equal(vpd(h, lun, SCSI_VPD_DEVICE_ID), SCSI_GOOD);
	for (uint32_t at = 4; at < h->got;) {
		const struct scsi_designator *d = (const struct scsi_designator *)(h->in + at);

		if ((d->type & 0x3f) == assoc_type)
			found = d;
		at += 4u + d->length;
		assert_true(at <= h->got);
	}
	assert_non_null(found);
	return found;
}

static void a_disk_has_one_name_by_every_way_and_another_disk_another(void **state)
{
	uint8_t name[8];

	memcpy(name, designator(&a, 0, SCSI_DESIGNATOR_NAA)->value, 8);
	assert_int_equal(name[0] >> 4, 3);
	assert_memory_equal(designator(&b, 0, SCSI_DESIGNATOR_NAA)->value, name, 8);
	assert_memory_not_equal(designator(&a, 1, SCSI_DESIGNATOR_NAA)->value, name, 8);
	assert_memory_equal(designator(&a, 0, SCSI_DESIGNATOR_UUID)->value + 2, "0123456789abcde0", 16);
	assert_memory_equal(designator(&a, 0, SCSI_DESIGNATOR_T10)->value, "GANTRY  Gantry disk     30313233-", 33);
	assert_int_equal(scsi_u16(designator(&a, 0, SCSI_ASSOC_PORT | SCSI_DESIGNATOR_RELATIVE_PORT)->value + 2), 1);
	assert_int_equal(scsi_u16(designator(&b, 0, SCSI_ASSOC_PORT | SCSI_DESIGNATOR_PORT_GROUP)->value + 2), 2);
	assert_string_equal((const char *)designator(&b, 0, SCSI_ASSOC_PORT | SCSI_DESIGNATOR_NAME)->value,
	                    RIG_NAME ",t,0x0002");
	assert_string_equal((const char *)designator(&a, 0, SCSI_ASSOC_DEVICE | SCSI_DESIGNATOR_NAME)->value, RIG_NAME);
}

static void the_page_of_ports_has_both(void **state)
{
	uint32_t at = 4, ports = 0;

	assert_int_equal(vpd(&a, 0, SCSI_VPD_PORTS), SCSI_GOOD);
	for (; at < a.got; ports++) {
		assert_int_equal(scsi_u16(a.in + at + 2), ports + 1);
		at += 12u + scsi_u16(a.in + at + 10);
	}
	assert_int_equal(at, a.got);
	assert_int_equal(ports, 2);
}

/* --- REPORT ... --------------------------------------------------------------------------------------------------- */

static void report_luns_has_them_all(void **state)
{
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), SCSI_GOOD);
	assert_int_equal(a.got, 32);
	assert_int_equal(scsi_u32(a.in), 24);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(scsi_u64(a.in + 8 + i * 8), (uint64_t)i << 48);
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_REPORT_LUNS, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0), SCSI_GOOD);
	assert_int_equal(scsi_u32(a.in), 0);
	assert_int_equal(CMD(&a, 77, 0, SCSI_OP_REPORT_LUNS, 0, 2, 0, 0, 0, 0, 0, 0, 16, 0, 0), SCSI_GOOD);
	assert_int_equal(a.got, 16);
	assert_int_equal(scsi_u32(a.in), 24);
	assert_check(&a, CMD(&a, 0, 0, SCSI_OP_REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0),
	             SCSI_ILLEGAL_REQUEST, 0x2400);
}

static uint8_t rsoc(struct host *h, uint8_t options, uint8_t opcode, uint16_t sa)
{
	return CMD(h, 0, 0, SCSI_OP_REPORT_OPCODES, SCSI_SA_REPORT_OPCODES, options, opcode, (uint8_t)(sa >> 8),
	           (uint8_t)sa,
	           0, 0, 0xff, 0xff, 0, 0);
}

static void every_opcode_that_is_listed_is_told_one_by_one(void **state)
{
	uint8_t list[4096];
	uint32_t len;

	assert_int_equal(rsoc(&a, SCSI_RSOC_ALL, 0, 0), SCSI_GOOD);
	len = a.got;
	assert_int_equal(scsi_u32(a.in), len - 4);
	memcpy(list, a.in, len);
	for (uint32_t at = 4; at < len; at += 8) {
		uint8_t opcode = list[at], has_sa = list[at + 5] & 1;
		uint16_t sa = scsi_u16(list + at + 2), cdb_len = scsi_u16(list + at + 6);

		assert_true(cdb_len == 6 || cdb_len == 10 || cdb_len == 12 || cdb_len == 16);
		assert_true(has_sa || !sa);
		assert_int_equal(rsoc(&a, has_sa ? SCSI_RSOC_SERVICE_ACTION : SCSI_RSOC_OPCODE, opcode, sa), SCSI_GOOD);
		assert_int_equal(a.in[1], SCSI_SUPPORT_STANDARD);
		assert_int_equal(scsi_u16(a.in + 2), cdb_len);
		assert_int_equal(a.got, 4 + cdb_len);
		assert_int_equal(a.in[4], opcode);
		assert_true(!has_sa || (a.in[5] & 0x1f) == sa);
		assert_check(&a, rsoc(&a, has_sa ? SCSI_RSOC_OPCODE : SCSI_RSOC_SERVICE_ACTION, opcode, sa),
		             SCSI_ILLEGAL_REQUEST,
		             0x2400);
	}
	assert_int_equal(rsoc(&a, SCSI_RSOC_OPCODE, 0xff, 0), SCSI_GOOD);
	assert_int_equal(a.in[1], SCSI_SUPPORT_NONE);
	assert_int_equal(rsoc(&a, SCSI_RSOC_SERVICE_ACTION, 0xa3, 0x1f), SCSI_GOOD);
	assert_int_equal(a.in[1], SCSI_SUPPORT_NONE);
	assert_int_equal(rsoc(&a, SCSI_RSOC_EITHER, SCSI_OP_INQUIRY, 1), SCSI_GOOD);
	assert_int_equal(a.in[1], SCSI_SUPPORT_NONE);
}

/* What scsi.md names as not there: a host that tries it has to hear so, and one that asks first, too. */
static void what_there_is_not_is_refused_and_not_listed(void **state)
{
	enum { NO = SCSI_ASC_INVALID_OPCODE, NO_ACTION = SCSI_ASC_INVALID_FIELD_IN_CDB };
	static const struct { uint8_t opcode, sa; uint16_t asc; } none[] = {
		{ SCSI_OP_READ_BUFFER, 0, NO },        { SCSI_OP_WRITE_BUFFER, 0, NO },  { SCSI_OP_FORMAT_UNIT, 0, NO },
		{ SCSI_OP_SANITIZE, 0, NO },           { SCSI_OP_LOG_SELECT, 0, NO },    { SCSI_OP_READ_DEFECT_10, 0, NO },
		{ SCSI_OP_RECEIVE_DIAGNOSTIC, 0, NO }, { SCSI_OP_WRITE_ATOMIC_16, 0, NO },
		{ SCSI_OP_REPORT_IDENTIFYING_INFO, SCSI_SA_REPORT_IDENTIFYING_INFO, NO_ACTION },
		{ SCSI_OP_SET_TARGET_GROUPS, 0x06, NO_ACTION },   /* SET IDENTIFYING INFORMATION */
		{ SCSI_OP_EXTENDED_COPY_LID1, 0x01, NO_ACTION },  /* LID4 */
		{ SCSI_OP_EXTENDED_COPY_LID1, 0x10, NO_ACTION },  /* POPULATE TOKEN */
		{ SCSI_OP_COPY_STATUS_LID1, 0x05, NO_ACTION },    /* RECEIVE COPY STATUS (LID4) */
	};
	static const uint8_t logs[] = { 0x02, 0x0c, 0x0d, 0x0e, 0x10, 0x11, 0x15 };

	for (uint32_t i = 0; i < ARRAY_SIZE(none); i++) {
		assert_check(&a, CMD(&a, 0, 0, none[i].opcode, none[i].sa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		             SCSI_ILLEGAL_REQUEST, none[i].asc);
		if (none[i].asc == NO_ACTION)
			assert_int_equal(scsi_u16(a.sense + 16), 1); /* the field pointer */
		assert_int_equal(rsoc(&a, SCSI_RSOC_EITHER, none[i].opcode, none[i].sa), SCSI_GOOD);
		assert_int_equal(a.in[1], SCSI_SUPPORT_NONE);
	}
	for (uint32_t i = 0; i < sizeof(logs); i++)
		assert_check(&a, CMD(&a, 0, 0, SCSI_OP_LOG_SENSE, 0, 0x40 | logs[i], 0, 0, 0, 0, 1, 0, 0), SCSI_ILLEGAL_REQUEST,
		             0x2400);
}

static void timeouts_come_when_asked_for(void **state)
{
	uint32_t plain;

	assert_int_equal(rsoc(&a, SCSI_RSOC_ALL, 0, 0), SCSI_GOOD);
	plain = (a.got - 4) / 8;
	assert_int_equal(rsoc(&a, 0x80 | SCSI_RSOC_ALL, 0, 0), SCSI_GOOD);
	assert_int_equal(a.got, 4 + plain * 20);
	for (uint32_t at = 4; at < a.got; at += 20) {
		assert_true(a.in[at + 5] & SCSI_RSOC_CTDP);
		assert_int_equal(scsi_u16(a.in + at + 8), 10);
	}
	assert_int_equal(rsoc(&a, 0x80 | SCSI_RSOC_OPCODE, SCSI_OP_INQUIRY, 0), SCSI_GOOD);
	assert_int_equal(a.got, 4 + 6 + 12);
	assert_int_equal(a.in[1], SCSI_SUPPORT_STANDARD | SCSI_SUPPORT_CTDP);
}

static void functions_and_the_time_are_told(void **state)
{
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_REPORT_TMFS, SCSI_SA_REPORT_TMFS, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0), SCSI_GOOD);
	assert_int_equal(a.got, 4);
	assert_int_equal(a.in[0], 0xda); /* what iSCSI carries: no QUERY TASK ... */
	assert_int_equal(a.in[1], 0);    /* ... nor QUERY TASK SET, nor I_T NEXUS RESET */
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_REPORT_TMFS, SCSI_SA_REPORT_TMFS, 0x80, 0, 0, 0, 0, 0, 0, 99, 0,
	                 0), SCSI_GOOD);
	assert_int_equal(a.got, 16);
	assert_int_equal(a.in[3], 12);
	assert_check(&a, CMD(&a, 0, 0, SCSI_OP_REPORT_TMFS, SCSI_SA_REPORT_TMFS, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0),
	             SCSI_ILLEGAL_REQUEST, 0x2400);
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_REPORT_TIMESTAMP, SCSI_SA_REPORT_TIMESTAMP, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0),
	                 SCSI_GOOD);
	assert_int_equal(a.got, 12);
	assert_int_equal(scsi_u16(a.in), 10);
}

/* --- mode pages ------------------------------------------------------------------------------------------- */

/* Take the control page, change its bits, give it back. */
static uint8_t set_control(struct host *h, uint8_t byte, uint8_t bits, bool on)
{
	assert_int_equal(CMD(h, 0, 0, SCSI_OP_MODE_SENSE_6, 8, SCSI_MODE_CONTROL, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(h->got, 16);
	memcpy(h->out, h->in, 16);
	h->out[0] = 0;
	h->out[4 + byte] = (uint8_t)(on ? h->out[4 + byte] | bits : h->out[4 + byte] & ~bits);
	return CMD(h, 0, 16, SCSI_OP_MODE_SELECT_6, 0x10, 0, 0, 16, 0);
}

static void write_protection_holds_for_all(void **state)
{
	assert_int_equal(set_control(&a, 4, SCSI_CONTROL4_SWP, true), SCSI_GOOD);
	assert_check(&b, tur(&b, 0), SCSI_UNIT_ATTENTION, SCSI_ASC_MODE_PARAMETERS_CHANGED);
	assert_int_equal(tur(&a, 0), SCSI_GOOD);
	assert_check(&b, host_fill(&b, 0, 0, 1, 512, 1), SCSI_DATA_PROTECT, SCSI_ASC_SOFTWARE_WRITE_PROTECTED);
	assert_check(&a, host_fill(&a, 0, 0, 1, 512, 1), SCSI_DATA_PROTECT, SCSI_ASC_SOFTWARE_WRITE_PROTECTED);
	assert_int_equal(host_fill(&a, 1, 0, 1, 512, 1), SCSI_GOOD);
	assert_int_equal(CMD(&b, 0, 0, SCSI_OP_MODE_SENSE_6, 8, SCSI_MODE_CONTROL, 0, 255, 0), SCSI_GOOD);
	assert_true(b.in[2] & SCSI_MODE_WP);
	assert_int_equal(set_control(&b, 4, SCSI_CONTROL4_SWP, false), SCSI_GOOD);
	assert_check(&a, tur(&a, 0), SCSI_UNIT_ATTENTION, SCSI_ASC_MODE_PARAMETERS_CHANGED);
	assert_int_equal(host_fill(&a, 0, 0, 1, 512, 1), SCSI_GOOD);
	assert_int_equal(set_control(&a, 4, SCSI_CONTROL4_SWP, false), SCSI_GOOD); /* no change: nobody hears of it */
	assert_int_equal(tur(&b, 0), SCSI_GOOD);
}

static void sense_comes_in_the_format_that_was_chosen(void **state)
{
	assert_int_equal(set_control(&a, 2, SCSI_CONTROL2_D_SENSE, true), SCSI_GOOD);
	tur(&b, 0);
	assert_check(&b, vpd(&b, 0, 0x99), SCSI_ILLEGAL_REQUEST, 0x2400);
	assert_int_equal(b.sense[0], SCSI_SENSE_DESC);
	assert_int_equal(set_control(&a, 2, SCSI_CONTROL2_D_SENSE, false), SCSI_GOOD);
	tur(&b, 0);
	assert_check(&b, vpd(&b, 0, 0x99), SCSI_ILLEGAL_REQUEST, 0x2400);
	assert_int_equal(b.sense[0], SCSI_SENSE_FIXED);
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_REQUEST_SENSE, 1, 0, 0, 252, 0), SCSI_GOOD);
	assert_int_equal(a.got, 8);
	assert_int_equal(a.in[0], SCSI_SENSE_DESC);
}

static void what_mode_commands_cannot_do_is_refused(void **state)
{
	assert_check(&a, CMD(&a, 0, 0, SCSI_OP_MODE_SENSE_6, 0, 0xc0 | SCSI_MODE_ALL, 0, 255, 0), SCSI_ILLEGAL_REQUEST,
	             SCSI_ASC_SAVING_NOT_SUPPORTED);
	assert_check(&a, CMD(&a, 0, 0, SCSI_OP_MODE_SENSE_6, 0, 0x1a, 0, 255, 0), SCSI_ILLEGAL_REQUEST, 0x2400);
	assert_check(&a, CMD(&a, 0, 0, SCSI_OP_MODE_SELECT_6, 0x11, 0, 0, 0, 0), SCSI_ILLEGAL_REQUEST, 0x2400);
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_MODE_SELECT_6, 0x10, 0, 0, 0, 0), SCSI_GOOD);
	memset(a.out, 0, 16);
	assert_check(&a, CMD(&a, 0, 3, SCSI_OP_MODE_SELECT_6, 0x10, 0, 0, 3, 0), SCSI_ILLEGAL_REQUEST,
	             SCSI_ASC_PARAMETER_LIST_LENGTH);
	assert_check(&a, CMD(&a, 0, 8, SCSI_OP_MODE_SELECT_6, 0x10, 0, 0, 16, 0), SCSI_ILLEGAL_REQUEST,
	             SCSI_ASC_PARAMETER_LIST_LENGTH); /* less came than was said */
	assert_check(&a, set_control(&a, 3, 2, true), SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_PARAMETERS);
	assert_int_equal(scsi_u16(a.sense + 16), 7); /* the field pointer */
}

static void log_pages_are_listed(void **state)
{
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_LOG_SENSE, 0, 0x40, 0, 0, 0, 0, 1, 0, 0), SCSI_GOOD);
	assert_int_equal(a.got, 4 + 3);
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_LOG_SENSE, 0, 0x40, 0xff, 0, 0, 0, 1, 0, 0), SCSI_GOOD);
	assert_int_equal(a.got, 4 + 8);
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_LOG_SENSE, 0, 0x40 | SCSI_LOG_EXCEPTIONS, 0, 0, 0, 0, 1, 0, 0), SCSI_GOOD);
	assert_int_equal(a.got, 12);
	assert_int_equal(scsi_u16(a.in + 2), 8);
	assert_check(&a, CMD(&a, 0, 0, SCSI_OP_LOG_SENSE, 0, 0x40 | 0x31, 0, 0, 0, 0, 1, 0, 0),
	             SCSI_ILLEGAL_REQUEST, 0x2400);
}

static void what_was_read_and_written_is_counted(void **state)
{
	uint64_t reads, blocks;

	assert_int_equal(CMD(&a, 1, 0, SCSI_OP_LOG_SENSE, 0, 0x40 | SCSI_LOG_STATISTICS, 0, 0, 0, 0, 1, 0, 0), SCSI_GOOD);
	assert_int_equal(a.got, 4 + 68 + 12);
	assert_int_equal(scsi_u16(a.in + 2), 68 + 12);
	reads = scsi_u64(a.in + 8);
	blocks = scsi_u64(a.in + 8 + 24);
	host_finds(&b, 1, 0, 7, 512, 0);
	assert_int_equal(CMD(&a, 1, 0, SCSI_OP_LOG_SENSE, 0, 0x40 | SCSI_LOG_STATISTICS, 0, 0, 0, 0, 1, 0, 0), SCSI_GOOD);
	assert_int_equal(scsi_u64(a.in + 8), reads + 1);
	assert_int_equal(scsi_u64(a.in + 8 + 24), blocks + 7);
	assert_int_equal(CMD(&a, 1, 0, SCSI_OP_LOG_SENSE, 0, 0x40 | SCSI_LOG_STATISTICS, 0, 0, 0, 3, 1, 0, 0), SCSI_GOOD);
	assert_int_equal(a.got, 4 + 12);
	assert_check(&a, CMD(&a, 1, 0, SCSI_OP_LOG_SENSE, 0, 0x40 | SCSI_LOG_STATISTICS, 0, 0, 0, 4, 1, 0, 0),
	             SCSI_ILLEGAL_REQUEST, 0x2400);
}

/* --- readiness and access --------------------------------------------------------------------------------- */

static void a_stopped_unit_waits_for_its_start(void **state)
{
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_START_STOP_UNIT, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_check(&b, tur(&b, 0), SCSI_NOT_READY, SCSI_ASC_INIT_COMMAND_REQUIRED);
	assert_check(&a, host_fill(&a, 0, 0, 1, 512, 1), SCSI_NOT_READY, SCSI_ASC_INIT_COMMAND_REQUIRED);
	assert_int_equal(vpd(&a, 0, 0), SCSI_GOOD);
	assert_int_equal(tur(&a, 1), SCSI_GOOD);
	assert_int_equal(CMD(&b, 0, 0, SCSI_OP_START_STOP_UNIT, 0, 0, 0, 1, 0), SCSI_GOOD);
	assert_int_equal(tur(&a, 0), SCSI_GOOD);
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_START_STOP_UNIT, 0, 0, 0, 1, 0), SCSI_GOOD);
	assert_check(&a, CMD(&a, 0, 0, SCSI_OP_START_STOP_UNIT, 0, 0, 0, 2, 0), SCSI_ILLEGAL_REQUEST, 0x2400);
	assert_check(&a, CMD(&a, 0, 0, SCSI_OP_START_STOP_UNIT, 0, 0, 0, 0x30, 0), SCSI_ILLEGAL_REQUEST, 0x2400);
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_PREVENT_ALLOW_REMOVAL, 0, 0, 0, 1, 0), SCSI_GOOD);
	assert_int_equal(CMD(&a, 0, 0, SCSI_OP_SEND_DIAGNOSTIC, 4, 0, 0, 0, 0), SCSI_GOOD);
}

static uint8_t set_group(struct host *h, uint16_t group, uint8_t state)
{
	memset(h->out, 0, 8);
	h->out[4] = state;
	scsi_put16(h->out + 6, group);
	return CMD(h, 0, 8, SCSI_OP_SET_TARGET_GROUPS, SCSI_SA_SET_TARGET_GROUPS, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0);
}

static uint8_t report_groups(struct host *h, uint8_t format)
{
	return CMD(h, 0, 0, SCSI_OP_REPORT_TARGET_GROUPS, SCSI_SA_REPORT_TARGET_GROUPS | format, 0, 0, 0, 0, 0,
	           0, 4, 0, 0, 0);
}

static void a_way_is_as_good_as_its_group_says(void **state)
{
	assert_int_equal(report_groups(&a, 0), SCSI_GOOD);
	assert_int_equal(a.got, 4 + 2 * 12);
	assert_int_equal(scsi_u32(a.in), 24);
	assert_int_equal(a.in[4], SCSI_ALUA_OPTIMIZED);
	assert_int_equal(set_group(&a, 2, SCSI_ALUA_STANDBY), SCSI_GOOD);
	assert_int_equal(tur(&a, 0), SCSI_GOOD); /* who asked for it is not told */
	assert_int_equal(report_groups(&a, 0x20), SCSI_GOOD);
	assert_int_equal(a.got, 8 + 2 * 12);
	assert_int_equal(a.in[4], 0x10);
	assert_int_equal(a.in[8 + 12] & 0xf, SCSI_ALUA_STANDBY);
	assert_int_equal(a.in[8 + 12 + 5], SCSI_RTPG_STATUS_EXPLICIT);
	assert_check(&b, tur(&b, 0), SCSI_UNIT_ATTENTION, SCSI_ASC_ALUA_CHANGED);
	assert_check(&b, tur(&b, 0), SCSI_NOT_READY, SCSI_ASC_ALUA_STANDBY);
	assert_check(&b, host_fill(&b, 0, 0, 1, 512, 1), SCSI_NOT_READY, SCSI_ASC_ALUA_STANDBY);
	assert_int_equal(vpd(&b, 0, 0x83), SCSI_GOOD);
	assert_int_equal(CMD(&b, 0, 0, SCSI_OP_MODE_SENSE_6, 8, SCSI_MODE_CONTROL, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(CMD(&b, 0, 0, SCSI_OP_REQUEST_SENSE, 0, 0, 0, 252, 0), SCSI_GOOD);
	assert_int_equal(scsi_u16(b.in + 12), SCSI_ASC_ALUA_STANDBY);
	assert_int_equal(set_group(&a, 2, SCSI_ALUA_UNAVAILABLE), SCSI_GOOD);
	assert_check(&b, tur(&b, 0), SCSI_UNIT_ATTENTION, SCSI_ASC_ALUA_CHANGED);
	assert_check(&b, CMD(&b, 0, 0, SCSI_OP_MODE_SENSE_6, 8, SCSI_MODE_CONTROL, 0, 255, 0), SCSI_NOT_READY,
	             SCSI_ASC_ALUA_UNAVAILABLE);
	assert_int_equal(report_groups(&b, 0), SCSI_GOOD);
	assert_int_equal(set_group(&b, 2, SCSI_ALUA_OPTIMIZED), SCSI_GOOD);
	assert_int_equal(tur(&b, 0), SCSI_GOOD);
	assert_check(&a, tur(&a, 0), SCSI_UNIT_ATTENTION, SCSI_ASC_ALUA_CHANGED);
	for (uint32_t lun = 0; lun < 3; lun++) {
		tur(&a, lun);
		tur(&b, lun);
	}
	assert_check(&a, set_group(&a, 3, SCSI_ALUA_OPTIMIZED), SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_PARAMETERS);
	assert_check(&a, set_group(&a, 2, SCSI_ALUA_TRANSITIONING), SCSI_ILLEGAL_REQUEST,
	             SCSI_ASC_INVALID_FIELD_IN_PARAMETERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inquiry_says_what_it_is),
		cmocka_unit_test(where_no_unit_is_inquiry_says_so),
		cmocka_unit_test(every_page_that_is_listed_can_be_read),
		cmocka_unit_test(a_disk_has_one_name_by_every_way_and_another_disk_another),
		cmocka_unit_test(the_page_of_ports_has_both),
		cmocka_unit_test(report_luns_has_them_all),
		cmocka_unit_test(every_opcode_that_is_listed_is_told_one_by_one),
		cmocka_unit_test(what_there_is_not_is_refused_and_not_listed),
		cmocka_unit_test(timeouts_come_when_asked_for),
		cmocka_unit_test(functions_and_the_time_are_told),
		cmocka_unit_test(write_protection_holds_for_all),
		cmocka_unit_test(sense_comes_in_the_format_that_was_chosen),
		cmocka_unit_test(what_mode_commands_cannot_do_is_refused),
		cmocka_unit_test(log_pages_are_listed),
		cmocka_unit_test(what_was_read_and_written_is_counted),
		cmocka_unit_test(a_stopped_unit_waits_for_its_start),
		cmocka_unit_test(a_way_is_as_good_as_its_group_says),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
