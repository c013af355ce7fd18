# SPDX-License-Identifier: BSD-3-Clause
# Words that the scripts of these tests use, in the guest.

HOST=10.0.2.2

# until_true SECONDS COMMAND...: try it until it succeeds
until_true() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@" > /dev/null 2>&1; do
		if [ $SECONDS -ge $deadline ]; then
			echo "waited in vain for: $*" >&2
			return 1
		fi
		sleep 0.1
	done
}

# nvme_connect NQN PORT OPTION...: a controller that comes back within a second when it is lost
nvme_connect() {
	local nqn=$1 port=$2
	shift 2
	nvme connect -t tcp -a $HOST -n "$nqn" -s "$port" --reconnect-delay=1 --ctrl-loss-tmo=60 --keep-alive-tmo=5 "$@"
}

# find_disk NQN NSID: the block device of a namespace, if it is there
find_disk() {
	local dir
	for dir in /sys/block/nvme*; do
		case ${dir##*/} in nvme*c*n*) continue ;; esac # one path of several: not to be used
		[ -e "$dir" ] && [ "$(cat "$dir/device/subsysnqn")" = "$1" ] && [ "$(cat "$dir/nsid")" = "$2" ] || continue
		[ -b "/dev/${dir##*/}" ] && echo "/dev/${dir##*/}" && return
	done
	return 1
}

# disk_of NQN NSID: the same, as soon as it is there
disk_of() {
	until_true 60 find_disk "$1" "$2"
	find_disk "$1" "$2"
}

# controllers_of NQN: directories in sysfs
controllers_of() {
	local dir
	for dir in /sys/class/nvme/nvme*; do
		[ -e "$dir" ] && [ "$(cat "$dir/subsysnqn")" = "$1" ] && echo "$dir"
	done
	return 0
}

# live_count NQN: how many of its controllers are connected
live_count() {
	local dir n=0
	for dir in $(controllers_of "$1"); do
		[ "$(cat "$dir/state")" = live ] && n=$((n + 1))
	done
	echo $n
}
has_live() { [ "$(live_count "$1")" = "$2" ]; }

# ios_done DEVICE: reads and writes completed on it. With multipath it is the paths that count them.
ios_done() {
	local name=${1#/dev/} subsystem=${1%n*}
	subsystem=${subsystem#/dev/}
	cat /sys/block/$name/stat /sys/block/${subsystem}c*n${name##*n}/stat 2> /dev/null |
		awk '{ n += $1 + $5 } END { print n + 0 }' || true
}

# relay PORT ADDRESS: what connects to this port of the guest's loopback reaches the same port there, until relay_end
relay() {
	busybox nc -ll -p "$1" -e busybox nc "$2" "$1" > /dev/null 2>&1 < /dev/null &
	echo $! > /tmp/relay.pid
}
relay_end() { kill "$(cat /tmp/relay.pid)"; }
