/* SPDX-License-Identifier: BSD-3-Clause */
/* login_fuzz.c: any bytes as the requests of a login, and as text requests after it: every request has one answer,
 * nobody gets in without a proof where one is required, and parameters stay within their limits.
 *
 * Input: one byte of configuration; then requests, each: one byte of flags, one that says what is odd about its header,
 * two of length (little-endian), and so many bytes of text.
 */
#include "core/core.h"
#include "iscsi/login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void core_random(void *buf, size_t len)
{
	memset(buf, 0x5a, len);
}

static uint16_t admit(void *arg, struct iscsi_login *l)
{
	uint8_t config = *(const uint8_t *)arg;

	l->auth = config & 3;
	l->need_header_digest = config & 4;
	l->need_data_digest = config & 8;
	if (config & 16)
		l->ours.immediate_data = false;
	if (config & 32)
		l->ours.max_burst = l->ours.first_burst = 4096;
	if (config & 64)
		l->ours.initial_r2t = true;
	memcpy(l->redirect, "[::1]:3260", 11);
	return config & 128 ? ISCSI_LOGIN_MOVED_TEMPORARILY : ISCSI_LOGIN_SUCCESS;
}

static bool secret(void *arg, struct iscsi_login *l, const char *user, struct iscsi_login_secret *ret)
{
	must(strlen(user) <= ISCSI_CHAP_NAME_MAX);
	ret->len = ret->mutual_len = 12;
	memcpy(ret->secret, "secretsecret", 12);
	memcpy(ret->mutual_secret, "terces-terce", 12);
	memcpy(ret->mutual_name, "me", 3);
	return user[0] == 'h';
}

static void check_params(const struct iscsi_params *p)
{
	must(p->max_send >= 512 && p->max_send <= ISCSI_SEGMENT_MAX);
	must(p->max_burst >= 512 && p->max_burst <= ISCSI_SEGMENT_MAX);
	must(p->first_burst >= 512 && p->first_burst <= 262144);
	must(p->max_connections == 1 && p->error_recovery_level == 0);
	must(p->max_outstanding_r2t >= 1 && p->max_outstanding_r2t <= 64);
	must(p->time2wait <= 3600 && p->time2retain <= 20);
	must(p->data_pdu_in_order && p->data_sequence_in_order);
}

static void read_all(const uint8_t *data, uint32_t len)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < len; i++)
		sum += data[i];
	must(sum <= 255 * len);
}

static union iscsi_bhs header(uint8_t flags, uint8_t odd, uint32_t len)
{
	union iscsi_bhs bhs = { .login = {
		.opcode = ISCSI_OP_LOGIN | ISCSI_IMMEDIATE, .flags = flags, .data_len = be24_of(len), .itt = be32_of(1),
	} };

	if (odd)
		((uint8_t *)&bhs)[odd % sizeof(bhs)] ^= (uint8_t)(odd ^ flags);
	bhs.login.data_len = be24_of(len);
	return bhs;
}

/* What comes when the login is over. */
static void text(struct iscsi_text_nego *n, uint8_t flags, uint8_t odd, const uint8_t *data, uint32_t len)
{
	struct iscsi_text_req req = {
		.opcode = ISCSI_OP_TEXT, .flags = flags & 0xc0, .data_len = be24_of(len), .itt = be32_of(odd & 1),
		.ttt = be32_of(odd & 2 ? n->ttt : ISCSI_TAG_NONE),
	};

	if (iscsi_text_pdu(n, &req, data, len) == ISCSI_TEXT_TARGETS) {
		iscsi_text_add(n, "TargetName", *n->targets ? n->targets : "iqn.own");
		iscsi_text_targets_done(n);
	} else if (n->reject) {
		n->reject = 0;
		return;
	}
	must(n->answer.len <= n->params->max_send);
	read_all(n->answer.data, n->answer.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct iscsi_login_ops ops = { .admit = admit, .secret = secret };
	static struct iscsi_login l;
	struct iscsi_text_nego nego = { .params = &l.params };
	enum iscsi_login_step step = ISCSI_LOGIN_ANSWER;
	uint8_t config;

	if (size < 1)
		return 0;
	config = data[0];
	data++, size--;
	l = (struct iscsi_login){ .ops = &ops, .arg = &config, .ours = ISCSI_PARAMS_OFFER, .window = 16 };
	iscsi_login_init(&l);
	while (size >= 4 && (step == ISCSI_LOGIN_ANSWER || step == ISCSI_LOGIN_DONE)) {
		uint8_t flags = data[0], odd = data[1];
		uint32_t len = min_u32((uint32_t)(data[2] | data[3] << 8), min_u32((uint32_t)size - 4, ISCSI_SEGMENT_DEFAULT));
		uint8_t *copy = malloc(len + !len);
		union iscsi_bhs bhs = header(flags, odd, len);

		memcpy(copy, data + 4, len);
		data += 4 + len;
		size -= 4 + len;
		if (step == ISCSI_LOGIN_DONE) {
			text(&nego, flags, odd, copy, len);
			free(copy);
			continue;
		}
		step = iscsi_login_pdu(&l, &bhs, copy, len);
		free(copy);
		if (step == ISCSI_LOGIN_CLOSE)
			break;
		must(l.answer.len == be24_get(l.answer.bhs.data_len) && l.answer.len <= ISCSI_SEGMENT_DEFAULT);
		must((step == ISCSI_LOGIN_REFUSED) == (be16_get(l.answer.bhs.status) != 0));
		must(step != ISCSI_LOGIN_REFUSED || *l.why);
		read_all(l.answer.data, l.answer.len);
		if (step != ISCSI_LOGIN_DONE)
			continue;
		must((config & 3) < ISCSI_AUTH_CHAP || l.chap.authenticated);
		must(*l.initiator_name && (*l.target_name || l.session_type == ISCSI_DISCOVERY));
		must(!l.need_header_digest || l.params.header_digest);
		must(!l.need_data_digest || l.params.data_digest);
		check_params(&l.params);
		iscsi_login_accept(&l, 1);
		nego.discovery = l.session_type == ISCSI_DISCOVERY;
	}
	iscsi_text_end(&nego);
	iscsi_login_fini(&l);
	return 0;
}
