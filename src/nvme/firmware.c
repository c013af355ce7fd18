/* SPDX-License-Identifier: BSD-3-Clause */
/* firmware.c: an image for a controller: sent in pieces, one at a time, and committed. What the controller says to that
 * becomes a sentence. NVMe base 3.11, 5.8 (Firmware Commit), 5.9 (Firmware Image Download).
 */
#include <errno.h>

#include "nvme/host.h"

#define PIECE_BYTES (64 * KIB)          /* where the controller tells what it takes */
#define PIECE_BYTES_UNTOLD (4 * KIB)    /* ... and where it does not */

/* A controller keeps what it was sent until a commit, or until it is reset (5.9). */
#define OVERLAPS "somebody else is sending it an image, or it has parts of one that broke off, which a reset discards"

static void piece_sent(struct nvme_op *op);
static void committed(struct nvme_op *op);

/* --- before ---------------------------------------------------------------------------------------------------- */

/* What pieces are a multiple of, but for the last one. */
static uint32_t granularity(const struct nvme_ctrlr_info *info)
{
	return info->fwug == NVME_FWUG_ANY ? 4 : max_u32(info->fwug, 1) * NVME_FWUG_BYTES;
}

static uint32_t piece_bytes(const struct nvme_ctrlr_info *info)
{
	uint32_t unit = granularity(info), most = min_u32(info->max_io_bytes, PIECE_BYTES);

	return info->fwug ? max_u32(most / unit, 1) * unit : PIECE_BYTES_UNTOLD;
}

static int check_slot(const struct nvme_ctrlr_info *info, const struct nvme_firmware *f, struct err *e)
{
	uint8_t slots = nvme_frmw_slots(info->frmw);

	if (f->action == NVME_FW_ENABLE && !f->slot)
		return err_set(e, ERR_BAD_PARAM, "slot: which one? action=enable enables what a slot has");
	if (f->slot > slots)
		return err_set(e, -EINVAL, "slot: %u is none; the controller has %u", f->slot, slots);
	if (f->slot == 1 && f->action != NVME_FW_ENABLE && info->frmw & NVME_FRMW_SLOT1_READ_ONLY)
		return err_set(e, -EROFS, "slot: the controller's slot 1 can only be read");
	return 0;
}

int nvme_firmware_check(const struct nvme_ctrlr_info *info, const struct nvme_firmware *f, struct err *e)
{
	int rc;

	if (!(info->oacs & NVME_OACS_FIRMWARE))
		return err_set(e, -ENOTSUP, "the controller (%s) takes no firmware: it does not support Firmware Commit and "
		               "Firmware Image Download", info->model);
	rc = check_slot(info, f, e);
	if (rc)
		return rc;
	if (f->action == NVME_FW_REPLACE_AND_RUN && !(info->frmw & NVME_FRMW_RUN_AT_ONCE))
		return err_set(e, -ENOTSUP, "action: the controller cannot run firmware without a reset; "
		               "replace_and_enable resets it");
	if (f->len % 4)
		return err_set(e, -EINVAL, "the image's size, %u bytes, is not a multiple of 4", f->len);
	if (f->action != NVME_FW_ENABLE && piece_bytes(info) > info->max_io_bytes)
		return err_set(e, -EPROTO, "the controller wants pieces of %u bytes (FWUG), and takes %u at once (MDTS)",
		               piece_bytes(info), info->max_io_bytes);
	return 0;
}

/* --- sending ----------------------------------------------------------------------------------------------------- */

static void send_piece(struct nvme_firmware *f)
{
	uint32_t len = min_u32(f->len - f->sent, piece_bytes(nvme_ctrlr_info(f->ctrlr)));
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_FW_DOWNLOAD };

	cmd.fw_download.numd = le32_of(len / 4 - 1);
	cmd.fw_download.ofst = le32_of(f->sent / 4);
	f->iov = (struct iovec){ (uint8_t *)f->image + f->sent, len };
	f->op = (struct nvme_op){ .cmd = cmd, .iovs = &f->iov, .iov_count = 1, .data = NVME_OP_TO_CTRLR, .data_len = len,
		                  .done = piece_sent };
	nvme_ctrlr_submit_admin(f->ctrlr, &f->op);
}

static void commit(struct nvme_firmware *f)
{
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_FW_COMMIT };

	cmd.fw_commit.fs_ca = (uint8_t)(f->slot | f->action << 3);
	f->committing = true;
	f->op = (struct nvme_op){ .cmd = cmd, .data = NVME_OP_NONE, .done = committed };
	nvme_ctrlr_submit_admin(f->ctrlr, &f->op);
}

static void go_on(struct nvme_firmware *f)
{
	if (f->sent < f->len)
		send_piece(f);
	else
		commit(f);
}

