/* SPDX-License-Identifier: BSD-3-Clause */
/* discovery.c: the discovery log of a remote discovery controller, read whole and checked.
 *
 * Header, entries in pieces, header again: when the generation counter changed in between, from the start. No more is
 * asked for than the header says is there, since Linux's target answers longer reads with what lies behind its log.
 * Only the last read lets go of the asynchronous event, so that a change in between is told.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "nvme/nvme.h"

#define DISCOVERY_PIECE_ENTRIES 16u
#define DISCOVERY_TRIES 16 /* of a log that changes all the time */

/* --- parsing ---------------------------------------------------------------------------------- */

/* A text padded with blanks or zeroes. False: too long, or not printable. */
static bool take_text(char *dst, size_t dst_size, const char *field, size_t size)
{
	size_t len = strnlen(field, size);

	while (len && field[len - 1] == ' ')
		len--;
	if (len >= dst_size)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)field[i]))
			return false;
	memcpy(dst, field, len);
	dst[len] = 0;
	return true;
}

bool nvme_discovery_entry_parse(const struct nvmf_disc_log_entry *bytes, struct nvme_discovery_entry *ret_entry)
{
	struct nvme_discovery_entry e = {
		.trtype = bytes->trtype, .adrfam = bytes->adrfam, .subtype = bytes->subtype, .treq = bytes->treq,
		.sectype = bytes->trtype == NVMF_TRTYPE_TCP ? bytes->tsas.tcp.sectype : 0,
		.portid = le16_get(bytes->portid), .cntlid = le16_get(bytes->cntlid), .asqsz = le16_get(bytes->asqsz),
		.eflags = le16_get(bytes->eflags),
	};

	if (!take_text(e.trsvcid, sizeof(e.trsvcid), bytes->trsvcid, sizeof(bytes->trsvcid)) ||
	    !take_text(e.subnqn, sizeof(e.subnqn), bytes->subnqn, sizeof(bytes->subnqn)) ||
	    !take_text(e.traddr, sizeof(e.traddr), bytes->traddr, sizeof(bytes->traddr)) || !e.subnqn[0])
		return false;
	*ret_entry = e;
	return true;
}

int nvme_discovery_header_parse(const struct nvmf_discovery_log *bytes, uint64_t *ret_genctr, uint32_t *ret_count,
                                struct err *e)
{
	uint64_t count = le64_get(bytes->numrec);

	if (le16_get(bytes->recfmt))
		return err_set(e, -EPROTO, "the discovery log has records of format %u; 0 is known",
		               le16_get(bytes->recfmt));
	if (count > NVME_DISCOVERY_ENTRIES_MAX)
		return err_set(e, -EPROTO, "the discovery log claims %llu records; at most %u are read",
		               (unsigned long long)count, NVME_DISCOVERY_ENTRIES_MAX);
	*ret_genctr = le64_get(bytes->genctr);
	*ret_count = (uint32_t)count;
	return 0;
}

int nvme_discovery_entry_path(const struct nvme_discovery_entry *entry, struct nvme_path *ret_path, struct err *e)
{
	if (entry->trtype != NVMF_TRTYPE_TCP)
		return err_set(e, -EPROTONOSUPPORT, "%s: transport %s (%u) is not supported; tcp is", entry->subnqn,
		               nvme_discovery_trtype_text(entry->trtype), entry->trtype);
	if (entry->adrfam != NVMF_ADRFAM_IP4 && entry->adrfam != NVMF_ADRFAM_IP6)
		return err_set(e, -EPROTONOSUPPORT, "%s: address family %s (%u) is not supported; ipv4 and ipv6 are",
		               entry->subnqn, nvme_discovery_adrfam_text(entry->adrfam), entry->adrfam);
	if (!entry->traddr[0] || strlen(entry->traddr) >= sizeof(ret_path->traddr) ||
	    strlen(entry->trsvcid) >= sizeof(ret_path->trsvcid))
		return err_set(e, -EPROTO, "%s: \"%s\" port \"%s\" in the discovery log is no address", entry->subnqn,
		               entry->traddr, entry->trsvcid);
	snprintf(ret_path->trtype, sizeof(ret_path->trtype), "TCP");
	ret_path->adrfam = entry->adrfam == NVMF_ADRFAM_IP6 ? NET_IPV6 : NET_IPV4;
	memcpy(ret_path->traddr, entry->traddr, strlen(entry->traddr) + 1);
	if (entry->trsvcid[0])
		memcpy(ret_path->trsvcid, entry->trsvcid, strlen(entry->trsvcid) + 1);
	else
		snprintf(ret_path->trsvcid, sizeof(ret_path->trsvcid), "%d",
		         entry->subtype == NVMF_SUBTYPE_NVME ? NVME_TCP_PORT : NVME_TCP_DISCOVERY_PORT);
	memcpy(ret_path->subnqn, entry->subnqn, sizeof(ret_path->subnqn));
	ret_path->nsid = 0;
	return 0;
}

const char *nvme_discovery_trtype_text(uint8_t trtype)
{
	switch (trtype) {
	case NVMF_TRTYPE_RDMA: return "rdma";
	case NVMF_TRTYPE_FC: return "fc";
	case NVMF_TRTYPE_TCP: return "tcp";
	case NVMF_TRTYPE_LOOP: return "loop";
	default: return "unrecognized";
	}
}

const char *nvme_discovery_adrfam_text(uint8_t adrfam)
{
	switch (adrfam) {
	case NVMF_ADRFAM_IP4: return "ipv4";
	case NVMF_ADRFAM_IP6: return "ipv6";
	case NVMF_ADRFAM_IB: return "infiniband";
	case NVMF_ADRFAM_FC: return "fibre-channel";
	default: return "unrecognized";
	}
}

