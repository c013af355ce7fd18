/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf.h: the NVMe-oF target as its neighbours see it: make it, add transports, configure it, stop it.
 *
 * Configuration is an immutable version (core/version.h): subsystems, namespaces, hosts, listeners. Each change here
 * builds the next version on the control reactor and publishes it; `done` runs when every core serves it (and, for
 * what was removed, when no command of an older version uses it any more).
 */
#ifndef NVMF_NVMF_H
#define NVMF_NVMF_H

#include "bdev/bdev.h"
#include "nvmf/transport.h"

#define NVMF_DISCOVERY_NQN "nqn.2014-08.org.nvmexpress.discovery"
#define NVMF_NQN_MAX 223

struct nvmf_target *nvmf_target_make(struct core *core, struct bdev_registry *reg);
/* Close everything, then done; the target is freed. Control reactor, as all below. */
void nvmf_target_stop(struct nvmf_target *t, void (*done)(void *arg), void *arg);

/* One change at a time or many: each is the caller's until done. err.code 0: success. */
struct nvmf_change {
	struct nvmf_target *target;
	void (*done)(struct nvmf_change *c);
	void *arg;
	struct err err;
	uint32_t nsid;           /* of a namespace that was added */
	struct list link;
	void *work;              /* the target's */
};
typedef void nvmf_change_fn(struct nvmf_change *c);

/* A kind of transport that nvmf_create_transport may name, beside TCP. At most NVMF_KINDS_MAX. */
#define NVMF_KINDS_MAX 4u
void nvmf_offer_transport(struct nvmf_target *t, const struct nvmf_transport_ops *ops);
const struct nvmf_transport_ops *nvmf_offered_transport(const struct nvmf_target *t, const char *name); /* NULL: none */

void nvmf_add_transport(struct nvmf_change *c, const struct nvmf_transport_ops *ops,
                        const struct nvmf_transport_opts *opts);

struct nvmf_subsystem_opts {
	const char *nqn, *serial_number, *model_number; /* defaults as SPDK's, Gantry's model */
	bool allow_any_host, ana_reporting;
	bool enable_nssr;                               /* hosts may reset all controllers of it */
	uint32_t max_namespaces;                        /* 0: 32 */
	uint16_t min_cntlid, max_cntlid;                /* 0: 1, 0xffef */
	bool is_static;                                 /* hosts ask for one of these; else one is made for each */
	uint8_t wzsl;                                   /* a Write Zeroes: 4 KiB << wzsl; 0: as much as we can */
	uint32_t dmrsl;                                 /* a range of Dataset Management: blocks; 0: no limit */
	const char *admin_label;                        /* of the extended discovery log; NULL: none */
	bool discovery;                                 /* a discovery service under a name of its own */
};
void nvmf_add_subsystem(struct nvmf_change *c, const struct nvmf_subsystem_opts *opts);
void nvmf_remove_subsystem(struct nvmf_change *c, const char *nqn);

struct nvmf_ns_opts {
	const char *bdev_name;
	uint32_t nsid;           /* 0: the first free */
	struct uuid uuid;        /* null: the device's */
	uint8_t nguid[16], eui64[8];
	bool has_nguid, has_eui64, no_auto_visible;
	bool read_only;          /* hosts may not write, though the device could be written */
	bool write_protected;    /* a host has said so, and may take it back */
	uint32_t anagrpid;       /* 0: the nsid */
	const char *const *hosts; /* no_auto_visible: who sees it nevertheless; the caller's until done */
	uint32_t host_count;
};
void nvmf_add_ns(struct nvmf_change *c, const char *nqn, const struct nvmf_ns_opts *opts);
void nvmf_remove_ns(struct nvmf_change *c, const char *nqn, uint32_t nsid);
/* No host may write any more, or hosts may again. */
void nvmf_protect_ns(struct nvmf_change *c, const char *nqn, uint32_t nsid, bool on);
/* A host had the configuration changed (write protection, a feature that it saved), and that is to last. One listener;
 * control reactor. */
void nvmf_on_host_change(struct nvmf_target *t, void (*fn)(void *arg), void *arg);
/* A namespace that was added with no_auto_visible is seen, or no more, by a host. */
void nvmf_show_ns(struct nvmf_change *c, const char *nqn, uint32_t nsid, const char *host_nqn, bool visible);
void nvmf_set_ns_group(struct nvmf_change *c, const char *nqn, uint32_t nsid, uint32_t group);
void nvmf_add_host(struct nvmf_change *c, const char *nqn, const char *host_nqn);
/* The same with keys: who has one has to prove it at each connection, and so do we where there is a ctrlr_key. What is
 * referred to is kept by the target's own references. */
struct keyring;
struct keyring_key;
struct nvmf_host_keys {
	struct keyring_key *key, *ctrlr_key; /* NULL: none */
	struct keyring_key *psk;             /* of TLS; nvmf_add_host_keys() only */
	bool set_key, set_ctrlr_key;         /* nvmf_set_host_keys(): which of them; others stay */
};
void nvmf_add_host_keys(struct nvmf_change *c, const char *nqn, const char *host_nqn,
                        const struct nvmf_host_keys *keys);
void nvmf_set_host_keys(struct nvmf_change *c, const char *nqn, const char *host_nqn,
                        const struct nvmf_host_keys *keys);
/* What controllers tell hosts of failing over: how many cross-controller resets each takes on at a time (0: none), and
 * how long a device may need to end what it has in hand. Control reactor, at any time. */
