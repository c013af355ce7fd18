/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme.c: gantry nvme: what remote targets have, and which of it the daemon has attached. The daemon asks them: it has
 * the network, the address and the name that it would attach with. */
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"

static int run_list(struct cli *c, struct cli_args *a);
static int run_discover(struct cli *c, struct cli_args *a);
static int run_identify(struct cli *c, struct cli_args *a);
static int run_attach(struct cli *c, struct cli_args *a);
static int run_detach(struct cli *c, struct cli_args *a);
static int run_reset(struct cli *c, struct cli_args *a);
static int run_enable(struct cli *c, struct cli_args *a);
static int run_disable(struct cli *c, struct cli_args *a);
static int run_policy(struct cli *c, struct cli_args *a);
static int run_discovery(struct cli *c, struct cli_args *a);
static int describe_policy(struct cli *c, struct cli_args *a, const char *first, struct err *e);
static int describe_discovery(struct cli *c, struct cli_args *a, const char *first, struct err *e);
static int describe_attach(struct cli *c, struct cli_args *a, const char *first, struct err *e);
static int describe_discover(struct cli *c, struct cli_args *a, const char *first, struct err *e);
static int describe_identify(struct cli *c, struct cli_args *a, const char *first, struct err *e);

#define ADDRESS_FORMS(port) \
	"ADDRESS is a name or an address, with a port or without: HOST, HOST:PORT, [IPv6]:PORT. Without, it is " port "."
#define ADDRESS_HELP(port) ADDRESS_FORMS(port) " Nothing is attached."
static const struct cli_option discovery_options[] = {
	{ "stop", NULL, "Follow it no more, and detach what it found; then it is named, not its address" },
};

static const struct cli_verb verbs[] = {
	{ "list", "", "the remote controllers that are attached, and how they are", run_list, .is_default = true,
	  .example = "gantry nvme list" },
	{ "discover", "ADDRESS", "ask a discovery service what is served where", run_discover,
	  .describe = describe_discover, .help = ADDRESS_HELP("8009; many targets answer on 4420 too"),
	  .example = "gantry nvme discover 127.0.0.1:4420" },
	{ "identify", "ADDRESS NQN", "what a remote subsystem is, and its namespaces", run_identify,
	  .describe = describe_identify, .help = ADDRESS_HELP("4420"),
	  .example = "gantry nvme identify 127.0.0.1:4420 nqn.2016-06.io.gantry:disk0" },
	{ "attach", "ADDRESS NQN", "make disks of a remote subsystem's namespaces, or add a path to one", run_attach,
	  .describe = describe_attach, .help = ADDRESS_FORMS("4420") " A subsystem that is attached already gets one more "
	  "path, unless --name says otherwise.",
	  .example = "gantry nvme attach 127.0.0.1:4420 nqn.2016-06.io.gantry:disk0" },
	{ "detach", "NAME [ADDRESS]", "disconnect from a remote subsystem, or take one path away; disks go with the last",
	  run_detach, .help = "ADDRESS is as gantry nvme list shows it: HOST:PORT.",
	  .example = "gantry nvme detach Nvme0" },
	{ "reset", "NAME", "connect anew to a remote subsystem, on all paths; I/O goes on where it was", run_reset,
	  .example = "gantry nvme reset Nvme0" },
	{ "disable", "NAME", "disconnect from a remote subsystem and keep its disks, whose I/O fails until it is enabled",
	  run_disable, .example = "gantry nvme disable Nvme0" },
	{ "enable", "NAME", "connect to one that was disabled", run_enable, .example = "gantry nvme enable Nvme0" },
	{ "policy", "DISK POLICY", "how a disk uses several paths: active_passive or active_active", run_policy,
	  .describe = describe_policy, .example = "gantry nvme policy Nvme0n1 active_active --selector queue_depth" },
	{ "discovery", "[ADDRESS]", "the discovery services that are followed; with ADDRESS: attach what that one lists, "
	  "and follow its changes", run_discovery, CLI_OPTIONS(discovery_options), .describe = describe_discovery,
	  .help = ADDRESS_FORMS("8009; many targets answer on 4420 too"),
	  .example = "gantry nvme discovery 127.0.0.1:4420\ngantry nvme discovery Disc0 --stop" },
};
const struct cli_noun nvme_noun = { "nvme", "remote NVMe targets", verbs, ARRAY_SIZE(verbs) };

static int describe(struct cli *c, struct cli_args *a, const char *method, const char *words);
static struct json_object *ask(struct cli *c, struct cli_args *a, const char *method, const char *nqn, struct err *e);
static int add_address(struct json_object *params, const char *text, struct err *e);
static int do_it(struct cli *c, const char *method, struct json_object *params);
static void print_log(struct cli *c, struct json_object *log);
static void print_subsystem(struct cli *c, struct json_object *found);

