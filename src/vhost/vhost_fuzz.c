/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_fuzz.c: a front-end and a guest that say anything: messages, descriptors, rings. The daemon answers or hangs
 * up, serves the next one, and ends with nothing left open.
 *
 * Input: a byte of features, of which kind the controller is, and how the session begins; then, again and again, a byte
 * of what to do, and its rest.
 */
#include "base/fuzz_input.h"
#include "vhost/test_front.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A message with a good header: a byte of request, one of descriptors, one of its length, the payload. */
static void say(struct front *f, struct fuzz_input *in)
{
	uint8_t buf[sizeof(struct vu_wire_hdr) + 256];
	uint32_t request = fuzz_byte(in), how = fuzz_byte(in);
	uint32_t len = fuzz_bytes(in, buf + sizeof(struct vu_wire_hdr), fuzz_byte(in));
	struct vu_wire_hdr h = { le32_of(request), le32_of(VU_VERSION | (how & 8)), le32_of(len) };
	struct front_queue *q = &f->queues[how % FRONT_QUEUES];
	const int fds[] = { how & 4 ? f->fd : bell_fd(&q->kick), bell_fd(&q->call), f->fd };

	memcpy(buf, &h, sizeof(h));
	front_send_raw(f, buf, sizeof(h) + len, fds, how & 3);
}

static void scribble(struct front *f, struct fuzz_input *in)
{
	uint32_t at = fuzz_byte(in) % FRONT_QUEUES * 69632 + fuzz_byte(in) * 256u + fuzz_byte(in), len = fuzz_byte(in);

	if (at + len <= f->share.len)
		fuzz_bytes(in, f->share.base + at, len);
}

/* What the device means to read and write: a header, data as they lie in the request, room for an answer. */
static void request(struct front *f, struct fuzz_input *in, uint8_t what)
{
	uint8_t head[FRONT_HEAD];
	uint32_t head_len = fuzz_bytes(in, head, fuzz_byte(in) % (FRONT_HEAD + 1));
	uint32_t out_len = fuzz_byte(in) * 4u, in_len = fuzz_byte(in) * 8u;

	front_submit_bytes(&f->queues[what % FRONT_QUEUES], head, head_len, out_len, in_len);
}

static void change(struct front *f, struct fuzz_input *in, uint8_t what)
{
	switch (what % 4) {
	case 0:
		world_add_target(f->w, fuzz_byte(in));
		break;
	case 1:
		world_remove_target(f->w, fuzz_byte(in));
		break;
	case 2:
		if (!f->w->disk_asked)
			world_delete_disk(f->w);
		break;
	default:
		if (f->w->disk_gone)
			world_make_disk(f->w);
	}
}

static void one(struct front *f, struct fuzz_input *in)
{
	uint8_t buf[256], what = fuzz_byte(in);

	switch (what % 8) {
	case 0:
		front_send_raw(f, buf, fuzz_bytes(in, buf, fuzz_byte(in)), &f->fd, what >> 7);
		break;
	case 1:
		say(f, in);
		break;
	case 2:
		scribble(f, in);
		break;
	case 3:
		front_kick(&f->queues[what / 8 % FRONT_QUEUES]);
		break;
	case 4:
		world_pass(1000ull << (what / 8 % 16));
		break;
	case 5:
		request(f, in, what / 8);
		break;
	case 6:
		change(f, in, what / 8);
		break;
	default:
		if (f->ended)
			front_reopen(f);
		else
			front_submit(&f->queues[what / 8 % FRONT_QUEUES], fuzz_byte(in) & 15, fuzz_byte(in),
			             fuzz_byte(in) * 16u, 0);
	}
}

static uint64_t features_of(const struct test_world *w)
{
	if (w->is_scsi)
		return VIRTIO_BIT(VIRTIO_SCSI_F_HOTPLUG) | VIRTIO_BIT(VIRTIO_SCSI_F_CHANGE);
	return VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint8_t begin = fuzz_byte(&in);
	struct test_world w = { .cores = 2, .is_scsi = begin & 8, .slow_us = begin & 16 ? 100 : 0 };
	struct front f;

	log_set_level(LOG_ERROR);
	world_start(&w, begin);
	front_open(&f, &w, (begin & 1 ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0) |
	           (begin & 2 ? VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) : 0) | features_of(&w),
	           VU_P_BIT(STATUS) | VU_P_BIT(CONFIGURE_MEM_SLOTS));
	if (begin & 4)
		front_start(&f);
	f.deaf = true;
	for (uint32_t i = 0; in.left && i < 200; i++)
		one(&f, &in);
	world_pass(NS_PER_MS);
	front_close(&f);
	world_stop(&w);
	return 0;
}
