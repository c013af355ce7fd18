/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_attach_rpc.c: controllers attached and detached by SPDK's methods, and how they are saved.
 *
 * Attaching answers when the first attempt ended: with the disks, or with the sentence why not, and then nothing
 * remains. As an entry of a configuration that is loaded it stands in any case and is tried until it goes; loading
 * waits for its targets a moment at most, all entries together.
 */
#include "backends/remote/remote_rpc_priv.h"

#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "core/log.h"
#include "keyring/keyring.h"

#define LOAD_WAIT_NS (500 * NS_PER_MS)
#define LOAD_PAUSE_NS (5 * NS_PER_S)    /* entries further apart belong to different loads */

static const char *const policies[] = { "active_passive", "active_active", NULL };
static const char *const selectors[] = { "round_robin", "queue_depth", "latency", NULL };
static const char *const modes[] = { "multipath", "failover", "disable", NULL };

const struct rpc_param remote_multipath_params[REMOTE_MULTIPATH_PARAMS] = {
	RPC_PARAM(struct remote_multipath_args, policy, .choices = policies,
	          .doc = "active_passive: one path at a time; active_active: all that are equally good."),
	RPC_PARAM(struct remote_multipath_args, selector, .choices = selectors,
	          .doc = "Which path of several takes the next I/O, with active_active."),
	RPC_PARAM(struct remote_multipath_args, min_io, .min = 1, .fallback = "1", .unit = "I/Os",
	          .doc = "How many go over a path before the next one's turn, with round_robin."),
};

struct attach {
	char *name, *trtype, *traddr, *adrfam, *trsvcid, *subnqn, *hostnqn, *hostaddr, *hostsvcid, *priority,
		*multipath, *cntlid;
	char *psk, *dhchap_key, *dhchap_ctrlr_key;
	bool hdgst, ddgst, prchk_reftag, prchk_guard;
	uint64_t fabrics_connect_timeout_us;
	uint32_t num_io_queues, max_bdevs;
	int32_t ctrlr_loss_timeout_sec;
	uint32_t reconnect_delay_sec, fast_io_fail_timeout_sec;
	struct remote_multipath_args multipath_opts;
};

