/* SPDX-License-Identifier: BSD-3-Clause */
/* test_world.c: building it, and the raw host's few verbs. */
#include "backends/malloc/malloc.h"
#include "base/crc32c.h"
#include "core/log.h"
#include "nvmf/tcp/test_world.h"

const struct nvmf_transport_opts world_opts = {
	.max_queue_depth = 128, .max_io_qpairs_per_ctrlr = 8, .in_capsule_data_size = 4096, .max_io_size = 131072,
	.max_aq_depth = 32, .c2h_success = true, .data_timeout_ms = 3000,
};

/* --- the target --- */

static void serves(void *arg) { ((struct test_world *)arg)->serving = true; }

static void serve(void *arg)
{
	struct test_world *w = arg;
	const struct malloc_opts opts = { .name = "disk", .block_size = TEST_BLOCK, .block_count = TEST_BLOCKS };
	const struct malloc_opts pi = { .name = "protected", .block_size = 512, .block_count = TEST_BLOCKS, .md_size = 8,
		.md_interleaved = true, .dif_type = 2 };
	struct bdev *b;

	w->reg = bdev_registry_make(w->core);
	must(!malloc_create(w->reg, &opts, &b, NULL));
	if (w->protected)
		must(!malloc_create(w->reg, &pi, &b, NULL));
	w->target = nvmf_target_make(w->core, w->reg);
	w->serve = (struct test_serve){ .target = w->target, .ops = &nvmf_tcp_ops, .opts = &w->opts, .nqn = TEST_NQN,
	                                .disks = { "disk", w->protected ? "protected" : NULL }, .done = serves, .arg = w };
	must(!net_addr_parse(NET_IPV4, "127.0.0.1", "4420", &w->serve.listen, NULL));
	test_serve(&w->serve);
}

static bool is_serving(void *arg)
{
	return ((struct test_world *)arg)->serving;
}

void world_start(struct test_world *w, uint64_t seed, const struct sim_net_opts *net,
                 const struct nvmf_transport_opts *opts)
{
	uint32_t cores = w->cores ? w->cores : 2;
	bool protected = w->protected;

	memset(w, 0, sizeof(*w));
	w->cores = cores;
	w->protected = protected;
	w->opts = opts ? *opts : world_opts;
	sim_pair_start(seed, net, cores, 0, &w->core, &w->host_core);
	sim_as(core_control(w->core), serve, w);
	must(sim_run(is_serving, w, 10 * NS_PER_S));
}

static void unregistered(void *arg, int rc)
{
	struct test_world *w = arg;

	bdev_registry_free(w->reg);
	w->stopped = true;
}

static void target_stopped(void *arg)
{
	must(!malloc_delete(((struct test_world *)arg)->reg, "disk", unregistered, arg, NULL));
}

static void stop(void *arg)
{
	nvmf_target_stop(((struct test_world *)arg)->target, target_stopped, arg);
}

static bool is_stopped(void *arg)
{
	return ((struct test_world *)arg)->stopped;
}

void world_stop(struct test_world *w)
{
	sim_as(core_control(w->core), stop, w);
	must(sim_run(is_stopped, w, 100 * NS_PER_S));
	sim_pair_end(w->core, w->host_core);
}

void world_pass(uint64_t ns)
{
	sim_run(NULL, NULL, ns);
}

/* --- a host's socket --- */

void host_open(struct host *h, struct test_world *w)
{
	memset(h, 0, sizeof(*h));
	h->w = w;
	h->framing.align_bytes = 4;
	fabric_rx_init(&h->rx, NVME_TCP_HOST);
	sim_peer_open(&h->peer, core_reactor(w->host_core, 0), "4420", HOST_IN_BYTES);
}

void host_close(struct host *h)
{
	sim_peer_close(&h->peer);
}

void host_send(struct host *h, const void *bytes, uint32_t len)
{
	sim_peer_put(&h->peer, bytes, len);
	sim_peer_flush(&h->peer);
}

/* --- PDUs --- */

static bool whole_pdu(void *arg)
{
	struct host *h = arg;
	const struct nvme_tcp_hdr *hdr = (const struct nvme_tcp_hdr *)sim_peer_at(&h->peer);
	uint32_t have = sim_peer_left(&h->peer);

	return h->peer.ended || (have >= sizeof(*hdr) && have >= le32_get(hdr->plen));
}

