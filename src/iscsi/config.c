/* SPDX-License-Identifier: BSD-3-Clause */
/* config.c: the target as a whole, its options, secrets and initiator groups. Control reactor. */
#include <errno.h>

#include "base/text.h"
#include "core/log.h"
#include "iscsi/config_priv.h"
#include "iscsi/login.h"

/* --- the target --------------------------------------------------------------------------------------- */

void iscsi_options_init(struct iscsi_options *o)
{
	*o = (struct iscsi_options){
		.node_base = "iqn.2016-06.io.spdk", .nop_timeout_s = 60, .nop_in_interval_s = 30, .max_sessions = 1024,
		.max_queue_depth = 128, .max_connections_per_session = 2, .default_time2wait = 2, .default_time2retain = 0,
		.first_burst_length = 256 * 1024, .max_burst_length = 16777215, .max_recv_data_segment_length = 256 * 1024,
		.piece_bytes = 1u << 20,
		.max_outstanding_r2t = 64, .login_timeout_ms = 15000, .data_timeout_ms = 30000, .immediate_data = true,
	};
}

/* Once: a host that offers nothing else is refused, and nobody would know why. */
static uint32_t chap_algorithms(void)
{
	uint32_t set = iscsi_chap_available();

	for (uint8_t a = ISCSI_CHAP_MD5; a <= ISCSI_CHAP_SHA3_256; a++)
		if (!(set & 1u << a))
			log_notice("iSCSI: CHAP goes without %s, which OpenSSL does not offer here (FIPS mode?)",
			           iscsi_chap_name(a));
	return set;
}

struct iscsi_target *iscsi_target_make(struct core *core, struct bdev_registry *reg, struct scsi *scsi)
{
	struct iscsi_target *t = base_zalloc(sizeof(*t));

	t->core = core;
	t->reg = reg;
	t->scsi = scsi;
	iscsi_options_init(&t->options);
	t->chap_algorithms = chap_algorithms();
	list_init(&t->portal_groups);
	list_init(&t->initiator_groups);
	list_init(&t->auth_groups);
	list_init(&t->nodes);
	t->conns = iscsi_conns_make(t);
	iscsi_luns_follow(t);
	return t;
}

/* --- stopping ---------------------------------------------------------------------------------------------- */

static void stop_look(struct msg *m)
{
	struct iscsi_target *t = container_of(m, struct iscsi_target, stop_msg);

	if (!t->stop_waits || t->work_out)
		return;
	t->stop_waits = false;
	seq_resume(&t->stop, 0);
}

void iscsi_target_less(struct iscsi_target *t)
{
	assert(t->work_out > 0);
	if (--t->work_out || !t->stop_waits)
		return;
	msg_send(core_control(t->core), &t->stop_msg, stop_look); /* who counts down is in the middle of something */
}

static enum seq_result stop_listening(struct seq *s)
{
	struct iscsi_target *t = container_of(s, struct iscsi_target, stop);

	list_each(l, &t->portal_groups)
		iscsi_portal_group_unlisten(list_entry(l, struct iscsi_portal_group, link));
	return SEQ_NEXT;
}

static void conns_stopped(void *arg)
{
	seq_resume(arg, 0);
}

static enum seq_result stop_conns(struct seq *s)
{
	iscsi_conns_stop(container_of(s, struct iscsi_target, stop)->conns, conns_stopped, s);
	return SEQ_WAIT;
}

static enum seq_result stop_nodes(struct seq *s)
{
	struct iscsi_target *t = container_of(s, struct iscsi_target, stop);

	t->work_out++; /* none of them counts down to 0 before all were told */
	list_each_safe(l, &t->nodes) {
		struct iscsi_node *n = list_entry(l, struct iscsi_node, link);

		if (!n->gone && !n->coming)
			iscsi_node_go(n, NULL);
	}
	t->stop_waits = true;
	iscsi_target_less(t);
	return SEQ_WAIT;
}

static const struct seq_step stop_steps[] = {
	{ "close portals",       stop_listening, NULL },
	{ "end connections",     stop_conns,     NULL },
	{ "take nodes away",     stop_nodes,     NULL },
};

