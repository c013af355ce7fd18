/* SPDX-License-Identifier: BSD-3-Clause */
/* gpt_table.h: what a GUID partition table says: a parser over bytes, without I/O. Private to the back-end.
 *
 * Layouts as in the UEFI specification's chapter on the GPT disk layout; SPDK's and Linux's readers are the witnesses.
 * Who reads a table asks, one after the other: is block 0 a protective MBR; what does the header in block 1 say,
 * and if it is damaged the one in the last block; what do the entries say that the header points to. Bytes come from
 * a disk and may be anything.
 */
#ifndef BACKENDS_GPT_GPT_TABLE_H
#define BACKENDS_GPT_GPT_TABLE_H

#include "base/base.h"
#include "base/err.h"
#include "base/uuid.h"

#define GPT_PRIMARY_LBA 1u
#define GPT_PARTS_MAX 128u              /* as many as SPDK and most tools have; a table with more entries is refused */
#define GPT_ENTRIES_BYTES_MAX 65536u    /* 128 entries of up to 512 bytes */
#define GPT_NAME_MAX 109                /* 36 units of UTF-16, each up to three bytes of UTF-8, and the end */
#define GPT_NOTE_MAX 160

/* A header that can be believed. */
struct gpt_header {
	struct uuid disk;
	uint64_t first_usable, last_usable; /* blocks */
	uint64_t entries_lba, entries_blocks;
	uint32_t entry_bytes, entry_count;
	uint32_t entries_crc;
	uint32_t block_size;
};

struct gpt_part {
	uint32_t number;                /* from 1: its place in the table */
	uint64_t first, count;          /* blocks */
	struct uuid type, id;
	char name[GPT_NAME_MAX];        /* UTF-8 */
};

struct gpt_table {
	struct uuid disk;
	uint32_t count, skipped;        /* partitions; entries that cannot be one */
	char note[GPT_NOTE_MAX];        /* why the first of those was skipped; empty: none was */
	struct gpt_part parts[GPT_PARTS_MAX];
};

/* Does block 0 say that the disk has a GUID partition table? `len` is at least 512. */
bool gpt_is_protective_mbr(const void *block, size_t len);
/* The header in block `lba` (GPT_PRIMARY_LBA or the last) of a device of `block_count` blocks. Errors: -EILSEQ with
 * what is wrong with it. */
int gpt_parse_header(const void *block, uint32_t block_size, uint64_t lba, uint64_t block_count,
                     struct gpt_header *ret_header, struct err *e) MUST_USE;
/* The entries, `h->entries_blocks` blocks of them. Entries that lie outside the usable range or overlap another one are
 * skipped, and noted. Errors: -EILSEQ when they are not those that the header was made for. */
int gpt_parse_entries(const struct gpt_header *h, const void *entries, size_t len, struct gpt_table *ret_table,
                      struct err *e) MUST_USE;

#endif
