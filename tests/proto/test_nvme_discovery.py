# SPDX-License-Identifier: BSD-3-Clause
"""What hosts are told of subsystems and of other discovery services, and when."""
import struct
from dataclasses import dataclass

import pytest

from gantry import NQN, RpcError, free_port
from jsonrpc import Waiting
from nvme_tcp import (ADMIN_ASYNC_EVENT, ADMIN_GET_LOG_PAGE, ADMIN_KEEP_ALIVE, CC, CONNECT_INVALID_HOST, DISCOVERY_NQN,
                      HOST_NQN, INVALID_FIELD, Conn, must, sqe)

CHANGED = 0x70f002             # log page 70h, information F0h, type 2
EXTENDED, PORT_LOCAL, ALL_SUBSYSTEMS = 1, 2, 4
REFERRAL, NVME, CURRENT = 1, 2, 3
DUPRETINFO_EPCSD = 3
OTHER_HOST = HOST_NQN[:-1] + "5"


@dataclass
class Entry:
    data: bytes
    label: str = ""

    def __post_init__(self):
        (self.trtype, self.adrfam, self.subtype, self.treq, self.portid, self.cntlid, self.asqsz,
         self.eflags) = struct.unpack_from("<4B4H", self.data)
        self.port = self.data[32:64].rstrip(b" ").decode()
        self.nqn = self.data[256:512].rstrip(b"\0").decode()
        self.address = self.data[512:768].rstrip(b" ").decode()
        self.sectype = self.data[768]


class Discovery(Conn):
    """A discovery controller."""

    def __init__(self, port, hostnqn=HOST_NQN, nqn=DISCOVERY_NQN, kato_ms=0):
        super().__init__(port)
        must(self.connect(nqn, hostnqn=hostnqn, kato_ms=kato_ms))
        self.property_set(CC, 4 << 20 | 6 << 16 | 1)

    def part(self, offset, length, lsp=0):
        dwords = length // 4 - 1
        return self.command(sqe(ADMIN_GET_LOG_PAGE, cdw10=0x70 | lsp << 8 | (dwords & 0xffff) << 16, cdw11=dwords >> 16,
                                cdw12=offset), expect=length)

    def header(self, lsp=0):
        """Generation, number of entries, format flags, length as a whole."""
        generation, count, form, flags, length = struct.unpack_from("<QQHBxI", must(self.part(0, 1024, lsp)).data)
        assert form == 0
        return generation, count, flags, length

    def entries(self, lsp=0):
        """The whole log, in pieces that do not fit its entries."""
        generation, count, flags, length = self.header(lsp)
        length = length if lsp & EXTENDED else 1024 * (1 + count)
        assert flags == lsp
        data = b"".join(must(self.part(at, min(1028, length - at), lsp)).data for at in range(0, length, 1028))
        assert self.header(lsp)[0] == generation and len(data) == length
        entries, at = [], 1024
        for _ in range(count):
            entries.append(Entry(data[at:at + 1024]))
            at += 1024
            if lsp & EXTENDED:
                tel, numexat = struct.unpack_from("<IH", data, at)
                if numexat:
                    kind, size = struct.unpack_from("<HH", data, at + 8)
                    assert (numexat, kind, size % 4) == (1, 2, 0)
                    entries[-1].label = data[at + 12:at + 12 + size].rstrip(b"\0").decode()
                at += tel - 1024
        assert at == length
        return entries

    def all(self, lsp=0):
        return {(e.subtype, e.nqn, e.address, e.port) for e in self.entries(lsp)}


def refer(daemon, port=8009, address="192.0.2.1", **more):
    daemon.rpc("nvmf_discovery_add_referral", address=daemon.address(port, address), **more)


def test_current_discovery_subsystem(daemon):
    """A host would not know that it may stay connected, or at which other address it is told the same."""
    served = daemon.serve(daemon.malloc("disk0", mib=1), ports=2)
    with Discovery(served.port) as host:
        current = [e for e in host.entries() if e.subtype == CURRENT]
        assert {(e.nqn, e.port, e.eflags, e.cntlid) for e in current} == \
            {(DISCOVERY_NQN, str(p), DUPRETINFO_EPCSD, 0xffff) for p in served.ports}
        assert {(e.subtype, e.nqn, e.port, e.eflags) for e in host.entries() if e not in current} == \
            {(NVME, NQN, str(p), 0) for p in served.ports}


