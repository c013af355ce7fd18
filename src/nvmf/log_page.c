/* SPDX-License-Identifier: BSD-3-Clause */
/* log_page.c: Get Log Page. A page is made whole, then the part that was asked for is copied; what lies beyond it is
 * zero. */
#include "nvmf/target.h"

struct page {
	void *data;       /* heap; NULL: `small` */
	const void *kept; /* in place of both: somebody else's */
	size_t len;
	uint8_t small[4096];
};
struct page_kind {
	void (*make)(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p);
	bool discovery, io; /* which controllers have it */
	bool clears;        /* reading it lets its event be told again */
	enum nvmf_event event;
	/* In place of make(), for what takes a while: ends with nvmf_log_page_send(). */
	bool (*parse)(struct nvmf_req *req);
	void (*run)(struct nvmf_req *req);
};
static const struct page_kind kinds[256];

static const struct page_kind *kind_at(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, uint8_t lid)
{
	const struct page_kind *k = &kinds[lid];

	if (!(k->make || k->run) || !(c->discovery ? k->discovery : k->io))
		return NULL;
	if (lid == NVME_LOG_CROSS_CTRL_RESET && !c->target->ccr_limit)
		return NULL;
	return lid == NVME_LOG_ANA && !(s && s->ana_reporting) ? NULL : k;
}

static bool refuse_at(struct nvmf_req *req, size_t byte, uint32_t bit, uint16_t status)
{
	nvmf_error_at(req, byte, bit);
	return nvmf_req_refuse(req, status | NVME_SC_DNR);
}
#define AT(field) offsetof(struct nvme_sqe, get_log_page.field)

bool nvmf_log_page_parse(struct nvmf_req *req)
{
	const struct nvme_get_log_page *cmd = &req->cmd.get_log_page;
	const struct page_kind *k = kind_at(req->qpair->ctrlr, nvmf_qpair_sub(req->qpair), cmd->lid);
	uint64_t len = nvme_get_log_page_size(cmd);

	if (!k)
		return refuse_at(req, AT(lid), 0, NVME_SC_INVALID_LOG_PAGE);
	if (cmd->lid == NVME_LOG_DISCOVER && (cmd->lsp_rae & 0x7f & ~NVMF_DISCOVERY_LSP))
		return refuse_at(req, AT(lsp_rae), 0, NVME_SC_INVALID_FIELD);
	if (len > req->qpair->data_len_max)
		return refuse_at(req, AT(numdl), 0, NVME_SC_INVALID_FIELD);
	if (le64_get(cmd->lpo) & 3)
		return refuse_at(req, AT(lpo), 0, NVME_SC_INVALID_FIELD);
	if (cmd->ot & 0x80) /* no page is told by entries */
		return refuse_at(req, AT(ot), 7, NVME_SC_INVALID_FIELD);
	if (cmd->lid == NVME_LOG_CMD_EFFECTS && cmd->csi != NVME_CSI_NVM)
		return refuse_at(req, AT(csi), 0, NVME_SC_INVALID_LOG_PAGE); /* as Linux's target says it */
	return (!k->parse || k->parse(req)) && nvmf_req_moves(req, NVMF_DATA_TO_HOST, (uint32_t)len);
}

void nvmf_log_page_run(struct nvmf_req *req)
{
	const struct page_kind *k = &kinds[req->cmd.get_log_page.lid]; /* parsing has looked */
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);
	struct page p = { .len = 0 };

	if (!s) {
		nvmf_req_complete(req, NVME_SC_INTERNAL);
		return;
	}
	if (k->run) {
		k->run(req);
		return;
	}
	k->make(req, s, &p);
	nvmf_log_page_send(req, p.kept ? p.kept : p.data ? p.data : p.small, p.len);
	free(p.data);
}

