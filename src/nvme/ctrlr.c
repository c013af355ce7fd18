/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrlr.c: a controller from address to ready: one admin command per state, one deadline over all of them.
 *
 * A state asks (sends its command and waits) the first time its step runs, and reads the answer the second time.
 * Keep Alive goes out at half the time-out, with a command of its own that nothing else can use up.
 */
#include <errno.h>
#include <stdio.h>

#include "nvme/host.h"
#include "wire/nvme_tcp.h"

#define CTRLR_ADMIN_QUEUE_SIZE 32
#define CTRLR_DEFAULT_IO_QUEUE_SIZE 128
#define CTRLR_READY_POLL_NS (10 * NS_PER_MS)
#define CTRLR_SHUTDOWN_POLLS 100

#define CTRLR_STATES(X) \
	X(CTRLR, RESOLVE,     "look up the address",                 TO(CTRLR, CONNECT) | TO(CTRLR, FAILED)) \
	X(CTRLR, CONNECT,     "connect the admin queue",             TO(CTRLR, READ_CAP) | TO(CTRLR, FAILED)) \
	X(CTRLR, READ_CAP,    "read CAP",                            TO(CTRLR, ENABLE) | TO(CTRLR, FAILED)) \
	X(CTRLR, ENABLE,      "set CC.EN",                           TO(CTRLR, WAIT_READY) | TO(CTRLR, FAILED)) \
	X(CTRLR, WAIT_READY,  "read CSTS until RDY",                 TO(CTRLR, IDENTIFY) | TO(CTRLR, FAILED)) \
	X(CTRLR, IDENTIFY,    "Identify controller",                 TO(CTRLR, SET_QUEUES) | TO(CTRLR, READY) | \
	                                                             TO(CTRLR, FAILED)) \
	X(CTRLR, SET_QUEUES,  "Set Features: number of queues",      TO(CTRLR, LIST_NS) | TO(CTRLR, FAILED)) \
	X(CTRLR, LIST_NS,     "Identify active namespaces",          TO(CTRLR, IDENTIFY_NS) | TO(CTRLR, READY) | \
	                                                             TO(CTRLR, FAILED)) \
	X(CTRLR, IDENTIFY_NS, "Identify each namespace",             TO(CTRLR, IDENTIFY_NS) | TO(CTRLR, READY) | \
	                                                             TO(CTRLR, FAILED)) \
	X(CTRLR, READY,       "in use",                              TO(CTRLR, SHUTDOWN) | TO(CTRLR, FAILED)) \
	X(CTRLR, SHUTDOWN,    "set CC.SHN",                          TO(CTRLR, WAIT_SHUT) | TO(CTRLR, FAILED)) \
	X(CTRLR, WAIT_SHUT,   "read CSTS until SHST says complete",  TO(CTRLR, FAILED)) \
	X(CTRLR, FAILED,      "over: failed or shut down",           0)
enum ctrlr_state { CTRLR_STATES(MACHINE_ENUM) CTRLR_STATE_COUNT };
static const struct machine_state ctrlr_states[] = { CTRLR_STATES(MACHINE_ROW) };

/* A name look-up; outlives its controller when a name server is slow. */
struct lookup {
	struct net_resolve resolve;
	struct nvme_ctrlr *ctrlr;       /* NULL: it went meanwhile */
};

