/* SPDX-License-Identifier: BSD-3-Clause */
/* fabric_rx_fuzz.c: any bytes, on either side, cut anywhere: two ways of cutting tell the same story, and nothing is
 * read that was not fed. */
#include "base/crc32c.h"
#include "fabric/fabric.h"

struct tale {
	struct fabric_rx rx;
	uint32_t sum;
};

static void setup(struct tale *t, const uint8_t *seed)
{
	memset(t, 0, sizeof(*t));
	fabric_rx_init(&t->rx, seed[0] & 1 ? NVME_TCP_HOST : NVME_TCP_CONTROLLER);
	t->rx.as.ready = seed[0] & 2;
	t->rx.as.framing = (struct nvme_tcp_framing){ seed[0] & 4, seed[0] & 8, (uint8_t)(((seed[0] >> 4 & 3) + 1) * 4) };
	t->rx.as.dgst_asked = seed[0] >> 6;
	t->rx.as.icd_bytes_max = 8192;
	t->rx.as.h2cdata_bytes_max = 131072;
}

static void feed(struct tale *t, const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len + !len), term[FABRIC_TERM_MAX];
	const uint8_t *at = copy;
	enum fabric_rx_event ev;

	memcpy(copy, bytes, len);
	while ((ev = fabric_rx_next(&t->rx, &at, copy + len)) != FABRIC_RX_MORE) {
		if (ev == FABRIC_RX_HEADER)
			t->sum = crc32c_update(t->sum, t->rx.pdu, t->rx.pdu->h.hlen);
		if (ev == FABRIC_RX_DATA)
			t->sum = crc32c_update(t->sum, t->rx.span, t->rx.span_len);
		if (ev == FABRIC_RX_BAD)
			must(fabric_put_term(term, &t->rx, t->rx.fes, t->rx.fei) <= sizeof(term));
		if (ev == FABRIC_RX_END)
			t->sum = crc32c_update(t->sum, &t->rx.digest_good, 1);
	}
	must(at == copy + len);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tale a, b;
	size_t step;

	if (size < 2)
		return 0;
	setup(&a, data);
	setup(&b, data);
	step = 1 + data[1];
	data += 2;
	size -= 2;
	feed(&a, data, size);
	for (size_t at = 0; at < size; at += step)
		feed(&b, data + at, min_u64(step, size - at));
	must(a.sum == b.sum && a.rx.fes == b.rx.fes && a.rx.fei == b.rx.fei && a.rx.data_left == b.rx.data_left);
	return 0;
}
