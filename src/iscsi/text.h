/* SPDX-License-Identifier: BSD-3-Clause */
/* text.h: the text of login and text PDUs: key=value pairs, each ended by a NUL.
 *
 * A negotiation's text may be cut between PDUs at any byte (C bit). What came is gathered whole, bounded, and read pair
 * by pair afterwards; what goes out is built whole and given out in pieces. Memory is the control path's.
 */
#ifndef ISCSI_TEXT_H
#define ISCSI_TEXT_H

#include "base/base.h"

#define ISCSI_TEXT_IN_MAX (16 * KIB)     /* of one negotiation step; RFC 7143: at least 8192 */
#define ISCSI_TEXT_OUT_MAX (16 * MIB)    /* answers to SendTargets */
#define ISCSI_KEY_MAX 63u
#define ISCSI_BINARY_MAX 1024u           /* bytes of a binary value */

/* --- what came in ---------------------------------------------------------------------------------------------- */

struct iscsi_text_in {
	char *bytes;                     /* NULL: nothing gathered */
	uint32_t len, cap;
};
struct iscsi_text_pair {
	const char *key, *value;         /* NUL terminated, in the gathered bytes */
};
enum iscsi_text_event { ISCSI_TEXT_PAIR, ISCSI_TEXT_END, ISCSI_TEXT_BAD };

/* Append a PDU's data. False: more than ISCSI_TEXT_IN_MAX in all. */
bool iscsi_text_gather(struct iscsi_text_in *in, const void *data, uint32_t len) MUST_USE;
/* The next pair; *at begins with 0. BAD: no key, a key that is none, a pair without NUL. The pairs are cut apart where
 * they lie: each text is walked through once. */
enum iscsi_text_event iscsi_text_next(struct iscsi_text_in *in, uint32_t *at,
                                      struct iscsi_text_pair *ret) MUST_USE;
/* Wiped: secrets may have been in it. */
void iscsi_text_forget(struct iscsi_text_in *in);

/* --- values ---------------------------------------------------------------------------------------------------- */

/* Decimal without leading zeros, or 0x hexadecimal; the whole string. */
bool iscsi_value_number(const char *s, uint64_t *ret) MUST_USE;
/* "512~8192"; from <= to. */
bool iscsi_value_range(const char *s, uint64_t *ret_from, uint64_t *ret_to) MUST_USE;
bool iscsi_value_bool(const char *s, bool *ret) MUST_USE;
/* 0x hexadecimal or 0b base64. False: neither, or longer than `cap`. */
bool iscsi_value_binary(const char *s, uint8_t *buf, uint32_t cap, uint32_t *ret_len) MUST_USE;
/* The items of a list, split by commas: *at begins with the list; NULL at the end. An item is `*ret_len` bytes. */
const char *iscsi_value_item(const char **at, uint32_t *ret_len);
/* Is `word` one of the list's items? */
bool iscsi_value_list_has(const char *list, const char *word);
/* An iSCSI name: 1 to 223 bytes of UTF-8 without blanks, commas, control characters. */
bool iscsi_value_is_name(const char *s);

/* --- what goes out --------------------------------------------------------------------------------------------- */

struct iscsi_text_out {
	char *bytes;                     /* NULL: nothing */
	uint32_t len, cap, sent;         /* sent: given out by iscsi_text_take() */
	bool cut;                        /* there would be more than ISCSI_TEXT_OUT_MAX */
};

void iscsi_text_put(struct iscsi_text_out *out, const char *key, const char *fmt, ...) PRINTF(3, 4);
void iscsi_text_put_number(struct iscsi_text_out *out, const char *key, uint64_t value);
/* As 0x hexadecimal. */
void iscsi_text_put_binary(struct iscsi_text_out *out, const char *key, const uint8_t *bytes, uint32_t len);
static inline uint32_t iscsi_text_left(const struct iscsi_text_out *out) { return out->len - out->sent; }
/* The next piece, at most `max` bytes; stays until the next put or forget. */
const uint8_t *iscsi_text_take(struct iscsi_text_out *out, uint32_t max, uint32_t *ret_len);
void iscsi_text_forget_out(struct iscsi_text_out *out);

#endif
