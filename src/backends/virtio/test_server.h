/* SPDX-License-Identifier: BSD-3-Clause */
/* test_server.h: an initiator in a simulated world, and a vhost-user server of tests that does what it is told to. */
#ifndef BACKENDS_VIRTIO_TEST_SERVER_H
#define BACKENDS_VIRTIO_TEST_SERVER_H

#include "backends/virtio/virtio.h"
#include "core/bell.h"
#include "core/share.h"
#include "core/sim/fds.h"
#include "net/sim/peer.h"
#include "virtio/ring.h"
#include "virtio/vhost_user.h"
#include "wire/virtio.h"

#define SERVER_PATH "/sim/server"
#define SERVER_QUEUES 4u
#define SERVER_HELD 64u                /* requests of a queue that it has */
#define SERVER_IOVS 8u
#define SERVER_HEARD 256u
#define SERVER_SECTORS 2048u
#define SERVER_LONG_NS (200 * NS_PER_S)
#define SERVER_FEATURES (VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_PROTOCOL_FEATURES) | \
                         VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX))
#define SERVER_PROTOCOL (VU_P_BIT(MQ) | VU_P_BIT(CONFIG))

/* What it does with the message after the next `skip` ones. */
enum server_trouble {
	SERVER_GOOD, SERVER_SILENT, SERVER_NUMBER, SERVER_OTHER, SERVER_RAW, SERVER_HANGS_UP, SERVER_TWICE, SERVER_TROUBLES
};

struct server_held {
	struct vq_chain chain;
	struct iovec iovs[SERVER_IOVS];
};

struct server_queue {
	uint32_t size, base;
	struct vu_addr addr;
	bool placed, open;
	struct vq_dev dev;
	struct bell kick, call, err;
	struct server_held held[SERVER_HELD];
	uint32_t count;                    /* of those */
};

struct server {
	struct core *core, *host_core;     /* the initiator's; its own */
	struct reactor *on;
	struct bdev_registry *reg;
	struct vio *vio;
	struct listener *listener;
	struct sock *sock;
	struct vu_rx rx;
	/* How it answers. */
	uint64_t features, protocol;
	uint32_t queue_count;
	uint8_t config[VU_CONFIG_MAX];
	uint8_t targets;                   /* SCSI: a bit each */
	struct server_ident {              /* and who they say they are: the page's code, and what follows its header */
		uint8_t page, len, bytes[48];
	} idents[8];
	uint8_t trouble;                   /* enum server_trouble, once */
	uint32_t skip;
	uint8_t bytes[64];                 /* that it says then */
	uint32_t bytes_len;
	/* What it knows. */
	uint32_t heard[SERVER_HEARD], heard_count;
	uint64_t agreed, agreed_protocol;  /* features */
	struct share share;
	struct vq_mem *mem;
	struct server_queue queues[SERVER_QUEUES];
	/* The initiator's attempt. */
	struct vio_opts opts;
	bool answered, refused, detached, stopped;
	struct err why;
};

/* A world with both, nothing attached. `net` NULL: a plain network. The caller sets what differs from a good server. */
void server_start(struct server *s, uint64_t seed, const struct sim_net_opts *net, uint32_t cores);
/* All goes, and nothing is left. */
void server_stop(struct server *s);
static inline void server_pass(uint64_t ns) { sim_run(NULL, NULL, ns); }
void server_attach(struct server *s);             /* s->opts; begin: s->answered */
void server_hang_up(struct server *s);
void server_say(struct server *s, const void *bytes, uint32_t len);
/* Requests of a queue, from the ring into q->held; how many it has then. */
uint32_t server_take(struct server *s, uint32_t queue);
/* Answer the n-th of those. `bytes` go over the beginning of what it may write; `written` 0: as it should be. */
void server_give(struct server *s, uint32_t queue, uint32_t n, const void *bytes, uint32_t len, uint32_t written);
/* Answer all there is, and what comes of that, for a while. */
void server_serve(struct server *s);
void server_call(struct server *s, uint32_t queue, bool err);
/* A disk as its configuration says it. */
void server_blk_config(struct server *s, uint64_t sectors, uint32_t block_size);
/* And one of a SCSI host: its targets' answers to READ CAPACITY are at byte 64, to MODE SENSE at 96. */
void server_scsi_config(struct server *s, uint64_t blocks, uint32_t block_size);

#endif
