/* SPDX-License-Identifier: BSD-3-Clause */
/* doctor_host.c: what gantry doctor looks at in the machine: kernel, limits, CPUs, memory, network, clock. */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/doctor.h"

#define FILES_FEW 4096u          /* every connection, disk and reactor takes some */
#define MEMLOCK_FEW (64 * MIB)
#define CAP_IPC_LOCK_BIT 14      /* linux/capability.h: no limit to what is locked */
#define MEMORY_DEFAULT (256 * MIB) /* --memory */

/* --- kernel ----------------------------------------------------------------------------------------------------- */

void doctor_kernel(struct doctor *d)
{
	struct utsname u;
	uint64_t major, minor;
	const char *dot;

	if (uname(&u) < 0)
		return;
	major = leading_number(u.release);
	dot = strchr(u.release, '.');
	minor = dot ? leading_number(dot + 1) : 0;
	if (major < 5 || (major == 5 && minor < 10))
		doctor_say(d, "kernel", DOCTOR_WARNING, "apt install linux-image-amd64, and start it",
		           "Linux %s is older than 5.10, the oldest that is looked after", u.release);
	else
		doctor_say(d, "kernel", DOCTOR_OK, NULL, "Linux %s", u.release);
}

/* By asking for a ring that has no place to be described: EFAULT is the answer of a kernel that would make one. */
void doctor_io_uring(struct doctor *d)
{
	char disabled[32], aio_now[32], aio_max[32];
	int error = syscall(SYS_io_uring_setup, 1, NULL) < 0 ? errno : 0;

	file_line("/proc/sys/kernel/io_uring_disabled", disabled, sizeof(disabled));
	if (error == ENOSYS)
		doctor_say(d, "io_uring", DOCTOR_WARNING, NULL, "this kernel has none: files and devices are served by "
		           "libaio or "
		           "threads, which is slower");
	else if (strcmp(disabled, "2") == 0 || (error == EPERM && *disabled && *disabled != '0'))
		doctor_say(d, "io_uring", DOCTOR_WARNING, "sysctl -w kernel.io_uring_disabled=0",
		           "refused by kernel.io_uring_disabled=%s: files and devices are served by libaio or threads, which "
			"is "
		           "slower", disabled);
	else if (error == EPERM)
		doctor_say(d, "io_uring", DOCTOR_WARNING, "allow io_uring_setup, io_uring_enter and io_uring_register in the "
		           "container's seccomp profile", "refused by a seccomp filter: files and devices are served by "
			"libaio or "
		           "threads, which is slower");
	else
		doctor_say(d, "io_uring", DOCTOR_OK, NULL, "the kernel has it and allows it");
	if (!file_line("/proc/sys/fs/aio-nr", aio_now, sizeof(aio_now)) ||
	    !file_line("/proc/sys/fs/aio-max-nr", aio_max, sizeof(aio_max)))
		return;
	if (leading_number(aio_now) * 10 > leading_number(aio_max) * 9)
		doctor_say(d, "aio", DOCTOR_WARNING, "sysctl -w fs.aio-max-nr=1048576", "%s of %s requests of libaio are "
		           "taken: disks "
		           "of the kind aio may be refused", aio_now, aio_max);
	else
		doctor_say(d, "aio", DOCTOR_OK, NULL, "%s of %s requests of libaio are taken", aio_now, aio_max);
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

static uint64_t limit(const struct doctor *d, const char *name)
{
	char path[64], value[128];

	if (!file_value(proc_path(d, "limits", path), name, value, sizeof(value)) || strncmp(value, "unlimited", 9) == 0)
		return UINT64_MAX;
	return leading_number(value);
}

/* How much the daemon may lock. */
static uint64_t lock_limit(const struct doctor *d)
{
	char path[64], caps[32] = "0x";
	struct err bad = { 0 };
	uint64_t effective;

	if (file_value(proc_path(d, "status", path), "CapEff", caps + 2, sizeof(caps) - 2) &&
	    text_parse_u64(caps, &effective, &bad) == 0 && effective & 1ull << CAP_IPC_LOCK_BIT)
		return UINT64_MAX;
	return limit(d, "Max locked memory");
}

void doctor_limits(struct doctor *d)
{
	uint64_t files = limit(d, "Max open files"), locked = lock_limit(d);
	const char *whose = d->pid ? "gantryd" : "a gantryd started here";
	char fix[96], size[32];

	snprintf(fix, sizeof(fix), "prlimit --pid %lu --nofile=1048576:1048576", d->pid);
	if (files < FILES_FEW)
		doctor_say(d, "files", DOCTOR_WARNING, d->pid ? fix : "ulimit -n 1048576; as a service: LimitNOFILE=1048576",
		           "%s may open %lu files; each connection takes one, so that many hosts will be refused", whose,
			files);
	else
		doctor_say(d, "files", DOCTOR_OK, NULL, "%s may open %lu files", whose, files);
	snprintf(fix, sizeof(fix), "prlimit --pid %lu --memlock=unlimited:unlimited", d->pid);
	if (locked == UINT64_MAX)
		doctor_say(d, "memlock", DOCTOR_OK, NULL, "%s may lock memory without a limit", whose);
	else if (locked < MEMLOCK_FEW)
		doctor_say(d, "memlock", DOCTOR_WARNING, d->pid ? fix : "ulimit -l unlimited; as a service: "
		           "LimitMEMLOCK=infinity",
		           "%s may lock %s of memory; io_uring on kernels before 5.12 takes its rings from that, and "
			"registered "
		           "buffers always", whose, text_size(locked, size));
	else
		doctor_say(d, "memlock", DOCTOR_OK, NULL, "%s may lock %s of memory", whose, text_size(locked, size));
}

/* --- RDMA: nothing is said on a machine without an adapter -------------------------------------------------------- */

/* How many adapters there are; the first one's name. */
static size_t adapters(char *buf, size_t size)
{
	DIR *dir = opendir("/sys/class/infiniband");
	struct dirent *entry;
	size_t count = 0;

	while (dir && (entry = readdir(dir)))
		if (*entry->d_name != '.' && count++ == 0)
			snprintf(buf, size, "%.63s", entry->d_name);
	if (dir)
		closedir(dir);
	return count;
}

void doctor_rdma(struct doctor *d)
{
	uint64_t budget = d->memory ? field_u64(d->memory, "budget_bytes") : MEMORY_DEFAULT, locked = lock_limit(d);
	char first[64], want[32], have[32], fix[96];
	size_t count = adapters(first, sizeof(first));

	if (!count)
		return;
	snprintf(fix, sizeof(fix), "prlimit --pid %lu --memlock=unlimited:unlimited", d->pid);
	if (access("/dev/infiniband/rdma_cm", F_OK) < 0)
		doctor_say(d, "rdma", DOCTOR_WARNING, "modprobe -a rdma_ucm ib_uverbs", "the kernel has %s, but no "
		           "/dev/infiniband/rdma_cm: programs cannot use it", first);
	else if (locked < budget)
		doctor_say(d, "rdma", DOCTOR_WARNING, d->pid ? fix : "ulimit -l unlimited; as a service: LimitMEMLOCK=infinity",
		           "adapters lock the memory that they reach: of --memory, %s, only %s may be locked: hosts are "
		           "refused", text_size(budget, want), text_size(locked, have));
	else
		doctor_say(d, "rdma", DOCTOR_OK, NULL, "%zu adapter%s, %s%s", count, count == 1 ? "" : "s", first,
		           count == 1 ? "" : " and others");
}

/* --- control groups
 * ------------------------------------------------------------------------------------------------- */

/* The line of /proc/PID/cgroup for a controller (version 1) or for all of them (version 2): a file in its group. */
static bool group_file(const struct doctor *d, const char *controller, const char *v1, const char *v2, char *buf,
                       size_t size)
{
	char path[64], key[64], group[512], file[1024];

	if (file_value(proc_path(d, "cgroup", path), "0::", group, sizeof(group))) {
		snprintf(file, sizeof(file), "/sys/fs/cgroup%s/%s", group, v2);
		if (file_line(file, buf, size))
			return true;
	}
	for (int i = 0; i < 32; i++) {
		snprintf(key, sizeof(key), "%d:%s:", i, controller);
		if (!file_value(path, key, group, sizeof(group)))
			continue;
		snprintf(file, sizeof(file), "/sys/fs/cgroup/%s%s/%s", controller, group, v1);
		if (file_line(file, buf, size))
			return true;
		snprintf(file, sizeof(file), "/sys/fs/cgroup/%s/%s", controller, v1); /* in a container: its root */
		return file_line(file, buf, size);
	}
	return false;
}

/* --- CPUs
 * ----------------------------------------------------------------------------------------------------------- */

/* Is `cpu` in a list such as 0-3,8? */
static bool in_list(const char *list, uint64_t cpu)
{
	while (*list) {
		uint64_t first = leading_number(list), last = first;

		list += strspn(list, "0123456789");
		if (*list == '-')
			last = leading_number(++list);
		if (cpu >= first && cpu <= last)
			return true;
		list += strspn(list, "0123456789");
		if (*list++ != ',')
			break;
	}
	return false;
}

void doctor_cpus(struct doctor *d)
{
	char path[64], allowed[512] = "", quota[64], fix[600];
	struct json_object *reactors = field(d->wakeups, "reactors");
	size_t io = 0, outside = 0;
	cpu_set_t set;
	uint64_t first = 0, most;

	file_value(proc_path(d, "status", path), "Cpus_allowed_list", allowed, sizeof(allowed));
	for (size_t i = 0; i < list_count(reactors); i++) {
		struct json_object *r = list_at(reactors, i);

		if (!field(r, "cpu"))
			continue;
		io++;
		outside += !in_list(allowed, field_u64(r, "cpu"));
	}
	CPU_ZERO(&set);
	most = sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint64_t)CPU_COUNT(&set) : 1;
	first = leading_number(allowed);
	snprintf(fix, sizeof(fix), "gantryd -m '[%lu]' (allowed: %s)", first, allowed);
	if (outside)
		doctor_say(d, "cpus", DOCTOR_PROBLEM, fix, "%zu of %zu reactors are on CPUs outside of what the control "
		           "group allows "
		           "(%s): they do not run where they should", outside, io, allowed);
	else if (io)
		doctor_say(d, "cpus", DOCTOR_OK, NULL, "%zu reactors, CPUs allowed: %s", io, allowed);
	else
		doctor_say(d, "cpus", DOCTOR_OK, NULL, "%lu CPUs may be used: %s; gantryd -m chooses", most, allowed);
	if (group_file(d, "cpu", "cpu.cfs_quota_us", "cpu.max", quota, sizeof(quota)) && leading_number(quota)) {
		uint64_t us = leading_number(quota);

		doctor_say(d, "quota", us < 100000 * max_u64(io, 1) ? DOCTOR_WARNING : DOCTOR_OK,
		           us < 100000 * max_u64(io, 1) ? "give the control group more CPU time, or none of a quota "
			"(cpu.max)" : NULL,
		           "the control group allows %lu us of CPU time each period%s", us,
		           us < 100000 * max_u64(io, 1) ? ": reactors will be stopped in the middle of their work" : "");
	}
}

