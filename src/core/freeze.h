/* SPDX-License-Identifier: BSD-3-Clause */
/* freeze.h: one routine per object says what its state is; run one way it writes, the other way it reads.
 *
 *     void conn_freeze(struct freeze *f, struct conn *c)
 *     {
 *             freeze_u16(f, "cntlid", &c->cntlid);
 *             freeze_bytes(f, "stash", c->stash, &c->stash_len, sizeof(c->stash));
 *     }
 *
 * The same state moves a connection between cores and between processes and makes the simulator's
 * checkpoints. Every value carries its name and size, so that an unknown or missing one is an error with
 * a name rather than a shifted stream.
 */
#ifndef CORE_FREEZE_H
#define CORE_FREEZE_H

#include "base/base.h"
#include "base/err.h"

struct freeze {
	bool thawing;
	uint8_t *buf;        /* freezing: grows (heap, freed by freeze_fini); thawing: the caller's */
	size_t len, cap, at;
	struct err err;      /* first trouble; later calls do nothing */
};

void freeze_init(struct freeze *f);
void freeze_init_thaw(struct freeze *f, const void *buf, size_t len);
void freeze_fini(struct freeze *f);
/* Thawing: everything was read and nothing was wrong. */
bool freeze_ok(const struct freeze *f);

void freeze_bool(struct freeze *f, const char *name, bool *v);
void freeze_u8(struct freeze *f, const char *name, uint8_t *v);
void freeze_u16(struct freeze *f, const char *name, uint16_t *v);
void freeze_u32(struct freeze *f, const char *name, uint32_t *v);
void freeze_u64(struct freeze *f, const char *name, uint64_t *v);
/* Exactly `len` bytes. */
void freeze_raw(struct freeze *f, const char *name, void *data, size_t len);
/* Up to `max` bytes; *len is written when thawing. */
void freeze_bytes(struct freeze *f, const char *name, void *data, uint32_t *len, uint32_t max);
void freeze_text(struct freeze *f, const char *name, char *text, size_t size);

#endif