struct nvme_ctrlr {
	struct nvme_host *host;
	struct nvme_path path;
	struct nvme_host_opts opts;
	struct nvme_ctrlr_info info;
	struct uuid hostid;
	struct machine machine;
	bool asked;                     /* the state's command is out or answered */
	bool told;                      /* `ready` was called */
	struct lookup *lookup;
	struct nvme_qpair *admin;
	struct nvme_op op;              /* of the state machine */
	struct iovec iov;
	uint8_t *page;                  /* 4 KiB for Identify */
	uint64_t cap;
	uint32_t *nsids, nsid_count, nsid_at, polls_left;
	struct nvme_ns_info *ns;        /* info.ns */
	struct nvme_login login;
	_Atomic uint64_t alive_ns;      /* where the path has none */
	enum nvme_reason reason;
	bool *gone_flag;                /* set when it is freed within a callback of ours */
	void (*reached)(struct nvme_ctrlr *c, void *arg);
	void *reached_arg;
	struct nvme_op keep_alive_op;
	struct timer keep_alive_timer, deadline, poll_timer;
	bool keep_alive_out;
	struct err err;
	nvme_ctrlr_ready_fn *ready;
	nvme_ctrlr_gone_fn *gone;
	void *arg;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void ctrlr_run(struct nvme_ctrlr *c);
static void keep_alive_begin(struct nvme_ctrlr *c);

static enum step ctrlr_goto(struct nvme_ctrlr *c, enum ctrlr_state state)
{
	c->asked = false;
	return machine_goto(&c->machine, state);
}

/* --- failing and ending ----------------------------------------------------------------------- */

static void ctrlr_free(struct nvme_ctrlr *c)
{
	void (*closed)(void *arg) = c->closed;
	void *arg = c->closed_arg;

	if (c->gone_flag)
		*c->gone_flag = true;
	timer_stop(&c->deadline);
	timer_stop(&c->keep_alive_timer);
	timer_stop(&c->poll_timer);
	if (c->lookup)
		c->lookup->ctrlr = NULL; /* resolved() frees it */
	if (c->admin)
		nvme_qpair_close(c->admin);
	free(c->page);
	free(c->nsids);
	free(c->ns);
	free(c);
	closed(arg);
}

static void ctrlr_fail(struct nvme_ctrlr *c, enum nvme_reason reason, int code, const char *why)
{
	char subject[600];

	if (c->machine.state == CTRLR_FAILED)
		return;
	snprintf(subject, sizeof(subject), "%s at %s port %s", c->path.subnqn, c->path.traddr, c->path.trsvcid);
	err_set(&c->err, code, "%s: %s (while: %s)", subject, why, ctrlr_states[c->machine.state].meaning);
	c->reason = reason;
	timer_stop(&c->deadline);
	timer_stop(&c->keep_alive_timer);
	timer_stop(&c->poll_timer);
	ctrlr_goto(c, CTRLR_FAILED);
	if (c->closed)
		ctrlr_free(c); /* it was on its way out anyway */
	else if (!c->told) {
		c->told = true;
		c->ready(c, &c->err, c->arg);
	} else {
		c->gone(c, &c->err, c->arg);
	}
}

static void deadline_passed(struct timer *t)
{
	struct nvme_ctrlr *c = container_of(t, struct nvme_ctrlr, deadline);
	char why[64];

	snprintf(why, sizeof(why), "not ready within %u ms", c->opts.connect_timeout_ms);
	ctrlr_fail(c, c->machine.state == CTRLR_RESOLVE ? NVME_REASON_RESOLVE : NVME_REASON_LOGIN_TIMEOUT, -ETIMEDOUT,
	           why);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void answered(struct nvme_op *op)
{
	struct nvme_ctrlr *c = container_of(op, struct nvme_ctrlr, op);
	uint16_t status = nvme_op_status(op);
	char why[128];

	if (c->machine.state == CTRLR_FAILED)
		return;
	if (!status) {
		ctrlr_run(c);
		return;
	}
	if (nvme_qpair_is_dead(c->admin))
		return; /* admin_gone() says why */
	snprintf(why, sizeof(why), "the target answered '%s'", nvme_status_text(status, op->cmd.opc == NVME_ADMIN_FABRICS));
	ctrlr_fail(c, NVME_REASON_BAD_ANSWER, -EIO, why);
}

static enum step ask(struct nvme_ctrlr *c, const struct nvme_sqe *cmd, enum nvme_op_data data, uint32_t len)
{
	c->asked = true;
	c->iov = (struct iovec){ c->page, len };
	c->op = (struct nvme_op){ .cmd = *cmd, .iovs = &c->iov, .iov_count = len ? 1 : 0, .data = (uint8_t)data,
		                  .data_len = len, .done = answered };
	nvme_qpair_submit(c->admin, &c->op);
	return STEP_WAIT;
}

static enum step ask_property(struct nvme_ctrlr *c, enum nvme_property offset, bool wide)
{
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_FABRICS, .fctype = NVME_FABRICS_PROPERTY_GET };

	cmd.property.attrib = wide;
	cmd.property.ofst = le32_of(offset);
	return ask(c, &cmd, NVME_OP_NONE, 0);
}

static enum step ask_to_set(struct nvme_ctrlr *c, enum nvme_property offset, uint64_t value)
{
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_FABRICS, .fctype = NVME_FABRICS_PROPERTY_SET };

