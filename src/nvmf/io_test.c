/* SPDX-License-Identifier: BSD-3-Clause */
/* io_test.c: the commands of I/O queues on real devices, and namespaces that come and go under them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bdev/bdev_device.h"
#include "nvmf/test_rig.h"

#define DNR(status) ((status) | NVME_SC_DNR)
static struct rig rig;
static struct rig_qp *admin, *io;
static uint8_t out[RIG_DATA_MAX], in[RIG_DATA_MAX];

static int start(void **state)
{
	uint16_t cntlid;

	rig_start(&rig, 2);
	admin = rig_admin(&rig, 0, &cntlid);
	io = rig_io(&rig, 1, 1, cntlid);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 512);
	memset(in, 0, sizeof(in));
	return 0;
}

static int stop(void **state)
{
	rig_stop(&rig);
	return 0;
}

static uint16_t rw(uint8_t opc, uint32_t nsid, uint64_t lba, uint32_t blocks, void *data, uint32_t len)
{
	struct nvme_sqe sqe = rig_rw(opc, nsid, lba, blocks);

	return rig_cmd(io, &sqe, data, len, NULL);
}

static void add_disk(const char *name, uint32_t block_size, uint64_t blocks, uint32_t nsid)
{
	struct malloc_opts opts = { .name = name, .block_size = block_size, .block_count = blocks };
	struct err e;
	struct bdev *b;

	assert_int_equal(malloc_create(rig.reg, &opts, &b, &e), 0);
	assert_int_equal(rig_add_ns(&rig, name, nsid), 0);
}

/* What was written is read, lent by the device or copied. */
static void written_is_read(void **state)
{
	for (int lending = 0; lending < 2; lending++) {
		rig.no_lending = !lending;
		for (uint32_t blocks = 1; blocks <= 256; blocks += 85) {
			uint32_t len = blocks * RIG_BLOCK;

			assert_int_equal(rw(NVME_CMD_WRITE, 1, 3 * blocks, blocks, out, len), 0);
			memset(in, 0xee, len);
			assert_int_equal(rw(NVME_CMD_READ, 1, 3 * blocks, blocks, in, len), 0);
			assert_memory_equal(in, out, len);
		}
	}
	assert_int_equal(rw(NVME_CMD_READ, 2, 77, 2, in, 8192), 0);
	assert_int_equal(in[0] | in[8191], 0);
}

static void reads_are_lent(void **state)
{
	struct nvme_sqe sqe = rig_rw(NVME_CMD_READ, 1, 0, 64);
	struct rig_req *rq = rig_send(io, &sqe, in, sizeof(in));

	assert_true(rig_wait(rq, NS_PER_S));
	assert_true(rq->was_lent);
	assert_int_equal(rq->got, 64 * RIG_BLOCK);
	assert_int_equal(rig_end(rq), 0);
}

static void ranges_and_sizes(void **state)
{
	assert_int_equal(rw(NVME_CMD_READ, 1, RIG_BLOCKS, 1, in, 512), DNR(NVME_SC_LBA_RANGE));
	assert_int_equal(rw(NVME_CMD_READ, 1, RIG_BLOCKS - 1, 2, in, 1024), DNR(NVME_SC_LBA_RANGE));
	assert_int_equal(rw(NVME_CMD_READ, 1, UINT64_MAX, 2, in, 1024), DNR(NVME_SC_LBA_RANGE));
	assert_int_equal(rw(NVME_CMD_WRITE, 1, RIG_BLOCKS - 1, 2, out, 1024), DNR(NVME_SC_LBA_RANGE));
	assert_int_equal(rw(NVME_CMD_READ, 1, RIG_BLOCKS - 1, 1, in, 512), 0);
	assert_int_equal(rw(NVME_CMD_READ, 1, 0, 257, in, sizeof(in)), DNR(NVME_SC_INVALID_FIELD)); /* MDTS */
	assert_int_equal(rw(NVME_CMD_READ, 2, 0, 33, in, sizeof(in)), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(rw(NVME_CMD_WRITE_ZEROES, 1, 0, RIG_BLOCKS, NULL, 0), 0); /* moves no data: no MDTS */
	assert_int_equal(rw(NVME_CMD_VERIFY, 1, RIG_BLOCKS, 1, NULL, 0), DNR(NVME_SC_LBA_RANGE));
}

/* What CNS 06h tells is what is enforced, also where blocks are large. */
static void limits_of_commands_without_data(void **state)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_IDENTIFY, 0);
	struct nvme_id_ctrl_nvm id;
	uint64_t blocks;

	sqe.identify.cns = NVME_CNS_CSI_CTRL;
	assert_int_equal(rig_cmd(admin, &sqe, &id, sizeof(id), NULL), 0);
	blocks = 4096ull << id.wzsl >> 12;
	add_disk("Large", 4096, 16384, 5);
	assert_int_equal(rw(NVME_CMD_WRITE_ZEROES, 5, 0, (uint32_t)blocks, NULL, 0), 0);
	assert_int_equal(rw(NVME_CMD_WRITE_ZEROES, 5, 0, (uint32_t)blocks + 1, NULL, 0), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(id.vsl, id.wzsl);
	assert_int_equal(rw(NVME_CMD_VERIFY, 5, 0, (uint32_t)blocks, NULL, 0), 0);
	assert_int_equal(rw(NVME_CMD_VERIFY, 5, 0, (uint32_t)blocks + 1, NULL, 0), DNR(NVME_SC_INVALID_FIELD));
}

