/* SPDX-License-Identifier: BSD-3-Clause */
/* resv_change.c: what an operation does to a device's reservation, or why it may not. Pure: state in, state out, and
 * who has to be told; nothing here knows of cores, files or time. SPC-5 5.14; NVMe base 8.19, whose register actions
 * differ from SPC's and are rows of their own.
 */
#include "bdev/resv_priv.h"

typedef enum resv_result change_fn(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret);

struct resv_registrant *resv_find(struct resv_state *s, uint32_t party)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->who[i].party == party)
			return &s->who[i];
	return NULL;
}

/* The asker, when it is registered with the key that it says. */
static struct resv_registrant *asker(struct resv_state *s, const struct resv_op *op)
{
	struct resv_registrant *r = resv_find(s, op->party);

	return r && (r->key == op->key || op->flags & RESV_F_ANY_KEY) ? r : NULL;
}

static void tell(struct resv_outcome *o, uint32_t party, enum resv_event event)
{
	assert(o->told_count < ARRAY_SIZE(o->told));
	o->told[o->told_count++] = (struct resv_told){ .party = party, .event = (uint8_t)event };
}

static void tell_others(struct resv_outcome *o, const struct resv_state *s, uint32_t but, enum resv_event event)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->who[i].party != but)
			tell(o, s->who[i].party, event);
}

static enum resv_result set(struct resv_state *s, uint32_t party, uint64_t key)
{
	struct resv_registrant *r = resv_find(s, party);

	if (!r) {
		if (s->count == RESV_REGISTRANTS_MAX)
			return RESV_NO_ROOM;
		r = &s->who[s->count++];
	}
	*r = (struct resv_registrant){ .key = key, .party = party };
	return RESV_OK;
}

static void unset(struct resv_state *s, struct resv_registrant *r)
{
	size_t after = (size_t)(&s->who[s->count] - (r + 1));

	memmove(r, r + 1, after * sizeof(*r));
	s->count--;
}

/* A registrant leaves by itself: its reservation ends with it, and of -all registrants with the last of them. */
static void unregister(struct resv_state *s, uint32_t party, struct resv_outcome *ret)
{
	struct resv_registrant *r = resv_find(s, party);
	bool held;

	if (!r)
		return;
	held = s->type != RESV_NONE && s->holder == party;
	unset(s, r);
	if (held && (s->type == RESV_WERO || s->type == RESV_EARO))
		tell_others(ret, s, party, RESV_EVENT_RESERVATION_RELEASED);
	if (held || !s->count) {
		s->type = RESV_NONE;
		s->holder = 0;
	}
}

static void persistence(struct resv_state *s, const struct resv_op *op)
{
	if (op->flags & (RESV_F_PERSIST | RESV_F_VOLATILE))
		s->persists = op->flags & RESV_F_PERSIST;
}

/* --- registering ----------------------------------------------------------------------------------------- */

/* Of those named beside the asker: who is not registered, or is as the asker was. Another's registration is not his to
 * change; with IGNORE they are all his own ports. */
static bool is_to_register(struct resv_state *s, const struct resv_op *op, uint32_t party, uint64_t before)
{
	const struct resv_registrant *other = resv_find(s, party);

	return !other || other->key == before || op->action == RESV_REGISTER_IGNORE;
}

static enum resv_result do_register(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	struct resv_registrant *r = resv_find(s, op->party);
	uint64_t before = r ? r->key : 0;
	enum resv_result rc = RESV_OK;

	if (op->action == RESV_REGISTER && op->key != before)
		return RESV_CONFLICT;
	if (r && op->flags & RESV_F_FOR_OTHERS) /* SPEC_I_PT is for who comes new */
		return RESV_BAD_FIELD;
	persistence(s, op);
	s->generation++;
	if (!op->new_key) {
		unregister(s, op->party, ret);
		for (uint32_t i = 0; i < op->other_count; i++)
			if (is_to_register(s, op, op->other_parties[i], before))
				unregister(s, op->other_parties[i], ret);
		return RESV_OK;
	}
	rc = set(s, op->party, op->new_key);
	for (uint32_t i = 0; i < op->other_count && rc == RESV_OK; i++)
		if (is_to_register(s, op, op->other_parties[i], before))
			rc = set(s, op->other_parties[i], op->new_key);
	return rc;
}

