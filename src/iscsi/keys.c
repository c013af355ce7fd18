/* SPDX-License-Identifier: BSD-3-Clause */
/* keys.c: the rows of keys.h at work: result functions and answers. */
#include "iscsi/keys.h"

enum { I = 1 << 0, T = 1 << 1 };
enum { S = KEY_STAGE_SECURITY, O = KEY_STAGE_OPERATIONAL, F = KEY_STAGE_FULL };
enum sessions { ALL, NORMAL };

/* A field of struct iscsi_params; size 0: none. */
struct field {
	uint8_t at, size;
};

struct key {
	const char *name;
	uint8_t senders, stages, sessions, kind;
	struct field field;
	uint32_t min, max;
};

#define FIELD(member) { offsetof(struct iscsi_params, member), sizeof(((struct iscsi_params *)0)->member) }
#define FIELD_NO_FIELD { 0, 0 }
#define FIELD_header_digest FIELD(header_digest)
#define FIELD_data_digest FIELD(data_digest)
#define FIELD_max_send FIELD(max_send)
#define FIELD_max_connections FIELD(max_connections)
#define FIELD_initial_r2t FIELD(initial_r2t)
#define FIELD_immediate_data FIELD(immediate_data)
#define FIELD_max_burst FIELD(max_burst)
#define FIELD_first_burst FIELD(first_burst)
#define FIELD_time2wait FIELD(time2wait)
#define FIELD_time2retain FIELD(time2retain)
#define FIELD_max_outstanding_r2t FIELD(max_outstanding_r2t)
#define FIELD_data_pdu_in_order FIELD(data_pdu_in_order)
#define FIELD_data_sequence_in_order FIELD(data_sequence_in_order)
#define FIELD_error_recovery_level FIELD(error_recovery_level)
#define FIELD_task_reporting FIELD(task_reporting)
#define FIELD_protocol_level FIELD(protocol_level)

