/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrlr_end.c: how a controller ends: it fails, is disabled, or is shut down and closed. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "nvme/host.h"

#define CTRLR_SHUTDOWN_POLLS 100

/* --- failing ---------------------------------------------------------------------------------- */

static void ctrlr_free(struct nvme_ctrlr *c)
{
	void (*closed)(void *arg) = c->closed;
	void *arg = c->closed_arg;

	if (c->gone_flag)
		*c->gone_flag = true;
	timer_stop(&c->deadline);
	timer_stop(&c->keep_alive_timer);
	timer_stop(&c->poll_timer);
	ctrlr_lookup_forget(c);
	ctrlr_events_end(c);
	if (c->admin)
		nvme_qpair_close(c->admin);
	ctrlr_scan_end(c);
	free(c->page);
	free(c->ns);
	free(c);
	closed(arg);
}

/* Tell whoever is to know. It may close the controller. */
static void tell(struct nvme_ctrlr *c)
{
	nvme_ctrlr_done_fn *disabled = c->disabled;

	c->disabled = NULL;
	if (c->closed)
		ctrlr_free(c); /* it was on its way out anyway */
	else if (disabled)
		disabled(c, &c->err, c->disabled_arg);
	else if (!c->told)
		c->ready(c, &c->err, c->arg);
	else
		c->gone(c, &c->err, c->arg);
}

/* Commands of others end with the controller, not later. Nothing of theirs runs from within ours: the queue pair ends
 * them by itself, later in this pass. */
static void stop_admin(struct nvme_ctrlr *c)
{
	timer_stop(&c->deadline);
	timer_stop(&c->keep_alive_timer);
	timer_stop(&c->poll_timer);
	ctrlr_events_end(c);
	if (c->admin)
		nvme_qpair_fail(c->admin, c->reason, &c->err);
}

void ctrlr_fail(struct nvme_ctrlr *c, enum nvme_reason reason, int code, const char *fmt, ...)
{
	char why[ERR_TEXT_MAX];
	struct err first = c->err; /* known since opening */
	va_list ap;

	if (c->machine.state == CTRLR_FAILED)
		return;
	va_start(ap, fmt);
	if (fmt)
		vsnprintf(why, sizeof(why), fmt, ap);
	else
		snprintf(why, sizeof(why), "%s", first.text);
	va_end(ap);
	c->reason = reason;
	c->err = (struct err){ 0 };
	err_set(&c->err, code, "%s at %s port %s: %s (while: %s; %s %llu ms)", c->path.subnqn, c->path.traddr,
	        c->path.trsvcid, why, ctrlr_state_text(c), c->told ? "connected for" : "after",
	        (unsigned long long)((reactor_now_ns() - c->began_ns) / NS_PER_MS));
	ctrlr_goto(c, CTRLR_FAILED);
	stop_admin(c);
	tell(c);
	/* and may be gone */
}

void nvme_ctrlr_fail(struct nvme_ctrlr *c, enum nvme_reason reason, const struct err *e)
{
	ctrlr_fail(c, reason, e->code, "%s", e->text);
}

enum nvme_reason nvme_ctrlr_reason(const struct nvme_ctrlr *c)
{
	return c->reason;
}

/* --- disabling -------------------------------------------------------------------------------- */

void nvme_ctrlr_disable(struct nvme_ctrlr *c, nvme_ctrlr_done_fn *done, void *arg)
{
	assert(c->machine.state == CTRLR_READY && !c->disabled);
	c->disabled = done;
	c->disabled_arg = arg;
	ctrlr_scan_end(c);
	ctrlr_deadline_start(c);
	ctrlr_goto(c, CTRLR_DISABLE);
	ctrlr_run(c);
}

enum step ctrlr_on_DISABLE(struct nvme_ctrlr *c)
{
	if (!c->asked)
		return ctrlr_ask_to_set(c, NVME_REG_CC, CTRLR_CC);
	return ctrlr_goto(c, CTRLR_WAIT_IDLE);
}

enum step ctrlr_on_WAIT_IDLE(struct nvme_ctrlr *c)
{
	nvme_ctrlr_done_fn *disabled = c->disabled;

	if (!c->asked)
		return ctrlr_ask_property(c, NVME_REG_CSTS, false);
	if (nvme_csts_rdy(le32_get(c->op.cpl.dw0)))
		return ctrlr_ask_csts_later(c);
	ctrlr_goto(c, CTRLR_DISABLED);
	c->disabled = NULL;
	c->reason = NVME_REASON_ASKED;
	err_set(&c->err, -ESHUTDOWN, "%s at %s port %s: disabled on request", c->path.subnqn, c->path.traddr,
	        c->path.trsvcid);
	stop_admin(c);
	disabled(c, NULL, c->disabled_arg);
	return STEP_DONE; /* and may be gone */
}

/* --- closing ---------------------------------------------------------------------------------- */

void nvme_ctrlr_close(struct nvme_ctrlr *c, void (*done)(void *arg), void *arg)
{
	c->closed = done;
	c->closed_arg = arg;
	if (c->machine.state != CTRLR_READY) {
		c->machine.state = CTRLR_FAILED; /* whatever it was at, it is over */
		ctrlr_free(c);
		return;
	}
	ctrlr_scan_end(c);
	c->polls_left = CTRLR_SHUTDOWN_POLLS;
	ctrlr_deadline_start(c);
	ctrlr_goto(c, CTRLR_SHUTDOWN);
	ctrlr_run(c);
}

enum step ctrlr_on_SHUTDOWN(struct nvme_ctrlr *c)
{
	if (!c->asked)
		return ctrlr_ask_to_set(c, NVME_REG_CC, nvme_cc_with_shn(nvme_cc_with_en(CTRLR_CC, 1), 1));
	return ctrlr_goto(c, CTRLR_WAIT_SHUT);
}

enum step ctrlr_on_WAIT_SHUT(struct nvme_ctrlr *c)
{
	if (!c->asked)
		return ctrlr_ask_property(c, NVME_REG_CSTS, false);
	if (nvme_csts_shst(le32_get(c->op.cpl.dw0)) != 2 && --c->polls_left)
		return ctrlr_ask_csts_later(c);
	ctrlr_goto(c, CTRLR_FAILED);
	ctrlr_free(c);
	return STEP_DONE;
}
