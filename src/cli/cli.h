/* SPDX-License-Identifier: BSD-3-Clause */
/* cli.h: what the parts of the command line tool share. Private to cli.
 *
 * A noun is a table of verbs; a verb says once what its words and options are. Parsing, help, completion, the man page
 * and what is suggested for a mistyped word come from the tables:
 *
 *     static const struct cli_option create_options[] = {
 *             { "name", "NAME", "Its name; made up when left out" },
 *             { "read-only", NULL, "Nobody may write" },
 *     };
 *     static const struct cli_verb verbs[] = {
 *             { "list", "", "all of them", run_list, .is_default = true, .example = "gantry thing list" },
 *             { "create", "KIND [SIZE]", "make one", run_create, CLI_OPTIONS(create_options), .example = "..." },
 *     };
 *     const struct cli_noun thing_noun = { "thing", "what things are", verbs, ARRAY_SIZE(verbs) };
 *
 * A noun is added to the table in main.c.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <json-c/json.h>

#include "base/base.h"
#include "base/err.h"
#include "base/text.h"

#define CLI_SOCKET "/var/tmp/spdk.sock"
#define CLI_SERVICE_SOCKET "/run/gantry/rpc.sock" /* packaging/gantryd.socket */
#define CLI_PORT "4420"
#define CLI_ISCSI_PORT "3260"
#define CLI_NQN_PREFIX "nqn.2016-06.io.gantry:"
#define CLI_IQN_PREFIX "iqn.2016-06.io.gantry:"

/* What the process ends with. */
enum { CLI_OK, CLI_REFUSED, CLI_USAGE, CLI_UNREACHABLE };

struct cli {
	const char *socket;
	bool json;             /* --json */
	bool help;             /* --help */
	uint32_t timeout_s;
	int fd;                /* -1: not connected yet */
	struct json_tokener *tokener;
	uint64_t last_id;
	struct json_object *methods; /* cli_methods()'s */
};

/* --- nouns and verbs --- */
struct cli_option {
	const char *name;      /* without the dashes; - and _ are the same */
	const char *arg;       /* NULL: a flag; --flag=no is possible where a row stands behind it */
	const char *doc;
	bool many;             /* may be repeated */
	struct json_object *row; /* of the daemon's description; NULL: the verb's own */
};

/* What was typed after the verb. Owns what it points to but the words themselves. */
struct cli_args {
	const struct cli_verb *verb;
	struct cli_option *options;
	size_t option_count;
	const char **words;
	size_t word_count;
	struct cli_given {
		const struct cli_option *option;
		const char *value;  /* NULL: a flag */
	} *given;
	size_t given_count;
	struct json_object *about; /* what the verb's describe() found; put with the rest */
};

struct cli_verb {
	const char *name;      /* NULL: the noun's only command */
	const char *args;      /* "DISK [SIZE] WORD...": what is not in brackets is wanted */
	const char *doc;       /* one line */
	int (*run)(struct cli *c, struct cli_args *a); /* returns what the process ends with */
	const struct cli_option *options;
	size_t option_count;
	const char *help;      /* more of it; NULL: none */
	const char *example;   /* lines that work as typed */
	bool is_default;       /* the noun alone means this */
	/* Options that the daemon knows, added to `a` with args_add_*() before the command line is read; `first` is the
	 * first word, or NULL. */
	int (*describe)(struct cli *c, struct cli_args *a, const char *first, struct err *e);
	/* Help on the first word; NULL, or false: the verb's own help. */
	bool (*help_on)(struct cli *c, struct cli_args *a, const char *first);
	/* Its own reading of what follows: the words come as they are. */
	bool raw;
};
#define CLI_OPTIONS(rows) .options = rows, .option_count = ARRAY_SIZE(rows)

struct cli_noun {
	const char *name, *doc;
	const struct cli_verb *verbs;
	size_t verb_count;
};

extern const struct cli_noun disk_noun, export_noun, host_noun, log_noun, status_noun, top_noun, doctor_noun, rpc_noun;
extern const struct cli_noun completion_noun, config_noun, help_noun, nvme_noun;
extern const struct cli_noun *const cli_nouns[]; /* main.c; ends with NULL */
const struct cli_noun *cli_find_noun(const char *name);
const struct cli_verb *cli_find_verb(const struct cli_noun *noun, const char *name);

/* --- args.c --- */
int args_parse(struct cli *c, const struct cli_verb *verb, int argc, char **argv, struct cli_args *ret, struct err *e)
	MUST_USE;
void args_free(struct cli_args *a);
/* For describe(): the option `name`, of the daemon's `row`; both are kept as long as `a`. */
void args_add_row(struct cli_args *a, const char *name, struct json_object *row);
const char *args_value(const struct cli_args *a, const char *option); /* the last one; NULL: not given */
bool args_has(const struct cli_args *a, const char *option);
/* What was given for rows of the daemon's, into an RPC's parameters; `only`: the names of rows, NULL: all. */
int args_to_params(const struct cli_args *a, struct json_object *rows, struct json_object *params, struct err *e)
	MUST_USE;
