/* SPDX-License-Identifier: BSD-3-Clause */
/* login_test.h: conversations of an initiator with the login engine, as tables: what is said, what is answered. */
#ifndef ISCSI_LOGIN_TEST_H
#define ISCSI_LOGIN_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/core.h"
#include "iscsi/login.h"

/* One request and its answer. In texts '|' stands for NUL, and every pair is ended by one. */
struct turn {
	uint8_t flags;              /* T, C, CSG, NSG */
	const char *says;
	enum iscsi_login_step step;
	uint8_t answer_flags;
	uint16_t status;
	const char *answer;         /* NULL: not looked at; "...X": has X in it */
};

#define T ISCSI_TRANSIT
#define C ISCSI_CONTINUE
#define SEC (ISCSI_STAGE_SECURITY << ISCSI_CSG_SHIFT)
#define OPN (ISCSI_STAGE_OPERATIONAL << ISCSI_CSG_SHIFT)
#define TO_OPN (T | ISCSI_STAGE_OPERATIONAL)
#define TO_FULL (T | ISCSI_STAGE_FULL_FEATURE)

#define ANSWER ISCSI_LOGIN_ANSWER
#define DONE ISCSI_LOGIN_DONE
#define REFUSED(code) ISCSI_LOGIN_REFUSED, 0, ISCSI_LOGIN_##code

#define WHO "InitiatorName=iqn.host|"
#define NAMES WHO "TargetName=iqn.disk|"
#define TAG "TargetPortalGroupTag=1|"
#define MRDSL "MaxRecvDataSegmentLength=262144|"

struct rig {
	struct iscsi_login l;
	uint16_t admit_status;
	uint8_t auth;
	uint32_t chap_algorithms;
	bool need_header_digest, need_data_digest, same_secrets, one_way;
	const char *alias, *redirect;
	uint16_t join_status;
	/* what was asked */
	uint32_t admitted;
};

void rig_init(struct rig *r);
void rig_fini(struct rig *r);
/* Sends one request; `says` as in struct turn. */
enum iscsi_login_step rig_say(struct rig *r, uint8_t flags, const char *says);
void rig_turn(struct rig *r, const struct turn *t, const char *name);
void rig_talk(struct rig *r, const struct turn *turns, size_t count, const char *name);
/* The text of the last answer, with '|' for NUL; stays until the next call. */
const char *rig_answer(struct rig *r);

#define TALK(r, ...) \
	do { \
		static const struct turn turns_[] = { __VA_ARGS__ }; \
		rig_talk(r, turns_, ARRAY_SIZE(turns_), __func__); \
	} while (0)

#endif
