/* SPDX-License-Identifier: BSD-3-Clause */
/* psk_fuzz.c: any text as a key of TLS and as an identity: nothing is read that is not there, no limit is passed, and
 * what is understood is written again as it was.
 */
#include <stdio.h>

#include "base/text.h"
#include "fabric/psk.h"

static void key(const char *text, size_t len)
{
	struct fabric_psk_form form = { .version = (uint8_t)(len & 1), .compat = len & 2, .host_nqn = "nqn.h",
		.subsystem_nqn = "nqn.s" };
	char again[FABRIC_PSK_TEXT_MAX];
	struct fabric_psk psk;
	struct tls_offer offer;
	struct err e = { 0 };

	if (fabric_psk_parse("k", text, len, &psk, &e)) {
		must(e.text[0]);
		return;
	}
	fabric_psk_print(&psk, again);
	must(len >= strlen(again));
	must(!memcmp(again, text, 16));
	must(fabric_psk_configured_offer(&psk, &form, &offer));
}

static void identity(const char *text)
{
	struct fabric_psk_identity id;
	char again[TLS_IDENTITY_MAX + 1];
	struct err e = { 0 };

	if (fabric_psk_identity_parse(text, &id, &e)) {
		must(e.text[0]);
		return;
	}
	snprintf(again, sizeof(again), "NVMe%u%c%02u %s %s%s%s", id.version, id.generated ? 'G' : 'R', id.hash, id.host_nqn,
	         id.subsystem_nqn, id.version ? " " : "", id.digest);
	must(!strcmp(again, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *exact = malloc(size + !size);

	memcpy(text, data, size);
	memcpy(exact, data, size);
	text[size] = 0;
	key(exact, size);
	identity(text);
	free(text);
	free(exact);
	return 0;
}
