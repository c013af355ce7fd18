/* SPDX-License-Identifier: BSD-3-Clause */
/* config.h: what is served to whom: portal groups, initiator groups, target nodes, secrets, options.
 *
 * Plain objects of the control reactor. Logins happen there and look here; a core never does: what a session needs
 * on its core was copied when it logged in. A change counts for logins from then on, and sessions that would not be
 * let in any more are ended before it is answered.
 *
 * What a connection or a session points to is counted (iscsi_portal_ref(), iscsi_node_ref(): control): it stays after
 * it was deleted, with `gone` set, until it is given back.
 */
#ifndef ISCSI_CONFIG_H
#define ISCSI_CONFIG_H

#include "core/seq.h"
#include "iscsi/iscsi.h"
#include "net/net.h"

#define ISCSI_TAG_MAX 65535u           /* of portal groups: 16 bits on the wire, and the relative target port id */
#define ISCSI_GROUP_TAG_MAX 0x7fffffffu /* of initiator and authentication groups */
#define ISCSI_HOST_MAX 63u
#define ISCSI_CHAP_TEXT_MAX 255u       /* names and secrets */
#define ISCSI_QUEUE_DEPTH_MAX 1024u
#define ISCSI_INITIATORS_MAX 256u      /* names, and netmasks, of one initiator group: as SPDK's */
#define ISCSI_PORTALS_MAX 64u          /* of one portal group */
#define ISCSI_NODES_MAX 1024u

/* Who has to say who he is. SPDK's three switches: all off: CHAP if the host likes; disable: never; require: always;
 * mutual: the target proves itself too (with require). */
struct iscsi_chap_policy {
	bool disable_chap, require_chap, mutual_chap;
	uint32_t chap_group;              /* tag of the authentication group; 0: none */
};

/* For logins from now on. */
struct iscsi_options {
	char node_base[ISCSI_NAME_MAX + 1];
	struct iscsi_chap_policy discovery;
	uint32_t nop_timeout_s;           /* a NOP-In has to be answered within it */
	uint32_t nop_in_interval_s;       /* nothing heard for so long: a NOP-In asks; 0: never */
	uint32_t max_sessions;
	uint32_t max_queue_depth;         /* commands of one session at a time */
	uint32_t max_connections_per_session; /* accepted; one is negotiated */
	uint32_t default_time2wait, default_time2retain;
	uint32_t first_burst_length, max_burst_length;
	uint32_t max_recv_data_segment_length; /* of ours */
	uint32_t max_outstanding_r2t;
	uint32_t error_recovery_level;    /* accepted; 0 is negotiated */
	uint32_t login_timeout_ms, data_timeout_ms;
	uint32_t piece_bytes;             /* of a long command: what it has buffers for at a time. Less for tests only */
	bool immediate_data, initial_r2t;
	bool allow_duplicate_isid;        /* accepted; sessions of one initiator port are reinstated all the same */
};

struct iscsi_chap_user {
	struct list link;
	char *user, *secret, *muser, *msecret; /* the last two NULL: one way only */
};
struct iscsi_auth_group {
	struct list link, secrets;
	uint32_t tag;
	uint64_t stamp;
};

struct iscsi_portal {
	struct list link;
	struct iscsi_portal_group *group;
	char host[ISCSI_HOST_MAX + 1], port[8]; /* as it was given; IPv6 in brackets */
	struct net_addr addr;
	struct listener *listener;        /* NULL: does not listen (yet) */
};
struct iscsi_portal_group {
	struct list link, portals;
	struct iscsi_target *target;
	uint32_t tag;
	bool is_private;                  /* not told to discovery sessions: for redirected logins */
	bool listening, has_auth, gone;
	struct iscsi_chap_policy auth;           /* of discovery sessions; has_auth: else the options' */
	uint32_t refs;
	uint64_t stamp;
};

struct iscsi_netmask {
	char *text;                       /* as it was given */
	enum net_family family;           /* NET_ANY: all */
	uint8_t bytes[16];
	uint32_t bits;
};
struct iscsi_initiator_group {
	struct list link;
	uint32_t tag;
	char **names;                     /* "ANY", "!ANY", an iSCSI name, "!" and one: the first that fits decides */
	uint32_t name_count;
	struct iscsi_netmask *masks;
	uint32_t mask_count;
	uint64_t stamp;
};

