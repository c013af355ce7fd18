/* SPDX-License-Identifier: BSD-3-Clause */
/* config.h: what the target serves, as immutable versions (private to nvmf).
 *
 * A `struct nvmf_config` is one version: an array of subsystems by id. A change copies the array, replaces the
 * subsystems it edits by edited copies, and publishes; unchanged subsystems and namespaces are shared between
 * versions and counted on the control reactor.
 *
 * Each core keeps its own array of the subsystems it serves (struct nvmf_core). Entering a version exchanges the
 * entries that differ, and counts the namespaces in and out in their per-core views: the first count opens
 * the core's channel, the last one closes it. A command counts in the view it uses, nothing else: so a
 * namespace that leaves is waited for by itself, and not by the commands of its neighbours.
 */
#ifndef NVMF_CONFIG_H
#define NVMF_CONFIG_H

#include "bdev/served.h"
#include "core/version.h"
#include "nvmf/nvmf.h"
#include "wire/nvme_fabrics.h"

#define NVMF_SUBSYSTEMS_MAX 1025u     /* discovery included */
#define NVMF_NSID_LIMIT 65536u        /* largest max_namespaces */
#define NVMF_HOSTS_MAX 1024u          /* of one subsystem */
#define NVMF_REFERRALS_MAX 1024u
#define NVMF_STATICS_MAX 1024u         /* static controllers of one subsystem */
#define NVMF_DISCOVERY_ID 0u          /* the discovery subsystem exists by itself, always in the first place */
#define NVMF_SERIAL_SIZE 20
#define NVMF_MODEL_SIZE 40

struct nvmf_ns;
struct nvmf_roster;

/* A namespace: a device opened for a subsystem. Never changes; its size is the device's. The own part of its views is a
 * struct stage_own: core/stages.h. */
struct nvmf_ns {
	struct nvmf_target *target;
	uint32_t nsid;
	struct uuid uuid;
	uint8_t nguid[16], eui64[8];
	bool has_nguid, has_eui64;
	_Atomic bool protected;                /* by a host: control writes it, cores look when they enter a version */
	bool added;                            /* control: who asked for it was told that it is there */
	char nqn[NVMF_NQN_MAX + 1];
	struct bdev_served dev;
};
static inline struct nvmf_ns *nvmf_ns_of(const struct bdev_view *v)
{
	return container_of(v->served, struct nvmf_ns, dev);
}

/* How good a way is to an ANA group. */
struct nvmf_ana {
	uint64_t changed;                      /* number of the change that last touched it; 0: never */
	uint8_t state, to;                     /* enum nvme_ana_state; CHANGE is on its way to `to`, others are there */
};
struct nvmf_listener {
	struct nvmf_transport *transport;
	struct net_addr addr;
	bool secure;                           /* TLS: who comes here begins with a handshake ... */
	bool concat;                           /* ... or proves itself first, which makes the key it comes back with */
	struct nvmf_ana *ana;                  /* [ANA group - 1]; owned by the subsystem version */
};

/* Hosts that see what is hidden from others. Immutable, shared by versions, counted on control. */
struct nvmf_ns_hosts {
	uint32_t refs, count;
	char nqns[][NVMF_NQN_MAX + 1];
};

/* Who may use a subsystem, and by which keys it proves who it is, and we do. */
struct nvmf_host {
	char nqn[NVMF_NQN_MAX + 1];
	struct keyring_key *key, *ctrlr_key;   /* of DH-HMAC-CHAP: references; NULL: none */
	struct keyring_key *psk;               /* of TLS */
	uint64_t serial;                       /* no other entry ever had it, of the same host neither */
};

/* A controller of the static model, of which something was said: whose it is, and what its hosts have saved. */
struct nvmf_static {
	uint16_t cntlid;
	char host[NVMF_NQN_MAX + 1];           /* nobody else may have it; "": whoever comes */
	struct nvmf_saved saved;
};

