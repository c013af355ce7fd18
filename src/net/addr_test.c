/* SPDX-License-Identifier: BSD-3-Clause */
/* addr_test.c: addresses keep their meaning from text to text, and say what is wrong with a bad one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net.h"

static struct net_addr parsed(enum net_family family, const char *host, const char *service)
{
	struct net_addr a;
	struct err e = { 0 };

	if (net_addr_parse(family, host, service, &a, &e))
		fail_msg("%s %s: %s", host, service ? service : "", e.text);
	return a;
}

static const char *refused(enum net_family family, const char *host, const char *service)
{
	static struct err e;
	struct net_addr a;

	e = (struct err){ 0 };
	assert_int_equal(net_addr_parse(family, host, service, &a, &e), ERR_BAD_PARAM);
	assert_int_equal(e.code, ERR_BAD_PARAM);
	return e.text;
}

/* What a person wrote must come back in `status` and in saved configurations. */
static void text_comes_back(void **state)
{
	static const struct { enum net_family family; const char *host, *service, *text, *host_out; } cases[] = {
		{ NET_ANY, "127.0.0.1", "4420", "127.0.0.1:4420", "127.0.0.1" },
		{ NET_IPV4, "0.0.0.0", "", "0.0.0.0:0", "0.0.0.0" },
		{ NET_ANY, "::1", "65535", "[::1]:65535", "::1" },
		{ NET_ANY, "[2001:db8::1]", "3260", "[2001:db8::1]:3260", "2001:db8::1" },
		{ NET_IPV6, "fe80::1%lo", "1", "[fe80::1%lo]:1", "fe80::1%lo" },
		{ NET_IPV6, "[fe80::1%1]", "1", "[fe80::1%lo]:1", "fe80::1%lo" },
		{ NET_IPV6, "fe80::1%4000000000", "1", "[fe80::1%4000000000]:1", "fe80::1%4000000000" },
		{ NET_ANY, "/run/gantry.sock", NULL, "/run/gantry.sock", "/run/gantry.sock" },
		{ NET_UNIX, "gantry.sock", "5260", "gantry.sock", "gantry.sock" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct net_addr a = parsed(cases[i].family, cases[i].host, cases[i].service);
		char buf[NET_ADDR_TEXT_MAX];

		assert_string_equal(net_addr_text(&a, buf), cases[i].text);
		assert_string_equal(net_addr_host(&a, buf), cases[i].host_out);
	}
}

/* Bad values are refused, not guessed at: "127.1" or a port of 65536 would listen where nobody looks. */
static void bad_values_are_named(void **state)
{
	char path[200];

	assert_non_null(strstr(refused(NET_IPV4, "127.1", "1"), "127.1"));
	assert_non_null(strstr(refused(NET_IPV4, "::1", "1"), "IPv4"));
	assert_non_null(strstr(refused(NET_IPV6, "10.0.0.1", "1"), "IPv6"));
	assert_non_null(strstr(refused(NET_ANY, "10.0.0.1", "65536"), "65536"));
	assert_non_null(strstr(refused(NET_ANY, "10.0.0.1", "-1"), "-1"));
	assert_non_null(strstr(refused(NET_ANY, "10.0.0.1", "nvme"), "nvme"));
	assert_non_null(strstr(refused(NET_ANY, "10.0.0.1", " 1"), "port"));
	assert_non_null(strstr(refused(NET_ANY, "fe80::1%no-such-if", "1"), "no-such-if"));
	assert_non_null(strstr(refused(NET_ANY, "fe80::1%", "1"), "not a network interface"));
	assert_non_null(strstr(refused(NET_ANY, "::1%lo", "1"), "leave out %lo"));
	assert_non_null(strstr(refused(NET_ANY, "", "1"), "empty"));
	assert_non_null(strstr(refused(NET_ANY, NULL, "1"), "empty"));
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = 0;
	assert_non_null(strstr(refused(NET_ANY, path, NULL), "107"));
	path[0] = ':';
	assert_non_null(strstr(refused(NET_ANY, path, NULL), "too long"));
}

/* A wildcard listener is the one that took a connection to any address of its family and port. */
static void wildcard_covers_its_family(void **state)
{
	struct net_addr any4 = parsed(NET_ANY, "0.0.0.0", "4420"), any6 = parsed(NET_ANY, "::", "4420");
	struct net_addr a = parsed(NET_ANY, "10.0.0.1", "4420"), b = parsed(NET_ANY, "10.0.0.1", "4421");
	struct net_addr c = parsed(NET_ANY, "2001:db8::1", "4420");

	assert_true(net_addr_covers(&any4, &a));
	assert_false(net_addr_covers(&any4, &b));
	assert_false(net_addr_covers(&any4, &c));
	assert_true(net_addr_covers(&any6, &c));
	assert_false(net_addr_covers(&a, &any4));
	assert_true(net_addr_covers(&a, &a));
}

static void equality_is_by_meaning(void **state)
{
	struct net_addr a = parsed(NET_ANY, "10.0.0.1", "1"), b = parsed(NET_ANY, "10.0.0.1", "2");
	struct net_addr un = parsed(NET_ANY, "/a", NULL), un2 = parsed(NET_ANY, "/ab", NULL);
	struct net_addr scoped = parsed(NET_ANY, "fe80::1%1", "1"), other = parsed(NET_ANY, "fe80::1%2", "1");

	assert_false(net_addr_equal(&a, &b));
	net_addr_set_port(&b, 1);
	assert_true(net_addr_equal(&a, &b));
	assert_true(net_addr_equal(&un, &un));
	assert_false(net_addr_equal(&un, &un2));
	assert_false(net_addr_equal(&scoped, &other));
	assert_false(net_addr_equal(&a, &un));
	net_addr_set_port(&b, 2);
	net_addr_set_port(&other, 2);
	assert_true(net_addr_same_host(&a, &b));
	assert_false(net_addr_same_host(&a, &scoped));
	assert_false(net_addr_same_host(&scoped, &other));
	assert_false(net_addr_same_host(&un, &un)); /* of the machine, whoever it is */
}

/* Another machine would take our interface for one of its own; and nobody can listen without knowing on which. */
static void an_interface_is_this_machines(void **state)
{
	struct net_addr a = parsed(NET_ANY, "fe80::1%lo", "1"), none = parsed(NET_ANY, "fe80::1", "1");
	struct net_addr global = parsed(NET_ANY, "2001:db8::1", "1"), v4 = parsed(NET_ANY, "192.0.2.1", "1");
	char buf[NET_ADDR_TEXT_MAX];

	assert_string_equal(net_addr_host_abroad(&a, buf), "fe80::1");
	assert_string_equal(net_addr_host_abroad(&global, buf), "2001:db8::1");
	assert_string_equal(net_addr_host_abroad(&v4, buf), "192.0.2.1");
	assert_false(net_addr_equal(&a, &none));
	assert_true(net_addr_lacks_interface(&none));
	assert_false(net_addr_lacks_interface(&a) || net_addr_lacks_interface(&global) || net_addr_lacks_interface(&v4));
}

/* accept() on a UNIX socket gives a peer without a name. */
static void unnamed_peer_has_text(void **state)
{
	struct net_addr a = { .len = sizeof(sa_family_t) };
	char buf[NET_ADDR_TEXT_MAX];

	a.any.sa_family = AF_UNIX;
	assert_string_equal(net_addr_text(&a, buf), "(unnamed)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_comes_back),
		cmocka_unit_test(bad_values_are_named),
		cmocka_unit_test(wildcard_covers_its_family),
		cmocka_unit_test(equality_is_by_meaning),
		cmocka_unit_test(an_interface_is_this_machines),
		cmocka_unit_test(unnamed_peer_has_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
