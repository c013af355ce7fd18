/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi.c: a controller that is a SCSI host: making it, its targets, what it says of itself. Control reactor.
 *
 * A target is there when its LUN can be used on every core; only then do sessions hear of it. When it goes, sessions
 * hear of that first, then its nexuses end, which aborts what is in flight, then it is closed. A target whose disk went
 * by itself goes too; where the disk may return, its number is kept.
 */
#include <errno.h>

#include "bdev/bdev_device.h"
#include "core/log.h"
#include "vhost/scsi.h"
#include "vhost/session.h"
#include "wire/virtio.h"

#define CMD_PER_LUN 128u
#define MAX_SECTORS 0xffffu            /* what Linux takes for "as many as there may be" */
#define CDB_SIZE_MAX 255u              /* as QEMU has it */
#define SENSE_SIZE_MAX 65535u

static void lun_added(struct scsi_change *sc);
static void lun_gone(void *arg, struct scsi_target *scsi, const struct scsi_lun_gone *g);
static void target_close(struct vscsi_target *t, bool stays);
static void target_closed(struct scsi_change *sc);
static void target_free(struct vscsi_target *t);

/* --- what it says ------------------------------------------------------------------------------------------------- */

static uint64_t features(struct vhost_ctrlr *c)
{
	(void)c;
	return VIRTIO_BIT(VIRTIO_SCSI_F_HOTPLUG) | VIRTIO_BIT(VIRTIO_SCSI_F_CHANGE);
}

static void config(struct vhost_ctrlr *c, struct vhost_session *s, uint8_t ret_config[VU_CONFIG_MAX])
{
	struct vscsi_session *vs = s ? s->device : NULL;
	const struct virtio_scsi_config config = {
		.num_queues = le32_of(VHOST_RINGS_MAX - VIRTIO_SCSI_REQUESTQ),
		.seg_max = le32_of(VHOST_SEG_MAX),
		.max_sectors = le32_of(MAX_SECTORS),
		.cmd_per_lun = le32_of(CMD_PER_LUN),
		.event_info_size = le32_of(sizeof(struct virtio_scsi_event)),
		.sense_size = le32_of(vs ? atomic_load(&vs->sense_size) : VIRTIO_SCSI_SENSE_DEFAULT_SIZE),
		.cdb_size = le32_of(vs ? atomic_load(&vs->cdb_size) : VIRTIO_SCSI_CDB_DEFAULT_SIZE),
		.max_target = le16_of(VHOST_SCSI_TARGETS_MAX - 1),
		.max_lun = le32_of(SCSI_LUNS_MAX - 1),
	};

	(void)c;
	memcpy(ret_config, &config, sizeof(config));
}

/* The two sizes can be written. A migration writes all of it: what this device is it is. */
static int config_write(struct vhost_session *s, uint32_t offset, const uint8_t *data, uint32_t len, bool live,
                        struct err *e)
{
	const uint32_t from = offsetof(struct virtio_scsi_config, sense_size), to = from + 2 * sizeof(le32);
	struct vscsi_session *vs = s->device;
	uint8_t all[VU_CONFIG_MAX];
	struct virtio_scsi_config now;
	uint32_t sense, cdb;

	if (!live && (offset < from || offset >= to || len > to - offset))
		return err_set(e, -EPERM, "bytes %u to %u of the configuration cannot be written", offset, offset + len);
	config(s->ctrlr, s, all);
	memcpy(all + offset, data, len);
	memcpy(&now, all, sizeof(now));
	sense = le32_get(now.sense_size);
	cdb = le32_get(now.cdb_size);
	if (sense > SENSE_SIZE_MAX)
		return err_set(e, -EINVAL, "sense_size: %u is more than %u", sense, SENSE_SIZE_MAX);
	if (cdb > CDB_SIZE_MAX || !cdb)
		return err_set(e, -EINVAL, "cdb_size: %u; it is 1 to %u", cdb, CDB_SIZE_MAX);
	atomic_store(&vs->sense_size, sense);
	atomic_store(&vs->cdb_size, cdb);
	return 0;
}

static bool takes(uint32_t ring_index)
{
	return ring_index == VIRTIO_SCSI_EVENTQ;
}

