/* SPDX-License-Identifier: BSD-3-Clause */
/* server_test.c: bdev_virtio against a server that does what a test says: that reads slowly, answers in any order or
 * not at all, breaks its rings, goes away at the wrong moment; and what waits for slots, buffers and memory. */
#include "backends/virtio/test_server.h"
#include "bdev/bdev_device.h"
#include "core/log.h"
#include "core/mem.h"
#include "wire/scsi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define CORES 2u
#define TASKS 48u
#define SECTOR 512u
#define LARGE (16u << 10)              /* more than a slot's own buffer */
#define LARGES 32u                     /* that a queue has, VIO_LARGES */

struct task {
	struct bdev_io io;
	struct user *user;
	struct iovec iov;
	bool out;
	uint8_t status;
	uint32_t turn;                     /* when it ended */
	uint8_t data[LARGE];
};

/* Of the server's disk: one core. */
struct user {
	struct server *s;
	const char *disk;
	struct reactor *on;
	struct bdev_desc *desc;
	struct bdev_channel *ch;
	struct task tasks[TASKS];
	uint32_t out, turns;
	bool going;
	void (*answered)(struct user *u, struct task *j);
};

static void disk_event(struct bdev_desc *desc, enum bdev_event event, void *arg)
{
	if (event == BDEV_EVENT_REMOVE)
		((struct user *)arg)->going = true;
}

static void open_disk(void *arg)
{
	struct user *u = arg;

	u->desc = bdev_open(u->s->reg, u->disk, true, "test", disk_event, u, NULL);
	must(u->desc);
}

static void open_channel(void *arg)
{
	struct user *u = arg;

	u->ch = bdev_channel_get(u->desc, NULL);
	must(u->ch);
}

static void close_channel(void *arg) { bdev_channel_put(((struct user *)arg)->ch); }
static void close_disk(void *arg) { bdev_close(((struct user *)arg)->desc); }
static bool none_out(void *arg) { return !((struct user *)arg)->out; }
static bool is_set(void *arg) { return *(bool *)arg; }

static void must_be_up(struct server *s)
{
	server_attach(s);
	must(sim_run(is_set, &s->answered, SERVER_LONG_NS) && !s->refused);
	server_pass(NS_PER_MS); /* its lanes have heard of it */
}

static struct user *use(struct server *s, const char *disk)
{
	struct user *u = base_zalloc(sizeof(*u));

	u->s = s;
	u->disk = disk;
	u->on = core_reactor(s->core, 0);
	sim_as(core_control(s->core), open_disk, u);
	sim_as(u->on, open_channel, u);
	return u;
}

static void leave(struct user *u)
{
	must(sim_run(none_out, u, SERVER_LONG_NS));
	sim_as(u->on, close_channel, u);
	sim_as(core_control(u->s->core), close_disk, u);
	free(u);
}

static void task_done(struct bdev_io *io)
{
	struct task *j = container_of(io, struct task, io);

	must(j->out);
	j->out = false;
	j->status = io->status;
	j->turn = j->user->turns++;
	j->user->out--;
	if (j->user->answered)
		j->user->answered(j->user, j);
}

static void submit_now(void *arg)
{
	struct task *j = arg;

	j->out = true;
	j->user->out++;
	bdev_submit(j->user->ch, &j->io);
}

static struct task *submit(struct user *u, uint32_t i, uint64_t lba, uint32_t bytes)
{
	struct task *j = &u->tasks[i];

	must(!j->out);
	j->user = u;
	j->io = (struct bdev_io){ .op = BDEV_READ, .lba = lba, .count = bytes / SECTOR, .iovs = &j->iov, .iov_count = 1,
		.done = task_done };
	j->iov = (struct iovec){ j->data, bytes };
	sim_as(u->on, submit_now, j);
	return j;
}

static uint64_t sector_of(const struct server_held *h)
{
	struct virtio_blk_outhdr hdr;

	memcpy(&hdr, h->iovs[0].iov_base, sizeof(hdr));
	return le64_get(hdr.sector);
}

