/* SPDX-License-Identifier: BSD-3-Clause */
/* lookup.c: the names that a simulation knows. */
#include <errno.h>

#include "net/lookup.h"

int net_lookup(enum net_family family, const char *host, const char *service, struct net_addr *ret_addr,
               struct err *e)
{
	if (!strcmp(host, "localhost"))
		return net_addr_parse(family, family == NET_IPV6 ? "::1" : "127.0.0.1", service, ret_addr, e);
	return err_set(e, -ENOENT, "\"%s\" cannot be resolved to an address: the simulation knows \"localhost\" only",
	               host);
}
