/* SPDX-License-Identifier: BSD-3-Clause */
/* iscsi_test.c: each wrong field of each PDU an initiator sends is found, in order, and right ones pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "wire/iscsi.h"

#define GOOD 0, 0
#define FIELD(type, member) ISCSI_REJECT_INVALID_FIELD, offsetof(struct iscsi_##type, member)
#define PROTOCOL(type, member) ISCSI_REJECT_PROTOCOL_ERROR, offsetof(struct iscsi_##type, member)
#define NONE ISCSI_TAG_NONE
#define BE16(x) { { (uint8_t)((x) >> 8), (uint8_t)(x) } }
#define BE24(x) { { (uint8_t)((x) >> 16), (uint8_t)((x) >> 8), (uint8_t)(x) } }
#define BE32(x) { { (uint8_t)((x) >> 24), (uint8_t)((x) >> 16), (uint8_t)((x) >> 8), (uint8_t)(x) } }
#define WHOLE BE32(NONE)

struct row {
	const char *what;
	union iscsi_bhs bhs;
	uint8_t reason, at;
};

/* A command's own: opcode, flags, words of additional headers, data, tag, expected length. */
#define COMMAND(f, a, d, i, e) \
	{ .command = { .opcode = ISCSI_OP_COMMAND, .flags = f, .ahs_words = a, .data_len = BE24(d), .itt = i, \
	               .expected_len = BE32(e) } }
#define R ISCSI_READ
#define W ISCSI_WRITE
#define F ISCSI_FINAL
#define ITT BE32(1)

