/* SPDX-License-Identifier: BSD-3-Clause */
/* resv_rule.c: which commands are in conflict with which reservation, and what types are called: the tables of SPC-5
 * and of NVMe's base specification say the same in different words. */
#include "bdev/reservation.h"

#define TYPE_NAME(type, name, spc, nvme) name,
#define TYPE_SPC(type, name, spc, nvme) spc,
#define TYPE_NVME(type, name, spc, nvme) nvme,
static const char *const names[] = { RESV_TYPES(TYPE_NAME) };
static const uint8_t spc_codes[] = { RESV_TYPES(TYPE_SPC) }, nvme_codes[] = { RESV_TYPES(TYPE_NVME) };

const char *resv_type_name(enum resv_type t)
{
	return t < RESV_TYPE_COUNT ? names[t] : "unknown";
}

uint8_t resv_type_to_spc(enum resv_type t)
{
	return spc_codes[t];
}

uint8_t resv_type_to_nvme(enum resv_type t)
{
	return nvme_codes[t];
}

static enum resv_type type_from(const uint8_t *codes, uint8_t code)
{
	enum resv_type t = RESV_WE;

	while (t < RESV_TYPE_COUNT && codes[t] != code)
		t++;
	return t;
}

enum resv_type resv_type_from_spc(uint8_t code)
{
	return type_from(spc_codes, code);
}

enum resv_type resv_type_from_nvme(uint8_t code)
{
	return type_from(nvme_codes, code);
}

bool resv_conflicts(enum resv_type t, enum resv_relation who, enum resv_class class)
{
	if (t == RESV_NONE || class < RESV_READ || who == RESV_HOLDER)
		return false;
	switch (t) {
	case RESV_WE:
		return class == RESV_WRITE;
	case RESV_EA:
		return true;
	case RESV_WERO:
	case RESV_WEAR:
		return who == RESV_STRANGER && class == RESV_WRITE;
	default:
		return who == RESV_STRANGER;
	}
}
