# SPDX-License-Identifier: BSD-3-Clause
"""What is answered to each key of a login (RFC 7143, chapters 6.2 and 13): the rule of the key, and to values that no
rule allows. The daemon's own wishes are set by iscsi_set_options, so that every answer is known."""
import pytest

from iscsi import DEFAULTS, FULL_FEATURE, INITIATOR, INITIATOR_ERROR, OPERATIONAL, SUCCESS, good

OURS = {"max_burst_length": 1 << 20, "first_burst_length": 128 << 10, "max_recv_data_segment_length": 256 << 10,
        "max_outstanding_r2t": 16, "default_time2wait": 2, "default_time2retain": 20, "immediate_data": True,
        "initial_r2t": False}

NEGOTIATED = set(DEFAULTS) - {"MaxRecvDataSegmentLength"}

#        key, offered, answered
RULES = [
    ("HeaderDigest", "CRC32C", "CRC32C"),
    ("HeaderDigest", "None", "None"),
    ("HeaderDigest", "CRC32C,None", "CRC32C"),          # the first that both know
    ("HeaderDigest", "None,CRC32C", "None"),
    ("HeaderDigest", "X-sha,CRC32C,None", "CRC32C"),
    ("HeaderDigest", "X-sha", "Reject"),
    ("DataDigest", "CRC32C", "CRC32C"),
    ("DataDigest", "None,CRC32C", "None"),
    ("DataDigest", "X-sha,None", "None"),
    ("MaxConnections", "1", "1"),                       # the smaller
    ("MaxConnections", "8", "1"),
    ("MaxConnections", "0", "Reject"),
    ("MaxConnections", "65536", "Reject"),
    ("InitialR2T", "Yes", "Yes"),                       # Yes if one says so
    ("InitialR2T", "No", "No"),
    ("InitialR2T", "yes", "Reject"),
    ("ImmediateData", "Yes", "Yes"),                    # No if one says so
    ("ImmediateData", "No", "No"),
    ("ImmediateData", "Maybe", "Reject"),
    ("MaxBurstLength", "512", "512"),                   # the smaller
    ("MaxBurstLength", "65536", "65536"),
    ("MaxBurstLength", "0x10000", "65536"),
    ("MaxBurstLength", "0X10000", "65536"),
    ("MaxBurstLength", "1048576", "1048576"),
    ("MaxBurstLength", "16777215", "1048576"),
    ("MaxBurstLength", "511", "Reject"),
    ("MaxBurstLength", "16777216", "Reject"),
    ("MaxBurstLength", "-1", "Reject"),
    ("MaxBurstLength", "many", "Reject"),
    ("MaxBurstLength", "", "Reject"),
    ("MaxBurstLength", "99999999999999999999", "Reject"),
    ("FirstBurstLength", "512", "512"),
    ("FirstBurstLength", "8192", "8192"),
    ("FirstBurstLength", "16777215", "131072"),
    ("FirstBurstLength", "100", "Reject"),
    ("DefaultTime2Wait", "0", "2"),                     # the larger
    ("DefaultTime2Wait", "30", "30"),
    ("DefaultTime2Wait", "3601", "Reject"),
    ("DefaultTime2Retain", "0", "0"),                   # the smaller
    ("DefaultTime2Retain", "3600", "20"),
    ("DefaultTime2Retain", "3601", "Reject"),
    ("MaxOutstandingR2T", "1", "1"),                    # the smaller
    ("MaxOutstandingR2T", "65535", "16"),
    ("MaxOutstandingR2T", "0", "Reject"),
    ("DataPDUInOrder", "Yes", "Yes"),                   # Yes if one says so
    ("DataPDUInOrder", "No", "Yes"),
    ("DataSequenceInOrder", "No", "Yes"),
    ("ErrorRecoveryLevel", "0", "0"),                   # the smaller
    ("ErrorRecoveryLevel", "2", "0"),
    ("ErrorRecoveryLevel", "3", "Reject"),
    ("IFMarkInt", "1~2", "Reject"),                     # obsolete: must not be NotUnderstood
    ("OFMarkInt", "1~2", "Reject"),
    ("X-com.example.key", "1", "NotUnderstood"),
    ("Unheard", "1", "NotUnderstood"),
    ("initialr2t", "No", "NotUnderstood"),              # keys are case-sensitive
    ("MaxRecvDataSegmentLength", "4096", "262144"),     # each side declares its own
    ("MaxRecvDataSegmentLength", "16777215", "262144"),
]


@pytest.fixture(scope="module", autouse=True)
def wishes(iscsi):
    iscsi.daemon.rpc("iscsi_set_options", **OURS)


def names(iscsi, **more):
    return {"InitiatorName": INITIATOR, "SessionType": "Normal", "TargetName": iscsi.name, **more}


def negotiate(iscsi, **keys):
    """What the target answers to these, first of all with the names, then in a request of their own."""
    answers = []
    for first in (True, False):
        with iscsi.conn() as c:
            told = {}
            if not first:
                answer = c.login_step(OPERATIONAL, 0, names(iscsi), transit=False)
                assert answer.status == SUCCESS
                told = answer.keys          # what it declares by itself
            offered = names(iscsi, **keys) if first else keys
            answer = c.login_step(OPERATIONAL, FULL_FEATURE, offered)
            answered = told | answer.keys
            if not answer.transit:          # it proposes something: that has to be answered
                proposed = {k: v for k, v in answered.items() if k in NEGOTIATED and k not in offered}
                answer = c.login_step(OPERATIONAL, FULL_FEATURE, proposed)
            assert answer.status == SUCCESS and answer.transit
            answers.append(answered)
    assert {k: answers[0].get(k) for k in keys} == {k: answers[1].get(k) for k in keys}
    return answers[0]


