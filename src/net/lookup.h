/* SPDX-License-Identifier: BSD-3-Clause */
/* lookup.h: names to addresses; the part of the seam that net_resolve() stands on. Private to net. */
#ifndef NET_LOOKUP_H
#define NET_LOOKUP_H

#include "net/net.h"

/* Ask whoever knows names: the system's resolver in net/os, a table in net/sim. May block: runs in a job.
 * Errors: negative errno with a sentence. */
int net_lookup(enum net_family family, const char *host, const char *service, struct net_addr *ret_addr,
               struct err *e) MUST_USE;

#endif
