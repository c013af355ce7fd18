/* SPDX-License-Identifier: BSD-3-Clause */
/* pi_test.c: protection information over RDMA: blocks with their metadata in capsules, by one key, by lists that cut
 * them anywhere; inserted and stripped for hosts that have none (PRACT), and for hosts that are not told; checked on
 * the way in and on the way out, where what is wrong reaches neither the media nor the host's memory.
 */
#include "bdev/pi.h"
#include "core/log.h"
#include "nvmf/rdma/rdma.h"
#include "nvmf/rdma/test_two.h"

#define LIES_BEHIND 0xee               /* what the host's memory has where nothing was written */
#define APP_TAG 0xbeefu
#define CHECK_ALL (NVME_RW_PRCHK_GUARD | NVME_RW_PRCHK_APP)

static const struct test_md shapes[] = {
	{ .size = 8, .dif_type = 1 },
	{ .size = 8, .dif_type = 1, .apart = true },
	{ .size = 8, .dif_type = 2 },
	{ .size = 8, .dif_type = 3 },
	{ .size = 16, .dif_type = 1, .head = true },
	{ .size = 64, .dif_type = 2, .apart = true },
};

static uint8_t plain[HOST_DATA], blocks_of[HOST_DATA];

/* --- what a host makes of blocks ----------------------------------------------------------------------------- */

static uint32_t stride(void) { return TEST_BLOCK + w.md.size; }

static struct pi_shape shape(void)
{
	return (struct pi_shape){ .block_size = TEST_BLOCK, .md_size = w.md.size, .type = w.md.dif_type,
	                          .at_head = w.md.head };
}

static struct bdev_tags tags_at(uint64_t lba)
{
	return (struct bdev_tags){ .ref = w.md.dif_type == 3 ? 0 : (uint32_t)lba, .app = APP_TAG, .mask = 0xffff };
}

static uint16_t all_checks(void)
{
	return CHECK_ALL | (w.md.dif_type == 3 ? 0 : NVME_RW_PRCHK_REF);
}

/* Blocks with metadata, all of it right, in blocks_of; their data in plain. */
static uint32_t make_blocks(uint64_t lba, uint32_t count, uint32_t seed)
{
	struct pi_shape s = shape();
	struct iovec v = { blocks_of, (size_t)count * stride() };

	host_fill(plain, count * TEST_BLOCK, seed);
	for (uint32_t i = 0; i < count; i++) {
		memcpy(blocks_of + i * stride(), plain + i * TEST_BLOCK, TEST_BLOCK);
		memset(blocks_of + i * stride() + TEST_BLOCK, (int)(seed + i), w.md.size);
	}
	pi_generate(&s, iov_cursor_over(&v, 1), NULL, count, tags_at(lba));
	return count * stride();
}

/* Does the host's memory have `count` blocks that vouch for themselves, with plain's data? */
static bool has_blocks(uint64_t lba, uint32_t count)
{
	struct pi_shape s = shape();
	struct iovec v = { io.data, (size_t)count * stride() };
	bool same = io.data[count * stride()] == LIES_BEHIND;

	for (uint32_t i = 0; i < count; i++)
		same &= !memcmp(io.data + i * stride(), plain + i * TEST_BLOCK, TEST_BLOCK);
	return same && pi_verify(&s, iov_cursor_over(&v, 1), NULL, count, tags_at(lba), PI_CHECKS, NULL) == BDEV_ST_OK;
}

static struct nvme_sqe command(uint8_t opc, uint64_t lba, uint32_t count, uint16_t control)
{
	struct nvme_sqe sqe = host_rw(opc, lba, count);

	sqe.rw.control = le16_of(control);
	sqe.rw.ilbrt = le32_of(tags_at(lba).ref);
	sqe.rw.lbat = le16_of(APP_TAG);
	sqe.rw.lbatm = le16_of(0xffff);
	return sqe;
}