/* The controller goes: its targets first. */
static void end(struct vhost_ctrlr *c)
{
	struct vscsi *v = vscsi_of(c);

	v->ended = true;
	v->target_count++;
	for (uint32_t i = 0; i < VHOST_SCSI_TARGETS_MAX; i++) {
		struct vscsi_target *t = v->targets[i];

		if (t && t->state == VSCSI_HERE)
			target_close(t, false);
		else if (t && t->state == VSCSI_AWAY)
			target_free(t);
		else if (t)
			t->stays = false; /* it comes, or goes; then it is freed */
	}
	if (!--v->target_count)
		vhost_ctrlr_ended(c);
}

static void free_ctrlr(struct vhost_ctrlr *c)
{
	free(vscsi_of(c));
}

const struct vhost_device_ops vscsi_ops = {
	.type = "scsi",
	.task_bytes = sizeof(struct vscsi_task),
	.rings_max = VHOST_RINGS_MAX,
	.features = features,
	.config = config,
	.config_write = config_write,
	.session_open = vscsi_session_open,
	.session_close = vscsi_session_close,
	.negotiated = vscsi_negotiated,
	.end = end,
	.free = free_ctrlr,
	.ring_open = vscsi_ring_open,
	.ring_close = vscsi_ring_close,
	.execute = vscsi_execute,
	.go_on = vscsi_go_on,
	.hurry = vscsi_hurry,
	.takes = takes,
	.filled = vscsi_event_buffers,
};

/* --- making it ---------------------------------------------------------------------------------------------------- */

int vhost_scsi_make(struct vhost *v, const struct vhost_ctrlr_opts *opts, struct err *e)
{
	struct vscsi *s;

	assert(v->scsi);
	s = base_zalloc(sizeof(*s));
	if (vhost_ctrlr_start(v, &s->ctrlr, &vscsi_ops, opts, e)) {
		free(s);
		return e->code;
	}
	s->started = !opts->delay;
	return 0;
}

static struct vscsi *scsi_only(struct vhost_ctrlr *c, struct err *e)
{
	if (c->ops != &vscsi_ops) {
		err_set(e, -EINVAL, "ctrlr: '%s' is a %s controller, and has no SCSI targets", c->name, c->ops->type);
		return NULL;
	}
	if (c->deleting) {
		err_set(e, -ENODEV, "ctrlr: '%s' is being deleted", c->name);
		return NULL;
	}
	return vscsi_of(c);
}

int vhost_scsi_start(struct vhost_ctrlr *c, struct err *e)
{
	struct vscsi *v = scsi_only(c, e);

	if (!v)
		return e->code;
	if (v->started)
		return 0;
	if (vhost_ctrlr_listen(c, e))
		return e->code;
	v->started = true;
	vhost_ctrlr_resaved(c);
	return 0;
}

/* FNV-1a: what it comes from may be longer than a name can be. NAA 3h: assigned locally. */
void vscsi_name(const struct vhost_ctrlr *c, const char *kind, uint32_t num, char ret_name[static VSCSI_NAME_MAX])
{
	struct text t = text_over(ret_name, VSCSI_NAME_MAX);
	uint64_t h = 0xcbf29ce484222325u;
	const char *parts[] = { kind, "/", c->name };

	for (uint32_t i = 0; i < ARRAY_SIZE(parts); i++)
		for (const char *p = parts[i]; *p; p++)
			h = (h ^ (uint8_t)*p) * 0x100000001b3u;
	h = (h ^ (num & 0xff)) * 0x100000001b3u;
	h = (h ^ num >> 8) * 0x100000001b3u;
	text_add(&t, "naa.3%015llx", (unsigned long long)(h >> 4));
}

/* --- adding a target ------------------------------------------------------------------------------------------- */

/* The target's number is free, or its own: its disk is back. */
static int target_open(struct vscsi_target *t, struct err *e)
{
	struct vhost *v = t->ctrlr->ctrlr.vhost;
	char name[VSCSI_NAME_MAX], port[VSCSI_NAME_MAX + 16];
	struct text text = text_over(port, sizeof(port));
	const struct scsi_port_opts port_opts = { .id = 1, .name = port };
	const struct scsi_lun_opts lun = { .lun = 0, .bdev_name = t->bdev_name };
	struct scsi_target_opts opts = { .name = name, .protocol = SCSI_PROTOCOL_NONE, .lun_gone = lun_gone,
		.lun_gone_arg = t };

	vscsi_name(&t->ctrlr->ctrlr, "target", t->num, name);
	text_add(&text, "%s,t,0x0001", name);
	if (!bdev_find(v->reg, t->bdev_name))
		return err_set(e, -ENODEV, "bdev_name: there is no device '%s'; bdev_get_bdevs lists those that exist",
		               t->bdev_name);
	t->scsi = scsi_target_make(v->scsi, &opts, e);
	if (!t->scsi)
		return e->code;
	must(!scsi_target_add_port(t->scsi, &port_opts, e));
	t->state = VSCSI_COMING;
	t->change = (struct scsi_change){ .done = lun_added };
	scsi_target_add_lun(t->scsi, &lun, &t->change);
	return 0;
}

