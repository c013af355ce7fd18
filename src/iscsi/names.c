/* SPDX-License-Identifier: BSD-3-Clause */
/* names.c: iSCSI names, netmasks, and what an initiator group says of an initiator. Bytes in, answers out. */
#include <strings.h>

#include "base/text.h"
#include "iscsi/config.h"

/* --- names ---------------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	c |= 0x20;
	return is_digit(c) || (c >= 'a' && c <= 'f');
}

static bool may_be_in_name(unsigned char c)
{
	unsigned char low = c | 0x20;

	return (low >= 'a' && low <= 'z') || is_digit((char)c) || c == '-' || c == '.' || c == ':' || c >= 0x80;
}

/* "iqn.2016-06.": a year and month in which who names the target had the domain that follows. */
static bool has_date(const char *s)
{
	static const char shape[] = "dddd-dd.";

	for (size_t i = 0; shape[i]; i++)
		if (shape[i] == 'd' ? !is_digit(s[i]) : s[i] != shape[i])
			return false;
	return s[sizeof(shape) - 1] != 0;
}

static bool is_hex_of(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_hex(s[i]))
			return false;
	return !s[len];
}

int iscsi_name_check(const char *field, const char *name, struct err *e)
{
	size_t len = strlen(name);

	if (len > ISCSI_NAME_MAX)
		return err_set(e, ERR_BAD_PARAM, "%s: an iSCSI name has at most %u bytes, and '%.40s...' has %zu; shorten it",
		               field, ISCSI_NAME_MAX, name, len);
	for (size_t i = 0; i < len; i++)
		if (!may_be_in_name((unsigned char)name[i]))
			return err_set(e, ERR_BAD_PARAM, "%s: '%s' has a character that an iSCSI name must not have, at place %zu; "
			               "letters, digits, '-', '.' and ':' may be used", field, name, i + 1);
	if (!strncasecmp(name, "iqn.", 4) && !has_date(name + 4))
		return err_set(e, ERR_BAD_PARAM, "%s: '%s' is no iqn name: iqn.YYYY-MM.reversed.domain:name is wanted, such as "
		               "iqn.2016-06.io.spdk:disk1", field, name);
	if (!strncasecmp(name, "eui.", 4) && !is_hex_of(name + 4, 16))
		return err_set(e, ERR_BAD_PARAM, "%s: '%s' is no eui name: 'eui.' and 16 hexadecimal digits are wanted", field,
		               name);
	if (!strncasecmp(name, "naa.", 4) && !is_hex_of(name + 4, 16) && !is_hex_of(name + 4, 32))
		return err_set(e, ERR_BAD_PARAM, "%s: '%s' is no naa name: 'naa.' and 16 or 32 hexadecimal digits are wanted",
		               field, name);
	if (strncasecmp(name, "iqn.", 4) && strncasecmp(name, "eui.", 4) && strncasecmp(name, "naa.", 4))
		return err_set(e, ERR_BAD_PARAM, "%s: '%s' is no iSCSI name: it begins with 'iqn.', 'eui.' or 'naa.'", field,
		               name);
	return 0;
}

/* --- netmasks --------------------------------------------------------------------------------------- */

static const char *const any_words[] = { "ANY", "ALL" };

static bool is_any(const char *s)
{
	return !strcasecmp(s, any_words[0]) || !strcasecmp(s, any_words[1]);
}

static enum net_family address_bytes(const struct net_addr *a, uint8_t bytes[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	memset(bytes, 0, 16);
	if (net_addr_family(a) == NET_IPV4) {
		memcpy(bytes, &a->v4.sin_addr, 4);
		return NET_IPV4;
	}
	if (net_addr_family(a) != NET_IPV6)
		return NET_ANY;
	memcpy(bytes, &a->v6.sin6_addr, 16);
	if (memcmp(bytes, mapped, sizeof(mapped)))
		return NET_IPV6;
	memmove(bytes, bytes + sizeof(mapped), 4);
	memset(bytes + 4, 0, 12);
	return NET_IPV4;
}

/* The part before "/", without the brackets of IPv6. False: it can be no address. */
static bool address_part(const char *text, const char *slash, char *ret_host, size_t size)
{
	size_t len = slash ? (size_t)(slash - text) : strlen(text);

	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len >= size || text[0] == '[')
		return false;
	memcpy(ret_host, text, len);
	ret_host[len] = 0;
	return true;
}

int iscsi_netmask_parse(const char *text, struct iscsi_netmask *ret_mask, struct err *e)
{
	const char *slash = strchr(text, '/');
	struct iscsi_netmask m = { .family = NET_ANY };
	struct err why = { 0 };
	struct net_addr addr;
	uint64_t bits;
	char host[64];

	if (!is_any(text)) {
		if (!address_part(text, slash, host, sizeof(host)) || !host[0] ||
		    net_addr_parse(strchr(host, ':') ? NET_IPV6 : NET_IPV4, host, "0", &addr, &why))
			return err_set(e, ERR_BAD_PARAM, "netmasks: '%.80s' is no address; give one such as 192.0.2.0/24, "
			               "[2001:db8::]/32 or 192.0.2.7, or ANY", text);
		m.family = address_bytes(&addr, m.bytes);
		m.bits = m.family == NET_IPV4 ? 32 : 128;
		if (slash && (text_parse_u64(slash + 1, &bits, &why) || bits > m.bits))
			return err_set(e, ERR_BAD_PARAM, "netmasks: '%.80s' has no length of a prefix after '/'; 0 to %u bits can "
			               "be given", text, m.bits);
		if (slash)
			m.bits = (uint32_t)bits;
	}
	m.text = base_strdup(is_any(text) ? any_words[0] : text);
	*ret_mask = m;
	return 0;
}

bool iscsi_netmask_has(const struct iscsi_netmask *m, const struct net_addr *a)
{
	uint32_t whole = m->bits / 8, rest = m->bits % 8;
	uint8_t bytes[16];

	if (m->family == NET_ANY)
		return true;
	if (address_bytes(a, bytes) != m->family || memcmp(bytes, m->bytes, whole))
		return false;
	return !rest || !((bytes[whole] ^ m->bytes[whole]) >> (8 - rest));
}

/* --- initiator groups --------------------------------------------------------------------------------- */

int iscsi_initiator_group_says(const struct iscsi_initiator_group *g, const char *initiator)
{
	for (uint32_t i = 0; i < g->name_count; i++) {
		bool deny = g->names[i][0] == '!';
		const char *name = g->names[i] + deny;

		if (is_any(name) || !strcasecmp(name, initiator))
			return !deny;
	}
	return -1;
}
