/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrlr_test.c: a controller from its address to its end, and what it does in between.
 *
 * What a target says is used as far as it makes sense; where it does not, or nothing comes, that is told once, in
 * time, with the reason.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "nvme/test_rig.h"

static struct {                 /* what callbacks and hooks saw; zeroed by go() */
	uint32_t seen[4], events, late, done;
	uint8_t type, info, log_page;
	struct err err;
	bool e_given;
} saw;

static void go(struct rig *r)
{
	memset(&saw, 0, sizeof(saw));
	rig_begin(r, 7, SIM_NET_ACCEPT);
}

static void go_io(struct rig *r)
{
	memset(&saw, 0, sizeof(saw));
	rig_begin_io(r, 7);
}

static void a_while(uint64_t ms) { sim_run(NULL, NULL, ms * NS_PER_MS); }

static bool is_opcode(const struct rig_peer *p, const struct nvme_sqe *cmd, uint8_t opc)
{
	return p->connected && !p->qid && cmd->opc == opc;
}

/* --- namespaces --------------------------------------------------------------------------------------------- */

static void scanned(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	(void)c;
	(void)arg;
	saw.done++;
	saw.e_given = e;
	if (e)
		saw.err = *e;
}

static void scan(void *arg) { nvme_ctrlr_scan(((struct rig *)arg)->ctrlr, scanned, arg); }

static void namespaces_are_all_found(void **state)
{
	struct rig r = { .namespaces = 2500, .stride = 3, .opts.connect_timeout_ms = 5000 };
	const struct nvme_ctrlr_info *info;
	static const uint8_t uuid[] = { 3, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
	                                1, 8, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9 };

	memcpy(r.descs, uuid, sizeof(uuid));
	r.id.ver = le32_of(NVME_VERSION(1, 4, 0));
	r.ns.nmic = NVME_NMIC_SHARED;
	r.ns.anagrpid = le32_of(5);
	r.ns.noiob = le16_of(256);
	go(&r);
	assert_int_equal(r.err.code, 0);
	info = nvme_ctrlr_info(r.ctrlr);
	assert_int_equal(info->ns_count, 2500);
	for (uint32_t i = 0; i < info->ns_count; i++)
		assert_int_equal(info->ns[i].nsid, 1 + 3 * i);
	assert_true(info->ns[0].usable && info->ns[0].has_uuid && info->ns[0].has_eui64 && !info->ns[0].has_nguid);
	assert_memory_equal(info->ns[0].uuid.b, uuid + 4, 16);
	assert_int_equal(info->ns[0].ana_group, 5);
	assert_int_equal(info->ns[0].io_boundary_blocks, 256);

	r.namespaces = 2;               /* the rest went, and these grew */
	r.ns.nsze = r.ns.ncap = le64_of(10000);
	rig_on_host(&r, scan);
	a_while(100);
	assert_int_equal(saw.done, 1);
	assert_false(saw.e_given);
	assert_int_equal(info->ns_count, 2);
	assert_int_equal(info->ns[1].block_count, 10000);
	rig_end(&r);
}

static void a_list_that_does_not_ascend_is_refused(void **state)
{
	struct rig r = { .namespaces = 3, .stride = 0 }; /* 1, 1, 1 */

	r.stride = UINT32_MAX / 2 + 2;  /* 1, ..., and it wraps */
	go(&r);
	assert_int_equal(r.err.code, -EPROTO);
	assert_non_null(strstr(r.err.text, "does not ascend"));
	assert_int_equal(nvme_ctrlr_reason(r.ctrlr), NVME_REASON_BAD_ANSWER);
	rig_end(&r);
}

static bool list_without_end(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	static le32 list[1024];
	uint32_t after = le32_get(cmd->nsid);

	if (!is_opcode(p, cmd, NVME_ADMIN_IDENTIFY) || cmd->identify.cns != NVME_CNS_NS_ACTIVE_LIST)
		return false;
	for (uint32_t i = 0; i < 1024; i++)
		list[i] = le32_of(after + 1 + i);
	saw.seen[0]++;
	rig_give(p, le16_get(cmd->cid), list, 0, sizeof(list), RIG_WHOLE, false);
	return true;
}

static void a_list_that_does_not_end_is_refused(void **state)
{
	struct rig r = { .hook = list_without_end };

	go(&r);
	assert_int_equal(r.err.code, -EPROTO);
	assert_int_equal(saw.seen[0], 65);
	rig_end(&r);
}

static bool second_refused(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	if (!is_opcode(p, cmd, NVME_ADMIN_IDENTIFY) || cmd->identify.cns != NVME_CNS_NS || le32_get(cmd->nsid) == 1)
		return false;
	rig_answer(p, le16_get(cmd->cid), 0, le32_get(cmd->nsid) == 2 ? NVME_SC_NS_NOT_READY : NVME_SC_INVALID_NS);
	return true;
}

