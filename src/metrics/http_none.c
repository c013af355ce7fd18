/* SPDX-License-Identifier: BSD-3-Clause */
/* http_none.c: in place of http.c where libmicrohttpd is missing. */
#include <errno.h>

#include "metrics/gather.h"

struct metrics_http *metrics_http_start(struct metrics *m, const char *host, uint16_t port, struct err *e)
{
	err_set(e, -ENOTSUP, "this gantryd was built without libmicrohttpd and cannot serve metrics; "
	        "RPC metrics_get gives the same text");
	return NULL;
}

void metrics_http_stop(struct metrics_http *h)
{
}
