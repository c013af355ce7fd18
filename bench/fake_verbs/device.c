/* SPDX-License-Identifier: BSD-3-Clause */
/* device.c: the fake adapter, its context, its events, and memory. */
#include "fake.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#undef ibv_reg_mr
#undef ibv_reg_mr_iova
#undef ibv_query_port
#undef ibv_get_device_list

#define MR_MAX 65536u
#define KEY_TAG 0x5au  /* in the low byte of every key */

pthread_mutex_t fake_mutex = PTHREAD_MUTEX_INITIALIZER;
uint64_t fake_began, fake_inside, fake_calls, fake_long_calls;

static struct ibv_device device = {
	.node_type = IBV_NODE_CA, .transport_type = IBV_TRANSPORT_IB, .name = "fake0", .dev_name = "uverbs-fake0",
	.dev_path = "/nonexistent/uverbs-fake0", .ibdev_path = "/nonexistent/fake0",
};
static struct ibv_device shut = { /* FAKE_VERBS_SHUT: it is there, and cannot be opened */
	.node_type = IBV_NODE_CA, .transport_type = IBV_TRANSPORT_IB, .name = "fake1", .dev_name = "uverbs-fake1",
	.dev_path = "/nonexistent/uverbs-fake1", .ibdev_path = "/nonexistent/fake1",
};
static int users; /* of the context */

struct fake_mr {
	struct ibv_mr mr;
	int access;
};
static struct fake_mr *mrs[MR_MAX];
static uint32_t mr_next;

struct async {
	struct list link;
	struct ibv_async_event event;
};
static struct list asyncs = { &asyncs, &asyncs };

void fake_fault(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("fake_verbs: FAULT: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	abort();
}

/* --- descriptors that count ------------------------------------------------------------------------------------- */

int fake_eventfd(void)
{
	int fd = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);

	if (fd < 0)
		fake_fault("no eventfd: %s", strerror(errno));
	return fd;
}

void fake_eventfd_add(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof one) != sizeof one)
		fake_fault("write to an eventfd: %s", strerror(errno));
}

int fake_eventfd_take(int fd)
{
	uint64_t one;

	return read(fd, &one, sizeof one) == sizeof one ? 0 : -1;
}

/* --- adapter ---------------------------------------------------------------------------------------------------- */

static bool fake_has_shut(void)
{
	const char *text = getenv("FAKE_VERBS_SHUT");

	return text && strcmp(text, "0");
}

FAKE_EXPORT struct ibv_device **ibv_get_device_list(int *ret_count)
{
	struct ibv_device **list = calloc(3, sizeof *list);
	int count = 0;

	if (!list)
		return NULL;
	fake_begin();
	if (fake_has_shut())
		list[count++] = &shut;
	list[count++] = &device;
	if (ret_count)
		*ret_count = count;
	return list;
}

FAKE_EXPORT void ibv_free_device_list(struct ibv_device **list) { free(list); }
FAKE_EXPORT const char *ibv_get_device_name(struct ibv_device *d) { return d->name; }
FAKE_EXPORT __be64 ibv_get_device_guid(struct ibv_device *d) { return 0xfa4e; }
FAKE_EXPORT int ibv_get_device_index(struct ibv_device *d) { return 0; }
FAKE_EXPORT int ibv_fork_init(void) { return 0; }

/* One context for all, as librdmacm has it; that ibv_open_device() of the real one makes another is not imitated. */
FAKE_EXPORT struct ibv_context *ibv_open_device(struct ibv_device *d)
{
	fake_begin();
	if (d == &shut) {
		errno = EACCES;
		return NULL;
	}
	fake_lock();
	users++;
	fake_unlock();
	return &fake_context.context;
}

FAKE_EXPORT int ibv_close_device(struct ibv_context *c)
{
	fake_lock();
	if (--users < 0)
		fake_fault("ibv_close_device() of a context that is not open");
	fake_unlock();
	return 0;
}

