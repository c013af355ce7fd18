/* SPDX-License-Identifier: BSD-3-Clause */
/* resv.c: reservations as NVMe hosts see them: four commands, notifications and their log page, two features.
 *
 * What is reserved by whom is the device's (bdev/reservation.h); hosts are known by their host identifiers. Commands go
 * to the control reactor and come back; a report does so by itself, because controllers are listed there. An event
 * goes from there to the admin queues of the controllers it concerns.
 */
#include "bdev/reservation.h"
#include "nvmf/target.h"

#define IEKEY 0x08u

struct resv_cmd {
	struct nvmf_req *req;
	struct resv_op op;
	struct msg msg;
	uint32_t nsid;                    /* of a feature that is set for all: the one at hand */
	uint8_t *page;                    /* of a report */
	size_t page_len;
};

static void made(struct resv_op *op);
static void made_persist(struct resv_op *op);

/* --- commands -------------------------------------------------------------------------------------------- */

static bool parse(struct nvmf_req *req, enum nvmf_data data, uint64_t len)
{
	uint16_t status;

	if (!nvmf_ns_for_io(req->qpair, le32_get(req->cmd.nsid), &status))
		return nvmf_req_refuse(req, status);
	if (len > req->qpair->data_len_max)
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	return nvmf_req_moves(req, data, (uint32_t)len);
}

static uint8_t action(const struct nvmf_req *req)
{
	return req->cmd.resv.action & 7;
}

static bool ignores_key(const struct nvmf_req *req)
{
	return req->cmd.resv.action & IEKEY;
}

bool nvmf_resv_register_parse(struct nvmf_req *req)
{
	uint8_t cptpl = req->cmd.resv.cptpl >> 6;

	if (action(req) > NVME_RREGA_REPLACE || (cptpl && cptpl < NVME_CPTPL_CLEAR))
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	return parse(req, NVMF_DATA_TO_CTRLR, sizeof(struct nvme_resv_keys));
}

static bool has_type(const struct nvmf_req *req)
{
	return resv_type_from_nvme(req->cmd.resv.rtype) != RESV_TYPE_COUNT;
}

bool nvmf_resv_acquire_parse(struct nvmf_req *req)
{
	if (action(req) > NVME_RACQA_PREEMPT_AND_ABORT || ignores_key(req) || !has_type(req))
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	return parse(req, NVMF_DATA_TO_CTRLR, sizeof(struct nvme_resv_keys));
}

bool nvmf_resv_release_parse(struct nvmf_req *req)
{
	if (action(req) > NVME_RRELA_CLEAR || ignores_key(req) || (action(req) == NVME_RRELA_RELEASE && !has_type(req)))
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	return parse(req, NVMF_DATA_TO_CTRLR, sizeof(le64));
}

/* Fabrics have 128-bit host identifiers, for which the extended form is there. */
bool nvmf_resv_report_parse(struct nvmf_req *req)
{
	if (!(req->cmd.resv_report.eds & 1))
		return nvmf_req_refuse(req, NVME_SC_HOSTID_FORMAT | NVME_SC_DNR);
	return parse(req, NVMF_DATA_TO_HOST, (le32_get(req->cmd.resv_report.numd) + 1ull) * 4);
}

/* The namespace may have gone while data came. NULL: answered. */
static struct resv_cmd *cmd_make(struct nvmf_req *req)
{
	uint16_t status = NVME_SC_NS_NOT_READY;
	struct bdev_view *v = nvmf_ns_for_io(req->qpair, le32_get(req->cmd.nsid), &status);
	struct resv_cmd *c;

	if (!v || !v->ch) {
		nvmf_req_complete(req, status);
		return NULL;
	}
	v->refs++;
	req->ns = v;
	c = base_zalloc(sizeof(*c));
	c->req = req;
	return c;
}

static void make(struct nvmf_req *req, enum resv_action what, uint8_t flags)
{
	struct resv_cmd *c = cmd_make(req);
	struct nvme_resv_keys keys = { 0 };

	if (!c)
		return;
	nvmf_iov_read(req, 0, &keys, req->data_len);
	c->op.action = (uint8_t)what;
	c->op.type = (uint8_t)resv_type_from_nvme(req->cmd.resv.rtype);
	c->op.flags = flags;
	c->op.key = le64_get(keys.crkey);
	c->op.new_key = le64_get(keys.nrkey);
	bdev_resv_do(req->ns->desc, &req->qpair->ctrlr->who, &c->op, made);
}