/* --- list --- */

static void say_why(const char *name, const char *why)
{
	if (!*why)
		return;
	printf("\n%s:\n", name);
	print_wrapped(why, 4);
}

/* Below the table, as they are long. Of a path that is in use, why it was lost before says nothing. */
static void say_why_not(struct json_object *groups)
{
	for (size_t i = 0; i < list_count(groups); i++) {
		struct json_object *group = list_at(groups, i), *paths = field(group, "ctrlrs");

		for (size_t p = 0; p < list_count(paths); p++) {
			struct json_object *path = list_at(paths, p);

			say_why(field_text(group, "name"),
			        field_text(path, strcmp(field_text(path, "state"), "enabled") == 0 ? "note" : "why"));
			say_why(field_text(group, "name"), field_text(field(path, "fence"), "waits"));
		}
	}
}

/* As long as all is TCP nobody needs to read it. */
static bool any_over_rdma(struct json_object *groups)
{
	for (size_t i = 0; i < list_count(groups); i++) {
		struct json_object *paths = field(list_at(groups, i), "ctrlrs");

		for (size_t p = 0; p < list_count(paths); p++)
			if (strcmp(field_text(field(list_at(paths, p), "trid"), "trtype"), "RDMA") == 0)
				return true;
	}
	return false;
}

static void print_groups(struct cli *c, struct json_object *groups)
{
	bool rdma = any_over_rdma(groups);
	struct table t;

	table_init(&t, rdma ? "NAME STATE TRANSPORT ADDRESS PORT SUBSYSTEM" : "NAME STATE ADDRESS PORT SUBSYSTEM");
	for (size_t i = 0; i < list_count(groups); i++) {
		struct json_object *paths = field(list_at(groups, i), "ctrlrs");

		for (size_t p = 0; p < list_count(paths); p++) {
			struct json_object *trid = field(list_at(paths, p), "trid");

			table_cell(&t, "%s", field_text(list_at(groups, i), "name"));
			table_cell(&t, "%s", field_text(list_at(paths, p), "state"));
			if (rdma)
				table_cell(&t, "%s", field_text(trid, "trtype"));
			table_cell(&t, "%s", field_text(trid, "traddr"));
			table_cell(&t, "%s", field_text(trid, "trsvcid"));
			table_cell(&t, "%s", field_text(trid, "subnqn"));
		}
	}
	table_print(&t);
	say_why_not(groups);
}

static int run_list(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *groups = client_call(c, "bdev_nvme_get_controllers", NULL, &e);

	return cli_answer(c, groups, &e, "No remote controllers are attached. To see what a target serves: "
	                  "gantry nvme discover ADDRESS", print_groups);
}

/* --- discover --- */

static int describe_discover(struct cli *c, struct cli_args *a, const char *first, struct err *e)
{
	return describe(c, a, "nvme_discover", "");
}

static int run_discover(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *log = ask(c, a, "nvme_discover", NULL, &e);

	return cli_answer(c, log, &e, NULL, print_log);
}

/* With the first that can be. */
static void say_how_to_attach(struct json_object *records)
{
	for (size_t i = 0; i < list_count(records); i++) {
		struct json_object *r = list_at(records, i);

		bool rdma = strcmp(field_text(r, "trtype"), "rdma") == 0;

		if (strcmp(field_text(r, "subtype"), "nvme subsystem") != 0 ||
		    (strcmp(field_text(r, "trtype"), "tcp") != 0 && !rdma))
			continue;
		printf("\nTo look at one: gantry nvme identify ADDRESS:PORT SUBSYSTEM. To attach it:\n"
		       "    gantry nvme attach %s:%s %s%s\n", field_text(r, "traddr"), field_text(r, "trsvcid"),
		       field_text(r, "subnqn"), rdma ? " --trtype RDMA" : "");
		return;
	}
}

/* What is the same everywhere, and nothing special, has no column: a name is long, and a terminal 80 columns wide. */
static bool all_are(struct json_object *records, const char *key, const char *usual)
{
	for (size_t i = 0; i < list_count(records); i++) {
		const char *is = field_text(list_at(records, i), key);

		if (*is && strcmp(is, usual) != 0)
			return false;
	}
	return true;
}

