/* SPDX-License-Identifier: BSD-3-Clause */
/* export.c: gantry export: serve a disk in one go, see what is served, and end it. Over iSCSI: export_iscsi.c.
 *
 * An export is a subsystem with its namespaces, listeners and hosts. What one call of export makes is undone when
 * a later part of it fails.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"

#define NAMES_MAX 256
#define PORTS_TRIED 100u

static int run_disk(struct cli *c, struct cli_args *a);
static int run_list(struct cli *c, struct cli_args *a);
static int run_show(struct cli *c, struct cli_args *a);
static int run_remove(struct cli *c, struct cli_args *a);
static int describe(struct cli *c, struct cli_args *a, const char *first, struct err *e);

static const struct cli_option disk_options[] = {
	{ "iscsi", NULL, "Over iSCSI, as a LUN of a target node, instead of NVMe/TCP" },
	{ "rdma", NULL, "Over NVMe/RDMA instead of NVMe/TCP; --listen names an address of an adapter" },
	{ "vhost", NULL, "To virtual machines of this machine, over vhost-user, instead of NVMe/TCP" },
	{ "name", "NAME", "iSCSI: name of the target node; " CLI_IQN_PREFIX "DISK when left out. One that exists gets the "
	  "disk as one more LUN. vhost: name of the controller; DISK when left out" },
	{ "chap-group", "TAG", "iSCSI: hosts must authenticate, as a user of this group (iscsi_create_auth_group)" },
	{ "nqn", "NQN", "The name hosts know it by; " CLI_NQN_PREFIX "DISK when left out. An export that exists gets the "
	  "disk as one more namespace" },
	{ "listen", "ADDRESS:PORT", "Where to listen: 0.0.0.0 for all of IPv4, [::] for IPv6; 127.0.0.1:" CLI_PORT
	  " (iSCSI: " CLI_ISCSI_PORT "), this machine only, when left out; may be repeated", .many = true },
	{ "host", "NQN", "Only this host may connect (iSCSI: the initiator's name); may be repeated. Any host when left "
	  "out", .many = true },
	HOST_KEYS_OPTIONS,
};

static const struct cli_verb verbs[] = {
	{ "list", "", "what is served, where, and to how many", run_list, .is_default = true,
	  .example = "gantry export list" },
	{ "show", "EXPORT", "one of them, with its hosts and the command with which a host connects", run_show,
	  .help = "EXPORT is an NQN, what follows its last colon, a vhost controller, or a disk.",
	  .example = "gantry export show disk0" },
	{ "disk", "DISK", "serve a disk over NVMe/TCP, iSCSI or vhost-user: everything in one go",
	  run_disk, CLI_OPTIONS(disk_options),
	  .describe = describe,
	  .help = "Makes the transport, the subsystem with the disk as namespace, its listeners and its hosts; with "
	          "--iscsi portal group, initiator group and target node, where there are none. Prints what to type on a "
	          "host.",
	  .example = "gantry export disk disk0 --listen 127.0.0.1:4420\ngantry export disk disk0 --iscsi\n"
	             "gantry export disk disk0 --vhost\n"
	             "gantry export disk disk0 --host nqn.2014-08.org.nvmexpress:uuid:12345678-1234-1234-1234-123456789abc "
	             "--auth --tls" },
	{ "remove", "EXPORT", "serve it no more; the disk stays", run_remove,
	  .help = "EXPORT is an NQN, what follows its last colon, a vhost controller, or a disk. Hosts are disconnected; "
	          "the I/O of virtual machines stands still until their controller is there again.",
	  .example = "gantry export remove disk0" },
};
const struct cli_noun export_noun = { "export", "disks as hosts see them", verbs, ARRAY_SIZE(verbs) };

/* --- what to do, in the order in which it is done --- */

struct job {
	struct cli *c;
	struct cli_args *a;
	struct json_object *disk, *subsystems;
	char nqn[256];
	struct cli_address listen[16];
	size_t listen_count;
	const char *trtype;
	bool made_subsystem;
	uint64_t nsid;
	struct host_keys *keys;        /* with --auth, --tls: of each --host */
	size_t key_count, keyed_count; /* made; and the host was added */
	struct err e;
};

