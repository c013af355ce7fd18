/* SPDX-License-Identifier: BSD-3-Clause */
/* test_serve.h: the first changes of a target in a test, one after the other: a transport, a subsystem that any host
 * may use, its namespaces, a listener. A change that fails ends the test with its sentence.
 */
#ifndef NVMF_TEST_SERVE_H
#define NVMF_TEST_SERVE_H

#include "nvmf/nvmf.h"

#define TEST_SERVE_DISKS_MAX 2u

struct test_serve {
	/* Set before. */
	struct nvmf_target *target;
	const struct nvmf_transport_ops *ops;
	const struct nvmf_transport_opts *opts;  /* the caller's until done, as all texts */
	struct net_addr listen;
	const char *nqn;
	const char *disks[TEST_SERVE_DISKS_MAX]; /* namespaces 1, 2; NULL: none */
	void (*done)(void *arg);                 /* hosts may come */
	void *arg;
	/* Its own. */
	struct nvmf_change change;
	uint32_t step, disk;
};

/* Control reactor; `s` stays until done. */
void test_serve(struct test_serve *s);

#endif
