/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c: gantry-trace: print what a daemon's trace rings hold, of all cores, in the order of time.
 *
 * It only reads the file, which describes itself: the daemon does not notice, and may be long dead. Records that are
 * overwritten while they are copied are left out. What the file says of itself is checked before it is believed.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "core/os/trace_file.h"

struct options {
	const char *path, *id, *pid;
	uint64_t last; /* 0: all */
};

struct view {
	const struct trace_file_header *header;
	const char *map;
	size_t bytes;
};

static const struct argp_option rows[] = {
	{ "file", 'f', "PATH", 0, "The file, as RPC trace_get_info names it (tpoint_shm_path)", 0 },
	{ "shm-id", 'i', "ID", 0, "The daemon that was started with -i ID", 0 },
	{ "pid", 'p', "PID", 0, "The daemon of this process id", 0 },
	{ "last", 'n', "N", 0, "Only the last N records", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'f':
		o->path = arg;
		break;
	case 'i':
		o->id = arg;
		break;
	case 'p':
		o->pid = arg;
		break;
	case 'n':
		if (text_parse_u64(arg, &o->last, NULL))
			argp_error(state, "-n: \"%s\" is not a number", arg);
		break;
	case ARGP_KEY_END:
		if (!o->path + !o->id + !o->pid != 2)
			argp_error(state, "one of -f, -i and -p says which daemon");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static int open_view(struct view *v, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const struct trace_file_header *h;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		fprintf(stderr, "gantry-trace: %s cannot be read: %s; is tracing on (trace_enable_tpoint_group)?\n", path,
		        strerror(errno));
		return -1;
	}
	v->bytes = (size_t)st.st_size;
	v->map = v->bytes >= TRACE_FILE_RINGS_AT ? mmap(NULL, v->bytes, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
	close(fd);
	h = v->header = (const void *)v->map;
	if (v->map == MAP_FAILED || memcmp(h->magic, TRACE_FILE_MAGIC, sizeof(h->magic)) != 0 ||
	    h->version != TRACE_FILE_VERSION || h->ring_records != TRACE_RING_RECORDS || !h->rings || h->rings > 1024 ||
	    v->bytes < TRACE_FILE_RINGS_AT + h->rings * sizeof(struct trace_ring)) {
		fprintf(stderr, "gantry-trace: %s is not a trace file of this version\n", path);
		return -1;
	}
	return 0;
}

/* A ring's records that stood still while they were copied. */
static size_t copy_ring(const struct trace_ring *ring, struct trace_record *to)
{
	uint64_t end = atomic_load((_Atomic uint64_t *)(uintptr_t)&ring->count), at, begin, now;
	size_t count = 0;

	begin = at = end > TRACE_RING_RECORDS ? end - TRACE_RING_RECORDS : 0;
	for (; at < end; at++)
		to[at - begin] = ring->records[at % TRACE_RING_RECORDS];
	now = atomic_load((_Atomic uint64_t *)(uintptr_t)&ring->count) + 1; /* one may be written just now */
	at = now > TRACE_RING_RECORDS ? max_u64(now - TRACE_RING_RECORDS, begin) : begin;
	for (; at < end; at++)
		to[count++] = to[at - begin];
	return count;
}

static int by_time(const void *a, const void *b)
{
	const struct trace_record *x = a, *y = b;

	return x->at_ns < y->at_ns ? -1 : x->at_ns > y->at_ns;
}

static void print(const struct trace_file_header *h, const struct trace_record *r, uint64_t first_ns)
{
	const struct trace_file_point *p = r->point < 64 && r->point < h->point_count ? &h->points[r->point] : NULL;

	printf("%14.3f us  core %-3u  ", (double)(r->at_ns - first_ns) / 1000, r->reactor);
	if (!p) {
		printf("point %u  %llx %llx\n", r->point, (unsigned long long)r->a, (unsigned long long)r->b);
		return;
	}
	printf("%-9.31s %-10.31s", p->group, p->name);
	if (strncmp(p->a, "function", sizeof(p->a)) == 0)
		printf("  %.31s %#llx", p->a, (unsigned long long)r->a);
	else
		printf("  %.31s %llu", p->a, (unsigned long long)r->a);
	if (p->b[0])
		printf("  %.31s %llu", p->b, (unsigned long long)r->b);
	printf("\n");
}

int main(int argc, char **argv)
{
	const struct argp argp = { .options = rows, .parser = parse_option,
		.doc = "Print what gantryd's trace points recorded last, of all cores in the order of time." };
	struct options o = { 0 };
	struct trace_record *all;
	struct view v;
	char path[128];
	struct text t = text_over(path, sizeof(path));
	size_t count = 0, from = 0;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (o.path)
		text_add(&t, "%s", o.path);
	else
		text_add(&t, "/dev/shm/gantry_trace.%s%s", o.pid ? "pid" : "", o.pid ? o.pid : o.id);
	if (open_view(&v, path))
		return 1;
	all = malloc(v.header->rings * TRACE_RING_RECORDS * sizeof(*all));
	must(all);
	for (uint32_t i = 0; i < v.header->rings; i++)
		count += copy_ring((const struct trace_ring *)(v.map + TRACE_FILE_RINGS_AT) + i, all + count);
	qsort(all, count, sizeof(*all), by_time);
	if (o.last && o.last < count)
		from = count - o.last;
	for (size_t i = from; i < count; i++)
		print(v.header, &all[i], all[from].at_ns);
	free(all);
	return 0;
}