static int prepare(struct job *j);
static int make_transport(struct job *j);
static int make_subsystem(struct job *j);
static int add_namespace(struct job *j);
static int add_listeners(struct job *j);
static int add_hosts(struct job *j);
static void undo(struct job *j);
static void undo_hosts(struct job *j);
static void connect_lines(struct json_object *lines, struct json_object *listeners, const char *nqn);
static void say_how_to_connect(struct json_object *subsystem);
static void say(struct job *j, struct json_object *now);
static void say_json(struct job *j, struct json_object *now);
static struct json_object *fresh(struct cli *c, const char *nqn, struct err *e);

static int run_disk(struct cli *c, struct cli_args *a)
{
	struct job j = { .c = c, .a = a, .trtype = args_has(a, "rdma") ? "RDMA" : "TCP" };
	struct json_object *now = NULL;

	if (host_keys_wanted(a) && (args_has(a, "vhost") || args_has(a, "iscsi") || !args_has(a, "host")))
		return cli_misuse("--auth, --tls and --concat are for hosts of NVMe that are named: give --host, and neither "
		                  "--iscsi nor --vhost");
	if (host_keys_misuse(a))
		return cli_misuse("%s", host_keys_misuse(a));
	if (host_keys_secure(a) && args_has(a, "rdma"))
		return cli_misuse("--tls, --concat: there is no TLS over RDMA; leave out one of them");
	if (args_has(a, "rdma") && (args_has(a, "vhost") || args_has(a, "iscsi")))
		return cli_misuse("--rdma is a way of NVMe; leave out --iscsi and --vhost");
	if (args_has(a, "vhost"))
		return vhost_export_disk(c, a);
	if (args_has(a, "iscsi"))
		return iscsi_export_disk(c, a);
	if (args_has(a, "name") || args_has(a, "chap-group"))
		return args_has(a, "name") ? cli_misuse("--name is for iSCSI and vhost; give --iscsi or --vhost, too") :
		                             cli_misuse("--chap-group is for iSCSI; give --iscsi too");
	if (prepare(&j) == 0 && make_transport(&j) == 0 && make_subsystem(&j) == 0) {
		if (add_namespace(&j) || add_hosts(&j) || add_listeners(&j)) {
			undo(&j);
			undo_hosts(&j);
		}
	}
	if (!j.e.code)
		now = fresh(c, j.nqn, &j.e);
	if (now && c->json)
		say_json(&j, now);
	else if (now)
		say(&j, now);
	free(j.keys);
	json_object_put(now);
	json_object_put(j.subsystems);
	json_object_put(j.disk);
	return j.e.code ? cli_fail(&j.e) : CLI_OK;
}

static void say(struct job *j, struct json_object *now)
{
	struct json_object *listeners = j->key_count ? host_listeners(j->c, j->nqn, &j->e) : NULL;

	printf("Serving %s as %s, namespace %lu.\n", field_text(j->disk, "name"), j->nqn, j->nsid);
	if (field_bool(now, "allow_any_host"))
		printf("Any host that reaches it may connect; to choose: gantry host add HOST-NQN %s --only\n",
		       field_text(j->disk, "name"));
	for (size_t i = 0; i < j->key_count && !j->e.code; i++)
		host_keys_say(&j->keys[i], listeners, &j->e);
	if (!j->key_count)
		say_how_to_connect(now);
	json_object_put(listeners);
}

static void say_json(struct job *j, struct json_object *now)
{
	struct json_object *listeners = j->key_count ? host_listeners(j->c, j->nqn, &j->e) : NULL;
	struct json_object *lines = json_object_new_array(), *keyed = json_object_new_array();

	connect_lines(lines, field(now, "listen_addresses"), j->nqn);
	json_object_object_add(now, "connect", lines);
	for (size_t i = 0; i < j->key_count && !j->e.code; i++)
		json_object_array_add(keyed, host_keys_json(&j->keys[i], listeners, &j->e));
	if (j->key_count)
		json_object_object_add(now, "host_keys", json_object_get(keyed));
	if (!j->e.code)
		cli_print_json(now);
	json_object_put(keyed);
	json_object_put(listeners);
}

