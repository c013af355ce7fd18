/* SPDX-License-Identifier: BSD-3-Clause */
/* gateway_sim.c: a gateway whose disk is remote, over two to four paths that are cut, partitioned, delayed and reset,
 * to targets that die and come back, that change ANA states and sizes, while people reset, disable, enable, detach and
 * attach its paths, and the media keep a command for as long as a target may, with or without a look at who has lost
 * the right to it. Some targets end a lost controller by way of another one (Cross-Controller Reset), some do not; some
 * tell how long their media need (CQT). The disk is used through the waist, or by hosts of a target of its own.
 *
 * Checked are
 *   - an acknowledged write is never lost, no read is stale, torn or another block's;
 *   - no write lands after it was answered, whatever the answer was: neither the one that was sent first nor the one
 *     that was sent again;
 *   - every I/O ends once, and none fails while the policy says that it waits;
 *   - when everything works again all I/O ends and all paths come back, within a bounded time;
 *   - every method is answered within a bounded time;
 *   - a second, healthy disk on the same cores is never slow;
 *   - nothing is left behind.
 */
#include <stdio.h>

#include "daemon.h"
#include "far.h"
#include "front.h"
#include "gateway.h"
#include "keyring/keyring.h"
#include "seeds.h"

#define FARS_MAX 2u
#define GENERATIONS_MAX 65536u
#define HEALTHY_NS_MAX (50 * NS_PER_MS)
#define CALL_NS_MAX (20 * NS_PER_S)
#define BACK_SECONDS 120u           /* from the last disturbance until all paths are back and all I/O has ended */
#define WAIT_SECONDS 100u           /* besides what is said to wait for a path: silence found out, limbo */
#define END_SECONDS 400u            /* until all that was to be done is done */
#define WORLD_SECONDS 7200u

/* What became of a write. */
struct fate {
	bool answered, may_land;        /* given up: it may */
	uint8_t status;
	uint64_t at_ns;
};

struct world {
	struct media media, healthy_media;
	struct far fars[FARS_MAX], healthy;
	uint32_t far_count, paths;
	struct oracle *oracle, *healthy_oracle;
	struct gateway g;
	struct keyring *keyring;        /* paths are secured by its key; NULL: they are not */
	struct load load, healthy_load;
	struct front *front;            /* NULL: the load is the waist's */
	struct gateway_call attach[FAR_ADDRS_MAX * FARS_MAX + 1], verb;
	struct fate fates[GENERATIONS_MAX];
	/* drawn */
	uint32_t keep_alive_ms, fast_fail_s;
	bool discovered, fronted, verbs, resizes, named, failover, may_fail; /* may_fail: an error is within the policy */
	uint32_t queues;                /* num_io_queues; 0: not said */
	uint32_t chaos_left;
	uint64_t calm_ns;               /* the last disturbance; 0: not yet */
	struct sim_event chaos, step;
	bool attached, loaded;
};

/* --- what lands and what is answered ----------------------------------------------------------- */

static void lands(void *arg, uint64_t lba, const uint8_t *data)
{
	struct world *w = arg;
	struct fate *f;
	uint32_t generation;

	if (!data)
		return;
	generation = oracle_generation(data);
	must(generation && generation < GENERATIONS_MAX);
	f = &w->fates[generation];
	if (f->answered && !f->may_land)
		seeds_fail("generation %u of block %llu lands %llu us after it was answered (%s)", generation,
		           (unsigned long long)lba, (unsigned long long)((sim_now_ns() - f->at_ns) / NS_PER_US),
		           bdev_status_name((enum bdev_status)f->status));
}

static void check_read(struct world *w, struct load *l, struct load_task *t)
{
	char why[256], text[128];

	if (t->io.status == BDEV_ST_OK &&
	    !oracle_read_end(l->oracle, t->io.lba, (uint32_t)t->io.count, t->read_began, t->buf, why, sizeof(why)))
		seeds_fail("%s: %s", load_text(t, text), why);
}