static void print_log(struct cli *c, struct json_object *log)
{
	struct json_object *records = field(log, "records");
	struct table t;

	if (list_count(records)) {
		bool all_tcp = all_are(records, "trtype", "tcp"), all_open = all_are(records, "sectype", "none");

		table_init(&t, !all_open ? "SUBSYSTEM KIND ADDRESS PORT TRANSPORT SECURITY" :
		               !all_tcp ? "SUBSYSTEM KIND ADDRESS PORT TRANSPORT" : "SUBSYSTEM KIND ADDRESS PORT");
		for (size_t i = 0; i < list_count(records); i++) {
			struct json_object *r = list_at(records, i);
			const char *kind = field_text(r, "subtype");

			table_cell(&t, "%s", field_text(r, "subnqn"));
			table_cell(&t, "%s", text_starts_with(kind, "nvme") ? "disks" :
			                     text_starts_with(kind, "current") ? "this one" :
			                     text_starts_with(kind, "discovery") ? "discovery" : kind);
			table_cell(&t, "%s", field_text(r, "traddr"));
			table_cell(&t, "%s", field_text(r, "trsvcid"));
			if (!all_tcp || !all_open)
				table_cell(&t, "%s", field_text(r, "trtype"));
			if (!all_open)
				table_cell(&t, "%s", *field_text(r, "sectype") ? field_text(r, "sectype") : "-");
		}
		table_print(&t);
	} else {
		printf("It serves nothing to this host.\n");
	}
	say_how_to_attach(records);
	if (field_u64(log, "unreadable_records"))
		printf("%lu more could not be read.\n", field_u64(log, "unreadable_records"));
}

/* --- identify --- */

static int describe_identify(struct cli *c, struct cli_args *a, const char *first, struct err *e)
{
	return describe(c, a, "nvme_identify", "subnqn");
}

static int run_identify(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *found = ask(c, a, "nvme_identify", a->words[1], &e);

	return cli_answer(c, found, &e, NULL, print_subsystem);
}

static void print_size(const char *title, uint64_t bytes, const char *without)
{
	char size[32];

	text_size(bytes, size);
	printf("  %-14s%s\n", title, bytes ? size : without);
}

static void print_subsystem(struct cli *c, struct json_object *found)
{
	struct json_object *d = field(found, "ctrlr_data"), *list = field(found, "namespaces");
	struct table t;

	printf("%s\n", field_text(d, "subnqn"));
	printf("  %-14s%s\n  %-14s%s\n  %-14s%s\n", "model", field_text(d, "model_number"), "serial",
	       field_text(d, "serial_number"), "firmware", field_text(d, "firmware_revision"));
	printf("  %-14s%s, NVMe %s, id %lu\n", "controller", field_text(d, "type"), field_text(d, "nvme_version"),
	       field_u64(d, "cntlid"));
	printf("  %-14s%s%s\n", "paths", field_bool(d, "multi_ctrlr") ? "several are possible" : "one",
	       field_bool(d, "ana_reporting") ? ", ANA tells which to use" : "");
	print_size("largest I/O", field_u64(d, "max_io_bytes"), "no limit told");
	print_size("in capsules", field_u64(d, "in_capsule_bytes"), "none");
	printf("\n");
	if (!list_count(list)) {
		printf("No namespaces for this host.\n");
		return;
	}
	table_init(&t, ">NSID >SIZE >BLOCK >METADATA SHARED STATE UUID");
	for (size_t i = 0; i < list_count(list); i++) {
		struct json_object *n = list_at(list, i);
		char size[32];

		text_size(field_u64(n, "num_blocks") * field_u64(n, "block_size"), size);
		table_cell(&t, "%lu", field_u64(n, "id"));
		table_cell(&t, "%s", size);
		table_cell(&t, "%lu", field_u64(n, "block_size"));
		table_cell(&t, "%lu", field_u64(n, "md_size"));
		table_cell(&t, "%s", field_bool(n, "can_share") ? "yes" : "no");
		table_cell(&t, "%s", *field_text(n, "ana_state") ? field_text(n, "ana_state") : "-");
		table_cell(&t, "%s", *field_text(n, "uuid") ? field_text(n, "uuid") : "-");
	}
	table_print(&t);
}

/* --- attach and detach --- */

static int describe_attach(struct cli *c, struct cli_args *a, const char *first, struct err *e)
{
	return describe(c, a, "bdev_nvme_attach_controller", "subnqn");
}

static bool is_attached(struct json_object *groups, const char *name)
{
	for (size_t i = 0; i < list_count(groups); i++)
		if (strcmp(field_text(list_at(groups, i), "name"), name) == 0)
			return true;
	return false;
}