bool cli_same_name(const char *a, const char *b); /* - and _ are the same */
/* The words of a verb's args one after the other; its length; 0: no more. */
size_t cli_next_word(const char **at, const char **ret_word, bool *ret_wanted, bool *ret_many);

/* --- usage.c: help on ourselves --- */
void usage_all(void);
void usage_noun(const struct cli_noun *noun);
void usage_verb(const struct cli_noun *noun, const struct cli_verb *verb, const struct cli_args *a);
struct json_object *usage_as_json(void);
void print_wrapped(const char *text, size_t indent);
/* The same beside what stands at the left of `column` already. */
void print_beside(const char *text, size_t column);

/* --- client.c: one method after the other over a blocking socket --- */
/* The result, the caller's. NULL: sentence in `e`; its code is the daemon's, or one of these. */
#define CLIENT_UNREACHABLE (-40000)
#define CLIENT_MISTYPED (-40001)
struct json_object *client_call(struct cli *c, const char *method, struct json_object *params, struct err *e);
/* The same with parameters that are texts: "key", "value", ..., NULL. */
struct json_object *client_ask(struct cli *c, struct err *e, const char *method, ...) __attribute__((sentinel));
/* For what is done rather than asked: 0, or the error's code. */
int client_do(struct cli *c, const char *method, struct json_object *params, struct err *e) MUST_USE;
void client_close(struct cli *c);
/* The description of one method; NULL: the daemon knows none, or does not know the method. */
struct json_object *client_describe(struct cli *c, const char *method);
/* All methods' descriptions, asked once; a list, borrowed. NULL: sentence. */
struct json_object *cli_methods(struct cli *c, struct err *e);
struct json_object *cli_method(struct cli *c, const char *name); /* one of them, borrowed; NULL: there is none */

/* --- values.c: what people type into what the daemon wants --- */
/* Put one "key=value" into `params`; `rows` is the description's list, NULL when there is none. */
int values_add(struct json_object *params, struct json_object *rows, const char *arg, struct err *e) MUST_USE;
/* What a file holds; NULL with a sentence that says where it is wrong. */
struct json_object *values_of_file(const char *path, struct err *e);
/* One value of `row`. */
int values_convert(struct json_object *row, const char *key, const char *text, struct json_object **ret, struct err *e)
	MUST_USE;

/* --- help.c: help on methods --- */
int help_method(struct cli *c, const char *method);
int help_list(struct cli *c);
/* "text, required, default x" and the sentence of a row. */
void help_row(struct json_object *row, const char *name, size_t indent);

/* --- table.c: columns that fit --- */
struct table {
	struct table_column { const char *title; bool right; size_t width; } *columns;
	size_t column_count;
	char **cells;
	size_t cell_count;
};
/* "NAME KIND >SIZE": columns, > to the right, _ for a blank in a title. Kept, not copied. */
void table_init(struct table *t, const char *titles);
void table_cell(struct table *t, const char *fmt, ...) PRINTF(2, 3);
size_t table_rows(const struct table *t);
/* The title line (row 0), then the rows: no wider than `width` columns. */
void table_fit(struct table *t, size_t width);
void table_line(const struct table *t, size_t row, size_t width, struct text *out);
void table_print(struct table *t); /* as wide as the terminal; frees it */
void table_free(struct table *t);
size_t text_columns(const char *text);
/* At most `width` columns of a text, cut with an ellipsis. */
void text_add_cut(struct text *t, const char *text, size_t width);

/* --- metrics.c ------------------------------------------------------------------------------------------------ */
struct metric {
	char labels[512];      /* {core="0",...}, as they stand */
	double value;
};
struct json_object *metrics_take(struct cli *c); /* a text; NULL: this daemon has none */
/* The next line of that name, from `*at` on. */
bool metrics_next(const char **at, const char *name, struct metric *ret);
/* All lines of that name with label="value", added up. */
double metrics_sum(const char *text, const char *name, const char *label, const char *value);