static void io_done(void *arg, struct load_task *t)
{
	struct world *w = arg;
	enum bdev_status st = (enum bdev_status)t->io.status;
	char text[128];

	if (t->io.op == BDEV_READ)
		check_read(w, &w->load, t);
	if (t->io.op == BDEV_WRITE) {
		must(t->generation < GENERATIONS_MAX);
		w->fates[t->generation] = (struct fate){
			.answered = true, .may_land = st == BDEV_ST_GONE, .status = t->io.status, .at_ns = sim_now_ns() };
	}
	if (st == BDEV_ST_OK || w->may_fail || (st == BDEV_ST_ABORTED && t->aborted) || st == BDEV_ST_GONE ||
	    (st == BDEV_ST_BAD_RANGE && w->resizes))
		return;
	seeds_fail("%s", load_text(t, text));
}

static void healthy_done(void *arg, struct load_task *t)
{
	struct world *w = arg;
	uint64_t took_ns = sim_now_ns() - t->began_ns;
	char text[128];

	if (t->io.op == BDEV_READ)
		check_read(w, &w->healthy_load, t);
	if (took_ns > HEALTHY_NS_MAX || (t->io.status != BDEV_ST_OK && t->io.status != BDEV_ST_GONE))
		seeds_fail("the healthy disk: %s", load_text(t, text));
}

/* --- methods ---------------------------------------------------------------------------------- */

static void path_host(struct world *w, uint32_t path, char host[static NET_ADDR_TEXT_MAX])
{
	if (w->named)
		snprintf(host, NET_ADDR_TEXT_MAX, "target%u", path);
	else
		net_addr_host(&w->fars[path % w->far_count].addrs[path / w->far_count], host);
}

static void attach(struct world *w, uint32_t path)
{
	char host[NET_ADDR_TEXT_MAX], queues[40] = "";
	const char *secured = w->keyring ? "\"psk\":\"psk\",\"hostnqn\":\"" FAR_HOST "\"," : "";

	path_host(w, path, host);
	if (w->queues)
		snprintf(queues, sizeof(queues), "\"num_io_queues\":%u,", w->queues);
	gateway_call(&w->g, &w->attach[path], "bdev_nvme_attach_controller",
	             "{\"name\":\"n\",\"trtype\":\"TCP\",\"adrfam\":\"IPv4\",\"traddr\":\"%s\",\"trsvcid\":\"4420\",%s%s"
	             "\"subnqn\":\"" FAR_NQN "\",\"hdgst\":%s,\"ddgst\":%s,\"multipath\":\"%s\"}",
	             host, queues, secured, sim_chance(20) ? "true" : "false", sim_chance(20) ? "true" : "false",
	             w->failover ? "failover" : "multipath");
}

static void attach_healthy(struct world *w, struct gateway_call *c)
{
	gateway_call(&w->g, c, "bdev_nvme_attach_controller",
	             "{\"name\":\"h\",\"trtype\":\"TCP\",\"adrfam\":\"IPv4\",\"traddr\":\"10.0.7.1\",\"trsvcid\":\"4420\","
	             "\"subnqn\":\"" FAR_NQN "\"}");
}

static void detach(struct world *w, uint32_t path)
{
	char host[NET_ADDR_TEXT_MAX];

	path_host(w, path, host);
	gateway_call(&w->g, &w->verb, "bdev_nvme_detach_controller", "{\"name\":\"n\",\"traddr\":\"%s\"}", host);
}