static uint16_t write_by_key(uint64_t lba, uint32_t count, const uint8_t *data, uint32_t len, uint16_t control)
{
	struct nvme_sqe sqe = command(NVME_CMD_WRITE, lba, count, control);

	memcpy(io.data, data, len);
	sqe.sgl1 = host_keyed(&io, 0, len, false);
	return host_run(&io, &sqe, NULL, 0);
}

static uint16_t write_in_capsule(uint64_t lba, uint32_t count, const uint8_t *data, uint32_t len, uint16_t control)
{
	struct nvme_sqe sqe = command(NVME_CMD_WRITE, lba, count, control);

	sqe.sgl1 = host_in_capsule(0, len);
	return host_run(&io, &sqe, data, len);
}

/* Pieces of odd lengths, in order: none ends where a block or a tuple does. */
static uint16_t run_by_list(struct nvme_sqe sqe, uint32_t len)
{
	struct nvme_sgl list[RDMA_DESCS_MAX];
	uint32_t n = 0, at = 0;

	for (uint32_t piece = len / 9 * 2 / 3 | 1; n < ARRAY_SIZE(list) - 1 && len - at > piece; n++, at += piece)
		list[n] = host_keyed(&io, at, piece, false);
	list[n++] = host_keyed(&io, at, len - at, false);
	sqe.sgl1 = host_list(0, n);
	return host_run(&io, &sqe, list, n * (uint32_t)sizeof(list[0]));
}

static uint16_t read_by_key(uint64_t lba, uint32_t count, uint32_t len, uint16_t control)
{
	struct nvme_sqe sqe = command(NVME_CMD_READ, lba, count, control);

	memset(io.data, LIES_BEHIND, len + 4096);
	sqe.sgl1 = host_keyed(&io, 0, len, false);
	return host_run(&io, &sqe, NULL, 0);
}

static void check_media(uint64_t lba, uint32_t count)
{
	assert_int_equal(read_by_key(lba, count, count * stride(), all_checks()), 0);
	assert_true(has_blocks(lba, count));
}

static void each_shape(void (*fn)(void), const struct nvmf_transport_opts *opts)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		for (uint32_t small = 0; small < 2; small++) {
			w = (struct test_world){ .md = shapes[i] };
			w.target_adapter = (struct sim_adapter_opts){ .sge_max = small ? 2 : 0, .read_depth_max = small ? 1 : 0,
			                                              .lacks_srq = small };
			begin(opts);
			fn();
			expect_nothing_held();
			end();
		}
	w = (struct test_world){ 0 };
}

/* --- */

static void blocks_come_as_they_went(void)
{
	static const uint32_t counts[] = { 1, 7, 8, 30, 129, 1500 };

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		uint64_t lba = 11 + i;
		uint32_t len = make_blocks(lba, counts[i], (uint32_t)i);

		assert_int_equal(write_by_key(lba, counts[i], blocks_of, len, all_checks()), 0);
		check_media(lba, counts[i]);
		len = make_blocks(lba, counts[i], (uint32_t)i + 50);
		memcpy(io.data, blocks_of, len);
		assert_int_equal(run_by_list(command(NVME_CMD_WRITE, lba, counts[i], all_checks()), len), 0);
		memset(io.data, LIES_BEHIND, len + 4096);
		assert_int_equal(run_by_list(command(NVME_CMD_READ, lba, counts[i], all_checks()), len), 0);
		assert_true(has_blocks(lba, counts[i]));
		if (len > w.opts.in_capsule_data_size)
			continue;
		len = make_blocks(lba, counts[i], (uint32_t)i + 100);
		assert_int_equal(write_in_capsule(lba, counts[i], blocks_of, len, all_checks()), 0);
		check_media(lba, counts[i]);
	}
}

