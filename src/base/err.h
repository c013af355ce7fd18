/* SPDX-License-Identifier: BSD-3-Clause */
/* err.h: errors of the control path: a code for programs, a sentence for the person who asked.
 *
 * The sentence names field, value, cause and remedy. Data paths do not use this: they have one
 * status type per layer.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/base.h"

#define ERR_TEXT_MAX 512

struct err {
	int code;                /* 0: none; negative errno; JSON-RPC's own codes below -32000 */
	char text[ERR_TEXT_MAX]; /* one sentence, no newline; cut when too long */
};

#define ERR_BAD_PARAM (-32602) /* JSON-RPC "Invalid params": the value the person gave is wrong */

/* Say what went wrong. `e` may be NULL. The first error stays; later ones are dropped.
 * Returns `code`, so that `return err_set(e, -EINVAL, ...)` reads as it should. */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF(3, 4);

#endif