static const struct rpc_param attach_params[] = {
	RPC_PARAM(struct attach, name, .required = true, .min = 1, .max = 100,
	          .doc = "Name of the controller; its disks are called <name>n<namespace>. One that is there gets "
		"another path."),
	RPC_PARAM(struct attach, trtype, .required = true, .doc = "TCP or RDMA."),
	RPC_PARAM(struct attach, traddr, .required = true, .min = 1, .doc = "Address or name of the target."),
	RPC_PARAM(struct attach, adrfam, .doc = "ipv4 or ipv6; either when left out."),
	RPC_PARAM(struct attach, trsvcid, .doc = "Port; 4420 when left out."),
	RPC_PARAM(struct attach, priority, .doc = "Priority of the sockets, 0 to 6."),
	RPC_PARAM(struct attach, subnqn, .doc = "Name of the subsystem."),
	RPC_PARAM(struct attach, hostnqn, .doc = "Our name for the target; one of the daemon's own when left out."),
	RPC_PARAM(struct attach, hostaddr, .doc = "Address to connect from."),
	RPC_PARAM(struct attach, hostsvcid, .doc = "Port to connect from."),
	RPC_PARAM(struct attach, prchk_reftag, .doc = "Have the controller check reference tags of what is read and "
	          "written, where they are the LBA's. Of the first path."),
	RPC_PARAM(struct attach, prchk_guard, .doc = "The same of guards."),
	RPC_PARAM(struct attach, hdgst, .doc = "Header digests."),
	RPC_PARAM(struct attach, ddgst, .doc = "Data digests."),
	RPC_PARAM(struct attach, fabrics_connect_timeout_us, .unit = "us",
	          .doc = "From looking up the address until the controller is ready; 5 s when left out."),
	RPC_PARAM(struct attach, multipath, .choices = modes, .fallback = "multipath",
	          .doc = "What a second path is: another way for I/O, a spare address, or an error."),
	RPC_PARAM(struct attach, num_io_queues, .min = 1, .max = 65536, .doc = "Most I/O queues; one a core when "
	          "left out."),
	RPC_PARAM(struct attach, ctrlr_loss_timeout_sec, .unit = "s",
	          .doc = "Lost for that long it is removed; -1: never, 0: no second attempt to connect."),
	RPC_PARAM(struct attach, reconnect_delay_sec, .unit = "s", .doc = "Between two attempts, a quarter more or "
	          "less."),
	RPC_PARAM(struct attach, fast_io_fail_timeout_sec, .unit = "s",
	          .doc = "Lost for that long its I/O fails instead of waiting; 0: it waits as long as the "
		"controller is there."),
	RPC_PARAM(struct attach, psk,
	          .doc = "Name of the key (keyring_file_add_key) by which connections are secured: TLS 1.3. TCP only."),
	RPC_PARAM(struct attach, max_bdevs, .min = 1, .fallback = "128",
	          .doc = "How many names of disks are answered."),
	RPC_PARAM(struct attach, dhchap_key,
	          .doc = "Name of the key (keyring_file_add_key) by which we prove who we are: DH-HMAC-CHAP."),
	RPC_PARAM(struct attach, dhchap_ctrlr_key,
	          .doc = "Name of the key by which the target has to prove who it is."),
	RPC_PARAM(struct attach, cntlid,
	          .doc = "Ask for this static controller, or for 'any'; a dynamic one when left out."),
	RPC_PARAM(struct attach, multipath_opts, .params = remote_multipath_params,
	          .param_count = REMOTE_MULTIPATH_PARAMS, .doc = "How disks use several paths, to begin with."),
	RPC_IGNORED("allow_unrecognized_csi", .doc = "Namespaces of other command sets are left out."),
	RPC_IGNORED("disable_sq_flow_control", .doc = "Flow control costs nothing here."),
};

/* --- from parameters to an order ----------------------------------------------------------------------------- */

static uint8_t index_of(const char *const *names, const char *name)
{
	uint8_t i = 0;

	while (names[i] && strcmp(names[i], name) != 0)
		i++;
	return i;
}

int remote_policy_from(const char *policy, const char *selector, uint8_t *ret_policy, uint8_t *ret_selector,
                       struct err *e)
{
	uint8_t p = policy ? index_of(policies, policy) : REMOTE_ACTIVE_PASSIVE;
	uint8_t s = selector ? index_of(selectors, selector) : REMOTE_ROUND_ROBIN;

	if (selector && p != REMOTE_ACTIVE_ACTIVE && s != REMOTE_ROUND_ROBIN)
		return err_set(e, ERR_BAD_PARAM, "selector: %s chooses among several paths, which only "
		               "active_active uses", selector);
	*ret_policy = p;
	*ret_selector = s;
	return 0;
}

/* Those that were not given fit those that were. */
int remote_times_from(const struct remote_opts *opts, bool loss_given, int32_t loss, bool delay_given, uint32_t delay,
                      bool fast_given, uint32_t fast, struct remote_path_opts *o, struct err *e)
{
	if (!loss_given)
		loss = opts->ctrlr_loss_timeout_sec;
	if (!delay_given) {
		delay = loss == 0 ? 0 : opts->reconnect_delay_sec;
		delay = loss > 0 ? min_u32(delay, (uint32_t)loss) : delay;
		delay = fast_given && fast ? min_u32(delay, fast) : delay;
	}
	if (!fast_given) {
		fast = loss == 0 ? 0 : opts->fast_io_fail_timeout_sec;
		fast = fast ? max_u32(fast, delay) : 0;
		fast = loss > 0 ? min_u32(fast, (uint32_t)loss) : fast;
	}
	if (remote_check_times(loss, delay, fast, e) != 0)
		return e->code;
	o->ctrlr_loss_timeout_sec = loss;
	o->reconnect_delay_sec = delay;
	o->fast_io_fail_timeout_sec = fast;
	o->reconnects_grow = !delay_given && opts->reconnects_grow;
	o->times_given = (uint8_t)(loss_given | delay_given << 1 | fast_given << 2);
	return 0;
}

