# SPDX-License-Identifier: BSD-3-Clause
"""NVMe over RDMA between two guests: our target in one, the kernel's host and ours in the other, and a wire in between
that loses packets and is cut."""
import pytest

import guest as guests
from gantry import NQN, wait_until
from rdma_guest import PORT, WIRE, GuestDaemon, rdma_pair
from test_changes import goes_on
from test_rdma import SLOW_S, UUID, VERIFY, end_load, start_load, verified
from test_rdma_host import KERNEL, KERNEL_PORT, MIDDLE, MIDDLE_PORT

CUT_S = 10


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    missing = guests.what_is_missing()
    if missing:
        pytest.fail(missing)
    with rdma_pair(tmp_path_factory.mktemp("rdma-pair")) as both:
        yield both


@pytest.fixture
def host(pair):
    """The guest that connects."""
    host, _ = pair
    host.mark_console()
    yield host
    print(f"--- the host's console\n{host.console_tail(60)}")
    host.run(f"lossless {WIRE}")
    host.tidy()


@pytest.fixture
def daemon(pair, host):
    """In the other one."""
    with GuestDaemon(pair[1]) as running:
        yield running
        print(f"--- the daemon's log\n{running.log_tail(40)}")
        running.guest.run(f"lossless {WIRE}")
        host.run("nvme disconnect-all")


def served(daemon):
    return daemon.serve(daemon.malloc("disk0", uuid=UUID))


def connect(host, daemon, nqn):
    return host.connect_rdma(nqn, address=daemon.guest.address)


@pytest.mark.long
def test_what_is_written_is_read_back_over_a_slow_wire(host, daemon):
    """Data would be lost or torn where completions come late."""
    disk = connect(host, daemon, served(daemon))
    for guest in host, daemon.guest:
        guest.run(f"lossy {WIRE} 0 5ms")
    verified(host.fio(disk, f"--rw=randrw --bsrange=4k-64k --blockalign=4k --size=2m --iodepth=16 {VERIFY}"))


@pytest.mark.long
def test_our_host_over_a_slow_wire(host, daemon):
    path = host.path(served(daemon), address=daemon.guest.address)
    host.run(f"lossy {WIRE} 0 5ms")
    host.verified(path, "-q", "8", "-o", "4k", "-d", "100")
    host.verified(path, "-q", "2", "-o", "128k", "-d", "8")


def test_our_host_over_a_wire_that_loses_packets(host, daemon):
    """What was sent again would be done twice, or waited for in vain."""
    path = host.path(served(daemon), address=daemon.guest.address)
    for guest in host, daemon.guest:
        guest.run(f"lossy {WIRE} 0.5")
    host.verified(path, "-q", "8", "-o", "4k", "-d", "100")
    host.verified(path, "-q", "2", "-o", "64k", "-d", "10")


def test_the_wire_is_cut_and_mended(host, daemon):
    """A connection that was cut would stay for ever, or its host not come back, or I/O fail."""
    disk = connect(host, daemon, served(daemon))
    job = start_load(host, disk)
    # Not link_down: soft RoCE's connection manager does not survive what it cannot send.
    for end in host, daemon.guest:
        end.run(f"lossy {WIRE} 100")
        host.run(f"until_true 60 has_live {NQN} 0", timeout_s=SLOW_S)
        end.run(f"lossless {WIRE}")
        host.run(f"until_true 100 has_live {NQN} 1", timeout_s=SLOW_S)
        goes_on(host, disk)
    end_load(host, job)
    wait_until(lambda: len(daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN)) == 1,
               "the controllers of cut connections to be gone", SLOW_S)


@pytest.mark.long
def test_a_port_that_goes_down_and_up_while_idle(host, daemon):
    """Connections would not outlive it, or the next I/O not wake the daemon."""
    disk = connect(host, daemon, served(daemon))
    before = daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN)
    daemon.guest.run(f"link_down {WIRE}; sleep 1; link_up {WIRE}")
    verified(host.fio(disk, f"--rw=randrw --bs=4k --size=256k --iodepth=4 {VERIFY}"))
    assert daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN) == before


# --- whatever the two ends are, and the wire ---------------------------------------------------------------------

@pytest.fixture(params=["kernel to ours", "ours to ours", "ours to kernel"])
def disk(request, pair, host, daemon):
    """A block device of the host's guest, with the wire in between; what our host has is served on to the kernel."""
    initiator, target = request.param.split(" to ")
    far = daemon.guest
    if target == "ours":
        nqn, port = served(daemon), PORT
    else:
        nqn, port = KERNEL, KERNEL_PORT
        far.run(f"rdma_export {nqn} {far.address} {port}")
    if initiator == "kernel":
        yield host.connect_rdma(nqn, address=far.address, port=port)
        mend(pair)
    else:
        with GuestDaemon(host, name="middle") as middle:
            middle.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=2000, reconnect_delay_sec=1,
                       ctrlr_loss_timeout_sec=-1)
            remote = middle.attach("R", nqn, address=far.address, port=port)
            yield host.connect_rdma(middle.serve(*remote, nqn=MIDDLE, port=MIDDLE_PORT), port=MIDDLE_PORT)
            mend(pair)
            host.run("nvme disconnect-all")
    far.run("nvmet_clear")


def mend(pair):
    for guest in pair:
        guest.run(f"lossless {WIRE}")


@pytest.mark.long
@pytest.mark.parametrize("trouble", ["loss 1%", "duplicate 2%"])
def test_a_bad_wire(pair, host, disk, trouble):
    """What is lost, or comes twice, would be done twice or never."""
    for guest in pair:
        guest.run(f"bad_wire {WIRE} {trouble}")
    verified(host.fio(disk, f"--rw=randrw --bsrange=4k-16k --blockalign=4k --size=512k --iodepth=8 {VERIFY}"))


@pytest.mark.long
def test_a_wire_that_reorders(pair, host, disk):
    """Linux 6.1's soft RoCE leaves queue pairs standing there (docs/RDMA.md): hosts would not get away from them."""
    for guest in pair:
        guest.run(f"bad_wire {WIRE} delay 2ms reorder 3%")
    before = host.ios_done(disk)
    job = host.fio(disk, f"--rw=randrw --bsrange=4k-16k --blockalign=4k --size=512k --iodepth=8 {VERIFY}")
    wait_until(lambda: not job.running or host.ios_done(disk) > before + 20, "I/O to go on", 2 * SLOW_S)
    mend(pair)
    verified(job)


@pytest.mark.long
@pytest.mark.parametrize("end", [0, 1], ids=["to the target", "to the host"])
def test_a_cut_under_verify(pair, host, disk, end):
    """I/O would fail, or be done on the old connection after it was done on the new one."""
    job = host.fio(disk, f"--rw=randrw --bs=4k --size=12m --iodepth=8 {VERIFY}")
    before = host.ios_done(disk)
    wait_until(lambda: host.ios_done(disk) > before + 50, "I/O to begin", SLOW_S)
    pair[end].run(f"bad_wire {WIRE} loss 100%; sleep {CUT_S}; lossless {WIRE}")
    assert job.running, "it ended before the cut did"
    verified(job)
