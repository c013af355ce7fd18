/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_admin_rpc.c: single commands to controllers: their health, any command of a person's own; and faults on
 * request. */
#include "backends/remote/remote_rpc_priv.h"

#include <errno.h>
#include <stdio.h>

#define DATA_BYTES_MAX (1u << 20)
#define INJECTED_US_MAX 60000000u       /* nothing but its time ends such a command */
#define INJECTIONS_MAX 256u             /* of one path; they go with it */

struct name {
	char *name;
};

/* The first path that is connected; NULL, and the caller has been told. */
static struct remote_path *connected_path(struct rpc_call *call, const char *name)
{
	struct remote_group *g = remote_rpc_group(call, name);

	for (uint32_t i = 0; g && i < REMOTE_PATHS_MAX; i++)
		if (g->paths[i] && g->paths[i]->state == REMOTE_PATH_UP)
			return g->paths[i];
	if (g)
		rpc_reply_error(call, -ENOTCONN, "%s is not connected; bdev_nvme_get_controllers says why", name);
	return NULL;
}

/* --- who waits for an answer ------------------------------------------------------------------------------------ */

struct waiting {
	struct list link;               /* in rr->commands */
	struct rpc_call *call;          /* NULL: it was answered, as the daemon stops */
};

static void wait_for(struct waiting *w, struct rpc_call *call)
{
	struct remote_rpc *rr = rpc_ctx(call);

	w->call = call;
	list_add_tail(&rr->commands, &w->link);
}

/* What they waited for has come. NULL: nobody does any more. */
static struct rpc_call *wait_over(struct waiting *w)
{
	if (list_linked(&w->link))
		list_del(&w->link);
	return w->call;
}

/* A controller may never answer: the command comes back when its connection ends, which may be within the last of these
 * answers. */
static void drain(struct rpc_drain_hook *h)
{
	struct remote_rpc *rr = container_of(h, struct remote_rpc, commands_drain);

	list_each_safe(l, &rr->commands) {
		struct waiting *w = list_entry(l, struct waiting, link);
		struct rpc_call *call = wait_over(w);

		w->call = NULL;
		rpc_reply_error(call, -ECANCELED, "the daemon stops; the controller has not answered yet");
	}
}

/* --- bdev_nvme_get_controller_health_info ---------------------------------------------------------------------- */

struct health {
	struct nvme_log_read read;
	struct waiting waiting;
	char model[41], serial[21], firmware[9], traddr[256];
	struct nvme_smart_log log;
};

/* 128 bits as a number; what is beyond 64 is as good as that. */
static uint64_t number(le128 v)
{
	le64 half[2];

	memcpy(half, &v, sizeof(half));
	return le64_get(half[1]) ? UINT64_MAX : le64_get(half[0]);
}

static void add_health(struct json_object *o, const struct nvme_smart_log *s)
{
	const struct { const char *name; le128 v; } counters[] = {
		{ "data_units_read", s->data_units_read }, { "data_units_written", s->data_units_written },
		{ "host_read_commands", s->host_reads }, { "host_write_commands", s->host_writes },
		{ "controller_busy_time", s->ctrl_busy_time }, { "power_cycles", s->power_cycles },
		{ "power_on_hours", s->power_on_hours }, { "unsafe_shutdowns", s->unsafe_shutdowns },
		{ "media_errors", s->media_errors }, { "num_err_log_entries", s->num_err_log_entries },
	};

	json_add_u64(o, "critical_warning", s->critical_warning);
	json_object_object_add(o, "temperature_celsius", json_object_new_int(le16_get(s->temperature) - 273));
	json_add_u64(o, "available_spare_percentage", s->avail_spare);
	json_add_u64(o, "available_spare_threshold_percentage", s->spare_thresh);
	json_add_u64(o, "percentage_used", s->percent_used);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		json_add_u64(o, counters[i].name, number(counters[i].v));
	json_add_u64(o, "warning_temperature_time_minutes", le32_get(s->warning_temp_time));
	json_add_u64(o, "critical_composite_temperature_time_minutes", le32_get(s->critical_comp_time));
}

static void health_read(struct nvme_log_read *r)
{
	struct health *h = r->arg;
	struct rpc_call *call = wait_over(&h->waiting);
	struct json_object *o;

	if (!call || r->err.code) {
		if (call)
			rpc_reply_err(call, &r->err);
		free(h);
		return;
	}
	o = json_object_new_object();
	json_add_text(o, "model_number", h->model);
	json_add_text(o, "serial_number", h->serial);
	json_add_text(o, "firmware_revision", h->firmware);
	json_add_text(o, "traddr", h->traddr);
	add_health(o, &h->log);
	rpc_reply(call, o);
	free(h);
}

