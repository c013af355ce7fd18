/* SPDX-License-Identifier: BSD-3-Clause */
/* features.c: Set Features and Get Features. A feature is a row: who has it, whom it is about, what it defaults to, how
 * it is read and set. What a reset takes back a host has to say anew, but for what it saves of a static controller
 * (static.c). */
#include "nvmf/target.h"

struct feature {
	/* Is it there, and for what the command says? NULL: yes. */
	uint16_t (*check)(const struct nvmf_req *req);
	uint32_t (*get)(struct nvmf_req *req);
	uint16_t (*set)(struct nvmf_req *req, uint32_t value); /* NULL: not changeable */
	uint32_t (*get_default)(struct nvmf_req *req);         /* NULL: `fallback` */
	uint32_t fallback;
	/* In place of those, for what may refuse to be read, or is set later. */
	uint16_t (*get_of_ns)(struct nvmf_req *req, uint32_t *ret_value);
	void (*set_later)(struct nvmf_req *req, uint32_t value);
	uint16_t data_len;                                     /* of what is read or set beside dword 11 */
	void (*get_data)(struct nvmf_req *req, void *data);
	bool data_is_fixed;                                    /* its default is what it is */
	bool discovery, io;                                    /* which controllers have it */
	bool saves;                                            /* of a static controller, as ... */
	enum nvmf_saved_feature saved_as;
	bool per_ns;
	uint32_t effects;                                      /* NVME_FID_*, NVME_SCOPE_* */
};
static const struct feature features[256];

static bool is_under(const struct nvmf_req *req);

static const struct feature *feature_at(const struct nvmf_ctrlr *c, uint8_t fid)
{
	const struct feature *f = &features[fid];

	return (f->get || f->get_of_ns) && (c->discovery ? f->discovery : f->io) ? f : NULL;
}

/* NULL: refused. */
static const struct feature *feature_of(struct nvmf_req *req)
{
	const struct feature *f = feature_at(req->qpair->ctrlr, req->cmd.features.fid);
	uint16_t status = NVME_SC_INVALID_FIELD | NVME_SC_DNR;

	if (f)
		status = f->check ? f->check(req) : NVME_SC_SUCCESS;
	else
		nvmf_error_at(req, offsetof(struct nvme_sqe, features.fid), 0);
	if (!status)
		return f;
	nvmf_req_refuse(req, status);
	return NULL;
}

/* Temperatures are two. */
static enum nvmf_saved_feature saved_as(const struct nvmf_req *req, const struct feature *f)
{
	return f == &features[NVME_FEAT_TEMP_THRESH] && is_under(req) ? NVMF_SAVED_TEMP_UNDER : f->saved_as;
}

void nvmf_features_list(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, le32 ret_effects[static 256])
{
	for (uint32_t fid = 0; fid < 256; fid++) {
		const struct feature *f = feature_at(c, (uint8_t)fid);

		if (f && (fid != NVME_FEAT_VOLATILE_WC || s->volatile_cache) &&
		    (fid != NVME_FEAT_WRITE_PROTECT || nvmf_protect_offered(c->target)))
			ret_effects[fid] = le32_of(NVME_FID_SUPPORTED | f->effects);
	}
}

/* --- set ---------------------------------------------------------------------------------------------- */

static bool is_saveable(const struct nvmf_req *req, const struct feature *f)
{
	return f->saves && nvmf_static_saves(req->qpair->ctrlr);
}

bool nvmf_set_features_parse(struct nvmf_req *req)
{
	const struct feature *f = feature_of(req);
	uint32_t nsid = le32_get(req->cmd.nsid);

	if (!f)
		return false;
	if (req->cmd.features.sv & 0x80 && !is_saveable(req, f)) {
		nvmf_error_at(req, offsetof(struct nvme_sqe, features.sv), 7);
		return nvmf_req_refuse(req, NVME_SC_FEATURE_NOT_SAVEABLE | NVME_SC_DNR);
	}
	if (!f->set && !f->set_later) {
		nvmf_error_at(req, offsetof(struct nvme_sqe, features.fid), 0);
		return nvmf_req_refuse(req, NVME_SC_FEATURE_NOT_CHANGEABLE | NVME_SC_DNR);
	}
	if (nsid && nsid != NVME_NSID_ALL && !f->per_ns) {
		nvmf_error_at(req, offsetof(struct nvme_sqe, nsid), 0);
		return nvmf_req_refuse(req, NVME_SC_FEATURE_NOT_PER_NS | NVME_SC_DNR);
	}
	return nvmf_req_moves(req, NVMF_DATA_TO_CTRLR, f->data_len);
}

