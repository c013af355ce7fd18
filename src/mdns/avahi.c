/* SPDX-License-Identifier: BSD-3-Clause */
/* avahi.c: a client of avahi-daemon: publishes our discovery services, finds others'.
 *
 * Each use, publishing and every browsing, has a client of its own. A client that fails is made anew, which the library
 * wants done from outside of its calls: by a timer. */
#include <avahi-client/client.h>
#include <avahi-client/lookup.h>
#include <avahi-client/publish.h>
#include <avahi-common/error.h>
#include <avahi-common/strlst.h>
#include <errno.h>

#include "base/text.h"
#include "core/log.h"
#include "mdns/mdns.h"
#include "mdns/poll.h"

#define RETRY_NS (30 * NS_PER_S)  /* of a bus that is not there */
#define SERVICE "_nvme-disc._tcp"
#define PORTS_MAX 64u

struct user {
	struct mdns *mdns;
	AvahiClient *client;      /* NULL: none, `again` makes one */
	struct timer again;
	void (*running)(struct user *u, AvahiClient *c);
	void (*lost)(struct user *u);
};

struct mdns {
	AvahiPoll poll;
	struct nvmf_target *target;
	bool publishes;
	struct user publisher;
	AvahiEntryGroup *group;
	uint32_t tries;           /* of a name that nobody else has */
	struct log_limit complaints; /* about what anybody on the network says */
	struct list browses;
};

struct mdns_browse {
	struct user user;
	struct list link;
	AvahiServiceBrowser *browser;
	mdns_found_fn *found;
	void *arg;
	char service[];
};

/* --- clients ------------------------------------------------------------------------------------- */

static int open_client(struct user *u, AvahiClientFlags flags);

static void open_again(struct timer *t)
{
	struct user *u = container_of(t, struct user, again);

	if (u->client) {
		u->lost(u);
		avahi_client_free(u->client);
		u->client = NULL;
	}
	if (open_client(u, AVAHI_CLIENT_NO_FAIL))
		timer_start(&u->again, RETRY_NS, open_again);
}

/* May come from within avahi_client_new(). */
static void client_event(AvahiClient *c, AvahiClientState state, void *arg)
{
	struct user *u = arg;

	switch (state) {
	case AVAHI_CLIENT_S_RUNNING:
		u->running(u, c);
		break;
	case AVAHI_CLIENT_FAILURE:
		log_warning("mdns: avahi-daemon: %s; beginning anew", avahi_strerror(avahi_client_errno(c)));
		timer_start(&u->again, NS_PER_S, open_again);
		break;
	case AVAHI_CLIENT_S_COLLISION:
	case AVAHI_CLIENT_S_REGISTERING:
	case AVAHI_CLIENT_CONNECTING:
		break; /* it will run */
	}
}

static int open_client(struct user *u, AvahiClientFlags flags)
{
	int error = 0;

	u->client = avahi_client_new(&u->mdns->poll, flags, client_event, u, &error);
	return u->client ? 0 : error;
}

static int begin(struct user *u, bool patient, struct err *e)
{
	int error = open_client(u, patient ? AVAHI_CLIENT_NO_FAIL : 0);

	if (!error)
		return 0;
	if (!patient)
		return err_set(e, -ENOTCONN, "avahi-daemon cannot be reached (%s); mDNS needs it, and D-Bus, running on this "
		               "machine", avahi_strerror(error));
	log_warning("mdns: avahi-daemon cannot be reached (%s); trying again", avahi_strerror(error));
	timer_start(&u->again, RETRY_NS, open_again);
	return 0;
}

static void end(struct user *u)
{
	timer_stop(&u->again);
	if (u->client)
		avahi_client_free(u->client); /* and what was made by it */
	u->client = NULL;
}

/* --- publishing ---------------------------------------------------------------------------------- */

static void publish_now(struct mdns *m, AvahiClient *c);

