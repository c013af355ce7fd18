/* SPDX-License-Identifier: BSD-3-Clause */
/* login.c: the login phase of a target: RFC 7143 section 6, PDU by PDU.
 *
 * A request's way: is it a Login Request, in its place (check_request); its text is gathered until it is whole (C bit);
 * its keys are sorted out (read_keys) and then worked on in the order in which they matter: names, authentication,
 * parameters. The answer carries what came of it, in pieces if need be, and the transition when both sides are ready.
 */
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>

#include "iscsi/chap.h"
#include "iscsi/keys.h"

#define LOGIN_STATES(X) \
	X(LOGIN, FIRST,       "no request has come", \
	  TO(LOGIN, SECURITY) | TO(LOGIN, OPERATIONAL) | TO(LOGIN, ENDED)) \
	X(LOGIN, SECURITY,    "who is it", \
	  TO(LOGIN, OPERATIONAL) | TO(LOGIN, AGREED) | TO(LOGIN, ENDED)) \
	X(LOGIN, OPERATIONAL, "what are the parameters", \
	  TO(LOGIN, AGREED) | TO(LOGIN, ENDED)) \
	X(LOGIN, AGREED,      "the last answer is ready, and waits for the session to be admitted", \
	  TO(LOGIN, ENDED)) \
	X(LOGIN, ENDED,       "no more requests", \
	  TO(LOGIN, ENDED))
enum login_state { LOGIN_STATES(MACHINE_ENUM) LOGIN_STATE_COUNT };
static const struct machine_state login_states[] = { LOGIN_STATES(MACHINE_ROW) };

enum auth_method { METHOD_OPEN /* not agreed yet */, METHOD_NONE, METHOD_CHAP };

#define LOGIN_PAIRS_MAX 64u

/* What a step's text says, sorted. */
struct said {
	const char *text[ISCSI_KEY_COUNT];       /* values of TEXT and AUTH keys; NULL: not said */
	struct { enum iscsi_key key; const char *value; } deals[LOGIN_PAIRS_MAX];
	uint32_t deal_count;
};

static uint16_t check_request(struct iscsi_login *l, const union iscsi_bhs *bhs, uint32_t len);
static void begin(struct iscsi_login *l, const struct iscsi_login_req *req);
static uint16_t read_keys(struct iscsi_login *l, struct said *said);
static uint16_t learn_names(struct iscsi_login *l, const struct said *said);
static uint16_t admit(struct iscsi_login *l);
static uint16_t authenticate(struct iscsi_login *l, const struct said *said);
static uint16_t choose_method(struct iscsi_login *l, const char *list);
static void negotiate(struct iscsi_login *l, const struct said *said);
static uint16_t may_leave(struct iscsi_login *l, bool *ret_may);
static enum iscsi_login_step go_on(struct iscsi_login *l, uint32_t len);
static enum iscsi_login_step answer(struct iscsi_login *l, bool may);
static enum iscsi_login_step refuse(struct iscsi_login *l, uint16_t status);
static void fill_answer(struct iscsi_login *l, uint8_t flags);

static void PRINTF(2, 3) say_why(struct iscsi_login *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(l->why, sizeof(l->why), fmt, ap);
	va_end(ap);
}

#define WRONG(l, status, ...) (say_why(l, __VA_ARGS__), (uint16_t)ISCSI_LOGIN_##status)

static enum iscsi_stage stage_of(const struct iscsi_login *l)
{
	return l->machine.state == LOGIN_OPERATIONAL ? ISCSI_STAGE_OPERATIONAL : ISCSI_STAGE_SECURITY;
}

/* Digests and MaxRecvDataSegmentLength come into force after login; a smaller one holds at once. */
static uint32_t piece_max(const struct iscsi_login *l)
{
	return min_u32(ISCSI_SEGMENT_DEFAULT, l->params.max_send);
}

static struct iscsi_deal deal_of(struct iscsi_login *l)
{
	return (struct iscsi_deal){
		.params = &l->params, .ours = &l->ours, .discovery = l->session_type == ISCSI_DISCOVERY,
		.need_header_digest = l->need_header_digest, .need_data_digest = l->need_data_digest, .offered = l->offered,
	};
}

