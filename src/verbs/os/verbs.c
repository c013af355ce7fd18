/* SPDX-License-Identifier: BSD-3-Clause */
/* verbs.c: which RDMA adapters this system has, and which come and go.
 *
 * Looking opens adapters that are new, which may take long: a job does it. The kernel says on a socket when to look
 * again. rdma-core notices that an adapter has gone only when it is asked for a list in which there is another one, so
 * the word of the kernel counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/log.h"
#include "verbs/os/os.h"

#define RETRY_NS NS_PER_S  /* the file of a new adapter may not be ours to open at once */
#define RETRIES_MAX 5u
#define UEVENT_MAX 4096u

static int check_system(struct err *e);
static int open_channel(struct os_verbs *o, struct err *e);
static void open_uevents(struct os_verbs *o);
static struct ibv_device **known_devices(const struct verbs *v);
static void look_work(struct job *j);
static void look_done(struct job *j);
static void looked(struct os_verbs *o);
static void take_found(struct os_verbs *o);
static void lose_missing(struct os_verbs *o);
static void tell_of_shut(struct os_verbs *o);
static void look_again_later(struct os_verbs *o);
static void on_retry(struct timer *t);
static void on_uevent(struct source *s, uint32_t events);
static void take_uevent(struct os_verbs *o, const char *text);

int platform_verbs_open(struct verbs *v, struct err *e)
{
	struct os_verbs *o;
	int rc = check_system(e);

	if (rc)
		return rc;
	o = base_zalloc(sizeof(*o));
	o->v = v;
	list_init(&o->strangers);
	o->uevents.fd = -1;
	rc = open_channel(o, e);
	if (rc) {
		free(o);
		return rc;
	}
	open_uevents(o);
	v->os = o;
	os_look_for_devs(o);
	return 0;
}

static int check_system(struct err *e)
{
	struct ibv_device **list;
	int count = 0;

	list = ibv_get_device_list(&count);
	if (list)
		ibv_free_device_list(list);
	if (list && count)
		return 0;
	return err_set(e, -ENODEV, "this system has no RDMA adapter: none is plugged in, or its driver or module "
	               "ib_uverbs is not loaded (\"rdma link\" lists them; \"rdma link add rxe0 type rxe netdev eth0\" "
	               "makes one of a network card)");
}

static int open_channel(struct os_verbs *o, struct err *e)
{
	int rc;

	o->channel = rdma_create_event_channel();
	if (!o->channel)
		return err_set(e, -ENODEV, "RDMA's connection manager, /dev/infiniband/rdma_cm, cannot be opened: %s; load "
		               "the module rdma_ucm, or let this user open that file", strerror(errno));
	rc = fcntl(o->channel->fd, F_SETFL, fcntl(o->channel->fd, F_GETFL) | O_NONBLOCK) ? -errno : 0;
	if (!rc)
		rc = source_start(&o->events, o->channel->fd, EPOLLIN, "rdma connection events", os_on_cm_events);
	if (!rc)
		return 0;
	rdma_destroy_event_channel(o->channel);
	return err_set(e, rc, "RDMA's connection manager cannot be watched: %s", strerror(-rc));
}

/* Without it adapters that are there stay: no reason to do without RDMA. */
static void open_uevents(struct os_verbs *o)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (fd >= 0 && !bind(fd, (struct sockaddr *)&addr, sizeof(addr)) &&
	    !source_start(&o->uevents, fd, EPOLLIN, "rdma adapters", on_uevent))
		return;
	log_notice("RDMA: adapters that come later will not be noticed: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	o->uevents.fd = -1;
}

void platform_verbs_close(struct verbs *v)
{
	struct os_verbs *o = v->os;

	list_each(l, &v->devs)
		os_dev_stop(os_dev(list_entry(l, struct verbs_dev, link)));
	timer_stop(&o->retry);
	timer_stop(&o->relisten);
	source_stop(&o->events);
	rdma_destroy_event_channel(o->channel);
	if (o->uevents.fd >= 0) {
		source_stop(&o->uevents);
		close(o->uevents.fd);
	}
	o->core = v->core;
	o->v = NULL;
	if (o->looking)
		verbs_end_begins(o->core);
	else
		free(o);
}