static void group_event(AvahiEntryGroup *g, AvahiEntryGroupState state, void *arg)
{
	struct mdns *m = arg;

	if (state == AVAHI_ENTRY_GROUP_COLLISION) {
		m->tries++;
		publish_now(m, avahi_entry_group_get_client(g));
	} else if (state == AVAHI_ENTRY_GROUP_FAILURE) {
		log_warning("mdns: discovery services could not be published: %s",
		            avahi_strerror(avahi_client_errno(avahi_entry_group_get_client(g))));
	}
}

struct ports {
	uint16_t at[PORTS_MAX];
	uint32_t count;
};

/* Only TCP has a service name of its own; the machine's name stands for all of its addresses. */
static void add_port(void *arg, const char *trtype, const struct net_addr *addr)
{
	struct ports *p = arg;

	if (strcmp(trtype, "TCP") || p->count == PORTS_MAX)
		return;
	for (uint32_t i = 0; i < p->count; i++)
		if (p->at[i] == net_addr_port(addr))
			return;
	p->at[p->count++] = net_addr_port(addr);
}

static int add_service(struct mdns *m, AvahiClient *c, uint16_t port)
{
	char name[64];
	struct text t = text_over(name, sizeof(name));
	const char *host = avahi_client_get_host_name(c);

	text_add(&t, "gantry-%.30s-%u", host ? host : "host", port);
	if (m->tries)
		text_add(&t, "-%u", m->tries);
	return avahi_entry_group_add_service(m->group, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC, 0, name, SERVICE, NULL, NULL,
	                                     port, "p=tcp", "nqn=" NVMF_DISCOVERY_NQN, (char *)NULL);
}

static void publish_now(struct mdns *m, AvahiClient *c)
{
	struct ports ports = { .count = 0 };
	int rc = 0;

	nvmf_discovery_listeners(m->target, add_port, &ports);
	if (m->group)
		avahi_entry_group_reset(m->group);
	else
		m->group = avahi_entry_group_new(c, group_event, m);
	for (uint32_t i = 0; m->group && i < ports.count && !rc; i++)
		rc = add_service(m, c, ports.at[i]);
	if (m->group && ports.count && !rc)
		rc = avahi_entry_group_commit(m->group);
	if (!m->group || rc)
		log_warning("mdns: discovery services could not be published: %s", avahi_strerror(avahi_client_errno(c)));
}

static void publisher_running(struct user *u, AvahiClient *c)
{
	publish_now(u->mdns, c);
}

static void publisher_lost(struct user *u)
{
	u->mdns->group = NULL; /* it goes with its client */
}

static void listeners_changed(void *arg)
{
	struct mdns *m = arg;

	if (m->publishes && m->publisher.client &&
	    avahi_client_get_state(m->publisher.client) == AVAHI_CLIENT_S_RUNNING)
		publish_now(m, m->publisher.client);
}

int mdns_publish(struct mdns *m, bool patient, struct err *e)
{
	struct ports ports = { .count = 0 };
	int rc;

	if (m->publishes)
		return err_set(e, -EEXIST, "discovery services are published already");
	nvmf_discovery_listeners(m->target, add_port, &ports);
	if (!ports.count && !patient)
		return err_set(e, -EINVAL, "the discovery subsystem has no listener over TCP; nvmf_subsystem_add_listener with "
		               "nqn 'discovery' adds one");
	rc = begin(&m->publisher, patient, e);
	m->publishes = !rc;
	return rc;
}

void mdns_unpublish(struct mdns *m)
{
	m->publishes = false;
	m->group = NULL;
	m->tries = 0;
	end(&m->publisher);
}

bool mdns_publishes(const struct mdns *m)
{
	return m->publishes;
}

/* --- browsing ------------------------------------------------------------------------------------ */

/* "nqn=..."; what comes off the network may have the key without a value. */
static const char *nqn_of(AvahiStringList *txt)
{
	AvahiStringList *pair = avahi_string_list_find(txt, "nqn");
	const char *text = pair ? (const char *)avahi_string_list_get_text(pair) : "nqn";

	return text[strlen("nqn")] == '=' ? text + strlen("nqn=") : "";
}

