/* SPDX-License-Identifier: BSD-3-Clause */
/* dev.c: an adapter: its limits, its events, memory registered with it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/log.h"
#include "verbs/os/os.h"

#define PORTS_MAX 64u

static int ask(struct os_dev *d);
static void ask_port(struct os_dev *d, uint8_t port);
static int numa_node_of(const struct ibv_device *device);
static int begin(struct os_dev *d);
static void on_async(struct source *s, uint32_t events);
static void take_event(struct os_dev *d, const struct ibv_async_event *event);
static void queue_broke(struct os_dev *d, const struct ibv_async_event *event, const struct verbs_cq *q,
                        const struct verbs_srq *s);
static void port_is(struct os_dev *d, int port, bool up);
static void let_system_go(const struct os_dev *d);

int os_dev_open(struct verbs *v, struct ibv_context *ctx)
{
	struct os_dev *d = base_zalloc(sizeof(*d));
	int rc;

	d->ctx = ctx;
	rc = ask(d);
	if (!rc)
		rc = begin(d);
	if (rc) {
		log_error("RDMA: adapter %s cannot be used: %s", ibv_get_device_name(ctx->device), strerror(-rc));
		free(d);
		return rc;
	}
	d->held = base_zalloc(2 * sizeof(struct ibv_context *));
	d->held[0] = ctx;
	verbs_dev_add(v, &d->dev);
	return 0;
}

static int ask(struct os_dev *d)
{
	struct verbs_dev_info *i = &d->dev.info;
	struct ibv_device_attr a;
	int rc = ibv_query_device(d->ctx, &a);

	if (rc)
		return -rc;
	snprintf(i->name, sizeof(i->name), "%s", ibv_get_device_name(d->ctx->device));
	i->numa_node = numa_node_of(d->ctx->device);
	i->iwarp = d->ctx->device->transport_type == IBV_TRANSPORT_IWARP;
	i->send_invalidate = a.device_cap_flags & IBV_DEVICE_MEM_MGT_EXTENSIONS;
	i->conns_max = (uint32_t)a.max_qp;
	i->send_max = i->recv_max = (uint32_t)a.max_qp_wr;
	i->sge_max = (uint32_t)a.max_sge;
	i->read_sge_max = a.max_sge_rd > 0 ? min_u32(i->sge_max, (uint32_t)a.max_sge_rd) : i->sge_max;
	i->read_depth_max = (uint32_t)a.max_qp_init_rd_atom;
	i->read_serve_max = (uint32_t)a.max_qp_rd_atom;
	i->srq_recv_max = a.max_srq > 0 ? (uint32_t)a.max_srq_wr : 0;
	i->srq_sge_max = a.max_srq > 0 ? (uint32_t)a.max_srq_sge : 0;
	i->cq_max = (uint32_t)a.max_cqe;
	for (uint32_t port = 1; port <= a.phys_port_cnt && port < PORTS_MAX; port++)
		ask_port(d, (uint8_t)port);
	d->dev.port_up = d->ports_up;
	return 0;
}

static void ask_port(struct os_dev *d, uint8_t port)
{
	struct ibv_port_attr a;

	if (!ibv_query_port(d->ctx, port, &a) && a.state == IBV_PORT_ACTIVE)
		d->ports_up |= 1ull << port;
}

static int numa_node_of(const struct ibv_device *device)
{
	char path[sizeof(device->ibdev_path) + sizeof("/device/numa_node")];
	int node = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/device/numa_node", device->ibdev_path);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%d", &node) != 1)
		node = -1;
	fclose(f);
	return node;
}

static int begin(struct os_dev *d)
{
	int fd = d->ctx->async_fd, rc;

	d->pd = ibv_alloc_pd(d->ctx);
	if (!d->pd)
		return -errno;
	rc = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) ? -errno : 0;
	if (!rc)
		rc = source_start(&d->async, fd, EPOLLIN, "rdma adapter events", on_async);
	if (rc)
		ibv_dealloc_pd(d->pd);
	return rc;
}

void os_dev_stop(struct os_dev *d)
{
	if (d->async.reactor)
		source_stop(&d->async);
}

void platform_dev_free(struct verbs_dev *dev)
{
	struct os_dev *d = os_dev(dev);

	os_dev_stop(d);
	if (ibv_dealloc_pd(d->pd))
		log_warning("RDMA: adapter %s: something still uses its protection domain", dev->info.name);
	if (!atomic_load(&dev->there))
		let_system_go(d);
	rdma_free_devices(d->held); /* and the list */
	free(d);
}