/* --- disks and exports, for several nouns --- */
/* The entry of bdev_get_bdevs, the caller's; NULL: sentence, with the nearest name. */
struct json_object *disk_find(struct cli *c, const char *name, struct err *e);
/* The create method's entry {method, params} in the saved configuration, the caller's; NULL: none. */
struct json_object *disk_origin(struct cli *c, const char *name);
/* The kind of a method "bdev_KIND_create": the length of the kind in *ret_len; NULL: it is no such method. */
const char *disk_kind_of(const char *method, size_t *ret_len);
/* "/path", or "/disk-name": who serves it: the subsystem's entry, borrowed from nvmf_get_subsystems' list. */
struct json_object *export_of_disk(struct json_object *subsystems, const char *disk, struct json_object **ret_ns);
/* By NQN, by what follows the last colon, or by disk. NULL: sentence. */
struct json_object *export_find(struct json_object *subsystems, const char *name, struct err *e);
bool export_is_discovery(struct json_object *subsystem);
#define CLI_ADDRESS_MAX 64
struct cli_address {
	char host[CLI_ADDRESS_MAX], port[8];
	bool is_v6;
};
/* "::1:4421" without brackets: a sentence in `buf`; NULL: there is one way to read it. */
#define CLI_MISUSE_MAX 256
const char *cli_address_misuse(const char *text, char buf[static CLI_MISUSE_MAX]);
/* 10.0.0.1, 10.0.0.1:4420, :4420, [::1]:4420, ::1, [fe80::1%eth0]:4420 */
int cli_parse_address(const char *text, const char *port_default, struct cli_address *ret, struct err *e) MUST_USE;
enum export_channel { EXPORT_PLAIN, EXPORT_TLS, EXPORT_CONCAT };
int export_listen(struct cli *c, const char *nqn, const char *trtype, const struct cli_address *at,
                  enum export_channel channel, struct err *e) MUST_USE;
/* Over TCP, at that port or the next one that nobody has, or has in the same way; at->port tells. */
int export_listen_free(struct cli *c, const char *nqn, struct cli_address *at, enum export_channel channel,
                       struct err *e) MUST_USE;
/* For a listener on all addresses: one by which others reach this machine, or loopback. */
void cli_reachable(const char *host, char ret[static CLI_ADDRESS_MAX]);

/* --- export_vhost.c: the same to virtual machines --- */
int vhost_export_disk(struct cli *c, struct cli_args *a);
void vhost_export_rows(struct cli *c, struct table *t);
void vhost_export_add_json(struct cli *c, struct json_object *array);
/* By name, or by disk. False: there is none of that name. */
bool vhost_export_exists(struct cli *c, const char *name);
bool vhost_export_show(struct cli *c, const char *name);
bool vhost_export_remove(struct cli *c, const char *name, struct err *e);
#define CLI_FROM_VHOST "vhost-user"
void vhost_add_hosts(struct cli *c, struct json_object *into); /* hosts_take()'s */
void vhost_show_status(struct cli *c, void (*line)(const char *fmt, ...));
/* The next one of vhost_get_controllers, from *at on, that shows a disk; borrowed; NULL: none does. */
struct json_object *vhost_export_of_disk(struct json_object *ctrlrs, const char *disk, size_t *at);

/* --- host_keys.c: keys of a host: --auth, --tls, --concat, --hash, --show-keys ----------------------------------- */
enum host_key { HOST_KEY_HOST, HOST_KEY_CTRLR, HOST_KEY_TLS, HOST_KEY_COUNT };
#define HOST_KEY_NAME_MAX 129
struct host_keys {
	bool auth, tls, show;
	bool concat;              /* it was asked for: only listeners for that */
	char nqn[256], host[256];
	char names[HOST_KEY_COUNT][HOST_KEY_NAME_MAX], paths[HOST_KEY_COUNT][1024]; /* empty: none */
};
#define HOST_KEYS_OPTIONS \
	{ "auth", NULL, "NVMe/TCP, RDMA: the host has to prove who it is, and we to it (DH-HMAC-CHAP), by new keys" }, \
	{ "tls", NULL, "NVMe/TCP: its connections are secured (TLS 1.3), by a new key, at a listener for that" }, \
	{ "concat", NULL, "NVMe/TCP: --auth, and the proof makes the key of TLS (secure concatenation), at a listener " \
	  "for that" }, \
	{ "hash", "HASH", "By which new keys are bound to a host: sha256, sha384, sha512 (not of TLS) or none; sha256" }, \
	{ "show-keys", NULL, "Print the keys, where else the names of their files stand" }
/* Is any of them asked for; and one by which connections are secured? */
bool host_keys_wanted(const struct cli_args *a);
bool host_keys_secure(const struct cli_args *a);
/* NULL; or why they do not go together. */
const char *host_keys_misuse(const struct cli_args *a);
/* Nothing is made when none is asked for. */
int host_keys_make(struct cli *c, struct cli_args *a, const char *nqn, const char *host, struct host_keys *ret,
                   struct err *e);