void nvmf_resv_register_run(struct nvmf_req *req)
{
	static const enum resv_action actions[] = { RESV_NVME_REGISTER, RESV_NVME_UNREGISTER, RESV_NVME_REPLACE };
	static const uint8_t persistence[] = { 0, 0, RESV_F_VOLATILE, RESV_F_PERSIST };

	make(req, actions[action(req)],
	     (uint8_t)(persistence[req->cmd.resv.cptpl >> 6] | (ignores_key(req) ? RESV_F_ANY_KEY : 0)));
}

void nvmf_resv_acquire_run(struct nvmf_req *req)
{
	static const enum resv_action actions[] = { RESV_RESERVE, RESV_PREEMPT, RESV_PREEMPT_ABORT };

	make(req, actions[action(req)], 0);
}

void nvmf_resv_release_run(struct nvmf_req *req)
{
	make(req, action(req) == NVME_RRELA_CLEAR ? RESV_CLEAR : RESV_RELEASE, 0);
}

static uint16_t status_of(const struct resv_op *op)
{
	static const uint16_t statuses[] = {
		[RESV_OK] = NVME_SC_SUCCESS,
		[RESV_CONFLICT] = NVME_SC_RESERVATION_CONFLICT | NVME_SC_DNR,
		[RESV_BAD_FIELD] = NVME_SC_INVALID_FIELD | NVME_SC_DNR,
		[RESV_BAD_RELEASE] = NVME_SC_INVALID_FIELD | NVME_SC_DNR,
		[RESV_NO_PERSIST] = NVME_SC_INVALID_FIELD | NVME_SC_DNR,
		[RESV_NO_ROOM] = NVME_SC_INTERNAL | NVME_SC_DNR,
		[RESV_GONE] = NVME_SC_INVALID_NS | NVME_SC_DNR,
	};

	return statuses[op->result];
}

static void made(struct resv_op *op)
{
	struct resv_cmd *c = container_of(op, struct resv_cmd, op);
	struct nvmf_req *req = c->req;
	uint16_t status = status_of(op);

	free(c);
	nvmf_req_complete(req, status);
}

/* --- report ---------------------------------------------------------------------------------------------- */

static void report_on_control(struct msg *m);
static void reported(struct resv_op *op);
static void report_on_core(struct msg *m);

void nvmf_resv_report_run(struct nvmf_req *req)
{
	struct resv_cmd *c = cmd_make(req);

	if (!c)
		return;
	c->op.action = RESV_REPORT;
	msg_send(core_control(req->qpair->target->core), &c->msg, report_on_control);
}

static void report_on_control(struct msg *m)
{
	struct resv_cmd *c = container_of(m, struct resv_cmd, msg);

	bdev_resv_do(c->req->ns->desc, &c->req->qpair->ctrlr->who, &c->op, reported);
}

/* Who is no NVMe host has none: made of what it is known by, so that it is always the same. */
static void host_id_of(const struct resv_reported *who, uint8_t to[static 16])
{
	const char *texts[] = { who->port, who->target };

	memcpy(to, who->host_id.b, 16);
	if (who->kind == RESV_NVME_HOST)
		return;
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t h = 14695981039346656037ull ^ who->port_id;

		for (const char *s = texts[i]; *s; s++)
			h = (h ^ (uint8_t)*s) * 1099511628211ull;
		memcpy(to + 8 * i, &h, 8);
	}
}

static void add_ctrlr(struct resv_cmd *c, const struct resv_reported *who, uint16_t cntlid)
{
	struct nvme_registered_ctrl_ext *e = (struct nvme_registered_ctrl_ext *)(c->page + c->page_len);

	e->cntlid = le16_of(cntlid);
	e->rcsts = who->holds;
	e->rkey = le64_of(who->key);
	host_id_of(who, e->hostid);
	c->page_len += sizeof(*e);
}

static bool is_of(const struct nvmf_ctrlr *ctrlr, const struct resv_reported *who)
{
	return ctrlr->who.party == who->party && !ctrlr->dying;
}

