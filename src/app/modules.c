/* SPDX-License-Identifier: BSD-3-Clause */
/* modules.c: the modules of the daemon, in one list: started downwards, stopped upwards. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/app.h"
#include "app/systemd.h"
#include "backends/delay/delay_rpc.h"
#include "backends/error/error_rpc.h"
#include "backends/malloc/malloc_rpc.h"
#include "backends/null/null_rpc.h"
#include "backends/passthru/passthru_rpc.h"
#include "backends/split/split_rpc.h"
#include "base/text.h"
#include "bdev/bdev.h"
#include "bdev/bdev_device.h"
#include "fabric/key_text.h"
#include "iscsi/iscsi.h"
#include "iscsi/iscsi_rpc.h"
#include "keyring/keyring.h"
#include "keyring/keyring_rpc.h"
#include "load/load_rpc.h"
#include "mdns/mdns_rpc.h"
#include "nvme/nvme_rpc.h"
#include "nvme/rdma/rdma.h"
#include "nvmf/nvmf.h"
#include "nvmf/nvmf_rpc.h"
#include "scsi/scsi.h"
#include "scsi/scsi_rpc.h"
#include "verbs/verbs.h"
#include "vhost/vhost.h"
#include "vhost/vhost_rpc.h"

#define SOCKETS_DIR_MAX 92u /* a socket's path has 107 bytes */

struct app_module {
	const char *name;
	int (*start)(struct app *a, struct err *e);
	bool (*stop)(struct app *a); /* false: it will call modules_stop_next() when it is done */
};

static int rpc_start(struct app *a, struct err *e);
static bool rpc_stop(struct app *a);
static bool verbs_stop(struct app *a);
static int keyring_start(struct app *a, struct err *e);
static bool keyring_stop(struct app *a);
static int bdev_start(struct app *a, struct err *e);
static void device_came(struct bdev_arrival *arrival, struct bdev *b);
static bool bdev_stop(struct app *a);
static int nvme_start(struct app *a, struct err *e);
static bool nvme_stop(struct app *a);
static int remote_start(struct app *a, struct err *e);
static bool remote_module_stop(struct app *a);
static int virtio_start(struct app *a, struct err *e);
static bool virtio_module_stop(struct app *a);
static int nvmf_start(struct app *a, struct err *e);
static bool nvmf_stop(struct app *a);
static int scsi_start(struct app *a, struct err *e);
static bool scsi_module_stop(struct app *a);
static int iscsi_start(struct app *a, struct err *e);
static bool iscsi_stop(struct app *a);
static int vhost_start(struct app *a, struct err *e);
static bool vhost_module_stop(struct app *a);
static int mdns_start(struct app *a, struct err *e);
static bool mdns_stop(struct app *a);
static int ignored_start(struct app *a, struct err *e);
static bool state_stop(struct app *a);
static int server_start(struct app *a, struct err *e);
static bool server_stop(struct app *a);

static const struct app_module modules[] = {
	/* name          start           stop */
	{ "rpc",         rpc_start,      rpc_stop },
	{ "verbs",       NULL,           verbs_stop },
	{ "keyring",     keyring_start,  keyring_stop },
	{ "bdev",        bdev_start,     bdev_stop },
	{ "remote",      remote_start,   remote_module_stop },
	{ "virtio",      virtio_start,   virtio_module_stop },
	{ "nvme",        nvme_start,     nvme_stop },
	{ "nvmf",        nvmf_start,     nvmf_stop },
	{ "scsi",        scsi_start,     scsi_module_stop },
	{ "iscsi",       iscsi_start,    iscsi_stop },
	{ "vhost",       vhost_start,    vhost_module_stop },
	{ "mdns",        mdns_start,     mdns_stop },
	{ "eyes",        eyes_start,     eyes_stop },
	{ "ignored",     ignored_start,  NULL },
	{ "state",       NULL,           state_stop },
	{ "server",      server_start,   server_stop },
};

int modules_start(struct app *a, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		uint64_t began_ns = core_clock_ns();
		int rc = modules[i].start ? modules[i].start(a, e) : 0;

		if (rc)
			return rc;
		a->started = (uint32_t)i + 1;
		log_info("gantryd: %s started in %u us", modules[i].name,
		         (unsigned)((core_clock_ns() - began_ns) / NS_PER_US));
	}
	return 0;
}