/* Only where the tuple is all of the metadata does the host have none. */
static void a_host_without_has_it_made(void)
{
	bool only = w.md.size == PI_BYTES;

	for (uint32_t count = 1; count <= 1024; count = count * 4 + 3) {
		uint32_t len = make_blocks(5, count, count);

		if (only)
			len = count * TEST_BLOCK;
		assert_int_equal(write_by_key(5, count, only ? plain : blocks_of, len, NVME_RW_PRACT), 0);
		check_media(5, count);
		assert_int_equal(read_by_key(5, count, len, NVME_RW_PRACT | all_checks()), 0);
		assert_memory_equal(io.data, only ? plain : blocks_of, only ? len : TEST_BLOCK);
		assert_int_equal(io.data[len], LIES_BEHIND);
	}
	if (only) {
		make_blocks(70, 8, 9);
		assert_int_equal(write_in_capsule(70, 8, plain, 8 * TEST_BLOCK, NVME_RW_PRACT), 0);
		check_media(70, 8);
	}
}

/* On the way in it does not land; on the way out it does not leave. */
static void what_is_wrong_is_found(void)
{
	uint32_t head = w.md.head ? 0 : w.md.size - PI_BYTES;

	for (uint32_t count = 1; count <= 513; count = count * 8 + 1) {
		uint32_t last = (count - 1) * stride(), len = make_blocks(100, count, 3);
		static const struct { uint32_t at; uint16_t status; } wrongs[] = {
			{ 17, NVME_SC_GUARD_CHECK }, { TEST_BLOCK, NVME_SC_GUARD_CHECK }, { TEST_BLOCK + 2, NVME_SC_APPTAG_CHECK },
			{ TEST_BLOCK + 4, NVME_SC_REFTAG_CHECK } };

		for (size_t i = 0; i < ARRAY_SIZE(wrongs); i++) {
			uint32_t at = last + wrongs[i].at + (wrongs[i].at < TEST_BLOCK ? 0 : head);

			if (wrongs[i].status == NVME_SC_REFTAG_CHECK && w.md.dif_type == 3)
				continue;
			make_blocks(100, count, 3);
			assert_int_equal(write_by_key(100, count, blocks_of, len, all_checks()), 0);
			make_blocks(100, count, 4);
			blocks_of[at] ^= 0x40;
			assert_int_equal(write_by_key(100, count, blocks_of, len, all_checks()) & NVME_SC_CODE, wrongs[i].status);
			if (len <= w.opts.in_capsule_data_size)
				assert_int_equal(write_in_capsule(100, count, blocks_of, len, all_checks()) & NVME_SC_CODE,
				                 wrongs[i].status);
			make_blocks(100, count, 3);
			check_media(100, count);
			/* now it is there: nobody looked */
			make_blocks(100, count, 3);
			blocks_of[at] ^= 0x40;
			assert_int_equal(write_by_key(100, count, blocks_of, len, 0), 0);
			assert_int_equal(read_by_key(100, count, len, all_checks()) & NVME_SC_CODE, wrongs[i].status);
			for (uint32_t k = 0; k < len; k++)
				assert_int_equal(io.data[k], LIES_BEHIND);
			if (w.md.size == PI_BYTES)
				assert_int_equal(read_by_key(100, count, count * TEST_BLOCK, NVME_RW_PRACT | all_checks()) &
				                 NVME_SC_CODE, wrongs[i].status);
			assert_int_equal(read_by_key(100, count, len, 0), 0);
			assert_memory_equal(io.data, blocks_of, len);
		}
	}
}

/* Metadata count: in what descriptors have to have room for, and in the largest size. */
static void metadata_are_data(void)
{
	uint32_t most = w.opts.max_io_size / stride(), len = make_blocks(0, 9, 1);

	assert_int_equal(write_by_key(0, 9, blocks_of, 9 * TEST_BLOCK, 0), NVME_SC_SGL_INVALID_DATA | NVME_SC_DNR);
	assert_int_equal(read_by_key(0, 9, len - 1, 0), NVME_SC_SGL_INVALID_DATA | NVME_SC_DNR);
	len = make_blocks(1, most, 2);
	assert_int_equal(write_by_key(1, most, blocks_of, len, all_checks()), 0);
	check_media(1, most);
	len = make_blocks(1, most + 1, 2);
	assert_int_equal(write_by_key(1, most + 1, blocks_of, len, 0), NVME_SC_INVALID_FIELD | NVME_SC_DNR);
}