/* An adapter is removed when nobody has it open any more: who removes it waits. rdma-core keeps it open until it is
 * asked for adapters and finds another one. What is open of it is closed under its hands; it never is of use again, and
 * whatever is asked of it fails. */
static void let_system_go(const struct os_dev *d)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)dup3(fd, d->ctx->async_fd, O_CLOEXEC);
	(void)dup3(fd, d->ctx->cmd_fd, O_CLOEXEC);
	close(fd);
}

/* --- events --------------------------------------------------------------------------------------- */

static void on_async(struct source *s, uint32_t events)
{
	struct os_dev *d = container_of(s, struct os_dev, async);
	struct ibv_async_event event;

	verbs_dev_ref(&d->dev);
	while (d->async.reactor && !ibv_get_async_event(d->ctx, &event)) {
		take_event(d, &event);
		ibv_ack_async_event(&event);
	}
	/* What is gone has its end reached for ever. */
	if (d->async.reactor && events & (EPOLLERR | EPOLLHUP)) {
		os_dev_stop(d);
		verbs_dev_lost(&d->dev);
	}
	verbs_dev_unref(&d->dev);
}

static void take_event(struct os_dev *d, const struct ibv_async_event *event)
{
	switch (event->event_type) {
	case IBV_EVENT_PORT_ACTIVE:
		port_is(d, event->element.port_num, true);
		break;
	case IBV_EVENT_PORT_ERR:
		port_is(d, event->element.port_num, false);
		break;
	case IBV_EVENT_DEVICE_FATAL:
		verbs_dev_lost(&d->dev);
		break;
	case IBV_EVENT_QP_FATAL:
	case IBV_EVENT_QP_REQ_ERR:
	case IBV_EVENT_QP_ACCESS_ERR:
	case IBV_EVENT_PATH_MIG_ERR:
		os_conn_failed(event->element.qp->qp_context);
		break;
	case IBV_EVENT_COMM_EST: /* data came before the last word of the connection manager, which may be lost */
		(void)rdma_notify(((struct os_conn *)event->element.qp->qp_context)->id, IBV_EVENT_COMM_EST);
		break;
	case IBV_EVENT_CQ_ERR:
		queue_broke(d, event, &((struct os_cq *)event->element.cq->cq_context)->cq, NULL);
		break;
	case IBV_EVENT_SRQ_ERR:
		queue_broke(d, event, NULL, &((struct os_srq *)event->element.srq->srq_context)->srq);
		break;
	default:
		log_debug("RDMA: adapter %s: %s", d->dev.info.name, ibv_event_type_str(event->event_type));
	}
}

/* Nothing completes there any more: no I/O must wait for it. */
static void queue_broke(struct os_dev *d, const struct ibv_async_event *event, const struct verbs_cq *q,
                        const struct verbs_srq *s)
{
	log_error("RDMA: adapter %s: %s: its connections end", d->dev.info.name, ibv_event_type_str(event->event_type));
	list_each(l, &d->dev.conns) {
		struct verbs_conn *c = list_entry(l, struct verbs_conn, dev_link);

		if (c->cq && (c->cq == q || (s && c->srq == s)))
			os_conn_failed(os_conn(c));
	}
}

static void port_is(struct os_dev *d, int port, bool up)
{
	uint64_t bit = 1ull << ((uint32_t)port % PORTS_MAX);

	d->ports_up = up ? d->ports_up | bit : d->ports_up & ~bit;
	verbs_dev_port(&d->dev, d->ports_up);
}

/* --- memory --------------------------------------------------------------------------------------- */

int platform_mr_make(struct verbs_dev *dev, void *base, size_t len, bool remote, struct verbs_key *ret_key,
                     void **ret_mr)
{
	unsigned int access = IBV_ACCESS_LOCAL_WRITE | (remote ? IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE : 0);
	struct ibv_pd *pd = os_dev(dev)->pd;
	struct ibv_mr *mr = ibv_reg_mr(pd, base, len, access);

	if (!mr && remote && (errno == EFAULT || errno == EACCES)) /* only readable for us, too */
		mr = ibv_reg_mr(pd, base, len, IBV_ACCESS_REMOTE_READ);
	if (!mr)
		return errno ? -errno : -EIO;
	ret_key->lkey = mr->lkey;
	ret_key->rkey = mr->rkey;
	*ret_mr = mr;
	return 0;
}

void platform_mr_free(struct verbs_dev *dev, void *mr)
{
	if (ibv_dereg_mr(mr))
		log_debug("RDMA: adapter %s: deregister: %s", dev->info.name, strerror(errno));
}
