/* SPDX-License-Identifier: BSD-3-Clause */
/* iscsi_fuzz.c: any bytes as an initiator's PDU: what passes the checks can be relied on, what does not says why.
 *
 * Input: one byte of what was negotiated, eight of a transfer, the header, additional headers.
 */
#include "wire/iscsi.h"

#define DATA_MAX 65536u
#define FIRST_BURST 16384u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fault(bool good, const struct iscsi_fault *f)
{
	must(good || (f->reason != ISCSI_REJECT_NONE && f->what && *f->what));
}

static void check_reliable(const union iscsi_bhs *bhs, const struct iscsi_receiver *r)
{
	uint8_t opcode = iscsi_opcode(&bhs->h);

	must(opcode < ISCSI_OP_SNACK);
	must((opcode == ISCSI_OP_LOGIN) != r->full_feature);
	must(iscsi_data_len(&bhs->h) <= r->data_max);
	must(bhs->h.ahs_words == 0 || opcode == ISCSI_OP_COMMAND);
	if (opcode == ISCSI_OP_COMMAND && iscsi_data_len(&bhs->h) > 0) {
		must(r->immediate_data && (bhs->command.flags & ISCSI_WRITE));
		must(iscsi_data_len(&bhs->h) <= FIRST_BURST);
		must(iscsi_data_len(&bhs->h) <= be32_get(bhs->command.expected_len));
	}
}

static void try_ahs(const uint8_t *data, uint32_t len)
{
	uint8_t *copy = memcpy(malloc(len + !len), data, len);
	struct iscsi_command_ahs ahs;
	struct iscsi_fault f;
	bool good = iscsi_check_ahs(copy, len, &ahs, &f);

	check_fault(good, &f);
	if (good && ahs.cdb_rest)
		must(ahs.cdb_rest >= copy && ahs.cdb_rest + ahs.cdb_rest_len <= copy + len);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct iscsi_receiver r = { .data_max = DATA_MAX, .first_burst = FIRST_BURST };
	struct iscsi_transfer t = { 0 };
	struct iscsi_fault f;
	union iscsi_bhs bhs;
	bool good;

	if (size < 9 + sizeof(bhs))
		return 0;
	r.full_feature = data[0] & 1;
	r.immediate_data = data[0] & 2;
	r.initial_r2t = data[0] & 4;
	t.may_end_early = data[0] & 8;
	memcpy(&t.next, data + 1, 4);
	memcpy(&t.end, data + 5, 4);
	t.next = min_u32(t.next, t.end);
	memcpy(&bhs, data + 9, sizeof(bhs));
	data += 9 + sizeof(bhs);
	size -= 9 + sizeof(bhs);

	good = iscsi_check_header(&bhs, &r, &f);
	check_fault(good, &f);
	must(iscsi_opcode_text(bhs.h.opcode));
	if (!good)
		return 0;
	check_reliable(&bhs, &r);
	if (iscsi_ahs_len(&bhs.h) <= size)
		try_ahs(data, iscsi_ahs_len(&bhs.h));
	if (iscsi_opcode(&bhs.h) == ISCSI_OP_DATA_OUT) {
		t.ttt = be32_get(bhs.data_out.ttt);
		t.lun = be64_get(bhs.data_out.lun);
		t.data_sn = be32_get(bhs.data_out.data_sn);
		good = iscsi_check_data_out(&bhs.data_out, &t, &f);
		check_fault(good, &f);
		must(!good || t.next + (uint64_t)iscsi_data_len(&bhs.h) <= t.end);
	}
	return 0;
}