/* Another discovery service that hosts are told of. */
struct nvmf_referral {
	char subnqn[NVMF_NQN_MAX + 1];
	uint8_t trtype;                        /* NVMF_TRTYPE_* */
	struct net_addr addr;
	bool secure_channel;
	struct nvmf_ns_hosts *hosts;           /* who is told; NULL: every host */
};
/* Immutable, shared by versions, counted on control. */
struct nvmf_referrals {
	uint32_t refs, count;
	struct nvmf_referral at[];
};

struct nvmf_subsystem {
	uint32_t refs;                         /* control: versions that hold it */
	uint64_t stamp;                        /* no other subsystem, and no other version of this one, has it */
	uint32_t id;
	char nqn[NVMF_NQN_MAX + 1];
	char serial[NVMF_SERIAL_SIZE + 1], model[NVMF_MODEL_SIZE + 1];
	char admin_label[NVMF_ADMIN_LABEL_MAX + 1]; /* "": none */
	bool discovery, allow_any_host, ana_reporting, nssr;
	uint16_t min_cntlid, max_cntlid;
	bool is_static;                        /* those controllers are there whether or not hosts have them */
	struct nvmf_static *statics;           /* those of which something was said */
	uint32_t static_count;
	uint8_t wzsl;                          /* of a Write Zeroes: 2^wzsl x 4 KiB */
	uint32_t dmrsl;                        /* blocks that a range deallocates at most; 0: all */
	uint32_t ns_max;                       /* nsids are 1 to this */
	uint32_t ns_count;
	uint32_t ops_all;                      /* BDEV_BIT()s that every namespace can do; all when there is none */
	bool knows_bad;                        /* some namespace can tell of blocks that are lost */
	bool volatile_cache;                   /* of any namespace */
	bool limited;                          /* some listener does not reach some group, some host not some namespace */
	struct nvmf_roster *roster;            /* its controllers: control only */
	struct nvmf_ns **ns;                   /* [nsid - 1]; NULL: inactive */
	uint64_t *ns_changed;                  /* [nsid - 1]: number of the change that last added, removed or resized it */
	uint32_t *ns_group;                    /* [nsid - 1]: its ANA group */
	struct nvmf_ns_hosts **ns_hosts;       /* [nsid - 1]; NULL: every host of the subsystem sees it */
	struct nvmf_host *hosts;
	uint32_t host_count;
	struct nvmf_listener *listeners;
	uint32_t listener_count;
};

struct nvmf_config {
	struct version v;
	struct nvmf_target *target;
	uint64_t change;                       /* counts changes; what ns_changed compares with */
	uint64_t genctr;                       /* of the discovery log */
	struct nvmf_referrals *referrals;      /* NULL: none */
	struct nvmf_subsystem *subs[NVMF_SUBSYSTEMS_MAX];
};

/* --- versions: control reactor (config.c) --- */
/* A copy of `from` (NULL: empty) that may still be changed. */
struct nvmf_config *nvmf_config_copy(struct nvmf_target *t, const struct nvmf_config *from);
/* One that was never published. */
void nvmf_config_drop(struct nvmf_config *c);
void nvmf_config_free(struct version *v);
struct nvmf_subsystem *nvmf_config_find(const struct nvmf_config *c, const char *nqn);
/* A fresh subsystem in the first free place, where no controllers of an older one are left, the first one for discovery
 * in a place of its own; NULL: no place left. */
