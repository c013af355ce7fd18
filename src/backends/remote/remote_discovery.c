/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_discovery.c: discovery services: what a target's discovery log lists is attached, and detached when it is
 * not listed any more.
 *
 *     CONNECTING -> READING -> WATCHING -> READING (the controller says that the log changed) ...
 *          \____________\_________\____-> DELAY -> CONNECTING
 *
 * The connection stays, for the events; when it is lost it comes back by itself, and the log is read again. What was
 * attached stays meanwhile. Addresses of other discovery services of the same target (referrals) take their turn when
 * the one that was given does not answer.
 */
#include "backends/remote/remote_ctl.h"

#include <errno.h>
#include <stdio.h>

#include "core/log.h"

#define DELAY_MIN_SEC 2u
#define DELAY_MAX_SEC 16u
#define TAKE_AT_ONCE 4u                 /* entries of the log in one pass */
#define SUBTYPE_REFERRAL 1
#define SUBTYPE_NVME 2
#define SUBTYPE_CURRENT 3

static void connect_now(struct remote_discovery *d);
static void ready(struct nvme_ctrlr *c, const struct err *e, void *arg);
static void gone(struct nvme_ctrlr *c, const struct err *e, void *arg);
static void event(struct nvme_ctrlr *c, uint8_t type, uint8_t info, uint8_t log_page, void *arg);
static void read_log(struct remote_discovery *d);
static void log_read(struct nvme_discovery *log);
static void lost(struct remote_discovery *d, const struct err *e);
static void closed(void *arg);
static void delay_over(struct timer *t);
static void take_log(struct remote_discovery *d);
static void first_tried(struct remote_path_wait *w, const struct err *e);
static void started(struct remote_discovery *d, const struct err *e);
static void look_stopped(struct remote_discovery *d);

static const char *const state_names[] = {
#define STATE_NAME(id, text) [REMOTE_DISCOVERY_##id] = #id,
	REMOTE_DISCOVERY_STATES(STATE_NAME)
};

const char *remote_discovery_state_name(const struct remote_discovery *d)
{
	return state_names[d->state];
}

struct remote_discovery *remote_discovery_find(struct remote *r, const char *name)
{
	list_each(l, &r->discoveries) {
		struct remote_discovery *d = list_entry(l, struct remote_discovery, link);

		if (strcmp(d->name, name) == 0)
			return d;
	}
	return NULL;
}

static int check_place(struct remote *r, const struct nvme_path *where, struct err *e)
{
	list_each(l, &r->discoveries) {
		const struct remote_discovery *d = list_entry(l, struct remote_discovery, link);

		if (strcasecmp(d->where.trtype, where->trtype) == 0 && strcmp(d->where.traddr, where->traddr) == 0 &&
		    strcmp(d->where.trsvcid, where->trsvcid) == 0)
			return err_set(e, -EEXIST, "traddr: the discovery service %s follows %s port %s already",
			               d->name,
			               where->traddr, where->trsvcid);
	}
	return 0;
}

struct remote_discovery *remote_discovery_start(struct remote *r, const struct remote_discovery_opts *o, struct err *e)
{
	struct remote_discovery *d;

	if (r->stopping) {
		err_set(e, -ESHUTDOWN, "the daemon is stopping");
		return NULL;
	}
	if (remote_discovery_find(r, o->name)) {
		err_set(e, -EEXIST, "name: there is a discovery service '%s' already; choose another name", o->name);
		return NULL;
	}
	if (check_place(r, &o->where, e) != 0)
		return NULL;
	d = base_zalloc(sizeof(*d));
	d->remote = r;
	snprintf(d->name, sizeof(d->name), "%s", o->name);
	d->where = o->where;
	memcpy(d->where.subnqn, NVME_DISCOVERY_NQN, sizeof(NVME_DISCOVERY_NQN));
	if (!d->where.hostnqn[0])
		snprintf(d->where.hostnqn, sizeof(d->where.hostnqn), "%s", r->hostnqn);
	d->path = o->path;
	remote_keys_take(&d->path.host);
	d->path.host.hostid = remote_hostid(&d->where);
	d->wait_for_attach = o->wait_for_attach;
	d->standing = o->standing;
	list_init(&d->found);
	list_add_tail(&r->discoveries, &d->link);
	connect_now(d);
	return d;
}

