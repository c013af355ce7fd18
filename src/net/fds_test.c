/* SPDX-License-Identifier: BSD-3-Clause */
/* fds_test.c: descriptors travel with the bytes they were sent with, and none is left over, whoever gives up when; over
 * the kernel's UNIX sockets and over simulated ones alike. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "core/bell.h"
#include "core/share.h"
#include "net/test_run.h"

#define MESSAGES 300u
#define BODY_MAX 200u
#define MEMORY 4096u

struct header {
	uint32_t number, fds, body;
};

/* Both ends, on the control reactor. */
struct talk {
	struct net_addr addr;
	struct listener *listener;
	struct sock *client, *server;
	struct timer later;
	void (*sending)(struct talk *t), (*receiving)(struct talk *t);
	uint32_t number, fds_before, fds_after, wrong;
	int error;
	/* what is sent */
	uint8_t out[sizeof(struct header) + BODY_MAX];
	uint32_t out_len, out_at;
	int out_fds[SOCK_FDS_MAX];
	/* what is received */
	uint32_t got, come;
	struct header header;
	int in_fds[SOCK_FDS_MAX];
	struct bell bell;
	ssize_t result;
};

static void check_that(struct talk *t, bool ok) { t->wrong += !ok; }

static void talk_end(struct talk *t)
{
	bell_close(&t->bell);
	if (t->client)
		sock_close(t->client);
	if (t->server)
		sock_close(t->server);
	if (t->listener)
		listener_close(t->listener);
	t->fds_after = world_fds();
	part_ended();
}

static void client_ready(void *arg, uint32_t events)
{
	struct talk *t = arg;

	if (events & SOCK_FAILED)
		t->error = sock_error(t->client);
	t->sending(t);
}

static void server_ready(void *arg, uint32_t events)
{
	struct talk *t = arg;

	t->receiving(t);
}

static void accepted(void *arg, struct sock *s)
{
	struct talk *t = arg;

	t->server = s;
	check_that(t, sock_attach(s, server_ready, t) == 0);
}

static void talk_start(void *arg)
{
	struct talk *t = arg;
	struct err e = { 0 };

	t->fds_before = world_fds();
	t->listener = listener_open(&t->addr, 0, accepted, t, &e);
	t->client = sock_connect(&t->addr, NULL, NULL, client_ready, t, &e);
	check_that(t, t->listener && t->client);
}

static void talk(struct talk *t, void (*start)(void *arg), void (*sending)(struct talk *t),
                 void (*receiving)(struct talk *t))
{
	char path[64];

	*t = (struct talk){ .sending = sending, .receiving = receiving };
	snprintf(path, sizeof(path), "/tmp/gantry-fds-%d.sock", (int)getpid());
	assert_int_equal(net_addr_parse(NET_UNIX, path, NULL, &t->addr, NULL), 0);
	assert_int_equal(run_core(start, t, 1), 0);
	assert_int_equal(t->wrong, 0);
	assert_int_equal(t->fds_after, t->fds_before);
}

/* Memory with a number in it. */
static int make_memory(struct talk *t, uint32_t number)
{
	int fd = share_make("fds_test", MEMORY, NULL);
	struct share s;

	check_that(t, fd >= 0 && share_map(&s, fd, 0, MEMORY, true, NULL) == 0);
	memcpy(s.base, &number, sizeof(number));
	share_unmap(&s);
	return fd;
}

static bool is_memory(int fd, uint32_t number)
{
	struct share s;
	bool same = false;

	if (share_map(&s, fd, 0, MEMORY, false, NULL) == 0)
		same = memcmp(s.base, &number, sizeof(number)) == 0;
	share_unmap(&s);
	return same;
}

/* --- messages with descriptors, some without; the last one brings a bell ---------------------------------- */

static uint32_t fds_of(uint32_t number)
{
	return number % 50 == 7 ? SOCK_FDS_MAX : number * 2654435761u >> 30;
}

static void next_message(struct talk *t)
{
	struct header h = { t->number, fds_of(t->number), t->number * 2246822519u >> 24 };

	h.body = min_u32(h.body, BODY_MAX);
	if (h.number == MESSAGES - 1)
		h.fds = 1;
	memset(t->out, (int)h.number, sizeof(t->out));
	memcpy(t->out, &h, sizeof(h));
	t->out_len = sizeof(h) + h.body;
	t->out_at = 0;
	for (uint32_t i = 0; i < h.fds; i++)
		t->out_fds[i] = h.number == MESSAGES - 1 ? core_fd_dup(bell_fd(&t->bell)) : make_memory(t, h.number * 100 + i);
}

