/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_sim.c: disks over vhost-user, as block devices and behind SCSI hosts: up to three guests that behave, each
 * with a disk of media that keep I/O back and may fail, and up to two that do not; over split and packed rings, with
 * event index, indirect tables and in order or without, in-flight regions, one to four queues. Queues move between
 * cores at any step; guests stop and start them, reset the device, map their memory anew under I/O, hang up and come
 * back, are killed and come back with what was in flight, migrate; controllers are deleted and made again, disks grow.
 * Memory is given as a table or region by region, and some of it is unplugged and plugged; kicks are messages to some.
 * SCSI guests manage tasks, and hear of targets that come and go (hba.c).
 * Those that do not behave write anything into their rings and tables, say anything on their sockets, with any
 * descriptors, and take their memory away.
 *
 * Checks that
 *   - no read is stale, torn or another block's; every request is answered, once, with what it asked for;
 *   - no write lands after it was answered, or after a reset; it lands twice only if its guest was killed meanwhile;
 *   - a migration's last copy is the memory: each page that the device wrote to was marked;
 *   - a guest that behaves is never refused anything, hung up on, or told that a ring is broken;
 *   - nothing is left: memory, descriptors; and all reactors sleep when nobody is there;
 *   - a seed replays a run exactly.
 */
#include <stdio.h>

#include "core/sim/fds.h"
#include "daemon.h"
#include "load.h"
#include "net/sim/sim_net.h"
#include "rogue.h"
#include "scsi/scsi.h"
#include "seeds.h"
#include "vhost/session.h"

#define SECONDS 100                     /* of virtual time; a run that needs more is stuck */
#define RING_FEATURES (VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | \
	VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_F_IN_ORDER))
#define DISK_FEATURES (VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | \
	VIRTIO_BIT(VIRTIO_BLK_F_MQ) | VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES))
#define SCSI_FEATURES (VIRTIO_BIT(VIRTIO_SCSI_F_HOTPLUG) | VIRTIO_BIT(VIRTIO_SCSI_F_CHANGE))

static struct {
	uint64_t ios, scsi, failed, moves, stops, remaps, hang_ups, kills, resets, migrations, pages, deletions, growths,
	         plugs, replugs, tmfs, events, nonsense;
} all;

static void tick(struct timer *t);
static void retry(struct timer *t);

/* --- what guests do ----------------------------------------------------------------------------------------------- */

static void come_soon(struct member *m)
{
	timer_start(&m->retry, 1 + sim_draw(3 * NS_PER_MS), retry);
}

/* A kernel tells of a socket that was closed before it tells of one that was connected later; here bytes travel. */
static bool is_hanging_up(const struct guest *g)
{
	struct net_addr addr;

	must(!net_addr_parse(NET_UNIX, g->path, NULL, &addr, NULL));
	return sim_net_ends_to(&addr);
}

static void retry(struct timer *t)
{
	struct member *m = container_of(t, struct member, retry);

	if (m->over || m->guest.sock)
		return;
	if (is_hanging_up(&m->guest)) {
		come_soon(m);
		return;
	}
	m->was_up_all_along = m->ctrlr == CTRLR_UP;
	if (!guest_connect(&m->guest))
		come_soon(m);
}

static void runs(struct guest *g)
{
	struct member *m = member_of(g);

	if (!timer_is_running(&m->tick))
		timer_start(&m->tick, sim_draw(NS_PER_MS), tick);
}

static void lost(struct guest *g)
{
	struct member *m = member_of(g);

	if (!g->rogue && !g->scarce && m->was_up_all_along)
		member_fail(m, "was hung up on");
	hba_forget(m);
	m->migrating = false;
	come_soon(m);
}

static void wrong(struct guest *g, const char *what)
{
	if (!g->rogue)
		member_fail(member_of(g), what);
}

static const struct guest_ops guest_ops = { load_used, load_more, runs, lost, wrong };

static void hang_up(struct member *m, bool killed)
{
	struct guest *g = &m->guest;

	all.hang_ups += !killed;
	all.kills += killed;
	if (killed) {
		guest_outlives(g);
		load_outlives(m);
	}
	guest_hang_up(g);
	hba_forget(m);
	m->migrating = false;
	come_soon(m);
}

