/* SPDX-License-Identifier: BSD-3-Clause */
/* iscsi.c: checking what an initiator sent, in field order, and names of iSCSI's codes. */
#include "wire/iscsi.h"

#define AT(type, member) ((uint8_t)offsetof(struct iscsi_##type, member))

enum { DATA = 1 << 0, AHS = 1 << 1 }; /* what may follow a header */
enum phase { NO_PHASE, LOGIN, FULL };

struct kind {
	const char *text;
	uint8_t may;
	enum phase phase;
};

#define KIND(opcode, name, text, may, phase) [opcode] = { text, may, phase },
static const struct kind kinds[] = { ISCSI_REQUESTS(KIND) };

static bool check_lengths(const struct kind *kind, const struct iscsi_hdr *h, const struct iscsi_receiver *r,
                          struct iscsi_fault *reterr);
static bool check_nop_out(const struct iscsi_nop_out *p, struct iscsi_fault *reterr);
static bool check_command(const struct iscsi_command *p, const struct iscsi_receiver *r, struct iscsi_fault *reterr);
static bool check_immediate(const struct iscsi_command *p, const struct iscsi_receiver *r, struct iscsi_fault *reterr);
static bool check_tmf(const struct iscsi_tmf *p, struct iscsi_fault *reterr);
static bool check_login(const struct iscsi_login_req *p, struct iscsi_fault *reterr);
static bool check_text(const struct iscsi_text_req *p, struct iscsi_fault *reterr);
static bool check_data(const struct iscsi_data_out *p, struct iscsi_fault *reterr);
static bool check_logout(const struct iscsi_logout_req *p, struct iscsi_fault *reterr);
static bool check_snack(const struct iscsi_snack *p, struct iscsi_fault *reterr);

static bool bad(struct iscsi_fault *reterr, uint8_t reason, uint8_t at, const char *what)
{
	*reterr = (struct iscsi_fault){ reason, at, what };
	return false;
}

static bool bad_field(struct iscsi_fault *reterr, uint8_t at, const char *what)
{
	return bad(reterr, ISCSI_REJECT_INVALID_FIELD, at, what);
}

static bool bad_protocol(struct iscsi_fault *reterr, uint8_t at, const char *what)
{
	return bad(reterr, ISCSI_REJECT_PROTOCOL_ERROR, at, what);
}

/* --- the header ------------------------------------------------------------------------------------------------ */

bool iscsi_check_header(const union iscsi_bhs *bhs, const struct iscsi_receiver *r, struct iscsi_fault *reterr)
{
	uint8_t opcode = iscsi_opcode(&bhs->h);
	const struct kind *kind = opcode < ARRAY_SIZE(kinds) && kinds[opcode].text ? &kinds[opcode] : NULL;

	if (!kind)
		return bad(reterr, ISCSI_REJECT_NOT_SUPPORTED, AT(hdr, opcode), "Opcode: not one that a target gets");
	if ((kind->phase == FULL) != r->full_feature)
		return bad_protocol(reterr, AT(hdr, opcode), r->full_feature ? "Opcode: a login is over" :
		                    "Opcode: not before full feature phase");

	switch ((enum iscsi_opcode)opcode) {
	case ISCSI_OP_NOP_OUT:
		return check_lengths(kind, &bhs->h, r, reterr) && check_nop_out(&bhs->nop_out, reterr);
	case ISCSI_OP_COMMAND:
		return check_command(&bhs->command, r, reterr);
	case ISCSI_OP_TMF:
		return check_lengths(kind, &bhs->h, r, reterr) && check_tmf(&bhs->tmf, reterr);
	case ISCSI_OP_LOGIN:
		return check_login(&bhs->login, reterr) && check_lengths(kind, &bhs->h, r, reterr);
	case ISCSI_OP_TEXT:
		return check_text(&bhs->text, reterr) && check_lengths(kind, &bhs->h, r, reterr);
	case ISCSI_OP_DATA_OUT:
		return check_lengths(kind, &bhs->h, r, reterr) && check_data(&bhs->data_out, reterr);
	case ISCSI_OP_LOGOUT:
		return check_logout(&bhs->logout, reterr) && check_lengths(kind, &bhs->h, r, reterr);
	case ISCSI_OP_SNACK:
		return check_snack(&bhs->snack, reterr) && check_lengths(kind, &bhs->h, r, reterr);
	default:
		return bad(reterr, ISCSI_REJECT_NOT_SUPPORTED, AT(hdr, opcode), "Opcode: not one that a target gets");
	}
}

static bool check_lengths(const struct kind *kind, const struct iscsi_hdr *h, const struct iscsi_receiver *r,
                          struct iscsi_fault *reterr)
{
	if (h->ahs_words > 0 && !(kind->may & AHS))
		return bad_field(reterr, AT(hdr, ahs_words), "TotalAHSLength: this PDU has no additional headers");
	if (iscsi_data_len(h) > 0 && !(kind->may & DATA))
		return bad_field(reterr, AT(hdr, data_len), "DataSegmentLength: this PDU has no data");
	if (iscsi_data_len(h) > r->data_max)
		return bad_protocol(reterr, AT(hdr, data_len), "DataSegmentLength: above MaxRecvDataSegmentLength");
	return true;
}

