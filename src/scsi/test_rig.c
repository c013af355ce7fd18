/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rig.c: the world, the transport made of memory, and shorthands for commands. */
#include "scsi/test_rig.h"

#include "bdev/bdev_device.h"

static void next_here(void *arg);
static void execute_here(void *arg);

/* --- a transport made of memory -- */

static struct rig_task *task_of(struct scsi_task *t)
{
	return container_of(t, struct rig_task, task);
}

static void take_data(struct rig_task *rt)
{
	struct scsi_task *t = &rt->task;
	uint32_t at = 0;

	must(rt->got == t->base || !t->sent_len);
	rt->got = t->base + t->sent_len;
	must(rt->got <= t->expected_in);
	for (uint32_t i = 0; i < t->iov_count && at < t->sent_len; i++) {
		uint32_t n = min_u32((uint32_t)t->iovs[i].iov_len, t->sent_len - at);

		memcpy(rt->data + t->base + at, t->iovs[i].iov_base, n);
		at += n;
	}
	must(at == t->sent_len);
}

static void answered(struct rig_task *rt)
{
	struct scsi_task *t = &rt->task;
	uint32_t expected = t->expected_in ? t->expected_in : t->expected_out;

	must(!rt->done);
	rt->was_lent = t->lent;
	rt->aborted = t->aborted;
	if (t->data == SCSI_DATA_IN && !t->aborted)
		take_data(rt);
	rt->status = t->status;
	rt->residual = (int64_t)t->full_len - expected;
	rt->sense_len = t->sense_len;
	memcpy(rt->sense, t->sense, sizeof(rt->sense));
	if (t->sense_len) {
		bool fixed = (t->sense[0] & 0x7f) == SCSI_SENSE_FIXED;

		rt->key = t->sense[fixed ? 2 : 1] & 0xf;
		rt->asc = scsi_u16(&t->sense[fixed ? 12 : 2]);
	}
	if (t->aborted && t->status != SCSI_TASK_ABORTED)
		scsi_task_lost(t, reactor_now_ns(), true);
	else
		scsi_task_sent(t, reactor_now_ns(), reactor_now_ns());
	scsi_task_free(t);
	rt->done = true;
}

static void fake_task_done(struct scsi_task *t)
{
	struct rig_task *rt = task_of(t);

	must(t->status != SCSI_CHECK_CONDITION || t->sense_len);
	if (!t->more) {
		answered(rt);
		return;
	}
	must(t->status == SCSI_GOOD && !t->aborted);
	rt->pieces++;
	if (t->data == SCSI_DATA_IN)
		take_data(rt);
	if (!rt->stays)
		next_here(rt);
}

static void next_here(void *arg)
{
	struct rig_task *rt = arg;

	if (!scsi_task_seek(&rt->task, rt->task.base + rt->task.moves)) {
		answered(rt);
		return;
	}
	free(rt->buffer);
	rt->buffer = NULL;
	execute_here(rt);
}

void rig_next(struct rig_task *rt)
{
	sim_as(core_reactor(rt->q->rig->core, rt->q->core_index), next_here, rt);
}

static void nexus_ended(struct scsi_nexus *n)
{
	container_of(n, struct rig_nexus, n)->ended = true;
}

static void fake_disconnect(struct scsi_nexus *n)
{
	container_of(n, struct rig_nexus, n)->told_to_go = true;
	scsi_nexus_end(n, nexus_ended);
}

static void fake_event(struct scsi_nexus *n, uint64_t lun, uint8_t asc, uint8_t ascq)
{
	container_of(n, struct rig_nexus, n)->events++;
}

static const struct scsi_nexus_ops fake_ops = { .task_done = fake_task_done, .disconnect = fake_disconnect,
	.event = fake_event };

/* --- changes -- */

struct change_args {
	struct rig *r;
	const char *bdev;
	uint32_t lun;
	bool read_only;
	uint16_t group;
	uint8_t state;
	uint64_t blocks;
	void (*fn)(struct change_args *a);
};