static void was_reset(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	struct member *m = member_of(g);

	(void)q, (void)reply;
	for (uint32_t n = 0; n < g->all_count; n++) {
		struct guest_queue *each = &g->queues[n];

		each->runs = false;
		guest_look(each);
	}
	load_fence(m);
	hba_forget(m);
	guest_forget(g);
	if (sim_chance(50))
		guest_drop_memory(g);
	guest_say_setup(g);
}

static void reset(struct member *m)
{
	struct guest *g = &m->guest;

	all.resets++;
	g->running = false;
	if ((g->protocol & VU_P_BIT(STATUS)) && sim_chance(50))
		guest_say_u64(g, VU_SET_STATUS, 0, NULL);
	else if (g->protocol & VU_P_BIT(RESET_DEVICE))
		guest_say_none(g, VU_RESET_DEVICE, NULL);
	else
		for (uint32_t n = 0; n < g->all_count; n++)
			guest_say_stop(&g->queues[n], NULL);
	guest_say_none(g, VU_GET_FEATURES, was_reset);
}

static void migration_begun(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	(void)q, (void)reply;
	guest_copy(g);
	member_of(g)->copies_left = 1 + (uint32_t)sim_draw(6);
}

static void migration_ends(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	(void)q, (void)reply;
	guest_log_end(g);
	member_of(g)->migrating = false;
	all.migrations++;
	for (uint32_t n = 0; n < g->all_count; n++)
		guest_say_queue(&g->queues[n]);
}

static void migrate(struct member *m)
{
	struct guest *g = &m->guest;

	guest_copy(g);
	if (--m->copies_left)
		return;
	for (uint32_t n = 0; n < g->all_count; n++)
		guest_say_stop(&g->queues[n], n + 1 == g->all_count ? migration_ends : NULL);
}

static void stop_one(struct member *m, struct guest_queue *q)
{
	all.stops++;
	if (sim_chance(30)) {
		guest_say_enable(q, false);
		guest_say_enable(q, true);
		return;
	}
	guest_say_stop(q, NULL);
	if (sim_chance(30))
		guest_say_memory(&m->guest);
	guest_say_restart(q);
}

static void write_config(struct guest *g)
{
	struct vu_msg m;

	if (!(g->protocol & VU_P_BIT(CONFIG)) || g->scsi)
		return;
	vu_request(VU_SET_CONFIG, VU_PAYLOAD_CONFIG, &m);
	m.config = (struct vu_config){ .offset = offsetof(struct virtio_blk_config, wce), .size = 1,
		.data = { (uint8_t)sim_draw(2) } };
	guest_say(g, &m, NULL, NULL);
}

static void plug(struct member *m)
{
	all.plugs++;
	if (m->guest.unplugged)
		guest_plug(&m->guest);
	else
		guest_unplug(&m->guest);
}

static void do_something(struct member *m)
{
	struct guest *g = &m->guest;
	struct guest_queue *q = &g->queues[sim_draw(g->all_count)];
	uint64_t dice = sim_draw(100);

	m->ops_left--;
	m->wants_replug |= sim_chance(20);
	if (dice < 20) {
		stop_one(m, q);
	} else if (dice < 40) {
		all.remaps++;
		guest_say_memory(g);
	} else if (dice < 50) {
		hang_up(m, false);
	} else if (dice < 62) {
		hang_up(m, g->inflight_fd >= 0);
	} else if (dice < 70) {
		reset(m);
	} else if (dice < 80) {
		m->migrating = true;
		m->copies_left = 0;
		guest_log_begin(g, migration_begun);
	} else if (dice < 83) {
		write_config(g);
	} else if (dice < 87) {
		plug(m);
	} else if (dice < 92) {
		guest_new_bell(q, sim_chance(50) ? &q->kick : &q->call);
	} else if (dice < 96) {
		m->wants_delete = true;
	} else {
		m->wants_growth = true;
	}
}

static void nonsense(struct member *m);