/* --- entry points ---------------------------------------------------------------------------------------------- */

void iscsi_login_init(struct iscsi_login *l)
{
	struct iscsi_login fresh = { .ops = l->ops, .arg = l->arg, .ours = l->ours, .window = l->window };

	assert(l->ops);
	assert(l->window > 0);
	*l = fresh;
	l->machine = (struct machine){ .states = login_states, .name = "login", .state = LOGIN_FIRST };
	l->params = ISCSI_PARAMS_DEFAULT;
	l->params.max_recv = l->ours.max_recv;
	l->chap_algorithms = ISCSI_CHAP_ALL;
	l->stat_sn = 1;
}

enum iscsi_login_step iscsi_login_pdu(struct iscsi_login *l, const union iscsi_bhs *bhs, const uint8_t *data,
                                      uint32_t len)
{
	struct said said = { 0 };
	uint16_t status;
	bool may = false;

	assert(l->machine.state == LOGIN_FIRST || l->machine.state == LOGIN_SECURITY ||
	       l->machine.state == LOGIN_OPERATIONAL);
	if (l->machine.state == LOGIN_FIRST && iscsi_opcode(&bhs->h) != ISCSI_OP_LOGIN) {
		say_why(l, "the connection does not begin with a Login Request but with %s", iscsi_opcode_text(bhs->h.opcode));
		machine_goto(&l->machine, LOGIN_ENDED);
		return ISCSI_LOGIN_CLOSE;
	}
	status = check_request(l, bhs, len);
	if (status != ISCSI_LOGIN_SUCCESS)
		return refuse(l, status);
	l->flags = bhs->login.flags;
	if (iscsi_text_left(&l->out) > 0)
		return go_on(l, len);
	iscsi_text_forget_out(&l->out);
	if (!iscsi_text_gather(&l->in, data, len))
		return refuse(l, WRONG(l, INITIATOR_ERROR, "more than %llu bytes of text", ISCSI_TEXT_IN_MAX));
	if (l->flags & ISCSI_CONTINUE)
		return answer(l, false);

	status = read_keys(l, &said);
	if (status == ISCSI_LOGIN_SUCCESS)
		status = learn_names(l, &said);
	if (status == ISCSI_LOGIN_SUCCESS)
		status = authenticate(l, &said);
	if (status == ISCSI_LOGIN_SUCCESS) {
		negotiate(l, &said);
		status = may_leave(l, &may);
	}
	iscsi_text_forget(&l->in);
	return status == ISCSI_LOGIN_SUCCESS ? answer(l, may) : refuse(l, status);
}

/* An empty request fetches the next piece of an answer. */
static enum iscsi_login_step go_on(struct iscsi_login *l, uint32_t len)
{
	bool may = false;
	uint16_t status = ISCSI_LOGIN_SUCCESS;

	if (len > 0 || (l->flags & ISCSI_CONTINUE))
		status = WRONG(l, INITIATOR_ERROR, "text came while the answer was not all sent");
	else if (iscsi_text_left(&l->out) <= piece_max(l))
		status = may_leave(l, &may);
	return status == ISCSI_LOGIN_SUCCESS ? answer(l, may) : refuse(l, status);
}

void iscsi_login_accept(struct iscsi_login *l, uint16_t tsih)
{
	assert(l->machine.state == LOGIN_AGREED);
	assert(tsih != 0);
	l->tsih = tsih;
	l->answer.bhs.tsih = be16_of(tsih);
	l->answer.bhs.max_cmd_sn = be32_of(l->exp_cmd_sn + l->window - 1);
}

void iscsi_login_refuse(struct iscsi_login *l, uint16_t status, const char *why)
{
	assert(status != ISCSI_LOGIN_SUCCESS);
	say_why(l, "%s", why);
	refuse(l, status);
}

void iscsi_login_fini(struct iscsi_login *l)
{
	iscsi_text_forget(&l->in);
	iscsi_text_forget_out(&l->out);
	OPENSSL_cleanse(l->chap.challenge, sizeof(l->chap.challenge));
	l->answer.data = NULL;
	l->answer.len = 0;
}

/* --- is it a request in its place ------------------------------------------------------------------------------ */