/* --- memory
 * ----------------------------------------------------------------------------------------------------------- */

void doctor_memory(struct doctor *d)
{
	uint64_t budget = d->memory ? field_u64(d->memory, "budget_bytes") : MEMORY_DEFAULT, ram = 0, available, most =
		UINT64_MAX;
	char value[128], path[64], want_text[32], have_text[32];
	uint64_t want, used = 0;

	for (size_t i = 0; i < list_count(d->calls); i++) {
		struct json_object *call = list_at(d->calls, i), *params = field(call, "params");

		if (strcmp(field_text(call, "method"), "bdev_malloc_create") == 0)
			ram += field_u64(params, "num_blocks") * field_u64(params, "block_size");
	}
	file_value("/proc/meminfo", "MemAvailable", value, sizeof(value));
	available = leading_number(value) * 1024;
	if (d->pid && file_value(proc_path(d, "status", path), "VmRSS", value, sizeof(value)))
		used = leading_number(value) * 1024;
	if (group_file(d, "memory", "memory.limit_in_bytes", "memory.max", value, sizeof(value)) && leading_number(value))
		most = leading_number(value);
	want = budget + ram;
	text_size(want, want_text);
	if (most < want) {
		text_size(most, have_text);
		doctor_say(d, "memory", DOCTOR_PROBLEM, "raise the control group's memory.max, or lower gantryd --memory, or "
		           "remove RAM "
		           "disks", "the control group allows %s; with all RAM disks full and the budget used it takes %s "
			"and is "
		           "killed", have_text, want_text);
	} else if (available + used < want) {
		text_size(available + used, have_text);
		doctor_say(d, "memory", DOCTOR_WARNING, "lower gantryd --memory, or make RAM disks smaller: gantry disk resize",
		           "%s can be had; with all RAM disks full and the budget used it takes %s", have_text, want_text);
	} else {
		text_size(available, have_text);
		doctor_say(d, "memory", DOCTOR_OK, NULL, "%s available, at most %s will be used", have_text, want_text);
	}
}

