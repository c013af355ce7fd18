/* SPDX-License-Identifier: BSD-3-Clause */
/* eyes.c: what lets others look: metrics, and trace points of the command line. A module of modules.c. */
#include "base/text.h"
#include "metrics/metrics.h"
#include "metrics/metrics_rpc.h"
#include "app/app.h"

static int start_tracing(struct app *a, struct err *e);
static int trace_one(struct app *a, const char *word, struct err *e);
static int start_serving(struct app *a, struct err *e);

int eyes_start(struct app *a, struct err *e)
{
	int rc;

	a->metrics = metrics_make(a->core, a->bdevs, a->nvmf, a->host.version);
	metrics_add_remote(a->metrics, a->remote.remote);
	metrics_add_scsi(a->metrics, a->scsi);
	metrics_add_iscsi(a->metrics, a->iscsi);
	metrics_add_vhost(a->metrics, a->vhost);
	metrics_rpc_add(a->rpc, a->metrics);
	trace_file_init(&a->trace, a->core, a->options->shm_id);
	rc = start_tracing(a, e);
	if (rc == 0)
		rc = start_serving(a, e);
	if (rc)
		a->started++; /* what was made goes with the others */
	return rc;
}

static void metrics_gone(void *arg)
{
	struct app *a = arg;

	a->metrics = NULL;
	if (a->eyes_wait)
		modules_stop_next(a);
}

bool eyes_stop(struct app *a)
{
	metrics_stop(a->metrics, metrics_gone, a);
	a->eyes_wait = a->metrics != NULL;
	return !a->eyes_wait;
}

static int start_serving(struct app *a, struct err *e)
{
	char host[64];
	uint16_t port;
	int rc;

	if (!a->options->metrics)
		return 0;
	rc = metrics_parse_address(a->options->metrics, host, &port, e);
	return rc ? rc : metrics_serve(a->metrics, host, port, e);
}

/* SPDK's -e: "group[:mask],...", or a mask of groups. */
static int start_tracing(struct app *a, struct err *e)
{
	char words[256], *at = words, *word;
	struct text t = text_over(words, sizeof(words));
	int rc = 0;

	if (!a->options->tpoints)
		return 0;
	text_add(&t, "%s", a->options->tpoints);
	while (rc == 0 && (word = strsep(&at, ",")))
		rc = trace_one(a, word, e);
	return rc;
}

static int trace_one(struct app *a, const char *word, struct err *e)
{
	const char *colon = strchr(word, ':');
	size_t len = colon ? (size_t)(colon - word) : strlen(word);
	uint64_t groups = 0, bits = UINT64_MAX, points = 0;

	if (colon && text_parse_u64(colon + 1, &bits, e))
		return e->code;
	for (enum trace_group g = 0; g < TRACE_GROUP_COUNT; g++) {
		const char *name = trace_group_name(g);

		if ((strlen(name) == len && strncasecmp(name, word, len) == 0) ||
		    (len == 3 && strncasecmp(word, "all", 3) == 0))
			groups |= 1ull << g;
	}
	if (!groups && text_parse_u64(word, &groups, NULL))
		return err_set(e, ERR_BAD_PARAM, "-e: \"%s\" is not a trace group (thread, sock, nvmf_tcp, bdev, all), nor a "
		               "mask of groups", word);
	for (uint32_t i = 0; i < TRACE_POINT_COUNT; i++) {
		struct trace_point_info info = trace_point_info(i);

		if (groups >> info.group & 1 && bits >> info.bit & 1)
			points |= 1ull << i;
	}
	return trace_enable(a->core, points, 0, e);
}
