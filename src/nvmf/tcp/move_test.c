/* SPDX-License-Identifier: BSD-3-Clause */
/* move_test.c: connections move between real cores all the time, while hosts on threads of their own write, read and
 * compare over loopback. What one core leaves behind of a connection another one has, ThreadSanitizer finds here.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/malloc/malloc.h"
#include "core/log.h"
#include "core/sched.h"
#include "nvmf/nvmf.h"
#include "nvmf/target.h"
#include "nvmf/tcp/tcp.h"
#include "nvmf/test_serve.h"

#define NQN "nqn.2026-01.io.gantry:move"
#define HOSTS 2u
#define ROUNDS 150u
#define BLOCK 512u
#define LARGE_BLOCKS 200u
#define REGION_BLOCKS 1024u
#define SKIPPED 77

struct blocking_host {
	pthread_t thread;
	uint32_t number;
	int fd;
	struct fabric_rx rx;
	uint8_t feed[65536];
	const uint8_t *at, *end;
	uint16_t cid;
	uint8_t out[LARGE_BLOCKS * BLOCK], in[LARGE_BLOCKS * BLOCK];
};

static struct {
	struct core *core;
	struct bdev_registry *reg;
	struct nvmf_target *target;
	struct tcp_transport *tr;
	struct test_serve serve;
	struct net_addr addr;
	struct mover {
		struct timer timer;
		struct msg msg;
		uint32_t left;
	} movers[2];
	_Atomic uint32_t hosts_left, moves, movers_left;
	_Atomic bool ending;
	struct msg end;
	struct blocking_host hosts[HOSTS];
	const char *failed;
} t;

static const struct nvme_tcp_framing bare = { .align_bytes = 4 };

/* --- hosts: plain threads, blocking sockets --- */

static void put(struct blocking_host *h, const void *bytes, size_t len)
{
	for (ssize_t n; len; len -= (size_t)n, bytes = (const char *)bytes + n) {
		n = send(h->fd, bytes, len, MSG_NOSIGNAL);
		must(n > 0);
	}
}

/* The next PDU; its data goes to `in`. */
static void get(struct blocking_host *h, union nvme_tcp_pdu *pdu)
{
	bool header = false;

	for (;;) {
		enum fabric_rx_event ev = fabric_rx_next(&h->rx, &h->at, h->end);
		ssize_t n;

		if (ev == FABRIC_RX_HEADER) {
			memcpy(pdu, h->rx.pdu, h->rx.pdu->h.hlen);
			header = true;
			if (!h->rx.data_len)
				return;
		}
		if (ev == FABRIC_RX_DATA)
			memcpy(h->in + h->rx.data_len - h->rx.data_left - h->rx.span_len, h->rx.span, h->rx.span_len);
		if (ev == FABRIC_RX_END && header)
			return;
		must(ev != FABRIC_RX_BAD);
		if (ev != FABRIC_RX_MORE)
			continue;
		n = recv(h->fd, h->feed, sizeof(h->feed), 0);
		must(n > 0);
		h->at = h->feed;
		h->end = h->feed + n;
	}
}

static void command(struct blocking_host *h, struct nvme_sqe *sqe, const void *data, uint32_t len, bool in_capsule)
{
	uint8_t at[FABRIC_PUT_MAX];

	sqe->flags = 1 << 6;
	sqe->cid = le16_of(++h->cid);
	sqe->sgl1.length = le32_of(len);
	sqe->sgl1.id = in_capsule ? NVME_SGL_ID(NVME_SGL_DATA_BLOCK, NVME_SGL_OFFSET)
	                          : NVME_SGL_ID(NVME_SGL_TRANSPORT_DATA_BLOCK, NVME_SGL_TRANSPORT);
	put(h, at, fabric_put_cmd(at, &bare, sqe, in_capsule ? len : 0));
	if (in_capsule)
		put(h, data, len);
}

static uint16_t run(struct blocking_host *h, struct nvme_sqe *sqe, const void *data, uint32_t len, bool in_capsule,
                    uint16_t *ret_cntlid)
{
	union nvme_tcp_pdu pdu;
	uint8_t at[FABRIC_PUT_MAX];

	command(h, sqe, data, len, in_capsule);
	for (;;) {
		get(h, &pdu);
		if (pdu.h.type == NVME_TCP_C2HDATA && (pdu.h.flags & NVME_TCP_SUCCESS))
			return 0;
		if (pdu.h.type == NVME_TCP_RSP) {
			if (ret_cntlid)
				*ret_cntlid = le16_get(pdu.rsp.cqe.cntlid);
			return nvme_cqe_status(&pdu.rsp.cqe);
		}
		if (pdu.h.type != NVME_TCP_R2T)
			continue;
		put(h, at, fabric_put_h2c_data(at, &bare, h->cid, le16_get(pdu.r2t.ttag), 0, len, NVME_TCP_LAST));
		put(h, data, len);
	}
}