static void handle_health(struct rpc_call *call, void *args)
{
	const struct name *a = args;
	struct remote_path *p = connected_path(call, a->name);
	const struct nvme_ctrlr_info *info;
	struct health *h;

	if (!p)
		return;
	info = nvme_ctrlr_info(p->ctrlr);
	h = base_zalloc(sizeof(*h));
	wait_for(&h->waiting, call);
	memcpy(h->model, info->model, sizeof(h->model));
	memcpy(h->serial, info->serial, sizeof(h->serial));
	memcpy(h->firmware, info->firmware, sizeof(h->firmware));
	memcpy(h->traddr, p->where.traddr, sizeof(h->traddr));
	h->read = (struct nvme_log_read){ .lid = NVME_LOG_SMART, .nsid = NVME_NSID_ALL, .buf = &h->log,
	                                  .len = sizeof(h->log), .done = health_read, .arg = h };
	nvme_ctrlr_get_log(p->ctrlr, &h->read);
}

static const struct rpc_param name_params[] = {
	RPC_PARAM(struct name, name, .required = true, .doc = "Name of the controller."),
};

/* --- bdev_nvme_send_cmd ---------------------------------------------------------------------------------------- */

struct send {
	char *name, *cmd_type, *data_direction, *cmdbuf, *data, *metadata;
	uint32_t data_len, metadata_len;
};

static const char *const types[] = { "admin", "io", NULL };
static const char *const directions[] = { "h2c", "c2h", NULL };

static const struct rpc_param send_params[] = {
	RPC_PARAM(struct send, name, .required = true, .doc = "Name of the controller."),
	RPC_PARAM(struct send, cmd_type, .required = true, .choices = types, .doc = "On which queue."),
	RPC_PARAM(struct send, data_direction, .required = true, .choices = directions,
	          .doc = "Which way data go, if any."),
	RPC_PARAM(struct send, cmdbuf, .required = true, .doc = "The command's 64 bytes in URL-safe base64."),
	RPC_PARAM(struct send, data, .doc = "Data to the controller, in URL-safe base64."),
	RPC_PARAM(struct send, data_len, .max = DATA_BYTES_MAX, .multiple_of = 4, .unit = "bytes",
	          .doc = "Data from the controller."),
	RPC_PARAM(struct send, metadata, .doc = "Must be absent: there are no metadata apart over fabrics."),
	RPC_PARAM(struct send, metadata_len, .max = 1, .doc = "Must be 0, as above."),
	RPC_IGNORED("timeout_ms", .doc = "See timeout_admin_us of bdev_nvme_set_options."),
};

struct sending {
	struct nvme_op op;
	struct iovec iov;
	struct waiting waiting;
	uint8_t *data;
	bool c2h;
	struct timer late;
	uint16_t inject;
};

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char *to_base64(const void *bytes, size_t len)
{
	char *text = base_zalloc((len + 2) / 3 * 4 + 1), *at = text;
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t left = (uint32_t)min_u64(len - i, 3);
		uint32_t v = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (left > 2 ? b[i + 2] : 0);

		for (uint32_t k = 0; k < 4; k++)
			*at++ = k <= left ? digits[v >> (18 - 6 * k) & 63] : '=';
	}
	return text;
}

/* The caller's memory; NULL: it is none. The other two digits of plain base64 do too. */
static uint8_t *from_base64(const char *text, size_t *ret_len)
{
	size_t chars = strcspn(text, "="), len = chars * 3 / 4;
	uint8_t *out = base_zalloc(len + 1);
	uint32_t v = 0, bits = 0;
	size_t at = 0;

	for (size_t i = 0; i < chars; i++) {
		char c = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
		const char *digit = c ? strchr(digits, c) : NULL;

		if (!digit || chars % 4 == 1) {
			free(out);
			return NULL;
		}
		v = v << 6 | (uint32_t)(digit - digits);
		bits += 6;
		if (bits >= 8 && at < len) {
			bits -= 8;
			out[at++] = (uint8_t)(v >> bits);
		}
	}
	*ret_len = at;
	return out;
}

static void tell(struct sending *s, struct rpc_call *call)
{
	struct json_object *o = json_object_new_object();
	struct nvme_op *op = &s->op;
	char *text;

	if (s->inject)
		nvme_cqe_set_status(&op->cpl, s->inject);
	text = to_base64(&op->cpl, sizeof(op->cpl));
	json_add_text(o, "cpl", text);
	free(text);
	if (s->c2h && op->data_len) {
		text = to_base64(s->data, op->data_len);
		json_add_text(o, "data", text);
		free(text);
	}
	rpc_reply(call, o);
}

