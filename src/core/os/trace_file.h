/* SPDX-License-Identifier: BSD-3-Clause */
/* trace_file.h: trace rings in a file of shared memory, and what a reader finds there.
 *
 * The file describes itself: who writes it, the names of points and groups, then one ring per reactor, control last.
 */
#ifndef CORE_OS_TRACE_FILE_H
#define CORE_OS_TRACE_FILE_H

#include "core/trace.h"

#define TRACE_FILE_MAGIC "GANTRYTR"
#define TRACE_FILE_VERSION 1u
#define TRACE_FILE_RINGS_AT 16384u

struct trace_file_point {
	char name[32], group[32], a[32], b[32];
};

struct trace_file_header {
	char magic[8];
	uint32_t version, rings, ring_records, point_count;
	uint64_t pid, began_ns, began_wall_us; /* one moment, by both clocks */
	struct trace_file_point points[64];
};
_Static_assert(sizeof(struct trace_file_header) <= TRACE_FILE_RINGS_AT, "the rings follow");

struct trace_file {
	struct trace_sharer sharer;
	void *map;
	int fd;          /* locked, so that another daemon leaves the file alone */
	size_t bytes;
};

/* `shm_id` as given by -i; negative: the process id names the file. Nothing is made yet. */
void trace_file_init(struct trace_file *f, struct core *core, int shm_id);
/* The core was freed: the file goes. */
void trace_file_end(struct trace_file *f);

#endif