/* The namespace's and the subsystem's own rows are options too. */
static int describe(struct cli *c, struct cli_args *a, const char *first, struct err *e)
{
	static const char *const from[] = { "nvmf_create_subsystem", "nvmf_subsystem_add_ns" };
	struct err unheard = { 0 };

	if (!cli_methods(c, &unheard))
		return 0; /* said soon enough */
	for (size_t m = 0; m < ARRAY_SIZE(from); m++) {
		struct json_object *rows = field(cli_method(c, from[m]), "params");

		if (m == 1)
			rows = field(list_find(rows, "name", "namespace"), "params");
		for (size_t i = 0; i < list_count(rows); i++) {
			struct json_object *row = list_at(rows, i);
			const char *name = field_text(row, "name");

			if (!field_bool(row, "required") && !field_bool(row, "ignored") && strcmp(name, "tgt_name") != 0 &&
			    strcmp(name, "allow_any_host") != 0 && strncmp(field_text(row, "doc"), "Not supported", 13) != 0)
				args_add_row(a, name, row);
		}
	}
	return 0;
}

static int prepare(struct job *j)
{
	const char *nqn = args_value(j->a, "nqn");

	j->disk = disk_find(j->c, j->a->words[0], &j->e);
	if (!j->disk)
		return j->e.code;
	snprintf(j->nqn, sizeof(j->nqn), "%s%s", nqn ? nqn : CLI_NQN_PREFIX, nqn ? "" : field_text(j->disk, "name"));
	for (size_t i = 0; i < j->a->given_count; i++) {
		if (strcmp(j->a->given[i].option->name, "listen") != 0)
			continue;
		if (j->listen_count == ARRAY_SIZE(j->listen))
			return err_set(&j->e, CLIENT_MISTYPED, "--listen: %zu addresses at once are the most",
			               ARRAY_SIZE(j->listen));
		if (cli_parse_address(j->a->given[i].value, CLI_PORT, &j->listen[j->listen_count++], &j->e))
			return j->e.code;
	}
	j->subsystems = client_call(j->c, "nvmf_get_subsystems", NULL, &j->e);
	return j->subsystems ? 0 : j->e.code;
}

static int make_transport(struct job *j)
{
	struct json_object *there = client_call(j->c, "nvmf_get_transports", NULL, &j->e), *params;
	bool is_there = list_find(there, "trtype", j->trtype) != NULL;
	int rc = there ? 0 : j->e.code;

	json_object_put(there);
	if (rc || is_there)
		return rc;
	params = json_object_new_object();
	json_object_object_add(params, "trtype", json_object_new_string(j->trtype));
	rc = client_do(j->c, "nvmf_create_transport", params, &j->e);
	json_object_put(params);
	return rc;
}

/* Different exports should not look like one device: the serial number follows the name. */
static void make_serial(const char *nqn, char serial[static 24])
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *nqn; nqn++)
		hash = (hash ^ (unsigned char)*nqn) * 0x100000001b3;
	snprintf(serial, 24, "GTY%016lX", hash);
}

static int make_subsystem(struct job *j)
{
	struct json_object *there = list_find(j->subsystems, "nqn", j->nqn), *params, *rows;
	char serial[24];
	int rc;

	if (there)
		return 0;
	rows = field(cli_method(j->c, "nvmf_create_subsystem"), "params");
	params = json_object_new_object();
	make_serial(j->nqn, serial);
	json_object_object_add(params, "nqn", json_object_new_string(j->nqn));
	json_object_object_add(params, "serial_number", json_object_new_string(serial));
	json_object_object_add(params, "allow_any_host", json_object_new_boolean(!args_has(j->a, "host")));
	rc = args_to_params(j->a, rows, params, &j->e);
	if (rc == 0)
		rc = client_do(j->c, "nvmf_create_subsystem", params, &j->e);
	j->made_subsystem = rc == 0;
	json_object_put(params);
	return rc;
}

static int add_namespace(struct job *j)
{
	struct json_object *rows = field(cli_method(j->c, "nvmf_subsystem_add_ns"), "params"), *there;
	struct json_object *params, *ns, *result;
	const char *disk = field_text(j->disk, "name");
	struct err mine = { 0 };

	rows = field(list_find(rows, "name", "namespace"), "params");
	there = list_find(field(list_find(j->subsystems, "nqn", j->nqn), "namespaces"), "bdev_name", disk);
	if (there) {
		j->nsid = field_u64(there, "nsid");
		return 0; /* listeners and hosts may be new */
	}
	params = json_object_new_object();
	ns = json_object_new_object();
	json_object_object_add(params, "nqn", json_object_new_string(j->nqn));
	json_object_object_add(params, "namespace", ns);
	json_object_object_add(ns, "bdev_name", json_object_new_string(disk));
	if (args_to_params(j->a, rows, ns, &j->e)) {
		json_object_put(params);
		return j->e.code;
	}
	result = client_call(j->c, "nvmf_subsystem_add_ns", params, &mine);
	j->nsid = json_object_get_uint64(result);
	json_object_put(result);
	json_object_put(params);
	if (!result) {
		struct json_object *ns_there, *other = export_of_disk(j->subsystems, disk, &ns_there);

		return err_set(&j->e, mine.code, "%s%s%s", mine.text, other ? "; it is served as " : "",
		               other ? field_text(other, "nqn") : "");
	}
	return 0;
}