/* Every controller of a host that is registered; FFFFh for one that has none here. */
static void page_make(struct resv_cmd *c, const struct resv_report *r, const struct nvmf_roster *roster)
{
	size_t most = (r->count + (size_t)roster->count) * sizeof(struct nvme_registered_ctrl_ext);
	struct nvme_resv_status *head;

	c->page = base_zalloc(NVME_RESV_STATUS_EXT_SIZE + most);
	c->page_len = NVME_RESV_STATUS_EXT_SIZE;
	for (uint32_t i = 0; i < r->count; i++) {
		bool any = false;

		list_each(l, &roster->ctrlrs) {
			const struct nvmf_ctrlr *ctrlr = list_entry(l, struct nvmf_ctrlr, link);

			if (!is_of(ctrlr, &r->who[i]))
				continue;
			add_ctrlr(c, &r->who[i], ctrlr->cntlid);
			any = true;
		}
		if (!any)
			add_ctrlr(c, &r->who[i], 0xffff);
	}
	head = (struct nvme_resv_status *)c->page;
	head->gen = le32_of(r->generation);
	head->rtype = resv_type_to_nvme(r->type);
	head->regctl = le16_of((uint16_t)((c->page_len - NVME_RESV_STATUS_EXT_SIZE) /
	                                  sizeof(struct nvme_registered_ctrl_ext)));
	head->ptpls = r->persists;
}

static void reported(struct resv_op *op)
{
	struct resv_cmd *c = container_of(op, struct resv_cmd, op);

	if (op->ret_report)
		page_make(c, op->ret_report, c->req->qpair->ctrlr->roster);
	free(op->ret_report);
	msg_send(c->req->qpair->reactor, &c->msg, report_on_core);
}

static void report_on_core(struct msg *m)
{
	struct resv_cmd *c = container_of(m, struct resv_cmd, msg);
	struct nvmf_req *req = c->req;

	if (c->op.result == RESV_OK)
		nvmf_req_complete_data(req, c->page, (uint32_t)min_u64(c->page_len, req->data_len));
	else
		nvmf_req_complete(req, status_of(&c->op));
	free(c->page);
	free(c);
}

/* --- notifications: control -> the admin queue's core ---------------------------------------------------- */

static void note(struct nvmf_ctrlr *c, uint32_t nsid, uint8_t type)
{
	struct nvmf_resv_note *n;

	if (c->dying || !c->seat_by_qid[0] || c->resv_note_count == NVMF_RESV_NOTES_MAX)
		return;
	n = base_zalloc(sizeof(*n));
	*n = (struct nvmf_resv_note){ .next = c->resv_notes, .nsid = nsid, .type = type };
	c->resv_notes = n;
	c->resv_note_count++;
	nvmf_seat_tell(c->seat_by_qid[0], NVMF_MAIL_RESV);
}

typedef void party_fn(struct nvmf_ctrlr *c, uint32_t nsid, void *arg);

static void each_in_subsystem(const struct nvmf_subsystem *s, uint32_t nsid, uint32_t party, party_fn *fn, void *arg)
{
	list_each(l, &s->roster->ctrlrs) {
		struct nvmf_ctrlr *c = list_entry(l, struct nvmf_ctrlr, link);

		if (c->who.party == party)
			fn(c, nsid, arg);
	}
}

/* Every controller of the party that has the device as a namespace. */
static void each_of_party(struct resv_listener *l, struct bdev *b, uint32_t party, party_fn *fn, void *arg)
{
	struct nvmf_target *t = container_of(l, struct nvmf_target, resv_listener);

	for (uint32_t id = 0; t->config && id < NVMF_SUBSYSTEMS_MAX; id++) {
		const struct nvmf_subsystem *s = t->config->subs[id];

		for (uint32_t i = 0; s && s->ns_count && i < s->ns_max; i++)
			if (s->ns[i] && s->ns[i]->dev.desc && bdev_of(s->ns[i]->dev.desc) == b)
				each_in_subsystem(s, i + 1, party, fn, arg);
	}
}

static void note_event(struct nvmf_ctrlr *c, uint32_t nsid, void *arg)
{
	const struct nvmf_subsystem *s = c->target->config->subs[c->sub_id];

	if (nvmf_subsystem_shows(s, nsid, c->who.name))
		note(c, nsid, *(const uint8_t *)arg);
}

