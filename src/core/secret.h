/* SPDX-License-Identifier: BSD-3-Clause */
/* secret.h: memory for keys that live longer than a call: in no core dump, not swapped out as far as this process may
 * lock memory, and wiped when it is given back.
 *
 *     struct tls_offer *o = secret_zalloc(sizeof(*o));
 *     ...
 *     secret_free(o);
 *
 * A piece of more than 64 bytes is at least a page of its own: of such there should be dozens. What is gone at once
 * lies on the stack and is wiped by whoever put it there.
 */
#ifndef CORE_SECRET_H
#define CORE_SECRET_H

#include "base/base.h"

/* Zeroes, for any type. Any thread. Never NULL. */
void *secret_zalloc(size_t bytes);
/* The same thread or another; NULL is fine. */
void secret_free(void *p);
/* A text's copy. */
char *secret_strdup(const char *text);

#endif
