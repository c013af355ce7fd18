/* SPDX-License-Identifier: BSD-3-Clause */
/* discovery_log.c: the bytes of a discovery log, checked, and what people call them. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "nvme/nvme.h"

/* A text padded with blanks or zeroes. False: too long, or not printable. */
static bool take_text(char *dst, size_t dst_size, const char *field, size_t size)
{
	size_t len = strnlen(field, size);

	while (len && field[len - 1] == ' ')
		len--;
	if (len >= dst_size)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)field[i]))
			return false;
	memcpy(dst, field, len);
	dst[len] = 0;
	return true;
}

bool nvme_discovery_entry_parse(const struct nvmf_disc_log_entry *bytes, struct nvme_discovery_entry *ret_entry)
{
	struct nvme_discovery_entry e = {
		.trtype = bytes->trtype, .adrfam = bytes->adrfam, .subtype = bytes->subtype, .treq = bytes->treq,
		.sectype = bytes->trtype == NVMF_TRTYPE_TCP ? bytes->tsas.tcp.sectype : 0,
		.portid = le16_get(bytes->portid), .cntlid = le16_get(bytes->cntlid), .asqsz = le16_get(bytes->asqsz),
		.eflags = le16_get(bytes->eflags),
	};

	if (!take_text(e.trsvcid, sizeof(e.trsvcid), bytes->trsvcid, sizeof(bytes->trsvcid)) ||
	    !take_text(e.subnqn, sizeof(e.subnqn), bytes->subnqn, sizeof(bytes->subnqn)) ||
	    !take_text(e.traddr, sizeof(e.traddr), bytes->traddr, sizeof(bytes->traddr)) || !e.subnqn[0])
		return false;
	*ret_entry = e;
	return true;
}

int nvme_discovery_header_parse(const struct nvmf_discovery_log *bytes, uint64_t *ret_genctr, uint32_t *ret_count,
                                struct err *e)
{
	uint64_t count = le64_get(bytes->numrec);

	if (le16_get(bytes->recfmt))
		return err_set(e, -EPROTO, "the discovery log has records of format %u; 0 is known",
		               le16_get(bytes->recfmt));
	if (count > NVME_DISCOVERY_ENTRIES_MAX)
		return err_set(e, -EPROTO, "the discovery log claims %llu records; at most %u are read",
		               (unsigned long long)count, NVME_DISCOVERY_ENTRIES_MAX);
	*ret_genctr = le64_get(bytes->genctr);
	*ret_count = (uint32_t)count;
	return 0;
}

/* A link-local address is on the link by which we heard of it: `from` names that. */
static void add_interface(struct nvme_path *path, const char *from)
{
	const char *interface = strchr(from, '%');
	size_t len = strlen(path->traddr);
	struct net_addr a;

	if (interface && !net_addr_parse(path->adrfam, path->traddr, path->trsvcid, &a, NULL) &&
	    net_addr_lacks_interface(&a) && len + strlen(interface) < sizeof(path->traddr))
		memcpy(path->traddr + len, interface, strlen(interface) + 1);
}

int nvme_discovery_entry_path(const struct nvme_discovery_entry *entry, struct nvme_path *ret_path, struct err *e)
{
	char from[sizeof(ret_path->traddr)];

	if (entry->trtype != NVMF_TRTYPE_TCP && entry->trtype != NVMF_TRTYPE_RDMA)
		return err_set(e, -EPROTONOSUPPORT, "%s: transport %s (%u) is not supported; tcp and rdma are", entry->subnqn,
		               nvme_discovery_trtype_text(entry->trtype), entry->trtype);
	if (entry->adrfam != NVMF_ADRFAM_IP4 && entry->adrfam != NVMF_ADRFAM_IP6)
		return err_set(e, -EPROTONOSUPPORT, "%s: address family %s (%u) is not supported; ipv4 and ipv6 are",
		               entry->subnqn, nvme_discovery_adrfam_text(entry->adrfam), entry->adrfam);
	if (!entry->traddr[0] || strlen(entry->traddr) >= sizeof(ret_path->traddr) ||
	    strlen(entry->trsvcid) >= sizeof(ret_path->trsvcid))
		return err_set(e, -EPROTO, "%s: \"%s\" port \"%s\" in the discovery log is no address", entry->subnqn,
		               entry->traddr, entry->trsvcid);
	snprintf(ret_path->trtype, sizeof(ret_path->trtype), entry->trtype == NVMF_TRTYPE_RDMA ? "RDMA" : "TCP");
	ret_path->adrfam = entry->adrfam == NVMF_ADRFAM_IP6 ? NET_IPV6 : NET_IPV4;
	memcpy(from, ret_path->traddr, sizeof(from));
	memcpy(ret_path->traddr, entry->traddr, strlen(entry->traddr) + 1);
	if (entry->trsvcid[0])
		memcpy(ret_path->trsvcid, entry->trsvcid, strlen(entry->trsvcid) + 1);
	else
		snprintf(ret_path->trsvcid, sizeof(ret_path->trsvcid), "%d",
		         nvme_default_port(ret_path->trtype, entry->subtype != NVMF_SUBTYPE_NVME));
	add_interface(ret_path, from);
	memcpy(ret_path->subnqn, entry->subnqn, sizeof(ret_path->subnqn));
	ret_path->nsid = 0;
	return 0;
}

const char *nvme_discovery_trtype_text(uint8_t trtype)
{
	switch (trtype) {
	case NVMF_TRTYPE_RDMA: return "rdma";
	case NVMF_TRTYPE_FC: return "fc";
	case NVMF_TRTYPE_TCP: return "tcp";
	case NVMF_TRTYPE_LOOP: return "loop";
	default: return "unrecognized";
	}
}

const char *nvme_discovery_adrfam_text(uint8_t adrfam)
{
	switch (adrfam) {
	case NVMF_ADRFAM_IP4: return "ipv4";
	case NVMF_ADRFAM_IP6: return "ipv6";
	case NVMF_ADRFAM_IB: return "infiniband";
	case NVMF_ADRFAM_FC: return "fibre-channel";
	default: return "unrecognized";
	}
}

const char *nvme_discovery_subtype_text(uint8_t subtype)
{
	switch (subtype) {
	case NVMF_SUBTYPE_DISCOVERY: return "discovery subsystem referral";
	case NVMF_SUBTYPE_NVME: return "nvme subsystem";
	case NVMF_SUBTYPE_DISCOVERY_CURRENT: return "current discovery subsystem";
	default: return "unrecognized";
	}
}

const char *nvme_discovery_treq_text(uint8_t treq)
{
	switch (treq & 3) {
	case NVMF_TREQ_NOT_SPECIFIED: return "not specified";
	case NVMF_TREQ_REQUIRED: return "required";
	case NVMF_TREQ_NOT_REQUIRED: return "not required";
	default: return "unrecognized";
	}
}
