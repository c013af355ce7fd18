/* SPDX-License-Identifier: BSD-3-Clause */
/* systemd.h: the service manager, where there is one: the socket it hands over, and what it wants to be told.
 *
 * Private to app. Without libsystemd at build time, or outside a service, nothing happens. */
#ifndef APP_SYSTEMD_H
#define APP_SYSTEMD_H

#include "base/err.h"

/* The listening UNIX socket of socket activation for RPC; -1 when there is none. Takes all descriptors that were handed
 * over: those after the first are closed with a line in the log. Call it once. */
int systemd_rpc_socket(void);

void systemd_ready(const char *status);   /* READY=1 */
void systemd_stopping(void);

#endif
