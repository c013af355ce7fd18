/* SPDX-License-Identifier: BSD-3-Clause */
/* initiator.c: gantry-perf's iSCSI initiator: URL, connection, login, and what to ask a disk at first.
 *
 *     connecting -> login -> TEST UNIT READY -> READ CAPACITY -> ready
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "perf/initiator_priv.h"

#define TRIES_MAX 8u

/* --- URL ---------------------------------------------------------------------------------------- */

int ini_url_parse(const char *text, struct ini_url *ret_url, struct err *e)
{
	char copy[768], *host, *target, *lun, *colon, *at;
	const char *port = "3260";
	uint64_t number = 0;

	*ret_url = (struct ini_url){ 0 };
	if (!text_starts_with(text, "iscsi://") || strlen(text) >= sizeof(copy))
		return err_set(e, -EINVAL, "'%s': iscsi://[USER@]HOST[:PORT]/TARGET[/LUN] is wanted", text);
	snprintf(copy, sizeof(copy), "%s", text + strlen("iscsi://"));
	host = copy;
	target = strchr(copy, '/');
	if (!target || !target[1])
		return err_set(e, -EINVAL, "'%s': the target's name is missing: iscsi://[USER@]HOST[:PORT]/TARGET[/LUN]",
		               text);
	*target++ = '\0';
	at = strchr(host, '@');
	if (at) {
		*at = '\0';
		if (!*host || strlen(host) >= sizeof(ret_url->user))
			return err_set(e, -EINVAL, "'%s': the user of CHAP before '@' has 1 to 255 bytes", text);
		if (!ini_chap_secret())
			return err_set(e, -EINVAL, "'%s': where is the secret of '%s'? Put it into the environment: "
			               "GANTRY_CHAP_SECRET", text, host);
		snprintf(ret_url->user, sizeof(ret_url->user), "%.255s", host);
		host = at + 1;
	}
	lun = strchr(target, '/');
	if (lun)
		*lun++ = '\0';
	if (lun && (text_parse_u64(lun, &number, NULL) || number > 16383))
		return err_set(e, -EINVAL, "'%s': LUN %s is not between 0 and 16383", text, lun);
	if (strlen(target) >= sizeof(ret_url->target))
		return err_set(e, -EINVAL, "'%s': the target's name is longer than 223 bytes", text);
	if (*host == '[' && strchr(host, ']')) {
		colon = strchr(host, ']');
		*colon++ = '\0';
		host++;
	} else {
		colon = strchr(host, ':');
	}
	if (colon && *colon == ':') {
		*colon = '\0';
		port = colon + 1;
	}
	snprintf(ret_url->target, sizeof(ret_url->target), "%s", target);
	ret_url->lun = (uint32_t)number;
	return net_addr_parse(NET_ANY, host, port, &ret_url->addr, e);
}

/* --- the end ------------------------------------------------------------------------------------- */

static void op_lost(struct ini_op *op)
{
	op->status = INI_STATUS_LOST;
	op->done(op);
}

/* All that wait or are out get their answer; they may submit no more. */
static void lose_all(struct ini *i)
{
	struct queue_link *l;

	for (uint32_t n = 0; n < INI_TAGS; n++) {
		struct ini_op *op = i->tags[n];

		i->tags[n] = NULL;
		if (op)
			op_lost(op);
	}
	while ((l = queue_pop(&i->waiting)))
		op_lost(container_of(l, struct ini_op, link));
}

static void close_socket(struct ini *i)
{
	timer_stop(&i->timer);
	defer_cancel(&i->send_defer);
	if (i->sock)
		sock_close(i->sock);
	i->sock = NULL;
}

void ini_fail(struct ini *i, const struct err *e)
{
	bool was_ready = i->is_ready;

	if (i->over)
		return;
	i->over = true;
	i->err = *e;
	i->is_ready = true;
	close_socket(i);
	if (was_ready)
		i->gone(i, &i->err, i->arg); /* first: whose operations are lost may not try again */
	else
		i->ready(i, &i->err, i->arg);
	lose_all(i);
}