static int choose_number(const struct vscsi *v, int num, uint32_t *ret_num, struct err *e)
{
	if (num < 0) {
		for (uint32_t i = 0; i < VHOST_SCSI_TARGETS_MAX; i++)
			if (!v->targets[i]) {
				*ret_num = i;
				return 0;
			}
		return err_set(e, -ENOSPC, "scsi_target_num: '%s' has as many as %u targets already", v->ctrlr.name,
		               VHOST_SCSI_TARGETS_MAX);
	}
	if ((uint32_t)num >= VHOST_SCSI_TARGETS_MAX)
		return err_set(e, -EINVAL, "scsi_target_num: %d; there are 0 to %u, and -1 takes the first that is free", num,
		               VHOST_SCSI_TARGETS_MAX - 1);
	if (v->targets[num])
		return err_set(e, -EEXIST, "scsi_target_num: %d of '%s' is in use; -1 takes the first that is free", num,
		               v->ctrlr.name);
	*ret_num = (uint32_t)num;
	return 0;
}

void vhost_scsi_add_target(struct vhost_ctrlr *c, int num, const char *bdev_name, struct vhost_scsi_change *change)
{
	struct err *e = &change->change.err;
	struct vscsi *v = scsi_only(c, e);
	struct vscsi_target *t;
	uint32_t at = 0;

	if (v && strlen(bdev_name) >= sizeof(t->bdev_name))
		err_set(e, -ENODEV, "bdev_name: no device has a name as long as that");
	if (e->code || choose_number(v, num, &at, e)) {
		change->change.done(&change->change);
		return;
	}
	t = base_zalloc(sizeof(*t));
	t->ctrlr = v;
	t->num = (uint8_t)at;
	text_pad(t->bdev_name, sizeof(t->bdev_name) - 1, bdev_name, 0);
	if (target_open(t, e)) {
		free(t);
		change->change.done(&change->change);
		return;
	}
	t->adding = change;
	v->targets[at] = t;
	v->target_count++;
}

static void lun_added(struct scsi_change *sc)
{
	struct vscsi_target *t = container_of(sc, struct vscsi_target, change);
	struct vscsi *v = t->ctrlr;

	t->err = sc->err;
	if (v->ctrlr.deleting)
		err_set(&t->err, -ENODEV, "ctrlr: '%s' is being deleted", v->ctrlr.name);
	if (t->err.code) {
		target_close(t, t->stays && !v->ctrlr.deleting);
		return;
	}
	t->state = VSCSI_HERE;
	t->stays = false;
	log_info("vhost %s: target %u is disk %s", v->ctrlr.name, t->num, t->bdev_name);
	vhost_ctrlr_resaved(&v->ctrlr);
	vscsi_target_came(t);
}

void vscsi_target_ready(struct vscsi_target *t)
{
	struct vhost_scsi_change *adding = t->adding;

	t->adding = NULL;
	if (adding) {
		adding->ret_num = t->num;
		adding->change.done(&adding->change);
	}
}

/* --- taking one away --------------------------------------------------------------------------------------------- */

static void target_close(struct vscsi_target *t, bool stays)
{
	bool was_here = t->state == VSCSI_HERE;

	t->state = VSCSI_GOING;
	t->stays = stays;
	vhost_ctrlr_resaved(&t->ctrlr->ctrlr);
	if (was_here)
		vscsi_target_goes(t);
	t->change = (struct scsi_change){ .done = target_closed };
	scsi_target_free(t->scsi, &t->change);
}

static void target_free(struct vscsi_target *t)
{
	t->ctrlr->targets[t->num] = NULL;
	t->ctrlr->target_count--;
	free(t);
}