	cmd.property.ofst = le32_of(offset);
	cmd.property.value = le64_of(value);
	return ask(c, &cmd, NVME_OP_NONE, 0);
}

static enum step ask_identify(struct nvme_ctrlr *c, enum nvme_cns cns, uint32_t nsid)
{
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_IDENTIFY, .nsid = le32_of(nsid) };

	cmd.identify.cns = (uint8_t)cns;
	return ask(c, &cmd, NVME_OP_TO_HOST, NVME_IDENTIFY_SIZE);
}

static void ask_again(struct timer *t)
{
	struct nvme_ctrlr *c = container_of(t, struct nvme_ctrlr, poll_timer);

	ask_property(c, NVME_REG_CSTS, false);
}

/* --- the states ------------------------------------------------------------------------------- */

/* False: the controller was closed by the one who was told. */
static bool tell_reached(struct nvme_ctrlr *c)
{
	void (*reached)(struct nvme_ctrlr *c, void *arg) = c->reached;
	bool gone = false;

	c->reached = NULL;
	if (!reached)
		return true;
	c->gone_flag = &gone;
	reached(c, c->reached_arg);
	if (gone)
		return false;
	c->gone_flag = NULL;
	return c->machine.state != CTRLR_FAILED;
}

static void resolved(struct net_resolve *r)
{
	struct lookup *l = container_of(r, struct lookup, resolve);
	struct nvme_ctrlr *c = l->ctrlr;
	struct err e = r->err;

	if (c) {
		c->login.addr = r->addr;
		c->lookup = NULL;
	}
	free(l);
	if (!c || c->machine.state != CTRLR_RESOLVE)
		return;
	if (e.code) {
		ctrlr_fail(c, NVME_REASON_RESOLVE, e.code, e.text);
		return;
	}
	ctrlr_goto(c, CTRLR_CONNECT);
	if (c->opts.probe || tell_reached(c))
		ctrlr_run(c);
}

static enum step ctrlr_on_RESOLVE(struct nvme_ctrlr *c)
{
	c->asked = true;
	c->lookup = base_zalloc(sizeof(*c->lookup));
	c->lookup->ctrlr = c;
	net_resolve(&c->lookup->resolve, c->path.adrfam, c->path.traddr, c->path.trsvcid, resolved);
	return STEP_WAIT;
}

static void admin_ready(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct nvme_ctrlr *c = arg;

	if (e) {
		ctrlr_fail(c, qp->reason, e->code, e->text);
		return;
	}
	c->info.cntlid = qp->cntlid;
	ctrlr_run(c);
}

static void admin_gone(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	ctrlr_fail(arg, qp->reason, e->code, e->text);
}

static void admin_held(struct nvme_qpair *qp, void *arg)
{
	struct nvme_ctrlr *c = arg;

	(void)qp;
	timer_stop(&c->deadline);
	if (c->reached)
		tell_reached(c);
	else
		nvme_ctrlr_proceed(c);
}

static enum step ctrlr_on_CONNECT(struct nvme_ctrlr *c)
{
	struct qpair_start start = {
		.keep_alive_ms = c->opts.keep_alive_ms, .held = c->opts.probe ? admin_held : NULL, .ready = admin_ready,
		.gone = admin_gone, .arg = c,
	};
	struct nvme_login login = c->login;