void ini_broke(struct ini *i, const char *fmt, ...)
{
	char why[256], addr[NET_ADDR_TEXT_MAX];
	struct err e = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	err_set(&e, -EIO, "%s at %s: %s", i->url.target, net_addr_text(&i->url.addr, addr), why);
	ini_fail(i, &e);
}

void ini_close(struct ini *i)
{
	close_socket(i);
	free(i->tx);
	free(i->rx.buf);
	free(i);
}

/* --- what to ask a disk at first ------------------------------------------------------------------- */

static void ask_size(struct ini_op *op)
{
	struct ini *i = container_of(op, struct ini, first);
	char buf[80];

	if (i->over)
		return;
	if (op->status || op->got < 12) {
		ini_broke(i, "LUN %u: READ CAPACITY: %s", i->url.lun, ini_op_text(op, buf));
		return;
	}
	i->info.block_count = be64_get(*(const be64 *)i->first_data) + 1;
	i->info.block_size = be32_get(*(const be32 *)(i->first_data + 8));
	i->is_ready = true;
	i->ready(i, NULL, i->arg);
}

static void ask_if_ready(struct ini_op *op)
{
	struct ini *i = container_of(op, struct ini, first);
	char buf[80];

	if (i->over)
		return;
	if (op->status) {
		ini_broke(i, "LUN %u: TEST UNIT READY: %s", i->url.lun, ini_op_text(op, buf));
		return;
	}
	*op = (struct ini_op){ .cdb = { SCSI_OP_READ_CAPACITY_16, SCSI_SA_READ_CAPACITY_16 }, .data = i->first_data,
	                       .len = sizeof(i->first_data), .done = ask_size };
	op->cdb[13] = sizeof(i->first_data);
	ini_submit(i, op);
}

/* --- login ------------------------------------------------------------------------------------------ */

static void add_names(const struct ini *i, struct text *t)
{
	text_add(t, "InitiatorName=iqn.2016-06.io.gantry:perf%cSessionType=Normal%cTargetName=%s%c", 0, 0,
	         i->url.target, 0);
}

static void add_parameters(const struct ini *i, struct text *t)
{
	text_add(t, "HeaderDigest=%s%cDataDigest=%s%c", i->opts.header_digest ? "CRC32C" : "None", 0,
	         i->opts.data_digest ? "CRC32C" : "None", 0);
	text_add(t, "InitialR2T=No%cImmediateData=Yes%cMaxRecvDataSegmentLength=%u%c", 0, 0, INI_RECV_MAX, 0);
	text_add(t, "MaxBurstLength=16777212%cFirstBurstLength=%u%cMaxOutstandingR2T=16%c", 0, INI_FIRST_BURST, 0,
	         0);
	text_add(t, "MaxConnections=1%cErrorRecoveryLevel=0%cDefaultTime2Wait=2%cDefaultTime2Retain=0%c", 0, 0, 0, 0);
}

/* What the stage begins with; nothing: go on. */
static bool add_keys(struct ini *i, struct text *t)
{
	if (i->stage == INI_ASK_CHAP || (i->stage == INI_ASK_PARAMETERS && !i->url.user[0]))
		add_names(i, t);
	if (i->stage == INI_ASK_CHAP)
		text_add(t, "AuthMethod=CHAP%c", 0);
	else if (i->stage == INI_ASK_ALGORITHM)
		ini_chap_offer(t);
	else if (i->stage == INI_ASK_CHALLENGE)
		return ini_chap_answer(i, t);
	else
		add_parameters(i, t);
	return true;
}

static uint8_t login_flags(const struct ini *i)
{
	if (i->stage == INI_ASK_PARAMETERS)
		return ISCSI_TRANSIT | ISCSI_STAGE_OPERATIONAL << ISCSI_CSG_SHIFT | ISCSI_STAGE_FULL_FEATURE;
	return ISCSI_STAGE_SECURITY << ISCSI_CSG_SHIFT |
	       (i->stage == INI_ASK_CHALLENGE ? ISCSI_TRANSIT | ISCSI_STAGE_OPERATIONAL : 0);
}

