# SPDX-License-Identifier: BSD-3-Clause
"""What nvme-cli makes of our pages, field by field, beside what the daemon's methods and docs/NVME.md say."""
import json
import re
import struct

import pytest

from gantry import NQN
from guest import HOST
from nvme_manual import check_table

SLOW_S = 120
UUID = "5c2f6b0e-62a7-4c6e-a3f8-0d5d5a6f1e11"
SERIAL = "SER0001"
WZSL, DMRSL = 8, 4096
DISCOVERY_NQN = "nqn.2014-08.org.nvmexpress.discovery"
INVALID_FIELD_DNR = 0x4002
PROPERTIES = {"cap", "vs", "cc", "csts", "nssr"}     # and CRTO, which not every nvme-cli asks for


@pytest.fixture
def served(guest, daemon):
    daemon.malloc("disk0", mib=64, block_size=4096, uuid=UUID)
    return daemon.serve("disk0", daemon.malloc("disk1", mib=16), serial_number=SERIAL, ana_reporting=True,
                        wzsl=WZSL, dmrsl=DMRSL)


class Cli:
    def __init__(self, guest):
        self.guest = guest

    def text(self, command):
        return self.guest.run(f"nvme {command}", timeout_s=SLOW_S)

    def json(self, command):
        return json.loads(self.text(f"{command} -o json"))


def numbers(names):
    """Those in "ACS_2 (Get Log Page)" and "fid_1"."""
    return {int(re.search(r"\d+", name)[0]) for name in names}


def test_identify(guest, daemon, served):
    """Administrators, and tools above nvme-cli, would see something else than what is there."""
    disk, cli = guest.connect(served), Cli(guest)
    bdev, transport = daemon.rpc("bdev_get_bdevs", name="disk0")[0], daemon.rpc("nvmf_get_transports")[0]
    subsystem = next(s for s in daemon.rpc("nvmf_get_subsystems") if s["nqn"] == NQN)
    cntlid = daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN)[0]["cntlid"]

    ctrl = cli.json("id-ctrl /dev/nvme0")
    assert (ctrl["sn"].strip(), ctrl["mn"].strip()) == (SERIAL, subsystem["model_number"])
    assert (ctrl["cntlid"], ctrl["subnqn"], ctrl["ver"], ctrl["cntrltype"]) == (cntlid, NQN, 0x20000, 1)
    assert 4096 << ctrl["mdts"] == transport["max_io_size"] and ctrl["nn"] == subsystem["max_namespaces"]
    assert ctrl["ioccsz"] * 16 == 64 + transport["in_capsule_data_size"] and ctrl["icdoff"] == 0
    assert ctrl["acl"] == ctrl["aerl"] == 3 and ctrl["elpe"] == 63 and ctrl["anatt"] == 10 and ctrl["anacap"] == 0x1f
    assert ctrl["oacs"] & ~0x200 == 0 and ctrl["fuses"] == 1 and ctrl["ofcs"] == 1
    assert ctrl["oaes"] & 0x900 == 0x900, "namespaces, ANA"

    ns = cli.json(f"id-ns {disk}")
    assert ns["nsze"] == ns["ncap"] == ns["nuse"] == bdev["num_blocks"]
    assert [1 << form["ds"] for form in ns["lbafs"]] == [bdev["block_size"]] and ns["anagrpid"] == 1
    assert ns["nguid"] == UUID.replace("-", "") and ns["nmic"] == 1 and ns["rescap"] & 0xfe == 0xfe
    descriptors = {d["type"]: d[d["type"]] for d in cli.json(f"ns-descs {disk}")["ns-descs"]}
    assert descriptors["uuid"] == UUID and descriptors["nguid"] == ns["nguid"] and descriptors["csi"] == "0"
    for listed in (cli.json("list-ns /dev/nvme0"), cli.json("list-ns /dev/nvme0 --all")):
        assert [n["nsid"] for n in listed["nsid_list"]] == [1, 2]
    for listed in (cli.json("list-ctrl /dev/nvme0"), cli.json("list-ctrl /dev/nvme0 -n 1")):
        assert listed == {"num_ctrl": 1, "ctrl_list": [{"ctrl_id": cntlid}]}

    said = cli.json("show-regs /dev/nvme0")
    assert {name for name, value in said.items() if value not in (-1, 2 ** 64 - 1)} - {"crto"} == PROPERTIES
    assert (said["vs"], said["csts"], said["cc"] & 1, said["nssr"]) == (0x20000, 1, 1, 0)
    assert said["cap"] & 0xffff == transport["max_queue_depth"] - 1