static void change_done(struct scsi_change *c)
{
	((struct rig *)c->arg)->changed = true;
}

static void change_here(void *arg)
{
	struct change_args *a = arg;

	a->fn(a);
}

static bool is_true(void *arg)
{
	return *(bool *)arg;
}

bool rig_run_until(bool *what)
{
	return sim_run(is_true, what, 100 * NS_PER_S);
}

static int change_run(struct rig *r, struct change_args *a, void (*fn)(struct change_args *a))
{
	a->r = r;
	a->fn = fn;
	r->changed = false;
	r->change = (struct scsi_change){ .done = change_done, .arg = r };
	sim_as(core_control(r->core), change_here, a);
	must(rig_run_until(&r->changed));
	return r->change.err.code;
}

static void do_add_lun(struct change_args *a)
{
	const struct scsi_lun_opts opts = { .lun = a->lun, .bdev_name = a->bdev, .read_only = a->read_only };

	scsi_target_add_lun(a->r->target, &opts, &a->r->change);
}

static void do_remove_lun(struct change_args *a)
{
	scsi_target_remove_lun(a->r->target, a->lun, &a->r->change);
}

static void do_alua(struct change_args *a)
{
	scsi_target_set_alua(a->r->target, a->group, a->state, &a->r->change);
}

static void do_free(struct change_args *a)
{
	scsi_target_free(a->r->target, &a->r->change);
}

int rig_add_lun(struct rig *r, const char *bdev, uint32_t lun, bool read_only)
{
	return change_run(r, &(struct change_args){ .bdev = bdev, .lun = lun, .read_only = read_only }, do_add_lun);
}

int rig_remove_lun(struct rig *r, uint32_t lun)
{
	return change_run(r, &(struct change_args){ .lun = lun }, do_remove_lun);
}

int rig_set_alua(struct rig *r, uint16_t group, uint8_t state)
{
	return change_run(r, &(struct change_args){ .group = group, .state = state }, do_alua);
}

static void resize_here(void *arg)
{
	struct change_args *a = arg;

	must(!bdev_resize(bdev_find(a->r->reg, a->bdev), a->blocks, NULL));
}

void rig_resize(struct rig *r, const char *bdev, uint64_t blocks)
{
	struct change_args a = { .r = r, .bdev = bdev, .blocks = blocks };

	sim_as(core_control(r->core), resize_here, &a);
	rig_pass(NS_PER_MS);
}

static void went(void *arg, int rc)
{
	((struct rig *)arg)->changed = true;
}

static void unregister_here(void *arg)
{
	struct change_args *a = arg;

	bdev_unregister(bdev_find(a->r->reg, a->bdev), went, a->r);
}

void rig_unregister(struct rig *r, const char *bdev)
{
	struct change_args a = { .r = r, .bdev = bdev };

	r->changed = false;
	sim_as(core_control(r->core), unregister_here, &a);
}

/* --- the world -- */

static void lun_gone(void *arg, struct scsi_target *t, const struct scsi_lun_gone *g)
{
	struct rig *r = arg;

	r->gone_lun = g->lun;
	r->gone_count++;
}

static void set_up(void *arg)
{
	struct rig *r = arg;
	const struct malloc_opts ram = { .name = "ram", .block_count = RIG_BLOCKS, .block_size = RIG_BLOCK };
	const struct malloc_opts big = { .name = "big", .block_count = 2048, .block_size = 4096 };
	const struct null_opts nul = { .name = "nul", .block_count = 1u << 20, .block_size = 512 };
	const struct scsi_target_opts opts = { .name = RIG_NAME, .protocol = SCSI_PROTOCOL_ISCSI };
	struct bdev *b;

	r->reg = bdev_registry_make(r->core);
	must(!malloc_create(r->reg, &ram, &b, NULL));
	must(!malloc_create(r->reg, &big, &b, NULL));
	must(!null_create(r->reg, &nul, &b, NULL));
	r->scsi = scsi_make(r->core, r->reg);
	scsi_on_lun_gone(r->scsi, lun_gone, r);
	r->target = scsi_target_make(r->scsi, &opts, NULL);
	must(r->target != NULL);
	must(!scsi_target_add_port(r->target, &(struct scsi_port_opts){ .id = 1, .name = RIG_NAME ",t,0x0001" }, NULL));
	must(!scsi_target_add_port(r->target, &(struct scsi_port_opts){ .id = 2, .name = RIG_NAME ",t,0x0002" }, NULL));
}