static int times_from(struct rpc_call *call, const struct remote_opts *opts, const struct attach *a,
                      struct remote_path_opts *o, struct err *e)
{
	return remote_times_from(opts, rpc_given(call, "ctrlr_loss_timeout_sec"), a->ctrlr_loss_timeout_sec,
	                         rpc_given(call, "reconnect_delay_sec"), a->reconnect_delay_sec,
	                         rpc_given(call, "fast_io_fail_timeout_sec"), a->fast_io_fail_timeout_sec, o, e);
}

static int priority_from(const char *text, uint8_t *ret_priority, struct err *e)
{
	if (text && (text[0] < '0' || text[0] > '6' || text[1]))
		return err_set(e, ERR_BAD_PARAM, "priority: '%s' is not a number from 0 to 6", text);
	*ret_priority = text ? (uint8_t)(text[0] - '0') : 0;
	return 0;
}

static int cntlid_from(const char *text, struct nvme_host_opts *h, struct err *e)
{
	struct err bad = { 0 };
	uint64_t id = NVME_CNTLID_STATIC_ANY;

	if (text && strcmp(text, "any") != 0 && (text_parse_u64(text, &id, &bad) != 0 || id > NVME_CNTLID_MAX))
		return err_set(e, ERR_BAD_PARAM, "cntlid: '%s' is neither 'any' nor a number up to %u", text,
		               NVME_CNTLID_MAX);
	h->is_static = text;
	h->static_cntlid = (uint16_t)id;
	return 0;
}

void remote_host_opts_from(const struct remote *r, struct nvme_host_opts *h)
{
	const struct remote_opts *o = &r->opts;
	uint32_t cores = remote_core_count(r); /* control has one for commands of people, when there are enough */

	h->keep_alive_ms = o->keep_alive_timeout_ms;
	h->ack_timeout_ms = o->ack_timeout_ms;
	h->ack_exponent = o->ack_exponent;
	h->cm_timeout_ms = o->cm_timeout_ms;
	h->tos = o->transport_tos;
	h->auth_hashes = o->auth_hashes;
	h->auth_groups = o->auth_groups;
	h->connect_timeout_ms = o->connect_timeout_ms;
	h->io_timeout_ms = o->action_on_timeout == REMOTE_TIMEOUT_NONE ? 0 : (uint32_t)div_up(o->timeout_us, 1000);
	h->admin_timeout_ms = o->action_on_timeout == REMOTE_TIMEOUT_NONE ? 0 : (uint32_t)div_up(o->timeout_admin_us,
	                                                                                         1000);
	h->io_queue_size = (uint16_t)(o->io_queue_requests ? min_u32(o->io_queue_requests, 1024) : REMOTE_QUEUE_SIZE);
	h->io_queues = (uint16_t)(h->io_queues ? min_u32(h->io_queues, cores) : cores);
}

int remote_keys_from(const struct remote *r, const char *key, const char *ctrlr_key, const char *psk,
                     struct nvme_host_opts *h, struct err *e)
{
	if (ctrlr_key && !key)
		return err_set(e, -EINVAL, "dhchap_ctrlr_key: is of no use without dhchap_key; give both");
	h->key = remote_key_named(r, "dhchap_key", key, e);
	h->ctrlr_key = remote_key_named(r, "dhchap_ctrlr_key", ctrlr_key, e);
	h->psk = remote_key_named(r, "psk", psk, e);
	if (e->code)
		remote_keys_give(h);
	return e->code;
}

