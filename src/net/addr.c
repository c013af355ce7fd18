/* SPDX-License-Identifier: BSD-3-Clause */
/* addr.c: addresses as people write them and as the system wants them. Asks nobody: names are resolve.c's. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>

#include "base/text.h"
#include "net/net.h"

/* Longest address that fits between "[" and "]:65535". */
#define HOST_MAX (INET6_ADDRSTRLEN + IF_NAMESIZE)

static enum net_family guess_family(const char *host);
static int parse_v4(const char *host, uint16_t port, struct net_addr *ret_addr, struct err *e);
static int parse_v6(const char *host, uint16_t port, struct net_addr *ret_addr, struct err *e);
static int parse_path(const char *path, struct net_addr *ret_addr, struct err *e);
static int parse_port(const char *service, uint16_t *ret_port, struct err *e);
static bool parse_scope(const char *scope, uint32_t *ret_scope);
static bool parse_decimal(const char *s, uint64_t max, uint64_t *ret_value);
static bool is_wildcard(const struct net_addr *a);

int net_addr_parse(enum net_family family, const char *host, const char *service, struct net_addr *ret_addr,
                   struct err *e)
{
	uint16_t port = 0;
	int rc;

	if (!host || !*host)
		return err_set(e, ERR_BAD_PARAM, "the address is empty; give an IP address%s",
		               family == NET_ANY || family == NET_UNIX ? " or the path of a UNIX socket" : "");
	if (family == NET_ANY)
		family = guess_family(host);
	if (family == NET_UNIX)
		return parse_path(host, ret_addr, e);
	rc = parse_port(service, &port, e);
	if (rc)
		return rc;
	return family == NET_IPV4 ? parse_v4(host, port, ret_addr, e) : parse_v6(host, port, ret_addr, e);
}

static enum net_family guess_family(const char *host)
{
	if (strchr(host, '/'))
		return NET_UNIX;
	return strchr(host, ':') ? NET_IPV6 : NET_IPV4;
}

static int parse_v4(const char *host, uint16_t port, struct net_addr *ret_addr, struct err *e)
{
	struct net_addr a = { .len = sizeof(a.v4) };

	a.v4.sin_family = AF_INET;
	a.v4.sin_port = htons(port);
	if (inet_pton(AF_INET, host, &a.v4.sin_addr) != 1)
		return err_set(e, ERR_BAD_PARAM, "\"%.100s\" is not an IPv4 address such as 192.0.2.1", host);
	*ret_addr = a;
	return 0;
}

/* "2001:db8::1", "[2001:db8::1]", "fe80::1%eth0". */
static int parse_v6(const char *host, uint16_t port, struct net_addr *ret_addr, struct err *e)
{
	struct net_addr a = { .len = sizeof(a.v6) };
	size_t len = strlen(host);
	char buf[HOST_MAX], *scope;

	a.v6.sin6_family = AF_INET6;
	a.v6.sin6_port = htons(port);
	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	}
	if (len >= sizeof(buf))
		return err_set(e, ERR_BAD_PARAM, "\"%.100s\" is too long for an IPv6 address", host);
	memcpy(buf, host, len);
	buf[len] = 0;
	scope = strchr(buf, '%');
	if (scope)
		*scope++ = 0;
	if (inet_pton(AF_INET6, buf, &a.v6.sin6_addr) != 1)
		return err_set(e, ERR_BAD_PARAM, "\"%s\" is not an IPv6 address such as 2001:db8::1", buf);
	/* The system forgets the interface of others: they would no longer be equal to what was asked for. */
	if (scope && !IN6_IS_ADDR_LINKLOCAL(&a.v6.sin6_addr))
		return err_set(e, ERR_BAD_PARAM, "\"%s\" is not link-local (fe80::...), and only such addresses name an "
		               "interface; leave out %%%s", buf, scope);
	if (scope && !parse_scope(scope, &a.v6.sin6_scope_id))
		return err_set(e, ERR_BAD_PARAM, "\"%s\" after %% is not a network interface of this machine", scope);
	*ret_addr = a;
	return 0;
}

/* A name, which may be digits; or a number. */
static bool parse_scope(const char *scope, uint32_t *ret_scope)
{
	uint64_t number;

	*ret_scope = if_nametoindex(scope);
	if (!*ret_scope && parse_decimal(scope, UINT32_MAX, &number))
		*ret_scope = (uint32_t)number;
	return *ret_scope != 0;
}

static int parse_path(const char *path, struct net_addr *ret_addr, struct err *e)
{
	struct net_addr a = { 0 };
	size_t len = strlen(path);

	if (len >= sizeof(a.un.sun_path))
		return err_set(e, ERR_BAD_PARAM, "\"%.60s...\" has %zu characters; the path of a UNIX socket has at most %zu",
		               path, len, sizeof(a.un.sun_path) - 1);
	a.un.sun_family = AF_UNIX;
	memcpy(a.un.sun_path, path, len + 1);
	a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	*ret_addr = a;
	return 0;
}

static int parse_port(const char *service, uint16_t *ret_port, struct err *e)
{
	uint64_t port = 0;

	if (service && *service && !parse_decimal(service, UINT16_MAX, &port))
		return err_set(e, ERR_BAD_PARAM, "\"%.100s\" is not a port; give a number from 0 to 65535", service);
	*ret_port = (uint16_t)port;
	return 0;
}

