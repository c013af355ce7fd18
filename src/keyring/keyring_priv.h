/* SPDX-License-Identifier: BSD-3-Clause */
/* keyring_priv.h: where secrets come from (private to keyring). */
#ifndef KEYRING_KEYRING_PRIV_H
#define KEYRING_KEYRING_PRIV_H

#include "base/err.h"

int keyring_file_read(const char *path, char *buf, size_t cap, size_t *ret_len, struct err *e) MUST_USE;
/* 0, or a negative errno: there is no such key. */
int keyring_linux_find(const char *name, int32_t *ret_serial);
int keyring_linux_read(int32_t serial, const char *name, char *buf, size_t cap, size_t *ret_len, struct err *e)
	MUST_USE;
/* The kernel has keyrings and lets us use ours. */
int keyring_linux_check(struct err *e) MUST_USE;

#endif
