/* SPDX-License-Identifier: BSD-3-Clause */
/* perf.h: what the parts of gantry-perf share. Private.
 *
 * The control reactor opens the controllers and keeps time; every I/O reactor is a worker with its own queue
 * pairs, tasks and counters. A task is one I/O in flight: it owns its buffer and, when verifying, a stripe of the
 * disk that no other task touches, so that it knows what must be read.
 */
#ifndef PERF_PERF_H
#define PERF_PERF_H

#include "backends/virtio/virtio.h"
#include "base/hist.h"
#include "bdev/bdev.h"
#include "core/core.h"
#include "core/mem.h"
#include "nvme/nvme.h"
#include "perf/initiator.h"

#define PERF_PATHS_MAX 64
#define PERF_QUEUES_PER_QPAIR 64 /* namespaces of one controller that a worker may drive */

/* -e: metadata.c */
struct perf_metadata {
	bool given;
	uint16_t control;           /* PRACT, PRCHK: of commands */
	uint32_t checks;            /* BDEV_IO_PRCHK_* of what has been read */
};

struct perf_opts {
	struct nvme_path paths[PERF_PATHS_MAX];
	uint32_t path_count;
	struct ini_url urls[PERF_PATHS_MAX]; /* --iscsi, instead */
	uint32_t url_count;
	const char *vhosts[PERF_PATHS_MAX]; /* --vhost, instead: sockets */
	uint32_t vhost_count;
	bool packed;                /* --packed: rings */
	const char *disk, *socket;  /* --disk: of a daemon, instead of paths; NULL: none. --socket; NULL: the usual one */
	const char *pattern;        /* -w */
	bool random, verify, json, latency, quiet;
	uint8_t read_percent;       /* -M; 100 and 0 for pure patterns */
	uint32_t depth;             /* -q: a worker's total for one namespace, spread over its queue pairs */
	uint32_t io_bytes;          /* -o */
	uint32_t qpairs;            /* -P: per worker and namespace */
	uint32_t time_s, warmup_s;  /* -t, -a */
	uint64_t io_limit;          /* -d: per task set; 0: none */
	uint64_t rate;              /* --rate: I/Os a second of a worker; 0: no limit */
	const char *cpus;           /* -c; NULL: the first; of --disk: all the daemon has */
	enum core_mode mode;
	uint64_t seed;              /* --seed */
	struct perf_metadata metadata;
	struct nvme_host_opts host;
	const char *psk_path, *dhchap_path, *dhchap_ctrlr_path; /* files of keys; NULL: none */
};
int perf_opts_parse(int argc, char **argv, struct perf_opts *ret_opts);
struct perf_ns;
struct perf_task;
bool perf_metadata_parse(const char *text, struct perf_metadata *ret_md);
/* False: said why not. io_blocks is known. */
bool perf_metadata_fit(const struct perf_opts *o, struct perf_ns *ns);
/* A command of a namespace with protection information; what is wrong with what it has read: NULL: nothing. */
void perf_metadata_begin(struct perf_task *t, uint64_t lba);
const char *perf_metadata_failure(const struct perf_task *t);

/* One namespace of one controller, one logical unit, or one vhost-user server's disk. */
struct perf_ns {
	const struct nvme_ctrlr *ctrlr;
	const struct ini_url *url;  /* of a logical unit */
	struct bdev_desc *desc;     /* of a vhost-user server's disk; neither: a namespace */
	struct nvme_ns_info info;   /* but for a namespace: sizes only */
	struct nvme_login login;
	uint32_t ctrlr_index;
	char name[256];
	uint32_t io_blocks;
	uint32_t wire_bytes;        /* of an I/O, with the metadata that it carries */
	bool carries_md;
	uint64_t io_slots;          /* I/Os that fit the namespace */
};

struct perf_counts {            /* one writer; read by the live line */
	_Atomic uint64_t ios, errors;
};

struct perf_lane {              /* a connection for I/O */
	struct nvme_qpair *nvme;
	struct ini *iscsi;
	struct bdev_channel *vhost;
};

/* What one worker does with one namespace. */
struct perf_flow {
	struct perf_worker *worker;
	const struct perf_ns *ns;
	struct perf_lane *lanes;
	uint32_t lane_count;
	uint32_t first_lane;        /* queue ids, or numbers of sessions, begin here */
	struct perf_task *tasks;
	struct mem_region buffers;  /* of the tasks; told to whoever registers memory with adapters */
	uint32_t task_count, running;
	uint64_t next_slot;         /* sequential patterns */
	uint64_t issued;
	struct hist *hist;
	struct perf_counts counts;
	uint64_t measured_ios, miscompares;
	struct queue paced;         /* tasks that wait for their turn under --rate */
	uint64_t next_due_ns;
	struct timer pace_timer;
	uint32_t share, shares;     /* this flow's place among all flows of the namespace: stripes of --verify */
	struct perf_flow *next;
};

