/* SPDX-License-Identifier: BSD-3-Clause */
/* qos.h: limits of what a device does in a second. Private to bdev and its methods.
 *
 * A limit is a number of units (I/Os, bytes) a second, of reads, of writes, or of both together. Devices have limits of
 * their own and can share those of one group. docs/ARCHITECTURE.md says how they are kept.
 */
#ifndef BDEV_QOS_H
#define BDEV_QOS_H

#include "bdev/bdev_device.h"

/* Names as in bdev_set_qos_limit; bandwidth is given there in MiB. */
/*   limit      parameter               units of bytes? */
#define QOS_LIMITS(X) \
	X(RW_IOS,   rw_ios_per_sec,         false) \
	X(RW_BYTES, rw_mbytes_per_sec,      true) \
	X(R_BYTES,  r_mbytes_per_sec,       true) \
	X(W_BYTES,  w_mbytes_per_sec,       true) \
	X(R_IOS,    r_ios_per_sec,          false) \
	X(W_IOS,    w_ios_per_sec,          false)
#define QOS_LIMIT_ENUM(limit, param, bytes) QOS_##limit,
enum qos_limit { QOS_LIMITS(QOS_LIMIT_ENUM) QOS_LIMIT_COUNT };
const char *qos_limit_name(enum qos_limit l);
bool qos_limit_in_bytes(enum qos_limit l);

#define QOS_BURST_MS 20u             /* unused time that is saved up, unless said otherwise */
#define QOS_BURST_MS_MAX 3600000u
#define QOS_RATE_MAX (1ull << 50)

/* What a limit is set to. */
struct qos_want {
	uint64_t rate[QOS_LIMIT_COUNT];  /* units a second; 0: no limit */
	uint64_t burst_ms;
};

struct qos_group;
typedef void qos_done_fn(void *arg);

/* Core: control, all of them.
 * Then: done runs once, later, when every core goes by the new limits; what waited goes on by them. The device stays
 * until then. */
void bdev_qos_set(struct bdev *b, const struct qos_want *want, qos_done_fn *done, void *arg);
/* What is in force; zeroes and the usual burst when nothing was set. True: some limit is. */
bool bdev_qos_get(const struct bdev *b, struct qos_want *ret_want);

/* Errors: -EEXIST, -ENODEV, -EBUSY with a sentence; then done does not run. */
struct qos_group *qos_group_make(struct bdev_registry *reg, const char *name, const struct qos_want *want,
                                 struct err *e);
struct qos_group *qos_group_find(struct bdev_registry *reg, const char *name, struct err *e);
void qos_group_set(struct qos_group *g, const struct qos_want *want, qos_done_fn *done, void *arg);
void qos_group_get(const struct qos_group *g, struct qos_want *ret_want);
const char *qos_group_name(const struct qos_group *g);
/* A device is in one group at most. NULL: in none. */
int qos_group_join(struct qos_group *g, struct bdev *b, qos_done_fn *done, void *arg, struct err *e) MUST_USE;
int qos_group_leave(struct qos_group *g, struct bdev *b, qos_done_fn *done, void *arg, struct err *e) MUST_USE;
struct qos_group *qos_group_of(const struct bdev *b);
int qos_group_free(struct qos_group *g, struct err *e) MUST_USE; /* no device is in it */
/* Other ones when other limits or another group are to be saved; of a device that has had limits. */
uint64_t qos_group_stamp(const struct qos_group *g);
uint64_t bdev_qos_stamp(const struct bdev *b);
struct qos_group *qos_group_first(struct bdev_registry *reg);
struct qos_group *qos_group_next(struct qos_group *g);

#endif