static void sent(struct nvme_op *op)
{
	struct sending *s = container_of(op, struct sending, op);
	struct rpc_call *call = wait_over(&s->waiting);

	if (call)
		tell(s, call);
	free(s->data);
	free(s);
}

static void sent_late(struct timer *t)
{
	sent(&container_of(t, struct sending, late)->op);
}

/* A fault that was asked for takes the command, or changes its answer. */
static bool injected(struct remote_path *p, struct sending *s, bool admin)
{
	struct remote_injection *x = atomic_load(&p->injections);

	while (x && (x->admin != admin || x->opc != s->op.cmd.opc || !remote_injection_take(x)))
		x = x->next;
	if (!x)
		return false;
	s->inject = x->status;
	if (x->do_not_submit) {
		(void)wait_over(&s->waiting); /* its time comes, whatever the controller does */
		timer_start(&s->late, x->timeout_us * NS_PER_US, sent_late);
	}
	return x->do_not_submit;
}

static int command_from(const struct send *a, struct sending *s, struct err *e)
{
	size_t len = 0;
	uint8_t *cmd = from_base64(a->cmdbuf, &len);

	if (!cmd || len != sizeof(s->op.cmd)) {
		free(cmd);
		return err_set(e, ERR_BAD_PARAM, "cmdbuf: %zu bytes in base64 are no command, which has %zu", len,
		               sizeof(s->op.cmd));
	}
	memcpy(&s->op.cmd, cmd, sizeof(s->op.cmd));
	free(cmd);
	if (a->metadata || a->metadata_len)
		return err_set(e, -ENOTSUP, "metadata: there are none apart over fabrics; they are part of the data");
	if (a->data && !(s->data = from_base64(a->data, &len)))
		return err_set(e, ERR_BAD_PARAM, "data: is not base64");
	if (a->data && (len > DATA_BYTES_MAX || (a->data_len && a->data_len != len)))
		return err_set(e, ERR_BAD_PARAM, "data_len: %u is not the %zu bytes of data", a->data_len, len);
	s->c2h = strcmp(a->data_direction, "c2h") == 0;
	if (!a->data) {
		len = a->data_len;
		s->data = base_zalloc(len + 1);
	}
	s->iov = (struct iovec){ s->data, len };
	s->op.iovs = &s->iov;
	s->op.iov_count = len > 0;
	s->op.data_len = (uint32_t)len;
	s->op.data = (uint8_t)(!len ? NVME_OP_NONE : s->c2h ? NVME_OP_TO_HOST : NVME_OP_TO_CTRLR);
	s->op.done = sent;
	return 0;
}

static int send_it(struct remote_path *p, struct sending *s, bool admin, struct err *e)
{
	struct remote_lane *l = &p->lanes[core_reactor_count(p->group->remote->core)];

	if (injected(p, s, admin))
		return 0;
	if (admin) {
		nvme_ctrlr_submit_admin(p->ctrlr, &s->op);
		return 0;
	}
	remote_lane_want(l);
	if (!l->qp && l->via)
		return err_set(e, -ENOTSUP, "cmd_type: the target has granted fewer queues than would be needed for "
		               "this one");
	if (!l->qp)
		return err_set(e, -ENOTCONN, "%s: its queue for this is not connected at the moment; try again",
		               p->group->name);
	nvme_qpair_submit(l->qp, &s->op);
	return 0;
}

static void handle_send(struct rpc_call *call, void *args)
{
	const struct send *a = args;
	struct remote_path *p = connected_path(call, a->name);
	struct sending *s;
	struct err e = { 0 };

	if (!p)
		return;
	s = base_zalloc(sizeof(*s));
	wait_for(&s->waiting, call);
	if (command_from(a, s, &e) == 0 && send_it(p, s, strcmp(a->cmd_type, "admin") == 0, &e) == 0)
		return;
	rpc_reply_err(wait_over(&s->waiting), &e);
	free(s->data);
	free(s);
}

/* --- faults -------------------------------------------------------------------------------------------------- */

struct inject {
	char *name, *cmd_type;
	uint8_t opc, sct, sc;
	bool do_not_submit;
	uint64_t timeout_in_us;
	uint32_t err_count;
};

