/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_state_fuzz.c: any bytes as the state of a device, which a front-end hands over when its machine comes: taken,
 * and what is saved then says the same of all that a driver can choose; or refused, and all is as it was.
 *
 * Input: a byte of which kind the controller is, and how the state is made: of the bytes alone, or the device's own
 * with pieces of it written over (a byte where, a byte of how many, those).
 */
#include "vhost/blk.h"
#include "vhost/test_front.h"
#include "wire/virtio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BYTES_MAX (2 * VHOST_STATE_BYTES)

struct handing {
	struct vhost_session_priv *session;
	const uint8_t *bytes;
	size_t len;
	struct err err;
	bool taken;
	uint8_t before[VHOST_STATE_BYTES], after[VHOST_STATE_BYTES];
};

static void hand_over(void *arg)
{
	struct handing *h = arg;

	vhost_state_get(h->session, h->before);
	h->taken = vhost_state_set(h->session, h->bytes, h->len, &h->err);
	vhost_state_get(h->session, h->after);
}

/* Pieces over the device's own. */
static size_t patch(uint8_t *bytes, const uint8_t *data, size_t size)
{
	while (size >= 3) {
		size_t at = data[0] + (data[1] & 0x80 ? 128u : 0), len = min_u64(data[1] & 0x7f, size - 2);

		len = min_u64(len, VHOST_STATE_BYTES - min_u64(at, VHOST_STATE_BYTES));
		if (len)
			memcpy(bytes + at, data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	return VHOST_STATE_BYTES;
}

/* What a driver may choose of it: the rest is what the device is. */
static bool same_choice(const struct handing *h, bool is_scsi)
{
	const size_t head = VHOST_STATE_BYTES - VU_CONFIG_MAX, blk = head + offsetof(struct virtio_blk_config, wce);
	const size_t scsi = head + offsetof(struct virtio_scsi_config, sense_size);

	return is_scsi ? !memcmp(h->bytes + scsi, h->after + scsi, 2 * sizeof(le32)) : h->bytes[blk] == h->after[blk];
}

static void check(const struct handing *h, bool is_scsi)
{
	must(h->taken == !h->err.code);
	must(h->taken || !memcmp(h->before, h->after, sizeof(h->before)));
	must(!h->taken || (h->len == VHOST_STATE_BYTES && same_choice(h, is_scsi)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool is_scsi = size && data[0] & 1;
	struct test_world w = { .cores = 1, .is_scsi = is_scsi };
	uint8_t bytes[BYTES_MAX];
	struct handing h = { .bytes = bytes };
	struct front f;

	log_set_level(LOG_ERROR);
	world_start(&w, 1);
	front_open(&f, &w, 0, VU_P_BIT(DEVICE_STATE));
	(void)front_get(&f, VU_GET_FEATURES);
	h.session = world_session(&w);
	vhost_state_get(h.session, bytes);
	if (size && data[0] & 2) {
		h.len = patch(bytes, data + 1, size - 1);
	} else if (size) {
		h.len = min_u64(size - 1, sizeof(bytes));
		memcpy(bytes, data + 1, h.len);
	}
	sim_as(core_control(w.core), hand_over, &h);
	check(&h, is_scsi);
	front_close(&f);
	world_stop(&w);
	return 0;
}
