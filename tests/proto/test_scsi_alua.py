# SPDX-License-Identifier: BSD-3-Clause
"""Asymmetric access: ways to a disk that the administrator or a host opens and closes."""
import struct

import pytest

from gantry import IQN
from iscsi import Session, good

NOT_READY, UNIT_ATTENTION = 2, 6
CHANGED, STANDBY, UNAVAILABLE = 0x2a06, 0x040b, 0x040c
STATES = {"optimized": 0, "non_optimized": 1, "standby": 2, "unavailable": 3}
OTHER_ISID = bytes([0x80, 0, 0, 0, 0, 2])


@pytest.fixture
def ways(daemon):
    """Sessions over two portal groups."""
    exported = daemon.export(daemon.malloc("disk0", mib=4), portals=2)
    with Session(exported.ports[0], exported.name) as one, \
            Session(exported.ports[1], exported.name, isid=OTHER_ISID) as two:
        yield one, two


def groups(session):
    """{group: (state, why)}, as REPORT TARGET PORT GROUPS has it."""
    data = good(session.command(struct.pack(">BB4xIxx", 0xa3, 0x0a, 256), expect=256)).data
    assert struct.unpack_from(">I", data)[0] == len(data) - 4 == 2 * 12
    return {struct.unpack_from(">H", data, at + 2)[0]: (data[at] & 15, data[at + 5]) for at in (4, 16)}


def sense(session, cdb=bytes(6), **how):
    result = session.command(cdb, **how)
    return (result.key, result.asc) if result.status else None


@pytest.mark.parametrize("state, asc", [("standby", STANDBY), ("unavailable", UNAVAILABLE), ("non_optimized", None)])
def test_the_administrator_closes_a_way(daemon, ways, state, asc):
    """Hosts would not hear that a way was closed, or would get data by it all the same."""
    one, two = ways
    daemon.rpc("iscsi_target_node_set_alua_state", name=IQN, pg_tag=2, alua_state=state)
    for session in ways:
        assert sense(session) == (UNIT_ATTENTION, CHANGED)
    assert groups(one) == groups(two) == {1: (0, 0), 2: (STATES[state], 2)}
    assert sense(one) is None
    assert sense(two) == ((NOT_READY, asc) if asc else None)
    assert two.inquiry(0x83)
    if asc:
        assert sense(two, struct.pack(">BBQIxx", 0x88, 0, 0, 1), expect=512) == (NOT_READY, asc)
        assert sense(two, struct.pack(">BBQIxx", 0x8a, 0, 0, 1), data=bytes(512)) == (NOT_READY, asc)
        # A host that finds its disk by a way in standby asks for mode pages, capacity and reservations.
        for cdb in (bytes([0x1a, 8, 0x0a, 0, 255, 0]), bytes([0x9e, 0x10]) + bytes(11) + bytes([32, 0, 0]),
                    bytes([0x5e, 0]) + bytes(6) + bytes([32, 0])):
            expect = 255 if cdb[0] == 0x1a else 32
            assert sense(two, cdb, expect=expect) == (None if state == "standby" else (NOT_READY, asc))
    daemon.rpc("iscsi_target_node_set_alua_state", name=IQN, pg_tag=2, alua_state="optimized")
    for session in ways:
        assert sense(session) == (UNIT_ATTENTION, CHANGED)
    daemon.rpc("iscsi_target_node_set_alua_state", name=IQN, pg_tag=2, alua_state="optimized")   # it is so
    for session in ways:
        session.read(0, 1)


def test_a_host_opens_a_way_again(daemon, ways):
    """A host would not be let through by the way it chose, or would be told of what it did itself."""
    one, two = ways
    daemon.rpc("iscsi_target_node_set_alua_state", name=IQN, pg_tag=2, alua_state="unavailable")
    for session in ways:
        assert sense(session) == (UNIT_ATTENTION, CHANGED)
    parameters = bytes(4) + struct.pack(">BBHBBH", 0, 0, 2, 2, 0, 1)     # group 2 opens, group 1 closes
    good(two.command(struct.pack(">BB4xIxx", 0xa4, 0x0a, len(parameters)), data=parameters))
    two.read(0, 1)
    assert sense(one) == (UNIT_ATTENTION, CHANGED)
    assert sense(one) == (NOT_READY, STANDBY)
    assert groups(one) == {1: (2, 1), 2: (0, 1)}
