/* SPDX-License-Identifier: BSD-3-Clause */
/* static.c: controllers of the static model. They are there before a host comes and after it has gone; a host asks for
 * one of them, or for any (NVMe base 2.2, 3.1.2 and 6.3). What lasts from one host to the next is what lasts over a
 * reset: features that were saved. That, and who may have it, is configuration; what makes a controller of it is an
 * ordinary struct nvmf_ctrlr, which lives as long as the association.
 */
#include "bdev/reservation.h"
#include "nvmf/change.h"

const char *const nvmf_saved_names[NVMF_SAVED_COUNT + 1] = {
	[NVMF_SAVED_ARBITRATION] = "arbitration", [NVMF_SAVED_TEMP_OVER] = "temperature_over",
	[NVMF_SAVED_TEMP_UNDER] = "temperature_under", [NVMF_SAVED_WRITE_ATOMIC] = "write_atomicity",
	[NVMF_SAVED_EVENTS] = "async_events",
};
const uint32_t nvmf_saved_max[NVMF_SAVED_COUNT] = {
	[NVMF_SAVED_ARBITRATION] = UINT32_MAX, [NVMF_SAVED_TEMP_OVER] = UINT16_MAX, [NVMF_SAVED_TEMP_UNDER] = UINT16_MAX,
	[NVMF_SAVED_WRITE_ATOMIC] = 1, [NVMF_SAVED_EVENTS] = UINT32_MAX,
};

/* --- what is known of them ------------------------------------------------------------------------------ */