static int order_from(struct rpc_call *call, const struct attach *a, struct remote_attach_opts *o, struct err *e)
{
	const struct remote_rpc *rr = rpc_ctx(call);
	const struct remote *r = rr->remote;
	struct remote_trid_args trid = { a->trtype, a->traddr, a->adrfam, a->trsvcid &&
	                                *a->trsvcid ? a->trsvcid : "4420",
	                                 a->subnqn, a->hostnqn, a->hostaddr, a->hostsvcid };
	const struct remote_multipath_args *m = &a->multipath_opts;

	if (remote_where_from(&trid, &o->where, e) != 0 ||
	    times_from(call, &r->opts, a, &o->path, e) != 0 ||
	    priority_from(a->priority, &o->path.host.priority, e) != 0 ||
	    cntlid_from(a->cntlid, &o->path.host, e) != 0 ||
	    remote_policy_from(m->policy, m->selector, &o->policy, &o->selector, e) != 0)
		return e->code;
	if (!o->where.subnqn[0])
		return err_set(e, ERR_BAD_PARAM, "subnqn: the name of a subsystem is wanted; "
		               "bdev_nvme_start_discovery finds those "
		               "that a target has");
	o->name = a->name;
	o->multipath = (enum remote_multipath)index_of(modes, a->multipath);
	o->policy_given = m->policy != NULL;
	o->rr_min_io = m->min_io;
	o->max_bdevs = a->max_bdevs;
	o->path.num_io_queues = (uint16_t)min_u32(a->num_io_queues, UINT16_MAX);
	o->path.host.header_digest = a->hdgst;
	o->path.host.data_digest = a->ddgst;
	o->path.prchk = (uint16_t)((a->prchk_reftag ? NVME_RW_PRCHK_REF : 0) | (a->prchk_guard ? NVME_RW_PRCHK_GUARD : 0));
	o->path.host.io_queues = o->path.num_io_queues;
	remote_host_opts_from(r, &o->path.host);
	if (a->fabrics_connect_timeout_us)
		o->path.host.connect_timeout_ms = (uint32_t)min_u64(div_up(a->fabrics_connect_timeout_us, 1000),
		                                                    UINT32_MAX);
	o->path.connect_timeout_given = a->fabrics_connect_timeout_us != 0;
	return remote_keys_from(r, a->dhchap_key, a->dhchap_ctrlr_key, a->psk, &o->path.host, e);
}

/* --- bdev_nvme_attach_controller ----------------------------------------------------------------------------- */

struct attaching {
	struct remote_path_wait first, left;
	struct remote_wait group_left;
	struct timer patience;
	struct list link;               /* in rr->attaching */
	struct rpc_call *call;
	struct remote_rpc *rr;
	struct remote_path *path;       /* NULL: it failed, and is being taken back */
	uint32_t max_bdevs;
	bool standing, drained;
	struct err err;
};

static void reply_names(struct attaching *a)
{
	struct json_object *names = json_object_new_array();
	struct remote_path *p = a->path;
	uint32_t count = 0;

	list_each(l, &p->group->disks) {
		struct remote_disk *d = list_entry(l, struct remote_disk, link);

		if (d->ns[p->index].present && !d->going && count++ < a->max_bdevs)
			json_object_array_add(names, json_object_new_string(d->bdev.name));
	}
	rpc_reply(a->call, names);
}

static void attaching_end(struct attaching *a)
{
	timer_stop(&a->patience);
	list_del(&a->link);
	free(a);
}

static void failed_end(struct attaching *a)
{
	rpc_reply_err(a->call, &a->err);
	attaching_end(a);
}

static void failed_path_left(struct remote_path_wait *w, const struct err *e)
{
	failed_end(container_of(w, struct attaching, left));
}

static void failed_group_left(struct remote_wait *w)
{
	failed_end(container_of(w, struct attaching, group_left));
}

