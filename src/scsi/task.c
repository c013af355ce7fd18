/* SPDX-License-Identifier: BSD-3-Clause */
/* task.c: a task's way through the layer: parse, execute in its turn, complete, free.
 *
 * An answer that is ready at once waits in the core's queue until the deferred phase of the pass, so that the transport
 * never hears of it from within its own call; an answer that comes from a device goes to the transport at once.
 *
 * Order is kept within a nexus and LUN: a task with attribute ORDERED begins when all older ones have ended, and
 * younger ones begin when it has. While no ordered task and no gate is there, which is nearly always, nobody looks.
 */
#include "core/trace.h"
#include "scsi/scsi_priv.h"

static void done_run(struct defer *d);
static void give_back(struct scsi_task *t);

/* --- parse -- */

static void reset(struct scsi_task *t)
{
	t->data = SCSI_DATA_NONE;
	t->may_lend = t->may_consume = false;
	t->data_len = t->moves = t->whole = t->base = 0;
	t->lend_iovs_max = 0;
	t->iov_count = t->iov_max = 0;
	t->status = SCSI_GOOD;
	t->aborted = t->given_up = t->lent = t->consumed = t->more = t->tell_aborted = false;
	t->sent_len = t->full_len = 0;
	t->sense_len = 0;
	t->lu = NULL;
	t->state = SCSI_TASK_PARSED;
	t->own = NULL;
	t->own_bytes = 0;
	t->io.active = false;
	t->io.waited = 0;
}

static const struct scsi_opcode *find_row(const struct scsi *s, const uint8_t *cdb)
{
	const struct scsi_opcode *row = s->ops[cdb[0]].rows;

	if (likely(!row || row->service_action < 0))
		return row;
	for (uint32_t i = 0; i < s->ops[cdb[0]].count; i++)
		if (row[i].service_action == (cdb[1] & 0x1f))
			return &row[i];
	return NULL;
}

/* No bit is set that a row does not name, all sixteen bytes at a time. False: look at each. */
static inline bool is_plain(const struct scsi_task *t)
{
	static const uint8_t opcode[8] = { 0xff };
	uint64_t cdb[2], usage[2], first;

	memcpy(cdb, t->cdb, sizeof(cdb));
	memcpy(usage, t->op->usage, sizeof(usage));
	memcpy(&first, opcode, sizeof(first));
	return !((cdb[0] & ~(usage[0] | first)) | (cdb[1] & ~usage[1]));
}

/* A bit that nobody looks at is set: which. */
static bool check_reserved(struct scsi_task *t)
{
	const struct scsi_opcode *op = t->op;
	uint8_t action_bits = op->service_action >= 0 ? 0x1f : 0;

	for (uint32_t i = 1; i < op->cdb_len; i++) {
		uint8_t wrong = t->cdb[i] & (uint8_t)~(op->usage[i] | (i == 1 ? action_bits : 0));

		if (unlikely(wrong))
			return scsi_task_bad_field(t, (uint16_t)i, 31 - __builtin_clz(wrong), true);
	}
	return true;
}

static bool check_attention(struct scsi_task *t, uint32_t lun)
{
	uint16_t asc;

	if ((t->op && (t->op->flags & SCSI_ROW_ANY_TIME)) || !scsi_attention_take(t->nexus, lun, &asc))
		return true;
	return scsi_task_refuse(t, SCSI_UNIT_ATTENTION, asc);
}

static uint8_t group_state(const struct scsi_map *map, uint16_t port)
{
	const struct scsi_port *p = scsi_map_port(map, port);

	for (uint32_t g = 0; p && g < map->group_count; g++)
		if (map->groups[g].id == p->group)
			return map->groups[g].state;
	return SCSI_ALUA_UNAVAILABLE;
}

