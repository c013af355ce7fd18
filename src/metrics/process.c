/* SPDX-License-Identifier: BSD-3-Clause */
/* process.c: numbers of this process, from /proc. */
#include "metrics/process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uint64_t field_of(const char *text, uint32_t n)
{
	uint64_t v = 0;

	for (; n && *text; text++)
		n -= *text == ' ';
	for (; *text >= '0' && *text <= '9'; text++)
		v = v * 10 + (uint64_t)(*text - '0');
	return v;
}

static size_t read_proc(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(buf, 1, size - 1, f) : 0;

	buf[n] = 0;
	if (f)
		fclose(f);
	return n;
}

uint64_t process_start_s(void)
{
	char stat[1024], boot[4096];
	const char *after, *btime;

	if (!read_proc("/proc/self/stat", stat, sizeof(stat)) || !read_proc("/proc/stat", boot, sizeof(boot)))
		return 0;
	after = strrchr(stat, ')');
	btime = strstr(boot, "btime ");
	if (!after || !btime) /* with very many CPUs it lies further behind */
		return 0;
	return field_of(btime, 1) + field_of(after + 2, 19) / (uint64_t)sysconf(_SC_CLK_TCK);
}

uint64_t process_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint64_t n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n > 3 ? n - 3 : 0; /* less . and .., and the directory itself */
}

bool process_pages(uint64_t *ret_virtual, uint64_t *ret_resident)
{
	char statm[256];

	if (!read_proc("/proc/self/statm", statm, sizeof(statm)))
		return false;
	*ret_virtual = field_of(statm, 0);
	*ret_resident = field_of(statm, 1);
	return true;
}
