/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.h: where the time of I/O commands goes, and which were slow (private to nvmf; nvmf_eyes.h tells others). What
 * the stages are is said in core/stages.h.
 *
 * Each queue pair has counts for each namespace it used, made with the first command and touched on its core only: the
 * sums over namespaces, queues or hosts are made when somebody asks. When a queue pair ends its counts become its
 * host's and its namespaces'. Slow commands go to the flight recorder.
 */
#ifndef NVMF_STAGES_H
#define NVMF_STAGES_H

#include "nvmf/nvmf_eyes.h"

struct nvmf_core;

/* The queue pair ends, or the view goes. */
void nvmf_stages_close(struct nvmf_qpair *qp);
void nvmf_stages_fini(struct nvmf_core *nc);

/* flight.c: the recorder of a core is made, with nothing in it. */
void nvmf_flights_init(struct nvmf_target *t);
void nvmf_flight_init(struct nvmf_core *nc);

#endif