/* A node's way in by a portal group: a target port of its SCSI device, with the portal group's tag as relative id. */
struct iscsi_map {
	struct list link;
	struct iscsi_portal_group *pg;
	struct iscsi_initiator_group **igs;
	uint32_t ig_count;
	char redirect_host[ISCSI_HOST_MAX + 1], redirect_port[8]; /* empty: not redirected */
	uint8_t alua;                     /* enum scsi_alua: as it was set by a person */
};
struct iscsi_lun {
	struct list link;
	uint32_t lun;
	char *bdev_name;
	bool read_only, coming, going;
};
struct iscsi_node {
	struct list link, maps, luns, old_ports;
	struct iscsi_target *target;
	char name[ISCSI_NAME_MAX + 1], alias[ISCSI_ALIAS_MAX + 1];
	struct scsi_target *scsi;
	uint32_t id;                      /* as scsi_get_devices counts */
	uint32_t queue_depth;
	struct iscsi_chap_policy auth;
	bool header_digest, data_digest;  /* required */
	struct iscsi_counts counts;       /* of sessions that have ended, and all logins (session.c) */
	bool coming, gone;
	uint32_t refs;                    /* of the configuration, sessions, and work under way */
	uint64_t stamp;
};

struct iscsi_conns;                    /* session.h's */
struct listener;
struct scsi_lun_gone;
struct scsi_target;

