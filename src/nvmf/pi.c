/* SPDX-License-Identifier: BSD-3-Clause */
/* pi.c: what hosts say about protection information, as the waist wants to hear it.
 *
 * Over fabrics metadata are part of the data, behind each block. With PRACT, and where metadata are nothing else, the
 * host has none: protection information is inserted and stripped here. The same goes for all I/O of a transport with
 * dif_insert_or_strip, whose hosts are not even told that there are metadata.
 *
 * What is refused, and how: QEMU's controller is the witness.
 */
#include "bdev/pi.h"
#include "nvmf/io.h"

static bool is_hidden(const struct nvmf_req *req)
{
	return req->qpair->transport->opts.dif_insert_or_strip;
}

/* What is checked when nobody says what. */
static uint16_t usual_checks(const struct bdev_info *info)
{
	if (!info->dif_type)
		return 0;
	return info->dif_type == 3 ? BDEV_IO_PRCHK_GUARD : BDEV_IO_PRCHK_GUARD | BDEV_IO_PRCHK_REFTAG;
}

static uint32_t usual_ref(const struct bdev_info *info, uint64_t lba)
{
	return info->dif_type == 3 ? 0 : (uint32_t)lba;
}

static uint16_t checks_of(uint16_t control)
{
	return (uint16_t)((control & NVME_RW_PRCHK_GUARD ? BDEV_IO_PRCHK_GUARD : 0) |
	                  (control & NVME_RW_PRCHK_APP ? BDEV_IO_PRCHK_APPTAG : 0) |
	                  (control & NVME_RW_PRCHK_REF ? BDEV_IO_PRCHK_REFTAG : 0));
}

/* The reference tag of type 1 is the LBA's, type 3 has none to check. */
static bool can_check(const struct bdev_info *info, uint16_t checks, uint64_t lba, uint32_t ref_tag)
{
	if (!(checks & BDEV_IO_PRCHK_REFTAG))
		return true;
	return info->dif_type == 2 || (info->dif_type == 1 && ref_tag == (uint32_t)lba);
}

static void hide(struct nvmf_req *req, const struct bdev_info *info)
{
	struct bdev_io *io = &req->io;

	io->flags |= BDEV_IO_PLAIN | usual_checks(info);
	io->ref_tag = usual_ref(info, io->lba);
	io->app_tag = io->app_mask = 0;
}

static bool only_pi(const struct bdev_info *info) { return info->md_size == PI_BYTES; }

/* PRACT: which of its meanings. False: none that this command has. */
static bool act(struct nvmf_req *req, const struct bdev_info *info)
{
	switch (req->cmd.opc) {
	case NVME_CMD_READ:
		req->io.flags |= only_pi(info) ? BDEV_IO_PLAIN : 0; /* else the host gets what is there */
		return true;
	case NVME_CMD_WRITE:
		req->io.flags |= only_pi(info) ? BDEV_IO_PLAIN : BDEV_IO_PRACT;
		return true;
	case NVME_CMD_WRITE_ZEROES:
		req->io.flags |= BDEV_IO_PRACT;
		return true;
	default:
		return false;
	}
}

/* Nothing of it was read and nothing is to be compared: there is nothing to check. */
static bool has_checks(const struct nvmf_req *req)
{
	return req->cmd.opc != NVME_CMD_WRITE_ZEROES && req->cmd.opc != NVME_CMD_WRITE_UNCOR;
}

static bool parse_prinfo(struct nvmf_req *req, const struct bdev_info *info)
{
	const struct nvme_rw *rw = &req->cmd.rw;
	uint16_t control = le16_get(rw->control), checks = has_checks(req) ? checks_of(control) : 0;
	struct bdev_io *io = &req->io;

	io->flags |= BDEV_IO_EXTENDED | checks;
	io->ref_tag = le32_get(rw->ilbrt);
	io->app_tag = le16_get(rw->lbat);
	io->app_mask = le16_get(rw->lbatm);
	if (req->cmd.opc == NVME_CMD_WRITE_UNCOR)
		return true;
	return can_check(info, checks, io->lba, io->ref_tag) && (!(control & NVME_RW_PRACT) || act(req, info));
}

