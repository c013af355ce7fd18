/* SPDX-License-Identifier: BSD-3-Clause */
/* doctor_keys.c: what gantry doctor looks at of keys: can the daemon use them, does anybody need them, and does TLS
 * lead to hosts that have one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/doctor.h"

/* By the daemon, where it has its own: then its file goes, too. */
static bool was_made(const char *name, const char *path)
{
	char end[300];
	size_t len = (size_t)snprintf(end, sizeof(end), "/keys/%s", name), whole = strlen(path);

	return whole > len && len < sizeof(end) && strcmp(path + whole - len, end) == 0;
}

/* True: nothing is wrong with it. */
static bool look_at_key(struct doctor *d, struct json_object *key)
{
	const char *name = field_text(key, "name"), *path = field_text(key, "path");
	char fix[1200];
	struct stat st;

	if (!*path)
		return true;
	if (stat(path, &st) < 0) {
		if (errno == EACCES)
			return true; /* not ours to look at; the daemon's it may be */
		snprintf(fix, sizeof(fix), "gantry rpc keyring_file_remove_key name=%s", name);
		doctor_say(d, "keys", DOCTOR_PROBLEM, fix, "the file of key %s, %s, is not there: %s", name, path,
		           strerror(errno));
		return false;
	}
	if (st.st_mode & 077) {
		snprintf(fix, sizeof(fix), "chmod 0600 %s", path);
		doctor_say(d, "keys", DOCTOR_PROBLEM, fix, "key %s is open to others (%s has mode %04o), and so refused: its "
		           "hosts cannot connect", name, path, st.st_mode & 07777);
		return false;
	}
	if (field_u64(key, "refcnt") < 2 && !field_bool(key, "removed")) {
		snprintf(fix, sizeof(fix), "gantry rpc %s name=%s", was_made(name, path) ? "keyring_delete_key" :
		         "keyring_file_remove_key", name);
		doctor_say(d, "keys", DOCTOR_WARNING, fix, "nobody uses key %s (%s)", name, path);
		return false;
	}
	return true;
}

static bool has_secured(struct doctor *d, const char *nqn)
{
	struct err ignored = { 0 };
	struct json_object *listeners = host_listeners(d->c, nqn, &ignored);
	bool secured = false;

	for (size_t i = 0; i < list_count(listeners); i++)
		secured |= host_listener_takes_psk(list_at(listeners, i));
	json_object_put(listeners);
	return secured;
}

/* TLS without a host that could come by it; or hosts that may come by nothing else, and nothing that takes them. */
static bool look_at_subsystem(struct doctor *d, struct json_object *subsystem)
{
	const char *nqn = field_text(subsystem, "nqn");
	struct json_object *hosts = field(subsystem, "hosts");
	bool keyed = false, secured = has_secured(d, nqn);

	for (size_t i = 0; i < list_count(hosts); i++)
		keyed |= *field_text(list_at(hosts, i), "psk") != '\0';
	if (keyed == secured)
		return true;
	doctor_say(d, "tls", secured ? DOCTOR_WARNING : DOCTOR_PROBLEM, "gantry host add HOST-NQN EXPORT --tls",
	           secured ? "%s listens for TLS, and no host has a key for that (psk)" :
	                     "%s has hosts that come by TLS only (psk), and no listener for that (secure_channel)", nqn);
	return false;
}

void doctor_keys(struct doctor *d)
{
	struct err ignored = { 0 };
	struct json_object *keys = d->unreachable.code ? NULL : client_call(d->c, "keyring_get_keys", NULL, &ignored);
	bool good = true;

	for (size_t i = 0; i < list_count(keys); i++)
		good &= look_at_key(d, list_at(keys, i));
	for (size_t i = 0; keys && i < list_count(d->subsystems); i++)
		if (!export_is_discovery(list_at(d->subsystems, i)))
			good &= look_at_subsystem(d, list_at(d->subsystems, i));
	if (list_count(keys) && good)
		doctor_say(d, "keys", DOCTOR_OK, NULL, "%zu keys, each in use and nobody else's to read", list_count(keys));
	json_object_put(keys);
}
