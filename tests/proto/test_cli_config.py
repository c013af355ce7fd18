# SPDX-License-Identifier: BSD-3-Clause
"""gantry config: what it says is what is done, all of it or nothing, and its exit status tells which."""
import json

import pytest

from gantry import NQN, Daemon
from jsonrpc import gantry
from nvme_tcp import Host, must


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path, "--state-dir", tmp_path / "state") as running:
        yield running


@pytest.fixture
def g(daemon):
    return lambda *args, **more: gantry("config", *args, socket=daemon.socket, **more)


@pytest.fixture
def edited(g, tmp_path):
    """The configuration as a file, after a look by `edit` at a subsystem's entries; its path."""
    def write(edit, subsystem="bdev"):
        config = json.loads(g("show"))
        edit(next(s for s in config["subsystems"] if s["subsystem"] == subsystem)["config"])
        path = tmp_path / "edited.json"
        path.write_text(json.dumps(config))
        return path
    return write


def null(name, **more):
    return {"method": "bdev_null_create", "params": {"name": name, "num_blocks": 64, "block_size": 512, **more}}


def names(daemon):
    return [b["name"] for b in daemon.rpc("bdev_get_bdevs")]


def version(daemon):
    return daemon.rpc("config_get_state")["version"]


def test_show_is_a_file_for_the_daemon(daemon, g, tmp_path):
    daemon.null("null0")
    assert json.loads(g("show")) == json.loads(g()) == daemon.rpc("save_config")
    assert "null0" not in g("show", "1") and "null0" in g("show", "2")
    path = tmp_path / "shown.json"
    path.write_text(g("show"))
    other = tmp_path / "other"
    other.mkdir()
    with Daemon(other, "-c", path) as again:
        assert names(again) == ["null0"]


def test_versions_say_what_changed(daemon, g):
    daemon.null("null0")
    daemon.rpc("bdev_null_resize", name="null0", new_size=1)
    daemon.rpc("bdev_null_delete", name="null0")
    first, *others = g("versions").splitlines()
    assert first.split()[0] == "1" and first.endswith("the oldest that is kept")
    assert [line.split(None, 3)[3] for line in others][::2] == ["add bdev_null_create null0",
                                                                "remove bdev_null_create null0"]
    assert "change bdev_null_create null0" in others[1]
    assert [v["version"] for v in json.loads(g("versions", "--json"))] == [1, 2, 3, 4]


def test_diff_with_a_file_and_since_a_version(daemon, g, edited):
    daemon.null("null0")
    assert g("diff", edited(lambda entries: None)) == "No difference\n"
    assert g("diff", edited(lambda entries: entries.append(null("more")))) == "add bdev_null_create more\n"
    assert g("diff", "1") == "add bdev_null_create null0\n"
    assert g("diff", "2") == "No difference\n"
    assert names(daemon) == ["null0"] and version(daemon) == 2


def test_a_dry_run_says_what_apply_does(daemon, g, edited):
    daemon.malloc("ram0")
    before = version(daemon)

    def edit(entries):
        entries[:] = [e for e in entries if e["params"].get("name") != "ram0"] + [null("more")]
    path = edited(edit)
    said = g("apply", path, "--dry-run")
    lost = "what is in the 64 MiB of RAM disk ram0 is lost"
    assert said.splitlines() == ["add bdev_null_create more", f"remove bdev_malloc_create ram0 ({lost})"]
    assert lost in g("diff", path)
    assert names(daemon) == ["ram0"] and version(daemon) == before
    assert g("apply", path) == said
    assert names(daemon) == ["more"] and version(daemon) == before + 1
    assert g("apply", path) == "Nothing to do\n" and version(daemon) == before + 1
    daemon.kill()
    daemon.start()
    assert names(daemon) == ["more"]


def test_apply_does_all_or_nothing(daemon, g, edited):
    daemon.null("gone")
    daemon.serve("gone")
    saved, before = g("show"), version(daemon)

    def edit(entries):
        entries[:] = [e for e in entries if e["params"].get("name") != "gone"]
        entries += [null("good"), null("bad", block_size=511)]
    assert "everything is as it was before" in g("apply", edited(edit), status=1)
    assert g("show") == saved and version(daemon) == before
    assert g("apply", edited(lambda entries: None)) == "Nothing to do\n"
    lacking = edited(lambda entries: entries.append(
        {"method": "nvmf_subsystem_add_ns", "params": {"nqn": NQN, "namespace": {"bdev_name": "no", "nsid": 9}}}),
        "nvmf")
    assert "there is no device 'no'" in g("apply", lacking, status=1)
    assert g("show") == saved and version(daemon) == before