void nvmf_set_features_run(struct nvmf_req *req)
{
	const struct feature *f = &features[req->cmd.features.fid]; /* parsing has looked */
	uint16_t status;

	if (f->set_later) {
		f->set_later(req, le32_get(req->cmd.features.cdw11));
		return;
	}
	status = f->set(req, le32_get(req->cmd.features.cdw11));
	if ((status & NVME_SC_CODE) == NVME_SC_INVALID_FIELD)
		nvmf_error_at(req, offsetof(struct nvme_sqe, features.cdw11), 0);
	if (!status && req->cmd.features.sv & 0x80)
		nvmf_static_save(req, saved_as(req, f), f->get(req));
	else
		nvmf_req_complete(req, status);
}

/* --- get ---------------------------------------------------------------------------------------------- */

bool nvmf_get_features_parse(struct nvmf_req *req)
{
	const struct feature *f = feature_of(req);
	uint8_t sel = req->cmd.features.sel & 7;

	if (!f)
		return false;
	if (sel > NVME_FEAT_SEL_SUPPORTED) {
		nvmf_error_at(req, offsetof(struct nvme_sqe, features.sel), 0);
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	}
	if (req->cmd.features.fid == NVME_FEAT_HOST_ID && sel != NVME_FEAT_SEL_SUPPORTED &&
	    !(le32_get(req->cmd.features.cdw11) & 1)) {
		nvmf_error_at(req, offsetof(struct nvme_sqe, features.cdw11), 0);
		return nvmf_req_refuse(req, NVME_SC_HOSTID_FORMAT | NVME_SC_DNR); /* fabrics know 128 bits only */
	}
	return nvmf_req_moves(req, NVMF_DATA_TO_HOST, sel == NVME_FEAT_SEL_SUPPORTED ? 0 : f->data_len);
}

/* What was not saved has as its saved value the default. */
static uint16_t value_of(struct nvmf_req *req, const struct feature *f, uint8_t sel, uint32_t *ret)
{
	const struct nvmf_saved *saved = &req->qpair->ctrlr->saved;

	if (sel == NVME_FEAT_SEL_SUPPORTED) /* changeable; per namespace; saveable */
		*ret = (f->set || f->set_later ? 4u : 0) | (f->per_ns ? 2u : 0) | is_saveable(req, f);
	else if (sel == NVME_FEAT_SEL_SAVED && f->saves && saved->set & 1u << saved_as(req, f))
		*ret = saved->value[saved_as(req, f)];
	else if (sel != NVME_FEAT_SEL_CURRENT)
		*ret = f->get_default ? f->get_default(req) : f->fallback;
	else if (f->get_of_ns)
		return f->get_of_ns(req, ret);
	else
		*ret = f->get(req);
	return NVME_SC_SUCCESS;
}

void nvmf_get_features_run(struct nvmf_req *req)
{
	const struct feature *f = &features[req->cmd.features.fid]; /* parsing has looked */
	uint8_t sel = req->cmd.features.sel & 7, data[512] = { 0 };
	uint32_t value = 0;
	uint16_t status = value_of(req, f, sel, &value);

	if (status) {
		nvmf_req_complete(req, status);
		return;
	}
	req->cpl.dw0 = le32_of(value);
	if (!req->data_len) {
		nvmf_req_complete(req, NVME_SC_SUCCESS);
		return;
	}
	if (sel == NVME_FEAT_SEL_CURRENT || f->data_is_fixed)
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

/* Nothing here has a sensor: the composite temperature reads 0, no threshold is ever crossed, and sensors 1 to 8 are
 * not there. */
#define TMPSEL(v) ((v) >> 16 & 0xf)
#define THSEL(v) ((v) >> 20 & 3)
static uint16_t check_temperature(const struct nvmf_req *req)
{
	uint32_t which = le32_get(req->cmd.features.cdw11);
	bool all = TMPSEL(which) == 0xf && req->cmd.opc == NVME_ADMIN_SET_FEATURES;

	return (TMPSEL(which) && !all) || THSEL(which) > 1 ? NVME_SC_INVALID_FIELD | NVME_SC_DNR : NVME_SC_SUCCESS;
}

static bool is_under(const struct nvmf_req *req)
{
	return THSEL(le32_get(req->cmd.features.cdw11)) == 1;
}

static uint32_t get_temperature(struct nvmf_req *req)
{
	return is_under(req) ? ctrlr(req)->temp_under : ctrlr(req)->temp_over;
}

static uint32_t default_temperature(struct nvmf_req *req)
{
	return is_under(req) ? 0 : NVMF_TEMPERATURE_WARNING;
}

static uint16_t set_temperature(struct nvmf_req *req, uint32_t value)
{
	if (is_under(req))
		ctrlr(req)->temp_under = (uint16_t)value;
	else
		ctrlr(req)->temp_over = (uint16_t)value;
	return NVME_SC_SUCCESS;
}

/* Per namespace; NSID 0 is what is in force for all that nobody has set by themselves. */
static uint16_t check_ns(const struct nvmf_req *req)
{
	uint32_t nsid = le32_get(req->cmd.nsid);

	return !nsid || nsid == NVME_NSID_ALL || nvmf_ns_find(req->qpair, nsid) ? NVME_SC_SUCCESS
	                                                                        : NVME_SC_INVALID_NS | NVME_SC_DNR;
}

static uint32_t get_error_recovery(struct nvmf_req *req)
{
	const struct nvmf_ctrlr *c = ctrlr(req);
	uint32_t nsid = le32_get(req->cmd.nsid);

	return nsid && nsid <= c->tler_count ? c->tler[nsid - 1] : c->error_recovery;
}

static uint16_t set_error_recovery(struct nvmf_req *req, uint32_t value)
{
	struct nvmf_ctrlr *c = ctrlr(req);
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);
	uint32_t nsid = le32_get(req->cmd.nsid);

	if (value >> 16 & 1) /* DULBE: no namespace says that it could */
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	if (!nsid || nsid == NVME_NSID_ALL) {
		c->tler_count = 0;
		c->error_recovery = value & 0xffff;
		return NVME_SC_SUCCESS;
	}
	if (!s)
		return NVME_SC_INVALID_NS | NVME_SC_DNR;
	if (!c->tler)
		c->tler = base_zalloc(s->ns_max * sizeof(*c->tler));
	for (; c->tler_count < s->ns_max; c->tler_count++)
		c->tler[c->tler_count] = (uint16_t)c->error_recovery;
	c->tler[nsid - 1] = (uint16_t)value;
	return NVME_SC_SUCCESS;
}

