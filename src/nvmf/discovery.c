/* SPDX-License-Identifier: BSD-3-Clause */
/* discovery.c: the discovery log page: which subsystems a host may use, and at which addresses.
 *
 * Any listener answers discovery. An entry for each listener of each subsystem that allows the host; a listener on a
 * wildcard address is told as the address at which this host reached us.
 */
#include "nvmf/target.h"

static uint8_t adrfam(const struct net_addr *a)
{
	return net_addr_family(a) == NET_IPV6 ? NVMF_ADRFAM_IP6 : NVMF_ADRFAM_IP4;
}

/* The host part that reaches a listener: its own, or where we were reached if it is the wildcard of that family. */
static const struct net_addr *reachable(const struct nvmf_ctrlr *c, const struct nvmf_listener *l, struct net_addr *buf)
{
	*buf = c->listen_addr;
	net_addr_set_port(buf, net_addr_port(&l->addr));
	return net_addr_covers(&l->addr, buf) ? buf : &l->addr;
}

static void fill_entry(struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, uint32_t at, struct nvmf_disc_log_entry *e)
{
	const struct nvmf_listener *l = &s->listeners[at];
	char text[NET_ADDR_TEXT_MAX], port[8];
	struct net_addr buf;
	const struct net_addr *a = reachable(c, l, &buf);
	struct text t = text_over(port, sizeof(port));

	text_add(&t, "%u", net_addr_port(a));
	e->trtype = l->transport->ops->trtype;
	e->adrfam = adrfam(a);
	e->subtype = NVMF_SUBTYPE_NVME;
	e->treq = NVMF_TREQ_NOT_REQUIRED | NVMF_TREQ_DISABLE_SQFLOW;
	e->portid = le16_of((uint16_t)at);
	e->cntlid = le16_of(NVME_CNTLID_DYNAMIC);
	e->asqsz = le16_of((uint16_t)l->transport->opts.max_aq_depth);
	text_pad(e->trsvcid, sizeof(e->trsvcid), port, ' ');
	text_pad(e->subnqn, sizeof(e->subnqn), s->nqn, 0);
	text_pad(e->traddr, sizeof(e->traddr), net_addr_host(a, text), ' ');
	if (e->trtype == NVMF_TRTYPE_RDMA) {
		e->tsas.rdma.qptype = NVMF_RDMA_QPTYPE_CONNECTED;
		e->tsas.rdma.prtype = NVMF_RDMA_PRTYPE_NOT_SPECIFIED;
		e->tsas.rdma.cms = NVMF_RDMA_CMS_RDMA_CM;
	} else {
		e->tsas.tcp.sectype = NVMF_TCP_SECTYPE_NONE;
	}
}

static bool visible(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s)
{
	return s && !s->discovery && nvmf_subsystem_allows_host(s, c->who.name);
}

struct nvmf_discovery_log *nvmf_discovery_log_make(struct nvmf_ctrlr *c, size_t *ret_len)
{
	const struct nvmf_core *nc = c->admin_qp->nc;
	struct nvmf_discovery_log *log;
	uint64_t count = 0, at = 0;

	for (uint32_t id = 0; id < NVMF_SUBSYSTEMS_MAX; id++)
		if (visible(c, nc->subs[id]))
			count += nc->subs[id]->listener_count;
	*ret_len = sizeof(*log) + count * sizeof(log->entries[0]);
	log = base_zalloc(*ret_len);
	log->genctr = le64_of(nc->config->genctr);
	log->numrec = le64_of(count);
	for (uint32_t id = 0; id < NVMF_SUBSYSTEMS_MAX; id++)
		for (uint32_t i = 0; visible(c, nc->subs[id]) && i < nc->subs[id]->listener_count; i++)
			fill_entry(c, nc->subs[id], i, &log->entries[at++]);
	return log;
}