/* --- connecting --------------------------------------------------------------------------------------------- */

static void discovery_goto(struct remote_discovery *d, enum remote_discovery_state state)
{
	log_debug("remote: discovery %s: %s -> %s", d->name, state_names[d->state], state_names[state]);
	d->state = (uint8_t)state;
}

/* The one that was given, then those it told of, in turn. */
static const struct nvme_path *next_place(struct remote_discovery *d)
{
	uint32_t at = d->attempts++ % (d->referral_count + 1);

	return at ? &d->referrals[at - 1] : &d->where;
}

/* The keys are for what is found; by the first of them we also say here who we are, where that is asked. */
static void connect_now(struct remote_discovery *d)
{
	struct nvme_path where = *next_place(d);
	struct nvme_host_opts opts = d->path.host;

	opts.ctrlr_key = opts.psk = NULL;
	memcpy(where.subnqn, NVME_DISCOVERY_NQN, sizeof(NVME_DISCOVERY_NQN));
	memcpy(where.hostnqn, d->where.hostnqn, sizeof(where.hostnqn));
	discovery_goto(d, REMOTE_DISCOVERY_CONNECTING);
	d->ctrlr = nvme_ctrlr_open(d->remote->host, &where, &opts, ready, gone, d);
}

static void ready(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct remote_discovery *d = arg;
	struct err bad = { 0 };

	if (e) {
		lost(d, e);
	} else if (!nvme_ctrlr_info(c)->discovery) {
		err_set(&bad, -EINVAL, "%s port %s: that is not a discovery controller", d->where.traddr,
		        d->where.trsvcid);
		lost(d, &bad);
	} else {
		d->attempts = 0;
		d->err = (struct err){ 0 };
		nvme_ctrlr_on_event(c, event, d);
		read_log(d);
	}
}

static void gone(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	lost(arg, e);
}

static void lost(struct remote_discovery *d, const struct err *e)
{
	if (d->state == REMOTE_DISCOVERY_CLOSING || d->state == REMOTE_DISCOVERY_DELAY)
		return;
	if (!d->err.code && !d->stopping)
		log_warning("remote: discovery %s: %s", d->name, e->text);
	d->err = *e;
	if (d->taking)
		nvme_discovery_fini(&d->log);
	d->taking = false;
	timer_stop(&d->take);
	discovery_goto(d, REMOTE_DISCOVERY_CLOSING);
	nvme_ctrlr_close(d->ctrlr, closed, d);
}

static void closed(void *arg)
{
	struct remote_discovery *d = arg;
	uint64_t ns;

	d->ctrlr = NULL;
	discovery_goto(d, REMOTE_DISCOVERY_DELAY);
	if (d->stopping) {
		look_stopped(d);
		return;
	}
	ns = min_u64(DELAY_MIN_SEC << min_u32(d->attempts, 4), DELAY_MAX_SEC) * NS_PER_S / 2;
	timer_start(&d->delay, d->attempts % (d->referral_count + 1) ? 0 : ns + core_random_u64() % ns, delay_over);
	if (!d->deadline_given)
		started(d, &d->err); /* who waits for the first log has waited for one attempt */
}

static void delay_over(struct timer *t)
{
	connect_now(container_of(t, struct remote_discovery, delay));
}

/* --- reading ------------------------------------------------------------------------------------------------ */

static void event(struct nvme_ctrlr *c, uint8_t type, uint8_t info, uint8_t log_page, void *arg)
{
	struct remote_discovery *d = arg;

	if (log_page != NVME_LOG_DISCOVER)
		return;
	d->stale = true;
	if (d->state == REMOTE_DISCOVERY_WATCHING)
		read_log(d);
}

static void read_log(struct remote_discovery *d)
{
	d->stale = false;
	discovery_goto(d, REMOTE_DISCOVERY_READING);
	d->log.arg = d;
	nvme_discovery_read(&d->log, d->ctrlr, log_read);
}

