/* SPDX-License-Identifier: BSD-3-Clause */
/* log.c: gantry log: how much the daemon says, changed while it runs, and its lines as they come. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"

#define TAIL_BYTES 4096
#define FLAGS_MAX 128 /* among which one is looked for that was meant */
#define LOOK_NS (200 * NS_PER_MS)

static int run_show(struct cli *c, struct cli_args *a);
static int run_level(struct cli *c, struct cli_args *a);
static int run_flag(struct cli *c, struct cli_args *a);
static int run_timestamps(struct cli *c, struct cli_args *a);
static int run_follow(struct cli *c, struct cli_args *a);

static const struct cli_verb verbs[] = {
	{ "show", "", "how much the log says: the level and the flags", run_show, .is_default = true,
	  .example = "gantry log show" },
	{ "level", "[LEVEL]", "show or set the least important lines that are written", run_level,
	  .help = "LEVEL is error, warning, notice, info or debug.", .example = "gantry log level info" },
	{ "flag", "FLAG [on|off]", "write debug lines of a part, or no longer", run_flag,
	  .help = "gantry log show names the parts; all is all of them.",
	  .example = "gantry log flag nvmf on\ngantry log flag all off" },
	{ "timestamps", "on|off", "begin the log's lines with the time, or not", run_timestamps,
	  .help = "A service of systemd has the journal's.", .example = "gantry log timestamps on" },
	{ "follow", "", "the log's last lines, and new ones as they come, until Ctrl-C", run_follow,
	  .help = "The daemon writes to its standard error. When that is a file, it is followed; for a service of "
	          "systemd the command to type is said.",
	  .example = "gantry log follow" },
};
const struct cli_noun log_noun = { "log", "how much the daemon says, and what", verbs, ARRAY_SIZE(verbs) };

static int follow(int fd);

static int run_show(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *level = client_call(c, "log_get_level", NULL, &e), *flags;

	if (!level)
		return cli_fail(&e);
	flags = client_call(c, "log_get_flags", NULL, &e);
	if (flags && c->json) {
		struct json_object *both = json_object_new_object();

		json_object_object_add(both, "level", json_object_get(level));
		json_object_object_add(both, "flags", json_object_get(flags));
		cli_print_json(both);
		json_object_put(both);
	} else if (flags) {
		printf("level  %s\n", json_object_get_string(level));
		json_object_object_foreach(flags, name, on)
			printf("flag   %s %s\n", name, json_object_get_boolean(on) ? "on" : "off");
		printf("Change it: gantry log level info; gantry log flag all on\n");
	}
	json_object_put(flags);
	json_object_put(level);
	return e.code ? cli_fail(&e) : CLI_OK;
}

static int run_level(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *result;
	char level[32];

	if (!a->word_count) {
		result = client_call(c, "log_get_level", NULL, &e);
		if (result)
			cli_print_json(result);
	} else {
		snprintf(level, sizeof(level), "%s", a->words[0]);
		for (char *s = level; *s; s++)
			*s = *s >= 'a' && *s <= 'z' ? (char)(*s - 'a' + 'A') : *s;
		result = client_ask(c, &e, "log_set_level", "level", level, NULL);
	}
	json_object_put(result);
	return e.code ? cli_fail(&e) : CLI_OK;
}

/* The method takes every name, as SPDK's does; who types one wants to know. */
static int find_flag(struct cli *c, const char *typed, struct err *e)
{
	struct json_object *flags = client_call(c, "log_get_flags", NULL, e);
	const char *names[FLAGS_MAX];
	size_t count = 0;
	char near[128];

	if (!flags)
		return e->code;
	json_object_object_foreach(flags, name, on) {
		(void)on;
		if (count < ARRAY_SIZE(names))
			names[count++] = name;
	}
	if (!json_object_object_get_ex(flags, typed, NULL))
		err_set(e, CLIENT_MISTYPED, "the log has no flag \"%s\"%s; gantry log show lists them", typed,
		        cli_suggest(typed, names, count, near, sizeof(near)));
	json_object_put(flags);
	return e->code;
}

