/* SPDX-License-Identifier: BSD-3-Clause */
/* remote.h: disks that are namespaces of remote NVMe-oF subsystems: SPDK's bdev_nvme.
 *
 * A *group* has the name that the person gave ("controller" in the methods' names); it holds *paths*, each a
 * controller of the same subsystem at an address of its own. A namespace that is seen through any of them is one
 * disk, <name>n<nsid>.
 *
 * Everything here belongs to the control reactor, which connects, keeps alive, reconnects and scans; cores only carry
 * I/O. What the methods do is in remote_priv.h and remote_rpc.h; this header is for the daemon's own start and stop.
 */
#ifndef BACKENDS_REMOTE_REMOTE_H
#define BACKENDS_REMOTE_REMOTE_H

#include "bdev/bdev.h"

struct remote;

/* Core: control, as all here. */
struct remote *remote_make(struct bdev_registry *reg);
/* Detach everything, within a bounded time; `done` runs once, not from within. Before the devices' registry goes, and
 * while reactors still run. */
void remote_stop(struct remote *r, void (*done)(void *arg), void *arg);
/* After remote_stop(). */
void remote_free(struct remote *r);

/* For the metrics: what is counted of a path, texts and names while `fn` runs. */
struct remote_count_row {
	const char *name;
	uint64_t value;
};
struct remote_path_counts {
	const char *name, *traddr, *trsvcid;
	bool up;
	uint64_t attempts, connected, outstanding;
	const struct remote_count_row *ends;    /* how attempts and connections ended */
	const struct remote_count_row *io;      /* what happened to commands and queue pairs */
	uint32_t end_count, io_count;
};
void remote_each_path(struct remote *r, void (*fn)(const struct remote_path_counts *c, void *arg), void *arg);

#endif
