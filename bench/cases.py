# SPDX-License-Identifier: BSD-3-Clause
"""The cases of the comparison: a row each. Depth and queue pairs are an initiator's totals. A disk "uring:shm" is a
file in memory through that back-end, "uring:disk" one on the disk, below the current directory; `peer_disk` is the
peer's. `against`: what B is, when not the peer's target: our own target in another mode, "one core": on one core,
"plain": without TLS, "split": with split rings, or "initiator": the same target, driven by the peer's initiator.
`goal`: (sign, ratio), or one for each kind of peer."""
from collections import namedtuple

Case = namedtuple("Case", "name disk mode initiators pattern io_bytes depth qpairs digests metric goal against "
                          "peer_disk target_cores host_mode protocol in_capsule copies tls metadata packed")


def case(name, disk="malloc", mode="poll", initiators=2, pattern="randread", io_bytes=4096, depth=128, qpairs=1,
         digests=False, metric="iops", goal=None, against=None, peer_disk=None, target_cores=1,
         host_mode="poll", protocol="nvme", in_capsule=True, copies=True, tls=False, metadata=None,
         packed=False):
    return Case(name, disk, mode, initiators, pattern, io_bytes, depth, qpairs, digests, metric, goal, against,
                peer_disk or disk, target_cores, host_mode, protocol, in_capsule, copies, tls, metadata,
                packed)


def costs(name, goal, **more):
    """For where an initiator may be what limits: both targets sleep when they have nothing to do, and what an I/O costs
    them is compared. `goal`: times as cheap."""
    return case(name + ", target CPU per I/O", **{"mode": "interrupt", "metric": "cpu_per_io", "goal": ("<=", 1 / goal),
                                                  **more})


def iscsi(name, **more):
    """Over iSCSI; the peer may be tgt or istgt too."""
    return case("iscsi: " + name, **{"protocol": "iscsi", **more})


def vhost(name, **more):
    """A virtio-blk disk over vhost-user; the peer may be qemu-storage-daemon too. A queue is an initiator's core."""
    return case("vhost: " + name, **{"protocol": "vhost", "initiators": 1, **more})


def rdma(name, **more):
    """On the fake rdma-core of bench/fake_verbs, with the host that is in it: CPU nanoseconds of the target's core per
    command, less those within the fake."""
    return case("rdma: " + name, **{"protocol": "rdma", "disk": "null", "depth": 127, "metric": "own_ns",
                                    "goal": ("<=", 1 / 1.3), **more})


def tls(name, **more):
    """NVMe/TCP through TLS 1.3, AES-128-GCM."""
    return case("tls: " + name, **{"initiators": 1, "tls": True, **more})


def protected(name, **more):
    """Blocks of 4096 + 8 bytes whose protection information the target checks, against the same that nobody checks: the
    target's CPU per I/O."""
    return case("protection: " + name, **{"metadata": "PRACT=0,PRCHK=GUARD|REFTAG,HOST=0", "against": "unchecked",
                                          "mode": "interrupt", "metric": "cpu_per_io", "goal": ("<=", 1.1), **more})


def host(name, **more):
    """One core of ours as a host against one of the peer's; the target has two, to be no limit."""
    return case("host: " + name, **{"disk": "null", "initiators": 1, "against": "initiator", "target_cores": 2, **more})