/* --- the conversation -------------------------------------------------------------------------------------------- */

/* A socket without room takes a message in parts; said twice, a descriptor would come twice, and a server that counts
 * would be lost. */
static void what_goes_in_parts_is_said_once(void **state)
{
	struct server *s = base_zalloc(sizeof(*s));
	uint32_t heard[SERVER_HEARD], count, came_up = 0;

	server_start(s, 1, NULL, CORES);
	s->opts.queues = 1;
	must_be_up(s);
	count = s->heard_count;
	memcpy(heard, s->heard, sizeof(heard));
	server_stop(s);
	for (uint32_t room = 90; room < 230; room++) {
		const struct sim_net_opts net = { .latency_ns_min = 1000, .latency_ns_max = 2000, .buffer_bytes = room };

		server_start(s, room, &net, CORES);
		s->opts.queues = 1;
		server_attach(s);
		must(sim_run(is_set, &s->answered, SERVER_LONG_NS));
		server_pass(NS_PER_MS);
		came_up += !s->refused;
		assert_true(s->refused ? s->heard_count <= count : s->heard_count == count);
		assert_memory_equal(s->heard, heard, s->heard_count * sizeof(heard[0]));
		server_stop(s);
	}
	assert_true(came_up > 10);
	free(s);
}

/* --- what waits -------------------------------------------------------------------------------------------------- */

/* One slot: the others wait, and go in the order in which they came, each as soon as there is room. */
static void requests_wait_for_a_slot_in_turn(void **state)
{
	for (uint32_t packed = 0; packed < 2; packed++) {
		struct server *s = base_zalloc(sizeof(*s));
		struct user *u;

		server_start(s, 3, NULL, CORES);
		s->opts.packed = packed;
		s->features |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
		s->opts.queue_size = 4;
		must_be_up(s);
		u = use(s, "v0");
		for (uint32_t i = 0; i < 12; i++)
			submit(u, i, 100 - i, SECTOR);
		for (uint32_t i = 0; i < 12; i++) {
			server_pass(NS_PER_MS);
			assert_int_equal(server_take(s, 0), 1);
			assert_int_equal(sector_of(&s->queues[0].held[0]), 100 - i);
			server_give(s, 0, 0, NULL, 0, 0);
		}
		server_pass(NS_PER_MS);
		for (uint32_t i = 0; i < 12; i++)
			assert_int_equal(u->tasks[i].turn, i);
		leave(u);
		server_stop(s);
		free(s);
	}
}

/* All large buffers are out: the next large one waits, and a small one behind it does not overtake it. What comes back
 * wakes it, though no other request comes. */
static void requests_wait_for_a_large_buffer_in_turn(void **state)
{
	struct server *s = base_zalloc(sizeof(*s));
	struct user *u;

	server_start(s, 4, NULL, CORES);
	s->opts.queue_size = 512;
	must_be_up(s);
	u = use(s, "v0");
	for (uint32_t i = 0; i < LARGES + 2; i++)
		submit(u, i, i, LARGE);
	submit(u, LARGES + 2, 1000, SECTOR);
	server_pass(NS_PER_MS);
	assert_int_equal(server_take(s, 0), LARGES);
	server_give(s, 0, 5, NULL, 0, 0);
	server_pass(NS_PER_MS);
	assert_int_equal(server_take(s, 0), LARGES);
	assert_int_equal(sector_of(&s->queues[0].held[LARGES - 1]), LARGES);
	server_give(s, 0, 0, NULL, 0, 0);
	server_pass(NS_PER_MS);
	assert_int_equal(server_take(s, 0), LARGES + 1); /* the last large one, and the small one behind it */
	assert_int_equal(sector_of(&s->queues[0].held[LARGES - 1]), LARGES + 1);
	assert_int_equal(sector_of(&s->queues[0].held[LARGES]), 1000);
	server_serve(s);
	leave(u);
	server_stop(s);
	free(s);
}

