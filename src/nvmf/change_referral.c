/* SPDX-License-Identifier: BSD-3-Clause */
/* change_referral.c: changes of the referrals to other discovery services. */
#include "nvmf/change.h"

static int check_referral(const struct nvmf_work *w, struct err *e)
{
	const struct nvmf_referral_opts *o = &w->referral;

	if (nvmf_check_nqn("subnqn", w->nqn, false, e))
		return e->code;
	if (o->all_hosts && o->host_count)
		return err_set(e, ERR_BAD_PARAM, "hosts: every host is told of it; give allow_any_host false, too");
	if (o->host_count > NVMF_HOSTS_MAX)
		return err_set(e, ERR_BAD_PARAM, "hosts: there are more than %u", NVMF_HOSTS_MAX);
	for (uint32_t i = 0; i < o->host_count; i++)
		if (nvmf_check_nqn("hosts", o->hosts[i], false, e))
			return e->code;
	return 0;
}

static struct nvmf_referral referral_of(const struct nvmf_work *w)
{
	struct nvmf_referral r = { .trtype = w->referral.trtype, .addr = w->referral.addr,
		.secure_channel = w->referral.secure_channel };

	nvmf_work_text(r.subnqn, sizeof(r.subnqn), w->nqn);
	return r;
}

static int build_add_referral(struct nvmf_work *w, struct err *e)
{
	struct nvmf_referral r = referral_of(w);

	if (check_referral(w, e))
		return e->code;
	if (nvmf_config_referral_at(w->next, &r) >= 0)
		return 0; /* as SPDK: there already is as good as added */
	if (w->next->referrals && w->next->referrals->count == NVMF_REFERRALS_MAX)
		return err_set(e, -ENOSPC, "address: there are %u referrals already, which is the most there can be",
		               NVMF_REFERRALS_MAX);
	if (!w->referral.all_hosts)
		r.hosts = nvmf_hosts_make(w->referral.hosts, w->referral.host_count);
	nvmf_config_add_referral(w->next, &r);
	w->next->genctr++;
	return 0;
}

static int build_remove_referral(struct nvmf_work *w, struct err *e)
{
	const struct nvmf_referral r = referral_of(w);
	int at = nvmf_config_referral_at(w->next, &r);
	char text[NET_ADDR_TEXT_MAX];

	if (at < 0)
		return err_set(e, -ENOENT, "address: there is no referral to '%s' at %s; nvmf_discovery_get_referrals lists "
		               "those that exist", w->nqn, net_addr_text(&r.addr, text));
	nvmf_config_remove_referral(w->next, (uint32_t)at);
	w->next->genctr++;
	return 0;
}

static void referral_work(struct nvmf_change *c, const char *name, const struct nvmf_referral_opts *opts,
                          int (*build)(struct nvmf_work *w, struct err *e))
{
	struct nvmf_work *w = nvmf_work_make(c, name, nvmf_tell_steps, NVMF_TELL_STEPS);

	nvmf_work_text(w->nqn, sizeof(w->nqn), opts->subnqn ? opts->subnqn : NVMF_DISCOVERY_NQN);
	w->referral = *opts;
	w->build = build;
	nvmf_work_start(w);
}

void nvmf_add_referral(struct nvmf_change *c, const struct nvmf_referral_opts *opts)
{
	referral_work(c, "add referral", opts, build_add_referral);
}

void nvmf_remove_referral(struct nvmf_change *c, const struct nvmf_referral_opts *opts)
{
	referral_work(c, "remove referral", opts, build_remove_referral);
}