void rig_start(struct rig *r, uint64_t seed)
{
	struct err e = { 0 };

	memset(r, 0, sizeof(*r));
	list_init(&r->nexuses);
	sim_start(seed);
	r->core = core_make(&(struct core_opts){ .cpus = "[0-2]", .mode = CORE_INTERRUPT, .memory_bytes = 64 * MIB }, &e);
	must(r->core);
	sim_as(core_control(r->core), set_up, r);
	must(!rig_add_lun(r, "ram", 0, false));
	must(!rig_add_lun(r, "big", UINT32_MAX, false));
	must(r->change.ret_lun == 1);
	must(!rig_add_lun(r, "ram", 2, true));
}

void rig_pass(uint64_t ns)
{
	sim_run(NULL, NULL, ns);
}

void rig_on(struct reactor *r, void (*fn)(void *arg), void *arg)
{
	sim_as(r, fn, arg);
}

static void unregistered(void *arg, int rc);

static void unregister_next(struct rig *r)
{
	struct bdev *b = bdev_first(r->reg);

	if (b) {
		bdev_unregister(b, unregistered, r);
		return;
	}
	bdev_registry_free(r->reg);
	r->stopped = true;
}

static void unregistered(void *arg, int rc)
{
	unregister_next(arg);
}

static void layer_stopped(void *arg)
{
	struct rig *r = arg;

	scsi_free(r->scsi);
	unregister_next(r);
}

static void stop_here(void *arg)
{
	scsi_stop(((struct rig *)arg)->scsi, layer_stopped, arg);
}

void rig_stop(struct rig *r)
{
	must(!change_run(r, &(struct change_args){ 0 }, do_free)); /* nexuses are told to go */
	list_each_safe(l, &r->nexuses) {
		struct rig_nexus *q = list_entry(l, struct rig_nexus, link);

		must(q->ended);
		list_del(&q->link);
		free(q);
	}
	sim_as(core_control(r->core), stop_here, r);
	must(rig_run_until(&r->stopped));
	sim_run(NULL, NULL, NS_PER_S);
	core_free(r->core);
	sim_end();
}

/* --- nexuses -- */

static void join_here(void *arg)
{
	struct rig_nexus *q = arg;

	q->rc = scsi_nexus_join(&q->n, q->rig->target, &fake_ops, NULL);
}

static void begin_here(void *arg)
{
	struct rig_nexus *q = arg;

	scsi_nexus_begin(&q->n);
}

struct rig_nexus *rig_join(struct rig *r, uint32_t core, const char *name)
{
	struct rig_nexus *q = base_zalloc_aligned(CACHE_LINE, sizeof(*q));

	q->rig = r;
	q->core_index = core;
	q->n.port = 1;
	text_pad(q->n.initiator_port, sizeof(q->n.initiator_port) - 1, name, 0);
	text_pad(q->n.who.name, sizeof(q->n.who.name) - 1, name, 0);
	sim_as(core_control(r->core), join_here, q);
	if (q->rc) {
		free(q);
		return NULL;
	}
	list_add_tail(&r->nexuses, &q->link);
	sim_as(core_reactor(r->core, core), begin_here, q);
	return q;
}

static void end_here(void *arg)
{
	struct rig_nexus *q = arg;

	scsi_nexus_end(&q->n, nexus_ended);
}

void rig_end_nexus(struct rig_nexus *q)
{
	sim_as(core_reactor(q->rig->core, q->core_index), end_here, q);
}

