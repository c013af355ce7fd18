/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrlr.c: a controller from address to ready: a command per state, one deadline over all of them.
 *
 * A state asks (sends its command and waits) the first time its step runs, and reads the answer the second time. What
 * comes afterwards is in files of their own: scans, events, Keep Alive, and the ends.
 */
#include <errno.h>
#include <stdio.h>

#include "nvme/host.h"

#define CTRLR_DEFAULT_IO_QUEUE_SIZE 128
#define CTRLR_DEFAULT_KEEP_ALIVE_MS 10000
#define CTRLR_DEFAULT_CONNECT_MS 5000

static const struct machine_state ctrlr_states[] = { CTRLR_STATES(MACHINE_ROW) };

/* --- opening ---------------------------------------------------------------------------------- */

static void run_first(struct timer *t)
{
	struct nvme_ctrlr *c = container_of(t, struct nvme_ctrlr, poll_timer);

	if (c->err.code)
		ctrlr_fail(c, NVME_REASON_UNREACHABLE, c->err.code, NULL);
	else
		ctrlr_run(c);
}

static void identify_ourselves(struct nvme_ctrlr *c)
{
	struct nvme_login *l = &c->login;
	char text[UUID_TEXT_MAX];
	uint8_t random[16];

	l->hostid = c->opts.hostid;
	if (uuid_is_null(&l->hostid)) {
		core_random(random, sizeof(random));
		l->hostid = uuid_from_random(random);
	}
	if (!c->path.hostnqn[0])
		snprintf(c->path.hostnqn, sizeof(c->path.hostnqn), NVME_NQN_UUID_PREFIX "%s", uuid_to_text(&l->hostid, text));
}

/* What every queue pair of ours needs; the rest is learnt. */
static void login_begin(struct nvme_ctrlr *c)
{
	struct nvme_login *l = &c->login;
	const struct nvme_path *p = &c->path;
	const char *any = p->adrfam == NET_IPV6 ? "::" : "0.0.0.0";
	struct err e = { 0 };

	identify_ourselves(c);
	l->transport = nvme_host_find_transport(c->host, p->trtype);
	if (!l->transport)
		err_set(&c->err, -EPROTONOSUPPORT, "trtype %s: this program was built without it", p->trtype);
	else if (c->opts.psk && !l->transport->secure)
		err_set(&c->err, -EPROTONOSUPPORT, "psk: there is no TLS over %s; leave it out", l->transport->name);
	l->opts = c->opts;
	l->cntlid = NVME_CNTLID_DYNAMIC;
	memcpy(l->subnqn, p->subnqn, sizeof(l->subnqn));
	memcpy(l->hostnqn, p->hostnqn, sizeof(l->hostnqn));
	if (p->hostaddr[0] || p->hostsvcid[0])
		l->has_from = !net_addr_parse(p->adrfam, p->hostaddr[0] ? p->hostaddr : any,
		                              p->hostsvcid[0] ? p->hostsvcid : "0", &l->from, &e);
	if (e.code)
		err_set(&c->err, e.code, "%s: %s", p->hostaddr[0] ? "hostaddr" : "hostsvcid", e.text);
}

static struct nvme_host_opts opts_or_defaults(const struct nvme_host_opts *opts, struct nvme_ctrlr *c)
{
	struct nvme_host_opts o = *opts;

	o.keep_alive_ms = o.keep_alive_ms ? o.keep_alive_ms : CTRLR_DEFAULT_KEEP_ALIVE_MS;
	o.connect_timeout_ms = o.connect_timeout_ms ? o.connect_timeout_ms : CTRLR_DEFAULT_CONNECT_MS;
	o.ack_timeout_ms = o.ack_timeout_ms ? o.ack_timeout_ms : o.connect_timeout_ms;
	o.io_queues = o.io_queues ? o.io_queues : 1;
	o.io_queue_size = o.io_queue_size ? max_u32(o.io_queue_size, 2) : CTRLR_DEFAULT_IO_QUEUE_SIZE;
	o.alive_ns = o.alive_ns ? o.alive_ns : &c->alive_ns;
	return o;
}

struct nvme_ctrlr *nvme_ctrlr_open(struct nvme_host *h, const struct nvme_path *path,
                                   const struct nvme_host_opts *opts, nvme_ctrlr_ready_fn *ready,
                                   nvme_ctrlr_gone_fn *gone, void *arg)
{
	struct nvme_ctrlr *c = base_zalloc(sizeof(*c));

	c->host = h;
	c->path = *path;
	c->opts = opts_or_defaults(opts, c);
	c->ready = ready;
	c->gone = gone;
	c->arg = arg;
	c->page = base_zalloc(NVME_IDENTIFY_SIZE);
	c->machine = (struct machine){ .states = ctrlr_states, .name = "controller", .state = CTRLR_RESOLVE };
	c->info.keep_alive_ms = c->opts.keep_alive_ms;
	memcpy(c->info.subnqn, c->path.subnqn, sizeof(c->info.subnqn));
	login_begin(c);
	c->began_ns = reactor_now_ns();
	ctrlr_deadline_start(c);
	timer_start(&c->poll_timer, 0, run_first); /* `ready` never runs from within */
	return c;
}