def test_a_mistake_takes_nothing_away(daemon, g, edited, tmp_path):
    """What a RAM disk holds does not come back with it: mistakes are found before; other failures say what is lost."""
    served = daemon.serve(daemon.malloc("disk0"))
    with Host(served.port, served.nqn) as host:
        must(host.io.write(0, b"x" * 4096))

    def edit(entries, **change):
        next(e for e in entries if e["params"].get("name") == "disk0")["params"].update(change)
    said = g("apply", edited(lambda entries: edit(entries, block_size=513)), status=1)
    assert "513 is not a multiple of 512" in said and "everything is as it was before" in said
    with Host(served.port, served.nqn) as host:
        assert host.io.read(0, 8)[:4096] == b"x" * 4096

    def fails_late(entries):
        edit(entries, block_size=4096)
        entries.append({"method": "bdev_uring_create", "params": {"name": "u", "filename": f"{tmp_path}/none"}})
    said = g("apply", edited(fails_late), status=1)
    assert "as it was before, but what is in the" in said and "of RAM disk disk0 is lost" in said, said
    assert "disk0" in names(daemon)


def test_a_ram_disk_that_shrinks_or_is_made_anew(daemon, g, edited, tmp_path):
    """Neither the dry run nor the comparison would say what is lost; undoing would fail while memory is given back."""
    daemon.rpc("bdev_malloc_create", name="ram0", num_blocks=1 << 20, block_size=4096)

    def edit(entries, **change):
        next(e for e in entries if e["params"].get("name") == "ram0")["params"].update(change)
    smaller = edited(lambda entries: edit(entries, num_blocks=1 << 19))
    lost = "(the last 2 GiB of RAM disk ram0 are lost, from block 524288 on)"
    for how in (("diff", smaller), ("apply", smaller, "--dry-run")):
        assert lost in g(*how), how
    larger = edited(lambda entries: edit(entries, num_blocks=1 << 21))
    assert "lost" not in g("diff", larger) and "lost" not in g("apply", larger, "--dry-run")
    anew = edited(lambda entries: edit(entries, block_size=512))
    assert "(what is in the 4 GiB of RAM disk ram0 is lost: it is made anew)" in g("diff", anew)
    assert "(what is in the 4 GiB of RAM disk ram0 is lost)" in g("apply", anew, "--dry-run")

    def fails_late(entries):
        edit(entries, num_blocks=1 << 19)
        entries[:] = [e for e in entries if e["params"].get("name") != "gone"]
        entries.append({"method": "bdev_uring_create", "params": {"name": "gone", "filename": f"{tmp_path}/none"}})
    daemon.null("gone")
    said = g("apply", edited(fails_late), status=1)
    assert "as it was before, but the last 2 GiB of RAM disk ram0 are lost" in said, said
    assert [b["num_blocks"] for b in daemon.rpc("bdev_get_bdevs", name="ram0")] == [1 << 20]


def test_rollback_goes_back_and_forth(daemon, g):
    daemon.null("null0")
    daemon.serve("null0")
    full, there = g("show"), version(daemon)
    for words in ["--dry-run"], []:
        assert "remove nvmf_create_transport tcp" in g("rollback", "1", *words)
    assert names(daemon) == [] and daemon.rpc("nvmf_get_transports") == []
    assert "add nvmf_create_transport" in g("rollback", str(there))
    assert g("show") == full and version(daemon) == there + 2
    there += 2
    daemon.null("null1")
    said = g("rollback", str(there), "--dry-run")
    assert "remove bdev_null_create null1" in said and "null1" in names(daemon)
    assert g("rollback", str(there)) == said
    assert g("show") == full and g("rollback", str(there)) == "Nothing to do\n"
    assert version(daemon) > there        # going back is a change too, and can be gone back on


def test_mistakes_are_said(daemon, g, tmp_path):
    assert "there is no version 99; those from 1 to 1 are kept" in g("show", "99", status=1)
    assert "there is no version 99" in g("rollback", "99", status=1)
    assert "is no version; gantry config versions lists them" in g("rollback", "x", status=2)
    assert "FILE is missing" in g("apply", status=2)
    assert "none cannot be read: No such file" in g("apply", tmp_path / "none", status=2)
    assert "Is a directory" in g("apply", tmp_path, status=2)
    path = tmp_path / "wrong.json"
    path.write_text('{"subsystems": [')
    assert "line 1, column 17: it ends too early" in g("diff", path, status=2)
    path.write_text('{\n  "subsystems": oops\n}\n')
    assert "line 2, column 17" in g("diff", path, status=2)
    for text, said in ("", "is empty"), (" \n", "is empty"), ("null\n", "null is nothing"):
        path.write_text(text)
        assert said in g("apply", path, status=2)
    path.write_text('{"bdev": []}')
    assert "as save_config gives it" in g("apply", path, status=1)


def test_without_a_state_there_are_no_versions(tmp_path):
    directory = tmp_path / "plain"
    directory.mkdir()
    with Daemon(directory) as plain:
        plain.null("null0")
        assert "null0" in gantry("config", "show", socket=plain.socket)
        for words in ["versions"], ["rollback", "1"], ["show", "1"]:
            assert "--state-dir" in gantry("config", *words, socket=plain.socket, status=1)
