/* SPDX-License-Identifier: BSD-3-Clause */
/* file_sync.c: what writes out at the same time says yes together or not at all.
 *
 * The system says once for an open file that writing out failed: to the call that looks first. Another one, that ran
 * beside it and has to answer for the same writes, hears that all is well, and may hear it sooner. So who writes out
 * takes a ticket, and one that went well is answered when all that had a ticket by then have their results, on
 * whatever core they are; not by those that come later, so that it does not wait for ever. One that is alone waits for
 * nothing. If any failed since it began it has failed too, even if the file was opened again meanwhile.
 *
 * Each core publishes the oldest ticket that has no result there. One that has to wait lies on a stack of the
 * disk's; who has a result takes the stack, sends those home that wait no more, and puts the others back. Both look
 * again after they have put something there: whoever is later sees the other.
 */
#include "backends/file/file_disk.h"

#define NO_TICKET UINT64_MAX

static bool all_over_before(struct file_disk *d, uint64_t ticket);
static void park(struct file_disk *d, struct file_io *f);
static void look_at_parked(struct file_disk *d);
static void goes_on(struct msg *m);

struct file_sync_core {
	CACHE_ALIGNED _Atomic uint64_t oldest; /* no older ticket is without a result on this core */
	struct list begun;                     /* of struct file_io by sync.link, without a result, the oldest first */
};

static uint32_t core_count(const struct file_disk *d)
{
	return core_reactor_count(bdev_registry_core(d->fb->reg)) + 1;
}

void file_sync_init(struct file_disk *d)
{
	d->sync_cores = base_zalloc_aligned(CACHE_LINE, core_count(d) * sizeof(*d->sync_cores));
	for (uint32_t i = 0; i < core_count(d); i++) {
		atomic_init(&d->sync_cores[i].oldest, NO_TICKET);
		list_init(&d->sync_cores[i].begun);
	}
}

void file_sync_fini(struct file_disk *d)
{
	free(d->sync_cores);
}

void file_sync_begin(struct file_disk *d, struct file_io *f)
{
	struct file_sync_core *c = &d->sync_cores[reactor_index(reactor_self())];

	f->sync.failures = atomic_load(&d->sync_failures);
	if (list_empty(&c->begun))
		atomic_store(&c->oldest, atomic_load(&d->sync_tickets)); /* first: nobody may find it missing */
	f->sync.ticket = atomic_fetch_add(&d->sync_tickets, 1);
	list_add_tail(&c->begun, &f->sync.link);
}

bool file_sync_over(struct file_disk *d, struct file_io *f, enum bdev_status *st)
{
	struct file_sync_core *c = &d->sync_cores[reactor_index(reactor_self())];
	bool waits;

	list_del(&f->sync.link);
	atomic_store(&c->oldest, list_empty(&c->begun) ? NO_TICKET :
	             list_first(&c->begun, struct file_io, sync.link)->sync.ticket);
	f->sync.ticket = atomic_load(&d->sync_tickets);
	waits = *st == BDEV_ST_OK && !all_over_before(d, f->sync.ticket);
	if (waits)
		park(d, f);
	else if (*st == BDEV_ST_OK && atomic_load(&d->sync_failures) != f->sync.failures)
		*st = BDEV_ST_FAILED;
	if (atomic_load(&d->sync_parked))
		look_at_parked(d);
	return !waits;
}

static bool all_over_before(struct file_disk *d, uint64_t ticket)
{
	for (uint32_t i = 0; i < core_count(d); i++)
		if (atomic_load(&d->sync_cores[i].oldest) < ticket)
			return false;
	return true;
}

static void park(struct file_disk *d, struct file_io *f)
{
	struct file_io *top = atomic_load(&d->sync_parked);

	f->state = FILE_IO_PARKED;
	f->sync.home = reactor_self();
	do
		f->sync.next = top;
	while (!atomic_compare_exchange_weak(&d->sync_parked, &top, f));
}

static void look_at_parked(struct file_disk *d)
{
	uint64_t least;

	do {
		struct file_io *f = atomic_exchange(&d->sync_parked, NULL), *next, *first = NULL, *last = NULL, *top;

		least = NO_TICKET;
		for (; f; f = next) {
			next = f->sync.next;
			if (all_over_before(d, f->sync.ticket)) {
				msg_send(f->sync.home, &f->msg, goes_on);
				continue;
			}
			least = min_u64(least, f->sync.ticket);
			f->sync.next = first;
			first = f;
			last = last ? last : f;
		}
		if (!first)
			return;
		top = atomic_load(&d->sync_parked);
		do
			last->sync.next = top;
		while (!atomic_compare_exchange_weak(&d->sync_parked, &top, first));
	} while (all_over_before(d, least)); /* others may have them by now: only the number is ours */
}

static void goes_on(struct msg *m)
{
	struct file_io *f = container_of(m, struct file_io, msg);
	struct file_disk *d = file_disk_of(bdev_channel_bdev(f->io->ch));

	file_io_answer(f, atomic_load(&d->sync_failures) == f->sync.failures ? BDEV_ST_OK : BDEV_ST_FAILED);
}
