/* SPDX-License-Identifier: BSD-3-Clause */
/* key_text.h: new keys for hosts, as the files have them that people hand over. */
#ifndef FABRIC_KEY_TEXT_H
#define FABRIC_KEY_TEXT_H

#include "base/err.h"

#define FABRIC_KEY_TEXT_MAX 160u

/* `kind`: "dhchap" or "tls"; `hash`: "none", "sha256", "sha384"; for dhchap "sha512", too. Wipe the text. Core: any
 * that may draw random numbers. */
int fabric_key_make(const char *kind, const char *hash, char text[static FABRIC_KEY_TEXT_MAX], struct err *e) MUST_USE;

#endif
