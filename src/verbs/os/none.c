/* SPDX-License-Identifier: BSD-3-Clause */
/* none.c: a build without rdma-core. verbs_get() says so; there is nothing then that could be asked anything else. */
#include <errno.h>

#include "verbs/inside.h"

#define CANNOT_BE_ASKED() must(!"a build without RDMA has no adapter")

int platform_verbs_open(struct verbs *v, struct err *e)
{
	return err_set(e, -ENODEV, "this build has no RDMA: it was made without libibverbs and librdmacm (Debian's "
	               "packages libibverbs-dev and librdmacm-dev)");
}

void platform_verbs_close(struct verbs *v) { CANNOT_BE_ASKED(); }
void platform_dev_free(struct verbs_dev *d) { CANNOT_BE_ASKED(); }
int platform_mr_make(struct verbs_dev *d, void *base, size_t len, bool remote, struct verbs_key *ret_key,
                     void **ret_mr)
{
	return -ENODEV;
}
void platform_mr_free(struct verbs_dev *d, void *mr) { CANNOT_BE_ASKED(); }

struct verbs_cq *platform_cq_make(struct verbs_dev *d, uint32_t *entries, struct err *e) { return NULL; }
void platform_cq_destroy(struct verbs_cq *q) { CANNOT_BE_ASKED(); }
void platform_cq_free(struct verbs_cq *q) { CANNOT_BE_ASKED(); }
int platform_cq_resize(struct verbs_cq *q, uint32_t entries, uint32_t *ret_entries) { return -ENODEV; }
int platform_cq_start(struct verbs_cq *q) { return -ENODEV; }
void platform_cq_stop(struct verbs_cq *q) { CANNOT_BE_ASKED(); }
uint32_t platform_cq_poll(struct verbs_cq *q, struct verbs_wc *wcs, uint32_t *qps) { return 0; }
void platform_cq_request_notify(struct verbs_cq *q) { CANNOT_BE_ASKED(); }
struct verbs_srq *platform_srq_make(struct verbs_dev *d, uint32_t entries, uint32_t sges, struct err *e)
{
	return NULL;
}
void platform_srq_free(struct verbs_srq *s) { CANNOT_BE_ASKED(); }

struct verbs_conn *platform_resolve(struct verbs *v, const struct net_addr *to, const struct net_addr *from,
                                    uint32_t timeout_ms, struct err *e)
{
	return NULL;
}
int platform_conn_make_queues(struct verbs_conn *c, struct verbs_queues *q, struct err *e) { return -ENODEV; }
int platform_connect(struct verbs_conn *c, const struct verbs_params *p) { return -ENODEV; }
int platform_accept(struct verbs_conn *c, const struct verbs_params *p) { return -ENODEV; }
void platform_reject(struct verbs_conn *c, const void *data, uint8_t len) { CANNOT_BE_ASKED(); }
void platform_conn_set_tos(struct verbs_conn *c, uint8_t tos) { CANNOT_BE_ASKED(); }
void platform_conn_set_ack_timeout(struct verbs_conn *c, uint8_t exponent) { CANNOT_BE_ASKED(); }
void platform_disconnect(struct verbs_conn *c) { CANNOT_BE_ASKED(); }
void platform_conn_break(struct verbs_conn *c) { CANNOT_BE_ASKED(); }
void platform_conn_close(struct verbs_conn *c) { CANNOT_BE_ASKED(); }
void platform_conn_free(struct verbs_conn *c) { CANNOT_BE_ASKED(); }
void platform_conn_addrs(const struct verbs_conn *c, struct net_addr *ret_local, struct net_addr *ret_peer)
{
	CANNOT_BE_ASKED();
}
struct verbs_listener *platform_listen(struct verbs *v, const struct net_addr *addr, uint32_t backlog, struct err *e)
{
	return NULL;
}
void platform_listener_addr(const struct verbs_listener *l, struct net_addr *ret_addr) { CANNOT_BE_ASKED(); }
void platform_listener_close(struct verbs_listener *l) { CANNOT_BE_ASKED(); }

int verbs_post(struct verbs_conn *c, const struct verbs_wr *wr, const struct verbs_wr **ret_bad)
{
	*ret_bad = wr;
	return -ENODEV;
}
int verbs_post_recv(struct verbs_conn *c, const struct verbs_recv *r) { return -ENODEV; }
int verbs_srq_post(struct verbs_srq *s, const struct verbs_recv *r) { return -ENODEV; }
