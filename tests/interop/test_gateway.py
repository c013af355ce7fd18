# SPDX-License-Identifier: BSD-3-Clause
"""The daemon between hosts and a target that is not ours: disks of the guest's kernel, attached and served on."""
import struct

import pytest

from gantry import wait_until
from load import Load
from nvme_tcp import IO_DSM, IO_FLUSH, IO_WRITE_ZEROES, Host, must, rw, sqe
from remote import disks, paths, states, wait_state
from test_target import perf

NAME = "K"
SLOW_S = 120    # the guest is emulated, and the machine has other things to do


@pytest.fixture
def kernel(target, daemon):
    """Its subsystem, and a daemon that gives up the silent after two seconds and never the waiting."""
    daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=2000, fast_io_fail_timeout_sec=0, reconnect_delay_sec=1)
    yield target.export()
    print(f"--- the daemon's log\n{daemon.log_tail(60)}")


def attach_port(daemon, kernel, port, **options):
    return daemon.rpc("bdev_nvme_attach_controller", name=NAME, **kernel.address(port), **options)


def attached(daemon, kernel, ports=(0, 1), **options):
    """Both namespaces over these ports, served by the daemon."""
    for port in ports:
        assert attach_port(daemon, kernel, port, **options) == [f"{NAME}n1", f"{NAME}n2"]
    return daemon.serve(f"{NAME}n1", f"{NAME}n2")


def load(daemon, served):
    return Load(daemon, served, depth=8, rate=400, qpairs=1)


def bdev(daemon, nsid):
    return daemon.rpc("bdev_get_bdevs", name=f"{NAME}n{nsid}")[0]


def ana_states(daemon, nsid=1):
    """By port."""
    return {entry["trid"]["trsvcid"]: entry["ns_data"]["ana_state"]
            for entry in bdev(daemon, nsid)["driver_specific"]["nvme"]}


def submitted(daemon):
    return [path["io"]["submitted"] for path in paths(daemon, NAME)]


def path_of(served):
    return f"trtype:TCP adrfam:IPv4 traddr:127.0.0.1 trsvcid:{served.port} subnqn:{served.nqn}"


# --- data ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("digests", [{}, {"hdgst": True, "ddgst": True}], ids=["plain", "digests"])
def test_what_is_written_is_read_back(kernel, daemon, digests):
    """Data would be lost or torn on its way through two transports."""
    served = attached(daemon, kernel, ports=(0,), **digests)
    for options in (("-q", "8", "-o", "4k", "-d", "200"), ("-q", "4", "-o", "64k", "-d", "40")):
        result = perf(path_of(served), "-w", "randrw", "-M", "40", "--verify", *options)
        assert result["errors"] == result["miscompares"] == 0 and result["ios"], result


def test_a_disk_is_what_the_target_says(kernel, daemon):
    """Its name, size and blocks would be others than those of the namespace."""
    attached(daemon, kernel, ports=(0,))
    for nsid, block_size in ((1, 512), (2, 4096)):
        found = bdev(daemon, nsid)
        assert found["block_size"] == block_size and found["num_blocks"] == (64 << 20) // block_size
        assert found["uuid"] == f"{nsid:08x}-1111-4222-8333-444455556666"
    data = bdev(daemon, 1)["driver_specific"]["nvme"][0]
    assert data["ctrlr_data"]["model_number"] == "Linux" and data["ctrlr_data"]["serial_number"] == "SER-kernel"
    assert data["ctrlr_data"]["ana_reporting"] and data["ns_data"]["ana_state"] == "optimized"


def test_ios_larger_than_the_target_takes(kernel, daemon):
    """The kernel tells no limit and has one: what is longer would fail as a whole."""
    attach_port(daemon, kernel, 0)
    result = daemon.rpc("bdev_perf_start", name=f"{NAME}n2", rw="randrw", qd=1, io_size=8 << 20, time=0, number_ios=3,
                        verify=True, timeout_s=SLOW_S)
    assert result["errors"] == result["miscompares"] == 0, result


