/* SPDX-License-Identifier: BSD-3-Clause */
/* iscsi.h: the iSCSI target as its neighbours see it: make it, stop it, count it.
 *
 * All of it is configured by methods (iscsi_rpc.h). Control reactor.
 */
#ifndef ISCSI_ISCSI_H
#define ISCSI_ISCSI_H

#include "bdev/bdev.h"
#include "wire/iscsi.h"

struct scsi;
struct iscsi_target;

/* `scsi` stays the caller's and is stopped after this. */
struct iscsi_target *iscsi_target_make(struct core *core, struct bdev_registry *reg, struct scsi *scsi);
/* Close portals, end sessions, take nodes away; then done. The target is freed. */
void iscsi_target_stop(struct iscsi_target *t, void (*done)(void *arg), void *arg);

/* What all sessions of a node have counted; `sessions`: there are now. */
struct iscsi_counts {
	uint64_t logins, pdus_in, pdus_out, bytes_in, bytes_out, commands;
	uint32_t sessions;
};
void iscsi_target_count(struct iscsi_target *t, void (*fn)(void *arg, const char *node, const struct iscsi_counts *c),
                        void *arg);
/* Of one core; index core_reactor_count(): of the control reactor, that is, of logins and discovery. */
void iscsi_target_stats(struct iscsi_target *t, uint32_t core_index,
                        void (*emit)(void *arg, const char *key, uint64_t v), void *arg);

#endif
