/* SPDX-License-Identifier: BSD-3-Clause */
/* gpt.h: partitions of GUID partition tables, as devices of their own: <base>p1, <base>p2, ...
 *
 * Every device that comes is read once, in the background. Partitions of the types that are asked for (SPDK's own,
 * unless set otherwise) become devices, and the disk is claimed for them; a disk that somebody writes to as a whole
 * is left alone. Everything here belongs to the control reactor.
 */
#ifndef BACKENDS_GPT_GPT_H
#define BACKENDS_GPT_GPT_H

#include "bdev/bdev.h"

struct gpt;

#define GPT_TYPES_MAX 16u

struct gpt_types {
	bool all;                     /* whatever the type is */
	uint32_t count;               /* 0 and not all: nothing is looked at */
	struct uuid types[GPT_TYPES_MAX];
};

/* SPDK's two types are what is looked for from the beginning. */
struct gpt *gpt_make(struct bdev_registry *reg);
/* No device is left. */
void gpt_free(struct gpt *g);

/* "spdk", "linux", "all", "none", or the UUID of a type; adds to `types`. Errors: -EINVAL with a sentence. */
int gpt_types_add(struct gpt_types *types, const char *text, struct err *e) MUST_USE;
void gpt_set_types(struct gpt *g, const struct gpt_types *types);
const struct gpt_types *gpt_get_types(const struct gpt *g);

/* Read the table of a device anew (NULL: of every device): partitions that are new come, those that are gone go.
 * Memory: none. Then: done(arg) runs, maybe at once, when all have been read and what came is there.
 * Errors: -ENODEV with a sentence. */
int gpt_rescan(struct gpt *g, const char *name, void (*done)(void *arg), void *arg, struct err *e) MUST_USE;

struct gpt_facts {
	const char *base, *name;
	uint64_t offset_blocks;
	struct uuid table, type, id;
};
/* False: not a partition. Texts are stable while the device is. */
bool gpt_facts_of(const struct bdev *b, struct gpt_facts *ret_facts);

#endif