static bool check_tag(be32 itt, struct iscsi_fault *reterr)
{
	if (be32_get(itt) == ISCSI_TAG_NONE)
		return bad_field(reterr, AT(hdr, itt), "Initiator Task Tag: ffffffff is reserved");
	return true;
}

/* Without a tag nobody waits for an answer, and a CmdSN would be used up unseen: it has to be immediate. */
static bool check_nop_out(const struct iscsi_nop_out *p, struct iscsi_fault *reterr)
{
	if (be32_get(p->itt) == ISCSI_TAG_NONE && !(p->opcode & ISCSI_IMMEDIATE))
		return bad_protocol(reterr, AT(nop_out, opcode), "I: a NOP-Out without Initiator Task Tag is immediate");
	return true;
}

static bool check_command(const struct iscsi_command *p, const struct iscsi_receiver *r, struct iscsi_fault *reterr)
{
	bool final = p->flags & ISCSI_FINAL, writes = p->flags & ISCSI_WRITE;

	if (!final && !writes)
		return bad_field(reterr, AT(command, flags), "F: a command without data to come is final");
	if (!final && r->initial_r2t)
		return bad_protocol(reterr, AT(command, flags), "F: InitialR2T forbids unsolicited Data-Out");
	if ((p->flags & ISCSI_ATTR_MASK) > ISCSI_ATTR_ACA)
		return bad_field(reterr, AT(command, flags), "ATTR: reserved");
	if (!check_lengths(&kinds[ISCSI_OP_COMMAND], (const struct iscsi_hdr *)p, r, reterr))
		return false;
	if (be24_get(p->data_len) > 0 && !check_immediate(p, r, reterr))
		return false;
	if (!check_tag(p->itt, reterr))
		return false;
	if (be32_get(p->expected_len) > 0 && !(p->flags & (ISCSI_READ | ISCSI_WRITE)))
		return bad_field(reterr, AT(command, expected_len),
		                 "Expected Data Transfer Length: neither read nor written");
	return true;
}

static bool check_immediate(const struct iscsi_command *p, const struct iscsi_receiver *r, struct iscsi_fault *reterr)
{
	uint32_t len = be24_get(p->data_len);

	if (!r->immediate_data)
		return bad_protocol(reterr, AT(command, data_len), "DataSegmentLength: ImmediateData is No");
	if (!(p->flags & ISCSI_WRITE))
		return bad_protocol(reterr, AT(command, data_len), "DataSegmentLength: data of a command that does not write");
	if (len > r->first_burst)
		return bad_protocol(reterr, AT(command, data_len), "DataSegmentLength: above FirstBurstLength");
	if (len > be32_get(p->expected_len))
		return bad_protocol(reterr, AT(command, data_len),
		                    "DataSegmentLength: above Expected Data Transfer Length");
	return true;
}

/* Functions nobody knows are answered, not rejected. */
static bool check_tmf(const struct iscsi_tmf *p, struct iscsi_fault *reterr)
{
	return check_tag(p->itt, reterr);
}

static bool check_login(const struct iscsi_login_req *p, struct iscsi_fault *reterr)
{
	uint8_t csg = iscsi_csg(p->flags), nsg = iscsi_nsg(p->flags);

	if ((p->flags & ISCSI_TRANSIT) && (p->flags & ISCSI_CONTINUE))
		return bad_field(reterr, AT(login_req, flags), "T and C: text that continues cannot end a stage");
	if (csg != ISCSI_STAGE_SECURITY && csg != ISCSI_STAGE_OPERATIONAL)
		return bad_field(reterr, AT(login_req, flags), "CSG: not a stage of login");
	if ((p->flags & ISCSI_TRANSIT) && (nsg == 2 || nsg <= csg))
		return bad_field(reterr, AT(login_req, flags), "NSG: not a stage that can follow");
	return true;
}

static bool check_text(const struct iscsi_text_req *p, struct iscsi_fault *reterr)
{
	if ((p->flags & ISCSI_FINAL) && (p->flags & ISCSI_CONTINUE))
		return bad_protocol(reterr, AT(text_req, flags), "F and C: text that continues is not final");
	return check_tag(p->itt, reterr);
}

/* A stream of empty PDUs would keep a transfer waiting for ever: Linux refuses them too. */
static bool check_data(const struct iscsi_data_out *p, struct iscsi_fault *reterr)
{
	if (be24_get(p->data_len) == 0)
		return bad_protocol(reterr, AT(data_out, data_len), "DataSegmentLength: a Data-Out without data");
	return check_tag(p->itt, reterr);
}