/* The others are used. */
static void a_namespace_that_is_refused_is_kept_apart(void **state)
{
	struct rig r = { .namespaces = 3, .hook = second_refused };
	const struct nvme_ctrlr_info *info;

	go(&r);
	info = nvme_ctrlr_info(r.ctrlr);
	assert_int_equal(r.err.code, 0);
	assert_int_equal(info->ns_count, 2);
	assert_true(info->ns[0].usable && !info->ns[1].usable);
	assert_int_equal(info->ns[1].status, NVME_SC_NS_NOT_READY);
	rig_end(&r);
}

static bool never_identified(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	return saw.seen[1] && is_opcode(p, cmd, NVME_ADMIN_IDENTIFY);
}

/* From within a scan: what is read may be read for nobody, but into memory that is there. */
static void closing_ends_a_scan(void **state)
{
	struct rig r = { .hook = never_identified };

	go(&r);
	saw.seen[1] = 1;
	rig_on_host(&r, scan);
	a_while(20);
	rig_end(&r);
	assert_int_equal(saw.done, 0);
}

static void an_unanswered_scan_ends_the_controller(void **state)
{
	struct rig r = { .hook = never_identified };

	go(&r);
	saw.seen[1] = 1;
	rig_on_host(&r, scan);
	a_while(2000);
	assert_int_equal(r.ctrlr_gone, 1);
	assert_int_equal(nvme_ctrlr_reason(r.ctrlr), NVME_REASON_ADMIN_TIMEOUT);
	rig_end(&r);
}

/* --- keep alive, time-outs ---------------------------------------------------------------------------------- */

static void admin_done(struct nvme_op *op)
{
	(void)op;
	saw.done++;
}

static struct nvme_op admin_ops[40];

static void submit_admin(void *arg)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(admin_ops); i++) {
		admin_ops[i] = (struct nvme_op){ .cmd.opc = NVME_ADMIN_ABORT_CMD, .done = admin_done };
		nvme_ctrlr_submit_admin(((struct rig *)arg)->ctrlr, &admin_ops[i]);
	}
}

static bool aborts_unanswered(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	return is_opcode(p, cmd, NVME_ADMIN_ABORT_CMD);
}

static void keep_alive_does_not_wait_behind_others(void **state)
{
	struct rig r = { .hook = aborts_unanswered, .opts.keep_alive_ms = 1000 };

	go(&r);
	rig_on_host(&r, submit_admin);
	a_while(10 * 1000);
	assert_int_equal(r.err.code, 0);
	assert_true(r.keep_alives >= 10);
	rig_end(&r);
	assert_int_equal(saw.done, ARRAY_SIZE(admin_ops));
}

static bool keep_alives_unanswered(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	return is_opcode(p, cmd, NVME_ADMIN_KEEP_ALIVE);
}

static void any_answer_counts_as_life(void **state)
{
	struct rig r = { .hook = keep_alives_unanswered, .opts.keep_alive_ms = 1000 };

	go_io(&r);
	for (uint32_t i = 0; i < 20; i++) {
		rig_on_host(&r, rig_read);
		a_while(400);
	}
	assert_int_equal(r.err.code, 0);
	a_while(1200);
	assert_int_equal(r.err.code, -ETIMEDOUT);
	assert_int_equal(nvme_ctrlr_reason(r.ctrlr), NVME_REASON_KEEP_ALIVE);
	rig_end(&r);
}

static void told_late_admin(struct nvme_ctrlr *c, struct nvme_op *op, void *arg)
{
	(void)c;
	(void)arg;
	saw.late += op >= admin_ops && op < admin_ops + ARRAY_SIZE(admin_ops);
}

static void listen_for_late(void *arg)
{
	nvme_ctrlr_on_timeout(((struct rig *)arg)->ctrlr, told_late_admin, arg);
}

static void a_late_admin_command_is_told_once(void **state)
{
	struct rig r = { .hook = aborts_unanswered, .opts.admin_timeout_ms = 300 };

	go(&r);
	rig_on_host(&r, listen_for_late);
	rig_on_host(&r, submit_admin);
	a_while(3000);
	assert_int_equal(r.err.code, 0);
	assert_int_equal(saw.late, 25); /* those that are out */
	assert_int_equal(saw.done, 0);
	rig_end(&r);
}

static void a_late_admin_command_ends_the_controller(void **state)
{
	struct rig r = { .hook = aborts_unanswered, .opts.admin_timeout_ms = 300 };

	go(&r);
	rig_on_host(&r, submit_admin);
	a_while(1000);
	assert_int_equal(r.ctrlr_gone, 1);
	assert_int_equal(nvme_ctrlr_reason(r.ctrlr), NVME_REASON_ADMIN_TIMEOUT);
	assert_int_equal(saw.done, ARRAY_SIZE(admin_ops)); /* all came back with it */
	rig_end(&r);
}

