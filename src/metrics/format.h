/* SPDX-License-Identifier: BSD-3-Clause */
/* format.h: how a row of the table and its values are written: a head, then a line for each set of labels (private to
 * metrics). */
#ifndef METRICS_FORMAT_H
#define METRICS_FORMAT_H

#include <stdio.h>

#include "base/text.h"
#include "metrics/gather.h"
#include "metrics/table.h"

#define LABELS_MAX 2048

struct metrics_row {
	const char *name, *type, *help;
};
extern const struct metrics_row metrics_rows[];

static inline void head(FILE *f, enum metric m)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", metrics_rows[m].name, metrics_rows[m].help,
	        metrics_rows[m].name, metrics_rows[m].type);
}

/* Labels: made with label(), one after the other. */
struct labels {
	struct text t;
	char buf[LABELS_MAX];
};

static inline void labels_init(struct labels *l)
{
	l->t = text_over(l->buf, sizeof(l->buf));
}

static inline void label(struct labels *l, const char *name, const char *value)
{
	char utf8[512];
	struct text clean = text_over(utf8, sizeof(utf8));

	text_add_utf8(&clean, value);
	text_add(&l->t, "%s%s=\"", l->t.len ? "," : "", name);
	for (const char *s = utf8; *s; s++) {
		if (*s == '\n')
			text_add(&l->t, "\\n");
		else
			text_add(&l->t, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	}
	text_add(&l->t, "\"");
}

static inline void label_u64(struct labels *l, const char *name, uint64_t value)
{
	text_add(&l->t, "%s%s=\"%llu\"", l->t.len ? "," : "", name, (unsigned long long)value);
}

static inline void put(FILE *f, enum metric m, const struct labels *l, uint64_t v)
{
	if (l)
		fprintf(f, "%s{%s} %llu\n", metrics_rows[m].name, l->buf, (unsigned long long)v);
	else
		fprintf(f, "%s %llu\n", metrics_rows[m].name, (unsigned long long)v);
}

static inline void put_seconds(FILE *f, enum metric m, const struct labels *l, uint64_t ns)
{
	fprintf(f, "%s%s%s%s %llu.%09llu\n", metrics_rows[m].name, l ? "{" : "", l ? l->buf : "", l ? "}" : "",
	        (unsigned long long)(ns / NS_PER_S), (unsigned long long)(ns % NS_PER_S));
}

static inline void one(FILE *f, enum metric m, uint64_t v)
{
	head(f, m);
	put(f, m, NULL, v);
}

static inline const char *core_name(const struct gathered_core *c, char buf[static 16])
{
	struct text t = text_over(buf, 16);

	if (reactor_is_control(c->reactor))
		text_add(&t, "control");
	else
		text_add(&t, "%u", reactor_index(c->reactor));
	return buf;
}

/* stages.c: hosts, namespaces, LUNs, queues and sessions, and the errors and slow commands of the protocols. */
void metrics_stages(FILE *f, const struct gathering *g);

#endif