/* Nothing remains of it; its name can be used again when the caller hears of it. */
static void take_back(struct attaching *a)
{
	struct remote_path *p = a->path;
	struct remote_group *g = p->group;
	uint32_t others = remote_group_path_count(g) - !remote_path_going(p);

	a->path = NULL; /* it may go before `a` does */
	if (others) {
		a->left.done = failed_path_left;
		remote_path_leave(p, &a->left);
	} else {
		a->group_left.done = failed_group_left;
		remote_group_leave(g, &a->group_left);
	}
}

static void tried(struct remote_path_wait *w, const struct err *e)
{
	struct attaching *a = container_of(w, struct attaching, first);

	timer_stop(&a->patience);
	if (!e || a->standing) {
		if (e)
			log_warning("remote: %s; it is tried again", e->text);
		reply_names(a);
		attaching_end(a);
		return;
	}
	a->err = *e;
	take_back(a);
}

static void no_more_patience(struct timer *t)
{
	struct attaching *a = container_of(t, struct attaching, patience);

	remote_path_unwait(&a->first);
	reply_names(a);
	attaching_end(a);
}

/* How long an entry that is loaded may still wait. */
static uint64_t patience_ns(struct remote_rpc *rr)
{
	uint64_t now = reactor_now_ns();

	if (!rr->load_last_ns || now - rr->load_last_ns > LOAD_PAUSE_NS)
		rr->load_until_ns = now + LOAD_WAIT_NS;
	rr->load_last_ns = now;
	return rr->load_until_ns > now ? rr->load_until_ns - now : 0;
}

static void handle_attach(struct rpc_call *call, void *args);

/* Its name is being detached, or was given up, and is not free yet: what takes a second or two is worth waiting for. */
struct queueing {
	struct remote_wait wait;
	struct rpc_call *call;
	void *args;
};

static void name_is_free(struct remote_wait *w)
{
	struct queueing *q = container_of(w, struct queueing, wait);
	struct rpc_call *call = q->call;
	void *args = q->args;

	free(q);
	handle_attach(call, args);
}

static bool waits_for_its_name(struct rpc_call *call, const struct attach *args)
{
	struct remote_rpc *rr = rpc_ctx(call);
	struct remote_group *g = remote_group_find(rr->remote, args->name);
	struct queueing *q;

	if (!g || !g->leaving || rr->remote->stopping)
		return false;
	q = base_zalloc(sizeof(*q));
	*q = (struct queueing){ .wait.done = name_is_free, .call = call, .args = (void *)args };
	remote_group_leave(g, &q->wait);
	return true;
}

static void handle_attach(struct rpc_call *call, void *args)
{
	struct remote_rpc *rr = rpc_ctx(call);
	struct remote_attach_opts o = { .standing = rpc_is_loading(call) };
	struct remote_path *p = NULL;
	struct attaching *a;
	struct err e = { 0 };

	if (waits_for_its_name(call, args))
		return;
	if (order_from(call, args, &o, &e) == 0) {
		p = remote_attach(rr->remote, &o, &e);
		remote_keys_give(&o.path.host);
	}
	if (!p) {
		rpc_reply_err(call, &e);
		return;
	}
	a = base_zalloc(sizeof(*a));
	a->call = call;
	a->rr = rr;
	a->path = p;
	a->max_bdevs = o.max_bdevs;
	a->standing = o.standing || p->ctl->standing;
	a->first.done = tried;
	list_add_tail(&rr->attaching, &a->link);
	if (o.standing)
		timer_start(&a->patience, patience_ns(rr), no_more_patience);
	remote_path_when_tried(p, &a->first);
}

/* A path that leaves may end several of them at once: each look is from the beginning. */
static struct attaching *next_to_drain(struct remote_rpc *rr)
{
	list_each(l, &rr->attaching) {
		struct attaching *a = list_entry(l, struct attaching, link);

		if (a->path && !a->drained)
			return a;
	}
	return NULL;
}