struct perf_task {
	struct nvme_op op;
	struct ini_op iscsi;
	struct bdev_io io;
	struct iovec iov;
	struct perf_flow *flow;
	uint8_t *buf;
	uint64_t slot;
	bool is_read, checking;     /* checking: the final pass of --verify, which reads back all that was written */
	uint64_t began_ns;
	struct queue_link link;
	/* --verify: this task's stripe of slots and what was written there last; 0: never */
	uint64_t stripe_first, stripe_count, check_at;
	uint32_t *generations;
};

struct perf;
struct perf_worker {
	struct perf *perf;
	struct reactor *reactor;
	struct msg msg, stop_msg;
	uint64_t random_state;
	struct perf_flow *flows;    /* linked by next */
	uint32_t lanes_opening, flows_running;
	msg_fn *opened, *finished;  /* what to tell the control reactor */
	bool stopping;
	struct err stop_err;        /* the control reactor's, until stop_msg was sent */
	uint64_t measure_from_ns, end_ns, ended_ns;
	struct err err;
};

/* All of a run; lives on the control reactor. */
struct perf {
	struct perf_opts opts;
	struct core *core;
	struct keyring *keyring;
	struct nvme_host *host;
	struct nvme_ctrlr *ctrlrs[PERF_PATHS_MAX];
	uint32_t ctrlrs_open, ctrlrs_ready, ctrlrs_closing;
	struct ini *probes[PERF_PATHS_MAX]; /* of --iscsi: sessions that ask for sizes */
	uint32_t probes_open;
	struct msg probed_msg;
	struct bdev_registry *reg;  /* of --vhost; NULL: none */
	struct vio *vio;
	uint32_t disks_coming;
	void (*disks_all)(struct perf *p);
	struct perf_ns *ns;
	uint32_t ns_count;
	struct perf_worker *workers;
	uint32_t worker_count, workers_ready, workers_done;
	struct timer live_timer;
	uint64_t live_ios, began_ns;
	bool stopped;               /* the workers were told */
	int code;
};

/* worker.c: on the worker's reactor, by message. Each answers with the given message to the control reactor. */
void perf_worker_open(struct perf_worker *w, msg_fn *opened);  /* w->err tells */
void perf_worker_begin(struct perf_worker *w, uint64_t begin_ns, msg_fn *finished);
/* Control reactor, once: a controller is gone, end early. What it owes answers to would never come back by itself. */
void perf_worker_stop(struct perf_worker *w, const struct err *e);
/* Close queue pairs and free what perf_worker_open() made; on the worker's reactor. */
void perf_worker_close(struct perf_worker *w);

/* worker.c, of lane.c's */
void perf_lane_opened(struct perf_flow *f);                   /* or not: f->worker->err */
void perf_task_done(struct perf_task *t, const char *failure); /* NULL: it went well */
/* lane.c: the flow's reactor */
void perf_lanes_open(struct perf_flow *f);
void perf_lane_submit(struct perf_task *t);
void perf_lanes_fail(struct perf_flow *f, const struct err *e);
void perf_lanes_close(struct perf_flow *f);

/* main.c: a disk that is to be used: p->ns[p->ns_count], named and with its sizes. False: said why not. */
bool perf_disk_fits(struct perf *p);

/* vhost.c; control: open all disks, p->code tells; close them: nobody has a channel any more; free. */
void perf_vhost_attach(struct perf *p, void (*all)(struct perf *p));
void perf_vhost_detach(struct perf *p, void (*done)(void *arg));
void perf_vhost_free(struct perf *p);
/* The flow's reactor. */
void perf_vhost_submit(struct perf_task *t, struct bdev_channel *ch, uint64_t lba);

/* keys.c: into opts.host, and back. False: said why not. */
bool perf_keys_take(struct perf *p);
void perf_keys_give(struct perf *p);

/* report.c */
void perf_report(const struct perf *p);
void perf_live_line(struct perf *p);
void perf_print_title(void);
void perf_print_row(const char *name, double iops, double mib_s, double mean_us, double min_us, double max_us);
const char *perf_percentile_key(size_t i); /* NULL: no more */

/* disk.c: the whole of --disk; what the process ends with. */
int perf_disk_run(const struct perf_opts *o);

#endif
