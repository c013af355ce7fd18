#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# init of the guest: loads the modules, puts the host's root under a RAM disk of its own, and becomes an agent that runs
# the scripts it is told of.
#
# The host says a name over a virtio serial port. share/NAME.sh is run at once (several may run side by side), its
# output goes to share/NAME.out, and "NAME STATUS" is said back. See guest.py, the other end.

/bin/busybox --install -s /bin
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

mount_kernel_filesystems() {
	mount -t proc proc /proc
	mount -t sysfs sys /sys
	mount -t devtmpfs dev /dev
	mkdir -p /dev/pts /dev/shm
	mount -t devpts devpts /dev/pts
	mount -t tmpfs shm /dev/shm
}

load_modules() {
	while read -r module; do
		insmod "$module" || echo "guest: cannot load $module"
	done < /modules.list
}

start_network() {
	ip link set lo up
	ip link set eth0 up
	ip addr add 10.0.2.15/24 dev eth0
	ip route add default via 10.0.2.2
}

# The host's root, read-only, under what the guest writes.
mount_root() {
	mkdir -p /share /lower /overlay /new
	mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none share /share || return
	mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro hostroot /lower || return
	mount -t tmpfs -o size=50% overlay /overlay
	mkdir -p /overlay/upper /overlay/work
	mount -t overlay -o lowerdir=/lower,upperdir=/overlay/upper,workdir=/overlay/work overlay /new || return
	for dir in proc sys dev dev/pts dev/shm; do
		mount -o bind /$dir /new/$dir
	done
	for dir in tmp run mnt; do
		mount -t tmpfs $dir /new/$dir
	done
	mkdir -p /new/tmp/share
	mount -o bind /share /new/tmp/share
	mount_modules
	# Where the kernel looks for modprobe is our root, where it finds modules is the host's.
	printf '#!/bin/sh\nexec chroot /new /usr/sbin/modprobe "$@"\n' > /sbin/modprobe
	chmod 755 /sbin/modprobe
	hostname guest
}

# Those of a kernel that the host has unpacked somewhere, and not installed.
mount_modules() {
	modules=lib/modules/$(uname -r)
	root=$(sed -n 's/.*gantry.root=\([^ ]*\).*/\1/p' /proc/cmdline)
	[ "$root" = / ] && return
	mkdir -p "/new/$modules"
	mount -o bind "/lower$root/$modules" "/new/$modules"
}

run() {
	chroot /new /usr/bin/env -i HOME=/root TERM=dumb LC_ALL=C PATH="$PATH" \
		/bin/bash -eu -o pipefail "/tmp/share/$1.sh" > "/share/$1.out" 2>&1 < /dev/null 3<&-
	echo "$1 $?" >&3
}

mount_kernel_filesystems
exec > /dev/console 2>&1
load_modules
start_network
mount_root || { echo "guest: no root"; sleep 1; poweroff -f; } # and the console has said so
set -- /dev/vport*p1
exec 3<> "$1"
echo "ready 0" >&3
while read -r name <&3; do
	run "$name" &
done
poweroff -f
