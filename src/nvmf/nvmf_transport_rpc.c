/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_transport_rpc.c: methods that make and delete transports. */
#include <strings.h>

#include "base/text.h"
#include "core/mem.h"
#include "nvmf/nvmf_rpc_priv.h"

#define AQ_DEPTH_MIN 32u              /* SPDK's too, without an error */
#define NO_LIMIT_BYTES 4096u          /* the max_io_size that hosts would be told as none */

struct create_transport {
	char *trtype, *tgt_name;
	uint16_t max_queue_depth, max_io_qpairs_per_ctrlr;
	uint32_t in_capsule_data_size, max_io_size, io_unit_size, max_aq_depth, abort_timeout_sec, ack_timeout;
	uint32_t sock_priority, data_timeout_ms, num_shared_buffers;
	uint32_t max_srq_depth, num_cqe, acceptor_backlog, data_wr_pool_size;
	uint32_t min_kato;
	uint16_t kas;
	struct rpc_texts masked_oncs, masked_fuses;
	bool c2h_success, dif_insert_or_strip, no_srq, no_wr_batching;
};

static const struct rpc_param create_transport_params[] = {
#define P(field, ...) RPC_PARAM(struct create_transport, field, __VA_ARGS__)
	P(trtype, .required = true, .doc = "Kind of the transport: TCP or RDMA."),
	NVMF_RPC_TGT(struct create_transport),
	P(max_queue_depth, .min = 2, .max = 65535, .fallback = "128", .unit = "entries", .doc = "Of an I/O queue."),
	P(max_io_qpairs_per_ctrlr, .min = 1, .max = 65534, .fallback = "127",
	  .doc = "I/O queues a host may have per controller."),
	P(in_capsule_data_size, .fallback = "4096", .unit = "bytes",
	  .doc = "Data that a write may bring along with its command."),
	P(max_io_size, .fallback = "131072", .unit = "bytes",
	  .doc = "Largest read or write (MDTS): a multiple of 4,096 from 8,192 to 2,097,152."),
	P(io_unit_size, .fallback = "131072", .unit = "bytes",
	  .doc = "What num_shared_buffers counts in; no other effect: buffers are of 4 and 64 KiB, for all transports."),
	P(num_shared_buffers,
	  .doc = "As in SPDK: reserves nothing and limits nothing; a warning is logged if so many of io_unit_size are more "
	         "than what all transports share (--memory)."),
	P(max_aq_depth, .min = 2, .max = 4096, .fallback = "128", .unit = "entries",
	  .doc = "Of an admin queue; fewer than 32 are 32, because hosts' admin queues have as many."),
	P(c2h_success, .fallback = "true", .doc = "TCP: end a read with its data instead of a response of its own."),
	P(dif_insert_or_strip, .doc = "Hosts see no metadata: protection information is made when they write, checked "
	  "when they read."),
	P(sock_priority, .max = 255, .doc = "TCP: SO_PRIORITY of connections."),
	P(abort_timeout_sec, .fallback = "1", .unit = "s", .doc = "How long an Abort waits for a device to end a command."),
	P(ack_timeout, .unit = "ms",
	  .doc = "How long sent data may stay unacknowledged; 0: the system's. RDMA: rounded up to what adapters know, 8 "
	         "tries of 4.096 us times a power of 2, of which each may take up to four times as long."),
	P(data_timeout_ms, .fallback = "30000", .unit = "ms",
	  .doc = "A host that for this long sends none of the data it was asked for, or reads none of its answers, "
	         "is disconnected."),
	P(max_srq_depth, .min = 16, .max = 65535, .fallback = "4096", .unit = "entries",
	  .doc = "RDMA: of the receive queue that all connections of a core and an adapter share; fewer if the memory "
	         "budget has no room for them."),
	P(no_srq, .doc = "RDMA: give each connection receives of its own, even where adapters could share them."),
	P(num_cqe, .min = 16, .fallback = "4096", .unit = "entries",
	  .doc = "RDMA: what a completion queue begins with; it grows with its connections, if its adapter lets it."),
	P(acceptor_backlog, .fallback = "100", .doc = "RDMA: connections that may wait to be let in; 0: 100."),
	P(no_wr_batching, .doc = "RDMA: post each work request by itself."),
	P(data_wr_pool_size, .fallback = "4095",
	  .doc = "RDMA: the work requests that a connection may have under way; fewer if its queue's depth cannot need so "
	         "many, and never fewer than one command may need."),
#undef P
	RPC_IGNORED("buf_cache_size"), RPC_IGNORED("iobuf_small_cache_size"),
	RPC_IGNORED("iobuf_large_cache_size"), RPC_IGNORED("zcopy"),
	RPC_IGNORED("control_msg_num"),
	RPC_IGNORED("disable_mappable_bar0"), RPC_IGNORED("disable_adaptive_irq"), RPC_IGNORED("disable_shadow_doorbells"),
	RPC_IGNORED("acceptor_poll_rate"), RPC_IGNORED("disable_command_passthru"),
	RPC_PARAM(struct create_transport, kas, .min = 1, .fallback = "10", .unit = "100 ms",
	          .doc = "In which steps keep-alive timeouts are counted (KAS)."),
	RPC_PARAM(struct create_transport, min_kato, .fallback = "0", .unit = "ms",
	          .doc = "A shorter keep-alive timeout is made as long."),
	RPC_PARAM(struct create_transport, masked_oncs,
	          .doc = "Commands that are refused, and not offered: nvmcmps, nvmdsmsv, nvmwzsv, reservs, nvmcpys."),
	RPC_PARAM(struct create_transport, masked_fuses,
	          .doc = "Fused pairs that are refused, and not offered: fcws."),
};