def test_referrals(daemon):
    """Hosts would not find what other targets serve."""
    served = daemon.serve(discovery=False)
    refer(daemon)
    refer(daemon)                                        # twice is once
    refer(daemon, 4420, "192.0.2.2", secure_channel=True)
    refer(daemon, 4421, "192.0.2.3", subnqn="nqn.2016-06.io.gantry:there")
    daemon.rpc("nvmf_discovery_add_referral", address={"trtype": "rdma", "adrfam": "ipv6", "traddr": "2001:db8::1"})
    assert [r["address"]["traddr"] for r in daemon.rpc("nvmf_discovery_get_referrals")] == \
        ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"]
    with Discovery(served.port) as host:
        told = [(e.subtype, e.trtype, e.adrfam, e.nqn, e.address, e.port, e.treq & 3, e.sectype)
                for e in host.entries() if e.nqn != NQN]
        assert told == [(REFERRAL, 3, 1, DISCOVERY_NQN, "192.0.2.1", "8009", 0, 0),
                        (REFERRAL, 3, 1, DISCOVERY_NQN, "192.0.2.2", "4420", 1, 2),
                        (NVME, 3, 1, "nqn.2016-06.io.gantry:there", "192.0.2.3", "4421", 0, 0),
                        (REFERRAL, 1, 2, DISCOVERY_NQN, "2001:db8::1", "8009", 0, 1)]
        daemon.rpc("nvmf_discovery_remove_referral", address=daemon.address(8009, "192.0.2.1"), subnqn="discovery")
        assert [e.address for e in host.entries() if e.subtype == REFERRAL] == ["192.0.2.2", "2001:db8::1"]
    for wrong, sentence in (({"address": daemon.address(1, "192.0.2.9")}, "no referral"),
                            ({"address": daemon.address(8009, "192.0.2.3")}, "no referral")):
        with pytest.raises(RpcError, match=sentence):
            daemon.rpc("nvmf_discovery_remove_referral", **wrong)
    for wrong in ({"trtype": "FC", "traddr": "192.0.2.1"}, {"trtype": "TCP", "traddr": "somewhere.example"}):
        with pytest.raises(RpcError, match="address"):
            daemon.rpc("nvmf_discovery_add_referral", address=wrong)


def test_referrals_for_some_hosts(daemon):
    """Hosts would learn of services that are none of their business."""
    served = daemon.serve(discovery=False)
    refer(daemon, allow_any_host=False, hosts=[OTHER_HOST])
    with Discovery(served.port) as host, Discovery(served.port, OTHER_HOST) as other:
        assert [e.subtype for e in host.entries()] == [NVME]
        assert [e.subtype for e in other.entries()] == [NVME, REFERRAL]
    with pytest.raises(RpcError, match="allow_any_host"):
        refer(daemon, 1, hosts=[OTHER_HOST])


def test_changes_are_told_to_who_stays(daemon):
    """A host that stays connected would not hear of anything new."""
    served = daemon.serve(discovery=False)
    where = {"nqn": NQN, "listen_address": daemon.address(free_port())}
    referral = {"address": daemon.address(8009, "192.0.2.1")}
    steps = [("nvmf_discovery_add_referral", referral), ("nvmf_subsystem_add_listener", where),
             ("nvmf_subsystem_remove_listener", where), ("nvmf_discovery_remove_referral", referral),
             ("nvmf_subsystem_allow_any_host", {"nqn": NQN, "allow_any_host": False}),
             ("nvmf_subsystem_add_host", {"nqn": NQN, "host": HOST_NQN}), ("nvmf_delete_subsystem", {"nqn": NQN})]
    with Discovery(served.port, kato_ms=60000) as host:
        generation, seen = host.header()[0], host.all()
        for method, params in steps:
            aer = host.submit(sqe(ADMIN_ASYNC_EVENT))
            daemon.rpc(method, **params)
            assert must(host.wait(aer)).value & 0xffffffff == CHANGED, method
            now = host.all()
            assert now != seen and host.header()[0] > generation, method
            generation, seen = host.header()[0], now


def test_a_log_that_changes_while_it_is_read(daemon):
    """A host would put together parts that do not belong together, or run into the end of a log that shrank."""
    served = daemon.serve(discovery=False)
    for n in range(5):
        refer(daemon, address=f"192.0.2.{n}")
    with Discovery(served.port) as host:
        generation, count, _, _ = host.header()
        for n in range(5):
            daemon.rpc("nvmf_discovery_remove_referral", address=daemon.address(8009, f"192.0.2.{n}"))
        parts = [Entry(must(host.part(1024 * (1 + n), 1024)).data) for n in range(count)]
        assert [e.address for e in parts if e.subtype == REFERRAL] == [f"192.0.2.{n}" for n in range(5)]
        again, count, _, _ = host.header()
        assert again > generation and count == 1
        assert host.part(1024 * 3, 1024).status == INVALID_FIELD
        must(host.command(sqe(ADMIN_KEEP_ALIVE)))        # what is held for it is given back
        assert must(host.part(1024, 1024)).data[256:].startswith(NQN.encode())