static void tick(struct timer *t)
{
	struct member *m = container_of(t, struct member, tick);
	struct guest *g = &m->guest;

	if (m->over)
		return;
	timer_start(&m->tick, 1 + sim_draw(NS_PER_MS), tick);
	if (g->rogue) {
		nonsense(m);
		return;
	}
	if (!g->running || !guest_is_idle(g)) {
		if (g->sock && sim_chance(2))
			hang_up(m, false); /* in the middle of saying something */
		return;
	}
	if (m->migrating && m->copies_left) {
		migrate(m);
		return;
	}
	if (g->scsi && sim_chance(60))
		hba_manage(m);
	if (g->unplugging) {
		guest_unplug(g);
	} else if (m->ops_left) {
		if (g->protocol & VU_P_BIT(CONFIG))
			guest_say_config(g);
		do_something(m);
	} else if (hba_is_drained(g) && !m->migrating && !m->news_due) {
		guest_hang_up(g);
		timer_stop(&m->tick);
		m->over = true;
		m->w->running--;
	}
}

/* --- guests that do not behave ------------------------------------------------------------------------------------ */

static void remake(struct member *m);

static void nonsense(struct member *m)
{
	struct guest *g = &m->guest;
	uint64_t dice = sim_draw(100);

	all.nonsense++;
	if (!g->sock)
		return;
	if (dice < 30) {
		rogue_scribbles(g);
	} else if (dice < 75) {
		for (uint64_t n = 1 + sim_draw(3); n; n--)
			rogue_says(g);
	} else if (dice < 78) {
		sim_share_truncate(g->fd, sim_draw(g->memory_len) / GUEST_PAGE * GUEST_PAGE);
		remake(m);
	} else if (dice < 84) {
		hang_up(m, false);
	} else if (dice < 88) {
		remake(m);
	} else if (dice < 94) {
		guest_say_memory(g);
	}
	for (uint32_t n = 0; n < g->all_count; n++)
		guest_kick(&g->queues[n]);
}

/* --- guests ------------------------------------------------------------------------------------------------------- */

static void draw_guest(struct guest *g)
{
	bool packed;

	g->wanted = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_PROTOCOL_FEATURES) | DISK_FEATURES |
	            (sim_draw(UINT64_MAX) & RING_FEATURES);
	packed = g->wanted & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	g->wanted_protocol = VU_P_BIT(REPLY_ACK) | VU_P_BIT(MQ) | VU_P_BIT(CONFIG) | VU_P_BIT(LOG_SHMFD) |
		(sim_chance(50) ? VU_P_BIT(CONFIGURE_MEM_SLOTS) : 0) |
		(sim_chance(20) ? VU_P_BIT(INBAND_NOTIFICATIONS) | VU_P_BIT(BACKEND_REQ) : 0) |
		(sim_chance(60) ? VU_P_BIT(INFLIGHT_SHMFD) : 0) |
		(sim_chance(50) ? VU_P_BIT(STATUS) : 0) | (sim_chance(50) ? VU_P_BIT(RESET_DEVICE) : 0);
	g->features = 0;
	if (g->scsi)
		g->wanted = (g->wanted & ~DISK_FEATURES) | SCSI_FEATURES;
	g->queue_count = 1 + (uint32_t)sim_draw(GUEST_QUEUES_MAX);
	g->all_count = g->queue_count + (g->scsi ? GUEST_SIDES : 0);
	for (uint32_t n = 0; n < g->all_count; n++) {
		bool large = !g->scarce && sim_chance(20); /* its parts are several pages */

		g->queues[n].size = packed ? 16 + (uint32_t)sim_draw(large ? 1000 : 100) : 16u << sim_draw(large ? 7 : 4);
		g->queues[n].depth = 1 + (uint32_t)sim_draw(GUEST_REQS);
	}
}

static void make(void *arg)
{
	struct member *m = arg;

	draw_guest(&m->guest);
	guest_make(&m->guest);
	come_soon(m);
	timer_start(&m->tick, NS_PER_MS, tick);
}

static void unmake(void *arg)
{
	struct member *m = arg;

	m->over = true;
	timer_stop(&m->tick);
	timer_stop(&m->retry);
	guest_free(&m->guest);
}

