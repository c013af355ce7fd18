/* SPDX-License-Identifier: BSD-3-Clause */
/* top_screen.c: gantry top as a screen: sections below each other, sorted as one likes; a row too many in one
 * takes none
 * from the others, and 80 columns of 24 lines are enough. */
#include <ncurses.h>
#include <stdio.h>
#include <time.h>

#include "cli/top.h"

#define LINE_MAX_BYTES 4096
#define KEY_CTRL_C 3
#define PATIENCE_S 5 /* a daemon that does not answer does not freeze the screen for longer */

static const char keys[] = "q quit  Tab section  s sort (*)  r reverse  l latencies  Up/Down scroll  +/- "
	"slower/faster  Space pause";
static const char keys_short[] = "q quit Tab section s sort r reverse l latency Up/Dn scroll +/- time Spc pause";

struct screen {
	struct top *t;
	struct json_object *look;
	struct err e;          /* of the last look */
	uint64_t interval_ms;
	size_t focus;
	bool paused;
};

static bool start(void);
static uint64_t now_ms(void);
static void look_again(struct screen *s);
static bool obey(struct screen *s, int key);
static void draw(struct screen *s);
static void draw_section(struct screen *s, size_t index, struct table *table, int *at, size_t height);
static void share(const size_t wanted[TOP_SECTIONS], size_t room, size_t ret_height[TOP_SECTIONS]);
static void put_line(int at, const char *text, attr_t attributes);

bool top_screen(struct top *t, uint64_t interval_ms, int *ret_status)
{
	struct screen s = { .t = t, .interval_ms = interval_ms, .focus = TOP_DISKS };
	uint64_t next = 0;
	bool go_on = true;

	t->c->timeout_s = PATIENCE_S;
	look_again(&s); /* no daemon: said on the terminal as it is */
	if (s.e.code) {
		*ret_status = cli_fail(&s.e);
		return true;
	}
	if (!start())
		return false;
	next = now_ms() + 200; /* the first rates come soon */
	draw(&s);
	while (go_on) {
		uint64_t now = now_ms();
		int key;

		timeout(now >= next ? 0 : (int)(next - now));
		key = getch();
		if (key != ERR) {
			go_on = obey(&s, key);
		} else {
			if (!s.paused)
				look_again(&s);
			next = now_ms() + s.interval_ms;
		}
		draw(&s);
	}
	endwin();
	json_object_put(s.look);
	*ret_status = CLI_OK;
	return true;
}

