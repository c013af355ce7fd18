/* SPDX-License-Identifier: BSD-3-Clause */
/* numa_test.c: a machine with two memory nodes, as sysfs would tell of it: who belongs where, and that memory is asked
 * for there. The machine that runs this has one node, or several; node 0 it has. */
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/rig_test.h"
#include "core/sched.h"

static char dir[64];

static void tell(const char *node, const char *list)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	mkdir(path, 0755);
	if (!list)
		return;
	snprintf(path, sizeof(path), "%s/%s/cpulist", dir, node);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(list, f);
	fclose(f);
}

static int begin(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/numa_test.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static int region_policy;
static unsigned long region_nodes[16];
static uint8_t touched;

static void look_on_core(struct msg *m)
{
	uint8_t *base = mem_region_self()->base;
	struct mem_bufs bufs = { .count = 0 };

	check(mem_take(&bufs, 4096));
	touched = *(volatile uint8_t *)mem_iov(&bufs)[0].iov_base;
	if (syscall(SYS_get_mempolicy, &region_policy, region_nodes, 1024ul, base, (unsigned long)MPOL_F_ADDR))
		region_policy = -1; /* a filter refused: then preferring was refused as well */
	mem_give(&bufs);
	rig_stop();
}

static void look(void *arg)
{
	static struct msg m;

	msg_send(core_reactor(rig.core, 0), &m, look_on_core);
}

static void cpus_belong_to_nodes(void **state)
{
	uint32_t cpu;

	tell("node0", "0-3,9\n");
	tell("node1", "4-7,10-11\n");
	tell("node2", "\n");          /* memory without CPUs */
	tell("node3", NULL);
	tell("nodeX", "8\n");
	tell("has_cpu", "0-11\n");
	rig_make(&(struct core_opts){ .cpus = rig_cpus(1), .topology_dir = dir, .stall_ms = 60000 });
	cpu = reactor_cpu(core_reactor(rig.core, 0));
	assert_int_equal(core_cpu_node(rig.core, 0), 0);
	assert_int_equal(core_cpu_node(rig.core, 9), 0);
	assert_int_equal(core_cpu_node(rig.core, 4), 1);
	assert_int_equal(core_cpu_node(rig.core, 11), 1);
	assert_int_equal(core_cpu_node(rig.core, 8), -1);
	assert_int_equal(core_cpu_node(rig.core, UINT32_MAX), -1);
	assert_int_equal(reactor_node(core_control(rig.core)), -1);
	assert_int_equal(reactor_node(core_reactor(rig.core, 0)), core_cpu_node(rig.core, cpu));
	rig_end(look);
	if (cpu < 4 && region_policy >= 0) {
		assert_int_equal(region_policy, MPOL_PREFERRED);
		assert_int_equal(region_nodes[0], 1);
	}
}

static void one_node_is_asked_for_nothing(void **state)
{
	tell("node0", "0-63\n");
	rig_make(&(struct core_opts){ .cpus = rig_cpus(1), .topology_dir = dir, .stall_ms = 60000 });
	rig_end(look);
	if (region_policy >= 0)
		assert_int_equal(region_policy, MPOL_DEFAULT);
}

static void nobody_knows(void **state)
{
	rig_make(&(struct core_opts){ .cpus = rig_cpus(1), .topology_dir = "/nowhere", .stall_ms = 60000 });
	assert_int_equal(reactor_node(core_reactor(rig.core, 0)), -1);
	rig_end(look);
}

/* A node of one CPU is no mask. */
static void a_single_number_is_a_list(void **state)
{
	tell("node0", "3\n");
	tell("node1", "0-2\n");
	rig_make(&(struct core_opts){ .cpus = rig_cpus(1), .topology_dir = dir, .stall_ms = 60000 });
	assert_int_equal(core_cpu_node(rig.core, 3), 0);
	assert_int_equal(core_cpu_node(rig.core, 0), 1);
	core_free(rig.core);
}

/* What an adapter brings begins near it, where others are not fewer. */
static void what_has_a_node_begins_there(void **state)
{
	struct sched_place p = { 0 };
	int cpus[2], count = 0;
	cpu_set_t mine;
	char text[16];

	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	for (int i = 0; i < CPU_SETSIZE && count < 2; i++)
		if (CPU_ISSET(i, &mine))
			cpus[count++] = i;
	if (count < 2)
		skip();
	for (int i = 0; i < 2; i++) {
		snprintf(text, sizeof(text), "%d\n", cpus[i]);
		tell(i ? "node1" : "node0", text);
	}
	rig_make(&(struct core_opts){ .cpus = rig_cpus(2), .topology_dir = dir, .stall_ms = 60000 });
	sched_place_init(&p, rig.core);
	for (int round = 0; round < 4; round++) {
		struct reactor *r = sched_place_on_node(&p, 1);

		assert_int_equal(reactor_node(r), 1);
		assert_int_equal(reactor_node(sched_place_on_node(&p, 1)), 0); /* it has fewer now */
	}
	assert_non_null(sched_place_on_node(&p, -1));
	core_free(rig.core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cpus_belong_to_nodes, begin, end),
		cmocka_unit_test_setup_teardown(one_node_is_asked_for_nothing, begin, end),
		cmocka_unit_test(nobody_knows),
		cmocka_unit_test_setup_teardown(a_single_number_is_a_list, begin, end),
		cmocka_unit_test_setup_teardown(what_has_a_node_begins_there, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