static void login_send(struct ini *i, bool first)
{
	struct text t = text_over(i->text, sizeof(i->text));
	uint32_t number = i->opts.number;
	struct ini_tx *x;

	if (first && !add_keys(i, &t))
		return;
	x = ini_tx_add(i);
	x->len = (uint32_t)t.len;
	x->data = (uint8_t *)i->text;
	x->hdr.login = (struct iscsi_login_req){
		.opcode = ISCSI_OP_LOGIN | ISCSI_IMMEDIATE,
		.flags = login_flags(i),
		.isid = { 0x80, i->isid[0], i->isid[1], i->isid[2], (uint8_t)(number >> 8), (uint8_t)number },
		.data_len = be24_of(x->len), .itt = be32_of(0), .cid = be16_of(1), .cmd_sn = be32_of(i->cmd_sn),
		.exp_stat_sn = be32_of(i->exp_stat_sn),
	};
	ini_tx_ready(i, x);
}

static uint32_t smaller(uint32_t mine, const char *value)
{
	uint64_t v = 0;

	if (text_parse_u64(value, &v, NULL) || !v)
		return mine; /* "Irrelevant", say */
	return (uint32_t)min_u64(mine, v);
}

static void take_key(struct ini *i, const char *key, const char *value)
{
	ini_chap_take(i, key, value);
	if (!strcmp(key, "MaxRecvDataSegmentLength"))
		i->send_max = smaller(UINT32_MAX, value);
	else if (!strcmp(key, "FirstBurstLength"))
		i->first_burst = smaller(INI_FIRST_BURST, value);
	else if (!strcmp(key, "ImmediateData"))
		i->immediate_data = !strcmp(value, "Yes");
	else if (!strcmp(key, "InitialR2T"))
		i->initial_r2t = !strcmp(value, "Yes");
	else if (!strcmp(key, "HeaderDigest"))
		i->hdgst_agreed = !strcmp(value, "CRC32C");
	else if (!strcmp(key, "DataDigest"))
		i->ddgst_agreed = !strcmp(value, "CRC32C");
}

static void chap_goes_on(struct ini *i, bool transit)
{
	if (!i->chap.agreed || (i->stage == INI_ASK_CHALLENGE && !transit)) {
		ini_broke(i, i->chap.agreed ? "login: the target does not end the security stage" :
		                              "login: the target does without CHAP; leave the user out");
		return;
	}
	i->stage++;
	login_send(i, true);
}

void ini_on_login(struct ini *i, const struct iscsi_login_rsp *r, char *text, uint32_t len)
{
	uint16_t status = be16_get(r->status);

	if (status) {
		ini_broke(i, "login: %s (%04x)%s", iscsi_login_status_text(status), status,
		          status != ISCSI_LOGIN_AUTH_FAILED ? "" :
		          i->url.user[0] ? "; look at the user (or leave it out), and at GANTRY_CHAP_SECRET" :
		                           "; write iscsi://USER@HOST..., and the secret into GANTRY_CHAP_SECRET");
		return;
	}
	i->exp_stat_sn = be32_get(r->stat_sn) + 1;
	for (char *key = text, *end = text + len; key < end; key += strlen(key) + 1) {
		char *value = memchr(key, '=', (size_t)(end - key));

		if (!value || !memchr(value, '\0', (size_t)(end - value)))
			break;
		*value++ = '\0';
		take_key(i, key, value);
		key = value;
	}
	if (i->stage != INI_ASK_PARAMETERS) {
		chap_goes_on(i, r->flags & ISCSI_TRANSIT);
		return;
	}
	if (!(r->flags & ISCSI_TRANSIT)) {
		if (++i->tries < TRIES_MAX)
			login_send(i, false);
		else
			ini_broke(i, "the target does not end the login");
		return;
	}
	if ((i->opts.header_digest && !i->hdgst_agreed) || (i->opts.data_digest && !i->ddgst_agreed)) {
		ini_broke(i, "the target does not want digests");
		return;
	}
	i->hdgst = i->hdgst_agreed;
	i->ddgst = i->ddgst_agreed;
	i->full_feature = true;
	i->tries = 0;
	i->first = (struct ini_op){ .done = ask_if_ready };
	ini_submit(i, &i->first);
}

/* --- connection --------------------------------------------------------------------------------------- */