bool rig_gone(struct rig_nexus *q)
{
	if (!rig_run_until(&q->ended))
		return false;
	list_del(&q->link);
	free(q);
	return true;
}

struct moving {
	struct rig_nexus *q;
	struct freeze f;
	struct reactor *to;
};

static void freeze_here(void *arg)
{
	struct moving *m = arg;

	freeze_init(&m->f);
	scsi_nexus_freeze(&m->f, &m->q->n, m->to);
}

static void thaw_here(void *arg)
{
	struct moving *m = arg;
	struct freeze thaw;

	freeze_init_thaw(&thaw, m->f.buf, m->f.len);
	scsi_nexus_freeze(&thaw, &m->q->n, NULL);
	must(freeze_ok(&thaw));
	freeze_fini(&m->f);
}

void rig_move(struct rig_nexus *q, uint32_t core)
{
	struct moving m = { .q = q, .to = core_reactor(q->rig->core, core) };

	sim_as(core_reactor(q->rig->core, q->core_index), freeze_here, &m);
	q->core_index = core;
	rig_pass(NS_PER_MS); /* what comes meanwhile waits */
	sim_as(m.to, thaw_here, &m);
}

/* --- commands -- */

struct rig_cdb rig_rw(uint8_t opcode, uint64_t lba, uint32_t blocks)
{
	struct rig_cdb c = { .b = { opcode } };

	switch (opcode >> 5) {
	case 0:
		scsi_put24(c.b + 1, (uint32_t)lba);
		c.b[4] = (uint8_t)blocks;
		break;
	case 1:
	case 2:
		scsi_put32(c.b + 2, (uint32_t)lba);
		scsi_put16(c.b + 7, (uint16_t)blocks);
		break;
	case 5:
		scsi_put32(c.b + 2, (uint32_t)lba);
		scsi_put32(c.b + 6, blocks);
		break;
	default:
		scsi_put64(c.b + 2, lba);
		scsi_put32(c.b + 10, blocks);
	}
	return c;
}

static void set_buffers(struct rig_task *rt)
{
	struct scsi_task *t = &rt->task;
	uint32_t at = 0, n = 0;

	rt->buffer = base_zalloc(max_u32(1, t->moves));
	if (t->data == SCSI_DATA_OUT)
		memcpy(rt->buffer, rt->data + t->base, t->moves);
	for (; at < t->moves; n++) { /* in uneven pieces */
		uint32_t len = min_u32(n % 2 ? 4096 : 3000, t->moves - at);

		rt->iovs[n % ARRAY_SIZE(rt->iovs)] = (struct iovec){ rt->buffer + at, len };
		at += len;
		if (n == ARRAY_SIZE(rt->iovs) - 2) {
			rt->iovs[n + 1] = (struct iovec){ rt->buffer + at, t->moves - at };
			n += 2;
			break;
		}
	}
	t->iovs = rt->iovs;
	t->iov_count = (uint16_t)n;
	t->iov_max = ARRAY_SIZE(rt->iovs);
}

static void put_lent(struct rig_task *rt)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < rt->task.iov_count; i++) {
		memcpy(rt->iovs[i].iov_base, rt->data + rt->task.base + at, rt->iovs[i].iov_len);
		at += (uint32_t)rt->iovs[i].iov_len;
	}
	must(at == rt->task.moves);
}

static void execute_here(void *arg)
{
	struct rig_task *rt = arg;
	struct scsi_task *t = &rt->task;

	t->iovs = rt->iovs;
	t->iov_max = ARRAY_SIZE(rt->iovs);
	if (t->data == SCSI_DATA_OUT) {
		if (t->may_lend && !rt->q->rig->no_lending && scsi_task_lend(t))
			put_lent(rt);
		else
			set_buffers(rt);
	} else if (t->data == SCSI_DATA_IN && (!t->may_lend || rt->q->rig->no_lending)) {
		set_buffers(rt);
	}
	scsi_task_execute(t);
}

