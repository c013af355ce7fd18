/* SPDX-License-Identifier: BSD-3-Clause */
/* doctor_daemon.c: what gantry doctor looks at in the daemon: does it answer, who has its ports, may it use its files,
 * what has it to wait for. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/doctor.h"

#define MISSING_SAID 5u    /* parts; then how many more */
#define WAITS_MANY 1000u   /* since the start; a few mean nothing */

static const char *owner_of_port(uint64_t port, char *buf, size_t size, uint64_t *ret_pid);
static uint64_t listening_inode(const char *table, uint64_t port);
static bool has_socket(uint64_t pid, uint64_t inode);
static bool next_number(DIR *dir, uint64_t *ret);
static size_t look_at_paths(struct doctor *d, struct json_object *group);
static void look_at_alarms(struct doctor *d, const char *metrics);
static const char *option_of(const struct doctor *d, const char *name, char *buf, size_t size);

/* --- the socket
 * ------------------------------------------------------------------------------------------------------- */

void doctor_socket(struct doctor *d)
{
	const char *path = d->c->socket;
	struct stat st;
	bool there = stat(path, &st) == 0;
	char fix[PATH_MAX + 64], dir[PATH_MAX];

	if (!d->unreachable.code) {
		doctor_say(d, "daemon", DOCTOR_OK, NULL, "answers at %s, pid %lu", path, d->pid);
		if (there && (st.st_mode & 0007)) {
			snprintf(fix, sizeof(fix), "chmod 0660 %s", path);
			doctor_say(d, "socket", DOCTOR_PROBLEM, fix, "%s is open to everybody (mode %04o): whoever can open it "
			           "rules the "
			           "daemon", path, st.st_mode & 07777);
		} else {
			doctor_say(d, "socket", DOCTOR_OK, NULL, "mode %04o", there ? st.st_mode & 07777 : 0600);
		}
		return;
	}
	if (there && access(path, R_OK | W_OK) < 0) {
		snprintf(fix, sizeof(fix), "sudo gantry -s %s doctor", path);
		doctor_say(d, "daemon", DOCTOR_PROBLEM, fix, "the socket %s belongs to another user (mode %04o)", path,
		           st.st_mode & 07777);
		return;
	}
	snprintf(fix, sizeof(fix), "gantryd%s%s", strcmp(path, CLI_SOCKET) == 0 ? "" : " -r ",
	         strcmp(path, CLI_SOCKET) == 0 ? "" : path);
	doctor_say(d, "daemon", DOCTOR_WARNING, fix, "none answers at %s%s; what follows is about one that is started "
	           "here", path,
	           there ? " (the socket was left behind; the next daemon replaces it)" : "");
	snprintf(dir, sizeof(dir), "%s", path);
	if (access(dirname(dir), W_OK | X_OK) < 0) {
		char where[PATH_MAX + 32];

		snprintf(where, sizeof(where), "gantryd -r $XDG_RUNTIME_DIR/gantry.sock");
		doctor_say(d, "socket", DOCTOR_PROBLEM, where, "nothing can be made in %s: %s", dir, strerror(errno));
	}
}

/* --- ports
 * -------------------------------------------------------------------------------------------------------------- */

static void look_at_port(struct doctor *d, uint64_t port, bool is_ours, bool is_iscsi)
{
	char owner[300], fix[128];
	uint64_t pid = 0;
	const char *check = is_iscsi ? "iscsi-port" : "port", *who = owner_of_port(port, owner, sizeof(owner), &pid);

	if (!who && is_ours)
		doctor_say(d, check, DOCTOR_PROBLEM, "gantry export list", "nobody listens on port %lu, although an export "
		           "says so",
		           port);
	else if (!who)
		doctor_say(d, check, DOCTOR_OK, NULL, "%lu is free", port);
	else if (is_ours && (pid == d->pid || !pid))
		doctor_say(d, check, DOCTOR_OK, NULL, "%lu is gantryd's", port);
	else {
		snprintf(fix, sizeof(fix), "gantry export disk DISK %s--listen 127.0.0.1:%lu", is_iscsi ? "--iscsi " : "",
		         port + 1);
		doctor_say(d, check, is_ours ? DOCTOR_PROBLEM : DOCTOR_WARNING, fix, "%lu is taken by %s", port, who);
	}
}

