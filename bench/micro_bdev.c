/* SPDX-License-Identifier: BSD-3-Clause */
/* micro_bdev.c: what an I/O costs between bdev_submit() and its done function, on one core.
 *
 *     micro_bdev [--json] [--cpus CPU] [--seconds N] [--mib SIZE] [--only TEXT]
 *
 * Every I/O is submitted again from its own done function. Addresses are random over the device; the RAM disk
 * is written once before. "lent" reads get the device's own memory and give it back in done; "copied" reads fill a
 * buffer of their own; "sent" ones are lent, and copied in the end of a pass to where nobody looks, as a socket does.
 * Time is the core's CPU time. --only: rows whose name contains the text.
 */
#include <getopt.h>
#include <stdio.h>
#include <time.h>

#include "backends/malloc/malloc.h"
#include "backends/null/null.h"
#include "core/core.h"

#define DEPTH_MAX 128u
#define BLOCK 4096u

struct row {
	const char *name, *device;
	uint8_t op, flags;
	uint32_t depth;
	bool sent;
};

static const struct row rows[] = {
	/* name                            device    operation     flags         depth */
	{ "null read lent QD128",          "null",   BDEV_READ,  BDEV_IO_LEND, 128 },
	{ "null read lent QD1",            "null",   BDEV_READ,  BDEV_IO_LEND, 1 },
	{ "null read copied QD128",        "null",   BDEV_READ,  0,            128 },
	{ "null write QD128",              "null",   BDEV_WRITE, 0,            128 },
	{ "malloc read lent QD128",        "ram",    BDEV_READ,  BDEV_IO_LEND, 128 },
	{ "malloc read copied QD128",      "ram",    BDEV_READ,  0,            128 },
	{ "malloc write QD128",            "ram",    BDEV_WRITE, 0,            128 },
	{ "protected read sent QD128",     "pi",     BDEV_READ,  BDEV_IO_LEND, 128, true },
	{ "protected, checked, sent QD128", "pi",    BDEV_READ,  BDEV_IO_LEND | BDEV_IO_PRCHK_GUARD, 128, true },
	{ "protected read sent QD16",      "pi",     BDEV_READ,  BDEV_IO_LEND, 16, true },
	{ "protected, checked, sent QD16", "pi",     BDEV_READ,  BDEV_IO_LEND | BDEV_IO_PRCHK_GUARD, 16, true },
};

#define SENT_BYTES (4u << 20)
#define PI_BYTES 8u

struct slot {
	struct bdev_io io;
	struct slot *next_sent;
	struct iovec own, lent;
	struct bench *bench;
};

struct bench {
	struct core *core;
	struct bdev_registry *reg;
	struct bdev_desc *desc;
	struct bdev_channel *ch;
	bool json, stop;
	double seconds;
	uint64_t blocks, random, done, fill_lba;
	uint32_t row, in_flight;
	uint64_t began_ns;
	struct timer timer;
	struct msg msg;
	char *buffers, *sent;
	size_t sent_at;
	struct slot *to_send;
	struct defer defer;
	const char *only;
	int code;
	struct slot slots[DEPTH_MAX];
};

static void next_row_on_control(struct msg *m);

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void row_end(struct bench *b)
{
	const struct row *r = &rows[b->row];
	double seconds = (double)(cpu_ns() - b->began_ns) / 1e9, rate = (double)b->done / seconds;

	if (b->json)
		printf("{\"case\": \"%s\", \"iops\": %.0f, \"ns\": %.1f}\n", r->name, rate, 1e9 / rate);
	else
		printf("%-32s %8.2f M IOPS  %7.1f ns\n", r->name, rate / 1e6, 1e9 / rate);
	bdev_channel_put(b->ch);
	msg_send(core_control(b->core), &b->msg, next_row_on_control);
}

static void io_start(struct slot *s)
{
	struct bench *b = s->bench;
	const struct row *r = &rows[b->row];

	b->random = b->random * 6364136223846793005ull + 1442695040888963407ull;
	s->io.op = r->op;
	s->io.flags = r->flags;
	s->io.lba = (b->random >> 33) % b->blocks;
	s->io.count = 1;
	s->io.iovs = r->flags & BDEV_IO_LEND ? &s->lent : &s->own;
	s->io.iov_count = 1;
	s->io.iov_max = 1;
	b->in_flight++;
	bdev_submit(b->ch, &s->io);
}

static void io_again(struct slot *s)
{
	struct bench *b = s->bench;

	b->in_flight--;
	b->done++;
	if (s->io.lent)
		bdev_io_release(&s->io);
	if (likely(!b->stop))
		io_start(s);
	else if (!b->in_flight)
		row_end(b);
}

static void send_all(struct defer *defer)
{
	struct bench *b = container_of(defer, struct bench, defer);
	struct slot *s = b->to_send, *next;

	b->to_send = NULL;
	for (struct slot *each = s; each; each = each->next_sent) {
		size_t len = each->lent.iov_len;

		b->sent_at = b->sent_at + len > SENT_BYTES ? 0 : b->sent_at;
		memcpy(b->sent + b->sent_at, each->lent.iov_base, len);
		b->sent_at += len;
	}
	for (; s; s = next) {
		next = s->next_sent;
		io_again(s);
	}
}

static void io_done(struct bdev_io *io)
{
	struct slot *s = container_of(io, struct slot, io);
	struct bench *b = s->bench;

	if (unlikely(io->status != BDEV_ST_OK)) {
		fprintf(stderr, "micro_bdev: %s\n", bdev_status_text(io->status));
		b->code = 1;
	}
	if (!rows[b->row].sent) {
		io_again(s);
		return;
	}
	s->next_sent = b->to_send;
	b->to_send = s;
	defer_last(&b->defer, send_all);
}

