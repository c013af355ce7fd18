/* SPDX-License-Identifier: BSD-3-Clause */
/* resv_store.c: the reservations that survive, in one file of the daemon's directory.
 *
 * The file is a header line and a record per change, the last one of a device counts: appended and synced, by helper
 * threads, one write at a time. When most of it is old, and after a write that failed, it is written anew beside it and
 * renamed. What it says is also kept in memory, where a device that comes finds its record without waiting.
 */
#include "base/crc32c.h"
#include "base/text.h"
#include "bdev/resv_priv.h"
#include "core/files.h"
#include "core/log.h"

#include <errno.h>
#include <stdio.h>

#define FILE_NAME "reservations"
#define FILE_TEMP "reservations.new"
#define HEADER "gantry-reservations 1\n"
#define LINE "device "           /* LENGTH CRC RECORD: resv_record.c */
#define OLD_BYTES_MAX 65536u   /* of records that no longer count, at least, before it is written anew */
#define FRAME_MAX 40u          /* "device LENGTH CRC " and the newline */

struct kept {
	struct list link;
	struct uuid uuid;
	char *text;
	size_t len;
};

struct resv_store {
	struct files *files;
	struct list kept;               /* struct kept: one per device */
	uint64_t end;                   /* of the file; 0: there is none */
	size_t live_bytes;
	bool unsure;                    /* a write failed: what is behind `end` is not known */
	size_t torn_bytes;              /* behind `end`, when it was opened */
	struct list writes;             /* the first is being done */
	/* opening */
	struct job job;
	resv_store_fn *opened;
	void *opened_arg;
	struct err err;
};

struct resv_write {
	struct list link;
	struct resv_store *store;
	struct uuid uuid;
	char *record;
	size_t record_len;
	void (*done)(void *arg, int rc);
	void *arg;
	/* the job's */
	struct job job;
	char *bytes;
	size_t len;
	bool anew;
	int rc;
};

static void open_work(struct job *j);
static void open_done(struct job *j);
static void write_next(struct resv_store *s);
static void write_work(struct job *j);
static void write_done(struct job *j);

/* --- lines ----------------------------------------------------------------------------------------------- */

static size_t frame(char *to, const char *text, size_t len)
{
	uint32_t crc = crc32c_finish(crc32c_update(CRC32C_START, text, len));
	int n = snprintf(to, FRAME_MAX, LINE "%zu %08x ", len, crc);

	memcpy(to + n, text, len);
	to[(size_t)n + len] = '\n';
	return (size_t)n + len + 1;
}

/* A number and the blank after it, from *at on. */
static bool take_number(const char **at, const char *end, uint32_t base, uint64_t max, uint64_t *ret)
{
	const char *blank = memchr(*at, ' ', (size_t)(end - *at));

	if (!blank || !resv_number_read(*at, (size_t)(blank - *at), base, max, ret))
		return false;
	*at = blank + 1;
	return true;
}

/* Is that a whole line, without its newline? */
static bool is_whole(const char *at, size_t len, const char **ret_text, size_t *ret_len)
{
	const char *text = at + strlen(LINE), *end = at + len;
	uint64_t text_len, crc;

	if (len <= strlen(LINE) || memcmp(at, LINE, strlen(LINE)) != 0)
		return false;
	if (!take_number(&text, end, 10, UINT32_MAX, &text_len) || !take_number(&text, end, 16, UINT32_MAX, &crc))
		return false;
	if ((uint64_t)(end - text) != text_len || crc32c_finish(crc32c_update(CRC32C_START, text, text_len)) != crc)
		return false;
	*ret_text = text;
	*ret_len = text_len;
	return true;
}

/* One line from `at` on. 0: it is not whole or not good. */
static size_t unframe(const char *at, size_t len, const char **ret_text, size_t *ret_len)
{
	const char *nl = memchr(at, '\n', len);

	return nl && is_whole(at, (size_t)(nl - at), ret_text, ret_len) ? (size_t)(nl + 1 - at) : 0;
}

/* What a crash leaves of an append that nobody was told of: a part of it, zeroes where the rest should be, and nothing
 * good after it. */
static bool is_torn(const char *at, size_t len)
{
	const char *text, *nl = memchr(at, '\n', len), *end = at + len;
	size_t text_len;

	if (!memchr(at, 0, len)) /* is only the newline another byte? Then it was whole */
		return !nl && !is_whole(at, len - 1, &text, &text_len);
	for (; nl; nl = memchr(nl + 1, '\n', (size_t)(end - nl - 1)))
		if (nl + 1 < end && unframe(nl + 1, (size_t)(end - nl - 1), &text, &text_len))
			return false;
	return true;
}

/* --- what is kept ---------------------------------------------------------------------------------------- */

static struct kept *find(struct resv_store *s, const struct uuid *uuid)
{
	list_each(l, &s->kept) {
		struct kept *k = list_entry(l, struct kept, link);

		if (uuid_equal(&k->uuid, uuid))
			return k;
	}
	return NULL;
}