static int add_listeners(struct job *j)
{
	struct json_object *there = field(list_find(j->subsystems, "nqn", j->nqn), "listen_addresses");

	if (!j->listen_count && strcmp(j->trtype, "TCP") != 0 && !list_find(there, "trtype", j->trtype))
		return err_set(&j->e, CLIENT_MISTYPED, "--listen: say at which address, one of an RDMA adapter's; rdma link "
		               "and ip addr show them");
	if (!j->listen_count && host_keys_secure(j->a)) /* those that are there may be for others only */
		return host_secure_listener(j->c, j->nqn, NULL, args_has(j->a, "concat"), &j->e);
	if (!j->listen_count && !list_count(there)) {
		struct cli_address at;

		return cli_parse_address("127.0.0.1", CLI_PORT, &at, &j->e) ||
		       export_listen_free(j->c, j->nqn, &at, EXPORT_PLAIN, &j->e) ? j->e.code : 0;
	}
	for (size_t i = 0; i < j->listen_count; i++)
		if (export_listen(j->c, j->nqn, j->trtype, &j->listen[i], args_has(j->a, "concat") ? EXPORT_CONCAT :
		                  host_keys_secure(j->a) ? EXPORT_TLS : EXPORT_PLAIN, &j->e))
			return j->e.code;
	return 0;
}

static int add_hosts(struct job *j)
{
	bool keyed = host_keys_wanted(j->a);

	if (host_keys_secure(j->a) && field_bool(list_find(j->subsystems, "nqn", j->nqn), "allow_any_host"))
		return err_set(&j->e, -EINVAL, "any host may connect to %s, and TLS knows hosts by their keys: gantry host add "
		               "HOST-NQN %s --%s --only takes that back, and adds one", j->nqn, field_text(j->disk, "name"),
		               args_has(j->a, "tls") ? "tls" : "concat");
	j->keys = base_zalloc((j->a->given_count + 1) * sizeof(*j->keys));
	for (size_t i = 0; i < j->a->given_count; i++) {
		struct json_object *params;
		int rc;

		if (strcmp(j->a->given[i].option->name, "host") != 0)
			continue;
		if (keyed && host_keys_make(j->c, j->a, j->nqn, j->a->given[i].value, &j->keys[j->key_count], &j->e))
			return j->e.code;
		params = json_object_new_object();
		json_object_object_add(params, "nqn", json_object_new_string(j->nqn));
		json_object_object_add(params, "host", json_object_new_string(j->a->given[i].value));
		if (keyed)
			host_keys_params(&j->keys[j->key_count++], params);
		rc = client_do(j->c, "nvmf_subsystem_add_host", params, &j->e);
		json_object_put(params);
		if (rc)
			return rc;
		j->keyed_count = j->key_count;
	}
	return 0;
}

/* Hosts whose keys are taken back go with them. */
static void undo_hosts(struct job *j)
{
	struct err ignored = { 0 };

	for (size_t i = 0; i < j->key_count; i++) {
		if (i < j->keyed_count && !j->made_subsystem)
			json_object_put(client_ask(j->c, &ignored, "nvmf_subsystem_remove_host", "nqn", j->nqn, "host",
			                           j->keys[i].host, NULL));
		host_keys_undo(j->c, &j->keys[i]);
	}
}

