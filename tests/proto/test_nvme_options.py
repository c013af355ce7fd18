# SPDX-License-Identifier: BSD-3-Clause
"""Options of transports and subsystems that hosts notice: each is told, kept and enforced."""
import struct

import pytest

from gantry import NQN, RpcError
from nvme_tcp import (ADMIN_GET_FEATURES, ADMIN_SET_FEATURES, CONNECT_INVALID_HOST, HOST_NQN, INVALID_FIELD,
                      INVALID_OPCODE, IO_COMPARE, IO_DSM, IO_READ, IO_WRITE, IO_WRITE_ZEROES, OK, Conn, Host, must, rw,
                      sqe)
from tcp import Ended

KATO = 0x0f
OTHER_HOST = HOST_NQN[:-1] + "5"
COPY, RESV_REGISTER = 0x19, 0x0d


def kato(host):
    return must(host.admin.command(sqe(ADMIN_GET_FEATURES, cdw10=KATO))).value & 0xffffffff


def test_keep_alive_is_counted_as_said(daemon):
    served = daemon.serve(daemon.malloc("disk0", mib=1), transport={"kas": 50, "min_kato": 12000})
    for asked, given in ((1, 15000), (12001, 15000), (15001, 20000)):
        with Host(served.port, NQN, kato_ms=asked) as host:
            assert kato(host) == given
            assert struct.unpack_from("<H", host.admin.identify(1), 320)[0] == 50
            must(host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=KATO, cdw11=20001)))
            assert kato(host) == 25000
    with Host(served.port, NQN) as host:
        assert kato(host) == 0
    shown = daemon.rpc("nvmf_get_transports")[0]
    assert (shown["kas"], shown["min_kato"]) == (50, 12000)


def test_an_admin_queue_has_what_hosts_ask_for(daemon):
    """Nobody could connect: Linux asks for 32 entries whatever there are."""
    served = daemon.serve(daemon.malloc("disk0", mib=1), transport={"max_aq_depth": 2})
    assert daemon.rpc("nvmf_get_transports")[0]["max_aq_depth"] == 32
    with Host(served.port, NQN):
        pass


def resv_register(host):
    return host.io.command(sqe(RESV_REGISTER, 1, cdw10=0), bytes(16)).status


def test_masked_commands(daemon):
    """A host would use what was meant to be switched off."""
    masks = ["nvmcmps", "nvmdsmsv", "nvmwzsv", "reservs", "nvmcpys"]
    served = daemon.serve(daemon.malloc("disk0", mib=1), transport={"masked_oncs": masks})
    with Host(served.port, NQN) as host:
        ctrl = host.admin.identify(1)
        oncs, fuses = struct.unpack_from("<HH", ctrl, 520)
        assert not oncs & (1 | 4 | 8 | 32 | 256) and not fuses
        effects = struct.unpack_from("<512I", host.admin.get_log_page(5, 4096))
        for opcode in (IO_COMPARE, IO_DSM, IO_WRITE_ZEROES, RESV_REGISTER, COPY):
            assert not effects[256 + opcode] & 1, hex(opcode)
        assert effects[256 + IO_READ] & 1
        assert host.io.command(rw(IO_COMPARE, 0, 1), bytes(512)).status == INVALID_OPCODE
        assert host.io.command(rw(IO_WRITE_ZEROES, 0, 1)).status == INVALID_OPCODE
        assert host.io.command(sqe(IO_DSM, 1, cdw10=0, cdw11=4), bytes(16)).status == INVALID_OPCODE
        assert host.io.command(sqe(COPY, 1), bytes(32)).status == INVALID_OPCODE
        assert resv_register(host) == INVALID_OPCODE
        must(host.io.write(0, bytes(512)))
        assert host.io.read(0, 1) == bytes(512)
    assert daemon.rpc("nvmf_get_transports")[0]["masked_oncs"] == masks
    with pytest.raises(RpcError, match="masked_oncs: there is no 'nvmx'"):
        daemon.rpc("nvmf_create_transport", trtype="TCP", masked_oncs=["nvmx"])


def test_masked_pairs(daemon):
    served = daemon.serve(daemon.malloc("disk0", mib=1), transport={"masked_fuses": ["fcws"]})
    with Host(served.port, NQN) as host:
        assert struct.unpack_from("<HH", host.admin.identify(1), 520)[1] == 0
        assert host.io.command(rw(IO_COMPARE, 0, 1), bytes(512)).status == OK
        halves = [host.io.submit(rw(IO_COMPARE, 0, 1, flags=0x41), bytes(512)),
                  host.io.submit(rw(IO_WRITE, 0, 1, flags=0x42), bytes(512))]
        assert host.io.wait(halves[0]).status == INVALID_FIELD and host.io.wait(halves[1]).status != OK