void modules_stop_next(struct app *a)
{
	while (a->started) {
		const struct app_module *m = &modules[--a->started];

		log_info("gantryd: stopping %s", m->name);
		if (m->stop && !m->stop(a))
			return;
	}
	core_stop(a->core, a->status);
}

/* --- verbs: whoever used RDMA has put it back; it ends before the reactors do ------------------------------- */

static void verbs_over(void *arg) { modules_stop_next(arg); }
static bool verbs_stop(struct app *a) { return verbs_is_over(a->core, verbs_over, a); }

/* --- rpc: methods; the daemon's own ------------------------------------------------------------------------- */

static int rpc_start(struct app *a, struct err *e)
{
	a->rpc = rpc_make(a->core);
	a->core_methods = rpc_add_core_methods(a->rpc, &a->host);
	return 0;
}

static bool rpc_stop(struct app *a)
{
	rpc_core_methods_free(a->core_methods);
	rpc_free(a->rpc);
	return true;
}

/* --- keyring: secrets by name ---------------------------------------------------------------------------------- */

_Static_assert(FABRIC_KEY_TEXT_MAX <= KEYRING_TEXT_MAX, "a new key's text fits");

static int make_key(const char *kind, const char *hash, char text[], struct err *e)
{
	return fabric_key_make(kind, hash, text, e);
}

static int keyring_start(struct app *a, struct err *e)
{
	struct keyring_maker maker = { .make = make_key };

	a->keyring = keyring_make();
	if (a->options->state_dir) {
		char *dir = realpath(a->options->state_dir, NULL); /* the state has made it */

		if (!dir)
			return err_set(e, -errno, "--state-dir: '%s': %s", a->options->state_dir, strerror(errno));
		must(asprintf(&a->key_dir, "%s/keys", dir) > 0);
		free(dir);
		maker.dir = a->key_dir;
	}
	a->keyring_rpc = keyring_rpc_add(a->rpc, a->keyring, &maker);
	return 0;
}

static bool keyring_stop(struct app *a)
{
	keyring_rpc_free(a->keyring_rpc);
	free(a->key_dir);
	keyring_free(a->keyring);
	return true;
}

/* --- bdev: disks --------------------------------------------------------------------------------------------- */

static int bdev_start(struct app *a, struct err *e)
{
	a->bdevs = bdev_registry_make(a->core);
	bdev_arrival_add(a->bdevs, &a->arrival, device_came);
	a->bdev_rpc = bdev_rpc_make(a->rpc, a->bdevs);
	a->load = load_rpc_make(a->rpc, a->bdevs);
	malloc_rpc_add(a->bdev_rpc, &a->malloc_kind);
	null_rpc_add(a->bdev_rpc, &a->null_kind);
	passthru_rpc_add(a->bdev_rpc, &a->passthru_kind);
	split_rpc_add(a->bdev_rpc, &a->split_kind);
	delay_rpc_add(a->bdev_rpc, &a->delay_kind);
	error_rpc_add(a->bdev_rpc, &a->error_kind);
	aio_rpc_init(&a->aio, a->bdev_rpc);
	uring_rpc_init(&a->uring, a->bdev_rpc);
	gpt_rpc_init(&a->gpt, a->bdev_rpc);
	raid_rpc_add(&a->raid, a->bdev_rpc);
	powercut_rpc_add(&a->powercut, a->bdev_rpc);
	return 0;
}

/* --- remote: disks of remote targets ---------------------------------------------------------------------------- */

static int remote_start(struct app *a, struct err *e)
{
	remote_rpc_init(&a->remote, a->bdev_rpc);
	remote_rpc_set_keyring(&a->remote, a->keyring);
	nvme_rdma_add(remote_rpc_host(&a->remote));
	return 0;
}

static void remote_gone(void *arg)
{
	modules_stop_next(arg);
}

static bool remote_module_stop(struct app *a)
{
	remote_rpc_stop(&a->remote, remote_gone, a);
	return false;
}

/* --- virtio: disks of vhost-user servers ------------------------------------------------------------------------ */

static int virtio_start(struct app *a, struct err *e)
{
	virtio_rpc_init(&a->virtio, a->bdev_rpc);
	return 0;
}

