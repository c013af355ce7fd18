/* SPDX-License-Identifier: BSD-3-Clause */
/* resolve.c: a host's name to its address, without keeping a reactor waiting.
 *
 * The lookup runs on the helper pool even when the text is numeric, so that `done` always runs later and
 * never from within net_resolve().
 */
#include <errno.h>
#include <stdio.h>

#include "net/lookup.h"
#include "net/net.h"

static void resolve_work(struct job *j);
static void resolve_done(struct job *j);
static bool copy(char *dst, size_t size, const char *src);

void net_resolve(struct net_resolve *r, enum net_family family, const char *host, const char *service,
                 void (*done)(struct net_resolve *r))
{
	memset(r, 0, sizeof(*r));
	r->family = family;
	r->done = done;
	if (!copy(r->host, sizeof(r->host), host ? host : ""))
		err_set(&r->err, ERR_BAD_PARAM, "the host name \"%.40s...\" is too long; it has at most %zu characters",
		        host, sizeof(r->host) - 1);
	if (!copy(r->service, sizeof(r->service), service ? service : ""))
		err_set(&r->err, ERR_BAD_PARAM, "the port \"%.40s...\" is too long", service);
	job_start(&r->job, resolve_work, resolve_done);
}

static bool copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);

	if (len >= size)
		return false;
	memcpy(dst, src, len + 1);
	return true;
}

static void resolve_work(struct job *j)
{
	struct net_resolve *r = container_of(j, struct net_resolve, job);
	int rc;

	if (r->err.code)
		return;
	rc = net_addr_parse(r->family, r->host, r->service, &r->addr, NULL);
	/* A path has no name; and where no host was named there is none to look up. */
	if (rc && (r->family == NET_UNIX || !r->host[0]))
		rc = net_addr_parse(r->family, r->host, r->service, &r->addr, &r->err);
	else if (rc)
		rc = net_lookup(r->family, r->host, r->service, &r->addr, &r->err);
	assert(rc == r->err.code);
}

static void resolve_done(struct job *j)
{
	struct net_resolve *r = container_of(j, struct net_resolve, job);

	r->done(r);
}
