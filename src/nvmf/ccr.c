/* SPDX-License-Identifier: BSD-3-Clause */
/* ccr.c: Cross-Controller Reset: a host that has lost one controller asks another of the same subsystem to end it, and
 * is told when nothing of it can change data any more (docs/FAILOVER.md).
 *
 * A controller is named by three numbers, its id, CIU and CIRN, so that one which got the id later is not hit. What was
 * asked for is done when its lease has been revoked: by whatever ended it. The answer waits a moment for that; if a
 * device keeps a command for longer, the command ends with "not yet", the log page says "in progress", and an event
 * follows when it is over. It never says "reset" before that is so; and what it does not know it does not vouch for: a
 * controller of before a restart, or of another daemon that serves the same subsystem, is refused, and the host waits
 * as long as keep-alive and CQT make it.
 *
 * All of it happens on the control reactor, but for the command's way there and back. An entry of the log page is one
 * word, which control writes and the admin queue's core reads.
 */
#include "nvmf/target.h"

#define CCR_ANSWER_NS (500 * NS_PER_MS) /* the command waits so long for the end */
#define CCR_GIVE_UP_NS (60 * NS_PER_S)  /* then it has failed */

/* The command's way: admin core, control, admin core. */
struct ccr_cmd {
	struct msg msg;
	struct nvmf_req *req;
	struct nvmf_ctrlr *source;
	uint16_t icid, status;
	uint8_t ciu;
	bool at_once;                     /* the controller is gone: Immediate Reset Successful */
	uint64_t cirn;
};

/* A reset that is waited for. */
struct nvmf_ccr {
	struct list of_source, of_impacted;
	struct nvmf_ctrlr *source;
	struct ccr_cmd *cmd;              /* not answered yet */
	_Atomic uint64_t *entry;          /* in source->ccr_log */
	struct timer timer;
};

static void ccr_on_control(struct msg *m);
static void ccr_answer(struct ccr_cmd *cmd, uint16_t status, bool at_once);
static void ccr_answer_on_core(struct msg *m);
static void answer_now(struct timer *t);
static void give_up(struct timer *t);

/* --- the command: the admin queue's core -------------------------------------------------------------------- */

bool nvmf_ccr_parse(struct nvmf_req *req)
{
	const struct nvme_ccr *cmd = &req->cmd.ccr;

	if (!req->qpair->target->ccr_limit)
		return nvmf_req_refuse(req, NVME_SC_INVALID_OPCODE | NVME_SC_DNR);
	if (!cmd->ciu || le16_get(cmd->icid) == req->qpair->ctrlr->cntlid)
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	return true;
}

void nvmf_ccr_run(struct nvmf_req *req)
{
	const struct nvme_ccr *sqe = &req->cmd.ccr;
	struct ccr_cmd *cmd = base_zalloc(sizeof(*cmd));

	cmd->req = req;
	cmd->source = req->qpair->ctrlr;
	cmd->icid = le16_get(sqe->icid);
	cmd->ciu = sqe->ciu;
	cmd->cirn = le64_get(sqe->cirn);
	msg_send(core_control(req->qpair->target->core), &cmd->msg, ccr_on_control);
}

/* --- control ------------------------------------------------------------------------------------------------ */

static struct nvmf_ctrlr *find(const struct nvmf_roster *r, const struct ccr_cmd *cmd)
{
	list_each(l, &r->ctrlrs) {
		struct nvmf_ctrlr *c = list_entry(l, struct nvmf_ctrlr, link);

		if (c->cntlid == cmd->icid && atomic_load(&c->ciu) == cmd->ciu && atomic_load(&c->cirn) == cmd->cirn)
			return c;
	}
	return NULL;
}

static bool was_here(const struct nvmf_roster *r, const struct ccr_cmd *cmd)
{
	for (uint32_t i = 0; r->gone && i < NVMF_GONE_MAX; i++)
		if (r->gone[i].cntlid == cmd->icid && r->gone[i].ciu == cmd->ciu && r->gone[i].cirn == cmd->cirn)
			return true;
	return false;
}

static bool same_host(const struct nvmf_ctrlr *a, const struct nvmf_ctrlr *b)
{
	return !strcmp(a->who.name, b->who.name) && uuid_equal(&a->who.host_id, &b->who.host_id);
}

static uint64_t entry_word(uint16_t icid, uint8_t ciu, uint16_t acid, uint8_t ccrs)
{
	struct nvme_ccr_log_entry e = { .icid = le16_of(icid), .ciu = ciu, .acid = le16_of(acid), .ccrs = ccrs };
	uint64_t word;

	memcpy(&word, &e, sizeof(word));
	return word;
}

static struct nvme_ccr_log_entry entry_of(uint64_t word)
{
	struct nvme_ccr_log_entry e;

	memcpy(&e, &word, sizeof(e));
	return e;
}

