/* SPDX-License-Identifier: BSD-3-Clause */
/* host.c: what the controllers of one daemon share. */
#include "nvme/host.h"

#include <errno.h>
#include <strings.h>

struct nvme_host *nvme_host_make(struct core *core)
{
	struct nvme_host *h = base_zalloc(sizeof(*h));

	h->core = core;
	atomic_store(&h->jobs, 1);
	nvme_host_add_transport(h, &nvme_tcp, NULL);
	return h;
}

void nvme_host_free(struct nvme_host *h)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(h->recv_buf); i++)
		free(h->recv_buf[i]);
	nvme_host_lookups_free(h);
	for (uint32_t i = 0; i < h->transport_count; i++)
		if (h->transports[i].transport->host_free)
			h->transports[i].transport->host_free(h->transports[i].arg);
	free(h);
}

/* --- transports ------------------------------------------------------------------------------- */

void nvme_host_add_transport(struct nvme_host *h, const struct nvme_transport *tr, void *arg)
{
	must(h->transport_count < HOST_TRANSPORTS_MAX && !nvme_host_find_transport(h, tr->name));
	h->transports[h->transport_count].transport = tr;
	h->transports[h->transport_count++].arg = arg;
}

const struct nvme_transport *nvme_host_find_transport(const struct nvme_host *h, const char *trtype)
{
	for (uint32_t i = 0; i < h->transport_count; i++)
		if (!strcasecmp(h->transports[i].transport->name, trtype[0] ? trtype : nvme_tcp.name))
			return h->transports[i].transport;
	return NULL;
}

void *nvme_host_transport_arg(const struct nvme_host *h, const struct nvme_transport *tr)
{
	for (uint32_t i = 0; i < h->transport_count; i++)
		if (h->transports[i].transport == tr)
			return h->transports[i].arg;
	return NULL;
}

bool nvme_host_can(struct nvme_host *h, const char *trtype, struct err *e)
{
	const struct nvme_transport *tr = nvme_host_find_transport(h, trtype);

	if (tr)
		return !tr->can || tr->can(nvme_host_transport_arg(h, tr), e);
	err_set(e, -EPROTONOSUPPORT, "trtype %s: this program was built without it", trtype);
	return false;
}

static void jobs_over(struct msg *m)
{
	struct nvme_host *h = container_of(m, struct nvme_host, jobs_msg);

	atomic_store(&h->jobs, 1);
	nvme_host_idle_now(h);
}

void nvme_host_when_idle(struct nvme_host *h, void (*done)(void *arg), void *arg)
{
	assert(!h->wait.done);
	h->wait = (struct nvme_host_wait){ done, arg, 1 };
	for (uint32_t i = 0; i < h->transport_count; i++) {
		if (!h->transports[i].transport->idle)
			continue;
		h->wait.left++;
		h->transports[i].transport->idle(h, h->transports[i].arg);
	}
	h->wait.left++;
	if (atomic_fetch_sub(&h->jobs, 1) == 1) /* the one that was none */
		jobs_over(&h->jobs_msg);
	nvme_host_idle_now(h);
}

void nvme_host_job_begins(struct nvme_host *h)
{
	atomic_fetch_add(&h->jobs, 1);
}

void nvme_host_job_ended(struct nvme_host *h)
{
	struct core *core = h->core;

	if (atomic_fetch_sub(&h->jobs, 1) == 1)
		msg_send(core_control(core), &h->jobs_msg, jobs_over);
}

void nvme_host_visit_adapters(struct nvme_host *h, void (*visit)(const struct nvme_adapter_stats *s, void *arg),
                              void *arg)
{
	for (uint32_t i = 0; i < h->transport_count; i++)
		if (h->transports[i].transport->visit_adapters)
			h->transports[i].transport->visit_adapters(h->transports[i].arg, visit, arg);
}

void nvme_host_idle_now(struct nvme_host *h)
{
	struct nvme_host_wait w = h->wait;

	if (--h->wait.left)
		return;
	h->wait.done = NULL;
	w.done(w.arg); /* which may free us */
}

uint8_t *nvme_host_recv_buf(struct nvme_host *h)
{
	uint32_t i = reactor_index(reactor_self());

	if (!h->recv_buf[i])
		h->recv_buf[i] = base_zalloc_aligned(4096, HOST_RECV_BYTES);
	return h->recv_buf[i];
}
