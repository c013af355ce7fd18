/* SPDX-License-Identifier: BSD-3-Clause */
/* pr_test.c: reservations over SCSI: two initiators on two cores, all service actions, who is told, TransportIDs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/sim/files.h"
#include "scsi/test_rig.h"
#include "scsi/transport_id.h"

#define CONFLICT RIG_STATUS(SCSI_RESERVATION_CONFLICT)
#define BAD_LIST RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_PARAMETERS)
#define BAD_CDB RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB)
#define BAD_LEN RIG_SENSE(ILLEGAL_REQUEST, PARAMETER_LIST_LENGTH)
#define ATTENTION(asc) RIG_SENSE(UNIT_ATTENTION, asc)
#define WE 1
#define EA 3
#define WERO 5
#define EARO 6
#define WEAR 7
#define EAAR 8

static struct rig rig;
static struct rig_nexus *hosts[2];
static const char *const names[] = { "iqn.a,i,0x000000000001", "iqn.b,i,0x000000000002" };
static uint8_t list[4096], in[8192];

static int fresh(void **state)
{
	rig_start(&rig, 1);
	for (uint32_t i = 0; i < 2; i++) {
		hosts[i] = rig_join(&rig, i, names[i]);
		if (!hosts[i])
			return -1;
		text_pad(hosts[i]->n.seat->initiator, 6, i ? "iqn.b" : "iqn.a", 0);
	}
	return 0;
}

static int over(void **state)
{
	rig_stop(&rig);
	return 0;
}

static uint32_t out_len(uint32_t host, uint8_t sa, uint8_t type, uint32_t len)
{
	struct rig_cdb c = { .b = { 0x5f, sa, type } };

	scsi_put32(c.b + 5, len);
	return rig_try(hosts[host], 0, &c, SCSI_DATA_OUT, list, len);
}

static uint32_t pr_out(uint32_t host, uint8_t sa, uint8_t type, uint64_t key, uint64_t sa_key)
{
	memset(list, 0, sizeof(list));
	scsi_put64(list, key);
	scsi_put64(list + 8, sa_key);
	return out_len(host, sa, type, 24);
}

static uint32_t reg(uint32_t host, uint64_t key, uint64_t new_key)
{
	return pr_out(host, SCSI_SA_PR_OUT_REGISTER, 0, key, new_key);
}

static uint32_t pr_in(uint32_t host, uint8_t sa, uint32_t len)
{
	struct rig_cdb c = { .b = { 0x5e, sa } };

	scsi_put16(c.b + 7, (uint16_t)len);
	memset(in, 0xee, sizeof(in));
	return rig_try(hosts[host], 0, &c, SCSI_DATA_IN, in, len);
}

static uint32_t plain(uint32_t host, uint8_t opcode)
{
	struct rig_cdb c = rig_rw(opcode, 0, 1);
	bool reads = opcode == SCSI_OP_READ_10, writes = opcode == SCSI_OP_WRITE_10;

	if (!reads && !writes)
		c = (struct rig_cdb){ .b = { opcode } };
	return rig_try(hosts[host], 0, &c, reads ? SCSI_DATA_IN : writes ? SCSI_DATA_OUT : SCSI_DATA_NONE, in,
	               reads || writes ? 512 : 0);
}

static void keys_are_listed_as_far_as_there_is_room(void **state)
{
	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_READ_KEYS, 64), 0);
	assert_int_equal(scsi_u64(in), 0);
	assert_int_equal(reg(0, 0, 0xa), 0);
	assert_int_equal(reg(1, 0, 0xb), 0);
	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_READ_KEYS, 64), 0);
	assert_int_equal(scsi_u32(in), 2);
	assert_int_equal(scsi_u32(in + 4), 16);
	assert_int_equal(scsi_u64(in + 8), 0xa);
	assert_int_equal(scsi_u64(in + 16), 0xb);
	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_READ_KEYS, 12), 0);
	assert_int_equal(scsi_u32(in + 4), 16);
	assert_int_equal(in[12], 0xee);
	assert_int_equal(pr_in(0, 4, 64), BAD_CDB);
	assert_int_equal(reg(0, 0xa, 0), 0);
	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_READ_KEYS, 64), 0);
	assert_int_equal(scsi_u32(in + 4), 8);
}

static void capabilities_say_what_works(void **state)
{
	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_REPORT_CAPABILITIES, 64), 0);
	assert_int_equal(scsi_u16(in), 8);
	assert_int_equal(in[2], 0x1c); /* no PTPL: there is no directory */
	assert_int_equal(in[3], 0x80);
	assert_int_equal(in[4], 0xea);
	assert_int_equal(in[5], 0x01);
}