/* --- the rest
 * ----------------------------------------------------------------------------------------------------------- */

void doctor_network(struct doctor *d)
{
	char control[64], backlog[32];

	if (file_line("/proc/sys/net/ipv4/tcp_congestion_control", control, sizeof(control)))
		doctor_say(d, "tcp", DOCTOR_OK, NULL, "congestion control %s%s", control,
		           strcmp(control, "bbr") == 0 ? "; it paces, so figures on loopback vary" : "");
	if (file_line("/proc/sys/net/core/somaxconn", backlog, sizeof(backlog)) && leading_number(backlog) < 128)
		doctor_say(d, "backlog", DOCTOR_WARNING, "sysctl -w net.core.somaxconn=4096",
		           "only %s hosts may wait to be accepted: many that connect at once are refused", backlog);
}

void doctor_clock(struct doctor *d)
{
	static const char *const fast[] = { "tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen" };
	char now[64];
	bool is_fast = false;

	if (!file_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", now, sizeof(now)))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(fast); i++)
		is_fast = is_fast || strcmp(now, fast[i]) == 0;
	if (is_fast)
		doctor_say(d, "clock", DOCTOR_OK, NULL, "time comes from %s, without a system call", now);
	else
		doctor_say(d, "clock", DOCTOR_WARNING,
		           "echo tsc >/sys/devices/system/clocksource/clocksource0/current_clocksource (if it is available "
			"there)",
		           "time comes from %s, which costs a system call each time", now);
}

void doctor_hugepages(struct doctor *d)
{
	char total[64], size[64], bytes[32];

	if (!file_value("/proc/meminfo", "HugePages_Total", total, sizeof(total)) ||
	    !file_value("/proc/meminfo", "Hugepagesize", size, sizeof(size)))
		return;
	if (leading_number(total))
		doctor_say(d, "hugepages", DOCTOR_OK, NULL, "not needed; %s are reserved that Gantry does not use (sysctl -w "
		           "vm.nr_hugepages=0 gives them back)", text_size(leading_number(total) * leading_number(size) *
		                                                           1024, bytes));
	else
		doctor_say(d, "hugepages", DOCTOR_OK, NULL, "none, and none are needed");
}
