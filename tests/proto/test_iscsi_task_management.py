# SPDX-License-Identifier: BSD-3-Clause
"""Task management (RFC 7143 11.5; SAM-5 7): what is aborted is not answered and lands no more; others are told, and of
each of their tasks, too: the control mode page's TAS is set in the beginning."""
import pytest

from iscsi import (ABORT_TASK, ABORT_TASK_SET, CHECK_CONDITION, CLEAR_ACA, CLEAR_TASK_SET, COLD_RESET, LUN_RESET,
                   NO_LUN, NO_TASK, NOP_OUT, REASSIGN, RESET_BY_MESSAGE, TASK_ABORTED, TASK_COMPLETE, TASK_REJECTED,
                   TASK_UNSUPPORTED, UNIT_ATTENTION, WARM_RESET, Ended, Rejected, good, read_cdb, write_cdb)

SLOW = 2        # LUN of a device that takes a second
OTHER = "iqn.2026-11.test.initiator:two"


@pytest.fixture(scope="module", autouse=True)
def slow(iscsi):
    rpc = iscsi.daemon.rpc
    rpc("bdev_malloc_create", name="base", num_blocks=8192, block_size=512)
    rpc("bdev_delay_create", name="slow", base_bdev_name="base", avg_read_latency=10, p99_read_latency=10,
        avg_write_latency=1_000_000, p99_write_latency=1_000_000)
    rpc("iscsi_target_node_add_lun", name=iscsi.name, bdev_name="slow", lun_id=SLOW)


@pytest.fixture
def s(iscsi):
    with iscsi.session() as session:
        session.clear_attentions(SLOW)
        yield session


@pytest.fixture
def other(iscsi):
    with iscsi.session(initiator=OTHER, portal=1) as session:
        session.clear_attentions(SLOW)
        yield session


def slow_write(s, lba=0, byte=b"w"):
    return s.submit(write_cdb(lba, 1), byte * 512, lun=SLOW)


def content(s, lba=0):
    return s.read(lba, 1, lun=SLOW)[:1]


def told_of(s, itt):
    """Its end, by somebody else."""
    assert s.wait(itt).status == TASK_ABORTED


def no_answer(s, itt):
    """It was aborted by its own session."""
    assert itt not in s.done
    del s.outstanding[itt]


def lands(s, other, itt):
    """The other session's slow_write(other, 9, b"t") was not touched, and `s` is told of nothing."""
    good(other.wait(itt))
    assert content(s, 9) == b"t"
    good(s.test_unit_ready(SLOW))


def attention(s, lun, *expected):
    result = s.test_unit_ready(lun)
    assert result.status == CHECK_CONDITION and result.key == UNIT_ATTENTION and result.asc in expected, str(result)


def test_abort_of_a_write_that_is_under_way(s):
    """Linux aborts what takes too long and writes again: the old write may not land after the abort was answered."""
    good(s.wait(slow_write(s, byte=b"0")))
    itt = slow_write(s, byte=b"1")
    assert s.manage(ABORT_TASK, itt, SLOW) == TASK_COMPLETE
    at_abort = content(s)
    assert itt not in s.done        # no answer any more
    del s.outstanding[itt]
    good(s.wait(slow_write(s, lba=1)))          # more than a second
    assert content(s) == at_abort
    good(s.wait(slow_write(s, byte=b"2")))
    assert content(s) == b"2"


def test_abort_of_a_write_whose_data_is_owed(s):
    """Its R2T may be answered still, the data is dropped."""
    s.hold_r2t = True
    itt = s.submit(write_cdb(0, 4), b"x" * 2048, immediate_data=0)
    _, ttt, _, length = s.wait_r2t()
    assert s.manage(ABORT_TASK, itt) == TASK_COMPLETE
    good(s.test_unit_ready())
    s.send_sequence(itt, ttt, 0, length)
    del s.outstanding[itt]
    try:
        good(s.test_unit_ready())
    except (Ended, Rejected):
        pass            # allowed, if not kind


def test_abort_of_what_is_not_there(s):
    """Answered already, or never sent: "task does not exist"."""
    itt = s.submit(bytes(6))
    good(s.wait(itt))
    assert s.manage(ABORT_TASK, itt) == NO_TASK
    assert s.manage(ABORT_TASK, 0x7777) == NO_TASK
    good(s.test_unit_ready())


def test_abort_of_a_command_that_is_still_to_come(s):
    """RefCmdSN within the window, the command not received: it counts as received, and is never executed."""
    good(s.write(0, b"0" * 512))
    cmdsn, itt = s.take_cmdsn(), s.new_itt()
    pdu = s.wait(s.manage_async(ABORT_TASK, itt, refcmdsn=cmdsn))
    assert pdu.bhs[2] in (TASK_COMPLETE, NO_TASK)
    if pdu.bhs[2] == NO_TASK:       # then it is still waited for
        s.cmdsn = cmdsn
    good(s.write(1, b"1" * 512))


