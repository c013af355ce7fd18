/* SPDX-License-Identifier: BSD-3-Clause */
/* names_fuzz.c: any text as a netmask and as a name: a sentence, or something that means what it says. A mask has the
 * address that it was made of. */
#include "iscsi/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct iscsi_netmask m;
	struct err e = { 0 };
	struct net_addr a;
	char text[400];

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	must(!iscsi_name_check("name", text, &e) == !e.code);
	e = (struct err){ 0 };
	if (iscsi_netmask_parse(text, &m, &e)) {
		must(e.code && e.text[0]);
		return 0;
	}
	must(m.bits <= (m.family == NET_IPV4 ? 32 : 128));
	if (m.family != NET_ANY) {
		char *host = text + (text[0] == '['), *end = host + strcspn(host, "]/");

		*end = 0;
		must(!net_addr_parse(strchr(host, ':') ? NET_IPV6 : NET_IPV4, host, "0", &a, NULL));
		must(iscsi_netmask_has(&m, &a));
	}
	free(m.text);
	return 0;
}