bool nvmf_pi_parse(struct nvmf_req *req, const struct bdev_view *v, uint64_t *len)
{
	const struct bdev_info *info = &v->served->info;
	bool ok = true;

	if (is_hidden(req) || !info->dif_type)
		ok = !(le16_get(req->cmd.rw.control) & NVMF_RW_PI);
	if (ok && is_hidden(req))
		hide(req, info);
	else if (ok && !info->dif_type)
		req->io.flags |= BDEV_IO_EXTENDED;
	else if (ok)
		ok = parse_prinfo(req, info);
	if (!ok)
		return nvmf_req_refuse(req, NVME_SC_INVALID_PI | NVME_SC_DNR);
	if (len && !(req->io.flags & BDEV_IO_PLAIN))
		*len += req->io.count * v->md_size;
	return true;
}

bool nvmf_pi_fuse(const struct nvmf_req *first, struct nvmf_req *second)
{
	const uint16_t where = BDEV_IO_PLAIN | BDEV_IO_EXTENDED;
	struct bdev_io *io = &second->io;

	/* One I/O has its metadata in one place: no PRACT for the half that is written, which Compare cannot have. */
	if ((first->io.flags ^ io->flags) & where)
		return false;
	io->flags |= (uint16_t)BDEV_IO_SRC_PRCHK(first->io.flags & BDEV_IO_PRCHK);
	io->compare = (struct bdev_tags){ .ref = first->io.ref_tag, .app = first->io.app_tag, .mask = first->io.app_mask };
	return true;
}

/* --- copies --------------------------------------------------------------------------------------------- */

/* PRINFOR has PRINFO's bits in four others. */
static uint16_t source_control(const struct nvmf_req *req)
{
	return (uint16_t)(req->cmd.copy.df_prinfor >> 4 << 10);
}

uint16_t nvmf_pi_check_copy(const struct nvmf_req *req, const struct bdev_view *v)
{
	const struct bdev_info *info = &v->served->info;
	uint16_t from = source_control(req), to = le16_get(req->cmd.copy.control) & NVMF_RW_PI;

	if (!info->dif_type || is_hidden(req))
		return from || to ? NVME_SC_INVALID_PI | NVME_SC_DNR : NVME_SC_SUCCESS;
	if ((from ^ to) & NVME_RW_PRACT)
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	if (!can_check(info, checks_of(to), le64_get(req->cmd.copy.sdlba), le32_get(req->cmd.copy.ilbrt)))
		return NVME_SC_INVALID_PI | NVME_SC_DNR;
	return NVME_SC_SUCCESS;
}

uint16_t nvmf_pi_check_source(const struct nvmf_req *req, const struct bdev_view *v, uint64_t lba, uint32_t ref_tag)
{
	const struct bdev_info *info = &v->served->info;

	if (!info->dif_type || is_hidden(req) || can_check(info, checks_of(source_control(req)), lba, ref_tag))
		return NVME_SC_SUCCESS;
	return NVME_SC_INVALID_PI | NVME_SC_DNR;
}

void nvmf_pi_copy(struct nvmf_req *req, const struct nvme_copy_range *r)
{
	const struct bdev_info *info = &req->ns->served->info;
	const struct nvme_copy *cmd = &req->cmd.copy;
	uint64_t before = req->at_lba - le64_get(cmd->sdlba);
	uint16_t to = le16_get(cmd->control);
	struct bdev_io *io = &req->io;

	if (is_hidden(req)) {
		hide(req, info);
		io->flags |= (uint16_t)BDEV_IO_SRC_PRCHK(usual_checks(info));
		io->from = (struct bdev_tags){ .ref = usual_ref(info, io->copy.src_lba) };
		return;
	}
	if (!info->dif_type)
		return;
	io->flags |= (uint16_t)(checks_of(to) | BDEV_IO_SRC_PRCHK(checks_of(source_control(req))));
	io->flags |= to & NVME_RW_PRACT ? BDEV_IO_PRACT : 0;
	io->ref_tag = le32_get(cmd->ilbrt) + (info->dif_type == 3 ? 0 : (uint32_t)before);
	io->app_tag = le16_get(cmd->lbat);
	io->app_mask = le16_get(cmd->lbatm);
	io->from = (struct bdev_tags){ .ref = le32_get(r->eilbrt), .app = le16_get(r->elbat), .mask = le16_get(r->elbatm) };
}