static void drain(struct rpc_drain_hook *h)
{
	struct remote_rpc *rr = container_of(h, struct remote_rpc, drain);
	struct attaching *a;

	while ((a = next_to_drain(rr)) != NULL) {
		a->drained = true;
		if (a->standing)
			timer_start(&a->patience, 0, no_more_patience);
		else
			remote_path_leave(a->path, NULL);
	}
	list_each_safe(l, &rr->remote->discoveries) {
		struct remote_discovery *d = list_entry(l, struct remote_discovery, link);

		if (d->starter && !d->stopping)
			remote_discovery_stop(d, NULL); /* which answers */
	}
}

/* --- bdev_nvme_detach_controller ----------------------------------------------------------------------------- */

struct detach {
	char *name, *trtype, *traddr, *adrfam, *trsvcid, *subnqn, *hostaddr, *hostsvcid;
};

static const struct rpc_param detach_params[] = {
	RPC_PARAM(struct detach, name, .required = true, .doc = "Name of the controller. Alone: all of it, with its "
	          "disks."),
	RPC_PARAM(struct detach, trtype, .doc = "Only the paths that match: TCP or RDMA."),
	RPC_PARAM(struct detach, traddr, .doc = "Address of the target, as it was given."),
	RPC_PARAM(struct detach, adrfam, .doc = "ipv4 or ipv6, as it was given."),
	RPC_PARAM(struct detach, trsvcid, .doc = "Port."),
	RPC_PARAM(struct detach, subnqn, .doc = "Name of the subsystem."),
	RPC_PARAM(struct detach, hostaddr, .doc = "Address connected from."),
	RPC_PARAM(struct detach, hostsvcid, .doc = "Port connected from."),
};

struct detaching {
	struct remote_wait wait;
	struct rpc_call *call;
};

static void detached(struct remote_wait *w)
{
	struct detaching *d = container_of(w, struct detaching, wait);

	rpc_reply_true(d->call);
	free(d);
}

static void handle_detach(struct rpc_call *call, void *args)
{
	struct remote_rpc *rr = rpc_ctx(call);
	const struct detach *a = args;
	struct remote_trid_args trid = { a->trtype, a->traddr, a->adrfam, a->trsvcid, a->subnqn, NULL, a->hostaddr,
	                                 a->hostsvcid };
	struct remote_detach_opts o = { .name = a->name, .has_adrfam = a->adrfam != NULL };
	struct detaching *d = base_zalloc(sizeof(*d));
	struct err e = { 0 };

	d->call = call;
	d->wait.done = detached;
	if (remote_where_from(&trid, &o.where, &e) == 0 && remote_detach(rr->remote, &o, &d->wait, &e) == 0)
		return;
	rpc_reply_err(call, &e);
	free(d);
}

/* --- saving -------------------------------------------------------------------------------------------------- */

void remote_json_policy(struct json_object *o, uint8_t policy, uint8_t selector, const char *min_io_name,
                        uint32_t min_io)
{
	json_add_text(o, "policy", remote_policy_name(policy));
	if (policy != REMOTE_ACTIVE_ACTIVE)
		return;
	json_add_text(o, "selector", remote_selector_name(selector));
	if (selector == REMOTE_ROUND_ROBIN)
		json_add_u64(o, min_io_name, min_io);
}

void remote_json_times(struct json_object *o, const struct remote_path_opts *t)
{
	if (t->times_given & 1)
		json_object_object_add(o, "ctrlr_loss_timeout_sec", json_object_new_int(t->ctrlr_loss_timeout_sec));
	if (t->times_given & 2)
		json_add_u64(o, "reconnect_delay_sec", t->reconnect_delay_sec);
	if (t->times_given & 4)
		json_add_u64(o, "fast_io_fail_timeout_sec", t->fast_io_fail_timeout_sec);
}

void remote_json_keys(struct json_object *o, const struct nvme_host_opts *h)
{
	if (h->psk)
		json_add_text(o, "psk", h->psk->name);
	if (h->key)
		json_add_text(o, "dhchap_key", h->key->name);
	if (h->ctrlr_key)
		json_add_text(o, "dhchap_ctrlr_key", h->ctrlr_key->name);
}