/* --- the deadline ----------------------------------------------------------------------------- */

static void deadline_passed(struct timer *t)
{
	struct nvme_ctrlr *c = container_of(t, struct nvme_ctrlr, deadline);
	enum nvme_reason reason = NVME_REASON_LOGIN_TIMEOUT;

	if (c->machine.state == CTRLR_RESOLVE)
		reason = NVME_REASON_RESOLVE;
	else if (c->machine.state == CTRLR_CONNECT && c->admin->machine.state == QPAIR_CONNECTING)
		reason = NVME_REASON_CONNECT_TIMEOUT;
	ctrlr_fail(c, reason, -ETIMEDOUT, "not done within %u ms%s", c->opts.connect_timeout_ms,
	           nvme_reason_remedy(reason));
}

void ctrlr_deadline_start(struct nvme_ctrlr *c)
{
	timer_start(&c->deadline, c->opts.connect_timeout_ms * NS_PER_MS, deadline_passed);
}

const char *ctrlr_state_text(const struct nvme_ctrlr *c)
{
	if (c->scan.running)
		return c->scan.step;
	if (c->machine.state == CTRLR_CONNECT && c->admin && c->admin->machine.state == QPAIR_SECURING)
		return "shaking hands (TLS) on the admin queue";
	return ctrlr_states[c->machine.state].meaning;
}

/* --- reaching the target ---------------------------------------------------------------------- */

enum step ctrlr_goto(struct nvme_ctrlr *c, enum ctrlr_state state)
{
	c->asked = false;
	return machine_goto(&c->machine, state);
}

/* False: whoever was told has closed it, or it failed. */
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

void ctrlr_resolved(struct nvme_ctrlr *c, const struct net_addr *addr, const struct err *e)
{
	if (c->machine.state != CTRLR_RESOLVE)
		return;
	if (e) {
		ctrlr_fail(c, NVME_REASON_RESOLVE, e->code, "%s", e->text);
		return;
	}
	c->login.addr = *addr;
	ctrlr_goto(c, CTRLR_CONNECT);
	if (c->opts.probe || tell_reached(c))
		ctrlr_run(c);
}

static enum step ctrlr_on_RESOLVE(struct nvme_ctrlr *c)
{
	ctrlr_lookup_start(c);
	return STEP_WAIT; /* it goes on by itself, and may be gone */
}

static void admin_ready(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct nvme_ctrlr *c = arg;

	if (e) {
		ctrlr_fail(c, qp->reason, e->code, "%s", e->text);
		return;
	}
	c->info.cntlid = qp->cntlid;
	c->login.opts.psk_old_first = qp->opts.psk_old_first;
	c->login.opts.generated = qp->generated; /* the admin queue's, which lives longer than the others */
	ctrlr_run(c);
}