static uint16_t check_write_cache(const struct nvmf_req *req)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);

	return s && s->volatile_cache ? NVME_SC_SUCCESS : NVME_SC_INVALID_FIELD | NVME_SC_DNR;
}

static uint32_t get_write_cache(struct nvmf_req *req)
{
	return !atomic_load(&ctrlr(req)->write_through);
}

static uint32_t queues_value(uint32_t queues)
{
	return queues ? (queues - 1) << 16 | (queues - 1) : 0;
}

static uint32_t get_queues(struct nvmf_req *req)
{
	return queues_value(atomic_load(&ctrlr(req)->io_queues));
}

static uint32_t default_queues(struct nvmf_req *req)
{
	return queues_value(ctrlr(req)->io_queues_max);
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

static uint32_t default_events(struct nvmf_req *req)
{
	return ctrlr(req)->aer_default;
}

static uint16_t set_events(struct nvmf_req *req, uint32_t value)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);

	if (!s || (value & ~nvmf_events_known(ctrlr(req), s)))
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	ctrlr(req)->aer_config = value;
	nvmf_health_look(ctrlr(req), s);
	return NVME_SC_SUCCESS;
}

static uint32_t get_kato(struct nvmf_req *req)
{
	return ctrlr(req)->kato_ms;
}

static uint32_t default_kato(struct nvmf_req *req)
{
	return ctrlr(req)->kato_connect_ms;
}

static uint16_t set_kato(struct nvmf_req *req, uint32_t value)
{
	if (!value)
		return NVME_SC_KAT_INVALID | NVME_SC_DNR;
	nvmf_ctrlr_set_kato(ctrlr(req), nvmf_kato_of(&req->qpair->transport->opts, value));
	return NVME_SC_SUCCESS;
}

static uint32_t get_nothing(struct nvmf_req *req)
{
	return 0;
}

/* Milliseconds since 1970, from what the host said last; since its last reset if it never did. */
static void get_timestamp(struct nvmf_req *req, void *data)
{
	struct nvme_timestamp *t = data;
	const struct nvmf_ctrlr *c = ctrlr(req);
	le64 ms = le64_of(c->timestamp_ms + (core_clock_ns() - c->timestamp_from_ns) / NS_PER_MS);

	memcpy(t->timestamp, ms.b, sizeof(t->timestamp));
	t->attr = c->timestamp_set ? NVME_TIMESTAMP_OF_HOST : NVME_TIMESTAMP_OF_RESET;
}

static uint16_t set_timestamp(struct nvmf_req *req, uint32_t value)
{
	struct nvme_timestamp t;
	le64 ms = { { 0 } };

	nvmf_iov_read(req, 0, &t, sizeof(t));
	memcpy(ms.b, t.timestamp, sizeof(t.timestamp));
	ctrlr(req)->timestamp_ms = le64_get(ms);
	ctrlr(req)->timestamp_from_ns = core_clock_ns();
	ctrlr(req)->timestamp_set = true;
	return NVME_SC_SUCCESS;
}

