/* SPDX-License-Identifier: BSD-3-Clause */
/* identify.c: what a controller says about itself and its namespaces. Nothing is claimed that does not work. */
#include "nvmf/target.h"

typedef uint16_t identify_fn(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page);

static identify_fn *const pages[256];
static identify_fn *const discovery_pages[256];

static bool lists_ctrlrs(const struct nvmf_req *req)
{
	uint8_t cns = req->cmd.identify.cns;

	return !req->qpair->ctrlr->discovery && (cns == NVME_CNS_CTRL_LIST || cns == NVME_CNS_NS_CTRL_LIST);
}

static identify_fn *page_of(const struct nvmf_req *req)
{
	return (req->qpair->ctrlr->discovery ? discovery_pages : pages)[req->cmd.identify.cns];
}

/* What is not supported is refused before any data moves. */
bool nvmf_identify_parse(struct nvmf_req *req)
{
	if (!page_of(req) && !lists_ctrlrs(req)) {
		nvmf_error_at(req, offsetof(struct nvme_sqe, identify.cns), 0);
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	}
	return nvmf_req_moves(req, NVMF_DATA_TO_HOST, NVME_IDENTIFY_SIZE);
}

void nvmf_identify_run(struct nvmf_req *req)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);
	uint8_t page[NVME_IDENTIFY_SIZE] = { 0 };
	uint16_t status = NVME_SC_INTERNAL;

	if (s && lists_ctrlrs(req)) {
		nvmf_list_ctrlrs_run(req, s);
		return;
	}
	if (s)
		status = page_of(req)(req, s, page);
	if ((status & NVME_SC_CODE) == NVME_SC_INVALID_FIELD)
		nvmf_error_at(req, offsetof(struct nvme_sqe, identify.csi), 0);
	if (status)
		nvmf_req_complete(req, status);
	else
		nvmf_req_complete_data(req, page, sizeof(page));
}

static uint32_t nsid_of(const struct nvmf_req *req)
{
	return le32_get(req->cmd.nsid);
}

/* --- the controller --------------------------------------------------------------------------------- */

static uint8_t mdts(const struct nvmf_req *req)
{
	return (uint8_t)(31 - __builtin_clz(req->qpair->data_len_max) - 12); /* CAP.MPSMIN is 4 KiB */
}

static void ctrl_common(const struct nvmf_req *req, const struct nvmf_subsystem *s, struct nvme_id_ctrl *id)
{
	const struct nvmf_transport_opts *opts = &req->qpair->transport->opts;

	text_pad(id->fr, sizeof(id->fr), NVMF_FIRMWARE, ' ');
	id->mdts = mdts(req);
	id->cntlid = le16_of(req->qpair->ctrlr->cntlid);
	id->ver = le32_of(NVMF_VS);
	id->aerl = NVMF_AERS_MAX - 1;
	id->acl = NVMF_ABORTS_MAX - 1;
	id->elpe = NVMF_ERRORS_MAX - 1;
	id->lpa = NVME_LPA_EXTENDED | NVME_LPA_CMD_EFFECTS;
	id->kas = le16_of(nvmf_kas(opts));
	id->ctratt = le32_of(NVME_CTRATT_HOSTID_128 | NVME_CTRATT_TBKAS);
	id->maxcmd = le16_of(opts->max_queue_depth);
	id->sgls = le32_of(NVME_SGLS_SUPPORTED | req->qpair->transport->sgls);
	text_pad(id->subnqn, sizeof(id->subnqn), s->nqn, 0);
}

