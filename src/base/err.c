/* SPDX-License-Identifier: BSD-3-Clause */
/* err.c: the first thing that went wrong, as one line that can be logged or sent as it is. */
#include "base/err.h"

#include <stdarg.h>

#include "base/text.h"

static void make_one_line(char *s);

int err_set(struct err *e, int code, const char *fmt, ...)
{
	struct text t;
	va_list ap;

	assert(code != 0);
	if (!e || e->code)
		return code;
	e->code = code;
	t = text_over(e->text, sizeof(e->text));
	va_start(ap, fmt);
	text_vadd(&t, fmt, ap);
	va_end(ap);
	if (t.cut)
		text_end_with(&t, "...");
	make_one_line(e->text);
	return code;
}

/* Sentences quote what people typed, which may hold anything. */
static void make_one_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = ' ';
}