static void virtio_gone(void *arg)
{
	modules_stop_next(arg);
}

static bool virtio_module_stop(struct app *a)
{
	virtio_rpc_stop(&a->virtio, virtio_gone, a);
	return false;
}

/* What waits for a device is tried when one of that name comes. */
static void device_came(struct bdev_arrival *arrival, struct bdev *b)
{
	struct app *a = container_of(arrival, struct app, arrival);
	char uuid[UUID_TEXT_MAX];

	uuid_to_text(&b->uuid, uuid);
	rpc_state_arrived(a->rpc, b->name, uuid);
	for (uint32_t i = 0; i < BDEV_ALIASES_MAX; i++)
		if (b->aliases[i][0])
			rpc_state_arrived(a->rpc, b->aliases[i], uuid);
}

static void bdev_went(struct msg *m)
{
	modules_stop_next(container_of(m, struct app, bdev_went));
}

/* Later: whoever closed it last, a device that stood on it perhaps, is still about it. */
static void bdev_gone(void *arg, int rc)
{
	struct app *a = arg;

	(void)rc;
	msg_send(reactor_self(), &a->bdev_went, bdev_went);
}

/* One disk at a time: each waits for its users, who are gone by now. */
static bool bdev_stop(struct app *a)
{
	struct bdev *b = bdev_first(a->bdevs);

	if (a->resv_opening) {
		a->resv_stop_waits = true;
		a->started++;
		return false;
	}
	if (b) {
		a->started++; /* this module again */
		bdev_unregister(b, bdev_gone, a);
		return false;
	}
	load_rpc_free(a->load);
	gpt_rpc_fini(&a->gpt);
	uring_rpc_fini(&a->uring);
	aio_rpc_fini(&a->aio);
	virtio_rpc_fini(&a->virtio);
	remote_rpc_fini(&a->remote);
	bdev_arrival_remove(&a->arrival);
	bdev_rpc_free(a->bdev_rpc);
	bdev_registry_free(a->bdevs);
	return true;
}

/* --- nvme: looking at remote subsystems ----------------------------------------------------------------------- */

static int nvme_start(struct app *a, struct err *e)
{
	a->nvme = nvme_rpc_make(a->rpc, a->core);
	nvme_rdma_add(nvme_rpc_host(a->nvme));
	return 0;
}

static void nvme_gone(void *arg)
{
	struct app *a = arg;

	nvme_rpc_free(a->nvme);
	modules_stop_next(a);
}

static bool nvme_stop(struct app *a)
{
	nvme_rpc_stop(a->nvme, nvme_gone, a);
	return false;
}

/* --- nvmf: subsystems and transports --------------------------------------------------------------------------- */

static int nvmf_start(struct app *a, struct err *e)
{
	a->nvmf = nvmf_target_make(a->core, a->bdevs);
	nvmf_offer_transport(a->nvmf, &nvmf_rdma_ops);
	nvmf_set_keyring(a->nvmf, a->keyring);
	nvmf_rpc_add(a->rpc, a->nvmf);
	return 0;
}

static void nvmf_gone(void *arg)
{
	modules_stop_next(arg);
}

static bool nvmf_stop(struct app *a)
{
	nvmf_target_stop(a->nvmf, nvmf_gone, a);
	return false;
}

/* --- mdns: discovery services by multicast DNS ------------------------------------------------------------------ */

static int mdns_start(struct app *a, struct err *e)
{
	a->mdns = mdns_rpc_make(a->rpc, a->core, a->nvmf);
	return 0;
}

static bool mdns_stop(struct app *a)
{
	mdns_rpc_free(a->mdns);
	return true;
}

/* --- scsi: what transports of SCSI stand on ------------------------------------------------------------------- */

static int scsi_start(struct app *a, struct err *e)
{
	a->scsi = scsi_make(a->core, a->bdevs);
	scsi_rpc_add(a->rpc, a->scsi);
	return 0;
}

static void scsi_gone(void *arg)
{
	struct app *a = arg;

	scsi_free(a->scsi);
	modules_stop_next(a);
}

static bool scsi_module_stop(struct app *a)
{
	scsi_stop(a->scsi, scsi_gone, a);
	return false;
}

/* --- iscsi: target nodes and their portals ---------------------------------------------------------------------- */

