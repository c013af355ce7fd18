# SPDX-License-Identifier: BSD-3-Clause
# Words for tests of the kernel's iSCSI initiator, in the guest.

# iscsi_up: iscsid, and a node database of its own
iscsi_up() {
	pidof iscsid > /dev/null && return
	modprobe -a iscsi_tcp sd_mod dm_multipath dm_round_robin crc32c
	mkdir -p /run/lock/iscsi /etc/iscsi
	echo 'InitiatorName=iqn.2026-11.guest:linux' > /etc/iscsi/initiatorname.iscsi
	iscsid
}

# iscsi_node NAME PORT [KEY VALUE]...: a record of a target behind a port of the host. Made by hand, because discovery
# tells the address that it has on the host.
iscsi_node() {
	local record=(-m node -T "$1" -p "$HOST:$2")
	shift 2
	iscsiadm "${record[@]}" -o new > /dev/null
	set -- node.conn[0].timeo.noop_out_interval 1 node.conn[0].timeo.noop_out_timeout 2 \
		node.session.timeo.replacement_timeout 60 node.session.err_timeo.abort_timeout 5 "$@"
	while [ $# -gt 1 ]; do
		iscsiadm "${record[@]}" -o update -n "$1" -v "$2"
		shift 2
	done
}

# iscsi_login NAME PORT [KEY VALUE]...
iscsi_login() {
	iscsi_node "$@"
	iscsiadm -m node -T "$1" -p "$HOST:$2" --login
}

# iscsi_disk PORT LUN: the block device that a session over that port has for a LUN
find_iscsi_disk() {
	local connection dir
	for connection in /sys/class/iscsi_connection/connection*; do
		[ -e "$connection" ] && [ "$(cat "$connection/persistent_port")" = "$1" ] || continue
		for dir in "$connection"/device/../target*/*:*:*:"$2"/block/sd*; do
			[ -b "/dev/${dir##*/}" ] && echo "/dev/${dir##*/}" && return
		done
	done
	return 1
}
iscsi_disk() {
	until_true 30 find_iscsi_disk "$1" "$2"
	find_iscsi_disk "$1" "$2"
}
iscsi_disk_gone() { ! find_iscsi_disk "$1" "$2"; }

# iscsi_parameters PORT: what was negotiated
iscsi_parameters() {
	local connection
	for connection in /sys/class/iscsi_connection/connection*; do
		[ "$(cat "$connection/persistent_port")" = "$1" ] || continue
		cd "$connection"
		grep . header_digest data_digest max_recv_dlength max_xmit_dlength
		cd "$connection"/device/../iscsi_session/session*
		grep . first_burst_len max_burst_len initial_r2t immediate_data state
	done
}

iscsi_clear() {
	dmsetup remove_all --force 2> /dev/null || true
	if pidof iscsid > /dev/null; then
		iscsiadm -m node --logoutall=all > /dev/null 2>&1 || true
		iscsiadm -m node -o delete > /dev/null 2>&1 || true
	fi
	! ls -d /sys/class/iscsi_session/session* 2> /dev/null
}
