/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme_rpc.c: nvme_discover and nvme_identify: connect, ask, disconnect, answer.
 *
 * Every call has a controller of its own on the control reactor, which no I/O waits for. It ends when the target has
 * answered, at its deadline, or when the daemon stops, whatever comes first.
 */
#include "nvme/nvme_rpc.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "base/list.h"
#include "nvme/nvme.h"
#include "rpc/json.h"
#include "rpc/rpc.h"

#define ANA_LOG_BYTES_MAX (256u * 1024)

struct nvme_rpc {
	struct nvme_host *host;
	struct rpc_drain_hook drain;
	struct list visits;
};

/* One call, from its connection to its answer. */
struct visit {
	struct list link;               /* of nvme_rpc.visits, until it is on its way out */
	struct rpc_call *call;
	struct nvme_ctrlr *ctrlr;
	struct nvme_path path;
	struct nvme_host_opts opts;
	struct timer timer;             /* the deadline of what is asked; then: to end, outside of callbacks */
	bool discovers;
	struct nvme_discovery discovery;
	struct nvme_log_read ana;       /* identify: of a controller that has one */
	struct json_object *result;
	struct err err;
};

struct where {
	char *trtype, *traddr, *trsvcid, *adrfam, *subnqn, *hostnqn, *hostaddr;
	bool hdgst, ddgst;
	uint32_t timeout_ms;
};

static const char *const transports[] = { "TCP", "RDMA", NULL };
static const char *const families[] = { "IPv4", "IPv6", NULL };

#define WHERE_ROWS \
	RPC_PARAM(struct where, trtype,     .fallback = "TCP", .choices = transports, .doc = "Transport."), \
	RPC_PARAM(struct where, traddr,     .required = true, .min = 1, .max = 255, \
	          .doc = "Address or name of the target."), \
	RPC_PARAM(struct where, adrfam,     .choices = families, .doc = "Address family; either, when left out."), \
	RPC_PARAM(struct where, hostnqn,    .max = 223, .doc = "Who asks; made from a UUID when left out."), \
	RPC_PARAM(struct where, hostaddr,   .max = 63, \
	          .doc = "Address to connect from; the system's choice when left out."), \
	RPC_PARAM(struct where, hdgst,      .doc = "Header digests."), \
	RPC_PARAM(struct where, ddgst,      .doc = "Data digests."), \
	RPC_PARAM(struct where, timeout_ms, .fallback = "5000", .min = 1, .max = 600000, .unit = "ms", \
	          .doc = "How long connecting may take, name resolution included, and then the answers.")

static const struct rpc_param discover_params[] = {
	WHERE_ROWS,
	RPC_PARAM(struct where, trsvcid, .max = 15, .doc = "Port; 8009 when left out."),
	RPC_PARAM(struct where, subnqn, .max = 223,
	          .doc = "The discovery subsystem; nqn.2014-08.org.nvmexpress.discovery when left out."),
};
static const struct rpc_param identify_params[] = {
	WHERE_ROWS,
	RPC_PARAM(struct where, trsvcid, .max = 15, .doc = "Port; 4420 when left out."),
	RPC_PARAM(struct where, subnqn, .required = true, .min = 1, .max = 223, .doc = "The subsystem."),
};

static void visit_begin(struct rpc_call *call, const struct where *w, bool discovers);
static void visit_ready(struct nvme_ctrlr *c, const struct err *e, void *arg);
static void visit_gone(struct nvme_ctrlr *c, const struct err *e, void *arg);
static void visit_late(struct timer *t);
static void log_read(struct nvme_discovery *d);
static void ana_read(struct nvme_log_read *r);
static struct json_object *log_json(const struct nvme_discovery *d);
static struct json_object *ctrlr_json(const struct nvme_ctrlr_info *info);
static int add_ana(struct json_object *ctrlr, const struct nvme_ctrlr_info *info, const void *page, size_t len,
                   struct err *e);
static void visit_end_soon(struct visit *v);
static void visit_end(struct timer *t);
static void visit_closed(void *arg);

/* --- from a call to its answer ---------------------------------------------------------------- */

static void handle_discover(struct rpc_call *call, void *args) { visit_begin(call, args, true); }
static void handle_identify(struct rpc_call *call, void *args) { visit_begin(call, args, false); }

static void copy(char *dst, size_t size, const char *src)
{
	if (src)
		snprintf(dst, size, "%s", src); /* the rows have seen to its length */
}