static void was_read(struct nvmf_ctrlr *c, const struct page_kind *k)
{
	if (k->event == NVMF_EVENT_RESERVATION && !nvmf_resv_log_read(c))
		return;
	nvmf_event_read(c, k->event);
	if (k->event == NVMF_EVENT_NS_CHANGED) {
		c->changed_ns_count = 0;
		c->changed_ns_all = false;
	}
}

void nvmf_log_page_send(struct nvmf_req *req, const void *page, size_t len)
{
	const struct page_kind *k = &kinds[req->cmd.get_log_page.lid];
	uint64_t offset = le64_get(req->cmd.get_log_page.lpo);

	if (offset > len) {
		nvmf_error_at(req, AT(lpo), 0);
		nvmf_req_complete(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
		return;
	}
	if (k->clears && !(req->cmd.get_log_page.lsp_rae & 0x80))
		was_read(req->qpair->ctrlr, k);
	nvmf_req_complete_data(req, (const uint8_t *)page + offset, (uint32_t)min_u64(len - offset, req->data_len));
}

/* --- the pages -------------------------------------------------------------------------------------- */

static void make_errors(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	struct nvme_error_log_page *entries = (struct nvme_error_log_page *)p->small;

	nvmf_error_list(req->qpair->ctrlr, entries, NVMF_ERRORS_MAX);
	p->len = NVMF_ERRORS_MAX * sizeof(*entries);
}

static void make_supported(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	struct nvme_supported_log_pages *log = (struct nvme_supported_log_pages *)p->small;

	for (uint32_t lid = 0; lid < 256; lid++)
		if (kind_at(req->qpair->ctrlr, s, (uint8_t)lid))
			log->lid_support[lid] = le32_of(NVME_LID_SUPPORTED |
			                                (lid == NVME_LOG_DISCOVER ? NVMF_DISCOVERY_LSP << 16 : 0));
	p->len = sizeof(*log);
}

static void make_firmware(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	struct nvme_firmware_slot *fw = (struct nvme_firmware_slot *)p->small;

	fw->afi = 1;
	text_pad(fw->frs[0], sizeof(fw->frs[0]), NVMF_FIRMWARE, ' ');
	p->len = sizeof(*fw);
}

static void make_changed_ns(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	struct nvme_ns_list *list = (struct nvme_ns_list *)p->small;
	const struct nvmf_ctrlr *c = req->qpair->ctrlr;

	p->len = sizeof(*list);
	if (c->changed_ns_all) {
		list->ns[0] = le32_of(NVME_NSID_ALL);
		return;
	}
	for (uint32_t i = 0; i < c->changed_ns_count; i++)
		list->ns[i] = le32_of(c->changed_ns[i]);
}

static bool io_possible(const struct nvmf_subsystem *s, uint8_t opc)
{
	static const struct { uint8_t opc; uint32_t op; } needs[] = {
		{ NVME_CMD_WRITE_UNCOR,  BDEV_BIT(WRITE_UNCORRECTABLE) },
		{ NVME_CMD_COMPARE,      BDEV_BIT(COMPARE) },
		{ NVME_CMD_WRITE_ZEROES, BDEV_BIT(WRITE_ZEROES) },
		{ NVME_CMD_VERIFY,       BDEV_BIT(VERIFY) },
		{ NVME_CMD_COPY,         BDEV_BIT(COPY) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(needs); i++)
		if (needs[i].opc == opc)
			return s->ns_count && (s->ops_all & needs[i].op);
	return true;
}

static bool has(const struct nvmf_handler *h, bool discovery)
{
	return h && (!discovery || (h->flags & NVMF_ON_DISCOVERY));
}

/* Of I/O commands no scope is told (there is none but their namespace, and nvmet tells none either): Linux, 6.12 too,
 * takes one for an unusual effect and warns of it. */
static void make_effects(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	struct nvme_cmd_effects_log *log = (struct nvme_cmd_effects_log *)p->small;
	bool discovery = req->qpair->ctrlr->discovery;

	for (uint32_t opc = 0; opc < 256; opc++) {
		const struct nvmf_handler *h = nvmf_admin_handler((uint8_t)opc);

		if (has(h, discovery) && (opc != NVME_ADMIN_CROSS_CTRL_RESET || req->qpair->target->ccr_limit) &&
		    (opc != NVME_ADMIN_GET_LBA_STATUS || s->knows_bad))
			log->acs[opc] = le32_of(NVME_CMD_EFFECTS_CSUPP | h->effects);
		h = nvmf_io_handler((uint8_t)opc);
		if (has(h, discovery) && io_possible(s, (uint8_t)opc) &&
		    !nvmf_io_masked(&req->qpair->transport->opts, (uint8_t)opc))
			log->iocs[opc] = le32_of(NVME_CMD_EFFECTS_CSUPP | h->effects);
	}
	log->acs[NVME_ADMIN_FABRICS] = le32_of(NVME_CMD_EFFECTS_CSUPP | NVME_SCOPE_CTRL);
	p->len = sizeof(*log);
}

static void make_features(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	struct nvme_fid_supported_effects_log *log = (struct nvme_fid_supported_effects_log *)p->small;

	nvmf_features_list(req->qpair->ctrlr, s, log->fid_support);
	p->len = sizeof(*log);
}

/* There is no management interface: none of its commands. */
static void make_mi(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	p->len = sizeof(struct nvme_mi_cmd_effects_log);
}

static void make_ana(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	p->data = nvmf_ana_log_make(req->qpair->ctrlr, s, req->cmd.get_log_page.lsp_rae & NVME_LOG_ANA_LSP_RGO, &p->len);
}

static void make_reservation(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	nvmf_resv_log_make(req->qpair->ctrlr, (struct nvme_resv_notification_log *)p->small);
	p->len = sizeof(struct nvme_resv_notification_log);
}

static void make_ccr(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	p->len = nvmf_ccr_log_make(req->qpair->ctrlr, (struct nvme_ccr_log *)p->small,
	                           req->cmd.get_log_page.lsp_rae & NVME_LOG_CCR_LSP_RMC);
}

static void make_discovery(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	const struct nvme_get_log_page *cmd = &req->cmd.get_log_page;

	p->kept = nvmf_discovery_log_read(req->qpair->ctrlr, le64_get(cmd->lpo), cmd->lsp_rae & 0x7f, &p->len);
}

static const struct page_kind kinds[256] = {
	/*                             page             discovery  io     clears event */
	[NVME_LOG_SUPPORTED_LOG_PAGES] = { make_supported, true,   true,  false, 0 },
	[NVME_LOG_ERROR]            = { make_errors,     true,      true,  false, 0 },
	[NVME_LOG_SMART]            = { NULL,            false,     true,  true,  NVMF_EVENT_HEALTH, nvmf_smart_parse,
	                                nvmf_smart_run },
	[NVME_LOG_FW_SLOT]          = { make_firmware,   false,     true,  false, 0 },
	[NVME_LOG_CHANGED_NS]       = { make_changed_ns, false,     true,  true,  NVMF_EVENT_NS_CHANGED },
	[NVME_LOG_CMD_EFFECTS]      = { make_effects,    true,      true,  false, 0 },
	[NVME_LOG_ANA]              = { make_ana,        false,     true,  true,  NVMF_EVENT_ANA },
	[NVME_LOG_FID_SUPPORTED_EFFECTS] = { make_features, true,   true,  false, 0 },
	[NVME_LOG_MI_CMD_SUPPORTED_EFFECTS] = { make_mi, false,     true,  false, 0 },
	[NVME_LOG_CROSS_CTRL_RESET] = { make_ccr,        false,     true,  true,  NVMF_EVENT_CCR },
	[NVME_LOG_DISCOVER]         = { make_discovery,  true,      false, true,  NVMF_EVENT_DISCOVERY },
	[NVME_LOG_RESERVATION]      = { make_reservation, false,    true,  true,  NVMF_EVENT_RESERVATION },
};
