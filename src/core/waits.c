/* SPDX-License-Identifier: BSD-3-Clause */
/* waits.c: a small table per reactor, found by the wait's name. */
#include "core/waits.h"

#include "base/text.h"
#include "core/log.h"
#include "core/reactor.h"

#define SAY_AGAIN_NS (60 * NS_PER_S)

struct waits {
	uint32_t count;
	struct wait_account accounts[WAITS_NAMES_MAX];
};

static struct wait_account *account_of(const char *name);
static void look_whether_it_grows(struct wait_account *a, uint64_t now_ns);

void wait_began(const char *name)
{
	struct wait_account *a = account_of(name);

	a->waits++;
	a->waiting++;
	look_whether_it_grows(a, reactor_now_ns());
}

void wait_ended(const char *name, uint64_t since_ns)
{
	struct wait_account *a = account_of(name);
	uint64_t now_ns = reactor_now_ns(), took_ns = now_ns > since_ns ? now_ns - since_ns : 0;

	if (a->waiting) /* with more names than places it may have begun elsewhere */
		a->waiting--;
	a->total_ns += took_ns;
	a->longest_ns = max_u64(a->longest_ns, took_ns);
}

static struct wait_account *account_of(const char *name)
{
	struct reactor *r = reactor_current;
	struct waits *w = r->waits;

	if (!w)
		w = r->waits = base_zalloc(sizeof(*w));
	for (uint32_t i = 0; i < w->count; i++)
		if (w->accounts[i].name == name || strcmp(w->accounts[i].name, name) == 0)
			return &w->accounts[i];
	if (w->count == WAITS_NAMES_MAX)
		return &w->accounts[WAITS_NAMES_MAX - 1];
	if (w->count == WAITS_NAMES_MAX - 1)
		name = "others";
	w->accounts[w->count].name = name;
	return &w->accounts[w->count++];
}

static void look_whether_it_grows(struct wait_account *a, uint64_t now_ns)
{
	const uint64_t period_ns = WAITS_PERIOD_MS * NS_PER_MS;
	char longest[32];

	if (a->period_ns && now_ns - a->period_ns < period_ns)
		return;
	a->periods = a->period_ns && now_ns - a->period_ns < 2 * period_ns ? a->periods + 1 : 1;
	a->period_ns = now_ns;
	if (a->periods < WAITS_ALARM_PERIODS)
		return;
	a->alarms++;
	if (a->said_ns && now_ns - a->said_ns < SAY_AGAIN_NS)
		return;
	a->said_ns = now_ns;
	log_warning("core %u: requests keep waiting for %s: %llu times so far, %llu wait now, the longest took %s",
	            reactor_current->index, a->name, (unsigned long long)a->waits, (unsigned long long)a->waiting,
	            text_duration(a->longest_ns, longest));
}

bool wait_alarms(const struct wait_account *a, uint64_t now_ns)
{
	return a->periods >= WAITS_ALARM_PERIODS && now_ns - a->period_ns < 2 * WAITS_PERIOD_MS * NS_PER_MS;
}

uint32_t waits_get(struct wait_account ret_accounts[static WAITS_NAMES_MAX])
{
	struct waits *w = reactor_current->waits;

	if (!w)
		return 0;
	memcpy(ret_accounts, w->accounts, w->count * sizeof(w->accounts[0]));
	return w->count;
}

void waits_fini(struct reactor *r) { free(r->waits); }