/* The name under which the subsystem is attached, or the first that is free. */
static void pick_name(struct cli *c, struct json_object *params, const char *nqn)
{
	struct err unheard = { 0 };
	struct json_object *groups = client_call(c, "bdev_nvme_get_controllers", NULL, &unheard);
	char name[32];
	unsigned n = 0;

	for (size_t i = 0; i < list_count(groups); i++) {
		struct json_object *path = list_at(field(list_at(groups, i), "ctrlrs"), 0);

		if (strcmp(field_text(field(path, "trid"), "subnqn"), nqn) != 0)
			continue;
		json_object_object_add(params, "name", json_object_new_string(field_text(list_at(groups, i), "name")));
		json_object_put(groups);
		return;
	}
	do
		snprintf(name, sizeof(name), "Nvme%u", n++);
	while (is_attached(groups, name));
	json_object_object_add(params, "name", json_object_new_string(name));
	json_object_put(groups);
}

static int run_attach(struct cli *c, struct cli_args *a)
{
	struct json_object *params = json_object_new_object(), *disks = NULL;
	struct err e = { 0 };

	json_object_object_add(params, "trtype", json_object_new_string("TCP"));
	json_object_object_add(params, "subnqn", json_object_new_string(a->words[1]));
	if (!args_has(a, "name"))
		pick_name(c, params, a->words[1]);
	if (add_address(params, a->words[0], &e) == 0 &&
	    args_to_params(a, field(cli_method(c, "bdev_nvme_attach_controller"), "params"), params, &e) == 0)
		disks = client_call(c, "bdev_nvme_attach_controller", params, &e);
	if (disks && c->json)
		cli_print_json(disks);
	for (size_t i = 0; disks && !c->json && i < list_count(disks); i++)
		printf("%s\n", json_object_get_string(list_at(disks, i)));
	if (disks && !c->json && !list_count(disks))
		printf("%s is attached, and has no namespace that could be a disk here; gantry nvme list says why.\n",
		       field_text(params, "name"));
	json_object_put(params);
	if (!disks)
		return cli_fail(&e);
	json_object_put(disks);
	return CLI_OK;
}

static int run_detach(struct cli *c, struct cli_args *a)
{
	struct json_object *params = json_object_new_object();
	struct err e = { 0 };

	json_object_object_add(params, "name", json_object_new_string(a->words[0]));
	if (a->word_count > 1 && add_address(params, a->words[1], &e)) {
		json_object_put(params);
		return cli_fail(&e);
	}
	return do_it(c, "bdev_nvme_detach_controller", params);
}

/* --- reset, enable, disable, policy --- */

static int do_it(struct cli *c, const char *method, struct json_object *params)
{
	struct err e = { 0 };
	struct json_object *result = client_call(c, method, params, &e);

	json_object_put(params);
	return cli_answer(c, result, &e, NULL, NULL);
}

static int to_controller(struct cli *c, const char *method, const char *name)
{
	struct json_object *params = json_object_new_object();

	json_object_object_add(params, "name", json_object_new_string(name));
	return do_it(c, method, params);
}

static int run_reset(struct cli *c, struct cli_args *a)
{
	return to_controller(c, "bdev_nvme_reset_controller", a->words[0]);
}

static int run_enable(struct cli *c, struct cli_args *a)
{
	return to_controller(c, "bdev_nvme_enable_controller", a->words[0]);
}

static int run_disable(struct cli *c, struct cli_args *a)
{
	return to_controller(c, "bdev_nvme_disable_controller", a->words[0]);
}

static int describe_policy(struct cli *c, struct cli_args *a, const char *first, struct err *e)
{
	return describe(c, a, "bdev_nvme_set_multipath_policy", "name policy");
}

static int run_policy(struct cli *c, struct cli_args *a)
{
	struct json_object *params = json_object_new_object();
	const char *method = "bdev_nvme_set_multipath_policy";
	struct err e = { 0 };

	json_object_object_add(params, "name", json_object_new_string(a->words[0]));
	json_object_object_add(params, "policy", json_object_new_string(a->words[1]));
	if (args_to_params(a, field(cli_method(c, method), "params"), params, &e) == 0)
		return do_it(c, method, params);
	json_object_put(params);
	return cli_fail(&e);
}

/* --- discovery --- */

static int describe_discovery(struct cli *c, struct cli_args *a, const char *first, struct err *e)
{
	return describe(c, a, "bdev_nvme_start_discovery", "trtype");
}