static bool check_logout(const struct iscsi_logout_req *p, struct iscsi_fault *reterr)
{
	if ((p->reason & ISCSI_FUNCTION_MASK) > ISCSI_LOGOUT_RECOVERY)
		return bad_field(reterr, AT(logout_req, reason), "Reason Code: reserved");
	return check_tag(p->itt, reterr);
}

/* Only sessions of ErrorRecoveryLevel 1 and 2 have it. */
static bool check_snack(const struct iscsi_snack *p, struct iscsi_fault *reterr)
{
	return bad_protocol(reterr, AT(snack, opcode), "Opcode: SNACK with ErrorRecoveryLevel 0");
}

/* --- additional headers ---------------------------------------------------------------------------------------- */

/* A header's len counts what follows its type, at least the one specific byte. */
bool iscsi_check_ahs(const uint8_t *ahs, uint32_t len, struct iscsi_command_ahs *ret, struct iscsi_fault *reterr)
{
	struct iscsi_command_ahs found = { 0 };

	for (uint32_t at = 0; at < len;) {
		const struct iscsi_ahs *h = (const struct iscsi_ahs *)(ahs + at);
		uint32_t body, size;

		assert(len % 4 == 0);
		body = be16_get(h->len);
		size = (uint32_t)align_up(offsetof(struct iscsi_ahs, specific) + body, 4);
		if (body < 1 || size > len - at)
			return bad_field(reterr, (uint8_t)min_u32(at, UINT8_MAX), "AHSLength: not within the PDU");
		if (h->type == ISCSI_AHS_EXTENDED_CDB && !found.cdb_rest) {
			found.cdb_rest = ahs + at + sizeof(*h);
			found.cdb_rest_len = body - 1;
		} else if (h->type == ISCSI_AHS_BIDI_READ_LEN && !found.has_read_len && body == 5) {
			be32 read_len;

			memcpy(&read_len, ahs + at + sizeof(*h), sizeof(read_len));
			found.has_read_len = true;
			found.read_len = be32_get(read_len);
		} else {
			return bad_field(reterr, (uint8_t)min_u32(at + 2, UINT8_MAX), "AHSType: unknown, or a second one");
		}
		at += size;
	}
	*ret = found;
	return true;
}

/* --- data ------------------------------------------------------------------------------------------------------ */

/* LUN and tags first, in field order. LUN is the R2T's when the tag is: RFC 7143 11.7.4 has it reserved otherwise. */
bool iscsi_check_data_out(const struct iscsi_data_out *p, const struct iscsi_transfer *t, struct iscsi_fault *reterr)
{
	uint32_t offset = be32_get(p->offset), len = be24_get(p->data_len);
	bool final = p->flags & ISCSI_FINAL;

	assert(t->next <= t->end);
	if (be32_get(p->ttt) != t->ttt)
		return bad_field(reterr, AT(data_out, ttt), "Target Transfer Tag: not of this task");
	if (t->ttt != ISCSI_TAG_NONE && be64_get(p->lun) != t->lun)
		return bad_field(reterr, AT(data_out, lun), "LUN: not the task's");
	if (be32_get(p->data_sn) != t->data_sn)
		return bad_protocol(reterr, AT(data_out, data_sn), "DataSN: not the next one");
	if (offset != t->next)
		return bad_protocol(reterr, AT(data_out, offset), "Buffer Offset: not the next byte");
	if (len > t->end - offset)
		return bad_protocol(reterr, AT(data_out, data_len), "DataSegmentLength: beyond what was asked for");
	if (final && offset + len != t->end && !t->may_end_early)
		return bad_protocol(reterr, AT(data_out, flags), "F: data of this R2T is missing");
	if (!final && offset + len == t->end)
		return bad_protocol(reterr, AT(data_out, flags), "F: the last data of a sequence is final");
	return true;
}

/* --- names ----------------------------------------------------------------------------------------------------- */

#define CASE_REQUEST(opcode, name, text, may, phase) case opcode: return text;
#define CASE_ANSWER(opcode, name, text) case opcode: return text;
#define CASE(code, name, text) case code: return text;

const char *iscsi_opcode_text(uint8_t opcode)
{
	switch (opcode & ISCSI_OPCODE_MASK) { ISCSI_REQUESTS(CASE_REQUEST) ISCSI_ANSWERS(CASE_ANSWER) }
	return "reserved";
}

const char *iscsi_reject_text(uint8_t reason)
{
	switch (reason) { ISCSI_REJECTS(CASE) }
	return "reserved";
}

const char *iscsi_login_status_text(uint16_t status)
{
	switch (status) { ISCSI_LOGIN_STATUSES(CASE) }
	return "reserved";
}

const char *iscsi_tmf_text(uint8_t function)
{
	switch (function & ISCSI_FUNCTION_MASK) { ISCSI_TMFS(CASE) }
	return "reserved";
}

const char *iscsi_tmf_response_text(uint8_t response)
{
	switch (response) { ISCSI_TMF_RESPONSES(CASE) }
	return "reserved";
}
