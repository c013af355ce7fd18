/* SPDX-License-Identifier: BSD-3-Clause */
/* host_keys.c: keys for a host that has to prove who it is (--auth), or whose connections are secured (--tls,
 * --concat): the daemon makes them, in files that nobody else can read; and what to type on the host, with the keys'
 * files in the place of the keys. The secrets themselves are shown only to who asks for that (--show-keys): a terminal
 * has a memory.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define NAMES_TRIED 20u
#define SECRET_MAX 256u
#define HOST_DIR "/etc/nvme/keys"

static const char *const params_of[HOST_KEY_COUNT] = { "dhchap_key", "dhchap_ctrlr_key", "psk" };
static const char *const ends[HOST_KEY_COUNT] = { "host", "ctrlr", "tls" };
static const char *const meanings[HOST_KEY_COUNT] = { "by it the host proves who it is", "by it we prove who we are",
	"it secures the connections" };

/* --- made, and taken back --- */

/* What follows the last colon, as far as it is fit for a file's name. */
static void add_tail(struct text *t, const char *nqn)
{
	const char *tail = strrchr(nqn, ':') ? strrchr(nqn, ':') + 1 : nqn;

	for (size_t i = 0; tail[i] && i < 48; i++)
		text_add(t, "%c", isalnum((unsigned char)tail[i]) || tail[i] == '_' ? tail[i] : '-');
}

/* The next name where one is taken: by a key, or by a file that was left when the daemon died while it made one. */
static int make_one(struct cli *c, struct host_keys *k, enum host_key which, const char *hash, struct err *e)
{
	struct json_object *there = client_call(c, "keyring_get_keys", NULL, e), *made = NULL;
	struct err mine = { 0 };
	char name[HOST_KEY_NAME_MAX];

	for (uint32_t n = 1; there && !made && n <= NAMES_TRIED && (!mine.code || mine.code == -EEXIST); n++) {
		struct text t = text_over(name, sizeof(name));

		add_tail(&t, k->nqn);
		text_add(&t, ".");
		add_tail(&t, k->host);
		text_add(&t, n > 1 ? ".%s.%u" : ".%s", ends[which], n);
		if (n < NAMES_TRIED && list_find(there, "name", name))
			continue;
		mine = (struct err){ 0 };
		made = client_ask(c, &mine, "keyring_make_key", "name", name, "kind", which == HOST_KEY_TLS ? "tls" : "dhchap",
		                  "hash", hash ? hash : "sha256", NULL);
	}
	if (made) {
		snprintf(k->names[which], sizeof(k->names[which]), "%s", field_text(made, "name"));
		snprintf(k->paths[which], sizeof(k->paths[which]), "%s", field_text(made, "path"));
	} else if (there) {
		err_set(e, mine.code, "%s", mine.text);
	}
	json_object_put(made);
	json_object_put(there);
	return e->code;
}

bool host_keys_secure(const struct cli_args *a) { return args_has(a, "tls") || args_has(a, "concat"); }

bool host_keys_wanted(const struct cli_args *a) { return args_has(a, "auth") || host_keys_secure(a); }

const char *host_keys_misuse(const struct cli_args *a)
{
	return args_has(a, "tls") && args_has(a, "concat") ?
	       "--tls and --concat: a host has a key of TLS, or makes one by its proof; leave out one of them" : NULL;
}

int host_keys_make(struct cli *c, struct cli_args *a, const char *nqn, const char *host, struct host_keys *k,
                   struct err *e)
{
	const char *hash = args_value(a, "hash");