def test_zeroes_and_discards(kernel, daemon):
    """Commands without data would do something else, or nothing, at a target that has its own idea of them."""
    served = attached(daemon, kernel, ports=(0,))
    with Host(served.port, served.nqn) as host:
        for nsid, size in ((1, 512), (2, 4096)):
            pattern = bytes(range(1, 256)) * 17
            blocks = [pattern[i:] + pattern[:i] for i in range(16)]
            blocks = [(b * (size // len(b) + 1))[:size] for b in blocks]
            for lba, block in enumerate(blocks):
                must(host.io.write(lba, block, size, nsid))
            if nsid == 1:   # the kernel says it can and cannot, where the file system of its file cannot
                must(host.io.command(rw(IO_WRITE_ZEROES, 4, 4, nsid)))
            else:
                must(host.io.command(sqe(IO_DSM, nsid, cdw10=0, cdw11=4), struct.pack("<IIQ", 0, 4, 4)))
            must(host.io.command(sqe(IO_FLUSH, nsid)))
            blocks[4:8] = [bytes(size)] * 4
            assert host.io.read(0, 16, size, nsid) == b"".join(blocks)


# --- paths -----------------------------------------------------------------------------------------------------

def test_one_port_of_two_is_closed(kernel, daemon):
    """Losing one path would lose, double or fail I/O that the other could carry."""
    served = attached(daemon, kernel)
    with load(daemon, served) as running:
        for port in (0, 1):
            kernel.unlink(port)
            running.more_ios(300, SLOW_S)
            assert sorted(states(daemon, NAME)) != ["enabled", "enabled"]
            kernel.link(port)
            wait_state(daemon, "enabled", "enabled", name=NAME, timeout_s=SLOW_S)
            running.more_ios(100, SLOW_S)


def test_a_kernel_at_both_ends(kernel, daemon, target):
    """What a Linux host sees of a Linux target through us would not be what it sees of the target itself."""
    served = attached(daemon, kernel)
    disk = target.guest.connect(served)
    job = target.guest.start(f"until [ -e /tmp/enough ]; do fio --ioengine=libaio --direct=1 --name=verify "
                             f"--filename={disk} --verify_state_save=0 --rw=randrw --bs=4k --size=4m --iodepth=8 "
                             f"--verify=crc32c --verify_fatal=1 --do_verify=1; done; rm /tmp/enough")
    before = target.guest.ios_done(disk)
    wait_until(lambda: target.guest.ios_done(disk) > before + 200, "I/O to begin", SLOW_S)
    kernel.unlink(0)
    before = target.guest.ios_done(disk)
    wait_until(lambda: target.guest.ios_done(disk) > before + 200, "I/O to go on", SLOW_S)
    kernel.link(0)
    wait_state(daemon, "enabled", "enabled", name=NAME, timeout_s=SLOW_S)
    target.guest.run("touch /tmp/enough")
    job.wait(SLOW_S)
    target.guest.run(f"nvme disconnect -n {served.nqn}")


def test_one_port_of_two_falls_silent(kernel, daemon, target):
    """Only Keep Alive can tell: what is out on the silent path would wait for ever."""
    served = attached(daemon, kernel)
    with load(daemon, served) as running:
        target.mute(1)
        wait_until(lambda: states(daemon, NAME)[1] != "enabled", "the silence to be noticed", SLOW_S)
        running.more_ios(300, SLOW_S)
        target.speak(1)
        wait_state(daemon, "enabled", "enabled", name=NAME, timeout_s=SLOW_S)
        running.more_ios(100, SLOW_S)


def test_a_target_that_restarts_is_waited_for(kernel, daemon):
    """I/O would fail, or stay away, when the only path goes and comes back."""
    served = attached(daemon, kernel, ports=(0,))
    with load(daemon, served) as running:
        for _ in range(2):
            kernel.unlink(0)
            wait_until(lambda: states(daemon, NAME) != ["enabled"], "the end to be noticed", SLOW_S)
            kernel.link(0)
            running.more_ios(100, SLOW_S)
    assert paths(daemon, NAME)[0]["connected"] >= 3


def test_idle_paths_are_kept(kernel, daemon, target):
    """The kernel would find Keep Alives late or missing."""
    attached(daemon, kernel)
    target.guest.mark_console()
    before = [p["attempts"] for p in paths(daemon, NAME)]
    target.run("sleep 7")
    assert [p["attempts"] for p in paths(daemon, NAME)] == before and states(daemon, NAME) == ["enabled", "enabled"]
    assert "timer" not in target.guest.console_since_mark(), target.guest.console_since_mark()


# --- ANA -------------------------------------------------------------------------------------------------------

def test_ana_says_which_path_is_used(kernel, daemon, target):
    """I/O would go where the target does not want it, or fail while the target changes its mind."""
    served = attached(daemon, kernel)
    ports = [str(p) for p in target.guest.ports]

    def only(running, port):
        """All of the I/O goes over this port, once what was under way has ended."""
        def moved():
            before = submitted(daemon)
            running.more_ios(50, SLOW_S)
            after = submitted(daemon)
            return after[port] > before[port] and after[1 - port] == before[1 - port]
        wait_until(moved, f"all I/O to use path {port}", SLOW_S)

    def become(port, state, shown=None):
        target.ana(port, state)
        wait_until(lambda: ana_states(daemon)[ports[port]] == (shown or state.replace("-", "_")),
                   f"path {port} to be {state}: {ana_states(daemon)}", SLOW_S)

    with load(daemon, served) as running:
        become(0, "inaccessible")
        only(running, 1)
        become(0, "non-optimized")
        only(running, 1)
        become(1, "persistent-loss")
        only(running, 0)
        become(1, "optimized")
        only(running, 1)
        become(0, "optimized")
        running.more_ios(50, SLOW_S)


def test_every_group_has_its_own_way(kernel, daemon, target):
    """Namespaces of one subsystem that live behind different ports would all use the same one."""
    served = attached(daemon, kernel)
    ports = [str(p) for p in target.guest.ports]
    for port in (0, 1):
        target.ana(port, "optimized" if port else "inaccessible", group=2)
    kernel.namespace(2, "ana_grpid", 2)
    wait_until(lambda: [ana_states(daemon, 2)[p] for p in ports] == ["inaccessible", "optimized"],
               "the second disk to be of group 2", SLOW_S)
    assert [ana_states(daemon, 1)[p] for p in ports] == ["optimized", "optimized"]
    target.ana(1, "inaccessible")
    wait_until(lambda: [ana_states(daemon, 1)[p] for p in ports] == ["optimized", "inaccessible"],
               "the first disk to have left port 1", SLOW_S)
    for nsid in (1, 2):
        before = submitted(daemon)
        result = perf(f"{path_of(served)} ns:{nsid}", "-w", "randrw", "-M", "50", "--verify", "-q", "4", "-o", "4k",
                      "-d", "100")
        assert result["errors"] == result["miscompares"] == 0, result
        used = [after > then for after, then in zip(submitted(daemon), before)]
        assert used == [nsid == 1, nsid == 2], used


def test_io_waits_while_no_path_is_accessible(kernel, daemon, target):
    """A target that moves a namespace from one port to the other would make I/O fail."""
    served = attached(daemon, kernel)
    with load(daemon, served) as running:
        for state in ("change", "inaccessible"):
            target.ana(0, state)
            target.ana(1, state)
            target.ana(1, "optimized")
            running.more_ios(100, SLOW_S)
            target.ana(0, "optimized")
        running.more_ios(100, SLOW_S)


# --- namespaces ------------------------------------------------------------------------------------------------

def test_namespaces_grow_go_and_come(kernel, daemon):
    """The daemon would serve what is not there any more, or not see what is."""
    attach_port(daemon, kernel, 0)
    attach_port(daemon, kernel, 1)
    kernel.resize(2, 96)
    wait_until(lambda: bdev(daemon, 2)["num_blocks"] == 96 * 256, "the disk to be 96 MiB", SLOW_S)
    kernel.namespace(2, "enable", 0)
    wait_until(lambda: disks(daemon) == [f"{NAME}n1"], "the disk to be gone", SLOW_S)
    kernel.namespace(2, "enable", 1)
    wait_until(lambda: disks(daemon) == [f"{NAME}n1", f"{NAME}n2"], "the disk to be there again", SLOW_S)
    result = daemon.rpc("bdev_perf_start", name=f"{NAME}n2", rw="randrw", qd=4, time=0, number_ios=50, verify=True,
                        timeout_s=SLOW_S)
    assert result["errors"] == result["miscompares"] == 0, result


def test_a_subsystem_that_goes_is_missed_with_a_reason(kernel, daemon, target):
    """Nobody could tell why a disk is away, or it would not come back with its subsystem."""
    attach_port(daemon, kernel, 0)
    target.export(f"{kernel.nqn}-other", ports=(0,))    # the port stays
    kernel.remove()
    why = wait_until(lambda: [p.get("why") for p in paths(daemon, NAME) if "refused" in p.get("why", "")],
                     "the reason", SLOW_S)
    assert kernel.nqn in why[0], why
    target.export()
    wait_state(daemon, "enabled", name=NAME, timeout_s=SLOW_S)
    result = daemon.rpc("bdev_perf_start", name=f"{NAME}n1", rw="randread", qd=4, time=0, number_ios=50,
                        timeout_s=SLOW_S)
    assert result["errors"] == 0, result


def test_methods_see_the_kernel_as_it_is(kernel, daemon, target):
    """nvme discover and identify would only understand our own target."""
    port = str(target.guest.ports[1])
    log = daemon.rpc("nvme_discover", traddr="127.0.0.1", trsvcid=port)
    assert ("nvme subsystem", kernel.nqn, "10.0.2.16", "4421") in \
        {(r["subtype"], r["subnqn"], r["traddr"], r["trsvcid"]) for r in log["records"]}
    found = daemon.rpc("nvme_identify", **kernel.address(1))
    assert found["ctrlr_data"]["model_number"] == "Linux" and found["ctrlr_data"]["ana_reporting"]
    assert [(n["id"], n["block_size"], n["ana_state"]) for n in found["namespaces"]] == \
        [(1, 512, "optimized"), (2, 4096, "optimized")]
    target.ana(1, "inaccessible")
    assert {n["ana_state"] for n in daemon.rpc("nvme_identify", **kernel.address(1))["namespaces"]} == {"inaccessible"}
    assert {n["ana_state"] for n in daemon.rpc("nvme_identify", **kernel.address(0))["namespaces"]} == {"optimized"}
