/* SPDX-License-Identifier: BSD-3-Clause */
/* mode.h: mode parameters of a logical unit as pages (private to scsi).
 *
 * Pure: bytes in, bytes out. What can be changed is struct scsi_lu_state's; who changes it when is mode_cmd.c's.
 * Nothing is saved: there is no place for it that outlives the daemon.
 */
#ifndef SCSI_MODE_H
#define SCSI_MODE_H

#include "scsi/scsi_priv.h"

/* What is so, whatever hosts say. */
struct scsi_mode_facts {
	bool volatile_cache;   /* the device has one: WCE can be changed */
	bool read_only;
	uint32_t block_size;
	uint64_t blocks;
};

#define SCSI_MODE_PAGES_MAX 128u   /* all of them, with subpages */
#define SCSI_MODE_LIST_MAX 256u    /* of MODE SELECT; a longer one is refused */

void scsi_mode_facts(const struct bdev_view *v, struct scsi_mode_facts *ret);
/* What a logical unit begins with, and has again after a reset. */
void scsi_mode_defaults(const struct scsi_mode_facts *f, struct scsi_lu_state *ret_m);

/* The pages that a MODE SENSE CDB names, in ascending order; pc: enum scsi_page_control but SAVED. Returns their
 * length; 0: there is no such page, *reterr_subpage: it is the subpage that there is not. */
uint32_t scsi_mode_pages(const struct scsi_mode_facts *f, const struct scsi_lu_state *m, uint8_t pc, uint8_t code,
                         uint8_t subpage, uint8_t ret_pages[static SCSI_MODE_PAGES_MAX], bool *reterr_subpage);

/* A whole parameter list for MODE SENSE; ten: of ten bytes. Returns its length. */
struct scsi_mode_ask {
	bool ten, dbd, llbaa;
	uint8_t pc, code, subpage;
};
uint32_t scsi_mode_list(const struct scsi_mode_facts *f, const struct scsi_lu_state *m, const struct scsi_mode_ask *ask,
                        uint8_t ret_list[static SCSI_MODE_LIST_MAX], bool *reterr_subpage);

enum scsi_mode_error { SCSI_MODE_OK, SCSI_MODE_BAD_LENGTH, SCSI_MODE_BAD_FIELD };
/* A parameter list of MODE SELECT: what it would make of *m. On BAD_FIELD: the byte in the list, and the highest bit
 * that is wrong. */
enum scsi_mode_error scsi_mode_take(const struct scsi_mode_facts *f, bool ten, const uint8_t *list, uint32_t len,
                                    struct scsi_lu_state *m, uint16_t *reterr_byte, uint8_t *reterr_bit);

#endif