/* A subsystem of ours goes with all it has; one that was there keeps what it had. */
static void undo(struct job *j)
{
	struct json_object *params = json_object_new_object();
	struct err ignored = { 0 };
	int rc = 0;

	json_object_object_add(params, "nqn", json_object_new_string(j->nqn));
	if (j->made_subsystem) {
		rc = client_do(j->c, "nvmf_delete_subsystem", params, &ignored);
	} else if (j->nsid && !list_find(field(list_find(j->subsystems, "nqn", j->nqn), "namespaces"), "bdev_name",
	                                 field_text(j->disk, "name"))) {
		json_object_object_add(params, "nsid", json_object_new_uint64(j->nsid));
		rc = client_do(j->c, "nvmf_subsystem_remove_ns", params, &ignored);
	}
	if (rc)
		fprintf(stderr, "gantry: and what was made of %s could not be removed: %s\n", j->nqn, ignored.text);
	json_object_put(params);
}

/* --- addresses --- */

/* "::1:4421" is an address, but is it meant as one? True: what precedes the last colon would be one, too, and what
 * follows looks like a port. */
static bool may_have_port(const char *text)
{
	const char *colon = strrchr(text, ':');
	char host[CLI_ADDRESS_MAX];
	unsigned char bytes[16];

	if (!colon || strlen(colon + 1) < 3 || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
	    colon - text >= CLI_ADDRESS_MAX)
		return false;
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	host[strcspn(host, "%")] = '\0';
	return inet_pton(AF_INET6, host, bytes) == 1;
}

const char *cli_address_misuse(const char *text, char buf[static CLI_MISUSE_MAX])
{
	const char *first = strchr(text, ':'), *last = strrchr(text, ':');

	if (text[0] == '[' || first == last || !may_have_port(text))
		return NULL;
	snprintf(buf, CLI_MISUSE_MAX, "\"%.60s\" can be read in two ways: write [%.*s]:%s for port %s%s%.60s%s", text,
	         (int)(last - text), text, last + 1, last + 1, strlen(last + 1) < 5 ? ", or [" : "",
	         strlen(last + 1) < 5 ? text : "", strlen(last + 1) < 5 ? "] for that address" : "");
	return buf;
}

/* 10.0.0.1, 10.0.0.1:4420, :4420, [::1]:4420, ::1, [fe80::1%eth0]:4420 */
int cli_parse_address(const char *text, const char *port_default, struct cli_address *ret, struct err *e)
{
	const char *colon = strrchr(text, ':'), *end = text + strlen(text), *host = text, *scope;
	char misuse[CLI_MISUSE_MAX], bare[CLI_ADDRESS_MAX];
	unsigned char bytes[16];
	uint64_t port;

	*ret = (struct cli_address){ 0 };
	snprintf(ret->port, sizeof(ret->port), "%s", port_default);
	if (cli_address_misuse(text, misuse))
		return err_set(e, CLIENT_MISTYPED, "--listen: %s", misuse);
	if (text[0] == '[' && strchr(text, ']')) {
		host = text + 1;
		end = strchr(text, ']');
		colon = end[1] == ':' ? end + 1 : NULL;
	} else if (colon && strchr(text, ':') != colon) {
		colon = NULL; /* IPv6 without a port */
	} else if (colon) {
		end = colon;
	}
	if (colon && (text_parse_u64(colon + 1, &port, NULL) || !port || port > 65535))
		return err_set(e, CLIENT_MISTYPED, "--listen: \"%s\" is not a port; write ADDRESS:PORT, as in 127.0.0.1:%s",
		               colon + 1, port_default);
	if (colon)
		snprintf(ret->port, sizeof(ret->port), "%lu", port);
	snprintf(ret->host, sizeof(ret->host), "%.*s", (int)min_u64((uint64_t)(end - host), CLI_ADDRESS_MAX - 1), host);
	if (end == host)
		snprintf(ret->host, sizeof(ret->host), "0.0.0.0");
	ret->is_v6 = strchr(ret->host, ':') != NULL;
	snprintf(bare, sizeof(bare), "%s", ret->host);
	scope = ret->is_v6 ? strchr(ret->host, '%') : NULL; /* the daemon knows its interfaces */
	bare[scope ? scope - ret->host : CLI_ADDRESS_MAX - 1] = '\0';
	if (inet_pton(ret->is_v6 ? AF_INET6 : AF_INET, bare, bytes) != 1)
		return err_set(e, CLIENT_MISTYPED, "--listen: \"%s\" is not an address; write one of this machine's, as in "
		               "127.0.0.1:%s or [::1]:%s, or 0.0.0.0 for all", ret->host, port_default, port_default);
	return 0;
}

