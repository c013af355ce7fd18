/* SPDX-License-Identifier: BSD-3-Clause */
/* host.c: gantry host: who may connect, and who is. */
#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"

static int run_list(struct cli *c, struct cli_args *a);
static int run_show(struct cli *c, struct cli_args *a);
static int run_add(struct cli *c, struct cli_args *a);
static int run_remove(struct cli *c, struct cli_args *a);

static const struct cli_option add_options[] = {
	{ "only", NULL, "Only those that were added, and no longer any host" },
	HOST_KEYS_OPTIONS,
	{ "listen", "ADDRESS:PORT", "With --tls or --concat: where the listener for that is to be, when there is none; the "
	  "address of the first one, and the next free port, when left out" },
};

#define EXPORT_HELP \
	"EXPORT is an NQN, what follows its last colon, or a disk. A host's own NQN is in its /etc/nvme/hostnqn; " \
	"over iSCSI, its name in /etc/iscsi/initiatorname.iscsi."
static const struct cli_verb verbs[] = {
	{ "list", "", "who may connect to what, and who is connected", run_list, .is_default = true,
	  .example = "gantry host list",
	  .help = "Over iSCSI a session counts as a controller with one queue." },
	{ "show", "HOST", "a host: what it is connected to, from where, and on which cores", run_show,
	  .example = "gantry host show nqn.2014-08.org.nvmexpress:uuid:12345678-1234-1234-1234-123456789abc" },
	{ "add", "HOST EXPORT", "let a host connect; HOST any lets all", run_add, CLI_OPTIONS(add_options),
	  .help = EXPORT_HELP " With --auth, --tls and --concat the daemon makes the host's keys, in files of their own in "
	          "its --state-dir, and prints what to type on the host.",
	  .example = "gantry host add nqn.2014-08.org.nvmexpress:uuid:12345678-1234-1234-1234-123456789abc disk0\n"
	             "gantry host add nqn.2014-08.org.nvmexpress:uuid:12345678-1234-1234-1234-123456789abc disk0 --auth "
	             "--tls --only" },
	{ "remove", "HOST EXPORT", "let a host connect no more and disconnect it; HOST any leaves those that were added",
	  run_remove, .help = EXPORT_HELP " Keys that were made for it are deleted.",
	  .example = "gantry host remove nqn.2014-08.org.nvmexpress:uuid:12345678-1234-1234-1234-123456789abc disk0" },
};
const struct cli_noun host_noun = { "host", "who may use what is exported, and who does", verbs, ARRAY_SIZE(verbs) };

static void add_hosts_of(struct cli *c, struct json_object *subsystem, struct json_object *into);
static int add_to_subsystem(struct cli *c, struct cli_args *a);
static int remove_from_subsystem(struct cli *c, struct cli_args *a);

/* --- list, show: {host, export, allowed, controllers, queues, addresses, cores} --- */

static void print_hosts(struct cli *c, struct json_object *all)
{
	struct table t;

	table_init(&t, "HOST EXPORT ALLOWED FROM >QUEUES");
	for (size_t i = 0; i < list_count(all); i++) {
		struct json_object *h = list_at(all, i);

		table_cell(&t, "%s", field_text(h, "host"));
		table_cell(&t, "%s", field_text(h, "export"));
		table_cell(&t, "%s", field_bool(h, "allowed") ? "yes" : "as any");
		table_cell(&t, "%s", field_u64(h, "controllers") ? field_text(h, "from") : "-");
		table_cell(&t, "%lu", field_u64(h, "queues"));
	}
	table_print(&t);
}

static int run_list(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *all = hosts_take(c, SIZE_MAX, &e);

	return cli_answer(c, all, &e, "No host is connected or named; gantry export list shows who may come", print_hosts);
}

