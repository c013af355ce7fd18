/* SPDX-License-Identifier: BSD-3-Clause */
/* files.h: the daemon's own files: a few, by name, in one directory; for state that has to survive.
 *
 * The functions block: they are called in a job's work, or before reactors run. A change is lasting when the file was
 * synced; a name that is new, gone or changed when the directory was. files_os_open() gives the kernel's, and
 * files_sim_make() of core/sim one in memory that can lose, at any step, what was not synced.
 *
 * All return 0 or a handle, or a negative errno. Names have no slash.
 */
#ifndef CORE_FILES_H
#define CORE_FILES_H

#include "base/err.h"

struct files;

struct files_ops {
	/* Keep everybody else out until close; -EWOULDBLOCK: the process *ret_owner (0: unknown) has it. */
	int (*lock)(struct files *f, const char *name, int64_t *ret_owner);
	int (*open)(struct files *f, const char *name, bool make); /* a handle; `make`: when it is not there */
	int (*read_all)(struct files *f, int handle, char **ret_bytes, size_t *ret_len); /* ends in a NUL not counted */
	int (*write)(struct files *f, int handle, uint64_t at, const char *bytes, size_t len); /* all of it */
	int (*sync)(struct files *f, int handle);
	int (*truncate)(struct files *f, int handle, uint64_t len);
	void (*close)(struct files *f, int handle);
	int (*rename)(struct files *f, const char *from, const char *to);
	int (*remove)(struct files *f, const char *name);
	int (*sync_names)(struct files *f);
	void (*free)(struct files *f); /* unlocks */
};

struct files {
	const struct files_ops *ops;
	const char *path; /* of the directory, for sentences */
};

/* The kernel's directory `path`, made (mode 0700) when it is not there. NULL with a sentence. Implemented by
 * core/os. */
struct files *files_os_open(const char *path, struct err *e);

static inline void files_free(struct files *f)
{
	if (f)
		f->ops->free(f);
}

#endif