static void verb_begins(struct world *w)
{
	static const char *const policies[] = {
		"\"active_passive\"", "\"active_active\",\"selector\":\"round_robin\",\"rr_min_io\":3",
		"\"active_active\",\"selector\":\"queue_depth\"", "\"active_active\",\"selector\":\"round_robin\"",
	};
	static const char *const plain[] = {
		"bdev_nvme_reset_controller", "bdev_nvme_disable_controller", "bdev_nvme_enable_controller",
		"bdev_nvme_set_keys",
	};
	static const char *const looks[] = {
		"bdev_nvme_get_controllers", "bdev_nvme_get_io_paths", "bdev_nvme_get_transport_statistics", "bdev_get_bdevs",
	};
	uint64_t dice = sim_draw(100);

	if (dice < 40)
		gateway_call(&w->g, &w->verb, plain[sim_draw(ARRAY_SIZE(plain))], "{\"name\":\"n\"}");
	else if (dice < 60)
		detach(w, (uint32_t)sim_draw(w->paths));
	else if (dice < 65)
		gateway_call(&w->g, &w->verb, "bdev_nvme_detach_controller", "{\"name\":\"n\"}");
	else if (dice < 85)
		gateway_call(&w->g, &w->verb, "bdev_nvme_set_multipath_policy", "{\"name\":\"nn1\",\"policy\":%s}",
		             policies[sim_draw(4)]);
	else if (dice < 90)
		gateway_call(&w->g, &w->verb, "bdev_nvme_add_error_injection",
		             "{\"name\":\"n\",\"cmd_type\":\"io\",\"opc\":%u,%s,\"err_count\":3%s}", 1 + (uint32_t)sim_draw(2),
		             sim_chance(50) ? "\"sct\":0,\"sc\":130" : "\"sct\":3,\"sc\":0", /* not ready; path error */
		             sim_chance(50) ? ",\"do_not_submit\":true,\"timeout_in_us\":30000" : "");
	else if (dice < 95)
		gateway_call(&w->g, &w->verb, "bdev_nvme_set_preferred_path", "{\"name\":\"nn1\",\"cntlid\":%u}",
		             1 + (uint32_t)sim_draw(4));
	else
		gateway_call(&w->g, &w->verb, looks[sim_draw(ARRAY_SIZE(looks))], "{}");
}

static void check_call(struct world *w, struct gateway_call *c)
{
	if (c->out && sim_now_ns() > c->began_ns + CALL_NS_MAX)
		seeds_fail("%s %s is not answered", c->method, c->params);
}

/* --- now and then, outside of all reactors -------------------------------------------------------- */

/* Long after the last disturbance nothing waits any more; nor without end before that, if I/O may fail. */
static void check_waits(struct world *w)
{
	uint64_t now = sim_now_ns(), most_ns = 20 * NS_PER_S;
	char text[128];

	if (!w->calm_ns || now < w->calm_ns + BACK_SECONDS * NS_PER_S)
		most_ns = w->fast_fail_s ? (4 * w->fast_fail_s + WAIT_SECONDS) * NS_PER_S : UINT64_MAX - now;
	for (uint32_t i = 0; i < w->load.workers; i++)
		for (uint32_t k = 0; k < w->load.worker[i].tasks; k++) {
			struct load_task *t = &w->load.worker[i].task[k];

			if (t->out && now > t->began_ns + most_ns)
				seeds_fail("for %llu s %s: %s", (unsigned long long)(most_ns / NS_PER_S),
				           w->calm_ns ? "all works again, but not this" : "this waits", load_text(t, text));
		}
}

static bool is_up(struct world *w)
{
	for (uint32_t i = 0; i < w->far_count; i++)
		if (w->fars[i].state != FAR_UP)
			return false;
	return true;
}

static void step(struct sim_event *e)
{
	struct world *w = container_of(e, struct world, step);

	if (w->verbs && w->chaos_left && !w->verb.out && sim_draw(1000) < 20)
		verb_begins(w);
	check_call(w, &w->verb);
	for (uint32_t i = 0; i < w->paths; i++) {
		check_call(w, &w->attach[i]);
		if (w->verbs && w->loaded && !w->attach[i].out && sim_draw(1000) < 10)
			attach(w, i); /* refused while it is there */
	}
	check_waits(w);
	if (w->chaos_left && !w->front && sim_draw(1000) < 10)
		load_abort_one(&w->load);
	if (w->front)
		front_step(w->front);
	else
		load_step(&w->load);
	if (w->healthy_load.g)
		load_step(&w->healthy_load);
	sim_event_at(e, sim_now_ns() + 1 + sim_draw(sim_chance(50) ? 300 * NS_PER_US : 60 * NS_PER_MS), step);
}

/* The two of a subsystem need not take commands of one size, nor one of them after it died. */
static void start(struct far *f)
{
	if (sim_chance(50))
		f->io_bytes_max = 8192u << sim_draw(5);
	far_start(f);
}

static void resize(struct world *w)
{
	w->media.blocks = sim_chance(50) ? w->media.blocks_max : w->media.blocks_max / 2;
	for (uint32_t i = 0; i < w->far_count; i++)
		far_resize(&w->fars[i]);
}

