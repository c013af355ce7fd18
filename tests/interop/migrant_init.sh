#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# init of a guest that can move to another QEMU: all it needs of the host are its disks. It writes each of them, reads
# back and compares, for ever, and tells of each round on its console. See migrant.py, the other end.

/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/tmp LC_ALL=C

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp /dev/shm
mount -t tmpfs tmp /tmp
mount -t tmpfs shm /dev/shm
ip link set lo up
exec > /dev/ttyS0 2>&1 < /dev/null
while read -r module; do
	insmod "$module" || echo "FAILED to load $module"
done < /modules.list

rounds_of() {
	local disk=$1 n=0
	while fio --ioengine=libaio --direct=1 --verify_state_save=0 --allow_file_create=0 --name=$disk \
		--filename=/dev/$disk --rw=randrw --bsrange=4k-64k --blockalign=4k --iodepth=8 --size=8m --randseed=$n \
		--verify=crc32c --verify_fatal=1 --do_verify=1 > /tmp/$disk.out 2>&1; do
		n=$((n + 1))
		echo "ROUND $disk $n"
	done
	echo "FAILED on $disk in round $n"
	cat /tmp/$disk.out
}

# A disk of 16 MiB is one that comes while the guest runs, and goes when it was found to be good.
late() {
	while :; do
		for dir in /sys/block/[sv]d*; do
			disk=${dir##*/}
			[ "$(cat $dir/size 2>/dev/null)" = 32768 ] || continue
			if fio --ioengine=libaio --direct=1 --verify_state_save=0 --allow_file_create=0 --name=$disk \
				--filename=/dev/$disk --rw=randrw --bsrange=4k-64k --blockalign=4k --iodepth=8 --size=4m \
				--verify=crc32c --verify_fatal=1 --do_verify=1 > /tmp/late.out 2>&1; then
				echo "CHECKED $disk"
			else
				echo "FAILED on $disk, which came late"
				cat /tmp/late.out
			fi
			while [ -e $dir ]; do sleep 0.2; done
			echo "GONE $disk"
		done
		sleep 0.5
	done
}

# SCSI disks are found a moment later; the command line says how many disks there are.
disks_wanted=$(sed 's/.*disks=\([0-9]*\).*/\1/' /proc/cmdline)
until set -- /sys/block/[sv]d* && [ $# -ge "$disks_wanted" ]; do
	sleep 0.1
done
for dir; do
	rounds_of "${dir##*/}" &
	reader "/dev/${dir##*/}" &
done
late &
echo "READY"
while :; do sleep 1000; done