static const struct row rows[] = {
	/* opcodes */
	{ "NOP-In", { .h = { .opcode = ISCSI_OP_NOP_IN, .itt = ITT } }, ISCSI_REJECT_NOT_SUPPORTED, 0 },
	{ "reserved", { .h = { .opcode = 0x07, .itt = ITT } }, ISCSI_REJECT_NOT_SUPPORTED, 0 },
	{ "vendor", { .h = { .opcode = 0x1c, .itt = ITT } }, ISCSI_REJECT_NOT_SUPPORTED, 0 },
	{ "login", { .h = { .opcode = ISCSI_OP_LOGIN, .itt = ITT } }, ISCSI_REJECT_PROTOCOL_ERROR, 0 },
	{ "snack", { .h = { .opcode = ISCSI_OP_SNACK, .itt = ITT } }, ISCSI_REJECT_PROTOCOL_ERROR, 0 },
	/* SCSI Command */
	{ "read", COMMAND(F | R, 0, 0, ITT, 512), GOOD },
	{ "write, immediate", COMMAND(F | W, 0, 512, ITT, 512), GOOD },
	{ "write, more to come", COMMAND(W, 0, 512, ITT, 8192), GOOD },
	{ "write, all by R2T", COMMAND(F | W, 0, 0, ITT, 8192), GOOD },
	{ "none", COMMAND(F, 0, 0, ITT, 0), GOOD },
	{ "both, of no length", COMMAND(F | R | W, 0, 0, ITT, 0), GOOD },
	{ "with AHS", COMMAND(F | R, 255, 0, ITT, 512), GOOD },
	{ "not final, no write", COMMAND(R, 0, 0, ITT, 512), FIELD(command, flags) },
	{ "reserved attribute", COMMAND(F | R | 5, 0, 0, ITT, 512), FIELD(command, flags) },
	{ "ACA attribute", COMMAND(F | R | 4, 0, 0, ITT, 512), GOOD },
	{ "more data than a segment", COMMAND(F | W, 0, 65537, ITT, 262144), PROTOCOL(command, data_len) },
	{ "more than the first burst", COMMAND(F | W, 0, 32769, ITT, 262144), PROTOCOL(command, data_len) },
	{ "more than it moves", COMMAND(F | W, 0, 513, ITT, 512), PROTOCOL(command, data_len) },
	{ "data of a read", COMMAND(F | R, 0, 512, ITT, 512), PROTOCOL(command, data_len) },
	{ "no tag", COMMAND(F | R, 0, 0, WHOLE, 512), FIELD(command, itt) },
	{ "length without direction", COMMAND(F, 0, 0, ITT, 512), FIELD(command, expected_len) },
	/* NOP-Out */
	{ "ping", { .nop_out = { .opcode = 0x40, .itt = ITT, .ttt = WHOLE, .data_len = BE24(64) } }, GOOD },
	{ "ping, not immediate", { .nop_out = { .itt = ITT, .ttt = WHOLE } }, GOOD },
	{ "pong", { .nop_out = { .opcode = 0x40, .itt = WHOLE, .ttt = BE32(9) } }, GOOD },
	{ "untagged, not immediate", { .nop_out = { .itt = WHOLE } }, PROTOCOL(nop_out, opcode) },
	{ "ping with AHS", { .nop_out = { .opcode = 0x40, .ahs_words = 1, .itt = ITT } }, FIELD(nop_out, ahs_words) },
	{ "long ping", { .nop_out = { .opcode = 0x40, .data_len = BE24(65537), .itt = ITT } },
	  PROTOCOL(nop_out, data_len) },
	/* Task management */
	{ "abort", { .tmf = { .opcode = 0x42, .function = 0x81, .itt = ITT } }, GOOD },
	{ "unknown function: is answered", { .tmf = { .opcode = 0x42, .function = 0xff, .itt = ITT } }, GOOD },
	{ "with data", { .tmf = { .opcode = 0x42, .data_len = BE24(1), .itt = ITT } }, FIELD(tmf, data_len) },
	{ "untagged", { .tmf = { .opcode = 0x42, .itt = WHOLE } }, FIELD(tmf, itt) },
	/* Text */
	{ "text", { .text = { .opcode = 4, .flags = F, .itt = ITT, .data_len = BE24(65536) } }, GOOD },
	{ "text that goes on", { .text = { .opcode = 4, .flags = ISCSI_CONTINUE, .itt = ITT } }, GOOD },
	{ "F and C", { .text = { .opcode = 4, .flags = 0xc0, .itt = ITT } }, PROTOCOL(text_req, flags) },
	{ "text untagged", { .text = { .opcode = 4, .flags = F, .itt = WHOLE } }, FIELD(text_req, itt) },
	/* Data-Out */
	{ "data", { .data_out = { .opcode = 5, .data_len = BE24(65536), .itt = ITT } }, GOOD },
	{ "no data", { .data_out = { .opcode = 5, .itt = ITT } }, PROTOCOL(data_out, data_len) },
	{ "too much", { .data_out = { .opcode = 5, .data_len = BE24(65537), .itt = ITT } }, PROTOCOL(data_out, data_len) },
	{ "data untagged", { .data_out = { .opcode = 5, .data_len = BE24(4), .itt = WHOLE } }, FIELD(data_out, itt) },
	/* Logout */
	{ "logout", { .logout = { .opcode = 6, .reason = 0x80, .itt = ITT } }, GOOD },
	{ "logout for recovery", { .logout = { .opcode = 6, .reason = 0x82, .itt = ITT } }, GOOD },
	{ "why", { .logout = { .opcode = 6, .reason = 0x83, .itt = ITT } }, FIELD(logout_req, reason) },
	{ "logout with data", { .logout = { .opcode = 6, .data_len = BE24(1), .itt = ITT } }, FIELD(logout_req, data_len) },
	{ "logout untagged", { .logout = { .opcode = 6, .itt = WHOLE } }, FIELD(logout_req, itt) },
};

static void check(const struct row *row, const struct iscsi_receiver *r)
{
	struct iscsi_fault fault = { 0 };
	bool good = iscsi_check_header(&row->bhs, r, &fault);

	if (good != !row->reason || fault.reason != row->reason || fault.at != row->at)
		print_error("%s: reason %u at %u: %s\n", row->what, fault.reason, fault.at, fault.what ? fault.what : "good");
	assert_int_equal(good, !row->reason);
	assert_int_equal(fault.reason, row->reason);
	assert_int_equal(fault.at, row->at);
	assert_true(good || fault.what);
}

