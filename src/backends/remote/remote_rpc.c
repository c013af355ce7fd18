/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_rpc.c: the methods of the remote back-end, put together; what several of them use. */
#include "backends/remote/remote_rpc_priv.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "rpc/state.h"

static const char *const families[] = { [NET_IPV4] = "IPv4", [NET_IPV6] = "IPv6" };

void remote_json_trid(struct json_object *o, const struct nvme_path *where, bool with_nqn)
{
	json_add_text(o, "trtype", where->trtype);
	if (where->adrfam == NET_IPV4 || where->adrfam == NET_IPV6)
		json_add_text(o, "adrfam", families[where->adrfam]);
	json_add_text(o, "traddr", where->traddr);
	if (where->trsvcid[0])
		json_add_text(o, "trsvcid", where->trsvcid);
	if (with_nqn && where->subnqn[0])
		json_add_text(o, "subnqn", where->subnqn);
}

static int copy_text(const char *name, const char *from, char *to, size_t size, struct err *e)
{
	if (!from)
		return 0;
	if (strlen(from) >= size)
		return err_set(e, ERR_BAD_PARAM, "%s: '%.40s...' is longer than %zu characters", name, from, size - 1);
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

static int family_from(const char *text, enum net_family *ret_family, struct err *e)
{
	if (!text)
		return 0;
	if (strcasecmp(text, "ipv4") != 0 && strcasecmp(text, "ipv6") != 0)
		return err_set(e, ERR_BAD_PARAM, "adrfam: '%s' is none that is there; ipv4 and ipv6 are", text);
	*ret_family = strcasecmp(text, "ipv6") == 0 ? NET_IPV6 : NET_IPV4;
	return 0;
}

int remote_where_from(const struct remote_trid_args *a, struct nvme_path *ret_where, struct err *e)
{
	struct nvme_path w = { .adrfam = NET_ANY };

	bool rdma = a->trtype && strcasecmp(a->trtype, "rdma") == 0;

	if (a->trtype && strcasecmp(a->trtype, "tcp") != 0 && !rdma)
		return err_set(e, -ENOTSUP, "trtype: '%s' is not there; TCP and RDMA are", a->trtype);
	if (a->trtype)
		snprintf(w.trtype, sizeof(w.trtype), rdma ? "RDMA" : "TCP");
	if (family_from(a->adrfam, &w.adrfam, e) != 0 || copy_text("traddr", a->traddr, w.traddr, sizeof(w.traddr),
	                                                           e) != 0 ||
	    copy_text("trsvcid", a->trsvcid, w.trsvcid, sizeof(w.trsvcid), e) != 0 ||
	    copy_text("subnqn", a->subnqn, w.subnqn, sizeof(w.subnqn), e) != 0 ||
	    copy_text("hostnqn", a->hostnqn, w.hostnqn, sizeof(w.hostnqn), e) != 0 ||
	    copy_text("hostaddr", a->hostaddr, w.hostaddr, sizeof(w.hostaddr), e) != 0 ||
	    copy_text("hostsvcid", a->hostsvcid, w.hostsvcid, sizeof(w.hostsvcid), e) != 0)
		return e->code;
	*ret_where = w;
	return 0;
}

struct remote_group *remote_rpc_group(struct rpc_call *call, const char *name)
{
	struct remote_rpc *rr = rpc_ctx(call);
	struct remote_group *g = remote_group_find(rr->remote, name);

	if (!g)
		rpc_reply_error(call, -ENODEV, "name: there is no NVMe controller '%s'; bdev_nvme_get_controllers "
		                "lists them",
		                name);
	return g;
}

struct remote_disk *remote_rpc_disk(struct rpc_call *call, const char *param, const char *name)
{
	struct remote_rpc *rr = rpc_ctx(call);
	struct bdev *b = bdev_find(bdev_rpc_registry(rr->br), name);
	struct remote_disk *d = b ? remote_disk_of(b) : NULL;

	if (!b)
		rpc_reply_error(call, -ENODEV, "%s: there is no block device '%s'; bdev_get_bdevs lists those there are",
		                param, name);
	else if (!d)
		rpc_reply_error(call, -EINVAL, "%s: '%s' is a %s, not a disk of an NVMe controller", param, name,
		                b->product);
	return d;
}

/* --- what bdev_get_bdevs shows --------------------------------------------------------------------------------- */

static void add_namespace(struct json_object *o, const struct remote_disk *d, const struct remote_path *p)
{
	const struct nvme_ctrlr_info *info = nvme_ctrlr_info(p->ctrlr);
	struct json_object *c, *oacs, *vs, *ns;
	char text[64];

	remote_json_trid(json_add_object(o, "trid"), &p->where, true);
	c = json_add_object(o, "ctrlr_data");
	json_add_u64(c, "cntlid", info->cntlid);
	snprintf(text, sizeof(text), "0x%04x", info->vid);
	json_add_text(c, "vendor_id", text);
	json_add_text(c, "model_number", info->model);
	json_add_text(c, "serial_number", info->serial);
	json_add_text(c, "firmware_revision", info->firmware);
	json_add_text(c, "subnqn", info->subnqn);
	oacs = json_add_object(c, "oacs");
	json_add_u64(oacs, "security", info->oacs & 1);
	json_add_u64(oacs, "format", info->oacs >> 1 & 1);
	json_add_u64(oacs, "firmware", info->oacs / NVME_OACS_FIRMWARE & 1);
	json_add_u64(oacs, "ns_manage", info->oacs >> 3 & 1);
	json_add_bool(c, "multi_ctrlr", info->cmic & NVME_CMIC_MULTI_CTRL);
	json_add_bool(c, "ana_reporting", info->cmic & NVME_CMIC_ANA);
	vs = json_add_object(o, "vs");
	if (info->version & 0xff)
		snprintf(text, sizeof(text), "%u.%u.%u", info->version >> 16, info->version >> 8 & 0xff,
		         info->version & 0xff);
	else
		snprintf(text, sizeof(text), "%u.%u", info->version >> 16, info->version >> 8 & 0xff);
	json_add_text(vs, "nvme_version", text);
	ns = json_add_object(o, "ns_data");
	json_add_u64(ns, "id", d->nsid);
	if (info->cmic & NVME_CMIC_ANA)
		json_add_text(ns, "ana_state", remote_ana_name(d->ns[p->index].ana_state));
	json_add_bool(ns, "can_share", d->info.nmic & 1);
	/* As the target tells them, in blocks; not at all where it does not. */
	if (d->info.write_granularity_blocks > 1)
		json_add_u64(ns, "preferred_write_granularity", d->info.write_granularity_blocks);
	if (d->info.write_alignment_blocks > 1)
		json_add_u64(ns, "preferred_write_alignment", d->info.write_alignment_blocks);
	if (d->info.optimal_write_blocks)
		json_add_u64(ns, "optimal_write_size", d->info.optimal_write_blocks);
	if (d->info.io_boundary_blocks)
		json_add_u64(ns, "optimal_io_boundary", d->info.io_boundary_blocks);
}

static void driver_specific(const struct bdev *b, struct json_object *driver)
{
	const struct remote_disk *d = container_of(b, const struct remote_disk, bdev);
	struct json_object *list = json_add_array(driver, "nvme");

	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		const struct remote_path *p = d->group->paths[i];

		if (p && p->state == REMOTE_PATH_UP && d->ns[i].present)
			add_namespace(json_append_object(list), d, p);
	}
	if (d->policy == REMOTE_ACTIVE_ACTIVE && d->selector == REMOTE_ROUND_ROBIN)
		json_add_u64(driver, "rr_min_io", d->rr_min_io);
}