def test_identify_of_command_sets(guest, daemon, served):
    """What NVMe 2.0 moved to pages of their own would be missing, or another namespace's."""
    disk, cli = guest.connect(served), Cli(guest)
    ctrl = cli.json("nvm-id-ctrl /dev/nvme0")
    raw = guest.run("nvme admin-passthru /dev/nvme0 -o 6 --cdw10=6 -l 4096 -r -b 2>/dev/null | od -An -v -tu1 -N16")
    limits = struct.unpack("<BBBBIQ", bytes(int(byte) for byte in raw.split()))
    assert tuple(ctrl[name] for name in ("vsl", "wzsl", "wusl", "dmrl", "dmrsl", "dmsl")) == limits
    assert (ctrl["wzsl"], ctrl["dmrsl"]) == (WZSL, DMRSL), "as the subsystem was made"
    ns = cli.json(f"nvm-id-ns {disk}")
    assert ns["lbstm"] == 0 and all(form["pif"] == form["sts"] == 0 for form in ns["elbafs"])
    independent, old = cli.json("cmdset-ind-id-ns /dev/nvme0 -n 1"), cli.json(f"id-ns {disk}")
    for field in ("nmic", "rescap", "fpi", "anagrpid", "nsattr", "nvmsetid", "endgid"):
        assert independent[field] == old[field], field
    assert independent["nstat"] & 1, "ready"
    assert [n["nsid"] for n in cli.json("list-ns /dev/nvme0 --csi=0")["nsid_list"]] == [1, 2]
    assert [n["nsid"] for n in cli.json("list-ns /dev/nvme0 --csi=0 --all")["nsid_list"]] == [1, 2]
    combinations = re.findall(r"\[(\d+)\]\s*:\s*(?:0x)?(\w+)", cli.text("id-iocs /dev/nvme0"))
    assert [(int(n), int(sets, 16)) for n, sets in combinations] == [(0, 1)], "the NVM command set"


def test_what_is_not_there_is_refused(guest, served):
    """An empty page would be taken for a device without sets, domains or self-tests, and a wrong status be retried."""
    guest.connect(served)
    for command in ("id-nvmset", "id-uuid", "id-domain", "list-endgrp", "list-secondary", "id-ns-granularity",
                    "endurance-log -g 1", "self-test-log", "persistent-event-log -a 0 -l 512", "sanitize-log"):
        said = guest.run(f"! nvme {command} /dev/nvme0 2>&1", timeout_s=SLOW_S)
        assert "0x4002" in said or "0x4109" in said, command + ": " + said


