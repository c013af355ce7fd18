/* SPDX-License-Identifier: BSD-3-Clause */
/* strangers_test.c: who goes when there are too many: a mistake lets a crowd keep hosts out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "nvmf/strangers.h"

#define MAX 6u

static struct nvmf_strangers all;
static struct nvmf_stranger who[64];

static struct net_addr at(uint32_t n)
{
	char ip[24];
	struct net_addr a;

	snprintf(ip, sizeof(ip), "10.0.%u.%u", n / 250, 1 + n % 250);
	must(!net_addr_parse(NET_IPV4, ip, "1024", &a, NULL));
	net_addr_set_port(&a, (uint16_t)(1024 + n * 7)); /* it does not count */
	return a;
}

static int came(uint32_t i, uint32_t host)
{
	const struct net_addr a = at(host);
	struct nvmf_stranger *goes;

	nvmf_stranger_came(&all, &who[i], &a);
	goes = nvmf_stranger_stays(&all, &who[i]);
	assert_true(all.count <= MAX);
	return goes ? (int)(goes - who) : -1;
}

static void nothing_is_left(void)
{
	assert_true(list_empty(&all.levels[0]) && list_empty(&all.levels[1]));
	for (uint32_t i = 0; i < NVMF_PEER_BUCKETS; i++)
		assert_true(list_empty(&all.peers[i]));
}

static void everybody_goes(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		nvmf_stranger_gone(&all, &who[i]);
	assert_int_equal(all.count, 0);
	nothing_is_left();
}

static void the_oldest_of_equals_goes(void **state)
{
	nvmf_strangers_init(&all, MAX);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(came(i, i), i < MAX ? -1 : (int)(i - MAX));
	assert_int_equal(all.crowded_out, 20 - MAX);
	everybody_goes(20);
}

static void of_the_address_that_has_most(void **state)
{
	const struct net_addr many = at(9);

	nvmf_strangers_init(&all, MAX);
	came(0, 1);
	came(1, 9);
	came(2, 2);
	came(3, 9);
	came(4, 9);
	came(5, 3);
	assert_int_equal(nvmf_strangers_of(&all, &many), 3);
	assert_int_equal(came(6, 9), 1);  /* it pays for its own */
	assert_int_equal(came(7, 4), 3);
	assert_int_equal(nvmf_strangers_of(&all, &many), 2);
	everybody_goes(8);
}

/* However many there are, and however few of each address. */
static void a_known_host_is_the_last_to_lose_any(void **state)
{
	nvmf_strangers_init(&all, MAX);
	came(0, 1);
	nvmf_stranger_connected(&all, &who[0]);
	nvmf_stranger_connected(&all, &who[0]); /* told twice: once */
	for (uint32_t i = 1; i <= 4; i++)     /* its further queues */
		came(i, 1);
	for (uint32_t i = 5; i < 40; i++)
		assert_true(came(i, i) == -1 || !who[i - 2].connected);
	for (uint32_t i = 1; i <= 4; i++)
		assert_false(list_empty(&who[i].link));
	nvmf_stranger_gone(&all, &who[0]);       /* now its address is known no more */
	assert_int_equal(came(40, 40), 1);
	for (uint32_t i = 1; i <= 40; i++)
		nvmf_stranger_gone(&all, &who[i]);
	nothing_is_left();
}

/* Whatever came before: by the rule, as one who looks at all of them sees it. */
#define HOSTS 9u
static struct { uint64_t came; uint32_t host; bool there, stranger, connected; } m[ARRAY_SIZE(who)];

static uint32_t count_of(uint32_t host, bool connected)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ARRAY_SIZE(m); i++)
		n += m[i].there && m[i].host == host && (connected ? m[i].connected : m[i].stranger);
	return n;
}

static void goes_by_the_rule(uint32_t goes, uint32_t stays)
{
	uint32_t host = m[goes].host;

	assert_true(goes != stays && m[goes].there && m[goes].stranger);
	for (uint32_t h = 0; h < HOSTS; h++) {
		if (count_of(h, false) <= (h == m[stays].host)) /* nobody there but who stays */
			continue;
		if (count_of(host, true))
			assert_true(count_of(h, true));
		if (!count_of(h, true) == !count_of(host, true))
			assert_true(count_of(h, false) <= count_of(host, false));
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(m); i++)
		assert_false(m[i].stranger && m[i].host == host && m[i].came < m[goes].came && i != stays);
}

static void the_rule_holds_for_any_crowd(void **state)
{
	uint64_t random = 7;

	memset(m, 0, sizeof(m));
	nvmf_strangers_init(&all, 20);
	for (uint64_t n = 1; n < 20000; n++) {
		uint32_t i, host;
		struct net_addr a;

		random = random * 6364136223846793005u + 1442695040888963407u;
		i = (uint32_t)(random >> 33) % ARRAY_SIZE(m);
		host = (uint32_t)(random >> 48) % HOSTS;
		host = min_u32(host, (uint32_t)(random >> 56) % HOSTS); /* some have more */
		a = at(host);
		if (!m[i].there) {
			struct nvmf_stranger *goes;

			m[i] = (typeof(m[i])){ .came = n, .host = host, .there = true, .stranger = true };
			nvmf_stranger_came(&all, &who[i], &a);
			goes = nvmf_stranger_stays(&all, &who[i]);
			if (goes) {
				goes_by_the_rule((uint32_t)(goes - who), i);
				m[goes - who].stranger = false;
			}
			assert_int_equal(nvmf_strangers_of(&all, &a), count_of(host, false));
		} else if (random >> 40 & 1) {
			nvmf_stranger_connected(&all, &who[i]);
			m[i].stranger = false;
			m[i].connected = true;
		} else {
			nvmf_stranger_gone(&all, &who[i]);
			m[i] = (typeof(m[i])){ 0 };
		}
	}
	assert_true(all.crowded_out > 100);
	for (uint32_t i = 0; i < ARRAY_SIZE(m); i++)
		if (m[i].there)
			nvmf_stranger_gone(&all, &who[i]);
	assert_int_equal(all.count, 0);
	nothing_is_left();
}

/* Who comes and cannot stay would cost another its place; and who comes after him as well. */
static void nobody_goes_for_one_that_does_not_stay(void **state)
{
	const struct net_addr here = at(1), there = at(2);

	nvmf_strangers_init(&all, 2);
	assert_int_equal(came(0, 0), -1);
	assert_int_equal(came(1, 0), -1);
	nvmf_stranger_came(&all, &who[2], &here);
	nvmf_stranger_came(&all, &who[3], &there);
	assert_ptr_equal(nvmf_stranger_stays(&all, &who[3]), &who[0]); /* who[2] is not sure yet */
	nvmf_stranger_gone(&all, &who[2]);
	assert_int_equal(all.count, 2);
	assert_int_equal(all.crowded_out, 1);
	assert_null(nvmf_stranger_stays(&all, &who[0])); /* it went while it came */
	nvmf_stranger_gone(&all, &who[0]);
	nvmf_stranger_gone(&all, &who[1]);
	nvmf_stranger_gone(&all, &who[3]);
	nothing_is_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_goes_for_one_that_does_not_stay),
		cmocka_unit_test(the_oldest_of_equals_goes),
		cmocka_unit_test(of_the_address_that_has_most),
		cmocka_unit_test(a_known_host_is_the_last_to_lose_any),
		cmocka_unit_test(the_rule_holds_for_any_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