static void resolved(AvahiServiceResolver *r, AvahiIfIndex interface, AvahiProtocol protocol, AvahiResolverEvent event,
                     const char *name, const char *type, const char *domain, const char *host, const AvahiAddress *a,
                     uint16_t port, AvahiStringList *txt, AvahiLookupResultFlags flags, void *arg)
{
	struct mdns_browse *b = arg;
	char text[AVAHI_ADDRESS_STR_MAX], port_text[8];
	struct text t = text_over(port_text, sizeof(port_text));
	struct net_addr addr;
	struct err e = { 0 };

	text_add(&t, "%u", port);
	if (event != AVAHI_RESOLVER_FOUND) {
		if (log_may(&b->user.mdns->complaints))
			log_warning("mdns: the address of '%s' was not found: %s", name,
			            avahi_strerror(avahi_client_errno(avahi_service_resolver_get_client(r))));
	} else if (net_addr_parse(a->proto == AVAHI_PROTO_INET6 ? NET_IPV6 : NET_IPV4,
	                        avahi_address_snprint(text, sizeof(text), a), port_text, &addr, &e)) {
		if (log_may(&b->user.mdns->complaints))
			log_warning("mdns: '%s' has no address that can be used: %s", name, e.text);
	} else {
		b->found(b->arg, &addr, nqn_of(txt));
	}
	avahi_service_resolver_free(r);
}

static void browsed(AvahiServiceBrowser *browser, AvahiIfIndex interface, AvahiProtocol protocol,
                    AvahiBrowserEvent event, const char *name, const char *type, const char *domain,
                    AvahiLookupResultFlags flags, void *arg)
{
	AvahiClient *c = avahi_service_browser_get_client(browser);

	if (event == AVAHI_BROWSER_NEW && !avahi_service_resolver_new(c, interface, protocol, name, type, domain,
	                                                              AVAHI_PROTO_UNSPEC, 0, resolved, arg))
		log_warning("mdns: the address of '%s' cannot be asked for: %s", name, avahi_strerror(avahi_client_errno(c)));
	else if (event == AVAHI_BROWSER_FAILURE)
		log_warning("mdns: looking for '%s' failed: %s", ((struct mdns_browse *)arg)->service,
		            avahi_strerror(avahi_client_errno(c)));
}

static void browse_running(struct user *u, AvahiClient *c)
{
	struct mdns_browse *b = container_of(u, struct mdns_browse, user);

	if (b->browser)
		return;
	b->browser = avahi_service_browser_new(c, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC, b->service, NULL, 0, browsed, b);
	if (!b->browser)
		log_warning("mdns: '%s' cannot be looked for: %s", b->service, avahi_strerror(avahi_client_errno(c)));
}

static void browse_lost(struct user *u)
{
	container_of(u, struct mdns_browse, user)->browser = NULL;
}

struct mdns_browse *mdns_browse(struct mdns *m, const char *service, bool patient, mdns_found_fn *found, void *arg,
                                struct err *e)
{
	struct mdns_browse *b = base_zalloc(sizeof(*b) + strlen(service) + 1);

	memcpy(b->service, service, strlen(service));
	b->found = found;
	b->arg = arg;
	b->user = (struct user){ .mdns = m, .running = browse_running, .lost = browse_lost };
	if (begin(&b->user, patient, e)) {
		free(b);
		return NULL;
	}
	list_add_tail(&m->browses, &b->link);
	return b;
}

void mdns_browse_stop(struct mdns_browse *b)
{
	list_del(&b->link);
	end(&b->user);
	free(b);
}

/* --- all of it ----------------------------------------------------------------------------------- */

struct mdns *mdns_make(struct core *core, struct nvmf_target *t)
{
	struct mdns *m = base_zalloc(sizeof(*m));

	mdns_poll_init(&m->poll);
	m->target = t;
	m->publisher = (struct user){ .mdns = m, .running = publisher_running, .lost = publisher_lost };
	list_init(&m->browses);
	nvmf_on_discovery_listeners(t, listeners_changed, m);
	return m;
}

void mdns_free(struct mdns *m)
{
	nvmf_on_discovery_listeners(m->target, NULL, NULL);
	list_each_safe(l, &m->browses)
		mdns_browse_stop(list_entry(l, struct mdns_browse, link));
	mdns_unpublish(m);
	free(m);
}
