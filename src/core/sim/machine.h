/* SPDX-License-Identifier: BSD-3-Clause */
/* machine.h: the simulated machine's inside. Private to core/sim. */
#ifndef CORE_SIM_MACHINE_H
#define CORE_SIM_MACHINE_H

#include "core/reactor.h"
#include "core/sim/sim.h"

#define SIM_REACTORS_MAX 256u /* of all cores of one simulation */

/*   name      meaning */
#define SIM_STATES(X) \
	X(AWAKE,   "makes a pass whenever the dice say so") \
	X(SPIN,    "found nothing to do; looks for work itself, so that nobody has to wake it") \
	X(YAWNS,   "will sleep, and has not armed its lookers yet") \
	X(DROWSY,  "has said that it will sleep, and not looked again yet") \
	X(ASLEEP,  "only a wake-up, a ready socket or its timer gets it up")
#define SIM_STATE_ENUM(name, meaning) SIM_##name,
enum sim_state { SIM_STATES(SIM_STATE_ENUM) };

struct platform_reactor {
	struct list link;         /* sim.reactors */
	struct platform *platform;
	struct reactor *r;
	enum sim_state state;
	bool woken;               /* platform_wake(), not taken yet */
	uint64_t looked;          /* sim.activity when it last looked at memory */
	bool lost_said;           /* that it sleeps while work waits */
	uint64_t pass_ended_ns;   /* the last one */
	uint64_t sleep_until_ns;  /* decided when it fell asleep, as the timeout of a real wait is */
	struct list ready;        /* sim_ready that wait for its next pass */
};

struct platform {
	struct list link;         /* sim.platforms */
	struct core *core;
	struct list jobs;         /* running on the helper pool */
};

/* One at a time: the platform's clock and dice have no object to hang off. */
struct sim {
	bool on;
	uint64_t now_ns, event_sequence, hash, dice[4];
	struct list platforms, reactors, events, fds, mappings;
	uint64_t activity, last_fd;  /* activity: times that memory may have changed */
	void (*after_pass)(struct reactor *r, void *arg);
	void *after_pass_arg;
	uint64_t job_ns_min, job_ns_max;
};
extern struct sim sim;

void sim_dice_seed(uint64_t seed);
/* fds.c: what a process that ends leaves open; NULL: all. */
void sim_fds_close_core(const struct core *core);
/* core->msg_gate. */
bool sim_message_gate(struct reactor *to, uint32_t from);

#endif
