/* SPDX-License-Identifier: BSD-3-Clause */
/* stderr.c: writing to standard error without waiting for who reads it.
 *
 * It is not made non-blocking: others, a shell for one, have the same file open. A pipe that poll() calls writable
 * takes PIPE_BUF bytes without blocking, and so do terminals and sockets; files always do.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "core/os/os.h"

static bool takes_some(int wait_ms)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

	return poll(&p, 1, wait_ms) > 0;
}

bool platform_log_direct(void)
{
	return false;
}

size_t platform_log(const char *bytes, size_t len, int wait_ms)
{
	size_t done = 0;

	while (done < len && takes_some(wait_ms)) {
		ssize_t n = write(STDERR_FILENO, bytes + done, min_u64(len - done, PIPE_BUF));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			return len; /* it is closed; there is nowhere to say so */
		done += (size_t)n;
	}
	return done;
}

int platform_log_wait(struct source *s, source_fn *fn)
{
	return source_start(s, STDERR_FILENO, EPOLLOUT, "standard error", fn);
}
