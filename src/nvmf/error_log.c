/* SPDX-License-Identifier: BSD-3-Clause */
/* error_log.c: what the log page Error Information tells: the last commands of a controller that failed, on any core.
 *
 * Writers take a number each and fill the entry it leads to; the reader keeps an entry only if its number stood still
 * meanwhile. Words are atomic, so that the worst case is an entry that is missed.
 */
#include "nvmf/target.h"

_Static_assert(sizeof(struct nvme_error_log_page) == 64, "entries are copied in words");

void nvmf_error_add(struct nvmf_req *req)
{
	struct nvmf_ctrlr *c = req->qpair->ctrlr;
	uint64_t number = atomic_fetch_add(&c->error_count, 1) + 1, words[8];
	struct nvmf_error *slot = &c->errors[number % NVMF_ERRORS_MAX];
	struct nvme_error_log_page e = { 0 };

	e.error_count = le64_of(number);
	e.sqid = le16_of(req->qpair->qid);
	e.cmdid = req->cmd.cid;
	e.status_field = req->cpl.status;
	e.parm_error_location = le16_of(0xffff); /* not said */
	if (req->qpair->qid) {
		e.lba = req->cmd.rw.slba;
		e.nsid = req->cmd.nsid;
	}
	e.trtype = req->qpair->transport->ops->trtype;
	memcpy(words, &e, sizeof(words));
	atomic_store(&slot->number, 0);
	for (int i = 0; i < 8; i++)
		atomic_store(&slot->words[i], words[i]);
	atomic_store(&slot->number, number);
}

static bool read_entry(struct nvmf_ctrlr *c, uint64_t number, struct nvme_error_log_page *ret)
{
	struct nvmf_error *slot = &c->errors[number % NVMF_ERRORS_MAX];
	uint64_t words[8];

	if (atomic_load(&slot->number) != number)
		return false;
	for (int i = 0; i < 8; i++)
		words[i] = atomic_load(&slot->words[i]);
	memcpy(ret, words, sizeof(words));
	return atomic_load(&slot->number) == number;
}

uint32_t nvmf_error_list(struct nvmf_ctrlr *c, struct nvme_error_log_page *ret_entries, uint32_t max)
{
	uint64_t newest = atomic_load(&c->error_count);
	uint32_t count = 0;

	for (uint64_t n = newest; n && n + NVMF_ERRORS_MAX > newest && count < max; n--)
		if (read_entry(c, n, &ret_entries[count]))
			count++;
	return count;
}
