/* SPDX-License-Identifier: BSD-3-Clause */
/* wire_test.c: NVMe's structures lie as libnvme says, its codes are libnvme's, and the tables are whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/nvme.h"
#include "wire/nvme_tcp.h"
#include "wire/wire_peer.h"

static const struct peer_fact layouts[] = { PEER_FIELDS(PEER_FACT) };

/* Of statuses libnvme has the code without its type, of events the information without type and log page. */
#define OURS_SC(value, name, text) { "SC_" #name, NVME_SC_##name & 0xff },
#define OURS_CNS(value, name, text) { "CNS_" #name, NVME_CNS_##name },
#define OURS_LOG(value, name, text) { "LOG_" #name, NVME_LOG_##name },
#define OURS_FEAT(value, name, text) { "FEAT_" #name, NVME_FEAT_##name },
#define OURS_AER(type, info, name, log) { "AER_" #name, NVME_AER_##name >> 8 & 0xff },
#define OURS_REG(offset, name, bytes) { "REG_" #name, NVME_REG_##name },
#define OURS_OPCODE(ours, theirs) { #ours, NVME_##ours },

static const struct peer_code codes[] = {
	NVME_STATUS_GENERIC(OURS_SC)
	NVME_STATUS_CMD_SPECIFIC(OURS_SC)
	NVME_STATUS_IO_SPECIFIC(OURS_SC)
	NVME_STATUS_FABRICS_SPECIFIC(OURS_SC)
	NVME_STATUS_MEDIA(OURS_SC)
	NVME_STATUS_PATH(OURS_SC)
	NVME_IDENTIFY_CNS(OURS_CNS)
	NVME_LOG_PAGES(OURS_LOG)
	NVME_FEATURES(OURS_FEAT)
	NVME_ASYNC_EVENTS(OURS_AER)
	NVME_PROPERTIES(OURS_REG)
};
static const struct peer_code opcodes[] = { PEER_OPCODES(OURS_OPCODE) };

static void skip_without_libnvme(void)
{
	if (peer_layout_count == 0)
		skip();
}

/* A host would read a wrong size, a wrong limit, a wrong name. */
static void structures_lie_as_in_libnvme(void **state)
{
	skip_without_libnvme();
	assert_int_equal(ARRAY_SIZE(layouts), peer_layout_count);
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		if (layouts[i].offset != peer_layouts[i].offset || layouts[i].size != peer_layouts[i].size)
			fail_msg("%s: at %zu, %zu bytes; libnvme: at %zu, %zu bytes", layouts[i].what, layouts[i].offset,
			         layouts[i].size, peer_layouts[i].offset, peer_layouts[i].size);
	}
}

static void check_codes(const struct peer_code *ours, const struct peer_code *theirs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(ours[i].what, theirs[i].what);
		if (ours[i].value != theirs[i].value)
			fail_msg("%s is %#x; libnvme: %#x", ours[i].what, ours[i].value, theirs[i].value);
	}
}

static void codes_are_those_of_libnvme(void **state)
{
	skip_without_libnvme();
	assert_in_range(ARRAY_SIZE(codes), 1, peer_code_count);
	check_codes(codes, peer_codes, ARRAY_SIZE(codes));
	assert_int_equal(ARRAY_SIZE(opcodes), peer_opcode_count);
	check_codes(opcodes, peer_opcodes, ARRAY_SIZE(opcodes));
}

static void property_bits_are_where_libnvme_finds_them(void **state)
{
#define OURS_BITS(word, field, theirs) { #word "." #field, (unsigned)nvme_##word##_##field(PEER_WORD) },
	const struct peer_code bits[] = { PEER_BITS(OURS_BITS) };

	skip_without_libnvme();
	assert_int_equal(ARRAY_SIZE(codes) + ARRAY_SIZE(bits), peer_code_count);
	check_codes(bits, peer_codes + ARRAY_SIZE(codes), ARRAY_SIZE(bits));
}

static void changed_bit_field_leaves_the_others(void **state)
{
	uint64_t cc = nvme_cc_with_iocqes(nvme_cc_with_iosqes(nvme_cc_with_en(0, 1), 6), 4);

	assert_int_equal(cc, 0x00460001);
	assert_int_equal(nvme_cc_with_en(cc, 0), 0x00460000);
	assert_int_equal(nvme_cap_with_mqes(UINT64_MAX, 127), 0xffffffffffff007f);
	assert_int_equal(NVME_VERSION(1, 4, 0), 0x00010400);
	assert_int_equal(nvme_vs_mnr(NVME_VERSION(1, 4, 0)), 4);
}

