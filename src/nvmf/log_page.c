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
};
static const struct page_kind kinds[256];

static const struct page_kind *kind_of(const struct nvmf_req *req)
{
	const struct page_kind *k = &kinds[req->cmd.get_log_page.lid];

	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);

	if (!k->make || !(req->qpair->ctrlr->discovery ? k->discovery : k->io))
		return NULL;
	if (req->cmd.get_log_page.lid == NVME_LOG_ANA && !(s && s->ana_reporting))
		return NULL;
	if (req->cmd.get_log_page.lid == NVME_LOG_CROSS_CTRL_RESET && !req->qpair->target->ccr_limit)
		return NULL;
	return k;
}

bool nvmf_log_page_parse(struct nvmf_req *req)
{
	const struct nvme_get_log_page *cmd = &req->cmd.get_log_page;
	uint64_t len = nvme_get_log_page_size(cmd);

	if (!kind_of(req))
		return nvmf_req_refuse(req, NVME_SC_INVALID_LOG_PAGE | NVME_SC_DNR);
	if (cmd->lid == NVME_LOG_DISCOVER && (cmd->lsp_rae & 0x7f & ~NVMF_DISCOVERY_LSP))
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	if (len > req->qpair->data_len_max || (le64_get(cmd->lpo) & 3) || (cmd->ot & 0x80))
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	return nvmf_req_moves(req, NVMF_DATA_TO_HOST, (uint32_t)len);
}

void nvmf_log_page_run(struct nvmf_req *req)
{
	const struct page_kind *k = &kinds[req->cmd.get_log_page.lid]; /* parsing has looked */
	const struct nvme_get_log_page *cmd = &req->cmd.get_log_page;
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);
	uint64_t offset = le64_get(cmd->lpo);
	struct page p = { .len = 0 };
	bool retain = cmd->lsp_rae & 0x80;

	if (!s) {
		nvmf_req_complete(req, NVME_SC_INTERNAL);
		return;
	}
	k->make(req, s, &p);
	if (offset > p.len) {
		free(p.data);
		nvmf_req_complete(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
		return;
	}
	if (k->event == NVMF_EVENT_RESERVATION && k->clears && !retain) {
		if (nvmf_resv_log_read(req->qpair->ctrlr))
			nvmf_event_read(req->qpair->ctrlr, k->event);
	} else if (k->clears && !retain) {
		nvmf_event_read(req->qpair->ctrlr, k->event);
		if (k->event == NVMF_EVENT_NS_CHANGED) {
			req->qpair->ctrlr->changed_ns_count = 0;
			req->qpair->ctrlr->changed_ns_all = false;
		}
	}
	nvmf_req_complete_data(req, (const uint8_t *)(p.kept ? p.kept : p.data ? p.data : p.small) + offset,
	                       (uint32_t)min_u64(p.len - offset, req->data_len));
	free(p.data);
}

/* --- the pages -------------------------------------------------------------------------------------- */

static void make_errors(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	struct nvme_error_log_page *entries = (struct nvme_error_log_page *)p->small;

	nvmf_error_list(req->qpair->ctrlr, entries, NVMF_ERRORS_MAX);
	p->len = NVMF_ERRORS_MAX * sizeof(*entries);
}

/* RAM and other people's disks have no temperature and do not wear; what is counted is said. */
static void make_smart(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	struct nvme_smart_log *smart = (struct nvme_smart_log *)p->small;
	const struct nvmf_ctrlr *c = req->qpair->ctrlr;

	smart->avail_spare = 100;
	smart->num_err_log_entries = le128_of(atomic_load(&c->error_count));
	smart->power_on_hours = le128_of((core_wall_us() - c->connected_us) / 3600000000ull);
	p->len = sizeof(*smart);
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

static void make_effects(struct nvmf_req *req, const struct nvmf_subsystem *s, struct page *p)
{
	struct nvme_cmd_effects_log *log = (struct nvme_cmd_effects_log *)p->small;

	for (uint32_t opc = 0; opc < 256; opc++) {
		const struct nvmf_handler *h = nvmf_admin_handler((uint8_t)opc);

		if (h && (opc != NVME_ADMIN_CROSS_CTRL_RESET || req->qpair->target->ccr_limit) &&
		    (opc != NVME_ADMIN_GET_LBA_STATUS || s->knows_bad))
			log->acs[opc] = le32_of(NVME_CMD_EFFECTS_CSUPP | h->effects);
		h = nvmf_io_handler((uint8_t)opc);
		if (h && io_possible(s, (uint8_t)opc))
			log->iocs[opc] = le32_of(NVME_CMD_EFFECTS_CSUPP | h->effects);
	}
	log->acs[NVME_ADMIN_FABRICS] = le32_of(NVME_CMD_EFFECTS_CSUPP);
	p->len = sizeof(*log);
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
	/*                        page             discovery  io     clears event */
	[NVME_LOG_ERROR]       = { make_errors,     true,      true,  false, 0 },
	[NVME_LOG_SMART]       = { make_smart,      false,     true,  false, 0 },
	[NVME_LOG_FW_SLOT]     = { make_firmware,   false,     true,  false, 0 },
	[NVME_LOG_CHANGED_NS]  = { make_changed_ns, false,     true,  true,  NVMF_EVENT_NS_CHANGED },
	[NVME_LOG_CMD_EFFECTS] = { make_effects,    false,     true,  false, 0 },
	[NVME_LOG_ANA]         = { make_ana,        false,     true,  true,  NVMF_EVENT_ANA },
	[NVME_LOG_RESERVATION] = { make_reservation, false,    true,  true,  NVMF_EVENT_RESERVATION },
	[NVME_LOG_CROSS_CTRL_RESET] = { make_ccr,   false,     true,  true,  NVMF_EVENT_CCR },
	[NVME_LOG_DISCOVER]    = { make_discovery,  true,      false, true,  NVMF_EVENT_DISCOVERY },
};
