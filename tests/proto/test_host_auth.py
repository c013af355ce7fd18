# SPDX-License-Identifier: BSD-3-Clause
"""Remote disks of targets that want to know who we are (DH-HMAC-CHAP), and have to say who they are. What the messages
are is test_nvme_auth's; here the other side is a daemon, too."""
import uuid

import pytest

from dhchap import Secret
from gantry import RpcError, wait_until
from nvme_tcp import Host
from proxy import Proxy
from remote import attach, detach, detach_in_the_middle, lose_and_find, states, wait_state

US = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=7)}"


@pytest.fixture
def keyed(daemon, target, tmp_path):
    """A target that lets us in by key "host" and proves itself by "ctrlr"; we have these, and one that is wrong."""
    served = target.export()
    target.tell("nvmf_subsystem_allow_any_host", nqn=served.nqn, allow_any_host=False)
    for name in ("host", "ctrlr", "wrong"):
        path = Secret.make(1).file(tmp_path / name)
        daemon.rpc("keyring_file_add_key", name=name, path=path)
        target.tell("keyring_file_add_key", name=name, path=path)
    target.tell("nvmf_subsystem_add_host", nqn=served.nqn, host=US, dhchap_key="host", dhchap_ctrlr_key="ctrlr")
    return served


def refused(daemon, served, match, **keys):
    with pytest.raises(RpcError, match=match):
        attach(daemon, served, hostnqn=US, **keys)
    assert not daemon.rpc("bdev_nvme_get_controllers")


def queues(target, served):
    return target.rpc("nvmf_subsystem_get_qpairs", nqn=served.nqn)


def proved_by(target, served, *fields):
    """Of each queue; None of one that has not begun."""
    return [tuple(q["auth"][f] for f in fields) if "auth" in q else None for q in queues(target, served)]


def test_a_target_that_wants_a_proof(daemon, target, keyed):
    """Disks of such targets could not be had; or one queue of ours would do without."""
    for keys in ({"dhchap_key": "host"}, {"dhchap_key": "host", "dhchap_ctrlr_key": "ctrlr"}):
        assert attach(daemon, keyed, hostnqn=US, **keys) == ["Nvme0n1"]
        gateway = daemon.serve("Nvme0n1", nqn=f"nqn.2016-06.io.gantry:{len(keys)}")
        with Host(gateway.port, gateway.nqn) as host:
            assert host.io.read(0, 8) == bytes(4096)
            wait_until(lambda: set(proved_by(target, keyed, "state")) == {("completed",)},
                       "all queues' proofs")
            assert len(queues(target, keyed)) > 1
        daemon.rpc("nvmf_delete_subsystem", nqn=gateway.nqn)
        detach(daemon)


def test_keys_that_are_missing_or_wrong(daemon, target, keyed):
    """A person would be told that it does not work, and not which key is to blame."""
    refused(daemon, keyed, "wants authentication, and there is no key")
    refused(daemon, keyed, "the controller refuses us: authentication failed", dhchap_key="wrong")
    refused(daemon, keyed, "its controller key differs", dhchap_key="host", dhchap_ctrlr_key="wrong")
    refused(daemon, keyed, "dhchap_key: there is no key 'none'", dhchap_key="none")
    refused(daemon, keyed, "dhchap_ctrlr_key: there is no key 'none'", dhchap_key="host", dhchap_ctrlr_key="none")
    refused(daemon, keyed, "is of no use without dhchap_key", dhchap_ctrlr_key="ctrlr")


class RudeProxy(Proxy):
    """A target that closes the connection as soon as it is told that its proof is wrong, as Linux's may."""

    def forward(self, source, sink):
        while data := source.recv(1 << 16):
            if data[-8:-6] == b"\0\xf0":                 # AUTH_Failure2, the data of the last capsule
                break
            sink.sendall(data)
        self.drop(source)
        self.drop(sink)


def test_who_is_refused_may_close_at_once(daemon, target, keyed):
    """A person would be told that the target closed the connection, and not which key is to blame."""
    with RudeProxy(keyed.port) as proxy, pytest.raises(RpcError, match="its controller key differs"):
        attach(daemon, keyed, port=proxy.port, hostnqn=US, dhchap_key="host", dhchap_ctrlr_key="wrong")


class SilentQueues(Proxy):
    """A target that lets I/O queues connect, and is silent when they shall prove themselves."""

    def forward(self, source, sink):
        silent = False
        try:
            while data := source.recv(1 << 16):
                if not silent:
                    sink.sendall(data)
                sqe = data[8:]                           # of a command's PDU; fabrics Connect
                silent |= data[0] == 4 and sqe[0] == 0x7f and sqe[4] == 1 and sqe[42:44] != b"\0\0"
        except OSError:
            pass
        self.drop(source)
        self.drop(sink)