def test_logs_and_features(guest, daemon, served):
    """Monitoring would alarm over nothing, or see no traffic and no errors where there are some."""
    disk, cli = guest.connect(served), Cli(guest)
    effects = cli.json("effects-log /dev/nvme0 --csi=0")[0]
    check_table("Admin commands", numbers(effects["admin_cmd_set"]))
    check_table("I/O commands", numbers(effects["io_cmd_set"]))
    features = cli.json("fid-support-effects-log /dev/nvme0")["fid_support"]
    check_table("Features", numbers(name for feature in features for name in feature))
    pages = re.findall(r"^LID 0x(\w+) .*supports 0x(\w+)", cli.text("supported-log-pages /dev/nvme0"), re.M)
    check_table("Log pages", {int(lid, 16) for lid, supports in pages if int(supports, 16) & 1})

    before = cli.json("smart-log /dev/nvme0")
    guest.run(f"dd if=/dev/zero of={disk} bs=64k count=16 oflag=direct 2>&1")
    smart = cli.json("smart-log /dev/nvme0")
    assert int(smart["host_write_commands"]) - int(before["host_write_commands"]) == 16
    assert int(smart["data_units_written"]) - int(before["data_units_written"]) in (2, 3), "of 512,000 bytes"
    assert (smart["critical_warning"], smart["avail_spare"], smart["media_errors"]) == (0, 100, "0")
    guest.run("! nvme admin-passthru /dev/nvme0 -o 6 --cdw10=0x19 -n 3 -l 4096 -r 2>&1")
    newest = cli.json("error-log /dev/nvme0")["errors"][0]
    assert (newest["sqid"], newest["status_field"], newest["nsid"], newest["trtype"]) == (0, INVALID_FIELD_DNR, 3, 3)
    assert newest["parm_error_location"] == 40, "where CNS is"
    assert int(cli.json("smart-log /dev/nvme0")["num_err_log_entries"]) == newest["error_count"]
    firmware = cli.json("fw-log /dev/nvme0")["nvme0"]
    revision = cli.json("id-ctrl /dev/nvme0")["fr"].strip()
    assert firmware["Active Firmware Slot (afi)"] == 1 and f"({revision}" in firmware["Firmware Rev Slot 1"]

    daemon.rpc("nvmf_subsystem_listener_set_ana_state", nqn=NQN, listen_address=daemon.address(served.port),
               ana_state="non_optimized", anagrpid=2)
    ana = cli.json("ana-log /dev/nvme0")
    groups = {g["grpid"]: (g["state"], [n["nsid"] for n in g["NSIDS"]]) for g in ana["ANA DESC LIST "]}
    assert groups == {1: ("optimized", [1]), 2: ("non-optimized", [2])} and ana["ngrps"] == 2
    assert cli.json("resv-notif-log /dev/nvme0")["num_logs"] == 0
    assert "num_changed_ns" not in cli.text("changed-ns-list-log /dev/nvme0 -o json") or \
        cli.json("changed-ns-list-log /dev/nvme0")["num_changed_ns"] == 0
    mi = cli.text("mi-cmd-support-effects-log /dev/nvme0 -o json")
    assert not mi.strip() or not json.loads(mi).get("mi_command_support"), "no management interface"

    def feature(options):
        return cli.text(f"get-feature /dev/nvme0 -H {options}")

    assert re.search(r"Queues Allocated \(NSQA\): 2", feature("-f 7"))
    assert "5000" in feature("-f 0xf"), "milliseconds: --keep-alive-tmo=5"
    assert re.search(r"Asymmetric Namespace Access Change Notices +: Send", feature("-f 0xb"))
    assert "343 Kelvin" in feature("-f 4") and "Feature is changeable" in feature("-f 7 -s 3")
    host_id = cli.text("get-feature /dev/nvme0 -f 0x81 --cdw11=1").split("0000:")[1].split('"')[0]
    assert host_id.replace(" ", "") == guest.run("cat /etc/nvme/hostid").strip().replace("-", "")


def test_connect_all(guest, served):
    """libnvme takes a port for one of TLS by what its entry requires: the shortest way to connect would be none. What
    the log lists is reachable in the guest by a relay only."""
    guest.run(f"relay {served.port} {HOST}")
    log = json.loads(guest.run(f"until_true 60 nvme discover -t tcp -a 127.0.0.1 -s {served.port}; "
                               f"nvme discover -t tcp -a 127.0.0.1 -s {served.port} -o json", timeout_s=SLOW_S))
    told = [(r["subnqn"], r["traddr"], r["trsvcid"], r["sectype"], r["treq"]) for r in log["records"]]
    treq = "not specified, sq flow control disable supported"
    assert told == [(nqn, "127.0.0.1", str(served.port), "none", treq) for nqn in (DISCOVERY_NQN, NQN)]
    assert log["records"][0]["subtype"] == "current discovery subsystem"
    guest.run(f"nvme connect-all -t tcp -a 127.0.0.1 -s {served.port}; disk_of {NQN} 1; relay_end", timeout_s=SLOW_S)
