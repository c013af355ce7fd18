/* SPDX-License-Identifier: BSD-3-Clause */
/* config_test.c: the configuration against a SCSI layer and sessions that are made of memory: who is let in, who
 * has to go, in which order things are taken away. A mistake here leaves a host at a disk that is not its any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/text.h"
#include "iscsi/config_priv.h"
#include "iscsi/login.h"

#define NODE "iqn.2016-06.io.spdk:disk"
#define HOST "iqn.2016-06.io.spdk:host"

/* --- the SCSI layer ------------------------------------------------------------------------------------------ */

struct scsi_target {
	bool ports[ISCSI_TAG_MAX + 1];
	uint32_t luns;
};
static scsi_lun_gone_fn *gone_fn;
static void *gone_arg;
static struct scsi_target *last_scsi;

struct scsi_target *scsi_target_make(struct scsi *s, const struct scsi_target_opts *opts, struct err *e)
{
	return last_scsi = base_zalloc(sizeof(struct scsi_target));
}

void scsi_target_free(struct scsi_target *t, struct scsi_change *c)
{
	free(t);
	c->done(c);
}

int scsi_target_add_port(struct scsi_target *t, const struct scsi_port_opts *opts, struct err *e)
{
	assert_false(t->ports[opts->id]);
	t->ports[opts->id] = true;
	return 0;
}

int scsi_target_remove_port(struct scsi_target *t, uint16_t id, struct err *e)
{
	assert_true(t->ports[id]);
	t->ports[id] = false;
	return 0;
}

void scsi_target_add_lun(struct scsi_target *t, const struct scsi_lun_opts *opts, struct scsi_change *c)
{
	if (!strcmp(opts->bdev_name, "none"))
		err_set(&c->err, -ENODEV, "bdev_name: there is no device 'none'");
	else
		t->luns++;
	if (!strcmp(opts->bdev_name, "slow")) /* so slow that the device of LUN 3 goes meanwhile */
		gone_fn(gone_arg, t, &(struct scsi_lun_gone){ .lun = 3, .bdev_name = "a", .returns = true });
	c->done(c);
}

void scsi_target_remove_lun(struct scsi_target *t, uint32_t lun, struct scsi_change *c)
{
	t->luns--;
	c->done(c);
}

void scsi_on_lun_gone(struct scsi *s, scsi_lun_gone_fn *fn, void *arg)
{
	gone_fn = fn;
	gone_arg = arg;
}

/* --- sessions: one of each host that a test puts here -------------------------------------------------------- */

static struct iscsi_conn_info conns[8];
static bool ended[8];
static uint32_t conn_count;
static bool ends_late;
static struct iscsi_conns_end *late;

struct iscsi_conns *iscsi_conns_make(struct iscsi_target *t)
{
	return NULL;
}

void iscsi_conns_stop(struct iscsi_conns *c, void (*done)(void *arg), void *arg)
{
	done(arg);
}

void iscsi_conns_free(struct iscsi_conns *c)
{
}

void iscsi_conn_accept(struct iscsi_portal *p, struct sock *s)
{
}

void iscsi_conns_each(struct iscsi_target *t, void (*fn)(void *arg, const struct iscsi_conn_info *i), void *arg)
{
	for (uint32_t i = 0; i < conn_count; i++)
		if (!ended[i])
			fn(arg, &conns[i]);
}

void iscsi_conns_end(struct iscsi_target *t, struct iscsi_conns_end *e)
{
	for (uint32_t i = 0; i < conn_count; i++)
		if (!ended[i] && e->matches(e, &conns[i]))
			ended[i] = true;
	if (ends_late)
		late = e;
	else
		e->done(e);
}

static void put_conn(struct iscsi_node *n, struct iscsi_portal_group *pg, const char *name, const char *peer)
{
	struct iscsi_conn_info *i = &conns[conn_count++];

	*i = (struct iscsi_conn_info){ .phase = n ? ISCSI_CONN_NORMAL : ISCSI_CONN_DISCOVERY, .initiator = name, .pg = pg,
	                               .node = n };
	assert_int_equal(net_addr_parse(NET_IPV4, peer, "1", &i->peer, NULL), 0);
}

/* --- the rig ------------------------------------------------------------------------------------------------- */