static bool check_alua(struct scsi_task *t, const struct scsi_map *map)
{
	uint16_t flags = t->op->flags;

	switch (group_state(map, t->nexus->port)) {
	case SCSI_ALUA_OPTIMIZED:
	case SCSI_ALUA_NONOPTIMIZED:
		return true;
	case SCSI_ALUA_STANDBY:
		return flags & SCSI_ROW_STANDBY || scsi_task_refuse(t, SCSI_NOT_READY, SCSI_ASC_ALUA_STANDBY);
	case SCSI_ALUA_TRANSITIONING:
		return flags & SCSI_ROW_UNAVAILABLE || scsi_task_refuse(t, SCSI_NOT_READY, SCSI_ASC_ALUA_TRANSITION);
	case SCSI_ALUA_OFFLINE:
		return flags & SCSI_ROW_UNAVAILABLE || scsi_task_refuse(t, SCSI_NOT_READY, SCSI_ASC_OFFLINE);
	default:
		return flags & SCSI_ROW_UNAVAILABLE || scsi_task_refuse(t, SCSI_NOT_READY, SCSI_ASC_ALUA_UNAVAILABLE);
	}
}

/* In the order in which SPC wants conditions told. */
static bool parse_slow_checks(struct scsi_task *t, const struct scsi_map *map, uint32_t lun)
{
	if (!t->lu && !(t->op && (t->op->flags & SCSI_ROW_NO_LUN)))
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
	if (t->attr == SCSI_ATTR_ACA)
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CIU);
	if (t->lu && !check_attention(t, lun))
		return false;
	if (!t->op && scsi_task_scsi(t)->ops[t->cdb[0]].rows)
		return scsi_task_bad_field(t, 1, 4, true); /* another service action, perhaps */
	if (!t->op)
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	if (t->lu && map->alua_limited && !check_alua(t, map))
		return false;
	if (t->op->flags & SCSI_ROW_MEDIUM && scsi_task_state(t)->stopped)
		return scsi_task_refuse(t, SCSI_NOT_READY, SCSI_ASC_INIT_COMMAND_REQUIRED);
	return true;
}

static bool check_writable(struct scsi_task *t, const struct scsi_lu_state *state)
{
	if (likely(!t->lu->read_only && !state->swp))
		return true;
	return scsi_task_refuse(t, SCSI_DATA_PROTECT,
	                        t->lu->read_only ? SCSI_ASC_WRITE_PROTECTED : SCSI_ASC_SOFTWARE_WRITE_PROTECTED);
}

static bool parse(struct scsi_task *t)
{
	struct scsi_nexus *n = t->nexus;
	const struct scsi_map *map = scsi_nexus_map(n);
	uint32_t lun = scsi_lun_number(t->lun);
	const struct scsi_opcode *op;

	t->op = op = find_row(n->core->scsi, t->cdb);
	if (likely(lun < SCSI_LUNS_MAX && map->luns[lun].lu)) {
		t->lu = &map->luns[lun].lu->dev.view[n->core->index];
		t->lu->refs++;
	}
	t->unit = (uint16_t)min_u32(lun, SCSI_LUNS_MAX);
	t->epoch = n->attentions[t->unit].epoch;
	if (unlikely(!op || !t->lu || n->attention_count || map->alua_limited || t->attr == SCSI_ATTR_ACA ||
	             map->luns[lun].state.stopped) && !parse_slow_checks(t, map, lun))
		return false;
	if (unlikely(!is_plain(t)) && !check_reserved(t))
		return false;
	if (op->flags & SCSI_ROW_WRITES && unlikely(!check_writable(t, &map->luns[lun].state)))
		return false;
	return !op->parse || op->parse(t);
}

bool scsi_task_parse(struct scsi_task *t)
{
	reset(t);
	trace(SCSI_START, t->tag, t->cdb[0]);
	if (likely(parse(t)))
		return true;
	t->data = SCSI_DATA_NONE;
	t->data_len = t->moves = 0;
	return false;
}