static void name_path(struct world *w, uint32_t path, bool known)
{
	char host[NET_ADDR_TEXT_MAX];

	path_host(w, path, host);
	sim_net_set_name(host, known ? &w->fars[path % w->far_count].addrs[path / w->far_count] : NULL);
}

static void calm_down(struct world *w)
{
	struct sim_net_link well = { 0 };

	w->calm_ns = w->calm_ns ? w->calm_ns : sim_now_ns();
	w->media.hold_percent = 0;
	sim_jobs_take(1, 20 * NS_PER_MS);
	for (uint32_t path = 0; w->named && path < w->paths; path++)
		name_path(w, path, true);
	if (w->verbs && !w->verb.out)
		gateway_call(&w->g, &w->verb, "bdev_nvme_enable_controller", "{\"name\":\"n\"}");
	for (uint32_t i = 0; i < w->far_count; i++) {
		struct far *f = &w->fars[i];

		if (f->state == FAR_DOWN)
			start(f);
		for (uint32_t n = 0; n < f->addr_count; n++)
			far_link(f, n, &well);
		/* One change at a time, so whichever the dice say; this is called again and again. */
		far_set_ana(f, (uint32_t)sim_draw(f->addr_count), NVME_ANA_OPTIMIZED);
	}
}

static void break_one(const struct net_addr *to, uint32_t n)
{
	if (sim_chance(30))
		sim_net_stall_to(to, n, sim_draw(15 * NS_PER_S));
	else
		sim_net_cut_to(to, n, sim_chance(40));
}

/* Each for a time of its own: what was sent arrives here and there, long after its sender has given up. */
static void stall_all(struct world *w, const struct net_addr *to)
{
	uint64_t most_ns = (1 + sim_draw(5)) * w->keep_alive_ms * NS_PER_MS;

	for (uint32_t n = 0; n < sim_net_connections_to(to); n++)
		sim_net_stall_to(to, n, sim_draw(most_ns));
}

static void disturb(struct world *w)
{
	static const enum nvme_ana_state states[] = { NVME_ANA_OPTIMIZED, NVME_ANA_OPTIMIZED, NVME_ANA_NONOPTIMIZED,
		                                          NVME_ANA_INACCESSIBLE };
	struct far *f = &w->fars[sim_draw(w->far_count)];
	uint32_t n = (uint32_t)sim_draw(f->addr_count), there = sim_net_connections_to(&f->addrs[n]);
	struct sim_net_link link = far_draw_link(200 * NS_PER_MS);
	uint64_t dice = sim_draw(100);

	if (f->state == FAR_DOWN)
		start(f);
	else if (dice < 12 && f->state == FAR_UP && !f->busy)
		far_die(f);
	else if (dice < 30 && there)
		break_one(&f->addrs[n], (uint32_t)sim_draw(there));
	else if (dice < 34)
		stall_all(w, &f->addrs[n]);
	else if (dice < 40)
		sim_net_reset_link(&f->addrs[n]);
	else if (dice < 50)
		far_set_ana(f, n, states[sim_draw(4)]);
	else if (dice < 55 && w->resizes)
		resize(w);
	else if (dice < 60 && w->named)
		name_path(w, (uint32_t)sim_draw(w->paths), sim_chance(50));
	else if (dice < 64 && w->named)
		sim_jobs_take(1, 1 + sim_draw(8 * NS_PER_S));
	else
		far_link(f, n, &link);
}

static void chaos(struct sim_event *e)
{
	struct world *w = container_of(e, struct world, chaos);

	if (w->chaos_left && (w->front ? front_ios_left(w->front) : w->load.ios_left)) {
		w->chaos_left--;
		disturb(w);
	} else {
		w->chaos_left = 0;
		calm_down(w);
	}
	sim_event_at(e, sim_now_ns() + 1 + sim_draw(sim_chance(50) ? 30 * NS_PER_MS : w->keep_alive_ms * 2 * NS_PER_MS),
	             chaos);
}

