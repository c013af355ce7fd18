/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.c: counting commands and the time of their stages (core/stages.h), when their answer is gone.
 *
 * Each nexus has counts for each LUN it used, made with the first command and touched on its core only. When it ends,
 * or leaves for another core, they become its host's and its LUNs' on the core where they were made.
 *
 * A long command is in turn received, executed and sent, piece by piece: `began` is when its last piece was executed,
 * `away` all its time outside of the back-end until then. Data that is asked for is received meanwhile, and data that
 * is read sent.
 */
#include "core/trace.h"
#include "scsi/scsi_priv.h"

/* Not inlined: what is fast saves no registers for what is not. */
static __attribute__((noinline)) void count(struct scsi_task *t, uint64_t done_ns, uint8_t why);
static __attribute__((noinline)) void sent_late(struct scsi_task *t, uint64_t done_ns);

static uint32_t lun_of(const struct scsi_task *t)
{
	return t->lu ? t->unit : STAGE_UNIT_OTHERS;
}

static enum stage_kind kind_of(const struct scsi_opcode *op)
{
	if (!op || !(op->flags & SCSI_ROW_DATA))
		return STAGE_KIND_OTHER;
	return op->flags & SCSI_ROW_WRITES ? STAGE_KIND_WRITE : STAGE_KIND_READ;
}

/* Nearly all: a read or write of the LUN used last that went well, and was answered in the pass in which it came. */
void scsi_task_sent(struct scsi_task *t, uint64_t done_ns, uint64_t now_ns)
{
	struct stage_unit *q = t->nexus->stages;
	uint32_t flags, kind;

	if (unlikely(t->status || now_ns > t->came_ns || !q || q->unit != t->unit || trace_is_on(SCSI_DONE))) {
		sent_late(t, done_ns);
		return;
	}
	TRACE_PROBE(SCSI_DONE, t->tag, t->status);
	flags = t->op->flags;
	if (unlikely(!(flags & SCSI_ROW_DATA))) {
		count(t, done_ns, 0);
		return;
	}
	kind = flags & SCSI_ROW_WRITES ? STAGE_KIND_WRITE : STAGE_KIND_READ;
	q->counts.ios[kind]++;
	q->counts.bytes[kind] += t->base + t->moves;
	q->counts.at_once++;
}

static void sent_late(struct scsi_task *t, uint64_t done_ns)
{
	trace(SCSI_DONE, t->tag, t->status);
	count(t, done_ns, 0);
}

void scsi_task_lost(struct scsi_task *t, uint64_t done_ns, bool aborted)
{
	count(t, done_ns, aborted ? FLIGHT_ABORTED : FLIGHT_LOST);
}

void scsi_task_began_late(struct scsi_task *t, uint64_t now_ns)
{
	uint64_t from_ns = t->base ? t->paused_ns : t->came_ns;

	if (now_ns <= from_ns) /* it came on another core, whose pass began later */
		return;
	t->away += (uint32_t)((now_ns - from_ns) >> STAGE_UNIT_BITS);
	t->began = (uint32_t)min_u64((now_ns - t->came_ns) >> STAGE_UNIT_BITS, UINT32_MAX);
}

/* --- a command's time --- */

/* Its parts may be a unit too long each, and never are more than the whole. */
static uint64_t part(uint32_t units, uint64_t *left)
{
	uint64_t ns = min_u64((uint64_t)units << STAGE_UNIT_BITS, *left);

	*left -= ns;
	return ns;
}

/* What was never executed has no back-end's time. */
static void times_of(const struct scsi_task *t, uint64_t done_ns, uint64_t now_ns, uint64_t ns[STAGE_COUNT])
{
	uint64_t until = min_u64(max_u64(done_ns, t->came_ns), now_ns), left = until - t->came_ns, outside;
	bool begun = t->state != SCSI_TASK_PARSED, sends = t->data == SCSI_DATA_IN && t->base;

	outside = begun ? part(t->away, &left) : left;
	if (!begun)
		left = 0;
	ns[STAGE_WAIT] = part(t->waited, &outside);
	ns[STAGE_RECEIVE] = sends ? 0 : outside;
	ns[STAGE_SEND] = now_ns - until + (sends ? outside : 0);
	ns[STAGE_WAIT] += part(t->io.waited, &left);
	ns[STAGE_BACKEND] = left;
}

uint32_t scsi_task_error_code(const struct scsi_task *t)
{
	bool descriptors = (t->sense[0] & 0x7f) >= 0x72;
	uint32_t key = 0, asc = 0;

	if (t->status == SCSI_CHECK_CONDITION && t->sense_len >= (descriptors ? 4 : 14)) {
		key = t->sense[descriptors ? 1 : 2] & 0xf;
		asc = scsi_u16(t->sense + (descriptors ? 2 : 12));
	}
	return (uint32_t)t->status << 24 | key << 16 | asc;
}

