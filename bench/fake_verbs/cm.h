/* SPDX-License-Identifier: BSD-3-Clause */
/* cm.h: what the connection manager (cm.c) and the synthetic host (host.c) have to do with each other. */
#ifndef FAKE_VERBS_CM_H
#define FAKE_VERBS_CM_H

#include "fake.h"

#include <rdma/rdma_cma.h>

/* The host as the connection manager sees it; all with the mutex held. */
struct cm_caller;
struct cm_caller_ops {
	void (*accepted)(struct cm_caller *c, struct fake_qp *qp);
	void (*ended)(struct cm_caller *c); /* rejected, disconnected, or its id destroyed: once */
};
struct cm_caller {
	const struct cm_caller_ops *ops;
	struct rdma_cm_id *id; /* the target's; NULL: not connected */
};

/* Ask a listener to let the caller in. */
void cm_call(struct rdma_cm_id *listener, struct cm_caller *c, const void *data, uint8_t len, uint8_t read_serve);
/* The caller ends it. */
void cm_hang_up(struct cm_caller *c);

/* There is a listener, or it is gone. */
void host_listener_came(struct rdma_cm_id *listener);
void host_listener_gone(struct rdma_cm_id *listener);

#endif
