/* SPDX-License-Identifier: BSD-3-Clause */
/* systemd.c: see systemd.h. */
#include "app/systemd.h"

#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>

#include "core/log.h"

int systemd_rpc_socket(void)
{
	int count = sd_listen_fds(1);

	for (int i = 1; i < count; i++) {
		log_warning("gantryd: one socket can be handed over, for RPC; number %d is closed", i + 1);
		close(SD_LISTEN_FDS_START + i);
	}
	return count > 0 ? SD_LISTEN_FDS_START : -1;
}

void systemd_ready(const char *status)
{
	sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void systemd_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}

#else

int systemd_rpc_socket(void) { return -1; }
void systemd_ready(const char *status) {}
void systemd_stopping(void) {}

#endif
