/* SPDX-License-Identifier: BSD-3-Clause */
/* resv_change_test.c: the rule and the changes of reservations, which are pure: against the tables of the standards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "bdev/resv_priv.h"

/* SPC-5 "commands that are allowed in the presence of various reservations", and NVMe base "command behavior in the
 * presence of a reservation". A row: type; what a stranger, a registrant that does not hold it and a holder may do:
 * r(ead), w(rite). */
static const struct {
	enum resv_type type;
	const char *may[3];
} table[] = {
	{ RESV_NONE, { "rw", "rw", "rw" } },
	{ RESV_WE,   { "r",  "r",  "rw" } },
	{ RESV_EA,   { "",   "",   "rw" } },
	{ RESV_WERO, { "r",  "rw", "rw" } },
	{ RESV_EARO, { "",   "rw", "rw" } },
	{ RESV_WEAR, { "r",  "rw", "rw" } },
	{ RESV_EAAR, { "",   "rw", "rw" } },
};

/* One wrong cell lets a host write into what another one believes is its own. */
static void the_rule_is_the_standards_table(void **state)
{
	assert_int_equal(ARRAY_SIZE(table), RESV_TYPE_COUNT);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		for (enum resv_relation who = RESV_STRANGER; who <= RESV_HOLDER; who++) {
			assert_int_equal(resv_conflicts(table[i].type, who, RESV_READ), !strchr(table[i].may[who], 'r'));
			assert_int_equal(resv_conflicts(table[i].type, who, RESV_WRITE), !strchr(table[i].may[who], 'w'));
			assert_false(resv_conflicts(table[i].type, who, RESV_ALWAYS));
			assert_false(resv_conflicts(table[i].type, who, RESV_INFO));
		}
}

static void types_have_the_standards_codes(void **state)
{
	static const uint8_t spc[] = { 0, 1, 3, 5, 6, 7, 8 };

	for (uint8_t t = RESV_WE; t < RESV_TYPE_COUNT; t++) {
		assert_int_equal(resv_type_to_spc(t), spc[t]);
		assert_int_equal(resv_type_to_nvme(t), t);
		assert_int_equal(resv_type_from_spc(spc[t]), t);
		assert_int_equal(resv_type_from_nvme(t), t);
	}
	assert_int_equal(resv_type_from_spc(0), RESV_TYPE_COUNT);
	assert_int_equal(resv_type_from_spc(2), RESV_TYPE_COUNT);
	assert_int_equal(resv_type_from_spc(4), RESV_TYPE_COUNT);
	assert_int_equal(resv_type_from_spc(9), RESV_TYPE_COUNT);
	assert_int_equal(resv_type_from_nvme(0), RESV_TYPE_COUNT);
	assert_int_equal(resv_type_from_nvme(7), RESV_TYPE_COUNT);
}

/* --- changes --------------------------------------------------------------------------------------------- */

static struct resv_state s;
static struct resv_outcome out;
static uint32_t others[2];

static int fresh(void **state)
{
	memset(&s, 0, sizeof(s));
	return 0;
}

static enum resv_result act(uint32_t party, enum resv_action action, enum resv_type type, uint64_t key,
                            uint64_t new_key)
{
	struct resv_op op = { .action = (uint8_t)action, .type = (uint8_t)type, .key = key, .new_key = new_key,
	                      .party = party };
	struct resv_state next = s;
	enum resv_result rc = resv_change(&next, &op, &out);

	if (rc == RESV_OK)
		s = next;
	return rc;
}

static bool told(uint32_t party, enum resv_event event)
{
	for (uint32_t i = 0; i < out.told_count; i++)
		if (out.told[i].party == party && out.told[i].event == event)
			return true;
	return false;
}

static void three(void)
{
	for (uint32_t i = 1; i <= 3; i++)
		assert_int_equal(act(i, RESV_REGISTER, 0, 0, 10 * i), RESV_OK);
}

