/* SPDX-License-Identifier: BSD-3-Clause */
/* far.c: see far.h. */
#include "far.h"

#include <stdio.h>

#include "daemon.h"

static void serve_step(struct nvmf_change *c);
static void cut_off(struct far *f);

void far_make(struct far *f, struct media *m, uint32_t index, uint32_t addr_count, uint32_t reactors)
{
	char text[24];

	*f = (struct far){ .media = m, .index = index, .addr_count = addr_count, .reactors = reactors,
	                   .io_bytes_max = 131072 };
	f->core = daemon_core_make(reactors, 0);
	f->in_capsule_bytes = (uint32_t)(sim_draw(3) * 4096);
	f->ccr_limit = sim_chance(60) ? 1 + (uint8_t)sim_draw(4) : 0;
	f->cqt_ms = sim_chance(60) ? (uint16_t)sim_draw(8000) : 0;
	for (uint32_t n = 0; n < addr_count; n++) {
		snprintf(text, sizeof(text), "10.0.%u.%u", index & 0xff, n + 1);
		must(!net_addr_parse(NET_IPV4, text, "4420", &f->addrs[n], NULL));
	}
	f->reg = bdev_registry_make(f->core);
}

void far_free(struct far *f)
{
	must(f->state == FAR_DOWN);
	bdev_registry_free(f->reg);
	core_free(f->core);
}

/* --- serving ---------------------------------------------------------------------------------- */

static void begin(void *arg)
{
	struct far *f = arg;
	struct uuid uuid = { .b = { 1, 2, 3, 4, 5, 6, 0x40, 8, 0x80, (uint8_t)(f->index > 6) } }; /* one that is alone */

	f->disk = media_export(f->media, f->reg, "far", &uuid);
	f->target = nvmf_target_make(f->core, f->reg);
	nvmf_set_failover(f->target, f->ccr_limit, f->cqt_ms);
	f->step = 0;
	f->change = (struct nvmf_change){ .target = f->target, .done = serve_step, .arg = f };
	serve_step(&f->change);
}

void far_start(struct far *f)
{
	must(f->state == FAR_DOWN);
	f->state = FAR_STARTING;
	for (uint32_t n = 0; n < f->addr_count; n++)
		sim_net_set_link(&f->addrs[n], &f->links[n]);
	sim_as(core_control(f->core), begin, f);
}

static void serve_step(struct nvmf_change *c)
{
	struct far *f = c->arg;
	uint16_t first_id = (uint16_t)(1 + f->index * 1000 + f->deaths * 50);

	if (c->err.code)
		fprintf(stderr, "%s\n", c->err.text);
	must(!c->err.code);
	switch (f->step++) {
	case 0:
		nvmf_add_transport(c, &nvmf_tcp_ops, &(struct nvmf_transport_opts){
			.in_capsule_data_size = min_u32(f->in_capsule_bytes, f->io_bytes_max), .max_io_size = f->io_bytes_max,
			.max_queue_depth = 128,
			.max_io_qpairs_per_ctrlr = 8, .max_aq_depth = 32, .c2h_success = true });
		break;
	case 1:
		nvmf_add_subsystem(c, &(struct nvmf_subsystem_opts){
			.nqn = FAR_NQN, .allow_any_host = !f->psk, .ana_reporting = true, .min_cntlid = first_id,
			.max_cntlid = (uint16_t)(first_id + 49) });
		break;
	case 2:
		nvmf_add_ns(c, FAR_NQN, &(struct nvmf_ns_opts){ .bdev_name = "far", .anagrpid = 1 });
		break;
	case 3:
		if (f->psk)
			nvmf_add_host_keys(c, FAR_NQN, FAR_HOST, &(struct nvmf_host_keys){ .psk = f->psk });
		else
			serve_step(c);
		break;
	default:
		if (f->step - 5 < f->addr_count)
			nvmf_add_listener_opts(c, FAR_NQN, "TCP", &f->addrs[f->step - 5],
			                       &(struct nvmf_listener_opts){ .secure = f->psk != NULL });
		else
			f->state = FAR_UP;
	}
}

/* --- the end ---------------------------------------------------------------------------------- */