static struct iscsi_target *target;
static bool changed, stopped;
static struct err error;
static char said[1024];
static struct text said_text;

static void change_done(struct iscsi_change *c)
{
	changed = true;
	error = c->err;
}
static struct iscsi_change change;

static struct iscsi_change *begin(void)
{
	changed = false;
	error = (struct err){ 0 };
	change = (struct iscsi_change){ .done = change_done };
	return &change;
}

static void add_initiators(uint32_t tag, const char *name, const char *mask)
{
	const struct iscsi_initiators in = { .names = &name, .masks = &mask, .name_count = 1, .mask_count = 1 };

	assert_int_equal(iscsi_initiator_group_add(target, tag, &in, &error), 0);
}

static void add_portals(uint32_t tag, const char *host, bool is_private)
{
	const struct iscsi_portal_spec spec = { .host = host, .port = "3260" };

	assert_int_equal(iscsi_portal_group_add(target, tag, &spec, 1, is_private, true, &error), 0);
	iscsi_portal_group_find(target, tag)->listening = true;
}

static struct iscsi_node *add_node(const char *name, uint32_t pg, uint32_t ig, const char *bdev_name)
{
	const struct iscsi_map_pair pair = { pg, ig };
	const struct iscsi_lun_spec luns[2] = { { .bdev_name = bdev_name, .lun = 3 }, { .bdev_name = "b", .lun = -1 } };
	const struct iscsi_node_opts opts = { .name = name, .pairs = &pair, .pair_count = 1, .luns = luns, .lun_count = 2 };

	iscsi_node_add(target, &opts, begin());
	assert_true(changed);
	return iscsi_node_find(target, name);
}

static int start(void **state)
{
	error = (struct err){ 0 };
	conn_count = 0;
	memset(ended, 0, sizeof(ended));
	ends_late = false;
	late = NULL;
	target = iscsi_target_make(NULL, NULL, NULL);
	add_portals(1, "192.0.2.1", false);
	add_portals(2, "[2001:db8::1]", false);
	add_portals(3, "192.0.2.3", true);
	add_initiators(1, "ANY", "ANY");
	add_initiators(2, HOST, "10.0.0.0/8");
	return 0;
}

static void has_stopped(void *arg)
{
	stopped = true;
}

static int stop(void **state)
{
	stopped = false;
	ends_late = false;
	target->work_out += 2; /* no reactor here: count down by hand */
	iscsi_target_stop(target, has_stopped, NULL);
	assert_int_equal(target->work_out, 2);
	target->work_out = 0;
	target->stop_waits = false;
	seq_resume(&target->stop, 0);
	assert_true(stopped);
	return 0;
}

/* A name and an address come by portal group `pg` and want NODE: what does login hear? */
static uint16_t knock(uint32_t pg, const char *initiator, const char *peer, struct iscsi_login *l)
{
	struct iscsi_portal_group *g = iscsi_portal_group_find(target, pg);
	struct iscsi_visitor v = { .target = target, .portal = list_first(&g->portals, struct iscsi_portal, link) };

	assert_int_equal(net_addr_parse(NET_IPV4, peer, "1", &v.peer, NULL), 0);
	memset(l, 0, sizeof(*l));
	text_pad(l->initiator_name, sizeof(l->initiator_name), initiator, 0);
	text_pad(l->target_name, sizeof(l->target_name), NODE, 0);
	l->session_type = ISCSI_NORMAL;
	return iscsi_config_login_ops.admit(&v, l);
}

/* --- access -------------------------------------------------------------------------------------------------- */

static void name_and_address_have_to_fit(void **state)
{
	struct iscsi_login l;
	struct iscsi_node *n = add_node(NODE, 1, 2, "a");

	assert_int_equal(knock(1, HOST, "10.1.2.3", &l), ISCSI_LOGIN_SUCCESS);
	assert_ptr_equal(l.node, n);
	assert_int_equal(l.portal_group_tag, 1);
	assert_int_equal(l.auth, ISCSI_AUTH_NONE);
	assert_int_equal(knock(1, HOST, "11.1.2.3", &l), ISCSI_LOGIN_NOT_AUTHORIZED);
	assert_int_equal(knock(1, HOST "x", "10.1.2.3", &l), ISCSI_LOGIN_NOT_AUTHORIZED);
	assert_int_equal(knock(2, HOST, "10.1.2.3", &l), ISCSI_LOGIN_NOT_FOUND); /* not served there */
}

