# SPDX-License-Identifier: BSD-3-Clause
# The kernel's NVMe target in the guest: words over its configfs. Ports 1 and 2 have an address each.

NVMET=/sys/kernel/config/nvmet
NVMET_ADDRESSES=(- 10.0.2.15 10.0.2.16)

nvmet_load() {
	modprobe nvmet-tcp
	modprobe brd rd_nr=4 rd_size=65536 max_part=0
	mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
}

# nvmet_port N: it listens on 4419 + N as soon as a subsystem is linked to it
nvmet_port() {
	local port=$NVMET/ports/$1
	nvmet_speak "$1"
	mkdir "$port"
	echo ipv4 > "$port/addr_adrfam"
	echo tcp > "$port/addr_trtype"
	echo "${NVMET_ADDRESSES[$1]}" > "$port/addr_traddr"
	echo $((4419 + $1)) > "$port/addr_trsvcid"
}

# nvmet_subsystem NQN: any host may connect
nvmet_subsystem() {
	mkdir "$NVMET/subsystems/$1"
	echo 1 > "$NVMET/subsystems/$1/attr_allow_any_host"
	echo "SER-${1##*:}" > "$NVMET/subsystems/$1/attr_serial"
}

# nvmet_file NQN NSID MIB: a namespace of 4 KiB blocks; nvmet_ram: of 512 byte blocks, /dev/ramNSID
nvmet_file() {
	local path=/dev/shm/${1##*:}-$2
	truncate -s "$3M" "$path"
	mkdir "$NVMET/subsystems/$1/namespaces/$2"
	echo 1 > "$NVMET/subsystems/$1/namespaces/$2/buffered_io"
	nvmet_namespace "$1" "$2" "$path"
}
nvmet_ram() {
	mkdir "$NVMET/subsystems/$1/namespaces/$2"
	nvmet_namespace "$1" "$2" "/dev/ram$2"
}
nvmet_namespace() {
	local ns=$NVMET/subsystems/$1/namespaces/$2
	echo -n "$3" > "$ns/device_path"
	printf '%08x-1111-4222-8333-444455556666' "$2" > "$ns/device_uuid"
	echo 1 > "$ns/enable"
}

# nvmet_link NQN N: the port serves it; nvmet_unlink: no longer, its connections there are closed
nvmet_link() { ln -s "$NVMET/subsystems/$1" "$NVMET/ports/$2/subsystems/$1"; }
nvmet_unlink() { rm "$NVMET/ports/$2/subsystems/$1"; }

# nvmet_ana N GROUP STATE: the group is made when there is none
nvmet_ana() {
	local group=$NVMET/ports/$1/ana_groups/$2
	[ -d "$group" ] || mkdir "$group"
	echo "$3" > "$group/ana_state"
}

# nvmet_mute N: what is sent to the port's address is lost without a word; nvmet_speak: no longer
nvmet_mute() { busybox ip addr del "${NVMET_ADDRESSES[$1]}/24" dev eth0; }
nvmet_speak() {
	busybox ip addr show dev eth0 | grep -q "${NVMET_ADDRESSES[$1]}/" ||
		busybox ip addr add "${NVMET_ADDRESSES[$1]}/24" dev eth0
}

# nvmet_remove NQN: as if it had never been
nvmet_remove() {
	local dir
	for dir in "$NVMET"/ports/*/subsystems/"$1"; do
		[ ! -e "$dir" ] || rm "$dir"
	done
	for dir in "$NVMET/subsystems/$1"/namespaces/*; do
		[ -e "$dir" ] || continue
		echo 0 > "$dir/enable"
		rmdir "$dir"
	done
	rmdir "$NVMET/subsystems/$1"
	rm -f /dev/shm/"${1##*:}"-[0-9]*
}

nvmet_clear() {
	local dir
	[ -d $NVMET ] || return 0
	for dir in $NVMET/subsystems/*; do
		[ ! -e "$dir" ] || nvmet_remove "${dir##*/}"
	done
	for dir in $NVMET/ports/*/ana_groups/[2-9] $NVMET/ports/*; do
		[ ! -e "$dir" ] || rmdir "$dir"
	done
	nvmet_speak 1
}