	*k = (struct host_keys){ .concat = args_has(a, "concat"), .tls = args_has(a, "tls"),
		.auth = args_has(a, "auth") || args_has(a, "concat"), .show = args_has(a, "show-keys") };
	snprintf(k->nqn, sizeof(k->nqn), "%s", nqn);
	snprintf(k->host, sizeof(k->host), "%s", host);
	if (hash && strcmp(hash, "sha512") == 0 && k->tls)
		return err_set(e, CLIENT_MISTYPED, "--hash sha512: keys of TLS know sha256 and sha384 only");
	if (k->auth && (make_one(c, k, HOST_KEY_HOST, hash, e) || make_one(c, k, HOST_KEY_CTRLR, hash, e)))
		host_keys_undo(c, k);
	else if (k->tls && make_one(c, k, HOST_KEY_TLS, hash, e))
		host_keys_undo(c, k);
	return e->code;
}

void host_keys_params(const struct host_keys *k, struct json_object *params)
{
	for (int i = 0; i < HOST_KEY_COUNT; i++)
		if (k->names[i][0])
			json_object_object_add(params, params_of[i], json_object_new_string(k->names[i]));
}

static void delete_one(struct cli *c, const char *name)
{
	struct err e = { 0 };

	json_object_put(client_ask(c, &e, "keyring_delete_key", "name", name, NULL));
	if (e.code == -EBUSY)
		fprintf(stderr, "gantry: key '%s' stays, and so does its file: %s\n", name, e.text);
}

void host_keys_undo(struct cli *c, struct host_keys *k)
{
	for (int i = 0; i < HOST_KEY_COUNT; i++)
		if (k->names[i][0])
			delete_one(c, k->names[i]);
}

void host_keys_delete(struct cli *c, struct json_object *host)
{
	for (int i = 0; i < HOST_KEY_COUNT; i++)
		if (*field_text(host, params_of[i]))
			delete_one(c, field_text(host, params_of[i]));
}

bool host_keys_of(struct json_object *keys, const char *nqn, struct json_object *host, struct host_keys *k)
{
	*k = (struct host_keys){ 0 };
	snprintf(k->nqn, sizeof(k->nqn), "%s", nqn);
	snprintf(k->host, sizeof(k->host), "%s", field_text(host, "nqn"));
	for (int i = 0; i < HOST_KEY_COUNT; i++) {
		const char *name = field_text(host, params_of[i]), *path = field_text(list_find(keys, "name", name), "path");

		snprintf(k->names[i], sizeof(k->names[i]), "%s", name);
		snprintf(k->paths[i], sizeof(k->paths[i]), "%s%s", *name && !*path ? "/" : "", *path ? path : name);
	}
	k->auth = k->names[HOST_KEY_HOST][0];
	k->tls = k->names[HOST_KEY_TLS][0];
	return k->auth || k->tls;
}

/* --- where --- */

struct json_object *host_listeners(struct cli *c, const char *nqn, struct err *e)
{
	struct json_object *all = client_ask(c, e, "nvmf_subsystem_get_listeners", "nqn", nqn, NULL), *flat;

	if (!all)
		return NULL;
	flat = json_object_new_array();
	for (size_t i = 0; i < list_count(all); i++) {
		struct json_object *l = list_at(all, i), *copy = NULL;

		if (json_object_deep_copy(field(l, "address"), &copy, NULL) < 0)
			continue;
		json_object_object_add(copy, "secure_channel", json_object_new_boolean(field_bool(l, "secure_channel")));
		json_object_object_add(copy, "concatenation", json_object_new_boolean(field_bool(l, "concatenation")));
		json_object_array_add(flat, copy);
	}
	json_object_put(all);
	return flat;
}

bool host_listener_takes_psk(struct json_object *listener)
{
	return field_bool(listener, "secure_channel") && !field_bool(listener, "concatenation");
}