bool host_recv(struct host *h, union nvme_tcp_pdu *ret_pdu, const uint8_t **ret_data, uint32_t *ret_len, uint64_t ns)
{
	const union nvme_tcp_pdu *pdu;
	enum fabric_rx_event ev;
	const uint8_t *at, *end;

	sim_run(whole_pdu, h, ns);
	pdu = (const union nvme_tcp_pdu *)sim_peer_at(&h->peer);
	if (sim_peer_left(&h->peer) < sizeof(pdu->h) || sim_peer_left(&h->peer) < le32_get(pdu->h.plen))
		return false;
	at = sim_peer_at(&h->peer);
	end = at + le32_get(pdu->h.plen);
	h->peer.in_at += le32_get(pdu->h.plen);
	memset(ret_pdu, 0, sizeof(*ret_pdu));
	memcpy(ret_pdu, at, pdu->h.hlen);
	if (ret_data)
		*ret_data = NULL;
	if (ret_len)
		*ret_len = 0;
	while ((ev = fabric_rx_next(&h->rx, &at, end)) != FABRIC_RX_MORE) {
		must(ev != FABRIC_RX_BAD);
		if (ev == FABRIC_RX_DATA && ret_data) {
			*ret_data = h->rx.span;
			*ret_len = h->rx.span_len;
		}
		must(ev != FABRIC_RX_END || h->rx.digest_good);
	}
	return true;
}

bool host_hello(struct host *h, uint8_t hpda, uint8_t dgst)
{
	uint8_t req[FABRIC_PUT_MAX];
	union nvme_tcp_pdu pdu;

	h->rx.as.dgst_asked = dgst;
	host_send(h, req, fabric_put_icreq(req, hpda, dgst, 0));
	if (!host_recv(h, &pdu, NULL, NULL, NS_PER_S) || pdu.h.type != NVME_TCP_ICRESP)
		return false;
	h->framing.hdgst = pdu.icresp.dgst & NVME_TCP_DGST_HEADER;
	h->framing.ddgst = pdu.icresp.dgst & NVME_TCP_DGST_DATA;
	h->framing.align_bytes = fabric_align_of(pdu.icresp.cpda);
	h->rx.as.framing = h->framing;
	h->rx.as.framing.align_bytes = fabric_align_of(hpda);
	h->rx.as.ready = true;
	return true;
}

static void send_data(struct host *h, const void *data, uint32_t len)
{
	uint8_t digest[NVME_TCP_DIGEST_SIZE];

	host_send(h, data, len);
	if (!h->framing.ddgst)
		return;
	fabric_put_digest(digest, crc32c_update(CRC32C_START, data, len));
	host_send(h, digest, sizeof(digest));
}

void host_command(struct host *h, struct nvme_sqe *sqe, const void *data, uint32_t len)
{
	uint8_t at[FABRIC_PUT_MAX];

	sqe->flags = 1 << 6;
	sqe->cid = le16_of(++h->cid);
	host_send(h, at, fabric_put_cmd(at, &h->framing, sqe, len));
	if (len)
		send_data(h, data, len);
}

void host_h2c_data(struct host *h, uint16_t cid, uint16_t ttag, uint32_t off, const void *data, uint32_t len, bool last)
{
	uint8_t at[FABRIC_PUT_MAX];

	host_send(h, at, fabric_put_h2c_data(at, &h->framing, cid, ttag, off, len, last ? NVME_TCP_LAST : 0));
	send_data(h, data, len);
}

static void set_sgl(struct nvme_sqe *sqe, uint32_t len, bool in_capsule)
{
	sqe->sgl1.length = le32_of(len);
	sqe->sgl1.id = in_capsule ? NVME_SGL_ID(NVME_SGL_DATA_BLOCK, NVME_SGL_OFFSET)
	                          : NVME_SGL_ID(NVME_SGL_TRANSPORT_DATA_BLOCK, NVME_SGL_TRANSPORT);
}