/* A row whose column contradicts its opcode would make the transport wait for data that never comes. */
static void direction_of_data_is_in_the_opcode(void **state)
{
#define ROW(value, name, text, data) { value, NVME_DATA_##data, text },
	static const struct { uint8_t opc; enum nvme_data data; const char *text; } rows[] = {
		NVME_ADMIN_OPCODES(ROW) NVME_IO_OPCODES(ROW) NVME_FABRICS_TYPES(ROW)
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (nvme_data_of(rows[i].opc) != rows[i].data)
			fail_msg("%s: column says otherwise than opcode %#x", rows[i].text, rows[i].opc);
}

static void codes_have_names_and_reserved_ones_say_so(void **state)
{
	assert_string_equal(nvme_admin_name(NVME_ADMIN_IDENTIFY), "Identify");
	assert_string_equal(nvme_io_name(NVME_CMD_READ), "Read");
	assert_string_equal(nvme_io_name(0xc7), "reserved");
	assert_true(nvme_admin_known(NVME_ADMIN_KEEP_ALIVE));
	assert_false(nvme_admin_known(0x03));
	assert_false(nvme_io_known(0x03));
	assert_string_equal(nvme_fctype_name(NVME_FABRICS_CONNECT), "Connect");
	assert_string_equal(nvme_status_text(NVME_SC_LBA_RANGE | NVME_SC_DNR, false), "LBA Out of Range");
	assert_string_equal(nvme_status_text(NVME_SC_CONNECT_INVALID_PARAM, true), "Connect Invalid Parameters");
	assert_string_equal(nvme_status_text(NVME_SC_READ_ONLY, false), "Attempted Write to Read Only Range");
	assert_string_equal(nvme_status_text(NVME_SC_INVALID_FIELD, true), "Invalid Field in Command");
	assert_string_equal(nvme_status_text(0x7ff, false), "reserved");
	assert_string_equal(nvme_log_name(NVME_LOG_ANA), "Asymmetric Namespace Access");
	assert_string_equal(nvme_feature_name(NVME_FEAT_KATO), "Keep Alive Timer");
	assert_string_equal(nvme_cns_name(NVME_CNS_CTRL), "controller");
	assert_string_equal(nvme_tcp_type_name(NVME_TCP_R2T), "R2T");
	assert_string_equal(nvme_tcp_type_name(8), "reserved");
	assert_string_equal(nvme_tcp_fes_text(NVME_TCP_FES_SEQUENCE), "PDU Sequence Error");
}

static void completion_keeps_status_and_flags(void **state)
{
	struct nvme_cqe cqe = { 0 };

	nvme_cqe_set_status(&cqe, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	assert_memory_equal(&cqe.status, "\x04\x80", 2);
	assert_int_equal(nvme_cqe_status(&cqe), NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	assert_int_equal(NVME_AER_NOTICE_NS_CHANGED, 0x00040002);
}

static void log_page_length_uses_both_halves(void **state)
{
	struct nvme_get_log_page cmd = { .numdl = le16_of(0xffff), .numdu = le16_of(0) };

	assert_int_equal(nvme_get_log_page_size(&cmd), 0x10000 * 4);
	cmd.numdu = le16_of(0xffff);
	assert_int_equal(nvme_get_log_page_size(&cmd), 0x100000000ull * 4);
}

static void keyed_descriptor_has_a_length_of_three_bytes(void **state)
{
	struct nvme_sgl sgl = { .klength = { 1, 2, 3 }, .key = le32_of(0xdeadbeef) };

	sgl.id = NVME_SGL_ID(NVME_SGL_KEYED_DATA_BLOCK, NVME_SGL_INVALIDATE);
	assert_int_equal(nvme_sgl_klength(&sgl), 0x030201);
	assert_int_equal(sgl.id, 0x4f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structures_lie_as_in_libnvme),
		cmocka_unit_test(codes_are_those_of_libnvme),
		cmocka_unit_test(property_bits_are_where_libnvme_finds_them),
		cmocka_unit_test(changed_bit_field_leaves_the_others),
		cmocka_unit_test(direction_of_data_is_in_the_opcode),
		cmocka_unit_test(codes_have_names_and_reserved_ones_say_so),
		cmocka_unit_test(completion_keeps_status_and_flags),
		cmocka_unit_test(log_page_length_uses_both_halves),
		cmocka_unit_test(keyed_descriptor_has_a_length_of_three_bytes),
	};

	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