static void registering_needs_the_present_key(void **state)
{
	assert_int_equal(act(1, RESV_REGISTER, 0, 5, 10), RESV_CONFLICT); /* not registered: the key is 0 */
	assert_int_equal(act(1, RESV_REGISTER, 0, 0, 0), RESV_OK);        /* nothing to do */
	assert_int_equal(s.count, 0);
	assert_int_equal(act(1, RESV_REGISTER, 0, 0, 10), RESV_OK);
	assert_int_equal(act(1, RESV_REGISTER, 0, 0, 11), RESV_CONFLICT);
	assert_int_equal(act(1, RESV_REGISTER, 0, 10, 11), RESV_OK);
	assert_int_equal(resv_find(&s, 1)->key, 11);
	assert_int_equal(act(1, RESV_REGISTER_IGNORE, 0, 999, 12), RESV_OK);
	assert_int_equal(resv_find(&s, 1)->key, 12);
	assert_int_equal(act(1, RESV_REGISTER, 0, 12, 0), RESV_OK);
	assert_int_equal(s.count, 0);
	assert_int_equal(s.generation, 5);
}

static void nvme_registers_in_its_own_words(void **state)
{
	assert_int_equal(act(1, RESV_NVME_REGISTER, 0, 0, 0), RESV_BAD_FIELD);
	assert_int_equal(act(1, RESV_NVME_REPLACE, 0, 0, 7), RESV_CONFLICT);
	assert_int_equal(act(1, RESV_NVME_UNREGISTER, 0, 0, 0), RESV_CONFLICT);
	assert_int_equal(act(1, RESV_NVME_REGISTER, 0, 0, 7), RESV_OK);
	assert_int_equal(act(1, RESV_NVME_REGISTER, 0, 0, 7), RESV_OK);       /* again is no error */
	assert_int_equal(act(1, RESV_NVME_REGISTER, 0, 0, 8), RESV_CONFLICT);
	assert_int_equal(act(1, RESV_NVME_REPLACE, 0, 9, 8), RESV_CONFLICT);
	assert_int_equal(act(1, RESV_NVME_REPLACE, 0, 7, 8), RESV_OK);
	assert_int_equal(act(1, RESV_NVME_UNREGISTER, 0, 7, 0), RESV_CONFLICT);
	assert_int_equal(act(1, RESV_NVME_UNREGISTER, 0, 8, 0), RESV_OK);
	assert_int_equal(s.count, 0);
}

static void only_registrants_reserve(void **state)
{
	three();
	assert_int_equal(act(4, RESV_RESERVE, RESV_WE, 0, 0), RESV_CONFLICT);
	assert_int_equal(act(1, RESV_RESERVE, RESV_WE, 11, 0), RESV_CONFLICT);
	assert_int_equal(act(1, RESV_RESERVE, RESV_WE, 10, 0), RESV_OK);
	assert_true(out.changed);
	assert_int_equal(act(1, RESV_RESERVE, RESV_WE, 10, 0), RESV_OK);       /* again */
	assert_false(out.changed);
	assert_int_equal(act(1, RESV_RESERVE, RESV_EA, 10, 0), RESV_CONFLICT); /* another type */
	assert_int_equal(act(2, RESV_RESERVE, RESV_WE, 20, 0), RESV_CONFLICT);
	assert_int_equal(s.generation, 3);
}

static void releasing_tells_registrants_of_types_that_concern_them(void **state)
{
	for (uint8_t t = RESV_WE; t < RESV_TYPE_COUNT; t++) {
		fresh(NULL);
		three();
		assert_int_equal(act(1, RESV_RESERVE, t, 10, 0), RESV_OK);
		assert_int_equal(act(1, RESV_RELEASE, t == RESV_WE ? RESV_EA : RESV_WE, 10, 0), RESV_BAD_RELEASE);
		if (!resv_type_is_all(t)) {
			assert_int_equal(act(2, RESV_RELEASE, t, 20, 0), RESV_OK); /* not the holder: nothing happens */
			assert_int_equal(s.type, t);
		}
		assert_int_equal(act(1, RESV_RELEASE, t, 11, 0), RESV_CONFLICT);
		assert_int_equal(act(1, RESV_RELEASE, t, 10, 0), RESV_OK);
		assert_int_equal(s.type, RESV_NONE);
		assert_int_equal(told(2, RESV_EVENT_RESERVATION_RELEASED), t != RESV_WE && t != RESV_EA);
		assert_int_equal(out.told_count, t != RESV_WE && t != RESV_EA ? 2 : 0);
	}
}

