/* SPDX-License-Identifier: BSD-3-Clause */
/* changes.h: saved configurations compared: what an entry makes, what differs, which calls make one into the other.
 *
 * Private to rpc. An entry is {"method": ..., "params": {...}} of a saved configuration. What it makes is known by its
 * identity: the method, and those of its parameters by which the method that undoes it (bdev_null_create and
 * bdev_null_delete) finds the object.
 */
#ifndef RPC_CHANGES_H
#define RPC_CHANGES_H

#include "rpc/registry.h"

/* --- identity.c --- */
const char *entry_method(struct json_object *entry);         /* never NULL */
struct json_object *entry_params(struct json_object *entry); /* NULL: none */
/* The method that undoes what `m` makes; NULL: none does. */
const struct rpc_method *method_undo(struct rpc *rpc, const struct rpc_method *m);
/* What names the object that `m` makes from `params`, as an object of parameters; NULL: they do not say. */
struct json_object *method_key(struct rpc *rpc, const struct rpc_method *m, struct json_object *params);
/* Method and key as text, the caller's; NULL: as above, or there is no such method. */
char *entry_identity(struct rpc *rpc, struct json_object *entry);
/* The same for what `m` would have made, told by the parameters of something that belongs to it. */
char *method_identity(struct rpc *rpc, const struct rpc_method *m, struct json_object *params);
/* Of what `m` makes and `entry` would belong to; NULL: nothing that it makes. */
char *whole_identity(struct rpc *rpc, const struct rpc_method *m, struct json_object *entry);
/* "bdev_malloc_create disk0": for people; the caller's. */
char *entry_words(struct rpc *rpc, struct json_object *entry);
/* Parameters with which calling `entry`'s method again undoes it (an ANA state goes back to optimized); NULL: none. */
struct json_object *entry_neutral(struct json_object *entry);
/* Visit every text in a value, objects and lists too. */
void json_each_text(struct json_object *v, void (*visit)(void *arg, const char *text), void *arg);

/* --- changes.c --- */
/* The "config" list of a subsystem in a configuration; NULL: none. */
struct json_object *config_list(struct json_object *config, const char *subsystem);
/* What was exchanged, as a list of {s: subsystem, at, cut, put: [entries]}; NULL: nothing. Shares entries. */
struct json_object *changes_parts(struct json_object *from, struct json_object *to);
/* The configuration after them; shares entries. NULL: they do not fit. */
struct json_object *changes_apply(struct json_object *from, struct json_object *parts);

enum change_verb { CHANGE_ADD, CHANGE_REMOVE, CHANGE_CHANGE };
struct change_item {
	enum change_verb verb;
	const char *subsystem;
	struct json_object *from, *to; /* borrowed; entries */
};
struct change_items { struct change_item *at; size_t count; };
/* What differs. `loosely`: what an entry of `to` does not say stays as it is, and so do subsystems that it does not
 * name. */
struct change_items changes_between(struct rpc *rpc, struct json_object *from, struct json_object *to, bool loosely);
void changes_free(struct change_items *items);
/* One line about an item: "add nvmf_create_subsystem nqn...", "change bdev_null_create n: num_blocks 8 -> 16"; the
 * caller's. */
char *change_words(struct rpc *rpc, const struct change_item *item);
const char *change_verb_name(enum change_verb verb);

/* --- plan.c --- */
/* The calls that make `from` into `to`, in an order in which they can be done: a list of {action, text, method, params,
 * undo: {method, params}}; one without a method is the effect of another. NULL: it cannot be done while the daemon
 * runs; sentence in `e`. */
struct json_object *plan_make(struct rpc *rpc, struct json_object *from, struct json_object *to, struct err *e);
/* What a change takes away for good: "loses_data" and "loses", a sentence, in `to`; nothing when there is nothing. */
void change_add_loss(const struct change_item *item, struct json_object *to);

/* --- apply.c --- */
/* Do a plan's steps; when one fails, undo those before it. `done` as for a configuration. Takes a reference. */
void plan_apply(struct rpc *rpc, struct json_object *plan, rpc_loaded_fn *done, void *arg);

#endif
