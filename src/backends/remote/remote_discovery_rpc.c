/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_discovery_rpc.c: discovery services by SPDK's methods, and how they are saved: what they attached is not,
 * they find it again. */
#include "backends/remote/remote_rpc_priv.h"

#include <errno.h>

/* --- bdev_nvme_start_discovery -------------------------------------------------------------------------------- */

struct start {
	char *name, *trtype, *traddr, *adrfam, *trsvcid, *hostnqn, *psk, *dhchap_key, *dhchap_ctrlr_key;
	bool wait_for_attach, standing;
	uint64_t attach_timeout_ms;
	int32_t ctrlr_loss_timeout_sec;
	uint32_t reconnect_delay_sec, fast_io_fail_timeout_sec;
};

static const struct rpc_param start_params[] = {
	RPC_PARAM(struct start, name, .required = true, .min = 1, .max = 90,
	          .doc = "Name of the service; what it attaches is called <name>0, <name>1, ..."),
	RPC_PARAM(struct start, trtype, .required = true, .doc = "TCP or RDMA."),
	RPC_PARAM(struct start, traddr, .required = true, .min = 1, .doc = "Address or name of the target."),
	RPC_PARAM(struct start, adrfam, .doc = "ipv4 or ipv6; either when left out."),
	RPC_PARAM(struct start, trsvcid, .doc = "Port; 8009 when left out, 4420 over RDMA."),
	RPC_PARAM(struct start, hostnqn, .doc = "Our name for the target; one of the daemon's own when left out."),
	RPC_PARAM(struct start, wait_for_attach,
	          .doc = "Answer when all that was found was tried; what does not answer is tried again."),
	RPC_PARAM(struct start, attach_timeout_ms, .unit = "ms", .max = 86400000,
	          .doc = "The same, and for how long it is tried; the service is stopped when that was in vain."),
	RPC_PARAM(struct start, standing, .fallback = "true",
	          .doc = "It is part of the saved configuration; who started it will not start it again."),
	RPC_PARAM(struct start, ctrlr_loss_timeout_sec, .unit = "s", .doc = "As of bdev_nvme_attach_controller."),
	RPC_PARAM(struct start, reconnect_delay_sec, .unit = "s", .doc = "As of bdev_nvme_attach_controller."),
	RPC_PARAM(struct start, fast_io_fail_timeout_sec, .unit = "s", .doc = "As of bdev_nvme_attach_controller."),
	RPC_PARAM(struct start, psk,
	          .doc = "Name of the key by which connections to what wants that are secured; such entries are passed "
	                 "over when it is left out."),
	RPC_PARAM(struct start, dhchap_key, .doc = "As of bdev_nvme_attach_controller."),
	RPC_PARAM(struct start, dhchap_ctrlr_key, .doc = "As of bdev_nvme_attach_controller."),
};

struct starting {
	struct remote_discovery_wait wait, stopped;
	struct remote_discovery *d;
	struct rpc_call *call;
	bool standing;
	struct err err;
};

static void gave_up(struct remote_discovery_wait *w, const struct err *e)
{
	struct starting *s = container_of(w, struct starting, stopped);

	rpc_reply_err(s->call, &s->err);
	free(s);
}

static void started(struct remote_discovery_wait *w, const struct err *e)
{
	struct starting *s = container_of(w, struct starting, wait);

	if (!e) {
		s->d->standing = s->standing;
		rpc_reply_true(s->call);
		free(s);
		return;
	}
	s->err = *e;
	s->stopped.done = gave_up;
	if (s->d->stopping) /* by somebody else */
		gave_up(&s->stopped, NULL);
	else
		remote_discovery_stop(s->d, &s->stopped);
}

static void handle_start(struct rpc_call *call, void *args)
{
	struct remote_rpc *rr = rpc_ctx(call);
	const struct start *a = args;
	struct remote_trid_args trid = { a->trtype, a->traddr, a->adrfam, a->trsvcid &&
	                                *a->trsvcid ? a->trsvcid : strcasecmp(a->trtype, "rdma") ? "8009" : "4420",
	                                 NULL, a->hostnqn, NULL, NULL };
	struct remote_discovery_opts o = { .name = a->name, .wait_for_attach = a->wait_for_attach };
	bool waits = (a->wait_for_attach || a->attach_timeout_ms) && !rpc_is_loading(call);
	struct remote_discovery *d = NULL;
	struct starting *s;
	struct err e = { 0 };

	o.standing = !waits && a->standing;
	o.wait_for_attach |= a->attach_timeout_ms != 0;
	remote_host_opts_from(rr->remote, &o.path.host);
	if (remote_keys_from(rr->remote, a->dhchap_key, a->dhchap_ctrlr_key, a->psk, &o.path.host, &e) == 0 &&
	    remote_where_from(&trid, &o.where, &e) == 0 &&
	    remote_times_from(&rr->remote->opts, rpc_given(call, "ctrlr_loss_timeout_sec"), a->ctrlr_loss_timeout_sec,
	                      rpc_given(call, "reconnect_delay_sec"), a->reconnect_delay_sec,
	                      rpc_given(call, "fast_io_fail_timeout_sec"), a->fast_io_fail_timeout_sec, &o.path,
		&e) == 0)
		d = remote_discovery_start(rr->remote, &o, &e);
	remote_keys_give(&o.path.host);
	if (!d) {
		rpc_reply_err(call, &e);
	} else if (!waits) {
		rpc_reply_true(call);
	} else {
		s = base_zalloc(sizeof(*s));
		s->call = call;
		s->standing = a->standing;
		s->d = d;
		s->wait.done = started;
		remote_discovery_when_started(d, a->attach_timeout_ms, &s->wait);
	}
}

