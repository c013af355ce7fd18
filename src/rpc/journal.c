/* SPDX-License-Identifier: BSD-3-Clause */
/* journal.c: records in a file: written so that a crash at any step loses nothing that was acknowledged, and read so
 * that nothing is lost silently.
 *
 * Text has no zero bytes, and a line ends what was begun. So what a crash leaves of an append (too short, or with
 * sectors that were never written, which read as zeros) can be told from damage to what had been written.
 */
#include "rpc/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/crc32c.h"
#include "base/text.h"

#define FIRST_LINE "gantry-state "
#define HEAD_MAX 80

static const char *const kind_names[] = { [JOURNAL_SNAPSHOT] = "snapshot", [JOURNAL_CHANGE] = "change" };

struct reading {
	const char *bytes, *path;
	size_t len, at;
	uint64_t number; /* of the last record */
	bool any;
};

static int read_first_line(struct reading *r, struct err *e);
static int read_record(struct reading *r, struct journal_record *ret, struct err *e);
static bool is_torn(const struct reading *r, const char *newline);
static const char *parse_line(const char *line, size_t len, struct journal_record *ret);
static bool take_number(const char **at, const char *end, uint32_t base, uint64_t *ret);
static int damaged(const struct reading *r, const char *what, struct err *e);
static size_t record_size_max(const struct journal_record *r);
static size_t put_record(char *to, const struct journal_record *r);
static int write_temp(struct journal *j, const char *bytes, size_t len);

/* --- reading ---------------------------------------------------------------------------------------------------- */

int journal_read(const char *bytes, size_t len, const char *path, journal_visit_fn *visit, void *arg, size_t *ret_end,
                 struct err *e)
{
	struct reading r = { .bytes = bytes, .path = path, .len = len };
	struct journal_record record;
	size_t end, begin;
	int rc = read_first_line(&r, e);

	begin = r.at;
	while (!rc && r.at < len && (rc = read_record(&r, &record, e)) == 0)
		;
	if (rc < 0)
		return rc;
	end = r.at;
	if (!r.any)
		return damaged(&r, "its snapshot is missing", e);
	r = (struct reading){ .bytes = bytes, .path = path, .len = end, .at = begin };
	while (r.at < end) {
		must(read_record(&r, &record, NULL) == 0);
		visit(arg, &record);
	}
	*ret_end = end;
	return 0;
}

static int read_first_line(struct reading *r, struct err *e)
{
	const char *newline = memchr(r->bytes, '\n', r->len), *at = r->bytes + strlen(FIRST_LINE);
	uint64_t format;

	if (!newline || newline < at || memcmp(r->bytes, FIRST_LINE, strlen(FIRST_LINE)) != 0 ||
	    !take_number(&at, newline, 10, &format) || at != newline || !format)
		return err_set(e, -EBADMSG, "%s does not begin as a state of Gantry does (\"" FIRST_LINE "1\"): it is "
		        "something "
		               "else, or damaged; bring back a copy, or begin with an empty directory", r->path);
	if (format > JOURNAL_FORMAT)
		return err_set(e, -ENOTSUP, "%s was written by a newer version of Gantry (format %" PRIu64 "; this one "
		        "knows up "
		               "to %d); use that version, or begin with an empty directory", r->path, format, JOURNAL_FORMAT);
	r->at = (size_t)(newline + 1 - r->bytes);
	return 0;
}

/* 1: the rest is the torn tail of an append. */
static int read_record(struct reading *r, struct journal_record *ret, struct err *e)
{
	const char *line = r->bytes + r->at, *newline = memchr(line, '\n', r->len - r->at), *wrong;

	if (is_torn(r, newline))
		return 1;
	if (!newline)
		return damaged(r, "the end of the last record is not what was written", e);
	wrong = parse_line(line, (size_t)(newline - line), ret);
	if (!wrong && (ret->kind == JOURNAL_SNAPSHOT) == r->any)
		wrong = r->any ? "a snapshot follows other records" : "it does not begin with a snapshot";
	if (!wrong && r->any && ret->number != r->number + 1)
		wrong = "records are missing before this one";
	if (wrong)
		return damaged(r, wrong, e);
	r->at += (size_t)(newline - line) + 1;
	r->number = ret->number;
	r->any = true;
	return 0;
}

/* Can what is left be a part of one append? It was not if it is all there, or if more follows. The first record was
 * never appended: it came with the file's name. */
