/* SPDX-License-Identifier: BSD-3-Clause */
/* lookup.c: the names that a simulation knows. */
#include <errno.h>

#include "net/lookup.h"
#include "net/sim/inside.h"

int net_lookup(enum net_family family, const char *host, const char *service, struct net_addr *ret_addr,
               struct err *e)
{
	if (!strcmp(host, "localhost"))
		return net_addr_parse(family, family == NET_IPV6 ? "::1" : "127.0.0.1", service, ret_addr, e);
	for (uint32_t i = 0; i < sim_net.name_count; i++) {
		char text[NET_ADDR_TEXT_MAX];

		if (!strcmp(host, sim_net.names[i].host) && sim_net.names[i].addr.len)
			return net_addr_parse(family, net_addr_host(&sim_net.names[i].addr, text), service, ret_addr, e);
	}
	return err_set(e, -ENOENT, "\"%s\" cannot be resolved to an address: the simulation does not know it", host);
}