static uint16_t optional_commands(const struct nvmf_subsystem *s)
{
	uint16_t oncs = NVME_ONCS_DSM /* hints are always heard */ | NVME_ONCS_RESERVATIONS | NVME_ONCS_TIMESTAMP |
	                NVME_ONCS_SAVE_FEATURES /* Get Features selects; what cannot be saved says so */;

	oncs |= s->ops_all & BDEV_BIT(COMPARE) ? NVME_ONCS_COMPARE : 0;
	oncs |= s->ops_all & BDEV_BIT(WRITE_ZEROES) ? NVME_ONCS_WRITE_ZEROES : 0;
	oncs |= s->ops_all & BDEV_BIT(VERIFY) ? NVME_ONCS_VERIFY : 0;
	oncs |= s->ops_all & BDEV_BIT(COPY) ? NVME_ONCS_COPY : 0;
	oncs |= s->ns_count && (s->ops_all & BDEV_BIT(WRITE_UNCORRECTABLE)) ? NVME_ONCS_WRITE_UNCOR : 0;
	return oncs;
}

static uint16_t identify_ctrl(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page)
{
	const struct nvmf_transport_opts *opts = &req->qpair->transport->opts;
	const struct nvmf_target *t = req->qpair->target;
	struct nvme_id_ctrl *id = page;

	ctrl_common(req, s, id);
	text_pad(id->sn, sizeof(id->sn), s->serial, ' ');
	text_pad(id->mn, sizeof(id->mn), s->model, ' ');
	id->rab = 6;
	id->cmic = NVME_CMIC_MULTI_PORT | NVME_CMIC_MULTI_CTRL;
	id->oaes = le32_of(nvmf_events_offered(req->qpair->ctrlr, s));
	id->rtd3e = le32_of(NVMF_READY_500MS * 500000); /* us: as long as a shutdown may take */
	id->cntrltype = NVME_CNTRLTYPE_IO;
	id->crdt1 = le16_of(t->crdt[0]);
	id->crdt2 = le16_of(t->crdt[1]);
	id->crdt3 = le16_of(t->crdt[2]);
	if (s->ana_reporting) {
		id->cmic |= NVME_CMIC_ANA;
		id->anatt = NVMF_ANATT_S;
		id->anacap = NVME_ANACAP_OPTIMIZED | NVME_ANACAP_NONOPTIMIZED | NVME_ANACAP_INACCESSIBLE |
		             NVME_ANACAP_PERSISTENT_LOSS | NVME_ANACAP_CHANGE;
		id->anagrpmax = id->nanagrpid = le32_of(s->ns_max);
	}
	id->cqt = le16_of(t->cqt_ms);
	if (t->ccr_limit) {
		id->ciu = atomic_load(&req->qpair->ctrlr->ciu);
		id->cirn = le64_of(atomic_load(&req->qpair->ctrlr->cirn));
		id->ccrl = t->ccr_limit;
	}
	id->oacs = le16_of(s->knows_bad ? NVME_OACS_LBA_STATUS : 0);
	id->frmw = 1 << 1 | 1; /* one slot, read only */
	id->lpa |= NVME_LPA_SMART_PER_NS | NVME_LPA_LI0_LI5_LI12_LI13;
	id->wctemp = le16_of(NVMF_TEMPERATURE_WARNING);
	id->cctemp = le16_of(0x0175);
	id->sqes = 6 << 4 | 6;
	id->cqes = 4 << 4 | 4;
	id->nn = le32_of(s->ns_max);
	id->mnan = le32_of(s->ns_max);
	id->oncs = le16_of(optional_commands(s) & (uint16_t)~opts->masked_oncs);
	id->ocfs = le16_of(s->ops_all & BDEV_BIT(COPY) && !(opts->masked_oncs & NVME_ONCS_COPY) ? NVMF_COPY_FORMATS : 0);
	id->fuses = le16_of(s->ns_count && (s->ops_all & BDEV_BIT(COMPARE_AND_WRITE)) ? NVME_FUSES_COMPARE_AND_WRITE : 0);
	id->vwc = (s->volatile_cache ? NVME_VWC_PRESENT : 0) | NVME_VWC_FLUSH_ALL;
	if (opts->masked_oncs & NVME_ONCS_COMPARE || opts->masked_fuses & NVME_FUSES_COMPARE_AND_WRITE)
		id->fuses = le16_of(0);
	id->nwpc = nvmf_protect_offered(t) ? NVME_NWPC_WRITE_PROTECT : 0;
	id->ioccsz = le32_of((uint32_t)(sizeof(struct nvme_sqe) + opts->in_capsule_data_size) / 16);
	id->iorcsz = le32_of(sizeof(struct nvme_cqe) / 16);
	id->fcatt = s->is_static ? NVME_FCATT_STATIC : 0;
	id->msdbd = req->qpair->transport->msdbd;
	id->ofcs = le16_of(NVME_OFCS_DISCONNECT);
	return NVME_SC_SUCCESS;
}

