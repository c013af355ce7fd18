/* SPDX-License-Identifier: BSD-3-Clause */
/* discovery_test.c: discovery.c over a log in memory that changes while it is read, lies about itself, or fails. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "nvme/nvme.h"

#define LOG_MAX 100u

struct nvme_ctrlr {
	struct nvme_ctrlr_info info;
	uint8_t log[sizeof(struct nvmf_discovery_log) + LOG_MAX * sizeof(struct nvmf_disc_log_entry)];
	uint32_t reads, changes_left, done, letting_go;
	uint32_t change_at;             /* the read after which an entry more is there */
	uint32_t fail_at;
};

static struct nvme_ctrlr target;

static struct nvmf_discovery_log *log_of(struct nvme_ctrlr *c)
{
	return (struct nvmf_discovery_log *)c->log;
}

const struct nvme_ctrlr_info *nvme_ctrlr_info(const struct nvme_ctrlr *c)
{
	return &c->info;
}

static void set_text(char *field, size_t size, const char *text)
{
	memset(field, ' ', size);
	memcpy(field, text, strlen(text));
}

static void add(struct nvme_ctrlr *c)
{
	uint32_t n = (uint32_t)le64_get(log_of(c)->numrec);
	struct nvmf_disc_log_entry *e = &log_of(c)->entries[n];
	char nqn[64];

	snprintf(nqn, sizeof(nqn), "nqn.2026-01.io.gantry:disk%u", n);
	*e = (struct nvmf_disc_log_entry){ .trtype = NVMF_TRTYPE_TCP, .adrfam = NVMF_ADRFAM_IP4,
		                           .subtype = NVMF_SUBTYPE_NVME, .cntlid = le16_of(0xffff) };
	memcpy(e->subnqn, nqn, strlen(nqn));
	set_text(e->traddr, sizeof(e->traddr), "192.0.2.1");
	set_text(e->trsvcid, sizeof(e->trsvcid), "4420");
	log_of(c)->numrec = le64_of(n + 1);
	log_of(c)->genctr = le64_of(le64_get(log_of(c)->genctr) + 1);
}

/* Answers at once, which no real controller does; nothing here minds. */
void nvme_ctrlr_submit_admin(struct nvme_ctrlr *c, struct nvme_op *op)
{
	const struct nvme_get_log_page *cmd = &op->cmd.get_log_page;
	uint64_t offset = le64_get(cmd->lpo), there;

	must(cmd->lid == NVME_LOG_DISCOVER && op->cmd.opc == NVME_ADMIN_GET_LOG_PAGE);
	must((le16_get(cmd->numdl) + 1u) * 4 == op->data_len && op->iovs->iov_len == op->data_len);
	there = sizeof(struct nvmf_discovery_log) + le64_get(log_of(c)->numrec) * sizeof(struct nvmf_disc_log_entry);
	if (le64_get(log_of(c)->numrec) <= LOG_MAX) {
		must(offset + op->data_len <= there);
		memcpy(op->iovs->iov_base, c->log + offset, op->data_len);
	} else {
		memcpy(op->iovs->iov_base, c->log, sizeof(struct nvmf_discovery_log));
	}
	c->letting_go += !(cmd->lsp_rae & 0x80);
	op->cpl = (struct nvme_cqe){ 0 };
	if (++c->reads == c->fail_at)
		nvme_cqe_set_status(&op->cpl, NVME_SC_HOST_PATH_ERROR);
	if (c->changes_left && c->reads >= c->change_at) {
		c->changes_left--;
		add(c);
	}
	op->done(op);
}

static void is_done(struct nvme_discovery *d)
{
	must(d->ctrlr == &target);
	target.done++;
}

static struct nvme_discovery read_log(uint32_t entries)
{
	struct nvme_discovery d = { .arg = &target };

	target.info.max_io_bytes = target.info.max_io_bytes ? target.info.max_io_bytes : UINT32_MAX;
	for (uint32_t i = 0; i < entries; i++)
		add(&target);
	nvme_discovery_read(&d, &target, is_done);
	must(target.done == 1 && d.arg == &target);
	return d;
}

