# SPDX-License-Identifier: BSD-3-Clause
"""What is configured while hosts are connected: who may no longer be there is disconnected before the answer, nobody
else is; what changes for logins changes for the next one."""
import threading
import time

import pytest

from gantry import RpcError, free_port, wait_until
from iscsi import (ASYNC, AUTHENTICATION_FAILURE, AUTHORIZATION_FAILURE, MOVED_TEMPORARILY, NOT_FOUND, Chap, Ended,
                   LoginFailed, Session, good)

IQN = "iqn.2016-06.io.gantry"
FRIEND, OTHER = "iqn.2026-11.test:friend", "iqn.2026-11.test:other"


@pytest.fixture
def served(daemon):
    """A node by two portal groups: the friend by name, others as group 2 says."""
    daemon.malloc("disk0")
    daemon.ports = [free_port(), free_port()]
    for tag, port in enumerate(daemon.ports, 1):
        daemon.rpc("iscsi_create_portal_group", tag=tag, portals=[{"host": "127.0.0.1", "port": str(port)}])
    daemon.rpc("iscsi_create_initiator_group", tag=1, initiators=[FRIEND], netmasks=["127.0.0.0/8"])
    daemon.rpc("iscsi_create_initiator_group", tag=2, initiators=["ANY"], netmasks=["ANY"])
    daemon.rpc("iscsi_create_target_node", name=IQN + ":disk", luns=[{"bdev_name": "disk0", "lun_id": 0}],
               pg_ig_maps=[{"pg_tag": 1, "ig_tag": 1}, {"pg_tag": 2, "ig_tag": 2}], queue_depth=32)
    return daemon


def login(daemon, portal=0, initiator=FRIEND, **how):
    return Session(daemon.ports[portal], IQN + ":disk", initiator=initiator, **how)


def refused(daemon, status, **how):
    with pytest.raises(LoginFailed) as e:
        login(daemon, **how)
    assert e.value.status == status, f"{e.value.status:#x}"


class Ending:
    """Within it the target ends the connection, maybe after a word about that; the host closes its side then."""

    def __init__(self, s):
        self.s, self.what = s, None

    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while self.s.recv_pdu().opcode == ASYNC:
                pass
            self.what = "more than asynchronous messages"
        except Ended:
            pass
        except BaseException as problem:
            self.what = repr(problem)
        self.s.close()

    def __exit__(self, *_):
        self.thread.join()
        assert not self.what, self.what


def connected(daemon):
    return sorted((c["initiator_name"], c["pg_tag"]) for c in daemon.rpc("iscsi_get_connections")
                  if c["state"] == "running")


def test_a_host_that_is_taken_out_of_its_group(served):
    with login(served) as friend, login(served, 1, OTHER) as other:
        served.rpc("iscsi_initiator_group_add_initiators", tag=1, initiators=[OTHER])
        with Ending(friend):
            served.rpc("iscsi_initiator_group_remove_initiators", tag=1, initiators=[FRIEND])
            assert connected(served) == [(OTHER, 2)]    # in the moment of the answer
        good(other.test_unit_ready())
        refused(served, AUTHORIZATION_FAILURE)
        login(served, 0, OTHER).close()


def test_a_netmask_that_is_taken_away(served):
    with login(served) as friend:
        served.rpc("iscsi_initiator_group_add_initiators", tag=1, netmasks=["192.0.2.0/24"])
        with Ending(friend):
            served.rpc("iscsi_initiator_group_remove_initiators", tag=1, netmasks=["127.0.0.0/8"])
        refused(served, AUTHORIZATION_FAILURE)


def test_maps_and_groups_that_go(served):
    with login(served) as one, login(served, 1) as two:
        pairs = [{"pg_tag": 1, "ig_tag": 1}]
        with Ending(one):
            served.rpc("iscsi_target_node_remove_pg_ig_maps", name=IQN + ":disk", pg_ig_maps=pairs)
        good(two.test_unit_ready())
        refused(served, NOT_FOUND)
        served.rpc("iscsi_target_node_add_pg_ig_maps", name=IQN + ":disk", pg_ig_maps=pairs)
        with login(served) as again, Ending(again):
            served.rpc("iscsi_delete_initiator_group", tag=1)
        good(two.test_unit_ready())
        with Ending(two):
            served.rpc("iscsi_delete_portal_group", tag=2)
        with pytest.raises(ConnectionRefusedError):
            login(served, 1)
    assert served.rpc("iscsi_get_target_nodes")[0]["pg_ig_maps"] == []