int export_listen(struct cli *c, const char *nqn, const char *trtype, const struct cli_address *at,
                  enum export_channel channel, struct err *e)
{
	struct json_object *params = json_object_new_object(), *address = json_object_new_object();
	int rc;

	json_object_object_add(params, "nqn", json_object_new_string(nqn));
	json_object_object_add(params, "listen_address", address);
	json_object_object_add(address, "trtype", json_object_new_string(trtype));
	json_object_object_add(address, "adrfam", json_object_new_string(at->is_v6 ? "IPv6" : "IPv4"));
	json_object_object_add(address, "traddr", json_object_new_string(at->host));
	json_object_object_add(address, "trsvcid", json_object_new_string(at->port));
	if (channel != EXPORT_PLAIN)
		json_object_object_add(params, "secure_channel", json_object_new_boolean(true));
	if (channel == EXPORT_CONCAT)
		json_object_object_add(params, "concatenation", json_object_new_boolean(true));
	rc = client_do(c, "nvmf_subsystem_add_listener", params, e);
	json_object_put(params);
	return rc;
}

int export_listen_free(struct cli *c, const char *nqn, struct cli_address *at, enum export_channel channel,
                       struct err *e)
{
	struct err mine = { 0 };
	uint64_t port;

	if (text_parse_u64(at->port, &port, e))
		return e->code;
	for (uint32_t tries = 0; tries < PORTS_TRIED && port <= 65535; tries++, port++) {
		mine = (struct err){ 0 };
		snprintf(at->port, sizeof(at->port), "%lu", port);
		if (export_listen(c, nqn, "TCP", at, channel, &mine) != -EADDRINUSE)
			break;
	}
	return mine.code ? err_set(e, mine.code, "%s", mine.text) : 0;
}

/* For a listener on all addresses: one by which others reach this machine, or loopback. */
void cli_reachable(const char *host, char ret[static CLI_ADDRESS_MAX])
{
	struct text text = text_over(ret, CLI_ADDRESS_MAX);
	struct ifaddrs *all = NULL;
	bool is_v6;

	must(host);
	is_v6 = strchr(host, ':') != NULL;
	text_add(&text, "%s", host);
	if (strcmp(host, "0.0.0.0") != 0 && strcmp(host, "::") != 0)
		return;
	snprintf(ret, CLI_ADDRESS_MAX, "%s", is_v6 ? "::1" : "127.0.0.1");
	if (getifaddrs(&all) < 0)
		return;
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != (is_v6 ? AF_INET6 : AF_INET) || (i->ifa_flags & IFF_LOOPBACK))
			continue;
		if (is_v6 && IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr))
			continue;
		if (is_v6)
			inet_ntop(AF_INET6, &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, ret, CLI_ADDRESS_MAX);
		else
			inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, ret, CLI_ADDRESS_MAX);
		break;
	}
	freeifaddrs(all);
}

/* As nvme-cli and the kernel's modules call it. */
static const char *kind_of(struct json_object *listener)
{
	return strcmp(field_text(listener, "trtype"), "RDMA") == 0 ? "rdma" : "tcp";
}

static void connect_lines(struct json_object *lines, struct json_object *listeners, const char *nqn)
{
	for (size_t i = 0; i < list_count(listeners); i++) {
		struct json_object *l = list_at(listeners, i);
		char line[512], host[CLI_ADDRESS_MAX];

		cli_reachable(field_text(l, "traddr"), host);
		snprintf(line, sizeof(line), "nvme connect -t %s -a %s -s %s -n %s", kind_of(l), host, field_text(l, "trsvcid"),
		         nqn);
		json_object_array_add(lines, json_object_new_string(line));
	}
}

static void say_how_to_connect(struct json_object *subsystem)
{
	struct json_object *lines = json_object_new_array(), *listeners = field(subsystem, "listen_addresses");
	bool tcp = list_find(listeners, "trtype", "TCP"), rdma = list_find(listeners, "trtype", "RDMA");

	connect_lines(lines, listeners, field_text(subsystem, "nqn"));
	if (strcmp(field_text(subsystem, "controller_model"), "static") == 0)
		printf("Its controllers are static, which Linux's hosts cannot ask for; another Gantry can: gantry nvme attach "
		       "ADDRESS %s --cntlid any\n", field_text(subsystem, "nqn"));
	cli_print_lines(tcp && rdma ? "On the host, as root:\n    modprobe -a nvme-tcp nvme-rdma" :
	                rdma        ? "On the host, as root:\n    modprobe nvme-rdma" :
	                              "On the host, as root:\n    modprobe nvme-tcp", lines);
}