static void every_type_keeps_out_whom_it_should(void **state)
{
	static const struct { uint8_t type; bool stranger_reads, registrant_reads, registrant_writes; } rows[] = {
		{ WE, true, true, false }, { EA, false, false, false }, { WERO, true, true, true },
		{ EARO, false, true, true }, { WEAR, true, true, true }, { EAAR, false, true, true },
	};

	assert_int_equal(reg(0, 0, 0xa), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(pr_out(0, SCSI_SA_PR_OUT_RESERVE, rows[i].type, 0xa, 0), 0);
		assert_int_equal(pr_in(1, SCSI_SA_PR_IN_READ_RESERVATION, 64), 0);
		assert_int_equal(scsi_u32(in + 4), 16);
		assert_int_equal(scsi_u64(in + 8), rows[i].type >= WEAR ? 0 : 0xa);
		assert_int_equal(in[21], rows[i].type);
		for (uint32_t registered = 0; registered < 2; registered++) {
			bool r = registered ? rows[i].registrant_reads : rows[i].stranger_reads;
			bool w = registered && rows[i].registrant_writes;

			if (registered)
				assert_int_equal(reg(1, 0, 0xb), 0);
			assert_int_equal(plain(0, SCSI_OP_READ_10), 0);
			assert_int_equal(plain(0, SCSI_OP_WRITE_10), 0);
			assert_int_equal(plain(1, SCSI_OP_READ_10), r ? 0 : CONFLICT);
			assert_int_equal(plain(1, SCSI_OP_WRITE_10), w ? 0 : CONFLICT);
			assert_int_equal(plain(1, SCSI_OP_SYNC_CACHE_10), w ? 0 : CONFLICT);
			assert_int_equal(plain(1, SCSI_OP_TEST_UNIT_READY), 0);
		}
		assert_int_equal(reg(1, 0xb, 0), 0);
		assert_int_equal(pr_out(0, SCSI_SA_PR_OUT_RELEASE, rows[i].type == WE ? EA : WE, 0xa, 0),
		                 RIG_SENSE(ILLEGAL_REQUEST, INVALID_RELEASE));
		assert_int_equal(pr_out(0, SCSI_SA_PR_OUT_RELEASE, rows[i].type, 0xa, 0), 0);
		assert_int_equal(plain(1, SCSI_OP_WRITE_10), 0);
	}
}

static void who_lost_something_is_told_once(void **state)
{
	assert_int_equal(reg(0, 0, 0xa), 0);
	assert_int_equal(reg(1, 0, 0xb), 0);
	assert_int_equal(pr_out(1, SCSI_SA_PR_OUT_RESERVE, WERO, 0xb, 0), 0);
	assert_int_equal(pr_out(1, SCSI_SA_PR_OUT_RELEASE, WERO, 0xb, 0), 0);
	rig_pass(NS_PER_MS);
	assert_int_equal(plain(0, SCSI_OP_TEST_UNIT_READY), ATTENTION(RESERVATIONS_RELEASED));
	assert_int_equal(plain(0, SCSI_OP_TEST_UNIT_READY), 0);
	assert_int_equal(pr_out(1, SCSI_SA_PR_OUT_RESERVE, EA, 0xb, 0), 0);
	assert_int_equal(pr_out(0, SCSI_SA_PR_OUT_PREEMPT_ABORT, EA, 0xa, 0xb), 0);
	rig_pass(NS_PER_MS);
	assert_int_equal(plain(1, SCSI_OP_TEST_UNIT_READY), ATTENTION(REGISTRATIONS_PREEMPTED));
	assert_int_equal(plain(1, SCSI_OP_WRITE_10), CONFLICT);
	assert_int_equal(reg(1, 0, 0xb), 0);
	assert_int_equal(pr_out(1, SCSI_SA_PR_OUT_CLEAR, 0, 0xb, 0), 0);
	rig_pass(NS_PER_MS);
	assert_int_equal(plain(0, SCSI_OP_TEST_UNIT_READY), ATTENTION(RESERVATIONS_PREEMPTED));
	assert_int_equal(plain(1, SCSI_OP_TEST_UNIT_READY), 0);
}