static void open_queue(struct blocking_host *h, uint16_t qid, uint16_t *cntlid)
{
	struct nvmf_connect_data d = { .cntlid = le16_of(qid ? *cntlid : NVME_CNTLID_DYNAMIC), .subsysnqn = NQN };
	struct nvme_sqe sqe = { .opc = NVME_ADMIN_FABRICS, .fctype = NVME_FABRICS_CONNECT };
	uint8_t at[FABRIC_PUT_MAX];
	union nvme_tcp_pdu pdu;

	snprintf(d.hostnqn, sizeof(d.hostnqn), "nqn.2026-01.io.gantry:host%u", h->number);
	memset(d.hostid, 1 + (int)h->number, sizeof(d.hostid));
	fabric_rx_init(&h->rx, NVME_TCP_HOST);
	h->at = h->end = h->feed;
	h->fd = socket(t.addr.any.sa_family, SOCK_STREAM, 0);
	must(!connect(h->fd, &t.addr.any, t.addr.len));
	put(h, at, fabric_put_icreq(at, 0, 0, 0));
	get(h, &pdu);
	must(pdu.h.type == NVME_TCP_ICRESP);
	h->rx.as.ready = true;
	sqe.connect.qid = le16_of(qid);
	sqe.connect.sqsize = le16_of(31);
	must(!run(h, &sqe, &d, sizeof(d), true, cntlid));
}

static void enable(struct blocking_host *h)
{
	struct nvme_sqe sqe = { .opc = NVME_ADMIN_FABRICS, .fctype = NVME_FABRICS_PROPERTY_SET };
	struct nvme_sqe aer = { .opc = NVME_ADMIN_ASYNC_EVENT };

	sqe.property.ofst = le32_of(NVME_REG_CC);
	sqe.property.value = le64_of(nvme_cc_with_iosqes(nvme_cc_with_iocqes(nvme_cc_with_en(0, 1), 4), 6));
	must(!run(h, &sqe, NULL, 0, false, NULL));
	command(h, &aer, NULL, 0, false); /* moves along */
}

static void write_and_read(struct blocking_host *h, uint32_t round)
{
	uint32_t blocks = round & 1 ? LARGE_BLOCKS : 8, len = blocks * BLOCK;
	struct nvme_sqe sqe = { .opc = NVME_CMD_WRITE, .nsid = le32_of(1) };

	for (uint32_t i = 0; i < len; i++)
		h->out[i] = (uint8_t)(i * 13 + round * 7 + h->number);
	sqe.rw.slba = le64_of(h->number * REGION_BLOCKS + round % 64);
	sqe.rw.nlb = le16_of((uint16_t)(blocks - 1));
	must(!run(h, &sqe, h->out, len, !(round & 1), NULL));
	sqe.opc = NVME_CMD_READ;
	memset(h->in, 0, len);
	must(!run(h, &sqe, NULL, len, false, NULL));
	if (memcmp(h->in, h->out, len))
		t.failed = "what was read is not what was written";
}

static void begin_end(struct msg *m);

static void *host_thread(void *arg)
{
	struct blocking_host *h = arg;
	struct blocking_host *admin = calloc(1, sizeof(*admin));
	uint16_t cntlid = 0;

	admin->number = h->number;
	open_queue(admin, 0, &cntlid);
	enable(admin);
	open_queue(h, 1, &cntlid);
	for (uint32_t i = 0; i < ROUNDS; i++)
		write_and_read(h, i);
	close(h->fd);
	close(admin->fd);
	free(admin);
	if (atomic_fetch_sub(&t.hosts_left, 1) == 1)
		msg_send(core_control(t.core), &t.end, begin_end);
	return NULL;
}

/* --- the target's cores: nobody stays --- */

static void moved(void *arg, int rc)
{
	if (!rc)
		atomic_fetch_add(&t.moves, 1);
}