static enum resv_result do_move(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	struct resv_registrant *r = asker(s, op);
	enum resv_result rc;

	assert(op->other_count == 1);
	if (!r || s->type == RESV_NONE || resv_type_is_all(s->type) || s->holder != op->party)
		return RESV_CONFLICT;
	if (!op->new_key || op->other_parties[0] == op->party)
		return RESV_BAD_FIELD;
	rc = set(s, op->other_parties[0], op->new_key);
	if (rc != RESV_OK)
		return rc;
	persistence(s, op);
	s->generation++;
	s->holder = op->other_parties[0];
	if (op->flags & RESV_F_UNREGISTER)
		unregister(s, op->party, ret);
	return RESV_OK;
}

static enum resv_result do_nvme_register(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	struct resv_registrant *r = resv_find(s, op->party);

	if (!op->new_key)
		return RESV_BAD_FIELD;
	if (r && r->key != op->new_key)
		return RESV_CONFLICT;
	persistence(s, op);
	s->generation++;
	return set(s, op->party, op->new_key);
}

static enum resv_result do_nvme_unregister(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	if (!asker(s, op))
		return RESV_CONFLICT;
	persistence(s, op);
	s->generation++;
	unregister(s, op->party, ret);
	return RESV_OK;
}

static enum resv_result do_nvme_replace(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	if (!op->new_key)
		return RESV_BAD_FIELD;
	if (!asker(s, op) && !(op->flags & RESV_F_ANY_KEY)) /* who ignores the key may come new */
		return RESV_CONFLICT;
	persistence(s, op);
	s->generation++;
	return set(s, op->party, op->new_key);
}

/* --- reserving ------------------------------------------------------------------------------------------- */

static enum resv_result do_reserve(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	struct resv_registrant *r = asker(s, op);

	if (!r)
		return RESV_CONFLICT;
	if (s->type != RESV_NONE)
		return resv_holds(s, r) && s->type == op->type ? RESV_OK : RESV_CONFLICT;
	s->type = op->type;
	s->holder = resv_type_is_all(op->type) ? 0 : op->party;
	return RESV_OK;
}

static enum resv_result do_release(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	struct resv_registrant *r = asker(s, op);

	if (!r)
		return RESV_CONFLICT;
	if (!resv_holds(s, r))
		return RESV_OK;
	if (s->type != op->type)
		return RESV_BAD_RELEASE;
	if (s->type != RESV_WE && s->type != RESV_EA)
		tell_others(ret, s, op->party, RESV_EVENT_RESERVATION_RELEASED);
	s->type = RESV_NONE;
	s->holder = 0;
	return RESV_OK;
}

static enum resv_result do_clear(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	if (!asker(s, op))
		return RESV_CONFLICT;
	tell_others(ret, s, op->party, RESV_EVENT_RESERVATION_PREEMPTED);
	s->count = 0;
	s->type = RESV_NONE;
	s->holder = 0;
	s->generation++;
	return RESV_OK;
}

/* Those with this key go, or all; the asker only if `mine`. Returns how many. */
static uint32_t drive_out(struct resv_state *s, const struct resv_op *op, bool all, bool mine, struct resv_outcome *ret)
{
	uint32_t gone = 0;

	for (uint32_t i = 0; i < s->count;) {
		struct resv_registrant *r = &s->who[i];
		bool own = r->party == op->party;

		if ((!all && r->key != op->new_key) || (own && !mine)) {
			i++;
			continue;
		}
		if (!own) {
			tell(ret, r->party, RESV_EVENT_REGISTRATION_PREEMPTED);
			ret->aborts |= op->action == RESV_PREEMPT_ABORT;
		}
		unset(s, r);
		gone++;
	}
	return gone;
}