static uint16_t identify_discovery_ctrl(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page)
{
	struct nvme_id_ctrl *id = page;

	ctrl_common(req, s, id);
	text_pad(id->sn, sizeof(id->sn), "", ' ');
	text_pad(id->mn, sizeof(id->mn), "Gantry discovery", ' ');
	id->oaes = le32_of(nvmf_events_offered(req->qpair->ctrlr, s));
	id->cntrltype = NVME_CNTRLTYPE_DISCOVERY;
	id->ioccsz = le32_of(sizeof(struct nvme_sqe) / 16);
	id->iorcsz = le32_of(sizeof(struct nvme_cqe) / 16);
	id->msdbd = 1;
	return NVME_SC_SUCCESS;
}

/* CNS 06h: limits of single commands; 0: none but the namespace's size. Hosts take a limit that is not told for MDTS,
 * with which zeroing a disk takes long. */
static uint16_t identify_ctrl_csi(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page)
{
	struct nvme_id_ctrl_nvm *id = page;

	if (req->cmd.identify.csi != NVME_CSI_NVM)
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	id->vsl = NVMF_NODATA_SHIFT - 12; /* CAP.MPSMIN is 4 KiB */
	id->wzsl = s->wzsl;
	if (s->dmrsl) { /* of each range; there may be as many as the field counts */
		id->dmrl = UINT8_MAX;
		id->dmrsl = le32_of(s->dmrsl);
	}
	return NVME_SC_SUCCESS;
}

static uint16_t identify_command_sets(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page)
{
	struct nvme_id_iocs *id = page;
	uint16_t cntid = le16_get(req->cmd.identify.cntid);

	if (cntid != 0xffff && cntid != req->qpair->ctrlr->cntlid)
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	id->iocsc[0] = le64_of(1 << NVME_CSI_NVM);
	return NVME_SC_SUCCESS;
}

/* --- a namespace ---------------------------------------------------------------------------------------- */

/* *ret_v NULL with success: inactive, which most pages show as zeroes. */
static uint16_t find_ns(const struct nvmf_req *req, const struct nvmf_subsystem *s, struct bdev_view **ret_v)
{
	uint32_t nsid = nsid_of(req);

	*ret_v = NULL;
	if (nsid == 0 || nsid > s->ns_max)
		return NVME_SC_INVALID_NS | NVME_SC_DNR;
	*ret_v = nvmf_ns_find(req->qpair, nsid);
	return NVME_SC_SUCCESS;
}

static uint16_t at_most_u16(uint64_t v)
{
	return (uint16_t)min_u64(v, UINT16_MAX);
}

static void ns_preferences(struct nvme_id_ns *id, const struct bdev_info *info)
{
	uint32_t granule = info->physical_block_size > info->block_size ? info->physical_block_size / info->block_size : 1;

	if (info->optimal_io_blocks)
		id->noiob = le16_of(at_most_u16(info->optimal_io_blocks));
	if (granule == 1 && !info->optimal_io_blocks)
		return;
	id->nsfeat |= NVME_NSFEAT_IO_OPT;
	id->npwg = id->npwa = id->npdg = id->npda = le16_of(at_most_u16(granule - 1));
	id->nows = le16_of(at_most_u16((info->optimal_io_blocks ? info->optimal_io_blocks : granule) - 1));
}