def limits(host):
    wzsl, dmrl, dmrsl = struct.unpack_from("<xBxBI", host.admin.identify(6))
    return wzsl, dmrl, dmrsl


def test_limits_of_single_commands(daemon):
    """A host would send what is refused, or send in pieces what need not be."""
    served = daemon.serve(daemon.malloc("disk0", mib=4), wzsl=4, dmrsl=64)
    shown = daemon.rpc("nvmf_get_subsystems", nqn=NQN)[0]
    assert (shown["wzsl"], shown["dmrsl"]) == (4, 64)
    with Host(served.port, NQN) as host:
        assert limits(host) == (4, 255, 64)
        assert host.io.command(rw(IO_WRITE_ZEROES, 0, 128)).status == OK
        assert host.io.command(rw(IO_WRITE_ZEROES, 0, 129)).status == INVALID_FIELD
        must(host.io.write(0, b"x" * 512 * 128, in_capsule=False))
        must(host.io.command(sqe(IO_DSM, 1, cdw10=0, cdw11=4), struct.pack("<IIQ", 0, 128, 0)))
        assert host.io.read(0, 128) == bytes(512 * 64) + b"x" * 512 * 64
    daemon.rpc("nvmf_create_subsystem", nqn=NQN + "2", allow_any_host=True, wzsl=200)
    assert daemon.rpc("nvmf_get_subsystems", nqn=NQN + "2")[0]["wzsl"] == 13      # as much as there can be


def test_live_hosts_are_sent_away(daemon):
    """Who is not allowed any more would stay for as long as it likes."""
    served = daemon.serve(daemon.malloc("disk0", mib=1))
    daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=HOST_NQN)
    with Host(served.port, NQN) as listed, Host(served.port, NQN, hostnqn=OTHER_HOST) as other:
        daemon.rpc("nvmf_subsystem_allow_any_host", nqn=NQN, allow_any_host=False)
        assert [c["hostnqn"] for c in daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN)] == [HOST_NQN]
        with pytest.raises((Ended, OSError)):
            other.io.read(0, 1)
        assert listed.io.read(0, 1) == bytes(512)
        with Conn(served.port) as conn:
            assert conn.connect(NQN, hostnqn=OTHER_HOST).status == CONNECT_INVALID_HOST
        daemon.rpc("nvmf_subsystem_remove_host", nqn=NQN, host=HOST_NQN, timeout_ms=1000)
        assert daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN) == []
        with pytest.raises((Ended, OSError)):
            listed.io.read(0, 1)


def test_targets(daemon):
    for method, name, sentence in (("nvmf_create_target", "nvmf_tgt", "exists already"),
                                   ("nvmf_create_target", "second", "there is one target"),
                                   ("nvmf_delete_target", "nvmf_tgt", "as long as the daemon runs"),
                                   ("nvmf_delete_target", "second", "there is no target")):
        with pytest.raises(RpcError, match=sentence):
            daemon.rpc(method, name=name)
    assert daemon.rpc("nvmf_get_targets") == ["nvmf_tgt"]


def test_names_that_are_too_long(daemon):
    """Cut to what fits they would be another's: of a host that nobody meant to let in, of a subsystem that goes."""
    daemon.transport()
    nqn = "nqn.2016-06.io.gantry:" + "x" * 201
    assert len(nqn) == 223
    daemon.rpc("nvmf_create_subsystem", nqn=nqn, controller_model="static", max_cntlid=4)
    for method, params in (("nvmf_create_subsystem", {"nqn": nqn + "x"}),
                           ("nvmf_subsystem_add_host", {"nqn": nqn, "host": nqn + "x"}),
                           ("nvmf_subsystem_set_controller_host", {"nqn": nqn, "cntlid": 1, "host": nqn + "x"}),
                           ("nvmf_discovery_add_referral", {"subnqn": nqn + "x", "address": {
                               "trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": "4420"}})):
        with pytest.raises(RpcError, match="longer than an NQN"):
            daemon.rpc(method, **params)
    for method in ("nvmf_subsystem_add_host", "nvmf_subsystem_remove_host"):
        with pytest.raises(RpcError, match="no subsystem"):
            daemon.rpc(method, nqn=nqn + "x", host="nqn.2016-06.io.gantry:host")
    with pytest.raises(RpcError):
        daemon.rpc("nvmf_delete_subsystem", nqn=nqn + "x")
    assert any(s["nqn"] == nqn and not s["hosts"] for s in daemon.rpc("nvmf_get_subsystems"))
    daemon.rpc("nvmf_subsystem_add_host", nqn=nqn, host=nqn)