#define PORTS_MAX 64u

/* Each of a list's ports once; returns how many there are. */
static size_t look_at_ports(struct doctor *d, struct json_object *listeners, const char *key, uint64_t *seen,
                            size_t count, bool is_iscsi)
{
	for (size_t k = 0; k < list_count(listeners) && count < PORTS_MAX; k++) {
		uint64_t port = leading_number(field_text(list_at(listeners, k), key));
		bool again = false;

		for (size_t s = 0; s < count; s++)
			again = again || seen[s] == port;
		if (!again)
			look_at_port(d, seen[count++] = port, true, is_iscsi);
	}
	return count;
}

/* Those that exports name; else the usual ones. */
void doctor_ports(struct doctor *d)
{
	uint64_t seen[PORTS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < list_count(d->subsystems); i++)
		count = look_at_ports(d, field(list_at(d->subsystems, i), "listen_addresses"), "trsvcid", seen, count, false);
	if (!count)
		look_at_port(d, leading_number(CLI_PORT), false, false);
	count = 0;
	for (size_t i = 0; i < list_count(d->portal_groups); i++)
		if (field_bool(list_at(d->portal_groups, i), "listening"))
			count = look_at_ports(d, field(list_at(d->portal_groups, i), "portals"), "port", seen, count, true);
	if (!count)
		look_at_port(d, leading_number(CLI_ISCSI_PORT), false, true);
}

/* --- target nodes ------------------------------------------------------------------------------------------------ */

static struct json_object *tagged(struct json_object *groups, uint64_t tag)
{
	for (size_t i = 0; i < list_count(groups); i++)
		if (field_u64(list_at(groups, i), "tag") == tag)
			return list_at(groups, i);
	return NULL;
}

static bool listens_somewhere(struct doctor *d, struct json_object *node)
{
	struct json_object *ports = field(node, "target_ports");

	for (size_t i = 0; i < list_count(ports); i++)
		if (field_bool(tagged(d->portal_groups, field_u64(list_at(ports, i), "pg_tag")), "listening"))
			return true;
	return false;
}

/* What would keep every host from using a node. True: there was something. */
static bool look_at_node(struct doctor *d, struct json_object *node)
{
	struct json_object *users = field(tagged(d->auth_groups, field_u64(node, "chap_group")), "secrets");
	const char *name = field_text(node, "name");
	char fix[600];

	if (!listens_somewhere(d, node)) {
		snprintf(fix, sizeof(fix), "gantry export disk DISK --iscsi --name %s --listen ADDRESS:PORT", name);
		doctor_say(d, "iscsi", DOCTOR_PROBLEM, fix, "%s can be reached nowhere: none of its portal groups "
		           "listens", name);
	} else if (field_bool(node, "require_chap") && !list_count(users)) {
		snprintf(fix, sizeof(fix), "gantry rpc iscsi_auth_group_add_secret tag=%lu user=USER secret=SECRET",
		         field_u64(node, "chap_group"));
		doctor_say(d, "iscsi", DOCTOR_PROBLEM, fix, "%s requires CHAP, and authentication group %lu has no users: "
		           "nobody can log in", name, field_u64(node, "chap_group"));
	} else if (!list_count(field(node, "luns"))) {
		snprintf(fix, sizeof(fix), "gantry rpc iscsi_target_node_add_lun name=%s bdev_name=DISK", name);
		doctor_say(d, "iscsi", DOCTOR_WARNING, fix, "%s has no LUN: hosts find nothing there", name);
	} else {
		return false;
	}
	return true;
}

