/* SPDX-License-Identifier: BSD-3-Clause */
/* waits.h: accounts of every wait that has a name: how often, how long, how many wait now, and whether it keeps
 * growing.
 *
 * Who makes something wait says when it begins and when it ends; a wait is rare, so that this may cost a little. A wait
 * that happened in each of the last periods is an alarm: said once a minute in the log, and shown by the metrics. It is
 * looked at when somebody waits, so that no timer runs for it.
 */
#ifndef CORE_WAITS_H
#define CORE_WAITS_H

#include "core/core.h"

#define WAITS_NAMES_MAX 32u       /* on one core; more are accounted together */
#define WAITS_PERIOD_MS 5000u
#define WAITS_ALARM_PERIODS 3u    /* in a row, with waits in each */

struct wait_account {
	const char *name;             /* static text */
	uint64_t waits, waiting;      /* ever; now */
	uint64_t total_ns, longest_ns; /* of those that ended */
	uint64_t period_ns;           /* when the present period began */
	uint32_t periods;             /* in a row with waits in them */
	uint64_t alarms, said_ns;
};

/* Calling reactor. `since_ns`: when it began, by reactor_now_ns(). */
void wait_began(const char *name);
void wait_ended(const char *name, uint64_t since_ns);
/* It grows, and did so a moment ago. */
bool wait_alarms(const struct wait_account *a, uint64_t now_ns);
/* The calling reactor's accounts; returns how many. */
uint32_t waits_get(struct wait_account ret_accounts[static WAITS_NAMES_MAX]);

#endif