static int run_show(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *all = hosts_take(c, SIZE_MAX, &e), *mine = json_object_new_array();
	const char *names[256];
	size_t count = 0;
	char near[300];

	for (size_t i = 0; i < list_count(all); i++) {
		const char *host = field_text(list_at(all, i), "host");

		if (strcmp(host, a->words[0]) == 0)
			json_object_array_add(mine, json_object_get(list_at(all, i)));
		if (count < ARRAY_SIZE(names))
			names[count++] = host;
	}
	if (all && !list_count(mine))
		err_set(&e, -2, "no host \"%s\" is connected or was added%s; gantry host list shows all", a->words[0],
		        cli_suggest(a->words[0], names, count, near, sizeof(near)));
	else if (all && c->json)
		cli_print_json(mine);
	else if (all)
		printf("%s\n", a->words[0]);
	for (size_t i = 0; i < list_count(mine) && !c->json; i++) {
		struct json_object *h = list_at(mine, i);

		printf("  %s\n    allowed     %s\n", field_text(h, "export"),
		       field_bool(h, "allowed") ? "by name" : "as any host");
		if (!strcmp(field_text(h, "from"), CLI_FROM_VHOST))
			printf("    connected   over vhost-user, %lu queues on %s\n", field_u64(h, "queues"),
			       *field_text(h, "cores") ? field_text(h, "cores") : "no core yet");
		else if (field_u64(h, "controllers"))
			printf("    connected   from %s, %lu controllers, %lu I/O queues on %s\n", field_text(h, "from"),
			       field_u64(h, "controllers"), field_u64(h, "queues"), field_text(h, "cores"));
		else
			printf("    connected   no\n");
	}
	json_object_put(mine);
	json_object_put(all);
	return e.code ? cli_fail(&e) : CLI_OK;
}

struct json_object *hosts_take(struct cli *c, size_t exports_max, struct err *e)
{
	struct json_object *subsystems = client_call(c, "nvmf_get_subsystems", NULL, e), *all;

	if (!subsystems)
		return NULL;
	all = json_object_new_array();
	for (size_t i = 0; i < list_count(subsystems) && exports_max; i++) {
		if (export_is_discovery(list_at(subsystems, i)))
			continue;
		add_hosts_of(c, list_at(subsystems, i), all);
		exports_max--;
	}
	json_object_put(subsystems);
	iscsi_add_hosts(c, all);
	vhost_add_hosts(c, all);
	return all;
}

static void add_hosts_of(struct cli *c, struct json_object *subsystem, struct json_object *into)
{
	const char *nqn = field_text(subsystem, "nqn");
	struct err e = { 0 };
	struct json_object *qpairs = client_ask(c, &e, "nvmf_subsystem_get_qpairs", "nqn", nqn, NULL);
	struct json_object *hosts = field(subsystem, "hosts");

	if (field_bool(subsystem, "allow_any_host"))
		json_object_object_add(host_entry(into, "any", nqn), "allowed", json_object_new_boolean(true));
	for (size_t i = 0; i < list_count(hosts); i++)
		json_object_object_add(host_entry(into, field_text(list_at(hosts, i), "nqn"), nqn), "allowed",
		                       json_object_new_boolean(true));
	for (size_t i = 0; i < list_count(qpairs); i++) {
		struct json_object *q = list_at(qpairs, i), *h = host_entry(into, field_text(q, "hostnqn"), nqn);
		const char *core = field_text(q, "thread"), *cores = field_text(h, "cores");
		char more[512];

		json_object_object_add(h, "from", json_object_new_string(field_text(field(q, "peer_address"), "traddr")));
		if (field_u64(q, "qid") == 0) {
			json_object_object_add(h, "controllers", json_object_new_uint64(field_u64(h, "controllers") + 1));
			continue;
		}
		json_object_object_add(h, "queues", json_object_new_uint64(field_u64(h, "queues") + 1));
		snprintf(more, sizeof(more), "%s%s%s", cores, *cores ? ", " : "", core);
		if (!strstr(cores, core))
			json_object_object_add(h, "cores", json_object_new_string(more));
	}
	json_object_put(qpairs);
}

struct json_object *host_entry(struct json_object *list, const char *host, const char *nqn)
{
	struct json_object *h;

	for (size_t i = 0; i < list_count(list); i++) {
		h = list_at(list, i);
		if (strcmp(field_text(h, "host"), host) == 0 && strcmp(field_text(h, "export"), nqn) == 0)
			return h;
	}
	h = json_object_new_object();
	json_object_object_add(h, "host", json_object_new_string(host));
	json_object_object_add(h, "export", json_object_new_string(nqn));
	json_object_object_add(h, "allowed", json_object_new_boolean(false));
	json_object_object_add(h, "controllers", json_object_new_uint64(0));
	json_object_object_add(h, "queues", json_object_new_uint64(0));
	json_object_object_add(h, "from", json_object_new_string(""));
	json_object_object_add(h, "cores", json_object_new_string(""));
	json_object_array_add(list, h);
	return h;
}