static const struct nvmf_transport_ops *transport_named(const struct nvmf_target *t, const char *name)
{
	return strcasecmp(nvmf_tcp_ops.name, name) ? nvmf_offered_transport(t, name) : &nvmf_tcp_ops;
}

static const struct mask {
	const char *name;
	uint16_t bit;
} oncs_masks[] = {
	{ "nvmcmps", NVME_ONCS_COMPARE }, { "nvmdsmsv", NVME_ONCS_DSM }, { "nvmwzsv", NVME_ONCS_WRITE_ZEROES },
	{ "reservs", NVME_ONCS_RESERVATIONS }, { "nvmcpys", NVME_ONCS_COPY }, { NULL, 0 },
}, fuses_masks[] = {
	{ "fcws", NVME_FUSES_COMPARE_AND_WRITE }, { NULL, 0 },
};

/* False: answered. */
static bool parse_mask(struct rpc_call *call, const char *param, const struct rpc_texts *names,
                       const struct mask *masks, uint16_t *ret)
{
	for (size_t i = 0; i < names->count; i++) {
		const struct mask *m = masks;

		while (m->name && strcmp(m->name, names->at[i]))
			m++;
		if (!m->name) {
			rpc_reply_error(call, ERR_BAD_PARAM, "%s: there is no '%.64s'; see the method's help for those that exist",
			                param, names->at[i]);
			return false;
		}
		*ret |= m->bit;
	}
	return true;
}

static void add_mask(struct json_object *o, const char *param, const struct mask *masks, uint16_t bits)
{
	struct json_object *list = bits ? json_add_array(o, param) : NULL;

	for (const struct mask *m = masks; m->name; m++)
		if (bits & m->bit)
			json_object_array_add(list, json_object_new_string(m->name));
}

void nvmf_rpc_add_masks(struct json_object *o, const struct nvmf_transport_opts *opts)
{
	add_mask(o, "masked_oncs", oncs_masks, opts->masked_oncs);
	add_mask(o, "masked_fuses", fuses_masks, opts->masked_fuses);
}

