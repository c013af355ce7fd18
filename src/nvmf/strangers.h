/* SPDX-License-Identifier: BSD-3-Clause */
/* strangers.h: connections of which nobody knows yet whose they are, because their Connect has not succeeded. Whoever
 * can reach a port can have some; each has its deadline, and here is how many of all addresses there may be at a time.
 *
 * Nobody is refused for it: one goes that was there before. First of an address that has nothing but strangers, so
 * that a host that is connected does not lose its further queues to a crowd; then of the one that has most (of several,
 * the one that has had so many for longest); there the oldest, because a host says who it is at once. Who has many
 * addresses can make others' connections go only by opening as many as there are places within the time that a host
 * takes for its Connect.
 *
 * Private to nvmf and its transports. Control reactor.
 */
#ifndef NVMF_STRANGERS_H
#define NVMF_STRANGERS_H

#include "base/list.h"
#include "net/net.h"

struct nvmf_peer;
struct nvmf_stranger {
	struct list link;                 /* of its address, while it is a stranger; else empty */
	struct nvmf_peer *peer;
	bool connected;
};

#define NVMF_PEER_BUCKETS 1024u
struct nvmf_strangers {
	struct list levels[2];            /* struct level: of addresses without a host that is connected; with one */
	struct list peers[NVMF_PEER_BUCKETS];
	uint32_t count, max;
	uint64_t crowded_out;             /* that had to go */
};

void nvmf_strangers_init(struct nvmf_strangers *s, uint32_t max);
/* As many of an address. */
uint32_t nvmf_strangers_of(const struct nvmf_strangers *s, const struct net_addr *addr);
/* One comes, of that address. */
void nvmf_stranger_came(struct nvmf_strangers *s, struct nvmf_stranger *who, const struct net_addr *addr);
/* It is sure that it can stay. Then: returns which of the others goes for it, or NULL. That one counts no more; its
 * transport ends it. */
struct nvmf_stranger *nvmf_stranger_stays(struct nvmf_strangers *s, const struct nvmf_stranger *who);
void nvmf_stranger_connected(struct nvmf_strangers *s, struct nvmf_stranger *who);
/* It is freed: whatever it was, or went for another. */
void nvmf_stranger_gone(struct nvmf_strangers *s, struct nvmf_stranger *who);

#endif