static const struct rpc_param inject_params[] = {
	RPC_PARAM(struct inject, name, .required = true, .doc = "Name of the controller: all its paths."),
	RPC_PARAM(struct inject, cmd_type, .required = true, .choices = types,
	          .doc = "Commands of which queues; of admin commands only those of bdev_nvme_send_cmd."),
	RPC_PARAM(struct inject, opc, .required = true, .doc = "Opcode of the commands."),
	RPC_PARAM(struct inject, do_not_submit, .doc = "They are not sent at all."),
	RPC_PARAM(struct inject, timeout_in_us, .unit = "us", .max = INJECTED_US_MAX,
	          .doc = "What is not sent is answered after this time; its path cannot go before."),
	RPC_PARAM(struct inject, err_count, .min = 1, .fallback = "1", .doc = "How many commands."),
	RPC_PARAM(struct inject, sct, .max = 7, .doc = "Type of the status they end with."),
	RPC_PARAM(struct inject, sc, .doc = "Code of the status."),
};

static bool add_injection(struct remote_path *p, const struct inject *a)
{
	struct remote_injection *x = atomic_load(&p->injections), *fresh;
	uint32_t count = 0;

	for (; x; x = x->next)
		count++;
	if (count >= INJECTIONS_MAX)
		return false;
	fresh = base_zalloc(sizeof(*fresh));
	fresh->next = atomic_load(&p->injections);
	fresh->admin = strcmp(a->cmd_type, "admin") == 0;
	fresh->do_not_submit = a->do_not_submit;
	fresh->opc = a->opc;
	fresh->status = (uint16_t)(a->sct << 8 | a->sc);
	fresh->timeout_us = a->timeout_in_us;
	atomic_init(&fresh->left, a->err_count);
	atomic_store_explicit(&p->injections, fresh, memory_order_release);
	return true;
}

static void handle_inject(struct rpc_call *call, void *args)
{
	const struct inject *a = args;
	struct remote_group *g = remote_rpc_group(call, a->name);
	bool all = true;

	if (!g)
		return;
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		if (g->paths[i])
			all &= add_injection(g->paths[i], a);
	if (all)
		rpc_reply_true(call);
	else
		rpc_reply_error(call, -ENOSPC, "%s has had %u faults, which is the most of one attachment", g->name,
		                INJECTIONS_MAX);
}

struct no_inject {
	char *name, *cmd_type;
	uint8_t opc;
};

static const struct rpc_param no_inject_params[] = {
	RPC_PARAM(struct no_inject, name, .required = true, .doc = "Name of the controller."),
	RPC_PARAM(struct no_inject, cmd_type, .required = true, .choices = types, .doc = "Commands of which queues."),
	RPC_PARAM(struct no_inject, opc, .required = true, .doc = "Opcode of the commands."),
};

static void handle_no_inject(struct rpc_call *call, void *args)
{
	const struct no_inject *a = args;
	struct remote_group *g = remote_rpc_group(call, a->name);
	bool admin = strcmp(a->cmd_type, "admin") == 0;

	if (!g)
		return;
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		struct remote_injection *x = g->paths[i] ? atomic_load(&g->paths[i]->injections) : NULL;

		for (; x; x = x->next)
			if (x->admin == admin && x->opc == a->opc)
				atomic_store(&x->left, 0);
	}
	rpc_reply_true(call);
}

/* --- all ----------------------------------------------------------------------------------------------------- */

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_nvme_get_controller_health_info", struct name, name_params, handle_health,
	           .flags = RPC_RUNTIME | RPC_READS, .doc = "The health log of a controller.",
	           .returns = "object with the log's values"),
	RPC_METHOD("bdev_nvme_send_cmd", struct send, send_params, handle_send, .flags = RPC_RUNTIME,
	           .doc = "Send any command; nothing checks what it does.",
	           .returns = "{cpl, data}: completion and data in URL-safe base64"),
	RPC_METHOD("bdev_nvme_add_error_injection", struct inject, inject_params, handle_inject, .flags = RPC_RUNTIME,
	           .doc = "Let the next commands of one opcode fail, for tests.", .returns = "true"),
	RPC_METHOD("bdev_nvme_remove_error_injection", struct no_inject, no_inject_params, handle_no_inject,
	           .flags = RPC_RUNTIME, .doc = "Let them be again.", .returns = "true"),
};

void remote_admin_rpc_add(struct remote_rpc *rr)
{
	list_init(&rr->commands);
	rr->commands_drain.fn = drain;
	rpc_on_drain(bdev_rpc_of(rr->br), &rr->commands_drain);
	rpc_add_methods(bdev_rpc_of(rr->br), methods, ARRAY_SIZE(methods), rr);
}
