/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_fuzz.c: a vhost-user server that says anything to who attaches to it: messages, a configuration, used rings,
 * answers. The initiator takes it for what it is or loses it, all I/O ends once, and nothing is left open at the end.
 *
 * Input: a byte of what is attached, one of the queues' size, the configuration's length and its bytes (over a good
 * one); then, again and again, a byte of what to do, and its rest.
 */
#include "backends/virtio/test_server.h"
#include "base/fuzz_input.h"
#include "core/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IOS 24u
#define IO_BYTES 8192u
#define CORES 2u

struct fuzz;
struct fuzz_io {
	struct bdev_io io;
	struct fuzz *f;
	struct iovec iov;
	bool out;
	uint8_t data[IO_BYTES];
};

struct fuzz {
	struct server s;
	struct bdev_desc *desc;
	struct bdev_channel *ch[CORES];
	struct fuzz_io ios[IOS];
	uint32_t out;
	bool going, attached;
};

/* --- a user of its disk ------------------------------------------------------------------------------------------ */

static void disk_event(struct bdev_desc *desc, enum bdev_event event, void *arg)
{
	if (event == BDEV_EVENT_REMOVE)
		((struct fuzz *)arg)->going = true;
}

static void open_disk(void *arg)
{
	struct fuzz *f = arg;

	const char *name = f->s.opts.kind == VIO_BLK ? "v0" : "v0t0";

	f->desc = bdev_open(f->s.reg, name, true, "fuzz", disk_event, f, NULL);
	if (!f->desc)
		f->desc = bdev_open(f->s.reg, name, false, "fuzz", disk_event, f, NULL); /* it may be read only */
}

static void open_channel(void *arg)
{
	struct fuzz *f = arg;
	struct bdev_channel **ch = &f->ch[reactor_index(reactor_self())];

	*ch = bdev_channel_get(f->desc, NULL);
	must(*ch);
}

static void close_channel(void *arg)
{
	struct fuzz *f = arg;

	bdev_channel_put(f->ch[reactor_index(reactor_self())]);
}

static void close_disk(void *arg) { bdev_close(((struct fuzz *)arg)->desc); }
static bool none_out(void *arg) { return !((struct fuzz *)arg)->out; }

static void leave_disk(struct fuzz *f)
{
	if (!f->desc)
		return;
	must(sim_run(none_out, f, SERVER_LONG_NS));
	for (uint32_t i = 0; i < CORES; i++)
		sim_as(core_reactor(f->s.core, i), close_channel, f);
	sim_as(core_control(f->s.core), close_disk, f);
	f->desc = NULL;
	f->going = false;
}

static bool find_disk(struct fuzz *f)
{
	if (f->desc && f->going && !f->out)
		leave_disk(f);
	if (f->desc)
		return !f->going;
	sim_as(core_control(f->s.core), open_disk, f);
	for (uint32_t i = 0; f->desc && i < CORES; i++)
		sim_as(core_reactor(f->s.core, i), open_channel, f);
	return f->desc;
}

static void io_done(struct bdev_io *io)
{
	struct fuzz_io *j = container_of(io, struct fuzz_io, io);

	must(j->out);
	j->out = false;
	j->f->out--;
}

static void submit(void *arg)
{
	struct fuzz_io *j = arg;

	bdev_submit(j->f->ch[reactor_index(reactor_self())], &j->io);
}

static void begin_io(struct fuzz *f, struct fuzz_input *in)
{
	static const uint8_t ops[] = { BDEV_READ, BDEV_WRITE, BDEV_FLUSH, BDEV_UNMAP, BDEV_WRITE_ZEROES };
	uint8_t how = fuzz_byte(in), lba = fuzz_byte(in), count = fuzz_byte(in);
	struct fuzz_io *j = f->ios;
	struct bdev_info info;

	while (j < f->ios + IOS && j->out)
		j++;
	if (j == f->ios + IOS || !find_disk(f))
		return;
	bdev_get_info(f->desc, &info);
	j->f = f;
	j->io = (struct bdev_io){ .op = ops[how % ARRAY_SIZE(ops)], .lba = lba, .count = count % 16u + 1, .iovs = &j->iov,
		.done = io_done };
	j->iov = (struct iovec){ j->data, j->io.count * info.block_size };
	if (j->io.op == BDEV_READ || j->io.op == BDEV_WRITE)
		j->io.iov_count = 1;
	if (j->io.iov_count && j->iov.iov_len > IO_BYTES)
		return;
	j->out = true;
	f->out++;
	sim_as(core_reactor(f->s.core, how / 8 % CORES), submit, j);
}

/* --- what the server does ---------------------------------------------------------------------------------------- */

