/* SPDX-License-Identifier: BSD-3-Clause */
/* mdns_rpc.c: methods of multicast DNS: publish our discovery services; connect to those that are found.
 *
 * What is found is connected to by bdev_nvme_start_discovery, whose services are then asked for subsystems. It stays
 * until the search is stopped: a name that is not heard of for a while says nothing about disks that are in use. */
#include "mdns/mdns_rpc.h"

#include <errno.h>

#include "base/text.h"
#include "core/log.h"
#include "rpc/json.h"

#define NAME_MAX_LEN 80
#define FOUND_MAX 256u /* services of one search */

struct mdns_rpc {
	struct rpc *rpc;
	struct mdns *mdns;
	struct list searches;
};

struct search {
	struct list link, found;
	struct mdns_rpc *mr;
	struct mdns_browse *browse;
	char *name, *svcname, *hostnqn;
	uint32_t found_count;
	struct log_limit complaints;
	uint32_t calls_out; /* of methods that start or stop what was found */
	struct rpc_call *stopper;
};

struct found {
	struct list link;
	struct search *search;
	struct net_addr addr;
	bool refused;       /* somebody else's discovery has that name, or address */
	char name[NAME_MAX_LEN + 16], nqn[224];
};

static void search_free(struct search *s)
{
	if (s->browse)
		mdns_browse_stop(s->browse);
	list_each_safe(l, &s->found)
		free(list_entry(l, struct found, link));
	list_del(&s->link);
	free(s->name);
	free(s->svcname);
	free(s->hostnqn);
	free(s);
}

/* --- publishing ---------------------------------------------------------------------------------- */

struct tgt_args {
	char *tgt_name;
};
static const struct rpc_param tgt_params[] = {
	RPC_PARAM(struct tgt_args, tgt_name, .doc = "Name of the target: nvmf_tgt."),
};

/* False: answered. */
static bool target_ok(struct rpc_call *call, const struct tgt_args *a)
{
	if (!a->tgt_name || !strcmp(a->tgt_name, "nvmf_tgt"))
		return true;
	rpc_reply_error(call, ERR_BAD_PARAM, "tgt_name: there is one target, 'nvmf_tgt', and no '%s'; leave it out",
	                a->tgt_name);
	return false;
}

static void handle_publish(struct rpc_call *call, void *args)
{
	struct mdns_rpc *mr = rpc_ctx(call);
	struct err e = { 0 };

	if (target_ok(call, args))
		rpc_reply_rc(call, mdns_publish(mr->mdns, rpc_is_loading(call), &e), &e);
}

static void handle_unpublish(struct rpc_call *call, void *args)
{
	struct mdns_rpc *mr = rpc_ctx(call);

	if (!target_ok(call, args))
		return;
	if (!mdns_publishes(mr->mdns)) {
		rpc_reply_error(call, -ENOENT, "discovery services are not published; nvmf_publish_mdns_prr publishes them");
		return;
	}
	mdns_unpublish(mr->mdns);
	rpc_reply_true(call);
}

/* --- searching ----------------------------------------------------------------------------------- */

static struct json_object *where(struct json_object *o, const struct net_addr *a)
{
	char host[NET_ADDR_TEXT_MAX], port[8];
	struct text t = text_over(port, sizeof(port));

	text_add(&t, "%u", net_addr_port(a));
	json_add_text(o, "trtype", "TCP");
	json_add_text(o, "adrfam", net_addr_family(a) == NET_IPV6 ? "IPv6" : "IPv4");
	json_add_text(o, "traddr", net_addr_host(a, host));
	json_add_text(o, "trsvcid", port);
	return o;
}

static void call_over(struct search *s)
{
	if (--s->calls_out || !s->stopper)
		return;
	rpc_reply_true(s->stopper);
	search_free(s);
}

static void connected(void *arg, struct json_object *result, const struct err *e)
{
	struct found *f = arg;

	f->refused = e != NULL;
	if (e && log_may(&f->search->complaints))
		log_warning("mdns: a discovery service that was found is not used: %s", e->text);
	call_over(f->search);
}