static bool parse_decimal(const char *s, uint64_t max, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		value = value * 10 + (uint64_t)(*s - '0');
		if (value > max)
			return false;
	}
	*ret_value = value;
	return true;
}

enum net_family net_addr_family(const struct net_addr *a)
{
	switch (a->any.sa_family) {
	case AF_INET:
		return NET_IPV4;
	case AF_INET6:
		return NET_IPV6;
	case AF_UNIX:
		return NET_UNIX;
	default:
		return NET_ANY;
	}
}

const char *net_addr_text(const struct net_addr *a, char buf[static NET_ADDR_TEXT_MAX])
{
	struct text t = text_over(buf, NET_ADDR_TEXT_MAX);
	char host[NET_ADDR_TEXT_MAX];

	net_addr_host(a, host);
	if (net_addr_family(a) == NET_IPV4)
		text_add(&t, "%s:%u", host, net_addr_port(a));
	else if (net_addr_family(a) == NET_IPV6)
		text_add(&t, "[%s]:%u", host, net_addr_port(a));
	else
		text_add(&t, "%s", host);
	return buf;
}

/* By its name, because numbers are others after a restart. */
static void add_scope(struct text *t, uint32_t scope)
{
	char name[IF_NAMESIZE];

	if (scope && if_indextoname(scope, name))
		text_add(t, "%%%s", name);
	else if (scope)
		text_add(t, "%%%u", scope);
}

const char *net_addr_host(const struct net_addr *a, char buf[static NET_ADDR_TEXT_MAX])
{
	struct text t = text_over(buf, NET_ADDR_TEXT_MAX);
	char host[INET6_ADDRSTRLEN];
	size_t path_max;

	switch (net_addr_family(a)) {
	case NET_IPV4:
		text_add(&t, "%s", inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof(host)));
		break;
	case NET_IPV6:
		text_add(&t, "%s", inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof(host)));
		add_scope(&t, a->v6.sin6_scope_id);
		break;
	case NET_UNIX:
		path_max = a->len > offsetof(struct sockaddr_un, sun_path)
		                   ? a->len - offsetof(struct sockaddr_un, sun_path) : 0;
		if (path_max && a->un.sun_path[0])
			text_add(&t, "%.*s", (int)min_u64(path_max, sizeof(a->un.sun_path)), a->un.sun_path);
		else
			text_add(&t, "(unnamed)");
		break;
	case NET_ANY:
		text_add(&t, "(none)");
		break;
	}
	return buf;
}

const char *net_addr_host_abroad(const struct net_addr *a, char buf[static NET_ADDR_TEXT_MAX])
{
	char *scope = net_addr_family(a) == NET_IPV6 ? strchr(net_addr_host(a, buf), '%') : NULL;

	if (scope)
		*scope = 0;
	return scope ? buf : net_addr_host(a, buf);
}

bool net_addr_lacks_interface(const struct net_addr *a)
{
	return net_addr_family(a) == NET_IPV6 && IN6_IS_ADDR_LINKLOCAL(&a->v6.sin6_addr) && !a->v6.sin6_scope_id;
}

uint16_t net_addr_port(const struct net_addr *a)
{
	switch (net_addr_family(a)) {
	case NET_IPV4:
		return ntohs(a->v4.sin_port);
	case NET_IPV6:
		return ntohs(a->v6.sin6_port);
	default:
		return 0;
	}
}

void net_addr_set_port(struct net_addr *a, uint16_t port)
{
	if (net_addr_family(a) == NET_IPV4)
		a->v4.sin_port = htons(port);
	else if (net_addr_family(a) == NET_IPV6)
		a->v6.sin6_port = htons(port);
}

bool net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
	if (a->any.sa_family != b->any.sa_family || net_addr_port(a) != net_addr_port(b))
		return false;
	switch (net_addr_family(a)) {
	case NET_IPV4:
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	case NET_IPV6:
		return !memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) &&
		       a->v6.sin6_scope_id == b->v6.sin6_scope_id;
	case NET_UNIX:
		return a->len == b->len &&
		       !memcmp(a->un.sun_path, b->un.sun_path, a->len - offsetof(struct sockaddr_un, sun_path));
	case NET_ANY:
		break;
	}
	return true;
}

bool net_addr_same_host(const struct net_addr *a, const struct net_addr *b)
{
	struct net_addr x = *a;

	if (a->any.sa_family != AF_INET && a->any.sa_family != AF_INET6)
		return false;
	net_addr_set_port(&x, net_addr_port(b));
	return net_addr_equal(&x, b);
}

bool net_addr_covers(const struct net_addr *a, const struct net_addr *b)
{
	if (net_addr_equal(a, b))
		return true;
	return a->any.sa_family == b->any.sa_family && is_wildcard(a) && net_addr_port(a) == net_addr_port(b);
}

static bool is_wildcard(const struct net_addr *a)
{
	if (net_addr_family(a) == NET_IPV4)
		return a->v4.sin_addr.s_addr == htonl(INADDR_ANY);
	return net_addr_family(a) == NET_IPV6 && IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr);
}