const char *nvme_discovery_subtype_text(uint8_t subtype)
{
	switch (subtype) {
	case NVMF_SUBTYPE_DISCOVERY: return "discovery subsystem referral";
	case NVMF_SUBTYPE_NVME: return "nvme subsystem";
	case NVMF_SUBTYPE_DISCOVERY_CURRENT: return "current discovery subsystem";
	default: return "unrecognized";
	}
}

const char *nvme_discovery_treq_text(uint8_t treq)
{
	switch (treq & 3) {
	case NVMF_TREQ_NOT_SPECIFIED: return "not specified";
	case NVMF_TREQ_REQUIRED: return "required";
	case NVMF_TREQ_NOT_REQUIRED: return "not required";
	default: return "unrecognized";
	}
}

/* --- reading ---------------------------------------------------------------------------------- */

static void header_read(struct nvme_op *op);
static void entries_read(struct nvme_op *op);
static void header_read_again(struct nvme_op *op);

static void read_end(struct nvme_discovery *d)
{
	free(d->piece);
	d->piece = NULL;
	if (d->err.code)
		nvme_discovery_fini(d);
	d->done(d);
}

static void read_piece(struct nvme_discovery *d, uint64_t offset, uint32_t len, bool last, nvme_op_fn *done)
{
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_GET_LOG_PAGE };
	uint32_t numd = len / 4 - 1;

	cmd.get_log_page.lid = NVME_LOG_DISCOVER;
	cmd.get_log_page.lsp_rae = last ? 0 : 0x80;
	cmd.get_log_page.numdl = le16_of((uint16_t)numd);
	cmd.get_log_page.numdu = le16_of((uint16_t)(numd >> 16));
	cmd.get_log_page.lpo = le64_of(offset);
	memset(d->piece, 0, len);
	d->iov = (struct iovec){ d->piece, len };
	d->op = (struct nvme_op){ .cmd = cmd, .iovs = &d->iov, .iov_count = 1, .data = NVME_OP_TO_HOST, .data_len = len,
		                  .done = done };
	nvme_ctrlr_submit_admin(d->ctrlr, &d->op);
}

static void read_from_start(struct nvme_discovery *d)
{
	nvme_discovery_fini(d);
	d->at = 0;
	read_piece(d, 0, sizeof(struct nvmf_discovery_log), false, header_read);
}

void nvme_discovery_read(struct nvme_discovery *d, struct nvme_ctrlr *c, nvme_discovery_fn *done)
{
	void *arg = d->arg;

	*d = (struct nvme_discovery){ .ctrlr = c, .done = done, .arg = arg };
	d->piece = base_zalloc(DISCOVERY_PIECE_ENTRIES * sizeof(struct nvmf_disc_log_entry));
	read_from_start(d);
}

static bool read_failed(struct nvme_discovery *d)
{
	uint16_t status = nvme_op_status(&d->op);

	if (!status)
		return false;
	err_set(&d->err, -EIO, "the discovery log cannot be read: %s", nvme_status_text(status, false));
	read_end(d);
	return true;
}

static void read_next(struct nvme_discovery *d)
{
	uint32_t most = nvme_ctrlr_info(d->ctrlr)->max_io_bytes / sizeof(struct nvmf_disc_log_entry);
	uint32_t n = min_u32(min_u32(d->records - d->at, DISCOVERY_PIECE_ENTRIES), most);

	if (d->at == d->records)
		read_piece(d, 0, sizeof(struct nvmf_discovery_log), true, header_read_again);
	else
		read_piece(d, sizeof(struct nvmf_discovery_log) + (uint64_t)d->at * sizeof(struct nvmf_disc_log_entry),
		           n * (uint32_t)sizeof(struct nvmf_disc_log_entry), false, entries_read);
}

static void header_read(struct nvme_op *op)
{
	struct nvme_discovery *d = container_of(op, struct nvme_discovery, op);

	if (read_failed(d))
		return;
	if (nvme_discovery_header_parse((const void *)d->piece, &d->genctr, &d->records, &d->err)) {
		read_end(d);
		return;
	}
	d->entries = base_zalloc((d->records + 1) * sizeof(*d->entries));
	read_next(d);
}

static void entries_read(struct nvme_op *op)
{
	struct nvme_discovery *d = container_of(op, struct nvme_discovery, op);
	const struct nvmf_disc_log_entry *entries = (const void *)d->piece;

	if (read_failed(d))
		return;
	for (uint32_t i = 0; i < op->data_len / sizeof(*entries); i++, d->at++) {
		if (nvme_discovery_entry_parse(&entries[i], &d->entries[d->count]))
			d->count++;
		else
			d->left_out++;
	}
	read_next(d);
}

static void header_read_again(struct nvme_op *op)
{
	struct nvme_discovery *d = container_of(op, struct nvme_discovery, op);
	const struct nvmf_discovery_log *header = (const void *)d->piece;

	if (read_failed(d))
		return;
	if (le64_get(header->genctr) == d->genctr) {
		read_end(d);
	} else if (++d->tries < DISCOVERY_TRIES) {
		read_from_start(d);
	} else {
		err_set(&d->err, -EAGAIN, "the discovery log changed %d times while it was read", DISCOVERY_TRIES);
		read_end(d);
	}
}

void nvme_discovery_fini(struct nvme_discovery *d)
{
	free(d->entries);
	d->entries = NULL;
	d->count = d->left_out = 0;
}