static void time_up(struct timer *t)
{
	container_of(t, struct bench, timer)->stop = true;
}

static void row_begin(struct bench *b)
{
	b->stop = false;
	b->done = 0;
	b->began_ns = cpu_ns();
	timer_start(&b->timer, (uint64_t)(b->seconds * 1e9), time_up);
	for (uint32_t i = 0; i < rows[b->row].depth; i++) {
		b->slots[i].io.done = io_done;
		io_start(&b->slots[i]);
	}
}

/* Give every block a page before reads are measured. */
static void fill_done(struct bdev_io *io)
{
	struct bench *b = container_of(io, struct slot, io)->bench;

	if (io->lba + io->count == b->blocks) {
		row_begin(b);
		return;
	}
	io->lba++;
	bdev_submit(b->ch, io);
}

static void row_on_core(struct msg *m)
{
	struct bench *b = container_of(m, struct bench, msg);
	struct err e = { 0 };

	b->ch = bdev_channel_get(b->desc, &e);
	b->slots[0].own.iov_len = strcmp(rows[b->row].device, "pi") == 0 ? BLOCK + PI_BYTES : BLOCK;
	if (strcmp(rows[b->row].device, "null") == 0) {
		row_begin(b);
		return;
	}
	b->slots[0].io = (struct bdev_io){ .op = BDEV_WRITE, .count = 1, .iovs = &b->slots[0].own, .iov_count = 1,
	                                   .flags = b->slots[0].own.iov_len > BLOCK ? BDEV_IO_PRACT : 0,
	                                   .done = fill_done };
	bdev_submit(b->ch, &b->slots[0].io);
}

static void removed(void *arg, int rc) {}

static void next_row_on_control(struct msg *m)
{
	struct bench *b = container_of(m, struct bench, msg);
	struct err e = { 0 };

	bdev_close(b->desc);
	do
		b->row++;
	while (b->row < ARRAY_SIZE(rows) && b->only && !strstr(rows[b->row].name, b->only));
	if (b->row == ARRAY_SIZE(rows)) {
		if (null_delete(b->reg, "null", removed, NULL, &e) || malloc_delete(b->reg, "ram", removed, NULL, &e) ||
		    malloc_delete(b->reg, "pi", removed, NULL, &e))
			fprintf(stderr, "micro_bdev: %s\n", e.text);
		core_stop(b->core, b->code);
		return;
	}
	b->desc = bdev_open(b->reg, rows[b->row].device, true, "bench", NULL, NULL, &e);
	msg_send(core_reactor(b->core, 0), &b->msg, row_on_core);
}

static void start(void *arg)
{
	struct bench *b = arg;
	struct null_opts null = { .name = "null", .block_count = b->blocks, .block_size = BLOCK };
	struct malloc_opts ram = { .name = "ram", .block_count = b->blocks, .block_size = BLOCK };
	struct malloc_opts pi = { .name = "pi", .block_count = b->blocks, .block_size = BLOCK, .md_size = PI_BYTES,
	                          .md_interleaved = true, .dif_type = 1 };
	struct err e = { 0 };
	struct bdev *dev;

	b->reg = bdev_registry_make(b->core);
	if (null_create(b->reg, &null, &dev, &e) || malloc_create(b->reg, &ram, &dev, &e) ||
	    malloc_create(b->reg, &pi, &dev, &e)) {
		fprintf(stderr, "micro_bdev: %s\n", e.text);
		core_stop(b->core, 1);
		return;
	}
	b->row = UINT32_MAX;
	b->desc = NULL;
	next_row_on_control(&b->msg);
}

static struct bench *bench_make(uint64_t mib)
{
	struct bench *b = base_zalloc(sizeof(*b));

	b->blocks = mib * MIB / BLOCK;
	b->buffers = base_zalloc_aligned(BLOCK, (size_t)(DEPTH_MAX + 1) * BLOCK);
	b->sent = base_zalloc_aligned(BLOCK, SENT_BYTES);
	memset(b->sent, 1, SENT_BYTES);
	for (uint32_t i = 0; i < DEPTH_MAX; i++) {
		b->slots[i].bench = b;
		b->slots[i].own = (struct iovec){ .iov_base = b->buffers + (size_t)i * BLOCK, .iov_len = BLOCK };
	}
	return b;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' }, { "cpus", required_argument, NULL, 'c' },
		{ "seconds", required_argument, NULL, 's' }, { "mib", required_argument, NULL, 'm' },
		{ "only", required_argument, NULL, 'o' }, { 0 },
	};
	struct core_opts opts = { .cpus = "0x2" };
	double seconds = 1;
	uint64_t mib = 256;
	const char *only = NULL;
	bool json = false;
	struct err e = { 0 };
	struct bench *b;
	int rc;

	while ((rc = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (rc) {
		case 'j': json = true; break;
		case 'c': opts.cpus = optarg; break;
		case 's': seconds = atof(optarg); break;
		case 'm': mib = strtoull(optarg, NULL, 0); break;
		case 'o': only = optarg; break;
		default: return 2;
		}
	}
	b = bench_make(mib ? mib : 1);
	b->json = json;
	b->only = only;
	b->seconds = seconds;
	b->core = core_make(&opts, &e);
	if (!b->core) {
		fprintf(stderr, "micro_bdev: %s\n", e.text);
		return 1;
	}
	rc = core_run(b->core, start, b);
	bdev_registry_free(b->reg);
	core_free(b->core);
	free(b->buffers);
	free(b->sent);
	free(b);
	return rc;
}