static void log_read(struct nvme_discovery *log)
{
	struct remote_discovery *d = log->arg;
	struct err e = log->err;

	if (!e.code && d->state == REMOTE_DISCOVERY_READING && !d->stopping) {
		take_log(d);
		return;
	}
	nvme_discovery_fini(log);
	if (d->state == REMOTE_DISCOVERY_READING)
		lost(d, &e); /* else it is being closed */
}

/* --- what was found ------------------------------------------------------------------------------------------- */

static bool same_place(const struct nvme_path *a, const struct nvme_path *b)
{
	return strcasecmp(a->trtype, b->trtype) == 0 && strcmp(a->traddr, b->traddr) == 0 &&
	       strcmp(a->trsvcid, b->trsvcid) == 0 && strcmp(a->subnqn, b->subnqn) == 0;
}

static uint32_t hash_of(const struct nvme_path *where)
{
	const char *const texts[] = { where->traddr, where->trsvcid, where->subnqn };
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		for (const char *c = texts[i]; *c; c++)
			h = (h ^ (uint8_t)*c) * 16777619u;
	return h;
}

static struct remote_found *find(const struct remote_discovery *d, const struct nvme_path *where)
{
	uint32_t hash = hash_of(where);

	list_each(l, &d->found) {
		struct remote_found *f = list_entry(l, struct remote_found, link);

		if (f->hash == hash && same_place(&f->where, where))
			return f;
	}
	return NULL;
}

static struct remote_path *path_of(const struct remote_found *f)
{
	struct remote_group *g = remote_group_find(f->of->remote, f->name);

	for (uint32_t i = 0; g && i < REMOTE_PATHS_MAX; i++)
		if (g->paths[i] && !remote_path_going(g->paths[i]) && same_place(&g->paths[i]->where, &f->where))
			return g->paths[i];
	return NULL;
}

/* A subsystem that is attached already, by whatever service, gets one more path; a new one the next number. */
static void name_it(struct remote_discovery *d, struct remote_found *f)
{
	list_each(l, &d->remote->groups) {
		const struct remote_group *g = list_entry(l, struct remote_group, link);

		if (strcmp(g->subnqn, f->where.subnqn) == 0 && !g->leaving && g->discovered) {
			snprintf(f->name, sizeof(f->name), "%s", g->name);
			return;
		}
	}
	do
		snprintf(f->name, sizeof(f->name), "%.100s%u", d->name, d->next_number++);
	while (remote_group_find(d->remote, f->name));
}

static void attach(struct remote_found *f)
{
	struct remote_discovery *d = f->of;
	struct remote_attach_opts o = { .name = f->name, .where = f->where, .path = d->path, .standing = true,
	                                .discovered = true, .multipath = REMOTE_MULTIPATH };
	struct remote_path *p;
	struct err e = { 0 };

	snprintf(o.where.hostnqn, sizeof(o.where.hostnqn), "%s", d->where.hostnqn);
	if (!f->secured)
		o.path.host.psk = NULL;
	o.path.host.is_static = f->cntlid != NVME_CNTLID_DYNAMIC;
	o.path.host.static_cntlid = f->cntlid;
	p = remote_attach(d->remote, &o, &e);
	if (!p) {
		log_warning("remote: discovery %s: %s", d->name, e.text);
		return;
	}
	f->tried.done = first_tried;
	f->waits = true;
	d->attaching++;
	remote_path_when_tried(p, &f->tried);
}

static void first_tried(struct remote_path_wait *w, const struct err *e)
{
	struct remote_found *f = container_of(w, struct remote_found, tried);
	struct remote_discovery *d = f->of;

	f->waits = false;
	if (e)
		log_warning("remote: discovery %s: %s at %s port %s is listed, and tried again until it answers: %s", d->name,
		            f->where.subnqn, f->where.traddr, f->where.trsvcid, e->text);
	if (e && !d->attach_err.code)
		d->attach_err = *e;
	if (--d->attaching == 0 && d->state != REMOTE_DISCOVERY_READING)
		started(d, NULL); /* as SPDK: one that is down does not take the others along */
}

static void forget(struct remote_found *f)
{
	struct remote_discovery *d = f->of;

	if (f->waits) {
		remote_path_unwait(&f->tried);
		d->attaching--;
	}
	list_del(&f->link);
	free(f);
}

/* An entry that is not there any more: its path goes, and with the last path the disks. */
struct going {
	struct remote_wait wait;
	struct remote_discovery *of; /* NULL: it does not wait */
};

