/* SPDX-License-Identifier: BSD-3-Clause */
/* far.h: remote targets: daemons in front of shared media (media.h) that serve one subsystem at addresses of theirs,
 * and that die at any moment and come back, knowing nothing of what was. And one that is mute.
 */
#ifndef TESTS_SIM_FAR_H
#define TESTS_SIM_FAR_H

#include "media.h"
#include "net/sim/sim_net.h"
#include "nvmf/nvmf.h"

#define FAR_NQN "nqn.2026-01.io.gantry:far"
#define FAR_HOST "nqn.2026-01.io.gantry:guest"
#define FAR_ADDRS_MAX 2u

/*   state      meaning */
enum far_state {
	FAR_DOWN,    /* nothing listens */
	FAR_STARTING,
	FAR_UP,
	FAR_STOPPING /* dying: cut off already, it ends what it had */
};

struct far {
	/* set by the caller */
	struct media *media;
	struct core *core;
	uint32_t index;                  /* of daemons that serve the same subsystem: its controllers' ids follow from it */
	struct net_addr addrs[FAR_ADDRS_MAX];
	uint32_t addr_count;
	uint32_t reactors;
	uint32_t io_bytes_max;           /* of one command (MDTS); may be another one at each far_start() */
	struct keyring_key *psk;         /* TLS only, for FAR_HOST; NULL: in the clear, for anybody. Before far_start() */
	/* ours */
	enum far_state state;
	struct sim_net_link links[FAR_ADDRS_MAX]; /* as the network is between partitions */
	struct bdev_registry *reg;
	struct bdev *disk;
	struct nvmf_target *target;
	struct nvmf_change change, other;
	uint32_t step, in_capsule_bytes;
	uint8_t ccr_limit;               /* what its controllers tell; 0: it resets none by way of others */
	uint16_t cqt_ms;
	uint64_t resets;                 /* that it has done, of processes that have ended */
	bool busy;                       /* `other` is under way */
	uint32_t deaths;
};

/* Make its core. Address `n` of daemon `i` is 10.0.<i>.<n + 1> port 4420. */
void far_make(struct far *f, struct media *m, uint32_t index, uint32_t addr_count, uint32_t reactors);
/* Down, or the simulation is over: frees all. */
void far_free(struct far *f);

/* Begin to serve. FAR_UP follows. */
void far_start(struct far *f);
/* Dies: from now on nothing leaves or reaches it until it is started again; FAR_DOWN follows. Up only. */
void far_die(struct far *f);
/* Stops in good order; FAR_DOWN follows. */
void far_stop(struct far *f);

/* What the network does at one of its addresses, now and until the next word. */
void far_link(struct far *f, uint32_t n, const struct sim_net_link *how);
/* Any that a network may come to: cut, one-way, refusing, swallowing, slow, or well. */
struct sim_net_link far_draw_link(uint64_t delay_ns_max);
/* No effect while another is under way. */
void far_set_ana(struct far *f, uint32_t n, enum nvme_ana_state state);
void far_resize(struct far *f); /* to what the media has now */

/* Who accepts every connection, and says nothing. */
struct mute {
	struct reactor *reactor;
	struct net_addr addr;
	struct listener *listener;
	struct sock *socks[64];
	uint32_t count;
};
void mute_make(struct mute *m, struct reactor *r, const char *host);
void mute_free(struct mute *m);

#endif
