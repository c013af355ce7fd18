/* SPDX-License-Identifier: BSD-3-Clause */
/* pi_test.c: protection information against known answers, and against a CRC computed bit by bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/crc16.h"
#include "bdev/pi.h"

#define BLOCKS 5u
#define MAX_BYTES (BLOCKS * (4096u + 128))

static uint16_t slow_crc(const uint8_t *at, size_t len)
{
	uint16_t crc = 0;

	for (size_t i = 0; i < len; i++) {
		crc ^= (uint16_t)(at[i] << 8);
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x8bb7 : crc << 1);
	}
	return crc;
}

/* A guard that no other implementation computes is none: the catalogue's check value, and vectors that are quoted from
 * SBC. */
static void known_answers(void **state)
{
	uint8_t up[32], first[32] = { 0xff, 0xff }, ones[32], zeroes[32] = { 0 };

	for (uint8_t i = 0; i < 32; i++) {
		up[i] = i;
		ones[i] = 0xff;
	}
	assert_int_equal(crc16_update(0, "123456789", 9), 0xd0db);
	assert_int_equal(crc16_update(0, zeroes, 32), 0);
	assert_int_equal(crc16_update(0, ones, 32), 0xa293);
	assert_int_equal(crc16_update(0, up, 32), 0x0224);
	assert_int_equal(crc16_update(0, first, 32), 0x21b8);
	assert_int_equal(crc16_update(crc16_update(0, up, 11), up + 11, 21), 0x0224);
}

/* Cut `len` bytes into iovecs of lengths that a seed chooses. */
static uint32_t cut(uint8_t *at, size_t len, struct iovec *iovs, uint32_t max, unsigned seed)
{
	uint32_t used = 0;

	while (len) {
		size_t n = used + 1 == max ? len : (size_t)(rand_r(&seed) % 700 + 1);

		n = n < len ? n : len;
		iovs[used++] = (struct iovec){ .iov_base = at, .iov_len = n };
		at += n;
		len -= n;
	}
	return used;
}

struct layout {
	struct pi_shape shape;
	bool apart;
};

static uint8_t data[MAX_BYTES], apart[BLOCKS * 128];
static struct iovec iovs[256], md_iovs[256];
static uint32_t iov_count, md_count;

static void prepare(const struct layout *l, unsigned seed)
{
	size_t stride = l->shape.block_size + (l->apart ? 0 : l->shape.md_size);

	srand(seed);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)rand();
	for (size_t i = 0; i < sizeof(apart); i++)
		apart[i] = (uint8_t)rand();
	iov_count = cut(data, BLOCKS * stride, iovs, 256, seed);
	md_count = cut(apart, BLOCKS * l->shape.md_size, md_iovs, 256, seed + 1);
}

static uint8_t *tuple_of(const struct layout *l, uint32_t block)
{
	const struct pi_shape *s = &l->shape;

	if (l->apart)
		return apart + block * s->md_size + pi_at(s);
	return data + block * (s->block_size + s->md_size) + s->block_size + pi_at(s);
}

static enum bdev_status verify(const struct layout *l, struct bdev_tags tags, uint32_t checks)
{
	struct iov_cursor md = iov_cursor_over(md_iovs, md_count);

	return pi_verify(&l->shape, iov_cursor_over(iovs, iov_count), l->apart ? &md : NULL, BLOCKS, tags, checks, NULL);
}

static void generate(const struct layout *l, struct bdev_tags tags)
{
	struct iov_cursor md = iov_cursor_over(md_iovs, md_count);

	pi_generate(&l->shape, iov_cursor_over(iovs, iov_count), l->apart ? &md : NULL, BLOCKS, tags);
}

/* The guard of a block, as the standard has it: the block, and the metadata before the tuple. */
static uint16_t expected_guard(const struct layout *l, uint32_t block)
{
	static uint8_t flat[4096 + 128];
	const struct pi_shape *s = &l->shape;
	size_t stride = s->block_size + (l->apart ? 0 : s->md_size);

	memcpy(flat, data + block * stride, s->block_size);
	memcpy(flat + s->block_size, tuple_of(l, block) - pi_at(s), pi_at(s));
	return slow_crc(flat, s->block_size + pi_at(s));
}

static void check_made(const struct layout *l, struct bdev_tags tags)
{
	for (uint32_t i = 0; i < BLOCKS; i++) {
		struct pi_tuple t = pi_tuple_read(tuple_of(l, i));

		assert_int_equal(t.guard, expected_guard(l, i));
		assert_int_equal(t.app, tags.app);
		assert_int_equal(t.ref, l->shape.type == 3 ? tags.ref : tags.ref + i);
	}
}

/* Every bit that is wrong is found by the check that is for it, and by no other. */
static void check_found(const struct layout *l, struct bdev_tags tags, unsigned seed)
{
	uint8_t *bad = tuple_of(l, seed % BLOCKS);
	bool refs = l->shape.type != 3;

	assert_int_equal(verify(l, tags, PI_CHECKS), BDEV_ST_OK);
	data[seed % l->shape.block_size] ^= 0x10;
	assert_int_equal(verify(l, tags, PI_CHECKS), BDEV_ST_GUARD_CHECK);
	assert_int_equal(verify(l, tags, PI_CHECKS & ~BDEV_IO_PRCHK_GUARD), BDEV_ST_OK);
	data[seed % l->shape.block_size] ^= 0x10;
	bad[2] ^= 1;
	assert_int_equal(verify(l, tags, PI_CHECKS), BDEV_ST_APPTAG_CHECK);
	tags.mask = 0x00ff;
	assert_int_equal(verify(l, tags, PI_CHECKS), BDEV_ST_OK); /* it is in a bit that nobody looks at */
	tags.mask = 0xffff;
	bad[2] ^= 1;
	bad[7] ^= 1;
	assert_int_equal(verify(l, tags, PI_CHECKS), refs ? BDEV_ST_REFTAG_CHECK : BDEV_ST_OK);
	assert_int_equal(verify(l, tags, BDEV_IO_PRCHK_GUARD), BDEV_ST_OK);
	/* who escapes is not looked at; of type 3 both tags say so */
	bad[0] ^= 0xff;
	bad[2] = bad[3] = 0xff;
	assert_int_equal(verify(l, tags, PI_CHECKS), refs ? BDEV_ST_OK : BDEV_ST_GUARD_CHECK);
	memset(bad + 4, 0xff, 4);
	assert_int_equal(verify(l, tags, PI_CHECKS), BDEV_ST_OK);
}

static void every_shape_however_it_is_cut(void **state)
{
	static const uint32_t block_sizes[] = { 512, 4096 }, md_sizes[] = { 8, 16, 64, 128 };

	for (unsigned n = 0; n < 2 * 4 * 3 * 2 * 2 * 8; n++) {
		struct layout l = {
			.shape = { .block_size = block_sizes[n % 2], .md_size = md_sizes[n / 2 % 4],
			           .type = (uint8_t)(n / 8 % 3 + 1), .at_head = n / 24 % 2 },
			.apart = n / 48 % 2,
		};
		struct bdev_tags tags = { .ref = n % 3 ? n * 77777 : UINT32_MAX - 2, .app = (uint16_t)(n * 31),
		                          .mask = 0xffff };

		prepare(&l, n);
		generate(&l, tags);
		check_made(&l, tags);
		check_found(&l, tags, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(every_shape_however_it_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