static void who_is_denied_in_one_group_is_not_let_in_by_the_next(void **state)
{
	const char *names[] = { "!" HOST }, *masks[] = { "ANY" };
	const struct iscsi_initiators in = { names, masks, 1, 1 };
	const struct iscsi_map_pair more = { 1, 1 };
	struct iscsi_login l;

	assert_int_equal(iscsi_initiator_group_add(target, 7, &in, &error), 0);
	add_node(NODE, 1, 7, "a");
	assert_int_equal(iscsi_node_add_maps(target, NODE, &more, 1, &error), 0);
	assert_int_equal(knock(1, HOST, "10.1.2.3", &l), ISCSI_LOGIN_NOT_AUTHORIZED);
	assert_int_equal(knock(1, HOST "x", "10.1.2.3", &l), ISCSI_LOGIN_SUCCESS);
}

static void the_policy_decides_how_to_authenticate(void **state)
{
	struct iscsi_chap_policy p = { .require_chap = true, .mutual_chap = true, .chap_group = 5 };
	char user[] = "u", word[] = "0123456789ab", muser[] = "m", mword[] = "ba9876543210";
	const struct iscsi_chap_user u = { .user = user, .secret = word, .muser = muser, .msecret = mword };
	struct iscsi_login_secret secret = { 0 };
	struct iscsi_login l;
	struct iscsi_visitor v = { .target = target };

	add_node(NODE, 1, 1, "a");
	assert_int_equal(iscsi_auth_group_add(target, 5, &error), 0);
	assert_int_equal(iscsi_secret_add(target, 5, &u, &error), 0);
	assert_int_equal(iscsi_node_set_auth(target, NODE, &p, &error), 0);
	assert_int_equal(knock(1, HOST, "10.1.2.3", &l), ISCSI_LOGIN_SUCCESS);
	assert_int_equal(l.auth, ISCSI_AUTH_MUTUAL);
	assert_false(iscsi_config_login_ops.secret(&v, &l, "nobody", &secret));
	assert_true(iscsi_config_login_ops.secret(&v, &l, "u", &secret));
	assert_int_equal(secret.len, 12);
	assert_memory_equal(secret.secret, "0123456789ab", 12);
	assert_string_equal(secret.mutual_name, "m");
	assert_int_equal(secret.mutual_len, 12);
	p = (struct iscsi_chap_policy){ .chap_group = 5 };
	assert_int_equal(iscsi_node_set_auth(target, NODE, &p, &error), 0);
	knock(1, HOST, "10.1.2.3", &l);
	assert_int_equal(l.auth, ISCSI_AUTH_ALLOWED);
	p = (struct iscsi_chap_policy){ .mutual_chap = true };
	assert_int_equal(iscsi_node_set_auth(target, NODE, &p, &error), ERR_BAD_PARAM);
}

static void logins_are_sent_elsewhere(void **state)
{
	struct iscsi_login l;

	add_node(NODE, 1, 1, "a");
	assert_int_equal(iscsi_node_set_redirect(target, NODE, 1, "192.0.2.1", "3260", &error), ERR_BAD_PARAM); /* itself */
	error = (struct err){ 0 };
	assert_int_equal(iscsi_node_set_redirect(target, NODE, 1, "2001:db8::9", "3261", &error), 0);
	assert_int_equal(knock(1, HOST, "10.1.2.3", &l), ISCSI_LOGIN_MOVED_TEMPORARILY);
	assert_string_equal(l.redirect, "[2001:db8::9]:3261");
	assert_int_equal(iscsi_node_set_redirect(target, NODE, 1, NULL, NULL, &error), 0);
	assert_int_equal(knock(1, HOST, "10.1.2.3", &l), ISCSI_LOGIN_SUCCESS);
}

static void no_more_sessions_than_the_options_say(void **state)
{
	struct iscsi_login l;
	struct iscsi_node *n = add_node(NODE, 1, 1, "a");

	target->options.max_sessions = 1;
	put_conn(n, iscsi_portal_group_find(target, 1), HOST "other", "10.0.0.1");
	assert_int_equal(knock(1, HOST, "10.1.2.3", &l), ISCSI_LOGIN_OUT_OF_RESOURCES);
	assert_int_equal(knock(1, HOST "other", "10.1.2.3", &l), ISCSI_LOGIN_SUCCESS); /* takes its own one's place */
}

