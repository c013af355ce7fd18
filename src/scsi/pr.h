/* SPDX-License-Identifier: BSD-3-Clause */
/* pr.h: reservations as SCSI has them: persistent ones and those of SPC-2 (private to scsi). What is reserved by whom
 * is the device's: bdev/reservation.h. */
#ifndef SCSI_PR_H
#define SCSI_PR_H

#include "bdev/reservation.h"
#include "scsi/scsi_priv.h"

/* pr_out.c */
bool scsi_pr_out_parse(struct scsi_task *t);
void scsi_pr_out_run(struct scsi_task *t);
/* How an answer of the device's reservation is said in SCSI; then the task is complete. */
void scsi_pr_complete(struct scsi_task *t, const struct resv_op *op);

/* pr.c: the layer hears of events, on control. */
void scsi_pr_init(struct scsi *s);
void scsi_pr_fini(struct scsi *s);
/* A logical unit was reset: what SPC-2 reserved is not reserved any more. Control; the sweep waits for it (w->left). */
void scsi_pr_reset(struct scsi_lu *lu, struct scsi_sweep *w);

#endif
