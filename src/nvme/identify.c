/* SPDX-License-Identifier: BSD-3-Clause */
/* identify.c: what the pages of Identify say, as plain numbers. Whatever a page holds, the outcome is within bounds. */
#include "nvme/host.h"

#define IDENTIFY_SHIFT_MAX 20            /* of MDTS and the like: more is no limit */
#define IDENTIFY_IN_CAPSULE_MAX (1u << 20) /* more than that is never sent with a command */

/* --- controller ------------------------------------------------------------------------------- */

/* A fixed-size field, blank padded, as a string of printable characters. */
static void field_text(char *dst, const char *field, size_t size)
{
	for (size_t i = 0; i < size; i++)
		dst[i] = field[i] && (field[i] < ' ' || field[i] > '~') ? '?' : field[i];
	dst[size] = 0;
	while (size && (dst[size - 1] == ' ' || !dst[size - 1]))
		dst[--size] = 0;
}

/* In units of the smallest page, as a power of two; 0: no limit. */
static uint32_t shifted(uint8_t power, uint64_t cap, uint32_t none)
{
	if (!power || power >= IDENTIFY_SHIFT_MAX)
		return none;
	return (uint32_t)min_u64((1ull << (12 + nvme_cap_mpsmin(cap))) << power, UINT32_MAX);
}

static uint32_t in_capsule_bytes(const struct nvme_id_ctrl *id)
{
	uint64_t units = le32_get(id->ioccsz); /* of 16 bytes, and the first four are the command */

	if (units <= 4 || le16_get(id->icdoff))
		return 0;
	return (uint32_t)min_u64((units - 4) * 16, IDENTIFY_IN_CAPSULE_MAX);
}

/* Descriptors lie in the capsule, as in-capsule data would. No limit said (0): as many as fit. */
static uint32_t descriptors_max(const struct nvme_id_ctrl *id, uint32_t capsule_bytes)
{
	return min_u32(id->msdbd ? id->msdbd : UINT8_MAX, capsule_bytes / (uint32_t)sizeof(struct nvme_sgl));
}

void nvme_learn_revision(struct nvme_ctrlr_info *info, const struct nvme_id_ctrl *id)
{
	field_text(info->firmware, id->fr, sizeof(id->fr));
}

void nvme_learn_ctrl(struct nvme_ctrlr_info *info, const struct nvme_id_ctrl *id, uint64_t cap)
{
	field_text(info->serial, id->sn, sizeof(id->sn));
	field_text(info->model, id->mn, sizeof(id->mn));
	nvme_learn_revision(info, id);
	info->mdts = id->mdts;
	info->max_io_bytes = shifted(id->mdts, cap, UINT32_MAX);
	info->in_capsule_bytes = in_capsule_bytes(id);
	info->descriptors_max = descriptors_max(id, info->in_capsule_bytes);
	info->discovery = id->cntrltype == NVME_CNTRLTYPE_DISCOVERY || !strcmp(info->subnqn, NVME_DISCOVERY_NQN);
	info->vid = le16_get(id->vid);
	info->ssvid = le16_get(id->ssvid);
	memcpy(info->ieee, id->ieee, sizeof(info->ieee));
	info->version = le32_get(id->ver);
	info->oaes = le32_get(id->oaes);
	info->ctratt = le32_get(id->ctratt);
	info->oacs = le16_get(id->oacs);
	info->oncs = le16_get(id->oncs);
	info->fuses = le16_get(id->fuses);
	info->sgls = le32_get(id->sgls);
	info->kas_100ms = le16_get(id->kas);
	info->crdt_100ms[0] = le16_get(id->crdt1);
	info->crdt_100ms[1] = le16_get(id->crdt2);
	info->crdt_100ms[2] = le16_get(id->crdt3);
	info->cqt_ms = le16_get(id->cqt);
	info->ciu = id->ciu;
	info->cirn = le64_get(id->cirn);
	info->ccrl = id->ccrl;
	info->cmic = id->cmic;
	info->cntrltype = id->cntrltype;
	info->vwc = id->vwc;
	info->lpa = id->lpa;
	info->aerl = id->aerl;
	info->frmw = id->frmw;
	info->fwug = id->fwug;
	info->anatt_s = id->anatt;
	info->anacap = id->anacap;
	info->ana_groups_max = le32_get(id->anagrpmax);
	info->ana_groups = le32_get(id->nanagrpid);
	info->namespaces_max = le32_get(id->nn);
	info->atomic_write_blocks = le16_get(id->awupf) + 1u;
	info->atomic_compare_blocks = le16_get(id->acwu) + 1u;
}

void nvme_learn_limits(struct nvme_ctrlr_info *info, const struct nvme_id_ctrl_nvm *id, uint64_t cap)
{
	info->verify_bytes_max = shifted(id->vsl, cap, 0);
	info->zeroes_bytes_max = shifted(id->wzsl, cap, 0);
	info->uncorrectable_bytes_max = shifted(id->wusl, cap, 0);
	info->discard_ranges_max = id->dmrl;
	info->discard_range_blocks_max = le32_get(id->dmrsl);
	info->discard_blocks_max = le64_get(id->dmsl);
}

/* --- namespaces ------------------------------------------------------------------------------- */