/* --- list, show, remove --- */

static size_t connected(struct cli *c, const char *nqn)
{
	struct err e = { 0 };
	struct json_object *list = client_ask(c, &e, "nvmf_subsystem_get_controllers", "nqn", nqn, NULL);
	size_t count = list_count(list);

	json_object_put(list);
	return count;
}

static void join(struct json_object *list, const char *key, const char *second, char *buf, size_t size)
{
	struct text t = text_over(buf, size);

	for (size_t i = 0; i < list_count(list); i++)
		text_add(&t, "%s%s%s%s", i ? " " : "", field_text(list_at(list, i), key), second ? ":" : "",
		         second ? field_text(list_at(list, i), second) : "");
}

static int run_list(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *all = client_call(c, "nvmf_get_subsystems", NULL, &e);
	struct table t;

	if (!all)
		return cli_fail(&e);
	if (c->json) {
		iscsi_export_add_json(c, all);
		vhost_export_add_json(c, all);
		cli_print_json(all);
		json_object_put(all);
		return CLI_OK;
	}
	table_init(&t, "EXPORT DISKS LISTENS HOSTS >CONNECTED");
	for (size_t i = 0; i < list_count(all); i++) {
		struct json_object *s = list_at(all, i);
		char text[1024];

		if (export_is_discovery(s))
			continue;
		table_cell(&t, "%s", field_text(s, "nqn"));
		join(field(s, "namespaces"), "bdev_name", NULL, text, sizeof(text));
		table_cell(&t, "%s", text);
		join(field(s, "listen_addresses"), "traddr", "trsvcid", text, sizeof(text));
		table_cell(&t, "%s", text);
		join(field(s, "hosts"), "nqn", NULL, text, sizeof(text));
		table_cell(&t, "%s", field_bool(s, "allow_any_host") ? "any" : text);
		table_cell(&t, "%zu", connected(c, field_text(s, "nqn")));
	}
	iscsi_export_rows(c, &t);
	vhost_export_rows(c, &t);
	if (table_rows(&t)) {
		table_print(&t);
	} else {
		printf("Nothing is served. Serve a disk: gantry export disk DISK (gantry disk list shows them)\n");
		table_free(&t);
	}
	json_object_put(all);
	return CLI_OK;
}

/* What was said when hosts with keys were added, for who needs it again. True: every host has some. */
static bool say_keyed(struct cli *c, struct json_object *subsystem, struct err *e)
{
	const char *nqn = field_text(subsystem, "nqn");
	struct json_object *keys = client_call(c, "keyring_get_keys", NULL, e), *hosts = field(subsystem, "hosts");
	struct json_object *listeners = keys ? host_listeners(c, nqn, e) : NULL;
	size_t keyed = 0;

	for (size_t i = 0; listeners && i < list_count(hosts); i++) {
		struct host_keys k;

		if (!host_keys_of(keys, nqn, list_at(hosts, i), &k))
			continue;
		host_keys_say(&k, listeners, e);
		keyed++;
	}
	json_object_put(listeners);
	json_object_put(keys);
	return keyed && keyed == list_count(hosts);
}

static int run_show(struct cli *c, struct cli_args *a)
{
	bool over_iscsi = iscsi_export_show(c, a->words[0]), elsewhere = vhost_export_show(c, a->words[0]) || over_iscsi;
	struct err e = { 0 };
	struct json_object *all = client_call(c, "nvmf_get_subsystems", NULL, &e);
	struct json_object *s = all ? export_find(all, a->words[0], &e) : NULL, *hosts = field(s, "hosts");

	if (s && c->json) {
		cli_print_json(s);
	} else if (s) {
		printf("%s\n  serial      %s\n  model       %s\n", field_text(s, "nqn"), field_text(s, "serial_number"),
		       field_text(s, "model_number"));
		for (size_t i = 0; i < list_count(field(s, "namespaces")); i++)
			printf("  namespace   %lu: %s\n", field_u64(list_at(field(s, "namespaces"), i), "nsid"),
			       field_text(list_at(field(s, "namespaces"), i), "bdev_name"));
		if (field_bool(s, "allow_any_host"))
			printf("  allows      any host\n");
		for (size_t i = 0; i < list_count(hosts); i++)
			printf("  allows      %s\n", field_text(list_at(hosts, i), "nqn"));
		printf("  connected   %zu\n", connected(c, field_text(s, "nqn")));
		if (!say_keyed(c, s, &e) || field_bool(s, "allow_any_host"))
			say_how_to_connect(s);
	}
	json_object_put(all);
	return e.code && !elsewhere ? cli_fail(&e) : CLI_OK;
}

