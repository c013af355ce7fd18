/* SPDX-License-Identifier: BSD-3-Clause */
/* wire_peer.c: the second opinion: the facts of wire_peer.h by libnvme's header. Built into the tests only. */
#include "wire/wire_peer.h"

#ifdef HAVE_LIBNVME
#include <stdbool.h>

#include <nvme/types.h>

#include "wire/nvme_codes.h"

/* Spelt differently there, or not there yet (these by SPDK's nvme_spec.h). */
#define NVME_SC_CMD_ABORTED_PREEMPT NVME_SC_CMD_ABORTED_PREMEPT
#define NVME_SC_FDP_DISABLED 0x29
#define NVME_SC_INVALID_PLACEMENT_LIST 0x2a
#define NVME_SC_STREAM_RESOURCE_FAILED 0x7f
/* By QEMU's nvme.h. */
#define NVME_SC_INCOMPATIBLE_NS 0x85
#define NVME_SC_FAST_COPY_NOT_POSSIBLE 0x86
#define NVME_SC_OVERLAPPING_IO_RANGE 0x87
/* The same, by nvme-cli's source of August 2026 and its review of the Base Specification 2.3. */
#define NVME_SC_CCR_IN_PROGRESS 0x3f
#define NVME_SC_CCR_LOG_FULL 0x40
#define NVME_SC_CCR_LIMIT_EXCEEDED 0x41
#define NVME_LOG_LID_CROSS_CTRL_RESET 0x1e
#define NVME_AER_NOTICE_CCR_COMPLETED 0xf4

#define CODE_SC(value, name, text) { "SC_" #name, NVME_SC_##name },
#define CODE_CNS(value, name, text) { "CNS_" #name, NVME_IDENTIFY_CNS_##name },
#define CODE_LOG(value, name, text) { "LOG_" #name, NVME_LOG_LID_##name },
#define CODE_FEAT(value, name, text) { "FEAT_" #name, NVME_FEAT_FID_##name },
#define CODE_AER(type, info, name, log) { "AER_" #name, NVME_AER_##name },
#define CODE_REG(offset, name, bytes) { "REG_" #name, NVME_REG_##name },
#define CODE_OPCODE(ours, theirs) { #ours, theirs },
#define CODE_BITS(word, field, theirs) { #word "." #field, (unsigned)NVME_GET(PEER_WORD, theirs) },

const struct peer_fact peer_layouts[] = { PEER_FIELDS(PEER_FACT) };
const size_t peer_layout_count = sizeof(peer_layouts) / sizeof(peer_layouts[0]);
const struct peer_code peer_codes[] = {
	NVME_STATUS_GENERIC(CODE_SC)
	NVME_STATUS_CMD_SPECIFIC(CODE_SC)
	NVME_STATUS_IO_SPECIFIC(CODE_SC)
	NVME_STATUS_FABRICS_SPECIFIC(CODE_SC)
	NVME_STATUS_MEDIA(CODE_SC)
	NVME_STATUS_PATH(CODE_SC)
	NVME_IDENTIFY_CNS(CODE_CNS)
	NVME_LOG_PAGES(CODE_LOG)
	NVME_FEATURES(CODE_FEAT)
	NVME_ASYNC_EVENTS(CODE_AER)
	NVME_PROPERTIES(CODE_REG)
	PEER_BITS(CODE_BITS)
};
const size_t peer_code_count = sizeof(peer_codes) / sizeof(peer_codes[0]);
const struct peer_code peer_opcodes[] = { PEER_OPCODES(CODE_OPCODE) };
const size_t peer_opcode_count = sizeof(peer_opcodes) / sizeof(peer_opcodes[0]);

#else
const struct peer_fact peer_layouts[1];
const size_t peer_layout_count = 0;
const struct peer_code peer_codes[1];
const size_t peer_code_count = 0;
const struct peer_code peer_opcodes[1];
const size_t peer_opcode_count = 0;
#endif
