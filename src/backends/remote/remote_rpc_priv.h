/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_rpc_priv.h: what the files of the remote back-end's methods share. */
#ifndef BACKENDS_REMOTE_REMOTE_RPC_PRIV_H
#define BACKENDS_REMOTE_REMOTE_RPC_PRIV_H

#include "backends/remote/remote_ctl.h"
#include "backends/remote/remote_rpc.h"
#include "rpc/json.h"

/* trtype, adrfam, ... into an object; `with_nqn`: subnqn too. */
void remote_json_trid(struct json_object *o, const struct nvme_path *where, bool with_nqn);
/* What the methods have of an address, as texts; NULL: not given. */
struct remote_trid_args {
	const char *trtype, *traddr, *adrfam, *trsvcid, *subnqn, *hostnqn, *hostaddr, *hostsvcid;
};
int remote_where_from(const struct remote_trid_args *a, struct nvme_path *ret_where, struct err *e) MUST_USE;
/* NULL: there is none, and the caller has been told. */
struct remote_group *remote_rpc_group(struct rpc_call *call, const char *name);
struct remote_disk *remote_rpc_disk(struct rpc_call *call, const char *param, const char *name);

/* Parts of parameters that several methods have. */
struct remote_multipath_args {
	char *policy, *selector;
	uint32_t min_io;
};
#define REMOTE_MULTIPATH_PARAMS 3
extern const struct rpc_param remote_multipath_params[REMOTE_MULTIPATH_PARAMS];
int remote_policy_from(const char *policy, const char *selector, uint8_t *ret_policy, uint8_t *ret_selector,
                       struct err *e) MUST_USE;
int remote_times_from(const struct remote_opts *opts, bool loss_given, int32_t loss, bool delay_given, uint32_t delay,
                      bool fast_given, uint32_t fast, struct remote_path_opts *ret_opts, struct err *e) MUST_USE;
/* From the options that hold for all controllers. */
void remote_host_opts_from(const struct remote *r, struct nvme_host_opts *h);
void remote_json_policy(struct json_object *o, uint8_t policy, uint8_t selector, const char *min_io_name,
                        uint32_t min_io);
void remote_json_keys(struct json_object *o, const struct nvme_host_opts *h);
/* The keys of these names into `h`: references, which the caller gives back (remote_keys_give()). */
int remote_keys_from(const struct remote *r, const char *key, const char *ctrlr_key, const char *psk,
                     struct nvme_host_opts *h, struct err *e) MUST_USE;
void remote_json_times(struct json_object *o, const struct remote_path_opts *t);

/* The rows of each file, and what it saves. */
void remote_opts_rpc_add(struct remote_rpc *rr);
void remote_opts_rpc_save(struct remote_rpc *rr, struct json_object *array);
void remote_opts_rpc_free(struct remote_rpc *rr);
void remote_attach_rpc_add(struct remote_rpc *rr);
void remote_attach_rpc_save(struct remote_rpc *rr, struct json_object *array);
void remote_paths_rpc_add(struct remote_rpc *rr);
void remote_paths_rpc_save(struct remote_rpc *rr, struct json_object *array);
void remote_discovery_rpc_add(struct remote_rpc *rr);
void remote_discovery_rpc_save(struct remote_rpc *rr, struct json_object *array);
void remote_admin_rpc_add(struct remote_rpc *rr);
void remote_keys_rpc_add(struct remote_rpc *rr);
void remote_show_rpc_add(struct remote_rpc *rr);
void remote_firmware_rpc_add(struct remote_rpc *rr);
/* How far the firmware is that is on its way to a controller; nothing when there is none. */
void remote_json_firmware(const struct remote_rpc *rr, const struct remote_group *g, struct json_object *o);

#endif
