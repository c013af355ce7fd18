/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrlr.c: a controller on its admin queue's core: enable, reset, shut down, keep-alive, what changed.
 *
 * A reset or a shutdown revokes the lease and sends the I/O queues away, both by the control reactor; CSTS tells the
 * host when nothing that is older can land any more.
 *
 * Keep-alive costs one timer a controller. Every queue pair leaves a stamp when bytes arrive; when the timer is due it
 * looks at the stamps and starts anew for what is left of the time since the latest.
 */
#include "nvmf/target.h"

#define NSSRO ((uint32_t)nvme_csts_with_nssro(0, 1)) /* stays until the host has seen it */

static void nssr_told(struct msg *m);
static void reset_begin(struct nvmf_ctrlr *c, bool shutdown);
static void kato_start(struct nvmf_ctrlr *c);
static void kato_due(struct timer *tm);
static void see_ns(struct nvmf_ctrlr *c, const struct nvmf_subsystem *s);
static void start_values(struct nvmf_ctrlr *c);

void nvmf_ctrlr_begin(struct nvmf_ctrlr *c, struct nvmf_qpair *admin_qp)
{
	const struct nvmf_config *config = admin_qp->nc->config;

	c->admin_qp = admin_qp;
	c->change_seen = config ? config->change : 0;
	c->genctr_seen = config ? config->genctr : 0;
	if (!c->discovery && nvmf_qpair_sub(admin_qp))
		see_ns(c, nvmf_qpair_sub(admin_qp));
	start_values(c);
	c->timestamp_from_ns = core_clock_ns();
	kato_start(c);
}

void nvmf_ctrlr_end(struct nvmf_ctrlr *c)
{
	timer_stop(&c->kato);
	atomic_store(&c->ready, false);
	nvmf_aer_drop_all(c);
	nvmf_discovery_log_drop(c);
	c->admin_qp = NULL;
}

void nvmf_ctrlr_move(struct nvmf_ctrlr *c, bool leaving)
{
	if (leaving)
		timer_stop(&c->kato);
	else
		kato_start(c);
	nvmf_discovery_log_move(c, leaving);
}

static uint32_t start_value(const struct nvmf_ctrlr *c, enum nvmf_saved_feature feature, uint32_t normally)
{
	return c->saved.set & 1u << feature ? c->saved.value[feature] : normally;
}

/* What was saved of a static controller counts after each reset, and for each host that comes. */
static void start_values(struct nvmf_ctrlr *c)
{
	c->aer_config = start_value(c, NVMF_SAVED_EVENTS, c->aer_default);
	if (!c->target->ccr_limit) /* it was on when that was saved */
		c->aer_config &= ~(uint32_t)NVME_OAES_CCR;
	c->arbitration = start_value(c, NVMF_SAVED_ARBITRATION, 0);
	c->write_atomic = start_value(c, NVMF_SAVED_WRITE_ATOMIC, 0);
	c->temp_over = (uint16_t)start_value(c, NVMF_SAVED_TEMP_OVER, NVMF_TEMPERATURE_WARNING);
	c->temp_under = (uint16_t)start_value(c, NVMF_SAVED_TEMP_UNDER, 0);
}

/* What a reset takes back; the keep-alive timeout is the connection's and stays. */
static void defaults(struct nvmf_ctrlr *c)
{
	start_values(c);
	c->aer_masked = c->aer_pending = 0;
	c->changed_ns_count = 0;
	c->changed_ns_all = false;
	nvmf_resv_reset(c);
	atomic_store(&c->copy_formats, 0);
	nvmf_ccr_reset(c);
	c->power = c->error_recovery = 0;
	c->tler_count = 0;
	c->timestamp_ms = 0;
	c->timestamp_from_ns = core_clock_ns();
	c->timestamp_set = false;
	atomic_store(&c->behavior.acre, 0);
	atomic_store(&c->behavior.etdas, 0);
	atomic_store(&c->behavior.lbafee, 0);
	atomic_store(&c->behavior.hdisns, 0);
	atomic_store(&c->write_through, false);
	atomic_store(&c->io_queues, c->io_queues_max);
	c->critical_warning = 0; /* what was told before is told again, to who asks for it, or has saved that it does */
	nvmf_health_look(c, NULL);
}

/* --- CC -------------------------------------------------------------------------------------------- */

static bool cc_possible(uint32_t cc)
{
	return nvme_cc_shn(cc) != 3 && !nvme_cc_mps(cc) && !nvme_cc_ams(cc) && !nvme_cc_css(cc);
}

static void replace_others(struct nvmf_ctrlr *c)
{
	if (!c->replaces)
		return;
	c->replaces = false;
	nvmf_qpair_pin(c->admin_qp);
	msg_send(core_control(c->target->core), &c->replace_msg, nvmf_ctrlr_replace_on_control);
}

