/* SPDX-License-Identifier: BSD-3-Clause */
/* features.c: Set Features and Get Features. A feature is a row: who has it, what it defaults to, how it is read and
 * set. */
#include "nvmf/target.h"

struct feature {
	uint32_t (*get)(struct nvmf_req *req);
	uint16_t (*set)(struct nvmf_req *req, uint32_t value); /* NULL: not changeable */
	uint32_t fallback;                                     /* SEL = default */
	/* In place of those, for what may refuse to be read, or is set later. */
	uint16_t (*get_of_ns)(struct nvmf_req *req, uint32_t *ret_value);
	void (*set_later)(struct nvmf_req *req, uint32_t value);
	uint16_t data_len;                                     /* of what is read or set beside dword 11 */
	void (*get_data)(struct nvmf_req *req, void *data);
	bool discovery, io;
	bool per_ns;
};
static const struct feature features[256];

static const struct feature *feature_of(const struct nvmf_req *req)
{
	const struct feature *f = &features[req->cmd.features.fid];

	if (!(f->get || f->get_of_ns) || !(req->qpair->ctrlr->discovery ? f->discovery : f->io))
		return NULL;
	return f;
}

/* --- set ---------------------------------------------------------------------------------------------- */

bool nvmf_set_features_parse(struct nvmf_req *req)
{
	const struct feature *f = feature_of(req);
	uint32_t nsid = le32_get(req->cmd.nsid);

	if (!f)
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	if (req->cmd.features.sv & 0x80)
		return nvmf_req_refuse(req, NVME_SC_FEATURE_NOT_SAVEABLE | NVME_SC_DNR);
	if (!f->set && !f->set_later)
		return nvmf_req_refuse(req, NVME_SC_FEATURE_NOT_CHANGEABLE | NVME_SC_DNR);
	if (nsid && nsid != NVME_NSID_ALL && !f->per_ns)
		return nvmf_req_refuse(req, NVME_SC_FEATURE_NOT_PER_NS | NVME_SC_DNR);
	return nvmf_req_moves(req, NVMF_DATA_TO_CTRLR, f->data_len);
}

void nvmf_set_features_run(struct nvmf_req *req)
{
	const struct feature *f = &features[req->cmd.features.fid]; /* parsing has looked */

	if (f->set_later)
		f->set_later(req, le32_get(req->cmd.features.cdw11));
	else
		nvmf_req_complete(req, f->set(req, le32_get(req->cmd.features.cdw11)));
}

/* --- get ---------------------------------------------------------------------------------------------- */

bool nvmf_get_features_parse(struct nvmf_req *req)
{
	const struct feature *f = feature_of(req);
	uint8_t sel = req->cmd.features.sel & 7;

	if (!f || sel > NVME_FEAT_SEL_SUPPORTED)
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	return nvmf_req_moves(req, NVMF_DATA_TO_HOST, sel == NVME_FEAT_SEL_SUPPORTED ? 0 : f->data_len);
}

void nvmf_get_features_run(struct nvmf_req *req)
{
	const struct feature *f = &features[req->cmd.features.fid]; /* parsing has looked */
	uint8_t sel = req->cmd.features.sel & 7, data[512] = { 0 };
	uint32_t value = f->fallback;
	uint16_t status;

	if (sel == NVME_FEAT_SEL_CURRENT && f->get_of_ns) {
		status = f->get_of_ns(req, &value);
		if (status) {
			nvmf_req_complete(req, status);
			return;
		}
	} else if (sel == NVME_FEAT_SEL_SUPPORTED) {
		/* changeable; per namespace; never saveable */
		value = (f->set || f->set_later ? 4u : 0) | (f->per_ns ? 2u : 0);
	} else if (sel == NVME_FEAT_SEL_CURRENT) {
		value = f->get(req);
	}
	req->cpl.dw0 = le32_of(value);
	if (!req->data_len) {
		nvmf_req_complete(req, NVME_SC_SUCCESS);
		return;
	}
	if (req->cmd.features.fid == NVME_FEAT_HOST_ID && !(le32_get(req->cmd.features.cdw11) & 1)) {
		nvmf_req_complete(req, NVME_SC_HOSTID_FORMAT | NVME_SC_DNR); /* fabrics know 128 bits only */
		return;
	}
	f->get_data(req, data);
	nvmf_req_complete_data(req, data, f->data_len);
}