/* An older version took and saved what is refused now: without its transport nothing of that state would be served. */
static uint32_t largest_io(const struct rpc_call *call, const struct create_transport *a)
{
	if (a->max_io_size != NO_LIMIT_BYTES || !rpc_is_loading(call))
		return a->max_io_size;
	log_warning("%s: of an older version, max_io_size %u, which hosts took for no limit: it is %u now", a->trtype,
	            a->max_io_size, 2 * NO_LIMIT_BYTES);
	return 2 * NO_LIMIT_BYTES;
}

/* Who counted his buffers hears when there are fewer: commands that would have had one will wait. */
static void compare_buffers(const struct create_transport *a)
{
	uint64_t wanted = (uint64_t)a->num_shared_buffers * a->io_unit_size;
	char want[32], have[32];
	struct mem_stats mem;

	mem_get_stats(reactor_core(reactor_self()), &mem);
	if (wanted > mem.buffers_bytes)
		log_warning("%s: num_shared_buffers: %u of %u bytes are %s, and all transports share %s: who finds none waits "
		            "(pending_data_buffer); for more start with a larger --memory", a->trtype, a->num_shared_buffers,
		            a->io_unit_size, text_size(wanted, want), text_size(mem.buffers_bytes, have));
}

static void handle_create_transport(struct rpc_call *call, void *args)
{
	struct create_transport *a = args;
	const struct nvmf_transport_ops *ops = transport_named(rpc_ctx(call), a->trtype);
	struct nvmf_transport_opts opts = {
		.max_queue_depth = a->max_queue_depth, .max_io_qpairs_per_ctrlr = a->max_io_qpairs_per_ctrlr,
		.in_capsule_data_size = a->in_capsule_data_size, .max_io_size = largest_io(call, a),
		.io_unit_size = a->io_unit_size, .max_aq_depth = max_u32(a->max_aq_depth, AQ_DEPTH_MIN),
		.abort_timeout_sec = a->abort_timeout_sec,
		.ack_timeout_ms = a->ack_timeout, .c2h_success = a->c2h_success,
		.dif_insert_or_strip = a->dif_insert_or_strip, .data_timeout_ms = a->data_timeout_ms,
		.sock_priority = a->sock_priority, .max_srq_depth = a->max_srq_depth, .num_cqe = a->num_cqe,
		.acceptor_backlog = a->acceptor_backlog, .data_wr_pool_size = a->data_wr_pool_size, .no_srq = a->no_srq,
		.no_wr_batching = a->no_wr_batching, .kas = a->kas, .min_kato_ms = a->min_kato,
		.num_shared_buffers = a->num_shared_buffers,
	};

	if (!nvmf_rpc_target_ok(call, a->tgt_name) ||
	    !parse_mask(call, "masked_oncs", &a->masked_oncs, oncs_masks, &opts.masked_oncs) ||
	    !parse_mask(call, "masked_fuses", &a->masked_fuses, fuses_masks, &opts.masked_fuses))
		return;
	if (!ops) {
		rpc_reply_error(call, ERR_BAD_PARAM, "trtype: there is no transport '%s' here; TCP and RDMA are two",
		                a->trtype);
		return;
	}
	compare_buffers(a);
	nvmf_add_transport(nvmf_rpc_change(call), ops, &opts);
}

struct delete_transport {
	char *trtype, *tgt_name;
};

static const struct rpc_param delete_transport_params[] = {
	RPC_PARAM(struct delete_transport, trtype, .required = true, .doc = "Kind of the transport: TCP or RDMA."),
	NVMF_RPC_TGT(struct delete_transport),
};

static void handle_delete_transport(struct rpc_call *call, void *args)
{
	const struct delete_transport *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_remove_transport(nvmf_rpc_change(call), a->trtype);
}

/* --- the table ----------------------------------------------------------------------------------- */

#define CHANGES .flags = RPC_RUNTIME, .returns = "true"
static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_create_transport", struct create_transport, create_transport_params, handle_create_transport,
	           CHANGES, .doc = "Make a transport with the given options."),
	RPC_METHOD("nvmf_delete_transport", struct delete_transport, delete_transport_params, handle_delete_transport,
	           CHANGES, .doc = "Take a transport away on which no subsystem listens."),
};

void nvmf_transport_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
}