static uint16_t check_request(struct iscsi_login *l, const union iscsi_bhs *bhs, uint32_t len)
{
	static const struct iscsi_receiver as = { .data_max = ISCSI_SEGMENT_DEFAULT };
	const struct iscsi_login_req *req = &bhs->login;
	struct iscsi_fault fault;

	if (iscsi_opcode(&bhs->h) != ISCSI_OP_LOGIN)
		return WRONG(l, INVALID_REQUEST, "%s during login", iscsi_opcode_text(bhs->h.opcode));
	if (l->machine.state == LOGIN_FIRST)
		begin(l, req);
	if (!iscsi_check_header(bhs, &as, &fault))
		return WRONG(l, INITIATOR_ERROR, "%s", fault.what);
	assert(len == iscsi_data_len(&bhs->h));
	if (req->version_min > ISCSI_VERSION)
		return WRONG(l, BAD_VERSION, "the initiator's lowest version is %u, ours is 0", req->version_min);
	if (++l->pdus > ISCSI_LOGIN_PDUS_MAX)
		return WRONG(l, INITIATOR_ERROR, "more than %u requests, and no end", ISCSI_LOGIN_PDUS_MAX);
	if (be32_get(req->itt) != l->itt)
		return WRONG(l, INITIATOR_ERROR, "the Initiator Task Tag changed during login");
	if (memcmp(req->isid, l->isid, sizeof(l->isid)) || be16_get(req->tsih) != l->tsih)
		return WRONG(l, INITIATOR_ERROR, "ISID or TSIH changed during login");
	if (be16_get(req->cid) != l->cid)
		return WRONG(l, INITIATOR_ERROR, "the CID changed during login");
	if (iscsi_csg(req->flags) != stage_of(l))
		return WRONG(l, INITIATOR_ERROR, "CSG is not the stage that the login is in");
	return ISCSI_LOGIN_SUCCESS;
}

/* The first request says who speaks, and where its commands begin: a login uses up no CmdSN. */
static void begin(struct iscsi_login *l, const struct iscsi_login_req *req)
{
	memcpy(l->isid, req->isid, sizeof(l->isid));
	l->tsih = be16_get(req->tsih);
	l->cid = be16_get(req->cid);
	l->itt = be32_get(req->itt);
	l->exp_cmd_sn = be32_get(req->cmd_sn);
	l->flags = req->flags;
	machine_goto(&l->machine, iscsi_csg(req->flags) == ISCSI_STAGE_OPERATIONAL ? LOGIN_OPERATIONAL : LOGIN_SECURITY);
}

/* --- its text -------------------------------------------------------------------------------------------------- */

static uint16_t read_key(struct iscsi_login *l, struct said *said, const struct iscsi_text_pair *pair, uint8_t stage)
{
	enum iscsi_key key = iscsi_key_find(pair->key);

	if (key == ISCSI_KEY_COUNT) {
		if (!iscsi_value_is_refusal(pair->value))
			iscsi_text_put(&l->out, pair->key, "NotUnderstood");
		return ISCSI_LOGIN_SUCCESS;
	}
	switch (iscsi_key_may(key, stage)) {
	case KEY_WRONG_SENDER: /* unless it is what an initiator says to our own */
		return iscsi_value_is_refusal(pair->value) ? ISCSI_LOGIN_SUCCESS :
		       WRONG(l, INITIATOR_ERROR, "%s is a target's to say", pair->key);
	case KEY_WRONG_STAGE:
		return WRONG(l, INITIATOR_ERROR, "%s does not belong to this stage", pair->key);
	case KEY_FINE:
		break;
	}
	if (l->seen & ISCSI_KEY_BIT(key))
		return WRONG(l, INITIATOR_ERROR, "%s came twice", pair->key);
	l->seen |= ISCSI_KEY_BIT(key);
	if (iscsi_key_kind(key) == KEY_TEXT || iscsi_key_kind(key) == KEY_AUTH) {
		said->text[key] = pair->value;
		return ISCSI_LOGIN_SUCCESS;
	}
	assert(said->deal_count < LOGIN_PAIRS_MAX); /* each key comes once */
	said->deals[said->deal_count].key = key;
	said->deals[said->deal_count++].value = pair->value;
	return ISCSI_LOGIN_SUCCESS;
}