/* --- the features --------------------------------------------------------------------------------------- */

static struct nvmf_ctrlr *ctrlr(const struct nvmf_req *req)
{
	return req->qpair->ctrlr;
}

static uint32_t get_arbitration(struct nvmf_req *req)
{
	return ctrlr(req)->arbitration;
}

static uint16_t set_arbitration(struct nvmf_req *req, uint32_t value)
{
	ctrlr(req)->arbitration = value & 0xffffff07;
	return NVME_SC_SUCCESS;
}

static uint32_t get_power(struct nvmf_req *req)
{
	return ctrlr(req)->power;
}

static uint16_t set_power(struct nvmf_req *req, uint32_t value)
{
	if (value & 0x1f) /* there is one power state */
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	ctrlr(req)->power = value & 0xe0;
	return NVME_SC_SUCCESS;
}

#define TMPSEL(v) ((v) >> 16 & 0xf)
#define THSEL(v) ((v) >> 20 & 3)
static uint32_t get_temperature(struct nvmf_req *req)
{
	uint32_t which = le32_get(req->cmd.features.cdw11);

	return THSEL(which) == 1 ? ctrlr(req)->temp_under : ctrlr(req)->temp_over;
}

static uint16_t set_temperature(struct nvmf_req *req, uint32_t value)
{
	if ((TMPSEL(value) && TMPSEL(value) != 0xf) || THSEL(value) > 1)
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	if (THSEL(value))
		ctrlr(req)->temp_under = (uint16_t)value;
	else
		ctrlr(req)->temp_over = (uint16_t)value;
	return NVME_SC_SUCCESS;
}

static uint32_t get_error_recovery(struct nvmf_req *req)
{
	return ctrlr(req)->error_recovery;
}

static uint16_t set_error_recovery(struct nvmf_req *req, uint32_t value)
{
	if (value >> 16 & 1) /* DULBE: no namespace says that it could */
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	ctrlr(req)->error_recovery = value & 0xffff;
	return NVME_SC_SUCCESS;
}

static uint32_t get_write_cache(struct nvmf_req *req)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);

	return s && s->volatile_cache;
}

/* The devices' caches are not ours to switch; what is so may be asked for. */
static uint16_t set_write_cache(struct nvmf_req *req, uint32_t value)
{
	if (!get_write_cache(req))
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	return value & 1 ? NVME_SC_SUCCESS : NVME_SC_FEATURE_NOT_CHANGEABLE | NVME_SC_DNR;
}

static uint32_t queues_value(uint32_t queues)
{
	return queues ? (queues - 1) << 16 | (queues - 1) : 0;
}

static uint32_t get_queues(struct nvmf_req *req)
{
	return queues_value(atomic_load(&ctrlr(req)->io_queues));
}

static uint16_t set_queues(struct nvmf_req *req, uint32_t value)
{
	struct nvmf_ctrlr *c = ctrlr(req);
	uint32_t submission = (value & 0xffff) + 1, completion = (value >> 16) + 1, queues;

	if (submission > 0xffff || completion > 0xffff)
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	queues = min_u32(min_u32(submission, completion), c->io_queues_max);
	for (uint32_t qid = 1; qid <= c->io_queues_max; qid++)
		if (atomic_load(&c->seen[qid].ns)) /* queues exist already */
			return NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR;
	atomic_store(&c->io_queues, queues);
	req->cpl.dw0 = le32_of(queues_value(queues));
	return NVME_SC_SUCCESS;
}

static uint32_t get_atomic(struct nvmf_req *req)
{
	return ctrlr(req)->write_atomic;
}

static uint16_t set_atomic(struct nvmf_req *req, uint32_t value)
{
	ctrlr(req)->write_atomic = value & 1;
	return NVME_SC_SUCCESS;
}