static void visit_begin(struct rpc_call *call, const struct where *w, bool discovers)
{
	struct nvme_rpc *n = rpc_ctx(call);
	struct visit *v = base_zalloc(sizeof(*v));

	v->call = call;
	v->discovers = discovers;
	copy(v->path.trtype, sizeof(v->path.trtype), w->trtype);
	copy(v->path.traddr, sizeof(v->path.traddr), w->traddr);
	copy(v->path.subnqn, sizeof(v->path.subnqn), w->subnqn ? w->subnqn : NVME_DISCOVERY_NQN);
	copy(v->path.hostnqn, sizeof(v->path.hostnqn), w->hostnqn);
	copy(v->path.hostaddr, sizeof(v->path.hostaddr), w->hostaddr);
	if (w->trsvcid)
		copy(v->path.trsvcid, sizeof(v->path.trsvcid), w->trsvcid);
	else
		snprintf(v->path.trsvcid, sizeof(v->path.trsvcid), "%d",
		         nvme_default_port(w->trtype, discovers));
	v->path.adrfam = !w->adrfam ? NET_ANY : strcasecmp(w->adrfam, "IPv6") == 0 ? NET_IPV6 : NET_IPV4;
	v->opts = (struct nvme_host_opts){ .header_digest = w->hdgst, .data_digest = w->ddgst,
		                           .connect_timeout_ms = w->timeout_ms };
	list_add_tail(&n->visits, &v->link);
	v->ctrlr = nvme_ctrlr_open(n->host, &v->path, &v->opts, visit_ready, visit_gone, v);
}

static void visit_ready(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct visit *v = arg;
	const struct nvme_ctrlr_info *info = nvme_ctrlr_info(c);

	if (e) {
		visit_gone(c, e, v);
		return;
	}
	timer_start(&v->timer, v->opts.connect_timeout_ms * NS_PER_MS, visit_late);
	if (v->discovers) {
		v->discovery.arg = v;
		nvme_discovery_read(&v->discovery, c, log_read);
		return;
	}
	v->result = ctrlr_json(info);
	if (info->cmic & NVME_CMIC_ANA && info->ns_count) {
		uint32_t len = min_u32(nvme_ana_log_bytes_max(info), ANA_LOG_BYTES_MAX);

		v->ana = (struct nvme_log_read){ .lid = NVME_LOG_ANA, .retain = true, .buf = base_zalloc(len), .len = len,
			                         .done = ana_read, .arg = v };
		nvme_ctrlr_get_log(c, &v->ana);
	} else {
		visit_end_soon(v);
	}
}

/* It says more than what came of the command that was out. */
static void visit_gone(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct visit *v = arg;

	(void)c;
	v->err = *e;
	visit_end_soon(v);
}

static void visit_late(struct timer *t)
{
	struct visit *v = container_of(t, struct visit, timer);
	struct err e = { 0 };

	err_set(&e, -ETIMEDOUT, "%s at %s port %s: connected, but a log page was not there within %u ms",
	        v->path.subnqn, v->path.traddr, v->path.trsvcid, v->opts.connect_timeout_ms);
	nvme_ctrlr_fail(v->ctrlr, NVME_REASON_ADMIN_TIMEOUT, &e);
}

static void log_read(struct nvme_discovery *d)
{
	struct visit *v = d->arg;

	if (d->err.code && !v->err.code)
		err_set(&v->err, d->err.code, "%s at %s port %s: %s", v->path.subnqn, v->path.traddr, v->path.trsvcid,
		        d->err.text);
	else if (!d->err.code)
		v->result = log_json(d);
	nvme_discovery_fini(d);
	visit_end_soon(v);
}

static void ana_read(struct nvme_log_read *r)
{
	struct visit *v = r->arg;
	struct err e = r->err;

	if ((e.code || add_ana(v->result, nvme_ctrlr_info(v->ctrlr), r->buf, r->len, &e)) && !v->err.code)
		err_set(&v->err, e.code, "%s at %s port %s: %s", v->path.subnqn, v->path.traddr, v->path.trsvcid, e.text);
	visit_end_soon(v);
}

/* Within this pass, but not from within a controller's callback. */
static void visit_end_soon(struct visit *v)
{
	if (list_linked(&v->link))
		timer_start(&v->timer, 0, visit_end);
}

static void visit_end(struct timer *t)
{
	struct visit *v = container_of(t, struct visit, timer);

	list_del(&v->link);
	nvme_ctrlr_close(v->ctrlr, visit_closed, v);
}

static void visit_closed(void *arg)
{
	struct visit *v = arg;

	timer_stop(&v->timer);
	if (v->err.code)
		rpc_reply_err(v->call, &v->err);
	else
		rpc_reply(v->call, json_object_get(v->result));
	json_object_put(v->result);
	free(v->ana.buf);
	free(v);
}

/* --- answers ---------------------------------------------------------------------------------- */