static void gave_up(void *arg, int rc) { ((struct server *)arg)->detached = true; }

static void detach_now(void *arg)
{
	struct server *s = arg;

	if (!vio_detach(s->vio, "v0", gave_up, s, NULL))
		s->detached = false;
}

/* Not twice at a time. */
static void attach(struct fuzz *f)
{
	if (!f->s.answered || vio_next(f->s.vio, NULL))
		return;
	server_attach(&f->s);
}

static void give(struct fuzz *f, struct fuzz_input *in, uint8_t what)
{
	uint8_t over[64], n = fuzz_byte(in);
	uint32_t len = fuzz_bytes(in, over, fuzz_byte(in) % sizeof(over));

	server_take(&f->s, what);
	server_give(&f->s, what, n, over, len, what & 4 ? fuzz_byte(in) * 257u : 0);
}

static void scribble(struct fuzz *f, struct fuzz_input *in, uint8_t what)
{
	struct server_queue *q = &f->s.queues[what % SERVER_QUEUES];
	uint64_t at = fuzz_byte(in) | (what & 4 ? fuzz_byte(in) << 8 : 0);
	uint32_t len = fuzz_byte(in);

	if (!q->placed || !f->s.mem)
		return;
	at += (what & 8 ? q->addr.used : q->addr.desc) - f->s.mem->regions[0].user;
	if (at + len <= f->s.share.len)
		fuzz_bytes(in, f->s.share.base + at, len);
}

static void rest(struct fuzz *f, struct fuzz_input *in, uint8_t what)
{
	uint8_t raw[64];

	switch (what % 6) {
	case 0:
		server_say(&f->s, raw, fuzz_bytes(in, raw, fuzz_byte(in) % sizeof(raw)));
		break;
	case 1:
		server_hang_up(&f->s);
		break;
	case 2:
		sim_as(core_control(f->s.core), detach_now, &f->s);
		break;
	case 3:
		attach(f);
		break;
	case 4:
		f->s.targets = fuzz_byte(in);
		break;
	default:
		server_blk_config(&f->s, fuzz_byte(in) * 16u, 512u << what / 6 % 2);
	}
}

static void one(struct fuzz *f, struct fuzz_input *in)
{
	uint8_t what = fuzz_byte(in), how = what / 8;

	switch (what % 8) {
	case 0:
		f->s.trouble = how % SERVER_TROUBLES;
		f->s.skip = fuzz_byte(in);
		f->s.bytes_len = fuzz_bytes(in, f->s.bytes, fuzz_byte(in) % sizeof(f->s.bytes));
		break;
	case 1:
		begin_io(f, in);
		break;
	case 2:
		give(f, in, how);
		break;
	case 3:
		scribble(f, in, how);
		break;
	case 4:
		server_call(&f->s, how, how & 8);
		break;
	case 5:
		server_pass(1000ull << how % 24);
		break;
	case 6:
		server_serve(&f->s);
		break;
	default:
		rest(f, in, how);
	}
}

static void begin(struct fuzz *f, struct fuzz_input *in)
{
	static const uint32_t sizes[] = { 4, 8, 16, 64 };
	uint8_t what = fuzz_byte(in), how = fuzz_byte(in);
	struct server *s = &f->s;

	server_start(s, what, NULL, CORES);
	s->opts.kind = what & 1 ? VIO_SCSI : VIO_BLK;
	s->opts.packed = what & 2;
	s->opts.patient = what & 4;
	s->opts.fast_io_fail_timeout_sec = what & 8 ? 2 : 0;
	s->opts.queue_size = sizes[how % 4];
	s->opts.queues = how / 4 % 4;
	s->features |= s->opts.packed ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0;
	s->features |= how & 16 ? VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) : 0;
	s->protocol |= (how & 32 ? VU_P_BIT(REPLY_ACK) : 0) | (how & 64 ? VU_P_BIT(CONFIGURE_MEM_SLOTS) : 0) |
	               (how & 128 ? VU_P_BIT(STATUS) : 0);
	s->targets = 1;
	if (s->opts.kind == VIO_SCSI)
		server_scsi_config(s, SERVER_SECTORS, 512);
	fuzz_bytes(in, s->config, fuzz_byte(in));
	server_attach(s);
	server_pass(10 * NS_PER_MS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct fuzz *f = base_zalloc(sizeof(*f));

	log_set_level(LOG_ERROR);
	begin(f, &in);
	for (uint32_t i = 0; in.left && i < 200; i++)
		one(f, &in);
	f->s.trouble = SERVER_GOOD;
	sim_as(core_control(f->s.core), detach_now, &f->s);
	leave_disk(f);
	server_stop(&f->s);
	free(f);
	return 0;
}
