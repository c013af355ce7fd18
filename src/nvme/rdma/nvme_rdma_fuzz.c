/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme_rdma_fuzz.c: what a target says, into a whole host over simulated adapters.
 *
 * The first bytes say for how many commands the target behaves before it does not, what its Identify page offers, how
 * it accepts, and what the host's data looks like. The rest is pieces, each after a command came: a byte that says what
 * the target does, and what that needs. In the end every command has come back once and nothing is left.
 */
#include "core/log.h"
#include "nvme/rdma/test_rig.h"

#define FUZZ_OPS 12u

static const uint8_t *at, *end;
static uint32_t good_left;

static uint8_t next(void) { return at < end ? *at++ : 0; }
static uint32_t next16(void) { return next() | (uint32_t)next() << 8; }

/* --- the target ------------------------------------------------------------------------------------------------- */

/* Any answer, of any length that there is room for. */
static void say(struct rig_peer *p, uint32_t index, uint16_t cid)
{
	uint8_t bytes[2 * sizeof(struct nvme_cqe)] = { 0 };
	uint32_t len = next() % (sizeof(bytes) + 1);

	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = next();
	if (next() & 1)
		((struct nvme_cqe *)bytes)->cid = le16_of(cid);
	rig_say_bytes(p, index, bytes, len);
}

/* Into memory that the host told of, as far as it told, or anywhere with a key that is none of it. (What lies beside it
 * under the same key no host can protect: docs/THREAT-MODEL.md.) */
static void write_somewhere(struct rig_peer *p, uint32_t index, const struct nvme_sqe *cmd)
{
	struct nvme_sgl sgl = cmd->sgl1;
	uint32_t told = nvme_sgl_klength(&sgl), skip = next16(), wrong = next() & 3;
	uint32_t len = (sgl.klength[0] | (uint32_t)(sgl.klength[1] ^ next()) << 8);

	if (!wrong) {
		skip %= told + 1;
		len %= told - skip + 1;
	}
	sgl.id = NVME_SGL_ID(NVME_SGL_KEYED_DATA_BLOCK, NVME_SGL_ADDRESS);
	sgl.addr = le64_of(le64_get(sgl.addr) + skip);
	sgl.key = le32_of(le32_get(sgl.key) ^ wrong);
	sgl.klength[0] = (uint8_t)len;
	sgl.klength[1] = (uint8_t)(len >> 8);
	sgl.klength[2] = (uint8_t)(len >> 16);
	rig_write_to(p, index, &sgl);
}

static bool misbehave(struct rig_peer *p, uint32_t index, const struct nvme_sqe *cmd)
{
	if (good_left) {
		good_left--;
		return false;
	}
	if (at == end)
		return p->qid; /* an I/O queue is silent then */
	switch (next() % 10) {
	case 0: return false;
	case 1: rig_answer(p, index, next16(), (uint16_t)next16()); break;
	case 2: say(p, index, le16_get(cmd->cid)); break;
	case 3: rig_behave(p, index, cmd); rig_answer_cid(p, index, le16_get(cmd->cid)); break;
	case 4: write_somewhere(p, index, cmd); break;
	case 5: write_somewhere(p, index, cmd); rig_behave(p, index, cmd); break;
	case 6: rig_invalidate(p, index); break;
	case 7: rig_behave_later(p, index); break;
	case 8: verbs_disconnect(p->conn); break;
	default: break; /* silent */
	}
	return true;
}

/* --- the host --------------------------------------------------------------------------------------------------- */

static void submit_some(void *arg)
{
	struct rig *r = arg;

	for (uint32_t i = 0; i < FUZZ_OPS && r->qp; i++) {
		uint8_t how = next();

		r->op_heap = how & 1;
		r->op_bytes = RIG_BLOCK << (how >> 2 & 7);
		if (how & 2)
			rig_read(r);
		else
			rig_write(r);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rig r = { .hook = misbehave, .opts.io_timeout_ms = 100, .opts.admin_timeout_ms = 100 };

	log_set_level(LOG_ERROR);
	at = data;
	end = data + size;
	good_left = next();
	r.id.msdbd = next();
	r.id.ioccsz = le32_of(next16() % (RIG_CAPSULE / 16 + 1));
	r.id.sgls = le32_of(NVME_SGLS_SUPPORTED | (next() & 1 ? NVME_SGLS_KEYED : 0) | NVME_SGLS_KEYED |
	                    (next() & 1 ? NVME_SGLS_OFFSET : 0));
	r.crqsize = next();
	r.accept = next() % 16 ? RIG_ACCEPT : (enum rig_accept)(next() % 5);
	r.accept_io = next() % 16 ? RIG_ACCEPT : (enum rig_accept)(next() % 5);
	r.reject_sts = next();
	rig_begin(&r, 1 + next());
	if (!r.err.code) {
		rig_on_host(&r, rig_qp_open);
		sim_run(rig_is_qp_ready, &r, NS_PER_S);
		rig_on_host(&r, submit_some);
		sim_run(rig_all_ended, &r, next() * NS_PER_MS);
	}
	rig_end(&r);
	return 0;
}