static const char *eflags_text(uint16_t eflags, char *buf, size_t size)
{
	static const struct { uint16_t flag; const char *text; } flags[] = {
		{ NVMF_DISC_EFLAGS_DUPRETINFO, "duplicate discovery information" },
		{ NVMF_DISC_EFLAGS_EPCSD, "explicit discovery connections" },
		{ NVMF_DISC_EFLAGS_NCC, "no CDC connectivity" },
	};

	snprintf(buf, size, "none");
	for (size_t i = 0, used = 0; i < ARRAY_SIZE(flags); i++)
		if (eflags & flags[i].flag)
			used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? ", " : "", flags[i].text);
	return buf;
}

static const char *sectype_text(uint8_t sectype)
{
	switch (sectype) {
	case NVMF_TCP_SECTYPE_NONE: return "none";
	case NVMF_TCP_SECTYPE_TLS: return "tls";
	case NVMF_TCP_SECTYPE_TLS13: return "tls13";
	default: return "unrecognized";
	}
}

/* As nvme-cli shows it. */
static struct json_object *log_json(const struct nvme_discovery *d)
{
	struct json_object *o = json_object_new_object(), *records;
	char eflags[128];

	json_add_u64(o, "genctr", d->genctr);
	records = json_add_array(o, "records");
	for (uint32_t i = 0; i < d->count; i++) {
		const struct nvme_discovery_entry *e = &d->entries[i];
		struct json_object *r = json_append_object(records);

		json_add_text(r, "trtype", nvme_discovery_trtype_text(e->trtype));
		json_add_text(r, "adrfam", nvme_discovery_adrfam_text(e->adrfam));
		json_add_text(r, "subtype", nvme_discovery_subtype_text(e->subtype));
		json_add_text(r, "treq", nvme_discovery_treq_text(e->treq));
		json_add_u64(r, "portid", e->portid);
		json_add_text(r, "trsvcid", e->trsvcid);
		json_add_text(r, "subnqn", e->subnqn);
		json_add_text(r, "traddr", e->traddr);
		json_add_text(r, "eflags", eflags_text(e->eflags, eflags, sizeof(eflags)));
		json_add_u64(r, "cntlid", e->cntlid);
		json_add_u64(r, "asqsz", e->asqsz);
		if (e->trtype == NVMF_TRTYPE_TCP)
			json_add_text(r, "sectype", sectype_text(e->sectype));
	}
	json_add_u64(o, "unreadable_records", d->left_out);
	return o;
}

static void add_hex(struct json_object *o, const char *key, const uint8_t *bytes, size_t len)
{
	char text[2 * 16 + 1];

	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	json_add_text(o, key, text);
}

static void ns_json(struct json_object *o, const struct nvme_ns_info *ns)
{
	char uuid[UUID_TEXT_MAX];

	json_add_u64(o, "id", ns->nsid);
	json_add_u64(o, "block_size", ns->block_size);
	json_add_u64(o, "num_blocks", ns->block_count);
	json_add_u64(o, "md_size", ns->md_size);
	if (ns->has_uuid)
		json_add_text(o, "uuid", uuid_to_text(&ns->uuid, uuid));
	if (ns->has_nguid)
		add_hex(o, "nguid", ns->nguid, sizeof(ns->nguid));
	if (ns->has_eui64)
		add_hex(o, "eui64", ns->eui64, sizeof(ns->eui64));
	json_add_bool(o, "can_share", ns->nmic & 1);
	if (ns->ana_group)
		json_add_u64(o, "ana_group", ns->ana_group);
}

/* The names of SPDK's bdev_nvme_get_controllers and bdev_get_bdevs where they have them. */
static struct json_object *ctrlr_json(const struct nvme_ctrlr_info *info)
{
	static const char *const types[] = { "io", "io", "discovery", "admin" }; /* before 1.4 none says */
	struct json_object *o = json_object_new_object(), *c = json_add_object(o, "ctrlr_data"), *list;
	char text[32];

	json_add_u64(c, "cntlid", info->cntlid);
	snprintf(text, sizeof(text), "0x%04x", info->vid);
	json_add_text(c, "vendor_id", text);
	json_add_text(c, "model_number", info->model);
	json_add_text(c, "serial_number", info->serial);
	json_add_text(c, "firmware_revision", info->firmware);
	json_add_text(c, "subnqn", info->subnqn);
	json_add_text(c, "type", info->discovery ? "discovery" : types[info->cntrltype & 3]);
	snprintf(text, sizeof(text), "%u.%u", info->version >> 16, info->version >> 8 & 0xff);
	json_add_text(c, "nvme_version", text);
	json_add_bool(c, "multi_ctrlr", info->cmic & NVME_CMIC_MULTI_CTRL);
	json_add_bool(c, "ana_reporting", info->cmic & NVME_CMIC_ANA);
	json_add_u64(c, "max_io_bytes", info->max_io_bytes == UINT32_MAX ? 0 : info->max_io_bytes);
	json_add_u64(c, "in_capsule_bytes", info->in_capsule_bytes);
	json_add_u64(c, "io_queue_size", info->io_queue_size);
	json_add_u64(c, "namespaces_max", info->namespaces_max);
	list = json_add_array(o, "namespaces");
	for (uint32_t i = 0; i < info->ns_count; i++)
		ns_json(json_append_object(list), &info->ns[i]);
	return o;
}

