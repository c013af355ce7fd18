/* SPDX-License-Identifier: BSD-3-Clause */
/* admin.c: the tables of admin and fabrics commands, and the commands that fit on a few lines. */
#include "nvmf/io.h"

static bool no_data_parse(struct nvmf_req *req)
{
	return true;
}

static void keep_alive_run(struct nvmf_req *req)
{
	/* Any traffic feeds the timer; the command's arrival has done so. A host that only stays reads no more: */
	nvmf_discovery_log_drop(req->qpair->ctrlr);
	nvmf_req_complete(req, NVME_SC_SUCCESS);
}

#define D NVMF_ON_DISCOVERY
#define A NVMF_ALWAYS
#define N NVME_SCOPE_NS
#define C NVME_SCOPE_CTRL
#define S NVME_SCOPE_SUBSYSTEM
static const struct nvmf_handler admin_handlers[256] = {
	/*                           name parse run flags effects */
	[NVME_ADMIN_GET_LOG_PAGE] = { "Get Log Page",              nvmf_log_page_parse,     nvmf_log_page_run,       D, C },
	[NVME_ADMIN_IDENTIFY]     = { "Identify",                  nvmf_identify_parse,     nvmf_identify_run,       D, C },
	[NVME_ADMIN_ABORT_CMD]    = { "Abort",                     no_data_parse,           nvmf_abort_run,          D, C },
	[NVME_ADMIN_SET_FEATURES] = { "Set Features",              nvmf_set_features_parse, nvmf_set_features_run,   D, S },
	[NVME_ADMIN_GET_FEATURES] = { "Get Features",              nvmf_get_features_parse, nvmf_get_features_run,   D, C },
	[NVME_ADMIN_ASYNC_EVENT]  = { "Asynchronous Event Request", nvmf_aer_parse,         nvmf_aer_run,            D, C },
	[NVME_ADMIN_KEEP_ALIVE]   = { "Keep Alive",                no_data_parse,           keep_alive_run,          D, C },
	[NVME_ADMIN_GET_LBA_STATUS] = { "Get LBA Status",          nvmf_lba_status_parse,   nvmf_lba_status_run,     0, N },
	[NVME_ADMIN_CROSS_CTRL_RESET] = { "Cross-Controller Reset", nvmf_ccr_parse,         nvmf_ccr_run,            0, S },
};

static const struct nvmf_handler fabrics_handlers[] = {
	/*                             name             parse                run                     flags */
	[NVME_FABRICS_PROPERTY_SET] = { "Property Set", nvmf_property_parse, nvmf_property_set_run,  D | A },
	[NVME_FABRICS_CONNECT]      = { "Connect",      nvmf_connect_parse,  nvmf_connect_run,       D | A },
	[NVME_FABRICS_PROPERTY_GET] = { "Property Get", nvmf_property_parse, nvmf_property_get_run,  D | A },
	[NVME_FABRICS_AUTH_SEND]    = { "Authentication Send",    nvmf_auth_parse, nvmf_auth_send_run,    D | A },
	[NVME_FABRICS_DISCONNECT]   = { "Disconnect",   nvmf_disconnect_parse, nvmf_disconnect_run,  A },
	[NVME_FABRICS_AUTH_RECEIVE] = { "Authentication Receive", nvmf_auth_parse, nvmf_auth_receive_run, D | A },
};
#undef N
#undef C
#undef S
#undef D
#undef A

const struct nvmf_handler *nvmf_admin_handler(uint8_t opc)
{
	return admin_handlers[opc].run ? &admin_handlers[opc] : NULL;
}

const struct nvmf_handler *nvmf_fabrics_handler(uint8_t fctype)
{
	return fctype < ARRAY_SIZE(fabrics_handlers) && fabrics_handlers[fctype].run ? &fabrics_handlers[fctype] : NULL;
}