static struct rig_task *begin_write(uint32_t host)
{
	struct rig_cdb c = rig_rw(SCSI_OP_WRITE_10, 0, 1);

	return rig_parse(hosts[host], 0, &c, SCSI_DATA_OUT, in, 512, SCSI_ATTR_SIMPLE);
}

/* What waits for its data when its host is preempted is not done, though the host registers again before it is there:
 * that is what AND ABORT is for. */
static void what_waits_for_data_is_aborted(void **state)
{
	for (uint8_t sa = SCSI_SA_PR_OUT_PREEMPT; sa <= SCSI_SA_PR_OUT_PREEMPT_ABORT; sa++) {
		struct rig_task *late, *mine, copy;

		assert_int_equal(reg(0, 0, 0xa), 0);
		assert_int_equal(reg(1, 0, 0xb), 0);
		mine = begin_write(0);
		late = begin_write(1);
		assert_int_equal(pr_out(0, sa, WERO, 0xa, 0xb), 0);
		rig_pass(NS_PER_MS);
		assert_int_equal(plain(1, SCSI_OP_TEST_UNIT_READY), ATTENTION(REGISTRATIONS_PREEMPTED));
		assert_int_equal(reg(1, 0, 0xb), 0);
		rig_execute(mine);
		rig_execute(late);
		assert_int_equal(rig_end(mine, NULL), SCSI_GOOD);
		assert_int_equal(rig_end(late, &copy),
		                 sa == SCSI_SA_PR_OUT_PREEMPT_ABORT ? SCSI_TASK_ABORTED : SCSI_GOOD);
		assert_int_equal(copy.aborted, sa == SCSI_SA_PR_OUT_PREEMPT_ABORT);
		assert_int_equal(plain(1, SCSI_OP_WRITE_10), 0);
		assert_int_equal(pr_out(0, SCSI_SA_PR_OUT_CLEAR, 0, 0xa, 0), 0);
		rig_pass(NS_PER_MS);
		assert_int_equal(plain(1, SCSI_OP_TEST_UNIT_READY), ATTENTION(RESERVATIONS_PREEMPTED));
	}
}

/* Two that preempt each other, and one that resets: nobody waits for who waits for it. */
static void preempting_each_other_ends(void **state)
{
	struct rig_task *pr[2];
	struct rig_tmf reset;
	uint8_t lists[2][24] = { 0 };

	assert_int_equal(reg(0, 0, 0xa), 0);
	assert_int_equal(reg(1, 0, 0xb), 0);
	for (uint32_t i = 0; i < 2; i++) {
		struct rig_cdb c = { .b = { 0x5f, SCSI_SA_PR_OUT_PREEMPT_ABORT, WERO } };

		scsi_put32(c.b + 5, 24);
		scsi_put64(lists[i], i ? 0xb : 0xa);
		scsi_put64(lists[i] + 8, i ? 0xa : 0xb);
		pr[i] = rig_send(hosts[i], 0, &c, SCSI_DATA_OUT, lists[i], 24, SCSI_ATTR_SIMPLE);
	}
	rig_tmf_start(&reset, hosts[0], SCSI_TMF_LU_RESET, 0, 0);
	rig_pass(NS_PER_S);
	assert_true(reset.done && pr[0]->done && pr[1]->done);
	rig_end(pr[0], NULL);
	rig_end(pr[1], NULL);
}

