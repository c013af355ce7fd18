/* SPDX-License-Identifier: BSD-3-Clause */
/* host_fuzz.c: bytes of a target into a whole host, over the simulated network.
 *
 * The first byte says for how many commands the target behaves before it does not, the second which digests there are
 * and what goes on meanwhile. The rest is pieces, each after a command came: a byte that says what it is and how long,
 * and the piece: PDUs with fuzzed fields for the command that came, pages of fuzz for what it asked, or bytes as they
 * are. In the end every command has come back once and nothing is left.
 */
#include "core/log.h"
#include "nvme/test_rig.h"

#define WITH_DIGESTS 3u /* two bits */
#define WITH_PARALLEL 4u
#define WITH_EVENTS 8u
#define WITH_SCAN 16u

static const uint8_t *at, *end;
static uint32_t good_left;
static struct nvme_log_read reading;
static uint8_t log_bytes[8192];

static uint8_t next(void) { return at < end ? *at++ : 0; }
static uint32_t next16(void) { return next() | (uint32_t)next() << 8; }
static uint32_t next32(void) { return next16() | next16() << 16; }

/* --- the target --------------------------------------------------------------------------------------------- */

/* A page of what comes next, at the place it says: the rest is what a good target would say of it. */
static void give_page(struct rig_peer *p, const struct nvme_sqe *cmd, uint32_t len)
{
	struct rig *r = p->rig;
	uint32_t where = next16() % (NVME_IDENTIFY_SIZE - 64);
	uint8_t *page = cmd->identify.cns == NVME_CNS_CTRL ? (uint8_t *)&r->id :
	                cmd->identify.cns == NVME_CNS_NS ? (uint8_t *)&r->ns : r->descs;

	for (uint32_t i = 0; i < len && at < end; i++)
		page[where + i] = next();
	if (cmd->opc == NVME_ADMIN_IDENTIFY && cmd->identify.cns == NVME_CNS_NS_ACTIVE_LIST)
		rig_give(p, le16_get(cmd->cid), page, 0, NVME_IDENTIFY_SIZE, RIG_WHOLE, false);
	else
		rig_behave(p, cmd);
}

static void answer(struct rig_peer *p, uint16_t cid)
{
	uint64_t low = next32();

	rig_answer(p, cid, low | (uint64_t)next32() << 32, (uint16_t)next16());
}

static void give(struct rig_peer *p, uint16_t cid)
{
	static const uint8_t zeroes[4096];
	uint32_t offset = next() * 256u, len = next() * 16u;

	rig_give(p, cid, zeroes, offset, len, next() & (NVME_TCP_LAST | NVME_TCP_SUCCESS), next() & 1);
}

static void say(struct rig_peer *p, uint32_t len)
{
	len = (uint32_t)min_u64(len, (size_t)(end - at));
	rig_say(p, at, len);
	at += len;
}

static bool misbehave(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	uint16_t cid = le16_get(cmd->cid);
	uint8_t what, len;

	if (good_left) {
		good_left--;
		return false;
	}
	if (at == end)
		return p->qid; /* an I/O queue is silent then */
	what = next();
	len = what >> 3;
	switch (what & 7) {
	case 0: return false;
	case 1: answer(p, cid); break;
	case 2: give(p, cid); break;
	case 3: rig_ask(p, cid, next() * 256u, next() * 256u, 1 + (len & 1)); break;
	case 4: give_page(p, cmd, len * 2u); break;
	case 5: say(p, len * 4u); break;
	case 6: rig_answer(p, (uint16_t)(cid ^ len), 0, 0); break;
	case 7: len ? (void)0 : rig_bye(p); break;
	}
	return true;
}

/* --- the host ----------------------------------------------------------------------------------------------- */

static void event(struct nvme_ctrlr *c, uint8_t type, uint8_t info, uint8_t log_page, void *arg)
{
	(void)c;
	(void)type;
	(void)info;
	(void)log_page;
	(void)arg;
}

static void scanned(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	const struct nvme_ctrlr_info *info = nvme_ctrlr_info(c);

	(void)e;
	(void)arg;
	for (uint32_t i = 0; i < info->ns_count; i++)
		must(!info->ns[i].usable || (info->ns[i].block_size >= 512 && info->ns[i].block_count));
}

static void log_was_read(struct nvme_log_read *r)
{
	must(r->err.code || r->got == r->len);
}

static void open_beside(struct nvme_ctrlr *c, void *arg)
{
	(void)c;
	rig_qp_open(arg);
}

static uint8_t with;

static void open_it(void *arg)
{
	struct rig *r = arg;

	rig_open(r);
	if (with & WITH_EVENTS)
		nvme_ctrlr_on_event(r->ctrlr, event, r);
	if (with & WITH_PARALLEL)
		nvme_ctrlr_on_reached(r->ctrlr, open_beside, r);
}

static void use_it(void *arg)
{
	struct rig *r = arg;
	struct nvme_login login;

	if (with & WITH_SCAN) {
		nvme_ctrlr_scan(r->ctrlr, scanned, r);
		reading = (struct nvme_log_read){ .lid = NVME_LOG_ANA, .buf = log_bytes, .len = sizeof(log_bytes),
			                          .done = log_was_read };
		nvme_ctrlr_get_log(r->ctrlr, &reading);
	}
	must(nvme_ctrlr_login(r->ctrlr, &login));
	if (r->qp)
		nvme_qpair_login(r->qp, &login, 1);
	else
		rig_qp_open(r);
	rig_reads(r);
	rig_write(r);
	rig_write(r);
}

static void check_info(const struct nvme_ctrlr_info *info)
{
	must(info->io_queue_size >= 2 && info->max_io_bytes >= 4096);
	must(info->discovery == !info->io_queues);
	must(strlen(info->serial) < sizeof(info->serial) && strlen(info->model) < sizeof(info->model));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rig r = { .hold_open = true, .hook = misbehave, .id.ver = le32_of(NVME_VERSION(2, 0, 0)), .id.aerl = 3 };

	if (size < 2 || size > 2048)
		return 0;
	log_set_level(LOG_ERROR);
	good_left = data[0];
	with = data[1];
	at = data + 2;
	end = data + size;
	r.opts = (struct nvme_host_opts){ .header_digest = with & 1, .data_digest = with & 2, .io_timeout_ms = 1000,
		                          .admin_timeout_ms = 1000, .keep_alive_ms = 2000 };
	rig_begin(&r, 1, SIM_NET_ACCEPT);
	rig_on_host(&r, open_it);
	must(sim_run(rig_is_ready, &r, 5 * NS_PER_S));
	if (!r.err.code) {
		check_info(nvme_ctrlr_info(r.ctrlr));
		if (!nvme_ctrlr_info(r.ctrlr)->discovery) /* which has no I/O queues */
			rig_on_host(&r, use_it);
		must(sim_run(rig_all_ended, &r, 5 * NS_PER_S));
		sim_run(NULL, NULL, 10 * NS_PER_MS);
	}
	rig_end(&r);
	return 0;
}