/* A cut at any step. */
static void maybe_cut(struct reactor *r, void *arg)
{
	struct world *w = arg;
	const struct net_addr *to;
	uint32_t there;

	if (!w->chaos_left || sim_draw(20000) >= 2)
		return;
	to = &w->fars[sim_draw(w->far_count)].addrs[0];
	there = sim_net_connections_to(to);
	if (there)
		break_one(to, (uint32_t)sim_draw(there));
}

/* --- the world -------------------------------------------------------------------------------- */

static bool fars_rest(void *arg)
{
	struct world *w = arg;
	bool rest = w->healthy.state == FAR_UP || w->healthy.state == FAR_DOWN;

	for (uint32_t i = 0; i < w->far_count; i++)
		rest &= (w->fars[i].state == FAR_UP || w->fars[i].state == FAR_DOWN) && !w->fars[i].busy;
	return rest;
}

static void make_keys(struct world *w)
{
	struct err e = { 0 };

	w->keyring = keyring_make();
	must(!keyring_add_memory(w->keyring, "psk", "NVMeTLSkey-1:01:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYOtVl3:",
	                         &e));
}

static void fars_begin(struct world *w)
{
	uint32_t addrs = w->discovered ? 2 : 1 + (uint32_t)sim_draw(2);
	struct err e = { 0 };

	w->far_count = w->discovered ? 1 : addrs == 1 ? 2 : 1 + (uint32_t)sim_draw(2);
	w->paths = addrs * w->far_count;
	media_init(&w->media, 48 + sim_draw(64), 128, sim_chance(50) ? 4096 : 512);
	w->media.lands = lands;
	w->media.arg = w;
	w->media.stubborn = sim_chance(60);
	w->media.hold_percent = sim_chance(70) ? (uint32_t)sim_draw(60) : 0;
	w->media.hold_ns_max = NS_PER_MS + sim_draw(w->keep_alive_ms * NS_PER_MS * 9 / 10);
	w->oracle = oracle_make(w->media.blocks_max, w->media.block_size);
	for (uint32_t i = 0; i < w->far_count; i++) {
		far_make(&w->fars[i], &w->media, i, addrs, 1 + (uint32_t)sim_draw(2));
		w->fars[i].cqt_ms = w->fars[0].cqt_ms;
		if (w->keyring)
			w->fars[i].psk = keyring_get(w->keyring, "psk", "psk", &e);
		start(&w->fars[i]);
	}
	w->media.hold_ns_max += w->fars[0].cqt_ms * NS_PER_MS * 9 / 10; /* as they say */
	media_init(&w->healthy_media, 64, 64, 512);
	w->healthy_oracle = oracle_make(64, 512);
	far_make(&w->healthy, &w->healthy_media, 7, 1, 1);
	far_start(&w->healthy);
	if (!sim_run(fars_rest, w, 10 * NS_PER_S))
		seeds_fail("the targets do not come up");
	seeds_verdict();
}

static bool calls_answered(void *arg)
{
	struct world *w = arg;
	bool out = w->verb.out;

	for (uint32_t i = 0; i < ARRAY_SIZE(w->attach); i++)
		out |= w->attach[i].out;
	return !out;
}

static void expect_ok(struct world *w, struct gateway_call *c, uint64_t within_ns)
{
	if (!sim_run(calls_answered, w, within_ns))
		seeds_fail("%s %s is not answered", c->method, c->params);
	else if (c->err.code)
		seeds_fail("%s %s: %s", c->method, c->params, c->err.text);
	seeds_verdict();
}

/* The target's own list says which paths there are; followed while it changes. */
static void discover(struct world *w)
{
	gateway_call(&w->g, &w->verb, "bdev_nvme_start_discovery",
	             "{\"name\":\"d\",\"trtype\":\"TCP\",\"adrfam\":\"IPv4\",\"traddr\":\"10.0.0.1\",\"trsvcid\":\"4420\","
	             "\"wait_for_attach\":true}");
	expect_ok(w, &w->verb, 20 * NS_PER_S);
}

