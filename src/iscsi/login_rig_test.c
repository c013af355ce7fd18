/* SPDX-License-Identifier: BSD-3-Clause */
/* login_rig_test.c: the configuration's side of login tests, and the initiator's mouth. */
#include "iscsi/login_test.h"

/* Not random here: a failure repeats. */
void core_random(void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)(i * 7 + 1);
}

static uint16_t admit(void *arg, struct iscsi_login *l)
{
	struct rig *r = arg;

	r->admitted++;
	l->auth = r->auth;
	l->chap_algorithms = r->chap_algorithms;
	l->need_header_digest = r->need_header_digest;
	l->need_data_digest = r->need_data_digest;
	l->portal_group_tag = 1;
	snprintf(l->target_alias, sizeof(l->target_alias), "%s", r->alias ? r->alias : "");
	snprintf(l->redirect, sizeof(l->redirect), "%s", r->redirect ? r->redirect : "");
	if (l->session_type == ISCSI_NORMAL && strcmp(l->target_name, "iqn.disk"))
		return ISCSI_LOGIN_NOT_FOUND;
	return r->admit_status;
}

static bool secret(void *arg, struct iscsi_login *l, const char *user, struct iscsi_login_secret *ret)
{
	struct rig *r = arg;

	if (strcmp(user, "host"))
		return false;
	ret->len = 12;
	memcpy(ret->secret, "secretsecret", 12);
	if (r->one_way)
		return true;
	snprintf(ret->mutual_name, sizeof(ret->mutual_name), "disk");
	ret->mutual_len = 12;
	memcpy(ret->mutual_secret, r->same_secrets ? "secretsecret" : "terces-terce", 12);
	return true;
}

static uint16_t join(void *arg, struct iscsi_login *l)
{
	return ((struct rig *)arg)->join_status;
}

static const struct iscsi_login_ops ops = { admit, secret, join };

void rig_init(struct rig *r)
{
	*r = (struct rig){ .chap_algorithms = ISCSI_CHAP_ALL };
	r->l.ops = &ops;
	r->l.arg = r;
	r->l.ours = ISCSI_PARAMS_OFFER;
	r->l.window = 64;
	iscsi_login_init(&r->l);
}

void rig_fini(struct rig *r)
{
	iscsi_login_fini(&r->l);
}

enum iscsi_login_step rig_say(struct rig *r, uint8_t flags, const char *says)
{
	uint32_t len = (uint32_t)strlen(says);
	uint8_t *data = malloc(len + !len);
	union iscsi_bhs bhs = { .login = {
		.opcode = ISCSI_OP_LOGIN | ISCSI_IMMEDIATE, .flags = flags, .data_len = be24_of(len),
		.isid = { 0x80, 1, 2, 3, 4, 5 }, .itt = be32_of(7), .cmd_sn = be32_of(100),
	} };
	enum iscsi_login_step step;

	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)(says[i] == '|' ? 0 : says[i]);
	step = iscsi_login_pdu(&r->l, &bhs, data, len);
	free(data);
	return step;
}

const char *rig_answer(struct rig *r)
{
	static char text[ISCSI_SEGMENT_DEFAULT + 1];
	uint32_t len = r->l.answer.len;

	for (uint32_t i = 0; i < len; i++)
		text[i] = (char)(r->l.answer.data[i] ? r->l.answer.data[i] : '|');
	text[len] = 0;
	return text;
}

void rig_turn(struct rig *r, const struct turn *t, const char *name)
{
	const struct iscsi_login_rsp *rsp = &r->l.answer.bhs;
	enum iscsi_login_step step = rig_say(r, t->flags, t->says);

	if (step != t->step || (step != ISCSI_LOGIN_CLOSE && be16_get(rsp->status) != t->status))
		print_error("%s: \"%s\": step %d, status %04x, %s\n", name, t->says, step, be16_get(rsp->status), r->l.why);
	assert_int_equal(step, t->step);
	if (step == ISCSI_LOGIN_CLOSE)
		return;
	assert_int_equal(be16_get(rsp->status), t->status);
	assert_int_equal(rsp->opcode, ISCSI_OP_LOGIN_RSP);
	assert_int_equal(be24_get(rsp->data_len), r->l.answer.len);
	if (step == ISCSI_LOGIN_REFUSED) {
		assert_true(*r->l.why);
		assert_int_equal(rsp->flags & ~SEC & ~OPN, 0);
	} else {
		assert_int_equal(rsp->flags, t->answer_flags);
	}
	if (!t->answer)
		return;
	if (!strncmp(t->answer, "...", 3)) {
		if (!strstr(rig_answer(r), t->answer + 3))
			print_error("%s: \"%s\": %s\n", name, t->says, rig_answer(r));
		assert_non_null(strstr(rig_answer(r), t->answer + 3));
	} else {
		assert_string_equal(rig_answer(r), t->answer);
	}
}

void rig_talk(struct rig *r, const struct turn *turns, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		rig_turn(r, &turns[i], name);
}