void nvmf_set_failover(struct nvmf_target *t, uint8_t ccr_limit, uint16_t cqt_ms);
/* A host that comes again takes the place of its older controllers (dup_host_policy). Before hosts come. */
void nvmf_replace_duplicates(struct nvmf_target *t);
/* Where methods find keys by their names. */
void nvmf_set_keyring(struct nvmf_target *t, struct keyring *k);
void nvmf_remove_host(struct nvmf_change *c, const char *nqn, const char *host_nqn);
void nvmf_allow_any_host(struct nvmf_change *c, const char *nqn, bool allow);
void nvmf_add_listener(struct nvmf_change *c, const char *nqn, const char *trtype, const struct net_addr *addr);
struct nvmf_listener_opts {
	uint8_t ana;             /* enum nvme_ana_state that it begins with; 0: optimized */
	bool secure;             /* hosts begin with TLS ... */
	bool concat;             /* ... or prove themselves first, by which a key is made: secure concatenation */
};
void nvmf_add_listener_opts(struct nvmf_change *c, const char *nqn, const char *trtype, const struct net_addr *addr,
                            const struct nvmf_listener_opts *opts);
void nvmf_remove_listener(struct nvmf_change *c, const char *nqn, const char *trtype, const struct net_addr *addr);
/* A static controller is this host's alone ("": whoever comes has it); who else has it is disconnected. */
void nvmf_set_ctrlr_host(struct nvmf_change *c, const char *nqn, uint16_t cntlid, const char *host_nqn);
/* What a host has saved of a static controller: where it starts after a reset, and for the next host. */
enum nvmf_saved_feature {
	NVMF_SAVED_ARBITRATION, NVMF_SAVED_TEMP_OVER, NVMF_SAVED_TEMP_UNDER, NVMF_SAVED_WRITE_ATOMIC,
	NVMF_SAVED_EVENTS,
	NVMF_SAVED_COUNT
};
struct nvmf_saved {
	uint32_t set;                                   /* 1 << enum nvmf_saved_feature: others start as they do */
	uint32_t value[NVMF_SAVED_COUNT];
};
/* For hosts that come from now on; a host that did it itself knows. `value` NULL: nothing is saved any more. */
void nvmf_save_feature(struct nvmf_change *c, const char *nqn, uint16_t cntlid, enum nvmf_saved_feature feature,
                       const uint32_t *value);
/* How good a listener's way to a group of namespaces is; group 0: to all. With a transition hosts are told that it
 * changes (done), and so many seconds later that it is so; what is said of it meanwhile takes its place. */
#define NVMF_ANATT_S 10u
void nvmf_set_ana_state(struct nvmf_change *c, const char *nqn, const char *trtype, const struct net_addr *addr,
                        uint32_t group, uint8_t ana, uint32_t transition_s);

/* Another discovery service that hosts are told of: known by transport, address and NQN (NULL: the well-known one). */
struct nvmf_referral_opts {
	const char *subnqn;
	uint8_t trtype;
	struct net_addr addr;
	bool secure_channel;
	bool all_hosts;                                 /* else those of the list; the caller's until done */
	const char *const *hosts;
	uint32_t host_count;
};
void nvmf_add_referral(struct nvmf_change *c, const struct nvmf_referral_opts *opts);
void nvmf_remove_referral(struct nvmf_change *c, const struct nvmf_referral_opts *opts);

/* One that nobody listens on: its connections (to the discovery service) are closed first. */
void nvmf_remove_transport(struct nvmf_change *c, const char *trtype);

/* Where the well-known discovery subsystem listens; one listener hears when that changes (NULL: nobody). */
void nvmf_discovery_listeners(struct nvmf_target *t,
                              void (*visit)(void *arg, const char *trtype, const struct net_addr *addr), void *arg);
void nvmf_on_discovery_listeners(struct nvmf_target *t, void (*fn)(void *arg), void *arg);

/* A namespace goes because its device does, which will return (bdev_returns()): told in the moment in which the
 * configuration is without it. One listener; `s` and `ns` are nvmf's own. Control reactor. */
struct nvmf_subsystem;
struct nvmf_ns;
void nvmf_on_ns_gone(struct nvmf_target *t,
                     void (*fn)(void *arg, const struct nvmf_subsystem *s, const struct nvmf_ns *ns), void *arg);

/* The calling core's `n`-th queue pair; NULL beyond the last. For who moves them: ops->qpair_move(). */
struct nvmf_qpair *nvmf_target_qpair(struct nvmf_target *t, uint32_t n);

/* Put a queue pair of a controller on another core, where the scheduler leaves it when it is `pinned`. done() runs on
 * the control reactor; the caller keeps the struct until then. Control reactor. */
struct nvmf_move {
	struct nvmf_target *target;
	void (*done)(struct nvmf_move *m);
	void *arg;
	struct err err;
	/* the target's */
	struct nvmf_seat *seat;
	struct reactor *to;
	struct msg msg;
	bool pinned, was_pinned;
	int rc;
};
void nvmf_move_qpair(struct nvmf_move *m, const char *nqn, uint16_t cntlid, uint16_t qid, struct reactor *to,
                     bool pinned);
/* Cores on which connections may live, a bit per reactor; for those that come from now on. Control reactor. */
void nvmf_set_place_mask(struct nvmf_target *t, uint64_t mask);

extern const struct nvmf_transport_ops nvmf_tcp_ops;
extern const struct nvmf_transport_ops nvmf_rdma_ops;

#endif
