/* SPDX-License-Identifier: BSD-3-Clause */
/* secret.h: memory for keys that live longer than a call: in no core dump, not swapped out as far as this process may
 * lock memory, and wiped when it is given back.
 *
 *     struct tls_offer *o = secret_zalloc(sizeof(*o));
 *     ...
 *     secret_free(o);
 *
 * A piece of more than 1280 bytes is at least a page of its own: of such there should be dozens. What is gone at once
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

/* For a library that keeps keys in objects of its own: as malloc() and its kin, any thread; in no core dump, not
 * swapped out as far as this process may lock memory, and wiped. NULL: the system has no memory, or nothing was asked
 * for. */
void *secret_heap_alloc(size_t bytes);
void *secret_heap_realloc(void *at, size_t bytes);
void secret_heap_free(void *at);
/* What of it is there, used or kept. */
uint64_t secret_heap_bytes(void);

/* Private to both: pages of `p` are not swapped out from the moment when they are touched, if that is allowed. */
bool secret_lock(void *p, size_t bytes);

#endif
