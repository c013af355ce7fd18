/* SPDX-License-Identifier: BSD-3-Clause */
/* addr_fuzz.c: whatever parses must come back from its own text. Input: family byte, host, NUL, port. */
#include "net/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char host[256], service[32] = "", text[NET_ADDR_TEXT_MAX], again_text[NET_ADDR_TEXT_MAX], port[8] = "";
	enum net_family family;
	struct net_addr a, again;
	size_t host_len;

	if (size < 2)
		return 0;
	family = (enum net_family)(data[0] % 4);
	data++;
	size--;
	host_len = strnlen((const char *)data, size);
	if (host_len >= sizeof(host))
		return 0;
	memcpy(host, data, host_len);
	host[host_len] = 0;
	if (size > host_len + 1 && size - host_len - 1 < sizeof(service)) {
		memcpy(service, data + host_len + 1, size - host_len - 1);
		service[size - host_len - 1] = 0;
	}
	if (net_addr_parse(family, host, service, &a, NULL))
		return 0;
	net_addr_text(&a, text);
	net_addr_host(&a, host);
	for (uint32_t p = net_addr_port(&a), i = 5; i-- > 0; p /= 10)
		port[i] = (char)('0' + p % 10);
	must(!net_addr_parse(net_addr_family(&a), host, port, &again, NULL));
	must(net_addr_equal(&a, &again));
	must(!strcmp(text, net_addr_text(&again, again_text)));
	return 0;
}