static uint16_t read_keys(struct iscsi_login *l, struct said *said)
{
	uint8_t stage = stage_of(l) == ISCSI_STAGE_OPERATIONAL ? KEY_STAGE_OPERATIONAL : KEY_STAGE_SECURITY;
	struct iscsi_text_pair pair;
	enum iscsi_text_event event;
	uint32_t at = 0;
	uint16_t status;

	_Static_assert(ISCSI_KEY_COUNT <= LOGIN_PAIRS_MAX, "all keys fit into a step");
	while ((event = iscsi_text_next(&l->in, &at, &pair)) == ISCSI_TEXT_PAIR) {
		status = read_key(l, said, &pair, stage);
		if (status != ISCSI_LOGIN_SUCCESS)
			return status;
	}
	return event == ISCSI_TEXT_END ? ISCSI_LOGIN_SUCCESS :
	       WRONG(l, INITIATOR_ERROR, "the text at byte %u is no key=value pair ended by a NUL", at);
}

/* --- names ----------------------------------------------------------------------------------------------------- */

static uint16_t learn_name(struct iscsi_login *l, const char *value, const char *key, char *ret)
{
	if (!iscsi_value_is_name(value))
		return WRONG(l, INITIATOR_ERROR, "%s is no iSCSI name", key);
	memcpy(ret, value, strlen(value) + 1);
	return ISCSI_LOGIN_SUCCESS;
}

/* Names come with the first request; later they could only say something else. */
static uint16_t learn_names(struct iscsi_login *l, const struct said *said)
{
	const char *initiator = said->text[ISCSI_KEY_INITIATOR_NAME], *target = said->text[ISCSI_KEY_TARGET_NAME];
	const char *type = said->text[ISCSI_KEY_SESSION_TYPE];
	uint16_t status;

	if (l->named)
		return initiator || target || type ?
		       WRONG(l, INITIATOR_ERROR, "names and SessionType belong into the first request") : ISCSI_LOGIN_SUCCESS;
	if (!initiator)
		return WRONG(l, MISSING_PARAMETER, "InitiatorName is missing");
	status = learn_name(l, initiator, "InitiatorName", l->initiator_name);
	if (status != ISCSI_LOGIN_SUCCESS)
		return status;
	if (type && strcmp(type, "Normal") && strcmp(type, "Discovery"))
		return WRONG(l, BAD_SESSION_TYPE, "SessionType is neither Normal nor Discovery");
	l->session_type = type && !strcmp(type, "Discovery") ? ISCSI_DISCOVERY : ISCSI_NORMAL;
	if (l->session_type == ISCSI_NORMAL && !target)
		return WRONG(l, MISSING_PARAMETER, "TargetName is missing");
	if (target) {
		status = learn_name(l, target, "TargetName", l->target_name);
		if (status != ISCSI_LOGIN_SUCCESS)
			return status;
	}
	return admit(l);
}

static uint16_t admit(struct iscsi_login *l)
{
	uint16_t status = l->ops->admit(l->arg, l);

	if (status == ISCSI_LOGIN_MOVED_TEMPORARILY || status == ISCSI_LOGIN_MOVED_PERMANENTLY) {
		iscsi_text_forget_out(&l->out);
		iscsi_text_put(&l->out, "TargetAddress", "%s", l->redirect);
		say_why(l, "moved to %s", l->redirect);
		return status;
	}
	if (status == ISCSI_LOGIN_SUCCESS && l->tsih != 0)
		status = l->ops->join ? l->ops->join(l->arg, l) : ISCSI_LOGIN_NO_SESSION;
	if (status != ISCSI_LOGIN_SUCCESS) {
		if (!*l->why)
			say_why(l, "%s", iscsi_login_status_text(status));
		return status;
	}
	l->named = true;
	l->params.max_recv = l->ours.max_recv;
	if (l->session_type == ISCSI_NORMAL) {
		iscsi_text_put_number(&l->out, "TargetPortalGroupTag", l->portal_group_tag);
		if (*l->target_alias)
			iscsi_text_put(&l->out, "TargetAlias", "%s", l->target_alias);
	}
	return ISCSI_LOGIN_SUCCESS;
}