/* --- add, remove --- */

static int allow_any(struct cli *c, const char *nqn, bool any, struct err *e)
{
	struct json_object *params = json_object_new_object();
	int rc;

	json_object_object_add(params, "nqn", json_object_new_string(nqn));
	json_object_object_add(params, "allow_any_host", json_object_new_boolean(any));
	rc = client_do(c, "nvmf_subsystem_allow_any_host", params, e);
	json_object_put(params);
	return rc;
}

static int change_host(struct cli *c, const char *method, const char *nqn, const char *host, struct err *e)
{
	struct json_object *params = json_object_new_object();
	int rc;

	json_object_object_add(params, "nqn", json_object_new_string(nqn));
	json_object_object_add(params, "host", json_object_new_string(host));
	rc = client_do(c, method, params, e);
	json_object_put(params);
	return rc;
}

static bool is_iscsi_name(const char *host)
{
	return strncmp(host, "iqn.", 4) == 0 || strncmp(host, "eui.", 4) == 0 || strncmp(host, "naa.", 4) == 0;
}

static int check_name(const char *host, struct err *e)
{
	if (strcmp(host, "any") == 0 || strncmp(host, "nqn.", 4) == 0 || is_iscsi_name(host))
		return 0;
	return err_set(e, -EINVAL, "\"%s\" is no host's name: write its NQN (nqn...), its iSCSI name (iqn..., eui..., "
	               "naa...), or any", host);
}

/* A name of iSCSI; or anybody, where no NVMe export is meant. False: NVMe's. */
static bool is_for_iscsi(struct cli *c, const char *host, const char *export)
{
	struct err ignored = { 0 };
	struct json_object *all;
	bool found;

	if (is_iscsi_name(host))
		return true;
	if (strcmp(host, "any") != 0)
		return false;
	all = client_call(c, "nvmf_get_subsystems", NULL, &ignored);
	found = all && export_find(all, export, &ignored);
	json_object_put(all);
	return !found;
}

/* Why an export is not found that is there. */
static void explain(struct cli *c, const char *export, struct err *e)
{
	if (!vhost_export_exists(c, export))
		return;
	*e = (struct err){ 0 };
	err_set(e, -EINVAL, "%s is served to virtual machines: whoever may open its socket may connect; see gantryd "
	        "--vhost-group", export);
}

static int run_add(struct cli *c, struct cli_args *a)
{
	bool keyed = host_keys_wanted(a);
	struct err e = { 0 };

	if (check_name(a->words[0], &e))
		return cli_fail(&e);
	if (keyed && strncmp(a->words[0], "nqn.", 4) != 0)
		return cli_misuse("--auth, --tls, --concat: a host that has a key is one of NVMe, known by its NQN");
	if (host_keys_misuse(a))
		return cli_misuse("%s", host_keys_misuse(a));
	if (!keyed && (args_has(a, "hash") || args_has(a, "show-keys")))
		return cli_misuse("--hash and --show-keys are about keys: give --auth, --tls or --concat, too");
	if (args_has(a, "listen") && !host_keys_secure(a))
		return cli_misuse("--listen is about a listener with TLS: give --tls or --concat, too");
	if (is_for_iscsi(c, a->words[0], a->words[1]) &&
	    iscsi_host_change(c, a->words[0], a->words[1], true, args_has(a, "only"), &e))
		return e.code ? cli_fail(&e) : CLI_OK;
	return add_to_subsystem(c, a);
}

static int check_keyed(struct cli_args *a, struct json_object *export, struct err *e)
{
	const char *host = a->words[0];

	if (list_find(field(export, "hosts"), "nqn", host))
		return err_set(e, -EEXIST, "%s may connect to %s already; for other keys remove it first: gantry host "
		               "remove %s %s", host, field_text(export, "nqn"), host, a->words[1]);
	if (host_keys_secure(a) && field_bool(export, "allow_any_host") && !args_has(a, "only"))
		return err_set(e, -EINVAL, "any host may connect to %s, and TLS knows hosts by their keys: give --only, too, "
		               "and hosts that were not added are disconnected", field_text(export, "nqn"));
	return 0;
}