static void namespaces_and_fields(void **state)
{
	struct nvme_sqe sqe;

	assert_int_equal(rw(NVME_CMD_READ, 0, 0, 1, in, 512), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(rw(NVME_CMD_READ, 3, 0, 1, in, 512), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(rw(NVME_CMD_READ, 1000000, 0, 1, in, 512), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(rw(NVME_CMD_FLUSH, NVME_NSID_ALL, 0, 1, NULL, 0), 0); /* both of them */
	assert_int_equal(rw(NVME_CMD_READ, NVME_NSID_ALL, 0, 1, in, 512), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(rw(0x7e, 1, 0, 1, in, 512), DNR(NVME_SC_INVALID_OPCODE));
	assert_int_equal(rw(NVME_CMD_RESV_REPORT, 1, 0, 1, in, 512), DNR(NVME_SC_HOSTID_FORMAT));
	sqe = rig_rw(NVME_CMD_READ, 1, 0, 1);
	sqe.rw.control = le16_of(NVME_RW_PRCHK_GUARD);
	assert_int_equal(rig_cmd(io, &sqe, in, 512, NULL), DNR(NVME_SC_INVALID_PI));
	sqe = rig_rw(NVME_CMD_WRITE, 1, 0, 1);
	sqe.rw.control = le16_of(1 << 4); /* a stream */
	assert_int_equal(rig_cmd(io, &sqe, out, 512, NULL), DNR(NVME_SC_INVALID_FIELD));
	sqe.rw.control = le16_of(NVME_RW_LR); /* as hard as ever */
	assert_int_equal(rig_cmd(io, &sqe, out, 512, NULL), 0);
	sqe = rig_rw(NVME_CMD_READ, 1, 0, 1);
	sqe.flags = 0; /* PRPs */
	assert_int_equal(rig_cmd(io, &sqe, in, 512, NULL), DNR(NVME_SC_INVALID_FIELD));
	sqe = rig_rw(NVME_CMD_WRITE, 1, 0, 1);
	sqe.rw.control = le16_of(NVME_RW_FUA);
	assert_int_equal(rig_cmd(io, &sqe, out, 512, NULL), 0);
	assert_int_equal(rw(NVME_CMD_FLUSH, 1, 0, 1, NULL, 0), 0);
}

static void compare_finds_differences(void **state)
{
	assert_int_equal(rw(NVME_CMD_WRITE, 1, 8, 16, out, 8192), 0);
	assert_int_equal(rw(NVME_CMD_COMPARE, 1, 8, 16, out, 8192), 0);
	memcpy(in, out, 8192);
	in[8000] ^= 1;
	assert_int_equal(rw(NVME_CMD_COMPARE, 1, 8, 16, in, 8192), DNR(NVME_SC_COMPARE_FAILED));
	assert_int_equal(rw(NVME_CMD_VERIFY, 1, 8, 16, NULL, 0), 0);
}

static bool zero(const uint8_t *p, size_t len)
{
	while (len && !p[len - 1])
		len--;
	return !len;
}

static void zeroes_and_deallocation(void **state)
{
	struct nvme_dsm_range r[3] = { { .nlb = le32_of(8), .slba = le64_of(0) }, { .nlb = le32_of(0), .slba = le64_of(9) },
	                               { .nlb = le32_of(8), .slba = le64_of(16) } };
	struct nvme_sqe sqe = rig_sqe(NVME_CMD_DSM, 1);

	sqe.dsm.nr = 2;
	assert_int_equal(rw(NVME_CMD_WRITE, 1, 0, 32, out, 32 * 512), 0);
	assert_int_equal(rig_cmd(io, &sqe, r, sizeof(r), NULL), 0); /* only hints */
	assert_int_equal(rw(NVME_CMD_READ, 1, 0, 32, in, 32 * 512), 0);
	assert_memory_equal(in, out, 32 * 512);
	sqe.dsm.attributes = le32_of(NVME_DSM_AD);
	assert_int_equal(rig_cmd(io, &sqe, r, sizeof(r), NULL), 0);
	assert_int_equal(rw(NVME_CMD_READ, 1, 0, 32, in, 32 * 512), 0);
	assert_true(zero(in, 4096) && zero(in + 8192, 4096));
	assert_memory_equal(in + 4096, out + 4096, 4096);
	r[2].slba = le64_of(RIG_BLOCKS - 4);
	assert_int_equal(rig_cmd(io, &sqe, r, sizeof(r), NULL), DNR(NVME_SC_LBA_RANGE));
	assert_int_equal(rw(NVME_CMD_WRITE_ZEROES, 1, 8, 8, NULL, 0), 0);
	assert_int_equal(rw(NVME_CMD_READ, 1, 0, 32, in, 32 * 512), 0);
	assert_true(zero(in, 12 * 1024));
}

static void copies(void **state)
{
	struct nvme_copy_range r[2] = { { .slba = le64_of(8), .nlb = le16_of(7) },
	                                { .slba = le64_of(0), .nlb = le16_of(3) } };
	struct nvme_sqe sqe = rig_sqe(NVME_CMD_COPY, 1);

	sqe.copy.sdlba = le64_of(100);
	sqe.copy.nr = 1;
	assert_int_equal(rw(NVME_CMD_WRITE, 1, 0, 16, out, 8192), 0);
	assert_int_equal(rig_cmd(io, &sqe, r, sizeof(r), NULL), 0);
	assert_int_equal(rw(NVME_CMD_READ, 1, 100, 12, in, 12 * 512), 0);
	assert_memory_equal(in, out + 4096, 4096);
	assert_memory_equal(in + 4096, out, 2048);
	sqe.copy.df_prinfor = 1;
	assert_int_equal(rig_cmd(io, &sqe, r, sizeof(r), NULL), DNR(NVME_SC_INVALID_FIELD));
	sqe.copy.df_prinfor = 0;
	sqe.copy.sdlba = le64_of(RIG_BLOCKS - 2);
	assert_int_equal(rig_cmd(io, &sqe, r, sizeof(r), NULL), DNR(NVME_SC_LBA_RANGE));
}

/* As many ranges as a command can name, in order: later ones see what earlier ones wrote. */
static void copies_many_ranges(void **state)
{
	struct nvme_copy_range r[NVMF_COPY_RANGES_MAX];
	struct nvme_sqe sqe = rig_sqe(NVME_CMD_COPY, 1);

	assert_int_equal(rw(NVME_CMD_WRITE, 1, 0, 1, out, 512), 0);
	for (uint32_t i = 0; i < NVMF_COPY_RANGES_MAX; i++)
		r[i] = (struct nvme_copy_range){ .slba = le64_of(i) };
	sqe.copy.sdlba = le64_of(1);
	sqe.copy.nr = NVMF_COPY_RANGES_MAX - 1;
	assert_int_equal(rig_cmd(io, &sqe, r, sizeof(r), NULL), 0);
	assert_int_equal(rw(NVME_CMD_READ, 1, NVMF_COPY_RANGES_MAX, 1, in, 512), 0);
	assert_memory_equal(in, out, 512);
}

static void host_knows_formats(uint16_t cdfe)
{
	struct nvme_feat_host_behavior b = { .cdfe = le16_of(cdfe) };
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_SET_FEATURES, 0);

	sqe.features.fid = NVME_FEAT_HOST_BEHAVIOR;
	assert_int_equal(rig_cmd(admin, &sqe, &b, sizeof(b), NULL), 0);
}

static uint16_t copy_from(const struct nvme_copy_range *r, uint32_t count, uint64_t lba, uint32_t *ret_dw0)
{
	struct nvme_sqe sqe = rig_sqe(NVME_CMD_COPY, 1);
	struct nvme_cqe cqe;
	uint16_t status;

	sqe.copy.sdlba = le64_of(lba);
	sqe.copy.nr = (uint8_t)(count - 1);
	sqe.copy.df_prinfor = 2;
	status = rig_cmd(io, &sqe, (void *)(uintptr_t)r, count * (uint32_t)sizeof(*r), &cqe);
	*ret_dw0 = le32_get(cqe.dw0);
	return status;
}

/* Ranges of other namespaces, of which a host that did not say that it knows them cannot speak. */
static void copies_from_other_namespaces(void **state)
{
	struct nvme_copy_range r[2] = { { .snsid = le32_of(5), .slba = le64_of(8), .nlb = le16_of(7) },
	                                { .snsid = le32_of(1), .slba = le64_of(0), .nlb = le16_of(3) } };
	uint32_t dw0;

	add_disk("Other", 512, 64, 5);
	assert_int_equal(rw(NVME_CMD_WRITE, 5, 0, 16, out, 8192), 0);
	assert_int_equal(rw(NVME_CMD_WRITE, 1, 0, 16, out + 512, 8192), 0);
	assert_int_equal(copy_from(r, 2, 100, &dw0), DNR(NVME_SC_INVALID_FIELD));
	host_knows_formats(1 << 2);
	assert_int_equal(copy_from(r, 2, 100, &dw0), 0);
	assert_int_equal(rw(NVME_CMD_READ, 1, 100, 12, in, 12 * 512), 0);
	assert_memory_equal(in, out + 4096, 4096);
	assert_memory_equal(in + 4096, out + 512, 2048);
	r[1].sopt = le16_of(NVME_COPY_SOPT_FAST_ONLY); /* a RAM disk copies its own blocks by itself, others' not */
	assert_int_equal(copy_from(r, 2, 200, &dw0), 0);
	r[0].sopt = le16_of(NVME_COPY_SOPT_FAST_ONLY);
	assert_int_equal(copy_from(r, 2, 200, &dw0), DNR(NVME_SC_FAST_COPY_NOT_POSSIBLE));
	rig_remove_ns(&rig, 5);
	assert_int_equal(copy_from(r, 2, 200, &dw0), DNR(NVME_SC_INVALID_FIELD)); /* not active */
}

static void copies_are_refused_as_a_whole(void **state)
{
	struct nvme_copy_range r[2] = { { .snsid = le32_of(1), .slba = le64_of(8), .nlb = le16_of(7) },
	                                { .snsid = le32_of(1), .slba = le64_of(0), .nlb = le16_of(3) } };
	uint32_t dw0;

	host_knows_formats(1 << 2);
	assert_int_equal(rw(NVME_CMD_WRITE, 1, 0, 16, out, 8192), 0);
	assert_int_equal(copy_from(r, 2, 12, &dw0), DNR(NVME_SC_OVERLAPPING_IO_RANGE));
	r[1].snsid = le32_of(2); /* blocks of 4 KiB */
	assert_int_equal(copy_from(r, 2, 100, &dw0), DNR(NVME_SC_INCOMPATIBLE_NS));
	r[1].snsid = le32_of(NVME_NSID_ALL);
	assert_int_equal(copy_from(r, 2, 100, &dw0), DNR(NVME_SC_INVALID_NS));
	r[1].snsid = le32_of(1);
	r[1].slba = le64_of(RIG_BLOCKS - 1);
	assert_int_equal(copy_from(r, 2, 100, &dw0), DNR(NVME_SC_LBA_RANGE));
	r[1].slba = le64_of(0);
	r[1].nlb = le16_of(0xffff);
	assert_int_equal(copy_from(r, 2, 100, &dw0), DNR(NVME_SC_LBA_RANGE)); /* where it goes */
	assert_int_equal(dw0, 0);
	assert_int_equal(rw(NVME_CMD_READ, 1, 100, 8, in, 4096), 0);
	assert_int_equal(in[0] | in[511] | in[4095], 0); /* the first range was not copied, either */
}

/* What goes wrong on the way says which range was not copied. */
static void copy_says_how_far_it_came(void **state)
{
	struct nvme_copy_range r[3] = { { .slba = le64_of(0) }, { .slba = le64_of(9) }, { .slba = le64_of(2) } };
	struct nvme_sqe sqe = rig_sqe(NVME_CMD_COPY, 1);
	struct nvme_cqe cqe;

	assert_int_equal(rw(NVME_CMD_WRITE, 1, 0, 16, out, 8192), 0);
	assert_int_equal(rw(NVME_CMD_WRITE_UNCOR, 1, 9, 1, NULL, 0), 0);
	sqe.copy.sdlba = le64_of(100);
	sqe.copy.nr = 2;
	assert_int_equal(rig_cmd(io, &sqe, r, sizeof(r), &cqe), NVME_SC_WRITE_FAULT);
	assert_int_equal(le32_get(cqe.dw0), 1);
	assert_int_equal(rw(NVME_CMD_READ, 1, 100, 1, in, 512), 0);
	assert_memory_equal(in, out, 512);
}

static uint16_t lost(uint32_t nsid, uint64_t lba, uint16_t rl, uint8_t atype, struct nvme_lba_status *ret, uint32_t len)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_GET_LBA_STATUS, nsid);

	sqe.get_lba_status.slba = le64_of(lba);
	sqe.get_lba_status.mndw = le32_of(len / 4 - 1);
	sqe.get_lba_status.rl = le16_of(rl);
	sqe.get_lba_status.atype = atype;
	memset(ret, 0xee, len);
	return rig_cmd(admin, &sqe, ret, len, NULL);
}

/* What was declared uncorrectable, as far as there is room, until it is written. */
static void lost_blocks_are_listed(void **state)
{
	struct nvme_lba_status *list = (struct nvme_lba_status *)in;
	uint32_t len = sizeof(*list) + 2 * sizeof(list->descs[0]);

	assert_int_equal(lost(1, 0, 0, 0x11, list, len), 0);
	assert_int_equal(le32_get(list->nlsd), 0);
	assert_int_equal(list->cmpc, 2);
	assert_int_equal(rw(NVME_CMD_WRITE_UNCOR, 1, 60, 70, NULL, 0), 0);
	assert_int_equal(rw(NVME_CMD_WRITE_UNCOR, 1, 200, 1, NULL, 0), 0);
	assert_int_equal(rw(NVME_CMD_WRITE_UNCOR, 1, RIG_BLOCKS - 1, 1, NULL, 0), 0);
	assert_int_equal(rw(NVME_CMD_READ, 1, 129, 1, out, 512), NVME_SC_READ_ERROR);
	assert_int_equal(lost(1, 0, 0, 0x11, list, len), 0);
	assert_int_equal(le32_get(list->nlsd), 2);
	assert_int_equal(list->cmpc, 1);
	assert_int_equal(le64_get(list->descs[0].dslba), 60);
	assert_int_equal(le32_get(list->descs[0].nlb), 70);
	assert_int_equal(le64_get(list->descs[1].dslba), 200);
	assert_int_equal(lost(1, 201, 0, 0x10, list, len), 0);
	assert_int_equal(le32_get(list->nlsd), 1);
	assert_int_equal(le64_get(list->descs[0].dslba), RIG_BLOCKS - 1);
	assert_int_equal(list->cmpc, 2);
	assert_int_equal(rw(NVME_CMD_WRITE, 1, 61, 1, out, 512), 0);
	assert_int_equal(lost(1, 61, 10, 0x11, list, len), 0);
	assert_int_equal(le32_get(list->nlsd), 1);
	assert_int_equal(le64_get(list->descs[0].dslba), 62);
	assert_int_equal(le32_get(list->descs[0].nlb), 9);
}

static void lost_blocks_of_what_is_wrong(void **state)
{
	struct nvme_lba_status *list = (struct nvme_lba_status *)in;

	assert_int_equal(lost(1, RIG_BLOCKS, 0, 0x11, list, 64), DNR(NVME_SC_LBA_RANGE));
	assert_int_equal(lost(1, 0, 0, 0x12, list, 64), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(lost(1, 0, 0, 0x11, list, 4), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(lost(3, 0, 0, 0x11, list, 64), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(lost(2, 0, 0, 0x11, list, 64), DNR(NVME_SC_INVALID_FIELD)); /* remembers nothing */
}

/* A device that cannot give blocks back has heard the hint. */
static void deallocation_is_a_hint(void **state)
{
	struct nvme_dsm_range r = { .nlb = le32_of(1) };
	struct nvme_sqe sqe = rig_sqe(NVME_CMD_DSM, 2);

	sqe.dsm.attributes = le32_of(NVME_DSM_AD | NVME_DSM_IDR | NVME_DSM_IDW);
	assert_int_equal(rig_cmd(io, &sqe, &r, sizeof(r), NULL), 0);
	r.slba = le64_of(UINT64_MAX);
	assert_int_equal(rig_cmd(io, &sqe, &r, sizeof(r), NULL), DNR(NVME_SC_LBA_RANGE));
}

static void data_too_short_is_the_transports_to_refuse(void **state)
{
	assert_int_equal(rw(NVME_CMD_WRITE, 1, 0, 4, out, 512), DNR(NVME_SC_SGL_INVALID_DATA));
	assert_int_equal(rw(NVME_CMD_WRITE, 1, 0, 4, out, 2048), 0);
}

/* --- compare and write ------------------------------------------------------------------------------ */

static struct rig_req *half(int fuse, uint8_t opc, uint64_t lba, uint32_t blocks, uint8_t *data)
{
	struct nvme_sqe sqe = rig_rw(opc, 1, lba, blocks);

	sqe.flags |= (uint8_t)fuse;
	return rig_send(io, &sqe, data, blocks * RIG_BLOCK);
}

static void fused_pair_writes_if_equal(void **state)
{
	struct rig_req *first, *second;

	assert_int_equal(rw(NVME_CMD_WRITE, 1, 5, 1, out, 512), 0);
	first = half(1, NVME_CMD_COMPARE, 5, 1, out);
	rig_pass(NS_PER_MS);
	assert_false(first->done); /* alone it does nothing */
	second = half(2, NVME_CMD_WRITE, 5, 1, out + 512);
	assert_int_equal(rig_end(first), 0);
	assert_int_equal(rig_end(second), 0);
	assert_int_equal(rw(NVME_CMD_READ, 1, 5, 1, in, 512), 0);
	assert_memory_equal(in, out + 512, 512);
	first = half(1, NVME_CMD_COMPARE, 5, 1, out);
	second = half(2, NVME_CMD_WRITE, 5, 1, out);
	assert_int_equal(rig_end(first), DNR(NVME_SC_COMPARE_FAILED));
	assert_int_equal(rig_end(second), DNR(NVME_SC_FUSED_FAIL));
	assert_int_equal(rw(NVME_CMD_READ, 1, 5, 1, in, 512), 0);
	assert_memory_equal(in, out + 512, 512);
}

/* As much as the device writes as one. */
static void fused_pair_of_a_page(void **state)
{
	struct rig_req *first, *second;

	assert_int_equal(rw(NVME_CMD_WRITE, 1, 8, 8, out, 4096), 0);
	first = half(1, NVME_CMD_COMPARE, 8, 8, out);
	second = half(2, NVME_CMD_WRITE, 8, 8, out + 4096);
	assert_int_equal(rig_end(first), 0);
	assert_int_equal(rig_end(second), 0);
	memcpy(in, out + 4096, 4096);
	in[4095] ^= 1;
	first = half(1, NVME_CMD_COMPARE, 8, 8, in);
	second = half(2, NVME_CMD_WRITE, 8, 8, out);
	assert_int_equal(rig_end(first), DNR(NVME_SC_COMPARE_FAILED));
	assert_int_equal(rig_end(second), DNR(NVME_SC_FUSED_FAIL));
	assert_int_equal(rw(NVME_CMD_READ, 1, 8, 8, in, 4096), 0);
	assert_memory_equal(in, out + 4096, 4096);
}

#define PAIRS (3 * NVMF_FUSED_SLOTS)

static void send_pairs(struct rig_req *first[PAIRS], struct rig_req *second[PAIRS])
{
	for (uint64_t i = 0; i < PAIRS; i++) {
		first[i] = half(1, NVME_CMD_COMPARE, i, 1, in);
		second[i] = half(2, NVME_CMD_WRITE, i, 1, out);
	}
}

/* More pairs at once than a core has room for wait in line, and none is refused. */
static void fused_pairs_wait_for_a_slot(void **state)
{
	struct rig_req *first[PAIRS], *second[PAIRS];

	send_pairs(first, second);
	for (uint32_t i = 0; i < PAIRS; i++) {
		assert_int_equal(rig_end(first[i]), 0);
		assert_int_equal(rig_end(second[i]), 0);
	}
	assert_int_equal(rw(NVME_CMD_READ, 1, PAIRS - 1, 1, in, 512), 0);
	assert_memory_equal(in, out, 512);
}

/* A connection that ends takes its own out of the line. */
static void fused_pairs_that_wait_are_closed(void **state)
{
	struct rig_req *first[PAIRS], *second[PAIRS];

	send_pairs(first, second);
	rig_close(io);
	assert_true(rig_gone(io));
	for (uint32_t i = 0; i < PAIRS; i++) {
		uint16_t a = rig_end(first[i]), b = rig_end(second[i]);

		assert_true(!a == !b);
	}
}

/* Halves must follow each other, fit each other, and fail together. */
static void fused_halves_fail_together(void **state)
{
	struct rig_req *first = half(1, NVME_CMD_COMPARE, 5, 1, out), *second;

	assert_int_equal(rw(NVME_CMD_FLUSH, 1, 0, 1, NULL, 0), 0);
	assert_int_equal(rig_end(first), DNR(NVME_SC_FUSED_MISSING));
	assert_int_equal(rig_end(half(2, NVME_CMD_WRITE, 5, 1, out)), DNR(NVME_SC_FUSED_MISSING));
	first = half(1, NVME_CMD_COMPARE, 5, 1, out);
	second = half(2, NVME_CMD_WRITE, 6, 1, out);
	assert_int_equal(rig_end(first), DNR(NVME_SC_FUSED_FAIL));
	assert_int_equal(rig_end(second), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(rig_end(half(1, NVME_CMD_COMPARE, 7, 2, out)), DNR(NVME_SC_AWU_EXCEEDED)); /* NABSN: 8 */
	assert_int_equal(rig_end(half(2, NVME_CMD_WRITE, 7, 2, out)), DNR(NVME_SC_FUSED_FAIL));
	assert_int_equal(rig_end(half(1, NVME_CMD_COMPARE, 8, 9, out)), DNR(NVME_SC_AWU_EXCEEDED));
	assert_int_equal(rig_end(half(2, NVME_CMD_WRITE, 8, 9, out)), DNR(NVME_SC_FUSED_FAIL));
	assert_int_equal(rig_end(half(1, NVME_CMD_READ, 5, 1, out)), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(rig_end(half(3, NVME_CMD_WRITE, 5, 1, out)), DNR(NVME_SC_INVALID_FIELD));
	first = half(1, NVME_CMD_COMPARE, 5, 1, out);
	second = half(1, NVME_CMD_COMPARE, 5, 1, out);
	assert_int_equal(rig_end(first), DNR(NVME_SC_FUSED_MISSING));
	rig_close(io);
	assert_true(rig_gone(io));
	assert_int_equal(rig_end(second), NVME_SC_ABORT_QUEUE);
}

/* --- namespaces under I/O ------------------------------------------------------------------------------- */

static bool settled(void *arg)
{
	struct rig_req **rq = arg;

	for (int i = 0; i < 32; i++)
		if (!rq[i]->done)
			return false;
	return true;
}

/* Commands that began end as they would have; later ones find no namespace; nothing else notices. */
static void namespace_removed_under_writes(void **state)
{
	struct rig_req *rq[32];
	uint32_t ok = 0, gone = 0;

	for (int i = 0; i < 32; i++) {
		struct nvme_sqe sqe = rig_rw(NVME_CMD_WRITE, 1 + (i & 1), (uint64_t)i * 8, 1);

		rq[i] = rig_send(io, &sqe, out, 4096);
	}
	assert_int_equal(rig_remove_ns(&rig, 1), 0);
	assert_true(sim_run(settled, rq, NS_PER_S));
	for (int i = 0; i < 32; i++) {
		uint16_t status = rig_end(rq[i]);

		ok += status == 0;
		gone += status == DNR(NVME_SC_INVALID_NS);
		if (i & 1)
			assert_int_equal(status, 0);
	}
	assert_int_equal(ok + gone, 32);
	assert_int_equal(rw(NVME_CMD_READ, 1, 0, 1, in, 512), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(rw(NVME_CMD_READ, 2, 0, 1, in, 4096), 0);
	assert_int_equal(rig_add_ns(&rig, "ram", 7), 0);
	assert_int_equal(rw(NVME_CMD_READ, 7, 0, 1, in, 512), 0);
}

static void forget(void *arg, int rc)
{
	*(bool *)arg = rc == 0;
}

static void unregister_ram(void *arg)
{
	bdev_unregister(bdev_find(rig.reg, "ram"), forget, arg);
}

static bool is_true(void *arg)
{
	return *(bool *)arg;
}

/* A device that is pulled takes its namespace along, by itself. */
static void device_removed(void **state)
{
	bool removed = false;

	sim_as(core_control(rig.core), unregister_ram, &removed);
	assert_true(sim_run(is_true, &removed, NS_PER_S));
	assert_int_equal(rw(NVME_CMD_READ, 1, 0, 1, in, 512), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(rig.target->ns_alive, 1);
}

/* Memory that a device has lent for data to come keeps the device, but not the change: who waits for it is the device's
 * removal alone. The data, when it has come, finds no namespace. */
static void device_removed_while_its_memory_is_lent(void **state)
{
	struct nvme_sqe sqe = rig_rw(NVME_CMD_WRITE, 1, 64, 16);
	bool removed = false;
	struct rig_req *came, *lost;

	rig.data_is_late = true;
	came = rig_send(io, &sqe, out, 8192);
	sqe = rig_rw(NVME_CMD_WRITE, 1, 128, 16);
	lost = rig_send(io, &sqe, out, 8192);
	rig.data_is_late = false;
	assert_true(came->write_lent && lost->write_lent);
	sim_as(core_control(rig.core), unregister_ram, &removed);
	assert_false(sim_run(is_true, &removed, NS_PER_S));
	rig_data_came(came);
	assert_int_equal(rig_end(came), DNR(NVME_SC_INVALID_NS));
	assert_false(removed);
	rig_data_lost(lost);
	rig_end(lost);
	assert_true(sim_run(is_true, &removed, NS_PER_S));
}

/* A queue that closes meanwhile, and data that came too late for it: the memory goes back either way. */
static void closed_while_memory_is_lent(void **state)
{
	struct nvme_sqe sqe = rig_rw(NVME_CMD_WRITE, 1, 64, 16);
	struct rig_req *came, *lost;

	rig.data_is_late = true;
	lost = rig_send(io, &sqe, out, 8192);
	came = rig_send(io, &sqe, out, 8192);
	rig.data_is_late = false;
	assert_true(came->write_lent && lost->write_lent);
	rig_close(io);
	rig_data_lost(lost);
	rig_data_came(came);
	rig_end(lost);
	assert_int_equal(rig_end(came), NVME_SC_ABORT_QUEUE);
	assert_true(rig_gone(io));
}

struct abort_try {
	uint16_t cid;
	enum nvmf_aborted how;
};

static void abort_here(void *arg)
{
	struct abort_try *a = arg;

	struct nvmf_req *victim;

	a->how = nvmf_qpair_abort(&io->qp, a->cid, &victim);
}

/* A host that is told "aborted" would take what it wrote for not written. */
static void abort_of_what_is_done_already(void **state)
{
	struct nvme_sqe sqe = rig_rw(NVME_CMD_WRITE, 1, 0, 1);
	struct rig_req *rq = rig_send(io, &sqe, out, 512); /* its answer waits for the end of the pass */
	struct abort_try a = { .cid = le16_get(rq->req.cmd.cid) };

	assert_false(rq->done);
	sim_as(io->qp.reactor, abort_here, &a);
	assert_int_equal(a.how, NVMF_ABORT_NOT);
	assert_int_equal(rig_end(rq), 0);
}

static void abort_of_what_is_not_there(void **state)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_ABORT_CMD, 0);
	struct nvme_cqe cqe;

	for (uint16_t sqid = 0; sqid < 3; sqid++) {
		sqe.abort.sqid = le16_of(sqid);
		sqe.abort.cid = le16_of(0xbeef);
		assert_int_equal(rig_cmd(admin, &sqe, NULL, 0, &cqe), 0);
		assert_int_equal(le32_get(cqe.dw0), 1);
	}
	sqe.abort.sqid = le16_of(0xffff);
	assert_int_equal(rig_cmd(admin, &sqe, NULL, 0, &cqe), 0);
	assert_int_equal(le32_get(cqe.dw0), 1);
}

/* Closing waits for commands in the device's hands, and answers each once. */
static void closed_under_writes(void **state)
{
	struct rig_req *rq[32];

	for (int i = 0; i < 32; i++) {
		struct nvme_sqe sqe = rig_rw(NVME_CMD_WRITE, 1, (uint64_t)i * 256 % 3840, 256);

		rq[i] = rig_send(io, &sqe, out, sizeof(out));
	}
	rig_close(io);
	assert_true(rig_gone(io));
	assert_true(settled(rq));
	for (int i = 0; i < 32; i++)
		rig_end(rq[i]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(written_is_read), T(reads_are_lent), T(ranges_and_sizes), T(limits_of_commands_without_data),
		T(namespaces_and_fields),
		T(compare_finds_differences),
		T(zeroes_and_deallocation), T(deallocation_is_a_hint), T(copies), T(copies_many_ranges),
		T(lost_blocks_are_listed), T(lost_blocks_of_what_is_wrong),
		T(copies_from_other_namespaces), T(copies_are_refused_as_a_whole), T(copy_says_how_far_it_came),
		T(data_too_short_is_the_transports_to_refuse),
		T(fused_pair_writes_if_equal), T(fused_pair_of_a_page), T(fused_pairs_wait_for_a_slot),
		T(fused_pairs_that_wait_are_closed),
		T(fused_halves_fail_together),
		T(namespace_removed_under_writes), T(device_removed),
		T(device_removed_while_its_memory_is_lent), T(closed_while_memory_is_lent), T(abort_of_what_is_not_there),
		T(abort_of_what_is_done_already), T(closed_under_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
