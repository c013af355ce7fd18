/* SPDX-License-Identifier: BSD-3-Clause */
/* mdns.h: discovery services by multicast DNS, as TP8009 and SPDK name them: ours are published, others' are found.
 *
 * The machine's avahi-daemon does the talking; this is its client. Its events come by the control reactor's descriptors
 * and timers. Its calls go over D-Bus and wait for the answer of a daemon on the same machine, as the library has it.
 * What was begun stays: when avahi-daemon goes and comes again, it is begun anew. Control reactor, all of it. */
#ifndef MDNS_MDNS_H
#define MDNS_MDNS_H

#include "net/net.h"
#include "nvmf/nvmf.h"

struct mdns;
struct mdns *mdns_make(struct core *core, struct nvmf_target *t);
void mdns_free(struct mdns *m); /* all of it ends */

/* Publish where the discovery subsystem listens, and follow it. `patient`: avahi-daemon may come later. */
int mdns_publish(struct mdns *m, bool patient, struct err *e) MUST_USE;
void mdns_unpublish(struct mdns *m);
bool mdns_publishes(const struct mdns *m);

/* What was found: an address, of this or another machine; the same one may be told several times. */
struct mdns_browse;
typedef void mdns_found_fn(void *arg, const struct net_addr *addr, const char *nqn);
struct mdns_browse *mdns_browse(struct mdns *m, const char *service, bool patient, mdns_found_fn *found, void *arg,
                                struct err *e);
void mdns_browse_stop(struct mdns_browse *b);

#endif