bool scsi_task_seek(struct scsi_task *t, uint32_t base)
{
	assert(t->state == SCSI_TASK_PARSED || t->state == SCSI_TASK_DONE);
	assert(base < t->whole);
	give_back(t);
	t->iovs = NULL;
	t->iov_count = t->iov_max = 0;
	t->may_lend = t->may_consume = t->consumed = t->more = false;
	t->sent_len = 0;
	t->full_len = t->base = base;
	t->state = SCSI_TASK_PARSED;
	if (likely(t->op->parse(t)))
		return true;
	t->data = SCSI_DATA_NONE;
	t->data_len = t->moves = 0;
	return false;
}

bool scsi_task_moves(struct scsi_task *t, enum scsi_data data, uint32_t len)
{
	t->data = len ? (uint8_t)data : SCSI_DATA_NONE;
	t->data_len = len;
	t->moves = min_u32(len, data == SCSI_DATA_OUT ? t->expected_out : t->expected_in);
	return true;
}

const struct scsi_lu_state *scsi_task_state(const struct scsi_task *t)
{
	static const struct scsi_lu_state none;
	const struct scsi_map_lun *at;

	if (!t->lu)
		return &none;
	at = &scsi_nexus_map(t->nexus)->luns[scsi_lu_of(t->lu)->lun];
	return at->lu == scsi_lu_of(t->lu) ? &at->state : &none;
}

/* --- execute -- */

static bool same_set(const struct scsi_task *a, const struct scsi_task *b)
{
	return a->lu == b->lu;
}

/* It comes before `t`, and is not done. */
static bool older_is_there(const struct scsi_task *t, bool ordered_only)
{
	list_each(l, &t->nexus->tasks) {
		const struct scsi_task *other = list_entry(l, struct scsi_task, link);

		if (other == t)
			return false;
		if (same_set(other, t) && (!ordered_only || other->attr == SCSI_ATTR_ORDERED))
			return true;
	}
	return false;
}

static bool may_start(const struct scsi_task *t)
{
	const struct scsi_nexus *n = t->nexus;

	if (n->gates)
		return false;
	if (t->attr == SCSI_ATTR_HEAD)
		return true;
	if (t->attr == SCSI_ATTR_ORDERED)
		return !older_is_there(t, false);
	return !n->ordered || !older_is_there(t, true);
}

/* What a command is to a reservation of somebody else. */
static enum resv_class class_of(const struct scsi_opcode *op)
{
	if (op->flags & SCSI_ROW_CONFLICT_WRITE)
		return RESV_WRITE;
	if (op->flags & SCSI_ROW_CONFLICT_READ)
		return RESV_READ;
	return op->flags & (SCSI_ROW_ANY_TIME | SCSI_ROW_RESERVES) ? RESV_ALWAYS : RESV_INFO;
}

/* Its I/O is judged at the device, once more; but there are commands that have none. */
static bool is_refused(const struct scsi_task *t)
{
	return t->lu && t->lu->ch && bdev_resv_refuses(t->lu->ch, &t->nexus->who, class_of(t->op));
}

static void start(struct scsi_task *t)
{
	t->state = SCSI_TASK_RUNS;
	if (unlikely(is_refused(t))) {
		t->status = SCSI_RESERVATION_CONFLICT;
		scsi_task_complete(t);
		return;
	}
	t->op->run(t);
}

static void wait_for_turn(struct scsi_task *t)
{
	trace(SCSI_WAIT, t->tag, t->nexus->task_count);
	t->state = SCSI_TASK_WAITS;
	t->nexus->waiting++;
}

bool scsi_task_lun_is_gone(const struct scsi_task *t)
{
	return t->lu && scsi_nexus_map(t->nexus)->luns[scsi_lu_of(t->lu)->lun].lu != scsi_lu_of(t->lu);
}

static inline bool is_stale(const struct scsi_task *t)
{
	return t->epoch != t->nexus->attentions[t->unit].epoch;
}