static void unregistered(void *arg, int rc)
{
	struct far *f = arg;

	must(rc == 0);
	f->disk = NULL;
	f->state = FAR_DOWN;
	for (uint32_t n = 0; n < f->addr_count; n++)
		sim_net_forget(&f->addrs[n]);
}

static void stopped(void *arg)
{
	struct far *f = arg;

	f->target = NULL;
	bdev_unregister(f->disk, unregistered, f);
}

static void stop(void *arg)
{
	struct far *f = arg;

	nvmf_target_stop(f->target, stopped, f);
}

void far_stop(struct far *f)
{
	must(f->state == FAR_UP);
	f->state = FAR_STOPPING;
	sim_as(core_control(f->core), stop, f);
}

/* A process that dies takes its memory along. Here it ends in good order, but nobody hears of it. */
void far_die(struct far *f)
{
	f->deaths++;
	cut_off(f);
	far_stop(f);
}

static void cut_off(struct far *f)
{
	for (uint32_t n = 0; n < f->addr_count; n++)
		sim_net_set_link(&f->addrs[n], &(struct sim_net_link){ .lost_to = true, .lost_from = true });
}

/* --- changes ---------------------------------------------------------------------------------- */

struct sim_net_link far_draw_link(uint64_t delay_ns_max)
{
	struct sim_net_link l = { 0 };

	switch (sim_draw(9)) {
	case 0:
	case 1: l.lost_to = l.lost_from = true; break;
	case 2: l.lost_to = true; break;
	case 3: l.lost_from = true; break;
	case 4: l.connect = SIM_NET_REFUSE; break;
	case 5: l.connect = SIM_NET_BLACK_HOLE; break;
	case 6: l.delay_ns = sim_draw(delay_ns_max); break;
	default: break;
	}
	return l;
}

/* One that is dead or dying is cut off in any case. */
void far_link(struct far *f, uint32_t n, const struct sim_net_link *how)
{
	f->links[n] = *how;
	if (f->state == FAR_UP || f->state == FAR_STARTING)
		sim_net_set_link(&f->addrs[n], how);
}

struct ana {
	struct far *far;
	uint32_t n;
	enum nvme_ana_state state;
};

static void changed(struct nvmf_change *c)
{
	((struct far *)c->arg)->busy = false;
}

static void set_ana(void *arg)
{
	struct ana *a = arg;
	struct far *f = a->far;

	f->other = (struct nvmf_change){ .target = f->target, .done = changed, .arg = f };
	nvmf_set_ana_state(&f->other, FAR_NQN, "TCP", &f->addrs[a->n], 0, (uint8_t)a->state, 0);
}

void far_set_ana(struct far *f, uint32_t n, enum nvme_ana_state state)
{
	struct ana a = { f, n, state };

	if (f->state != FAR_UP || f->busy)
		return;
	f->busy = true;
	sim_as(core_control(f->core), set_ana, &a);
}

static void resize(void *arg)
{
	struct far *f = arg;
	struct err e = { 0 };

	must(!bdev_resize(f->disk, f->media->blocks, &e));
}

void far_resize(struct far *f)
{
	if (f->state == FAR_UP)
		sim_as(core_control(f->core), resize, f);
}

/* --- mute ------------------------------------------------------------------------------------- */

static void accepted(void *arg, struct sock *s)
{
	struct mute *m = arg;

	if (m->count == ARRAY_SIZE(m->socks))
		sock_reset(s);
	else
		m->socks[m->count++] = s;
}

static void listen_mute(void *arg)
{
	struct mute *m = arg;

	m->listener = listener_open(&m->addr, 0, accepted, m, NULL);
}

void mute_make(struct mute *m, struct reactor *r, const char *host)
{
	m->reactor = r;
	must(!net_addr_parse(NET_IPV4, host, "4420", &m->addr, NULL));
	sim_as(r, listen_mute, m);
}

static void close_mute(void *arg)
{
	struct mute *m = arg;

	for (uint32_t i = 0; i < m->count; i++)
		sock_close(m->socks[i]);
	listener_close(m->listener);
}

void mute_free(struct mute *m)
{
	sim_as(m->reactor, close_mute, m);
}
