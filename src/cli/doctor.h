/* SPDX-License-Identifier: BSD-3-Clause */
/* doctor.h: what gantry doctor's parts share: findings. Private to cli. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "cli/cli.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_PROBLEM };

struct doctor {
	struct cli *c;
	struct json_object *findings; /* [{check, level, text, fix}] */
	struct err unreachable;       /* why no daemon answers; code 0: one does */
	uint64_t pid;                 /* the daemon's; 0: not known */
	struct json_object *wakeups, *memory, *disks, *subsystems, *calls, *remote; /* its answers; NULL: it has none */
	struct json_object *metrics, *portal_groups, *nodes, *auth_groups;
	bool worst_is_problem;
};

/* What was found; `fix`: what to type, or NULL. */
void doctor_say(struct doctor *d, const char *check, enum doctor_level level, const char *fix, const char *fmt, ...)
	PRINTF(5, 6);

/* --- doctor_host.c: the machine, as the daemon has it (or as it would have it if we started it) --- */
void doctor_kernel(struct doctor *d);
void doctor_io_uring(struct doctor *d);
void doctor_limits(struct doctor *d);
void doctor_rdma(struct doctor *d);
void doctor_clock(struct doctor *d);
void doctor_network(struct doctor *d);
void doctor_hugepages(struct doctor *d);
void doctor_cpus(struct doctor *d);
void doctor_memory(struct doctor *d);

/* --- doctor_daemon.c: the daemon and what it uses --- */
void doctor_socket(struct doctor *d);
void doctor_ports(struct doctor *d);
void doctor_iscsi(struct doctor *d);
void doctor_vhost(struct doctor *d); /* export_vhost.c */
void doctor_state(struct doctor *d);
void doctor_missing(struct doctor *d);
void doctor_disks(struct doctor *d);
/* `made`: a disk of that name was made of it, so that it was there; NULL: none yet. */
void doctor_disk_path(struct doctor *d, const char *path, const char *made);
void doctor_remote(struct doctor *d);
void doctor_waits(struct doctor *d);

/* --- doctor_keys.c --- */
void doctor_keys(struct doctor *d);

/* --- small files of the kernel's --- */
/* The first line, without its newline; false: it is not there or may not be read. */
bool file_line(const char *path, char *buf, size_t size);
/* The rest of the line of a file that begins with `key`, from the first character that is no blank or colon. */
bool file_value(const char *path, const char *key, char *buf, size_t size);
/* "/proc/PID/name", or "/proc/self/name". */
const char *proc_path(const struct doctor *d, const char *name, char buf[static 64]);
/* The number at the start of a text; 0: none. */
uint64_t leading_number(const char *text);

#endif
