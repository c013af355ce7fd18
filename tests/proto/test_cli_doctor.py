# SPDX-License-Identifier: BSD-3-Clause
"""gantry doctor, completion and manual pages: what helps people to help themselves."""
import json
import shutil
import socket
import subprocess
import uuid

import pytest

from gantry import BUILD, ROOT, free_port, wait_until
from jsonrpc import gantry
from tls import Psk


def doctor(*args, **more):
    done = subprocess.run([BUILD / "gantry", "-s", more["socket"], "doctor", "--json", *args], capture_output=True,
                          text=True, timeout=60)
    findings = json.loads(done.stdout)
    assert done.returncode == (1 if any(f["level"] == "problem" for f in findings) else 0), done.stderr
    return {f["check"]: f for f in findings}


def test_of_a_daemon(daemon):
    port = free_port()
    daemon.malloc("disk0")
    gantry("export", "disk", "disk0", "--listen", f"127.0.0.1:{port}", socket=daemon.socket)
    iscsi = free_port()
    gantry("export", "disk", "disk0", "--iscsi", "--listen", f"127.0.0.1:{iscsi}", socket=daemon.socket)
    found = doctor(socket=daemon.socket)
    assert found["iscsi-port"]["text"] == f"{iscsi} is gantryd's"
    assert found["daemon"]["level"] == "ok" and str(daemon.pid) in found["daemon"]["text"]
    assert found["port"]["text"] == f"{port} is gantryd's"
    assert found["hugepages"]["level"] == "ok"
    assert {"kernel", "io_uring", "files", "memlock", "cpus", "memory", "waits"} <= found.keys()
    text = gantry("doctor", socket=daemon.socket, status=None)
    assert max(len(line) for line in text.splitlines() if "fix:" not in line and str(daemon.socket) not in line) <= 80
    assert " problems" in text.splitlines()[-1]


def test_without_a_daemon(tmp_path):
    found = doctor(socket=tmp_path / "nobody")
    assert found["daemon"]["level"] == "warning" and found["daemon"]["fix"] == f"gantryd -r {tmp_path}/nobody"
    assert found["memory"]["text"]


def test_a_socket_that_is_open_to_all(daemon):
    daemon.socket.chmod(0o666)
    found = doctor(socket=daemon.socket)
    assert found["socket"]["level"] == "problem" and found["socket"]["fix"] == f"chmod 0660 {daemon.socket}"


def test_a_file_of_an_odd_size(daemon, tmp_path):
    """Its end would be missing from the disk without a word, or no disk could be made of it although all was well."""
    path = tmp_path / "file"
    path.write_bytes(bytes((1 << 20) + 100))
    found = doctor(str(path), socket=daemon.socket)["disk"]
    assert found["level"] == "problem" and "the last 100 could not be served" in found["text"]
    subprocess.run(found["fix"].split(), check=True)
    assert doctor(str(path), socket=daemon.socket)["disk"]["level"] == "ok"
    daemon.rpc("bdev_aio_create", name="f", filename=str(path), block_size=4096)
    assert doctor(socket=daemon.socket)["disk"]["level"] == "ok"
    blocks = path.stat().st_size // 4096
    with path.open("ab") as file:
        file.write(b"x" * 5000)
    found = doctor(socket=daemon.socket)["disk"]
    assert found["level"] == "warning" and f"the last 904 cannot be served; f serves the first {blocks * 4096}" in \
        found["text"]
    daemon.rpc("bdev_aio_rescan", name="f")
    assert "the last 904 bytes are not served" in doctor(socket=daemon.socket)["disk"]["text"]


def test_remote_disks_that_cannot_be_reached(daemon, target):
    """All would be well, by what it says, while disks are gone."""
    served = target.export(ports=2)
    assert "remote" not in doctor(socket=daemon.socket)
    for port in served.ports:
        gantry("nvme", "attach", f"127.0.0.1:{port}", served.nqn, socket=daemon.socket)
    assert doctor(socket=daemon.socket)["remote"]["level"] == "ok"
    target.rpc("nvmf_subsystem_remove_listener", nqn=served.nqn, listen_address=target.address(served.ports[1]))
    wait_until(lambda: doctor(socket=daemon.socket)["remote"]["level"] == "warning", "one path to be lost", 60)
    found = doctor(socket=daemon.socket)["remote"]
    assert found["text"].startswith("1 of 2 paths of Nvme0 ") and found["fix"].endswith("_controller name=Nvme0")
    daemon.rpc("bdev_nvme_disable_controller", name="Nvme0")
    found = doctor(socket=daemon.socket)["remote"]
    assert found["level"] == "problem" and "bdev_nvme_enable_controller" in found["fix"], found