static enum resv_result do_preempt(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	bool all = resv_type_is_all(s->type), takes;
	uint8_t before = s->type;

	if (!asker(s, op))
		return RESV_CONFLICT;
	takes = before != RESV_NONE && (all ? !op->new_key : resv_find(s, s->holder)->key == op->new_key);
	if (!takes && !op->new_key)
		return RESV_BAD_FIELD;
	s->generation++;
	if (!takes) {
		if (!drive_out(s, op, false, true, ret))
			return RESV_CONFLICT;
		if (!s->count)
			s->type = RESV_NONE;
		return RESV_OK;
	}
	drive_out(s, op, all, false, ret);
	if (op->type != before)
		tell_others(ret, s, op->party, RESV_EVENT_RESERVATION_RELEASED);
	s->type = op->type;
	s->holder = resv_type_is_all(op->type) ? 0 : op->party;
	return RESV_OK;
}

static enum resv_result do_set_persist(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	persistence(s, op);
	return RESV_OK;
}

/* --- SPC-2 ----------------------------------------------------------------------------------------------- */

/* Where persistent ones are in use, a registrant's RESERVE and RELEASE are good and do nothing (CRH). */
static enum resv_result do_spc2_reserve(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	if (s->count)
		return resv_find(s, op->party) ? RESV_OK : RESV_CONFLICT;
	if (s->spc2 && s->spc2 != op->party)
		return RESV_CONFLICT;
	s->spc2 = op->party;
	return RESV_OK;
}

static enum resv_result do_spc2_release(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	if (s->count)
		return resv_find(s, op->party) ? RESV_OK : RESV_CONFLICT;
	if (s->spc2 == op->party) /* others' RELEASE is good and does nothing */
		s->spc2 = 0;
	return RESV_OK;
}

static enum resv_result do_spc2_reset(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	s->spc2 = 0;
	return RESV_OK;
}

/* --- the table ------------------------------------------------------------------------------------------- */

static const struct {
	change_fn *fn;
	bool beside_spc2;   /* may be done while SPC-2's RESERVE holds the device */
} changes[] = {
	[RESV_REGISTER]        = { do_register,        false },
	[RESV_REGISTER_IGNORE] = { do_register,        false },
	[RESV_REGISTER_MOVE]   = { do_move,            false },
	[RESV_NVME_REGISTER]   = { do_nvme_register,   false },
	[RESV_NVME_UNREGISTER] = { do_nvme_unregister, false },
	[RESV_NVME_REPLACE]    = { do_nvme_replace,    false },
	[RESV_RESERVE]         = { do_reserve,         false },
	[RESV_RELEASE]         = { do_release,         false },
	[RESV_CLEAR]           = { do_clear,           false },
	[RESV_PREEMPT]         = { do_preempt,         false },
	[RESV_PREEMPT_ABORT]   = { do_preempt,         false },
	[RESV_SET_PERSIST]     = { do_set_persist,     true },
	[RESV_SPC2_RESERVE]    = { do_spc2_reserve,    true },
	[RESV_SPC2_RELEASE]    = { do_spc2_release,    true },
	[RESV_SPC2_RESET]      = { do_spc2_reset,      true },
};

static bool same(const struct resv_state *a, const struct resv_state *b)
{
	return a->generation == b->generation && a->type == b->type && a->persists == b->persists &&
	       a->holder == b->holder && a->spc2 == b->spc2; /* the registrants do not change without the generation */
}

enum resv_result resv_change(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret)
{
	struct resv_state before = { .generation = s->generation, .type = s->type, .persists = s->persists,
	                             .holder = s->holder, .spc2 = s->spc2 };
	enum resv_result rc;

	ret->changed = ret->aborts = false;
	ret->told_count = 0;
	assert(op->action < ARRAY_SIZE(changes) && changes[op->action].fn);
	if (s->spc2 && !changes[op->action].beside_spc2)
		return RESV_CONFLICT;
	rc = changes[op->action].fn(s, op, ret);
	ret->changed = rc == RESV_OK && !same(&before, s);
	return rc;
}