static void gateway_begins(struct world *w)
{
	struct gateway_call *h = &w->attach[ARRAY_SIZE(w->attach) - 1];
	uint32_t queue_entries = sim_chance(30) ? 2 + (uint32_t)sim_draw(10) : 0;
	uint32_t reconnect_s = 1 + (uint32_t)sim_draw(3);
	uint32_t loss_s = w->verbs && sim_chance(20) ? w->fast_fail_s + 20 + (uint32_t)sim_draw(20) : 0;
	bool late = !w->fronted && sim_chance(30);

	w->may_fail = w->verbs || w->fast_fail_s || late;
	gateway_make(&w->g, 1 + (uint32_t)sim_draw(4));
	remote_rpc_set_keyring(&w->g.remote, w->keyring);
	gateway_call(&w->g, &w->verb, "bdev_nvme_set_options",
	             "{\"keep_alive_timeout_ms\":%u,\"ctrlr_loss_timeout_sec\":%d,\"reconnect_delay_sec\":%u,"
	             "\"fast_io_fail_timeout_sec\":%u,\"bdev_retry_count\":-1,\"transport_ack_timeout\":%u,"
	             "\"action_on_timeout\":\"%s\",\"timeout_us\":%u,\"tcp_connect_timeout_ms\":%u,"
	             "\"io_queue_requests\":%u}",
	             w->keep_alive_ms, loss_s ? (int)loss_s : -1, reconnect_s, w->fast_fail_s,
	             sim_chance(50) ? 9 + (uint32_t)sim_draw(7) : 0,
	             !late ? "none" : sim_chance(50) ? "reset" : "abort", late ? 200000 + (uint32_t)sim_draw(5000000) : 0,
	             1000 + (uint32_t)sim_draw(5000), queue_entries);
	expect_ok(w, &w->verb, NS_PER_S);
	attach_healthy(w, h);
	expect_ok(w, h, 20 * NS_PER_S);
	if (w->discovered)
		discover(w);
	for (uint32_t i = 0; i < w->paths && !w->discovered; i++) {
		if (w->named)
			name_path(w, i, true);
		attach(w, i);
		expect_ok(w, &w->attach[i], 20 * NS_PER_S);
	}
	load_init(&w->load, &w->g, w->discovered ? "d0n1" : "nn1", w->media.block_size, w->media.blocks_max, w->oracle);
	w->load.ios_left = 300 + (uint32_t)sim_draw(1500);
	w->load.largest = min_u32(LOAD_BLOCKS_MAX, (uint32_t)w->media.blocks / 2);
	w->load.done = io_done;
	w->load.arg = w;
	load_init(&w->healthy_load, &w->g, "hn1", 512, 64, w->healthy_oracle);
	w->healthy_load.ios_left = 1000;
	w->healthy_load.done = healthy_done;
	w->healthy_load.arg = w;
	w->loaded = true;
	if (!w->fronted)
		return;
	w->front = front_make(&w->g, "nn1", w->media.block_size, w->media.blocks, w->oracle, w->load.ios_left);
	w->load.ios_left = 0;
	daemon_wait(front_serves(w->front), 10 * NS_PER_S, "the gateway does not export its disk");
	front_begin(w->front);
}

static bool load_over(void *arg)
{
	struct world *w = arg;

	if (seeds_failed())
		return true;
	if (w->calm_ns && sim_now_ns() > w->calm_ns + END_SECONDS * NS_PER_S)
		return true;
	if (w->front && !front_over(w->front))
		return false;
	return !w->load.ios_left && !load_out(&w->load) && w->calm_ns && is_up(w);
}

/* What every block holds at last. */
static void look(struct world *w)
{
	uint64_t began = oracle_read_begin(w->oracle);
	char why[256];

	for (uint64_t lba = 0; lba < w->media.blocks; lba++)
		if (!oracle_read_end(w->oracle, lba, 1, began, w->media.bytes + lba * w->media.block_size, why, sizeof(why)))
			seeds_fail("in the end: %s", why);
}

static bool let_go(void *arg)
{
	struct world *w = arg;

	return w->g.stopped && !w->load.desc && !w->healthy_load.desc;
}

