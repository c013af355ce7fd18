/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma.h: NVMe over RDMA for hosts. A folder and a library of its own: who does not want RDMA does not link verbs.
 *
 * Paths with trtype RDMA work from then on. Without an adapter an attempt to connect ends with a sentence.
 */
#ifndef NVME_RDMA_RDMA_H
#define NVME_RDMA_RDMA_H

#include "nvme/nvme.h"

/* Core: control, before controllers are opened. It goes with the host; nvme_host_when_idle() has to be waited for. */
void nvme_rdma_add(struct nvme_host *h);

#endif