static void heard(struct resv_listener *l, struct bdev *b, uint32_t party, enum resv_event event)
{
	static const uint8_t types[] = {
		[RESV_EVENT_REGISTRATION_PREEMPTED] = NVME_RESV_NOTIFY_REGISTRATION_PREEMPTED,
		[RESV_EVENT_RESERVATION_PREEMPTED] = NVME_RESV_NOTIFY_RESERVATION_PREEMPTED,
		[RESV_EVENT_RESERVATION_RELEASED] = NVME_RESV_NOTIFY_RESERVATION_RELEASED,
	};
	uint8_t type = types[event];

	each_of_party(l, b, party, note_event, &type);
}

static void preempted(struct nvmf_ctrlr *c, uint32_t nsid, void *arg)
{
	list_each(pos, &c->seats) {
		struct nvmf_seat *s = list_entry(pos, struct nvmf_seat, link);
		struct nvmf_resv_note *n;

		if (!s->qid || s->gone)
			continue;
		n = base_zalloc(sizeof(*n));
		*n = (struct nvmf_resv_note){ .next = s->preempted, .nsid = nsid };
		s->preempted = n;
		nvmf_seat_tell(s, NVMF_MAIL_PREEMPTED);
	}
}

static void aborts(struct resv_listener *l, struct bdev *b, uint32_t party)
{
	each_of_party(l, b, party, preempted, NULL);
}

void nvmf_resv_notes_free(struct nvmf_resv_note *notes)
{
	struct nvmf_resv_note *n;

	while ((n = notes)) {
		notes = n->next;
		free(n);
	}
}

void nvmf_resv_init(struct nvmf_target *t)
{
	bdev_resv_listen(t->reg, &t->resv_listener, heard);
	t->resv_listener.abort = aborts;
}

void nvmf_resv_fini(struct nvmf_target *t)
{
	bdev_resv_unlisten(&t->resv_listener);
}

/* --- the log: the admin queue's core --------------------------------------------------------------------- */

static bool is_masked(const struct nvmf_ctrlr *c, uint32_t nsid, uint8_t type)
{
	return nsid <= c->resv_mask_count && c->resv_mask[nsid - 1] & 1u << type;
}

static void log_add(struct nvmf_ctrlr *c, const struct nvmf_resv_note *n)
{
	uint32_t at;

	c->resv_log_pages++;
	if (is_masked(c, n->nsid, n->type))
		return;
	if (!c->resv_log)
		c->resv_log = base_zalloc(NVMF_RESV_LOG_MAX * sizeof(*c->resv_log));
	if (c->resv_log_count == NVMF_RESV_LOG_MAX) { /* the oldest goes; the count of pages tells */
		c->resv_log_from++;
		c->resv_log_count--;
	}
	at = (c->resv_log_from + c->resv_log_count++) % NVMF_RESV_LOG_MAX;
	c->resv_log[at] = (struct nvmf_resv_entry){ .number = c->resv_log_pages, .nsid = n->nsid, .type = n->type };
	nvmf_event_raise(c, NVMF_EVENT_RESERVATION);
}

/* In the order in which they were noted: the list has the newest first. */
void nvmf_resv_noted(struct nvmf_ctrlr *c, struct nvmf_resv_note *notes)
{
	struct nvmf_resv_note *oldest = NULL, *n;

	while ((n = notes)) {
		notes = n->next;
		n->next = oldest;
		oldest = n;
	}
	while ((n = oldest)) {
		oldest = n->next;
		if (c)
			log_add(c, n);
		free(n);
	}
}

void nvmf_resv_log_make(struct nvmf_ctrlr *c, struct nvme_resv_notification_log *page)
{
	const struct nvmf_resv_entry *e;

	page->lpc = le64_of(c->resv_log_pages);
	if (!c->resv_log_count)
		return;
	e = &c->resv_log[c->resv_log_from % NVMF_RESV_LOG_MAX];
	page->lpc = le64_of(e->number);
	page->rnlpt = e->type;
	page->nalp = (uint8_t)min_u32(c->resv_log_count - 1, UINT8_MAX);
	page->nsid = le32_of(e->nsid);
}