/* Its disk may be back already. */
static void target_stays(struct vscsi_target *t)
{
	struct err e = { 0 };

	t->state = VSCSI_AWAY;
	if (t->went && bdev_find(t->ctrlr->ctrlr.vhost->reg, t->bdev_name))
		target_open(t, &e); /* else when it comes */
	t->went = false;
}

static void target_closed(struct scsi_change *sc)
{
	struct vscsi_target *t = container_of(sc, struct vscsi_target, change);
	struct vhost_scsi_change *adding = t->adding;
	struct vhost_change *removing = t->removing;
	struct vscsi *v = t->ctrlr;
	bool last;

	t->scsi = NULL;
	if (t->stays && !v->ended && !removing) {
		target_stays(t);
		return;
	}
	if (adding && !t->err.code)
		err_set(&t->err, -ENODEV, "bdev_name: device '%s' went away meanwhile", t->bdev_name);
	if (adding)
		adding->change.err = t->err;
	target_free(t);
	last = v->ended && !v->target_count;
	if (removing)
		removing->done(removing);
	if (adding)
		adding->change.done(&adding->change);
	if (last)
		vhost_ctrlr_ended(&v->ctrlr);
}

void vhost_scsi_remove_target(struct vhost_ctrlr *c, uint32_t num, struct vhost_change *change)
{
	struct vscsi *v = scsi_only(c, &change->err);
	struct vscsi_target *t = v && num < VHOST_SCSI_TARGETS_MAX ? v->targets[num] : NULL;

	if (v && !t)
		err_set(&change->err, -ENODEV, "scsi_target_num: '%s' has no target %u; vhost_get_controllers lists those "
		        "there are", c->name, num);
	else if (v && (t->state == VSCSI_COMING || t->state == VSCSI_GOING || t->beginning))
		err_set(&change->err, -EBUSY, "scsi_target_num: target %u of '%s' is being %s; try again", num, c->name,
		        t->state == VSCSI_GOING ? "removed" : "added");
	if (!change->err.code && t->state == VSCSI_HERE) {
		t->removing = change;
		target_close(t, false);
		return;
	}
	if (!change->err.code) {
		target_free(t);
		vhost_ctrlr_resaved(c);
	}
	change->done(change);
}

/* Its disk goes, and its LUN with it. */
static void lun_gone(void *arg, struct scsi_target *scsi, const struct scsi_lun_gone *g)
{
	struct vscsi_target *t = arg;

	(void)scsi;
	if (t->state != VSCSI_HERE)
		return; /* who adds or removes it hears of it */
	log_warning("vhost %s: target %u goes with its disk %s%s", t->ctrlr->ctrlr.name, t->num, t->bdev_name,
	            g->returns ? ", and comes back with it" : "");
	t->went = true;
	target_close(t, g->returns);
}

void vhost_scsi_came(struct vhost_ctrlr *c, const struct bdev *came)
{
	for (uint32_t i = 0; c->ops == &vscsi_ops && !c->deleting && i < VHOST_SCSI_TARGETS_MAX; i++) {
		struct vscsi_target *t = vscsi_of(c)->targets[i];
		struct err e = { 0 };

		if (!t || t->state != VSCSI_AWAY || strcmp(t->bdev_name, came->name))
			continue;
		t->stays = true;
		if (target_open(t, &e))
			log_warning("vhost %s: target %u is not back with its disk: %s", c->name, t->num, e.text);
	}
}

/* --- what there is ------------------------------------------------------------------------------------------------ */

bool vhost_scsi_get(const struct vhost_ctrlr *c, struct vhost_scsi_info *ret_info)
{
	if (c->ops != &vscsi_ops)
		return false;
	*ret_info = (struct vhost_scsi_info){ .started = vscsi_of(c)->started };
	return true;
}

bool vhost_scsi_target(const struct vhost_ctrlr *c, uint32_t num, struct vhost_scsi_target_info *ret_info)
{
	const struct vscsi_target *t;
	struct scsi_lun_info lun;

	if (c->ops != &vscsi_ops || num >= VHOST_SCSI_TARGETS_MAX)
		return false;
	t = vscsi_of(c)->targets[num];
	if (!t || t->state == VSCSI_COMING || (t->state == VSCSI_GOING && !t->stays))
		return false;
	*ret_info = (struct vhost_scsi_target_info){ .bdev_name = t->bdev_name, .gone = t->state != VSCSI_HERE,
		.lost = t->scsi && scsi_target_lun(t->scsi, 0, &lun) && lun.lost };
	return true;
}