static const char *why_not_a_piece(const struct nvme_firmware *f, uint16_t status)
{
	const struct nvme_ctrlr_info *info = nvme_ctrlr_info(f->ctrlr);

	if (status == NVME_SC_INVALID_FIELD && info->fwug && f->len % granularity(info))
		return "; the image is not a multiple of what the controller takes as a piece";
	if (status == NVME_SC_OVERLAPPING_RANGE)
		return "; " OVERLAPS;
	return "";
}

static void piece_sent(struct nvme_op *op)
{
	struct nvme_firmware *f = container_of(op, struct nvme_firmware, op);
	uint16_t status = nvme_op_status(op);

	f->sent += status ? 0 : op->data_len;
	if (!status && !f->no_more) {
		go_on(f);
		return;
	}
	if (!status)
		err_set(&f->err, -ECANCELED, "%u of %u bytes were sent; nothing is committed", f->sent, f->len);
	else if (status == NVME_SC_HOST_PATH_ERROR)
		err_set(&f->err, -ENOTCONN, "the connection ended when %u of %u bytes were sent; nothing is committed",
		        f->sent, f->len);
	else
		err_set(&f->err, -EIO, "the controller answered '%s' to %u bytes at %u of the image's %u%s; nothing is "
		        "committed", nvme_status_text(status, false), op->data_len, f->sent, f->len,
		        why_not_a_piece(f, status));
	f->done(f);
}

/* --- committing -------------------------------------------------------------------------------------------------- */

/* What some statuses mean; others speak for themselves, and nothing was committed. The first two are no failures of the
 * commit, but a host cannot do over fabrics, or should not do to others, what they ask for. */
static const struct { uint16_t status; const char *meaning; } meanings[] = {
	{ NVME_SC_FW_NEEDS_CONV_RESET,   "it is committed, and runs only after a conventional reset, or loss of power, of "
	                                 "the device itself" },
	{ NVME_SC_FW_NEEDS_SUBSYS_RESET, "it is committed, and runs only after a reset of the whole subsystem, which takes "
	                                 "its disks from all hosts for that time; so that is left to you" },
	{ NVME_SC_FW_NEEDS_MAX_TIME,     "it cannot run at once, because that would take longer than the controller allows "
	                                 "itself (MTFA); replace_and_enable resets it" },
	{ NVME_SC_FW_ACTIVATE_PROHIBITED, "this image may not take the place of the one that runs" },
	{ NVME_SC_FIRMWARE_IMAGE,        "this is no image for it; nothing is committed" },
	{ NVME_SC_FIRMWARE_SLOT,         "the slot can only be read, or has nothing in it; nothing is committed" },
	{ NVME_SC_OVERLAPPING_RANGE,     OVERLAPS "; nothing is committed" },
};

static void refused(struct nvme_firmware *f, uint16_t status)
{
	const char *meaning = "nothing is committed";

	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
		if (meanings[i].status == status)
			meaning = meanings[i].meaning;
	err_set(&f->err, -EIO, "the controller answered '%s' to Firmware Commit: %s", nvme_status_text(status, false),
	        meaning);
}

static void committed(struct nvme_op *op)
{
	struct nvme_firmware *f = container_of(op, struct nvme_firmware, op);
	uint16_t status = nvme_op_status(op);

	f->wants_reset = f->action != NVME_FW_REPLACE && (status == NVME_SC_FW_NEEDS_RESET ||
	                                                  (!status && f->action != NVME_FW_REPLACE_AND_RUN));
	if (status == NVME_SC_HOST_PATH_ERROR)
		err_set(&f->err, -ENOTCONN, "the connection ended before Firmware Commit was answered: whether the image is "
		        "committed nobody knows");
	else if (status && status != NVME_SC_FW_NEEDS_RESET)
		refused(f, status);
	f->done(f);
}

void nvme_ctrlr_update_firmware(struct nvme_ctrlr *c, struct nvme_firmware *f)
{
	must(nvme_firmware_check(nvme_ctrlr_info(c), f, NULL) == 0);
	assert((f->action == NVME_FW_ENABLE) == !f->len);
	f->ctrlr = c;
	f->err = (struct err){ 0 };
	f->sent = 0;
	f->wants_reset = f->committing = f->no_more = false;
	go_on(f);
}

/* --- what runs --------------------------------------------------------------------------------------------------- */

static void identified(struct nvme_op *op)
{
	struct nvme_revision_read *r = container_of(op, struct nvme_revision_read, op);

	if (!nvme_op_status(op))
		nvme_learn_revision(&r->ctrlr->info, r->page);
	r->done(r);
}

void nvme_ctrlr_read_revision(struct nvme_ctrlr *c, struct nvme_revision_read *r)
{
	r->ctrlr = c;
	r->iov = (struct iovec){ r->page, NVME_IDENTIFY_SIZE };
	r->op = (struct nvme_op){ .cmd = ctrlr_identify(NVME_CNS_CTRL, 0), .iovs = &r->iov, .iov_count = 1,
		                  .data = NVME_OP_TO_HOST, .data_len = NVME_IDENTIFY_SIZE, .done = identified };
	nvme_ctrlr_submit_admin(c, &r->op);
}