struct iscsi_target {
	struct core *core;
	struct bdev_registry *reg;
	struct scsi *scsi;
	struct iscsi_options options;
	bool options_set;                 /* to be saved */
	uint32_t chap_algorithms;         /* that there are here */
	struct list portal_groups, initiator_groups, auth_groups, nodes;
	uint32_t node_count;
	uint64_t stamps;
	struct iscsi_conns *conns;
	/* A LUN went with its device, which will return. For who keeps the configuration. */
	void (*lun_gone)(void *arg, const struct iscsi_node *n, const struct scsi_lun_gone *g);
	void *lun_gone_arg;
	/* stopping */
	bool stopping;
	uint32_t work_out;                /* changes under way, and what is being taken away */
	struct seq stop;
	bool stop_waits;
	struct msg stop_msg;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

struct iscsi_params;
void iscsi_options_params(const struct iscsi_options *o, struct iscsi_params *ret_params); /* what we offer */
uint32_t iscsi_node_depth(const struct iscsi_node *n); /* commands that one of its sessions may have */

/* --- for logins (access.c): control reactor, answers at once -------------------------------------------- */

/* Where a connection came in and from where: the `arg` of iscsi_login_ops. The connection's. */
struct iscsi_visitor {
	struct iscsi_target *target;
	struct iscsi_portal *portal;      /* counted by the connection */
	struct net_addr local, peer;
};

struct iscsi_login_ops;
/* arg: the connection's struct iscsi_visitor; admit() sets l->node to a struct iscsi_node, not counted. */
extern const struct iscsi_login_ops iscsi_config_login_ops;

/* May an initiator of that name and address use the node by that portal group? */
bool iscsi_node_allows(const struct iscsi_node *n, const struct iscsi_portal_group *pg, const char *initiator,
                       const struct net_addr *peer);
struct iscsi_node *iscsi_node_find(struct iscsi_target *t, const char *name); /* any case; NULL: none, or not yet */
/* SendTargets: the nodes that the initiator may see, with their addresses, by iscsi_text_add().
 * `which`: "All", or a node's name. Private portal groups are left out; wildcard portals are told as the address that
 * the connection came in by. iscsi_text_targets_done() is the caller's. */
struct iscsi_text_nego;
void iscsi_send_targets(const struct iscsi_visitor *v, const char *initiator, const char *which,
                        struct iscsi_text_nego *n);

/* Counting: control reactor. */
void iscsi_portal_ref(struct iscsi_portal *p);
void iscsi_portal_unref(struct iscsi_portal *p);
void iscsi_node_ref(struct iscsi_node *n);
void iscsi_node_unref(struct iscsi_node *n);

/* --- names and masks (names.c) ---------------------------------------------------------------------------- */

/* An iSCSI name as RFC 7143 4.2.7 has it: iqn., eui. or naa., and the characters of RFC 3722. Kept as it was given,
 * compared in any case. */
int iscsi_name_check(const char *field, const char *name, struct err *e) MUST_USE;
int iscsi_netmask_parse(const char *text, struct iscsi_netmask *ret_mask, struct err *e) MUST_USE;
bool iscsi_netmask_has(const struct iscsi_netmask *m, const struct net_addr *a);
/* 1: allowed, 0: denied, -1: no name says anything about it. */
int iscsi_initiator_group_says(const struct iscsi_initiator_group *g, const char *initiator);

/* --- changes (config.c, portal.c, node.c): control reactor -------------------------------------------------- */

/* A change that may take time. The caller's memory until done, which runs once, maybe before the call returns. */
struct iscsi_change {
	struct err err;
	void (*done)(struct iscsi_change *c);
	uint32_t lun;                     /* of one that was added */
	struct iscsi_node *node;          /* that was added; for the moment of done */
};

void iscsi_options_init(struct iscsi_options *o);
int iscsi_options_check(const struct iscsi_options *o, struct err *e) MUST_USE;
int iscsi_auth_check(const struct iscsi_chap_policy *a, struct err *e) MUST_USE;

struct iscsi_auth_group *iscsi_auth_group_find(struct iscsi_target *t, uint32_t tag);
int iscsi_auth_group_add(struct iscsi_target *t, uint32_t tag, struct err *e) MUST_USE;
int iscsi_auth_group_remove(struct iscsi_target *t, uint32_t tag, struct err *e) MUST_USE;
int iscsi_secret_add(struct iscsi_target *t, uint32_t tag, const struct iscsi_chap_user *s,
                     struct err *e) MUST_USE;
int iscsi_secret_remove(struct iscsi_target *t, uint32_t tag, const char *user, struct err *e) MUST_USE;

struct iscsi_portal_spec { const char *host, *port; };
struct iscsi_portal_group *iscsi_portal_group_find(struct iscsi_target *t, uint32_t tag);
int iscsi_portal_group_add(struct iscsi_target *t, uint32_t tag, const struct iscsi_portal_spec *portals,
                           uint32_t count,
                           bool is_private, bool wait, struct err *e) MUST_USE;
int iscsi_portal_group_start(struct iscsi_target *t, uint32_t tag, struct err *e) MUST_USE;
int iscsi_portal_group_set_auth(struct iscsi_target *t, uint32_t tag, const struct iscsi_chap_policy *a,
                                struct err *e) MUST_USE;
void iscsi_portal_group_remove(struct iscsi_target *t, uint32_t tag, struct iscsi_change *c);

struct iscsi_initiators {
	const char *const *names, *const *masks;
	uint32_t name_count, mask_count;
};
struct iscsi_initiator_group *iscsi_initiator_group_find(struct iscsi_target *t, uint32_t tag);
int iscsi_initiator_group_add(struct iscsi_target *t, uint32_t tag, const struct iscsi_initiators *i,
                              struct err *e) MUST_USE;
void iscsi_initiators_add(struct iscsi_target *t, uint32_t tag, const struct iscsi_initiators *i,
                          struct iscsi_change *c);
void iscsi_initiators_remove(struct iscsi_target *t, uint32_t tag, const struct iscsi_initiators *i,
                             struct iscsi_change *c);
void iscsi_initiator_group_remove(struct iscsi_target *t, uint32_t tag, struct iscsi_change *c);

struct iscsi_map_pair { uint32_t pg_tag, ig_tag; };
struct iscsi_lun_spec {
	const char *bdev_name;
	int32_t lun;                      /* -1: the first free one */
	bool read_only;
};
struct iscsi_node_opts {
	const char *name, *alias;
	const struct iscsi_map_pair *pairs;
	uint32_t pair_count;
	const struct iscsi_lun_spec *luns;
	uint32_t lun_count;
	uint32_t queue_depth;             /* 0: the options' */
	struct iscsi_chap_policy auth;
	bool header_digest, data_digest;
};
/* What is saved of it changed. */
void iscsi_node_touch(struct iscsi_node *n);
bool iscsi_node_is_mapped(const struct iscsi_node *n, uint32_t pg_tag);
/* As somebody set it: to be saved. Hosts may set it too. */
void iscsi_node_set_alua(struct iscsi_node *n, uint32_t pg_tag, uint8_t state);
void iscsi_node_add(struct iscsi_target *t, const struct iscsi_node_opts *opts, struct iscsi_change *c);
void iscsi_node_remove(struct iscsi_target *t, const char *name, struct iscsi_change *c);
void iscsi_node_add_lun(struct iscsi_target *t, const char *name, const struct iscsi_lun_spec *l,
                        struct iscsi_change *c);
void iscsi_node_remove_lun(struct iscsi_target *t, const char *name, uint32_t lun, struct iscsi_change *c);
int iscsi_node_add_maps(struct iscsi_target *t, const char *name, const struct iscsi_map_pair *pairs, uint32_t count,
                        struct err *e) MUST_USE;
void iscsi_node_remove_maps(struct iscsi_target *t, const char *name, const struct iscsi_map_pair *pairs,
                            uint32_t count, struct iscsi_change *c);
int iscsi_node_set_auth(struct iscsi_target *t, const char *name, const struct iscsi_chap_policy *a,
                        struct err *e) MUST_USE;
/* No host: logins are not redirected any more. */
int iscsi_node_set_redirect(struct iscsi_target *t, const char *name, uint32_t pg_tag, const char *host,
                            const char *port, struct err *e) MUST_USE;

#endif