struct budget {
	struct core *core;
	uint64_t bytes;
};

/* All that there is. */
static void take_budget(void *arg)
{
	struct budget *b = arg;
	uint64_t step = 16 * MIB;

	for (; step >= 4096; step /= 2)
		while (mem_charge(b->core, step))
			b->bytes += step;
}

static void give_budget(void *arg)
{
	struct budget *b = arg;

	mem_uncharge(b->core, b->bytes);
	b->bytes = 0;
}

/* A server that comes back while memory is short is taken when there is some again, and what waited is done. */
static void memory_that_is_short_is_waited_for(void **state)
{
	struct server *s = base_zalloc(sizeof(*s));
	struct budget b;
	struct user *u;

	server_start(s, 5, NULL, CORES);
	b = (struct budget){ s->core, 0 };
	sim_as(core_control(s->core), take_budget, &b);
	server_attach(s);
	must(sim_run(is_set, &s->answered, SERVER_LONG_NS));
	assert_true(s->refused);
	assert_non_null(strstr(s->why.text, "memory"));
	server_pass(NS_PER_S);
	assert_null(vio_next(s->vio, NULL));
	sim_as(core_control(s->core), give_budget, &b);
	must_be_up(s);
	u = use(s, "v0");

	server_hang_up(s);
	server_pass(NS_PER_MS); /* its memory is given back */
	sim_as(core_control(s->core), take_budget, &b);
	submit(u, 0, 7, LARGE);
	server_pass(5 * NS_PER_S);
	assert_true(u->tasks[0].out);
	sim_as(core_control(s->core), give_budget, &b);
	server_pass(3 * NS_PER_S);
	server_serve(s);
	assert_false(u->tasks[0].out);
	assert_int_equal(u->tasks[0].status, BDEV_ST_OK);
	leave(u);
	server_stop(s);
	free(s);
}

/* --- a server that cannot be believed ---------------------------------------------------------------------------- */