static void forget(struct resv_store *s, const struct uuid *uuid)
{
	struct kept *k = find(s, uuid);

	if (!k)
		return;
	s->live_bytes -= k->len + FRAME_MAX;
	list_del(&k->link);
	free(k->text);
	free(k);
}

/* Takes `text`. */
static void keep(struct resv_store *s, const struct uuid *uuid, char *text, size_t len)
{
	struct kept *k = base_zalloc(sizeof(*k));

	forget(s, uuid);
	*k = (struct kept){ .uuid = *uuid, .text = text, .len = len };
	s->live_bytes += len + FRAME_MAX;
	list_add_tail(&s->kept, &k->link);
}

struct restoring {
	struct resv_parties *parties;
	struct resv_state *state;
};

static void restore(void *arg, const struct resv_identity *id, uint64_t key)
{
	struct restoring *r = arg;

	r->state->who[r->state->count++] = (struct resv_registrant){
		.key = key, .party = resv_party_take(r->parties, id)->id };
}

/* Whose controller went with the daemon, and who is nobody that comes now. */
static void drop_nameless(struct resv_parties *p, struct resv_state *s)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->count; i++) {
		uint32_t party = s->who[i].party;

		if (!resv_party_is_nameless(resv_party_of(p, party))) {
			s->who[kept++] = s->who[i];
			continue;
		}
		if (s->holder == party) {
			s->holder = 0;
			s->type = RESV_NONE;
		}
		resv_party_unref(p, party);
	}
	s->count = kept;
	if (!kept)
		s->type = RESV_NONE;
}

bool resv_store_find(struct bdev_registry *reg, const struct uuid *uuid, struct resv_state *ret_state)
{
	struct kept *k = find(reg->resv_store, uuid);
	struct restoring r = { .parties = reg->parties, .state = ret_state };
	struct resv_record record;

	if (!k)
		return false;
	must(resv_record_read(k->text, k->len, &record, restore, &r)); /* it was looked at when it was read */
	ret_state->generation = record.generation;
	ret_state->type = record.type;
	ret_state->persists = true;
	ret_state->holder = record.holder_at < ret_state->count ? ret_state->who[record.holder_at].party : 0;
	drop_nameless(reg->parties, ret_state);
	return true;
}

/* --- opening --------------------------------------------------------------------------------------------- */

void bdev_resv_store_open(struct bdev_registry *reg, struct files *files, resv_store_fn *done, void *arg)
{
	struct resv_store *s = base_zalloc(sizeof(*s));

	assert(!reg->resv_store);
	s->files = files;
	s->opened = done;
	s->opened_arg = arg;
	list_init(&s->kept);
	list_init(&s->writes);
	reg->resv_store = s;
	job_start(&s->job, open_work, open_done);
}

int resv_lines_read(const char *bytes, size_t len, const char *path,
                    void (*line)(void *arg, const struct resv_record *r, const char *text, size_t len), void *arg,
                    size_t *ret_end, struct err *e)
{
	size_t at = strlen(HEADER), text_len, n;
	const char *text;

	if (len < at || memcmp(bytes, HEADER, at))
		return err_set(e, -EINVAL, "%s/" FILE_NAME " is no file of reservations of this version; "
		               "use the version that wrote it, or bring back a copy", path);
	for (; at < len; at += n) {
		struct resv_record r;

		n = unframe(bytes + at, len - at, &text, &text_len);
		if (!n && is_torn(bytes + at, len - at))
			break;
		if (!n || !resv_record_read(text, text_len, &r, NULL, NULL))
			return err_set(e, -EIO, "%s/" FILE_NAME " is damaged at byte %zu; bring back a copy, or remove it if "
			               "no host relies on a reservation", path, at);
		line(arg, &r, text, text_len);
	}
	*ret_end = at;
	return 0;
}

static void take_line(void *arg, const struct resv_record *r, const char *text, size_t len)
{
	struct resv_store *s = arg;
	char *copy;

	if (!r->count) {
		forget(s, &r->uuid);
		return;
	}
	copy = base_zalloc(len + 1);
	memcpy(copy, text, len);
	keep(s, &r->uuid, copy, len);
}

static void read_records(struct resv_store *s, const char *bytes, size_t len)
{
	size_t end = 0;

	if (resv_lines_read(bytes, len, s->files->path, take_line, s, &end, &s->err))
		return;
	s->end = end;
	s->torn_bytes = len - end; /* of an append that nobody was told of: the next write does without it */
	s->unsure = end < len;
}

static void open_work(struct job *j)
{
	struct resv_store *s = container_of(j, struct resv_store, job);
	const struct files_ops *ops = s->files->ops;
	int handle = ops->open(s->files, FILE_NAME, false), rc;
	char *bytes = NULL;
	size_t len = 0;

	if (handle == -ENOENT)
		return;
	rc = handle < 0 ? handle : ops->read_all(s->files, handle, &bytes, &len);
	if (handle >= 0)
		ops->close(s->files, handle);
	if (rc)
		err_set(&s->err, rc, "%s/" FILE_NAME " cannot be read: %s", s->files->path, strerror(-rc));
	else
		read_records(s, bytes, len);
	free(bytes);
}

