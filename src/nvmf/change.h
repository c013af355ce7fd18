/* SPDX-License-Identifier: BSD-3-Clause */
/* change.h: a change of the configuration on its way (private to nvmf).
 *
 * Changes take turns while they build and publish; what comes after (telling hosts, waiting for I/O of what was
 * removed) keeps nobody else. Each kind is a table of steps (change_ops.c) made from those declared here.
 */
#ifndef NVMF_CHANGE_H
#define NVMF_CHANGE_H

#include "nvmf/target.h"

struct nvmf_work {
	struct seq seq;
	struct nvmf_change *change;
	struct nvmf_target *target;
	const char *name;
	const struct seq_step *steps;
	uint32_t step_count;
	int (*build)(struct nvmf_work *w, struct err *e); /* edits w->next */
	struct nvmf_config *next;
	struct version_publish publish;
	struct nvmf_roster *roster;       /* of the subsystem that changes; counted */
	struct nvmf_roster_wait roster_wait;
	struct nvmf_ns **ns;              /* added, or removed; counted */
	uint32_t ns_count, ns_at;
	struct bdev_served_wait ns_wait;
	struct nvmf_listener *listeners;  /* to listen on, or no more */
	uint32_t listener_count;
	/* what was asked for */
	char nqn[NVMF_NQN_MAX + 2], host[NVMF_NQN_MAX + 2], trtype[32]; /* with room to see that it is too long */
	char serial[64], model[64], label[NVMF_ADMIN_LABEL_MAX + 2];
	struct net_addr addr;
	struct nvmf_subsystem_opts sub_opts;
	struct nvmf_ns_opts ns_opts;
	char bdev_name[256];
	struct nvmf_referral_opts referral;
	struct nvmf_await *awaits;        /* on every core: await.c */
	uint32_t awaits_out;
	const struct nvmf_transport_ops *ops;
	struct nvmf_transport *transport; /* to be removed */
	struct nvmf_transport_opts tr_opts;
	struct keyring_key *key, *ctrlr_key, *psk; /* of a host; references */
	bool set_key, set_ctrlr_key;
	bool allow, secure, concat;
	uint8_t ana;
	uint32_t group, transition_s;     /* ANA */
	uint16_t cntlid;                  /* of a static controller ... */
	enum nvmf_saved_feature feature;  /* ... and what a host has saved of it: `value`, `allow` */
	uint32_t value;
	uint64_t since;                   /* the change that began a transition */
	uint32_t nsid;
	struct nvmf_ns *which;            /* a namespace that reported something about itself; counted */
};

struct nvmf_work *nvmf_work_make(struct nvmf_change *c, const char *name, const struct seq_step *steps, uint32_t count);
/* Queue it. */
void nvmf_work_start(struct nvmf_work *w);
/* What follows keeps other changes no more; by itself when its version is published. */
void nvmf_work_turn_over(struct nvmf_work *w);
/* Lists of it that later steps work on. */
void nvmf_work_add_ns(struct nvmf_work *w, struct nvmf_ns *ns);
void nvmf_work_add_listener(struct nvmf_work *w, const struct nvmf_listener *l);
void nvmf_work_set_roster(struct nvmf_work *w, struct nvmf_roster *r);
/* An editable copy of the subsystem that was named; NULL with a sentence. */
struct nvmf_subsystem *nvmf_work_edit(struct nvmf_work *w, struct err *e);

/* A text that was given, cut to its place; NULL: "". */
static inline void nvmf_work_text(char *to, size_t size, const char *from)
{
	text_pad(to, size - 1, from ? from : "", 0);
}
/* "nqn.2016-06.io.example:anything": a date, a reversed domain, a colon, a name. */
int nvmf_check_nqn(const char *field, const char *nqn, bool needs_name, struct err *e) MUST_USE;

/* Steps. */
enum seq_result nvmf_step_build(struct seq *s);
enum seq_result nvmf_undo_build(struct seq *s);
enum seq_result nvmf_step_open_channels(struct seq *s);
enum seq_result nvmf_step_check_channels(struct seq *s);
enum seq_result nvmf_step_let_go_channels(struct seq *s);
enum seq_result nvmf_step_listen(struct seq *s);
enum seq_result nvmf_step_unlisten(struct seq *s);
enum seq_result nvmf_step_publish(struct seq *s);
enum seq_result nvmf_step_tell(struct seq *s);
enum seq_result nvmf_step_disconnect(struct seq *s);
enum seq_result nvmf_step_wait_ns(struct seq *s);
/* Build the next version, publish it, tell hosts: all that most changes do. */
#define NVMF_TELL_STEPS 3u
extern const struct seq_step nvmf_tell_steps[NVMF_TELL_STEPS];
enum seq_result nvmf_step_await_host(struct seq *s); /* w->host's commands in w->ns[0], if there is one */

#endif
