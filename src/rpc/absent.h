/* SPDX-License-Identifier: BSD-3-Clause */
/* absent.h: SPDK's methods that there are none of here, and what to do instead. Private to rpc. */
#ifndef RPC_ABSENT_H
#define RPC_ABSENT_H

/* NULL: SPDK has no such method, or this daemon has it. A sentence without the name and without a full stop. */
const char *absent_because(const char *method);

#endif
