/* SPDX-License-Identifier: BSD-3-Clause */
/* rogue.h: what a guest does that does not behave. */
#ifndef TESTS_SIM_ROGUE_H
#define TESTS_SIM_ROGUE_H

#include "guest.h"

/* Into its rings, its data, and what is in flight. */
void rogue_scribbles(struct guest *g);
/* Any message, with any numbers and descriptors; not always a whole one. */
void rogue_says(struct guest *g);

#endif
