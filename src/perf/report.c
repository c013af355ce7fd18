/* SPDX-License-Identifier: BSD-3-Clause */
/* report.c: what was measured, for people (columns as spdk_nvme_perf's) and as JSON for programs. */
#include <stdio.h>
#include <unistd.h>

#include "perf/perf.h"

static const struct { double percent; const char *key; } percentiles[] = {
	{ 50, "p50" }, { 90, "p90" }, { 95, "p95" }, { 99, "p99" }, { 99.9, "p99.9" }, { 99.99, "p99.99" },
};

struct figures {
	double iops, mib_s;
	struct hist hist;
	uint64_t errors, miscompares;
};

static double flow_seconds(const struct perf_flow *f)
{
	uint64_t ns = f->worker->ended_ns - f->worker->measure_from_ns;

	return f->worker->ended_ns > f->worker->measure_from_ns ? (double)ns / NS_PER_S : 0;
}

static void flow_figures(const struct perf_flow *f, struct figures *fig)
{
	double seconds = flow_seconds(f), iops = seconds > 0 ? (double)f->measured_ios / seconds : 0;

	fig->iops += iops;
	fig->mib_s += iops * f->worker->perf->opts.io_bytes / MIB;
	hist_merge(&fig->hist, f->hist);
	fig->errors += f->counts.errors;
	fig->miscompares += f->miscompares;
}

static double us(uint64_t ns)
{
	return (double)ns / NS_PER_US;
}

const char *perf_percentile_key(size_t i)
{
	return i < ARRAY_SIZE(percentiles) ? percentiles[i].key : NULL;
}

void perf_print_title(void)
{
	printf("%-58s  %12s %10s %10s %10s %10s\n", "Device", "IOPS", "MiB/s", "Average us", "min us", "max us");
}

void perf_print_row(const char *name, double iops, double mib_s, double mean_us, double min_us, double max_us)
{
	printf("%-58s: %12.2f %10.2f %10.2f %10.2f %10.2f\n", name, iops, mib_s, mean_us, min_us, max_us);
}

static void print_row(const char *name, const struct figures *fig)
{
	perf_print_row(name, fig->iops, fig->mib_s, us(hist_mean(&fig->hist)), us(fig->hist.min), us(fig->hist.max));
}

static void print_table(const struct perf *p, const struct figures *total)
{
	perf_print_title();
	for (uint32_t i = 0; i < p->worker_count; i++) {
		for (const struct perf_flow *f = p->workers[i].flows; f; f = f->next) {
			struct figures *fig = base_zalloc(sizeof(*fig));
			char name[192];

			flow_figures(f, fig);
			snprintf(name, sizeof(name), "%.44s from core %2u", f->ns->name, reactor_cpu(p->workers[i].reactor));
			print_row(name, fig);
			free(fig);
		}
	}
	print_row("Total", total);
	if (p->opts.latency)
		for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++)
			printf("%8s: %10.2f us\n", percentiles[i].key, us(hist_percentile(&total->hist, percentiles[i].percent)));
	if (total->errors || total->miscompares || p->opts.verify)
		printf("errors: %llu, miscompares: %llu\n", (unsigned long long)total->errors,
		       (unsigned long long)total->miscompares);
}

static void print_json(const struct perf *p, const struct figures *t)
{
	printf("{\"pattern\": \"%s\", \"io_bytes\": %u, \"depth\": %u, \"qpairs\": %u, \"workers\": %u, "
	       "\"namespaces\": %u, \"ios\": %llu, \"iops\": %.1f, \"mib_per_s\": %.2f, "
	       "\"errors\": %llu, \"miscompares\": %llu, \"latency_us\": {\"mean\": %.2f, \"min\": %.2f, \"max\": %.2f",
	       p->opts.pattern, p->opts.io_bytes, p->opts.depth, p->opts.qpairs, p->worker_count, p->ns_count,
	       (unsigned long long)t->hist.count, t->iops, t->mib_s, (unsigned long long)t->errors,
	       (unsigned long long)t->miscompares, us(hist_mean(&t->hist)), us(t->hist.min), us(t->hist.max));
	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf(", \"%s\": %.2f", percentiles[i].key, us(hist_percentile(&t->hist, percentiles[i].percent)));
	printf("}}\n");
}

void perf_report(const struct perf *p)
{
	struct figures *total = base_zalloc(sizeof(*total));

	if (!p->opts.quiet && !p->opts.json && isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	for (uint32_t i = 0; i < p->worker_count; i++)
		for (const struct perf_flow *f = p->workers[i].flows; f; f = f->next)
			flow_figures(f, total);
	if (p->opts.json)
		print_json(p, total);
	else
		print_table(p, total);
	free(total);
}

void perf_live_line(struct perf *p)
{
	uint64_t ios = 0, errors = 0, second = (core_clock_ns() - p->began_ns) / NS_PER_S;

	for (uint32_t i = 0; i < p->worker_count; i++) {
		for (struct perf_flow *f = p->workers[i].flows; f; f = f->next) {
			ios += atomic_load_explicit(&f->counts.ios, memory_order_relaxed);
			errors += atomic_load_explicit(&f->counts.errors, memory_order_relaxed);
		}
	}
	fprintf(stderr, "\r\033[K%4llu s  %10llu IOPS  %8.1f MiB/s  %llu errors", (unsigned long long)second,
	        (unsigned long long)(ios - p->live_ios), (double)(ios - p->live_ios) * p->opts.io_bytes / MIB,
	        (unsigned long long)errors);
	p->live_ios = ios;
}
