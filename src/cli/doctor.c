/* SPDX-License-Identifier: BSD-3-Clause */
/* doctor.c: gantry doctor: what of this machine and of the daemon may be in the way, and what to type against it. */
#include <stdarg.h>
#include <stdio.h>

#include "cli/doctor.h"

static int run_doctor(struct cli *c, struct cli_args *a);

static const struct cli_option options[] = {
	{ "problems", NULL, "Only what is not well" },
};
static const struct cli_verb verbs[] = {
	{ NULL, "[PATH]...", "look for what is in the way: limits, kernel, ports, permissions, memory, the daemon itself",
	  run_doctor, CLI_OPTIONS(options),
	  .help = "A daemon need not run: then what it would find is looked at. PATHs are files or devices that are to "
	          "become "
	          "disks. The exit status is 1 when there is a problem; a warning is none.",
	  .example = "gantry doctor" },
};
const struct cli_noun doctor_noun = { "doctor", "look for what is in the way, and say what to do about it", verbs,
                                      ARRAY_SIZE(verbs) };

static const char *const level_names[] = { "ok", "warning", "problem" };

static void ask_the_daemon(struct doctor *d);
static void print_findings(struct doctor *d, bool only_problems);

static int run_doctor(struct cli *c, struct cli_args *a)
{
	struct doctor d = { .c = c, .findings = json_object_new_array() };

	ask_the_daemon(&d);
	doctor_socket(&d);
	doctor_remote(&d);
	doctor_waits(&d);
	doctor_ports(&d);
	doctor_iscsi(&d);
	doctor_vhost(&d);
	doctor_keys(&d);
	doctor_state(&d);
	doctor_missing(&d);
	doctor_disks(&d);
	for (size_t i = 0; i < a->word_count; i++)
		doctor_disk_path(&d, a->words[i], NULL);
	doctor_kernel(&d);
	doctor_io_uring(&d);
	doctor_limits(&d);
	doctor_rdma(&d);
	doctor_cpus(&d);
	doctor_memory(&d);
	doctor_network(&d);
	doctor_clock(&d);
	doctor_hugepages(&d);
	if (c->json)
		cli_print_json(d.findings);
	else
		print_findings(&d, args_has(a, "problems"));
	json_object_put(d.wakeups);
	json_object_put(d.memory);
	json_object_put(d.disks);
	json_object_put(d.subsystems);
	json_object_put(d.portal_groups);
	json_object_put(d.nodes);
	json_object_put(d.auth_groups);
	json_object_put(d.calls);
	json_object_put(d.remote);
	json_object_put(d.metrics);
	json_object_put(d.findings);
	return d.worst_is_problem ? CLI_REFUSED : CLI_OK;
}

static void ask_the_daemon(struct doctor *d)
{
	struct err ignored = { 0 };
	struct json_object *answer;

	answer = client_call(d->c, "spdk_get_version", NULL, &d->unreachable);
	json_object_put(answer);
	if (!answer)
		return;
	answer = client_call(d->c, "framework_get_reactors", NULL, &ignored);
	d->pid = field_u64(answer, "pid");
	json_object_put(answer);
	d->wakeups = client_call(d->c, "gantry_get_wakeups", NULL, &ignored);
	d->memory = client_call(d->c, "framework_get_memory", NULL, &ignored);
	d->disks = client_call(d->c, "bdev_get_bdevs", NULL, &ignored);
	d->subsystems = client_call(d->c, "nvmf_get_subsystems", NULL, &ignored);
	d->nodes = client_call(d->c, "iscsi_get_target_nodes", NULL, &ignored);
	d->auth_groups = client_call(d->c, "iscsi_get_auth_groups", NULL, &ignored);
	d->portal_groups = client_call(d->c, "iscsi_get_portal_groups", NULL, &ignored);
	d->metrics = metrics_take(d->c);
	d->remote = client_call(d->c, "bdev_nvme_get_controllers", NULL, &ignored);
	d->calls = client_ask(d->c, &ignored, "framework_get_config", "name", "bdev", NULL);
}

void doctor_say(struct doctor *d, const char *check, enum doctor_level level, const char *fix, const char *fmt, ...)
{
	struct json_object *o = json_object_new_object();
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_object_object_add(o, "check", json_object_new_string(check));
	json_object_object_add(o, "level", json_object_new_string(level_names[level]));
	json_object_object_add(o, "text", json_object_new_string(text));
	if (fix)
		json_object_object_add(o, "fix", json_object_new_string(fix));
	json_object_array_add(d->findings, o);
	d->worst_is_problem = d->worst_is_problem || level == DOCTOR_PROBLEM;
}

static void print_findings(struct doctor *d, bool only_problems)
{
	size_t counts[ARRAY_SIZE(level_names)] = { 0 };

	for (size_t i = 0; i < list_count(d->findings); i++) {
		struct json_object *f = list_at(d->findings, i);
		const char *level = field_text(f, "level"), *fix = field_text(f, "fix");

		for (size_t k = 0; k < ARRAY_SIZE(level_names); k++)
			counts[k] += strcmp(level, level_names[k]) == 0;
		if (only_problems && strcmp(level, "ok") == 0)
			continue;
		printf("%-8s %-10s ", level, field_text(f, "check"));
		print_beside(field_text(f, "text"), 20);
		if (*fix)
			printf("%*sfix: %s\n", 20, "", fix); /* whole, to be copied */
	}
	printf("%zu ok, %zu warnings, %zu problems\n", counts[0], counts[1], counts[2]);
}

/* --- small files of the kernel's
 * ------------------------------------------------------------------------------------ */

bool file_line(const char *path, char *buf, size_t size)
{
	return file_value(path, "", buf, size);
}

bool file_value(const char *path, const char *key, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	char line[4096];
	bool found = false;

	buf[0] = 0;
	while (f && !found && fgets(line, sizeof(line), f)) {
		const char *at = line + strlen(key);

		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		at += *key ? strspn(at, ": \t") : 0;
		snprintf(buf, size, "%.*s", (int)strcspn(at, "\n"), at);
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

const char *proc_path(const struct doctor *d, const char *name, char buf[static 64])
{
	if (d->pid)
		snprintf(buf, 64, "/proc/%lu/%s", d->pid, name);
	else
		snprintf(buf, 64, "/proc/self/%s", name);
	return buf;
}

uint64_t leading_number(const char *text)
{
	char digits[24];
	uint64_t v = 0;

	snprintf(digits, sizeof(digits), "%.*s", (int)min_u64(strspn(text, "0123456789"), 20), text);
	if (text_parse_u64(digits, &v, NULL))
		return 0;
	return v;
}