struct nvmf_subsystem *nvmf_config_add_subsystem(struct nvmf_config *c, bool discovery);
/* A copy of its subsystem `id` in place of the shared one, free to change. */
struct nvmf_subsystem *nvmf_config_edit(struct nvmf_config *c, uint32_t id);
void nvmf_config_remove_subsystem(struct nvmf_config *c, uint32_t id);
/* One more referral, whose hosts it takes, or without that at `at`. */
void nvmf_config_add_referral(struct nvmf_config *c, const struct nvmf_referral *r);
void nvmf_config_remove_referral(struct nvmf_config *c, uint32_t at);
int nvmf_config_referral_at(const struct nvmf_config *c, const struct nvmf_referral *r); /* -1: not there */
struct nvmf_ns_hosts *nvmf_hosts_make(const char *const *nqns, uint32_t count);
void nvmf_hosts_unref(struct nvmf_ns_hosts *h); /* NULL: nothing */
void nvmf_subsystem_set_ns(struct nvmf_config *c, struct nvmf_subsystem *s, uint32_t nsid, struct nvmf_ns *ns);
bool nvmf_subsystem_allows_host(const struct nvmf_subsystem *s, const char *host_nqn);
int nvmf_subsystem_host_at(const struct nvmf_subsystem *s, const char *host_nqn); /* -1: not there */
void nvmf_host_ref_keys(struct nvmf_host *h);
void nvmf_host_unref_keys(struct nvmf_host *h);
bool nvmf_subsystem_wants_proof(const struct nvmf_subsystem *s, const char *host_nqn);
int nvmf_subsystem_listener_at(const struct nvmf_subsystem *s, const struct nvmf_transport *tr,
                               const struct net_addr *a);

/* The listener of the subsystem through which `local` came in; NULL: none any more. */
const struct nvmf_listener *nvmf_subsystem_way(const struct nvmf_subsystem *s, const struct nvmf_transport *tr,
                                               const struct net_addr *local);
/* May a connection that came in at `local` reach it? */
static inline bool nvmf_subsystem_listens(const struct nvmf_subsystem *s, const struct nvmf_transport *tr,
                                          const struct net_addr *local)
{
	return nvmf_subsystem_way(s, tr, local) != NULL;
}
/* Append a listener that reaches every group in state `ana`. */
void nvmf_subsystem_add_listener(struct nvmf_subsystem *s, const struct nvmf_listener *l, uint8_t ana);
void nvmf_subsystem_remove_listener(struct nvmf_subsystem *s, uint32_t at);
/* Group 0: all of them. `to` other than `state`: it is NVME_ANA_CHANGE, on the way there. */
void nvmf_subsystem_set_ana(struct nvmf_config *c, struct nvmf_subsystem *s, uint32_t at, uint32_t group,
                            uint8_t state, uint8_t to);
/* What change number `since` put on its way has arrived, unless something else was said of it meanwhile. False: nothing
 * is on its way. */
bool nvmf_subsystem_ana_arrives(struct nvmf_config *c, struct nvmf_subsystem *s, uint64_t since);
void nvmf_subsystem_set_ns_group(struct nvmf_config *c, struct nvmf_subsystem *s, uint32_t nsid, uint32_t group);

/* Who sees a namespace that is hidden: nobody; one host more; one less. */
void nvmf_subsystem_hide_ns(struct nvmf_subsystem *s, uint32_t nsid);
void nvmf_subsystem_show_ns(struct nvmf_subsystem *s, uint32_t nsid, const char *host_nqn);
void nvmf_subsystem_unshow_ns(struct nvmf_subsystem *s, uint32_t nsid, uint32_t at);
int nvmf_ns_hosts_at(const struct nvmf_ns_hosts *h, const char *host_nqn); /* -1: not there */
static inline bool nvmf_subsystem_shows(const struct nvmf_subsystem *s, uint32_t nsid, const char *host_nqn)
{
	return !s->ns_hosts[nsid - 1] || nvmf_ns_hosts_at(s->ns_hosts[nsid - 1], host_nqn) >= 0;
}

/* A static controller: NULL: nothing was said of it; and one to say something of. */
const struct nvmf_static *nvmf_subsystem_static(const struct nvmf_subsystem *s, uint16_t cntlid);
struct nvmf_static *nvmf_subsystem_edit_static(struct nvmf_subsystem *s, uint16_t cntlid);

/* --- namespaces (ns.c) --- */
/* Control. The device is opened and claimed; errors with a sentence. One reference. */
struct nvmf_ns *nvmf_ns_open(struct nvmf_target *t, const char *nqn, const struct nvmf_ns_opts *opts, struct err *e);

#endif