void doctor_iscsi(struct doctor *d)
{
	bool any = false;

	for (size_t i = 0; i < list_count(d->nodes); i++)
		any = look_at_node(d, list_at(d->nodes, i)) || any;
	if (list_count(d->nodes) && !any)
		doctor_say(d, "iscsi", DOCTOR_OK, NULL, "%zu target nodes, each with disks and a way in", list_count(d->nodes));
}

/* --- who has a port ---------------------------------------------------------------------------------------------- */

/* NULL: nobody. `*ret_pid` 0: somebody whose files we may not see. */
static const char *owner_of_port(uint64_t port, char *buf, size_t size, uint64_t *ret_pid)
{
	uint64_t inode = listening_inode("/proc/net/tcp", port), pid;
	char path[64], name[64];
	DIR *proc;

	if (!inode)
		inode = listening_inode("/proc/net/tcp6", port);
	if (!inode)
		return NULL;
	*ret_pid = 0;
	snprintf(buf, size, "a process of another user; sudo gantry doctor tells which");
	proc = opendir("/proc");
	while (proc && !*ret_pid && next_number(proc, &pid)) {
		if (!has_socket(pid, inode))
			continue;
		*ret_pid = pid;
		snprintf(path, sizeof(path), "/proc/%lu/comm", pid);
		file_line(path, name, sizeof(name));
		snprintf(buf, size, "%s (pid %lu)", name, pid);
	}
	if (proc)
		closedir(proc);
	return buf;
}

/* "sl: ADDRESS:PORT REMOTE 0A ... inode": fields between blanks; 0A listens. */
static uint64_t listening_inode(const char *table, uint64_t port)
{
	FILE *f = fopen(table, "re");
	char line[512], wanted[16];
	uint64_t inode = 0;

	snprintf(wanted, sizeof(wanted), ":%04lX", port);
	while (f && !inode && fgets(line, sizeof(line), f)) {
		char *fields[12], *rest = line, *colon;
		size_t n = 0;

		while (n < ARRAY_SIZE(fields) && (fields[n] = strtok_r(rest, " \n", &rest)) != NULL)
			n++;
		colon = n > 9 ? strchr(fields[1], ':') : NULL;
		if (colon && strcmp(colon, wanted) == 0 && strcmp(fields[3], "0A") == 0)
			inode = leading_number(fields[9]);
	}
	if (f)
		fclose(f);
	return inode;
}