static void admin_gone(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct nvme_ctrlr *c = arg;

	if (c->machine.state != CTRLR_DISABLED) /* it was done with */
		ctrlr_fail(c, qp->reason, e->code, "%s", e->text);
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

static void admin_timed_out(struct nvme_qpair *qp, struct nvme_op *op, void *arg)
{
	struct nvme_ctrlr *c = arg;
	bool ours = op == &c->op || op == &c->scan.op;

	(void)qp;
	if (c->timed_out && !ours)
		c->timed_out(c, op, c->timed_out_arg);
	else
		ctrlr_fail(c, NVME_REASON_ADMIN_TIMEOUT, -ETIMEDOUT, "admin command %02xh (%s) was not answered within %u ms",
		           op->cmd.opc, nvme_admin_name(op->cmd.opc), c->opts.admin_timeout_ms);
}

static enum step ctrlr_on_CONNECT(struct nvme_ctrlr *c)
{
	const struct qpair_start start = {
		.keep_alive_ms = c->opts.keep_alive_ms, .reserved = CTRLR_CIDS_RESERVED,
		.held = c->opts.probe ? admin_held : NULL, .ready = admin_ready, .gone = admin_gone, .arg = c,
	};
	struct nvme_login login = c->login;

	if (c->asked)
		return ctrlr_goto(c, CTRLR_READ_CAP);
	c->asked = true;
	login.size = CTRLR_ADMIN_QUEUE_SIZE;
	login.in_capsule_bytes = login.transport->admin_in_capsule_bytes;
	login.opts.io_timeout_ms = c->opts.admin_timeout_ms;
	c->admin = nvme_qpair_start(c->host, &login, &start);
	nvme_qpair_on_timeout(c->admin, admin_timed_out);
	return STEP_WAIT;
}

/* --- talking to the controller ---------------------------------------------------------------- */

static enum step ctrlr_on_READ_CAP(struct nvme_ctrlr *c)
{
	if (!c->asked)
		return ctrlr_ask_property(c, NVME_REG_CAP, true);
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
	if (!c->asked)
		return ctrlr_ask_to_set(c, NVME_REG_CC, nvme_cc_with_en(CTRLR_CC, 1));
	return ctrlr_goto(c, CTRLR_WAIT_READY);
}

static enum step ctrlr_on_WAIT_READY(struct nvme_ctrlr *c)
{
	uint32_t csts = le32_get(c->op.cpl.dw0);

	if (!c->asked)
		return ctrlr_ask_property(c, NVME_REG_CSTS, false);
	if (nvme_csts_cfs(csts)) {
		ctrlr_fail(c, NVME_REASON_FATAL, -EIO, "the controller reports a fatal status");
		return STEP_DONE;
	}
	return nvme_csts_rdy(csts) ? ctrlr_goto(c, CTRLR_IDENTIFY) : ctrlr_ask_csts_later(c); /* until the deadline */
}

/* False: it cannot be used over this transport. */
static bool learn_transport(struct nvme_ctrlr *c)
{
	const struct nvme_transport *tr = c->login.transport;

	if (tr->io_bytes_max)
		c->info.max_io_bytes = min_u32(c->info.max_io_bytes, tr->io_bytes_max);
	if (tr->sgls_needed && !(c->info.sgls & NVME_SGLS_OFFSET))
		c->info.in_capsule_bytes = c->info.descriptors_max = 0; /* both lie in the capsule, at an offset */
	if ((c->info.sgls & tr->sgls_needed) == tr->sgls_needed)
		return true;
	ctrlr_fail(c, NVME_REASON_BAD_ANSWER, -EPROTO,
	           "the controller's SGLS is %08xh: it lacks the data descriptors (%xh) that %s needs", c->info.sgls,
	           tr->sgls_needed, tr->name);
	return false;
}

static enum step ctrlr_on_IDENTIFY(struct nvme_ctrlr *c)
{
	const struct nvme_sqe cmd = ctrlr_identify(NVME_CNS_CTRL, 0);

	if (!c->asked)
		return ctrlr_ask(c, &cmd, NVME_OP_TO_HOST, NVME_IDENTIFY_SIZE);
	nvme_learn_ctrl(&c->info, (const struct nvme_id_ctrl *)c->page, c->cap);
	if (!learn_transport(c))
		return STEP_DONE;
	ctrlr_keep_alive_begin(c);
	return ctrlr_goto(c, CTRLR_SET_EVENTS);
}

/* --- what need not succeed: a controller that refuses it is used without ---------------------- */

static enum step ask_optional(struct nvme_ctrlr *c, const struct nvme_sqe *cmd, enum nvme_op_data data,
                                     uint32_t len)
{
	c->optional = true;
	return ctrlr_ask(c, cmd, data, len);
}

static enum step ctrlr_on_SET_EVENTS(struct nvme_ctrlr *c)
{
	const uint32_t of_disks = NVME_OAES_NS | NVME_OAES_FW | NVME_OAES_ANA | NVME_OAES_CCR;
	uint32_t wanted = c->info.discovery ? NVME_OAES_DISCOVERY : of_disks;
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_SET_FEATURES };

	cmd.features.fid = NVME_FEAT_ASYNC_EVENT;
	cmd.features.cdw11 = le32_of(wanted & c->info.oaes);
	if (!c->asked && (wanted & c->info.oaes))
		return ask_optional(c, &cmd, NVME_OP_NONE, 0);
	return ctrlr_goto(c, c->info.discovery ? CTRLR_READY : CTRLR_LIMITS);
}

static enum step ctrlr_on_LIMITS(struct nvme_ctrlr *c)
{
	const struct nvme_sqe cmd = ctrlr_identify(NVME_CNS_CSI_CTRL, 0);

	if (!c->asked && c->info.version >= NVME_VERSION(2, 0, 0))
		return ask_optional(c, &cmd, NVME_OP_TO_HOST, NVME_IDENTIFY_SIZE);
	if (c->asked && !nvme_op_status(&c->op))
		nvme_learn_limits(&c->info, (const struct nvme_id_ctrl_nvm *)c->page, c->cap);
	return ctrlr_goto(c, CTRLR_SET_BEHAVIOR);
}

