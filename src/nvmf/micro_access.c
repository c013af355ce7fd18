/* SPDX-License-Identifier: BSD-3-Clause */
/* micro_access.c: what the checks of who may do what cost an I/O: so many reads and writes of one block through the
 * target's core (parse, checks, null device, answer), by a transport that is made of memory, in a simulated world.
 *
 *     micro_access WHAT COUNT
 *
 * It does the same instructions in each run, so that they can be counted: bench/access.py does, under callgrind.
 */
#include <stdio.h>

#include "base/text.h"
#include "nvmf/test_rig.h"

#define HOSTS 1000u
#define NSID 2u /* the null device */
#define KEY 7u

static struct rig rig;
static struct rig_qp *admin, *io;
static uint8_t data[4096];

static void host_name(char *name, size_t size, uint32_t i)
{
	snprintf(name, size, "nqn.2014-08.org.nvmexpress:uuid:10000000-0000-4000-8000-%012u", i);
}

/* Any host may come; every host sees every namespace; nobody has reserved anything. */
static void plain(void) { must(!rig_allow_any(&rig, true)); }

/* The rig's host is in a list. */
static void hosts(void)
{
	char name[80];

	for (uint32_t i = 0; i < HOSTS; i++) {
		host_name(name, sizeof(name), i);
		must(!rig_add_host(&rig, name));
	}
}

/* And of the others none sees the namespace. */
static void visibility(void)
{
	hosts();
	must(!rig_remove_ns(&rig, NSID));
	must(!rig_add_hidden_ns(&rig, "nul", NSID));
	must(!rig_show_ns(&rig, NSID, true));
}

static uint16_t resv(uint8_t opc, uint8_t action, uint8_t rtype, uint64_t key, uint64_t new_key)
{
	struct nvme_sqe sqe = rig_sqe(opc, NSID);
	struct nvme_resv_keys keys = { .crkey = le64_of(key), .nrkey = le64_of(new_key) };

	sqe.resv.action = action;
	sqe.resv.rtype = rtype;
	return rig_cmd(io, &sqe, &keys, sizeof(keys), NULL);
}

/* Registered, and nobody holds it. */
static void registered(void)
{
	hosts();
	must(!resv(NVME_CMD_RESV_REGISTER, NVME_RREGA_REGISTER, 0, 0, KEY));
}

static void holds(void)
{
	registered();
	must(!resv(NVME_CMD_RESV_ACQUIRE, NVME_RACQA_ACQUIRE, NVME_RESV_EA, KEY, 0));
}

static void holds_as_one_of_all(void)
{
	registered();
	must(!resv(NVME_CMD_RESV_ACQUIRE, NVME_RACQA_ACQUIRE, NVME_RESV_EAAR, KEY, 0));
}

static const struct {
	const char *name;
	void (*prepare)(void);
} rows[] = {
	{ "plain", plain }, { "hosts", hosts }, { "visibility", visibility }, { "registered", registered },
	{ "exclusive", holds }, { "all_registrants", holds_as_one_of_all },
};

static void run(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		struct nvme_sqe sqe = rig_rw(i & 1 ? NVME_CMD_WRITE : NVME_CMD_READ, NSID, i % 64, 1);

		must(!rig_cmd(io, &sqe, data, sizeof(data), NULL));
	}
}

int main(int argc, char **argv)
{
	uint64_t count;
	uint16_t cntlid;

	for (size_t i = 0; argc == 3 && !text_parse_u64(argv[2], &count, NULL) && i < ARRAY_SIZE(rows); i++) {
		if (strcmp(argv[1], rows[i].name))
			continue;
		rig_start(&rig, 1);
		admin = rig_admin(&rig, 0, &cntlid);
		io = rig_io(&rig, 1, 1, cntlid);
		rows[i].prepare();
		run(count);
		rig_close(io);
		rig_close(admin);
		rig_stop(&rig);
		return 0;
	}
	fprintf(stderr, "usage: %s plain|hosts|visibility|registered|exclusive|all_registrants COUNT\n", argv[0]);
	return 1;
}