static void went(struct remote_wait *w)
{
	struct going *g = container_of(w, struct going, wait);
	struct remote_discovery *d = g->of;

	free(g);
	d->detaching--;
	look_stopped(d);
}

/* Another service lists it too, and keeps it. */
static bool others_list(const struct remote_found *f)
{
	list_each(l, &f->of->remote->discoveries) {
		struct remote_discovery *d = list_entry(l, struct remote_discovery, link);
		const struct remote_found *theirs = d != f->of && !d->stopping ? find(d, &f->where) : NULL;

		if (theirs && strcmp(theirs->name, f->name) == 0)
			return true;
	}
	return false;
}

static void detach(struct remote_found *f)
{
	struct remote_discovery *d = f->of;
	struct remote_detach_opts o = { .name = f->name, .where = f->where };
	struct going *g = base_zalloc(sizeof(*g));
	struct err e = { 0 };

	o.where.hostnqn[0] = 0;
	g->wait.done = went;
	g->of = d;
	d->detaching++;
	if (!path_of(f) || others_list(f) || remote_detach(d->remote, &o, &g->wait, &e) != 0) {
		free(g); /* somebody else did, or will */
		d->detaching--;
	}
	forget(f);
}

/* Which controller an entry leads to. Reserved numbers, and 0, which who does not fill the field says, are no wish. */
static uint16_t cntlid_of(const struct nvme_discovery_entry *entry)
{
	bool is_static = entry->cntlid == NVME_CNTLID_STATIC_ANY || (entry->cntlid && entry->cntlid <= NVME_CNTLID_MAX);

	return is_static ? entry->cntlid : NVME_CNTLID_DYNAMIC;
}

static void take_entry(struct remote_discovery *d, const struct nvme_path *where, bool secured, uint16_t cntlid)
{
	struct remote_found *f = find(d, where);

	if (!f) {
		f = base_zalloc(sizeof(*f));
		f->of = d;
		f->where = *where;
		f->hash = hash_of(where);
		name_it(d, f);
		list_add_tail(&d->found, &f->link);
	}
	f->listed = true;
	f->secured = secured;
	f->cntlid = cntlid;
	if (!path_of(f) && !f->waits)
		attach(f);
}

static void take_referral(struct remote_discovery *d, const struct nvme_path *where)
{
	bool known = strcasecmp(where->trtype, d->where.trtype) == 0 && strcmp(where->traddr, d->where.traddr) == 0 &&
	             strcmp(where->trsvcid, d->where.trsvcid) == 0;

	for (uint32_t i = 0; i < d->referral_count; i++)
		known |= same_place(&d->referrals[i], where);
	if (!known && d->referral_count < ARRAY_SIZE(d->referrals))
		d->referrals[d->referral_count++] = *where;
}

/* False: it wants TLS, and we have no key for it, or only an older TLS. */
static bool secures(const struct remote_discovery *d, const struct nvme_discovery_entry *entry, bool *ret_secured,
                    struct err *e)
{
	*ret_secured = entry->sectype == NVMF_TCP_SECTYPE_TLS13 && d->path.host.psk;
	if (!entry->sectype || *ret_secured || (entry->treq & 3) == NVMF_TREQ_NOT_REQUIRED)
		return true;
	err_set(e, -EACCES, "%s at %s port %s wants TLS%s", entry->subnqn, entry->traddr, entry->trsvcid,
	        entry->sectype == NVMF_TCP_SECTYPE_TLS13 ? ", and there is no key for it here (psk)" : " older than 1.3");
	return false;
}

static void take_at(struct remote_discovery *d, uint32_t at)
{
	const struct nvme_discovery_entry *entry = &d->log.entries[at];
	struct nvme_path where = { .adrfam = NET_ANY };
	struct err e = { 0 };
	bool secured = false;

	memcpy(where.traddr, d->where.traddr, sizeof(where.traddr));
	/* A target may well serve over RDMA, too, what this machine gets over TCP. */
	if (nvme_discovery_entry_path(entry, &where, &e) != 0 || !nvme_host_can(d->remote->host, where.trtype, &e))
		log_info("remote: discovery %s: %s", d->name, e.text);
	else if (entry->subtype == SUBTYPE_NVME && !secures(d, entry, &secured, &e))
		log_info("remote: discovery %s: %s", d->name, e.text);
	else if (entry->subtype == SUBTYPE_NVME)
		take_entry(d, &where, secured, cntlid_of(entry));
	else if (entry->subtype == SUBTYPE_REFERRAL || entry->subtype == SUBTYPE_CURRENT)
		take_referral(d, &where);
}