/* Named by a disk among others: only its namespace goes. */
static int run_remove(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *all = client_call(c, "nvmf_get_subsystems", NULL, &e), *params;
	struct json_object *s = all ? export_find(all, a->words[0], &e) : NULL, *ns;
	const char *nqn = field_text(s, "nqn");
	struct err other = { 0 };
	bool over_iscsi = iscsi_export_remove(c, a->words[0], &other);
	bool elsewhere = vhost_export_remove(c, a->words[0], &other) || over_iscsi;

	if (elsewhere && !s)
		e = (struct err){ 0 };
	if (!e.code)
		e = other;
	if (!s) {
		json_object_put(all);
		return e.code ? cli_fail(&e) : CLI_OK;
	}
	ns = list_find(field(s, "namespaces"), "bdev_name", a->words[0]);
	params = json_object_new_object();
	json_object_object_add(params, "nqn", json_object_new_string(nqn));
	if (ns && list_count(field(s, "namespaces")) > 1) {
		json_object_object_add(params, "nsid", json_object_new_uint64(field_u64(ns, "nsid")));
		if (client_do(c, "nvmf_subsystem_remove_ns", params, &e) == 0 && !c->json)
			printf("%s serves %s no more\n", nqn, a->words[0]);
	} else if (client_do(c, "nvmf_delete_subsystem", params, &e) == 0) {
		for (size_t i = 0; i < list_count(field(s, "hosts")); i++)
			host_keys_delete(c, list_at(field(s, "hosts"), i));
		if (!c->json)
			printf("%s is gone\n", nqn);
	}
	json_object_put(params);
	json_object_put(all);
	return e.code ? cli_fail(&e) : CLI_OK;
}

/* --- for others --- */

static struct json_object *fresh(struct cli *c, const char *nqn, struct err *e)
{
	struct json_object *all = client_call(c, "nvmf_get_subsystems", NULL, e), *s = list_find(all, "nqn", nqn);

	json_object_get(s);
	json_object_put(all);
	return s;
}

bool export_is_discovery(struct json_object *subsystem)
{
	return strcmp(field_text(subsystem, "subtype"), "Discovery") == 0;
}

struct json_object *export_of_disk(struct json_object *subsystems, const char *disk, struct json_object **ret_ns)
{
	for (size_t i = 0; i < list_count(subsystems); i++) {
		*ret_ns = list_find(field(list_at(subsystems, i), "namespaces"), "bdev_name", disk);
		if (*ret_ns)
			return list_at(subsystems, i);
	}
	*ret_ns = NULL;
	return NULL;
}

struct json_object *export_find(struct json_object *subsystems, const char *name, struct err *e)
{
	struct json_object *ns, *found = list_find(subsystems, "nqn", name);
	const char *names[NAMES_MAX];
	size_t count = 0;
	char near[300];

	if (!found)
		found = export_of_disk(subsystems, name, &ns);
	for (size_t i = 0; i < list_count(subsystems) && !found; i++) {
		struct json_object *s = list_at(subsystems, i), *spaces = field(s, "namespaces");
		const char *colon = strrchr(field_text(s, "nqn"), ':');

		if (export_is_discovery(s))
			continue;
		if (colon && strcmp(colon + 1, name) == 0)
			found = s;
		if (colon && count < NAMES_MAX)
			names[count++] = colon + 1;
		for (size_t n = 0; n < list_count(spaces) && count < NAMES_MAX; n++)
			names[count++] = field_text(list_at(spaces, n), "bdev_name");
	}
	if (!found || export_is_discovery(found)) {
		err_set(e, -2, "nothing is served as \"%s\"%s; gantry export list shows all", name,
		        cli_suggest(name, names, count, near, sizeof(near)));
		return NULL;
	}
	return found;
}