/* --- authentication -------------------------------------------------------------------------------------------- */

static uint16_t authenticate(struct iscsi_login *l, const struct said *said)
{
	struct iscsi_chap_said chap = {
		.a = said->text[ISCSI_KEY_CHAP_A], .i = said->text[ISCSI_KEY_CHAP_I], .c = said->text[ISCSI_KEY_CHAP_C],
		.n = said->text[ISCSI_KEY_CHAP_N], .r = said->text[ISCSI_KEY_CHAP_R],
	};
	uint16_t status;

	if (stage_of(l) == ISCSI_STAGE_OPERATIONAL) {
		if (l->auth >= ISCSI_AUTH_CHAP && !l->chap.authenticated)
			return WRONG(l, AUTH_FAILED, "the initiator leaves out authentication, which is required here");
		return ISCSI_LOGIN_SUCCESS;
	}
	if (said->text[ISCSI_KEY_AUTH_METHOD]) {
		status = choose_method(l, said->text[ISCSI_KEY_AUTH_METHOD]);
		if (status != ISCSI_LOGIN_SUCCESS)
			return status;
	}
	return iscsi_chap_step(l, &chap, &l->out);
}

/* The first of the initiator's list that is permitted. */
static uint16_t choose_method(struct iscsi_login *l, const char *list)
{
	uint32_t len;

	for (const char *item; (item = iscsi_value_item(&list, &len));) {
		if (len == 4 && !memcmp(item, "CHAP", len) && l->auth != ISCSI_AUTH_NONE) {
			l->auth_method = METHOD_CHAP;
			iscsi_chap_begin(&l->chap);
			iscsi_text_put(&l->out, "AuthMethod", "CHAP");
			return ISCSI_LOGIN_SUCCESS;
		}
		if (len == 4 && !memcmp(item, "None", len) && l->auth <= ISCSI_AUTH_ALLOWED) {
			l->auth_method = METHOD_NONE;
			iscsi_text_put(&l->out, "AuthMethod", "None");
			return ISCSI_LOGIN_SUCCESS;
		}
	}
	return WRONG(l, AUTH_FAILED, l->auth == ISCSI_AUTH_NONE ? "the initiator insists on an authentication that this "
	             "target does not do" : "AuthMethod offers no CHAP, which is required here");
}

/* --- parameters ------------------------------------------------------------------------------------------------ */

/* FirstBurstLength last: what it means depends on others. We declare what we take when the initiator does, or at the
 * end. */
static void negotiate(struct iscsi_login *l, const struct said *said)
{
	struct iscsi_deal d = deal_of(l);

	for (uint32_t i = 0; i < said->deal_count; i++)
		if (said->deals[i].key != ISCSI_KEY_FIRST_BURST)
			iscsi_key_apply(&d, said->deals[i].key, said->deals[i].value, &l->out);
	for (uint32_t i = 0; i < said->deal_count; i++)
		if (said->deals[i].key == ISCSI_KEY_FIRST_BURST)
			iscsi_key_apply(&d, said->deals[i].key, said->deals[i].value, &l->out);
	if (stage_of(l) != ISCSI_STAGE_OPERATIONAL)
		return;
	if (!l->declared && (l->flags & ISCSI_TRANSIT || l->seen & ISCSI_KEY_BIT(ISCSI_KEY_MAX_RECV))) {
		iscsi_text_put_number(&l->out, "MaxRecvDataSegmentLength", l->ours.max_recv);
		l->declared = true;
	}
}

/* The initiator wants to go on: are we ready? */
static uint16_t may_leave(struct iscsi_login *l, bool *ret_may)
{
	struct iscsi_deal d = deal_of(l);

	*ret_may = false;
	if (!(l->flags & ISCSI_TRANSIT))
		return ISCSI_LOGIN_SUCCESS;
	if (stage_of(l) == ISCSI_STAGE_SECURITY) {
		if (l->auth_method == METHOD_OPEN && l->auth >= ISCSI_AUTH_CHAP)
			return WRONG(l, AUTH_FAILED, "the initiator offers no AuthMethod, and CHAP is required here");
		*ret_may = l->auth_method != METHOD_CHAP || l->chap.authenticated;
		return ISCSI_LOGIN_SUCCESS;
	}
	if (iscsi_keys_to_propose(&d, l->seen)) {
		iscsi_keys_propose(&d, l->seen, &l->out);
		l->offered = d.offered;
		return ISCSI_LOGIN_SUCCESS;
	}
	if (l->need_header_digest && !l->params.header_digest)
		return WRONG(l, INITIATOR_ERROR, "a header digest is required here, and the initiator does without");
	if (l->need_data_digest && !l->params.data_digest)
		return WRONG(l, INITIATOR_ERROR, "a data digest is required here, and the initiator does without");
	*ret_may = true;
	return ISCSI_LOGIN_SUCCESS;
}