static void move_all(struct timer *timer)
{
	struct tcp_home *h = tcp_home_self(t.tr);

	if (atomic_load(&t.ending)) {
		atomic_fetch_sub(&t.movers_left, 1);
		return;
	}
	if (h->begun)
		list_each_safe(l, &h->conns)
			tcp_conn_move(&list_entry(l, struct tcp_conn, link)->qp,
			              core_reactor(t.core, (uint32_t)core_random_u64() & 1), moved, NULL);
	timer_start(timer, 500 * NS_PER_US, move_all);
}

static void mover_starts(struct msg *m)
{
	move_all(&container_of(m, struct mover, msg)->timer);
}

static void serving(void *arg)
{
	t.tr = tcp_of(nvmf_target_transport(t.target, "TCP"));
	/* It looks while others move, and moves some itself. */
	sched_set(t.core, &(struct sched_opts){ .dynamic = true, .period_ns = 3 * NS_PER_MS, .core_busy = 60 });
	atomic_store(&t.movers_left, 2);
	for (uint32_t i = 0; i < 2; i++)
		msg_send(core_reactor(t.core, i), &t.movers[i].msg, mover_starts);
	atomic_store(&t.hosts_left, HOSTS);
	for (uint32_t i = 0; i < HOSTS; i++) {
		t.hosts[i].number = i;
		must(!pthread_create(&t.hosts[i].thread, NULL, host_thread, &t.hosts[i]));
	}
}

/* A port nobody listens on just now. */
static void free_port(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(!net_addr_parse(NET_IPV4, "127.0.0.1", "0", &t.addr, NULL));
	must(!bind(fd, &t.addr.any, t.addr.len));
	must(!getsockname(fd, &t.addr.any, &t.addr.len));
	close(fd);
}

static void start(void *arg)
{
	const struct malloc_opts opts = { .name = "disk", .block_size = BLOCK, .block_count = 8192 };
	static const struct nvmf_transport_opts tcp = {
		.max_queue_depth = 128, .max_io_qpairs_per_ctrlr = 8, .in_capsule_data_size = 4096,
		.max_io_size = 131072, .max_aq_depth = 32, .c2h_success = true };
	struct bdev *b;

	free_port();
	t.reg = bdev_registry_make(t.core);
	must(!malloc_create(t.reg, &opts, &b, NULL));
	t.target = nvmf_target_make(t.core, t.reg);
	t.serve = (struct test_serve){ .target = t.target, .ops = &nvmf_tcp_ops, .opts = &tcp, .listen = t.addr, .nqn = NQN,
	                               .disks = { "disk" }, .done = serving };
	test_serve(&t.serve);
}

static void unregistered(void *arg, int rc)
{
	bdev_registry_free(t.reg);
	core_stop(t.core, 0);
}

static void target_stopped(void *arg)
{
	must(!malloc_delete(t.reg, "disk", unregistered, NULL, NULL));
}

/* The movers first: they look at the transport. */
static void begin_end(struct msg *m)
{
	atomic_store(&t.ending, true);
	if (atomic_load(&t.movers_left)) {
		msg_send(core_control(t.core), m, begin_end);
		return;
	}
	nvmf_target_stop(t.target, target_stopped, NULL);
}

static bool two_cpus(char *text, size_t size)
{
	cpu_set_t set;
	int found[2], count = 0;

	sched_getaffinity(0, sizeof(set), &set);
	for (int i = 0; i < CPU_SETSIZE && count < 2; i++)
		if (CPU_ISSET(i, &set))
			found[count++] = i;
	if (count == 2)
		snprintf(text, size, "%d,%d", found[0], found[1]);
	return count == 2;
}

int main(void)
{
	struct err e = { 0 };
	char cpus[32];

	if (!two_cpus(cpus, sizeof(cpus)))
		return SKIPPED;
	t.core = core_make(&(struct core_opts){ .cpus = cpus, .mode = CORE_INTERRUPT, .stall_ms = 60000 }, &e);
	if (!t.core)
		fprintf(stderr, "%s\n", e.text);
	must(t.core);
	must(!core_run(t.core, start, NULL));
	for (uint32_t i = 0; i < HOSTS; i++)
		pthread_join(t.hosts[i].thread, NULL);
	core_free(t.core);
	printf("%u moves\n", t.moves);
	if (t.failed)
		fprintf(stderr, "%s\n", t.failed);
	return t.failed || t.moves < 10;
}
