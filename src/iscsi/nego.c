/* SPDX-License-Identifier: BSD-3-Clause */
/* nego.c: text requests in full feature phase: SendTargets, MaxRecvDataSegmentLength, and what else a host may ask.
 *
 * A negotiation begins with a request without transfer tag, and goes on, with the tag that we gave, until both sides
 * say F. One at a time: another beginning takes its place (RFC 7143 11.10.4: a request without tag resets what was).
 */
#include "iscsi/keys.h"
#include "iscsi/login.h"

static bool belongs(struct iscsi_text_nego *n, const struct iscsi_text_req *bhs);
static enum iscsi_text_step work(struct iscsi_text_nego *n);
static bool work_key(struct iscsi_text_nego *n, const struct iscsi_text_pair *pair, bool *ret_targets);
static bool ask_targets(struct iscsi_text_nego *n, const char *which);
static enum iscsi_text_step answer(struct iscsi_text_nego *n);
static enum iscsi_text_step reject(struct iscsi_text_nego *n, uint8_t reason);

enum iscsi_text_step iscsi_text_pdu(struct iscsi_text_nego *n, const struct iscsi_text_req *bhs, const uint8_t *data,
                                    uint32_t len)
{
	if (n->waits) /* for its targets: the host does not wait for the answer */
		return reject(n, ISCSI_REJECT_PROTOCOL_ERROR);
	if (be32_get(bhs->ttt) == ISCSI_TAG_NONE) {
		iscsi_text_end(n);
		n->going = true;
		n->itt = be32_get(bhs->itt);
		n->lun = be64_get(bhs->lun);
		if (++n->ttt == ISCSI_TAG_NONE)
			n->ttt = 0;
	} else if (!belongs(n, bhs)) {
		return reject(n, ISCSI_REJECT_INVALID_FIELD);
	}
	n->flags = bhs->flags;
	if (iscsi_text_left(&n->out) > 0) /* an empty request fetches the next piece */
		return len > 0 ? reject(n, ISCSI_REJECT_PROTOCOL_ERROR) : answer(n);
	iscsi_text_forget_out(&n->out);
	if (!iscsi_text_gather(&n->in, data, len))
		return reject(n, ISCSI_REJECT_LONG_OPERATION);
	return n->flags & ISCSI_CONTINUE ? answer(n) : work(n);
}

static bool belongs(struct iscsi_text_nego *n, const struct iscsi_text_req *bhs)
{
	return n->going && be32_get(bhs->ttt) == n->ttt && be32_get(bhs->itt) == n->itt;
}

/* --- its keys -------------------------------------------------------------------------------------------------- */

static enum iscsi_text_step work(struct iscsi_text_nego *n)
{
	struct iscsi_text_pair pair;
	enum iscsi_text_event event;
	bool targets = false, good = true;
	uint32_t at = 0;

	while (good && (event = iscsi_text_next(&n->in, &at, &pair)) != ISCSI_TEXT_END)
		good = event == ISCSI_TEXT_PAIR && work_key(n, &pair, &targets);
	iscsi_text_forget(&n->in);
	if (!good)
		return reject(n, ISCSI_REJECT_PROTOCOL_ERROR);
	if (targets) {
		n->waits = true;
		return ISCSI_TEXT_TARGETS;
	}
	return answer(n);
}

static bool work_key(struct iscsi_text_nego *n, const struct iscsi_text_pair *pair, bool *ret_targets)
{
	struct iscsi_params ours = { 0 };
	struct iscsi_deal d = { .params = n->params, .ours = &ours, .discovery = n->discovery };
	enum iscsi_key key = iscsi_key_find(pair->key);

	if (key == ISCSI_KEY_COUNT) {
		if (!iscsi_value_is_refusal(pair->value))
			iscsi_text_put(&n->out, pair->key, "NotUnderstood");
		return true;
	}
	if (iscsi_key_may(key, KEY_STAGE_FULL) != KEY_FINE)
		return iscsi_key_may(key, KEY_STAGE_FULL) == KEY_WRONG_SENDER && iscsi_value_is_refusal(pair->value);
	if (n->seen & ISCSI_KEY_BIT(key))
		return false;
	n->seen |= ISCSI_KEY_BIT(key);
	if (key == ISCSI_KEY_SEND_TARGETS)
		*ret_targets = ask_targets(n, pair->value);
	else if (key == ISCSI_KEY_MAX_RECV)
		iscsi_key_apply(&d, key, pair->value, &n->out);
	return true;
}

/* "All" is for discovery; nothing, which means the session's own target, for normal sessions. */
static bool ask_targets(struct iscsi_text_nego *n, const char *which)
{
	bool all = !strcmp(which, "All");

	if (all ? !n->discovery : !*which ? n->discovery : !iscsi_value_is_name(which)) {
		iscsi_text_put(&n->out, "SendTargets", "Reject");
		return false;
	}
	memcpy(n->targets, which, strlen(which) + 1);
	return true;
}

void iscsi_text_add(struct iscsi_text_nego *n, const char *key, const char *value)
{
	assert(n->waits);
	iscsi_text_put(&n->out, key, "%s", value);
}

void iscsi_text_targets_done(struct iscsi_text_nego *n)
{
	assert(n->waits);
	n->waits = false;
	answer(n);
}

/* --- answers --------------------------------------------------------------------------------------------------- */

/* Final when all is said and the initiator said F; otherwise it comes again, with our tag. */
static enum iscsi_text_step answer(struct iscsi_text_nego *n)
{
	uint8_t flags = 0;

	n->answer.data = iscsi_text_take(&n->out, n->params->max_send, &n->answer.len);
	if (iscsi_text_left(&n->out) > 0)
		flags = ISCSI_CONTINUE;
	else if (n->flags & ISCSI_FINAL)
		flags = ISCSI_FINAL;
	n->answer.bhs = (struct iscsi_text_rsp){
		.opcode = ISCSI_OP_TEXT_RSP, .flags = flags, .data_len = be24_of(n->answer.len), .lun = be64_of(n->lun),
		.itt = be32_of(n->itt), .ttt = be32_of(flags == ISCSI_FINAL ? ISCSI_TAG_NONE : n->ttt),
	};
	if (flags == ISCSI_FINAL)
		n->going = false;
	return ISCSI_TEXT_ANSWER;
}

static enum iscsi_text_step reject(struct iscsi_text_nego *n, uint8_t reason)
{
	iscsi_text_end(n);
	n->reject = reason;
	return ISCSI_TEXT_REJECT;
}

void iscsi_text_end(struct iscsi_text_nego *n)
{
	iscsi_text_forget(&n->in);
	iscsi_text_forget_out(&n->out);
	n->going = n->waits = false;
	n->seen = 0;
}
