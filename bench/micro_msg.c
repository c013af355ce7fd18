/* SPDX-License-Identifier: BSD-3-Clause */
/* micro_msg.c: how many messages a second reach one reactor, from reactors and from plain threads, one by one and in
 * chains, or a receiver with a thread of its own; and how long a message takes to another reactor and back.
 *
 *     micro_msg [--json] [--cpus LIST] [--seconds N]
 *
 * The receiver is the first CPU of the list; senders are the others. A sender has a window of messages and
 * sends one again when the receiver has counted it.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>

#include "base/hist.h"
#include "core/core.h"

#define WINDOW 1024u      /* messages of one sender in flight */
#define BATCH 64u         /* sent in one pass */
#define TELL_EVERY 64u
#define SENDERS_MAX 16u
#define ROUND_TRIPS_WARM 10000u

struct sender {
	CACHE_ALIGNED uint64_t counted;          /* the receiver's own count */
	CACHE_ALIGNED _Atomic uint64_t received; /* told to the sender every so many: else we would measure its line */
	CACHE_ALIGNED uint64_t sent;
	struct bench *bench;
	struct poller poller;
	struct msg control;
	pthread_t thread;
	struct packet {
		CACHE_ALIGNED struct msg msg;
		struct sender *sender;
	} packets[WINDOW];
};

/*   name      from             to                  */
#define WAYS(X) \
	X(REACTORS, "reactors",      "one reactor") \
	X(THREADS,  "plain threads", "one reactor") \
	X(CHAINS,   "plain threads, in chains,", "one reactor") \
	X(OWN,      "plain threads", "a receiver with a thread") \
	X(OWN_CHAINS, "plain threads, in chains,", "a receiver with a thread")
#define WAY_ENUM(name, from, to) WAY_##name,
enum way { WAYS(WAY_ENUM) WAY_COUNT };
static const char *const way_from[] = {
#define WAY_FROM(name, from, to) from,
	WAYS(WAY_FROM)
};
static const char *const way_to[] = {
#define WAY_TO(name, from, to) to,
	WAYS(WAY_TO)
};

struct bench {
	struct core *core;
	bool json;
	double seconds;
	uint32_t senders, acks;
	enum way way;
	struct receiver *receiver;
	_Atomic bool stop;
	struct timer timer;
	uint64_t began_ns, received_before;
	struct sender *sender[SENDERS_MAX];
	struct msg ping, done;
	uint64_t ping_sent_ns, pings, ping_began_ns;
	struct hist round_trip;
	uint32_t step;
};

static void next_step(struct bench *b);

/* --- results ------------------------------------------------------------------------------------- */

static void print_rate(const struct bench *b, double rate)
{
	const char *from = way_from[b->way], *to = way_to[b->way];

	if (b->json)
		printf("{\"case\": \"%s to %s\", \"senders\": %u, \"messages_per_second\": %.0f}\n", from, to, b->senders,
		       rate);
	else
		printf("%u %s to %s: %.1f M messages/s in all\n", b->senders, from, to, rate / 1e6);
}

static void print_round_trip(const struct bench *b, double mean_ns)
{
	const char *fmt = b->json ? "{\"case\": \"round trip\", \"mean_ns\": %.0f, \"p50_ns\": %llu, \"p99_ns\": %llu}\n"
	                          : "round trip of a message: mean %.0f ns, p50 %llu ns, p99 %llu ns\n";

	printf(fmt, mean_ns, (unsigned long long)hist_percentile(&b->round_trip, 50),
	       (unsigned long long)hist_percentile(&b->round_trip, 99));
}

/* --- rates --------------------------------------------------------------------------------------- */

static void packet_on_core(struct msg *m)
{
	struct sender *s = container_of(m, struct packet, msg)->sender;

	if (++s->counted % TELL_EVERY == 0)
		atomic_store_explicit(&s->received, s->counted, memory_order_release);
}

static uint32_t send_some(struct sender *s)
{
	uint64_t room = WINDOW - (s->sent - atomic_load_explicit(&s->received, memory_order_acquire));
	uint32_t count = (uint32_t)min_u64(room, BATCH);
	struct reactor *to = core_reactor(s->bench->core, 0);
	enum way way = s->bench->way;
	struct msg_chain chain = { 0 };

	for (uint32_t i = 0; i < count; i++) {
		struct msg *m = &s->packets[s->sent++ % WINDOW].msg;

		if (way == WAY_CHAINS || way == WAY_OWN_CHAINS)
			msg_chain_add(&chain, m, packet_on_core);
		else if (way == WAY_OWN)
			receiver_send(s->bench->receiver, m, packet_on_core);
		else
			msg_send(to, m, packet_on_core);
	}
	if (way == WAY_CHAINS)
		msg_send_chain(to, &chain);
	else if (way == WAY_OWN_CHAINS)
		receiver_send_chain(s->bench->receiver, &chain);
	return count;
}

static uint32_t send_poll(struct poller *p) { return send_some(container_of(p, struct sender, poller)); }

static void *send_thread(void *arg)
{
	struct sender *s = arg;

	while (!atomic_load_explicit(&s->bench->stop, memory_order_relaxed))
		send_some(s);
	return NULL;
}

static void sender_start_on_core(struct msg *m)
{
	struct sender *s = container_of(m, struct sender, control);

	poller_start(&s->poller, "bench", send_poll);
}

static void stopped_on_control(struct msg *m)
{
	struct sender *s = container_of(m, struct sender, control);

	if (--s->bench->acks == 0)
		next_step(s->bench);
}

