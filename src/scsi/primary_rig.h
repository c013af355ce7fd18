/* SPDX-License-Identifier: BSD-3-Clause */
/* primary_rig.h: hosts whose commands are bytes, for the tests of the primary commands; over test_rig.h. */
#ifndef SCSI_PRIMARY_RIG_H
#define SCSI_PRIMARY_RIG_H

#include "scsi/primary.h"
#include "scsi/test_rig.h"

#define DISK_BLOCKS 65536u
#define HOST_DATA_MAX (1024u * 1024)

/* A host: one nexus, one command at a time. */
struct host {
	struct rig_nexus *q;
	uint8_t *out;                     /* what is sent; HOST_DATA_MAX bytes */
	uint8_t *in;                      /* what came, `got` bytes */
	uint32_t got;
	uint8_t key;
	uint16_t asc;
	uint8_t sense[SCSI_SENSE_MAX];
};

/* The rig with other disks. LUNs 0 and 1: DISK_BLOCKS blocks of 512 bytes; 2: 64 blocks of 4096 bytes. Their UUIDs are
 * the bytes "0123456789abcde" and the LUN's digit. */
void hosts_start(struct rig *r, uint64_t seed);
/* What waits for a new nexus is taken. */
void host_join(struct rig *r, struct host *h, uint32_t core, uint16_t port);
void host_leave(struct host *h);              /* after rig_stop(), too */

/* One command of `cdb_len` bytes with `out_len` bytes of h->out. Returns the status; sense in h->key and h->asc. */
uint8_t host_cmd(struct host *h, uint32_t lun, const uint8_t *cdb, uint32_t cdb_len, uint32_t out_len);
#define CMD(h, lun, out_len, ...) \
	host_cmd(h, lun, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), out_len)
/* Blocks of one byte each. */
uint8_t host_fill(struct host *h, uint32_t lun, uint32_t lba, uint16_t blocks, uint32_t block_size, uint8_t with);
/* Is all of it that byte? */
bool host_finds(struct host *h, uint32_t lun, uint32_t lba, uint16_t blocks, uint32_t block_size, uint8_t with);

#endif