static bool is_torn(const struct reading *r, const char *newline)
{
	const char *line = r->bytes + r->at;
	size_t left = r->len - r->at;
	struct journal_record record;

	if (!r->any)
		return false;
	if (newline)
		return memchr(line, 0, left) && newline + 1 == r->bytes + r->len;
	if (memchr(line, 0, left))
		return true;
	/* Is only the newline another one? Then this was whole. */
	return left < 2 || parse_line(line, left - 1, &record) != NULL;
}

/* NULL, or what is wrong with it. */
static const char *parse_line(const char *line, size_t len, struct journal_record *ret)
{
	const char *at = line, *end = line + len;
	uint64_t length, crc;
	size_t name_len;

	for (ret->kind = JOURNAL_SNAPSHOT; ret->kind <= JOURNAL_CHANGE; ret->kind++) {
		name_len = strlen(kind_names[ret->kind]);
		if (len > name_len && memcmp(line, kind_names[ret->kind], name_len) == 0 && line[name_len] == ' ')
			break;
	}
	if (ret->kind > JOURNAL_CHANGE)
		return "it is neither a snapshot nor a change";
	at += name_len + 1;
	if (!take_number(&at, end, 10, &ret->number) || at == end || *at++ != ' ' || !take_number(&at, end, 10, &length) ||
	    at == end || *at++ != ' ' || !take_number(&at, end, 16, &crc) || at == end || *at++ != ' ')
		return "its number, length or checksum cannot be read";
	ret->text = at;
	ret->len = (size_t)(end - at);
	if (length != ret->len)
		return "it is longer or shorter than it says";
	/* Over all but the checksum and the blank after it. */
	if (crc32c_finish(crc32c_update(crc32c_update(CRC32C_START, line, (size_t)(at - line) - 9), at, ret->len)) != crc)
		return "its checksum does not match";
	return NULL;
}

static bool take_number(const char **at, const char *end, uint32_t base, uint64_t *ret)
{
	const char *from = *at;
	uint64_t v = 0;

	for (; *at < end; (*at)++) {
		char c = **at;
		uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : c >= 'a' && c <= 'f' ?
		        (uint32_t)(c - 'a') + 10 : 99;

		if (digit >= base || v > (UINT64_MAX - digit) / base)
			break;
		v = v * base + digit;
	}
	*ret = v;
	return base == 16 ? *at - from == 8 : *at > from;
}

static int damaged(const struct reading *r, const char *what, struct err *e)
{
	if (!r->any)
		return err_set(e, -EBADMSG, "%s is damaged at byte %zu: %s. Nothing was changed. Bring back a copy, or "
		        "begin with "
		               "an empty directory", r->path, r->at, what);
	return err_set(e, -EBADMSG, "%s is damaged at byte %zu, after version %" PRIu64 ": %s. Nothing was changed. To "
	        "go on "
	               "with version %" PRIu64 ", keep a copy and cut the file there: truncate -s %zu %s", r->path, r->at,
	               r->number, what, r->number, r->at, r->path);
}

/* --- opening ------------------------------------------------------------------------------------------------ */

static int lock(struct files *f, struct err *e)
{
	int64_t owner = 0;
	int rc = f->ops->lock(f, JOURNAL_LOCK, &owner);

	if (rc == -EWOULDBLOCK)
		return err_set(e, -EBUSY, "%s is in use by process %" PRId64 "; stop that one, or give this daemon another "
		               "directory", f->path, owner);
	if (rc)
		return err_set(e, rc, "%s/" JOURNAL_LOCK " cannot be locked: %s", f->path, strerror(-rc));
	return 0;
}