/* --- events, log pages -------------------------------------------------------------------------------------- */

static void event(struct nvme_ctrlr *c, uint8_t type, uint8_t info, uint8_t log_page, void *arg)
{
	(void)c;
	(void)arg;
	saw.events++;
	saw.type = type;
	saw.info = info;
	saw.log_page = log_page;
}

static void listen_for_events(void *arg) { nvme_ctrlr_on_event(((struct rig *)arg)->ctrlr, event, arg); }

static void fire(void *arg)
{
	struct rig_peer *p = rig_admin(arg);

	rig_answer(p, p->event_cids[--p->events], NVME_AER_NOTICE_ANA, 0);
}

static void events_are_told_and_asked_for_again(void **state)
{
	struct rig r = { .id.aerl = 1 };

	go(&r);
	assert_int_equal(rig_admin(&r)->events, 0);
	rig_on_host(&r, listen_for_events);
	a_while(10);
	assert_int_equal(rig_admin(&r)->events, 2); /* as many as it takes */
	for (uint32_t i = 1; i <= 10; i++) {
		rig_on_target(&r, fire);
		a_while(10);
		assert_int_equal(saw.events, i);
		assert_int_equal(rig_admin(&r)->events, 2);
	}
	assert_int_equal(saw.type, 2);
	assert_int_equal(saw.info, 3);
	assert_int_equal(saw.log_page, NVME_LOG_ANA);
	rig_end(&r);
}

static bool fires_at_once(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	if (!is_opcode(p, cmd, NVME_ADMIN_ASYNC_EVENT))
		return false;
	rig_answer(p, le16_get(cmd->cid), NVME_AER_NOTICE_NS_CHANGED, 0);
	return true;
}

static void a_flood_of_events_is_dammed(void **state)
{
	struct rig r = { .hook = fires_at_once, .id.aerl = 255 };

	go(&r);
	rig_on_host(&r, listen_for_events);
	a_while(10 * 1000);
	assert_int_equal(r.err.code, 0);
	assert_true(saw.events > 100 && saw.events < 1000);
	rig_end(&r);
}

static bool refuses_events(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	if (!is_opcode(p, cmd, NVME_ADMIN_ASYNC_EVENT))
		return false;
	saw.seen[3]++;
	rig_answer(p, le16_get(cmd->cid), 0, NVME_SC_ASYNC_LIMIT);
	return true;
}

static void refused_event_requests_are_not_repeated(void **state)
{
	struct rig r = { .hook = refuses_events, .id.aerl = 3 };

	go(&r);
	rig_on_host(&r, listen_for_events);
	a_while(1000);
	assert_int_equal(saw.seen[3], 4);
	assert_int_equal(saw.events, 0);
	rig_end(&r);
}

static uint8_t log_bytes[300 * 1024], log_read[300 * 1024];
static struct nvme_log_read reading;

static void log_was_read(struct nvme_log_read *r)
{
	(void)r;
	saw.done++;
}

static void read_log(void *arg)
{
	nvme_ctrlr_get_log(((struct rig *)arg)->ctrlr, &reading);
}

static void a_long_log_page_is_read_whole(void **state)
{
	struct rig r = { .log = log_bytes, .log_len = sizeof(log_bytes) };

	for (uint32_t i = 0; i < sizeof(log_bytes); i++)
		log_bytes[i] = (uint8_t)(i * 2654435761u >> 13);
	reading = (struct nvme_log_read){ .lid = NVME_LOG_ANA, .buf = log_read, .len = 200 * 1024 + 4, .offset = 8,
	                                  .done = log_was_read };
	go(&r);
	rig_on_host(&r, read_log);
	a_while(100);
	assert_int_equal(saw.done, 1);
	assert_int_equal(reading.err.code, 0);
	assert_memory_equal(log_read, log_bytes + 8, reading.len);
	assert_int_equal(r.log_reads, 4);
	rig_end(&r);
}

static bool refuses_logs(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	if (!is_opcode(p, cmd, NVME_ADMIN_GET_LOG_PAGE))
		return false;
	rig_answer(p, le16_get(cmd->cid), 0, NVME_SC_INVALID_LOG_PAGE);
	return true;
}

static void a_refused_log_page_is_told(void **state)
{
	struct rig r = { .hook = refuses_logs };

	reading = (struct nvme_log_read){ .lid = NVME_LOG_ANA, .buf = log_read, .len = 4096, .done = log_was_read };
	go(&r);
	rig_on_host(&r, read_log);
	a_while(100);
	assert_int_equal(saw.done, 1);
	assert_int_equal(reading.status, NVME_SC_INVALID_LOG_PAGE);
	assert_non_null(strstr(reading.err.text, "cannot be read"));
	rig_end(&r);
}

