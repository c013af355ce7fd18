/* SPDX-License-Identifier: BSD-3-Clause */
/* lane.c: what a flow's I/Os go through: NVMe queue pairs, iSCSI sessions, or virtqueues. */
#include <stdio.h>

#include "perf/perf.h"

static void opened(struct perf_flow *f, const struct err *e)
{
	if (e)
		err_set(&f->worker->err, e->code, "%s: %s", f->ns->name, e->text);
	perf_lane_opened(f);
}

static void gone(struct perf_flow *f, const struct err *e)
{
	err_set(&f->worker->err, e->code, "%s: %s", f->ns->name, e->text);
	f->worker->stopping = true;
}

/* --- NVMe ------------------------------------------------------------------------------------------- */

static void qpair_ready(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	(void)qp;
	opened(arg, e);
}

static void qpair_gone(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	(void)qp;
	gone(arg, e);
}

static void nvme_done(struct nvme_op *op)
{
	struct perf_task *t = container_of(op, struct perf_task, op);
	uint16_t status = nvme_op_status(op);

	perf_task_done(t, status ? nvme_status_text(status, false) : perf_metadata_failure(t));
}

static void nvme_submit(struct perf_task *t, struct nvme_qpair *qp, uint64_t lba)
{
	const struct perf_ns *ns = t->flow->ns;

	t->op.cmd = nvme_sqe_rw(t->is_read ? NVME_CMD_READ : NVME_CMD_WRITE, ns->info.nsid, lba, ns->io_blocks);
	if (ns->info.dps & 7)
		perf_metadata_begin(t, lba);
	t->op.data = t->is_read ? NVME_OP_TO_HOST : NVME_OP_TO_CTRLR;
	t->op.data_len = (uint32_t)t->iov.iov_len;
	t->op.iovs = &t->iov;
	t->op.iov_count = 1;
	t->op.done = nvme_done;
	nvme_qpair_submit(qp, &t->op);
}

/* --- iSCSI ------------------------------------------------------------------------------------------- */

static void session_ready(struct ini *i, const struct err *e, void *arg)
{
	(void)i;
	opened(arg, e);
}

static void session_gone(struct ini *i, const struct err *e, void *arg)
{
	(void)i;
	gone(arg, e);
}

static void iscsi_done(struct ini_op *op)
{
	char buf[80];

	perf_task_done(container_of(op, struct perf_task, iscsi), op->status || op->got != op->len ? ini_op_text(op, buf)
	                                                                                          : NULL);
}

static void iscsi_submit(struct perf_task *t, struct ini *i, uint64_t lba)
{
	ini_op_rw(&t->iscsi, !t->is_read, lba, t->flow->ns->io_blocks);
	t->iscsi.data = t->buf;
	t->iscsi.len = (uint32_t)t->iov.iov_len;
	t->iscsi.done = iscsi_done;
	ini_submit(i, &t->iscsi);
}

/* --- vhost-user: it is there already ------------------------------------------------------------------ */

static void vhost_open(struct perf_flow *f, struct perf_lane *lane)
{
	struct err e = { 0 };

	lane->vhost = bdev_channel_get(f->ns->desc, &e);
	opened(f, lane->vhost ? NULL : &e);
}

/* --- any of them -------------------------------------------------------------------------------------- */

void perf_lanes_open(struct perf_flow *f)
{
	const struct perf_opts *o = &f->worker->perf->opts;

	f->lane_count = o->qpairs;
	f->lanes = base_zalloc(f->lane_count * sizeof(*f->lanes));
	for (uint32_t i = 0; i < f->lane_count; i++) {
		uint32_t number = f->first_lane + i;

		if (f->ns->desc)
			vhost_open(f, &f->lanes[i]);
		else if (f->ns->url)
			f->lanes[i].iscsi = ini_open(f->ns->url, &(struct ini_opts){
				.header_digest = o->host.header_digest, .data_digest = o->host.data_digest,
				.io_timeout_ms = o->host.io_timeout_ms, .number = number }, session_ready, session_gone, f);
		else
			f->lanes[i].nvme = nvme_qpair_open(f->worker->perf->host, &f->ns->login, (uint16_t)number, qpair_ready,
			                                   qpair_gone, f);
	}
}

void perf_lane_submit(struct perf_task *t)
{
	struct perf_flow *f = t->flow;
	uint64_t lba = t->slot * f->ns->io_blocks;
	const struct perf_lane *lane = &f->lanes[f->issued % f->lane_count]; /* in turn, as SPDK's perf does */

	if (f->ns->desc)
		perf_vhost_submit(t, lane->vhost, lba);
	else if (f->ns->url)
		iscsi_submit(t, lane->iscsi, lba);
	else
		nvme_submit(t, lane->nvme, lba);
}

void perf_lanes_fail(struct perf_flow *f, const struct err *e)
{
	for (uint32_t i = 0; i < f->lane_count; i++)
		if (f->ns->url)
			ini_fail(f->lanes[i].iscsi, e);
		else if (!f->ns->desc)
			nvme_qpair_fail(f->lanes[i].nvme, NVME_REASON_ASKED, e);
}

void perf_lanes_close(struct perf_flow *f)
{
	for (uint32_t i = 0; i < f->lane_count; i++)
		if (f->lanes[i].vhost)
			bdev_channel_put(f->lanes[i].vhost);
		else if (f->ns->url)
			ini_close(f->lanes[i].iscsi);
		else if (!f->ns->desc)
			nvme_qpair_close(f->lanes[i].nvme);
	free(f->lanes);
	f->lane_count = 0;
}
