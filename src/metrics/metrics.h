/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics.h: the daemon's counters as Prometheus text.
 *
 *     table.h    every metric is a row: name, type, help
 *     gather.c   asks reactors and devices by messages, through the control reactor; what was made a moment ago is
 *                given to everybody, so that scrapes cannot load the daemon
 *     format.c   rows and what was gathered to text; stages.c what is told by host, namespace, LUN, queue, session
 *     http.c     an HTTP server (libmicrohttpd) on a thread of its own, which only sends messages; off unless asked for
 */
#ifndef METRICS_METRICS_H
#define METRICS_METRICS_H

#include "bdev/bdev.h"
#include "net/net.h"

#define METRICS_FRESH_MS 500u         /* as old as this a text is still good */
#define METRICS_SCRAPES_MAX 8u        /* HTTP connections at a time; others wait until one has ended or are refused */
#define METRICS_HTTP_TIMEOUT_S 10u    /* of silence; and of a request as a whole */
#define METRICS_HTTP_MEMORY 16384u    /* of one connection: all that a request may hold */
#define METRICS_HOSTS_MAX 64u         /* told apart in the text; the rest is one */
#define METRICS_NAMESPACES_MAX 256u  /* LUNs too */
#define METRICS_QUEUES_MAX 128u       /* sessions too */
#define METRICS_DEVICES_MAX 256u
#define METRICS_PATHS_MAX 256u        /* of remote controllers */
#define METRICS_NODES_MAX 256u        /* of iSCSI */

struct iscsi_target;
struct scsi;
struct vhost;
struct nvmf_target;
struct remote;
struct metrics;

/* What is measured; nvmf may be NULL. Core: control, as all below. */
struct metrics *metrics_make(struct core *core, struct bdev_registry *reg, struct nvmf_target *nvmf,
                             const char *version);
/* Remote controllers too; they live longer than the metrics. */
void metrics_add_remote(struct metrics *m, struct remote *r);
void metrics_add_scsi(struct metrics *m, struct scsi *s);
void metrics_add_iscsi(struct metrics *m, struct iscsi_target *t);
void metrics_add_vhost(struct metrics *m, struct vhost *v);
/* Stops the server; `done` runs when nothing is under way any more, and the metrics are gone. */
void metrics_stop(struct metrics *m, void (*done)(void *arg), void *arg);

/* A text that somebody reads; counted. */
struct metrics_text {
	_Atomic uint32_t refs;
	uint64_t made_ns;
	char *bytes;
	size_t len;
};
void metrics_text_unref(struct metrics_text *t); /* any thread */

/* The text, not older than METRICS_FRESH_MS. fn runs once, possibly before this returns, with its own reference. */
struct metrics_ask {
	struct list link;
	void (*fn)(struct metrics_ask *a, struct metrics_text *text);
};
void metrics_ask(struct metrics *m, struct metrics_ask *a,
                 void (*fn)(struct metrics_ask *a, struct metrics_text *text));

/* The server. Errors: a sentence; -ENOTSUP when it was built without libmicrohttpd. */
int metrics_serve(struct metrics *m, const char *host, uint16_t port, struct err *e) MUST_USE;
bool metrics_unserve(struct metrics *m); /* false: it does not serve */
/* "ADDR:PORT", "PORT", "[::1]:PORT"; without an address it is 127.0.0.1. */
int metrics_parse_address(const char *text, char ret_host[static 64], uint16_t *ret_port, struct err *e) MUST_USE;

#endif