static void a_reservation_ends_with_its_holder_or_its_last_registrant(void **state)
{
	three();
	assert_int_equal(act(1, RESV_RESERVE, RESV_EARO, 10, 0), RESV_OK);
	assert_int_equal(act(1, RESV_REGISTER, 0, 10, 0), RESV_OK);
	assert_int_equal(s.type, RESV_NONE);
	assert_true(told(2, RESV_EVENT_RESERVATION_RELEASED) && told(3, RESV_EVENT_RESERVATION_RELEASED));
	assert_int_equal(act(2, RESV_RESERVE, RESV_EAAR, 20, 0), RESV_OK);
	assert_int_equal(act(2, RESV_REGISTER, 0, 20, 0), RESV_OK);
	assert_int_equal(s.type, RESV_EAAR);
	assert_int_equal(act(3, RESV_REGISTER_IGNORE, 0, 0, 0), RESV_OK);
	assert_int_equal(s.type, RESV_NONE);
}

static void preempting_takes_over_and_drives_out(void **state)
{
	three();
	assert_int_equal(act(1, RESV_RESERVE, RESV_WE, 10, 0), RESV_OK);
	assert_int_equal(act(2, RESV_PREEMPT, RESV_EA, 20, 0), RESV_BAD_FIELD);
	assert_int_equal(act(2, RESV_PREEMPT, RESV_EA, 20, 99), RESV_CONFLICT);
	assert_int_equal(act(2, RESV_PREEMPT, RESV_EA, 21, 10), RESV_CONFLICT);
	assert_int_equal(act(2, RESV_PREEMPT, RESV_EA, 20, 10), RESV_OK);
	assert_int_equal(s.type, RESV_EA);
	assert_int_equal(s.holder, 2);
	assert_int_equal(s.count, 2);
	assert_true(told(1, RESV_EVENT_REGISTRATION_PREEMPTED));
	assert_true(told(3, RESV_EVENT_RESERVATION_RELEASED)); /* the type changed */
	assert_false(out.aborts);
	assert_int_equal(act(3, RESV_PREEMPT_ABORT, RESV_EA, 30, 20), RESV_OK);
	assert_true(out.aborts);
	assert_int_equal(s.holder, 3);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.generation, 5);
}

static void preempting_somebody_else_leaves_the_reservation(void **state)
{
	three();
	assert_int_equal(act(1, RESV_RESERVE, RESV_WE, 10, 0), RESV_OK);
	assert_int_equal(act(2, RESV_PREEMPT_ABORT, RESV_EA, 20, 30), RESV_OK);
	assert_int_equal(s.type, RESV_WE);
	assert_int_equal(s.holder, 1);
	assert_null(resv_find(&s, 3));
	assert_true(out.aborts);
	assert_int_equal(act(1, RESV_PREEMPT_ABORT, RESV_EARO, 10, 10), RESV_OK); /* itself: another type */
	assert_int_equal(s.type, RESV_EARO);
	assert_int_equal(s.count, 2);
	assert_false(out.aborts);
}

static void preempting_all_registrants(void **state)
{
	three();
	assert_int_equal(act(1, RESV_RESERVE, RESV_WEAR, 10, 0), RESV_OK);
	assert_int_equal(act(2, RESV_PREEMPT, RESV_EA, 20, 10), RESV_OK); /* one of them */
	assert_int_equal(s.type, RESV_WEAR);
	assert_int_equal(s.count, 2);
	assert_int_equal(act(2, RESV_PREEMPT, RESV_EA, 20, 0), RESV_OK);  /* all */
	assert_int_equal(s.type, RESV_EA);
	assert_int_equal(s.holder, 2);
	assert_int_equal(s.count, 1);
	assert_true(told(3, RESV_EVENT_REGISTRATION_PREEMPTED));
}