bool nvme_learn_ns_list(uint32_t *nsids, uint32_t *count, uint32_t most, const le32 page[static 1024], bool *ret_more)
{
	*ret_more = false;
	for (uint32_t i = 0; i < 1024; i++) {
		uint32_t nsid = le32_get(page[i]);

		if (!nsid)
			return true;
		if (*count == most || nsid == NVME_NSID_ALL || (*count && nsid <= nsids[*count - 1]))
			return false;
		nsids[(*count)++] = nsid;
	}
	*ret_more = true;
	return true;
}

static const struct nvme_lbaf *format_of(const struct nvme_id_ns *id)
{
	uint32_t formats = id->nlbaf + id->nulbaf + 1u, at = id->flbas & 0xf;

	if (formats > 16)
		at |= (id->flbas >> 5 & 3u) << 4;
	return &id->lbaf[at];
}

/* In normal operation and when power fails. Where they differ, or are shifted, no more than a block is sure. */
static void learn_boundary(struct nvme_ns_info *ns, const struct nvme_id_ns *id)
{
	uint32_t normal = le16_get(id->nabsn), cut = le16_get(id->nabspf);

	if (!normal && !cut)
		return;
	if (le16_get(id->nabo) || (normal && cut && normal != cut)) {
		ns->atomic_write_blocks = ns->atomic_compare_blocks = 1;
		return;
	}
	ns->atomic_boundary_blocks = max_u32(normal, cut) + 1;
}

void nvme_learn_ns(struct nvme_ns_info *ns, const struct nvme_id_ns *id)
{
	const struct nvme_lbaf *format = format_of(id);
	bool optimal = id->nsfeat & NVME_NSFEAT_IO_OPT;

	ns->block_count = le64_get(id->nsze);
	ns->md_size = le16_get(format->ms);
	if (format->ds >= 9 && format->ds <= 24) {
		ns->block_size = 1u << format->ds;
		ns->usable = ns->block_count && ns->block_count <= (uint64_t)INT64_MAX >> format->ds;
	}
	ns->nsfeat = id->nsfeat;
	ns->nmic = id->nmic;
	ns->nsattr = id->nsattr;
	ns->dlfeat = id->dlfeat;
	ns->rescap = id->rescap;
	ns->flbas = id->flbas;
	ns->dps = id->dps;
	ns->ana_group = le32_get(id->anagrpid);
	ns->io_boundary_blocks = le16_get(id->noiob);
	ns->write_granularity_blocks = optimal ? le16_get(id->npwg) + 1u : 0;
	ns->write_alignment_blocks = optimal ? le16_get(id->npwa) + 1u : 0;
	ns->discard_granularity_blocks = optimal ? le16_get(id->npdg) + 1u : 0;
	ns->discard_alignment_blocks = optimal ? le16_get(id->npda) + 1u : 0;
	ns->optimal_write_blocks = optimal ? le16_get(id->nows) + 1u : 0;
	ns->copy_range_blocks_max = le16_get(id->mssrl);
	ns->copy_blocks_max = le32_get(id->mcl);
	ns->copy_ranges_max = ns->copy_blocks_max ? (uint16_t)(id->msrc + 1) : 0;
	if (id->nsfeat & NVME_NSFEAT_NATOMIC) {
		ns->atomic_write_blocks = le16_get(id->nawupf) + 1u;
		ns->atomic_compare_blocks = le16_get(id->nacwu) + 1u;
		learn_boundary(ns, id);
	}
	memcpy(ns->nguid, id->nguid, sizeof(ns->nguid));
	memcpy(ns->eui64, id->eui64, sizeof(ns->eui64));
	ns->has_nguid = memcmp(ns->nguid, (const uint8_t[16]){ 0 }, sizeof(ns->nguid));
	ns->has_eui64 = memcmp(ns->eui64, (const uint8_t[8]){ 0 }, sizeof(ns->eui64));
}

static void learn_desc(struct nvme_ns_info *ns, uint8_t type, uint8_t len, const uint8_t *nid)
{
	if (type == NVME_NIDT_UUID && len == NVME_NIDT_UUID_LEN) {
		memcpy(ns->uuid.b, nid, len);
		ns->has_uuid = !uuid_is_null(&ns->uuid);
	} else if (type == NVME_NIDT_NGUID && len == NVME_NIDT_NGUID_LEN) {
		memcpy(ns->nguid, nid, len);
		ns->has_nguid = true;
	} else if (type == NVME_NIDT_EUI64 && len == NVME_NIDT_EUI64_LEN) {
		memcpy(ns->eui64, nid, len);
		ns->has_eui64 = true;
	} else if (type == NVME_NIDT_CSI && len == NVME_NIDT_CSI_LEN) {
		ns->csi = *nid;
		ns->usable = ns->usable && ns->csi == NVME_CSI_NVM;
	}
}

void nvme_learn_ns_descs(struct nvme_ns_info *ns, const uint8_t page[static NVME_IDENTIFY_SIZE])
{
	for (uint32_t at = 0; at + sizeof(struct nvme_ns_id_desc) <= NVME_IDENTIFY_SIZE;) {
		const struct nvme_ns_id_desc *d = (const struct nvme_ns_id_desc *)(page + at);

		at += (uint32_t)sizeof(*d) + d->nidl;
		if (!d->nidl || at > NVME_IDENTIFY_SIZE)
			return;
		learn_desc(ns, d->nidt, d->nidl, d->nid);
	}
}