static bool start(void)
{
	SCREEN *screen = newterm(NULL, stdout, stdin);

	if (!screen)
		return false;
	set_term(screen);
	if (!tigetstr("cup")) { /* the cursor cannot be put anywhere: TERM=dumb */
		endwin();
		delscreen(screen);
		return false;
	}
	raw(); /* Ctrl-C is a key: the terminal is always left in order */
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	return true;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void look_again(struct screen *s)
{
	struct json_object *look;

	s->e.code = 0;
	look = top_look(s->t, &s->e);
	if (look) {
		json_object_put(s->look);
		s->look = look;
	}
}

/* false: the end. */
static bool obey(struct screen *s, int key)
{
	struct top_section *section = &s->t->sections[s->focus];

	switch (key) {
	case 'q': case 'Q': case KEY_CTRL_C:
		return false;
	case '\t':
		s->focus = (s->focus + 1) % TOP_SECTIONS;
		break;
	case 's':
		section->sort = (section->sort + 1) % section->column_count;
		break;
	case 'S':
		section->sort = (section->sort + section->column_count - 1) % section->column_count;
		break;
	case 'r':
		section->reverse = !section->reverse;
		break;
	case KEY_UP: case 'k':
		section->scroll -= section->scroll > 0;
		break;
	case KEY_DOWN: case 'j':
		section->scroll++;
		break;
	case '+':
		s->interval_ms = min_u64(s->interval_ms * 2, 60000);
		break;
	case '-':
		s->interval_ms = max_u64(s->interval_ms / 2, 100);
		break;
	case 'l':
		top_latencies(s->t, !s->t->timed);
		break;
	case ' ': case 'p':
		s->paused = !s->paused;
		break;
	case KEY_RESIZE:
		clear();
		break;
	}
	return true;
}

static void draw(struct screen *s)
{
	size_t wanted[TOP_SECTIONS], height[TOP_SECTIONS], room = LINES > 3 ? (size_t)LINES - 3 : 0;
	struct table table;
	char line[LINE_MAX_BYTES];
	int at = 2;

	erase();
	top_head(s->t, s->look, line, sizeof(line));
	put_line(0, s->look ? line : "gantry top: the first look takes a moment", A_BOLD);
	if (s->e.code)
		put_line(1, s->e.text, A_REVERSE);
	else if (s->paused)
		put_line(1, "paused; Space goes on", A_REVERSE);
	for (size_t i = 0; i < TOP_SECTIONS; i++)
		wanted[i] = 1 + max_u64(list_count(field(s->look, s->t->sections[i].name)), 1);
	share(wanted, room, height);
	for (size_t i = 0; i < TOP_SECTIONS; i++) {
		size_t spare = 0;

		top_table(&s->t->sections[i], s->look, true, &table);
		table_fit(&table, (size_t)COLS);
		draw_section(s, i, &table, &at, height[i]);
		table_free(&table);
		for (size_t k = 0; k < TOP_SECTIONS; k++)
			spare += height[k];
		at += spare + TOP_SECTIONS <= room; /* a line between them, when there is one to spare */
	}
	put_line(LINES - 1, COLS >= (int)sizeof(keys) ? keys : keys_short, A_DIM);
	refresh();
}

/* The heading and as many rows as there is room for. */
static void draw_section(struct screen *s, size_t index, struct table *table, int *at, size_t height)
{
	struct top_section *section = &s->t->sections[index];
	size_t rows = table_rows(table), shown = height > 1 ? height - 1 : 0;
	char buf[LINE_MAX_BYTES];
	struct text line = text_over(buf, sizeof(buf));

	if (!height)
		return;
	table_line(table, 0, (size_t)COLS, &line);
	for (size_t pad = text_columns(buf); index == s->focus && pad < (size_t)COLS; pad++)
		text_add(&line, " ");
	put_line((*at)++, buf, index == s->focus ? A_REVERSE : A_UNDERLINE);
	section->scroll = min_u64(section->scroll, rows > shown ? rows - shown : 0);
	for (size_t i = 0; i < shown; i++) {
		size_t row = section->scroll + i, more = rows - row;

		line = text_over(buf, sizeof(buf));
		if (!rows && i == 0)
			text_add(&line, "no %s", section->name);
		else if (row < rows && i + 1 == shown && more > 1)
			text_add(&line, "and %zu more %s", more, section->name);
		else if (row < rows)
			table_line(table, row + 1, (size_t)COLS, &line);
		put_line((*at)++, buf, A_NORMAL);
	}
}

/* Everybody gets what is wanted, or the longest give way. */
static void share(const size_t wanted[TOP_SECTIONS], size_t room, size_t ret_height[TOP_SECTIONS])
{
	size_t all = 0;

	for (size_t i = 0; i < TOP_SECTIONS; i++)
		all += ret_height[i] = wanted[i];
	while (all > room) {
		size_t most = 0;

		for (size_t i = 1; i < TOP_SECTIONS; i++)
			if (ret_height[i] > ret_height[most])
				most = i;
		if (!ret_height[most])
			break;
		ret_height[most]--;
		all--;
	}
}

static void put_line(int at, const char *text, attr_t attributes)
{
	char buf[LINE_MAX_BYTES];
	struct text line = text_over(buf, sizeof(buf));

	if (at < 0 || at >= LINES)
		return;
	text_add_cut(&line, text, (size_t)COLS);
	attrset(attributes);
	mvaddstr(at, 0, buf);
	attrset(A_NORMAL);
}