/* --- looking -------------------------------------------------------------------------------------- */

void os_look_for_devs(struct os_verbs *o)
{
	timer_stop(&o->retry);
	if (o->looking) {
		o->again = true;
		return;
	}
	o->looking = true;
	o->known = known_devices(o->v);
	job_start(&o->job, look_work, look_done);
}

static struct ibv_device **known_devices(const struct verbs *v)
{
	struct ibv_device **known;
	uint32_t count = 0;

	list_each(l, &v->devs)
		count++;
	known = base_zalloc((count + 1) * sizeof(struct ibv_device *));
	count = 0;
	list_each(l, &v->devs)
		known[count++] = os_dev(list_entry(l, struct verbs_dev, link))->ctx->device;
	return known;
}

static bool is_known(const struct os_verbs *o, const struct ibv_device *d)
{
	for (uint32_t i = 0; o->known[i]; i++)
		if (o->known[i] == d)
			return true;
	return false;
}

/* rdma_get_devices() opens whatever there is, and what it could not open once it leaves out for as long as the process
 * lives. False: it would have none that is new, but such: their files may be ours in a moment. */
static bool try_new(struct os_verbs *o)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	size_t used = 0;
	bool opened = false;

	o->shut[0] = '\0';
	for (uint32_t i = 0; list && list[i]; i++) {
		struct ibv_context *ctx;

		if (is_known(o, list[i]))
			continue;
		errno = 0;
		ctx = ibv_open_device(list[i]);
		opened |= ctx != NULL;
		if (ctx) {
			ibv_close_device(ctx);
			continue;
		}
		o->shut_rc = errno ? -errno : -EIO;
		used += (size_t)snprintf(o->shut + used, sizeof(o->shut) - used, "%s%s", used ? ", " : "",
		                         ibv_get_device_name(list[i]));
		used = min_u64(used, sizeof(o->shut) - 1);
	}
	if (list)
		ibv_free_device_list(list);
	return opened || !o->shut[0];
}

/* rdma_get_devices() says ENODEV whatever went wrong: no descriptor is left, say. Adapters must not be taken for lost
 * then, with all their connections. */
static int none_is_there(void)
{
	struct ibv_device **list;
	int count = 0, rc;

	errno = 0;
	list = ibv_get_device_list(&count);
	if (!list)
		return errno && errno != ENODEV ? -errno : -EIO;
	rc = count ? -EIO : -ENODEV;
	ibv_free_device_list(list);
	return rc;
}

static void look_work(struct job *j)
{
	struct os_verbs *o = container_of(j, struct os_verbs, job);

	o->found = NULL;
	if (!try_new(o)) {
		o->rc = o->shut_rc;
		return;
	}
	errno = 0;
	o->found = rdma_get_devices(NULL);
	o->rc = o->found ? 0 : errno ? -errno : -EIO;
	if (o->rc == -ENODEV)
		o->rc = none_is_there();
}

static void look_done(struct job *j)
{
	struct os_verbs *o = container_of(j, struct os_verbs, job);
	struct core *core;
	struct verbs *v;

	o->looking = false;
	free(o->known);
	o->known = NULL;
	if (!o->v) {
		if (o->found)
			rdma_free_devices(o->found);
		core = o->core;
		free(o);
		verbs_end_is_over(core);
		return;
	}
	v = o->v;
	v->users++; /* who is told may be the last to have it */
	looked(o);
	verbs_put(v);
}

static void looked(struct os_verbs *o)
{
	lose_missing(o);
	if (o->found) {
		take_found(o);
		tell_of_shut(o);
	} else if (o->rc != -ENODEV) {
		look_again_later(o);
	}
	if (!o->again) {
		os_conns_look_again(o);
		return;
	}
	o->again = false;
	os_look_for_devs(o);
}