static void wrong_lists_are_refused(void **state)
{
	assert_int_equal(pr_out(0, SCSI_SA_PR_OUT_RESERVE, 0x10 | WE, 0, 0), BAD_CDB); /* scope */
	assert_int_equal(pr_out(0, SCSI_SA_PR_OUT_RESERVE, 2, 0, 0), BAD_CDB);
	assert_int_equal(out_len(0, SCSI_SA_PR_OUT_REGISTER, 0, 23), BAD_LEN);
	assert_int_equal(out_len(0, SCSI_SA_PR_OUT_REGISTER, 0, 25), BAD_LEN);
	assert_int_equal(out_len(0, 9, 0, 24), BAD_CDB);
	memset(list, 0, sizeof(list));
	scsi_put64(list + 8, 0xa);
	list[20] = 1; /* APTPL */
	assert_int_equal(out_len(0, SCSI_SA_PR_OUT_REGISTER, 0, 24), BAD_LIST);
	list[20] = 8; /* SPEC_I_PT */
	assert_int_equal(out_len(0, SCSI_SA_PR_OUT_REGISTER, 0, 24), BAD_LEN);
	assert_int_equal(out_len(0, SCSI_SA_PR_OUT_REGISTER_IGNORE, 0, 24), BAD_LIST);
	scsi_put32(list + 24, 24);
	assert_int_equal(out_len(0, SCSI_SA_PR_OUT_REGISTER, 0, 52), BAD_LIST); /* no TransportID */
	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_READ_KEYS, 64), 0);
	assert_int_equal(scsi_u32(in + 4), 0);
}

static uint64_t with_ids_key;

static uint32_t with_ids(const char *const *who, uint32_t count, uint8_t bits)
{
	uint32_t at = 28;

	memset(list, 0, sizeof(list));
	scsi_put64(list, with_ids_key);
	scsi_put64(list + 8, with_ids_key ? 0 : 0xa);
	list[20] = bits;
	for (uint32_t i = 0; i < count; i++)
		at += scsi_transport_id_make(who[i], list + at);
	scsi_put32(list + 24, at - 28);
	return out_len(0, SCSI_SA_PR_OUT_REGISTER, 0, at);
}

static void others_are_registered_by_name(void **state)
{
	static const char *const port[] = { "iqn.b,i,0x000000000002" }, *const device[] = { "iqn.b" };

	assert_int_equal(with_ids(port, 1, 8), 0);
	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_READ_KEYS, 64), 0);
	assert_int_equal(scsi_u32(in + 4), 16);
	assert_int_equal(pr_out(1, SCSI_SA_PR_OUT_RESERVE, WE, 0xa, 0), 0);
	assert_int_equal(pr_out(1, SCSI_SA_PR_OUT_CLEAR, 0, 0xa, 0), 0);
	rig_pass(NS_PER_MS);
	assert_int_equal(plain(0, SCSI_OP_TEST_UNIT_READY), ATTENTION(RESERVATIONS_PREEMPTED));
	assert_int_equal(with_ids(device, 1, 8), 0); /* its ports that are here */
	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_READ_FULL_STATUS, 4096), 0);
	assert_int_equal(scsi_u32(in + 4), 2 * (24 + 4 + 24));
	for (uint8_t bits = 8; bits <= 12; bits += 4) { /* the same key: still not for others, once it is registered */
		with_ids_key = 0xa;
		assert_int_equal(with_ids(port, 1, bits), BAD_LIST);
		assert_int_equal(with_ids(NULL, 0, bits), BAD_LIST);
		with_ids_key = 0;
	}
	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_READ_FULL_STATUS, 4096), 0);
	assert_memory_equal(in + 8 + 24 + 4, names[0], strlen(names[0]) + 1);
	assert_memory_equal(in + 8 + 52 + 24 + 4, names[1], strlen(names[1]) + 1);
	assert_int_equal(in[8 + 24], 0x45);
	assert_int_equal(scsi_u16(in + 8 + 18), 1);
}