FAKE_EXPORT int ibv_query_device(struct ibv_context *c, struct ibv_device_attr *ret)
{
	*ret = (struct ibv_device_attr){
		.fw_ver = "fake", .max_mr_size = UINT64_MAX, .page_size_cap = 4096, .vendor_id = FAKE_VENDOR,
		.max_qp = 65536, .max_qp_wr = FAKE_WR_MAX, .max_sge = FAKE_SGE_MAX, .max_sge_rd = FAKE_SGE_MAX,
		.max_cq = 65536, .max_cqe = FAKE_CQE_MAX, .max_mr = MR_MAX, .max_pd = 65536,
		.max_qp_rd_atom = FAKE_READ_DEPTH_MAX, .max_qp_init_rd_atom = FAKE_READ_DEPTH_MAX,
		.max_res_rd_atom = 1 << 20, .max_srq = 65536, .max_srq_wr = FAKE_WR_MAX, .max_srq_sge = FAKE_SGE_MAX - 1,
		.max_pkeys = 1, .phys_port_cnt = 1, .device_cap_flags = IBV_DEVICE_MEM_MGT_EXTENSIONS |
			IBV_DEVICE_RC_RNR_NAK_GEN | IBV_DEVICE_SRQ_RESIZE,
	};
	return 0;
}

static int query_device_ex(struct ibv_context *c, const struct ibv_query_device_ex_input *input,
                           struct ibv_device_attr_ex *ret, size_t size)
{
	memset(ret, 0, size);
	return ibv_query_device(c, &ret->orig_attr);
}

static int query_port(struct ibv_context *c, uint8_t port, struct ibv_port_attr *ret, size_t size)
{
	struct ibv_port_attr attr = {
		.state = IBV_PORT_ACTIVE, .max_mtu = IBV_MTU_4096, .active_mtu = IBV_MTU_4096, .gid_tbl_len = 1,
		.max_msg_sz = 1u << 30, .pkey_tbl_len = 1, .active_width = 2, .active_speed = 32, .phys_state = 5,
		.link_layer = IBV_LINK_LAYER_ETHERNET,
	};

	if (port != 1)
		return EINVAL;
	memcpy(ret, &attr, size < sizeof attr ? size : sizeof attr);
	return 0;
}

FAKE_EXPORT int ibv_query_port(struct ibv_context *c, uint8_t port, struct _compat_ibv_port_attr *ret)
{
	return query_port(c, port, (void *)ret, offsetof(struct ibv_port_attr, port_cap_flags2));
}

FAKE_EXPORT int ibv_query_gid(struct ibv_context *c, uint8_t port, int index, union ibv_gid *ret)
{
	memset(ret, 0, sizeof *ret);
	return 0;
}

FAKE_EXPORT int ibv_query_pkey(struct ibv_context *c, uint8_t port, int index, __be16 *ret)
{
	*ret = 0xffff;
	return 0;
}

/* --- events of the adapter -------------------------------------------------------------------------------------- */

void fake_async(enum ibv_event_type type, void *of)
{
	struct async *a = calloc(1, sizeof *a);

	if (!a)
		return;
	a->event.event_type = type;
	a->event.element.qp = of;
	list_add_tail(&asyncs, &a->link);
	fake_eventfd_add(fake_context.context.async_fd);
}

void fake_async_forget(const void *of)
{
	list_each_safe(l, &asyncs) {
		struct async *a = list_entry(l, struct async, link);

		if (a->event.element.qp != of)
			continue;
		list_del(l);
		free(a);
	}
}

FAKE_EXPORT int ibv_get_async_event(struct ibv_context *c, struct ibv_async_event *ret)
{
	struct list *l;

	if (fake_eventfd_take(c->async_fd))
		return -1;
	fake_lock();
	l = list_pop(&asyncs);
	fake_unlock();
	if (!l) { /* its queue pair was destroyed meanwhile */
		errno = EAGAIN;
		return -1;
	}
	*ret = list_entry(l, struct async, link)->event;
	free(list_entry(l, struct async, link));
	return 0;
}

FAKE_EXPORT void ibv_ack_async_event(struct ibv_async_event *event) { }

/* --- protection domains and memory ------------------------------------------------------------------------------ */

FAKE_EXPORT struct ibv_pd *ibv_alloc_pd(struct ibv_context *c)
{
	struct ibv_pd *pd = calloc(1, sizeof *pd);

	if (pd)
		pd->context = c;
	return pd;
}

FAKE_EXPORT int ibv_dealloc_pd(struct ibv_pd *pd)
{
	bool busy = false;

	fake_lock();
	for (uint32_t i = 0; i < MR_MAX; i++)
		busy |= mrs[i] && mrs[i]->mr.pd == pd;
	fake_unlock();
	if (busy)
		return EBUSY;
	free(pd);
	return 0;
}

/* With the mutex held. */
static struct fake_mr *mr_make(struct ibv_pd *pd, void *addr, size_t len, int access)
{
	struct fake_mr *m = calloc(1, sizeof *m);
	uint32_t i;

