/* SPDX-License-Identifier: BSD-3-Clause */
/* rpc.h: methods and their parameters as tables of rows, and what serves them.
 *
 * A row says once what a parameter is. Parsing, checks, the sentences of errors, describe (from which the CLI
 * makes its options and help), the reference manual and the saved configuration are derived from it:
 *
 *     static const struct rpc_param malloc_create_params[] = {
 *             RPC_PARAM(struct malloc_create, name,       .doc = "Name of the new device; made up when left out."),
 *             RPC_PARAM(struct malloc_create, num_blocks, .required = true, .min = 1, .unit = "blocks", .doc = "..."),
 *     };
 *
 * The field's C type chooses the parameter's type; a handler gets the filled struct. Handlers run on the control
 * reactor and answer now or later with exactly one rpc_reply_*().
 *
 * A module's methods are in <module>_rpc.c, an archive of their own, and are added by
 * `void <module>_rpc_add(struct rpc *rpc, <the module's object>)` of <module>_rpc.h; app/modules.c calls it.
 */
#ifndef RPC_RPC_H
#define RPC_RPC_H

#include <json-c/json.h>

#include "base/uuid.h"
#include "core/core.h"
#include "net/net.h"

enum rpc_type {
	RPC_BOOL, RPC_U8, RPC_U16, RPC_U32, RPC_U64, RPC_I32, RPC_I64,
	RPC_TEXT,     /* char *: owned by the arguments struct, NULL when absent */
	RPC_UUID,
	RPC_TEXTS,    /* struct rpc_texts: a list of strings */
	RPC_OBJECT,   /* a struct embedded by value, described by .params */
	RPC_OBJECTS,  /* struct rpc_objects: a list of such structs */
	RPC_JSON,     /* struct json_object *: anything, borrowed for the duration of the call */
};

struct rpc_texts { char **at; size_t count; };
struct rpc_objects { void *at; size_t count; };

struct rpc_param {
	const char *name;
	enum rpc_type type;
	size_t offset, size;        /* of the field */
	bool required;
	bool ignored;               /* accepted for SPDK's sake, no meaning here: said once in the log, saved back */
	uint64_t min, max;          /* numbers; max 0: the type's own. Texts: length */
	uint64_t multiple_of;
	const char *or_plus;        /* another number: what is more than a multiple by as much is taken, too */
	const char *fallback;       /* value when absent, as text; NULL: zero */
	const char *const *choices; /* texts: allowed values, NULL-terminated */
	const char *unit, *doc;
	const char *alias;          /* an older name of SPDK's that is accepted too */
	const struct rpc_param *params; /* RPC_OBJECT(S): rows of the struct ... */
	size_t param_count, object_size; /* ... how many, and how large one is */
	bool secret;                /* never logged or shown */
};

#define RPC_TYPE_OF(x) _Generic((x), \
	bool: RPC_BOOL, uint8_t: RPC_U8, uint16_t: RPC_U16, uint32_t: RPC_U32, uint64_t: RPC_U64, \
	int32_t: RPC_I32, int64_t: RPC_I64, char *: RPC_TEXT, struct uuid: RPC_UUID, \
	struct rpc_texts: RPC_TEXTS, struct rpc_objects: RPC_OBJECTS, struct json_object *: RPC_JSON, \
	default: RPC_OBJECT)
#define RPC_PARAM(S, field, ...) \
	{ .name = #field, .type = RPC_TYPE_OF(((S *)0)->field), .offset = offsetof(S, field), \
	  .size = sizeof(((S *)0)->field), __VA_ARGS__ }
/* A parameter that is accepted and has no meaning here: needs no field. */
#define RPC_IGNORED(param_name, ...) { .name = param_name, .type = RPC_JSON, .ignored = true, __VA_ARGS__ }

/* call and args stay until it has returned and the call was answered, whichever comes last. */
struct rpc_call;
typedef void rpc_handler(struct rpc_call *call, void *args);

#define RPC_STARTUP 1u   /* allowed before framework_start_init (--wait-for-rpc) */
#define RPC_RUNTIME 2u   /* allowed after it; a method that names neither is allowed then */
#define RPC_READS   4u   /* changes nothing */
#define RPC_WHOLE   16u  /* exchanges a whole configuration: other changes wait meanwhile */
#define RPC_IGNORES 8u   /* takes any parameters and does nothing: for SPDK's sake, see ignored.h */

