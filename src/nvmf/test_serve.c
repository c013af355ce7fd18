/* SPDX-License-Identifier: BSD-3-Clause */
/* test_serve.c: see test_serve.h. */
#include "nvmf/test_serve.h"

#include <stdio.h>

static void next(struct nvmf_change *c)
{
	struct test_serve *s = c->arg;

	if (c->err.code)
		fprintf(stderr, "setting up: %s\n", c->err.text);
	must(!c->err.code);
	switch (s->step) {
	case 0:
		s->step++;
		nvmf_add_transport(c, s->ops, s->opts);
		break;
	case 1:
		s->step++;
		nvmf_add_subsystem(c, &(struct nvmf_subsystem_opts){ .nqn = s->nqn, .allow_any_host = true });
		break;
	case 2:
		if (s->disk < TEST_SERVE_DISKS_MAX && s->disks[s->disk]) {
			nvmf_add_ns(c, s->nqn, &(struct nvmf_ns_opts){ .bdev_name = s->disks[s->disk++] });
			break;
		}
		s->step++;
		nvmf_add_listener(c, s->nqn, s->ops->name, &s->listen);
		break;
	default:
		s->done(s->arg);
	}
}

void test_serve(struct test_serve *s)
{
	s->change = (struct nvmf_change){ .target = s->target, .done = next, .arg = s };
	next(&s->change);
}
