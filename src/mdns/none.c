/* SPDX-License-Identifier: BSD-3-Clause */
/* none.c: what is there when it was built without Avahi: sentences. */
#include "mdns/mdns.h"

#include <errno.h>

struct mdns *mdns_make(struct core *core, struct nvmf_target *t) { return NULL; }
void mdns_free(struct mdns *m) {}

static int absent(struct err *e)
{
	return err_set(e, -ENOTSUP, "this daemon was built without mDNS; building it needs libavahi-client-dev");
}

int mdns_publish(struct mdns *m, bool patient, struct err *e) { return absent(e); }
void mdns_unpublish(struct mdns *m) {}
bool mdns_publishes(const struct mdns *m) { return false; }

struct mdns_browse *mdns_browse(struct mdns *m, const char *service, bool patient, mdns_found_fn *found, void *arg,
                                struct err *e)
{
	absent(e);
	return NULL;
}

void mdns_browse_stop(struct mdns_browse *b) {}