/* --- disabling ---------------------------------------------------------------------------------------------- */

static void disable(void *arg) { nvme_ctrlr_disable(((struct rig *)arg)->ctrlr, scanned, arg); }

static void disabling_waits_until_it_is_so(void **state)
{
	struct rig r = { .opts.connect_timeout_ms = 1000 };

	go(&r);
	r.csts = 1;
	rig_on_host(&r, submit_admin);  /* they end with it */
	rig_on_host(&r, disable);
	a_while(100);
	assert_false(nvme_cc_en(r.cc));
	assert_int_equal(saw.done, ARRAY_SIZE(admin_ops)); /* answered */
	r.csts = 0;
	a_while(100);
	assert_int_equal(saw.done, ARRAY_SIZE(admin_ops) + 1);
	assert_false(saw.e_given);
	assert_int_equal(r.ctrlr_gone, 0);
	rig_end(&r);
}

static void a_controller_that_stays_enabled_is_told(void **state)
{
	struct rig r = { .opts.connect_timeout_ms = 1000 };

	go(&r);
	r.csts = 1;
	rig_on_host(&r, disable);
	a_while(2000);
	assert_int_equal(saw.done, 1);
	assert_true(saw.e_given);
	assert_non_null(strstr(saw.err.text, "RDY is 0"));
	assert_int_equal(r.ctrlr_gone, 0);
	rig_end(&r);
}

/* --- ANA log ------------------------------------------------------------------------------------------------ */

static bool sum_groups(const struct nvme_ana_group *g, void *arg)
{
	uint32_t *sum = arg;

	sum[0]++;
	sum[1] += g->ns_count;
	for (uint32_t i = 0; i < g->ns_count; i++)
		sum[2] += le32_get(g->nsids[i]);
	return sum[0] < 2 || sum[3] == 0;
}

static void ana_logs_are_read_within_their_bounds(void **state)
{
	uint8_t page[sizeof(struct nvme_ana_log) + 2 * sizeof(struct nvme_ana_group_desc) + 2 * sizeof(le32)] = { 0 };
	struct nvme_ana_log *log = (struct nvme_ana_log *)page;
	struct nvme_ana_group_desc *one = log->descs, *two = (struct nvme_ana_group_desc *)&one->nsids[2];
	uint32_t sum[4] = { 0 };
	struct err e = { 0 };

	log->ngrps = le16_of(2);
	one->grpid = le32_of(1);
	one->nnsids = le32_of(2);
	one->state = NVME_ANA_OPTIMIZED;
	one->nsids[0] = le32_of(10);
	one->nsids[1] = le32_of(20);
	two->grpid = le32_of(2);
	assert_int_equal(nvme_ana_log_each(page, sizeof(page), sum_groups, sum, NULL), 0);
	assert_int_equal(sum[0], 2);
	assert_int_equal(sum[2], 30);
	for (size_t len = 0; len < sizeof(page); len++)
		assert_int_equal(nvme_ana_log_each(page, len, sum_groups, sum, NULL), -EPROTO);
	one->nnsids = le32_of(0xffffffff);
	assert_int_equal(nvme_ana_log_each(page, sizeof(page), sum_groups, sum, &e), -EPROTO);
	assert_true(e.text[0]);
	one->nnsids = le32_of(2);
	two->grpid = le32_of(1);
	assert_int_equal(nvme_ana_log_each(page, sizeof(page), sum_groups, sum, NULL), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(namespaces_are_all_found),
		cmocka_unit_test(a_list_that_does_not_ascend_is_refused),
		cmocka_unit_test(a_list_that_does_not_end_is_refused),
		cmocka_unit_test(a_namespace_that_is_refused_is_kept_apart),
		cmocka_unit_test(closing_ends_a_scan),
		cmocka_unit_test(an_unanswered_scan_ends_the_controller),
		cmocka_unit_test(keep_alive_does_not_wait_behind_others),
		cmocka_unit_test(any_answer_counts_as_life),
		cmocka_unit_test(a_late_admin_command_is_told_once),
		cmocka_unit_test(a_late_admin_command_ends_the_controller),
		cmocka_unit_test(events_are_told_and_asked_for_again),
		cmocka_unit_test(a_flood_of_events_is_dammed),
		cmocka_unit_test(refused_event_requests_are_not_repeated),
		cmocka_unit_test(a_long_log_page_is_read_whole),
		cmocka_unit_test(a_refused_log_page_is_told),
		cmocka_unit_test(disabling_waits_until_it_is_so),
		cmocka_unit_test(a_controller_that_stays_enabled_is_told),
		cmocka_unit_test(ana_logs_are_read_within_their_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
