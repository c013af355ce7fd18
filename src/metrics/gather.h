/* SPDX-License-Identifier: BSD-3-Clause */
/* gather.h: what the metrics' files share: the object, and what one gathering finds (private to metrics). */
#ifndef METRICS_GATHER_H
#define METRICS_GATHER_H

#include "bdev/bdev_device.h"
#include "core/waits.h"
#include "metrics/metrics.h"
#include "nvmf/nvmf_eyes.h"
#include "scsi/scsi_eyes.h"
#include "vhost/vhost_eyes.h"

struct metrics_http;

struct metrics {
	struct core *core;
	struct bdev_registry *reg;
	struct nvmf_target *nvmf;
	struct remote *remote;          /* NULL: not measured */
	struct iscsi_target *iscsi;     /* the same */
	struct vhost *vhost;            /* the same */
	struct scsi *scsi;              /* the same */
	const char *version;
	struct metrics_text *text;      /* the last; NULL: none yet */
	struct list asks;               /* wait for the gathering that runs */
	struct gathering *gathering;
	uint64_t gathered;
	struct metrics_http *http;
	char host[64];                  /* where it serves */
	uint16_t port;
	bool by_rpc;                    /* to be saved */
	uint32_t servers;               /* that have not ended yet */
	/* stopping */
	void (*stopped)(void *arg);
	void *stopped_arg;
};

struct gathered_core {
	struct reactor *reactor;
	struct reactor_stats stats;
	enum core_mode mode;
	struct wait_account waits[WAITS_NAMES_MAX];
	uint32_t wait_count;
	struct nvmf_eyes nvmf;
	struct stage_eyes scsi, vhost;
};

struct gathering {
	struct metrics *m;
	struct each each;
	struct bdev_stats_all devices;
	uint32_t core_count;            /* control included, the last */
	struct gathered_core cores[];
};

/* gather.c: something it may wait for has ended. */
void metrics_maybe_stopped(struct metrics *m);

/* format.c: all of it as text, heap. */
char *metrics_format(const struct gathering *g, size_t *ret_len);

/* http.c, or http_none.c */
struct metrics_http *metrics_http_start(struct metrics *m, const char *host, uint16_t port, struct err *e);
void metrics_http_stop(struct metrics_http *h);

#endif
