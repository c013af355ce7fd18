# SPDX-License-Identifier: BSD-3-Clause
"""Linux's multipath with the ALUA handler over two portal groups, whose states change under I/O."""
from gantry import wait_until
from test_open_iscsi import SLOW_S, Initiator

GROUPS = (1, 2)


def test_io_goes_by_the_way_that_is_open(guest, daemon):
    """I/O would fail, or wait for ever, when the administrator closes a way; or a host could not take one into use."""
    initiator = Initiator(guest)
    guest.run("modprobe -a sg scsi_dh_alua")
    exported = daemon.export(daemon.malloc("disk0", mib=64), portals=2)
    disks = [initiator.login(exported, port=port) for port in exported.ports]
    paths = " ".join(f"round-robin 0 1 1 {disk} 1" for disk in disks)
    disk = "/dev/dm-" + guest.run(f"""
        size=$(blockdev --getsz {disks[0]})
        echo "0 $size multipath 1 queue_if_no_path 1 alua 2 1 {paths}" | dmsetup create both >&2
        dmsetup info -c --noheadings -o minor both""").split()[-1]
    job = initiator.load(disk)

    def states():
        node, = daemon.rpc("iscsi_get_target_nodes")
        return {way["pg_tag"]: way["alua_state"] for way in node["target_ports"]}

    for group, path, state in zip(GROUPS, disks, ("unavailable", "standby")):
        daemon.rpc("iscsi_target_node_set_alua_state", name=exported.name, pg_tag=group, alua_state=state)
        initiator.goes_on(disk, job)
        assert states()[group] == state, "the host did not need the closed way"
        # The host takes it into use: SET TARGET PORT GROUPS, for the group that it turns to.
        guest.run(f"dmsetup message both 0 reinstate_path $(cat /sys/block/{path[5:]}/dev); "
                  f"dmsetup message both 0 switch_group {group}", timeout_s=SLOW_S)
        wait_until(lambda group=group: states()[group] == "optimized", "the way to be opened by the host", SLOW_S, 0.2)
        initiator.goes_on(disk, job)
    initiator.end(job)
    guest.run("dmsetup remove both")
