/* SPDX-License-Identifier: BSD-3-Clause */
/* gpt_scan.c: reading a table: three reads at most, or six when the primary one is damaged, none larger than 64 KiB.
 *
 *     blocks 0 and 1 -> entries             -> found
 *          |               | damaged
 *          +-- damaged ----+-> last block -> entries -> found
 *
 * The device is open for reading only, so nobody is kept from it; when it goes the scan ends with its read.
 */
#include <stdio.h>

#include "backends/gpt/gpt_priv.h"
#include "core/log.h"

struct scan {
	struct gpt *g;
	struct bdev_desc *desc;
	struct bdev_channel *ch;
	struct bdev_io io;
	struct iovec iov;
	struct defer then;
	void (*next)(struct scan *s);
	struct bdev_info info;
	char name[BDEV_NAME_MAX];
	bool backup;                 /* the primary one was no good */
	bool unread;                 /* a read failed */
	struct gpt_header header;
	struct gpt_table table;
	gpt_found_fn *found;
	void *arg;
	uint8_t *buf;
	size_t buf_len;
};

static void first_blocks(struct scan *s);
static void look_at_header(struct scan *s, const void *block, uint64_t lba);
static void look_at_entries(struct scan *s);
static void try_backup(struct scan *s, const struct err *why);
static void backup_came(struct scan *s);
static void end(struct scan *s, const struct gpt_table *table);

static void went_on(struct defer *d)
{
	struct scan *s = container_of(d, struct scan, then);

	s->next(s);
}

static void read_done(struct bdev_io *io)
{
	struct scan *s = container_of(io, struct scan, io);

	defer_run(&s->then, went_on); /* not from within the device's answer: the end closes it */
}

static void read_blocks(struct scan *s, uint64_t lba, uint64_t count, void (*next)(struct scan *s))
{
	size_t len = count * s->info.block_size;

	if (len > s->buf_len) { /* most devices have no table: what its entries take is for those that do */
		free(s->buf);
		s->buf = base_zalloc(len);
		s->buf_len = len;
	}
	s->next = next;
	s->iov = (struct iovec){ s->buf, len };
	s->io = (struct bdev_io){ .op = BDEV_READ, .lba = lba, .count = count, .iovs = &s->iov, .iov_count = 1,
	                          .done = read_done };
	bdev_submit(s->ch, &s->io);
}

static void device_event(struct bdev_desc *desc, enum bdev_event event, void *arg)
{
	/* It waits for our read to end, which ends soon. */
}

static void no_channel(struct scan *s)
{
	end(s, NULL);
}

void gpt_scan(struct gpt *g, struct bdev *b, gpt_found_fn *found, void *arg)
{
	struct scan *s = base_zalloc(sizeof(*s));
	struct err e = { 0 };

	s->g = g;
	s->found = found;
	s->arg = arg;
	g->scans++;
	snprintf(s->name, sizeof(s->name), "%s", b->name);
	bdev_info_of(b, &s->info);
	s->desc = bdev_open(g->reg, s->name, false, "gpt", device_event, s, &e);
	s->ch = s->desc ? bdev_channel_get(s->desc, &e) : NULL;
	if (s->ch && s->info.block_count >= 4) {
		read_blocks(s, 0, 2, first_blocks);
		return;
	}
	if (!s->ch)
		log_warning("gpt: cannot look for partitions on '%s': %s", s->name, e.text);
	s->unread = !s->ch;
	s->next = no_channel;
	defer_run(&s->then, went_on);
}

static bool was_read(struct scan *s)
{
	if (s->io.status == BDEV_ST_OK)
		return true;
	s->unread = true;
	if (s->io.status != BDEV_ST_GONE)
		log_info("gpt: block %llu of '%s' could not be read: %s", (unsigned long long)s->io.lba, s->name,
		         bdev_status_text((enum bdev_status)s->io.status));
	return false;
}

static void first_blocks(struct scan *s)
{
	if (!was_read(s) || !gpt_is_protective_mbr(s->buf, s->info.block_size))
		end(s, NULL);
	else
		look_at_header(s, s->buf + s->info.block_size, GPT_PRIMARY_LBA);
}

static void look_at_header(struct scan *s, const void *block, uint64_t lba)
{
	struct err e = { 0 };

	if (gpt_parse_header(block, s->info.block_size, lba, s->info.block_count, &s->header, &e) != 0)
		try_backup(s, &e);
	else
		read_blocks(s, s->header.entries_lba, s->header.entries_blocks, look_at_entries);
}

static void look_at_entries(struct scan *s)
{
	size_t len = s->header.entries_blocks * s->info.block_size;
	struct err e = { 0 };

	if (!was_read(s))
		err_set(&e, -1, "its entries could not be read");
	else if (gpt_parse_entries(&s->header, s->buf, len, &s->table, &e) == 0) {
		if (s->backup)
			log_warning("gpt: '%s' is used by its backup partition table", s->name);
		if (s->table.skipped)
			log_warning("gpt: %u partitions of '%s' cannot be used: %s", s->table.skipped, s->name, s->table.note);
		end(s, &s->table);
		return;
	}
	try_backup(s, &e);
}

static void try_backup(struct scan *s, const struct err *why)
{
	log_warning("gpt: the %s partition table of '%s' is damaged: %s", s->backup ? "backup" : "primary", s->name,
	            why->text);
	if (s->backup) {
		end(s, NULL);
		return;
	}
	s->backup = true;
	read_blocks(s, s->info.block_count - 1, 1, backup_came);
}

static void backup_came(struct scan *s)
{
	if (was_read(s))
		look_at_header(s, s->buf, s->info.block_count - 1);
	else
		end(s, NULL);
}

static void end(struct scan *s, const struct gpt_table *table)
{
	struct bdev_desc *desc = s->desc;

	if (s->ch)
		bdev_channel_put(s->ch);
	s->found(s->g, s->name, table, s->unread, s->arg);
	s->g->scans--;
	free(s->buf);
	free(s);
	bdev_close(desc); /* the device may end in this call, and the daemon with it */
}