@pytest.mark.parametrize("key, offered, answered", RULES, ids=[f"{k}={o}" for k, o, _ in RULES])
def test_rule(iscsi, key, offered, answered):
    """Both sides would go on with different values."""
    assert negotiate(iscsi, **{key: offered})[key] == answered


@pytest.mark.parametrize("key", ["IFMarker", "OFMarker"])
def test_markers_are_obsolete(iscsi, key):
    """RFC 7143 13.25: Reject, or No; never NotUnderstood."""
    assert negotiate(iscsi, **{key: "Yes"})[key] in ("Reject", "No")


def test_declarations_are_not_answered(iscsi):
    """An answer to a key that only tells something is a protocol error; ours are told once."""
    answered = negotiate(iscsi, InitiatorAlias="me")
    assert "InitiatorAlias" not in answered and "InitiatorName" not in answered and "TargetName" not in answered
    assert answered["TargetPortalGroupTag"] == "1"


def test_we_declare_what_we_take(iscsi):
    """An initiator that says nothing of its MaxRecvDataSegmentLength would send 8 KiB pieces for ever."""
    assert negotiate(iscsi)["MaxRecvDataSegmentLength"] == "262144"


def test_first_burst_is_within_the_burst(iscsi):
    """FirstBurstLength may not be larger than MaxBurstLength, whatever each rule says."""
    answered = negotiate(iscsi, MaxBurstLength="8192", FirstBurstLength="65536")
    assert answered["MaxBurstLength"] == "8192" and int(answered["FirstBurstLength"]) <= 8192


def test_what_means_nothing_in_a_discovery_session(iscsi):
    """SendTargets would be refused to hosts that offer all their keys; what is irrelevant may be called so."""
    with iscsi.discovery(keys={"MaxBurstLength": "65536", "ImmediateData": "Yes", "InitialR2T": "No",
                               "MaxConnections": "1", "HeaderDigest": "None", "DefaultTime2Wait": "0"}) as s:
        for key in ("MaxBurstLength", "ImmediateData", "InitialR2T", "MaxConnections"):
            assert s.answered[key] in ("Irrelevant", {"MaxBurstLength": "65536", "ImmediateData": "Yes",
                                                      "InitialR2T": "No", "MaxConnections": "1"}[key])
        assert s.answered["HeaderDigest"] == "None"
        assert iscsi.name in s.targets()


@pytest.mark.parametrize("key", ["TargetAddress", "TargetPortalGroupTag", "TargetAlias"])
def test_keys_that_only_targets_send(iscsi, key):
    """An initiator may not send them: a protocol error, or at least no answer that accepts them."""
    with iscsi.conn() as c:
        answer = c.login_step(OPERATIONAL, FULL_FEATURE, names(iscsi, **{key: "1"}))
        assert answer.status == INITIATOR_ERROR or answer.keys.get(key) in ("Reject", "NotUnderstood", "Irrelevant") \
            or key == "TargetPortalGroupTag" and answer.keys[key] == "1"


def test_everything_at_once(iscsi):
    """Many keys in one request, answered in one response that is cut into parts where it is long."""
    keys = {k: o for k, o, a in RULES if a not in ("Reject",)}
    keys |= {f"X-com.example.{i:03}{'k' * 40}": "v" * 200 for i in range(25)}
    answered = negotiate(iscsi, **keys)
    assert all(answered[k] == "NotUnderstood" for k in keys if k.startswith("X-"))
    assert all(k in answered for k in keys)


@pytest.mark.parametrize("keys", [
    {}, {"ImmediateData": "No"}, {"InitialR2T": "No"}, {"ImmediateData": "No", "InitialR2T": "No"},
    {"MaxBurstLength": "512", "FirstBurstLength": "512"}, {"FirstBurstLength": "1000", "InitialR2T": "No"},
    {"MaxRecvDataSegmentLength": "512"}, {"MaxRecvDataSegmentLength": "1000", "MaxBurstLength": "1500"},
    {"MaxRecvDataSegmentLength": "16777215", "MaxBurstLength": "16777215"},
    {"MaxOutstandingR2T": "16", "MaxBurstLength": "4096"},
    {"HeaderDigest": "CRC32C", "MaxBurstLength": "3000"}, {"DataDigest": "CRC32C", "FirstBurstLength": "8192"},
    {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C", "MaxRecvDataSegmentLength": "4096", "InitialR2T": "No"},
], ids=lambda keys: ",".join(f"{k}={v}" for k, v in keys.items()) or "defaults")
def test_data_moves_as_agreed(iscsi, keys):
    """What was agreed would not be kept: the initiator checks every PDU against it."""
    data = bytes(range(1, 252)) * 600
    data = data[:len(data) // 512 * 512]
    with iscsi.session(keys) as s:
        for size in (512, 8192, len(data)):
            good(s.write(5, data[:size]))
            assert s.read(5, size // 512) == data[:size]
            good(s.write(5, data[:size], immediate_data=0))