/* The second of two answers cannot be: its buffer is not the device's. */
static void answer_nonsense(struct server *s)
{
	struct server_queue *q = &s->queues[0];
	const uint8_t ok = VIRTIO_BLK_S_OK;

	memcpy(q->held[0].iovs[2].iov_base, &ok, 1);
	if (s->opts.packed) {
		struct pvirtq_desc *d = (struct pvirtq_desc *)q->dev.desc;

		d[3].id = le16_of(7);
		d[3].flags = le16_of(VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
		d[0].flags = le16_of(VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
	} else {
		struct virtq_used *used = q->dev.device;

		used->ring[1].id = le32_of(7);
		used->idx = le16_of(2);
	}
	server_call(s, 0, false);
}

/* I/O that waits in line when the answer is seen, and I/O that comes between then and the end of the connection, is
 * done over the next one. `sent`: so many are there before, for two slots. */
static void io_outlives_nonsense(uint32_t sent, bool packed)
{
	struct server *s = base_zalloc(sizeof(*s));
	struct user *u;

	server_start(s, 6, NULL, CORES);
	s->opts.packed = packed;
	s->features |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	s->opts.queue_size = 8;
	must_be_up(s);
	u = use(s, "v0");
	for (uint32_t i = 0; i < sent; i++)
		submit(u, i, i, SECTOR);
	server_pass(NS_PER_MS);
	assert_int_equal(server_take(s, 0), 2);
	answer_nonsense(s);
	for (uint32_t i = sent; i < TASKS; i++) {
		sim_step();
		submit(u, i, i, SECTOR);
	}
	server_pass(3 * NS_PER_S);
	server_serve(s);
	for (uint32_t i = 0; i < TASKS; i++) {
		assert_false(u->tasks[i].out);
		assert_int_equal(u->tasks[i].status, BDEV_ST_OK);
	}
	leave(u);
	server_stop(s);
	free(s);
}

static void io_outlives_a_broken_ring(void **state)
{
	for (uint32_t packed = 0; packed < 2; packed++) {
		io_outlives_nonsense(2, packed);
		io_outlives_nonsense(8, packed);
	}
}

static void must_find_disks(struct server *s)
{
	server_attach(s);
	for (uint32_t i = 0; i < 10 && !s->answered; i++)
		server_serve(s);
	must(s->answered && !s->refused);
	server_serve(s);
}

static void scsi_start(struct server *s, uint64_t seed)
{
	server_start(s, seed, NULL, CORES);
	s->opts.kind = VIO_SCSI;
	s->features = SERVER_FEATURES | VIRTIO_BIT(VIRTIO_SCSI_F_HOTPLUG);
	s->targets = 1;
	server_scsi_config(s, SERVER_SECTORS, SECTOR);
}

/* Each buffer for events is given back at once. While the connection falls it goes into the line, not into the ring: a
 * server that goes on to answer it would keep the core there. Here the same buffer is answered four times. */
static void a_connection_falls_though_it_tells_events(void **state)
{
	struct server *s = base_zalloc(sizeof(*s));
	struct server_queue *q = &s->queues[VIRTIO_SCSI_EVENTQ];
	struct virtq_used *used;
	struct vio_facts f;

	scsi_start(s, 8);
	must_find_disks(s);
	assert_int_equal(server_take(s, VIRTIO_SCSI_EVENTQ), 4);
	used = q->dev.device;
	for (uint32_t i = 0; i < 4; i++)
		used->ring[i].id = le32_of(q->held[0].chain.id);
	used->idx = le16_of(4); /* and it does not call */
	server_call(s, VIRTIO_SCSI_EVENTQ, true);
	server_pass(100 * NS_PER_MS);
	vio_facts_of(vio_next(s->vio, NULL), &f);
	assert_string_equal(f.state, "waiting");
	assert_int_equal(f.requeued, 3); /* the first is answered, and waits like them */
	server_pass(3 * NS_PER_S);
	server_serve(s);
	assert_int_equal(server_take(s, VIRTIO_SCSI_EVENTQ), 4);
	server_stop(s);
	free(s);
}

/* --- targets ------------------------------------------------------------------------------------------------------ */

/* A UUID, a name out of IEEE's register, one of the server's own choice, a serial number. */
static const struct server_ident idents[] = {
	{ 0x83, 30, { 2, 1, 0, 4, 'a', 'b', 'c', 'd',
	              1, 0xa, 0, 18, 0x10, 0, '0', '1', '2', '3', '4', '5', '6', '7',
	              '8', '9', 'a', 'b', 'c', 'd', 'e', 'f' } },
	{ 0x83, 20, { 1, 0x94, 0, 4, 0, 0, 0, 7, 1, 3, 0, 8, 0x50, 1, 2, 3, 4, 5, 6, 7 } },
	{ 0x83, 12, { 1, 3, 0, 8, 0x30, 1, 2, 3, 4, 5, 6, 7 } },
	{ 0x80, 4, { 'S', 'N', '0', '1' } },
};

struct asked {
	struct server *s;
	const char *name;
	struct uuid uuid;
	bool there;
};

static void ask(void *arg)
{
	struct asked *a = arg;
	struct bdev *b = bdev_find(a->s->reg, a->name);

	a->there = b;
	if (b)
		a->uuid = b->uuid;
}

static bool is_there(struct server *s, const char *name, struct uuid *ret_uuid)
{
	struct asked a = { s, name, { { 0 } }, false };

	sim_as(core_control(s->core), ask, &a);
	if (ret_uuid)
		*ret_uuid = a.uuid;
	return a.there;
}

/* UUIDs of what a server has at four targets. */
static void uuids_of(const char *name, const struct server_ident at[4], struct uuid ret_uuids[4])
{
	struct server *s = base_zalloc(sizeof(*s));
	char disk[16];

	scsi_start(s, 9);
	s->opts.name = name;
	s->targets = 15;
	s->config[offsetof(struct virtio_scsi_config, max_target)] = 3;
	memcpy(s->idents, at, 4 * sizeof(at[0]));
	must_find_disks(s);
	for (uint32_t i = 0; i < 4; i++) {
		snprintf(disk, sizeof(disk), "%st%u", name, i);
		assert_true(is_there(s, disk, &ret_uuids[i]));
		assert_false(uuid_is_null(&ret_uuids[i]));
		for (uint32_t n = 0; n < i; n++)
			assert_false(uuid_equal(&ret_uuids[n], &ret_uuids[i]));
	}
	server_stop(s);
	free(s);
}

/* After a restart too: what is saved of a disk, and who knows it by its UUID, finds it. */
static void a_disk_has_the_same_uuid_each_time(void **state)
{
	const struct server_ident none[4] = { { 0 } }, same[4] = { idents[0], idents[0], idents[2], idents[3] };
	struct uuid first[4], again[4], other[4], bare[4], alike[4];

	uuids_of("v", idents, first);
	uuids_of("v", idents, again);
	uuids_of("w", idents, other);
	assert_memory_equal(first, again, sizeof(first));
	assert_memory_equal(first[0].b, "0123456789abcdef", 16);
	assert_memory_equal(&first[1], &other[1], sizeof(first[1]));
	assert_memory_not_equal(&first[2], &other[2], sizeof(first[2]));
	assert_memory_not_equal(&first[3], &other[3], sizeof(first[3]));
	uuids_of("v", none, bare);
	uuids_of("v", none, again);
	assert_memory_equal(bare, again, sizeof(bare));
	uuids_of("v", same, alike); /* two that say they are the same are two disks */
	assert_memory_equal(&alike[0], &first[0], sizeof(first[0]));
}

static void tell(struct server *s)
{
	static const struct virtio_scsi_event event = { .event = { { VIRTIO_SCSI_T_TRANSPORT_RESET } }, .lun = { 1 } };

	must(server_take(s, VIRTIO_SCSI_EVENTQ));
	server_give(s, VIRTIO_SCSI_EVENTQ, 0, &event, sizeof(event), 0);
	server_serve(s);
}

/* The old disk's name is free when its users have closed it; the new one comes then, though nobody tells of it again.
 * `replaced`: nobody saw that it was away. */
static void is_back(bool replaced)
{
	struct server *s = base_zalloc(sizeof(*s));
	struct uuid before, after;
	struct user *u;

	scsi_start(s, 10);
	s->opts.name = "v";
	s->idents[0] = idents[0];
	must_find_disks(s);
	assert_true(is_there(s, "vt0", &before));
	u = use(s, "vt0");
	if (!replaced) {
		s->targets = 0;
		tell(s);
		assert_true(u->going);
		s->targets = 1;
	}
	s->idents[0] = idents[1];
	tell(s);
	assert_true(u->going);
	leave(u);
	server_serve(s);
	assert_true(is_there(s, "vt0", &after));
	assert_memory_not_equal(&before, &after, sizeof(before));
	tell(s); /* the same one, again: it stays */
	u = use(s, "vt0");
	tell(s);
	assert_false(u->going);
	leave(u);
	server_stop(s);
	free(s);
}

static void a_target_is_back_at_once(void **state)
{
	is_back(false);
}

static void a_target_has_another_disk(void **state)
{
	is_back(true);
}

/* All but the oldest request of the first queue for I/O. */
static void serve_others(struct server *s)
{
	for (uint32_t round = 0; round < 100; round++) {
		for (uint32_t i = VIRTIO_SCSI_REQUESTQ; i < SERVER_QUEUES; i++)
			while (server_take(s, i) > (i == VIRTIO_SCSI_REQUESTQ))
				server_give(s, i, i == VIRTIO_SCSI_REQUESTQ, NULL, 0, 0);
		server_pass(100 * NS_PER_US);
	}
}

/* A command that hears of something is sent again; not when its disk has gone and the number may be another one's. */
static void nothing_is_sent_again_to_a_number(void **state)
{
	const struct virtio_scsi_cmd_resp attention = { .status = SCSI_CHECK_CONDITION, .sense_len = le32_of(18),
		.sense = { 0x70, [2] = SCSI_UNIT_ATTENTION, [12] = 0x3f, [13] = 0x0e } };
	static const struct virtio_scsi_event event = { .event = { { VIRTIO_SCSI_T_TRANSPORT_RESET } }, .lun = { 1 } };
	struct server *s = base_zalloc(sizeof(*s));
	struct user *u;

	scsi_start(s, 11);
	s->opts.name = "v";
	must_find_disks(s);
	u = use(s, "vt0");
	submit(u, 0, 0, SECTOR);
	server_pass(NS_PER_MS);
	assert_int_equal(server_take(s, VIRTIO_SCSI_REQUESTQ), 1);
	s->targets = 0;
	must(server_take(s, VIRTIO_SCSI_EVENTQ));
	server_give(s, VIRTIO_SCSI_EVENTQ, 0, &event, sizeof(event), 0);
	serve_others(s);
	assert_true(u->going);
	s->targets = 1;
	server_give(s, VIRTIO_SCSI_REQUESTQ, 0, &attention, sizeof(attention), 0);
	server_serve(s);
	assert_int_equal(u->tasks[0].status, BDEV_ST_GONE);
	leave(u);
	server_stop(s);
	free(s);
}

static void detached(void *arg, int rc);
static void detach(void *arg);

/* A scan that nobody answers holds the controller for a while only, disks or not. */
static void detached_while_a_scan_is_not_answered(void **state)
{
	struct server *s = base_zalloc(sizeof(*s));

	scsi_start(s, 12);
	s->targets = 0;
	must_find_disks(s);
	must(server_take(s, VIRTIO_SCSI_EVENTQ));
	server_give(s, VIRTIO_SCSI_EVENTQ, 0, NULL, 0, 0);
	server_pass(NS_PER_MS);
	assert_int_equal(server_take(s, VIRTIO_SCSI_REQUESTQ), 1);
	sim_as(core_control(s->core), detach, s);
	assert_true(sim_run(is_set, &s->detached, 10 * NS_PER_S));
	server_stop(s);
	free(s);
}

static void detached(void *arg, int rc) { ((struct server *)arg)->detached = true; }
static void detach(void *arg) { must(!vio_detach(((struct server *)arg)->vio, "v0", detached, arg, NULL)); }

static bool falls(void *arg)
{
	struct vio_facts f;

	vio_facts_of(vio_next(((struct server *)arg)->vio, NULL), &f);
	return !strcmp(f.state, "disconnecting");
}

/* It is detached while its lanes come down, with messages on their way to them. */
static void detached_while_the_connection_falls(void **state)
{
	for (uint32_t seed = 0; seed < 60; seed++) {
		struct server *s = base_zalloc(sizeof(*s));

		server_start(s, seed, NULL, CORES);
		must_be_up(s);
		server_hang_up(s);
		must(sim_run(falls, s, SERVER_LONG_NS));
		for (uint32_t i = 0; i < seed % 6; i++)
			sim_step();
		sim_as(core_control(s->core), detach, s);
		must(sim_run(is_set, &s->detached, SERVER_LONG_NS));
		server_stop(s);
		free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_in_parts_is_said_once),
		cmocka_unit_test(requests_wait_for_a_slot_in_turn),
		cmocka_unit_test(requests_wait_for_a_large_buffer_in_turn),
		cmocka_unit_test(memory_that_is_short_is_waited_for),
		cmocka_unit_test(io_outlives_a_broken_ring),
		cmocka_unit_test(a_connection_falls_though_it_tells_events),
		cmocka_unit_test(a_disk_has_the_same_uuid_each_time),
		cmocka_unit_test(a_target_is_back_at_once),
		cmocka_unit_test(a_target_has_another_disk),
		cmocka_unit_test(nothing_is_sent_again_to_a_number),
		cmocka_unit_test(detached_while_a_scan_is_not_answered),
		cmocka_unit_test(detached_while_the_connection_falls),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
