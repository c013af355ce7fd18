/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rig.h: a target with disks in a simulated world, behind a transport that is made of memory.
 *
 * rig_cmd() does what a transport does for one command: parse, lend or hand over buffers, execute, take the answer.
 */
#ifndef NVMF_TEST_RIG_H
#define NVMF_TEST_RIG_H

#include "backends/malloc/malloc.h"
#include "backends/null/null.h"
#include "core/sim/sim.h"
#include "nvmf/target.h"

#define RIG_NQN "nqn.2026-01.io.gantry:rig"
#define RIG_HOST "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001"
#define RIG_BLOCKS 4096u
#define RIG_BLOCK 512u
#define RIG_DATA_MAX (256u * 1024)

struct rig {
	struct core *core;
	struct bdev_registry *reg;
	struct nvmf_target *target;
	struct nvmf_transport *fake;
	struct nvmf_change change;
	bool changed, stopped, no_lending;
	bool data_is_late;                /* what is sent waits for rig_data_came() or rig_data_lost() */
	uint32_t listens;                 /* addresses the transport listens on */
	struct list qpairs;
};

struct rig_qp {
	struct nvmf_qpair qp;
	struct rig *rig;
	struct list link;
	struct net_addr local;
	uint16_t size;                    /* as qpair_sized() found it */
	bool told_to_go, closed;
};

struct rig_req {
	struct nvmf_req req;
	struct rig_qp *q;
	struct iovec iovs[80];
	uint8_t *data;
	uint32_t len;
	bool done, refused;
	uint16_t status;
	uint32_t dw0;
	struct nvme_cqe cqe;
	uint32_t got;                     /* bytes that came */
	bool was_lent;
	bool write_lent;                  /* its data was put into memory of the device */
};

/* cores: at least 2. Subsystem RIG_NQN: nsid 1 is a RAM disk, nsid 2 a null device of 4 KiB blocks. */
void rig_start(struct rig *r, uint64_t seed);
void rig_stop(struct rig *r);
void rig_pass(uint64_t ns);

/* Changes: run one and wait; each returns its code. */
int rig_add_host(struct rig *r, const char *host);
int rig_add_host_keys(struct rig *r, const char *host, const struct nvmf_host_keys *keys);
int rig_set_host_keys(struct rig *r, const char *host, const struct nvmf_host_keys *keys);
int rig_remove_host(struct rig *r, const char *host);
int rig_allow_any(struct rig *r, bool allow);
int rig_add_ns(struct rig *r, const char *bdev, uint32_t nsid);
int rig_add_hidden_ns(struct rig *r, const char *bdev, uint32_t nsid);
int rig_show_ns(struct rig *r, uint32_t nsid, bool visible);               /* to RIG_HOST */
int rig_set_ns_group(struct rig *r, uint32_t nsid, uint32_t group);
int rig_set_ana(struct rig *r, const char *addr, const char *port, uint32_t group, uint8_t state, uint32_t seconds);
int rig_remove_ns(struct rig *r, uint32_t nsid);
int rig_add_listener(struct rig *r, const char *addr, const char *port);
int rig_remove_listener(struct rig *r, const char *addr, const char *port);
int rig_add_subsystem(struct rig *r, const char *nqn);
int rig_remove_subsystem(struct rig *r, const char *nqn);

struct rig_qp *rig_open(struct rig *r, uint32_t core);
void rig_close(struct rig_qp *q);
/* Wait until the transport may free it, and do. */
bool rig_gone(struct rig_qp *q);
/* Start a command, wait for one, both. */
struct rig_req *rig_send(struct rig_qp *q, const struct nvme_sqe *sqe, void *data, uint32_t len);
void rig_data_came(struct rig_req *rq);
void rig_data_lost(struct rig_req *rq);   /* the transport drops it */
bool rig_wait(struct rig_req *rq, uint64_t ns);
uint16_t rig_end(struct rig_req *rq); /* its status; frees it */
uint16_t rig_cmd(struct rig_qp *q, const struct nvme_sqe *sqe, void *data, uint32_t len, struct nvme_cqe *ret_cqe);

struct nvme_sqe rig_sqe(uint8_t opc, uint32_t nsid);
struct nvme_sqe rig_rw(uint8_t opc, uint32_t nsid, uint64_t lba, uint32_t blocks);
struct nvme_sqe rig_connect_sqe(uint16_t qid, uint16_t entries);
void rig_connect_data(struct nvmf_connect_data *d, const char *subnqn, const char *host, uint16_t cntlid);
/* Connect with everything right; *cntlid is written for qid 0 and used for others. */
uint16_t rig_connect(struct rig_qp *q, uint16_t qid, const char *subnqn, uint16_t *cntlid);
uint16_t rig_property_set(struct rig_qp *q, uint32_t offset, uint64_t value);
uint64_t rig_property_get(struct rig_qp *q, uint32_t offset, bool eight);
#define RIG_CC_ENABLE (6u << 16 | 4u << 20 | 1u)
/* An admin queue, connected and enabled. */
struct rig_qp *rig_admin(struct rig *r, uint32_t core, uint16_t *ret_cntlid);
struct rig_qp *rig_io(struct rig *r, uint32_t core, uint16_t qid, uint16_t cntlid);
/* Move a queue pair as a transport does. */
void rig_move(struct rig_qp *q, uint32_t core);

#endif
