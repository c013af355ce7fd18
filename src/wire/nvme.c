/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme.c: names for NVMe's codes, from the tables. */
#include "wire/nvme.h"

#define CASE_TEXT4(value, name, text, data) case value: return text;
#define CASE_TEXT3(value, name, text) case value: return text;
#define CASE_TRUE(value, name, text, data) case value: return true;

const char *nvme_admin_name(uint8_t opc)
{
	switch (opc) { NVME_ADMIN_OPCODES(CASE_TEXT4) }
	return "reserved";
}

const char *nvme_io_name(uint8_t opc)
{
	switch (opc) { NVME_IO_OPCODES(CASE_TEXT4) }
	return "reserved";
}

const char *nvme_fctype_name(uint8_t fctype)
{
	switch (fctype) { NVME_FABRICS_TYPES(CASE_TEXT4) }
	return "reserved";
}

const char *nvme_status_text(uint16_t status, bool of_fabrics_command)
{
	uint16_t code = status & NVME_SC_CODE;

	if (of_fabrics_command)
		switch (code) { NVME_STATUS_FABRICS_SPECIFIC(CASE_TEXT3) }
	switch (code) {
	NVME_STATUS_GENERIC(CASE_TEXT3)
	NVME_STATUS_CMD_SPECIFIC(CASE_TEXT3)
	NVME_STATUS_IO_SPECIFIC(CASE_TEXT3)
	NVME_STATUS_MEDIA(CASE_TEXT3)
	NVME_STATUS_PATH(CASE_TEXT3)
	}
	return "reserved";
}

const char *nvme_cns_name(uint8_t cns)
{
	switch (cns) { NVME_IDENTIFY_CNS(CASE_TEXT3) }
	return "reserved";
}

const char *nvme_log_name(uint8_t lid)
{
	switch (lid) { NVME_LOG_PAGES(CASE_TEXT3) }
	return "reserved";
}

const char *nvme_feature_name(uint8_t fid)
{
	switch (fid) { NVME_FEATURES(CASE_TEXT3) }
	return "reserved";
}

bool nvme_admin_known(uint8_t opc)
{
	switch (opc) { NVME_ADMIN_OPCODES(CASE_TRUE) }
	return false;
}

bool nvme_io_known(uint8_t opc)
{
	switch (opc) { NVME_IO_OPCODES(CASE_TRUE) }
	return false;
}