static void open_done(struct job *j)
{
	struct resv_store *s = container_of(j, struct resv_store, job);

	if (s->torn_bytes)
		log_warning("bdev: %s/" FILE_NAME " ended in %zu bytes of a change that was never acknowledged; they are left "
		            "out", s->files->path, s->torn_bytes);
	s->opened(s->opened_arg, s->err.code ? &s->err : NULL);
}

void bdev_resv_store_close(struct bdev_registry *reg)
{
	struct resv_store *s = reg->resv_store;

	if (!s)
		return;
	must(list_empty(&s->writes));
	list_each_safe(l, &s->kept) {
		free(list_entry(l, struct kept, link)->text);
		free(list_entry(l, struct kept, link));
	}
	free(s);
	reg->resv_store = NULL;
}

/* --- writing --------------------------------------------------------------------------------------------- */

struct resv_write *resv_store_write(struct bdev_registry *reg, const struct uuid *uuid, const struct resv_state *state,
                                    void (*done)(void *arg, int rc), void *arg)
{
	struct resv_store *s = reg->resv_store;
	static const struct resv_state none; /* a line that says that there is nothing any more */
	struct resv_write *w = base_zalloc(sizeof(*w));

	w->store = s;
	w->uuid = *uuid;
	w->record = resv_record_make(reg->parties, uuid, state->persists ? state : &none, &w->record_len);
	w->done = done;
	w->arg = arg;
	list_add_tail(&s->writes, &w->link);
	if (s->writes.next == &w->link)
		write_next(s);
	return w;
}

/* All that counts, and the new record in place of its device's old one. */
static void gather_all(struct resv_store *s, struct resv_write *w)
{
	w->bytes = base_zalloc(strlen(HEADER) + s->live_bytes + w->record_len + FRAME_MAX);
	w->len = strlen(HEADER);
	memcpy(w->bytes, HEADER, w->len);
	list_each(l, &s->kept) {
		const struct kept *k = list_entry(l, struct kept, link);

		if (!uuid_equal(&k->uuid, &w->uuid))
			w->len += frame(w->bytes + w->len, k->text, k->len);
	}
	w->len += frame(w->bytes + w->len, w->record, w->record_len);
}

static void write_next(struct resv_store *s)
{
	struct resv_write *w = list_first(&s->writes, struct resv_write, link);

	w->anew = s->unsure || !s->end || s->end > 2 * s->live_bytes + OLD_BYTES_MAX;
	if (w->anew) {
		gather_all(s, w);
	} else {
		w->bytes = base_zalloc(w->record_len + FRAME_MAX);
		w->len = frame(w->bytes, w->record, w->record_len);
	}
	job_start(&w->job, write_work, write_done);
}

static int write_anew(struct files *f, const struct resv_write *w)
{
	int handle = f->ops->open(f, FILE_TEMP, true), rc = handle;

	if (handle < 0)
		return rc;
	rc = f->ops->truncate(f, handle, 0);
	rc = rc ? rc : f->ops->write(f, handle, 0, w->bytes, w->len);
	rc = rc ? rc : f->ops->sync(f, handle);
	f->ops->close(f, handle);
	rc = rc ? rc : f->ops->rename(f, FILE_TEMP, FILE_NAME);
	return rc ? rc : f->ops->sync_names(f);
}

static int append(struct files *f, const struct resv_write *w)
{
	int handle = f->ops->open(f, FILE_NAME, false), rc;

	if (handle < 0)
		return handle;
	rc = f->ops->write(f, handle, w->store->end, w->bytes, w->len);
	rc = rc ? rc : f->ops->sync(f, handle);
	f->ops->close(f, handle);
	return rc;
}

static void write_work(struct job *j)
{
	struct resv_write *w = container_of(j, struct resv_write, job);

	w->rc = w->anew ? write_anew(w->store->files, w) : append(w->store->files, w);
}

/* The last record of a device counts, an empty one for nothing. */
static void write_done(struct job *j)
{
	struct resv_write *w = container_of(j, struct resv_write, job);
	struct resv_store *s = w->store;
	struct resv_record r;

	s->unsure = w->rc != 0;
	if (w->rc) {
		log_error("bdev: %s/" FILE_NAME " cannot be written: %s; the change of the reservation is refused",
		          s->files->path, strerror(-w->rc));
	} else {
		s->end = w->anew ? w->len : s->end + w->len;
		must(resv_record_read(w->record, w->record_len, &r, NULL, NULL));
		if (r.count) {
			keep(s, &w->uuid, w->record, w->record_len);
			w->record = NULL;
		} else {
			forget(s, &w->uuid);
		}
	}
	list_del(&w->link);
	if (!list_empty(&s->writes))
		write_next(s);
	w->done(w->arg, w->rc);
	free(w->record);
	free(w->bytes);
	free(w);
}