static void parse_here(void *arg)
{
	struct rig_task *rt = arg;

	scsi_task_came(&rt->task, reactor_now_ns());
	if (scsi_task_parse(&rt->task)) {
		must(rt->task.data != SCSI_DATA_OUT || rt->task.moves <= rt->task.expected_out);
		return;
	}
	rt->refused = true;
	must(rt->task.status != SCSI_GOOD);
	answered(rt);
}

struct rig_task *rig_parse(struct rig_nexus *q, uint32_t lun, const struct rig_cdb *cdb, enum scsi_data dir,
                           void *data, uint32_t len, uint8_t attr)
{
	struct rig_task *rt = base_zalloc(sizeof(*rt));
	static uint64_t tags;

	rt->q = q;
	rt->data = data;
	rt->len = len;
	rt->task.nexus = &q->n;
	rt->task.lun = scsi_lun_wire(lun);
	rt->task.tag = ++tags;
	rt->task.attr = attr;
	memcpy(rt->task.cdb, cdb->b, sizeof(rt->task.cdb));
	rt->task.cdb_len = 16;
	if (dir == SCSI_DATA_OUT)
		rt->task.expected_out = len;
	if (dir == SCSI_DATA_IN)
		rt->task.expected_in = len;
	sim_as(core_reactor(q->rig->core, q->core_index), parse_here, rt);
	return rt;
}

void rig_execute(struct rig_task *rt)
{
	if (!rt->refused)
		sim_as(core_reactor(rt->q->rig->core, rt->q->core_index), execute_here, rt);
}

struct rig_task *rig_send(struct rig_nexus *q, uint32_t lun, const struct rig_cdb *cdb, enum scsi_data dir, void *data,
                          uint32_t len, uint8_t attr)
{
	struct rig_task *rt = rig_parse(q, lun, cdb, dir, data, len, attr);

	rig_execute(rt);
	return rt;
}

bool rig_wait(struct rig_task *rt, uint64_t ns)
{
	return sim_run(is_true, &rt->done, ns);
}

uint8_t rig_end(struct rig_task *rt, struct rig_task *ret)
{
	uint8_t status = rt->status;

	must(rt->done || rig_wait(rt, 100 * NS_PER_S));
	status = rt->status;
	if (ret)
		*ret = *rt;
	free(rt->buffer);
	free(rt);
	return status;
}

uint8_t rig_cmd(struct rig_nexus *q, uint32_t lun, const struct rig_cdb *cdb, enum scsi_data dir, void *data,
                uint32_t len, struct rig_task *ret)
{
	return rig_end(rig_send(q, lun, cdb, dir, data, len, SCSI_ATTR_SIMPLE), ret);
}

uint32_t rig_try(struct rig_nexus *q, uint32_t lun, const struct rig_cdb *cdb, enum scsi_data dir, void *data,
                 uint32_t len)
{
	struct rig_task rt;
	uint8_t status = rig_cmd(q, lun, cdb, dir, data, len, &rt);

	if (status == SCSI_CHECK_CONDITION)
		return (uint32_t)rt.key << 16 | rt.asc;
	return status ? RIG_STATUS(status) : 0;
}

/* --- task management -- */

static void tmf_done(struct scsi_tmf *m)
{
	container_of(m, struct rig_tmf, tmf)->done = true;
}

static void tmf_here(void *arg)
{
	scsi_tmf_start(&((struct rig_tmf *)arg)->tmf);
}

void rig_tmf_start(struct rig_tmf *m, struct rig_nexus *q, uint8_t function, uint32_t lun, uint64_t tag)
{
	*m = (struct rig_tmf){ .tmf = { .nexus = &q->n, .function = function, .lun = scsi_lun_wire(lun), .tag = tag,
		.done = tmf_done } };
	sim_as(core_reactor(q->rig->core, q->core_index), tmf_here, m);
}

uint8_t rig_tmf(struct rig_nexus *q, uint8_t function, uint32_t lun, uint64_t tag)
{
	struct rig_tmf m;

	rig_tmf_start(&m, q, function, lun, tag);
	must(rig_run_until(&m.done));
	return m.tmf.response;
}