def test_a_node_that_goes_takes_its_sessions_along_and_no_others(served):
    served.rpc("iscsi_create_target_node", name="stays", pg_ig_maps=[{"pg_tag": 2, "ig_tag": 2}])
    stays = "iqn.2016-06.io.spdk:stays"
    with login(served) as gone, Session(served.ports[1], stays) as other:
        with Ending(gone):
            served.rpc("iscsi_delete_target_node", name=IQN + ":disk")
        other.nop(b"there?")
    refused(served, NOT_FOUND)
    assert [n["name"] for n in served.rpc("iscsi_get_target_nodes")] == [stays]
    served.rpc("bdev_malloc_delete", name="disk0")      # nobody has it


def test_discovery_at_a_portal_group_that_goes(served):
    with Session(served.ports[0], None) as s, Session(served.ports[1], None) as other:
        with Ending(s):
            served.rpc("iscsi_delete_portal_group", tag=1)
        assert other.targets() == {IQN + ":disk": [f"127.0.0.1:{served.ports[1]},2"]}


def test_chap_from_now_on(served):
    served.rpc("iscsi_create_auth_group", tag=4, secrets=[{"user": "joe", "secret": "0123456789ab", "muser": "us",
                                                           "msecret": "ba9876543210"}])
    with login(served) as s:
        served.rpc("iscsi_target_node_set_auth", name=IQN + ":disk", require_chap=True, chap_group=4)
        good(s.test_unit_ready())       # who is in stays
        refused(served, AUTHENTICATION_FAILURE)
    login(served, chap=Chap("joe", "0123456789ab")).close()
    served.rpc("iscsi_target_node_set_auth", name=IQN + ":disk", require_chap=True, mutual_chap=True, chap_group=4)
    refused(served, AUTHENTICATION_FAILURE, chap=Chap("joe", "0123456789ab"))
    login(served, chap=Chap("joe", "0123456789ab", "us", "ba9876543210")).close()
    served.rpc("iscsi_auth_group_remove_secret", tag=4, user="joe")
    refused(served, AUTHENTICATION_FAILURE, chap=Chap("joe", "0123456789ab", "us", "ba9876543210"))


def test_chap_for_discovery(served):
    served.rpc("iscsi_create_auth_group", tag=4, secrets=[{"user": "joe", "secret": "0123456789ab"}])
    served.rpc("iscsi_set_discovery_auth", require_chap=True, chap_group=4)
    served.rpc("iscsi_portal_group_set_auth", tag=2, disable_chap=True)
    with pytest.raises(LoginFailed):
        Session(served.ports[0], None)
    Session(served.ports[0], None, chap=Chap("joe", "0123456789ab")).close()
    Session(served.ports[1], None).close()


def test_a_wait_ends_with_the_start(served):
    port = free_port()
    served.rpc("iscsi_create_portal_group", tag=3, wait=True, portals=[{"host": "127.0.0.1", "port": str(port)}])
    served.rpc("iscsi_target_node_add_pg_ig_maps", name=IQN + ":disk", pg_ig_maps=[{"pg_tag": 3, "ig_tag": 2}])
    with pytest.raises(ConnectionRefusedError):
        Session(port, None)
    served.rpc("iscsi_start_portal_group", tag=3)
    served.rpc("iscsi_start_portal_group", tag=3)       # once more is no error
    with Session(port, None) as s:
        assert f"127.0.0.1:{port},3" in s.targets()[IQN + ":disk"]