/* --- discovery ----------------------------------------------------------------------------------------------- */

static const char *targets(uint32_t pg, const char *local, const char *which)
{
	struct iscsi_portal_group *g = iscsi_portal_group_find(target, pg);
	struct iscsi_visitor v = { .target = target, .portal = list_first(&g->portals, struct iscsi_portal, link) };
	struct iscsi_text_nego nego = { .waits = true }; /* as after a SendTargets */
	uint32_t len;
	const uint8_t *text;

	assert_int_equal(net_addr_parse(strchr(local, ':') ? NET_IPV6 : NET_IPV4, local, "9", &v.local, NULL), 0);
	assert_int_equal(net_addr_parse(NET_IPV4, "10.0.0.1", "9", &v.peer, NULL), 0);
	iscsi_send_targets(&v, HOST, which, &nego);
	text = iscsi_text_take(&nego.out, sizeof(said), &len);
	said_text = text_over(said, sizeof(said));
	for (uint32_t i = 0; i < len; i++)
		text_add(&said_text, "%c", text[i] ? text[i] : '\n');
	iscsi_text_end(&nego);
	return said;
}

static void discovery_tells_what_there_is_for_a_host(void **state)
{
	const struct iscsi_map_pair more[] = { { 2, 1 }, { 3, 1 } };

	add_node(NODE "1", 1, 1, "a");
	add_node(NODE "2", 1, 2, "a");
	add_initiators(9, HOST "other", "ANY");
	add_node(NODE "3", 1, 9, "a");
	assert_int_equal(iscsi_node_add_maps(target, NODE "1", more, 2, &error), 0);
	assert_string_equal(targets(1, "192.0.2.1", "All"),
	                    "TargetName=" NODE "1\nTargetAddress=192.0.2.1:3260,1\nTargetAddress=[2001:db8::1]:3260,2\n"
	                    "TargetName=" NODE "2\nTargetAddress=192.0.2.1:3260,1\n");
	assert_string_equal(targets(1, "192.0.2.1", NODE "2"), "TargetName=" NODE "2\nTargetAddress=192.0.2.1:3260,1\n");
	assert_string_equal(targets(1, "192.0.2.1", NODE "3"), "");
	iscsi_portal_group_find(target, 2)->listening = false;
	assert_string_equal(targets(1, "192.0.2.1", NODE "1"), "TargetName=" NODE "1\nTargetAddress=192.0.2.1:3260,1\n");
}

static void a_wildcard_is_told_as_where_the_host_came_in(void **state)
{
	add_portals(4, "*", false);
	add_node(NODE, 4, 1, "a");
	assert_string_equal(targets(1, "198.51.100.7", "All"), "TargetName=" NODE "\nTargetAddress=198.51.100.7:3260,4\n");
	assert_string_equal(targets(2, "2001:db8::7", "All"), "TargetName=" NODE "\n");
}

/* --- what goes ----------------------------------------------------------------------------------------------- */

static void sessions_that_may_no_longer_be_end(void **state)
{
	const char *names[] = { HOST }, *masks[] = { "10.0.0.0/8" };
	const struct iscsi_initiators in = { names, masks, 1, 1 };
	struct iscsi_node *n = add_node(NODE, 1, 2, "a");
	struct iscsi_portal_group *pg = iscsi_portal_group_find(target, 1);

	put_conn(n, pg, HOST, "10.0.0.1");
	put_conn(NULL, pg, HOST, "10.0.0.1");
	iscsi_initiators_add(target, 1, &(struct iscsi_initiators){ 0 }, begin());
	assert_true(changed && !error.code && !ended[0]);
	iscsi_initiators_remove(target, 2, &in, begin());
	assert_true(changed && !error.code && ended[0] && !ended[1]);
	iscsi_initiators_remove(target, 2, &in, begin());
	assert_int_equal(error.code, -ENOENT);
}