/* A place for it in the log; or why it cannot be done now. */
static uint16_t begin_entry(struct ccr_cmd *cmd, _Atomic uint64_t **ret_entry)
{
	struct nvmf_ctrlr *s = cmd->source;
	_Atomic uint64_t *free_entry = NULL;
	uint32_t running = 0;

	for (uint32_t i = 0; i < NVMF_CCR_LOG_MAX; i++) {
		uint64_t word = atomic_load(&s->ccr_log[i]);
		struct nvme_ccr_log_entry e = entry_of(word);

		if (!word) {
			free_entry = free_entry ? free_entry : &s->ccr_log[i];
			continue;
		}
		if (e.ccrs != NVME_CCRS_IN_PROGRESS)
			continue;
		running++;
		if (le16_get(e.icid) == cmd->icid && e.ciu == cmd->ciu)
			return NVME_SC_CCR_IN_PROGRESS;
	}
	if (running >= s->target->ccr_limit)
		return NVME_SC_CCR_LIMIT_EXCEEDED;
	if (!free_entry)
		return NVME_SC_CCR_LOG_FULL;
	*ret_entry = free_entry;
	return NVME_SC_SUCCESS;
}

static void begin(struct ccr_cmd *cmd, struct nvmf_ctrlr *impacted)
{
	struct nvmf_ctrlr *s = cmd->source;
	_Atomic uint64_t *entry;
	uint16_t status = begin_entry(cmd, &entry);
	struct nvmf_ccr *ccr;

	if (status) {
		ccr_answer(cmd, status, false);
		return;
	}
	if (log_may(&s->target->complaints))
		log_notice("host %s, controller %u: ends its controller %u, with which it has lost touch (Cross-Controller "
		           "Reset)", s->who.name, s->cntlid, impacted->cntlid);
	nvmf_count(&s->target->ccr_begun);
	ccr = base_zalloc(sizeof(*ccr));
	ccr->source = s;
	ccr->cmd = cmd;
	ccr->entry = entry;
	atomic_store(entry, entry_word(cmd->icid, cmd->ciu, s->cntlid, NVME_CCRS_IN_PROGRESS));
	list_add_tail(&s->ccrs, &ccr->of_source);
	list_add_tail(&impacted->ccr_waits, &ccr->of_impacted);
	timer_start(&ccr->timer, CCR_ANSWER_NS, answer_now);
	nvmf_ctrlr_disconnect(impacted);
	nvmf_ccr_look(impacted); /* it may have been on its way before */
}

static void ccr_on_control(struct msg *m)
{
	struct ccr_cmd *cmd = container_of(m, struct ccr_cmd, msg);
	struct nvmf_ctrlr *s = cmd->source, *impacted = find(s->roster, cmd);

	if (impacted && !same_host(s, impacted))
		ccr_answer(cmd, NVME_SC_INVALID_CTRL_ID | NVME_SC_DNR, false);
	else if (impacted)
		begin(cmd, impacted);
	else if (was_here(s->roster, cmd))
		ccr_answer(cmd, NVME_SC_SUCCESS, true);
	else
		ccr_answer(cmd, NVME_SC_INVALID_CTRL_ID | NVME_SC_DNR, false);
}

static void ccr_free(struct nvmf_ccr *ccr)
{
	assert(!ccr->cmd);
	timer_stop(&ccr->timer);
	list_del(&ccr->of_source);
	list_del(&ccr->of_impacted);
	free(ccr);
}

/* It is over, one way or the other. Who still waits for the command is answered with that and needs no entry. */
static void end(struct nvmf_ccr *ccr, enum nvme_ccrs how)
{
	struct nvme_ccr_log_entry e = entry_of(atomic_load(ccr->entry));
	struct nvmf_ctrlr *s = ccr->source;

	if (how == NVME_CCRS_FAILED)
		nvmf_count(&s->target->ccr_failed);
	else
		nvmf_count(&s->target->ccr_done);
	if (ccr->cmd) {
		atomic_store(ccr->entry, 0);
		ccr_answer(ccr->cmd, NVME_SC_SUCCESS, true);
		ccr->cmd = NULL;
	} else {
		atomic_store(ccr->entry, entry_word(le16_get(e.icid), e.ciu, s->cntlid, (uint8_t)how));
		if (s->seat_by_qid[0])
			nvmf_seat_tell(s->seat_by_qid[0], NVMF_MAIL_CCR);
	}
	ccr_free(ccr);
}

void nvmf_ccr_look(struct nvmf_ctrlr *impacted)
{
	if (!impacted->dying || impacted->revoking)
		return;
	list_each_safe(l, &impacted->ccr_waits)
		end(list_entry(l, struct nvmf_ccr, of_impacted), NVME_CCRS_SUCCESS);
}