@pytest.mark.parametrize("kind", ["ping", "command"])
def test_abort_of_an_unknown_tag_by_the_number_of_what_is_here(s, kind):
    """RefCmdSN is that of a PDU that came ahead of its turn: it is not missing, and nobody's task is that tag. Taken as
    missing it would never be answered, nor the session end."""
    missing = s.take_cmdsn()
    if kind == "ping":
        ahead = s.request(NOP_OUT, data=b"p", immediate=False)
    else:
        ahead = s.submit(bytes(6))
    assert s.manage(ABORT_TASK, 0x7777, refcmdsn=missing + 1) == NO_TASK
    itt = s.submit(bytes(6), cmdsn=missing)
    good(s.wait(itt))
    s.wait(ahead)
    good(s.test_unit_ready())


def test_abort_task_set(s, other):
    """Own tasks of that LUN, and nobody else's."""
    itts = [slow_write(s, lba) for lba in range(4)]
    theirs = slow_write(other, 9, b"t")
    assert s.manage(ABORT_TASK_SET, lun=SLOW) == TASK_COMPLETE
    for itt in itts:
        no_answer(s, itt)
    lands(s, other, theirs)


def test_clear_task_set(s, other):
    """Each nexus has a task set of its own, as the control mode page says (TST 1): nobody else's tasks."""
    itt, theirs = slow_write(s), slow_write(other, 9, b"t")
    good(other.test_unit_ready())
    assert s.manage(CLEAR_TASK_SET, lun=SLOW) == TASK_COMPLETE
    good(s.test_unit_ready())
    no_answer(s, itt)
    lands(s, other, theirs)


def test_lun_reset(s, other):
    """A second host would believe its commands are under way still, or would not learn of the reset."""
    itt, theirs, elsewhere = slow_write(s), slow_write(other), other.submit(read_cdb(0, 1), expect=512)
    good(other.wait(elsewhere))
    assert s.manage(LUN_RESET, lun=SLOW) == TASK_COMPLETE
    good(other.test_unit_ready())       # another LUN
    attention(other, SLOW, RESET_BY_MESSAGE)
    good(other.test_unit_ready(SLOW))
    s.clear_attentions(SLOW)
    no_answer(s, itt)
    told_of(other, theirs)
    good(s.wait(slow_write(s, byte=b"n")))
    assert content(other) == b"n"


def test_warm_reset(s, other):
    """All LUNs; sessions stay."""
    itt = slow_write(other)
    good(other.test_unit_ready())
    assert s.manage(WARM_RESET) == TASK_COMPLETE
    for lun in (0, 1, SLOW):
        result = other.test_unit_ready(lun)
        assert result.status == CHECK_CONDITION and result.key == UNIT_ATTENTION, str(result)
    told_of(other, itt)
    good(other.test_unit_ready())


def test_cold_reset(iscsi, s, other):
    """As after power on: sessions end."""
    slow_write(other)
    try:
        s.manage(COLD_RESET)
    except Ended:
        pass
    for session in (s, other):
        session.sock.settimeout(60)
        try:
            while session.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
    iscsi.check_serves()


def test_a_lun_that_is_not_there(s):
    assert s.manage(LUN_RESET, lun=77) == NO_LUN
    assert s.manage(ABORT_TASK_SET, lun=77) == NO_LUN
    assert s.manage(CLEAR_TASK_SET, lun=77) == NO_LUN


@pytest.mark.parametrize("function", [0, 13, 0x7f])
def test_functions_that_are_none(iscsi, s, function):
    try:
        assert s.manage(function) in (TASK_UNSUPPORTED, TASK_REJECTED)
    except (Rejected, Ended):
        pass
    iscsi.check_serves()


def test_functions_that_are_not_for_us(s):
    """Allegiance is not reassigned at recovery level 0; there is no ACA."""
    assert s.manage(REASSIGN, 5) in (4, TASK_UNSUPPORTED, NO_TASK)
    assert s.manage(CLEAR_ACA) in (TASK_COMPLETE, TASK_UNSUPPORTED, TASK_REJECTED)


def test_many_resets_at_once(iscsi, s, other):
    """Two hosts reset at the same time, again and again, while both write: all is answered, nothing hangs."""
    for _ in range(10):
        tags = [(session, session.submit(read_cdb(n, 8), expect=8 * 4096, lun=1))
                for session in (s, other) for n in range(4)]
        resets = [(session, session.manage_async(LUN_RESET, lun=1)) for session in (s, other)]
        for session, itt in resets:
            assert session.wait(itt).bhs[2] == TASK_COMPLETE
        for session, itt in tags:
            if itt not in session.done:
                session.outstanding.pop(itt, None)
            session.done.pop(itt, None)
        for session in (s, other):
            session.clear_attentions(1)
    iscsi.check_serves()


def test_a_plain_abort_among_much(s):
    """The right one of many is aborted."""
    itts = [slow_write(s, lba, bytes([65 + lba])) for lba in range(8)]
    assert s.manage(ABORT_TASK, itts[3], SLOW) == TASK_COMPLETE
    for n, itt in enumerate(itts):
        if n != 3:
            good(s.wait(itt))
    assert itts[3] not in s.done
    assert [content(s, n) for n in range(8) if n != 3] == [bytes([65 + n]) for n in range(8) if n != 3]
