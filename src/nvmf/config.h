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

#include "core/version.h"
#include "nvmf/nvmf.h"

#define NVMF_SUBSYSTEMS_MAX 1024u     /* discovery included */
#define NVMF_NSID_LIMIT 65536u        /* largest max_namespaces */
#define NVMF_HOSTS_MAX 1024u          /* of one subsystem */
#define NVMF_DISCOVERY_ID 0u          /* the discovery subsystem exists by itself, always in the first place */
#define NVMF_SERIAL_SIZE 20
#define NVMF_MODEL_SIZE 40

struct nvmf_ns;
struct nvmf_roster;

/* A namespace on one core. */
struct nvmf_ns_view {
	CACHE_ALIGNED struct bdev_channel *ch; /* NULL: could not be opened, or closed again */
	uint32_t refs;                         /* versions this core has entered, and commands */
	uint8_t shift;                         /* log2 of the block size */
	bool lends, lends_writes, consumes, read_only;
	uint32_t lend_iovs_small;              /* for a read of up to NVMF_LEND_SMALL bytes */
	struct bdev_desc *desc;
	struct nvmf_ns *ns;
	struct nvmf_stage_counts *stages;      /* of queue pairs that are gone: stages.h */
	struct msg left_msg;                   /* to control: this core has left it */
};
#define NVMF_LEND_SMALL 4096u

/* A namespace: a device opened for a subsystem. Never changes; its size is the device's. */
struct nvmf_ns {
	struct nvmf_target *target;
	uint32_t nsid, anagrpid;
	bool made_read_only;          /* by who added it; info.read_only has the device's word in it too */
	char bdev_name[256];
	struct uuid uuid;
	uint8_t nguid[16], eui64[8];
	bool has_nguid, has_eui64;
	struct bdev_desc *desc;
	struct bdev_info info;                 /* as opened; block_count is asked for anew */
	bool gone_told;                        /* control: its device goes away, and its removal is on its way */
	char nqn[NVMF_NQN_MAX + 1];
	uint32_t refs;                         /* control: subsystem versions that hold it, and whoever waits */
	uint32_t cores_in;                     /* control: cores whose view is counted */
	struct list waiters;                   /* control: struct nvmf_ns_wait */
	uint32_t view_count;
	struct nvmf_ns_view view[];            /* by core */
};

struct nvmf_ns_wait {
	struct list link;
	void (*fn)(struct nvmf_ns_wait *w);
};

struct nvmf_listener {
	struct nvmf_transport *transport;
	struct net_addr addr;
	uint8_t *ana;                          /* [ANA group - 1]: enum nvme_ana_state; owned by the subsystem version */
	uint64_t ana_changed;                  /* number of the change that last set one; 0: never */
};

struct nvmf_subsystem {
	uint32_t refs;                         /* control: versions that hold it */
	uint64_t stamp;                        /* no other subsystem, and no other version of this one, has it */
	uint32_t id;
	char nqn[NVMF_NQN_MAX + 1];
	char serial[NVMF_SERIAL_SIZE + 1], model[NVMF_MODEL_SIZE + 1];
	bool discovery, allow_any_host, ana_reporting;
	uint16_t min_cntlid, max_cntlid;
	uint32_t ns_max;                       /* nsids are 1 to this */
	uint32_t ns_count;
	uint32_t ops_all;                      /* BDEV_BIT()s that every namespace can do; all when there is none */
	bool volatile_cache;                   /* of any namespace */
	bool ana_limited;                      /* some listener does not reach some group */
	struct nvmf_roster *roster;            /* its controllers: control only */
	struct nvmf_ns **ns;                   /* [nsid - 1]; NULL: inactive */
	uint64_t *ns_changed;                  /* [nsid - 1]: number of the change that last added, removed or resized it */
	char (*hosts)[NVMF_NQN_MAX + 1];
	uint32_t host_count;
	struct nvmf_listener *listeners;
	uint32_t listener_count;
};

struct nvmf_config {
	struct version v;
	struct nvmf_target *target;
	uint64_t change;                       /* counts changes; what ns_changed compares with */
	uint64_t genctr;                       /* of the discovery log */
	struct nvmf_subsystem *subs[NVMF_SUBSYSTEMS_MAX];
};

/* --- versions: control reactor (config.c) --- */
/* A copy of `from` (NULL: empty) that may still be changed. */
struct nvmf_config *nvmf_config_copy(struct nvmf_target *t, const struct nvmf_config *from);
/* One that was never published. */
void nvmf_config_drop(struct nvmf_config *c);
void nvmf_config_free(struct version *v);
struct nvmf_subsystem *nvmf_config_find(const struct nvmf_config *c, const char *nqn);
/* A fresh subsystem in the first free place; NULL: no place left. */
struct nvmf_subsystem *nvmf_config_add_subsystem(struct nvmf_config *c, bool discovery);
/* A copy of its subsystem `id` in place of the shared one, free to change. */
struct nvmf_subsystem *nvmf_config_edit(struct nvmf_config *c, uint32_t id);
void nvmf_config_remove_subsystem(struct nvmf_config *c, uint32_t id);
void nvmf_subsystem_set_ns(struct nvmf_config *c, struct nvmf_subsystem *s, uint32_t nsid, struct nvmf_ns *ns);
bool nvmf_subsystem_allows_host(const struct nvmf_subsystem *s, const char *host_nqn);
int nvmf_subsystem_host_at(const struct nvmf_subsystem *s, const char *host_nqn); /* -1: not there */
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
/* Group 0: all of them. */
void nvmf_subsystem_set_ana(struct nvmf_config *c, struct nvmf_subsystem *s, uint32_t at, uint32_t group, uint8_t ana);

/* --- namespaces (ns.c) --- */
/* Control. The device is opened and claimed; errors with a sentence. One reference. */
struct nvmf_ns *nvmf_ns_open(struct nvmf_target *t, const char *nqn, const struct nvmf_ns_opts *opts, struct err *e);
void nvmf_ns_ref(struct nvmf_ns *ns);
void nvmf_ns_unref(struct nvmf_ns *ns);
/* Control: fn runs when no core uses it any more and the device is closed. */
void nvmf_ns_wait_closed(struct nvmf_ns *ns, struct nvmf_ns_wait *w, void (*fn)(struct nvmf_ns_wait *w));
/* Each core: count this core's view in and out. The first opens the channel (false: could not; the view is counted
 * all the same and answers errors). */
bool nvmf_ns_enter(struct nvmf_ns *ns, uint32_t core_index, struct err *e);
void nvmf_ns_leave_slow(struct nvmf_ns_view *view);
static inline void nvmf_ns_view_put(struct nvmf_ns_view *view)
{
	if (unlikely(--view->refs == 0))
		nvmf_ns_leave_slow(view);
}

#endif