uint16_t host_run(struct host *h, struct nvme_sqe *sqe, const void *data, uint32_t len, bool in_capsule, void *to,
                  uint32_t to_len)
{
	union nvme_tcp_pdu pdu;
	const uint8_t *in;
	uint32_t in_len;

	set_sgl(sqe, data ? len : to_len, data && in_capsule);
	host_command(h, sqe, data, data && in_capsule ? len : 0);
	while (host_recv(h, &pdu, &in, &in_len, 20 * NS_PER_S)) {
		uint32_t off = le32_get(pdu.r2t.r2to), left = le32_get(pdu.r2t.r2tl), n;

		if (pdu.h.type == NVME_TCP_RSP) {
			must(le16_get(pdu.rsp.cqe.cid) == h->cid);
			if (to && !in_capsule && to_len == sizeof(pdu.rsp.cqe))
				memcpy(to, &pdu.rsp.cqe, sizeof(pdu.rsp.cqe));
			return nvme_cqe_status(&pdu.rsp.cqe);
		}
		if (pdu.h.type == NVME_TCP_C2HDATA) {
			must(le32_get(pdu.data.datao) + in_len <= to_len);
			memcpy((char *)to + le32_get(pdu.data.datao), in, in_len);
			if (pdu.h.flags & NVME_TCP_SUCCESS)
				return NVME_SC_SUCCESS;
			continue;
		}
		if (pdu.h.type != NVME_TCP_R2T)
			return UINT16_MAX;
		for (; left; left -= n, off += n) {
			n = min_u32(left, 50000);
			host_h2c_data(h, le16_get(pdu.r2t.cccid), le16_get(pdu.r2t.ttag), off, (const char *)data + off, n,
			              n == left);
		}
	}
	return UINT16_MAX;
}

/* --- setting up --- */

uint16_t host_connect(struct host *h, uint16_t qid, uint16_t cntlid, uint16_t *ret_cntlid)
{
	struct nvmf_connect_data d = { .cntlid = le16_of(cntlid), .subsysnqn = TEST_NQN,
	                               .hostnqn = "nqn.2026-01.io.gantry:host" };
	struct nvme_sqe sqe = { .opc = NVME_ADMIN_FABRICS, .fctype = NVME_FABRICS_CONNECT };
	struct nvme_cqe cqe = { 0 };
	uint16_t status;

	memset(d.hostid, 7, sizeof(d.hostid));
	sqe.connect.qid = le16_of(qid);
	sqe.connect.sqsize = le16_of(qid ? 127 : 31);
	set_sgl(&sqe, sizeof(d), true);
	host_command(h, &sqe, &d, sizeof(d));
	{
		union nvme_tcp_pdu pdu;

		if (!host_recv(h, &pdu, NULL, NULL, 5 * NS_PER_S) || pdu.h.type != NVME_TCP_RSP)
			return UINT16_MAX;
		cqe = pdu.rsp.cqe;
		status = nvme_cqe_status(&cqe);
	}
	if (!status && ret_cntlid)
		*ret_cntlid = le16_get(cqe.cntlid);
	return status;
}

void host_ready(struct host *h, struct test_world *w, uint8_t hpda, uint8_t dgst, uint16_t qid, uint16_t *cntlid)
{
	struct nvme_sqe sqe = { .opc = NVME_ADMIN_FABRICS, .fctype = NVME_FABRICS_PROPERTY_SET };

	host_open(h, w);
	must(host_hello(h, hpda, dgst));
	must(!host_connect(h, qid, qid ? *cntlid : NVME_CNTLID_DYNAMIC, cntlid));
	if (qid)
		return;
	sqe.property.ofst = le32_of(NVME_REG_CC);
	sqe.property.value = le64_of(nvme_cc_with_iosqes(nvme_cc_with_iocqes(nvme_cc_with_en(0, 1), 4), 6));
	must(!host_run(h, &sqe, NULL, 0, false, NULL, 0));
	world_pass(10 * NS_PER_MS);
}

struct nvme_sqe host_rw(uint8_t opc, uint64_t lba, uint32_t blocks)
{
	struct nvme_sqe sqe = { .opc = opc, .nsid = le32_of(1) };

	sqe.rw.slba = le64_of(lba);
	sqe.rw.nlb = le16_of((uint16_t)(blocks - 1));
	return sqe;
}