/* Keys, host, access, listener; what was made is taken back when a later one fails. */
static void add_keyed(struct cli *c, struct cli_args *a, struct json_object *export, struct err *e)
{
	const char *nqn = field_text(export, "nqn"), *host = a->words[0];
	struct json_object *params, *listeners = NULL;
	struct host_keys keys;
	struct err ignored = { 0 };
	bool added;

	if (check_keyed(a, export, e) || host_keys_make(c, a, nqn, host, &keys, e))
		return;
	params = json_object_new_object();
	json_object_object_add(params, "nqn", json_object_new_string(nqn));
	json_object_object_add(params, "host", json_object_new_string(host));
	host_keys_params(&keys, params);
	added = client_do(c, "nvmf_subsystem_add_host", params, e) == 0;
	json_object_put(params);
	if (added && (!args_has(a, "only") || allow_any(c, nqn, false, e) == 0) &&
	    (!host_keys_secure(a) || host_secure_listener(c, nqn, args_value(a, "listen"), keys.concat, e) == 0))
		listeners = host_listeners(c, nqn, e);
	if (e->code) {
		if (added)
			(void)!change_host(c, "nvmf_subsystem_remove_host", nqn, host, &ignored);
		host_keys_undo(c, &keys);
	} else if (c->json) {
		struct json_object *o = host_keys_json(&keys, listeners, e);

		if (!e->code)
			cli_print_json(o);
		json_object_put(o);
	} else {
		host_keys_say(&keys, listeners, e);
		if (field_bool(export, "allow_any_host") && !args_has(a, "only"))
			printf("Any host may still connect, without a proof; to let in only those that were added: gantry host "
			       "remove any %s\n", a->words[1]);
	}
	json_object_put(listeners);
}

static int add_to_subsystem(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *all = client_call(c, "nvmf_get_subsystems", NULL, &e);
	struct json_object *export = all ? export_find(all, a->words[1], &e) : NULL;
	const char *nqn = field_text(export, "nqn"), *host = a->words[0];

	if (all && !export)
		explain(c, a->words[1], &e);
	if (export && host_keys_wanted(a)) {
		add_keyed(c, a, export, &e);
	} else if (export && strcmp(host, "any") == 0) {
		allow_any(c, nqn, true, &e);
	} else if (export && (list_find(field(export, "hosts"), "nqn", host) ||
	                      change_host(c, "nvmf_subsystem_add_host", nqn, host, &e) == 0)) {
		if (args_has(a, "only"))
			allow_any(c, nqn, false, &e);
		else if (field_bool(export, "allow_any_host") && !c->json)
			printf("Any host may still connect; to let in only those that were added: gantry host remove any %s\n",
			       a->words[1]);
	}
	json_object_put(all);
	return e.code ? cli_fail(&e) : CLI_OK;
}

static int run_remove(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };

	if (is_for_iscsi(c, a->words[0], a->words[1]) &&
	    iscsi_host_change(c, a->words[0], a->words[1], false, false, &e))
		return e.code ? cli_fail(&e) : CLI_OK;
	return remove_from_subsystem(c, a);
}

static int remove_from_subsystem(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *all = client_call(c, "nvmf_get_subsystems", NULL, &e);
	struct json_object *export = all ? export_find(all, a->words[1], &e) : NULL;
	const char *nqn = field_text(export, "nqn"), *host = a->words[0];

	if (all && !export)
		explain(c, a->words[1], &e);
	if (export && strcmp(host, "any") == 0)
		allow_any(c, nqn, false, &e);
	else if (export && change_host(c, "nvmf_subsystem_remove_host", nqn, host, &e) == 0)
		host_keys_delete(c, list_find(field(export, "hosts"), "nqn", host));
	if (export && !e.code && strcmp(host, "any") != 0 && field_bool(export, "allow_any_host") && !c->json)
		printf("Any host may connect, this one too; to let in only those that were added: gantry host remove any %s\n",
		       a->words[1]);
	json_object_put(all);
	return e.code ? cli_fail(&e) : CLI_OK;
}
