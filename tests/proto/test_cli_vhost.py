# SPDX-License-Identifier: BSD-3-Clause
"""Virtual machines as gantry status, host, top, doctor and export show them."""
import json
import socket

import pytest

from gantry import Daemon, wait_until
from jsonrpc import gantry
from virtio_blk import SECTOR, Blk


@pytest.fixture
def cli(tmp_path):
    """A daemon with a disk that machines may have, and gantry to look at it."""
    with Daemon(tmp_path, "-S", tmp_path) as daemon:
        daemon.rpc("bdev_malloc_create", name="disk", num_blocks=2048, block_size=SECTOR)
        daemon.rpc("vhost_create_blk_controller", ctrlr="vm", dev_name="disk")

        def run(*words, **how):
            return gantry(*words, socket=daemon.socket, **how)
        run.daemon = daemon
        yield run


@pytest.fixture
def findings(cli):
    """What doctor says of vhost, whatever else it finds on this machine."""
    def run():
        said = cli("doctor", "--json", status=None)     # something else may be a problem here
        return [(f["level"], f["text"]) for f in json.loads(said) if f["check"] == "vhost"]
    return run


def test_controllers_and_machines_are_shown(cli):
    path = cli.daemon.directory / "vm"
    status = cli("status")
    assert f"VHOST CONTROLLER\nvm\n  listens    {path}\n  disk       disk\n" in status and "vm.0" not in status
    with Blk(path, queues=2) as disk:
        disk.read(0, SECTOR)
        assert "  connected  vm.0, 2 queues on reactor_0\n" in cli("status")
        assert [(h["host"], h["export"], h["from"], h["queues"]) for h in json.loads(cli("host", "list", "--json"))] \
            == [("vm.0", "vm", "vhost-user", 2)]
        assert "connected   over vhost-user, 2 queues on reactor_0\n" in cli("host", "show", "vm.0")
        assert "vm.0" in cli("top", "--once")
    (shown,) = json.loads(cli("status", "--json"))["vhost_controllers"]
    assert shown["ctrlr"] == "vm"


def test_doctor_knows_what_is_in_the_way(cli, findings):
    assert [level for level, _ in findings()] == ["ok"]
    path = cli.daemon.directory / "vm"
    path.rename(path.with_name("elsewhere"))
    ((level, text),) = findings()
    assert level == "problem" and str(path) in text
    path.with_name("elsewhere").rename(path)
    cli.daemon.rpc("bdev_malloc_delete", name="disk")
    ((level, text),) = findings()
    assert level == "problem" and "vm has lost its disk disk: " in text
    assert "disk       disk, GONE\n" in cli("status")


def test_scsi_controllers(cli, findings):
    cli.daemon.rpc("vhost_create_scsi_controller", ctrlr="scsi")
    assert [text for level, text in findings() if level == "warning"] == \
        ["scsi has no target: machines find nothing there"]
    cli.daemon.rpc("vhost_scsi_controller_add_target", ctrlr="scsi", scsi_target_num=2, bdev_name="disk")
    assert [level for level, _ in findings()] == ["ok"]
    assert "  target     2: disk\n" in cli("status")
    assert "-device vhost-user-scsi-pci,chardev=scsi" in cli("export", "show", "scsi")
    cli.daemon.malloc("other", mib=1)
    cli.daemon.rpc("vhost_scsi_controller_add_target", ctrlr="scsi", scsi_target_num=-1, bdev_name="other")
    assert "other, disk" in cli("export", "list")
    assert "served as   scsi" in cli("disk", "show", "other")
    assert "other is no more a target of scsi" in cli("export", "remove", "other")
    assert [c["ctrlr"] for c in cli.daemon.rpc("vhost_get_controllers")] == ["vm", "scsi"]


def test_a_target_whose_disk_is_away(cli, findings):
    """It may come back; until then the machine has one disk less than whoever made it thinks."""
    cli.daemon.malloc("below", mib=1)
    cli.daemon.rpc("bdev_passthru_create", base_bdev_name="below", name="above")
    cli.daemon.rpc("vhost_create_scsi_controller", ctrlr="scsi")
    cli.daemon.rpc("vhost_scsi_controller_add_target", ctrlr="scsi", scsi_target_num=3, bdev_name="above")
    assert [level for level, _ in findings()] == ["ok"]
    cli.daemon.rpc("bdev_malloc_delete", name="below")
    wait_until(lambda: ("warning", "scsi: target 3 is away with its disk above, and comes back with it") in findings(),
               "what doctor says")
    cli.daemon.malloc("below", mib=1)
    wait_until(lambda: [level for level, _ in findings()] == ["ok"], "the disk to be back")


def test_what_is_meant_for_others_is_refused(cli):
    for words in (["--iscsi"], ["--listen", "127.0.0.1:4420"], ["--nqn", "nqn.2016-06.io.gantry:x"],
                  ["--chap-group", "1"], ["--nsid", "2"]):
        assert f"no {words[0]}" in cli("export", "disk", "disk", "--vhost", *words, status=2)
    assert "--vhost" in cli("export", "disk", "disk", "--name", "x", status=2)


