/* SPDX-License-Identifier: BSD-3-Clause */
/* config_priv.h: what the files of the configuration share (config.c, portal.c, node.c, maps.c). */
#ifndef ISCSI_CONFIG_PRIV_H
#define ISCSI_CONFIG_PRIV_H

#include "iscsi/session.h"
#include "scsi/scsi.h"

/* A change that ends sessions: what was taken away is noted first, then those go that would not be let in any more,
 * then what they used. */
struct iscsi_work {
	struct iscsi_target *target;
	struct iscsi_change *change;      /* NULL: nobody waits */
	struct iscsi_conns_end end;
	struct list ports;                /* struct iscsi_old_port.in_work */
	struct iscsi_portal_group *pg;    /* that goes; NULL: none */
	struct iscsi_node *node;          /* that goes; NULL: none */
	struct scsi_change scsi;
};

/* A target port that goes when the last session that came in by it has gone, unless it is mapped again. */
struct iscsi_old_port {
	struct list in_work, in_node;
	struct iscsi_node *node;
	uint16_t id;
};

struct iscsi_work *iscsi_work_make(struct iscsi_target *t, struct iscsi_change *c);
void iscsi_work_run(struct iscsi_work *w);
/* Something that stopping waits for has ended. */
void iscsi_target_less(struct iscsi_target *t);
static inline void iscsi_change_end(struct iscsi_change *c) { c->done(c); }

/* maps.c */
struct iscsi_map *iscsi_map_find(const struct iscsi_node *n, const struct iscsi_portal_group *pg);
int iscsi_map_add(struct iscsi_node *n, const struct iscsi_map_pair *p, struct err *e) MUST_USE;
/* All of a portal group's, or of an initiator group's, or one pair. */
void iscsi_map_remove(struct iscsi_work *w, struct iscsi_node *n, const struct iscsi_portal_group *pg,
                      const struct iscsi_initiator_group *ig);
void iscsi_maps_free(struct iscsi_node *n);

/* portal.c */
void iscsi_portal_group_unlisten(struct iscsi_portal_group *pg);
void iscsi_portal_group_unref(struct iscsi_portal_group *pg);
int iscsi_portal_host(const char *field, const char *host, const char *port, char ret_host[static ISCSI_HOST_MAX + 1],
                      char ret_port[static 8], struct net_addr *ret_addr, struct err *e) MUST_USE;

/* node.c */
void iscsi_luns_follow(struct iscsi_target *t);
void iscsi_node_go(struct iscsi_node *n, struct iscsi_change *c);

#endif
