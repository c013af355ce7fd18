/* SPDX-License-Identifier: BSD-3-Clause */
/* cpus.c: the CPUs a person named, as a hexadecimal mask or as a list. */
#include <ctype.h>

#include "core/reactor.h"

#define CPU_MAX 4096u /* larger numbers are typing mistakes */

struct cpu_set {
	uint64_t bits[CPU_MAX / 64];
};

static int parse_mask(const char *field, const char *text, struct cpu_set *set, struct err *e);
static int parse_list(const char *field, const char *text, struct cpu_set *set, struct err *e);
static int list_cpus(const char *field, const char *text, const struct cpu_set *set, uint32_t max, uint32_t *ret_cpus,
                     uint32_t *ret_count, struct err *e);

int cpus_parse(const char *text, uint32_t *ret_cpus, uint32_t *ret_count, struct err *e)
{
	return core_parse_cpus("cpus", text, CORE_REACTORS_MAX, ret_cpus, ret_count, e);
}

int core_parse_cpus(const char *field, const char *text, uint32_t max, uint32_t *ret_cpus, uint32_t *ret_count,
                    struct err *e)
{
	struct cpu_set set = { 0 };
	int rc = strpbrk(text, "[,-") ? parse_list(field, text, &set, e) : parse_mask(field, text, &set, e);

	return rc ? rc : list_cpus(field, text, &set, max, ret_cpus, ret_count, e);
}

static int parse_mask(const char *field, const char *text, struct cpu_set *set, struct err *e)
{
	const char *digits = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? text + 2 : text;
	size_t len = strlen(digits);

	if (!len || len > CPU_MAX / 4 || strspn(digits, "0123456789abcdefABCDEF") != len)
		return err_set(e, ERR_BAD_PARAM, "%s: \"%s\" is neither a mask such as 0x5 nor a list such as [0,2-3]",
		               field, text);
	for (size_t i = 0; i < len; i++) {
		char c = (char)tolower((unsigned char)digits[len - 1 - i]);
		uint64_t v = (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);

		set->bits[i / 16] |= v << i % 16 * 4;
	}
	return 0;
}

/* A number at *at; -1 when there is none or it is too large. */
static int take_number(const char **at)
{
	uint32_t v = 0;

	if (!isdigit((unsigned char)**at))
		return -1;
	for (; isdigit((unsigned char)**at); (*at)++) {
		v = v * 10 + (uint32_t)(**at - '0');
		if (v >= CPU_MAX)
			return -1;
	}
	return (int)v;
}

static int parse_list(const char *field, const char *text, struct cpu_set *set, struct err *e)
{
	bool bracket = text[0] == '[';
	const char *at = text + bracket;

	for (;;) {
		int first = take_number(&at), last = first;

		if (first >= 0 && *at == '-') {
			at++;
			last = take_number(&at);
		}
		if (first < 0 || last < 0)
			return err_set(e, ERR_BAD_PARAM, "%s: \"%s\" has no CPU number (0 to %u) before \"%s\"",
			               field, text, CPU_MAX - 1, at);
		if (last < first)
			return err_set(e, ERR_BAD_PARAM, "%s: \"%s\": the range %d-%d runs backwards", field, text, first,
			               last);
		for (int cpu = first; cpu <= last; cpu++)
			set->bits[cpu / 64] |= 1ull << cpu % 64;
		if (*at != ',')
			break;
		at++;
	}
	if (bracket && *at++ != ']')
		return err_set(e, ERR_BAD_PARAM, "%s: \"%s\" lacks the closing bracket", field, text);
	if (*at)
		return err_set(e, ERR_BAD_PARAM, "%s: \"%s\" goes on with \"%s\" where a list would end", field, text, at);
	return 0;
}

static int list_cpus(const char *field, const char *text, const struct cpu_set *set, uint32_t max, uint32_t *ret_cpus,
                     uint32_t *ret_count, struct err *e)
{
	uint32_t count = 0;

	for (uint32_t cpu = 0; cpu < CPU_MAX; cpu++) {
		if (!(set->bits[cpu / 64] & 1ull << cpu % 64))
			continue;
		if (count == max)
			return err_set(e, ERR_BAD_PARAM, "%s: \"%s\" names more than %u CPUs; no more can be used here", field,
			               text, max);
		ret_cpus[count++] = cpu;
	}
	if (!count)
		return err_set(e, ERR_BAD_PARAM, "%s: \"%s\" names no CPU; at least one is needed", field, text);
	*ret_count = count;
	return 0;
}

char *core_cpus_mask(const uint32_t *cpus, uint32_t count)
{
	uint32_t last = 0, len;
	char *text;

	for (uint32_t i = 0; i < count; i++)
		last = max_u32(last, cpus[i]);
	len = last / 4 + 1;
	text = base_zalloc(len + 1);
	memset(text, '0', len);
	for (uint32_t i = 0; i < count; i++) {
		char *digit = &text[len - 1 - cpus[i] / 4];
		uint32_t v = (uint32_t)(*digit <= '9' ? *digit - '0' : *digit - 'a' + 10) | 1u << cpus[i] % 4;

		*digit = "0123456789abcdef"[v];
	}
	return text;
}

uint64_t core_reactors_on(struct core *core, const uint32_t *cpus, uint32_t count)
{
	uint64_t reactors = 0;

	for (uint32_t i = 0; i < core->count; i++)
		for (uint32_t k = 0; k < count; k++)
			if (reactor_cpu(core->reactors[i]) == cpus[k])
				reactors |= 1ull << i;
	return reactors;
}
