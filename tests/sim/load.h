/* SPDX-License-Identifier: BSD-3-Clause */
/* load.h: what vhost_sim.c's guests read and write, and what may become of it. */
#ifndef TESTS_SIM_LOAD_H
#define TESTS_SIM_LOAD_H

#include "bdev/bdev_device.h"
#include "guest.h"
#include "media.h"
#include "oracle.h"
#include "vhost/vhost.h"

#define MEMBERS_MAX 5u

/* What may still become of a write. */
struct fate {
	enum fate_state { FATE_OUT, FATE_ANSWERED, FATE_FENCED } state;
	uint32_t lands_left;            /* blocks, once for each life of its guest */
	bool begun;                     /* the disk has it, or had */
};

enum target_state { TARGET_NONE, TARGET_CHANGING, TARGET_HERE };
enum ctrlr_state { CTRLR_NONE, CTRLR_MAKING, CTRLR_UP, CTRLR_DELETING };

/* A guest, and what it has in the daemon. */
struct member {
	struct world *w;
	uint32_t index;
	struct guest guest;
	char name[16], disk_name[16];
	struct media media;
	struct bdev *disk;
	bool disk_gone;
	struct oracle *oracle;
	struct fate *fates;
	uint32_t fate_room, ops_left, copies_left;
	uint64_t ios, ios_failed, ios_scsi;
	struct timer tick, retry;
	enum ctrlr_state ctrlr;
	struct vhost_change change;
	struct vhost_scsi_change adding, plugging;
	struct vhost_change unplugging;
	enum target_state target;       /* SCSI */
	uint32_t disturbs;              /* what ends tasks, so far */
	uint32_t news_due;              /* events that have to come */
	uint32_t tmf, events, tmfs;
	bool wants_delete, wants_growth, wants_replug, was_up_all_along;
	bool over, migrating;
};

struct world {
	uint32_t cores, members, good, block_size;
	uint32_t move_permille;
	bool scarce;                    /* memory: what a guest does not get others may have, who do not behave */
	struct core *target_core, *host_core;
	struct bdev_registry *reg;
	struct vhost *vhost;
	struct scsi *scsi;
	struct member member[MEMBERS_MAX];
	uint32_t running;               /* that behave and are not over */
	bool stopped;
};

static inline struct member *member_of(struct guest *g) { return container_of(g, struct member, guest); }
void member_fail(struct member *m, const char *what);

/* media->begins */
void load_begins(void *arg, uint64_t lba, const uint8_t *data);
bool load_has_begun(struct member *m, const struct guest_req *r); /* a write, and the disk has it */
/* media->lands: just when it lands. */
void load_lands(void *arg, uint64_t lba, const uint8_t *data);
/* guest_ops */
void load_used(struct guest_req *r);
void load_more(struct guest_queue *q);
/* A dead guest's requests are still done while its next life begins; after a reset they never are. */
void load_outlives(struct member *m);
void load_fence(struct member *m);

/* hba.c: the other queues of SCSI guests: task management, and events that have to come. */
enum { NEWS_REMOVED = 1, NEWS_CAME = 2, NEWS_CHANGED = 4 };
void hba_more(struct guest_queue *q);
void hba_used(struct guest_req *r);
void hba_manage(struct member *m);
void hba_forget(struct member *m);              /* its session ends, or its device is reset */
bool hba_is_drained(const struct guest *g);     /* only buffers for events are out */
bool hba_is_disturbed(const struct member *m, const struct guest_req *r);
static inline struct guest_queue *hba_queue(struct guest *g, enum guest_side side)
{
	return &g->queues[g->queue_count + side - SIDE_CONTROL];
}

#endif