static void clearing_tells_all_others(void **state)
{
	three();
	assert_int_equal(act(1, RESV_RESERVE, RESV_WE, 10, 0), RESV_OK);
	assert_int_equal(act(2, RESV_CLEAR, 0, 10, 0), RESV_CONFLICT);
	assert_int_equal(act(2, RESV_CLEAR, 0, 20, 0), RESV_OK); /* any registrant may */
	assert_int_equal(s.count + s.type + s.holder, 0);
	assert_true(told(1, RESV_EVENT_RESERVATION_PREEMPTED) && told(3, RESV_EVENT_RESERVATION_PREEMPTED));
	assert_int_equal(out.told_count, 2);
}

static enum resv_result move(uint32_t party, uint64_t key, uint64_t new_key, uint32_t to, uint8_t flags)
{
	struct resv_op op = { .action = RESV_REGISTER_MOVE, .key = key, .new_key = new_key, .party = party, .flags = flags,
	                      .other_parties = others, .other_count = 1 };
	struct resv_state next = s;
	enum resv_result rc;

	others[0] = to;
	rc = resv_change(&next, &op, &out);
	if (rc == RESV_OK)
		s = next;
	return rc;
}

static void register_and_move(void **state)
{
	three();
	assert_int_equal(move(1, 10, 40, 4, 0), RESV_CONFLICT); /* no reservation */
	assert_int_equal(act(1, RESV_RESERVE, RESV_WE, 10, 0), RESV_OK);
	assert_int_equal(move(2, 20, 40, 4, 0), RESV_CONFLICT);
	assert_int_equal(move(1, 10, 0, 4, 0), RESV_BAD_FIELD);
	assert_int_equal(move(1, 10, 40, 1, 0), RESV_BAD_FIELD);
	assert_int_equal(move(1, 10, 40, 4, RESV_F_UNREGISTER), RESV_OK);
	assert_int_equal(s.holder, 4);
	assert_int_equal(s.type, RESV_WE);
	assert_null(resv_find(&s, 1));
	assert_int_equal(resv_find(&s, 4)->key, 40);
}

static void registering_for_others(void **state)
{
	struct resv_op op = { .action = RESV_REGISTER, .new_key = 5, .party = 1, .other_parties = others,
	                      .other_count = 2 };

	others[0] = 7;
	others[1] = 8;
	assert_int_equal(resv_change(&s, &op, &out), RESV_OK);
	assert_int_equal(s.count, 3);
	op.key = 5;
	op.flags = RESV_F_FOR_OTHERS;
	assert_int_equal(resv_change(&s, &op, &out), RESV_BAD_FIELD); /* SPEC_I_PT by a registrant */
	op.flags = RESV_F_ALL_PORTS;
	op.new_key = 0;
	assert_int_equal(resv_change(&s, &op, &out), RESV_OK);
	assert_int_equal(s.count, 0);
}

/* Who registers for others adds those who are not there: it takes nobody's registration away, nor puts its own key in
 * the place of theirs. */