def test_paths_that_are_to_become_disks(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(bytes(4096))
    assert doctor(image, socket=tmp_path / "nobody")["disk"]["level"] == "ok"
    assert doctor(tmp_path, socket=tmp_path / "nobody")["disk"]["level"] == "problem"
    assert doctor(tmp_path / "none", socket=tmp_path / "nobody")["disk"]["fix"] == f"truncate -s 1G {tmp_path}/none"


def test_a_disk_whose_file_is_gone(daemon, tmp_path):
    """What it holds is there while the daemon has it open; an empty file in its place would be the end of it."""
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    daemon.rpc("bdev_uring_create", name="disk0", filename=str(image))
    image.unlink()
    found = doctor(socket=daemon.socket)["disk"]
    assert found["level"] == "problem" and f"/proc/{daemon.pid}/fd" in found["fix"], found
    assert "truncate" not in found["fix"]


def test_target_nodes_that_nobody_can_use(daemon):
    daemon.malloc("disk0")
    gantry("export", "disk", "disk0", "--iscsi", "--listen", f"127.0.0.1:{free_port()}", socket=daemon.socket)
    node = "iqn.2016-06.io.gantry:disk0"

    def found():
        return doctor(socket=daemon.socket)["iscsi"]

    assert found()["level"] == "ok"
    daemon.rpc("iscsi_target_node_remove_lun", name=node, lun_id=0)
    assert found()["level"] == "warning" and "has no LUN" in found()["text"]
    daemon.rpc("iscsi_create_auth_group", tag=5)
    daemon.rpc("iscsi_target_node_set_auth", name=node, require_chap=True, chap_group=5)
    assert found()["level"] == "problem" and "tag=5" in found()["fix"]
    daemon.rpc("iscsi_delete_portal_group", tag=1)
    assert found()["level"] == "problem" and "nowhere" in found()["text"]


def test_keys(daemon, tmp_path):
    """A host that is refused because of its key's mode, or a listener that nobody can use, would be looked for long."""
    host, nqn = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=9)}", "nqn.2016-06.io.gantry:test"

    def found(check="keys"):
        return doctor(socket=daemon.socket).get(check)

    assert found() is None and found("tls") is None
    served = daemon.serve(daemon.malloc("disk0"))
    daemon.rpc("keyring_file_add_key", name="k", path=Psk.make(1).file(tmp_path / "k"))
    assert found()["level"] == "warning" and found()["text"].startswith("nobody uses key k")
    daemon.rpc("nvmf_subsystem_allow_any_host", nqn=nqn, allow_any_host=False)
    daemon.rpc("nvmf_subsystem_add_host", nqn=nqn, host=host, psk="k")
    assert found("tls")["level"] == "problem" and "no listener for that" in found("tls")["text"]
    where = {**daemon.address(served.port), "trsvcid": str(free_port())}
    daemon.rpc("nvmf_subsystem_add_listener", nqn=nqn, listen_address=where, secure_channel=True)
    assert found("tls") is None and found()["level"] == "ok"
    (tmp_path / "k").chmod(0o640)
    assert found()["level"] == "problem" and found()["fix"] == f"chmod 0600 {tmp_path}/k"
    (tmp_path / "k").unlink()
    assert found()["level"] == "problem" and "is not there" in found()["text"]
    daemon.rpc("nvmf_subsystem_remove_host", nqn=nqn, host=host)
    assert found("tls")["level"] == "warning" and "no host has a key" in found("tls")["text"]


def test_who_has_the_port(tmp_path):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 4420))
            taken.listen()
        except OSError:
            pass    # somebody else has it: as good
        port = doctor(socket=tmp_path / "nobody")["port"]
        assert port["level"] == "warning" and "taken by" in port["text"] and port["fix"].endswith(":4421")


def completed(daemon, line):
    script = """
        source <("$1" completion bash)
        compopt() { :; }
        COMP_LINE=$2 COMP_POINT=${#2}
        _gantry
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    line = line.replace("gantry", str(BUILD / "gantry"), 1)
    done = subprocess.run(["bash", "-c", script, "bash", BUILD / "gantry", line], capture_output=True, text=True,
                          timeout=60, env={"PATH": "/usr/bin:/bin", "GANTRY_SOCKET": str(daemon.socket)}, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_completion(daemon):
    daemon.malloc("disk0")
    daemon.null("null7")
    daemon.serve("disk0", nqn="nqn.2026-01.io.example:served")
    assert {"disk", "export", "top", "doctor"} <= set(completed(daemon, "gantry "))
    assert completed(daemon, "gantry disk sh") == ["show"]
    assert completed(daemon, "gantry help disk sh") == ["show"]
    assert completed(daemon, "gantry log flag nvmf_") == ["nvmf_tcp"]
    assert completed(daemon, "gantry disk show ") == ["disk0", "null7"]
    assert {"ram", "null"} <= set(completed(daemon, "gantry disk create "))
    assert completed(daemon, "gantry disk create null --block") == ["--block-size"]
    assert completed(daemon, "gantry rpc framework_set_m") == ["framework_set_mode"]
    assert completed(daemon, "gantry rpc framework_set_mode m") == ["mode="]
    assert completed(daemon, "gantry rpc framework_set_mode mode=p") == ["poll"]
    assert completed(daemon, "gantry export remove nqn.2026-01.io.example:") == ["served"]
    assert completed(daemon, f"gantry -s {daemon.socket} --json disk show d") == ["disk0"]


def test_completion_without_a_daemon(daemon, tmp_path):
    daemon.stop()
    assert completed(daemon, "gantry disk show ") == []
    assert completed(daemon, "gantry disk ") != []
    daemon.start()


@pytest.mark.parametrize("page, source", [("gantry.1", BUILD / "gantry"), ("gantryd.8", BUILD / "gantryd"),
                                          ("gantry-perf.1", BUILD / "gantry-perf"),
                                          ("gantry-trace.1", BUILD / "gantry-trace"),
                                          ("gantry-rpc.7", ROOT / "docs/reference")])
def test_manual_pages(page, source, tmp_path):
    out = tmp_path / page
    subprocess.run([ROOT / "tools/gen_man", page, source, out], check=True, timeout=60)
    text = out.read_text()
    assert ".SH NAME" in text and ".SH SEE ALSO" in text
    assert len(text) > 500
    if page == "gantry-rpc.7":
        for methods in source.glob("rpc-*[!d].md"):     # all but those without effect
            assert methods.read_text().split("\n## ")[1].split("\n")[0] in text.replace("\\-", "-"), methods
    if shutil.which("mandoc"):
        linted = subprocess.run(["mandoc", "-T", "lint", "-W", "error", out], capture_output=True, text=True)
        assert linted.returncode == 0, linted.stdout
    if shutil.which("groff"):
        shown = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", out], capture_output=True, text=True)
        assert shown.stderr == ""
