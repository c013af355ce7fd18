/* SPDX-License-Identifier: BSD-3-Clause */
/* names_test.c: names, netmasks, and who an initiator group lets in: a mistake here lets a stranger at
 * somebody's disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "iscsi/config.h"

static struct net_addr address(const char *host)
{
	struct net_addr a;

	assert_int_equal(net_addr_parse(strchr(host, ':') ? NET_IPV6 : NET_IPV4, host, "0", &a, NULL), 0);
	return a;
}

static bool has(const char *mask, const char *host)
{
	struct net_addr a = address(host);
	struct iscsi_netmask m;
	struct err e = { 0 };
	bool yes;

	assert_int_equal(iscsi_netmask_parse(mask, &m, &e), 0);
	yes = iscsi_netmask_has(&m, &a);
	free(m.text);
	return yes;
}

static void a_netmask_has_its_prefix(void **state)
{
	assert_true(has("ANY", "192.0.2.1"));
	assert_true(has("any", "2001:db8::1"));
	assert_true(has("ALL", "192.0.2.1"));
	assert_true(has("192.0.2.0/24", "192.0.2.255"));
	assert_false(has("192.0.2.0/24", "192.0.3.0"));
	assert_true(has("192.0.2.128/25", "192.0.2.129"));
	assert_false(has("192.0.2.128/25", "192.0.2.127"));
	assert_true(has("192.0.2.7", "192.0.2.7"));
	assert_false(has("192.0.2.7", "192.0.2.6"));
	assert_true(has("192.0.2.7/31", "192.0.2.6"));
	assert_true(has("0.0.0.0/0", "203.0.113.9"));
	assert_true(has("[2001:db8::]/32", "2001:db8:ffff::1"));
	assert_false(has("[2001:db8::]/32", "2001:db9::1"));
	assert_true(has("2001:db8::/33", "2001:db8:7fff::"));
	assert_false(has("2001:db8::/33", "2001:db8:8000::"));
	assert_true(has("[::1]", "::1"));
	assert_false(has("[::1]", "::2"));
}

/* A listener on :: may hear of IPv4 hosts as ::ffff:a.b.c.d. */
static void families_are_told_apart(void **state)
{
	assert_true(has("192.0.2.0/24", "::ffff:192.0.2.9"));
	assert_false(has("192.0.2.0/24", "::ffff:192.0.3.9"));
	assert_false(has("0.0.0.0/0", "2001:db8::1"));
	assert_false(has("::/0", "192.0.2.1"));
	assert_true(has("::/0", "2001:db8::1"));
}

static void a_bad_netmask_is_refused(void **state)
{
	static const char *const bad[] = { "", "/", "/24", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/24x",
		"192.0.2", "host", "[2001:db8::/32", "[2001:db8::]/129", "[]", "[[::]]", "192.0.2.0 /24", "ANYONE",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff:0000/64" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct iscsi_netmask m;
		struct err e = { 0 };

		if (iscsi_netmask_parse(bad[i], &m, &e) != ERR_BAD_PARAM)
			fail_msg("'%s' was taken for a netmask", bad[i]);
		assert_non_null(strstr(e.text, "netmasks: "));
	}
}

static int says(char **names, uint32_t count, const char *initiator)
{
	const struct iscsi_initiator_group g = { .names = names, .name_count = count };

	return iscsi_initiator_group_says(&g, initiator);
}

static void the_first_name_that_fits_decides(void **state)
{
	static char evil[] = "!iqn.2016-06.io.spdk:evil", host[] = "iqn.2016-06.io.spdk:host", none[] = "!ANY",
	            late[] = "iqn.2016-06.io.spdk:late", all[] = "ANY";
	char *list[] = { evil, host, none, late };
	char *any[] = { all };

	assert_int_equal(says(list, 4, "iqn.2016-06.io.spdk:host"), 1);
	assert_int_equal(says(list, 4, "IQN.2016-06.io.SPDK:Host"), 1);
	assert_int_equal(says(list, 4, "iqn.2016-06.io.spdk:evil"), 0);
	assert_int_equal(says(list, 4, "iqn.2016-06.io.spdk:late"), 0);
	assert_int_equal(says(list, 2, "iqn.2016-06.io.spdk:other"), -1);
	assert_int_equal(says(list, 2, "iqn.2016-06.io.spdk:hos"), -1);
	assert_int_equal(says(any, 1, "anything"), 1);
	assert_int_equal(says(any, 0, "anything"), -1);
}

static void names_are_checked(void **state)
{
	static const char *const good[] = { "iqn.2016-06.io.spdk:disk1", "iqn.2016-06.io.spdk", "IQN.2016-06.io.Spdk:D",
		"eui.0123456789abcdef", "naa.0123456789ABCDEF", "naa.0123456789abcdef0123456789abcdef",
		"iqn.2016-06.io.spdk:a-b.c:d" };
	static const char *const bad[] = { "", "disk1", "iqn.", "iqn.2016-06", "iqn.2016-06.", "iqn.2016-6.io.spdk:x",
		"iqn.2016-06.io.spdk:a b", "iqn.2016-06.io.spdk:a_b", "iqn.2016-06.io.spdk:a,b", "iqn.2016-06.io.spdk:a/b",
		"iqn.2016-06.io.spdk:\x01", "eui.0123", "eui.0123456789abcdefg", "naa.01234567", "naa.0123456789abcdeg" };
	char name[ISCSI_NAME_MAX + 2] = "iqn.2016-06.io.spdk:";
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		e = (struct err){ 0 };
		if (iscsi_name_check("name", good[i], &e))
			fail_msg("'%s': %s", good[i], e.text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		e = (struct err){ 0 };
		if (iscsi_name_check("name", bad[i], &e) != ERR_BAD_PARAM)
			fail_msg("'%s' was taken for a name", bad[i]);
		assert_non_null(strstr(e.text, "name: "));
	}
	memset(name + 20, 'x', ISCSI_NAME_MAX - 20);
	e = (struct err){ 0 };
	assert_int_equal(iscsi_name_check("name", name, &e), 0);
	name[ISCSI_NAME_MAX] = 'x';
	assert_int_equal(iscsi_name_check("name", name, &e), ERR_BAD_PARAM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_netmask_has_its_prefix),
		cmocka_unit_test(families_are_told_apart),
		cmocka_unit_test(a_bad_netmask_is_refused),
		cmocka_unit_test(the_first_name_that_fits_decides),
		cmocka_unit_test(names_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