static int run_flag(struct cli *c, struct cli_args *a)
{
	const char *way = a->word_count > 1 ? a->words[1] : "on";
	struct err e = { 0 };

	if (strcmp(way, "on") != 0 && strcmp(way, "off") != 0)
		return cli_misuse("a flag is on or off, not \"%s\"; for instance: gantry log flag %s on", way, a->words[0]);
	if (find_flag(c, a->words[0], &e))
		return cli_fail(&e);
	json_object_put(client_ask(c, &e, strcmp(way, "on") == 0 ? "log_set_flag" : "log_clear_flag", "flag", a->words[0],
	                           NULL));
	return e.code ? cli_fail(&e) : CLI_OK;
}

static int run_timestamps(struct cli *c, struct cli_args *a)
{
	bool on = strcmp(a->words[0], "on") == 0;
	struct json_object *params;
	struct err e = { 0 };

	if (!on && strcmp(a->words[0], "off") != 0)
		return cli_misuse("timestamps are on or off, not \"%s\"", a->words[0]);
	params = json_object_new_object();
	json_object_object_add(params, "enabled", json_object_new_boolean(on));
	json_object_put(client_call(c, "log_enable_timestamps", params, &e));
	json_object_put(params);
	return e.code ? cli_fail(&e) : CLI_OK;
}

/* The file behind the daemon's standard error, if it is one and we may read it. */
static int run_follow(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *reactors = client_call(c, "framework_get_reactors", NULL, &e);
	char link[64], path[PATH_MAX + 1];
	uint64_t pid = field_u64(reactors, "pid");
	struct stat st;
	ssize_t len;
	int fd;

	json_object_put(reactors);
	if (!reactors)
		return cli_fail(&e);
	snprintf(link, sizeof(link), "/proc/%lu/fd/2", pid);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0) {
		err_set(&e, -errno, "where gantryd (pid %lu) writes its log cannot be seen: %s; become its user, for "
		        "instance with sudo", pid, strerror(errno));
		return cli_fail(&e);
	}
	path[len] = 0;
	if (stat(link, &st) < 0 || !S_ISREG(st.st_mode)) {
		if (text_starts_with(path, "socket:"))
			err_set(&e, -95, "gantryd writes its log to the journal; follow it with: journalctl -f _PID=%lu", pid);
		else
			err_set(&e, -95, "gantryd (pid %lu) writes its log to %s, which only its reader can follow; start it with "
			        "2>FILE to follow the file", pid, path);
		return cli_fail(&e);
	}
	fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err_set(&e, -errno, "%s cannot be read: %s", path, strerror(errno));
		return cli_fail(&e);
	}
	if (st.st_size > TAIL_BYTES && lseek(fd, -TAIL_BYTES, SEEK_END) < 0)
		st.st_size = 0; /* from its beginning, then */
	follow(fd);
	close(fd);
	return CLI_OK;
}

/* Until the reader of our output is gone, or a signal. */
static int follow(int fd)
{
	struct timespec moment = { .tv_nsec = (long)LOOK_NS };
	bool skipping = lseek(fd, 0, SEEK_CUR) > 0; /* the rest of a line */
	char buf[8192];

	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));
		char *from = buf;
		struct stat st;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			if (fstat(fd, &st) == 0 && st.st_size < lseek(fd, 0, SEEK_CUR))
				lseek(fd, 0, SEEK_SET); /* it was emptied */
			nanosleep(&moment, NULL);
			continue;
		}
		if (skipping) {
			char *end = memchr(buf, '\n', (size_t)n);

			from = end ? end + 1 : buf + n;
			skipping = !end;
		}
		if (fwrite(from, 1, (size_t)(buf + n - from), stdout) < (size_t)(buf + n - from) || fflush(stdout))
			return 0;
	}
}
