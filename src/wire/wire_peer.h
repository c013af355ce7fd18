/* SPDX-License-Identifier: BSD-3-Clause */
/* wire_peer.h: what the tests compare with libnvme: which fields, which codes. Names are the same there.
 *
 * Two sets of definitions of one standard do not fit into one translation unit, so wire_test.c and
 * wire_peer.c expand the same tables, each beside its own definitions.
 */
#ifndef WIRE_WIRE_PEER_H
#define WIRE_WIRE_PEER_H

#include <stddef.h>

struct peer_fact {
	const char *what;
	size_t offset, size;
};
struct peer_code {
	const char *what;
	unsigned value;
};

/* libnvme's side; empty when libnvme's header was not there. */
extern const struct peer_fact peer_layouts[];
extern const size_t peer_layout_count;
extern const struct peer_code peer_codes[];
extern const size_t peer_code_count;
extern const struct peer_code peer_opcodes[];
extern const size_t peer_opcode_count;

#define PEER_FACT(type, field) \
	{ #type "." #field, offsetof(struct type, field), sizeof(((struct type *)0)->field) },

#define PEER_FIELDS(X) \
	X(nvme_id_psd, mp) X(nvme_id_psd, exlat) X(nvme_id_psd, actp) X(nvme_id_psd, apws) \
	X(nvme_id_ctrl, ssvid) X(nvme_id_ctrl, sn) X(nvme_id_ctrl, mn) X(nvme_id_ctrl, fr) X(nvme_id_ctrl, rab) \
	X(nvme_id_ctrl, ieee) X(nvme_id_ctrl, cmic) X(nvme_id_ctrl, mdts) X(nvme_id_ctrl, cntlid) \
	X(nvme_id_ctrl, ver) X(nvme_id_ctrl, rtd3e) X(nvme_id_ctrl, oaes) X(nvme_id_ctrl, ctratt) \
	X(nvme_id_ctrl, rrls) X(nvme_id_ctrl, cntrltype) X(nvme_id_ctrl, fguid) X(nvme_id_ctrl, crdt1) \
	X(nvme_id_ctrl, nvmsr) X(nvme_id_ctrl, mec) X(nvme_id_ctrl, oacs) X(nvme_id_ctrl, acl) \
	X(nvme_id_ctrl, aerl) X(nvme_id_ctrl, frmw) X(nvme_id_ctrl, lpa) X(nvme_id_ctrl, elpe) \
	X(nvme_id_ctrl, npss) X(nvme_id_ctrl, apsta) X(nvme_id_ctrl, wctemp) X(nvme_id_ctrl, cctemp) \
	X(nvme_id_ctrl, hmpre) X(nvme_id_ctrl, tnvmcap) X(nvme_id_ctrl, unvmcap) X(nvme_id_ctrl, rpmbs) \
	X(nvme_id_ctrl, edstt) X(nvme_id_ctrl, kas) X(nvme_id_ctrl, sanicap) X(nvme_id_ctrl, hmmaxd) \
	X(nvme_id_ctrl, nsetidmax) X(nvme_id_ctrl, endgidmax) X(nvme_id_ctrl, anatt) X(nvme_id_ctrl, anacap) \
	X(nvme_id_ctrl, anagrpmax) X(nvme_id_ctrl, nanagrpid) X(nvme_id_ctrl, pels) X(nvme_id_ctrl, domainid) \
	X(nvme_id_ctrl, megcap) X(nvme_id_ctrl, sqes) X(nvme_id_ctrl, cqes) X(nvme_id_ctrl, maxcmd) \
	X(nvme_id_ctrl, nn) X(nvme_id_ctrl, oncs) X(nvme_id_ctrl, fuses) X(nvme_id_ctrl, fna) \
	X(nvme_id_ctrl, vwc) X(nvme_id_ctrl, awun) X(nvme_id_ctrl, awupf) X(nvme_id_ctrl, icsvscc) \
	X(nvme_id_ctrl, nwpc) X(nvme_id_ctrl, acwu) X(nvme_id_ctrl, ocfs) X(nvme_id_ctrl, sgls) \
	X(nvme_id_ctrl, mnan) X(nvme_id_ctrl, maxdna) X(nvme_id_ctrl, maxcna) X(nvme_id_ctrl, subnqn) \
	X(nvme_id_ctrl, ioccsz) X(nvme_id_ctrl, iorcsz) X(nvme_id_ctrl, icdoff) X(nvme_id_ctrl, fcatt) \
	X(nvme_id_ctrl, msdbd) X(nvme_id_ctrl, ofcs) X(nvme_id_ctrl, dctype) X(nvme_id_ctrl, psd) \
	X(nvme_id_ctrl, vs) \
	X(nvme_lbaf, ms) X(nvme_lbaf, ds) X(nvme_lbaf, rp) \
	X(nvme_id_ns, nsze) X(nvme_id_ns, ncap) X(nvme_id_ns, nuse) X(nvme_id_ns, nsfeat) X(nvme_id_ns, nlbaf) \
	X(nvme_id_ns, flbas) X(nvme_id_ns, mc) X(nvme_id_ns, dpc) X(nvme_id_ns, dps) X(nvme_id_ns, nmic) \
	X(nvme_id_ns, rescap) X(nvme_id_ns, fpi) X(nvme_id_ns, dlfeat) X(nvme_id_ns, nawun) \
	X(nvme_id_ns, nacwu) X(nvme_id_ns, nabspf) X(nvme_id_ns, noiob) X(nvme_id_ns, nvmcap) \
	X(nvme_id_ns, npwg) X(nvme_id_ns, npda) X(nvme_id_ns, nows) X(nvme_id_ns, mssrl) X(nvme_id_ns, mcl) \
	X(nvme_id_ns, msrc) X(nvme_id_ns, nulbaf) X(nvme_id_ns, anagrpid) X(nvme_id_ns, nsattr) \
	X(nvme_id_ns, nvmsetid) X(nvme_id_ns, endgid) X(nvme_id_ns, nguid) X(nvme_id_ns, eui64) \
	X(nvme_id_ns, lbaf) X(nvme_id_ns, lbstm) X(nvme_id_ns, vs) \
	X(nvme_nvm_id_ns, pic) X(nvme_nvm_id_ns, elbaf) \
	X(nvme_id_ctrl_nvm, vsl) X(nvme_id_ctrl_nvm, wzsl) X(nvme_id_ctrl_nvm, wusl) X(nvme_id_ctrl_nvm, dmrl) \
	X(nvme_id_ctrl_nvm, dmrsl) X(nvme_id_ctrl_nvm, dmsl) \
	X(nvme_id_independent_id_ns, rescap) X(nvme_id_independent_id_ns, anagrpid) \
	X(nvme_id_independent_id_ns, nsattr) X(nvme_id_independent_id_ns, endgid) \
	X(nvme_id_independent_id_ns, nstat) \
	X(nvme_ns_list, ns) X(nvme_ctrl_list, identifier) X(nvme_ns_id_desc, nidl) X(nvme_id_iocs, iocsc) \
	X(nvme_supported_log_pages, lid_support) \
	X(nvme_error_log_page, error_count) X(nvme_error_log_page, sqid) X(nvme_error_log_page, cmdid) \
	X(nvme_error_log_page, status_field) X(nvme_error_log_page, parm_error_location) \
	X(nvme_error_log_page, lba) X(nvme_error_log_page, nsid) X(nvme_error_log_page, trtype) \
	X(nvme_error_log_page, cs) X(nvme_error_log_page, trtype_spec_info) \
	X(nvme_smart_log, temperature) X(nvme_smart_log, avail_spare) X(nvme_smart_log, percent_used) \
	X(nvme_smart_log, data_units_read) X(nvme_smart_log, host_writes) X(nvme_smart_log, power_on_hours) \
	X(nvme_smart_log, num_err_log_entries) X(nvme_smart_log, warning_temp_time) \
	X(nvme_smart_log, temp_sensor) X(nvme_smart_log, thm_temp2_total_time) \
	X(nvme_firmware_slot, afi) X(nvme_firmware_slot, frs) \
	X(nvme_cmd_effects_log, acs) X(nvme_cmd_effects_log, iocs) \
	X(nvme_ana_group_desc, nnsids) X(nvme_ana_group_desc, chgcnt) X(nvme_ana_group_desc, state) \
	X(nvme_ana_log, chgcnt) X(nvme_ana_log, ngrps) \
	X(nvme_resv_notification_log, rnlpt) X(nvme_resv_notification_log, nsid) \
	X(nvme_timestamp, timestamp) X(nvme_timestamp, attr) X(nvme_feat_host_behavior, acre) \
	X(nvme_dsm_range, cattr) X(nvme_dsm_range, nlb) X(nvme_dsm_range, slba) \
	X(nvme_copy_range, slba) X(nvme_copy_range, nlb) X(nvme_copy_range, eilbrt) X(nvme_copy_range, elbat) \
	X(nvme_lba_status_desc, nlb) X(nvme_lba_status_desc, status) X(nvme_lba_status, cmpc) \
	X(nvme_registered_ctrl, rcsts) X(nvme_registered_ctrl, hostid) X(nvme_registered_ctrl, rkey) \
	X(nvme_registered_ctrl_ext, rkey) X(nvme_registered_ctrl_ext, hostid) \
	X(nvme_resv_status, rtype) X(nvme_resv_status, regctl) X(nvme_resv_status, ptpls) \
	X(nvmf_connect_data, hostid) X(nvmf_connect_data, cntlid) X(nvmf_connect_data, subsysnqn) \
	X(nvmf_connect_data, hostnqn) \
	X(nvmf_disc_log_entry, treq) X(nvmf_disc_log_entry, portid) X(nvmf_disc_log_entry, asqsz) \
	X(nvmf_disc_log_entry, eflags) X(nvmf_disc_log_entry, trsvcid) X(nvmf_disc_log_entry, subnqn) \
	X(nvmf_disc_log_entry, traddr) X(nvmf_disc_log_entry, tsas) \
	X(nvmf_discovery_log, genctr) X(nvmf_discovery_log, numrec) X(nvmf_discovery_log, recfmt)

/*        ours                   libnvme's */
#define PEER_OPCODES(X) \
	X(ADMIN_DELETE_SQ,           nvme_admin_delete_sq) \
	X(ADMIN_CREATE_SQ,           nvme_admin_create_sq) \
	X(ADMIN_GET_LOG_PAGE,        nvme_admin_get_log_page) \
	X(ADMIN_DELETE_CQ,           nvme_admin_delete_cq) \
	X(ADMIN_CREATE_CQ,           nvme_admin_create_cq) \
	X(ADMIN_IDENTIFY,            nvme_admin_identify) \
	X(ADMIN_ABORT_CMD,           nvme_admin_abort_cmd) \
	X(ADMIN_SET_FEATURES,        nvme_admin_set_features) \
	X(ADMIN_GET_FEATURES,        nvme_admin_get_features) \
	X(ADMIN_ASYNC_EVENT,         nvme_admin_async_event) \
	X(ADMIN_NS_MGMT,             nvme_admin_ns_mgmt) \
	X(ADMIN_FW_COMMIT,           nvme_admin_fw_commit) \
	X(ADMIN_FW_DOWNLOAD,         nvme_admin_fw_download) \
	X(ADMIN_DEV_SELF_TEST,       nvme_admin_dev_self_test) \
	X(ADMIN_NS_ATTACH,           nvme_admin_ns_attach) \
	X(ADMIN_KEEP_ALIVE,          nvme_admin_keep_alive) \
	X(ADMIN_DIRECTIVE_SEND,      nvme_admin_directive_send) \
	X(ADMIN_DIRECTIVE_RECV,      nvme_admin_directive_recv) \
	X(ADMIN_VIRTUAL_MGMT,        nvme_admin_virtual_mgmt) \
	X(ADMIN_NVME_MI_SEND,        nvme_admin_nvme_mi_send) \
	X(ADMIN_NVME_MI_RECV,        nvme_admin_nvme_mi_recv) \
	X(ADMIN_CAPACITY_MGMT,       nvme_admin_capacity_mgmt) \
	X(ADMIN_DISCOVERY_INFO_MGMT, nvme_admin_discovery_info_mgmt) \
	X(ADMIN_FABRIC_ZONING_RECV,  nvme_admin_fabric_zoning_recv) \
	X(ADMIN_LOCKDOWN,            nvme_admin_lockdown) \
	X(ADMIN_FABRIC_ZONING_LOOKUP, nvme_admin_fabric_zoning_lookup) \
	X(ADMIN_FABRIC_ZONING_SEND,  nvme_admin_fabric_zoning_send) \
	X(ADMIN_DBBUF,               nvme_admin_dbbuf) \
	X(ADMIN_FABRICS,             nvme_admin_fabrics) \
	X(ADMIN_FORMAT_NVM,          nvme_admin_format_nvm) \
	X(ADMIN_SECURITY_SEND,       nvme_admin_security_send) \
	X(ADMIN_SECURITY_RECV,       nvme_admin_security_recv) \
	X(ADMIN_SANITIZE_NVM,        nvme_admin_sanitize_nvm) \
	X(ADMIN_GET_LBA_STATUS,      nvme_admin_get_lba_status) \
	X(CMD_FLUSH,                 nvme_cmd_flush) \
	X(CMD_WRITE,                 nvme_cmd_write) \
	X(CMD_READ,                  nvme_cmd_read) \
	X(CMD_WRITE_UNCOR,           nvme_cmd_write_uncor) \
	X(CMD_COMPARE,               nvme_cmd_compare) \
	X(CMD_WRITE_ZEROES,          nvme_cmd_write_zeroes) \
	X(CMD_DSM,                   nvme_cmd_dsm) \
	X(CMD_VERIFY,                nvme_cmd_verify) \
	X(CMD_RESV_REGISTER,         nvme_cmd_resv_register) \
	X(CMD_RESV_REPORT,           nvme_cmd_resv_report) \
	X(CMD_RESV_ACQUIRE,          nvme_cmd_resv_acquire) \
	X(CMD_IO_MGMT_RECV,          nvme_cmd_io_mgmt_recv) \
	X(CMD_RESV_RELEASE,          nvme_cmd_resv_release) \
	X(CMD_COPY,                  nvme_cmd_copy) \
	X(CMD_IO_MGMT_SEND,          nvme_cmd_io_mgmt_send) \
	X(CMD_ZONE_MGMT_SEND,        nvme_zns_cmd_mgmt_send) \
	X(CMD_ZONE_MGMT_RECV,        nvme_zns_cmd_mgmt_recv) \
	X(CMD_ZONE_APPEND,           nvme_zns_cmd_append) \
	X(FABRICS_PROPERTY_SET,      nvme_fabrics_type_property_set) \
	X(FABRICS_CONNECT,           nvme_fabrics_type_connect) \
	X(FABRICS_PROPERTY_GET,      nvme_fabrics_type_property_get) \
	X(FABRICS_AUTH_SEND,         nvme_fabrics_type_auth_send) \
	X(FABRICS_AUTH_RECEIVE,      nvme_fabrics_type_auth_receive) \
	X(FABRICS_DISCONNECT,        nvme_fabrics_type_disconnect)

/* The bit fields whose place libnvme knows, of this word. */
#define PEER_WORD 0x123456789abcdef5ull
/*        ours          libnvme's */
#define PEER_BITS(X) \
	X(cap, mqes,    CAP_MQES) X(cap, cqr,     CAP_CQR)    X(cap, ams,    CAP_AMS)   X(cap, to, CAP_TO) \
	X(cap, dstrd,   CAP_DSTRD) X(cap, nssrs,  CAP_NSSRC)  X(cap, css,    CAP_CSS)   X(cap, bps, CAP_BPS) \
	X(cap, mpsmin,  CAP_MPSMIN) X(cap, mpsmax, CAP_MPSMAX) X(cap, pmrs,  CAP_PMRS)  X(cap, cmbs, CAP_CMBS) \
	X(cap, crms,    CAP_CRMS) X(vs, ter,      VS_TER)     X(vs, mnr,     VS_MNR)    X(vs, mjr, VS_MJR) \
	X(cc, en,       CC_EN)    X(cc, css,      CC_CSS)     X(cc, mps,     CC_MPS)    X(cc, ams, CC_AMS) \
	X(cc, shn,      CC_SHN)   X(cc, iosqes,   CC_IOSQES)  X(cc, iocqes,  CC_IOCQES) X(cc, crime, CC_CRIME) \
	X(csts, rdy,    CSTS_RDY) X(csts, cfs,    CSTS_CFS)   X(csts, shst,  CSTS_SHST) X(csts, nssro, CSTS_NSSRO) \
	X(csts, pp,     CSTS_PP)  X(aqa, asqs,    AQA_ASQS)   X(aqa, acqs,   AQA_ACQS)

#endif
