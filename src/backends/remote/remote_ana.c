/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_ana.c: which namespaces a controller reaches, and how well: its ANA log, read when it comes up and whenever
 * it tells of a change, or answers an I/O with an ANA status. */
#include "backends/remote/remote_ctl.h"

#include <errno.h>

#include "core/log.h"

#ifndef NAMESPACES_AT_ONCE
#define NAMESPACES_AT_ONCE 1024u        /* in one pass */
#endif

static void log_read(struct nvme_log_read *r);
static void take_groups(struct timer *t);
static bool take_group(const struct nvme_ana_group *g, void *arg);

const char *remote_ana_name(uint8_t state)
{
	switch (state) {
	case NVME_ANA_NONOPTIMIZED:
		return "non_optimized";
	case NVME_ANA_INACCESSIBLE:
		return "inaccessible";
	case NVME_ANA_PERSISTENT_LOSS:
		return "persistent_loss";
	case NVME_ANA_CHANGE:
		return "change";
	default:
		return "optimized";
	}
}

void remote_ana_read(struct remote_path *p, void (*done)(struct remote_path *p))
{
	struct remote_path_ctl *ctl = p->ctl;
	const struct nvme_ctrlr_info *info = nvme_ctrlr_info(p->ctrlr);

	if (!(info->cmic & NVME_CMIC_ANA)) {
		done(p);
		return;
	}
	if (ctl->reading) { /* of the controller before this one: its answer comes, and then we are called */
		ctl->ana_waits = done;
		return;
	}
	free(ctl->page);
	ctl->page_len = (uint32_t)align_up(nvme_ana_log_bytes_max(info), 4);
	ctl->page = base_zalloc(ctl->page_len);
	ctl->ana_done = done;
	ctl->log_round = ctl->look_round;
	ctl->reading = true;
	ctl->log = (struct nvme_log_read){ .lid = NVME_LOG_ANA, .nsid = NVME_NSID_ALL, .buf = ctl->page,
	                                   .len = ctl->page_len, .done = log_read, .arg = p };
	nvme_ctrlr_get_log(p->ctrlr, &ctl->log);
}

void remote_ana_end(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;

	ctl->ana_waits = NULL;
	if (!timer_is_running(&ctl->ana))
		return;
	timer_stop(&ctl->ana);
	free(ctl->page);
	ctl->page = NULL;
}

static void log_read(struct nvme_log_read *r)
{
	struct remote_path *p = r->arg;
	struct remote_path_ctl *ctl = p->ctl;
	void (*waits)(struct remote_path *p) = ctl->ana_waits;

	ctl->reading = false;
	ctl->ana_waits = NULL;
	if (ctl->log_round != ctl->look_round) { /* its controller has gone */
		free(ctl->page);
		ctl->page = NULL;
		if (waits)
			remote_ana_read(p, waits);
		else
			remote_path_look(p);
		return;
	}
	ctl->ana_group = ctl->ana_ns = 0;
	take_groups(&ctl->ana);
}

/* A log may be a mebibyte of namespaces: a part of them in a pass. */
static void take_groups(struct timer *t)
{
	struct remote_path_ctl *ctl = container_of(t, struct remote_path_ctl, ana);
	struct remote_path *p = ctl->path;
	struct err e = ctl->log.err;
	char text[512];

	ctl->ana_at = 0;
	ctl->ana_left = NAMESPACES_AT_ONCE;
	if (!e.code && nvme_ana_log_each(ctl->page, ctl->page_len, take_group, p, &e) == 0 && !ctl->ana_left) {
		timer_start(t, 0, take_groups);
		return;
	}
	if (e.code)
		log_warning("remote: %s: its ANA log: %s", remote_path_text(p, text), e.text);
	free(ctl->page);
	ctl->page = NULL;
	ctl->ana_done(p);
}

static uint8_t access_of(uint8_t state)
{
	switch (state) {
	case NVME_ANA_OPTIMIZED:
		return REMOTE_ACCESS_OPTIMIZED;
	case NVME_ANA_NONOPTIMIZED:
		return REMOTE_ACCESS_NON_OPTIMIZED;
	case NVME_ANA_CHANGE:
		return REMOTE_ACCESS_CHANGING;
	default:
		return REMOTE_ACCESS_NONE;
	}
}

static bool take_group(const struct nvme_ana_group *g, void *arg)
{
	struct remote_path *p = arg;
	struct remote_path_ctl *ctl = p->ctl;

	if (ctl->ana_at++ < ctl->ana_group)
		return true;
	for (; ctl->ana_ns < g->ns_count; ctl->ana_ns++) {
		struct remote_disk *d;

		if (!ctl->ana_left--) {
			ctl->ana_left = 0;
			return false;
		}
		d = remote_disk_find(p->group, le32_get(g->nsids[ctl->ana_ns]));
		if (!d)
			continue;
		d->ns[p->index].access = access_of(g->state);
		d->ns[p->index].ana_state = g->state;
		d->ns[p->index].anagrpid = g->id;
	}
	ctl->ana_group++;
	ctl->ana_ns = 0;
	return true;
}