static void secret_free(struct iscsi_chap_user *s);
static void initiator_group_free(struct iscsi_initiator_group *g);

static void auth_group_free(struct iscsi_auth_group *g)
{
	list_each_safe(l, &g->secrets)
		secret_free(list_entry(l, struct iscsi_chap_user, link));
	list_del(&g->link);
	free(g);
}

static void target_free(struct iscsi_target *t)
{
	list_each_safe(l, &t->auth_groups)
		auth_group_free(list_entry(l, struct iscsi_auth_group, link));
	list_each_safe(l, &t->initiator_groups)
		initiator_group_free(list_entry(l, struct iscsi_initiator_group, link));
	list_each_safe(l, &t->portal_groups) {
		list_del(l);
		iscsi_portal_group_unref(list_entry(l, struct iscsi_portal_group, link));
	}
	assert(list_empty(&t->nodes));
	iscsi_conns_free(t->conns);
	free(t);
}

static void stop_done(struct seq *s)
{
	struct iscsi_target *t = container_of(s, struct iscsi_target, stop);
	void (*done)(void *arg) = t->stopped;
	void *arg = t->stopped_arg;

	target_free(t);
	done(arg);
}

void iscsi_target_stop(struct iscsi_target *t, void (*done)(void *arg), void *arg)
{
	t->stopping = true;
	t->stopped = done;
	t->stopped_arg = arg;
	seq_start(&t->stop, "stop the iSCSI target", stop_steps, ARRAY_SIZE(stop_steps), stop_done);
}

/* --- options ----------------------------------------------------------------------------------------------- */

int iscsi_auth_check(const struct iscsi_chap_policy *a, struct err *e)
{
	if (a->disable_chap && a->require_chap)
		return err_set(e, ERR_BAD_PARAM, "disable_chap, require_chap: both are true; give one of them");
	if (a->mutual_chap && !a->require_chap)
		return err_set(e, ERR_BAD_PARAM, "mutual_chap: true without require_chap; give require_chap too, or leave it "
		               "out");
	if (a->chap_group > ISCSI_GROUP_TAG_MAX)
		return err_set(e, ERR_BAD_PARAM, "chap_group: %u is no tag; 1 to %u, or 0 for none", a->chap_group,
		               ISCSI_GROUP_TAG_MAX);
	return 0;
}

int iscsi_options_check(const struct iscsi_options *o, struct err *e)
{
	if (iscsi_name_check("node_base", o->node_base, e) || iscsi_auth_check(&o->discovery, e))
		return e->code;
	if (o->first_burst_length > o->max_burst_length)
		return err_set(e, ERR_BAD_PARAM, "first_burst_length: %u is more than max_burst_length, which is %u; it must "
		               "not be", o->first_burst_length, o->max_burst_length);
	if (o->nop_in_interval_s > o->nop_timeout_s)
		return err_set(e, ERR_BAD_PARAM, "nop_in_interval: %u s is longer than nop_timeout, which is %u s; give at "
		               "most that", o->nop_in_interval_s, o->nop_timeout_s);
	return 0;
}

/* --- secrets ------------------------------------------------------------------------------------------------- */

#define SECRET_GOOD_MIN 12u /* RFC 7143 9.2.1: 96 bits, unless IPsec protects */