def test_each_queue_has_the_whole_time_to_prove_itself(daemon, target, keyed):
    """What the admin queue takes for its proof, all cores' queues take together: on a busy machine, or with many cores,
    the rest of the attempt's time would not do, in any attempt."""
    daemon.rpc("bdev_nvme_set_options", tcp_connect_timeout_ms=10000)
    with SilentQueues(keyed.port) as proxy:
        attach(daemon, keyed, port=proxy.port, hostnqn=US, dhchap_key="host")
        wait_until(lambda: "not ready within" in daemon.log(), "the queues' end", 60)
        assert "not ready within 10000 ms; it was proving who we are" in daemon.log()
        detach(daemon)


def test_a_target_that_cannot_prove_itself(daemon, target, keyed):
    """Somebody in the target's place, who asks for nothing, would be believed."""
    target.rpc("nvmf_subsystem_remove_host", nqn=keyed.nqn, host=US)
    target.rpc("nvmf_subsystem_add_host", nqn=keyed.nqn, host=US)
    assert attach(daemon, keyed, hostnqn=US, dhchap_key="host") == ["Nvme0n1"]
    detach(daemon)
    refused(daemon, keyed, "the controller refuses us", dhchap_key="host", dhchap_ctrlr_key="ctrlr")


def test_each_connection_proves_it_again(daemon, target, keyed, tmp_path):
    """A path that was lost would come back without a proof, or not at all."""
    attach(daemon, keyed, hostnqn=US, dhchap_key="host", dhchap_ctrlr_key="ctrlr", ctrlr_loss_timeout_sec=-1,
           reconnect_delay_sec=1)
    lose_and_find(daemon, target)
    wait_until(lambda: proved_by(target, keyed, "state") == [("completed",)] * 2, "both queues' proofs")
    saved = str(daemon.rpc("save_config"))
    assert "'dhchap_key': 'host', 'dhchap_ctrlr_key': 'ctrlr'" in saved
    (tmp_path / "host").write_text(str(Secret.make(1)))     # the target's own key, too: both have the new one
    lose_and_find(daemon, target)
    wait_until(lambda: queues(target, keyed), "the queues of the path")


def test_gone_in_the_middle(daemon, target, keyed):
    """A path that is taken away while a proof of its is computed would be used after its end, or its key would."""
    def attach_it():
        attach(daemon, keyed, hostnqn=US, dhchap_key="host", dhchap_ctrlr_key="ctrlr")

    for pause_s in (0.01, 0.05, 0.1, 0.15, 0.2):
        detach_in_the_middle(daemon, attach_it, pause_s)
    attach_it()
    for name in ("host", "ctrlr"):
        daemon.rpc("keyring_file_remove_key", name=name)
    detach(daemon)


# --- keys that change ------------------------------------------------------------------------------------------------

def proofs(target):
    """How many queues the target has let in, by its log."""
    return target.log().count(": authenticated both ways") + target.log().count(": authenticated one way")


def set_keys(daemon, **keys):
    return daemon.rpc("bdev_nvme_set_keys", name="Nvme0", **keys)


def test_keys_change(daemon, target, keyed, tmp_path):
    """A key could not be exchanged without an end of the disk; or some queues would go on with the old one."""
    path = Secret.make(2).file(tmp_path / "next")
    daemon.rpc("keyring_file_add_key", name="next", path=path)
    target.rpc("keyring_file_add_key", name="next", path=path)
    target.rpc("log_set_print_level", level="INFO")
    attach(daemon, keyed, hostnqn=US, dhchap_key="host", dhchap_ctrlr_key="ctrlr")
    gateway = daemon.serve("Nvme0n1", nqn="nqn.2016-06.io.gantry:gateway")
    with Host(gateway.port, gateway.nqn) as host:
        host.io.write(0, b"x" * 4096)
        count = len(queues(target, keyed))
        assert count > 1
        wait_until(lambda: proofs(target) == count, "all queues' proofs")
        target.rpc("nvmf_subsystem_set_keys", nqn=keyed.nqn, host=US, dhchap_key="next")
        assert set_keys(daemon, dhchap_key="next", dhchap_ctrlr_key="ctrlr") is True
        wait_until(lambda: proofs(target) == 2 * count, "all queues' proofs by the new key")
        assert host.io.read(0, 8) == b"x" * 4096
        assert daemon.rpc("bdev_nvme_get_controllers", name="Nvme0")[0]["ctrlrs"][0]["state"] == "enabled"
    assert "'dhchap_key': 'next', 'dhchap_ctrlr_key': 'ctrlr'" in str(daemon.rpc("save_config"))
    daemon.rpc("nvmf_delete_subsystem", nqn=gateway.nqn)
    # The old one is given back only when nothing of that connection is left.
    daemon.rpc("keyring_file_remove_key", name="host")
    assert [k["removed"] for k in daemon.rpc("keyring_get_keys") if k["name"] == "host"] == [True]
    daemon.rpc("bdev_nvme_reset_controller", name="Nvme0")
    assert not [k for k in daemon.rpc("keyring_get_keys") if k["name"] == "host"]
    assert states(daemon) == ["enabled"]
    detach(daemon)