static bool has_socket(uint64_t pid, uint64_t inode)
{
	char path[64], link[128], wanted[64];
	bool found = false;
	uint64_t number;
	DIR *dir;

	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	snprintf(path, sizeof(path), "/proc/%lu/fd", pid);
	dir = opendir(path);
	while (dir && !found && next_number(dir, &number)) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/%lu/fd/%lu", pid, number);
		len = readlink(path, link, sizeof(link) - 1);
		link[len > 0 ? len : 0] = 0;
		found = strcmp(link, wanted) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool next_number(DIR *dir, uint64_t *ret)
{
	struct dirent *entry;

	while ((entry = readdir(dir)) != NULL) {
		if (!text_parse_u64(entry->d_name, ret, NULL))
			return true;
	}
	return false;
}

/* --- files
 * ------------------------------------------------------------------------------------------------------------- */

/* An option of the running daemon; NULL: it has none. */
static const char *option_of(const struct doctor *d, const char *name, char *buf, size_t size)
{
	char path[64], all[8192];
	size_t len, at = 0;
	FILE *f = d->pid ? fopen(proc_path(d, "cmdline", path), "re") : NULL;

	if (!f)
		return NULL;
	len = fread(all, 1, sizeof(all) - 1, f);
	all[len] = 0;
	fclose(f);
	for (; at < len; at += strlen(all + at) + 1) {
		const char *arg = all + at, *value = arg + strlen(name);

		if (strncmp(arg, name, strlen(name)) != 0 || (*value && *value != '='))
			continue;
		snprintf(buf, size, "%s", *value ? value + 1 : at + strlen(arg) + 1 < len ? arg + strlen(arg) + 1 : "");
		return buf;
	}
	return NULL;
}

void doctor_state(struct doctor *d)
{
	char dir[PATH_MAX], fix[PATH_MAX + 64], size[32];
	struct statvfs fs;

	if (!option_of(d, "--state-dir", dir, sizeof(dir)))
		return;
	snprintf(fix, sizeof(fix), "install -d -m 0700 -o \"$(ps -o user= -p %lu)\" %s", d->pid, dir);
	if (access(dir, R_OK | W_OK | X_OK) < 0)
		doctor_say(d, "state", DOCTOR_PROBLEM, fix, "the state directory %s cannot be written: %s", dir,
		           strerror(errno));
	else if (statvfs(dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < 16 * MIB)
		doctor_say(d, "state", DOCTOR_PROBLEM, "make room on its file system", "the state directory %s has only %s "
		           "left: "
		           "changes will be refused", dir, text_size((uint64_t)fs.f_bavail * fs.f_frsize, size));
	else
		doctor_say(d, "state", DOCTOR_OK, NULL, "the state directory %s can be written", dir);
}

/* Parts of the configuration that wait for what they need: a key's file, a disk, an address. */
void doctor_missing(struct doctor *d)
{
	struct err ignored = { 0 };
	struct json_object *all = d->unreachable.code ? NULL : client_call(d->c, "config_get_missing", NULL, &ignored);

	for (size_t i = 0; i < list_count(all) && i < MISSING_SAID; i++)
		doctor_say(d, "missing", DOCTOR_WARNING, NULL, "of the configuration %s is not in force: %s",
		           field_text(list_at(all, i), "method"), field_text(list_at(all, i), "why"));
	if (list_count(all) > MISSING_SAID)
		doctor_say(d, "missing", DOCTOR_WARNING, "gantry rpc config_get_missing", "%zu more parts of the configuration "
		           "are not in force", list_count(all) - MISSING_SAID);
	json_object_put(all);
}

void doctor_disks(struct doctor *d)
{
	static const char *const keys[] = { "filename", "path", "file" };

	for (size_t i = 0; i < list_count(d->calls); i++)
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
			struct json_object *params = field(list_at(d->calls, i), "params");
			const char *path = field_text(params, keys[k]);

			if (*path == '/')
				doctor_disk_path(d, path, field_text(params, "name"));
		}
	if (!d->unreachable.code && d->disks && !list_count(d->disks))
		doctor_say(d, "disks", DOCTOR_WARNING, "gantry disk create ram 1G --name disk0", "there are none yet");
}

/* Is it, or a part of it such as sda1 of sda, in use by a file system of this machine? */
static bool is_mounted(const char *path, char *where, size_t size)
{
	FILE *f = fopen("/proc/mounts", "re");
	char line[4096], *rest, *device, *at;
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		rest = line;
		device = strtok_r(rest, " ", &rest);
		at = strtok_r(NULL, " ", &rest);
		found = device && at && strncmp(device, path, strlen(path)) == 0 && text_starts_with(path, "/dev/");
		if (found)
			snprintf(where, size, "%s", at);
	}
	if (f)
		fclose(f);
	return found;
}

