/* SPDX-License-Identifier: BSD-3-Clause */
/* poll.h: Avahi's events over a reactor's descriptors and timers (private to mdns). */
#ifndef MDNS_POLL_H
#define MDNS_POLL_H

#include <avahi-common/watch.h>

/* The calling reactor's, from then on. */
void mdns_poll_init(AvahiPoll *poll);

#endif