def test_keys_that_do_not_fit(daemon, target, keyed, tmp_path):
    """Who gives a wrong key would not hear of it; or the path would stay lost when the right one comes."""
    attach(daemon, keyed, hostnqn=US, dhchap_key="host", dhchap_ctrlr_key="ctrlr", reconnect_delay_sec=1,
           ctrlr_loss_timeout_sec=-1)
    for match, keys in (("dhchap_key: there is no key 'none'", {"dhchap_key": "none"}),
                        ("is of no use without dhchap_key", {"dhchap_ctrlr_key": "ctrlr"})):
        with pytest.raises(RpcError, match=match):
            set_keys(daemon, **keys)
    text = (tmp_path / "wrong").read_text()
    (tmp_path / "wrong").write_text(text[:20] + ("B" if text[20] == "A" else "A") + text[21:])
    with pytest.raises(RpcError, match="dhchap_key: key 'wrong' has a wrong checksum"):
        set_keys(daemon, dhchap_key="wrong")
    (tmp_path / "wrong").write_text(text)
    assert states(daemon) == ["enabled"]
    assert "'dhchap_key': 'host'" in str(daemon.rpc("save_config"))
    for keys, match in (({"dhchap_key": "wrong"}, "refuses us: authentication failed"),
                        ({"dhchap_key": "host", "dhchap_ctrlr_key": "wrong"}, "its controller key differs")):
        with pytest.raises(RpcError, match=match):
            set_keys(daemon, **keys)
        wait_until(lambda: states(daemon) != ["enabled"], "the path to be lost")
        set_keys(daemon, dhchap_key="host", dhchap_ctrlr_key="ctrlr")
        wait_state(daemon, "enabled", timeout_s=60)
    detach(daemon)


def test_keys_of_a_path_that_is_not_there(daemon, target, keyed):
    """It would come back by the old key, and be refused for ever."""
    attach(daemon, keyed, hostnqn=US, dhchap_key="host", reconnect_delay_sec=1, ctrlr_loss_timeout_sec=-1)
    target.kill()
    wait_until(lambda: states(daemon) != ["enabled"], "the path to be lost")
    set_keys(daemon, dhchap_key="wrong")
    target.again()
    target.rpc("nvmf_subsystem_set_keys", nqn=keyed.nqn, host=US, dhchap_key="wrong")
    wait_state(daemon, "enabled", timeout_s=60)
    set_keys(daemon)
    assert "dhchap_key" not in str(daemon.rpc("save_config"))
    assert states(daemon) == ["enabled"]    # asked for no proof, nothing changes before it connects again
    detach(daemon)


def test_what_is_offered(daemon, target, keyed):
    """bdev_nvme_set_options would have no effect: a hash or group that was ruled out would be used."""
    for options, match in (({"dhchap_digests": ["md5"]}, "there is no 'md5'"),
                           ({"dhchap_dhgroups": []}, "dhchap_dhgroups: with an empty list")):
        with pytest.raises(RpcError, match=match):
            daemon.rpc("bdev_nvme_set_options", **options)
    daemon.rpc("bdev_nvme_set_options", dhchap_digests=["sha384"], dhchap_dhgroups=["ffdhe2048"])
    attach(daemon, keyed, hostnqn=US, dhchap_key="host")
    wait_until(lambda: set(proved_by(target, keyed, "digest", "dhgroup")) == {("sha384", "ffdhe2048")},
               "all queues' proofs")
    detach(daemon)
    saved = str(daemon.rpc("save_config"))
    assert "'dhchap_digests': ['sha384']" in saved and "'dhchap_dhgroups': ['ffdhe2048']" in saved


def test_a_host_is_connected_when_it_has_proved_itself(daemon, target, keyed):
    """Anybody could make people believe that a host is there."""
    def told():
        return [e["type"] for e in target.rpc("notify_get_notifications") if e["type"].startswith("host_")]
    refused(daemon, keyed, "authentication failed", dhchap_key="wrong")
    assert told() == []
    attach(daemon, keyed, hostnqn=US, dhchap_key="host")
    wait_until(lambda: told() == ["host_connected"], "the host to be told of")
    detach(daemon)
    wait_until(lambda: told() == ["host_connected", "host_disconnected"], "its end")