static void print_services(struct cli *c, struct json_object *services)
{
	struct table t;

	table_init(&t, "NAME DOES ADDRESS PORT >ATTACHED");
	for (size_t i = 0; i < list_count(services); i++) {
		struct json_object *s = list_at(services, i), *trid = field(s, "trid");

		table_cell(&t, "%s", field_text(s, "name"));
		table_cell(&t, "%s", field_text(s, "doing"));
		table_cell(&t, "%s", field_text(trid, "traddr"));
		table_cell(&t, "%s", field_text(trid, "trsvcid"));
		table_cell(&t, "%zu", list_count(field(s, "attached")));
	}
	table_print(&t);
	for (size_t i = 0; i < list_count(services); i++)
		say_why(field_text(list_at(services, i), "name"), field_text(list_at(services, i), "why"));
}

static int list_services(struct cli *c)
{
	struct err e = { 0 };
	struct json_object *services = client_call(c, "bdev_nvme_get_discovery_info", NULL, &e);

	return cli_answer(c, services, &e, "No discovery service is followed. To attach what one lists: "
	                  "gantry nvme discovery ADDRESS", print_services);
}

static int run_discovery(struct cli *c, struct cli_args *a)
{
	struct json_object *params, *services;
	const char *method = "bdev_nvme_start_discovery";
	struct err e = { 0 };
	char name[32];
	unsigned n = 0;

	if (!a->word_count && !args_has(a, "stop"))
		return list_services(c);
	if (!a->word_count) {
		err_set(&e, CLIENT_MISTYPED, "--stop: which one? gantry nvme discovery lists them");
		return cli_fail(&e);
	}
	if (args_has(a, "stop"))
		return to_controller(c, "bdev_nvme_stop_discovery", a->words[0]);
	params = json_object_new_object();
	json_object_object_add(params, "trtype", json_object_new_string("TCP"));
	if (add_address(params, a->words[0], &e)) {
		json_object_put(params);
		return cli_fail(&e);
	}
	if (!args_has(a, "name")) {
		services = client_call(c, "bdev_nvme_get_discovery_info", NULL, &e);
		do
			snprintf(name, sizeof(name), "Disc%u", n++);
		while (is_attached(services, name));
		json_object_put(services);
		json_object_object_add(params, "name", json_object_new_string(name));
		e = (struct err){ 0 };
	}
	if (args_to_params(a, field(cli_method(c, method), "params"), params, &e) == 0)
		return do_it(c, method, params);
	json_object_put(params);
	return cli_fail(&e);
}

/* --- all --- */

static bool is_among(const char *name, const char *words)
{
	size_t len = strlen(name);

	for (const char *at = strstr(words, name); at; at = strstr(at + 1, name))
		if ((at == words || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
	return false;
}

/* The method's rows are options, but for those that are words; `words`: more of these. What the method requires the
 * words say, or it is found: no option is. */
static int describe(struct cli *c, struct cli_args *a, const char *method, const char *words)
{
	struct err unheard = { 0 };
	struct json_object *rows;

	if (!cli_methods(c, &unheard))
		return 0; /* said soon enough */
	rows = field(cli_method(c, method), "params");
	for (size_t i = 0; i < list_count(rows); i++) {
		const char *name = field_text(list_at(rows, i), "name");

		if (strcmp(name, "traddr") == 0 || strcmp(name, "trsvcid") == 0 || is_among(name, words))
			continue;
		json_object_object_del(list_at(rows, i), "required");
		args_add_row(a, name, list_at(rows, i));
	}
	return 0;
}

/* HOST, HOST:PORT, IPv6 as it is, [IPv6], [IPv6]:PORT; the daemon knows whether they are any good. */
static int add_address(struct json_object *params, const char *text, struct err *e)
{
	char misuse[CLI_MISUSE_MAX];
	bool bracket = *text == '[';
	const char *host = text + bracket, *end = bracket ? strchr(host, ']') : strchr(host, ':'), *port = NULL;

	if (cli_address_misuse(text, misuse))
		return err_set(e, CLIENT_MISTYPED, "%s", misuse);
	if (!end || (!bracket && strchr(end + 1, ':')))
		end = host + strlen(host);
	else if (end[bracket] == ':')
		port = end + bracket + 1;
	json_object_object_add(params, "traddr", json_object_new_string_len(host, (int)(end - host)));
	if (port)
		json_object_object_add(params, "trsvcid", json_object_new_string(port));
	return 0;
}

static struct json_object *ask(struct cli *c, struct cli_args *a, const char *method, const char *nqn, struct err *e)
{
	struct json_object *params = json_object_new_object(), *result = NULL;

	if (nqn)
		json_object_object_add(params, "subnqn", json_object_new_string(nqn));
	if (add_address(params, a->words[0], e) == 0 &&
	    args_to_params(a, field(cli_method(c, method), "params"), params, e) == 0)
		result = client_call(c, method, params, e);
	json_object_put(params);
	return result;
}
