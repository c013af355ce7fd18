/* SPDX-License-Identifier: BSD-3-Clause */
/* lookup.c: names by the system's resolver. */
#include "net/lookup.h"

#include <errno.h>
#include <netdb.h>

static int family_of(enum net_family family);
static int code_of(int gai);

int net_lookup(enum net_family family, const char *host, const char *service, struct net_addr *ret_addr,
               struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *found;
	/* getaddrinfo() takes port 99999 for 34463, and blames others that are none on the name. */
	int rc = net_addr_parse(NET_IPV4, "0.0.0.0", service, ret_addr, e);

	if (rc)
		return rc;
	hints.ai_family = family_of(family);
	rc = getaddrinfo(host, *service ? service : NULL, &hints, &found);
	if (rc)
		return err_set(e, code_of(rc), "\"%s\" cannot be resolved to an address: %s", host,
		               rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	memset(ret_addr, 0, sizeof(*ret_addr));
	memcpy(&ret_addr->any, found->ai_addr, found->ai_addrlen);
	ret_addr->len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static int family_of(enum net_family family)
{
	switch (family) {
	case NET_IPV4:
		return AF_INET;
	case NET_IPV6:
		return AF_INET6;
	default:
		return AF_UNSPEC;
	}
}

static int code_of(int gai)
{
	switch (gai) {
	case EAI_AGAIN:
		return -EAGAIN;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return errno ? -errno : -EIO;
	default:
		return -ENOENT;
	}
}
