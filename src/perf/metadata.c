/* SPDX-License-Identifier: BSD-3-Clause */
/* metadata.c: namespaces with metadata: where they are in a task's buffer, protection information of what is written
 * and read. As spdk_nvme_perf's -e: PRACT=0,PRCHK=GUARD|REFTAG|APPTAG.
 */
#include <stdio.h>
#include <string.h>

#include "bdev/pi.h"
#include "perf/perf.h"

static const struct { const char *name; uint16_t control; uint32_t check; } checks[] = {
	{ "GUARD", NVME_RW_PRCHK_GUARD, BDEV_IO_PRCHK_GUARD }, { "REFTAG", NVME_RW_PRCHK_REF, BDEV_IO_PRCHK_REFTAG },
	{ "APPTAG", NVME_RW_PRCHK_APP, BDEV_IO_PRCHK_APPTAG },
};

/* --- what was asked for ------------------------------------------------------------------------------- */

static bool add_check(struct perf_metadata *md, const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		if (strlen(checks[i].name) != len || strncmp(checks[i].name, name, len))
			continue;
		md->control |= checks[i].control;
		md->checks |= checks[i].check;
		return true;
	}
	return false;
}

static bool add_checks(struct perf_metadata *md, const char *text, size_t len)
{
	while (len) {
		size_t n = strcspn(text, "|,");

		if (!add_check(md, text, n < len ? n : len))
			return false;
		n = n < len ? n + 1 : len;
		text += n;
		len -= n;
	}
	return true;
}

bool perf_metadata_parse(const char *text, struct perf_metadata *ret_md)
{
	struct perf_metadata md = { .given = true };
	bool trusts = false;

	for (const char *end; *text; text = *end ? end + 1 : end) {
		end = text + strcspn(text, ",");
		if (!strncmp(text, "PRACT=1", 7) && end == text + 7)
			md.control |= NVME_RW_PRACT;
		else if (!strncmp(text, "HOST=0", 6) && end == text + 6)
			trusts = true;
		else if (strncmp(text, "PRACT=0", 7) || end != text + 7)
			if (strncmp(text, "PRCHK=", 6) || !add_checks(&md, text + 6, (size_t)(end - text) - 6))
				return false;
	}
	if (trusts) /* the controller alone checks */
		md.checks = 0;
	*ret_md = md;
	return true;
}

/* --- a namespace ---------------------------------------------------------------------------------------- */

static uint8_t type_of(const struct perf_ns *ns) { return ns->info.dps & 7; }

static struct pi_shape shape_of(const struct perf_ns *ns)
{
	return (struct pi_shape){ .block_size = ns->info.block_size, .md_size = ns->info.md_size, .type = type_of(ns),
	                          .at_head = ns->info.dps & NVME_DPS_FIRST };
}

bool perf_metadata_fit(const struct perf_opts *o, struct perf_ns *ns)
{
	bool acts = o->metadata.control & NVME_RW_PRACT;

	ns->wire_bytes = o->io_bytes;
	if (o->metadata.given && !type_of(ns)) {
		fprintf(stderr, "gantry-perf: -e: %s has no protection information\n", ns->name);
		return false;
	}
	if (!ns->info.md_size || (acts && ns->info.md_size == PI_BYTES))
		return true;
	ns->wire_bytes += ns->io_blocks * ns->info.md_size;
	ns->carries_md = true;
	if (!o->verify)
		return true;
	fprintf(stderr, "gantry-perf: --verify: %s has metadata within its blocks; give -e PRACT=1, if it can\n", ns->name);
	return false;
}

/* --- a command ------------------------------------------------------------------------------------------ */

static struct bdev_tags tags_at(const struct perf_ns *ns, uint64_t lba)
{
	return (struct bdev_tags){ .ref = type_of(ns) == 3 ? 0 : (uint32_t)lba, .mask = 0xffff };
}

void perf_metadata_begin(struct perf_task *t, uint64_t lba)
{
	const struct perf_ns *ns = t->flow->ns;
	const struct perf_metadata *md = &t->flow->worker->perf->opts.metadata;
	struct bdev_tags tags = tags_at(ns, lba);
	struct pi_shape s = shape_of(ns);

	t->op.cmd.rw.control = le16_of((uint16_t)(md->control & ~(type_of(ns) == 3 ? NVME_RW_PRCHK_REF : 0)));
	t->op.cmd.rw.ilbrt = le32_of(tags.ref);
	t->op.cmd.rw.lbatm = le16_of(tags.mask);
	if (!t->is_read && ns->carries_md)
		pi_generate(&s, iov_cursor_over(&t->iov, 1), NULL, ns->io_blocks, tags);
}

const char *perf_metadata_failure(const struct perf_task *t)
{
	const struct perf_ns *ns = t->flow->ns;
	uint32_t wanted = t->flow->worker->perf->opts.metadata.checks;
	struct pi_shape s = shape_of(ns);
	enum bdev_status st = BDEV_ST_OK;

	if (t->is_read && ns->carries_md && wanted)
		st = pi_verify(&s, iov_cursor_over(&t->iov, 1), NULL, ns->io_blocks, tags_at(ns, t->slot * ns->io_blocks),
		               wanted, NULL);
	return st == BDEV_ST_OK ? NULL : bdev_status_text(st);
}
