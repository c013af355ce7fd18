/* SPDX-License-Identifier: BSD-3-Clause */
/* linux.c: secrets in the kernel's keyring: keys of type "user", by their description, in the session's keyring or
 * those it leads to. The two calls are made without libkeyutils, which would be needed for nothing else. */
#include <errno.h>
#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "keyring/keyring_priv.h"

int keyring_linux_find(const char *name, int32_t *ret_serial)
{
	/* No fourth argument: the kernel must not start a program that makes the key. */
	long serial = syscall(SYS_request_key, "user", name, NULL, KEY_SPEC_SESSION_KEYRING);

	if (serial < 0)
		return -errno;
	*ret_serial = (int32_t)serial;
	return 0;
}

int keyring_linux_read(int32_t serial, const char *name, char *buf, size_t cap, size_t *ret_len, struct err *e)
{
	long len = syscall(SYS_keyctl, KEYCTL_READ, serial, buf, cap, 0);

	if (len < 0)
		return err_set(e, -errno, "key '%s' of the kernel's keyring cannot be read: %s", name, strerror(errno));
	if ((size_t)len > cap)
		return err_set(e, -EINVAL, "key '%s' of the kernel's keyring has %ld bytes; no key has more than %zu", name,
		               len, cap);
	*ret_len = (size_t)len;
	return 0;
}

int keyring_linux_check(struct err *e)
{
	if (syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0, 0, 0) >= 0)
		return 0;
	return err_set(e, -errno, "enable: the kernel's keyring cannot be used here: %s; keep keys in files, with "
	               "keyring_file_add_key", strerror(errno));
}