/* The page was read: the next one is there to be read then, and is told of only when a new one comes. */
bool nvmf_resv_log_read(struct nvmf_ctrlr *c)
{
	if (c->resv_log_count) {
		c->resv_log_from++;
		c->resv_log_count--;
	}
	return !c->resv_log_count;
}

void nvmf_resv_reset(struct nvmf_ctrlr *c)
{
	c->resv_log_count = 0;
	free(c->resv_mask);
	c->resv_mask = NULL;
	c->resv_mask_count = 0;
}

void nvmf_resv_ctrlr_fini(struct nvmf_ctrlr *c)
{
	nvmf_resv_noted(NULL, c->resv_notes);
	nvmf_resv_reset(c);
	free(c->resv_log);
}

/* --- features -------------------------------------------------------------------------------------------- */

uint16_t nvmf_resv_mask_set(struct nvmf_req *req, uint32_t mask)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);
	struct nvmf_ctrlr *c = req->qpair->ctrlr;
	uint32_t nsid = le32_get(req->cmd.nsid), from = nsid == NVME_NSID_ALL ? 1 : nsid, to;

	if (!s || (nsid != NVME_NSID_ALL && !nvmf_ns_find(req->qpair, nsid)))
		return NVME_SC_INVALID_NS | NVME_SC_DNR;
	to = nsid == NVME_NSID_ALL ? s->ns_max : nsid;
	if (!c->resv_mask) {
		c->resv_mask = base_zalloc(s->ns_max);
		c->resv_mask_count = s->ns_max;
	}
	for (uint32_t at = from; at <= to && at <= c->resv_mask_count; at++)
		c->resv_mask[at - 1] = mask & 0x0e;
	return NVME_SC_SUCCESS;
}

uint16_t nvmf_resv_mask_get(struct nvmf_req *req, uint32_t *ret_mask)
{
	const struct nvmf_ctrlr *c = req->qpair->ctrlr;
	uint32_t nsid = le32_get(req->cmd.nsid);

	if (!nvmf_ns_find(req->qpair, nsid))
		return NVME_SC_INVALID_NS | NVME_SC_DNR;
	*ret_mask = nsid <= c->resv_mask_count ? c->resv_mask[nsid - 1] : 0;
	return NVME_SC_SUCCESS;
}

uint16_t nvmf_resv_persist_get(struct nvmf_req *req, uint32_t *ret_value)
{
	struct bdev_view *v = nvmf_ns_find(req->qpair, le32_get(req->cmd.nsid));

	if (!v || !v->ch)
		return NVME_SC_INVALID_NS | NVME_SC_DNR;
	*ret_value = bdev_resv_persists(v->ch);
	return NVME_SC_SUCCESS;
}

/* One namespace after the other, when all are meant. */
static void persist_next(struct resv_cmd *c)
{
	struct nvmf_req *req = c->req;
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);
	uint32_t nsid = le32_get(req->cmd.nsid), last = nsid == NVME_NSID_ALL ? (s ? s->ns_max : 0) : nsid;

	if (req->ns)
		bdev_view_put(req->ns);
	req->ns = NULL;
	for (; c->op.result == RESV_OK && c->nsid <= last; c->nsid++) {
		struct bdev_view *v = nvmf_ns_find(req->qpair, c->nsid);

		if (!v || !v->ch)
			continue;
		v->refs++;
		req->ns = v;
		c->nsid++;
		bdev_resv_do(v->desc, &req->qpair->ctrlr->who, &c->op, made_persist);
		return;
	}
	made(&c->op);
}

static void made_persist(struct resv_op *op)
{
	persist_next(container_of(op, struct resv_cmd, op));
}

void nvmf_resv_persist_set(struct nvmf_req *req, uint32_t value)
{
	uint32_t nsid = le32_get(req->cmd.nsid);
	struct resv_cmd *c;

	if (nsid != NVME_NSID_ALL && !nvmf_ns_find(req->qpair, nsid)) {
		nvmf_req_complete(req, NVME_SC_INVALID_NS | NVME_SC_DNR);
		return;
	}
	c = base_zalloc(sizeof(*c));
	c->req = req;
	c->nsid = nsid == NVME_NSID_ALL ? 1 : nsid;
	c->op.action = RESV_SET_PERSIST;
	c->op.flags = value & 1 ? RESV_F_PERSIST : RESV_F_VOLATILE;
	persist_next(c);
}