static void fars_end(struct world *w)
{
	if (!sim_run(fars_rest, w, 60 * NS_PER_S))
		seeds_fail("the targets do not rest");
	seeds_verdict();
	for (uint32_t i = 0; i < w->far_count; i++)
		if (w->fars[i].state == FAR_UP)
			far_stop(&w->fars[i]);
	far_stop(&w->healthy);
	if (!sim_run(fars_rest, w, 600 * NS_PER_S))
		seeds_fail("the targets do not stop");
	for (uint32_t i = 0; i < w->far_count; i++)
		daemon_check_memory(w->fars[i].core, "a target's");
	seeds_verdict();
	for (uint32_t i = 0; i < w->far_count; i++) {
		keyring_key_unref(w->fars[i].psk);
		far_free(&w->fars[i]);
	}
	far_free(&w->healthy);
}

static void front_ends(struct world *w)
{
	struct front *f = w->front;

	front_stop(f);
	daemon_wait(front_stopped(f), 60 * NS_PER_S, "the gateway's target does not stop");
	w->front = NULL;
	front_free(f);
}

static uint64_t world_end(struct world *w)
{
	sim_event_cancel(&w->chaos);
	look(w);
	seeds_verdict();
	if (w->front)
		front_ends(w);
	gateway_stop(&w->g);
	if (!sim_run(let_go, w, 120 * NS_PER_S))
		seeds_fail("the gateway does not stop: %s%u and %u I/Os are out", w->g.stopped ? "" : "its paths do not end, ",
		           load_out(&w->load), load_out(&w->healthy_load));
	sim_event_cancel(&w->step);
	if (!sim_run(calls_answered, w, CALL_NS_MAX))
		seeds_fail("a method is never answered");
	seeds_verdict();
	sim_run(NULL, NULL, 30 * NS_PER_S);
	daemon_check_memory(w->g.core, "the gateway's");
	seeds_verdict();
	gateway_free(&w->g);
	keyring_free(w->keyring);
	fars_end(w);
	sim_net_end();
	load_fini(&w->load);
	load_fini(&w->healthy_load);
	oracle_free(w->oracle);
	oracle_free(w->healthy_oracle);
	media_fini(&w->media);
	media_fini(&w->healthy_media);
	return sim_end();
}

static uint64_t run(uint64_t seed)
{
	struct world *w = base_zalloc(sizeof(*w));
	uint64_t hash;

	sim_start(seed);
	sim_net_start(&(struct sim_net_opts){
		.latency_ns_min = 1000, .latency_ns_max = 1000 + sim_draw(300000),
		.buffer_bytes = (uint32_t)(8192 + sim_draw(128 * KIB)), .short_read_percent = (uint32_t)sim_draw(60),
		.short_write_percent = (uint32_t)sim_draw(60) });
	w->keep_alive_ms = 1000 * (1 + (uint32_t)sim_draw(5));
	w->fronted = sim_chance(25);
	w->verbs = !w->fronted && sim_chance(50);
	w->discovered = !w->fronted && !w->verbs && sim_chance(30);
	w->fast_fail_s = !w->fronted && sim_chance(50) ? 3 + (uint32_t)sim_draw(20) : 0;
	w->resizes = !w->fronted && sim_chance(30);
	w->named = !w->discovered && sim_chance(30);
	w->failover = sim_chance(15);
	w->queues = sim_chance(30) ? 1 + (uint32_t)sim_draw(3) : 0;
	if (!w->discovered && sim_chance(25))
		make_keys(w);
	fars_begin(w);
	gateway_begins(w);
	w->chaos_left = (uint32_t)sim_draw(60);
	sim_event_at(&w->step, sim_now_ns() + 1, step);
	sim_event_at(&w->chaos, sim_now_ns() + sim_draw(NS_PER_S), chaos);
	sim_after_pass(maybe_cut, w);
	if (!sim_run(load_over, w, WORLD_SECONDS * NS_PER_S) || load_out(&w->load) || w->load.ios_left ||
	    (w->front && !front_over(w->front)))
		seeds_fail("stuck: %u I/Os are out, %u are left, %llu ended", load_out(&w->load),
		           w->front ? front_ios_left(w->front) : w->load.ios_left, (unsigned long long)w->load.ended);
	sim_after_pass(NULL, NULL);
	seeds_verdict();
	hash = world_end(w);
	free(w);
	return hash;
}

int main(int argc, char **argv)
{
	return seeds_main(argc, argv, 60, run);
}
