/* SPDX-License-Identifier: BSD-3-Clause */
/* sgl_test.c: what descriptors say, data cut into work requests, and who is let in: without any adapter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "nvmf/rdma/rdma.h"

static struct nvmf_req req_of_len(enum nvmf_data data, uint32_t len)
{
	return (struct nvmf_req){ .data = data, .data_len = len };
}

static struct nvme_sgl keyed(uint64_t addr, uint32_t len, uint32_t key, uint8_t subtype)
{
	struct nvme_sgl s = { .addr = le64_of(addr), .key = le32_of(key),
	                      .klength = { (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16) } };

	s.id = NVME_SGL_ID(NVME_SGL_KEYED_DATA_BLOCK, subtype);
	return s;
}

static struct nvme_sgl plain(uint8_t type, uint8_t subtype, uint64_t addr, uint32_t len)
{
	struct nvme_sgl s = { .addr = le64_of(addr), .length = le32_of(len) };

	s.id = NVME_SGL_ID(type, subtype);
	return s;
}

static uint16_t parse(struct nvme_sgl s, enum nvmf_data data, uint32_t len, uint32_t came)
{
	static uint8_t bytes[8192];
	struct nvmf_req req = req_of_len(data, len);
	struct rdma_sgl sgl;

	req.cmd.sgl1 = s;
	return rdma_sgl_parse(&req, bytes, came, &sgl) & NVME_SC_CODE;
}

/* Each fault has its status; a host that gets another one would look in the wrong place. */
static void every_fault_has_its_status(void **state)
{
	const enum nvmf_data in = NVMF_DATA_TO_CTRLR, out = NVMF_DATA_TO_HOST;

	assert_int_equal(parse(keyed(0, 4096, 1, NVME_SGL_ADDRESS), in, 4096, 0), NVME_SC_SUCCESS);
	assert_int_equal(parse(keyed(0, 4096, 1, NVME_SGL_INVALIDATE), out, 4096, 0), NVME_SC_SUCCESS);
	assert_int_equal(parse(keyed(0, 8192, 1, NVME_SGL_ADDRESS), out, 4096, 0), NVME_SC_SUCCESS);
	assert_int_equal(parse(keyed(0, 4095, 1, NVME_SGL_ADDRESS), in, 4096, 0), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(parse(keyed(0, 0, 1, NVME_SGL_ADDRESS), in, 1, 0), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(parse(keyed(0, 4096, 1, NVME_SGL_OFFSET), in, 4096, 0), NVME_SC_SGL_INVALID_TYPE);
	assert_int_equal(parse(keyed(0, 4096, 1, NVME_SGL_TRANSPORT), in, 4096, 0), NVME_SC_SGL_INVALID_TYPE);
	for (uint8_t type = 0; type < 16; type++)
		if (type != NVME_SGL_DATA_BLOCK && type != NVME_SGL_LAST_SEGMENT && type != NVME_SGL_KEYED_DATA_BLOCK)
			assert_int_equal(parse(plain(type, NVME_SGL_OFFSET, 0, 4096), in, 4096, 4096), NVME_SC_SGL_INVALID_TYPE);
	assert_int_equal(parse(plain(NVME_SGL_DATA_BLOCK, NVME_SGL_ADDRESS, 0, 4096), in, 4096, 4096),
	                 NVME_SC_SGL_INVALID_TYPE);
	assert_int_equal(parse(plain(NVME_SGL_LAST_SEGMENT, NVME_SGL_ADDRESS, 0, 32), in, 4096, 4096),
	                 NVME_SC_SGL_INVALID_TYPE);
}

static void data_in_the_capsule_has_to_be_there(void **state)
{
	const uint8_t t = NVME_SGL_DATA_BLOCK, o = NVME_SGL_OFFSET;

	assert_int_equal(parse(plain(t, o, 0, 4096), NVMF_DATA_TO_CTRLR, 4096, 4096), NVME_SC_SUCCESS);
	assert_int_equal(parse(plain(t, o, 512, 512), NVMF_DATA_TO_CTRLR, 512, 1024), NVME_SC_SUCCESS);
	assert_int_equal(parse(plain(t, o, 0, 4096), NVMF_DATA_TO_HOST, 4096, 4096), NVME_SC_INVALID_FIELD);
	assert_int_equal(parse(plain(t, o, 0, 4096), NVMF_DATA_TO_CTRLR, 4096, 4095), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(parse(plain(t, o, 0, 512), NVMF_DATA_TO_CTRLR, 4096, 4096), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(parse(plain(t, o, 1, 4096), NVMF_DATA_TO_CTRLR, 4096, 4096), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(parse(plain(t, o, 4097, 0), NVMF_DATA_TO_CTRLR, 512, 4096), NVME_SC_SGL_INVALID_OFFSET);
	assert_int_equal(parse(plain(t, o, UINT64_MAX, 512), NVMF_DATA_TO_CTRLR, 512, 4096), NVME_SC_SGL_INVALID_OFFSET);
	assert_int_equal(parse(plain(t, o, 512, UINT32_MAX), NVMF_DATA_TO_CTRLR, 512, 4096), NVME_SC_SGL_INVALID_DATA);
}

static uint16_t parse_list(const struct nvme_sgl *list, uint32_t count, uint64_t at, uint32_t bytes, uint32_t came,
                           uint32_t len, struct rdma_sgl *ret)
{
	static uint8_t data[8192];
	struct nvmf_req req = req_of_len(NVMF_DATA_TO_CTRLR, len);

	memset(data, 0, sizeof(data));
	if (at < 4096)
		memcpy(data + at, list, count * sizeof(*list));
	req.cmd.sgl1 = plain(NVME_SGL_LAST_SEGMENT, NVME_SGL_OFFSET, at, bytes);
	return rdma_sgl_parse(&req, data, came, ret) & NVME_SC_CODE;
}

static void lists_are_checked(void **state)
{
	struct nvme_sgl list[17];
	struct rdma_sgl s;

	for (uint32_t i = 0; i < 17; i++)
		list[i] = keyed(i * 4096u, 512, i + 1, i == 2 ? NVME_SGL_INVALIDATE : NVME_SGL_ADDRESS);
	assert_int_equal(parse_list(list, 16, 0, 256, 256, 8192, &s), NVME_SC_SUCCESS);
	assert_int_equal(s.count, 16);
	assert_true(s.invalidate && s.key == 3 && s.listed);
	assert_int_equal(parse_list(list, 1, 7, 16, 4096, 512, &s), NVME_SC_SUCCESS); /* anywhere */
	assert_int_equal(parse_list(list, 17, 0, 272, 4096, 512, &s), NVME_SC_SGL_INVALID_COUNT);
	assert_int_equal(parse_list(list, 2, 0, 0, 4096, 512, &s), NVME_SC_SGL_INVALID_LAST);
	assert_int_equal(parse_list(list, 2, 0, 31, 4096, 512, &s), NVME_SC_SGL_INVALID_LAST);
	assert_int_equal(parse_list(list, 2, 0, 32, 31, 512, &s), NVME_SC_SGL_INVALID_LAST);
	assert_int_equal(parse_list(list, 2, 4090, 32, 4096, 512, &s), NVME_SC_SGL_INVALID_LAST);
	assert_int_equal(parse_list(list, 2, 4097, 32, 4096, 512, &s), NVME_SC_SGL_INVALID_OFFSET);
	assert_int_equal(parse_list(list, 2, UINT64_MAX - 8, 32, 4096, 512, &s), NVME_SC_SGL_INVALID_OFFSET);
	assert_int_equal(parse_list(list, 2, 0, 32, 4096, 1025, &s), NVME_SC_SGL_INVALID_DATA);
	list[1] = plain(NVME_SGL_DATA_BLOCK, NVME_SGL_ADDRESS, 0, 512);
	assert_int_equal(parse_list(list, 2, 0, 32, 4096, 512, &s), NVME_SC_SGL_INVALID_TYPE);
}

static uint64_t first_remote(struct rdma_cursor *c, uint32_t max)
{
	struct verbs_sge sges[RDMA_SGES_MAX];
	struct verbs_wr wr;

	rdma_cursor_next(c, 1, max, sges, &wr);
	return wr.remote;
}

/* Cut by whatever limits, all bytes go where they belong, once; and the count that credits go by is right. */
static void cut_anyhow_it_is_whole(void **state)
{
	static uint8_t mem[8192];

	for (uint32_t seed = 1; seed < 400; seed++) {
		struct nvme_sgl descs[RDMA_DESCS_MAX];
		struct iovec iovs[24];
		struct rdma_sgl sgl = { .descs = descs, .count = (uint8_t)(1 + seed % RDMA_DESCS_MAX) };
		uint32_t at = 0, count = 0, max = 1 + seed % 7, wrs = 0, total = 3000, remote = 0;
		struct rdma_cursor c;

		for (uint32_t i = 0; i < sgl.count; i++) {
			uint32_t len = i + 1 == sgl.count ? 4096 : (seed * (i + 3) * 37) % 500 * (i % 3 != 1);

			descs[i] = keyed(remote, len, i, NVME_SGL_ADDRESS);
			remote += len;
		}
		for (; at < total; count++) {
			uint32_t n = count == 23 ? total - at : min_u32(total - at, 1 + (seed * (count + 1) * 13) % 400);

			iovs[count] = (struct iovec){ mem + at, n };
			at += n;
		}
		c = rdma_cursor_over(&sgl, iovs, count);
		wrs = rdma_cursor_count(c, total, max);
		for (at = 0; at < total; wrs--) {
			struct verbs_sge sges[RDMA_SGES_MAX];
			struct verbs_wr wr;
			uint32_t n = rdma_cursor_next(&c, total - at, max, sges, &wr);

			assert_int_equal(wr.remote, at); /* descriptors lie side by side */
			assert_true(n && wr.sge_count && wr.sge_count <= max);
			for (uint32_t i = 0; i < wr.sge_count; i++) {
				assert_ptr_equal((void *)(uintptr_t)sges[i].addr, mem + at);
				at += sges[i].len;
			}
		}
		assert_int_equal(wrs, 0);
		c = rdma_cursor_over(&sgl, iovs, count);
		rdma_cursor_skip(&c, seed);
		assert_int_equal(first_remote(&c, max), seed);
	}
}

/* --- who is let in --- */

static const struct nvmf_transport_opts opts = { .max_queue_depth = 128, .max_aq_depth = 32,
                                                 .max_io_qpairs_per_ctrlr = 8 };
static const struct verbs_dev_info info = { .recv_max = 1000, .read_depth_max = 16 };

static uint16_t admit(uint16_t recfmt, uint16_t qid, uint16_t hrqsize, uint16_t hsqsize, uint8_t len, uint8_t serve,
                      struct rdma_wish *ret)
{
	struct nvme_rdma_cm_req req = { .recfmt = le16_of(recfmt), .qid = le16_of(qid), .hrqsize = le16_of(hrqsize),
	                                .hsqsize = le16_of(hsqsize) };
	const struct verbs_params p = { .data = &req, .data_len = len, .read_serve = serve };

	return rdma_admit_check(&opts, &info, &p, ret);
}

static void every_reject_has_its_status(void **state)
{
	struct rdma_wish w;

	assert_int_equal(admit(0, 1, 128, 127, 32, 16, &w), 0);
	assert_int_equal(admit(0, 1, 128, 127, 31, 16, &w), NVME_RDMA_CM_INVALID_LEN);
	assert_int_equal(admit(0, 1, 128, 127, 0, 16, &w), NVME_RDMA_CM_INVALID_LEN);
	assert_int_equal(admit(1, 1, 128, 127, 32, 16, &w), NVME_RDMA_CM_INVALID_RECFMT);
	assert_int_equal(admit(0, 9, 128, 127, 32, 16, &w), NVME_RDMA_CM_INVALID_QID);
	assert_int_equal(admit(0, 1, 128, 0, 32, 16, &w), NVME_RDMA_CM_INVALID_HSQSIZE);
	assert_int_equal(admit(0, 1, 1, 127, 32, 16, &w), NVME_RDMA_CM_INVALID_HRQSIZE);
	assert_int_equal(admit(0, 1, 0, 127, 32, 16, &w), NVME_RDMA_CM_INVALID_HRQSIZE);
	assert_int_equal(admit(0, 1, 128, 127, 32, 0, &w), NVME_RDMA_CM_INVALID_IRD);
}

/* As deep as both can have it. */
/* As long as was asked for, and less than twice: eight tries of a power of two times 4.096 us. */
static void ack_timeouts_are_rounded_up(void **state)
{
	assert_int_equal(rdma_ack_exponent(1), 5);
	for (uint32_t ms = 1; ms < 4000000; ms += 1 + ms / 7) {
		uint64_t all = (VERBS_ACK_NS << rdma_ack_exponent(ms)) * 8;

		assert_true(all >= ms * NS_PER_MS && (all < 2 * ms * NS_PER_MS || ms == 1));
	}
	assert_int_equal(rdma_ack_exponent(UINT32_MAX), VERBS_ACK_EXPONENT_MAX);
}

static void depths_are_the_least_of_all(void **state)
{
	struct rdma_wish w;

	assert_int_equal(admit(0, 1, 200, 199, 56, 200, &w), 0);
	assert_int_equal(w.depth, 128);
	assert_int_equal(w.read_depth, 16);
	assert_int_equal(admit(0, 0, 128, 127, 56, 1, &w), 0);
	assert_int_equal(w.depth, 32);
	assert_int_equal(w.read_depth, 1);
	assert_int_equal(admit(0, 3, 64, 99, 56, 4, &w), 0);
	assert_int_equal(w.depth, 64);
	assert_int_equal(w.qid, 3);
	assert_int_equal(admit(0, 3, 0xffff, 0xffff, 56, 4, &w), 0);
	assert_int_equal(w.depth, 128);
	assert_int_equal(admit(0, 3, 64, 9, 56, 4, &w), 0);
	assert_int_equal(w.depth, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_fault_has_its_status),
		cmocka_unit_test(data_in_the_capsule_has_to_be_there),
		cmocka_unit_test(lists_are_checked),
		cmocka_unit_test(cut_anyhow_it_is_whole),
		cmocka_unit_test(every_reject_has_its_status),
		cmocka_unit_test(depths_are_the_least_of_all),
		cmocka_unit_test(ack_timeouts_are_rounded_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