bool scsi_task_is_stale(const struct scsi_task *t)
{
	return is_stale(t) || t->aborted;
}

void scsi_task_abort_between(struct scsi_task *t)
{
	assert(t->state == SCSI_TASK_PARSED || (t->state == SCSI_TASK_DONE && t->more));
	t->aborted = true;
}

void scsi_task_execute(struct scsi_task *t)
{
	struct scsi_nexus *n = t->nexus;
	uint64_t now_ns = reactor_now_ns();

	assert(t->state == SCSI_TASK_PARSED && t->op);
	list_add_tail(&n->tasks, &t->link);
	n->task_count++;
	n->ordered += t->attr == SCSI_ATTR_ORDERED;
	if (unlikely(now_ns != t->came_ns))
		scsi_task_began_late(t, now_ns);
	watch_arm(&n->core->watch);
	if (unlikely(n->ending || is_stale(t) || t->aborted)) {
		t->tell_aborted = !n->ending && !t->aborted && n->attentions[t->unit].tell_stale;
		t->aborted = true;
		t->state = SCSI_TASK_RUNS;
		scsi_task_complete(t);
	} else if (likely(!n->gates && !n->ordered) || may_start(t)) {
		start(t);
	} else {
		wait_for_turn(t);
	}
}

void scsi_tasks_start(struct scsi_nexus *n)
{
	list_each_safe(l, &n->tasks) {
		struct scsi_task *t = list_entry(l, struct scsi_task, link);

		if (t->state != SCSI_TASK_WAITS || !may_start(t))
			continue;
		n->waiting--;
		t->io.waited += (uint32_t)((reactor_now_ns() - t->came_ns) >> 10) - t->began;
		start(t); /* its answer comes later */
	}
}

void scsi_task_abort(struct scsi_task *t, bool tell)
{
	assert(t->state == SCSI_TASK_WAITS || t->state == SCSI_TASK_RUNS);
	if (!t->aborted)
		t->tell_aborted = tell;
	t->aborted = true;
	t->given_up = false;
	if (t->state == SCSI_TASK_WAITS) {
		t->nexus->waiting--;
		t->state = SCSI_TASK_RUNS;
		scsi_task_complete(t);
	} else if (t->io.active) {
		bdev_abort(t->io.ch, &t->io); /* asked; its own completion says when it has ended */
	}
}

void scsi_task_give_up(struct scsi_task *t)
{
	if (t->state == SCSI_TASK_WAITS) {
		scsi_task_abort(t, false);
		t->given_up = true;
	} else if (t->state == SCSI_TASK_RUNS && t->io.active) {
		t->given_up = !t->aborted;
		bdev_abort(t->io.ch, &t->io);
	}
}

/* --- complete -- */

void scsi_task_complete(struct scsi_task *t)
{
	struct scsi_core *c = t->nexus->core;

	assert(t->state == SCSI_TASK_RUNS);
	t->state = SCSI_TASK_DONE;
	queue_push(&c->done, &t->done_link);
	defer_run(&c->done_defer, done_run);
}

static void done_run(struct defer *d)
{
	struct scsi_core *c = container_of(d, struct scsi_core, done_defer);
	struct queue_link *l = queue_take_all(&c->done), *next;

	for (; l; l = next) {
		struct scsi_task *t = container_of(l, struct scsi_task, done_link);

		next = l->next;
		t->state = SCSI_TASK_RUNS;
		scsi_task_finish(t);
	}
}

static void end_aborted(struct scsi_task *t)
{
	t->status = t->tell_aborted ? SCSI_TASK_ABORTED : SCSI_GOOD;
	t->sense_len = 0;
	t->more = false;
	t->sent_len = 0;
	t->full_len = t->base;
}

/* It was done all the same, or failed by itself: that is to be told. Were it done anew, a COMPARE AND WRITE would find
 * what it wrote. */