int journal_open(struct journal *j, struct files *f, journal_visit_fn *visit, void *arg, struct err *e)
{
	char path[256], *bytes = NULL;
	struct text t = text_over(path, sizeof(path));
	size_t len, end;
	int rc;

	*j = (struct journal){ .files = f, .handle = -1 };
	if (lock(f, e))
		return e->code;
	text_add(&t, "%s/" JOURNAL_FILE, f->path);
	f->ops->remove(f, JOURNAL_TEMP); /* what a crash left; it was never in force */
	j->handle = f->ops->open(f, JOURNAL_FILE, false);
	if (j->handle == -ENOENT) {
		j->handle = -1;
		return 0;
	}
	rc = j->handle < 0 ? j->handle : f->ops->read_all(f, j->handle, &bytes, &len);
	if (rc < 0) {
		err_set(e, rc, "%s cannot be read: %s", path, strerror(-rc));
	} else if ((rc = journal_read(bytes, len, path, visit, arg, &end, e)) == 0 && end < len) {
		j->cut_bytes = len - end;
		rc = f->ops->truncate(f, j->handle, end);
		rc = rc ? rc : f->ops->sync(f, j->handle);
		if (rc)
			err_set(e, rc, "%s ends in a torn record that cannot be cut off: %s", path, strerror(-rc));
	}
	free(bytes);
	if (rc)
		journal_close(j);
	else
		j->end = end;
	return rc;
}

void journal_close(struct journal *j)
{
	if (j->handle >= 0)
		j->files->ops->close(j->files, j->handle);
	j->handle = -1;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

int journal_append(struct journal *j, const struct journal_record *r, struct err *e)
{
	const struct files_ops *ops = j->files->ops;
	char *line = base_zalloc(record_size_max(r));
	size_t len = put_record(line, r);
	int rc;

	assert(j->handle >= 0 && !j->unsure);
	rc = ops->write(j->files, j->handle, j->end, line, len);
	rc = rc ? rc : ops->sync(j->files, j->handle);
	free(line);
	if (rc == 0) {
		j->end += len;
		return 0;
	}
	/* What came of it nobody knows, least of all after a failed sync. Away with it if that can be. */
	j->unsure = true;
	ops->truncate(j->files, j->handle, j->end);
	return err_set(e, rc, "%s/" JOURNAL_FILE " cannot be written: %s", j->files->path, strerror(-rc));
}

int journal_write_anew(struct journal *j, const struct journal_record *records, size_t count, struct err *e)
{
	size_t size = HEAD_MAX, len;
	char *bytes;
	int rc;

	assert(count && records[0].kind == JOURNAL_SNAPSHOT);
	for (size_t i = 0; i < count; i++)
		size += record_size_max(&records[i]);
	bytes = base_zalloc(size);
	len = (size_t)snprintf(bytes, size, FIRST_LINE "%d\n", JOURNAL_FORMAT);
	for (size_t i = 0; i < count; i++)
		len += put_record(bytes + len, &records[i]);
	rc = write_temp(j, bytes, len);
	free(bytes);
	if (rc)
		return err_set(e, rc, "%s/" JOURNAL_FILE " cannot be written anew: %s", j->files->path, strerror(-rc));
	return 0;
}

/* The new file's bytes last before it gets the name; what was under that name stays until then. */
static int write_temp(struct journal *j, const char *bytes, size_t len)
{
	const struct files_ops *ops = j->files->ops;
	int handle = ops->open(j->files, JOURNAL_TEMP, true), rc = handle;

	if (rc < 0)
		return rc;
	rc = ops->truncate(j->files, handle, 0);
	rc = rc ? rc : ops->write(j->files, handle, 0, bytes, len);
	rc = rc ? rc : ops->sync(j->files, handle);
	rc = rc ? rc : ops->rename(j->files, JOURNAL_TEMP, JOURNAL_FILE);
	if (rc) {
		ops->close(j->files, handle);
		ops->remove(j->files, JOURNAL_TEMP);
		return rc;
	}
	/* From here on it is the file, whether its name lasts yet or not. */
	journal_close(j);
	j->handle = handle;
	j->end = len;
	rc = ops->sync_names(j->files);
	j->unsure = rc != 0;
	return rc;
}

static size_t record_size_max(const struct journal_record *r)
{
	return r->len + HEAD_MAX;
}

static size_t put_record(char *to, const struct journal_record *r)
{
	int head = snprintf(to, HEAD_MAX, "%s %" PRIu64 " %zu ", kind_names[r->kind], r->number, r->len);
	uint32_t crc = crc32c_update(CRC32C_START, to, (size_t)head);
	size_t len;

	assert(!memchr(r->text, '\n', r->len) && !memchr(r->text, 0, r->len));
	crc = crc32c_finish(crc32c_update(crc, r->text, r->len));
	len = (size_t)head + (size_t)snprintf(to + head, HEAD_MAX - (size_t)head, "%08x ", crc);
	memcpy(to + len, r->text, r->len);
	to[len + r->len] = '\n';
	return len + r->len + 1;
}