static int iscsi_start(struct app *a, struct err *e)
{
	a->iscsi = iscsi_target_make(a->core, a->bdevs, a->scsi);
	iscsi_rpc_add(a->rpc, a->iscsi);
	return 0;
}

static void iscsi_gone(void *arg)
{
	modules_stop_next(arg);
}

static bool iscsi_stop(struct app *a)
{
	iscsi_target_stop(a->iscsi, iscsi_gone, a);
	return false;
}

/* --- vhost: disks of virtual machines ---------------------------------------------------------------------------- */

static int find_group(const char *text, uint32_t *ret_gid, struct err *e)
{
	const struct group *g = getgrnam(text);
	uint64_t number;

	if (g)
		*ret_gid = g->gr_gid;
	else if (!text_parse_u64(text, &number, NULL) && number < UINT32_MAX)
		*ret_gid = (uint32_t)number;
	else
		return err_set(e, -ENOENT, "--vhost-group: there is no group '%s'; getent group lists those that exist", text);
	return 0;
}

/* As others have to name it, wherever they run; as it is where that would leave no room for the sockets' names. */
static char *absolute(const char *dir)
{
	char *here = *dir == '/' ? NULL : getcwd(NULL, 0), path[SOCKETS_DIR_MAX];
	struct text t = text_over(path, sizeof(path));

	text_add(&t, "%s%s%s", here ? here : "", here && *dir ? "/" : "", dir);
	free(here);
	return base_strdup(t.cut ? dir : path);
}

/* Said at start, not when the first controller is made. */
static int check_sockets_dir(const char *dir, struct err *e)
{
	struct stat st;

	if (stat(dir, &st))
		return err_set(e, -errno, "--vhost-path: %s: %s; make that directory first, or name another", dir,
		               strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "--vhost-path: %s is not a directory; name the one for the sockets", dir);
	if (access(dir, W_OK | X_OK))
		return err_set(e, -errno, "--vhost-path: no socket can be made in %s: %s; let the daemon's user write there or "
		               "name another directory", dir, strerror(errno));
	return 0;
}

static int vhost_start(struct app *a, struct err *e)
{
	const char *group = a->options->vhost_group, *given = a->options->vhost_dir;
	char *dir;
	uint32_t gid = 0;

	if ((group && find_group(group, &gid, e)) || (given && *given && check_sockets_dir(given, e)))
		return e->code;
	dir = absolute(given ? given : "");
	a->vhost = vhost_make(a->core, a->bdevs, dir);
	free(dir);
	if (group)
		vhost_set_group(a->vhost, gid);
	vhost_set_scsi(a->vhost, a->scsi);
	vhost_rpc_add(a->rpc, a->vhost);
	return 0;
}

static void vhost_gone(void *arg)
{
	modules_stop_next(arg);
}

static bool vhost_module_stop(struct app *a)
{
	vhost_stop(a->vhost, vhost_gone, a);
	return false;
}

/* --- after all methods: those of SPDK's that nobody has given a meaning --------------------------------------- */

static int nvmf_start(struct app *a, struct err *e);
static bool nvmf_stop(struct app *a);
static int ignored_start(struct app *a, struct err *e)
{
	rpc_add_ignored_methods(a->rpc);
	return 0;
}

/* --- state: read when all methods are there; its last write is waited for -------------------------------------- */

static void state_closed(void *arg)
{
	modules_stop_next(arg);
}

static bool state_stop(struct app *a)
{
	rpc_state_close(a->rpc, state_closed, a);
	return false;
}

/* --- server: last, so that who is answered finds everything; and stopped first --------------------------------- */

static int server_start(struct app *a, struct err *e)
{
	int fd = systemd_rpc_socket();

	a->rpc_at = fd >= 0 ? "the service manager's socket" : a->options->socket;
	if (fd >= 0)
		a->server = rpc_server_adopt(a->rpc, fd, e);
	else if (a->options->socket)
		a->server = rpc_server_open(a->rpc, a->options->socket, e);
	return e->code;
}

static void drained(void *arg)
{
	struct app *a = arg;

	rpc_server_close(a->server);
	modules_stop_next(a);
}

static bool server_stop(struct app *a)
{
	rpc_drain(a->rpc, drained, a); /* while the server can still send the answers */
	return false;
}