	if (!m)
		return NULL;
	for (i = 0; i < MR_MAX && mrs[mr_next % MR_MAX]; i++)
		mr_next++;
	if (i == MR_MAX) {
		free(m);
		errno = ENOMEM;
		return NULL;
	}
	*m = (struct fake_mr){ .mr = { .context = &fake_context.context, .pd = pd, .addr = addr, .length = len },
	                       .access = access };
	m->mr.lkey = m->mr.rkey = (mr_next % MR_MAX) << 8 | KEY_TAG;
	mrs[mr_next++ % MR_MAX] = m;
	return m;
}

FAKE_EXPORT struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t len, int access)
{
	struct fake_mr *m;

	fake_lock();
	m = mr_make(pd, addr, len, access);
	fake_unlock();
	return m ? &m->mr : NULL;
}

FAKE_EXPORT struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t len, uint64_t iova,
                                            unsigned int access)
{
	if (iova != (uintptr_t)addr) {
		errno = EOPNOTSUPP;
		return NULL;
	}
	return ibv_reg_mr(pd, addr, len, (int)access);
}

FAKE_EXPORT struct ibv_mr *ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t len, uint64_t iova, int access)
{
	return ibv_reg_mr_iova2(pd, addr, len, iova, (unsigned int)access);
}

FAKE_EXPORT int ibv_dereg_mr(struct ibv_mr *mr)
{
	fake_lock();
	if (mrs[mr->lkey >> 8] != container_of(mr, struct fake_mr, mr))
		fake_fault("ibv_dereg_mr() of what is not registered");
	mrs[mr->lkey >> 8] = NULL;
	fake_unlock();
	free(container_of(mr, struct fake_mr, mr));
	return 0;
}

uint32_t fake_mr_add(void *addr, size_t len)
{
	struct fake_mr *m = mr_make(NULL, addr, len, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ |
	                            IBV_ACCESS_REMOTE_WRITE);

	if (!m)
		fake_fault("no memory to register the host's");
	return m->mr.rkey;
}

void *fake_mr_at(uint32_t key, uint64_t addr, uint32_t len, int access)
{
	const struct fake_mr *m = key >> 8 < MR_MAX ? mrs[key >> 8] : NULL;

	if (unlikely(!m || m->mr.lkey != key || (m->access & access) != access))
		return NULL;
	if (unlikely(addr < (uintptr_t)m->mr.addr || addr - (uintptr_t)m->mr.addr > m->mr.length ||
	             len > m->mr.length - (addr - (uintptr_t)m->mr.addr)))
		return NULL;
	return (void *)(uintptr_t)addr;
}

/* --- the context ------------------------------------------------------------------------------------------------ */

struct verbs_context fake_context = {
	.query_device_ex = query_device_ex,
	.query_port = query_port,
	.sz = sizeof(struct verbs_context),
	.context = {
		.device = &device,
		.ops = {
			.poll_cq = fake_cq_poll, .req_notify_cq = fake_cq_arm, .post_srq_recv = fake_post_srq_recv,
			.post_send = fake_post_send, .post_recv = fake_post_recv,
		},
		.cmd_fd = -1, .async_fd = -1, .num_comp_vectors = 1, .mutex = PTHREAD_MUTEX_INITIALIZER,
		.abi_compat = __VERBS_ABI_IS_EXTENDED,
	},
};
bool fake_copies = true;

static void begin(void)
{
	fake_context.context.async_fd = fake_eventfd();
}

void fake_begin(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, begin);
}

/* --- for people ------------------------------------------------------------------------------------------------- */

FAKE_EXPORT const char *ibv_wc_status_str(enum ibv_wc_status status)
{
	static const char *const text[] = {
		"success", "local length error", "local QP operation error", "local EE context error",
		"local protection error", "flushed", "memory window error", "bad response", "local access error",
		"remote invalid request", "remote access error", "remote operation error", "retries exceeded",
		"receiver not ready",
	};

	return (size_t)status < ARRAY_SIZE(text) ? text[status] : "other error";
}

FAKE_EXPORT const char *ibv_event_type_str(enum ibv_event_type type)
{
	return type == IBV_EVENT_QP_LAST_WQE_REACHED ? "last receive reached" :
	       type == IBV_EVENT_CQ_ERR ? "completion queue overrun" : "event";
}

FAKE_EXPORT const char *ibv_node_type_str(enum ibv_node_type type) { return "fake adapter"; }

FAKE_EXPORT const char *ibv_port_state_str(enum ibv_port_state state)
{
	return state == IBV_PORT_ACTIVE ? "active" : "not active";
}
