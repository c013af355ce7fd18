/* SPDX-License-Identifier: BSD-3-Clause */
/* path.c: SPDK's transport id text, "key:value key:value ...", into a struct nvme_path. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "nvme/nvme.h"

static int set_text(char *field, size_t size, const char *key, const char *value, struct err *e)
{
	if (strlen(value) >= size)
		return err_set(e, -EINVAL, "%s: '%s' is longer than %zu characters", key, value, size - 1);
	memcpy(field, value, strlen(value) + 1);
	return 0;
}

static int set_family(struct nvme_path *p, const char *value, struct err *e)
{
	if (!strcasecmp(value, "ipv4"))
		p->adrfam = NET_IPV4;
	else if (!strcasecmp(value, "ipv6"))
		p->adrfam = NET_IPV6;
	else
		return err_set(e, -EINVAL, "adrfam: '%s' is neither IPv4 nor IPv6", value);
	return 0;
}

static int set_one(struct nvme_path *p, const char *key, const char *value, struct err *e)
{
	const struct { const char *key; char *field; size_t size; } texts[] = {
		{ "trtype", p->trtype, sizeof(p->trtype) },       { "traddr", p->traddr, sizeof(p->traddr) },
		{ "trsvcid", p->trsvcid, sizeof(p->trsvcid) },    { "hostaddr", p->hostaddr, sizeof(p->hostaddr) },
		{ "hostsvcid", p->hostsvcid, sizeof(p->hostsvcid) },
		{ "subnqn", p->subnqn, sizeof(p->subnqn) },       { "hostnqn", p->hostnqn, sizeof(p->hostnqn) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (!strcasecmp(key, texts[i].key))
			return set_text(texts[i].field, texts[i].size, key, value, e);
	if (!strcasecmp(key, "adrfam"))
		return set_family(p, value, e);
	if (!strcasecmp(key, "ns")) {
		uint64_t nsid = 0;
		int rc = text_parse_u64(value, &nsid, e);

		if (!rc && nsid > UINT32_MAX)
			return err_set(e, -EINVAL, "ns: %s is more than a namespace id can be", value);
		p->nsid = (uint32_t)nsid;
		return rc;
	}
	return err_set(e, -EINVAL, "'%s' is no part of a path; known are trtype, adrfam, traddr, trsvcid, hostaddr, "
	               "hostsvcid, subnqn, hostnqn and ns", key);
}

uint16_t nvme_default_port(const char *trtype, bool discovery)
{
	return discovery && strcasecmp(trtype, "rdma") ? NVME_TCP_DISCOVERY_PORT : NVME_TCP_PORT;
}

static int check(struct nvme_path *p, struct err *e)
{
	bool rdma = !strcasecmp(p->trtype, "rdma");

	if (!p->trtype[0])
		return err_set(e, -EINVAL, "trtype is missing: say trtype:TCP or trtype:RDMA");
	if (strcasecmp(p->trtype, "tcp") && !rdma)
		return err_set(e, -EINVAL, "trtype: '%s' is not supported; TCP and RDMA are", p->trtype);
	snprintf(p->trtype, sizeof(p->trtype), rdma ? "RDMA" : "TCP");
	if (!p->traddr[0])
		return err_set(e, -EINVAL, "traddr is missing: the target's address");
	if (!p->trsvcid[0])
		snprintf(p->trsvcid, sizeof(p->trsvcid), "%d", nvme_default_port(p->trtype, !p->subnqn[0]));
	if (!p->subnqn[0])
		snprintf(p->subnqn, sizeof(p->subnqn), "%s", NVME_DISCOVERY_NQN);
	return 0;
}

int nvme_path_parse(const char *text, struct nvme_path *ret_path, struct err *e)
{
	struct nvme_path p = { .adrfam = NET_ANY };
	char word[600];

	while (*text) {
		size_t len;
		char *colon;
		int rc;

		text += strspn(text, " \t\n");
		len = strcspn(text, " \t\n");
		if (!len)
			break;
		if (len >= sizeof(word))
			return err_set(e, -EINVAL, "'%.40s...' is too long", text);
		memcpy(word, text, len);
		word[len] = 0;
		text += len;
		colon = strpbrk(word, ":=");
		if (!colon)
			return err_set(e, -EINVAL, "'%s' is not key:value", word);
		*colon = 0;
		rc = set_one(&p, word, colon + 1, e);
		if (rc)
			return rc;
	}
	if (check(&p, e))
		return e ? e->code : -EINVAL;
	*ret_path = p;
	return 0;
}