static void judge_given_up(struct scsi_task *t)
{
	if (!t->aborted)
		t->aborted = t->given_up = t->status != SCSI_GOOD && t->io.status == BDEV_ST_ABORTED;
}

void scsi_task_finish(struct scsi_task *t)
{
	struct scsi_nexus *n = t->nexus;
	bool aborted;

	assert(t->state == SCSI_TASK_RUNS);
	if (unlikely(t->given_up))
		judge_given_up(t);
	aborted = t->aborted;
	t->state = SCSI_TASK_DONE;
	list_del(&t->link);
	n->ordered -= t->attr == SCSI_ATTR_ORDERED;
	if (unlikely(aborted))
		end_aborted(t);
	n->ops->task_done(t); /* may free it, and end the nexus: that waits for the count */
	if (unlikely(!list_empty(&n->legs)) && aborted)
		scsi_legs_task_ended(n);
	if (unlikely(n->waiting))
		scsi_tasks_start(n);
	n->task_count--;
	scsi_nexus_go_on(n);
}

void scsi_task_sense(struct scsi_task *t, uint8_t key, uint16_t asc_ascq)
{
	scsi_task_refuse(t, key, asc_ascq);
	scsi_task_complete(t);
}

void scsi_task_bad_param(struct scsi_task *t, uint16_t byte, int bit)
{
	scsi_task_bad_field(t, byte, bit, false);
	scsi_task_complete(t);
}

bool scsi_task_has_list(struct scsi_task *t, uint32_t header_bytes)
{
	if (t->moves < t->data_len) /* the initiator has less than it said */
		scsi_task_sense(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	else if (t->data_len <= header_bytes)
		scsi_task_complete(t);
	else
		return true;
	return false;
}

void scsi_task_fail(struct scsi_task *t, uint8_t key, uint8_t asc, uint8_t ascq)
{
	assert(t->state == SCSI_TASK_PARSED);
	scsi_task_refuse(t, key, (uint16_t)(asc << 8 | ascq));
}

/* What it had for moving data. */
static void give_back(struct scsi_task *t)
{
	if (t->lent) {
		t->lent = false;
		bdev_io_release(&t->io);
	}
	if (unlikely(t->own)) {
		mem_uncharge(reactor_core(reactor_self()), t->own_bytes);
		free(t->own);
		t->own = NULL;
	}
}

void scsi_task_free(struct scsi_task *t)
{
	give_back(t);
	if (t->lu) {
		bdev_view_put(t->lu);
		t->lu = NULL;
	}
}

void *scsi_task_own(struct scsi_task *t, size_t bytes)
{
	const size_t page = 4096;

	assert(!t->own);
	if (!mem_charge(reactor_core(reactor_self()), bytes)) {
		t->status = SCSI_BUSY;
		scsi_task_complete(t);
		return NULL;
	}
	t->own = base_zalloc_aligned(page, bytes);
	t->own_bytes = (uint32_t)bytes;
	return t->own;
}

/* --- data -- */

void scsi_task_complete_data(struct scsi_task *t, const void *data, uint32_t len)
{
	struct iov_cursor to = iov_cursor_over(t->iovs, t->iov_count);

	t->full_len = min_u32(len, t->data_len);
	t->sent_len = min_u32(t->full_len, t->moves);
	if (t->sent_len)
		iov_copy_in(&to, data, t->sent_len);
	scsi_task_complete(t);
}

void scsi_task_read_params(const struct scsi_task *t, uint32_t offset, void *to, uint32_t len)
{
	uint32_t there = offset < t->moves ? min_u32(len, t->moves - offset) : 0;
	struct iov_cursor from = iov_cursor_over(t->iovs, t->iov_count);

	if (there) {
		iov_skip(&from, offset);
		iov_copy_out(to, &from, there);
	}
	memset((char *)to + there, 0, len - there);
}