/* Of the controller one block is promised; this namespace's own may be more. */
static void ns_atomics(struct nvme_id_ns *id, const struct bdev_info *info)
{
	if (info->atomic_blocks == 1 && info->atomic_caw_blocks == 1)
		return;
	id->nsfeat |= NVME_NSFEAT_NATOMIC;
	id->nawun = id->nawupf = le16_of(at_most_u16(info->atomic_blocks - 1));
	id->nacwu = le16_of(at_most_u16(info->atomic_caw_blocks - 1));
	if (info->atomic_boundary_blocks)
		id->nabsn = id->nabspf = le16_of(at_most_u16(info->atomic_boundary_blocks - 1));
}

/* All types; IEKEY as of NVMe 1.3; persistence where it can be kept. */
static uint8_t rescap(const struct nvmf_ns *ns)
{
	return 0xfe | bdev_resv_can_persist(ns->target->reg);
}

/* Over fabrics metadata are always part of the data. */
static void ns_metadata(struct nvme_id_ns *id, const struct bdev_info *info)
{
	id->lbaf[0].ms = le16_of((uint16_t)info->md_size);
	id->flbas = NVME_FLBAS_EXTENDED;
	id->mc = NVME_MC_EXTENDED;
	if (!info->dif_type)
		return;
	id->dpc = (uint8_t)(1 << (info->dif_type - 1) | (info->dif_is_head_of_md ? NVME_DPC_FIRST : NVME_DPC_LAST));
	id->dps = (uint8_t)(info->dif_type | (info->dif_is_head_of_md ? NVME_DPS_FIRST : 0));
}

static void ns_page(struct nvme_id_ns *id, const struct nvmf_ns *ns, const struct nvmf_req *req,
                    const struct nvmf_subsystem *s)
{
	const struct bdev_info *info = &ns->dev.info;
	uint64_t blocks = bdev_block_count(ns->dev.desc);

	id->nsze = id->ncap = le64_of(blocks);
	if (nvmf_ana_reached(req->qpair->ctrlr, s, ns->nsid)) /* as Linux: what is not reached has none in use */
		id->nuse = id->nsze;
	id->lbaf[0].ds = (uint8_t)__builtin_ctz(info->block_size);
	if (info->md_size && !req->qpair->transport->opts.dif_insert_or_strip)
		ns_metadata(id, info);
	id->nmic = NVME_NMIC_SHARED;
	id->rescap = rescap(ns);
	if (info->thin)
		id->nsfeat |= NVME_NSFEAT_THIN;
	if (info->ops & BDEV_BIT(UNMAP))
		id->dlfeat = NVME_DLFEAT_READS_0S | NVME_DLFEAT_WRITE_ZEROES;
	ns_atomics(id, info);
	ns_preferences(id, info);
	if (info->ops & BDEV_BIT(COPY)) {
		id->mssrl = le16_of(NVMF_COPY_BLOCKS_MAX);
		id->mcl = le32_of(NVMF_COPY_BLOCKS_ALL);
		id->msrc = NVMF_COPY_RANGES_MAX - 1;
	}
	if (info->read_only || atomic_load(&ns->protected))
		id->nsattr = NVME_NSATTR_WRITE_PROTECTED;
	if (s->ana_reporting)
		id->anagrpid = le32_of(s->ns_group[ns->nsid - 1]);
	memcpy(id->nguid, ns->nguid, sizeof(id->nguid));
	memcpy(id->eui64, ns->eui64, sizeof(id->eui64));
}

static uint16_t identify_ns(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page)
{
	struct bdev_view *v;
	uint16_t status = find_ns(req, s, &v);

	if (v)
		ns_page(page, nvmf_ns_of(v), req, s);
	return status;
}