static void found(void *arg, const struct net_addr *addr, const char *nqn)
{
	struct search *s = arg;
	struct found *f;
	struct json_object *params;
	struct text t;

	list_each(l, &s->found)
		if (net_addr_equal(&list_entry(l, struct found, link)->addr, addr))
			return;
	if (s->found_count == FOUND_MAX) {
		if (log_may(&s->complaints))
			log_warning("mdns: '%s' has found %u services; more are left alone", s->name, FOUND_MAX);
		return;
	}
	f = base_zalloc(sizeof(*f));
	f->search = s;
	f->addr = *addr;
	t = text_over(f->name, sizeof(f->name));
	text_add(&t, "%s%u", s->name, s->found_count++);
	t = text_over(f->nqn, sizeof(f->nqn));
	text_add_utf8(&t, nqn); /* off the network, and told in answers */
	list_add_tail(&s->found, &f->link);
	params = where(json_object_new_object(), addr);
	json_add_text(params, "name", f->name);
	json_add_bool(params, "standing", false);
	if (s->hostnqn)
		json_add_text(params, "hostnqn", s->hostnqn);
	s->calls_out++;
	rpc_call_inside(s->mr->rpc, "bdev_nvme_start_discovery", params, connected, f);
	json_object_put(params);
}

struct start_args {
	char *name, *svcname, *hostnqn;
};
static const struct rpc_param start_params[] = {
	RPC_PARAM(struct start_args, name, .required = true, .min = 1, .max = NAME_MAX_LEN,
	          .doc = "Name of the search; the discovery services it finds are called <name>0, <name>1, ..."),
	RPC_PARAM(struct start_args, svcname, .required = true, .min = 1, .max = 250,
	          .doc = "What to look for: _nvme-disc._tcp."),
	RPC_PARAM(struct start_args, hostnqn, .doc = "Our name for their targets; one of the daemon's own when left out."),
};

static struct search *search_named(struct mdns_rpc *mr, const char *name)
{
	list_each(l, &mr->searches)
		if (!strcmp(list_entry(l, struct search, link)->name, name))
			return list_entry(l, struct search, link);
	return NULL;
}

static void handle_start(struct rpc_call *call, void *args)
{
	struct mdns_rpc *mr = rpc_ctx(call);
	const struct start_args *a = args;
	struct err e = { 0 };
	struct search *s;

	list_each(l, &mr->searches) {
		s = list_entry(l, struct search, link);
		if (strcmp(s->name, a->name) && strcmp(s->svcname, a->svcname))
			continue;
		rpc_reply_error(call, -EEXIST, "%s: search '%s' looks for '%s' already", strcmp(s->name, a->name) ? "svcname"
		                : "name", s->name, s->svcname);
		return;
	}
	s = base_zalloc(sizeof(*s));
	s->mr = mr;
	s->name = base_strdup(a->name);
	s->svcname = base_strdup(a->svcname);
	s->hostnqn = a->hostnqn ? base_strdup(a->hostnqn) : NULL;
	list_init(&s->found);
	list_add_tail(&mr->searches, &s->link);
	s->browse = mdns_browse(mr->mdns, s->svcname, rpc_is_loading(call), found, s, &e);
	if (s->browse) {
		rpc_reply_true(call);
		return;
	}
	search_free(s);
	rpc_reply_err(call, &e);
}

struct name_args {
	char *name;
};
static const struct rpc_param stop_params[] = {
	RPC_PARAM(struct name_args, name, .required = true, .doc = "Name of the search."),
};

static void one_stopped(void *arg, struct json_object *result, const struct err *e)
{
	call_over(arg);
}

static void handle_stop(struct rpc_call *call, void *args)
{
	struct mdns_rpc *mr = rpc_ctx(call);
	const struct name_args *a = args;
	struct search *s = search_named(mr, a->name);

	if (!s || s->stopper) {
		rpc_reply_error(call, s ? -EALREADY : -ENOENT, s ? "name: '%s' is being stopped already" : "name: there is no "
		                "search '%s'; bdev_nvme_get_mdns_discovery_info lists them", a->name);
		return;
	}
	s->stopper = call;
	mdns_browse_stop(s->browse);
	s->browse = NULL;
	s->calls_out++; /* until all were told */
	list_each(l, &s->found) {
		struct json_object *params;

		if (list_entry(l, struct found, link)->refused)
			continue;
		params = json_object_new_object();
		json_add_text(params, "name", list_entry(l, struct found, link)->name);
		s->calls_out++;
		rpc_call_inside(mr->rpc, "bdev_nvme_stop_discovery", params, one_stopped, s);
		json_object_put(params);
	}
	call_over(s);
}