static void count_times(struct scsi_task *t, struct stage_counts *c, uint64_t done_ns, uint64_t now_ns, uint8_t why)
{
	uint64_t ns[STAGE_COUNT];

	times_of(t, done_ns, now_ns, ns);
	stage_times_note(c, ns);
	flight_look(&t->nexus->core->flight, t, ns, now_ns - t->came_ns, now_ns, why);
}

static void count(struct scsi_task *t, uint64_t done_ns, uint8_t why)
{
	struct scsi_nexus *n = t->nexus;
	struct stage_unit *q = n->stages;
	uint64_t now_ns = reactor_now_ns();
	uint32_t lun = lun_of(t);

	if (!n->core || n->told)
		return;
	if (!q || q->unit != lun)
		q = stage_unit_find(&n->stages, lun);
	if (unlikely((t->status != SCSI_GOOD && t->status != SCSI_CONDITION_MET) || why)) {
		q->counts.errors++;
		stage_error_count(&n->core->errors, why ? SCSI_TASK_ABORTED << 24 : scsi_task_error_code(t));
	} else {
		q->counts.ios[kind_of(t->op)]++;
		q->counts.bytes[kind_of(t->op)] += t->base + t->moves;
	}
	if (likely(now_ns <= t->came_ns))
		q->counts.at_once++;
	else
		count_times(t, &q->counts, done_ns, now_ns, why);
}

/* --- ends --- */

static struct scsi_lu *lu_at(const struct scsi_map *map, uint32_t lun)
{
	return lun < SCSI_LUNS_MAX ? map->luns[lun].lu : NULL;
}

void scsi_stages_close(struct scsi_nexus *n)
{
	while (n->stages) {
		struct stage_unit *q = n->stages;
		struct scsi_lu *lu = lu_at(scsi_nexus_map(n), q->unit);
		struct bdev_view *v = lu ? &lu->dev.view[n->core->index] : NULL;

		stage_counts_add(&stage_host_find(&n->core->hosts, n->who.name)->counts, &q->counts);
		if (v) {
			struct stage_own *own = v->own ? v->own : base_zalloc(sizeof(*own));

			v->own = own;
			own->counted = true;
			stage_counts_add(&own->counts, &q->counts);
		}
		n->stages = q->next;
		free(q);
	}
}

void scsi_stages_fini(struct scsi_core *c)
{
	stage_hosts_fini(&c->hosts);
	flight_fini(&c->flight);
}

/* --- what others are told --- */

/* What tells the initiator's ports apart. */
const char *scsi_session_of(const struct scsi_nexus *n)
{
	size_t len = strlen(n->who.name);
	const char *port = n->initiator_port;

	if (len && strncmp(port, n->who.name, len) == 0)
		port += len;
	return strncmp(port, ",i,", 3) == 0 ? port + 3 : port;
}

static void read_nexuses(const struct scsi_core *c, struct stage_eyes *eyes)
{
	list_each(l, &c->nexuses) {
		const struct scsi_nexus *n = list_entry(l, struct scsi_nexus, link);
		struct stage_row *row;

		if (!n->stages)
			continue;
		row = stage_eyes_queue(eyes);
		if (row) {
			stage_name_set(row->host, sizeof(row->host), n->who.name);
			stage_name_set(row->target, sizeof(row->target), n->target->name);
			stage_name_set(row->device, sizeof(row->device), scsi_session_of(n));
			row->a = n->port;
		}
		for (const struct stage_unit *q = n->stages; q; q = q->next) {
			const struct scsi_lu *lu = lu_at(scsi_nexus_map(n), q->unit);

			if (row)
				stage_counts_add(&row->counts, &q->counts);
			stage_counts_add(&stage_eyes_host(eyes, n->who.name)->counts, &q->counts);
			stage_eyes_add_unit(eyes, n->target->name, q->unit, lu ? lu->dev.bdev_name : STAGE_OTHERS, &q->counts);
		}
	}
}

/* Of nexuses that have gone. */
static void read_luns(const struct scsi_core *c, struct stage_eyes *eyes)
{
	list_each(l, &c->maps) {
		const struct scsi_map *map = container_of(l, struct scsi_map, here[c->index]);

		for (uint32_t lun = 0; map->target->slot.current[c->index] == &map->v && lun < SCSI_LUNS_MAX; lun++) {
			const struct scsi_lu *lu = map->luns[lun].lu;
			const struct stage_own *own = lu ? lu->dev.view[c->index].own : NULL;

			if (own && own->counted)
				stage_eyes_add_unit(eyes, map->target->name, lun, lu->dev.bdev_name, &own->counts);
		}
	}
}

void scsi_eyes_read(struct scsi *s, struct stage_eyes *ret)
{
	struct scsi_core *c = scsi_core_here(s);

	stage_eyes_begin(ret, &c->hosts, &c->errors, &c->flight);
	read_nexuses(c, ret);
	read_luns(c, ret);
}