static void text_free(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

static void secret_free(struct iscsi_chap_user *s)
{
	list_del(&s->link);
	text_free(s->user);
	text_free(s->secret);
	text_free(s->muser);
	text_free(s->msecret);
	free(s);
}

struct iscsi_auth_group *iscsi_auth_group_find(struct iscsi_target *t, uint32_t tag)
{
	list_each(l, &t->auth_groups)
		if (list_entry(l, struct iscsi_auth_group, link)->tag == tag)
			return list_entry(l, struct iscsi_auth_group, link);
	return NULL;
}

static struct iscsi_auth_group *auth_group_get(struct iscsi_target *t, uint32_t tag, struct err *e)
{
	struct iscsi_auth_group *g = iscsi_auth_group_find(t, tag);

	if (!g)
		err_set(e, -ENOENT, "tag: there is no authentication group %u; iscsi_get_auth_groups lists them", tag);
	return g;
}

int iscsi_auth_group_add(struct iscsi_target *t, uint32_t tag, struct err *e)
{
	struct iscsi_auth_group *g;

	if (!tag || tag > ISCSI_GROUP_TAG_MAX)
		return err_set(e, ERR_BAD_PARAM, "tag: %u is no tag of a group; 1 to %u", tag, ISCSI_GROUP_TAG_MAX);
	if (iscsi_auth_group_find(t, tag))
		return err_set(e, -EEXIST, "tag: there is an authentication group %u; take another tag", tag);
	g = base_zalloc(sizeof(*g));
	g->tag = tag;
	g->stamp = ++t->stamps;
	list_init(&g->secrets);
	list_add_tail(&t->auth_groups, &g->link);
	return 0;
}

int iscsi_auth_group_remove(struct iscsi_target *t, uint32_t tag, struct err *e)
{
	struct iscsi_auth_group *g = auth_group_get(t, tag, e);

	if (!g)
		return e->code;
	auth_group_free(g);
	return 0;
}

static struct iscsi_chap_user *secret_find(struct iscsi_auth_group *g, const char *user)
{
	list_each(l, &g->secrets)
		if (!strcmp(list_entry(l, struct iscsi_chap_user, link)->user, user))
			return list_entry(l, struct iscsi_chap_user, link);
	return NULL;
}

static int chap_text_check(const char *field, const char *s, struct err *e)
{
	if (!s || (*s && strlen(s) <= ISCSI_CHAP_TEXT_MAX))
		return 0;
	return err_set(e, ERR_BAD_PARAM, "%s: %s; 1 to %u bytes are wanted", field, *s ? "it is too long" : "it is empty",
	               ISCSI_CHAP_TEXT_MAX);
}

static void weigh_secret(const char *which, const char *user, const char *secret)
{
	if (secret && strlen(secret) < SECRET_GOOD_MIN)
		log_warning("iscsi: the %s of CHAP user '%s' is shorter than %u bytes: it can be found by trying; RFC 7143 "
		            "wants more, and some initiators refuse it", which, user, SECRET_GOOD_MIN);
}

int iscsi_secret_add(struct iscsi_target *t, uint32_t tag, const struct iscsi_chap_user *s, struct err *e)
{
	struct iscsi_auth_group *g = auth_group_get(t, tag, e);
	struct iscsi_chap_user *new;

	if (!g || chap_text_check("user", s->user, e) || chap_text_check("secret", s->secret, e) ||
	    chap_text_check("muser", s->muser, e) || chap_text_check("msecret", s->msecret, e))
		return e->code;
	if (!s->muser != !s->msecret)
		return err_set(e, ERR_BAD_PARAM, "%s: it was not given, but its counterpart was; mutual CHAP needs muser and "
		               "msecret", s->muser ? "msecret" : "muser");
	if (s->msecret && !strcmp(s->msecret, s->secret))
		return err_set(e, ERR_BAD_PARAM, "msecret: it is the same as secret, so that a host's answer could be sent "
		               "back as ours; take another one");
	if (secret_find(g, s->user))
		return err_set(e, -EEXIST, "user: '%s' is in authentication group %u already; remove it first, or take another "
		               "name", s->user, tag);
	weigh_secret("secret", s->user, s->secret);
	weigh_secret("msecret", s->user, s->msecret);
	new = base_zalloc(sizeof(*new));
	new->user = base_strdup(s->user);
	new->secret = base_strdup(s->secret);
	new->muser = s->muser ? base_strdup(s->muser) : NULL;
	new->msecret = s->msecret ? base_strdup(s->msecret) : NULL;
	list_add_tail(&g->secrets, &new->link);
	g->stamp = ++t->stamps;
	return 0;
}

int iscsi_secret_remove(struct iscsi_target *t, uint32_t tag, const char *user, struct err *e)
{
	struct iscsi_auth_group *g = auth_group_get(t, tag, e);
	struct iscsi_chap_user *s = g ? secret_find(g, user) : NULL;

	if (!g)
		return e->code;
	if (!s)
		return err_set(e, -ENOENT, "user: '%s' is not in authentication group %u", user, tag);
	secret_free(s);
	g->stamp = ++t->stamps;
	return 0;
}

/* --- initiator groups --------------------------------------------------------------------------------------- */

static void masks_free(struct iscsi_netmask *masks, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		free(masks[i].text);
	free(masks);
}

static void initiator_group_free(struct iscsi_initiator_group *g)
{
	for (uint32_t i = 0; i < g->name_count; i++)
		free(g->names[i]);
	free(g->names);
	masks_free(g->masks, g->mask_count);
	list_del(&g->link);
	free(g);
}

struct iscsi_initiator_group *iscsi_initiator_group_find(struct iscsi_target *t, uint32_t tag)
{
	list_each(l, &t->initiator_groups)
		if (list_entry(l, struct iscsi_initiator_group, link)->tag == tag)
			return list_entry(l, struct iscsi_initiator_group, link);
	return NULL;
}

static struct iscsi_initiator_group *initiator_group_get(struct iscsi_target *t, uint32_t tag, struct err *e)
{
	struct iscsi_initiator_group *g = iscsi_initiator_group_find(t, tag);

	if (!g)
		err_set(e, -ENOENT, "tag: there is no initiator group %u; iscsi_get_initiator_groups lists them", tag);
	return g;
}

static uint32_t name_at(const struct iscsi_initiator_group *g, const char *name)
{
	for (uint32_t i = 0; i < g->name_count; i++)
		if (!strcmp(g->names[i], name))
			return i;
	return UINT32_MAX;
}

static uint32_t mask_at(const struct iscsi_initiator_group *g, const char *text)
{
	for (uint32_t i = 0; i < g->mask_count; i++)
		if (!strcmp(g->masks[i].text, text))
			return i;
	return UINT32_MAX;
}

/* Hosts' names are not ours to judge; only what can be none is refused. "ALL", SPDK's older word, is "ANY". */
static const char *name_of(const char *given)
{
	return !strcmp(given, "ALL") ? "ANY" : !strcmp(given, "!ALL") ? "!ANY" : given;
}

static int initiator_name_check(const struct iscsi_initiator_group *g, const char *name, struct err *e)
{
	size_t len = strlen(name) - (name[0] == '!');

	if (!len || len > ISCSI_NAME_MAX)
		return err_set(e, ERR_BAD_PARAM, "initiators: '%.60s' is %s; a name has 1 to %u bytes", name,
		               len ? "too long" : "empty", ISCSI_NAME_MAX);
	for (const char *c = name; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return err_set(e, ERR_BAD_PARAM, "initiators: '%s' has a blank or control character; give names one by one",
			               name);
	if (name_at(g, name_of(name)) != UINT32_MAX)
		return err_set(e, -EEXIST, "initiators: '%s' is in initiator group %u already", name, g->tag);
	return 0;
}

/* All of them, or none. `g` may be a draft. */
static int initiators_put(struct iscsi_initiator_group *g, const struct iscsi_initiators *in, struct err *e)
{
	struct iscsi_netmask *masks = base_zalloc((in->mask_count + 1) * sizeof(*masks));
	uint32_t parsed = 0;

	for (uint32_t i = 0; i < in->name_count; i++)
		if (initiator_name_check(g, in->names[i], e))
			goto failed;
	for (; parsed < in->mask_count; parsed++) {
		if (iscsi_netmask_parse(in->masks[parsed], &masks[parsed], e))
			goto failed;
		if (mask_at(g, masks[parsed].text) != UINT32_MAX) {
			err_set(e, -EEXIST, "netmasks: '%s' is in initiator group %u already", masks[parsed].text, g->tag);
			parsed++;
			goto failed;
		}
	}
	if (g->name_count + in->name_count > ISCSI_INITIATORS_MAX ||
	    g->mask_count + in->mask_count > ISCSI_INITIATORS_MAX) {
		err_set(e, -ENOSPC, "initiators, netmasks: initiator group %u can have %u of each; make another group", g->tag,
		        ISCSI_INITIATORS_MAX);
		goto failed;
	}
	g->names = reallocarray(g->names, g->name_count + in->name_count + 1, sizeof(*g->names));
	g->masks = reallocarray(g->masks, g->mask_count + in->mask_count + 1, sizeof(*g->masks));
	must(g->names && g->masks);
	for (uint32_t i = 0; i < in->name_count; i++)
		g->names[g->name_count++] = base_strdup(name_of(in->names[i]));
	memcpy(&g->masks[g->mask_count], masks, in->mask_count * sizeof(*masks));
	g->mask_count += in->mask_count;
	free(masks);
	return 0;
failed:
	masks_free(masks, parsed);
	return e->code;
}

int iscsi_initiator_group_add(struct iscsi_target *t, uint32_t tag, const struct iscsi_initiators *in, struct err *e)
{
	struct iscsi_initiator_group *g;

	if (!tag || tag > ISCSI_GROUP_TAG_MAX)
		return err_set(e, ERR_BAD_PARAM, "tag: %u is no tag of a group; 1 to %u", tag, ISCSI_GROUP_TAG_MAX);
	if (iscsi_initiator_group_find(t, tag))
		return err_set(e, -EEXIST, "tag: there is an initiator group %u; take another tag", tag);
	g = base_zalloc(sizeof(*g));
	g->tag = tag;
	g->stamp = ++t->stamps;
	list_init(&g->link);
	if (initiators_put(g, in, e)) {
		initiator_group_free(g);
		return e->code;
	}
	list_add_tail(&t->initiator_groups, &g->link);
	return 0;
}

/* The first that fits decides, so one more name may shut somebody out. */
void iscsi_initiators_add(struct iscsi_target *t, uint32_t tag, const struct iscsi_initiators *in,
                          struct iscsi_change *c)
{
	struct iscsi_initiator_group *g = initiator_group_get(t, tag, &c->err);

	if (!g || initiators_put(g, in, &c->err)) {
		iscsi_change_end(c);
		return;
	}
	g->stamp = ++t->stamps;
	iscsi_work_run(iscsi_work_make(t, c));
}

static int initiators_known(const struct iscsi_initiator_group *g, const struct iscsi_initiators *in, struct err *e)
{
	for (uint32_t i = 0; i < in->name_count; i++)
		if (name_at(g, name_of(in->names[i])) == UINT32_MAX)
			return err_set(e, -ENOENT, "initiators: '%s' is not in initiator group %u", in->names[i], g->tag);
	for (uint32_t i = 0; i < in->mask_count; i++)
		if (mask_at(g, name_of(in->masks[i])) == UINT32_MAX)
			return err_set(e, -ENOENT, "netmasks: '%s' is not in initiator group %u", in->masks[i], g->tag);
	return 0;
}

void iscsi_initiators_remove(struct iscsi_target *t, uint32_t tag, const struct iscsi_initiators *in,
                             struct iscsi_change *c)
{
	struct iscsi_initiator_group *g = initiator_group_get(t, tag, &c->err);

	if (!g || initiators_known(g, in, &c->err)) {
		iscsi_change_end(c);
		return;
	}
	for (uint32_t i = 0; i < in->name_count; i++) {
		uint32_t at = name_at(g, name_of(in->names[i]));

		if (at == UINT32_MAX) /* given twice */
			continue;
		free(g->names[at]);
		memmove(&g->names[at], &g->names[at + 1], (--g->name_count - at) * sizeof(*g->names));
	}
	for (uint32_t i = 0; i < in->mask_count; i++) {
		uint32_t at = mask_at(g, name_of(in->masks[i]));

		if (at == UINT32_MAX)
			continue;
		free(g->masks[at].text);
		memmove(&g->masks[at], &g->masks[at + 1], (--g->mask_count - at) * sizeof(*g->masks));
	}
	g->stamp = ++t->stamps;
	iscsi_work_run(iscsi_work_make(t, c));
}

void iscsi_initiator_group_remove(struct iscsi_target *t, uint32_t tag, struct iscsi_change *c)
{
	struct iscsi_initiator_group *g = initiator_group_get(t, tag, &c->err);
	struct iscsi_work *w;

	if (!g) {
		iscsi_change_end(c);
		return;
	}
	w = iscsi_work_make(t, c);
	list_each(l, &t->nodes)
		iscsi_map_remove(w, list_entry(l, struct iscsi_node, link), NULL, g);
	initiator_group_free(g);
	iscsi_work_run(w);
}
