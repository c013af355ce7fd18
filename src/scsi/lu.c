/* SPDX-License-Identifier: BSD-3-Clause */
/* lu.c: a logical unit: a served device (bdev/served.h). */
#include "scsi/scsi_priv.h"

static void over(struct bdev_served *s)
{
	struct scsi_lu *lu = container_of(s, struct scsi_lu, dev);

	scsi_target_less(lu->target);
	free(lu);
}

static const struct bdev_served_ops served_ops = { .shown_as = "LUN", .param = "bdev_name",
	.event = scsi_lu_device_event, .over = over };

struct scsi_lu *scsi_lu_open(struct scsi_target *t, uint32_t lun, const struct scsi_lun_opts *opts, struct err *e)
{
	struct scsi_lu *lu = bdev_served_zalloc(struct scsi_lu, dev, t->scsi->core);
	char owner[64]; /* one of its own: a device may be several LUNs, of several devices */
	struct text text = text_over(owner, sizeof(owner));

	text_add(&text, "LUN %u (%llu) of %s", lun, (unsigned long long)++t->scsi->lus_made, t->name);
	if (bdev_served_open(&lu->dev, t->scsi->reg, opts->bdev_name, opts->read_only, owner, &served_ops, e)) {
		free(lu);
		return NULL;
	}
	lu->target = t;
	lu->lun = lun;
	t->busy++;
	return lu;
}
