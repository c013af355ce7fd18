/* SPDX-License-Identifier: BSD-3-Clause */
/* discovery_log_fuzz.c: any bytes as a discovery log: an answer, never a crash, and what is accepted is usable. */
#include "nvme/nvme.h"

static void check_text(const char *text)
{
	for (; *text; text++)
		must(*text > ' ' && *text < 127);
}

static void try_entry(const struct nvmf_disc_log_entry *bytes)
{
	struct nvme_discovery_entry entry;
	struct nvme_path path = { .hostnqn = "nqn.mine" };
	struct err e = { 0 };

	if (!nvme_discovery_entry_parse(bytes, &entry))
		return;
	must(entry.subnqn[0]);
	check_text(entry.subnqn);
	check_text(entry.traddr);
	check_text(entry.trsvcid);
	must(nvme_discovery_trtype_text(entry.trtype)[0] && nvme_discovery_adrfam_text(entry.adrfam)[0] &&
	     nvme_discovery_subtype_text(entry.subtype)[0] && nvme_discovery_treq_text(entry.treq)[0]);
	if (nvme_discovery_entry_path(&entry, &path, &e))
		must(e.code && e.text[0] && !path.traddr[0]);
	else
		must(path.traddr[0] && path.trsvcid[0] && !strcmp(path.subnqn, entry.subnqn) &&
		     !strcmp(path.hostnqn, "nqn.mine"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	union { struct nvmf_discovery_log log; struct nvmf_disc_log_entry entry; } u;
	uint64_t genctr;
	uint32_t count;
	struct err e = { 0 };

	if (size < sizeof(u))
		return 0;
	memcpy(&u, data, sizeof(u));
	if (nvme_discovery_header_parse(&u.log, &genctr, &count, &e))
		must(e.code && e.text[0]);
	else
		must(count <= NVME_DISCOVERY_ENTRIES_MAX);
	for (size_t at = sizeof(u); at + sizeof(u) <= size; at += sizeof(u)) {
		memcpy(&u, data + at, sizeof(u));
		try_entry(&u.entry);
	}
	return 0;
}
