/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics.c: the daemon's metrics, as metrics_get gives them: lines NAME{label="value",...} NUMBER. */
#include <stdio.h>

#include "cli/cli.h"

struct json_object *metrics_take(struct cli *c)
{
	struct err e = { 0 };

	return client_call(c, "metrics_get", NULL, &e);
}

bool metrics_next(const char **at, const char *name, struct metric *ret)
{
	size_t len = strlen(name);

	while (**at) {
		const char *line = *at, *space;
		size_t rest = strcspn(line, "\n");

		*at += rest + (line[rest] == '\n');
		if (strncmp(line, name, len) != 0 || (line[len] != '{' && line[len] != ' '))
			continue;
		space = memrchr(line, ' ', rest);
		if (!space)
			continue;
		snprintf(ret->labels, sizeof(ret->labels), "%.*s", (int)(space - line - (ptrdiff_t)len), line + len);
		ret->value = strtod(space + 1, NULL);
		return true;
	}
	return false;
}

double metrics_sum(const char *text, const char *name, const char *label, const char *value)
{
	char wanted[300];
	struct metric m;
	double sum = 0;

	snprintf(wanted, sizeof(wanted), "%s=\"%s\"", label, value);
	while (metrics_next(&text, name, &m))
		sum += strstr(m.labels, wanted) ? m.value : 0;
	return sum;
}