/* A file of which a part is served by nobody, or that could be no disk. False: all of it is, or would be. */
static bool look_at_odd_size(struct doctor *d, const char *path, const char *made, const struct stat *st)
{
	struct json_object *disk = made ? list_find(d->disks, "name", made) : NULL;
	uint64_t bytes = (uint64_t)st->st_size, block = 512, served = bytes;
	char fix[PATH_MAX + 128];

	if (disk) {
		block = field_u64(disk, "block_size");
		served = field_u64(disk, "num_blocks") * block;
	}
	if (!block || bytes % block == 0)
		return false;
	snprintf(fix, sizeof(fix), "truncate -s %%%lu %s", disk ? block : 4096, path);
	if (disk && served && served < bytes && bytes - served < block)
		doctor_say(d, "disk", DOCTOR_WARNING, fix, "%s has %lu bytes, which is not a number of blocks of %lu bytes: "
		           "the last %lu bytes are not served", path, bytes, block, bytes - served);
	else if (disk)
		doctor_say(d, "disk", DOCTOR_WARNING, fix, "%s has %lu bytes, which is not a number of blocks of %lu bytes: "
		           "the last %lu cannot be served; %s serves the first %lu", path, bytes, block, bytes % block, made,
		           served);
	else
		doctor_say(d, "disk", DOCTOR_PROBLEM, fix, "%s has %lu bytes, which is not a number of blocks: the last %lu "
		           "could not be served, and no disk is made of it", path, bytes, bytes % block);
	return true;
}

void doctor_disk_path(struct doctor *d, const char *path, const char *made)
{
	char where[1024], fix[PATH_MAX + 128], size[32];
	struct stat st;

	if (made && d->pid) /* an empty one in its place is the last thing to do */
		snprintf(fix, sizeof(fix), "bring it back; a daemon that still has it open shows it: ls -l /proc/%lu/fd",
		         d->pid);
	else
		snprintf(fix, sizeof(fix), "truncate -s 1G %s", path);
	if (stat(path, &st) < 0) {
		doctor_say(d, "disk", DOCTOR_PROBLEM, errno == ENOENT ? fix : NULL, "%s cannot be looked at: %s", path,
		           strerror(errno));
		return;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		doctor_say(d, "disk", DOCTOR_PROBLEM, NULL, "%s is neither a file nor a block device", path);
		return;
	}
	snprintf(fix, sizeof(fix), "setfacl -m u:$(id -un):rw %s (as root, for the user that runs gantryd)", path);
	if (access(path, R_OK | W_OK) < 0) {
		doctor_say(d, "disk", DOCTOR_PROBLEM, fix, "%s cannot be read and written: %s", path, strerror(errno));
		return;
	}
	snprintf(fix, sizeof(fix), "umount %s", path);
	if (is_mounted(path, where, sizeof(where))) {
		doctor_say(d, "disk", DOCTOR_PROBLEM, fix, "%s is mounted at %s: two who write to it destroy its data",
		           path, where);
		return;
	}
	if (S_ISREG(st.st_mode) && look_at_odd_size(d, path, made, &st))
		return;
	doctor_say(d, "disk", DOCTOR_OK, NULL, "%s can be read and written%s%s", path, S_ISREG(st.st_mode) ? ", " : "",
	           S_ISREG(st.st_mode) ? text_size((uint64_t)st.st_size, size) : "");
}

/* --- remote disks --- */

void doctor_remote(struct doctor *d)
{
	size_t lost = 0;

	for (size_t i = 0; i < list_count(d->remote); i++)
		lost += look_at_paths(d, list_at(d->remote, i));
	if (list_count(d->remote) && !lost)
		doctor_say(d, "remote", DOCTOR_OK, NULL, "every path to remote disks is up");
}

/* How many of a remote controller's paths carry nothing. */
static size_t look_at_paths(struct doctor *d, struct json_object *group)
{
	struct json_object *paths = field(group, "ctrlrs");
	const char *name = field_text(group, "name"), *state = "", *why = "";
	bool disabled;
	size_t lost = 0;
	char fix[256];

	for (size_t i = 0; i < list_count(paths); i++) {
		struct json_object *path = list_at(paths, i);

		if (strcmp(field_text(path, "state"), "enabled") == 0)
			continue;
		state = field_text(path, "state");
		why = field_text(path, "why");
		lost++;
	}
	if (!lost)
		return 0;
	disabled = strcmp(state, "disabled") == 0;
	snprintf(fix, sizeof(fix), "gantry rpc bdev_nvme_%s_controller name=%s", disabled ? "enable" : "reset", name);
	doctor_say(d, "remote", lost == list_count(paths) ? DOCTOR_PROBLEM : DOCTOR_WARNING, fix,
	           "%zu of %zu paths of %s carry nothing: %s", lost, list_count(paths), name,
	           disabled || !*why ? state : why);
	return lost;
}