CASES = [
    case("randread QD128, 2 initiators", goal=(">=", 1.6)),
    case("randwrite QD128, 2 initiators", pattern="randwrite", goal=(">=", 2.0)),
    case("randread 2 x 4 connections, QD32", depth=32, qpairs=4, goal=(">=", 2.0)),
    case("randread 2 x 16 connections, QD8", depth=8, qpairs=16, goal=(">=", 2.0)),
    case("randwrite 2 x 4 connections, QD32", pattern="randwrite", depth=32, qpairs=4, goal=(">=", 1.5)),
    case("null randread QD128", disk="null", goal=(">=", 1.25)),
    case("null randwrite QD128", disk="null", pattern="randwrite", goal=(">=", 1.6)),
    case("null randread 2 x 4 connections, QD32", disk="null", depth=32, qpairs=4, goal=(">=", 1.6)),
    costs("null randwrite QD128", disk="null", pattern="randwrite", goal=1.6),
    costs("null randread 2 x 4 connections, QD32", disk="null", depth=32, qpairs=4, goal=1.6),
    case("randread QD1 mean latency", initiators=1, depth=1, metric="latency", goal=("<=", 0.8)),
    case("interrupt randread QD32", mode="interrupt", initiators=1, depth=32, goal=(">=", 1.5)),
    case("interrupt randread QD1 mean latency", mode="interrupt", initiators=1, depth=1, metric="latency"),
    case("read 128 KiB QD16", initiators=1, pattern="read", io_bytes=131072, depth=16, goal=(">=", 1.0)),
    case("write 128 KiB QD16", initiators=1, pattern="write", io_bytes=131072, depth=16, goal=(">=", 1.2)),
    case("write 128 KiB QD16, 2 initiators", pattern="write", io_bytes=131072, depth=16, goal=(">=", 1.2)),
    costs("write 128 KiB QD16", initiators=1, pattern="write", io_bytes=131072, depth=16, goal=1.2),
    case("digests randread QD128", digests=True, goal=(">=", 1.6)),
    case("digests randwrite QD128", pattern="randwrite", digests=True, goal=(">=", 1.6)),
    *(costs(f"digests {pattern} QD128", pattern=pattern, digests=True, goal=1.6)
      for pattern in ("randread", "randwrite")),
    case("adaptive against poll, randread QD128", mode="adaptive", against="poll", goal=(">=", 0.95)),
    case("adaptive against poll, randread QD1 p50", mode="adaptive", against="poll", initiators=1, depth=1,
         metric="p50", goal=("<=", 1.1)),
    case("adaptive against poll, randwrite QD32", mode="adaptive", against="poll", pattern="randwrite", depth=32,
         goal=(">=", 0.95)),
    *(tls(f"{pattern} 128 KiB QD16{', against plain' if against else ''}", pattern=pattern, io_bytes=131072, depth=16,
          against=against, goal=(">=", 0.4 if against else 1.0)) for pattern in ("read", "write")
      for against in ("plain", None)),
    *(tls(f"{pattern} QD128", pattern=pattern, goal=(">=", 1.0)) for pattern in ("randread", "randwrite")),
    protected("randread QD128, checked"),
    protected("randread QD128, checked and stripped", metadata="PRACT=1,PRCHK=GUARD|REFTAG", goal=None),
    *(host(f"{pattern} QD128 over {qpairs}", pattern=pattern, qpairs=qpairs, goal=(">=", 1.3))
      for pattern in ("randread", "randwrite") for qpairs in (1, 2)),
    *(host(f"{pattern} QD1", pattern=pattern, depth=1, goal=(">=", 1.3)) for pattern in ("randread", "randwrite")),
    *(host(f"{pattern} QD{depth}, its CPU per I/O", pattern=pattern, depth=depth, metric="host_cpu_per_io",
           goal=("<=", 0.77), host_mode="interrupt") for pattern in ("randread", "randwrite") for depth in (1, 128)),
    *(iscsi(f"{pattern} QD{depth}", pattern=pattern, depth=depth, initiators=1, goal=(">=", 1.7))
      for pattern in ("randread", "randwrite") for depth in (1, 32, 128)),
    *(iscsi(f"{pattern} QD128, 2 initiators", pattern=pattern, goal=(">=", 1.7))
      for pattern in ("randread", "randwrite")),
    iscsi("randread QD32, 2 initiators", depth=32, goal=(">=", 1.7)),
    *(iscsi(f"{pattern} QD{depth}, target CPU per I/O", pattern=pattern, depth=depth, initiators=1, mode="interrupt",
            metric="cpu_per_io", goal=("<=", 1 / 1.7)) for pattern in ("randread", "randwrite") for depth in (32, 128)),
    iscsi("digests randread QD128", initiators=1, digests=True, goal=(">=", 1.7)),
    iscsi("digests randread QD128, 2 initiators", digests=True, goal=(">=", 1.7)),
    iscsi("digests randread QD128, target CPU per I/O", initiators=1, digests=True, mode="interrupt",
          metric="cpu_per_io", goal=("<=", 1 / 1.7)),
    iscsi("read 128 KiB QD16", initiators=1, pattern="read", io_bytes=131072, depth=16, goal=(">=", 1.0)),
    iscsi("write 128 KiB QD16", initiators=1, pattern="write", io_bytes=131072, depth=16, goal=(">=", 1.0)),
    iscsi("four sessions on two cores against one", against="one core", target_cores=2, qpairs=2, depth=64,
          goal=(">=", 1.6)),
    iscsi("four sessions on two cores, their CPU per I/O", against="one core", mode="interrupt", target_cores=2,
          qpairs=2, depth=64, metric="cpu_per_io", goal=("<=", 1.15)),
    *(vhost(f"{pattern} QD{depth}", pattern=pattern, depth=depth,
            goal={"spdk": (">=", 1.0), "qsd": (">=", 4.0 if depth > 1 else 1.0)})
      for pattern in ("randread", "randwrite") for depth in (1, 32, 128)),
    # gantry-perf on both sides: SPDK's initiator has no packed rings.
    *(vhost(f"packed rings, {pattern} QD{depth}", pattern=pattern, depth=depth, packed=True, goal={"spdk": (">=", 1.0)})
      for pattern in ("randread", "randwrite") for depth in (1, 32, 128)),
    *(vhost(f"packed against split rings, {pattern} QD{depth}", pattern=pattern, depth=depth, packed=True,
            against="split", goal=(">=", 1.0)) for pattern in ("randread", "randwrite") for depth in (1, 32, 128)),
    *(vhost(f"adaptive against poll, {pattern} QD32", mode="adaptive", against="poll", pattern=pattern, depth=32,
            goal=(">=", 0.95)) for pattern in ("randread", "randwrite")),
    vhost("two queues on two cores against one", against="one core", target_cores=2, qpairs=2, depth=256,
          goal=(">=", 1.7)),
    vhost("two queues on two cores, their CPU per I/O", against="one core", mode="interrupt", target_cores=2, qpairs=2,
          depth=256, metric="cpu_per_io", goal=("<=", 1.1)),
    rdma("null randread", copies=False),
    rdma("null randread QD1", depth=1, copies=False),
    rdma("null randread over 8 queue pairs", qpairs=8, depth=16, copies=False),
    rdma("null randwrite in the capsule", pattern="randwrite", copies=False),
    rdma("null randwrite, keyed", pattern="randwrite", in_capsule=False, copies=False),
    rdma("malloc randread", disk="malloc"),
    rdma("malloc randwrite in the capsule", disk="malloc", pattern="randwrite"),
    rdma("malloc randwrite, keyed", disk="malloc", pattern="randwrite", in_capsule=False),
    *(case(f"file on {where}, {pattern} QD{depth}, against {peer}", disk=f"uring:{where}", pattern=pattern, depth=depth,
           initiators=1, goal=(">=", 1.5 if where == "shm" else 1.0), peer_disk=f"{peer}:{where}")
      for where in ("shm", "disk") for peer in ("uring", "aio") for pattern in ("randread", "randwrite")
      for depth in (32, 128)),
]
