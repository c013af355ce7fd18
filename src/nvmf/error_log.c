/* SPDX-License-Identifier: BSD-3-Clause */
/* error_log.c: what the log page Error Information tells: the last commands of a controller that failed, on any core.
 *
 * Writers take a number each and fill the entry it leads to; the reader keeps an entry only if its number stood still
 * meanwhile. Words are atomic, so that the worst case is an entry that is missed.
 */
#include "nvmf/target.h"

_Static_assert(sizeof(struct nvme_error_log_page) == 64, "entries are copied in words");

/* Where in the command the mistake is, when only the status is known: byte, bit << 8; or it is not said. */
#define NOT_SAID 0xffffu

static uint16_t usual_place(uint16_t status)
{
	switch (status & NVME_SC_CODE) {
	case NVME_SC_INVALID_OPCODE:
		return offsetof(struct nvme_sqe, opc);
	case NVME_SC_FUSED_MISSING:
		return offsetof(struct nvme_sqe, flags);
	case NVME_SC_INVALID_NS:
	case NVME_SC_FEATURE_NOT_PER_NS:
		return offsetof(struct nvme_sqe, nsid);
	case NVME_SC_SGL_INVALID_DATA:
		return offsetof(struct nvme_sqe, sgl1.length);
	case NVME_SC_SGL_INVALID_OFFSET:
		return offsetof(struct nvme_sqe, sgl1.addr);
	case NVME_SC_SGL_INVALID_TYPE:
		return offsetof(struct nvme_sqe, sgl1.id);
	case NVME_SC_LBA_RANGE:
	case NVME_SC_INVALID_LOG_PAGE:
		return offsetof(struct nvme_sqe, cdw10);
	default:
		return NOT_SAID;
	}
}

void nvmf_error_at(struct nvmf_req *req, size_t byte, uint32_t bit)
{
	req->qpair->wrong_req = req;
	req->qpair->wrong_at = (uint16_t)(byte | bit << 8);
}

static uint16_t place_of(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_qpair *qp = req->qpair;
	bool said = qp->wrong_req == req;

	qp->wrong_req = NULL;
	return said ? qp->wrong_at : usual_place(status);
}

/* A host that understands it is told how long to wait before it tries again: where a try at once would find the same.
 * Delays 2 and 3 stand for the first where they are not set. */
static void add_delay(struct nvmf_req *req, uint16_t status)
{
	const struct nvmf_ctrlr *c = req->qpair->ctrlr;
	const uint16_t *crdt = c->target->crdt;
	uint32_t which = 0;

	if (status == NVME_SC_CMD_INTERRUPTED)
		which = 1;
	else if (status == NVME_SC_NS_NOT_READY)
		which = crdt[1] ? 2 : 1;
	else if (status == NVME_SC_INTERNAL)
		which = crdt[2] ? 3 : 1;
	if (which && crdt[which - 1])
		nvme_cqe_set_status(&req->cpl, (uint16_t)(status | which << 11));
}

static bool is_media_error(uint16_t status)
{
	return (status & NVME_SC_CODE) == NVME_SC_WRITE_FAULT || (status & NVME_SC_CODE) == NVME_SC_READ_ERROR;
}

/* The device lost data, or failed. A block that cannot be read is no sign of that where hosts may declare blocks so. */
static bool is_degraded(const struct nvmf_req *req, uint16_t status)
{
	if ((status & NVME_SC_CODE) == NVME_SC_READ_ERROR) {
		struct bdev_view *v = nvmf_ns_find(req->qpair, le32_get(req->cmd.nsid));

		return v && !bdev_can(&v->served->info, BDEV_WRITE_UNCORRECTABLE);
	}
	return is_media_error(status) || (status == (NVME_SC_INTERNAL | NVME_SC_DNR) && req->cmd.opc != NVME_CMD_COPY);
}

void nvmf_error_add(struct nvmf_req *req)
{
	struct nvmf_ctrlr *c = req->qpair->ctrlr;
	uint64_t number = atomic_fetch_add(&c->error_count, 1) + 1, words[8];
	struct nvmf_error *slot = &c->errors[number % NVMF_ERRORS_MAX];
	struct nvme_error_log_page e = { 0 };
	uint16_t status = nvme_cqe_status(&req->cpl);

	if (unlikely(atomic_load_explicit(&c->behavior.acre, memory_order_relaxed)))
		add_delay(req, status);
	e.error_count = le64_of(number);
	e.sqid = le16_of(req->qpair->qid);
	e.cmdid = req->cmd.cid;
	e.status_field = req->cpl.status;
	e.parm_error_location = le16_of(place_of(req, status));
	e.nsid = req->cmd.opc == NVME_ADMIN_FABRICS ? le32_of(0) : req->cmd.nsid;
	if (req->qpair->qid && req->cmd.opc != NVME_ADMIN_FABRICS)
		e.lba = req->cmd.rw.slba;
	e.trtype = req->qpair->transport->ops->trtype;
	memcpy(words, &e, sizeof(words));
	atomic_store(&slot->number, 0);
	for (int i = 0; i < 8; i++)
		atomic_store(&slot->words[i], words[i]);
	atomic_store(&slot->number, number);
	if (is_media_error(status))
		atomic_fetch_add(&c->media_errors, 1);
	if (req->qpair->qid && is_degraded(req, status) && !atomic_exchange(&c->degraded, true))
		nvmf_qpair_mail(req->qpair, NVMF_MAIL_HEALTH);
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