/* Its zeroes are lent where nothing is to be made of them, and carry their tuples where they have some. */
static void zeroes_vouch_for_themselves(void)
{
	struct nvme_sqe sqe = command(NVME_CMD_READ, 40, 20, all_checks());

	sqe.nsid = le32_of(2);
	sqe.rw.lbatm = le16_of(0);
	sqe.sgl1 = host_keyed(&io, 0, 20 * stride(), false);
	memset(io.data, LIES_BEHIND, HOST_DATA / 4);
	memset(plain, 0, 20 * TEST_BLOCK);
	assert_int_equal(host_run(&io, &sqe, NULL, 0), 0);
	for (uint32_t i = 0; i < 20; i++)
		assert_memory_equal(io.data + i * stride(), plain, TEST_BLOCK);
	if (w.md.size != PI_BYTES)
		return;
	sqe.rw.control = le16_of(NVME_RW_PRACT | le16_get(sqe.rw.control));
	sqe.sgl1 = host_keyed(&io, 0, 20 * TEST_BLOCK, false);
	memset(io.data, LIES_BEHIND, HOST_DATA / 4);
	assert_int_equal(host_run(&io, &sqe, NULL, 0), 0);
	assert_memory_equal(io.data, plain, 20 * TEST_BLOCK);
	assert_int_equal(io.data[20 * TEST_BLOCK], LIES_BEHIND);
}

/* A transport with dif_insert_or_strip: no host is told of metadata, and who asks for them all the same is refused. */
static void hosts_that_are_not_told(void)
{
	static const uint32_t counts[] = { 1, 8, 9, 255, 2048 };
	struct nvme_sqe sqe = { .opc = NVME_ADMIN_IDENTIFY, .nsid = le32_of(1), .identify.cns = NVME_CNS_NS };
	const struct nvme_id_ns *id = (const void *)admin.data;

	sqe.sgl1 = host_keyed(&admin, 0, 4096, false);
	assert_int_equal(host_run(&admin, &sqe, NULL, 0), 0);
	assert_int_equal(le16_get(id->lbaf[id->flbas & 0xf].ms), 0);
	assert_int_equal(id->dps, 0);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		assert_int_equal(host_write(&io, 3 + i, counts[i], (uint32_t)i), 0);
		check_blocks(&io, 3 + i, counts[i], (uint32_t)i);
	}
	host_fill(plain, 8 * TEST_BLOCK, 77);
	assert_int_equal(write_in_capsule(40, 8, plain, 8 * TEST_BLOCK, 0), 0);
	check_blocks(&io, 40, 8, 77);
	assert_int_equal(write_by_key(0, 1, plain, TEST_BLOCK, NVME_RW_PRCHK_GUARD), NVME_SC_INVALID_PI | NVME_SC_DNR);
}

static void metadata_in_every_shape(void **state) { each_shape(blocks_come_as_they_went, NULL); }
static void inserted_and_stripped(void **state) { each_shape(a_host_without_has_it_made, NULL); }
static void checked_both_ways(void **state) { each_shape(what_is_wrong_is_found, NULL); }
static void sizes_include_metadata(void **state) { each_shape(metadata_are_data, NULL); }
static void null_disks_have_tuples(void **state) { each_shape(zeroes_vouch_for_themselves, NULL); }

static void inserted_and_stripped_unseen(void **state)
{
	struct nvmf_transport_opts opts = world_opts;

	opts.dif_insert_or_strip = true;
	each_shape(hosts_that_are_not_told, &opts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(metadata_in_every_shape), cmocka_unit_test(inserted_and_stripped),
		cmocka_unit_test(checked_both_ways),       cmocka_unit_test(sizes_include_metadata),
		cmocka_unit_test(null_disks_have_tuples),  cmocka_unit_test(inserted_and_stripped_unseen),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