/* --- all ----------------------------------------------------------------------------------------------------- */

static void save(void *ctx, struct json_object *array)
{
	remote_opts_rpc_save(ctx, array);
	remote_attach_rpc_save(ctx, array);
	remote_paths_rpc_save(ctx, array);
	remote_discovery_rpc_save(ctx, array);
}

/* What was removed after ctrlr_loss_timeout_sec is not to come back after a restart. */
static void forgot(void *arg)
{
	struct remote_rpc *rr = arg;

	rpc_state_changed(bdev_rpc_of(rr->br));
}

void remote_rpc_set_keyring(struct remote_rpc *rr, struct keyring *k)
{
	rr->remote->keyring = k;
}

void remote_rpc_init(struct remote_rpc *rr, struct bdev_rpc *br)
{
	rr->br = br;
	rr->remote = remote_make(bdev_rpc_registry(br));
	rr->remote->forgot = forgot;
	rr->remote->forgot_arg = rr;
	rr->kind = (struct bdev_rpc_kind){ .product = remote_product, .driver_specific = driver_specific };
	bdev_rpc_add_kind(br, &rr->kind);
	rr->saver = (struct bdev_rpc_saver){ .save = save, .ctx = rr };
	bdev_rpc_add_saver(br, &rr->saver);
	remote_opts_rpc_add(rr);
	remote_attach_rpc_add(rr);
	remote_keys_rpc_add(rr);
	remote_show_rpc_add(rr);
	remote_paths_rpc_add(rr);
	remote_admin_rpc_add(rr);
	remote_firmware_rpc_add(rr);
	remote_discovery_rpc_add(rr);
}

void remote_rpc_stop(struct remote_rpc *rr, void (*done)(void *arg), void *arg)
{
	remote_stop(rr->remote, done, arg);
}

struct nvme_host *remote_rpc_host(struct remote_rpc *rr)
{
	return rr->remote->host;
}

void remote_rpc_fini(struct remote_rpc *rr)
{
	remote_opts_rpc_free(rr);
	remote_free(rr->remote);
	rr->remote = NULL;
}