#define ROW(name, id, sender, stage, sessions, kind, field, min, max) \
	[ISCSI_KEY_##id] = { name, sender, stage, sessions, KEY_##kind, FIELD_##field, min, max },
static const struct key keys[] = { ISCSI_KEYS(ROW) };

static const char *const reporting[] = {
	[ISCSI_TASK_RFC3720] = "RFC3720", [ISCSI_TASK_RESPONSE_FENCE] = "ResponseFence",
	[ISCSI_TASK_FAST_ABORT] = "FastAbort",
};

static bool is_irrelevant(const struct iscsi_deal *d, enum iscsi_key key);
static const char *choose_number(const struct iscsi_deal *d, enum iscsi_key key, const char *value);
static const char *choose_bool(const struct iscsi_deal *d, enum iscsi_key key, const char *value);
static const char *choose_digest(const struct iscsi_deal *d, enum iscsi_key key, const char *list);
static const char *choose_tasks(const struct iscsi_deal *d, const char *list);
static bool wants(const struct iscsi_deal *d, enum iscsi_key key);

/* --- fields ---------------------------------------------------------------------------------------------------- */

static uint32_t field_get(const struct iscsi_params *p, struct field f)
{
	const uint8_t *at = (const uint8_t *)p + f.at;
	uint16_t half;
	uint32_t whole;

	switch (f.size) {
	case 1:
		return *at;
	case 2:
		memcpy(&half, at, sizeof(half));
		return half;
	default:
		assert(f.size == sizeof(whole));
		memcpy(&whole, at, sizeof(whole));
		return whole;
	}
}

static void field_set(struct iscsi_params *p, struct field f, uint32_t value)
{
	uint8_t *at = (uint8_t *)p + f.at;
	uint16_t half = (uint16_t)value;

	switch (f.size) {
	case 1:
		*at = (uint8_t)value;
		return;
	case 2:
		memcpy(at, &half, sizeof(half));
		return;
	default:
		assert(f.size == sizeof(value));
		memcpy(at, &value, sizeof(value));
		return;
	}
}

/* --- what a key is --------------------------------------------------------------------------------------------- */

const char *iscsi_key_name(enum iscsi_key key)
{
	assert(key < ISCSI_KEY_COUNT);
	return keys[key].name;
}

enum iscsi_key_kind iscsi_key_kind(enum iscsi_key key)
{
	assert(key < ISCSI_KEY_COUNT);
	return (enum iscsi_key_kind)keys[key].kind;
}

enum iscsi_key iscsi_key_find(const char *name)
{
	enum iscsi_key key = 0;

	while (key < ISCSI_KEY_COUNT && strcmp(keys[key].name, name))
		key++;
	return key;
}

bool iscsi_value_is_refusal(const char *value)
{
	return !strcmp(value, "Reject") || !strcmp(value, "Irrelevant") || !strcmp(value, "NotUnderstood");
}

enum iscsi_key_fault iscsi_key_may(enum iscsi_key key, uint8_t stage)
{
	assert(key < ISCSI_KEY_COUNT);
	if (!(keys[key].senders & I))
		return KEY_WRONG_SENDER;
	return keys[key].stages & stage ? KEY_FINE : KEY_WRONG_STAGE;
}

/* --- what comes out -------------------------------------------------------------------------------------------- */

/* A choice returns the text to answer; NULL: the field was set, and its value, a number, is the answer. */
void iscsi_key_apply(struct iscsi_deal *d, enum iscsi_key key, const char *value, struct iscsi_text_out *out)
{
	const struct key *k = &keys[key];
	bool answer = d->offered & ISCSI_KEY_BIT(key); /* to what we proposed: nothing is said in return */
	const char *word;

	assert(k->kind != KEY_TEXT && k->kind != KEY_AUTH);
	if (answer && iscsi_value_is_refusal(value)) {
		field_set(d->params, k->field, field_get(&ISCSI_PARAMS_DEFAULT, k->field));
		return;
	}
	switch ((enum iscsi_key_kind)k->kind) {
	case KEY_DECLARED:
	case KEY_MIN:
	case KEY_MAX:
		word = choose_number(d, key, value);
		break;
	case KEY_OR:
	case KEY_AND:
		word = choose_bool(d, key, value);
		break;
	case KEY_DIGEST:
		word = choose_digest(d, key, value);
		break;
	case KEY_TASKS:
		word = choose_tasks(d, value);
		break;
	default: /* RFC 7143 13.25: the marker keys are not unknown, they are refused */
		word = "Reject";
		break;
	}
	if (is_irrelevant(d, key))
		word = "Irrelevant";
	if (answer && word && !strcmp(word, "Reject")) /* nonsense: as if refused */
		field_set(d->params, k->field, field_get(&ISCSI_PARAMS_DEFAULT, k->field));
	if (answer || (k->kind == KEY_DECLARED && !word))
		return;
	if (word)
		iscsi_text_put(out, k->name, "%s", word);
	else
		iscsi_text_put_number(out, k->name, field_get(d->params, k->field));
}

/* FirstBurstLength says how much may come unasked; without a way for it to come, it says nothing. */
static bool is_irrelevant(const struct iscsi_deal *d, enum iscsi_key key)
{
	if (keys[key].sessions == NORMAL && d->discovery)
		return true;
	return key == ISCSI_KEY_FIRST_BURST && d->params->initial_r2t && !d->params->immediate_data;
}

static const char *choose_number(const struct iscsi_deal *d, enum iscsi_key key, const char *value)
{
	const struct key *k = &keys[key];
	uint32_t ours = field_get(d->ours, k->field);
	uint64_t theirs;

	if (!iscsi_value_number(value, &theirs) || theirs < k->min || theirs > k->max)
		return "Reject";
	if (is_irrelevant(d, key))
		return NULL;
	if (k->kind == KEY_DECLARED) {
		field_set(d->params, k->field, ours ? min_u32((uint32_t)theirs, ours) : (uint32_t)theirs);
		return NULL;
	}
	if (key == ISCSI_KEY_FIRST_BURST)
		ours = min_u32(ours, d->params->max_burst);
	field_set(d->params, k->field, k->kind == KEY_MIN ? min_u32((uint32_t)theirs, ours) :
	          max_u32((uint32_t)theirs, ours));
	return NULL;
}

static const char *choose_bool(const struct iscsi_deal *d, enum iscsi_key key, const char *value)
{
	const struct key *k = &keys[key];
	bool ours = field_get(d->ours, k->field), theirs, result;

	if (!iscsi_value_bool(value, &theirs))
		return "Reject";
	result = k->kind == KEY_OR ? ours || theirs : ours && theirs;
	if (!is_irrelevant(d, key))
		field_set(d->params, k->field, result);
	return result ? "Yes" : "No";
}

/* The first that we have too, in the initiator's order. */
static const char *choose_digest(const struct iscsi_deal *d, enum iscsi_key key, const char *list)
{
	const struct key *k = &keys[key];
	bool can = field_get(d->ours, k->field);
	bool need = key == ISCSI_KEY_HEADER_DIGEST ? d->need_header_digest : d->need_data_digest;
	uint32_t len;

	for (const char *item; (item = iscsi_value_item(&list, &len));) {
		if (len == 6 && !memcmp(item, "CRC32C", len) && (can || need)) {
			field_set(d->params, k->field, true);
			return "CRC32C";
		}
		if (len == 4 && !memcmp(item, "None", len) && !need) {
			field_set(d->params, k->field, false);
			return "None";
		}
	}
	return "Reject";
}

/* One connection a session keeps the responses in order, as ResponseFence wants it. FastAbort is not done. */
static const char *choose_tasks(const struct iscsi_deal *d, const char *list)
{
	uint32_t len;

	for (const char *item; (item = iscsi_value_item(&list, &len));)
		for (uint8_t i = 0; i <= d->ours->task_reporting; i++)
			if (len == strlen(reporting[i]) && !memcmp(item, reporting[i], len)) {
				d->params->task_reporting = i;
				return reporting[i];
			}
	return "Reject";
}

/* --- what we propose ------------------------------------------------------------------------------------------- */

/* Keys in which a default would have a host send what we do not take. Others' defaults do no harm. */
static const enum iscsi_key proposals[] = {
	ISCSI_KEY_HEADER_DIGEST, ISCSI_KEY_DATA_DIGEST, ISCSI_KEY_INITIAL_R2T, ISCSI_KEY_IMMEDIATE_DATA,
	ISCSI_KEY_MAX_BURST, ISCSI_KEY_FIRST_BURST,
};

bool iscsi_keys_to_propose(const struct iscsi_deal *d, uint64_t seen)
{
	for (size_t i = 0; i < ARRAY_SIZE(proposals); i++)
		if (!((seen | d->offered) & ISCSI_KEY_BIT(proposals[i])) && wants(d, proposals[i]))
			return true;
	return false;
}

/* What we propose is in force at once: only weaker answers change it, and hosts that say nothing in return have been
 * seen to go by what they were told. */
void iscsi_keys_propose(struct iscsi_deal *d, uint64_t seen, struct iscsi_text_out *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(proposals); i++) {
		enum iscsi_key key = proposals[i];
		const struct key *k = &keys[key];
		uint32_t ours = field_get(d->ours, k->field);

		if ((seen | d->offered) & ISCSI_KEY_BIT(key) || !wants(d, key))
			continue;
		d->offered |= ISCSI_KEY_BIT(key);
		if (k->kind == KEY_DIGEST) {
			field_set(d->params, k->field, true);
			iscsi_text_put(out, k->name, "CRC32C");
		} else if (k->kind == KEY_MIN) {
			if (key == ISCSI_KEY_FIRST_BURST)
				ours = min_u32(ours, d->params->max_burst);
			field_set(d->params, k->field, ours);
			iscsi_text_put_number(out, k->name, ours);
		} else {
			field_set(d->params, k->field, ours);
			iscsi_text_put(out, k->name, "%s", ours ? "Yes" : "No");
		}
	}
}

static bool wants(const struct iscsi_deal *d, enum iscsi_key key)
{
	const struct key *k = &keys[key];
	uint32_t ours = field_get(d->ours, k->field), now = field_get(d->params, k->field);

	if (is_irrelevant(d, key))
		return false;
	switch ((enum iscsi_key_kind)k->kind) {
	case KEY_DIGEST:
		return key == ISCSI_KEY_HEADER_DIGEST ? d->need_header_digest : d->need_data_digest;
	case KEY_MIN:
		return ours < now || (key == ISCSI_KEY_FIRST_BURST && d->ours->max_burst < now);
	case KEY_OR:
		return ours && !now;
	case KEY_AND:
		return !ours && now;
	default:
		return false;
	}
}