static void sock_event(void *arg, uint32_t events)
{
	struct ini *i = arg;
	int error;

	if (!i->connected && (events & SOCK_FAILED)) {
		error = sock_error(i->sock);
		error = error ? error : -ECONNREFUSED;
		ini_broke(i, "cannot connect: %s%s", strerror(-error),
		          error == -ECONNREFUSED ? "; does a target listen at that address and port?" : "");
		return;
	}
	if (events & SOCK_WRITABLE) {
		sock_want_write(i->sock, false);
		if (!i->connected) {
			i->connected = true;
			login_send(i, true);
		}
		i->blocked = false;
		defer_last(&i->send_defer, ini_send);
	}
	if (events & (SOCK_READABLE | SOCK_FAILED))
		ini_receive(i);
}

static void timer_fired(struct timer *t)
{
	struct ini *i = container_of(t, struct ini, timer);
	uint64_t limit_ns = i->opts.io_timeout_ms * NS_PER_MS;

	if (i->out_count == 0 && i->is_ready)
		i->heard_ns = reactor_now_ns();
	if (reactor_now_ns() - i->heard_ns >= limit_ns)
		ini_broke(i, "nothing was heard for %u ms", i->opts.io_timeout_ms);
	else
		timer_start(t, limit_ns / 4, timer_fired);
}

static void open_failed(struct timer *t)
{
	struct ini *i = container_of(t, struct ini, timer);
	struct err e = i->err;

	ini_fail(i, &e);
}

struct ini *ini_open(const struct ini_url *url, const struct ini_opts *opts,
                     void (*ready)(struct ini *i, const struct err *e, void *arg),
                     void (*gone)(struct ini *i, const struct err *e, void *arg), void *arg)
{
	struct ini *i = base_zalloc(sizeof(*i));
	struct err e = { 0 };

	i->url = *url;
	i->opts = *opts;
	i->ready = ready;
	i->gone = gone;
	i->arg = arg;
	i->cmd_sn = 1;
	i->max_cmd_sn = 1;
	i->stage = url->user[0] ? INI_ASK_CHAP : INI_ASK_PARAMETERS;
	i->send_max = ISCSI_SEGMENT_DEFAULT;
	i->first_burst = 65536;
	i->immediate_data = i->initial_r2t = true;
	i->rx.buf = base_zalloc_aligned(4096, INI_RX_BYTES);
	queue_init(&i->waiting);
	core_random(i->isid, sizeof(i->isid));
	for (uint32_t n = 0; n < INI_TAGS; n++)
		i->free_tags[i->free_count++] = (uint16_t)(INI_TAGS - 1 - n);
	i->heard_ns = reactor_now_ns();
	if (opts->io_timeout_ms)
		timer_start(&i->timer, opts->io_timeout_ms * NS_PER_MS / 4, timer_fired);
	i->sock = sock_connect(&url->addr, NULL, &(struct sock_opts){ 0 }, sock_event, i, &e);
	if (!i->sock) {
		i->err = e;
		timer_start(&i->timer, 0, open_failed);
	}
	return i;
}

void ini_op_rw(struct ini_op *op, bool is_write, uint64_t lba, uint32_t blocks)
{
	be64 at = be64_of(lba);
	be32 count = be32_of(blocks);

	*op = (struct ini_op){ .is_write = is_write };
	op->cdb[0] = is_write ? SCSI_OP_WRITE_16 : SCSI_OP_READ_16;
	memcpy(op->cdb + 2, &at, sizeof(at));
	memcpy(op->cdb + 10, &count, sizeof(count));
}

const struct ini_info *ini_get_info(const struct ini *i)
{
	return &i->info;
}

const char *ini_op_text(const struct ini_op *op, char buf[static 80])
{
	if (op->status == INI_STATUS_LOST)
		snprintf(buf, 80, "the session is over");
	else if (op->status == SCSI_CHECK_CONDITION)
		snprintf(buf, 80, "sense key %xh, ASC/ASCQ %02x/%02xh", op->key, op->asc >> 8, op->asc & 0xff);
	else if (op->status)
		snprintf(buf, 80, "status %02xh", op->status);
	else
		snprintf(buf, 80, "%u bytes instead of %u", op->got, op->len);
	return buf;
}
