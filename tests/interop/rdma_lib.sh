# SPDX-License-Identifier: BSD-3-Clause
# RDMA in the guest: words over soft RoCE, the kernel's host and the kernel's target.

# rdma_over NETDEV...: a device rxe_NETDEV over each
rdma_over() {
	local netdev
	modprobe -a rdma_rxe ib_uverbs rdma_ucm
	for netdev; do
		rdma link add "rxe_$netdev" type rxe netdev "$netdev"
	done
	until_true 10 test -e /dev/infiniband/rdma_cm -a -e /dev/infiniband/uverbs0
}
rdma_remove() { rdma link delete "rxe_$1"; }

# link_down NETDEV, link_up NETDEV
link_down() { busybox ip link set "$1" down; }
link_up() { busybox ip link set "$1" up; }

# dummy_net NAME ADDRESS: an interface that leads nowhere
dummy_net() {
	modprobe dummy numdummies=0
	ip link add "$1" type dummy
	ip addr add "$2/24" dev "$1"
	ip link set "$1" up
}

# lossy NETDEV PERCENT [DELAY]: what it sends gets lost; lossless NETDEV
lossy() { tc qdisc replace dev "$1" root netem loss "$2%" ${3:+delay "$3"}; }
# bad_wire NETDEV OPTION...: what it sends fares as netem's options say
bad_wire() {
	local netdev=$1
	shift
	tc qdisc replace dev "$netdev" root netem "$@"
}
lossless() { tc qdisc del dev "$1" root 2> /dev/null || true; }

# rdma_connect NQN ADDRESS PORT OPTION...: a controller that comes back within a second when it is lost
rdma_connect() {
	local nqn=$1 address=$2 port=$3
	shift 3
	modprobe nvme-rdma
	nvme connect -t rdma -a "$address" -n "$nqn" -s "$port" --reconnect-delay=1 --ctrl-loss-tmo=60 \
		--keep-alive-tmo=5 "$@"
}

# rdma_export NQN ADDRESS PORT [MIB]: the kernel as target, with namespace 1 on a RAM disk
rdma_export() {
	modprobe nvmet-rdma
	[ -b /dev/ram1 ] || modprobe brd rd_nr=4 rd_size=65536 max_part=0
	mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
	nvmet_subsystem "$1"
	nvmet_ram "$1" 1
	mkdir "$NVMET/ports/1"
	echo ipv4 > "$NVMET/ports/1/addr_adrfam"
	echo rdma > "$NVMET/ports/1/addr_trtype"
	echo "$2" > "$NVMET/ports/1/addr_traddr"
	echo "$3" > "$NVMET/ports/1/addr_trsvcid"
	nvmet_link "$1" 1
}