/* JSON-RPC's own codes; SPDK's for the wrong state. Others are negative errnos, as SPDK's methods give. */
#define RPC_ERR_PARSE     (-32700)
#define RPC_ERR_REQUEST   (-32600)
#define RPC_ERR_METHOD    (-32601)
#define RPC_ERR_INTERNAL  (-32603)
#define RPC_ERR_STATE     (-1)

struct rpc_method {
	const char *name;
	const char *alias;              /* SPDK's deprecated name; NULL: none */
	const struct rpc_param *params;
	size_t param_count, args_size;
	rpc_handler *handler;
	uint32_t flags;
	const char *doc;
	const char *returns;            /* one line: the result's shape */
};
#define RPC_METHOD(method_name, S, rows, fn, ...) \
	{ .name = method_name, .params = rows, .param_count = ARRAY_SIZE(rows), .args_size = sizeof(S), .handler = fn, \
	  __VA_ARGS__ }
#define RPC_METHOD_BARE(method_name, fn, ...) { .name = method_name, .handler = fn, __VA_ARGS__ }

/* --- registry: methods with the object they belong to -------------------------------------------------- */
struct rpc;
struct rpc *rpc_make(struct core *core);
void rpc_free(struct rpc *rpc);
/* `methods` stays the caller's (static tables); `ctx` is what rpc_ctx() returns in their handlers. */
void rpc_add_methods(struct rpc *rpc, const struct rpc_method *methods, size_t count, void *ctx);
/* Where the saved configuration of one subsystem comes from: emits {"method": ..., "params": {...}} objects into
 * `array` in an order in which they can be loaded. `subsystem` is SPDK's name ("bdev", "nvmf", ...). */
typedef void rpc_save_fn(void *ctx, struct json_object *array);
void rpc_add_saver(struct rpc *rpc, const char *subsystem, rpc_save_fn *save, void *ctx);
/* The same for a saver of many objects, which gives each one's entries with the object's stamp: a number above 0 that
 * no other object of this saver has or ever had, and that is another one as soon as the object's entries may be others.
 * What was saved under the same stamp last time is used again, so that a change costs what it changes. Stamp 0: always
 * made anew. What belongs to no object is appended to rpc_save_array(). */
struct rpc_save;
typedef void rpc_save_objects_fn(void *ctx, struct rpc_save *save);
typedef void rpc_save_object_fn(void *arg, struct json_object *array);
void rpc_add_object_saver(struct rpc *rpc, const char *subsystem, rpc_save_objects_fn *save, void *ctx);
void rpc_save_object(struct rpc_save *save, uint64_t stamp, rpc_save_object_fn *fn, void *arg);
struct json_object *rpc_save_array(struct rpc_save *save);
/* From --wait-for-rpc to running. */
void rpc_set_running(struct rpc *rpc, bool running);
bool rpc_is_running(const struct rpc *rpc);
/* Called when it runs; one listener. */
void rpc_on_running(struct rpc *rpc, void (*fn)(void *arg), void *arg);
struct core *rpc_core(const struct rpc *rpc);

/* The end: calls are refused from now on; who holds calls until something happens that may never happen hears of it by
 * a hook and answers them; `done` runs, maybe at once, when the last call that was in progress has been answered. */
struct rpc_drain_hook {
	struct list link;
	void (*fn)(struct rpc_drain_hook *h);
};
void rpc_on_drain(struct rpc *rpc, struct rpc_drain_hook *h); /* `h` stays the caller's, as long as `rpc` lives */
void rpc_drain(struct rpc *rpc, void (*done)(void *arg), void *arg);

/* --- in a handler ---------------------------------------------------------------------------------------- */
void *rpc_ctx(const struct rpc_call *call);
struct rpc *rpc_of(const struct rpc_call *call);
const struct rpc_method *rpc_method_of(const struct rpc_call *call);
struct json_object *rpc_given_params(const struct rpc_call *call); /* as they came; borrowed; NULL: none */
bool rpc_given(const struct rpc_call *call, const char *param); /* the caller named it, null does not count */
/* It is an entry of a configuration that is being loaded or exchanged, not a call of somebody who waits for it. */
bool rpc_is_loading(const struct rpc_call *call);
/* Somebody waits for the answer still; for work that is of no use to anybody else. */
bool rpc_is_heard(const struct rpc_call *call);
/* The arguments struct lives until the reply. Each takes ownership of `result`. Exactly one, now or later, on
 * the control reactor. A caller that went away meanwhile is no concern of the handler's. */
