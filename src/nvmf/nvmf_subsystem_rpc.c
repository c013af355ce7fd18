/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_subsystem_rpc.c: methods that make and delete subsystems. */
#include "nvmf/nvmf_rpc_priv.h"

struct create_subsystem {
	char *nqn, *tgt_name, *serial_number, *model_number, *admin_label, *subtype, *controller_model;
	uint32_t max_namespaces, dmrsl;
	uint8_t wzsl;
	uint16_t min_cntlid, max_cntlid;
	bool allow_any_host, ana_reporting, passthrough, enable_nssr;
};

static const char *const subtypes[] = { "NVMe", "Discovery", NULL };
static const char *const models[] = { "dynamic", "static", NULL };

static const struct rpc_param create_subsystem_params[] = {
#define P(field, ...) RPC_PARAM(struct create_subsystem, field, __VA_ARGS__)
	NVMF_RPC_NQN(struct create_subsystem),
	NVMF_RPC_TGT(struct create_subsystem),
	P(serial_number, .doc = "Up to 20 printable characters; zeroes when left out."),
	P(model_number, .doc = "Up to 40 printable characters; 'Gantry bdev Controller' when left out."),
	P(max_namespaces, .max = NVMF_NSID_LIMIT, .doc = "Namespaces it can have; 0: 32."),
	P(allow_any_host, .doc = "Let any host in; otherwise those of nvmf_subsystem_add_host."),
	P(ana_reporting, .doc = "Tell hosts how good each path is (ANA)."),
	P(min_cntlid, .min = 1, .max = NVME_CNTLID_MAX, .fallback = "1", .doc = "Smallest controller id."),
	P(max_cntlid, .min = 1, .max = NVME_CNTLID_MAX, .fallback = "65519", .doc = "Largest controller id."),
	P(controller_model, .choices = models,
	  .doc = "dynamic: a controller is made for each host that comes. static: min_cntlid to max_cntlid are there, and "
	         "hosts ask for one of them or for any."),
	P(admin_label, .doc = "4 to 256 printable characters that the extended discovery log tells of it."),
	P(subtype, .choices = subtypes, .doc = "Discovery: a discovery service under a name of its own; else NVMe."),
	P(dmrsl, .unit = "blocks", .doc = "What a range of Dataset Management deallocates at most; 0: no limit."),
	P(wzsl, .doc = "2 to this many 4 KiB are what a Write Zeroes may zero; 0: as much as there can be, which is 13."),
	P(passthrough, .doc = "Not supported; must be false."),
	P(enable_nssr, .doc = "Let any of its hosts reset all of its controllers (NVM Subsystem Reset)."),
#undef P
};

static void handle_create_subsystem(struct rpc_call *call, void *args)
{
	struct create_subsystem *a = args;
	bool is_static = a->controller_model && !strcmp(a->controller_model, models[1]);
	const struct nvmf_subsystem_opts opts = {
		.nqn = a->nqn, .serial_number = a->serial_number, .model_number = a->model_number,
		.allow_any_host = a->allow_any_host, .ana_reporting = a->ana_reporting, .enable_nssr = a->enable_nssr,
		.max_namespaces = a->max_namespaces, .min_cntlid = a->min_cntlid,
		.is_static = is_static, .max_cntlid = is_static && !rpc_given(call, "max_cntlid") ? 0 : a->max_cntlid,
		.dmrsl = a->dmrsl, .wzsl = a->wzsl,
		.admin_label = a->admin_label, .discovery = a->subtype && !strcmp(a->subtype, subtypes[1]),
	};

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	if (a->passthrough)
		rpc_reply_error(call, ERR_BAD_PARAM, "passthrough: not supported; leave it out or give false");
	else
		nvmf_add_subsystem(nvmf_rpc_change(call), &opts);
}

struct subsystem_args {
	char *nqn, *tgt_name;
};

static const struct rpc_param subsystem_params[] = {
	NVMF_RPC_NQN(struct subsystem_args),
	NVMF_RPC_TGT(struct subsystem_args),
};

static void handle_delete_subsystem(struct rpc_call *call, void *args)
{
	struct subsystem_args *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_remove_subsystem(nvmf_rpc_change(call), a->nqn);
}

/* --- static controllers -------------------------------------------------------------------------- */

struct ctrlr_host {
	char *nqn, *tgt_name, *host;
	uint16_t cntlid;
};

static const struct rpc_param ctrlr_host_params[] = {
	NVMF_RPC_NQN(struct ctrlr_host),
	RPC_PARAM(struct ctrlr_host, cntlid, .required = true, .doc = "Which static controller."),
	RPC_PARAM(struct ctrlr_host, host, .required = true, .doc = "NQN of the only host that may have it; '': any."),
	NVMF_RPC_TGT(struct ctrlr_host),
};

static void handle_ctrlr_host(struct rpc_call *call, void *args)
{
	struct ctrlr_host *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_set_ctrlr_host(nvmf_rpc_change(call), a->nqn, a->cntlid, a->host);
}

struct ctrlr_feature {
	char *nqn, *tgt_name, *feature, *value;
	uint16_t cntlid;
};

