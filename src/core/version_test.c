/* SPDX-License-Identifier: BSD-3-Clause */
/* version_test.c: a command keeps the version it began with; a version is freed once, when all have left it. */
#include "core/rig_test.h"
#include "core/version.h"

#define VERSIONS 20u

static struct version_slot slot;
static struct config {
	struct version v;
	_Atomic uint32_t entered, left;
	uint32_t freed;
} configs[VERSIONS];
static struct version_publish publish[VERSIONS + 1];
static uint32_t done_count, freed_count;
static struct msg hold_msg, drop_msg;
static struct version *held;

static struct config *config_of(struct version *v) { return container_of(v, struct config, v); }

static void enter(struct version *v, uint32_t i)
{
	check(i == reactor_index(reactor_self()));
	check(version_current(&slot) == NULL || version_current(&slot)->number == v->number - 1);
	config_of(v)->entered++;
}

static void leave(struct version *v, uint32_t i)
{
	check(i == reactor_index(reactor_self()));
	config_of(v)->left++;
}

static void free_version(struct version *v)
{
	uint32_t cores = core_reactor_count(rig.core);

	check(reactor_is_control(reactor_self()));
	check(config_of(v)->entered == cores && config_of(v)->left == cores);
	config_of(v)->freed++;
	if (++freed_count == VERSIONS)
		rig_stop();
}

static void drop_on_core(struct msg *m) { version_unref(held, reactor_index(reactor_self())); }

static void published(struct version_publish *p)
{
	check(p == &publish[done_count]); /* in order */
	done_count++;
	if (done_count <= VERSIONS)
		return;
	/* none is current any more, but the first one is still in use */
	check(configs[0].freed == 0 && version_current(&slot) == NULL);
	msg_send(rig_last(), &drop_msg, drop_on_core);
}

/* Many at once: they go out one after the other. */
static void publish_rest(struct msg *m)
{
	for (uint32_t i = 1; i <= VERSIONS; i++) {
		version_publish(&slot, &publish[i], i < VERSIONS ? &configs[i].v : NULL, published);
		check(version_current(&slot) == (i < VERSIONS ? &configs[i].v : NULL));
	}
}

static void hold_on_core(struct msg *m)
{
	held = version_current(&slot);
	check(held == &configs[0].v);
	version_ref(held, reactor_index(reactor_self()));
	msg_send(core_control(rig.core), m, publish_rest);
}

static void first_published(struct version_publish *p)
{
	done_count++;
	msg_send(rig_last(), &hold_msg, hold_on_core);
}

static void versions_start(void *arg)
{
	version_slot_init(&slot, rig.core);
	slot.enter = enter;
	slot.leave = leave;
	slot.free = free_version;
	version_publish(&slot, &publish[0], &configs[0].v, first_published);
}

static void versions_follow_each_other(void **state)
{
	rig_run(3, CORE_INTERRUPT, versions_start);
	assert_int_equal(done_count, VERSIONS + 1);
	for (uint32_t i = 0; i < VERSIONS; i++)
		assert_int_equal(configs[i].freed, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(versions_follow_each_other) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
