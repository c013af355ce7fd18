/* SPDX-License-Identifier: BSD-3-Clause */
/* journal.h: a file of numbered records that survives: docs/STATE.md says what it looks like. Private to rpc.
 *
 * A file is one snapshot and the changes after it; each is a line of text with its number, length and CRC-32C. A
 * change is
 * appended and synced; writing anew makes a second file beside the first and renames it. These functions block: they
 * run in a job, one at a time.
 */
#ifndef RPC_JOURNAL_H
#define RPC_JOURNAL_H

#include "core/files.h"

#define JOURNAL_FILE "state"
#define JOURNAL_TEMP "state.new"
#define JOURNAL_LOCK "lock"
#define JOURNAL_FORMAT 1

enum journal_kind { JOURNAL_SNAPSHOT, JOURNAL_CHANGE };

struct journal_record {
	enum journal_kind kind;
	uint64_t number;
	const char *text; /* without newlines and NULs */
	size_t len;
};

struct journal {
	struct files *files;
	int handle;          /* -1: there is no file yet */
	uint64_t end;        /* what follows is not good: its beginning may be there */
	uint64_t cut_bytes;  /* of an append that was torn, found by journal_open() */
	bool unsure;         /* an append failed: the file has to be written anew */
};

typedef void journal_visit_fn(void *arg, const struct journal_record *r);

/* Read a journal's bytes; every record in its order, after all of them were checked. *ret_end: where good bytes end;
 * what follows is the torn tail of the last append. Errors: damage, another format; nothing was visited. */
int journal_read(const char *bytes, size_t len, const char *path, journal_visit_fn *visit, void *arg, size_t *ret_end,
                 struct err *e) MUST_USE;

/* Lock the directory, read what there is, and cut a torn tail off. Errors: nothing was changed. */
int journal_open(struct journal *j, struct files *f, journal_visit_fn *visit, void *arg, struct err *e) MUST_USE;
/* Then: the record is lasting. Errors: it may be there or not; the next write has to be journal_write_anew(). */
int journal_append(struct journal *j, const struct journal_record *r, struct err *e) MUST_USE;
/* A snapshot and the changes after it, in place of what there is. Errors: what there was is still there. */
int journal_write_anew(struct journal *j, const struct journal_record *records, size_t count, struct err *e) MUST_USE;
void journal_close(struct journal *j);

#endif