/* So many, the first by this port. */
static void ports_are(uint32_t count, uint16_t first)
{
	uint32_t one = 24 + 4 + 24;

	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_READ_FULL_STATUS, 4096), 0);
	assert_int_equal(scsi_u32(in + 4), count * one);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(in[8 + i * one + 12], count == 2 && i == 0); /* R_HOLDER; not ALL_TG_PT */
		assert_int_equal(scsi_u16(in + 8 + i * one + 18), first + i);
	}
}

static void all_ports_are_registered_at_once(void **state)
{
	assert_int_equal(with_ids(NULL, 0, 4), BAD_LEN); /* 28 bytes without SPEC_I_PT */
	memset(list, 0, sizeof(list));
	scsi_put64(list + 8, 0xa);
	list[20] = 4;
	assert_int_equal(out_len(0, SCSI_SA_PR_OUT_REGISTER, 0, 24), 0);
	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_READ_KEYS, 64), 0);
	assert_int_equal(scsi_u32(in + 4), 16); /* of the device's two ports */
	assert_int_equal(pr_out(0, SCSI_SA_PR_OUT_RESERVE, WE, 0xa, 0), 0);
	ports_are(2, 1); /* each by itself: only one holds */
	assert_int_equal(pr_out(0, SCSI_SA_PR_OUT_RELEASE, WE, 0xa, 0), 0);
	assert_int_equal(pr_out(0, SCSI_SA_PR_OUT_REGISTER, 0, 0xa, 0), 0);
	ports_are(1, 2); /* and leaves by itself */
	scsi_put64(list, 0);
	scsi_put64(list + 8, 0xa);
	list[20] = 4;
	assert_int_equal(out_len(0, SCSI_SA_PR_OUT_REGISTER, 0, 24), 0);
	scsi_put64(list, 0xa);
	scsi_put64(list + 8, 0);
	assert_int_equal(out_len(0, SCSI_SA_PR_OUT_REGISTER, 0, 24), 0);
	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_READ_KEYS, 64), 0);
	assert_int_equal(scsi_u32(in + 4), 0);
}

static uint32_t move_to(const char *name, uint16_t port, uint64_t new_key, uint8_t bits)
{
	uint32_t len;

	memset(list, 0, sizeof(list));
	scsi_put64(list, 0xa);
	scsi_put64(list + 8, new_key);
	list[17] = bits;
	scsi_put16(list + 18, port);
	len = scsi_transport_id_make(name, list + 24);
	scsi_put32(list + 20, len);
	return out_len(0, SCSI_SA_PR_OUT_REGISTER_MOVE, 0, 24 + len);
}

static void a_reservation_is_moved(void **state)
{
	assert_int_equal(reg(0, 0, 0xa), 0);
	assert_int_equal(move_to(names[1], 1, 0xb, 0), CONFLICT);
	assert_int_equal(pr_out(0, SCSI_SA_PR_OUT_RESERVE, WE, 0xa, 0), 0);
	assert_int_equal(move_to(names[1], 7, 0xb, 0), BAD_LIST);  /* no such port */
	assert_int_equal(move_to("iqn.b", 1, 0xb, 0), BAD_LIST);   /* no port's name */
	assert_int_equal(move_to(names[1], 1, 0, 0), BAD_LIST);
	assert_int_equal(move_to(names[0], 1, 0xb, 0), BAD_LIST);  /* to itself */
	assert_int_equal(move_to(names[1], 1, 0xb, 2), 0);
	assert_int_equal(plain(0, SCSI_OP_WRITE_10), CONFLICT);
	assert_int_equal(plain(1, SCSI_OP_WRITE_10), 0);
	assert_int_equal(pr_in(0, SCSI_SA_PR_IN_READ_KEYS, 64), 0);
	assert_int_equal(scsi_u32(in + 4), 8);
	assert_int_equal(scsi_u64(in + 8), 0xb);
}