static void sender_stop_on_core(struct msg *m)
{
	struct sender *s = container_of(m, struct sender, control);

	poller_stop(&s->poller);
	msg_send(core_control(s->bench->core), &s->control, stopped_on_control);
}

static uint64_t received_all(struct bench *b)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < SENDERS_MAX; i++)
		sum += atomic_load(&b->sender[i]->received);
	return sum;
}

static void rate_end(struct timer *t)
{
	struct bench *b = container_of(t, struct bench, timer);
	double seconds = (double)(core_clock_ns() - b->began_ns) / 1e9;

	print_rate(b, (double)(received_all(b) - b->received_before) / seconds);
	b->acks = b->senders;
	if (b->way == WAY_REACTORS) {
		for (uint32_t i = 0; i < b->senders; i++)
			msg_send(core_reactor(b->core, i + 1), &b->sender[i]->control, sender_stop_on_core);
		return;
	}
	atomic_store(&b->stop, true);
	for (uint32_t i = 0; i < b->senders; i++)
		pthread_join(b->sender[i]->thread, NULL);
	receiver_free(b->receiver);
	b->receiver = NULL;
	next_step(b);
}

static void rate_begin(struct bench *b, enum way way, uint32_t senders)
{
	b->way = way;
	if (way == WAY_OWN || way == WAY_OWN_CHAINS) {
		b->receiver = receiver_make(b->core, NULL, "receiver", NULL);
		if (!b->receiver)
			abort();
	}
	/* Plain threads have the CPUs of the other reactors then. */
	for (uint32_t i = 1; i < core_reactor_count(b->core); i++)
		reactor_set_mode(core_reactor(b->core, i), way == WAY_REACTORS ? CORE_POLL : CORE_INTERRUPT);
	b->senders = senders;
	atomic_store(&b->stop, false);
	b->received_before = received_all(b);
	b->began_ns = core_clock_ns();
	for (uint32_t i = 0; i < senders; i++) {
		if (way == WAY_REACTORS)
			msg_send(core_reactor(b->core, i + 1), &b->sender[i]->control, sender_start_on_core);
		else if (pthread_create(&b->sender[i]->thread, NULL, send_thread, b->sender[i]))
			abort();
	}
	timer_start(&b->timer, (uint64_t)(b->seconds * 1e9), rate_end);
}

/* --- round trip ---------------------------------------------------------------------------------- */

static void pong_on_core(struct msg *m);
static void trips_done_on_control(struct msg *m) { next_step(container_of(m, struct bench, done)); }

static void ping_on_core(struct msg *m)
{
	msg_send(core_reactor(container_of(m, struct bench, ping)->core, 0), m, pong_on_core);
}

static void pong_on_core(struct msg *m)
{
	struct bench *b = container_of(m, struct bench, ping);
	uint64_t now = core_clock_ns();

	if (b->pings++ == ROUND_TRIPS_WARM)
		b->ping_began_ns = now;
	else if (b->pings > ROUND_TRIPS_WARM)
		hist_add(&b->round_trip, now - b->ping_sent_ns);
	if (b->pings > ROUND_TRIPS_WARM && now - b->ping_began_ns > b->seconds * 1e9) {
		print_round_trip(b, (double)(now - b->ping_began_ns) / (double)(b->pings - ROUND_TRIPS_WARM));
		msg_send(core_control(b->core), &b->done, trips_done_on_control);
		return;
	}
	b->ping_sent_ns = now;
	msg_send(core_reactor(b->core, 1), m, ping_on_core);
}

/* --- all ----------------------------------------------------------------------------------------- */

/* 1 to N sending reactors, then plain threads in each way, then the round trip. */
static void next_step(struct bench *b)
{
	uint32_t reactors = core_reactor_count(b->core) - 1, step = b->step++;

	if (step < WAY_COUNT * reactors) {
		rate_begin(b, (enum way)(step / reactors), step % reactors + 1);
	} else if (step == WAY_COUNT * reactors) {
		reactor_set_mode(core_reactor(b->core, 1), CORE_POLL);
		msg_send(core_reactor(b->core, 0), &b->ping, pong_on_core);
	} else {
		core_stop(b->core, 0);
	}
}

static void start(void *arg) { next_step(arg); }

static void bench_init(struct bench *b)
{
	for (uint32_t i = 0; i < SENDERS_MAX; i++) {
		b->sender[i] = base_zalloc_aligned(CACHE_LINE, sizeof(*b->sender[i]));
		b->sender[i]->bench = b;
		for (uint32_t k = 0; k < WINDOW; k++)
			b->sender[i]->packets[k].sender = b->sender[i];
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' }, { "cpus", required_argument, NULL, 'c' },
		{ "seconds", required_argument, NULL, 's' }, { 0 },
	};
	static struct bench b = { .seconds = 1 };
	struct core_opts opts = { .cpus = "0-3", .mode = CORE_POLL };
	struct err e = { 0 };
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "jc:s:", options, NULL)) != -1) {
		if (opt == 'j')
			b.json = true;
		else if (opt == 'c')
			opts.cpus = optarg;
		else if (opt == 's')
			b.seconds = atof(optarg);
		else
			return 2;
	}
	b.core = core_make(&opts, &e);
	if (b.core && core_reactor_count(b.core) - 1 - 1 >= SENDERS_MAX)
		err_set(&e, -EINVAL, "--cpus: 2 to %u CPUs are needed: a receiver and its senders", SENDERS_MAX + 1);
	if (e.code) {
		fprintf(stderr, "micro_msg: %s\n", e.text);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	bench_init(&b);
	rc = core_run(b.core, start, &b);
	core_free(b.core);
	for (uint32_t i = 0; i < SENDERS_MAX; i++)
		free(b.sender[i]);
	return rc;
}