	if (c->asked)
		return ctrlr_goto(c, CTRLR_READ_CAP);
	c->asked = true;
	login.size = CTRLR_ADMIN_QUEUE_SIZE;
	login.in_capsule_bytes = NVME_TCP_ADMIN_ICD_MAX;
	c->admin = nvme_qpair_start(c->host, &nvme_tcp, &login, &start);
	return STEP_WAIT;
}

static enum step ctrlr_on_READ_CAP(struct nvme_ctrlr *c)
{
	if (!c->asked)
		return ask_property(c, NVME_REG_CAP, true);
	c->cap = le64_get(c->op.cpl.value);
	if (!nvme_cap_mqes(c->cap)) {
		ctrlr_fail(c, NVME_REASON_BAD_ANSWER, -EPROTO,
		           "the controller's CAP.MQES is 0: a queue of one entry cannot hold a command");
		return STEP_DONE;
	}
	c->info.io_queue_size = (uint16_t)min_u64(nvme_cap_mqes(c->cap) + 1, c->opts.io_queue_size);
	return ctrlr_goto(c, CTRLR_ENABLE);
}

static enum step ctrlr_on_ENABLE(struct nvme_ctrlr *c)
{
	uint64_t cc = nvme_cc_with_en(nvme_cc_with_iosqes(nvme_cc_with_iocqes(0, 4), 6), 1);

	if (!c->asked)
		return ask_to_set(c, NVME_REG_CC, cc);
	return ctrlr_goto(c, CTRLR_WAIT_READY);
}

static enum step ctrlr_on_WAIT_READY(struct nvme_ctrlr *c)
{
	uint32_t csts = le32_get(c->op.cpl.dw0);

	if (!c->asked)
		return ask_property(c, NVME_REG_CSTS, false);
	if (nvme_csts_rdy(csts))
		return ctrlr_goto(c, CTRLR_IDENTIFY);
	if (nvme_csts_cfs(csts)) {
		ctrlr_fail(c, NVME_REASON_FATAL, -EIO, "the controller reports a fatal status");
		return STEP_DONE;
	}
	timer_start(&c->poll_timer, CTRLR_READY_POLL_NS, ask_again); /* until the deadline */
	return STEP_WAIT;
}

/* A fixed-size field, blank padded, as a string. */
static void field_text(char *dst, const char *field, size_t size)
{
	memcpy(dst, field, size);
	dst[size] = 0;
	while (size && (dst[size - 1] == ' ' || !dst[size - 1]))
		dst[--size] = 0;
}

static enum step ctrlr_on_IDENTIFY(struct nvme_ctrlr *c)
{
	const struct nvme_id_ctrl *id = (const struct nvme_id_ctrl *)c->page;
	uint64_t page_bytes = 1ull << (12 + nvme_cap_mpsmin(c->cap));

	if (!c->asked)
		return ask_identify(c, NVME_CNS_CTRL, 0);
	field_text(c->info.serial, id->sn, sizeof(id->sn));
	field_text(c->info.model, id->mn, sizeof(id->mn));
	field_text(c->info.firmware, id->fr, sizeof(id->fr));
	c->info.max_io_bytes = (uint32_t)(id->mdts && id->mdts < 20 ? min_u64(page_bytes << id->mdts, UINT32_MAX) :
	                                                               UINT32_MAX);
	c->info.in_capsule_bytes = le32_get(id->ioccsz) > 4 ? (le32_get(id->ioccsz) - 4) * 16 : 0;
	c->info.discovery = id->cntrltype == NVME_CNTRLTYPE_DISCOVERY || !strcmp(c->path.subnqn, NVME_DISCOVERY_NQN);
	keep_alive_begin(c);
	return ctrlr_goto(c, c->info.discovery ? CTRLR_READY : CTRLR_SET_QUEUES);
}