static void spc2_reserves_and_releases(void **state)
{
	assert_int_equal(plain(0, SCSI_OP_RESERVE_6), 0);
	assert_int_equal(plain(0, SCSI_OP_RESERVE_10), 0);
	assert_int_equal(plain(1, SCSI_OP_RESERVE_6), CONFLICT);
	assert_int_equal(plain(1, SCSI_OP_TEST_UNIT_READY), CONFLICT);
	assert_int_equal(plain(1, SCSI_OP_INQUIRY), 0);
	assert_int_equal(plain(1, SCSI_OP_READ_10), CONFLICT);
	assert_int_equal(plain(0, SCSI_OP_WRITE_10), 0);
	assert_int_equal(reg(1, 0, 0xb), CONFLICT);
	assert_int_equal(pr_in(1, SCSI_SA_PR_IN_READ_KEYS, 64), CONFLICT);
	assert_int_equal(plain(1, SCSI_OP_RELEASE_6), 0); /* good, and nothing happens */
	assert_int_equal(plain(1, SCSI_OP_READ_10), CONFLICT);
	assert_int_equal(plain(0, SCSI_OP_RELEASE_6), 0);
	assert_int_equal(plain(1, SCSI_OP_READ_10), 0);
}

static void spc2_ends_with_a_reset_or_its_nexus(void **state)
{
	assert_int_equal(plain(0, SCSI_OP_RESERVE_6), 0);
	assert_int_equal(rig_tmf(hosts[1], SCSI_TMF_LU_RESET, 0, 0), SCSI_TMF_COMPLETE);
	rig_pass(NS_PER_MS);
	plain(1, SCSI_OP_TEST_UNIT_READY); /* takes the unit attention */
	assert_int_equal(plain(1, SCSI_OP_READ_10), 0);
	plain(0, SCSI_OP_TEST_UNIT_READY);
	assert_int_equal(plain(0, SCSI_OP_RESERVE_6), 0);
	assert_int_equal(plain(1, SCSI_OP_READ_10), CONFLICT);
	rig_end_nexus(hosts[0]);
	assert_true(rig_gone(hosts[0]));
	rig_pass(NS_PER_MS);
	assert_int_equal(plain(1, SCSI_OP_READ_10), 0);
}

static struct files *files;
static bool happened;

static void store_opened(void *arg, const struct err *e)
{
	happened = !e;
}

static void open_store(void *arg)
{
	bdev_resv_store_open(rig.reg, files, store_opened, NULL);
}

static void op_done(struct resv_op *op)
{
	happened = op->result == RESV_OK;
}

/* The other way than before. */
static void persist(void *arg)
{
	struct resv_op *op = arg;
	uint8_t flags = op->flags == RESV_F_PERSIST ? RESV_F_VOLATILE : RESV_F_PERSIST;

	*op = (struct resv_op){ .action = RESV_SET_PERSIST, .flags = flags };
	bdev_resv_do(rig.target->map->luns[0].lu->dev.desc, &hosts[0]->n.who, op, op_done);
}

static void look_for_spc2(void *arg)
{
	struct resv_report *r = bdev_resv_report(bdev_of(rig.target->map->luns[0].lu->dev.desc));

	happened = r->spc2;
	free(r);
}

static void act_on_control(void (*fn)(void *arg), void *arg)
{
	happened = false;
	rig_on(core_control(rig.core), fn, arg);
	assert_true(rig_run_until(&happened));
}

/* Host 0 has it, while what is persistent is written down. */
static struct resv_op *reserve_spc2_beside_a_store(void)
{
	static struct resv_op op; /* outlives a test that fails */

	op.flags = 0;
	files = files_sim_make(1);
	act_on_control(open_store, NULL);
	act_on_control(persist, &op);
	assert_int_equal(plain(0, SCSI_OP_RESERVE_6), 0);
	return &op;
}

/* Whoever resets the unit to be let in again asks for it as soon as the answer is there. */
static void a_reset_is_answered_when_spc2_is_over(void **state)
{
	struct resv_op *op = reserve_spc2_beside_a_store();

	rig_on(core_control(rig.core), persist, op); /* is written, and the reset is behind it in line */
	assert_int_equal(rig_tmf(hosts[1], SCSI_TMF_LU_RESET, 0, 0), SCSI_TMF_COMPLETE);
	rig_on(core_control(rig.core), look_for_spc2, NULL);
	assert_false(happened);
}