static void send_messages(struct talk *t)
{
	const struct header *h = (const struct header *)t->out;

	for (;;) {
		struct iovec iov[2];
		uint32_t half;
		ssize_t n;

		if (t->out_at == t->out_len) {
			if (t->number == MESSAGES)
				break;
			next_message(t);
		}
		half = (t->out_len - t->out_at) / 2;
		iov[0] = (struct iovec){ t->out + t->out_at, half };
		iov[1] = (struct iovec){ t->out + t->out_at + half, t->out_len - t->out_at - half };
		n = sock_send_fds(t->client, iov, 2, t->out_fds, t->out_at ? 0 : h->fds);
		if (n == -EAGAIN || (n < 0 && n == -ETOOMANYREFS)) /* so many under way: the kernel has a limit */
			break;
		if (n < 0) {
			check_that(t, false);
			break;
		}
		if (n && !t->out_at)
			for (uint32_t i = 0; i < h->fds; i++)
				core_fd_close(t->out_fds[i]);
		t->out_at += (uint32_t)n;
		t->number += t->out_at == t->out_len;
	}
	sock_want_write(t->client, t->number < MESSAGES);
}

static void message_came(struct talk *t)
{
	struct bell b;

	if (t->header.number == MESSAGES - 1) {
		check_that(t, t->come == 1);
		check_that(t, bell_take(&b, t->in_fds[0], NULL) == 0);
		bell_ring(&b);
		bell_close(&b);
		return;
	}
	check_that(t, t->come == t->header.fds && t->header.fds == fds_of(t->header.number));
	for (uint32_t i = 0; i < t->come; i++) {
		check_that(t, is_memory(t->in_fds[i], t->header.number * 100 + i));
		core_fd_close(t->in_fds[i]);
	}
}

static void receive_messages(struct talk *t)
{
	uint8_t body[BODY_MAX];

	for (;;) {
		bool in_header = t->got < sizeof(t->header);
		uint32_t want = in_header ? sizeof(t->header) - t->got : sizeof(t->header) + t->header.body - t->got;
		uint32_t count = SOCK_FDS_MAX - t->come;
		ssize_t n = sock_recv_fds(t->server, in_header ? (uint8_t *)&t->header + t->got : body, want,
		                          t->in_fds + t->come, &count);

		t->come += count;
		if (n <= 0) {
			check_that(t, n == -EAGAIN);
			return;
		}
		t->got += (uint32_t)n;
		if (t->got < sizeof(t->header) || t->got < sizeof(t->header) + t->header.body)
			continue;
		message_came(t);
		t->got = t->come = 0;
	}
}

static void bell_rang(struct bell *b) { talk_end(container_of(b, struct talk, bell)); }

static void messages_start(void *arg)
{
	struct talk *t = arg;

	talk_start(t);
	check_that(t, bell_make(&t->bell, NULL) == 0);
	check_that(t, bell_listen(&t->bell, "bell", bell_rang) == 0);
}

static void descriptors_come_with_their_message(void **state)
{
	struct talk t;

	talk(&t, messages_start, send_messages, receive_messages);
	assert_int_equal(t.number, MESSAGES);
}

/* --- more than there is room for, or than anybody asks for ------------------------------------------------ */

static void send_once(struct talk *t, uint32_t fds)
{
	struct iovec iov = { t->out, 8 };
	ssize_t n;

	for (uint32_t i = 0; i < fds; i++)
		t->out_fds[i] = make_memory(t, i);
	n = sock_send_fds(t->client, &iov, 1, t->out_fds, fds);
	check_that(t, n > 0 || n == -EAGAIN);
	for (uint32_t i = 0; i < fds; i++)
		core_fd_close(t->out_fds[i]);
	sock_want_write(t->client, n <= 0); /* once more */
	t->number += n > 0;
}

static void send_five(struct talk *t) { t->number ? (void)0 : send_once(t, 5); }

