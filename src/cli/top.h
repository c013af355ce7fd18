/* SPDX-License-Identifier: BSD-3-Clause */
/* top.h: what gantry top's parts share: sections of rows, made from two looks at the daemon. Private to cli. */
#ifndef CLI_TOP_H
#define CLI_TOP_H

#include "cli/cli.h"

enum { TOP_CORES, TOP_DISKS, TOP_HOSTS, TOP_SECTIONS };

/* How a column shows the row's member `key`; JSON has the plain number. */
enum top_unit { TOP_TEXT, TOP_COUNT, TOP_PERCENT, TOP_BYTES, TOP_US };

struct top_column {
	const char *title, *key;
	enum top_unit unit;
};

struct top_section {
	const char *name;      /* "cores": its member of the JSON object */
	const char *what;      /* "Cores": for people */
	const struct top_column *columns;
	size_t column_count, sort; /* sort: the column */
	bool reverse;
	size_t scroll;         /* rows left out at the top */
};

struct top {
	struct cli *c;
	struct top_section sections[TOP_SECTIONS];
	struct json_object *last; /* the raw answers of the look before */
	uint64_t last_ns;
	struct json_object *timed; /* disks whose histograms are on because of us; NULL: none */
};

void top_init(struct top *t, struct cli *c);
void top_fini(struct top *t);
/* Latencies are those of disks that keep histograms: let all do so, or those that did not before no longer. */
void top_latencies(struct top *t, bool on);
/* Look at the daemon; the rates since the last look: {version, pid, seconds, cores: [], disks: [], hosts: [], memory},
 * the caller's. The first look has none: NULL with e->code 0. */
struct json_object *top_look(struct top *t, struct err *e);
/* A section as a table, sorted; `width` 0: not fitted. */
void top_table(const struct top_section *s, struct json_object *look, bool mark_sort, struct table *table);
/* The line over all sections. */
void top_head(struct top *t, struct json_object *look, char *buf, size_t size);

/* Until q. false: this terminal cannot do it. */
bool top_screen(struct top *t, uint64_t interval_ms, int *ret_status);

#endif