/* It does not survive, so nobody writes it down: a full disk would keep it for ever when its nexus has ended. */
static void a_full_disk_does_not_keep_spc2(void **state)
{
	reserve_spc2_beside_a_store();
	files_sim_fail(files, -ENOSPC);
	rig_end_nexus(hosts[0]);
	assert_true(rig_gone(hosts[0]));
	rig_pass(NS_PER_S);
	rig_on(core_control(rig.core), look_for_spc2, NULL);
	assert_false(happened);
	assert_int_equal(plain(1, SCSI_OP_RESERVE_6), 0);
}

static int over_with_files(void **state)
{
	rig_stop(&rig);
	files_free(files);
	return 0;
}

static void transport_ids_are_read_as_made(void **state)
{
	static const char *const good[] = { "iqn.a", "iqn.1994-05.com.example:a-long-name-of-a-host",
	                                    "iqn.a,i,0x00023d000001" };
	uint8_t bytes[SCSI_TRANSPORT_ID_MAX];
	char name[SCSI_PORT_NAME_MAX + 1];
	bool is_port;
	uint32_t len;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		len = scsi_transport_id_make(good[i], bytes);
		assert_int_equal(len % 4, 0);
		assert_true(len >= 24);
		assert_int_equal(scsi_transport_id_read(bytes, len, name, &is_port), len);
		assert_string_equal(name, good[i]);
		assert_int_equal(is_port, i == 2);
		for (uint32_t cut = 0; cut < len; cut++)
			assert_int_equal(scsi_transport_id_read(bytes, cut, name, &is_port), 0);
	}
	len = scsi_transport_id_make("IQN.A,i,0x00023D000001", bytes);
	assert_int_equal(scsi_transport_id_read(bytes, len, name, &is_port), len);
	assert_string_equal(name, "iqn.a,i,0x00023d000001");
	bytes[0] = 0x46; /* SAS */
	assert_int_equal(scsi_transport_id_read(bytes, len, name, &is_port), 0);
	len = scsi_transport_id_make("iqn.a,i,0x0002", bytes); /* a short ISID */
	assert_int_equal(scsi_transport_id_read(bytes, len, name, &is_port), 0);
	memset(bytes + 4, 'a', 20); /* no end */
	assert_int_equal(scsi_transport_id_read(bytes, 24, name, &is_port), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keys_are_listed_as_far_as_there_is_room, fresh, over),
		cmocka_unit_test_setup_teardown(capabilities_say_what_works, fresh, over),
		cmocka_unit_test_setup_teardown(every_type_keeps_out_whom_it_should, fresh, over),
		cmocka_unit_test_setup_teardown(who_lost_something_is_told_once, fresh, over),
		cmocka_unit_test_setup_teardown(what_waits_for_data_is_aborted, fresh, over),
		cmocka_unit_test_setup_teardown(preempting_each_other_ends, fresh, over),
		cmocka_unit_test_setup_teardown(wrong_lists_are_refused, fresh, over),
		cmocka_unit_test_setup_teardown(others_are_registered_by_name, fresh, over),
		cmocka_unit_test_setup_teardown(all_ports_are_registered_at_once, fresh, over),
		cmocka_unit_test_setup_teardown(a_reservation_is_moved, fresh, over),
		cmocka_unit_test_setup_teardown(spc2_reserves_and_releases, fresh, over),
		cmocka_unit_test_setup_teardown(spc2_ends_with_a_reset_or_its_nexus, fresh, over),
		cmocka_unit_test_setup_teardown(a_reset_is_answered_when_spc2_is_over, fresh, over_with_files),
		cmocka_unit_test_setup_teardown(a_full_disk_does_not_keep_spc2, fresh, over_with_files),
		cmocka_unit_test(transport_ids_are_read_as_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
