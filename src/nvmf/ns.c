/* SPDX-License-Identifier: BSD-3-Clause */
/* ns.c: a namespace: a served device (bdev/served.h) and its names. */
#include "nvmf/target.h"

static void device_event(struct bdev_desc *desc, enum bdev_event event, void *arg)
{
	struct nvmf_ns *ns = container_of((struct bdev_served *)arg, struct nvmf_ns, dev);

	if (event == BDEV_EVENT_REMOVE)
		nvmf_change_ns_gone(ns);
	else if (event == BDEV_EVENT_RESIZE)
		nvmf_change_ns_resized(ns);
}

static void over(struct bdev_served *s)
{
	struct nvmf_ns *ns = container_of(s, struct nvmf_ns, dev);

	ns->target->ns_alive--;
	ns->target->ns_going -= ns->dev.gone_told;
	free(ns);
}

static const struct bdev_served_ops served_ops = { .shown_as = "namespace", .param = "bdev_name",
	.knows_md = true, .event = device_event, .over = over };

struct nvmf_ns *nvmf_ns_open(struct nvmf_target *t, const char *nqn, const struct nvmf_ns_opts *opts, struct err *e)
{
	struct nvmf_ns *ns = bdev_served_zalloc(struct nvmf_ns, dev, t->core);

	if (bdev_served_open(&ns->dev, t->reg, opts->bdev_name, opts->read_only, "NVMe-oF target", &served_ops, e)) {
		free(ns);
		return NULL;
	}
	ns->target = t;
	t->ns_alive++;
	ns->nsid = opts->nsid;
	text_pad(ns->nqn, sizeof(ns->nqn) - 1, nqn, 0);
	ns->uuid = uuid_is_null(&opts->uuid) ? ns->dev.info.uuid : opts->uuid;
	atomic_store(&ns->protected, opts->write_protected);
	memcpy(ns->nguid, opts->nguid, sizeof(ns->nguid));
	memcpy(ns->eui64, opts->eui64, sizeof(ns->eui64));
	ns->has_nguid = opts->has_nguid;
	ns->has_eui64 = opts->has_eui64;
	if (!ns->has_nguid) { /* as SPDK: the UUID serves as NGUID, so that every host finds one that it understands */
		memcpy(ns->nguid, ns->uuid.b, sizeof(ns->nguid));
	}
	return ns;
}