/* Another one in its place, with memory of its own. */
static void remake(struct member *m)
{
	guest_free(&m->guest);
	draw_guest(&m->guest);
	guest_make(&m->guest);
	come_soon(m);
}

/* --- troubles ----------------------------------------------------------------------------------------------------- */

static void moved(void *arg, int rc)
{
	all.moves += !rc;
}

struct going {
	struct vhost_ring_priv *r;
	struct reactor *to;
};

static void go(void *arg)
{
	struct going *g = arg;

	if (g->r->at.here && g->r->state == RING_OPEN && !g->r->stopping && !carry_is_wanted(&g->r->carry))
		vhost_ring_carry(g->r, g->to, moved, NULL);
}

static void move_one(struct world *w)
{
	struct vhost_ctrlr *c = vhost_ctrlr_find(w->vhost, w->member[sim_draw(w->members)].name);

	if (!c)
		return;
	list_each(l, &c->sessions) {
		struct vhost_session_priv *s = session_priv(list_entry(l, struct vhost_session, link));
		struct vhost_ring_priv *r = s->rings[sim_draw(GUEST_QUEUES_MAX + 2)];
		struct going g = { r, core_reactor(w->target_core, (uint32_t)sim_draw(w->cores)) };

		if (r && r->queue.running && r->state != RING_IDLE)
			sim_as(carry_at(&r->at), go, &g);
	}
}

static void ctrlr_changed(struct vhost_change *c)
{
	struct member *m = container_of(c, struct member, change);

	if (c->err.code)
		seeds_fail("controller %u: %s", m->index, c->err.text);
	m->ctrlr = m->ctrlr == CTRLR_MAKING ? CTRLR_UP : CTRLR_NONE;
}

static void target_added(struct vhost_change *c)
{
	struct member *m = container_of(c, struct member, adding.change);

	if (!c->err.code)
		(void)!vhost_scsi_start(vhost_ctrlr_find(m->w->vhost, m->name), &c->err);
	if (c->err.code)
		seeds_fail("controller %u: %s", m->index, c->err.text);
	m->ctrlr = CTRLR_UP;
	m->target = TARGET_HERE;
}

/* --- targets that come and go ------------------------------------------------------------------------------------- */

static void expect(struct member *m, uint32_t news)
{
	if (m->guest.scsi && m->guest.running && !m->guest.rogue && !m->over)
		m->news_due |= news;
}

static void target_gone(struct vhost_change *c)
{
	struct member *m = container_of(c, struct member, unplugging);

	m->target = c->err.code ? TARGET_HERE : TARGET_NONE;
	if (c->err.code && m->ctrlr == CTRLR_UP)
		seeds_fail("controller %u: %s", m->index, c->err.text);
}

static void target_back(struct vhost_change *c)
{
	struct member *m = container_of(c, struct member, plugging.change);

	m->disturbs++;
	m->target = TARGET_HERE;
	if (c->err.code && m->ctrlr == CTRLR_UP)
		seeds_fail("controller %u: %s", m->index, c->err.text);
}

static void replug(void *arg)
{
	struct member *m = arg;
	struct vhost_ctrlr *c = vhost_ctrlr_find(m->w->vhost, m->name);
	bool goes = m->target == TARGET_HERE;

	m->target = TARGET_CHANGING;
	m->wants_replug = false;
	m->disturbs++;
	all.replugs += goes;
	expect(m, goes ? NEWS_REMOVED : NEWS_CAME);
	m->unplugging.done = target_gone;
	m->plugging = (struct vhost_scsi_change){ .change.done = target_back };
	if (goes)
		vhost_scsi_remove_target(c, 0, &m->unplugging);
	else
		vhost_scsi_add_target(c, 0, m->disk_name, &m->plugging);
}