int host_secure_listener(struct cli *c, const char *nqn, const char *listen, bool concat, struct err *e)
{
	struct json_object *there = host_listeners(c, nqn, e), *first;
	enum export_channel channel = concat ? EXPORT_CONCAT : EXPORT_TLS;
	struct cli_address at = { .host = "127.0.0.1", .port = CLI_PORT };
	bool has = false;
	uint64_t port;
	int rc = 0;

	if (!there)
		return e->code;
	for (size_t i = 0; i < list_count(there); i++)
		has |= concat ? field_bool(list_at(there, i), "concatenation") : host_listener_takes_psk(list_at(there, i));
	first = list_find(there, "trtype", "TCP");
	if (listen) {
		rc = cli_parse_address(listen, CLI_PORT, &at, e);
	} else if (first && !text_parse_u64(field_text(first, "trsvcid"), &port, NULL)) {
		snprintf(at.host, sizeof(at.host), "%s", field_text(first, "traddr"));
		snprintf(at.port, sizeof(at.port), "%lu", min_u64(port + 1, 65535));
		at.is_v6 = strchr(at.host, ':') != NULL;
	}
	json_object_put(there);
	if (rc || (has && !listen))
		return rc;
	return listen ? export_listen(c, nqn, "TCP", &at, channel, e) : export_listen_free(c, nqn, &at, channel, e);
}

/* --- said --- */

static int read_secret(const char *path, char text[static SECRET_MAX], struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, SECRET_MAX - 1);

	if (len < 0)
		err_set(e, -errno, "--show-keys: %s cannot be read: %s; as root it can, on the daemon's machine", path,
		        strerror(errno));
	if (fd >= 0)
		close(fd);
	text[len > 0 ? len : 0] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	return e->code;
}

/* The key itself, or how a shell on the host gets it. */
static void add_key(struct text *t, const struct host_keys *k, enum host_key which, struct err *e)
{
	const char *file = strrchr(k->paths[which], '/');
	char secret[SECRET_MAX] = "";

	if (!k->show)
		text_add(t, "\"$(cat " HOST_DIR "%s)\"", file ? file : "");
	else if (read_secret(k->paths[which], secret, e) == 0)
		text_add(t, "'%s'", secret);
	explicit_bzero(secret, sizeof(secret));
}

static void add_line(struct json_object *lines, const struct text *t)
{
	json_object_array_add(lines, json_object_new_string(t->buf));
}

static bool is_rdma(struct json_object *listener) { return strcmp(field_text(listener, "trtype"), "RDMA") == 0; }

static void add_connect(struct json_object *lines, const struct host_keys *k, struct json_object *l, struct err *e)
{
	char line[2048], host[CLI_ADDRESS_MAX];
	struct text t = text_over(line, sizeof(line));

	cli_reachable(field_text(l, "traddr"), host);
	text_add(&t, "nvme connect -t %s -a %s -s %s -n %s --hostnqn=%s", is_rdma(l) ? "rdma" : "tcp", host,
	         field_text(l, "trsvcid"), k->nqn, k->host);
	if (k->auth) {
		text_add(&t, " --dhchap-secret=");
		add_key(&t, k, HOST_KEY_HOST, e);
	}
	if (k->names[HOST_KEY_CTRLR][0]) {
		text_add(&t, " --dhchap-ctrl-secret=");
		add_key(&t, k, HOST_KEY_CTRLR, e);
	}
	if (k->tls || field_bool(l, "concatenation"))
		text_add(&t, k->tls ? " --tls" : " --concat");
	add_line(lines, &t);
	explicit_bzero(line, sizeof(line));
}

/* The version of the identity that carries a digest: by it we see which of libnvme's two ways made the key. */
static void add_insert(struct json_object *lines, const struct host_keys *k, struct err *e)
{
	char line[2048];
	struct text t = text_over(line, sizeof(line));

	text_add(&t, "nvme check-tls-key --insert --identity=1 --subsysnqn=%s --hostnqn=%s --keydata=", k->nqn, k->host);
	add_key(&t, k, HOST_KEY_TLS, e);
	add_line(lines, &t);
	explicit_bzero(line, sizeof(line));
}

/* With a key of TLS by listeners for that only; else by the others, those where the proof makes such a key, too. */
static bool suits(const struct host_keys *k, struct json_object *listener)
{
	if (field_bool(listener, "concatenation") || k->concat)
		return k->auth && !k->tls && field_bool(listener, "concatenation");
	return field_bool(listener, "secure_channel") == k->tls;
}