/* --- answers --------------------------------------------------------------------------------------------------- */

/* Where a transition that both want leads. From security straight to full feature phase only if the defaults are what
 * we can live with; else by way of operational negotiation. */
static uint8_t next_stage(struct iscsi_login *l)
{
	struct iscsi_deal d = deal_of(l);
	uint8_t nsg = iscsi_nsg(l->flags);

	if (stage_of(l) == ISCSI_STAGE_SECURITY && nsg == ISCSI_STAGE_FULL_FEATURE && iscsi_keys_to_propose(&d, l->seen))
		return ISCSI_STAGE_OPERATIONAL;
	return nsg;
}

/* A piece of the text, and the transition when it is the last one. */
static enum iscsi_login_step answer(struct iscsi_login *l, bool may)
{
	uint8_t flags = (uint8_t)(stage_of(l) << ISCSI_CSG_SHIFT), next;

	l->answer.data = iscsi_text_take(&l->out, piece_max(l), &l->answer.len);
	if (l->out.cut)
		return refuse(l, WRONG(l, INITIATOR_ERROR, "the answer would be too long"));
	if (iscsi_text_left(&l->out) > 0) {
		fill_answer(l, flags | ISCSI_CONTINUE);
		return ISCSI_LOGIN_ANSWER;
	}
	if (!may) {
		fill_answer(l, flags);
		return ISCSI_LOGIN_ANSWER;
	}
	next = next_stage(l);
	fill_answer(l, flags | ISCSI_TRANSIT | next);
	machine_goto(&l->machine, next == ISCSI_STAGE_OPERATIONAL ? LOGIN_OPERATIONAL : LOGIN_AGREED);
	return next == ISCSI_STAGE_OPERATIONAL ? ISCSI_LOGIN_ANSWER : ISCSI_LOGIN_DONE;
}

static void fill_answer(struct iscsi_login *l, uint8_t flags)
{
	l->answer.bhs = (struct iscsi_login_rsp){
		.opcode = ISCSI_OP_LOGIN_RSP, .flags = flags, .version_max = ISCSI_VERSION, .version_active = ISCSI_VERSION,
		.data_len = be24_of(l->answer.len), .tsih = be16_of(l->tsih), .itt = be32_of(l->itt),
		.stat_sn = be32_of(l->stat_sn++), .exp_cmd_sn = be32_of(l->exp_cmd_sn),
		.max_cmd_sn = be32_of(l->exp_cmd_sn), /* it opens with the session */
	};
	memcpy(l->answer.bhs.isid, l->isid, sizeof(l->isid));
}

/* Nothing that was to be answered is said any more but where the target has moved to. */
static enum iscsi_login_step refuse(struct iscsi_login *l, uint16_t status)
{
	uint8_t csg = l->machine.state == LOGIN_AGREED ? iscsi_csg(l->answer.bhs.flags) : stage_of(l);

	if (status >> 8 != 1)
		iscsi_text_forget_out(&l->out);
	iscsi_text_forget(&l->in);
	l->status = status;
	l->answer.data = iscsi_text_take(&l->out, ISCSI_SEGMENT_DEFAULT, &l->answer.len);
	if (l->machine.state == LOGIN_AGREED)
		l->stat_sn--; /* this is said instead */
	fill_answer(l, (uint8_t)(csg << ISCSI_CSG_SHIFT));
	l->answer.bhs.status = be16_of(status);
	machine_goto(&l->machine, LOGIN_ENDED);
	return ISCSI_LOGIN_REFUSED;
}