/* Without it a controller does not say how long to wait before a command is sent again. */
static enum step ctrlr_on_SET_BEHAVIOR(struct nvme_ctrlr *c)
{
	struct nvme_feat_host_behavior *behavior = (struct nvme_feat_host_behavior *)c->page;
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_SET_FEATURES };

	cmd.features.fid = NVME_FEAT_HOST_BEHAVIOR;
	if (!c->asked && (c->info.crdt_100ms[0] || c->info.crdt_100ms[1] || c->info.crdt_100ms[2])) {
		*behavior = (struct nvme_feat_host_behavior){ .acre = 1 };
		return ask_optional(c, &cmd, NVME_OP_TO_CTRLR, sizeof(*behavior));
	}
	return ctrlr_goto(c, CTRLR_SET_QUEUES);
}

/* --- queues, namespaces, ready ---------------------------------------------------------------- */

static enum step ctrlr_on_SET_QUEUES(struct nvme_ctrlr *c)
{
	uint16_t wanted = (uint16_t)(c->opts.io_queues - 1);
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_SET_FEATURES };
	uint32_t granted;

	cmd.features.fid = NVME_FEAT_NUM_QUEUES;
	cmd.features.cdw11 = le32_of(wanted | (uint32_t)wanted << 16);
	if (!c->asked)
		return ctrlr_ask(c, &cmd, NVME_OP_NONE, 0);
	granted = le32_get(c->op.cpl.dw0);
	c->info.io_queues = (uint16_t)(min_u32(min_u32(granted & 0xffff, granted >> 16), wanted) + 1);
	return ctrlr_goto(c, CTRLR_SCAN);
}

static void first_scan_done(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	(void)arg;
	if (e) {
		ctrlr_fail(c, NVME_REASON_BAD_ANSWER, e->code, "%s", e->text);
		return;
	}
	ctrlr_goto(c, CTRLR_READY);
	ctrlr_run(c);
}

static enum step ctrlr_on_SCAN(struct nvme_ctrlr *c)
{
	c->asked = true;
	ctrlr_scan_begin(c, first_scan_done, NULL);
	return STEP_WAIT;
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
	c->login.descriptors_max = c->info.descriptors_max;
	ctrlr_events_begin(c);
	c->ready(c, NULL, c->arg);
	return STEP_DONE; /* and may be gone */
}

void nvme_ctrlr_set_keys(struct nvme_ctrlr *c, struct keyring_key *key, struct keyring_key *ctrlr_key)
{
	c->opts.key = c->login.opts.key = key;
	c->opts.ctrlr_key = c->login.opts.ctrlr_key = ctrlr_key;
	if (c->admin)
		nvme_qpair_set_keys(c->admin, key, ctrlr_key);
}

void nvme_ctrlr_authenticate(struct nvme_ctrlr *c, nvme_qpair_event_fn *done, void *arg)
{
	assert(c->told && c->admin);
	nvme_qpair_authenticate(c->admin, done, arg);
}

static enum step ctrlr_on_DISABLED(struct nvme_ctrlr *c)
{
	(void)c;
	return STEP_DONE;
}

static enum step ctrlr_on_FAILED(struct nvme_ctrlr *c)
{
	(void)c;
	return STEP_DONE;
}

void ctrlr_run(struct nvme_ctrlr *c)
{
#define CTRLR_STEP(M, S, meaning, next) [M##_##S] = ctrlr_on_##S,
	static enum step (*const steps[])(struct nvme_ctrlr *) = { CTRLR_STATES(CTRLR_STEP) };

	while (steps[c->machine.state](c) == STEP_NEXT)
		;
}

/* --- verbs ------------------------------------------------------------------------------------ */

const struct nvme_ctrlr_info *nvme_ctrlr_info(const struct nvme_ctrlr *c)
{
	return &c->info;
}

void nvme_ctrlr_on_reached(struct nvme_ctrlr *c, void (*fn)(struct nvme_ctrlr *c, void *arg), void *arg)
{
	c->reached = fn;
	c->reached_arg = arg;
}

void nvme_ctrlr_proceed(struct nvme_ctrlr *c)
{
	assert(c->opts.probe);
	if (c->machine.state != CTRLR_CONNECT || c->admin->machine.state != QPAIR_HELD)
		return; /* it ended meanwhile, which is told */
	ctrlr_deadline_start(c);
	nvme_qpair_negotiate(c->admin);
}

bool nvme_ctrlr_login(const struct nvme_ctrlr *c, struct nvme_login *ret_login)
{
	if (!c->login.addr.len)
		return false;
	*ret_login = c->login;
	return true;
}

void nvme_ctrlr_submit_admin(struct nvme_ctrlr *c, struct nvme_op *op)
{
	nvme_qpair_submit(c->admin, op);
}

void nvme_ctrlr_on_timeout(struct nvme_ctrlr *c, void (*fn)(struct nvme_ctrlr *c, struct nvme_op *op, void *arg),
                           void *arg)
{
	c->timed_out = fn;
	c->timed_out_arg = arg;
}
