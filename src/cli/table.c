/* SPDX-License-Identifier: BSD-3-Clause */
/* table.c: columns as wide as what is in them; the widest give way until a line fits the terminal, and what is cut ends
 * with an ellipsis. Numbers are never cut. Without a terminal nothing is. */
#include <langinfo.h>
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"

#define CELL_MAX 1024
#define COLUMN_LEAST 6  /* a text's column is not made narrower than this, or its title */
#define GAP 2

void table_init(struct table *t, const char *titles)
{
	const char *s = titles;

	*t = (struct table){ .columns = base_zalloc((strlen(titles) / 2 + 2) * sizeof(*t->columns)) };
	while (*s) {
		struct table_column *c = &t->columns[t->column_count++];

		c->right = *s == '>';
		s += c->right;
		c->title = s;
		s += strcspn(s, " ");
		s += strspn(s, " ");
	}
}

void table_cell(struct table *t, const char *fmt, ...)
{
	char buf[CELL_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if ((t->cell_count & (t->cell_count - 1)) == 0) { /* a power of two: full */
		t->cells = realloc(t->cells, (t->cell_count ? 2 * t->cell_count : 1) * sizeof(*t->cells));
		must(t->cells);
	}
	t->cells[t->cell_count++] = base_strdup(buf);
}

size_t table_rows(const struct table *t)
{
	return t->cell_count / t->column_count;
}

/* A title's own text: up to the blank, with _ for blanks. */
static size_t title_width(const struct table_column *c)
{
	return strcspn(c->title, " ");
}

void table_fit(struct table *t, size_t width)
{
	size_t all = 0;

	for (size_t i = 0; i < t->column_count; i++)
		t->columns[i].width = title_width(&t->columns[i]);
	for (size_t i = 0; i < t->cell_count; i++) {
		struct table_column *c = &t->columns[i % t->column_count];

		c->width = max_u64(c->width, text_columns(t->cells[i]));
	}
	for (size_t i = 0; i < t->column_count; i++)
		all += t->columns[i].width + (i ? GAP : 0);
	while (all > width) {
		struct table_column *widest = NULL;

		for (size_t i = 0; i < t->column_count; i++) {
			struct table_column *c = &t->columns[i];

			if (!c->right && c->width > max_u64(COLUMN_LEAST, title_width(c)) && (!widest || c->width > widest->width))
				widest = c;
		}
		if (!widest)
			break; /* the line itself will be cut */
		widest->width--;
		all--;
	}
}

void table_line(const struct table *t, size_t row, size_t width, struct text *out)
{
	char line[4096];
	struct text whole = text_over(line, sizeof(line));

	for (size_t i = 0; i < t->column_count; i++) {
		const struct table_column *c = &t->columns[i];
		char title[64];
		const char *text = title;
		size_t pad;

		if (row > 0) {
			text = t->cells[(row - 1) * t->column_count + i];
		} else {
			snprintf(title, sizeof(title), "%.*s", (int)title_width(c), c->title);
			for (char *s = title; *s; s++)
				*s = *s == '_' ? ' ' : *s;
		}
		pad = c->width > text_columns(text) ? c->width - text_columns(text) : 0;
		text_add(&whole, "%*s", (int)((i ? GAP : 0) + (c->right ? pad : 0)), "");
		text_add_cut(&whole, text, c->width);
		if (!c->right && i + 1 < t->column_count)
			text_add(&whole, "%*s", (int)pad, "");
	}
	while (whole.len && line[whole.len - 1] == ' ')
		line[--whole.len] = 0;
	text_add_cut(out, line, width);
}

void table_print(struct table *t)
{
	size_t width = cli_width();

	table_fit(t, width);
	for (size_t row = 0; row <= table_rows(t); row++) {
		char buf[4096];
		struct text line = text_over(buf, sizeof(buf));

		table_line(t, row, width, &line);
		printf("%s\n", buf);
	}
	table_free(t);
}

void table_free(struct table *t)
{
	for (size_t i = 0; i < t->cell_count; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->columns);
	*t = (struct table){ 0 };
}

/* Characters of UTF-8; each is taken for one column. */
size_t text_columns(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

void text_add_cut(struct text *t, const char *text, size_t width)
{
	const char *mark = strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? "\xe2\x80\xa6" : "...", *end = text;
	size_t room, columns = text_columns(text);

	if (columns <= width) {
		text_add(t, "%s", text);
		return;
	}
	if (text_columns(mark) > width)
		mark = "";
	room = width - text_columns(mark);
	if (text_starts_with(text, "nqn.")) { /* what tells NQNs apart is at their end */
		for (size_t n = columns - room; n > 0; n--)
			do
				text++;
			while (((unsigned char)*text & 0xc0) == 0x80);
		text_add(t, "%s%s", mark, text);
		return;
	}
	for (size_t n = 0; n < room; n++)
		do
			end++;
		while (((unsigned char)*end & 0xc0) == 0x80);
	text_add(t, "%.*s%s", (int)(end - text), text, mark);
}