/* False: there are more than go at a time. */
static bool drop_unlisted(struct remote_discovery *d)
{
	uint32_t left = TAKE_AT_ONCE;

	list_each_safe(l, &d->found) {
		struct remote_found *f = list_entry(l, struct remote_found, link);

		if (f->listed)
			continue;
		if (!left--)
			return false;
		detach(f);
	}
	return true;
}

/* A log may have thousands of entries: a few in a pass. */
static void take_some(struct timer *t)
{
	struct remote_discovery *d = container_of(t, struct remote_discovery, take);

	for (uint32_t n = 0; d->take_at < d->log.count && n < TAKE_AT_ONCE; n++)
		take_at(d, d->take_at++);
	if (d->take_at < d->log.count || !drop_unlisted(d)) {
		timer_start(&d->take, 0, take_some);
		return;
	}
	d->taking = false;
	nvme_discovery_fini(&d->log);
	discovery_goto(d, REMOTE_DISCOVERY_WATCHING);
	if (!d->attaching)
		started(d, NULL);
	if (d->state == REMOTE_DISCOVERY_WATCHING && d->stale)
		read_log(d);
}

static void take_log(struct remote_discovery *d)
{
	d->referral_count = d->take_at = 0;
	d->taking = true;
	list_each(l, &d->found)
		list_entry(l, struct remote_found, link)->listed = false;
	take_some(&d->take);
}

/* --- who waits ------------------------------------------------------------------------------------------------ */

static void started(struct remote_discovery *d, const struct err *e)
{
	struct remote_discovery_wait *w = d->starter;

	d->starter = NULL;
	d->deadline_given = false;
	timer_stop(&d->deadline);
	if (w)
		w->done(w, e);
}

static void too_late(struct timer *t)
{
	struct remote_discovery *d = container_of(t, struct remote_discovery, deadline);
	struct err e = { 0 };

	err_set(&e, -ETIMEDOUT, "discovery %s: not everything was attached in time%s%s", d->name,
	        d->err.code ? ": " : "",
	        d->err.code ? d->err.text : d->attach_err.text);
	started(d, &e);
}

void remote_discovery_when_started(struct remote_discovery *d, uint64_t timeout_ms, struct remote_discovery_wait *w)
{
	d->starter = w;
	d->deadline_given = timeout_ms != 0;
	if (timeout_ms)
		timer_start(&d->deadline, timeout_ms * NS_PER_MS, too_late);
}

/* --- stopping ------------------------------------------------------------------------------------------------- */

void remote_discovery_stop(struct remote_discovery *d, struct remote_discovery_wait *w)
{
	struct err e = { 0 };

	assert(!d->stopping);
	d->stopping = true;
	d->stopper = w;
	d->detaching++; /* until all were told */
	err_set(&e, -ECANCELED, "discovery %s was stopped", d->name);
	started(d, &e);
	timer_stop(&d->delay);
	list_each_safe(l, &d->found)
		detach(list_entry(l, struct remote_found, link));
	if (d->ctrlr && d->state != REMOTE_DISCOVERY_CLOSING)
		lost(d, &e);
	d->detaching--;
	look_stopped(d);
}

static void freed(struct msg *m)
{
	struct remote_discovery *d = container_of(m, struct remote_discovery, freed_msg);
	struct remote_discovery_wait *w = d->stopper;
	struct remote *r = d->remote;

	list_del(&d->link);
	remote_keys_give(&d->path.host);
	free(d);
	if (w)
		w->done(w, NULL);
	remote_look_stopped(r);
}

static void look_stopped(struct remote_discovery *d)
{
	if (!d->stopping || d->ctrlr || d->detaching || d->ended)
		return;
	d->ended = true;
	msg_send(reactor_self(), &d->freed_msg, freed);
}
