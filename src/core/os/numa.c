/* SPDX-License-Identifier: BSD-3-Clause */
/* numa.c: which memory node a CPU belongs to, as sysfs tells, and memory from a node that is preferred.
 *
 * Preferences only: where the kernel or a filter refuses, memory comes from wherever it comes from. System calls of our
 * own, so that no library is needed for three of them.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"
#include "core/os/os.h"

#define LIST_BYTES 4096
#define NODES_MAX 1024u

/* "0-3,8,10-11"; empty for a node of memory only */
static void read_cpulist(struct topology *t, const char *list, uint32_t node)
{
	uint32_t cpus[TOPOLOGY_CPUS_MAX];
	uint32_t count = 0;

	if (core_parse_cpus("cpulist", list, TOPOLOGY_CPUS_MAX, cpus, &count, NULL))
		return;
	for (uint32_t i = 0; i < count; i++)
		t->node_of[cpus[i]] = (int16_t)node;
}

static void read_node(struct topology *t, int dir_fd, uint32_t node)
{
	char path[64], list[LIST_BYTES] = "["; /* in brackets it is no mask */
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "node%u/cpulist", node);
	fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, list + 1, sizeof(list) - 3);
		close(fd);
	}
	if (n < 0)
		return;
	list[n + 1] = 0;
	n = (ssize_t)strcspn(list, "\n");
	list[n] = ']';
	list[n + 1] = 0;
	read_cpulist(t, list, node);
	t->nodes++;
}

void platform_topology(const char *dir_path, struct topology *t)
{
	DIR *dir = opendir(dir_path ? dir_path : "/sys/devices/system/node");
	struct dirent *entry;

	t->nodes = 0;
	for (uint32_t i = 0; i < TOPOLOGY_CPUS_MAX; i++)
		t->node_of[i] = -1;
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		uint64_t node;

		if (!strncmp(entry->d_name, "node", 4) && !text_parse_u64(entry->d_name + 4, &node, NULL) && node < NODES_MAX)
			read_node(t, dirfd(dir), (uint32_t)node);
	}
	closedir(dir);
}

static unsigned long *mask_of(int node, unsigned long mask[static NODES_MAX / 64])
{
	memset(mask, 0, NODES_MAX / 8);
	mask[node / 64] = 1ul << node % 64;
	return mask;
}

void platform_prefer_node(int node)
{
	unsigned long mask[NODES_MAX / 64];

	if (node < 0)
		syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0);
	else
		syscall(SYS_set_mempolicy, MPOL_PREFERRED, mask_of(node, mask), NODES_MAX);
}

void platform_bind_memory(void *at, size_t len, int node)
{
	unsigned long mask[NODES_MAX / 64];

	if (node >= 0)
		syscall(SYS_mbind, at, len, MPOL_PREFERRED, mask_of(node, mask), NODES_MAX, 0);
}
