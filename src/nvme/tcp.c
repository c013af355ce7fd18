/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp.c: queue pairs over NVMe/TCP: their connections. We grant one R2T at a time per command, so that a command has at
 * most one PDU in the line.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "net/tls.h"
#include "nvme/tcp.h"

void tcp_broke(struct tcp_qpair *t, enum nvme_reason reason, int code, const char *fmt, ...)
{
	char why[200], addr[NET_ADDR_TEXT_MAX];
	struct err e = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	err_set(&e, code, "queue %u to %s: %s", t->qp.qid, net_addr_text(&t->qp.addr, addr), why);
	nvme_qpair_broke(&t->qp, reason, &e);
}

enum nvme_reason tcp_reason_of(int error)
{
	switch (error) {
	case -ETIMEDOUT: return NVME_REASON_SILENT;
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -ENETDOWN: return NVME_REASON_UNREACHABLE;
	case -EBADMSG:
	case -ECONNABORTED: return NVME_REASON_TLS;
	default: return NVME_REASON_RESET;
	}
}

const char *tcp_error_text(const struct tcp_qpair *t, int error)
{
	const char *tls = sock_tls_why(t->sock);

	return tls ? tls : strerror(-error);
}

static enum nvme_reason connect_reason_of(int error)
{
	switch (error) {
	case -ECONNREFUSED:
	case -ECONNRESET: return NVME_REASON_REFUSED;
	case -ETIMEDOUT: return NVME_REASON_CONNECT_TIMEOUT;
	default: return NVME_REASON_UNREACHABLE;
	}
}

int tcp_data_iovs(const struct nvme_op *op, uint32_t at, uint32_t len, struct iovec *iov, int max)
{
	int count = 0;

	at += op->iov_at;
	for (uint16_t i = 0; i < op->iov_count && len && count < max; i++) {
		size_t take;

		if (at >= op->iovs[i].iov_len) {
			at -= (uint32_t)op->iovs[i].iov_len;
			continue;
		}
		take = min_u64(op->iovs[i].iov_len - at, len);
		iov[count++] = (struct iovec){ (uint8_t *)op->iovs[i].iov_base + at, take };
		len -= (uint32_t)take;
		at = 0;
	}
	return count;
}

/* --- connection ------------------------------------------------------------------------------- */

static void send_icreq(struct tcp_qpair *t)
{
	struct iovec iov = { t->icreq + t->icreq_sent, t->icreq_len - t->icreq_sent };
	ssize_t sent = sock_send(t->sock, &iov, 1);

	if (sent < 0 && sent != -EAGAIN) {
		tcp_broke(t, tcp_reason_of((int)sent), (int)sent, "sending failed: %s", tcp_error_text(t, (int)sent));
		return;
	}
	t->icreq_sent += sent > 0 ? (uint32_t)sent : 0;
	t->writable = t->icreq_sent == t->icreq_len;
	sock_want_write(t->sock, !t->writable);
}

static void on_writable(struct tcp_qpair *t)
{
	if (!t->connected) {
		t->connected = true;
		sock_want_write(t->sock, false);
		nvme_qpair_connected(&t->qp);
		return;
	}
	if (t->icreq_sent < t->icreq_len) {
		send_icreq(t);
		return;
	}
	t->writable = true;
	sock_want_write(t->sock, false);
	defer_last(&t->send_defer, tcp_send_gathered);
}

static void sock_event(void *arg, uint32_t events)
{
	struct tcp_qpair *t = arg;

	nvme_qpair_hold(&t->qp);
	if (t->sock && (events & SOCK_FAILED) && !t->connected) {
		int error = sock_error(t->sock);

		error = error ? error : -ECONNREFUSED;
		tcp_broke(t, connect_reason_of(error), error, "cannot connect: %s%s", strerror(-error),
		          nvme_reason_remedy(connect_reason_of(error)));
	}
	if (t->sock && (events & SOCK_WRITABLE))
		on_writable(t);
	if (t->sock && (events & (SOCK_READABLE | SOCK_FAILED)) && t->connected)
		tcp_receive(t);
	nvme_qpair_release(&t->qp);
}

static int tcp_connect(struct nvme_qpair *qp, struct err *e)
{
	struct tcp_qpair *t = tcp_of(qp);
	struct sock_opts opts = { .ack_timeout_ms = qp->opts.ack_timeout_ms, .priority = qp->opts.priority };

	t->connected = t->writable = t->large = false; /* it may be another one */
	t->icreq_sent = t->first_sent = 0;
	fabric_rx_init(&t->rx, NVME_TCP_HOST);
	t->rx.as.dgst_asked = (uint8_t)((qp->opts.header_digest ? NVME_TCP_DGST_HEADER : 0) |
	                                      (qp->opts.data_digest ? NVME_TCP_DGST_DATA : 0));
	t->icreq_len = fabric_put_icreq(t->icreq, 0, t->rx.as.dgst_asked, 0);
	t->sock = sock_connect(&qp->addr, qp->has_from ? &qp->from : NULL, &opts, sock_event, t, e);
	return t->sock ? 0 : -1;
}

static void tls_done(void *arg, struct sock *s, const struct err *e)
{
	struct tcp_qpair *t = arg;

	assert(s == t->sock);
	nvme_qpair_hold(&t->qp);
	nvme_qpair_secured(&t->qp, e);
	nvme_qpair_release(&t->qp);
}

static void tcp_secure(struct nvme_qpair *qp, const struct tls_offer *offer)
{
	sock_tls_client(tcp_of(qp)->sock, offer, 1, tls_done, tcp_of(qp));
}

static void tcp_negotiate(struct nvme_qpair *qp)
{
	send_icreq(tcp_of(qp));
}

static void tcp_size(struct nvme_qpair *qp)
{
	struct tcp_qpair *t = tcp_of(qp);

	t->slots = base_zalloc_aligned(CACHE_LINE, qp->slot_count * sizeof(*t->slots));
}

static bool tcp_disconnect(struct nvme_qpair *qp)
{
	struct tcp_qpair *t = tcp_of(qp);

	/* What the system has not delivered yet of commands that fail now must not go out later, after a partition say:
	 * they may have been done again by then. */
	if (t->sock && qp->qid && qp->outstanding)
		sock_reset(t->sock);
	else if (t->sock)
		sock_close(t->sock);
	t->sock = NULL;
	t->receiving = NULL;
	queue_init(&t->line);
	return true; /* only this core writes into the memory of commands */
}

static struct nvme_qpair *tcp_make(struct nvme_host *h)
{
	struct tcp_qpair *t = base_zalloc(sizeof(*t));

	(void)h;
	queue_init(&t->line);
	return &t->qp;
}

/* The send defer may still be queued: the last free of a pass is done by it. */
static void free_at_end(struct defer *d)
{
	struct tcp_qpair *t = container_of(d, struct tcp_qpair, send_defer);

	free(t->slots);
	free(t);
}

static void tcp_free(struct nvme_qpair *qp)
{
	struct tcp_qpair *t = tcp_of(qp);

	if (t->send_defer.queued)
		t->send_defer.fn = free_at_end;
	else
		free_at_end(&t->send_defer);
}

const struct nvme_transport nvme_tcp = {
	.name = "TCP",
	.admin_in_capsule_bytes = NVME_TCP_ADMIN_ICD_MAX,
	.make = tcp_make,
	.connect = tcp_connect,
	.secure = tcp_secure,
	.negotiate = tcp_negotiate,
	.size = tcp_size,
	.submit = tcp_submit,
	.disconnect = tcp_disconnect,
	.free = tcp_free,
};