/* In the order of their ids: where that one is, or would be. */
static uint32_t place_of(const struct nvmf_subsystem *s, uint16_t cntlid)
{
	uint32_t from = 0, to = s->static_count;

	while (from < to) {
		uint32_t mid = (from + to) / 2;

		if (s->statics[mid].cntlid < cntlid)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

const struct nvmf_static *nvmf_subsystem_static(const struct nvmf_subsystem *s, uint16_t cntlid)
{
	uint32_t at = place_of(s, cntlid);

	return at < s->static_count && s->statics[at].cntlid == cntlid ? &s->statics[at] : NULL;
}

struct nvmf_static *nvmf_subsystem_edit_static(struct nvmf_subsystem *s, uint16_t cntlid)
{
	uint32_t at = place_of(s, cntlid);

	if (at < s->static_count && s->statics[at].cntlid == cntlid)
		return &s->statics[at];
	s->statics = realloc(s->statics, (s->static_count + 1) * sizeof(*s->statics));
	must(s->statics != NULL);
	memmove(&s->statics[at + 1], &s->statics[at], (s->static_count - at) * sizeof(*s->statics));
	s->static_count++;
	s->statics[at] = (struct nvmf_static){ .cntlid = cntlid };
	return &s->statics[at];
}

void nvmf_static_taken(const struct nvmf_subsystem *s, uint64_t taken[static NVMF_STATICS_MAX / 64])
{
	memset(taken, 0, NVMF_STATICS_MAX / 8);
	list_each(l, &s->roster->ctrlrs) {
		uint32_t at = list_entry(l, const struct nvmf_ctrlr, link)->cntlid - (uint32_t)s->min_cntlid;

		taken[at / 64] |= 1ull << at % 64;
	}
}

/* --- which one a host gets: control --------------------------------------------------------------------- */

/* Tells hosts apart; nothing is decided by it but which of several is taken first. */
static uint64_t host_mark(const struct nvmf_static_wish *w)
{
	uint64_t h = 0xcbf29ce484222325; /* FNV-1a */

	for (const char *p = w->host_nqn; *p; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3;
	for (size_t i = 0; i < sizeof(struct uuid); i++)
		h = (h ^ w->host_id[i]) * 0x100000001b3;
	return h | 1; /* 0: nobody */
}

/* Those that the host cannot have because somebody has them, `all`, and those that only the host itself has: where it
 * comes in its own place (dup_host_policy), `its` are not in `all`, until there are too many of one. */
struct taken { uint64_t all[NVMF_STATICS_MAX / 64], its[NVMF_STATICS_MAX / 64]; };

static bool is_its(const struct nvmf_static_wish *w, const struct nvmf_ctrlr *c)
{
	return w->replaces && !strcmp(c->who.name, w->host_nqn) &&
	       !memcmp(c->who.host_id.b, w->host_id, sizeof(c->who.host_id.b));
}

static void look_who_has(const struct nvmf_subsystem *s, const struct nvmf_static_wish *w, struct taken *t)
{
	uint8_t its[NVMF_STATICS_MAX] = { 0 };

	*t = (struct taken){ 0 };
	list_each(l, &s->roster->ctrlrs) {
		const struct nvmf_ctrlr *c = list_entry(l, const struct nvmf_ctrlr, link);
		uint32_t at = c->cntlid - (uint32_t)s->min_cntlid;

		if (is_its(w, c) && ++its[at] < NVMF_STATIC_COPIES_MAX)
			t->its[at / 64] |= 1ull << at % 64;
		else
			t->all[at / 64] |= 1ull << at % 64;
	}
}

/* What a host that has no wish should get, the best last: its own, what it had before, what nobody had. One that it has
 * now, and that is not its own, is better than none. */
enum rank { NOT_ITS, TAKEN, HAS, OF_OTHERS, NEW, HAD, OWN };

static enum rank rank_of(const struct nvmf_subsystem *s, const struct nvmf_static_wish *w, uint64_t mark,
                         const struct taken *taken, uint16_t cntlid)
{
	uint32_t at = cntlid - (uint32_t)s->min_cntlid;
	const struct nvmf_static *st = nvmf_subsystem_static(s, cntlid);
	bool owned = st && st->host[0];
	uint64_t had = s->roster->had_static ? s->roster->had_static[at] : 0;

	if (owned && strcmp(st->host, w->host_nqn))
		return NOT_ITS;
	if (taken->all[at / 64] >> at % 64 & 1)
		return TAKEN;
	if (!owned && taken->its[at / 64] >> at % 64 & 1)
		return HAS;
	return owned ? OWN : had == mark ? HAD : had ? OF_OTHERS : NEW;
}

/* Statuses as in 6.3; busy is a controller that has a host, and a subsystem of which none is left. */
uint16_t nvmf_static_choose(const struct nvmf_subsystem *s, struct nvmf_static_wish *w)
{
	bool any = w->wanted == NVME_CNTLID_STATIC_ANY;
	uint16_t first = any ? s->min_cntlid : w->wanted, last = any ? s->max_cntlid : w->wanted;
	uint64_t mark = host_mark(w);
	struct taken taken;
	enum rank best = NOT_ITS;

	if (first < s->min_cntlid || last > s->max_cntlid) {
		w->bad_field = true;
		return NVME_SC_CONNECT_INVALID_PARAM | NVME_SC_DNR;
	}
	look_who_has(s, w, &taken);
	for (uint32_t id = first; id <= last && best != OWN; id++) {
		enum rank rank = rank_of(s, w, mark, &taken, (uint16_t)id);

		if (rank <= best)
			continue;
		best = rank;
		w->cntlid = (uint16_t)id;
	}
	if (best == NOT_ITS)
		return NVME_SC_CONNECT_INVALID_HOST | NVME_SC_DNR;
	if (best == TAKEN)
		return NVME_SC_CONNECT_CTRL_BUSY;
	if (!s->roster->had_static)
		s->roster->had_static = base_zalloc((s->max_cntlid - s->min_cntlid + 1u) * sizeof(uint64_t));
	s->roster->had_static[w->cntlid - s->min_cntlid] = mark;
	return NVME_SC_SUCCESS;
}

/* --- changes: whose one is, what was saved of it ---------------------------------------------------------- */

/* NULL with a sentence. */
static struct nvmf_static *edit(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_work_edit(w, e);

	if (!s)
		return NULL;
	if (s->is_static && w->cntlid >= s->min_cntlid && w->cntlid <= s->max_cntlid)
		return nvmf_subsystem_edit_static(s, w->cntlid);
	if (s->is_static)
		err_set(e, ERR_BAD_PARAM, "cntlid: %u is not one of the static controllers of '%s', which are %u to %u",
		        w->cntlid, w->nqn, s->min_cntlid, s->max_cntlid);
	else
		err_set(e, ERR_BAD_PARAM, "nqn: the controllers of '%s' are dynamic (controller_model of "
		        "nvmf_create_subsystem)", w->nqn);
	return NULL;
}

static int build_host(struct nvmf_work *w, struct err *e)
{
	struct nvmf_static *st;

	if ((w->host[0] && nvmf_check_nqn("host", w->host, false, e)) || !(st = edit(w, e)))
		return e->code;
	nvmf_work_text(st->host, sizeof(st->host), w->host);
	return 0;
}

static int build_feature(struct nvmf_work *w, struct err *e)
{
	struct nvmf_static *st = edit(w, e);
	uint32_t events;

	if (!st)
		return e->code;
	events = nvmf_events_saveable(nvmf_config_find(w->next, w->nqn));
	if (w->feature == NVMF_SAVED_EVENTS && w->value & ~events)
		return err_set(e, ERR_BAD_PARAM, "value: 0x%x asks for events that '%s' does not have; those that it has are "
		               "0x%x", w->value, w->nqn, events);
	st->saved.set = (st->saved.set & ~(1u << w->feature)) | (uint32_t)w->allow << w->feature;
	st->saved.value[w->feature] = w->value;
	return 0;
}

static const struct seq_step steps[] = {
	{ "build the next version",              nvmf_step_build,      nvmf_undo_build },
	{ "publish",                             nvmf_step_publish,    NULL },
	{ "disconnect who is no longer allowed", nvmf_step_disconnect, NULL },
};

static struct nvmf_work *work(struct nvmf_change *c, const char *name, const char *nqn, uint16_t cntlid, size_t count)
{
	struct nvmf_work *w = nvmf_work_make(c, name, steps, (uint32_t)count);

	nvmf_work_text(w->nqn, sizeof(w->nqn), nqn);
	w->cntlid = cntlid;
	return w;
}

void nvmf_set_ctrlr_host(struct nvmf_change *c, const char *nqn, uint16_t cntlid, const char *host_nqn)
{
	struct nvmf_work *w = work(c, "allocate controller", nqn, cntlid, ARRAY_SIZE(steps));

	nvmf_work_text(w->host, sizeof(w->host), host_nqn);
	w->build = build_host;
	nvmf_work_start(w);
}

void nvmf_save_feature(struct nvmf_change *c, const char *nqn, uint16_t cntlid, enum nvmf_saved_feature feature,
                       const uint32_t *value)
{
	struct nvmf_work *w = work(c, "save feature", nqn, cntlid, ARRAY_SIZE(steps) - 1);

	w->feature = feature;
	w->allow = value;
	w->value = value ? *value : 0;
	w->build = build_feature;
	nvmf_work_start(w);
}

/* --- a host saves a feature: there and back ---------------------------------------------------------------- */

struct save {
	struct nvmf_change change;
	struct msg msg;
	struct nvmf_req *req;
	enum nvmf_saved_feature feature;
	uint32_t value;
	uint16_t status;
};

static void save_on_control(struct msg *m);
static void saved(struct nvmf_change *c);
static void save_answer(struct msg *m);

/* Where what is saved lasts by itself, as the standard asks of it: with --state-dir. */
bool nvmf_static_saves(const struct nvmf_ctrlr *c)
{
	return c->is_static && bdev_resv_can_persist(c->target->reg);
}

void nvmf_static_save(struct nvmf_req *req, enum nvmf_saved_feature feature, uint32_t value)
{
	struct save *v = base_zalloc(sizeof(*v));

	v->req = req;
	v->feature = feature;
	v->value = value;
	msg_send(core_control(req->qpair->target->core), &v->msg, save_on_control);
}

/* No version for who says the same for ever; but after another value, which is under way, it is not the same. */
static bool is_saved(const struct nvmf_ctrlr *c, const struct save *v)
{
	const struct nvmf_subsystem *s = nvmf_config_find(c->target->config, c->nqn);
	const struct nvmf_static *st = s && s->roster == c->roster ? nvmf_subsystem_static(s, c->cntlid) : NULL;

	return !c->roster->saving && st && st->saved.set & 1u << v->feature &&
	       st->saved.value[v->feature] == v->value;
}

/* Changes take turns: what was asked for last is what stays. */
static void save_on_control(struct msg *m)
{
	struct save *v = container_of(m, struct save, msg);
	const struct nvmf_ctrlr *c = v->req->qpair->ctrlr;

	if (is_saved(c, v)) {
		msg_send(v->req->qpair->reactor, &v->msg, save_answer);
		return;
	}
	c->roster->saving++;
	v->change = (struct nvmf_change){ .target = c->target, .done = saved };
	nvmf_save_feature(&v->change, c->nqn, c->cntlid, v->feature, &v->value);
}

static void saved(struct nvmf_change *c)
{
	struct save *v = container_of(c, struct save, change);

	v->req->qpair->ctrlr->roster->saving--;
	if (c->err.code)
		v->status = NVME_SC_INTERNAL; /* the subsystem goes */
	else if (c->target->host_changed)
		c->target->host_changed(c->target->host_changed_arg);
	msg_send(v->req->qpair->reactor, &v->msg, save_answer); /* a queue pair with a command at work stays where it is */
}

static void save_answer(struct msg *m)
{
	struct save *v = container_of(m, struct save, msg);
	struct nvmf_saved *s = &v->req->qpair->ctrlr->saved;

	if (!v->status) {
		s->set |= 1u << v->feature;
		s->value[v->feature] = v->value;
	}
	nvmf_req_complete(v->req, v->status);
	free(v);
}
