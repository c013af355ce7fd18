# SPDX-License-Identifier: BSD-3-Clause
"""Remote disks over TLS. OpenSSL's own server (tests/lib/tls_proxy.py) is between us and the target."""
import json
import subprocess
import threading
import uuid

import pytest

from dhchap import Secret
from gantry import BUILD, RpcError, free_port, wait_until
from nvme_tcp import Host, must
from remote import address, attach, detach, detach_in_the_middle, lose_and_find, paths, states, wait_state
from tls import Psk
from tls_proxy import TlsProxy

US = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=7)}"


class Secured:
    def __init__(self, daemon, target, proxy, psk, tmp_path):
        self.daemon, self.target, self.proxy, self.psk, self.tmp_path = daemon, target, proxy, psk, tmp_path
        self.served = target.served

    def attach(self, **how):
        return attach(self.daemon, self.served, port=self.proxy.port, hostnqn=US, **{"psk": "psk", **how})

    def refused(self, match, **how):
        with pytest.raises(RpcError, match=match):
            self.attach(**how)
        assert not self.daemon.rpc("bdev_nvme_get_controllers")

    def key(self, name, psk):
        self.daemon.rpc("keyring_file_add_key", name=name, path=psk.file(self.tmp_path / name))

    def know(self, *offers):
        self.proxy.known = {o.identity: o for o in offers}
        self.proxy.taken.clear()
        self.proxy.refused.clear()


@pytest.fixture
def secured(daemon, target, tmp_path):
    served = target.export()
    psk = Psk.make(1)
    with TlsProxy(served.port, psk.offer(US, served.nqn, 1)) as proxy:
        s = Secured(daemon, target, proxy, psk, tmp_path)
        s.key("psk", psk)
        yield s


