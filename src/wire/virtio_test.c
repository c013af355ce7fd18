/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_test.c: our virtio is Linux's: codes, bits, places and lengths of fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/virtio.h"
#include "wire/virtio_peer.h"

#define OUR_NAME(ours, theirs) { #ours, (unsigned long)(ours) },
#define OUR_FIELD(ours, theirs, field) { #ours "." #field, offsetof(struct ours, field) },

static const struct virtio_fact facts[] = {
	VIRTIO_PEER_CODES(VIRTIO_PEER_CODE)
	VIRTIO_PEER_RENAMED(OUR_NAME)
	VIRTIO_PEER_RING_FIELDS(OUR_FIELD)
	VIRTIO_PEER_FIELDS(VIRTIO_PEER_AT)
	VIRTIO_PEER_FIELDS(VIRTIO_PEER_LEN)
};

/* Would break: a guest and we mean different things by one byte. */
static void facts_are_linux_s(void **state)
{
	size_t i;

	assert_int_equal(ARRAY_SIZE(facts), virtio_peer_fact_count);
	for (i = 0; i < ARRAY_SIZE(facts); i++) {
		assert_string_equal(facts[i].what, virtio_peer_facts[i].what);
		if (facts[i].value != virtio_peer_facts[i].value)
			fail_msg("%s: %lu here, %lu there", facts[i].what, facts[i].value, virtio_peer_facts[i].value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(facts_are_linux_s),
	};
	return cmocka_run_group_tests_name("virtio", tests, NULL, NULL);
}