static void save_path(const struct remote_path *p, const struct nvme_path *where, uint8_t mode,
                      struct json_object *array)
{
	struct json_object *entry = json_append_object(array), *params;
	const struct remote_group *g = p->group;
	char text[2] = { (char)('0' + p->opts.host.priority), 0 }, cntlid[8];
	struct text cntlid_text = text_over(cntlid, sizeof(cntlid));

	json_add_text(entry, "method", "bdev_nvme_attach_controller");
	params = json_add_object(entry, "params");
	json_add_text(params, "name", g->name);
	remote_json_trid(params, where, true);
	remote_json_times(params, &p->opts);
	json_add_text(params, "hostnqn", where->hostnqn);
	json_add_bool(params, "hdgst", p->opts.host.header_digest);
	json_add_bool(params, "ddgst", p->opts.host.data_digest);
	json_add_bool(params, "prchk_reftag", p->opts.prchk & NVME_RW_PRCHK_REF);
	json_add_bool(params, "prchk_guard", p->opts.prchk & NVME_RW_PRCHK_GUARD);
	if (where->hostaddr[0])
		json_add_text(params, "hostaddr", where->hostaddr);
	if (where->hostsvcid[0])
		json_add_text(params, "hostsvcid", where->hostsvcid);
	if (p->opts.host.priority)
		json_add_text(params, "priority", text);
	if (p->opts.host.is_static) {
		text_add(&cntlid_text, "%u", p->opts.host.static_cntlid);
		json_add_text(params, "cntlid", p->opts.host.static_cntlid == NVME_CNTLID_STATIC_ANY ? "any" : cntlid);
	}
	remote_json_keys(params, &p->opts.host);
	json_add_text(params, "multipath", modes[mode]);
	if (p->opts.connect_timeout_given)
		json_add_u64(params, "fabrics_connect_timeout_us", p->opts.host.connect_timeout_ms * 1000ull);
	if (p->opts.num_io_queues)
		json_add_u64(params, "num_io_queues", p->opts.num_io_queues);
	if (g->policy_given)
		remote_json_policy(json_add_object(params, "multipath_opts"), g->policy, g->selector, "min_io",
		                   g->rr_min_io);
}

void remote_attach_rpc_save(struct remote_rpc *rr, struct json_object *array)
{
	list_each(l, &rr->remote->groups) {
		const struct remote_group *g = list_entry(l, struct remote_group, link);

		for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
			const struct remote_path *p = g->paths[i];

			if (!p || !p->ctl->standing || remote_path_going(p) || g->leaving || g->discovered)
				continue;
			save_path(p, &p->where, p->ctl->multipath, array);
			for (uint32_t k = 0; k < p->ctl->alternate_count; k++)
				save_path(p, &p->ctl->alternates[k], REMOTE_FAILOVER, array);
		}
	}
}

/* --- all ----------------------------------------------------------------------------------------------------- */

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_nvme_attach_controller", struct attach, attach_params, handle_attach, .flags = RPC_RUNTIME,
	           .doc = "Connect to a controller of a remote subsystem, whose namespaces become disks; or by one "
		"more path "
	                  "to one that is attached.", .returns = "list of names of the disks"),
	RPC_METHOD("bdev_nvme_detach_controller", struct detach, detach_params, handle_detach, .flags = RPC_RUNTIME,
	           .doc = "Disconnect from it; its disks go with the last path.", .returns = "true"),
};

void remote_attach_rpc_add(struct remote_rpc *rr)
{
	list_init(&rr->attaching);
	rr->drain.fn = drain;
	rpc_on_drain(bdev_rpc_of(rr->br), &rr->drain);
	rpc_add_methods(bdev_rpc_of(rr->br), methods, ARRAY_SIZE(methods), rr);
}