/* --- what the daemon has to say
 * ------------------------------------------------------------------------------------------ */

void doctor_waits(struct doctor *d)
{
	struct json_object *reactors = field(d->wakeups, "reactors");
	uint64_t waiting = field_u64(d->memory, "waiting"), waits = field_u64(d->memory, "waits"), stalls = 0;
	char longest[32];

	if (d->memory && (waiting || waits > WAITS_MANY))
		doctor_say(d, "waits", waiting ? DOCTOR_PROBLEM : DOCTOR_WARNING, "gantryd --memory 1G (or less of --listen, "
		           "queues "
		           "and hosts)", "%lu requests wait for memory now, %lu did so far", waiting, waits);
	else if (d->memory)
		doctor_say(d, "waits", DOCTOR_OK, NULL, "no request waits for memory, %lu did so far", waits);
	for (size_t i = 0; i < list_count(reactors); i++) {
		struct json_object *r = list_at(reactors, i), *pollers = field(r, "pollers");

		stalls += field_u64(r, "stalls");
		if (list_count(pollers) && strcmp(field_text(r, "mode"), "poll") != 0)
			doctor_say(d, "sleep", DOCTOR_WARNING, "gantry rpc thread_get_pollers", "%s cannot sleep: something has "
			           "to be "
			           "polled", field_text(r, "name"));
		if (field_u64(r, "stalls"))
			doctor_say(d, "stalls", DOCTOR_WARNING, "gantry log follow", "%s was held up %lu times; the longest "
			           "call, %s, took "
			           "%s", field_text(r, "name"), field_u64(r, "stalls"), field_text(r, "longest_name"),
			           text_duration(field_u64(r, "longest_ns"), longest));
	}
	if (d->wakeups && !stalls)
		doctor_say(d, "stalls", DOCTOR_OK, NULL, "no reactor was held up");
	if (d->metrics)
		look_at_alarms(d, json_object_get_string(d->metrics));
}

/* I/Os that did not come back in time: the last of them, by the watchdog's own words. True: there were some. */
static bool look_at_stuck(struct doctor *d)
{
	struct err ignored = { 0 };
	struct json_object *watchdog = client_call(d->c, "gantry_get_watchdog", NULL, &ignored), *newest = NULL;
	struct json_object *last = field(watchdog, "last");
	uint64_t times = field_u64(watchdog, "stuck");
	char age[32], ago[32];

	for (size_t i = 0; i < list_count(last); i++)
		if (!newest || field_u64(list_at(last, i), "ago_ms") < field_u64(newest, "ago_ms"))
			newest = list_at(last, i);
	if (newest)
		doctor_say(d, "stuck", DOCTOR_PROBLEM, "gantry rpc gantry_get_watchdog",
		           "I/Os did not come back in time, said %llu times; %s ago, after %s: %s", (unsigned long long)times,
		           text_duration(field_u64(newest, "ago_ms") * NS_PER_MS, ago),
		           text_duration(field_u64(newest, "age_ms") * NS_PER_MS, age), field_text(newest, "what"));
	json_object_put(watchdog);
	return newest != NULL;
}

/* Waits that keep growing, and I/Os that do not come back. */
static void look_at_alarms(struct doctor *d, const char *metrics)
{
	const char *at = metrics;
	struct metric m;
	bool any = false;

	while (metrics_next(&at, "gantry_wait_alarm", &m)) {
		if (m.value <= 0)
			continue;
		any = true;
		doctor_say(d, "alarm", DOCTOR_PROBLEM, "gantry top", "a wait keeps growing: %s", m.labels);
	}
	any |= look_at_stuck(d);
	if (!any)
		doctor_say(d, "alarms", DOCTOR_OK, NULL, "no wait keeps growing, no I/O is stuck");
}
