/* SPDX-License-Identifier: BSD-3-Clause */
/* aer.c: Asynchronous Event Requests: parked until something happens.
 *
 * Each kind of event is told once and then masked until the host reads its log page.
 */
#include "nvmf/target.h"

struct event {
	uint32_t wanted;  /* its bit in Asynchronous Event Configuration; 0: it has none, and is masked in other ways */
	uint32_t result;
};
static const struct event events[NVMF_EVENT_COUNT] = {
	[NVMF_EVENT_NS_CHANGED] = { NVME_OAES_NS,        NVME_AER_NOTICE_NS_CHANGED },
	[NVMF_EVENT_ANA]        = { NVME_OAES_ANA,       NVME_AER_NOTICE_ANA },
	[NVMF_EVENT_DISCOVERY]  = { NVME_OAES_DISCOVERY, NVME_AER_NOTICE_DISC_CHANGED },
	[NVMF_EVENT_RESERVATION] = { 0,                  NVME_AER_CSS_NVM_RESERVATION },
	[NVMF_EVENT_CCR]        = { NVME_OAES_CCR,       NVME_AER_NOTICE_CCR_COMPLETED },
	[NVMF_EVENT_HEALTH]     = { NVME_SMART_CRIT_DEGRADED, NVME_AER_SMART_SUBSYSTEM_RELIABILITY },
};

/* Any critical warning may be asked for: which ones there are is nowhere said. */
#define WARNINGS (NVME_SMART_CRIT_SPARE | NVME_SMART_CRIT_TEMPERATURE | NVME_SMART_CRIT_DEGRADED | \
                  NVME_SMART_CRIT_MEDIA | NVME_SMART_CRIT_VOLATILE_MEMORY | NVME_SMART_CRIT_PMR_RO)

uint32_t nvmf_events_offered(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s)
{
	if (c->discovery)
		return NVME_OAES_DISCOVERY;
	return NVME_OAES_NS | (s->ana_reporting ? NVME_OAES_ANA : 0) | (c->target->ccr_limit ? NVME_OAES_CCR : 0);
}

uint32_t nvmf_events_known(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s)
{
	return nvmf_events_offered(c, s) | (c->discovery ? 0 : WARNINGS);
}

uint32_t nvmf_events_saveable(const struct nvmf_subsystem *s)
{
	return NVME_OAES_NS | NVME_OAES_CCR | (s->ana_reporting ? NVME_OAES_ANA : 0) | WARNINGS;
}

bool nvmf_aer_parse(struct nvmf_req *req)
{
	req->parks = true;
	return true;
}

static void tell(struct nvmf_ctrlr *c, struct nvmf_req *req, enum nvmf_event ev)
{
	c->aer_pending &= ~(1u << ev);
	c->aer_masked |= 1u << ev;
	req->cpl.dw0 = le32_of(events[ev].result);
	nvmf_req_complete(req, NVME_SC_SUCCESS);
}

void nvmf_aer_run(struct nvmf_req *req)
{
	struct nvmf_ctrlr *c = req->qpair->ctrlr;

	if (c->aer_count == NVMF_AERS_MAX) {
		nvmf_req_complete(req, NVME_SC_ASYNC_LIMIT | NVME_SC_DNR);
		return;
	}
	if (c->aer_pending) {
		tell(c, req, (enum nvmf_event)__builtin_ctz(c->aer_pending));
		return;
	}
	c->aers[c->aer_count++] = req;
}

void nvmf_event_raise(struct nvmf_ctrlr *c, enum nvmf_event ev)
{
	if ((events[ev].wanted && !(c->aer_config & events[ev].wanted)) || (c->aer_masked & 1u << ev))
		return;
	if (c->aer_count)
		tell(c, c->aers[--c->aer_count], ev);
	else
		c->aer_pending |= 1u << ev;
}

void nvmf_event_read(struct nvmf_ctrlr *c, enum nvmf_event ev)
{
	c->aer_masked &= ~(1u << ev);
	c->aer_pending &= ~(1u << ev);
}

bool nvmf_aer_take(struct nvmf_ctrlr *c, struct nvmf_req *req)
{
	for (uint32_t i = 0; i < c->aer_count; i++) {
		if (c->aers[i] == req) {
			c->aers[i] = c->aers[--c->aer_count];
			return true;
		}
	}
	return false;
}

void nvmf_aer_drop_all(struct nvmf_ctrlr *c)
{
	while (c->aer_count)
		nvmf_req_complete(c->aers[--c->aer_count], NVME_SC_ABORT_QUEUE);
}