static void a_port_goes_after_its_sessions(void **state)
{
	const struct iscsi_map_pair pair = { 1, 2 };
	struct iscsi_node *n = add_node(NODE, 1, 2, "a");
	struct scsi_target *scsi = last_scsi;

	put_conn(n, iscsi_portal_group_find(target, 1), HOST, "10.0.0.1");
	ends_late = true;
	iscsi_node_remove_maps(target, NODE, &pair, 1, begin());
	assert_true(!changed && ended[0] && scsi->ports[1]);
	late->done(late);
	assert_true(changed && !error.code && !scsi->ports[1]);
}

static void a_port_that_is_mapped_again_stays(void **state)
{
	const struct iscsi_map_pair pair = { 1, 2 };
	struct scsi_target *scsi;

	add_node(NODE, 1, 2, "a");
	scsi = last_scsi;
	ends_late = true;
	iscsi_node_remove_maps(target, NODE, &pair, 1, begin());
	assert_int_equal(iscsi_node_add_maps(target, NODE, &pair, 1, &error), 0);
	late->done(late);
	assert_true(changed && scsi->ports[1]);
}

static void a_portal_group_takes_its_maps_along(void **state)
{
	const struct iscsi_map_pair more = { 2, 1 };
	struct iscsi_node *n = add_node(NODE, 1, 1, "a");
	struct iscsi_portal_group *one = iscsi_portal_group_find(target, 1), *two = iscsi_portal_group_find(target, 2);

	assert_int_equal(iscsi_node_add_maps(target, NODE, &more, 1, &error), 0);
	put_conn(n, one, HOST, "10.0.0.1");
	put_conn(n, two, HOST, "10.0.0.1");
	put_conn(NULL, one, HOST, "10.0.0.1"); /* a discovery session there */
	iscsi_portal_group_remove(target, 1, begin());
	assert_true(changed && !error.code && ended[0] && !ended[1] && ended[2]);
	assert_true(!last_scsi->ports[1] && last_scsi->ports[2]);
	assert_null(iscsi_portal_group_find(target, 1));
	iscsi_initiator_group_remove(target, 1, begin());
	assert_true(changed && ended[1] && !last_scsi->ports[2]);
}

static void a_node_that_goes_is_no_more_found(void **state)
{
	struct iscsi_login l;
	struct iscsi_node *n = add_node(NODE, 1, 1, "a");

	put_conn(n, iscsi_portal_group_find(target, 1), HOST, "10.0.0.1");
	ends_late = true;
	iscsi_node_remove(target, NODE, begin());
	assert_true(ended[0] && !changed);
	assert_null(iscsi_node_find(target, NODE));
	assert_int_equal(knock(1, HOST, "10.1.2.3", &l), ISCSI_LOGIN_NOT_FOUND);
	late->done(late);
	assert_true(changed && !error.code);
	assert_int_equal(target->node_count, 0);
}

/* --- nodes and LUNs ------------------------------------------------------------------------------------------ */

static void a_node_is_made_whole_or_not_at_all(void **state)
{
	assert_null(add_node(NODE, 1, 1, "none"));
	assert_int_equal(error.code, -ENODEV);
	assert_non_null(strstr(error.text, "luns[0].bdev_name"));
	assert_int_equal(target->node_count, 0);
	assert_null(add_node(NODE, 9, 1, "a"));
	assert_non_null(strstr(error.text, "portal group 9"));
	assert_non_null(add_node("disk", 1, 1, "a"));
	assert_non_null(iscsi_node_find(target, NODE)); /* its whole name */
	assert_non_null(iscsi_node_find(target, "disk"));
	add_node("IQN.2016-06.io.spdk:DISK", 1, 1, "a");
	assert_int_equal(error.code, -EEXIST);
}

static void luns_have_numbers(void **state)
{
	struct iscsi_node *n = add_node(NODE, 1, 1, "a");
	struct iscsi_lun_spec spec = { .bdev_name = "c", .lun = -1 };
	static const uint32_t want[] = { 0, 1, 3 };
	uint32_t at = 0;

	iscsi_node_add_lun(target, NODE, &spec, begin());
	assert_int_equal(change.lun, 1);
	list_each(l, &n->luns)
		assert_int_equal(list_entry(l, struct iscsi_lun, link)->lun, want[at++]);
	spec.lun = 3;
	iscsi_node_add_lun(target, NODE, &spec, begin());
	assert_int_equal(error.code, -EEXIST);
	spec.lun = 256;
	iscsi_node_add_lun(target, NODE, &spec, begin());
	assert_int_equal(error.code, ERR_BAD_PARAM);
	iscsi_node_remove_lun(target, NODE, 3, begin());
	assert_int_equal(error.code, 0);
	iscsi_node_remove_lun(target, NODE, 3, begin());
	assert_int_equal(error.code, -ENOENT);
}