static void handle_get(struct rpc_call *call, void *args)
{
	struct mdns_rpc *mr = rpc_ctx(call);
	struct json_object *result = json_object_new_array();

	list_each(l, &mr->searches) {
		const struct search *s = list_entry(l, const struct search, link);
		struct json_object *o = json_append_object(result), *list;

		json_add_text(o, "name", s->name);
		json_add_text(o, "svcname", s->svcname);
		list = json_add_array(o, "referrals");
		list_each(k, &s->found) {
			const struct found *f = list_entry(k, const struct found, link);
			struct json_object *r = json_append_object(list), *trid;

			json_add_text(r, "name", f->name);
			trid = where(json_add_object(r, "trid"), &f->addr);
			json_add_text(trid, "subnqn", f->nqn);
		}
	}
	rpc_reply(call, result);
}

/* --- saving -------------------------------------------------------------------------------------- */

static struct json_object *save_call(struct json_object *array, const char *method)
{
	struct json_object *o = json_append_object(array);

	json_add_text(o, "method", method);
	return json_add_object(o, "params");
}

static void save(void *ctx, struct json_object *array)
{
	struct mdns_rpc *mr = ctx;

	if (mdns_publishes(mr->mdns))
		json_add_text(save_call(array, "nvmf_publish_mdns_prr"), "tgt_name", "nvmf_tgt");
	list_each(l, &mr->searches) {
		const struct search *s = list_entry(l, const struct search, link);
		struct json_object *p;

		if (s->stopper)
			continue;
		p = save_call(array, "bdev_nvme_start_mdns_discovery");
		json_add_text(p, "name", s->name);
		json_add_text(p, "svcname", s->svcname);
		if (s->hostnqn)
			json_add_text(p, "hostnqn", s->hostnqn);
	}
}

/* --- the table ----------------------------------------------------------------------------------- */

#define CHANGES .flags = RPC_RUNTIME, .returns = "true"
static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_publish_mdns_prr", struct tgt_args, tgt_params, handle_publish, CHANGES,
	           .doc = "Publish where the discovery subsystem listens by multicast DNS (Avahi), and follow it."),
	RPC_METHOD("nvmf_stop_mdns_prr", struct tgt_args, tgt_params, handle_unpublish, CHANGES,
	           .doc = "Publish the discovery subsystem no more."),
	RPC_METHOD("bdev_nvme_start_mdns_discovery", struct start_args, start_params, handle_start, CHANGES,
	           .doc = "Look for discovery services by multicast DNS (Avahi), and start discovery at each "
	                  "that is found; it stays when its name is not heard of any more."),
	RPC_METHOD("bdev_nvme_stop_mdns_discovery", struct name_args, stop_params, handle_stop, CHANGES,
	           .doc = "Stop looking, and the discovery that was started."),
	RPC_METHOD_BARE("bdev_nvme_get_mdns_discovery_info", handle_get, .flags = RPC_RUNTIME | RPC_READS,
	                .returns = "array of searches with what they found",
	                .doc = "List the searches by multicast DNS."),
};

struct mdns_rpc *mdns_rpc_make(struct rpc *rpc, struct core *core, struct nvmf_target *t)
{
	struct mdns_rpc *mr = base_zalloc(sizeof(*mr));

	mr->rpc = rpc;
	mr->mdns = mdns_make(core, t);
	list_init(&mr->searches);
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), mr);
	rpc_add_saver(rpc, "mdns", save, mr);
	return mr;
}

void mdns_rpc_free(struct mdns_rpc *mr)
{
	list_each_safe(l, &mr->searches)
		search_free(list_entry(l, struct search, link));
	mdns_free(mr->mdns);
	free(mr);
}