@pytest.mark.parametrize("hash_id, length", [(1, 32), (2, 48), (0, 32), (0, 48)])
def test_disks_over_tls(secured, hash_id, length):
    """They could not be had; or some queue of theirs would be in the clear."""
    daemon, psk = secured.daemon, Psk.make(hash_id, length)
    secured.know(psk.offer(US, secured.served.nqn, 1))
    secured.key("other", psk)
    assert secured.attach(psk="other") == ["Nvme0n1"]
    gateway = daemon.serve("Nvme0n1", nqn="nqn.2016-06.io.gantry:gateway")
    with Host(gateway.port, gateway.nqn) as host:
        data = bytes(range(256)) * 512      # 128 KiB: several records
        for at in range(0, len(data), 4096):
            must(host.io.write(at // 512, data[at:at + 4096]))
        assert host.io.read(0, len(data) // 512) == data
        assert len(secured.proxy.taken) > 1 and len(set(secured.proxy.taken)) == 1 and not secured.proxy.refused
        assert secured.proxy.taken[0].startswith("NVMe1R")
    assert "'psk': 'other'" in str(daemon.rpc("save_config"))
    daemon.rpc("nvmf_delete_subsystem", nqn=gateway.nqn)
    detach(daemon)


def test_a_target_that_knows_the_old_identity_only(secured):
    """SPDK's targets could not be used; or each of our queues would knock twice."""
    daemon = secured.daemon
    secured.know(secured.psk.offer(US, secured.served.nqn, 0))
    assert secured.attach() == ["Nvme0n1"]
    gateway = daemon.serve("Nvme0n1", nqn="nqn.2016-06.io.gantry:gateway")
    with Host(gateway.port, gateway.nqn) as host:
        assert host.io.read(0, 8) == bytes(4096)
        wait_until(lambda: len(secured.proxy.taken) > 1, "an I/O queue")
        assert all(i.startswith("NVMe0R01 ") for i in secured.proxy.taken)
        assert len(secured.proxy.refused) == 1 and secured.proxy.refused[0].startswith("NVMe1R01 ")
    daemon.rpc("nvmf_delete_subsystem", nqn=gateway.nqn)
    detach(daemon)


def test_keys_that_do_not_fit(secured):
    """A person would be told that it does not work, and not what differs."""
    nqn = secured.served.nqn
    secured.know(Psk.make(1).offer(US, nqn, 0))
    secured.refused(f"TLS as {US} by key 'psk': the peer's key of identity")
    secured.know(secured.psk.offer(US.replace("7", "8"), nqn, 0), secured.psk.offer(US.replace("7", "8"), nqn, 1))
    secured.refused("it does not know the identity 'NVMe0R01 " + US)
    secured.know(Psk.make(2).offer(US, nqn, 1), Psk.make(2).offer(US, nqn, 0))
    secured.refused("by key 'psk': the peer refused")
    secured.key("chap", Secret.make(1))
    secured.refused("key 'chap' does not begin with NVMeTLSkey-1:", psk="chap")
    secured.refused("psk: there is no key 'none'", psk="none")
    with pytest.raises(RpcError, match="psk: there is no TLS over RDMA"):
        secured.daemon.rpc("bdev_nvme_attach_controller", name="Nvme0", psk="psk",
                           **{**address(secured.proxy.port, nqn), "trtype": "RDMA"})
    for text in (str(secured.psk)[20:50], secured.psk.secret.hex()):
        assert text not in secured.daemon.log()


def test_one_side_without_tls(secured):
    """A target that does not shake hands would be waited for without end; or in the clear would do."""
    secured.proxy.way = secured.proxy.in_the_clear
    secured.refused("by key 'psk': ")
    secured.proxy.way = secured.proxy.serve
    secured.refused("the target closed the connection|reset|malformed", psk=None)
    assert secured.proxy.refused == [None]


def test_a_peer_that_stalls(secured):
    """One that takes the connection and says nothing would hold up other disks."""
    daemon, ended = secured.daemon, []
    secured.proxy.way = secured.proxy.stall
    secured.refused(r"while: shaking hands \(TLS\) on the admin queue", fabrics_connect_timeout_us=2_000_000)
    wait_until(lambda: not secured.proxy.sockets, "its connection to be closed")

    def wait_for_it():
        try:
            secured.attach(name="Slow", fabrics_connect_timeout_us=60_000_000)
        except RpcError as e:
            ended.append(str(e))
    thread = threading.Thread(target=wait_for_it)
    thread.start()
    wait_until(lambda: secured.proxy.sockets, "the connection that is not answered")
    with TlsProxy(secured.served.port, *secured.proxy.known.values()) as other:
        attach(daemon, secured.served, port=other.port, hostnqn=US, psk="psk")
        assert not ended
        detach(daemon)
    detach(daemon, "Slow")
    thread.join(60)
    assert ended


def test_lost_and_found(secured):
    """A path that was lost would come back in the clear, or not at all; or with a key of before."""
    daemon = secured.daemon
    secured.attach(ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1)
    secured.proxy.drop_all()
    wait_until(lambda: len(secured.proxy.taken) >= 3, "it to come again")
    wait_state(daemon, "enabled", timeout_s=60)
    new = Psk.make(1)
    secured.know(new.offer(US, secured.served.nqn, 1))
    new.file(secured.tmp_path / "psk")
    secured.proxy.drop_all()
    wait_until(lambda: secured.proxy.taken, "it to come by the new key")
    wait_state(daemon, "enabled", timeout_s=60)
    detach(daemon)


def test_bytes_that_nobody_sealed(secured):
    """An attacker's bytes would be taken for the target's."""
    daemon = secured.daemon
    secured.attach(ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1)
    before = paths(daemon)[0]
    secured.proxy.spoil = 1
    gateway = daemon.serve("Nvme0n1", nqn="nqn.2016-06.io.gantry:gateway")
    with Host(gateway.port, gateway.nqn) as host:
        assert host.io.read(0, 8) == bytes(4096)    # by another connection
    wait_until(lambda: paths(daemon)[0]["ended_by"].get("tls"), "the reason")
    assert "tls" not in before["ended_by"]
    wait_state(daemon, "enabled", timeout_s=60)
    daemon.rpc("nvmf_delete_subsystem", nqn=gateway.nqn)
    detach(daemon)


def test_with_authentication(secured):
    """Both at once would not be possible."""
    daemon, target, served = secured.daemon, secured.target, secured.served
    daemon.rpc("bdev_nvme_set_options", tcp_connect_timeout_ms=60000)   # groups are computed in: a busy machine's time
    target.tell("nvmf_subsystem_allow_any_host", nqn=served.nqn, allow_any_host=False)
    for name in ("host", "next"):
        path = Secret.make(1).file(secured.tmp_path / name)
        daemon.rpc("keyring_file_add_key", name=name, path=path)
        target.tell("keyring_file_add_key", name=name, path=path)
    target.tell("nvmf_subsystem_add_host", nqn=served.nqn, host=US, dhchap_key="host")
    secured.refused("wants authentication, and there is no key")
    secured.attach(dhchap_key="host")
    count = 1 + len(daemon.rpc("framework_get_reactors")["reactors"])

    def proved():           # each core's queue by itself, after the path is there
        return [q.get("auth", {}).get("state") for q in target.rpc("nvmf_subsystem_get_qpairs", nqn=served.nqn)] == \
            ["completed"] * count
    wait_until(proved, "all queues' proofs", 60)
    target.rpc("nvmf_subsystem_set_keys", nqn=served.nqn, host=US, dhchap_key="next")
    daemon.rpc("bdev_nvme_set_keys", name="Nvme0", dhchap_key="next")
    assert states(daemon) == ["enabled"]
    detach(daemon)


def test_gone_in_the_middle(secured):
    """A path that is taken away while a key of its is read, or a handshake runs, would be used after its end."""
    daemon = secured.daemon
    for pause_s in (0.002, 0.01, 0.02, 0.05):
        detach_in_the_middle(daemon, secured.attach, pause_s)
    secured.attach()
    daemon.rpc("keyring_file_remove_key", name="psk")
    detach(daemon)
    assert not daemon.rpc("keyring_get_keys")


# --- our own target -------------------------------------------------------------------------------------------------

@pytest.fixture
def own(daemon, target, tmp_path):
    """A target that lets us in over TLS only, and asks for a proof, too."""
    served = target.export()
    port = free_port()
    target.tell("nvmf_subsystem_allow_any_host", nqn=served.nqn, allow_any_host=False)
    psk, chap = Psk.make(2).file(tmp_path / "psk"), Secret.make(1).file(tmp_path / "chap")
    for name, path in (("psk", psk), ("chap", chap)):
        daemon.rpc("keyring_file_add_key", name=name, path=path)
        target.tell("keyring_file_add_key", name=name, path=path)
    target.tell("nvmf_subsystem_add_host", nqn=served.nqn, host=US, psk="psk", dhchap_key="chap")
    target.tell("nvmf_subsystem_add_listener", nqn=served.nqn, secure_channel=True,
                listen_address={"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": str(port)})
    target.secure_port = port
    return served


def test_both_ends_are_ours(daemon, target, own):
    attach(daemon, own, port=target.secure_port, hostnqn=US, psk="psk", dhchap_key="chap", reconnect_delay_sec=1,
           ctrlr_loss_timeout_sec=-1)
    gateway = daemon.serve("Nvme0n1", nqn="nqn.2016-06.io.gantry:gateway")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, b"x" * 4096))
        assert host.io.read(0, 8) == b"x" * 4096
        lose_and_find(daemon, target)
        assert host.io.read(0, 8) == bytes(4096)        # a RAM disk that was made anew
    daemon.rpc("nvmf_delete_subsystem", nqn=gateway.nqn)
    detach(daemon)
    with pytest.raises(RpcError, match="refused Connect|wants|closed"):
        attach(daemon, own, hostnqn=US, dhchap_key="chap")      # by the listener in the clear
    with pytest.raises(RpcError, match="TLS as "):
        attach(daemon, own, port=target.secure_port, hostnqn=US.replace("7", "8"), psk="psk", dhchap_key="chap")


def test_gantry_perf(target, own, tmp_path):
    """Secured targets could not be measured; or a key would have to be typed where anybody sees it."""
    path = f"trtype:TCP adrfam:IPv4 traddr:127.0.0.1 trsvcid:{target.secure_port} subnqn:{own.nqn} hostnqn:{US}"
    command = [str(BUILD / "gantry-perf"), "-r", path, "-q", "8", "-o", "128k", "-w", "randrw", "-M", "50", "-d", "100",
               "--verify", "--json", "--mode", "interrupt", "-P", "2"]
    keys = ["--psk-path", str(tmp_path / "psk"), "--dhchap-key", str(tmp_path / "chap")]
    done = subprocess.run(command + keys, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and json.loads(done.stdout), done.stdout + done.stderr
    for more, says in ((keys[:2], "wants authentication, and there is no key"),
                       (["--psk-path", str(tmp_path / "nothing")], "is not there"),
                       (["--psk-path", str(tmp_path / "chap")], "does not begin with NVMeTLSkey-1:")):
        done = subprocess.run(command + more, capture_output=True, text=True, timeout=120)
        assert done.returncode and says in done.stderr, done.stderr


def test_discovery(daemon, target, own):
    """What a log says to want TLS would be tried in the clear for ever; or could not be had by way of a log."""
    target.rpc("nvmf_subsystem_remove_listener", nqn=own.nqn, listen_address=target.address(own.port))
    start = {"name": "disc", "trtype": "TCP", "traddr": "127.0.0.1", "adrfam": "ipv4", "trsvcid": str(own.port),
             "hostnqn": US, "wait_for_attach": True}
    daemon.rpc("bdev_nvme_start_discovery", **start)
    assert not daemon.rpc("bdev_nvme_get_controllers")
    daemon.rpc("bdev_nvme_stop_discovery", name="disc")
    with pytest.raises(RpcError, match="psk: there is no key 'none'"):
        daemon.rpc("bdev_nvme_start_discovery", psk="none", **start)
    daemon.rpc("bdev_nvme_start_discovery", psk="psk", dhchap_key="chap", **start)
    assert [b["name"] for b in daemon.rpc("bdev_get_bdevs")] == ["disc0n1"]
    saved = next(e["params"] for s in daemon.rpc("save_config")["subsystems"] for e in s["config"] or []
                 if e["method"] == "bdev_nvme_start_discovery")
    assert (saved["psk"], saved["dhchap_key"]) == ("psk", "chap")
    daemon.rpc("bdev_nvme_stop_discovery", name="disc")
    for name in ("psk", "chap"):
        daemon.rpc("keyring_file_remove_key", name=name)
    wait_until(lambda: not daemon.rpc("keyring_get_keys"), "keys that nobody holds")


# --- secure concatenation --------------------------------------------------------------------------------------------

@pytest.fixture
def concat(daemon, target, tmp_path):
    """A target that lets us in by the key that a proof makes."""
    served, port = target.export(), free_port()
    target.tell("nvmf_subsystem_allow_any_host", nqn=served.nqn, allow_any_host=False)
    for name in ("chap", "ctrlr", "wrong"):
        path = Secret.make(1).file(tmp_path / name)
        daemon.rpc("keyring_file_add_key", name=name, path=path)
        target.tell("keyring_file_add_key", name=name, path=path)
    target.tell("nvmf_subsystem_add_host", nqn=served.nqn, host=US, dhchap_key="chap", dhchap_ctrlr_key="ctrlr")
    target.tell("nvmf_subsystem_add_listener", nqn=served.nqn, secure_channel=True, concatenation=True,
                listen_address=target.address(port))
    target.secure_port = port
    return served


@pytest.mark.parametrize("keys", [{"dhchap_key": "chap"}, {"dhchap_key": "chap", "dhchap_ctrlr_key": "ctrlr"}],
                         ids=["one way", "both ways"])
def test_a_key_that_a_proof_makes(daemon, target, concat, keys):
    """Targets that ask for a secure channel could not be used; or some queue would be in the clear, or would not come
    again with a new key."""
    def identities():
        return [q.get("tls", {}).get("identity", "") for q in target.rpc("nvmf_subsystem_get_qpairs", nqn=concat.nqn)]

    attach(daemon, concat, port=target.secure_port, hostnqn=US, ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1,
           **keys)
    gateway = daemon.serve("Nvme0n1", nqn="nqn.2016-06.io.gantry:gateway")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, b"x" * 4096))
        assert host.io.read(0, 8) == b"x" * 4096
        wait_until(lambda: len(identities()) > 1, "an I/O queue")
        before = set(identities())
        assert len(before) == 1 and before.pop().startswith("NVMe1G0")
        daemon.rpc("bdev_nvme_set_keys", name="Nvme0", **keys)      # once more, over TLS
        assert host.io.read(0, 8) == b"x" * 4096
        daemon.rpc("bdev_nvme_reset_controller", name="Nvme0")
        assert host.io.read(0, 8) == b"x" * 4096
        lose_and_find(daemon, target)
        assert host.io.read(0, 8) == bytes(4096)        # a RAM disk that was made anew
        assert {i[:7] for i in identities()} == {"NVMe1G0"}
    daemon.rpc("nvmf_delete_subsystem", nqn=gateway.nqn)
    detach(daemon)


def test_no_key_to_make_one_of(daemon, target, concat):
    for match, keys in (("wants a proof that makes a key of TLS, and there is none", {}),
                        ("refuses us: authentication failed", {"dhchap_key": "wrong"}),
                        ("its controller key differs", {"dhchap_key": "chap", "dhchap_ctrlr_key": "wrong"})):
        with pytest.raises(RpcError, match=match):
            attach(daemon, concat, port=target.secure_port, hostnqn=US, **keys)
    daemon.rpc("bdev_nvme_set_options", dhchap_dhgroups=["null"])
    with pytest.raises(RpcError, match="authentication as"):
        attach(daemon, concat, port=target.secure_port, hostnqn=US, dhchap_key="chap")