/* --- bdev_nvme_stop_discovery --------------------------------------------------------------------------------- */

struct name {
	char *name;
};

static const struct rpc_param stop_params[] = {
	RPC_PARAM(struct name, name, .required = true, .doc = "Name of the service."),
};

struct stopping {
	struct remote_discovery_wait wait;
	struct rpc_call *call;
};

static void stopped(struct remote_discovery_wait *w, const struct err *e)
{
	struct stopping *s = container_of(w, struct stopping, wait);

	rpc_reply_true(s->call);
	free(s);
}

static void handle_stop(struct rpc_call *call, void *args)
{
	struct remote_rpc *rr = rpc_ctx(call);
	const struct name *a = args;
	struct remote_discovery *d = remote_discovery_find(rr->remote, a->name);
	struct stopping *s;

	if (!d || d->stopping) {
		rpc_reply_error(call, d ? -EALREADY : -ENOENT, d ? "name: '%s' is being stopped already" :
		                "name: there is no discovery service '%s'; bdev_nvme_get_discovery_info lists them",
			a->name);
		return;
	}
	s = base_zalloc(sizeof(*s));
	s->call = call;
	s->wait.done = stopped;
	remote_discovery_stop(d, &s->wait);
}

/* --- bdev_nvme_get_discovery_info ----------------------------------------------------------------------------- */

static void add_service(struct json_object *o, const struct remote_discovery *d)
{
	struct json_object *list, *at;

	json_add_text(o, "name", d->name);
	remote_json_trid(json_add_object(o, "trid"), &d->where, true);
	list = json_add_array(o, "referrals");
	for (uint32_t i = 0; i < d->referral_count; i++)
		remote_json_trid(json_add_object(json_append_object(list), "trid"), &d->referrals[i], true);
	json_add_text(o, "doing", remote_discovery_state_name(d));
	if (d->err.code)
		json_add_text(o, "why", d->err.text);
	list = json_add_array(o, "attached");
	list_each(l, &d->found) {
		const struct remote_found *f = list_entry(l, struct remote_found, link);

		at = json_append_object(list);
		json_add_text(at, "name", f->name);
		remote_json_trid(json_add_object(at, "trid"), &f->where, true);
	}
}

static void handle_info(struct rpc_call *call, void *args)
{
	struct remote_rpc *rr = rpc_ctx(call);
	struct json_object *array = json_object_new_array();

	list_each(l, &rr->remote->discoveries)
		add_service(json_append_object(array), list_entry(l, struct remote_discovery, link));
	rpc_reply(call, array);
}

/* --- saving --------------------------------------------------------------------------------------------------- */

void remote_discovery_rpc_save(struct remote_rpc *rr, struct json_object *array)
{
	list_each(l, &rr->remote->discoveries) {
		const struct remote_discovery *d = list_entry(l, struct remote_discovery, link);
		struct json_object *entry, *params;

		if (!d->standing || d->stopping)
			continue;
		entry = json_append_object(array);
		json_add_text(entry, "method", "bdev_nvme_start_discovery");
		params = json_add_object(entry, "params");
		json_add_text(params, "name", d->name);
		remote_json_trid(params, &d->where, false);
		json_add_text(params, "hostnqn", d->where.hostnqn);
		json_add_bool(params, "wait_for_attach", d->wait_for_attach);
		remote_json_times(params, &d->path);
		remote_json_keys(params, &d->path.host);
	}
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_nvme_start_discovery", struct start, start_params, handle_start, .flags = RPC_RUNTIME,
	           .doc = "Attach what a target's discovery log lists, and follow its changes.", .returns = "true"),
	RPC_METHOD("bdev_nvme_stop_discovery", struct name, stop_params, handle_stop, .flags = RPC_RUNTIME,
	           .doc = "Detach what the service attached, and end it.", .returns = "true"),
	RPC_METHOD_BARE("bdev_nvme_get_discovery_info", handle_info, .flags = RPC_RUNTIME | RPC_READS,
	                .doc = "List discovery services, what they do and what they attached.",
	                .returns = "list of services"),
};

void remote_discovery_rpc_add(struct remote_rpc *rr)
{
	rpc_add_methods(bdev_rpc_of(rr->br), methods, ARRAY_SIZE(methods), rr);
}