static enum step ctrlr_on_SET_QUEUES(struct nvme_ctrlr *c)
{
	uint16_t wanted = (uint16_t)(c->opts.io_queues - 1);
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_SET_FEATURES };
	uint32_t granted;

	cmd.features.fid = NVME_FEAT_NUM_QUEUES;
	cmd.features.cdw11 = le32_of(wanted | (uint32_t)wanted << 16);
	if (!c->asked)
		return ask(c, &cmd, NVME_OP_NONE, 0);
	granted = le32_get(c->op.cpl.dw0);
	c->info.io_queues = (uint16_t)(min_u32(min_u32(granted & 0xffff, granted >> 16), wanted) + 1);
	return ctrlr_goto(c, CTRLR_LIST_NS);
}

static enum step ctrlr_on_LIST_NS(struct nvme_ctrlr *c)
{
	const le32 *list = (const le32 *)c->page;

	if (!c->asked)
		return ask_identify(c, NVME_CNS_NS_ACTIVE_LIST, 0);
	c->nsids = base_zalloc(1024 * sizeof(*c->nsids));
	while (c->nsid_count < 1024 && le32_get(list[c->nsid_count])) {
		c->nsids[c->nsid_count] = le32_get(list[c->nsid_count]);
		c->nsid_count++;
	}
	c->info.ns = c->ns = base_zalloc((c->nsid_count + 1) * sizeof(*c->ns));
	return ctrlr_goto(c, c->nsid_count ? CTRLR_IDENTIFY_NS : CTRLR_READY);
}

static void ns_learn(struct nvme_ctrlr *c, const struct nvme_id_ns *id)
{
	const struct nvme_lbaf *format = &id->lbaf[id->flbas & 0xf];

	if (!le64_get(id->nsze) || format->ds < 9 || format->ds > 24)
		return; /* it went meanwhile, or is nothing we can use */
	c->ns[c->info.ns_count++] = (struct nvme_ns_info){
		.nsid = c->nsids[c->nsid_at], .block_size = 1u << format->ds, .md_size = le16_get(format->ms),
		.block_count = le64_get(id->nsze), .usable = true,
	};
}

static enum step ctrlr_on_IDENTIFY_NS(struct nvme_ctrlr *c)
{
	if (!c->asked)
		return ask_identify(c, NVME_CNS_NS, c->nsids[c->nsid_at]);
	ns_learn(c, (const struct nvme_id_ns *)c->page);
	return ctrlr_goto(c, ++c->nsid_at < c->nsid_count ? CTRLR_IDENTIFY_NS : CTRLR_READY);
}

static enum step ctrlr_on_READY(struct nvme_ctrlr *c)
{
	assert(!c->told);
	timer_stop(&c->deadline);
	c->told = true;
	c->login.cntlid = c->info.cntlid;
	c->login.size = c->info.io_queue_size;
	c->login.io_queues = c->info.io_queues;
	c->login.in_capsule_bytes = c->info.in_capsule_bytes;
	c->ready(c, NULL, c->arg);
	return STEP_DONE; /* and may be gone */
}

static enum step ctrlr_on_SHUTDOWN(struct nvme_ctrlr *c)
{
	uint64_t cc = nvme_cc_with_shn(nvme_cc_with_en(nvme_cc_with_iosqes(nvme_cc_with_iocqes(0, 4), 6), 1), 1);

	if (!c->asked)
		return ask_to_set(c, NVME_REG_CC, cc);
	return ctrlr_goto(c, CTRLR_WAIT_SHUT);
}

static enum step ctrlr_on_WAIT_SHUT(struct nvme_ctrlr *c)
{
	if (!c->asked)
		return ask_property(c, NVME_REG_CSTS, false);
	if (nvme_csts_shst(le32_get(c->op.cpl.dw0)) == 2 || --c->polls_left == 0) {
		ctrlr_goto(c, CTRLR_FAILED);
		ctrlr_free(c);
		return STEP_DONE;
	}
	timer_start(&c->poll_timer, CTRLR_READY_POLL_NS, ask_again);
	return STEP_WAIT;
}

static enum step ctrlr_on_FAILED(struct nvme_ctrlr *c)
{
	(void)c;
	return STEP_DONE;
}