/* Into those of nvmf_subsystem_add_host. */
void host_keys_params(const struct host_keys *k, struct json_object *params);
void host_keys_undo(struct cli *c, struct host_keys *k);
/* Those that were made by the daemon and that nobody uses; of an entry of nvmf_get_subsystems' hosts. */
void host_keys_delete(struct cli *c, struct json_object *host);
/* Of a host that was added before; `keys`: keyring_get_keys'. False: it has none. */
bool host_keys_of(struct json_object *keys, const char *nqn, struct json_object *host, struct host_keys *ret);
/* {trtype, adrfam, traddr, trsvcid, secure_channel, concatenation} of a subsystem; NULL: `e` says why. */
struct json_object *host_listeners(struct cli *c, const char *nqn, struct err *e);
bool host_listener_takes_psk(struct json_object *listener); /* not those where a proof makes the key of TLS */
/* A listener with TLS, by keys or by proofs, unless there is one: where --listen says, or at the first one's address by
 * the next free port. */
int host_secure_listener(struct cli *c, const char *nqn, const char *listen, bool concat, struct err *e) MUST_USE;
/* Where the keys are, and what to type on the host; `listeners`: of the subsystem. */
void host_keys_say(const struct host_keys *k, struct json_object *listeners, struct err *e);
struct json_object *host_keys_json(const struct host_keys *k, struct json_object *listeners, struct err *e);

/* --- export_iscsi.c: the same over iSCSI ---------------------------------------------------------------------- */
int iscsi_export_disk(struct cli *c, struct cli_args *a);
void iscsi_export_rows(struct cli *c, struct table *t);  /* of the list */
void iscsi_export_add_json(struct cli *c, struct json_object *array);
/* By name, by what follows the last colon, or by disk. False: there is none of that name. */
bool iscsi_export_show(struct cli *c, const char *name);
bool iscsi_export_remove(struct cli *c, const char *name, struct err *e);
struct json_object *iscsi_export_find(struct json_object *nodes, const char *name); /* borrowed; NULL: there is none */
/* Which of iscsi_get_target_nodes serves a disk, and as what; borrowed; NULL: none does. */
struct json_object *iscsi_export_of_disk(struct json_object *nodes, const char *disk, struct json_object **ret_lun);
void iscsi_add_hosts(struct cli *c, struct json_object *into); /* hosts_take()'s */
/* host_iscsi.c: let a host in, or no more; `only`: and nobody but those that were added. False: no such target node. */
bool iscsi_host_change(struct cli *c, const char *host, const char *export, bool add, bool only, struct err *e);
/* Target nodes, portal groups and sessions on a page. */
void iscsi_show_status(struct cli *c, void (*line)(const char *fmt, ...));
/* Who may connect and who is: {host, export, allowed, controllers, queues, from, cores}, of the first exports. */
struct json_object *hosts_take(struct cli *c, size_t exports_max, struct err *e);
/* The entry of a host and export in such a list; made when there is none. */
struct json_object *host_entry(struct json_object *list, const char *host, const char *export);

/* --- reservation.c: by whom a disk is reserved ----------------------------------------------------------------- */
/* Of an entry of bdev_get_reservations; nothing for NULL. On the page of status: while somebody holds it. */
void reservation_show(struct json_object *reservation);
void reservation_show_status(struct json_object *reservation, void (*line)(const char *fmt, ...));

int disk_create(struct cli *c, struct cli_args *a);
int disk_create_describe(struct cli *c, struct cli_args *a, const char *first, struct err *e);
bool disk_create_help(struct cli *c, struct cli_args *a, const char *first);

/* --- shared --- */
int cli_fail(const struct err *e);
/* Wrong use: says it, returns CLI_USAGE. */
int cli_misuse(const char *fmt, ...) PRINTF(1, 2);
void cli_print_json(struct json_object *json);
/* The end of a verb that asks: `answer` as JSON, or by `print` (NULL: silently); it is put. NULL: `e` is said instead,
 * and for an empty list `none`, where there is such a sentence. */
int cli_answer(struct cli *c, struct json_object *answer, const struct err *e, const char *none,
               void (*print)(struct cli *c, struct json_object *answer));
/* A line each below `title`, indented; nothing when there are none. Puts them. */
void cli_print_lines(const char *title, struct json_object *lines);
/* ", did you mean x?" into `buf`, or nothing. */
const char *cli_suggest(const char *typed, const char *const *names, size_t count, char *buf, size_t size);
/* Members that may be missing or of another type: never NULL pointers. */
const char *field_text(struct json_object *o, const char *key);
uint64_t field_u64(struct json_object *o, const char *key);
bool field_bool(struct json_object *o, const char *key);
struct json_object *field(struct json_object *o, const char *key); /* NULL: none */
size_t list_count(struct json_object *array);                            /* 0 for what is no list */
struct json_object *list_at(struct json_object *array, size_t i);
/* The member `key` of a list's objects that equals `text`: that object; NULL: none. */
struct json_object *list_find(struct json_object *array, const char *key, const char *text);
/* Columns of the terminal; SIZE_MAX when output is no terminal. */
size_t cli_width(void);

#endif