static void test_every_field(void **state)
{
	static const struct iscsi_receiver r = {
		.full_feature = true, .immediate_data = true, .data_max = 65536, .first_burst = 32768,
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check(&rows[i], &r);
}

static void test_what_was_negotiated(void **state)
{
	static const struct row no_immediate[] = {
		{ "immediate", COMMAND(F | W, 0, 512, ITT, 512), PROTOCOL(command, data_len) },
		{ "unsolicited", COMMAND(W, 0, 0, ITT, 512), GOOD },
	};
	static const struct row r2t[] = {
		{ "unsolicited", COMMAND(W, 0, 0, ITT, 512), PROTOCOL(command, flags) },
		{ "immediate", COMMAND(F | W, 0, 512, ITT, 512), GOOD },
	};
	static const struct iscsi_receiver a = { .full_feature = true, .data_max = 65536, .first_burst = 32768 };
	static const struct iscsi_receiver b = {
		.full_feature = true, .immediate_data = true, .initial_r2t = true, .data_max = 65536, .first_burst = 32768,
	};

	for (int i = 0; i < 2; i++) {
		check(&no_immediate[i], &a);
		check(&r2t[i], &b);
	}
}

#define LOGIN(f, a, d) { .login = { .opcode = 0x43, .flags = f, .ahs_words = a, .data_len = BE24(d) } }

static void test_login(void **state)
{
	static const struct row logins[] = {
		{ "first", LOGIN(0x00, 0, 8192), GOOD }, { "to operational", LOGIN(0x81, 0, 0), GOOD },
		{ "to the end", LOGIN(0x83, 0, 0), GOOD }, { "operational", LOGIN(0x87, 0, 0), GOOD },
		{ "continued", LOGIN(0x40, 0, 8192), GOOD },
		{ "T and C", LOGIN(0xc1, 0, 0), FIELD(login_req, flags) },
		{ "CSG 2", LOGIN(0x08, 0, 0), FIELD(login_req, flags) },
		{ "CSG 3", LOGIN(0x0c, 0, 0), FIELD(login_req, flags) },
		{ "NSG 2", LOGIN(0x82, 0, 0), FIELD(login_req, flags) },
		{ "NSG 0", LOGIN(0x80, 0, 0), FIELD(login_req, flags) },
		{ "operational to itself", LOGIN(0x85, 0, 0), FIELD(login_req, flags) },
		{ "AHS", LOGIN(0, 1, 0), FIELD(login_req, ahs_words) },
		{ "long", LOGIN(0, 0, 8193), PROTOCOL(login_req, data_len) },
		{ "command", COMMAND(F | R, 0, 0, ITT, 512), PROTOCOL(command, opcode) },
		{ "nop", { .nop_out = { .opcode = 0x40, .itt = ITT } }, PROTOCOL(nop_out, opcode) },
	};
	static const struct iscsi_receiver r = { .data_max = 8192 };

	for (size_t i = 0; i < ARRAY_SIZE(logins); i++)
		check(&logins[i], &r);
}

/* --- additional headers ---------------------------------------------------------------------------------------- */

static void test_additional_headers(void **state)
{
	static const struct { uint8_t bytes[24]; uint32_t len; bool good; uint32_t cdb, read; } ahs[] = {
		{ { 0 }, 0, true, 0, 0 },
		{ { 0, 5, 2, 0, 0, 0, 2, 0 }, 8, true, 0, 512 },
		{ { 0, 17, 1, 0 }, 20, true, 16, 0 },
		{ { 0, 3, 1, 0, 1, 2 }, 8, true, 2, 0 }, /* padded */
		{ { 0, 1, 1, 0 }, 4, true, 0, 0 },
		{ { 0, 5, 2, 0, 0, 0, 2, 0, 0, 9, 1, 0 }, 20, true, 8, 512 },
		{ { 0, 5, 2, 0, 0, 0, 2, 0, 0, 5, 2, 0 }, 16, false, 0, 0 }, /* twice */
		{ { 0, 5, 1, 0, 0, 0, 2, 0, 0, 5, 1, 0 }, 16, false, 0, 0 },
		{ { 0, 4, 2, 0, 0, 0, 2, 0 }, 8, false, 0, 0 },
		{ { 0, 5, 3, 0, 0, 0, 2, 0 }, 8, false, 0, 0 },
		{ { 0, 0, 1, 0 }, 4, false, 0, 0 },
		{ { 0, 6, 1, 0 }, 8, false, 0, 0 }, /* beyond the end */
		{ { 255, 255, 1, 0 }, 4, false, 0, 0 },
	};
	struct iscsi_command_ahs got;
	struct iscsi_fault fault;

	for (size_t i = 0; i < ARRAY_SIZE(ahs); i++) {
		assert_int_equal(iscsi_check_ahs(ahs[i].bytes, ahs[i].len, &got, &fault), ahs[i].good);
		if (!ahs[i].good) {
			assert_int_equal(fault.reason, ISCSI_REJECT_INVALID_FIELD);
			continue;
		}
		assert_int_equal(got.cdb_rest_len, ahs[i].cdb);
		assert_int_equal(got.read_len, ahs[i].read);
		assert_int_equal(got.has_read_len, ahs[i].read > 0);
	}
}

/* --- data ------------------------------------------------------------------------------------------------------ */

static void test_data_in_its_place(void **state)
{
	static const struct {
		const char *what;
		uint32_t ttt, lun, sn, offset, len;
		bool final;
		uint8_t reason, at;
	} pdus[] = {
		{ "next", 7, 1, 2, 1024, 512, false, GOOD },
		{ "the rest", 7, 1, 2, 1024, 1024, true, GOOD },
		{ "tag", 8, 1, 2, 1024, 512, false, FIELD(data_out, ttt) },
		{ "LUN", 7, 2, 2, 1024, 512, false, FIELD(data_out, lun) },
		{ "DataSN", 7, 1, 3, 1024, 512, false, PROTOCOL(data_out, data_sn) },
		{ "a gap", 7, 1, 2, 1536, 512, true, PROTOCOL(data_out, offset) },
		{ "again", 7, 1, 2, 512, 512, false, PROTOCOL(data_out, offset) },
		{ "beyond", 7, 1, 2, 1024, 1025, true, PROTOCOL(data_out, data_len) },
		{ "much beyond", 7, 1, 2, 1024, 0xffffff, true, PROTOCOL(data_out, data_len) },
		{ "final too early", 7, 1, 2, 1024, 512, true, PROTOCOL(data_out, flags) },
		{ "not final", 7, 1, 2, 1024, 1024, false, PROTOCOL(data_out, flags) },
	};
	struct iscsi_transfer t = { .ttt = 7, .lun = 1, .data_sn = 2, .next = 1024, .end = 2048 };

	for (size_t i = 0; i < ARRAY_SIZE(pdus); i++) {
		struct iscsi_data_out p = {
			.opcode = ISCSI_OP_DATA_OUT, .flags = pdus[i].final ? F : 0, .ttt = be32_of(pdus[i].ttt),
			.lun = be64_of(pdus[i].lun), .data_sn = be32_of(pdus[i].sn), .offset = be32_of(pdus[i].offset),
			.data_len = be24_of(pdus[i].len),
		};
		struct iscsi_fault fault = { 0 };

		assert_int_equal(iscsi_check_data_out(&p, &t, &fault), !pdus[i].reason);
		assert_int_equal(fault.reason, pdus[i].reason);
		assert_int_equal(fault.at, pdus[i].at);
	}
}

/* Unsolicited data: the initiator says when it has had enough, and its LUN field says nothing. */
static void test_unsolicited_data(void **state)
{
	struct iscsi_transfer t = { .ttt = NONE, .lun = 1, .next = 0, .end = 2048, .may_end_early = true };
	struct iscsi_data_out p = { .opcode = ISCSI_OP_DATA_OUT, .flags = F, .ttt = WHOLE, .data_len = be24_of(512) };
	struct iscsi_fault fault;

	assert_true(iscsi_check_data_out(&p, &t, &fault));
	p.flags = 0;
	assert_true(iscsi_check_data_out(&p, &t, &fault));
	p.data_len = be24_of(2048);
	assert_false(iscsi_check_data_out(&p, &t, &fault));
}

/* --- the rest -------------------------------------------------------------------------------------------------- */

static void test_names_and_numbers(void **state)
{
	assert_string_equal(iscsi_opcode_text(0x43), "Login Request");
	assert_string_equal(iscsi_opcode_text(0x25), "SCSI Data-In");
	assert_string_equal(iscsi_opcode_text(0x1f), "reserved");
	assert_string_equal(iscsi_reject_text(4), "Protocol error");
	assert_string_equal(iscsi_reject_text(0), "reserved");
	assert_string_equal(iscsi_login_status_text(0x0201), "authentication failure");
	assert_string_equal(iscsi_login_status_text(0x0400), "reserved");
	assert_string_equal(iscsi_tmf_text(0x85), "LOGICAL UNIT RESET");
	assert_string_equal(iscsi_tmf_response_text(255), "function rejected");
	assert_int_equal(iscsi_pad(0), 0);
	assert_int_equal(iscsi_pad(1), 3);
	assert_int_equal(iscsi_pad(8), 0);
	assert_true(iscsi_sn_before(1, 2));
	assert_true(iscsi_sn_before(0xffffffff, 0));
	assert_false(iscsi_sn_before(2, 2));
	assert_false(iscsi_sn_before(0, 0xffffffff));
	assert_int_equal(be24_get(be24_of(0x123456)), 0x123456);
	assert_int_equal(be24_of(0x123456).b[0], 0x12);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_field),
		cmocka_unit_test(test_what_was_negotiated),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_additional_headers),
		cmocka_unit_test(test_data_in_its_place),
		cmocka_unit_test(test_unsolicited_data),
		cmocka_unit_test(test_names_and_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