static void ctrlr_run(struct nvme_ctrlr *c)
{
#define CTRLR_STEP(M, S, meaning, next) [M##_##S] = ctrlr_on_##S,
	static enum step (*const steps[])(struct nvme_ctrlr *) = { CTRLR_STATES(CTRLR_STEP) };

	while (steps[c->machine.state](c) == STEP_NEXT)
		;
}

/* --- keep alive ------------------------------------------------------------------------------- */

static void keep_alive_send(struct timer *t);

static void keep_alive_done(struct nvme_op *op)
{
	struct nvme_ctrlr *c = container_of(op, struct nvme_ctrlr, keep_alive_op);

	c->keep_alive_out = false;
	if (c->machine.state == CTRLR_FAILED)
		return;
	timer_start(&c->keep_alive_timer, c->opts.keep_alive_ms * NS_PER_MS / 2, keep_alive_send);
}

static void keep_alive_send(struct timer *t)
{
	struct nvme_ctrlr *c = container_of(t, struct nvme_ctrlr, keep_alive_timer);

	if (c->keep_alive_out) { /* half a time-out ago, and no answer: the other half is over, too */
		ctrlr_fail(c, NVME_REASON_KEEP_ALIVE, -ETIMEDOUT, "the target does not answer Keep Alive");
		return;
	}
	c->keep_alive_out = true;
	c->keep_alive_op = (struct nvme_op){ .cmd.opc = NVME_ADMIN_KEEP_ALIVE, .done = keep_alive_done };
	timer_start(t, c->opts.keep_alive_ms * NS_PER_MS / 2, keep_alive_send);
	nvme_qpair_submit(c->admin, &c->keep_alive_op);
}

static void keep_alive_begin(struct nvme_ctrlr *c)
{
	timer_start(&c->keep_alive_timer, c->opts.keep_alive_ms * NS_PER_MS / 2, keep_alive_send);
}

/* --- verbs ------------------------------------------------------------------------------------ */

static void run_first(struct timer *t)
{
	struct nvme_ctrlr *c = container_of(t, struct nvme_ctrlr, poll_timer);

	if (c->err.code)
		ctrlr_fail(c, NVME_REASON_UNREACHABLE, c->err.code, c->err.text);
	else
		ctrlr_run(c);
}

static void identify_ourselves(struct nvme_ctrlr *c)
{
	uint8_t random[16];
	char text[UUID_TEXT_MAX];

	c->hostid = c->opts.hostid;
	if (uuid_is_null(&c->hostid)) {
		core_random(random, sizeof(random));
		c->hostid = uuid_from_random(random);
	}
	if (!c->path.hostnqn[0])
		snprintf(c->path.hostnqn, sizeof(c->path.hostnqn), NVME_NQN_UUID_PREFIX "%s", uuid_to_text(&c->hostid, text));
}

/* What every queue pair of ours needs; the rest is learnt. */
static void login_begin(struct nvme_ctrlr *c)
{
	struct nvme_login *l = &c->login;

	if (!c->opts.alive_ns)
		c->opts.alive_ns = &c->alive_ns;
	l->opts = c->opts;
	l->hostid = c->hostid;
	l->cntlid = NVME_CNTLID_DYNAMIC;
	memcpy(l->subnqn, c->path.subnqn, sizeof(l->subnqn));
	memcpy(l->hostnqn, c->path.hostnqn, sizeof(l->hostnqn));
	if (c->path.hostaddr[0])
		l->has_from = !net_addr_parse(c->path.adrfam, c->path.hostaddr,
		                              c->path.hostsvcid[0] ? c->path.hostsvcid : "0", &l->from, &c->err);
}