def test_options_are_as_qemu_reads_them(cli):
    for name, ident in (("vm", "vm"), ("0a9e,x y", "vm-0a9e-x-y")):
        path = str(cli.daemon.directory / name).replace(",", ",,")
        said = cli("export", "disk", "disk", "--vhost", "--name", name)
        assert f"  -chardev socket,id={ident},path={path},reconnect=1\n" in said
        assert f"  -device vhost-user-blk-pci,chardev={ident},num-queues=4\n" in said


def test_no_host_yet(cli):
    assert "No host is connected" in cli("host", "list") and "gantry export list" in cli("host", "list")


def test_a_front_end_without_a_driver_is_told_from_one_with(cli):
    """A machine that has not got as far as its driver is connected all the same."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(cli.daemon.directory / "vm"))
        assert wait_until(lambda: "  connected  vm.0, no driver yet\n" in cli("status"), "it to be shown")


@pytest.mark.parametrize("verb", ["add", "remove"])
def test_who_may_connect_is_not_a_matter_of_names(cli, verb):
    for name in ("any", "nqn.2016-06.io.gantry:x", "iqn.2016-06.io.gantry:x"):
        said = cli("host", verb, name, "vm", status=1)
        assert "vm is served to virtual machines: whoever may open its socket" in said


@pytest.mark.parametrize("options", [(), ("-S", "sub")])
def test_sockets_are_named_as_others_find_them(tmp_path, options):
    """QEMU runs in another directory than the daemon."""
    (tmp_path / "sub").mkdir()
    with Daemon(tmp_path, *options) as daemon:
        daemon.malloc("disk", mib=1)
        path = tmp_path / "/".join(options[1:]) / "disk"
        assert f"path={path},reconnect=1" in gantry("export", "disk", "disk", "--vhost", socket=daemon.socket)
        assert path.is_socket()


def test_read_only_and_gone(cli):
    cli.daemon.rpc("vhost_create_blk_controller", ctrlr="ro", dev_name="disk", readonly=True)
    assert "  disk       disk, read only\n" in cli("status")
    assert "  disk        disk, read only\n" in cli("export", "show", "ro")
    cli.daemon.rpc("bdev_malloc_delete", name="disk")
    assert "  disk        disk, GONE\n" in cli("export", "show", "vm")
    cli.daemon.rpc("vhost_create_scsi_controller", ctrlr="scsi")
    assert "  disk        none\n" in cli("export", "show", "scsi")


def test_all_exports_of_a_disk_are_shown(cli):
    nqn, nodes = "nqn.2026-01.org.example:s", [f"iqn.2026-01.org.example:t{n}" for n in range(2)]
    cli.daemon.rpc("nvmf_create_subsystem", nqn=nqn, allow_any_host=True)
    cli.daemon.rpc("nvmf_subsystem_add_ns", nqn=nqn, namespace={"bdev_name": "disk"})
    cli.daemon.rpc("iscsi_create_portal_group", tag=1, portals=[])
    cli.daemon.rpc("iscsi_create_initiator_group", tag=1, initiators=["ANY"], netmasks=["ANY"])
    for name in nodes:
        cli.daemon.rpc("iscsi_create_target_node", name=name, alias_name="", pg_ig_maps=[{"pg_tag": 1, "ig_tag": 1}],
                       luns=[{"bdev_name": "disk", "lun_id": 0}, {"bdev_name": "disk", "lun_id": 4}], queue_depth=8)
    said, listed = cli("disk", "show", "disk"), cli("disk", "list")
    assert f"served as   {nqn}, namespace 1\n" in said
    assert all(f"served as   {name}, LUN {lun}\n" in said for name in nodes for lun in (0, 4))
    assert f"{nqn} {nodes[0]}"[:40] in listed


def test_all_controllers_of_a_disk_are_shown_and_removed(cli):
    cli.daemon.rpc("vhost_create_blk_controller", ctrlr="vm2", dev_name="disk")
    cli.daemon.rpc("vhost_create_scsi_controller", ctrlr="scsi")
    cli.daemon.rpc("vhost_scsi_controller_add_target", ctrlr="scsi", scsi_target_num=0, bdev_name="disk")
    said = cli("disk", "show", "disk")
    for name in ("vm", "vm2", "scsi"):
        assert f"served as   {name}, to virtual machines\n" in said
        assert f"{cli.daemon.directory / name}\n" in cli("export", "show", "disk")
    assert "vm vm2 scsi\n" in cli("disk", "list")
    assert cli("export", "show", "vm").count("socket ") == 1
    assert cli("export", "remove", "disk") == "vm is gone\nvm2 is gone\ndisk is no more a target of scsi\n"
    assert "to nobody" in cli("disk", "show", "disk")