static void make_ctrlr(void *arg)
{
	struct member *m = arg;
	struct vhost *v = m->w->vhost;
	struct err e = { 0 };

	m->ctrlr = CTRLR_MAKING;
	if (m->guest.scsi) {
		if (vhost_scsi_make(v, &(struct vhost_ctrlr_opts){ .name = m->name, .delay = true }, &e))
			seeds_fail("controller %u: %s", m->index, e.text);
		m->adding = (struct vhost_scsi_change){ .change.done = target_added };
		vhost_scsi_add_target(vhost_ctrlr_find(v, m->name), 0, m->disk_name, &m->adding);
	} else {
		m->change = (struct vhost_change){ .done = ctrlr_changed };
		vhost_blk_make(v, &(struct vhost_blk_opts){ .ctrlr = { .name = m->name }, .bdev_name = m->disk_name },
		               &m->change);
	}
}

static void delete_ctrlr(void *arg)
{
	struct member *m = arg;

	all.deletions++;
	m->ctrlr = CTRLR_DELETING;
	m->target = TARGET_NONE;
	m->wants_replug = false;
	hba_forget(m);
	m->was_up_all_along = m->wants_delete = false;
	m->change = (struct vhost_change){ .done = ctrlr_changed };
	vhost_ctrlr_delete(vhost_ctrlr_find(m->w->vhost, m->name), &m->change);
}

static void grow(void *arg)
{
	struct member *m = arg;
	struct err e = { 0 };

	m->wants_growth = false;
	if (m->media.blocks == m->media.blocks_max)
		return;
	all.growths++;
	if (m->target == TARGET_HERE && m->ctrlr == CTRLR_UP)
		expect(m, NEWS_CHANGED);
	m->media.blocks += 1 + sim_draw(m->media.blocks_max - m->media.blocks);
	must(!bdev_resize(m->disk, m->media.blocks, &e));
}

static void coalesce(void *arg)
{
	struct world *w = arg;
	struct vhost_ctrlr *c = vhost_ctrlr_next(w->vhost, NULL);
	struct err e = { 0 };

	if (c)
		must(!vhost_ctrlr_set_coalescing(c, (uint32_t)sim_draw(2) * 100, 1000, &e));
}

static void troubles(struct reactor *r, void *arg)
{
	struct world *w = arg;
	struct member *m = &w->member[sim_draw(w->members)];
	struct reactor *control = core_control(w->target_core);

	(void)r;
	if (w->cores > 1 && sim_draw(1000) < w->move_permille)
		move_one(w);
	if (m->ctrlr == CTRLR_NONE && sim_chance(10))
		sim_as(control, make_ctrlr, m);
	else if (m->ctrlr == CTRLR_UP && (m->wants_delete || (m->guest.rogue && sim_draw(20000) == 0)))
		sim_as(control, delete_ctrlr, m);
	else if (m->ctrlr == CTRLR_UP && m->guest.scsi && !m->news_due &&
	         (m->target == TARGET_NONE || (m->target == TARGET_HERE && m->wants_replug)))
		sim_as(control, replug, m);
	if (m->wants_growth)
		sim_as(control, grow, m);
	if (sim_draw(20000) == 0)
		sim_as(control, coalesce, w);
}

/* --- the world ---------------------------------------------------------------------------------------------------- */

static void serve(void *arg)
{
	struct world *w = arg;

	w->reg = bdev_registry_make(w->target_core);
	w->vhost = vhost_make(w->target_core, w->reg, "/sim");
	w->scsi = scsi_make(w->target_core, w->reg);
	vhost_set_scsi(w->vhost, w->scsi);
	for (uint32_t n = 0; n < w->members; n++) {
		struct member *m = &w->member[n];
		const struct uuid uuid = { .b = { 1, 2, 3, 4, 5, 6, 0x40, 8, 0x80, (uint8_t)(1 + n) } };

		m->disk = media_export(&m->media, w->reg, m->disk_name, &uuid);
		make_ctrlr(m);
	}
}