/* CNS 05h for the NVM command set: protection information in its newer forms; there is none. */
static uint16_t identify_ns_csi(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page)
{
	struct bdev_view *v;

	if (req->cmd.identify.csi != NVME_CSI_NVM)
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	return find_ns(req, s, &v);
}

static uint16_t identify_ns_independent(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page)
{
	struct nvme_id_independent_id_ns *id = page;
	struct bdev_view *v;
	uint16_t status = find_ns(req, s, &v);

	if (!v)
		return status;
	id->nmic = NVME_NMIC_SHARED;
	id->rescap = rescap(nvmf_ns_of(v));
	if (s->ana_reporting)
		id->anagrpid = le32_of(s->ns_group[nsid_of(req) - 1]);
	id->nsattr = v->read_only ? NVME_NSATTR_WRITE_PROTECTED : 0;
	id->nstat = v->ch ? 1 : 0;
	return NVME_SC_SUCCESS;
}

static uint8_t *desc_add(uint8_t *at, uint8_t type, const void *value, uint8_t len)
{
	struct nvme_ns_id_desc *d = (struct nvme_ns_id_desc *)at;

	d->nidt = type;
	d->nidl = len;
	memcpy(d->nid, value, len);
	return at + sizeof(*d) + len;
}

static uint16_t identify_descs(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page)
{
	static const uint8_t csi = NVME_CSI_NVM, zero[16];
	uint8_t *at = page;
	struct bdev_view *v;
	uint16_t status = find_ns(req, s, &v);

	if (status || !v)
		return NVME_SC_INVALID_NS | NVME_SC_DNR;
	if (nvmf_ns_of(v)->has_eui64)
		at = desc_add(at, NVME_NIDT_EUI64, nvmf_ns_of(v)->eui64, NVME_NIDT_EUI64_LEN);
	if (memcmp(nvmf_ns_of(v)->nguid, zero, sizeof(zero)))
		at = desc_add(at, NVME_NIDT_NGUID, nvmf_ns_of(v)->nguid, NVME_NIDT_NGUID_LEN);
	if (!uuid_is_null(&nvmf_ns_of(v)->uuid))
		at = desc_add(at, NVME_NIDT_UUID, nvmf_ns_of(v)->uuid.b, NVME_NIDT_UUID_LEN);
	desc_add(at, NVME_NIDT_CSI, &csi, NVME_NIDT_CSI_LEN);
	return NVME_SC_SUCCESS;
}

/* --- which page is whose -------------------------------------------------------------------------------------- */

static identify_fn *const pages[256] = {
	[NVME_CNS_NS]                    = identify_ns,
	[NVME_CNS_CTRL]                  = identify_ctrl,
	[NVME_CNS_NS_ACTIVE_LIST]        = nvmf_list_ns,
	[NVME_CNS_NS_DESC_LIST]          = identify_descs,
	[NVME_CNS_CSI_NS]                = identify_ns_csi,
	[NVME_CNS_CSI_CTRL]              = identify_ctrl_csi,
	[NVME_CNS_CSI_NS_ACTIVE_LIST]    = nvmf_list_ns_csi,
	[NVME_CNS_CSI_INDEPENDENT_ID_NS] = identify_ns_independent,
	[NVME_CNS_ALLOCATED_NS_LIST]     = nvmf_list_allocated,
	[NVME_CNS_ALLOCATED_NS]          = identify_ns,
	[NVME_CNS_CSI_ALLOCATED_NS_LIST] = nvmf_list_allocated_csi,
	[NVME_CNS_CSI_ID_NS_DATA_STRUCTURE] = identify_ns_csi,
	[NVME_CNS_COMMAND_SET_STRUCTURE] = identify_command_sets,
};
static identify_fn *const discovery_pages[256] = {
	[NVME_CNS_CTRL]                  = identify_discovery_ctrl,
};