static void who_registers_for_others_leaves_registrants_alone(void **state)
{
	struct resv_op op = { .action = RESV_REGISTER, .party = 4, .other_parties = others, .other_count = 2 };

	three();
	assert_int_equal(act(1, RESV_RESERVE, RESV_EA, 10, 0), RESV_OK);
	others[0] = 1;
	others[1] = 7;
	assert_int_equal(resv_change(&s, &op, &out), RESV_OK); /* a stranger "unregisters" */
	assert_int_equal(out.told_count, 0);
	assert_int_equal(s.count, 3);
	assert_int_equal(s.type, RESV_EA);
	assert_int_equal(s.holder, 1);
	op.new_key = 5;
	assert_int_equal(resv_change(&s, &op, &out), RESV_OK);
	assert_int_equal(s.count, 5);
	assert_int_equal(resv_find(&s, 1)->key, 10);
	assert_int_equal(resv_find(&s, 7)->key, 5);
	op.key = 5;
	op.flags = RESV_F_ALL_PORTS; /* of its own ports: those that are registered as it is */
	op.new_key = 6;
	assert_int_equal(resv_change(&s, &op, &out), RESV_OK);
	assert_int_equal(resv_find(&s, 1)->key, 10);
	assert_int_equal(resv_find(&s, 7)->key, 6);
	op.key = 6;
	op.new_key = 0;
	assert_int_equal(resv_change(&s, &op, &out), RESV_OK);
	assert_int_equal(s.count, 3);
	assert_int_equal(s.holder, 1);
}

static void there_is_room_for_so_many_and_no_more(void **state)
{
	for (uint32_t i = 1; i <= RESV_REGISTRANTS_MAX; i++)
		assert_int_equal(act(i, RESV_REGISTER, 0, 0, i), RESV_OK);
	assert_int_equal(act(RESV_REGISTRANTS_MAX + 1, RESV_REGISTER, 0, 0, 1), RESV_NO_ROOM);
	assert_int_equal(act(1, RESV_CLEAR, 0, 1, 0), RESV_OK);
	assert_int_equal(out.told_count, RESV_REGISTRANTS_MAX - 1);
}

static void spc2_stands_beside_nothing(void **state)
{
	assert_int_equal(act(1, RESV_SPC2_RESERVE, 0, 0, 0), RESV_OK);
	assert_int_equal(act(1, RESV_SPC2_RESERVE, 0, 0, 0), RESV_OK);
	assert_int_equal(act(2, RESV_SPC2_RESERVE, 0, 0, 0), RESV_CONFLICT);
	assert_int_equal(act(1, RESV_REGISTER, 0, 0, 10), RESV_CONFLICT);
	assert_int_equal(act(2, RESV_NVME_REGISTER, 0, 0, 10), RESV_CONFLICT);
	assert_int_equal(act(2, RESV_SPC2_RELEASE, 0, 0, 0), RESV_OK); /* and nothing happens */
	assert_int_equal(s.spc2, 1);
	assert_int_equal(act(1, RESV_SPC2_RELEASE, 0, 0, 0), RESV_OK);
	three();
	assert_int_equal(act(1, RESV_SPC2_RESERVE, 0, 0, 0), RESV_OK); /* a registrant's does nothing */
	assert_int_equal(s.spc2, 0);
	assert_int_equal(act(4, RESV_SPC2_RESERVE, 0, 0, 0), RESV_CONFLICT);
}

/* --- records --------------------------------------------------------------------------------------------- */

struct read_back {
	uint32_t count;
	uint64_t keys[4];
	char names[4][300];
	uint16_t ports[4];
};

static void one_read(void *arg, const struct resv_identity *id, uint64_t key)
{
	struct read_back *b = arg;

	b->keys[b->count] = key;
	b->ports[b->count] = id->port_id;
	snprintf(b->names[b->count++], sizeof(b->names[0]), "%u|%s|%s|%s", id->kind, id->name, id->port, id->target);
}

