/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp.h: what sending and receiving over NVMe/TCP share. Private to src/nvme/tcp*.c. */
#ifndef NVME_TCP_H
#define NVME_TCP_H

#include "fabric/fabric.h"
#include "nvme/host.h"

/* What one outstanding command has under way. By slot; `line` links those with a PDU to send. What every command needs
 * when it ends is in the first cache line. */
struct slot {
	struct queue_link line;
	struct nvme_op *op;
	uint32_t header_len;
	uint32_t data_at, data_len;     /* of the PDU in the line, within the command's data */
	uint32_t received;              /* C2HData so far */
	uint32_t r2t_at, r2t_end;       /* R2T being answered */
	uint16_t ttag;
	bool digested;                  /* a data digest follows the data */
	bool bad_digest;
	bool lined;                     /* in the line: its memory must stay until the PDU is out */
	bool answered;                  /* the answer came while it was: complete it then */
	uint8_t digest[NVME_TCP_DIGEST_SIZE];
	uint8_t header[FABRIC_PUT_MAX] CACHE_ALIGNED;
	struct nvme_cqe answer;
};

struct tcp_qpair {
	struct nvme_qpair qp;
	struct sock *sock;
	struct fabric_rx rx;
	struct nvme_tcp_framing tx;
	uint32_t h2c_data_max;
	struct slot *slots;
	struct slot *receiving;         /* whose data the PDU at hand carries */
	bool success;                   /* and whether it stands for the response, too */
	bool large;                     /* data came in large PDUs of late */
	struct queue line;              /* slots with a PDU to send */
	uint32_t first_sent;            /* bytes of the first one that are out */
	struct defer send_defer;
	bool writable, connected;
	bool at_header;                 /* rx.pdu is at hand: a TermReq can quote it */
	uint8_t icreq[FABRIC_PUT_MAX];
	uint32_t icreq_len, icreq_sent;
};

static inline struct tcp_qpair *tcp_of(struct nvme_qpair *qp)
{
	return container_of(qp, struct tcp_qpair, qp);
}

/* The connection is given up: `fmt` goes on after queue and address. */
void tcp_broke(struct tcp_qpair *t, enum nvme_reason reason, int code, const char *fmt, ...) PRINTF(4, 5);
/* The target broke a rule: it is told by H2CTermReq which one, where that can still be sent. */
#define tcp_bad(t, fes, fei, ...) \
	(tcp_terminate(t, fes, fei), tcp_broke(t, NVME_REASON_PROTOCOL, -EPROTO, __VA_ARGS__))
enum nvme_reason tcp_reason_of(int error); /* of a connection that stood */
const char *tcp_error_text(const struct tcp_qpair *t, int error);
/* The bytes [at, at + len) of a command's data as iovecs; returns how many. */
int tcp_data_iovs(const struct nvme_op *op, uint32_t at, uint32_t len, struct iovec *iov, int max);

/* tcp_send.c */
void tcp_submit(struct nvme_qpair *qp, struct nvme_op *op);
void tcp_send_gathered(struct defer *d);
/* H2CTermReq about the PDU at hand, unless the end of another PDU would have to go before it. It is not waited for:
 * the connection ends now. */
void tcp_terminate(struct tcp_qpair *t, enum nvme_tcp_fes fes, uint32_t fei);
/* The next H2CData of the R2T this slot answers. */
void tcp_line_up_h2c(struct tcp_qpair *t, struct slot *s);

/* tcp_recv.c */
void tcp_receive(struct tcp_qpair *t);
/* The command's answer. Put off while a PDU of it is in the line. */
void tcp_complete(struct tcp_qpair *t, const struct nvme_cqe *cqe);

#endif
