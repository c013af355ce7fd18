/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_peer.c: the second opinion: the lists of virtio_peer.h by Linux's headers. Built into the test only. */
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_scsi.h>

#include "wire/virtio_peer.h"

#define THEIR_NAME(ours, theirs) { #ours, (unsigned long)(theirs) },
#define THEIR_FIELD(ours, theirs, field) { #ours "." #field, offsetof(struct theirs, field) },

const struct virtio_fact virtio_peer_facts[] = {
	VIRTIO_PEER_CODES(VIRTIO_PEER_CODE)
	VIRTIO_PEER_RENAMED(THEIR_NAME)
	VIRTIO_PEER_RING_FIELDS(THEIR_FIELD)
	VIRTIO_PEER_FIELDS(VIRTIO_PEER_AT)
	VIRTIO_PEER_FIELDS(VIRTIO_PEER_LEN)
};
const size_t virtio_peer_fact_count = sizeof(virtio_peer_facts) / sizeof(virtio_peer_facts[0]);
