/* SPDX-License-Identifier: BSD-3-Clause */
/* discovery.c: the discovery log page: which subsystems a host may use, and at which addresses.
 *
 * Any listener answers discovery. An entry for each listener of each subsystem that allows the host, and of the
 * discovery subsystem that it asks; a listener on a wildcard address is told as the address at which this host reached
 * us. Then referrals to other discovery services. Filters of the target's, and what the host asks for, leave some out.
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

#define REFERRAL_ASQSZ 32 /* what every admin queue can have */

struct builder {
	struct nvmf_ctrlr *c;
	const struct nvmf_core *nc;
	struct nvmf_discovery_log *log;
	size_t len, size;
	uint64_t count;
	uint8_t lsp;
};

/* libnvme takes "not required" for "can be had", and comes with TLS: where there is none, nothing is specified. */
static uint8_t secure_channel(bool secure, bool concat)
{
	if (!secure)
		return NVMF_TREQ_NOT_SPECIFIED;
	return concat ? NVMF_TREQ_NOT_REQUIRED : NVMF_TREQ_REQUIRED;
}

/* Where and who, of listeners and referrals alike. */
static void fill_where(struct nvmf_disc_log_entry *e, uint8_t trtype, const struct net_addr *a, const char *subnqn,
                       bool secure)
{
	char text[NET_ADDR_TEXT_MAX], port[8];
	struct text t = text_over(port, sizeof(port));

	text_add(&t, "%u", net_addr_port(a));
	e->trtype = trtype;
	e->adrfam = adrfam(a);
	e->cntlid = le16_of(NVME_CNTLID_DYNAMIC);
	text_pad(e->trsvcid, sizeof(e->trsvcid), port, ' ');
	text_pad(e->subnqn, sizeof(e->subnqn), subnqn, 0);
	text_pad(e->traddr, sizeof(e->traddr), net_addr_host_abroad(a, text), ' ');
	if (trtype == NVMF_TRTYPE_RDMA) {
		e->tsas.rdma.qptype = NVMF_RDMA_QPTYPE_CONNECTED;
		e->tsas.rdma.prtype = NVMF_RDMA_PRTYPE_NOT_SPECIFIED;
		e->tsas.rdma.cms = NVMF_RDMA_CMS_RDMA_CM;
	} else {
		e->tsas.tcp.sectype = secure ? NVMF_TCP_SECTYPE_TLS13 : NVMF_TCP_SECTYPE_NONE;
	}
}

static void fill_entry(struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, uint32_t at, struct nvmf_disc_log_entry *e)
{
	const struct nvmf_listener *l = &s->listeners[at];
	struct net_addr buf;

	fill_where(e, l->transport->ops->trtype, reachable(c, l, &buf), s->nqn, l->secure);
	e->subtype = NVMF_SUBTYPE_NVME;
	e->treq = secure_channel(l->secure, l->concat) | NVMF_TREQ_DISABLE_SQFLOW;
	e->portid = le16_of((uint16_t)at);
	e->cntlid = le16_of(s->is_static ? NVME_CNTLID_STATIC_ANY : NVME_CNTLID_DYNAMIC);
	e->asqsz = le16_of((uint16_t)l->transport->opts.max_aq_depth);
}

static bool visible(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s)
{
	return s && (!s->discovery || s->id == c->sub_id) && nvmf_subsystem_allows_host(s, c->who.name);
}

/* Like where the host came in, as far as the target's filters ask for that? */
static bool passes(const struct builder *b, const struct nvmf_listener *l)
{
	const struct nvmf_ctrlr *c = b->c;
	struct net_addr buf;
	const struct net_addr *a = reachable(c, l, &buf);
	uint8_t filters = c->target->discovery_filters;

	if (b->lsp & NVMF_DISC_PORT_LOCAL && (l->transport != c->transport || !net_addr_covers(&l->addr, &c->listen_addr)))
		return false;
	return !((filters & NVMF_FILTER_TRANSPORT && l->transport != c->transport) ||
	         (filters & NVMF_FILTER_ADDRESS && !net_addr_same_host(a, &c->listen_addr)) ||
	         (filters & NVMF_FILTER_SVCID && net_addr_port(a) != net_addr_port(&c->listen_addr)));
}

static void *add_bytes(struct builder *b, size_t len)
{
	void *at;

	while (b->len + len > b->size) {
		b->size *= 2;
		b->log = realloc(b->log, b->size);
		must(b->log != NULL);
	}
	at = (uint8_t *)b->log + b->len;
	memset(at, 0, len);
	b->len += len;
	return at;
}

static struct nvmf_disc_log_entry *add_entry(struct builder *b, const char *label)
{
	size_t attr = *label ? align_up(strlen(label), 4) : 0, begin = b->len;
	struct nvmf_disc_log_extension *x;
	struct nvmf_disc_log_attribute *a;