void rpc_reply(struct rpc_call *call, struct json_object *result);
void rpc_reply_true(struct rpc_call *call);
void rpc_reply_rc(struct rpc_call *call, int rc, const struct err *e); /* 0: true; otherwise the error */
/* For what may only be done when the change is lasting, because it cannot be undone: to be called before a good reply,
 * which is held back until `fn` has run and rpc_lasted() was called. Not run when the reply, or keeping it, fails. */
void rpc_when_lasting(struct rpc_call *call, void (*fn)(struct rpc_call *call, void *arg), void *arg);
void rpc_lasted(struct rpc_call *call, const struct err *e); /* code 0: the reply goes out; else this does instead */
void rpc_reply_err(struct rpc_call *call, const struct err *e);
void rpc_reply_error(struct rpc_call *call, int code, const char *fmt, ...) PRINTF(3, 4);

/* Call a method from inside (the server, configuration files, tests). `done` runs once, possibly before this returns,
 * with a borrowed result, or with an error: e is NULL on success. `params` stays the caller's. */
typedef void rpc_inside_fn(void *arg, struct json_object *result, const struct err *e);
void rpc_call_inside(struct rpc *rpc, const char *method, struct json_object *params, rpc_inside_fn *done, void *arg);

/* Rows to and from JSON, for handlers that save what they got. */
struct json_object *rpc_params_to_json(const struct rpc_param *params, size_t count, const void *args);
int rpc_params_from_json(const struct rpc_param *params, size_t count, struct json_object *json, void *args,
                         struct err *e) MUST_USE;
void rpc_params_free(const struct rpc_param *params, size_t count, void *args); /* the texts and lists inside */

/* --- configuration as a whole ---------------------------------------------------------------------------- */
/* SPDK's format: { "subsystems": [ { "subsystem": NAME, "config": [ {method, params}, ... ] } ] }. What was accepted
 * and ignored is written back: whole methods first, single parameters into the entries of their objects. */
struct json_object *rpc_save_config(struct rpc *rpc);
/* The "config" array of one subsystem; NULL with a sentence when there is none of that name. */
struct json_object *rpc_save_subsystem(struct rpc *rpc, const char *subsystem, struct err *e);
/* Their names, in the order in which they are saved: 0, 1, ...; NULL after the last. */
const char *rpc_subsystem_name(struct rpc *rpc, size_t index);

enum rpc_load {
	RPC_LOAD_ALLOWED, /* every method that the present state allows */
	RPC_LOAD_STARTUP, /* a file's first round, before rpc_set_running(): methods allowed at start-up */
	RPC_LOAD_RUNTIME, /* its second round: the others */
};
/* With one of them: what lacks something in the end (a namespace its device) is kept, waits and is no error; or the
 * same of whatever fails, for a configuration that was in force before (or whose errors shall be ignored). */
#define RPC_LOAD_PATIENT 16u
#define RPC_LOAD_STATE   32u
typedef void rpc_loaded_fn(void *arg, const struct err *e);
/* Run a saved configuration's methods one after the other; what lacks something is tried again after the others, so
 * that their order does not matter. // and block comments are allowed in `text`. Subsystems that do not exist here are
 * skipped with a line in the log. `part`: enum rpc_load, and one of the two above. `done` runs once, with the first
 * error (NULL: none), which names subsystem and method; what ran before it stays. */
void rpc_load_config(struct rpc *rpc, const char *text, size_t len, uint32_t part, rpc_loaded_fn *done, void *arg);
/* The same from JSON; a reference is taken. */
void rpc_load_json(struct rpc *rpc, struct json_object *config, uint32_t part, rpc_loaded_fn *done, void *arg);
/* Text to JSON as it is read there; NULL with a sentence that says where. */
struct json_object *rpc_parse_config(const char *text, size_t len, struct err *e);

/* --- server ------------------------------------------------------------------------------------------------------ */
struct rpc_server;
/* JSON-RPC 2.0 over a UNIX socket, as SPDK's clients speak it. Control reactor. The socket takes connections at once
 * (so that one in use is found early) and answers when serving begins. */
struct rpc_server *rpc_server_open(struct rpc *rpc, const char *path, struct err *e);
/* The same at a socket that listens already (listener_adopt() of net.h). */
struct rpc_server *rpc_server_adopt(struct rpc *rpc, int fd, struct err *e);
void rpc_server_serve(struct rpc_server *s); /* once more does nothing */
/* Requests in progress lose their client; their methods go on. */
void rpc_server_close(struct rpc_server *s);

#endif