static void begin_member(struct world *w, uint32_t index)
{
	struct member *m = &w->member[index];
	uint64_t blocks = 32 + sim_draw(100);

	m->w = w;
	m->index = index;
	media_init(&m->media, blocks, blocks + 50, w->block_size);
	m->media.hold_percent = sim_chance(70) ? (uint32_t)sim_draw(10) : 0;
	m->media.hold_ns_max = 1 + sim_draw(2 * NS_PER_MS);
	m->media.fail_percent = sim_chance(30) ? (uint32_t)sim_draw(10) : 0;
	m->media.arg = m;
	m->media.lands = index < w->good ? load_lands : NULL;
	m->media.begins = index < w->good ? load_begins : NULL;
	m->oracle = oracle_make(blocks + 50, w->block_size);
	m->ops_left = 5 + (uint32_t)sim_draw(20);
	m->guest.ops = &guest_ops;
	m->guest.index = index;
	m->guest.rogue = index >= w->good;
	m->guest.scarce = w->scarce;
	m->guest.on = core_reactor(w->host_core, index % core_reactor_count(w->host_core));
	m->guest.scsi = sim_chance(35);
	snprintf(m->name, sizeof(m->name), "d%u", index);
	snprintf(m->disk_name, sizeof(m->disk_name), "disk%u", index);
	snprintf(m->guest.path, sizeof(m->guest.path), "/sim/d%u", index);
}

static void begin(struct world *w, uint64_t seed)
{
	*w = (struct world){ 0 };
	sim_start(seed);
	sim_net_start(&(struct sim_net_opts){ .latency_ns_min = 500, .latency_ns_max = 500 + sim_draw(20000),
		.short_read_percent = (uint32_t)sim_draw(60), .short_write_percent = (uint32_t)sim_draw(60),
		.chunk_bytes_max = sim_chance(30) ? 1 + (uint32_t)sim_draw(300) : 0 });
	w->cores = 1 + (uint32_t)sim_draw(4);
	w->good = 1 + (uint32_t)sim_draw(3);
	w->members = w->good + (uint32_t)sim_draw(3);
	w->block_size = sim_chance(30) ? 4096 : 512;
	w->move_permille = sim_chance(80) ? (uint32_t)sim_draw(sim_chance(20) ? 500 : 30) : 0;
	w->scarce = sim_chance(30);
	w->target_core = daemon_core_make(w->cores, w->scarce ? 20 * MIB : 256 * MIB);
	if (sim_chance(30))
		mem_starve(w->target_core, 2 + (uint32_t)sim_draw(6));
	w->host_core = daemon_core_make(1 + (uint32_t)sim_draw(3), 0);
	for (uint32_t n = 0; n < w->members; n++)
		begin_member(w, n);
	w->running = w->good;
	sim_as(core_control(w->target_core), serve, w);
}

static void scsi_gone(void *arg)
{
	struct world *w = arg;

	scsi_free(w->scsi);
	w->stopped = true;
}

static void vhost_gone(void *arg)
{
	struct world *w = arg;

	scsi_stop(w->scsi, scsi_gone, w);
}

static void stop(void *arg)
{
	struct world *w = arg;

	vhost_stop(w->vhost, vhost_gone, w);
}

static void disk_gone(void *arg, int rc)
{
	((struct member *)arg)->disk_gone = true;
}

static void remove_disk(void *arg)
{
	struct member *m = arg;

	bdev_unregister(m->disk, disk_gone, m);
}

static void free_registry(void *arg)
{
	bdev_registry_free(((struct world *)arg)->reg);
}

static void end_member(struct member *m)
{
	sim_as(core_control(m->w->target_core), remove_disk, m);
	daemon_wait(&m->disk_gone, 10 * NS_PER_S, "a disk does not go");
	media_fini(&m->media);
	oracle_free(m->oracle);
	free(m->fates);
}

static bool is_calm(void *arg)
{
	struct world *w = arg;

	for (uint32_t n = 0; n < w->members; n++)
		if (w->member[n].ctrlr == CTRLR_MAKING || w->member[n].ctrlr == CTRLR_DELETING)
			return false;
	return !sim_net_connections();
}

/* Nobody is there: nothing keeps a reactor awake, or wakes it. */
static void check_sleep(struct world *w)
{
	struct mem_stats stats;
	uint64_t began;

	if (!sim_run(is_calm, w, 30 * NS_PER_S))
		seeds_fail("the daemon does not come to rest");
	sim_run(NULL, NULL, 20 * NS_PER_S);
	began = sim_now_ns();
	sim_run(NULL, NULL, 20 * NS_PER_S);
	if (sim_now_ns() != began)
		seeds_fail("something still happens when nobody is there");
	mem_get_stats(w->target_core, &stats);
	if (stats.charged_bytes)
		seeds_fail("%llu bytes of the budget are charged when nobody is there",
		           (unsigned long long)stats.charged_bytes);
}

