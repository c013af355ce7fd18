/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrlr_scan.c: read the list of namespaces and what each is, and put that in the place of what was known.
 *
 * The list comes in pages of 1024, each asked for from the last id on; then every namespace is identified, and its
 * descriptors are read where the version has them. One that cannot be identified is kept as not usable, unless it is
 * gone.
 */
#include <errno.h>
#include <stdio.h>

#include "nvme/host.h"

static void list_next(struct nvme_ctrlr *c);
static void list_read(struct nvme_op *op);
static void ns_next(struct nvme_ctrlr *c);
static void ns_read(struct nvme_op *op);
static void descs_read(struct nvme_op *op);

/* --- its end ---------------------------------------------------------------------------------- */

void ctrlr_scan_end(struct nvme_ctrlr *c)
{
	struct ctrlr_scan *s = &c->scan;

	s->running = false;
	timer_stop(&s->deadline);
	free(s->nsids);
	free(s->ns);
	s->nsids = NULL;
	s->ns = NULL;
	if (s->out)
		return; /* came_back() is next */
	free(s->page);
	s->page = NULL;
}

static void scan_done(struct nvme_ctrlr *c, const struct err *e)
{
	struct ctrlr_scan *s = &c->scan;

	if (!e) {
		free(c->ns);
		c->info.ns = c->ns = s->ns;
		c->info.ns_count = s->ns_count;
		s->ns = NULL;
	}
	ctrlr_scan_end(c);
	s->done(c, e, s->arg);
}

static void scan_fail(struct nvme_ctrlr *c, int code, const char *why)
{
	struct err e = { 0 };

	err_set(&e, code, "%s: %s", c->scan.step, why);
	scan_done(c, &e);
}

static void deadline_passed(struct timer *t)
{
	struct nvme_ctrlr *c = container_of(t, struct nvme_ctrlr, scan.deadline);

	ctrlr_fail(c, NVME_REASON_ADMIN_TIMEOUT, -ETIMEDOUT, "%s: not answered within %u ms", c->scan.step,
	           c->opts.connect_timeout_ms);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void ask(struct nvme_ctrlr *c, enum nvme_cns cns, uint32_t nsid, nvme_op_fn *done, const char *step)
{
	struct ctrlr_scan *s = &c->scan;

	s->step = step;
	s->iov = (struct iovec){ s->page, NVME_IDENTIFY_SIZE };
	s->op = (struct nvme_op){ .cmd = ctrlr_identify(cns, nsid), .iovs = &s->iov, .iov_count = 1,
		                  .data = NVME_OP_TO_HOST, .data_len = NVME_IDENTIFY_SIZE, .done = done };
	s->out = true;
	if (c->told) /* otherwise the deadline of all counts */
		timer_start(&s->deadline, c->opts.connect_timeout_ms * NS_PER_MS, deadline_passed);
	nvme_qpair_submit(c->admin, &s->op);
}

/* The command is back. False: there is nobody to go on for. */
static bool came_back(struct nvme_ctrlr *c)
{
	c->scan.out = false;
	if (!c->scan.running)
		ctrlr_scan_end(c);
	return c->scan.running && c->machine.state != CTRLR_FAILED && !nvme_qpair_is_dead(c->admin);
}

/* --- the list --------------------------------------------------------------------------------- */

static void list_next(struct nvme_ctrlr *c)
{
	struct ctrlr_scan *s = &c->scan;

	ask(c, NVME_CNS_NS_ACTIVE_LIST, s->nsid_count ? s->nsids[s->nsid_count - 1] : 0, list_read,
	    "Identify active namespaces");
}

/* Room for a page more. */
static void list_grow(struct ctrlr_scan *s)
{
	uint32_t *nsids = base_zalloc((s->nsid_count + 1024) * sizeof(*nsids));

	if (s->nsid_count)
		memcpy(nsids, s->nsids, s->nsid_count * sizeof(*nsids));
	free(s->nsids);
	s->nsids = nsids;
}

static void list_read(struct nvme_op *op)
{
	struct nvme_ctrlr *c = container_of(op, struct nvme_ctrlr, scan.op);
	struct ctrlr_scan *s = &c->scan;
	bool more;

	if (!came_back(c))
		return;
	if (nvme_op_status(op)) {
		scan_fail(c, -EIO, nvme_status_text(nvme_op_status(op), false));
		return;
	}
	list_grow(s);
	if (!nvme_learn_ns_list(s->nsids, &s->nsid_count, CTRLR_NAMESPACES_MAX, (const le32 *)s->page, &more)) {
		scan_fail(c, -EPROTO, "the target's list does not ascend, or does not end");
		return;
	}
	if (more) {
		list_next(c);
		return;
	}
	s->ns = base_zalloc((s->nsid_count + 1) * sizeof(*s->ns));
	s->at = s->ns_count = 0;
	ns_next(c);
}

/* --- each namespace --------------------------------------------------------------------------- */

static void ns_next(struct nvme_ctrlr *c)
{
	struct ctrlr_scan *s = &c->scan;

	if (s->at == s->nsid_count)
		scan_done(c, NULL);
	else
		ask(c, NVME_CNS_NS, s->nsids[s->at], ns_read, "Identify namespace");
}

static void ns_read(struct nvme_op *op)
{
	struct nvme_ctrlr *c = container_of(op, struct nvme_ctrlr, scan.op);
	struct ctrlr_scan *s = &c->scan;
	const struct nvme_id_ns *id = (const struct nvme_id_ns *)s->page;
	uint16_t status = nvme_op_status(op);
	struct nvme_ns_info *ns;

	if (!came_back(c))
		return;
	if (status == NVME_SC_INVALID_NS || (!status && !le64_get(id->nsze) && !le64_get(id->ncap))) {
		s->at++; /* it went meanwhile */
		ns_next(c);
		return;
	}
	ns = &s->ns[s->ns_count++];
	ns->nsid = s->nsids[s->at];
	ns->status = status;
	if (!status)
		nvme_learn_ns(ns, id);
	if (!status && c->info.version >= NVME_VERSION(1, 3, 0)) {
		ask(c, NVME_CNS_NS_DESC_LIST, ns->nsid, descs_read, "Identify namespace descriptors");
		return;
	}
	s->at++;
	ns_next(c);
}

static void descs_read(struct nvme_op *op)
{
	struct nvme_ctrlr *c = container_of(op, struct nvme_ctrlr, scan.op);
	struct ctrlr_scan *s = &c->scan;

	if (!came_back(c))
		return;
	if (!nvme_op_status(op)) /* one that refuses has none */
		nvme_learn_ns_descs(&s->ns[s->ns_count - 1], s->page);
	s->at++;
	ns_next(c);
}

/* --- its beginning ---------------------------------------------------------------------------- */

void ctrlr_scan_begin(struct nvme_ctrlr *c, nvme_ctrlr_done_fn *done, void *arg)
{
	struct ctrlr_scan *s = &c->scan;

	assert(!s->running && !s->out);
	s->page = base_zalloc(NVME_IDENTIFY_SIZE);
	s->running = true;
	s->nsid_count = 0;
	s->done = done;
	s->arg = arg;
	list_next(c);
}

void nvme_ctrlr_scan(struct nvme_ctrlr *c, nvme_ctrlr_done_fn *done, void *arg)
{
	assert(c->machine.state == CTRLR_READY);
	ctrlr_scan_begin(c, done, arg);
}