def test_extended_entries(daemon):
    """A person would have to know subsystems by their NQNs."""
    served = daemon.serve(admin_label="rack 7, gold", discovery=False)
    daemon.rpc("nvmf_create_subsystem", nqn=NQN + "2", allow_any_host=True)
    daemon.rpc("nvmf_subsystem_add_listener", nqn=NQN + "2", listen_address=daemon.address(served.port))
    refer(daemon)
    assert daemon.rpc("nvmf_get_subsystems", nqn=NQN)[0]["admin_label"] == "rack 7, gold"
    with Discovery(served.port) as host:
        assert {(e.nqn, e.label) for e in host.entries(EXTENDED)} == \
            {(NQN, "rack 7, gold"), (NQN + "2", ""), (DISCOVERY_NQN, "")}
        assert host.all(EXTENDED) == host.all()
        assert host.part(0, 1024, ALL_SUBSYSTEMS).status == INVALID_FIELD
        assert host.part(0, 1024, 8).status == INVALID_FIELD
    for label in ("abc", "x" * 257, "no\nlines"):
        with pytest.raises(RpcError, match="admin_label"):
            daemon.rpc("nvmf_create_subsystem", nqn=NQN + "3", admin_label=label)


def test_port_local_entries(daemon):
    served = daemon.serve(ports=2)
    refer(daemon)
    with Discovery(served.ports[1]) as host:
        assert struct.unpack_from("<I", host.get_log_page(0, 1024), 4 * 0x70)[0] == (EXTENDED | PORT_LOCAL) << 16 | 1
        local = str(served.ports[1])
        assert host.all(PORT_LOCAL) == {(NVME, NQN, "127.0.0.1", local), (CURRENT, DISCOVERY_NQN, "127.0.0.1", local)}
        assert {e.port for e in host.entries(PORT_LOCAL | EXTENDED)} == {local}


@pytest.mark.parametrize("filters,wanted", [
    ({"discovery_filter": "match_any"}, {"a:1", "a:2", "b:1", "b:2"}),
    ({"discovery_filter": "address"}, {"a:1", "a:2"}),
    ({"discovery_filters": ["svcid"]}, {"a:1", "b:1"}),
    ({"discovery_filters": ["transport", "address", "svcid"]}, {"a:1"}),
])
def test_filters(tmp_path, filters, wanted):
    """Hosts of one network would be sent into another one."""
    ports = {"1": free_port(), "2": free_port()}
    addresses = {"a": "127.0.0.1", "b": "127.0.0.2"}
    with Waiting(tmp_path) as daemon:
        daemon.rpc("nvmf_set_config", **filters)
        daemon.rpc("framework_start_init")
        daemon.transport()
        daemon.rpc("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
        for address in addresses.values():
            for port in ports.values():
                daemon.rpc("nvmf_subsystem_add_listener", nqn=NQN, listen_address=daemon.address(port, address))
        with Discovery(ports["1"]) as host:
            names = {(addresses[n[0]], str(ports[n[2]])) for n in wanted}
            assert {(e.address, e.port) for e in host.entries()} == names


def test_wrong_filters(tmp_path):
    with Waiting(tmp_path) as daemon:
        for wrong in ({"discovery_filter": "transport,colour"}, {"discovery_filters": ["match"]}):
            with pytest.raises(RpcError, match="discovery_filter"):
                daemon.rpc("nvmf_set_config", **wrong)


def test_a_discovery_service_of_its_own_name(daemon):
    """Who runs several fabrics could not tell their discovery services apart."""
    own = "nqn.2016-06.io.gantry:fabric-a"
    served = daemon.serve(daemon.malloc("disk0", mib=1), ports=2)
    daemon.rpc("nvmf_create_subsystem", nqn=own, subtype="Discovery")
    daemon.rpc("nvmf_subsystem_add_listener", nqn=own, listen_address=daemon.address(served.ports[0]))
    daemon.rpc("nvmf_subsystem_add_host", nqn=own, host=HOST_NQN)
    with Discovery(served.ports[0], nqn=own, kato_ms=60000) as host:
        ctrl = host.identify(1)
        assert ctrl[768:1024].rstrip(b"\0").decode() == own and ctrl[111] == 2
        assert host.all() == {(NVME, NQN, "127.0.0.1", str(p)) for p in served.ports} | \
            {(CURRENT, own, "127.0.0.1", str(served.ports[0]))}
        aer = host.submit(sqe(ADMIN_ASYNC_EVENT))
        refer(daemon)
        assert must(host.wait(aer)).value & 0xffffffff == CHANGED
        with Discovery(served.ports[0]) as other:
            assert own not in {e.nqn for e in other.entries()}
        for port, hostnqn in ((served.ports[1], HOST_NQN), (served.ports[0], OTHER_HOST)):
            with Conn(port) as conn:
                assert conn.connect(own, hostnqn=hostnqn).status == CONNECT_INVALID_HOST
        daemon.malloc("disk1", mib=1)
        with pytest.raises(RpcError, match="has no namespaces"):
            daemon.rpc("nvmf_subsystem_add_ns", nqn=own, namespace={"bdev_name": "disk1"})
        assert [s["subtype"] for s in daemon.rpc("nvmf_get_subsystems")] == ["Discovery", "NVMe", "Discovery"]
        daemon.rpc("nvmf_delete_subsystem", nqn=own)
        assert [s["nqn"] for s in daemon.rpc("nvmf_get_subsystems")] == [DISCOVERY_NQN, NQN]