static const struct rpc_param ctrlr_feature_params[] = {
	NVMF_RPC_NQN(struct ctrlr_feature),
	RPC_PARAM(struct ctrlr_feature, cntlid, .required = true, .doc = "Which static controller."),
	RPC_PARAM(struct ctrlr_feature, feature, .required = true, .choices = nvmf_saved_names,
	          .doc = "Which feature of it."),
	RPC_PARAM(struct ctrlr_feature, value, .required = true,
	          .doc = "What Get Features reads of it, decimal or 0x and hexadecimal; '': nothing is saved."),
	NVMF_RPC_TGT(struct ctrlr_feature),
};

/* An older version saved what it was told, events that there are not among it. Without those the controller is what it
 * was to hosts, with the whole value refused it would begin with what nobody chose. */
static uint32_t events_there_are(struct rpc_call *call, const struct ctrlr_feature *a, uint32_t value)
{
	const struct nvmf_subsystem *s = nvmf_config_find(((struct nvmf_target *)rpc_ctx(call))->config, a->nqn);
	uint32_t unknown = s ? value & ~nvmf_events_saveable(s) : 0;

	if (unknown)
		log_warning("%s: controller %u: of its saved async_events, 0x%x, this version does not have 0x%x: left out",
		            a->nqn, a->cntlid, value, unknown);
	return value & ~unknown;
}

static void handle_ctrlr_feature(struct rpc_call *call, void *args)
{
	struct ctrlr_feature *a = args;
	uint32_t feature = 0, value;
	uint64_t number = 0;
	struct err e = { 0 };

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	if (a->value[0] && text_parse_u64(a->value, &number, &e)) {
		rpc_reply_error(call, e.code, "value: %s", e.text);
		return;
	}
	while (strcmp(nvmf_saved_names[feature], a->feature))
		feature++;
	if (number > nvmf_saved_max[feature]) {
		rpc_reply_error(call, ERR_BAD_PARAM, "value: '%s' is more than %s can be, 0x%x", a->value, a->feature,
		                nvmf_saved_max[feature]);
		return;
	}
	value = (uint32_t)number;
	if (feature == NVMF_SAVED_EVENTS && rpc_is_loading(call))
		value = events_there_are(call, a, value);
	nvmf_save_feature(nvmf_rpc_change(call), a->nqn, a->cntlid, (enum nvmf_saved_feature)feature,
	                  a->value[0] ? &value : NULL);
}

/* Those of which something is known: whose they are, what hosts have saved. */
void nvmf_show_statics(struct json_object *subsystem, const struct nvmf_subsystem *s)
{
	struct json_object *list;

	json_add_text(subsystem, "controller_model", "static");
	list = json_add_array(subsystem, "static_controllers");
	for (uint32_t i = 0; i < s->static_count; i++) {
		const struct nvmf_static *st = &s->statics[i];
		struct json_object *o = json_append_object(list), *saved;

		json_add_u64(o, "cntlid", st->cntlid);
		if (st->host[0])
			json_add_text(o, "host", st->host);
		saved = json_add_object(o, "saved_features");
		for (uint32_t f = 0; f < NVMF_SAVED_COUNT; f++)
			if (st->saved.set & 1u << f)
				json_add_u64(saved, nvmf_saved_names[f], st->saved.value[f]);
	}
}

void nvmf_save_statics(struct json_object *array, const struct nvmf_subsystem *s)
{
	for (uint32_t i = 0; i < s->static_count; i++) {
		const struct nvmf_static *st = &s->statics[i];
		struct json_object *p;

		if (st->host[0]) {
			p = nvmf_save_call(array, "nvmf_subsystem_set_controller_host");
			json_add_text(p, "nqn", s->nqn);
			json_add_u64(p, "cntlid", st->cntlid);
			json_add_text(p, "host", st->host);
		}
		for (uint32_t f = 0; f < NVMF_SAVED_COUNT; f++) {
			char value[16];
			struct text t = text_over(value, sizeof(value));

			if (!(st->saved.set & 1u << f))
				continue;
			p = nvmf_save_call(array, "nvmf_subsystem_set_controller_feature");
			json_add_text(p, "nqn", s->nqn);
			json_add_u64(p, "cntlid", st->cntlid);
			json_add_text(p, "feature", nvmf_saved_names[f]);
			text_add(&t, "0x%x", st->saved.value[f]);
			json_add_text(p, "value", value);
		}
	}
}

/* --- the table ----------------------------------------------------------------------------------- */

#define CHANGES .flags = RPC_RUNTIME, .returns = "true"
static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_create_subsystem", struct create_subsystem, create_subsystem_params, handle_create_subsystem,
	           CHANGES, .doc = "Make a subsystem, which hosts see as one NVMe device."),
	RPC_METHOD("nvmf_delete_subsystem", struct subsystem_args, subsystem_params, handle_delete_subsystem,
	           CHANGES, .doc = "Disconnect a subsystem's hosts and delete it."),
	RPC_METHOD("nvmf_subsystem_set_controller_host", struct ctrlr_host, ctrlr_host_params, handle_ctrlr_host,
	           CHANGES, .doc = "Give a static controller to one host; another one that has it is disconnected."),
	RPC_METHOD("nvmf_subsystem_set_controller_feature", struct ctrlr_feature, ctrlr_feature_params,
	           handle_ctrlr_feature, CHANGES,
	           .doc = "What a static controller starts with, as if a host had saved it: for the next host that comes."),
};

void nvmf_subsystem_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
}
