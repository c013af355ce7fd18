/* SPDX-License-Identifier: BSD-3-Clause */
/* version.h: configuration as immutable versions.
 *
 * The control reactor builds a new version and publishes it; every core switches its pointer at the end
 * of a pass, calling `enter` for the new one first (open channels) and `leave` for the old one (close
 * them; may run much later, when its last command ends). A command keeps the version it began with by
 * version_ref(). When every core has left a version it is freed on the control reactor.
 */
#ifndef CORE_VERSION_H
#define CORE_VERSION_H

#include "core/core.h"

struct version_slot;

struct version_core {
	CACHE_ALIGNED uint32_t refs;           /* of this core; the slot itself holds one while current */
	struct version *version;
	struct msg left_msg;
};

struct version {
	uint64_t number;                       /* counts from 1 in each slot */
	struct version_slot *slot;
	struct version_core core[CORE_REACTORS_MAX + 1]; /* by reactor_index(); the last is control's */
	uint32_t cores_left;                   /* control only */
};

struct version_slot {
	struct core *core;
	/* On each I/O core. `enter` fills this core's part of the new version, `leave` empties the old one's. */
	void (*enter)(struct version *v, uint32_t core_index);
	void (*leave)(struct version *v, uint32_t core_index);
	void (*free)(struct version *v);       /* on the control reactor */
	struct version *current[CORE_REACTORS_MAX + 1]; /* by reactor_index(); the last is control's */
	struct version_publish *busy;          /* publications wait for each other, in order */
	struct list waiting;
	uint64_t last_number;
};

/* One publication; the caller's until `done` has run on the control reactor: every core has switched
 * then (but old versions may still be in use by commands that began with them). */
struct version_publish_core {
	struct version_publish *publish;
	struct msg msg;
	struct defer at_end;
};
struct version_publish {
	struct list link;
	struct version_slot *slot;
	struct version *v;
	uint32_t left;                         /* cores that have not switched; control only */
	void (*done)(struct version_publish *p);
	struct version_publish_core core[CORE_REACTORS_MAX];
};

void version_slot_init(struct version_slot *s, struct core *core);
/* Control reactor only; its own current version is the new one at once. `v` NULL: no version any more, so that
 * the last one can go. */
void version_publish(struct version_slot *s, struct version_publish *p, struct version *v,
                     void (*done)(struct version_publish *p));
/* The calling core's current version; NULL before the first. Not counted. */
struct version *version_current(struct version_slot *s);
static inline void version_ref(struct version *v, uint32_t core_index) { v->core[core_index].refs++; }
/* The last reference of this core leaves it. */
void version_unref(struct version *v, uint32_t core_index);

#endif