static void answer_now(struct timer *t)
{
	struct nvmf_ccr *ccr = container_of(t, struct nvmf_ccr, timer);

	ccr_answer(ccr->cmd, NVME_SC_SUCCESS, false);
	ccr->cmd = NULL;
	timer_start(t, CCR_GIVE_UP_NS, give_up);
}

static void give_up(struct timer *t)
{
	struct nvmf_ccr *ccr = container_of(t, struct nvmf_ccr, timer);

	if (log_may(&ccr->source->target->complaints))
		log_warning("host %s, controller %u: the controller it wants to be ended has commands in the hands of a device "
		            "for %u s: its Cross-Controller Reset has failed", ccr->source->who.name, ccr->source->cntlid,
		            (unsigned)(CCR_GIVE_UP_NS / NS_PER_S));
	end(ccr, NVME_CCRS_FAILED);
}

/* --- the answer's way ------------------------------------------------------------------------------------------ */

static void ccr_answer(struct ccr_cmd *cmd, uint16_t status, bool at_once)
{
	cmd->status = status;
	cmd->at_once = at_once;
	carry_send(&cmd->source->admin_seat->home, &cmd->msg, ccr_answer_on_core);
}

static void ccr_answer_on_core(struct msg *m)
{
	struct ccr_cmd *cmd = container_of(m, struct ccr_cmd, msg);
	struct nvmf_req *req = cmd->req;
	uint16_t status = cmd->status;

	if (!nvmf_seat_here(cmd->source->admin_seat, m, ccr_answer_on_core))
		return;
	req->cpl.dw0 = le32_of(cmd->at_once); /* bit 0: Immediate Reset Successful */
	free(cmd);
	nvmf_req_complete(req, status);
}

/* --- instances: control ------------------------------------------------------------------------------------------ */

/* The controller's lease has been revoked: whoever asks for this instance later is told that it is gone. */
static void gone_add(struct nvmf_ctrlr *c)
{
	struct nvmf_roster *r = c->roster;

	if (!r->gone)
		r->gone = base_zalloc(NVMF_GONE_MAX * sizeof(*r->gone));
	r->gone[r->gone_next++ % NVMF_GONE_MAX] =
		(struct nvmf_gone){ .cirn = atomic_load(&c->cirn), .cntlid = c->cntlid, .ciu = atomic_load(&c->ciu) };
}

static uint8_t ciu_after(uint8_t ciu)
{
	return ciu == UINT8_MAX ? 1 : ciu + 1;
}

void nvmf_ccr_init(struct nvmf_ctrlr *c)
{
	list_init(&c->ccrs);
	list_init(&c->ccr_waits);
	atomic_store(&c->ciu, ciu_after((uint8_t)core_random_u64()));
	atomic_store(&c->cirn, core_random_u64());
}

/* Reset: the same connection goes on as another instance. */
void nvmf_ccr_renew(struct nvmf_ctrlr *c)
{
	gone_add(c);
	atomic_store(&c->ciu, ciu_after(atomic_load(&c->ciu)));
	atomic_store(&c->cirn, core_random_u64());
}

void nvmf_ccr_fini(struct nvmf_ctrlr *c)
{
	nvmf_ccr_look(c);
	assert(list_empty(&c->ccr_waits));
	if (!c->discovery)
		gone_add(c);
	list_each_safe(l, &c->ccrs)
		ccr_free(list_entry(l, struct nvmf_ccr, of_source));
}

void nvmf_set_failover(struct nvmf_target *t, uint8_t ccr_limit, uint16_t cqt_ms)
{
	assert(ccr_limit <= NVMF_CCR_LIMIT_MAX);
	atomic_store(&t->ccr_limit, ccr_limit);
	atomic_store(&t->cqt_ms, cqt_ms);
}

/* --- the log page: the admin queue's core ------------------------------------------------------------------------ */

size_t nvmf_ccr_log_make(struct nvmf_ctrlr *c, struct nvme_ccr_log *page, bool remove)
{
	uint16_t count = 0;

	for (uint32_t i = 0; i < NVMF_CCR_LOG_MAX; i++) {
		uint64_t word = atomic_load(&c->ccr_log[i]);

		if (!word)
			continue;
		page->entries[count++] = entry_of(word);
		if (remove && entry_of(word).ccrs != NVME_CCRS_IN_PROGRESS)
			atomic_store(&c->ccr_log[i], 0);
	}
	page->ne = le16_of(count);
	return sizeof(*page) + NVME_CCR_LOG_ENTRIES_MAX * sizeof(page->entries[0]);
}

void nvmf_ccr_reset(struct nvmf_ctrlr *c)
{
	for (uint32_t i = 0; i < NVMF_CCR_LOG_MAX; i++)
		if (entry_of(atomic_load(&c->ccr_log[i])).ccrs != NVME_CCRS_IN_PROGRESS)
			atomic_store(&c->ccr_log[i], 0);
}
