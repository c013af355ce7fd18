/* SPDX-License-Identifier: BSD-3-Clause */
/* test_world.h: an iSCSI target with a RAM disk in a simulated world, and raw initiators that speak to it by PDUs. */
#ifndef ISCSI_TEST_WORLD_H
#define ISCSI_TEST_WORLD_H

#include "iscsi/config.h"
#include "iscsi/rx.h"
#include "iscsi/session.h"
#include "net/sim/peer.h"

#define TEST_NODE "iqn.2026-01.io.gantry:test"
#define TEST_BLOCK 512u
#define TEST_BLOCKS 8192u
#define HOST_IN_BYTES (8u << 20)

struct test_world {
	struct core *core, *host_core;
	struct bdev_registry *reg;
	struct scsi *scsi;
	struct iscsi_target *target;
	struct iscsi_change change;
	uint32_t cores;
	uint64_t memory_bytes;
	uint32_t piece_bytes;
	bool serving, stopped;
};

/* NULL: a plain network. w->cores, w->memory_bytes, w->piece_bytes, if set, say what the target has. */
void world_start(struct test_world *w, uint64_t seed, const struct sim_net_opts *net);
void world_stop(struct test_world *w);
/* Let the world go on for a while. */
void world_pass(uint64_t ns);
/* Sum of a counter over all cores. */
uint64_t world_count(struct test_world *w, const char *key);

/* A connection as an initiator has it. */
struct host {
	struct test_world *w;
	struct sim_peer peer;
	bool header_digest, data_digest;
	struct iscsi_rx rx;
	uint32_t itt, cmd_sn, exp_stat_sn, max_cmd_sn;
	uint32_t piece;                    /* bytes of a Data-Out at most */
	uint64_t lun;                      /* of its Data-Outs */
};

void host_open(struct host *h, struct test_world *w);
void host_close(struct host *h);
void host_send(struct host *h, const void *bytes, uint32_t len);
void host_send_pdu(struct host *h, const union iscsi_bhs *bhs, const void *data, uint32_t len);
/* The next PDU, whole; false: the connection ended, or nothing came within `ns`. Data lies in *ret_data. */
bool host_recv(struct host *h, union iscsi_bhs *ret, const uint8_t **ret_data, uint32_t *ret_len, uint64_t ns);

/* `keys`: "Key=value" pairs, each ended by a newline. */
bool host_login(struct host *h, const char *initiator, const char *keys);
/* Open and log in; it has to succeed. */
void host_ready(struct host *h, struct test_world *w, const char *initiator, const char *keys);
/* The command PDU of a read or write of blocks. */
union iscsi_bhs host_rw(struct host *h, bool write, uint32_t lba, uint32_t blocks);
/* Send it and wait for its status; what data came is copied to `to`. Answers R2Ts with `data`, of which `immediate`
 * bytes go along. 0xffff: the connection ended. */
uint16_t host_run(struct host *h, const union iscsi_bhs *cmd, const void *data, uint32_t len, uint32_t immediate,
                  void *to, uint32_t to_len);
void host_data_out(struct host *h, uint32_t itt, uint32_t ttt, uint32_t sn, uint32_t offset, const void *data,
                   uint32_t len, bool final);
/* All that it asks for; `data`: of the whole command. */
void host_answer_r2t(struct host *h, const struct iscsi_r2t *r, const uint8_t *data);

#endif
