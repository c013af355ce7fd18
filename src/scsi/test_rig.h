/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rig.h: a SCSI device with disks in a simulated world, behind a transport that is made of memory.
 *
 * rig_cmd() does what a transport does for one command: parse, lend or hand over buffers, execute, take the answer.
 * LUN 0 is a RAM disk of 512-byte blocks, LUN 1 a RAM disk of 4 KiB blocks, LUN 2 shows the first one read-only.
 */
#ifndef SCSI_TEST_RIG_H
#define SCSI_TEST_RIG_H

#include "backends/malloc/malloc.h"
#include "backends/null/null.h"
#include "core/sim/sim.h"
#include "scsi/scsi_priv.h"

#define RIG_NAME "iqn.2026-01.io.gantry:rig"
#define RIG_BLOCKS 8192u
#define RIG_BLOCK 512u

struct rig {
	struct core *core;
	struct bdev_registry *reg;
	struct scsi *scsi;
	struct scsi_target *target;
	struct scsi_change change;
	bool changed, stopped, no_lending;
	struct list nexuses;
	uint32_t gone_lun, gone_count;     /* as scsi_on_lun_gone() told */
};

struct rig_nexus {
	struct scsi_nexus n;
	struct rig *rig;
	struct list link;
	uint32_t core_index;
	int rc;
	bool told_to_go, ended;
	uint32_t events;
};

struct rig_task {
	struct scsi_task task;
	struct rig_nexus *q;
	struct iovec iovs[300];
	uint8_t *buffer;
	uint8_t *data;                     /* the caller's */
	uint32_t len;                      /* bytes the initiator offers, or has room for */
	bool done, refused;
	bool stays;                        /* a long command: after each piece, until rig_next() */
	uint32_t pieces;                   /* that went well, and were not the last */
	uint8_t status, key;
	uint16_t asc;
	uint32_t got;                      /* bytes that came */
	int64_t residual;                  /* > 0: overflow, < 0: underflow */
	bool was_lent, aborted;
	uint8_t sense[SCSI_SENSE_MAX];
	uint8_t sense_len;
};

void rig_start(struct rig *r, uint64_t seed);
void rig_stop(struct rig *r);
void rig_pass(uint64_t ns);
bool rig_run_until(bool *what);
/* Run fn on a reactor, between passes. */
void rig_on(struct reactor *r, void (*fn)(void *arg), void *arg);

/* Changes: run one and wait; each returns its code. */
int rig_add_lun(struct rig *r, const char *bdev, uint32_t lun, bool read_only);
int rig_remove_lun(struct rig *r, uint32_t lun);
int rig_set_alua(struct rig *r, uint16_t group, uint8_t state);
void rig_resize(struct rig *r, const char *bdev, uint64_t blocks);
void rig_unregister(struct rig *r, const char *bdev);

/* name: of the initiator port. */
struct rig_nexus *rig_join(struct rig *r, uint32_t core, const char *name);
void rig_end_nexus(struct rig_nexus *q);
bool rig_gone(struct rig_nexus *q);        /* wait for it, and free it */
void rig_move(struct rig_nexus *q, uint32_t core);

/* A CDB of its length, zeroed but for the opcode. */
struct rig_cdb {
	uint8_t b[SCSI_CDB_MAX];
};
/* READ, WRITE and what is like them: of 6, 10, 12, 16 bytes. */
struct rig_cdb rig_rw(uint8_t opcode, uint64_t lba, uint32_t blocks);

/* Start a command; direction: of what the initiator offers. Wait for one. Both. */
struct rig_task *rig_send(struct rig_nexus *q, uint32_t lun, const struct rig_cdb *cdb, enum scsi_data dir, void *data,
                          uint32_t len, uint8_t attr);
struct rig_task *rig_parse(struct rig_nexus *q, uint32_t lun, const struct rig_cdb *cdb, enum scsi_data dir,
                           void *data, uint32_t len, uint8_t attr);
void rig_execute(struct rig_task *rt);
void rig_next(struct rig_task *rt);        /* its next piece */
bool rig_wait(struct rig_task *rt, uint64_t ns);
uint8_t rig_end(struct rig_task *rt, struct rig_task *ret); /* its status; frees it; `ret` may be NULL */
uint8_t rig_cmd(struct rig_nexus *q, uint32_t lun, const struct rig_cdb *cdb, enum scsi_data dir, void *data,
                uint32_t len, struct rig_task *ret);
/* The same: what went wrong, as 0xKAASS: key, ASC, ASCQ; or the status in the low byte with 0x1000000; 0: GOOD. */
#define RIG_STATUS(status) (0x1000000u | (status))
#define RIG_SENSE(key, asc) ((uint32_t)(SCSI_##key) << 16 | SCSI_ASC_##asc)
uint32_t rig_try(struct rig_nexus *q, uint32_t lun, const struct rig_cdb *cdb, enum scsi_data dir, void *data,
                 uint32_t len);

/* Task management: its response. */
struct rig_tmf {
	struct scsi_tmf tmf;
	bool done;
};
void rig_tmf_start(struct rig_tmf *m, struct rig_nexus *q, uint8_t function, uint32_t lun, uint64_t tag);
uint8_t rig_tmf(struct rig_nexus *q, uint8_t function, uint32_t lun, uint64_t tag);

#endif