	b->count++;
	add_bytes(b, sizeof(struct nvmf_disc_log_entry));
	if (b->lsp & NVMF_DISC_EXTENDED) {
		size_t len = sizeof(*x) + (attr ? sizeof(*a) + attr : 0);

		x = add_bytes(b, len);
		x->tel = le32_of((uint32_t)(sizeof(struct nvmf_disc_log_entry) + len));
		x->numexat = le16_of(attr != 0);
		a = (struct nvmf_disc_log_attribute *)(x + 1);
		if (attr) {
			a->type = le16_of(NVMF_DISC_ATTR_ADMIN_LABEL);
			a->len = le16_of((uint16_t)attr);
			memcpy(a->value, label, strlen(label));
		}
	}
	return (struct nvmf_disc_log_entry *)((uint8_t *)b->log + begin);
}

static void add_subsystem(struct builder *b, const struct nvmf_subsystem *s)
{
	struct nvmf_disc_log_entry *e;

	for (uint32_t i = 0; i < s->listener_count; i++) {
		if (!passes(b, &s->listeners[i]))
			continue;
		e = add_entry(b, s->admin_label);
		fill_entry(b->c, s, i, e);
		if (!s->discovery)
			continue;
		/* Each of its listeners tells the same, and holds connections that are kept alive. */
		e->subtype = NVMF_SUBTYPE_DISCOVERY_CURRENT;
		e->eflags = le16_of(NVMF_DISC_EFLAGS_DUPRETINFO | NVMF_DISC_EFLAGS_EPCSD);
	}
}

static void add_referral(struct builder *b, const struct nvmf_referral *r)
{
	struct nvmf_disc_log_entry *e;

	if (r->hosts && nvmf_ns_hosts_at(r->hosts, b->c->who.name) < 0)
		return;
	e = add_entry(b, "");
	fill_where(e, r->trtype, &r->addr, r->subnqn, r->secure_channel);
	e->subtype = strcmp(r->subnqn, NVMF_DISCOVERY_NQN) ? NVMF_SUBTYPE_NVME : NVMF_SUBTYPE_DISCOVERY;
	e->treq = secure_channel(r->secure_channel, false);
	e->asqsz = le16_of(REFERRAL_ASQSZ);
}

static void keep_log(struct nvmf_ctrlr *c);

static void make_log(struct nvmf_ctrlr *c, uint8_t lsp)
{
	struct builder b = { .c = c, .nc = c->admin_qp->nc, .size = 4096, .lsp = lsp };
	const struct nvmf_referrals *referrals = b.nc->config->referrals;

	b.log = base_zalloc(b.size);
	b.len = sizeof(*b.log);
	for (uint32_t id = 0; id < NVMF_SUBSYSTEMS_MAX; id++)
		if (visible(c, b.nc->subs[id]))
			add_subsystem(&b, b.nc->subs[id]);
	for (uint32_t i = 0; referrals && !(lsp & NVMF_DISC_PORT_LOCAL) && i < referrals->count; i++)
		add_referral(&b, &referrals->at[i]);
	b.log->genctr = le64_of(b.nc->config->genctr);
	b.log->numrec = le64_of(b.count);
	b.log->dlpf = lsp;
	if (lsp & NVMF_DISC_EXTENDED)
		b.log->tdlpl = le32_of((uint32_t)b.len);
	c->discovery_log = realloc(b.log, b.len); /* it had grown by doubling */
	must(c->discovery_log != NULL);
	c->discovery_log_len = b.len;
	c->discovery_log_lsp = lsp;
	keep_log(c);
}

void nvmf_discovery_log_move(struct nvmf_ctrlr *c, bool leaving)
{
	struct nvmf_core *nc = c->admin_qp->nc;

	if (!c->discovery_log)
		return;
	nc->log_bytes += leaving ? -c->discovery_log_len : c->discovery_log_len;
	if (leaving)
		list_del(&c->log_link);
	else
		list_add_tail(&nc->logs, &c->log_link);
}

void nvmf_discovery_log_drop(struct nvmf_ctrlr *c)
{
	if (!c->discovery_log)
		return;
	nvmf_discovery_log_move(c, true);
	free(c->discovery_log);
	c->discovery_log = NULL;
}

/* Hosts that begin to read and never end cost no more than this: who comes back to a log that was given up gets the
 * rest of a new one, and the generation tells whether that is another. */
static void keep_log(struct nvmf_ctrlr *c)
{
	struct nvmf_core *nc = c->admin_qp->nc;

	while (!list_empty(&nc->logs) && nc->log_bytes + c->discovery_log_len > NVMF_DISCOVERY_LOGS_BYTES)
		nvmf_discovery_log_drop(list_entry(nc->logs.next, struct nvmf_ctrlr, log_link));
	nvmf_discovery_log_move(c, false);
}

/* A host reads the header, the entries in parts, the header again, and compares its generation: the parts it got belong
 * together whatever has changed meanwhile. */
const void *nvmf_discovery_log_read(struct nvmf_ctrlr *c, uint64_t offset, uint8_t lsp, size_t *ret_len)
{
	if (!offset || lsp != c->discovery_log_lsp)
		nvmf_discovery_log_drop(c);
	if (!c->discovery_log)
		make_log(c, lsp);
	*ret_len = c->discovery_log_len;
	return c->discovery_log;
}