static uint64_t end(struct world *w)
{
	bool idle = sim_chance(50);

	for (uint32_t n = 0; n < w->members; n++)
		if (idle || w->member[n].over)
			sim_as(w->member[n].guest.on, unmake, &w->member[n]);
	if (idle)
		check_sleep(w);
	else
		sim_run(is_calm, w, NS_PER_MS);
	seeds_verdict();
	sim_as(core_control(w->target_core), stop, w);
	daemon_wait(&w->stopped, 60 * NS_PER_S, "the daemon does not stop");
	for (uint32_t n = 0; n < w->members; n++) {
		if (!w->member[n].over)
			sim_as(w->member[n].guest.on, unmake, &w->member[n]);
		all.pages += w->member[n].guest.pages_copied;
		all.ios += w->member[n].ios;
		all.failed += w->member[n].ios_failed;
		all.scsi += w->member[n].ios_scsi;
		all.events += w->member[n].events;
		all.tmfs += w->member[n].tmfs;
		end_member(&w->member[n]);
	}
	sim_as(core_control(w->target_core), free_registry, w);
	sim_run(NULL, NULL, NS_PER_S);
	if (sim_fds_open(w->target_core))
		seeds_fail("%u descriptors are open", sim_fds_open(w->target_core));
	daemon_check_memory(w->target_core, "the target's");
	seeds_verdict();
	core_free(w->host_core);
	core_free(w->target_core);
	return daemon_net_end();
}

/* --- the scenario ------------------------------------------------------------------------------------------------ */

static bool is_over(void *arg)
{
	struct world *w = arg;

	return seeds_failed() || w->running == 0;
}

static uint64_t run(uint64_t seed)
{
	static struct world w;

	begin(&w, seed);
	for (uint32_t n = 0; n < w.members; n++)
		sim_as(w.member[n].guest.on, make, &w.member[n]);
	sim_after_pass(troubles, &w);
	if (!sim_run(is_over, &w, SECONDS * NS_PER_S))
		seeds_fail("stuck: %u guests have not ended", w.running);
	sim_after_pass(NULL, NULL);
	seeds_verdict();
	return end(&w);
}

int main(int argc, char **argv)
{
	int rc = seeds_main(argc, argv, 40, run);

	printf("%llu requests, %llu of SCSI, %llu failed; %llu moves; %llu stops; %llu remaps; %llu hung up, %llu killed; "
	       "%llu resets; %llu migrations, %llu pages marked; %llu deletions; %llu growths; %llu plugged; "
	       "%llu targets replugged, %llu events, %llu task managements; %llu times nonsense\n",
	       (unsigned long long)all.ios, (unsigned long long)all.scsi, (unsigned long long)all.failed,
	       (unsigned long long)all.moves, (unsigned long long)all.stops, (unsigned long long)all.remaps,
	       (unsigned long long)all.hang_ups, (unsigned long long)all.kills, (unsigned long long)all.resets,
	       (unsigned long long)all.migrations, (unsigned long long)all.pages, (unsigned long long)all.deletions,
	       (unsigned long long)all.growths, (unsigned long long)all.plugs, (unsigned long long)all.replugs,
	       (unsigned long long)all.events, (unsigned long long)all.tmfs, (unsigned long long)all.nonsense);
	if (!rc && argc == 1 && (all.ios < 10000 || all.scsi < 1000 || all.moves < 200 || all.stops < 40 ||
	    all.remaps < 40 || all.hang_ups < 40 || all.kills < 20 || all.resets < 20 || all.migrations < 20 ||
	    all.pages < 100 || all.deletions < 10 || all.growths < 5 || all.plugs < 20 || all.replugs < 10 ||
	    all.events < 20 || all.tmfs < 100 || all.nonsense < 100)) {
		fprintf(stderr, "too little happened for this to prove anything\n");
		return 1;
	}
	return rc;
}