static void keep_lun(void *arg, const struct iscsi_node *n, const struct scsi_lun_gone *g)
{
	*(uint32_t *)arg = g->lun;
}

static void a_lun_whose_device_returns_is_told(void **state)
{
	uint32_t kept = 0;
	struct iscsi_node *n = add_node(NODE, 1, 1, "a");

	target->lun_gone = keep_lun;
	target->lun_gone_arg = &kept;
	gone_fn(gone_arg, n->scsi, &(struct scsi_lun_gone){ .lun = 0, .bdev_name = "b" });
	assert_int_equal(kept, 0);
	gone_fn(gone_arg, n->scsi, &(struct scsi_lun_gone){ .lun = 3, .bdev_name = "a", .returns = true });
	assert_int_equal(kept, 3);
	assert_true(list_empty(&n->luns));
}

static void a_lun_may_go_before_its_node_is_made(void **state)
{
	const struct iscsi_lun_spec luns[2] = { { .bdev_name = "a", .lun = 3 }, { .bdev_name = "slow", .lun = -1 } };
	const struct iscsi_node_opts opts = { .name = NODE, .luns = luns, .lun_count = 2 };
	uint32_t kept = 0;

	target->lun_gone = keep_lun;
	target->lun_gone_arg = &kept;
	iscsi_node_add(target, &opts, begin());
	assert_true(changed);
	assert_int_equal(error.code, -ENODEV);
	assert_non_null(strstr(error.text, "luns[0].bdev_name: device 'a'"));
	assert_int_equal(target->node_count, 0);
	assert_int_equal(kept, 0); /* nothing that could come back to a node that is not there */
}

static void groups_are_whole_or_not_there(void **state)
{
	const char *names[] = { HOST "1", HOST "2" }, *masks[] = { "192.0.2.0/24", "wrong" };
	const struct iscsi_initiators in = { names, masks, 2, 2 };
	const struct iscsi_portal_spec twice[] = { { "192.0.2.9", "3260" }, { "192.0.2.1", "3260" } };
	struct err e = { 0 };

	assert_int_equal(iscsi_initiator_group_add(target, 8, &in, &e), ERR_BAD_PARAM);
	assert_null(iscsi_initiator_group_find(target, 8));
	iscsi_initiators_add(target, 1, &in, begin());
	assert_int_equal(error.code, ERR_BAD_PARAM);
	assert_int_equal(iscsi_initiator_group_find(target, 1)->name_count, 1);
	e = (struct err){ 0 };
	assert_int_equal(iscsi_portal_group_add(target, 8, twice, 2, false, true, &e), -EEXIST);
	assert_null(iscsi_portal_group_find(target, 8));
	e = (struct err){ 0 };
	assert_int_equal(iscsi_portal_group_add(target, 0, twice, 1, false, true, &e), ERR_BAD_PARAM);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(name_and_address_have_to_fit), TEST(who_is_denied_in_one_group_is_not_let_in_by_the_next),
		TEST(the_policy_decides_how_to_authenticate), TEST(logins_are_sent_elsewhere),
		TEST(no_more_sessions_than_the_options_say), TEST(discovery_tells_what_there_is_for_a_host),
		TEST(a_wildcard_is_told_as_where_the_host_came_in), TEST(sessions_that_may_no_longer_be_end),
		TEST(a_port_goes_after_its_sessions), TEST(a_port_that_is_mapped_again_stays),
		TEST(a_portal_group_takes_its_maps_along), TEST(a_node_that_goes_is_no_more_found),
		TEST(a_node_is_made_whole_or_not_at_all), TEST(luns_have_numbers), TEST(a_lun_whose_device_returns_is_told),
		TEST(a_lun_may_go_before_its_node_is_made),
		TEST(groups_are_whole_or_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