static uint32_t get_events(struct nvmf_req *req)
{
	return ctrlr(req)->aer_config;
}

static uint16_t set_events(struct nvmf_req *req, uint32_t value)
{
	ctrlr(req)->aer_config = value;
	return NVME_SC_SUCCESS;
}

static uint32_t get_kato(struct nvmf_req *req)
{
	return ctrlr(req)->kato_ms;
}

static uint16_t set_kato(struct nvmf_req *req, uint32_t value)
{
	if (!value)
		return NVME_SC_KAT_INVALID | NVME_SC_DNR;
	nvmf_ctrlr_set_kato(ctrlr(req), (uint32_t)min_u64(div_up(value, NVMF_KAS_MS) * NVMF_KAS_MS,
	                                                  UINT32_MAX / NVMF_KAS_MS * NVMF_KAS_MS));
	return NVME_SC_SUCCESS;
}

static uint32_t get_nothing(struct nvmf_req *req)
{
	return 0;
}

static void get_host_behavior(struct nvmf_req *req, void *data)
{
	struct nvme_feat_host_behavior *b = data;

	b->acre = (uint8_t)ctrlr(req)->host_behavior_acre;
	b->cdfe = le16_of(atomic_load(&ctrlr(req)->copy_formats));
}

static uint16_t set_host_behavior(struct nvmf_req *req, uint32_t value)
{
	struct nvme_feat_host_behavior b;

	nvmf_iov_read(req, 0, &b, sizeof(b));
	if (b.acre > 1 || le16_get(b.cdfe) & ~(NVMF_COPY_FORMATS & ~3u))
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	ctrlr(req)->host_behavior_acre = b.acre;
	atomic_store(&ctrlr(req)->copy_formats, le16_get(b.cdfe));
	return NVME_SC_SUCCESS;
}

static void get_host_id(struct nvmf_req *req, void *data)
{
	memcpy(data, ctrlr(req)->who.host_id.b, sizeof(ctrlr(req)->who.host_id.b));
}

/* Fabrics: Connect has said it. */
static uint16_t set_host_id(struct nvmf_req *req, uint32_t value)
{
	return NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR;
}

static const struct feature features[256] = {
	[NVME_FEAT_ARBITRATION]   = { get_arbitration,    set_arbitration,    .io = true },
	[NVME_FEAT_POWER_MGMT]    = { get_power,          set_power,          .io = true },
	[NVME_FEAT_TEMP_THRESH]   = { get_temperature,    set_temperature,    .io = true,
	                              .fallback = NVMF_TEMPERATURE_WARNING },
	[NVME_FEAT_ERR_RECOVERY]  = { get_error_recovery, set_error_recovery, .io = true, .per_ns = true },
	[NVME_FEAT_VOLATILE_WC]   = { get_write_cache,    set_write_cache,    .io = true, .fallback = 1 },
	[NVME_FEAT_NUM_QUEUES]    = { get_queues,         set_queues,         .io = true },
	[NVME_FEAT_WRITE_ATOMIC]  = { get_atomic,         set_atomic,         .io = true },
	[NVME_FEAT_ASYNC_EVENT]   = { get_events,         set_events,         .io = true, .discovery = true },
	[NVME_FEAT_KATO]          = { get_kato,           set_kato,           .io = true, .discovery = true },
	[NVME_FEAT_HOST_BEHAVIOR] = { get_nothing,        set_host_behavior,  .io = true, .data_len = 512,
	                              .get_data = get_host_behavior },
	[NVME_FEAT_HOST_ID]       = { get_nothing,        set_host_id,        .io = true, .data_len = 16,
	                              .get_data = get_host_id },
	[NVME_FEAT_RESV_MASK]     = { .get_of_ns = nvmf_resv_mask_get, .set = nvmf_resv_mask_set, .io = true,
	                              .per_ns = true },
	[NVME_FEAT_RESV_PERSIST]  = { .get_of_ns = nvmf_resv_persist_get, .set_later = nvmf_resv_persist_set, .io = true,
	                              .per_ns = true },
};