static int fresh(void **state)
{
	(void)state;
	target = (struct nvme_ctrlr){ 0 };
	return 0;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void an_empty_log_has_no_entries(void **state)
{
	struct nvme_discovery d = read_log(0);

	assert_int_equal(d.err.code, 0);
	assert_int_equal(d.count, 0);
	assert_int_equal(target.letting_go, 1);
	nvme_discovery_fini(&d);
}

static void a_long_log_comes_in_pieces_and_in_order(void **state)
{
	struct nvme_discovery d;
	char nqn[64];

	target.info.max_io_bytes = 4096;
	d = read_log(50);
	assert_int_equal(d.err.code, 0);
	assert_int_equal(d.count, 50);
	assert_int_equal(d.left_out, 0);
	assert_int_equal(target.reads, 1 + 13 + 1);
	assert_int_equal(target.letting_go, 1); /* the event is not lost before all is read */
	for (uint32_t i = 0; i < 50; i++) {
		snprintf(nqn, sizeof(nqn), "nqn.2026-01.io.gantry:disk%u", i);
		assert_string_equal(d.entries[i].subnqn, nqn);
		assert_string_equal(d.entries[i].traddr, "192.0.2.1");
		assert_string_equal(d.entries[i].trsvcid, "4420");
	}
	nvme_discovery_fini(&d);
}

static void a_log_that_changes_is_read_again(void **state)
{
	struct nvme_discovery d;

	target.change_at = 2;
	target.changes_left = 1;
	d = read_log(20);
	assert_int_equal(d.err.code, 0);
	assert_int_equal(d.count, 21);
	assert_int_equal(d.genctr, 21);
	nvme_discovery_fini(&d);
}

static void a_log_that_never_rests_is_an_error(void **state)
{
	struct nvme_discovery d;

	target.change_at = 1;
	target.changes_left = UINT32_MAX;
	d = read_log(1);
	assert_int_equal(d.err.code, -EAGAIN);
	assert_null(d.entries);
}

static void any_read_may_fail(void **state)
{
	for (uint32_t at = 1; at <= 3; at++) {
		struct nvme_discovery d;

		fresh(NULL);
		target.fail_at = at;
		d = read_log(2);
		assert_int_equal(d.err.code, -EIO);
		assert_int_equal(target.reads, at);
		assert_null(d.entries);
		assert_int_equal(d.count, 0);
	}
}

static void what_a_log_claims_is_limited(void **state)
{
	struct nvme_discovery d;

	log_of(&target)->numrec = le64_of(NVME_DISCOVERY_ENTRIES_MAX + 1);
	d = read_log(0);
	assert_int_equal(d.err.code, -EPROTO);
	fresh(NULL);
	log_of(&target)->recfmt = le16_of(1);
	d = read_log(0);
	assert_int_equal(d.err.code, -EPROTO);
}

static void entries_without_proper_texts_are_left_out(void **state)
{
	struct nvme_discovery d;

	for (uint32_t i = 0; i < 4; i++)
		add(&target);
	log_of(&target)->entries[0].subnqn[3] = '\n';
	memset(log_of(&target)->entries[1].subnqn, 'n', sizeof(log_of(&target)->entries[1].subnqn));
	memset(log_of(&target)->entries[2].subnqn, 0, sizeof(log_of(&target)->entries[2].subnqn));
	d = read_log(0);
	assert_int_equal(d.err.code, 0);
	assert_int_equal(d.count, 1);
	assert_int_equal(d.left_out, 3);
	assert_string_equal(d.entries[0].subnqn, "nqn.2026-01.io.gantry:disk3");
	nvme_discovery_fini(&d);
}

static void an_entry_is_a_path(void **state)
{
	struct nvme_discovery_entry entry = { .trtype = NVMF_TRTYPE_TCP, .adrfam = NVMF_ADRFAM_IP6, .traddr = "::1",
		                              .subnqn = "nqn.a", .subtype = NVMF_SUBTYPE_NVME };
	struct nvme_path path = { .hostnqn = "nqn.mine", .nsid = 7 };
	struct err e = { 0 };

	assert_int_equal(nvme_discovery_entry_path(&entry, &path, &e), 0);
	assert_int_equal(path.adrfam, NET_IPV6);
	assert_string_equal(path.traddr, "::1");
	assert_string_equal(path.trsvcid, "4420");
	assert_string_equal(path.subnqn, "nqn.a");
	assert_string_equal(path.hostnqn, "nqn.mine");
	snprintf(path.traddr, sizeof(path.traddr), "fe80::2%%lo"); /* a link-local one is on the same link */
	snprintf(entry.traddr, sizeof(entry.traddr), "fe80::1");
	assert_int_equal(nvme_discovery_entry_path(&entry, &path, &e), 0);
	assert_string_equal(path.traddr, "fe80::1%lo");
	snprintf(entry.traddr, sizeof(entry.traddr), "2001:db8::1");
	assert_int_equal(nvme_discovery_entry_path(&entry, &path, &e), 0);
	assert_string_equal(path.traddr, "2001:db8::1");
	assert_int_equal(path.nsid, 0);
	entry.subtype = NVMF_SUBTYPE_DISCOVERY;
	assert_int_equal(nvme_discovery_entry_path(&entry, &path, &e), 0);
	assert_string_equal(path.trsvcid, "8009");
	entry.trtype = NVMF_TRTYPE_RDMA;
	assert_int_equal(nvme_discovery_entry_path(&entry, &path, &e), 0);
	assert_string_equal(path.trtype, "RDMA");
	assert_string_equal(path.trsvcid, "4420"); /* discovery has no port of its own there */
	entry.trtype = NVMF_TRTYPE_FC;
	assert_int_equal(nvme_discovery_entry_path(&entry, &path, &e), -EPROTONOSUPPORT);
	assert_non_null(strstr(e.text, "fc"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_empty_log_has_no_entries, fresh),
		cmocka_unit_test_setup(a_long_log_comes_in_pieces_and_in_order, fresh),
		cmocka_unit_test_setup(a_log_that_changes_is_read_again, fresh),
		cmocka_unit_test_setup(a_log_that_never_rests_is_an_error, fresh),
		cmocka_unit_test_setup(any_read_may_fail, fresh),
		cmocka_unit_test_setup(what_a_log_claims_is_limited, fresh),
		cmocka_unit_test_setup(entries_without_proper_texts_are_left_out, fresh),
		cmocka_unit_test(an_entry_is_a_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