void nvmf_ctrlr_replaced(struct msg *m)
{
	struct nvmf_ctrlr *c = container_of(m, struct nvmf_ctrlr, replace_msg);

	if (nvmf_seat_here(c->admin_seat, m, nvmf_ctrlr_replaced))
		nvmf_qpair_unpin(c->admin_seat->qp);
}

bool nvmf_ctrlr_set_cc(struct nvmf_ctrlr *c, uint32_t cc)
{
	uint32_t old = atomic_load(&c->cc);

	if (!cc_possible(cc))
		return false;
	atomic_store(&c->cc, cc);
	if (!nvme_cc_en(old) && nvme_cc_en(cc)) {
		c->association_ends = false;
		if (!c->resetting_here) {
			c->csts = (uint32_t)nvme_csts_with_rdy(c->csts & NSSRO, 1);
			atomic_store(&c->ready, true);
		}
		kato_start(c);
		replace_others(c);
	} else if (nvme_cc_en(old) && !nvme_cc_en(cc)) {
		reset_begin(c, false);
	}
	if (!nvme_cc_shn(old) && nvme_cc_shn(cc))
		reset_begin(c, true);
	return true;
}

static void reset_begin(struct nvmf_ctrlr *c, bool shutdown)
{
	atomic_store(&c->ready, false);
	if (shutdown)
		c->csts = (uint32_t)nvme_csts_with_shst(c->csts, 1);
	else
		nvmf_aer_drop_all(c);
	c->shutting_down |= shutdown;
	c->association_ends = true;
	kato_start(c);
	if (c->resetting_here)
		return;
	c->resetting_here = true;
	nvmf_qpair_pin(c->admin_qp);
	msg_send(core_control(c->target->core), &c->control_msg, nvmf_ctrlr_reset_on_control);
}

/* The I/O queues are gone and the lease is revoked. */
void nvmf_ctrlr_reset_done(struct msg *m)
{
	struct nvmf_ctrlr *c = container_of(m, struct nvmf_ctrlr, home_msg);
	uint32_t cc = atomic_load(&c->cc);

	if (!nvmf_seat_here(c->admin_seat, m, nvmf_ctrlr_reset_done))
		return;
	c->resetting_here = false;
	for (uint32_t qid = 1; qid <= c->io_queues_max; qid++)
		atomic_store(&c->seen[qid].ns, 0);
	if (c->shutting_down && nvme_cc_shn(cc))
		c->csts = (uint32_t)nvme_csts_with_shst(c->csts, 2);
	if (!c->shutting_down || !nvme_cc_en(cc))
		defaults(c);
	if (!nvme_cc_en(cc))
		c->csts = (uint32_t)nvme_csts_with_nssro(0, nvme_csts_nssro(c->csts) || c->reset_by_nssr);
	c->shutting_down = c->reset_by_nssr = false;
	if (nvme_cc_en(cc) && !nvme_cc_shn(cc) && c->admin_qp) { /* enabled again meanwhile */
		c->csts = (uint32_t)nvme_csts_with_rdy(c->csts & NSSRO, 1);
		atomic_store(&c->ready, true);
	}
	nvmf_qpair_unpin(c->admin_seat->qp);
}

/* --- the subsystem is reset: every controller of it --------------------------------------------------- */

void nvmf_nssr_on_control(struct msg *m)
{
	struct nvmf_ctrlr *c = container_of(m, struct nvmf_ctrlr, nssr_msg);

	log_notice("host %s, controller %u resets subsystem %s, and all its controllers", c->who.name, c->cntlid, c->nqn);
	nvmf_roster_tell(c->roster, NVMF_MAIL_NSSR);
	msg_send(c->nssr_req->qpair->reactor, m, nssr_told); /* executing, it stays there */
}

static void nssr_told(struct msg *m)
{
	struct nvmf_ctrlr *c = container_of(m, struct nvmf_ctrlr, nssr_msg);
	struct nvmf_req *req = c->nssr_req;

	c->nssr_req = NULL;
	nvmf_req_complete(req, NVME_SC_SUCCESS);
}

/* As if the host had cleared CC.EN; the connection of the admin queue stays, so that it can see why. */
void nvmf_ctrlr_nssr(struct nvmf_ctrlr *c)
{
	c->reset_by_nssr = true;
	atomic_store(&c->cc, 0);
	reset_begin(c, false);
}

/* --- keep-alive -------------------------------------------------------------------------------------- */

static uint64_t last_seen_ns(const struct nvmf_ctrlr *c)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i <= c->io_queues_max; i++)
		last = max_u64(last, atomic_load_explicit(&c->seen[i].ns, memory_order_relaxed));
	return last;
}

static uint64_t limit_ns(const struct nvmf_ctrlr *c)
{
	return (c->association_ends ? NVMF_ASSOCIATION_MS : c->kato_ms) * NS_PER_MS;
}