static void receive_two(struct talk *t)
{
	uint32_t count = 2;
	uint8_t buf[64];

	t->result = sock_recv_fds(t->server, buf, sizeof(buf), t->in_fds, &count);
	if (t->result == -EAGAIN)
		return;
	check_that(t, count == 0);
	talk_end(t);
}

static void too_many_are_all_closed(void **state)
{
	struct talk t;

	talk(&t, talk_start, send_five, receive_two);
	assert_int_equal(t.result, -EMSGSIZE);
}

static void receive_none(struct talk *t)
{
	uint32_t count = 0;
	uint8_t buf[64];

	t->result = sock_recv_fds(t->server, buf, sizeof(buf), NULL, &count);
	if (t->result != -EAGAIN)
		talk_end(t);
}

static void no_room_is_too_many(void **state)
{
	struct talk t;

	talk(&t, talk_start, send_five, receive_none);
	assert_int_equal(t.result, -EMSGSIZE);
}

static void receive_bytes(struct talk *t)
{
	uint8_t buf[64];

	t->result = sock_recv(t->server, buf, sizeof(buf));
	if (t->result != -EAGAIN)
		talk_end(t);
}

static void who_does_not_ask_gets_bytes_only(void **state)
{
	struct talk t;

	talk(&t, talk_start, send_five, receive_bytes);
	assert_true(t.result > 0);
}

/* --- a large receive ends with what brought descriptors --------------------------------------------------- */

#define BURST 42u

static void send_burst(struct talk *t)
{
	while (t->number < BURST) {
		uint32_t before = t->number;

		send_once(t, t->number % 3);
		if (t->number == before)
			return;
	}
	sock_want_write(t->client, false);
	if (!t->client)
		return;
	sock_close(t->client);
	t->client = NULL;
}

/* Sends are whole or not at all in the kernel's case, and in part in the simulator's: what matters is the order. */
static void receive_burst(struct talk *t)
{
	uint8_t buf[4096];
	uint32_t count = SOCK_FDS_MAX;
	ssize_t n = sock_recv_fds(t->server, buf, sizeof(buf), t->in_fds, &count);

	if (n == -EAGAIN)
		return;
	check_that(t, n >= 0);
	check_that(t, count <= 2); /* never of two sends */
	for (uint32_t i = 0; i < count; i++) {
		check_that(t, is_memory(t->in_fds[i], i));
		core_fd_close(t->in_fds[i]);
	}
	t->come += count;
	if (n == 0)
		talk_end(t);
}

static void receive_does_not_read_beyond_descriptors(void **state)
{
	struct talk t;

	talk(&t, talk_start, send_burst, receive_burst);
	assert_int_equal(t.come, BURST);
}

/* --- nobody receives them, nobody is there ------------------------------------------------------------------ */

static void leave(struct timer *timer) { talk_end(container_of(timer, struct talk, later)); }

static void send_and_leave(struct talk *t)
{
	if (t->number)
		return;
	send_once(t, 5);
	timer_start(&t->later, 1 * NS_PER_MS, leave);
}

static void receive_nothing(struct talk *t) { sock_want_read(t->server, false); }

static void descriptors_under_way_go_with_the_connection(void **state)
{
	struct talk t;

	talk(&t, talk_start, send_and_leave, receive_nothing);
}

static void missing_start(void *arg)
{
	struct talk *t = arg;

	t->fds_before = world_fds();
	t->client = sock_connect(&t->addr, NULL, NULL, client_ready, t, NULL);
}

static void missing_path_is_told_at_connect(void **state)
{
	struct talk t;

	talk(&t, missing_start, talk_end, NULL);
	assert_int_equal(t.error, -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors_come_with_their_message),
		cmocka_unit_test(too_many_are_all_closed),
		cmocka_unit_test(no_room_is_too_many),
		cmocka_unit_test(who_does_not_ask_gets_bytes_only),
		cmocka_unit_test(receive_does_not_read_beyond_descriptors),
		cmocka_unit_test(descriptors_under_way_go_with_the_connection),
		cmocka_unit_test(missing_path_is_told_at_connect),
	};
	int failed = 0;

	if (!world_cpus())
		return TEST_SKIPPED;
	for (uint32_t n = 0; n < world_count(); n++) {
		world_number = n;
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	}
	return failed;
}
