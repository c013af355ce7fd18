/* SPDX-License-Identifier: BSD-3-Clause */
/* text_fuzz.c: any bytes as text, cut anywhere: two ways of cutting read the same pairs; every value can be asked
 * anything; what is put out has the length it should have.
 *
 * Input: one byte: where to cut; then the text.
 */
#include "iscsi/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void gather(struct iscsi_text_in *in, const uint8_t *data, size_t size, size_t step)
{
	for (size_t at = 0; at < size; at += step) {
		size_t len = min_u64(step, size - at);
		uint8_t *copy = memcpy(malloc(len), data + at, len);

		if (!iscsi_text_gather(in, copy, (uint32_t)len)) {
			free(copy);
			return;
		}
		free(copy);
	}
}

static void ask(const char *value)
{
	uint8_t bytes[64];
	struct iscsi_text_out out = { 0 };
	uint64_t a, b;
	uint32_t len, items = 0;
	bool yes;

	if (iscsi_value_number(value, &a))
		must(strlen(value) >= 1);
	if (iscsi_value_range(value, &a, &b))
		must(a <= b);
	(void)!iscsi_value_bool(value, &yes);
	if (iscsi_value_is_name(value))
		must(strlen(value) <= 223);
	for (const char *list = value, *item; (item = iscsi_value_item(&list, &len)); items++)
		must(item + len <= value + strlen(value));
	must(items >= 1);
	if (!iscsi_value_binary(value, bytes, sizeof(bytes), &len))
		return;
	must(len > 0 && len <= sizeof(bytes));
	iscsi_text_put_binary(&out, "Key", bytes, len);
	must(out.len == 3 + 1 + 2 + 2 * len + 1);
	iscsi_text_forget_out(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct iscsi_text_in whole = { 0 }, cut = { 0 };
	struct iscsi_text_pair p = { 0 }, q = { 0 };
	enum iscsi_text_event event;
	uint32_t at = 0, at2 = 0;

	if (size < 2)
		return 0;
	gather(&whole, data + 1, size - 1, size);
	gather(&cut, data + 1, size - 1, 1 + data[0]);
	if (whole.len == cut.len) {
		do {
			event = iscsi_text_next(&whole, &at, &p);
			must(event == iscsi_text_next(&cut, &at2, &q));
			if (event != ISCSI_TEXT_PAIR)
				break;
			must(!strcmp(p.key, q.key) && !strcmp(p.value, q.value) && *p.key && strlen(p.key) <= ISCSI_KEY_MAX);
			ask(p.value);
		} while (true);
	}
	iscsi_text_forget(&whole);
	iscsi_text_forget(&cut);
	return 0;
}