static const char *ana_text(uint8_t state)
{
	switch (state) {
	case NVME_ANA_OPTIMIZED: return "optimized";
	case NVME_ANA_NONOPTIMIZED: return "non_optimized";
	case NVME_ANA_INACCESSIBLE: return "inaccessible";
	case NVME_ANA_PERSISTENT_LOSS: return "persistent_loss";
	case NVME_ANA_CHANGE: return "change";
	default: return "unrecognized";
	}
}

struct ana_of {
	const struct nvme_ctrlr_info *info;
	struct json_object *list;       /* of namespaces, in the order of `info` */
};

static int nsid_compare(const void *key, const void *member)
{
	uint32_t a = *(const uint32_t *)key, b = ((const struct nvme_ns_info *)member)->nsid;

	return (a > b) - (a < b);
}

static bool add_ana_group(const struct nvme_ana_group *g, void *arg)
{
	const struct ana_of *of = arg;

	for (uint32_t n = 0; n < g->ns_count; n++) {
		uint32_t nsid = le32_get(g->nsids[n]);
		const struct nvme_ns_info *ns = bsearch(&nsid, of->info->ns, of->info->ns_count, sizeof(*ns), nsid_compare);

		if (ns)
			json_add_text(json_object_array_get_idx(of->list, (size_t)(ns - of->info->ns)), "ana_state",
			              ana_text(g->state));
	}
	return true;
}

static int add_ana(struct json_object *ctrlr, const struct nvme_ctrlr_info *info, const void *page, size_t len,
                   struct err *e)
{
	struct ana_of of = { info, json_object_object_get(ctrlr, "namespaces") };

	return nvme_ana_log_each(page, len, add_ana_group, &of, e);
}

/* --- methods ---------------------------------------------------------------------------------- */

static const struct rpc_method methods[] = {
	RPC_METHOD("nvme_discover", struct where, discover_params, handle_discover, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "Ask a discovery service for its log: what is served where. Nothing is attached.",
		.returns = "{genctr, records: [{trtype, adrfam, subtype, treq, portid, trsvcid, subnqn, traddr, eflags, "
		           "cntlid, asqsz, sectype}], unreadable_records}"),
	RPC_METHOD("nvme_identify", struct where, identify_params, handle_identify, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "Connect to a remote subsystem and tell what its controller and namespaces are. Nothing is attached.",
		.returns = "{ctrlr_data: {cntlid, vendor_id, model_number, serial_number, firmware_revision, subnqn, type, "
		           "nvme_version, multi_ctrlr, ana_reporting, max_io_bytes (0: no limit), in_capsule_bytes, "
		           "io_queue_size, namespaces_max}, namespaces: [{id, block_size, num_blocks, md_size, uuid, nguid, "
		           "eui64, can_share, ana_group, ana_state}]}"),
};

static void drain(struct rpc_drain_hook *h)
{
	struct nvme_rpc *n = container_of(h, struct nvme_rpc, drain);
	struct err e = { 0 };

	err_set(&e, -ESHUTDOWN, "the daemon is stopping");
	for (struct list *l = n->visits.next, *next; l != &n->visits; l = next) {
		next = l->next;
		nvme_ctrlr_fail(container_of(l, struct visit, link)->ctrlr, NVME_REASON_ASKED, &e);
	}
}

struct nvme_rpc *nvme_rpc_make(struct rpc *rpc, struct core *core)
{
	struct nvme_rpc *n = base_zalloc(sizeof(*n));

	n->host = nvme_host_make(core);
	n->drain.fn = drain;
	list_init(&n->visits);
	rpc_on_drain(rpc, &n->drain);
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), n);
	return n;
}

void nvme_rpc_stop(struct nvme_rpc *n, void (*done)(void *arg), void *arg)
{
	nvme_host_when_idle(n->host, done, arg);
}

struct nvme_host *nvme_rpc_host(struct nvme_rpc *n)
{
	return n->host;
}

void nvme_rpc_free(struct nvme_rpc *n)
{
	assert(list_empty(&n->visits));
	nvme_host_free(n->host);
	free(n);
}
