/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_resv.c: reservations of a disk that are its target's (reservations=target): each operation becomes a command
 * there, for the daemon as the one host that the target knows, and then a report says what there is.
 *
 * They go as any I/O of the disk: over its paths, by its retries. What was sent and not answered when its connection
 * ended ends with an error; the host asks again, and the report tells it how things are.
 */
#include "backends/remote/remote_ctl.h"
#include "backends/remote/remote_resv.h"

#define PAGE_BYTES (16 * KIB)           /* of a report: 255 controllers; more are not looked at */
#define IEKEY 0x08u

struct asking {
	struct bdev_io io;
	struct resv_op *op;
	struct remote_disk *disk;
	struct bdev_channel *ch;
	struct nvme_sqe cmd;
	struct nvme_resv_keys keys;
	struct iovec iov;
	struct defer over;
	struct resv_seen *seen;
	uint8_t *page;
};

static void submit(struct asking *a, void *data, size_t len, void (*done)(struct bdev_io *io));
static void changed(struct bdev_io *io);
static void report(struct asking *a);
static void reported(struct bdev_io *io);
static void end(struct asking *a);

/* The action of a Register, as Linux chooses it for what SPC calls REGISTER. */
static uint8_t register_action(const struct resv_op *op)
{
	uint8_t ignore = op->flags & RESV_F_ANY_KEY || op->action == RESV_REGISTER_IGNORE ? IEKEY : 0;

	if (op->action == RESV_NVME_UNREGISTER || (op->action != RESV_NVME_REGISTER && !op->new_key))
		return NVME_RREGA_UNREGISTER | ignore;
	if (op->action == RESV_NVME_REPLACE || (op->action != RESV_NVME_REGISTER && op->key))
		return NVME_RREGA_REPLACE | ignore;
	return NVME_RREGA_REGISTER | ignore;
}

/* False: there is no such command. */
static bool make(struct asking *a, const struct resv_op *op)
{
	struct nvme_resv *c = &a->cmd.resv;

	c->rtype = op->type < RESV_TYPE_COUNT ? resv_type_to_nvme((enum resv_type)op->type) : 0;
	a->keys = (struct nvme_resv_keys){ le64_of(op->key), le64_of(op->new_key) };
	switch ((enum resv_action)op->action) {
	case RESV_REGISTER:
	case RESV_REGISTER_IGNORE:
	case RESV_NVME_REGISTER:
	case RESV_NVME_UNREGISTER:
	case RESV_NVME_REPLACE:
		a->cmd.opc = NVME_CMD_RESV_REGISTER;
		c->action = register_action(op);
		c->rtype = 0;
		c->cptpl = (uint8_t)(op->flags & RESV_F_PERSIST ? 3 << 6 : op->flags & RESV_F_VOLATILE ? 2 << 6 : 0);
		return true;
	case RESV_RESERVE:
	case RESV_PREEMPT:
	case RESV_PREEMPT_ABORT:
		a->cmd.opc = NVME_CMD_RESV_ACQUIRE;
		c->action = op->action == RESV_RESERVE ? NVME_RACQA_ACQUIRE :
		            op->action == RESV_PREEMPT ? NVME_RACQA_PREEMPT : NVME_RACQA_PREEMPT_AND_ABORT;
		return true;
	case RESV_RELEASE:
	case RESV_CLEAR:
		a->cmd.opc = NVME_CMD_RESV_RELEASE;
		c->action = op->action == RESV_CLEAR ? NVME_RRELA_CLEAR : NVME_RRELA_RELEASE;
		return true;
	default:
		return false; /* of SPC alone */
	}
}

void remote_resv(struct bdev *b, struct resv_op *op)
{
	struct asking *a = base_zalloc(sizeof(*a));
	struct err e = { 0 };

	a->op = op;
	a->disk = container_of(b, struct remote_disk, bdev);
	op->result = RESV_BAD_FIELD;
	if (op->action != RESV_REPORT && !make(a, op)) {
		end(a);
		return;
	}
	a->ch = bdev_channel_get(op->desc, &e);
	if (!a->ch) {
		op->result = RESV_GONE;
		end(a);
	} else if (op->action == RESV_REPORT) {
		report(a);
	} else {
		submit(a, &a->keys, a->cmd.opc == NVME_CMD_RESV_RELEASE ? sizeof(a->keys.crkey) : sizeof(a->keys), changed);
	}
}

static void submit(struct asking *a, void *data, size_t len, void (*done)(struct bdev_io *io))
{
	a->iov = (struct iovec){ data, len };
	a->io = (struct bdev_io){ .op = BDEV_PASSTHROUGH, .iovs = &a->iov, .iov_count = 1, .done = done,
		                  .passthrough.cmd = (uint8_t *)&a->cmd };
	bdev_submit(a->ch, &a->io);
}

static uint8_t result_of(uint8_t status)
{
	switch (status) {
	case BDEV_ST_OK:          return RESV_OK;
	case BDEV_ST_RESERVED:    return RESV_CONFLICT;
	case BDEV_ST_BAD_FIELD:
	case BDEV_ST_UNSUPPORTED: return RESV_BAD_FIELD;
	case BDEV_ST_GONE:        return RESV_GONE;
	default:                  return RESV_NO_ROOM; /* an internal error: whether it was done the report tells */
	}
}

static void changed(struct bdev_io *io)
{
	struct asking *a = container_of(io, struct asking, io);

	a->op->result = result_of(io->status);
	if (a->op->result == RESV_OK)
		report(a);
	else
		end(a);
}

static void report(struct asking *a)
{
	a->page = base_zalloc(PAGE_BYTES);
	a->cmd = (struct nvme_sqe){ .opc = NVME_CMD_RESV_REPORT };
	a->cmd.resv_report.numd = le32_of(PAGE_BYTES / 4 - 1);
	a->cmd.resv_report.eds = 1;
	submit(a, a->page, PAGE_BYTES, reported);
}

static void reported(struct bdev_io *io)
{
	struct asking *a = container_of(io, struct asking, io);
	const struct remote_group *g = a->disk->group;
	struct uuid ours = { { 0 } };

	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		if (g->paths[i])
			ours = g->paths[i]->opts.host.hostid; /* the same on all */
	a->op->result = result_of(io->status);
	if (a->op->result == RESV_OK)
		a->seen = remote_resv_seen(a->page, PAGE_BYTES, &ours);
	end(a);
}

static void over(struct defer *d)
{
	struct asking *a = container_of(d, struct asking, over);
	struct resv_op *op = a->op;
	struct resv_seen *seen = a->seen;

	if (a->ch)
		bdev_channel_put(a->ch);
	free(a->page);
	free(a);
	bdev_resv_answered(op, seen);
}

/* Not from within. */
static void end(struct asking *a)
{
	defer_run(&a->over, over);
}
