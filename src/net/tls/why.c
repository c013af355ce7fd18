/* SPDX-License-Identifier: BSD-3-Clause */
/* why.c: why a handshake failed, in a sentence: which of identity, key and cipher suite differs, as far as this end can
 * know. A client learns only what the server tells by its alert. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/sslerr.h>

#include "net/tls/shake.h"

static const struct {
	uint8_t number;
	const char *name;
} alerts[] = {
	{ 0, "close_notify" }, { 10, "unexpected_message" }, { 20, "bad_record_mac" }, { 22, "record_overflow" },
	{ 40, "handshake_failure" }, { 42, "bad_certificate" }, { 43, "unsupported_certificate" },
	{ 44, "certificate_revoked" }, { 45, "certificate_expired" }, { 46, "certificate_unknown" },
	{ 47, "illegal_parameter" }, { 48, "unknown_ca" }, { 49, "access_denied" }, { 50, "decode_error" },
	{ 51, "decrypt_error" }, { 70, "protocol_version" }, { 71, "insufficient_security" }, { 80, "internal_error" },
	{ 86, "inappropriate_fallback" }, { 90, "user_canceled" }, { 109, "missing_extension" },
	{ 110, "unsupported_extension" }, { 112, "unrecognized_name" }, { 115, "unknown_psk_identity" },
	{ 116, "certificate_required" }, { 120, "no_application_protocol" },
};

static void refused(const struct shake *h, struct err *e);
static void refuses(const struct shake *h, struct err *e);

const char *alert_name(uint8_t alert)
{
	for (size_t i = 0; i < ARRAY_SIZE(alerts); i++)
		if (alerts[i].number == alert)
			return alerts[i].name;
	return "an unknown alert";
}

void shake_why(const struct shake *h, struct err *e)
{
	if (h->not_tls)
		err_set(e, -EPROTO, "the peer does not secure the connection: what it sent is no TLS (it begins with %02x)",
		        h->first);
	else if (h->got_alert)
		refused(h, e);
	else if (h->peer_ended)
		err_set(e, -ECONNRESET, h->received ? "the peer ended the connection during the handshake" :
		        "the peer ended the connection instead of a handshake: it may not use TLS");
	else if (h->rc && h->rc != -EPROTO)
		err_set(e, h->rc, "the connection failed during the handshake: %s", strerror(-h->rc));
	else
		refuses(h, e);
}

/* By the peer. OpenSSL says illegal_parameter when a binder is wrong, others decrypt_error. */
static void refused(const struct shake *h, struct err *e)
{
	const char *name = alert_name(h->alert_got);

	switch (h->alert_got) {
	case ALERT_UNKNOWN_PSK_IDENTITY:
		err_set(e, -EACCES, "the peer does not know the identity '%s' (alert %s)", h->identity, name);
		break;
	case ALERT_DECRYPT_ERROR:
	case ALERT_ILLEGAL_PARAMETER:
	case ALERT_BAD_RECORD_MAC:
		err_set(e, -EACCES, "the peer's key of identity '%s' differs from ours, or it has none (alert %s)",
		        h->identity, name);
		break;
	case ALERT_HANDSHAKE_FAILURE:
		err_set(e, -EACCES, "the peer refused (alert %s): it does not know the identity '%s', or not with %s",
		        name, h->identity, suite_name(h->psk.hash));
		break;
	case ALERT_PROTOCOL_VERSION:
		err_set(e, -EPROTONOSUPPORT, "the peer does not use TLS 1.3 (alert %s)", name);
		break;
	default:
		err_set(e, -EACCES, "the peer refused with alert %u, %s", h->alert_got, name);
	}
}

static bool openssl_said(int reason)
{
	unsigned long code = ERR_peek_error();

	return ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == reason;
}

static void refuses(const struct shake *h, struct err *e)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	if (openssl_said(SSL_R_UNSUPPORTED_PROTOCOL) || openssl_said(SSL_R_WRONG_SSL_VERSION) ||
	    openssl_said(SSL_R_VERSION_TOO_LOW))
		err_set(e, -EPROTONOSUPPORT, "the peer does not offer TLS 1.3");
	else if (h->no_psk)
		err_set(e, -EACCES, "the peer offers no pre-shared key");
	else if (h->serves && h->said_hello && !h->known && h->offered[0])
		err_set(e, -EACCES, "the identity is unknown that the peer offers: '%s'", h->offered);
	else if (h->serves && h->known && !h->has_suite)
		err_set(e, -EACCES, "the peer does not offer the cipher suite %s, which goes with the hash of the key of "
		        "identity '%s'", suite_name(h->psk.hash), h->identity);
	else if (h->serves && h->known && openssl_said(SSL_R_BAD_EXTENSION))
		err_set(e, -EACCES, "the peer binds its key by another hash than its identity '%s' names: GnuTLS before "
		        "3.8.11, with which Linux's tlshd may be built, has SHA-256 only, for keys of 32 bytes", h->identity);
	else if (openssl_said(SSL_R_BINDER_DOES_NOT_VERIFY))
		err_set(e, -EACCES, "the peer's key of identity '%s' differs from ours", h->identity);
	else if (openssl_said(SSL_R_NO_SUITABLE_KEY_SHARE) || openssl_said(SSL_R_NO_SHARED_GROUPS))
		err_set(e, -EACCES, "the peer offers no group for the key exchange that we have");
	else if (openssl_said(SSL_R_CERTIFICATE_VERIFY_FAILED))
		err_set(e, -EACCES, "the peer wants to be known by a certificate, and not by the key of identity '%s'",
		        h->identity);
	else
		err_set(e, -EPROTO, "the handshake failed: %s", reason ? reason : "the peer broke the protocol");
}