static void get_host_behavior(struct nvmf_req *req, void *data)
{
	struct nvme_feat_host_behavior *b = data;

	b->acre = atomic_load(&ctrlr(req)->behavior.acre);
	b->etdas = atomic_load(&ctrlr(req)->behavior.etdas);
	b->lbafee = atomic_load(&ctrlr(req)->behavior.lbafee);
	b->hdisns = atomic_load(&ctrlr(req)->behavior.hdisns);
	b->cdfe = le16_of(atomic_load(&ctrlr(req)->copy_formats));
}

/* What the host can do, whether or not anything here makes use of it. */
static uint16_t set_host_behavior(struct nvmf_req *req, uint32_t value)
{
	struct nvme_feat_host_behavior b;

	nvmf_iov_read(req, 0, &b, sizeof(b));
	if (b.acre > 1 || b.etdas > 1 || b.lbafee > 1 || b.hdisns > 1 || le16_get(b.cdfe) & ~(NVMF_COPY_FORMATS & ~3u))
		return NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	atomic_store(&ctrlr(req)->behavior.acre, b.acre);
	atomic_store(&ctrlr(req)->behavior.etdas, b.etdas);
	atomic_store(&ctrlr(req)->behavior.lbafee, b.lbafee);
	atomic_store(&ctrlr(req)->behavior.hdisns, b.hdisns);
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

#define CTRL NVME_SCOPE_CTRL
#define NS NVME_SCOPE_NS
static const struct feature features[256] = {
	[NVME_FEAT_ARBITRATION]   = { .get = get_arbitration, .set = set_arbitration, .io = true, .saves = true,
	                              .saved_as = NVMF_SAVED_ARBITRATION, .effects = CTRL },
	[NVME_FEAT_POWER_MGMT]    = { .get = get_power, .set = set_power, .io = true, .effects = CTRL },
	[NVME_FEAT_TEMP_THRESH]   = { .check = check_temperature, .get = get_temperature, .set = set_temperature,
	                              .get_default = default_temperature, .io = true, .saves = true,
	                              .saved_as = NVMF_SAVED_TEMP_OVER, .effects = CTRL },
	[NVME_FEAT_ERR_RECOVERY]  = { .check = check_ns, .get = get_error_recovery, .set = set_error_recovery, .io = true,
	                              .per_ns = true, .effects = NS },
	[NVME_FEAT_VOLATILE_WC]   = { .check = check_write_cache, .get = get_write_cache,
	                              .set_later = nvmf_write_cache_set, .io = true, .fallback = 1, .effects = CTRL },
	[NVME_FEAT_NUM_QUEUES]    = { .get = get_queues, .set = set_queues, .get_default = default_queues, .io = true,
	                              .effects = CTRL },
	[NVME_FEAT_WRITE_ATOMIC]  = { .get = get_atomic, .set = set_atomic, .io = true, .saves = true,
	                              .saved_as = NVMF_SAVED_WRITE_ATOMIC, .effects = CTRL },
	[NVME_FEAT_ASYNC_EVENT]   = { .get = get_events, .set = set_events, .get_default = default_events, .io = true,
	                              .discovery = true, .saves = true, .saved_as = NVMF_SAVED_EVENTS, .effects = CTRL },
	[NVME_FEAT_TIMESTAMP]     = { .get = get_nothing, .set = set_timestamp, .io = true, .data_len = 8,
	                              .get_data = get_timestamp, .effects = CTRL },
	[NVME_FEAT_KATO]          = { .get = get_kato, .set = set_kato, .get_default = default_kato, .io = true,
	                              .discovery = true, .effects = CTRL },
	[NVME_FEAT_HOST_BEHAVIOR] = { .get = get_nothing, .set = set_host_behavior, .io = true, .data_len = 512,
	                              .get_data = get_host_behavior, .effects = CTRL },
	[NVME_FEAT_HOST_ID]       = { .get = get_nothing, .set = set_host_id, .io = true, .data_len = 16,
	                              .get_data = get_host_id, .data_is_fixed = true, .effects = CTRL },
	[NVME_FEAT_RESV_MASK]     = { .get_of_ns = nvmf_resv_mask_get, .set = nvmf_resv_mask_set, .io = true,
	                              .per_ns = true, .effects = NS },
	[NVME_FEAT_WRITE_PROTECT] = { .check = nvmf_protect_check, .get_of_ns = nvmf_protect_get,
	                              .set_later = nvmf_protect_set, .io = true, .per_ns = true,
	                              .effects = NS | NVME_FID_NCC },
	[NVME_FEAT_RESV_PERSIST]  = { .get_of_ns = nvmf_resv_persist_get, .set_later = nvmf_resv_persist_set, .io = true,
	                              .per_ns = true, .effects = NS },
};