struct nvme_ctrlr *nvme_ctrlr_open(struct nvme_host *h, const struct nvme_path *path,
                                   const struct nvme_host_opts *opts, nvme_ctrlr_ready_fn *ready,
                                   nvme_ctrlr_gone_fn *gone, void *arg)
{
	struct nvme_ctrlr *c = base_zalloc(sizeof(*c));

	c->host = h;
	c->path = *path;
	c->opts = *opts;
	c->opts.keep_alive_ms = opts->keep_alive_ms ? opts->keep_alive_ms : 10000;
	c->opts.connect_timeout_ms = opts->connect_timeout_ms ? opts->connect_timeout_ms : 5000;
	c->opts.ack_timeout_ms = opts->ack_timeout_ms ? opts->ack_timeout_ms : c->opts.connect_timeout_ms;
	c->opts.io_queues = opts->io_queues ? opts->io_queues : 1;
	c->opts.io_queue_size = opts->io_queue_size ? opts->io_queue_size : CTRLR_DEFAULT_IO_QUEUE_SIZE;
	c->ready = ready;
	c->gone = gone;
	c->arg = arg;
	c->page = base_zalloc(NVME_IDENTIFY_SIZE);
	c->machine = (struct machine){ .states = ctrlr_states, .name = "controller", .state = CTRLR_RESOLVE };
	memcpy(c->info.subnqn, c->path.subnqn, sizeof(c->info.subnqn));
	identify_ourselves(c);
	login_begin(c);
	timer_start(&c->deadline, c->opts.connect_timeout_ms * NS_PER_MS, deadline_passed);
	timer_start(&c->poll_timer, 0, run_first); /* `ready` never runs from within */
	return c;
}

void nvme_ctrlr_close(struct nvme_ctrlr *c, void (*done)(void *arg), void *arg)
{
	c->closed = done;
	c->closed_arg = arg;
	if (c->machine.state == CTRLR_READY) {
		c->polls_left = CTRLR_SHUTDOWN_POLLS;
		timer_start(&c->deadline, c->opts.connect_timeout_ms * NS_PER_MS, deadline_passed);
		ctrlr_goto(c, CTRLR_SHUTDOWN);
		ctrlr_run(c);
	} else {
		c->machine.state = CTRLR_FAILED; /* whatever it was at, it is over */
		ctrlr_free(c);
	}
}

const struct nvme_ctrlr_info *nvme_ctrlr_info(const struct nvme_ctrlr *c)
{
	return &c->info;
}

void nvme_ctrlr_submit_admin(struct nvme_ctrlr *c, struct nvme_op *op)
{
	nvme_qpair_submit(c->admin, op);
}

enum nvme_reason nvme_ctrlr_reason(const struct nvme_ctrlr *c)
{
	return c->reason;
}

void nvme_ctrlr_fail(struct nvme_ctrlr *c, enum nvme_reason reason, const struct err *e)
{
	ctrlr_fail(c, reason, e->code, e->text);
}

void nvme_ctrlr_on_reached(struct nvme_ctrlr *c, void (*fn)(struct nvme_ctrlr *c, void *arg), void *arg)
{
	c->reached = fn;
	c->reached_arg = arg;
}

void nvme_ctrlr_proceed(struct nvme_ctrlr *c)
{
	assert(c->opts.probe && c->machine.state == CTRLR_CONNECT);
	timer_start(&c->deadline, c->opts.connect_timeout_ms * NS_PER_MS, deadline_passed);
	nvme_qpair_negotiate(c->admin);
}

bool nvme_ctrlr_login(const struct nvme_ctrlr *c, struct nvme_login *ret_login)
{
	if (!c->login.addr.len)
		return false;
	*ret_login = c->login;
	return true;
}

/* --- the host --------------------------------------------------------------------------------- */

struct nvme_host *nvme_host_make(struct core *core)
{
	struct nvme_host *h = base_zalloc(sizeof(*h));

	h->core = core;
	return h;
}

void nvme_host_free(struct nvme_host *h)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(h->recv_buf); i++)
		free(h->recv_buf[i]);
	free(h);
}

uint8_t *nvme_host_recv_buf(struct nvme_host *h)
{
	uint32_t i = reactor_index(reactor_self());

	if (!h->recv_buf[i])
		h->recv_buf[i] = base_zalloc_aligned(4096, HOST_RECV_BYTES);
	return h->recv_buf[i];
}