static struct json_object *lines_for(const struct host_keys *k, struct json_object *listeners, struct err *e)
{
	struct json_object *lines = json_object_new_array();
	bool rdma = !k->tls && !k->concat && list_find(listeners, "trtype", "RDMA"), secure = k->tls;

	for (size_t i = 0; i < list_count(listeners); i++)
		secure |= suits(k, list_at(listeners, i)) && field_bool(list_at(listeners, i), "secure_channel");
	json_object_array_add(lines, json_object_new_string(rdma ? "modprobe -a nvme-tcp nvme-rdma" : "modprobe nvme-tcp"));
	if (secure)
		json_object_array_add(lines, json_object_new_string("systemctl start tlshd"));
	if (k->tls)
		add_insert(lines, k, e);
	for (size_t i = 0; i < list_count(listeners); i++)
		if (suits(k, list_at(listeners, i)))
			add_connect(lines, k, list_at(listeners, i), e);
	return lines;
}

static void say_files(const struct host_keys *k)
{
	printf("The keys, in files of mode 0600 on the daemon's machine:\n");
	for (int i = 0; i < HOST_KEY_COUNT; i++)
		if (k->names[i][0])
			printf("    %s   (%s)\n", k->paths[i], meanings[i]);
	if (!k->show)
		printf("Copy them to the host, by a way on which nobody listens (scp), into " HOST_DIR ", mode 0600, directory "
		       "0700.\n");
}

struct json_object *host_keys_json(const struct host_keys *k, struct json_object *listeners, struct err *e)
{
	struct json_object *o = json_object_new_object(), *keys = json_object_new_array();

	json_object_object_add(o, "host", json_object_new_string(k->host));
	json_object_object_add(o, "export", json_object_new_string(k->nqn));
	json_object_object_add(o, "keys", keys);
	for (int i = 0; i < HOST_KEY_COUNT; i++) {
		struct json_object *key = json_object_new_object();

		if (k->names[i][0]) {
			json_object_object_add(key, "kind", json_object_new_string(params_of[i]));
			json_object_object_add(key, "name", json_object_new_string(k->names[i]));
			json_object_object_add(key, "path", json_object_new_string(k->paths[i]));
			json_object_array_add(keys, json_object_get(key));
		}
		json_object_put(key);
	}
	json_object_object_add(o, "connect", lines_for(k, listeners, e));
	return o;
}

void host_keys_say(const struct host_keys *k, struct json_object *listeners, struct err *e)
{
	struct json_object *lines = lines_for(k, listeners, e);
	const char *address = list_count(listeners) ? field_text(list_at(listeners, 0), "traddr") : "ADDRESS";
	bool secure = k->tls || k->concat, reachable = false;

	for (size_t i = 0; i < list_count(listeners); i++)
		reachable |= suits(k, list_at(listeners, i));
	printf("%s may connect to %s%s%s.\n", k->host, k->nqn,
	       k->auth ? " when it has proved who it is" : "",
	       secure ? (k->auth ? ", over TLS" : " over TLS") : "");
	say_files(k);
	if (reachable && !e->code) {
		cli_print_lines("On the host, as root:", lines);
		return;
	}
	json_object_put(lines);
	if (reachable)
		return;
	printf("There is no listener %s TLS yet that it could connect to; this makes one, and then `gantry export show %s' "
	       "says what to type on the host:\n    gantry rpc nvmf_subsystem_add_listener nqn=%s%s "
	       "listen_address.trtype=TCP listen_address.%straddr=%s listen_address.trsvcid=PORT\n",
	       secure ? "with" : "without", k->nqn, k->nqn,
	       k->concat ? " secure_channel concatenation" : secure ? " secure_channel" : "",
	       strchr(address, ':') ? "adrfam=IPv6 listen_address." : "", address);
}