static void a_record_is_read_back(void **state)
{
	struct resv_parties *p = resv_parties_make();
	struct resv_identity nvme = { .kind = RESV_NVME_HOST, .host_id = { .b = { 1 } }, .name = "nqn.a b%c\xc3\xa9" };
	struct resv_identity scsi = { .kind = RESV_SCSI_NEXUS, .name = "iqn.x", .port = "iqn.x,i,0x00023d000001",
	                              .target = "iqn.t", .port_id = 3 };
	struct uuid uuid = { .b = { 9 } };
	struct resv_record r;
	struct read_back b = { 0 };
	size_t len;
	char *text;

	s.who[0] = (struct resv_registrant){ .key = 0x1234, .party = resv_party_take(p, &nvme)->id };
	s.who[1] = (struct resv_registrant){ .key = UINT64_MAX, .party = resv_party_take(p, &scsi)->id };
	s.count = 2;
	s.type = RESV_EARO;
	s.holder = s.who[1].party;
	s.generation = 77;
	text = resv_record_make(p, &uuid, &s, &len);
	assert_true(resv_record_read(text, len, &r, one_read, &b));
	assert_true(uuid_equal(&r.uuid, &uuid));
	assert_int_equal(r.generation, 77);
	assert_int_equal(r.type, RESV_EARO);
	assert_int_equal(r.holder_at, 1);
	assert_int_equal(b.keys[0], 0x1234);
	assert_true(b.keys[1] == UINT64_MAX);
	assert_string_equal(b.names[0], "0|nqn.a b%c\xc3\xa9||");
	assert_string_equal(b.names[1], "1|iqn.x|iqn.x,i,0x00023d000001|iqn.t");
	assert_int_equal(b.ports[1], 3);
	for (size_t cut = 0; cut + 5 < len; cut++) /* no part of it is one, but for the last name's length */
		assert_false(resv_record_read(text, cut, &r, NULL, NULL));
	free(text);
	resv_parties_free(p);
}

static void parties_are_known_by_what_makes_them_one(void **state)
{
	struct resv_parties *p = resv_parties_make();
	struct resv_identity a = { .kind = RESV_NVME_HOST, .host_id = { .b = { 1 } }, .name = "x" }, b = a, none = a;
	uint32_t id = resv_party_take(p, &a)->id, id_none, id2;

	b.name = "y"; /* the same host by another name */
	assert_int_equal(resv_party_take(p, &b)->id, id);
	none.host_id = (struct uuid){ .b = { 0 } };
	none.port_id = 1;
	id_none = resv_party_take(p, &none)->id;
	none.port_id = 2; /* who has no identifier is each controller for itself */
	assert_int_not_equal(resv_party_take(p, &none)->id, id_none);
	resv_party_unref(p, id);
	resv_party_unref(p, id);
	a.host_id.b[0] = 2;
	id2 = resv_party_take(p, &a)->id;
	assert_int_equal(id2, id); /* the number is free again */
	for (uint32_t i = 0; i < 300; i++) {
		a.host_id.b[1] = (uint8_t)i;
		a.host_id.b[2] = (uint8_t)(i >> 8);
		a.host_id.b[3] = 1;
		resv_party_take(p, &a);
	}
	assert_non_null(resv_party_of(p, 300));
	resv_parties_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rule_is_the_standards_table),
		cmocka_unit_test(types_have_the_standards_codes),
		cmocka_unit_test_setup(registering_needs_the_present_key, fresh),
		cmocka_unit_test_setup(nvme_registers_in_its_own_words, fresh),
		cmocka_unit_test_setup(only_registrants_reserve, fresh),
		cmocka_unit_test_setup(releasing_tells_registrants_of_types_that_concern_them, fresh),
		cmocka_unit_test_setup(a_reservation_ends_with_its_holder_or_its_last_registrant, fresh),
		cmocka_unit_test_setup(preempting_takes_over_and_drives_out, fresh),
		cmocka_unit_test_setup(preempting_somebody_else_leaves_the_reservation, fresh),
		cmocka_unit_test_setup(preempting_all_registrants, fresh),
		cmocka_unit_test_setup(clearing_tells_all_others, fresh),
		cmocka_unit_test_setup(register_and_move, fresh),
		cmocka_unit_test_setup(registering_for_others, fresh),
		cmocka_unit_test_setup(who_registers_for_others_leaves_registrants_alone, fresh),
		cmocka_unit_test_setup(there_is_room_for_so_many_and_no_more, fresh),
		cmocka_unit_test_setup(spc2_stands_beside_nothing, fresh),
		cmocka_unit_test_setup(a_record_is_read_back, fresh),
		cmocka_unit_test(parties_are_known_by_what_makes_them_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