static void kato_start(struct nvmf_ctrlr *c)
{
	uint64_t now = reactor_now_ns(), due = last_seen_ns(c) + limit_ns(c);

	timer_stop(&c->kato);
	if (limit_ns(c))
		timer_start(&c->kato, due > now ? due - now : 0, kato_due);
}

static void kato_due(struct timer *tm)
{
	struct nvmf_ctrlr *c = container_of(tm, struct nvmf_ctrlr, kato);
	struct nvmf_qpair *qp = c->admin_qp;

	if (last_seen_ns(c) + limit_ns(c) > reactor_now_ns()) {
		kato_start(c);
		return;
	}
	if (!qp->served) {
		/* A host may compute for seconds before it answers our challenge; that has a deadline of its own (auth.c). */
		timer_start(&c->kato, limit_ns(c), kato_due);
		return;
	}
	if (!c->association_ends && log_may(&qp->nc->complaints))
		log_warning("host %s, controller %u: nothing heard for %u ms, its keep-alive timeout: disconnecting",
		            c->who.name, c->cntlid, c->kato_ms);
	if (!qp->closing)
		qp->transport->ops->qpair_disconnect(qp);
}

uint32_t nvmf_kato_of(const struct nvmf_transport_opts *opts, uint32_t kato_ms)
{
	uint64_t step_ms = nvmf_kas(opts) * 100ull, ms = max_u64(kato_ms, opts->min_kato_ms);

	return kato_ms ? (uint32_t)min_u64(div_up(ms, step_ms) * step_ms, UINT32_MAX / step_ms * step_ms) : 0;
}

void nvmf_ctrlr_set_kato(struct nvmf_ctrlr *c, uint32_t kato_ms)
{
	c->kato_ms = kato_ms;
	kato_start(c);
}

/* --- what changed -------------------------------------------------------------------------------------- */

static void changed_ns_add(struct nvmf_ctrlr *c, uint32_t nsid)
{
	uint32_t at = 0;

	if (!c->changed_ns)
		c->changed_ns = base_zalloc(NVMF_CHANGED_NS_MAX * sizeof(*c->changed_ns));
	while (at < c->changed_ns_count && c->changed_ns[at] < nsid)
		at++;
	if (at < c->changed_ns_count && c->changed_ns[at] == nsid)
		return;
	if (c->changed_ns_count == NVMF_CHANGED_NS_MAX) {
		c->changed_ns_all = true;
		return;
	}
	memmove(&c->changed_ns[at + 1], &c->changed_ns[at], (c->changed_ns_count - at) * sizeof(*c->changed_ns));
	c->changed_ns[at] = nsid;
	c->changed_ns_count++;
}

/* What is hidden from the host, and was, is no concern of its. */
static bool look_for_ns(struct nvmf_ctrlr *c, const struct nvmf_subsystem *s)
{
	bool any = false;

	for (uint32_t i = 0; i < s->ns_max; i++) {
		uint64_t *word = &c->seen_ns[i / 64], bit = 1ull << i % 64;
		bool is = s->ns[i] && nvmf_subsystem_shows(s, i + 1, c->who.name), was = *word & bit;

		if (is == was && !(is && s->ns_changed[i] > c->change_seen))
			continue;
		*word ^= is == was ? 0 : bit;
		changed_ns_add(c, i + 1);
		any = true;
	}
	return any;
}

static void see_ns(struct nvmf_ctrlr *c, const struct nvmf_subsystem *s)
{
	free(c->seen_ns);
	c->seen_ns = base_zalloc((s->ns_max / 64 + 1) * sizeof(*c->seen_ns));
	for (uint32_t i = 0; i < s->ns_max; i++)
		if (s->ns[i] && nvmf_subsystem_shows(s, i + 1, c->who.name))
			c->seen_ns[i / 64] |= 1ull << i % 64;
}

void nvmf_ctrlr_look(struct nvmf_ctrlr *c)
{
	const struct nvmf_core *nc = c->admin_qp->nc;
	const struct nvmf_subsystem *s = nc->subs[c->sub_id];

	if (!s || s->roster != c->roster) /* deleted; maybe another one has its place already */
		return;
	if (c->discovery && nc->config->genctr != c->genctr_seen)
		nvmf_event_raise(c, NVMF_EVENT_DISCOVERY);
	if (!c->discovery && !c->seen_ns) /* it was made when this core did not know the subsystem yet */
		see_ns(c, s);
	else if (!c->discovery && look_for_ns(c, s))
		nvmf_event_raise(c, NVMF_EVENT_NS_CHANGED);
	if (!c->discovery && nvmf_ana_changed(c, s))
		nvmf_event_raise(c, NVMF_EVENT_ANA);
	nvmf_health_look(c, s);
	c->change_seen = nc->config->change;
	c->genctr_seen = nc->config->genctr;
}