def test_hosts_are_asked_to_go_elsewhere(served):
    private = free_port()
    served.rpc("iscsi_create_portal_group", tag=9, private=True, portals=[{"host": "127.0.0.1", "port": str(private)}])
    served.rpc("iscsi_target_node_add_pg_ig_maps", name=IQN + ":disk", pg_ig_maps=[{"pg_tag": 9, "ig_tag": 1}])
    with login(served) as s, login(served, 1, OTHER) as other:
        served.rpc("iscsi_target_node_set_redirect", name=IQN + ":disk", pg_tag=1, redirect_host="127.0.0.1",
                   redirect_port=str(private))
        good(s.test_unit_ready())
        served.rpc("iscsi_target_node_request_logout", name=IQN + ":disk", pg_tag=1)
        pdu = s.recv_pdu()
        assert pdu.opcode == ASYNC and pdu.bhs[36] == 1     # the target requests logout
        assert s.logout() == 0
        refused(served, MOVED_TEMPORARILY)
        with Session(private, IQN + ":disk", initiator=FRIEND) as there:
            good(there.test_unit_ready())
        good(other.test_unit_ready())
    assert served.rpc("iscsi_get_target_nodes")[0]["target_ports"][0]["redirect_port"] == str(private)


def test_options_count_for_the_next_login(served):
    with login(served) as before:
        served.rpc("iscsi_set_options", max_queue_depth=8, first_burst_length=4096, immediate_data=False,
                   max_burst_length=8192, max_recv_data_segment_length=2048)
        offered = {"ImmediateData": "Yes", "InitialR2T": "No", "FirstBurstLength": "65536",
                   "MaxBurstLength": "262144"}
        with login(served, 1, OTHER, keys=offered) as after:
            assert before.immediate_data and not after.immediate_data
            assert (after.first_burst, after.max_burst, after.max_send) == (4096, 8192, 2048)
            window = after.maxcmdsn - after.expcmdsn + 1
            assert window == 8
            good(after.write(0, b"o" * 4096))
            assert after.read(0, 8) == b"o" * 4096
        assert before.maxcmdsn - before.expcmdsn + 1 == 32


def test_no_more_sessions_than_allowed(served):
    served.rpc("iscsi_set_options", max_sessions=1)
    with login(served) as s:
        with pytest.raises(LoginFailed) as e:
            login(served, 1, OTHER)
        assert e.value.status == 0x302
        with Ending(s):
            again = login(served)       # takes its own place
        with again:
            good(again.test_unit_ready())


def test_alua_is_told_and_kept(served):
    with login(served) as one, login(served, 1) as two:
        served.rpc("iscsi_target_node_set_alua_state", name=IQN + ":disk", pg_tag=1, alua_state="unavailable")
        wait_until(lambda: one.test_unit_ready().status == 2 and one.test_unit_ready().asc == 0x040c,
                   "the way to be closed")
        two.clear_attentions()
        good(two.write(0, b"w" * 512))
        served.rpc("iscsi_target_node_set_alua_state", name=IQN + ":disk", pg_tag=1, alua_state="optimized")
        one.clear_attentions()
        good(one.write(0, b"w" * 512))
    with pytest.raises(RpcError, match="not mapped to portal group 7"):
        served.rpc("iscsi_target_node_set_alua_state", name=IQN + ":disk", pg_tag=7, alua_state="standby")


def test_a_session_is_moved(served):
    with login(served) as s:
        for reactor in (0, 0):
            found = served.rpc("iscsi_get_connections")[0]
            try:
                served.rpc("iscsi_move_session", id=found["id"], reactor=reactor)
            except RpcError:
                pass        # it is there
            good(s.test_unit_ready())
    with pytest.raises(RpcError, match="id: "):
        served.rpc("iscsi_move_session", id=4711, reactor=0)
    with pytest.raises(RpcError, match="reactor: "):
        served.rpc("iscsi_move_session", id=1, reactor=99)


def test_the_end_of_the_daemon_ends_sessions(served):
    s = login(served)
    discovery = Session(served.ports[1], None)
    began = time.monotonic()
    served.stop()
    assert time.monotonic() - began < 20
    for c in (s, discovery):
        with pytest.raises((Ended, AssertionError, OSError)):
            c.nop(b"there?")
        c.close()