/* A list holds the adapters that are in it. New ones are taken out of it. */
static void take_found(struct os_verbs *o)
{
	struct ibv_context **list = o->found;
	uint32_t left = 0;

	o->found = NULL;
	o->retries = 0;
	for (uint32_t i = 0; list[i]; i++)
		if (os_find_dev(o->v, list[i]) || os_dev_open(o->v, list[i]))
			list[left++] = list[i];
	list[left] = NULL;
	rdma_free_devices(list);
	o->relisten_ns = 0;
	os_listen_again(o);
}

static bool was_found(const struct os_verbs *o, const struct ibv_context *ctx)
{
	for (uint32_t i = 0; o->found && o->found[i]; i++)
		if (o->found[i] == ctx)
			return true;
	return false;
}

static void lose_missing(struct os_verbs *o)
{
	if (o->rc && o->rc != -ENODEV)
		return; /* it says nothing */
	list_each_safe(l, &o->v->devs) {
		struct os_dev *d = os_dev(list_entry(l, struct verbs_dev, link));

		if (!d->dev.lost && !was_found(o, d->ctx))
			verbs_dev_lost(&d->dev);
	}
}

/* Once: they do not become others by themselves. */
static void tell_of_shut(struct os_verbs *o)
{
	if (o->shut[0] && strcmp(o->shut, o->told))
		log_warning("RDMA: adapter %s cannot be opened: %s; others are used. If this user may open its file in "
		            "/dev/infiniband from now on, start gantryd again", o->shut, strerror(-o->shut_rc));
	memcpy(o->told, o->shut, sizeof(o->told));
}

static void look_again_later(struct os_verbs *o)
{
	if (o->retries++ < RETRIES_MAX) {
		timer_start(&o->retry, RETRY_NS, on_retry);
		return;
	}
	log_warning("RDMA: adapters cannot be opened: %s; may this user open /dev/infiniband/uverbs*?", strerror(-o->rc));
	o->retries = 0;
}

static void on_retry(struct timer *t)
{
	os_look_for_devs(container_of(t, struct os_verbs, retry));
}

struct os_dev *os_find_dev(const struct verbs *v, const struct ibv_context *ctx)
{
	list_each(l, &v->devs) {
		struct os_dev *d = os_dev(list_entry(l, struct verbs_dev, link));

		if (d->ctx == ctx && !d->dev.lost)
			return d;
	}
	return NULL;
}

/* --- what the kernel says ------------------------------------------------------------------------- */

static void on_uevent(struct source *s, uint32_t events)
{
	struct os_verbs *o = container_of(s, struct os_verbs, uevents);
	struct verbs *v = o->v;
	char text[UEVENT_MAX];
	ssize_t len;

	v->users++; /* as above */
	while ((len = recv(s->fd, text, sizeof(text) - 1, 0)) > 0) {
		text[len] = '\0';
		take_uevent(o, text);
	}
	if (len < 0 && errno == ENOBUFS) /* some were lost */
		os_look_for_devs(o);
	verbs_put(v);
}

/* "add@/devices/virtual/infiniband_verbs/uverbs0", and more that we do not need. */
static void take_uevent(struct os_verbs *o, const char *text)
{
	const char *name = strrchr(text, '/');

	if (!strstr(text, "/infiniband_verbs/") || !name)
		return;
	if (!strncmp(text, "add@", 4)) {
		os_look_for_devs(o);
		return;
	}
	if (strncmp(text, "remove@", 7))
		return;
	list_each_safe(l, &o->v->devs) {
		struct os_dev *d = os_dev(list_entry(l, struct verbs_dev, link));

		if (!d->dev.lost && !strcmp(d->ctx->device->dev_name, name + 1))
			verbs_dev_lost(&d->dev);
	}
}
