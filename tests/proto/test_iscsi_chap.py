# SPDX-License-Identifier: BSD-3-Clause
"""CHAP, one way and both ways, right and wrong in each way (RFC 7143 12.1.3)."""
import pytest

from gantry import RpcError
from iscsi import (AUTHENTICATION_FAILURE, FULL_FEATURE, INITIATOR, INITIATOR_ERROR, MISSING_PARAMETER, OPERATIONAL,
                   SECURITY, SUCCESS, Chap, LoginFailed, Session, good, number)

ONE_WAY, MUTUAL, DISCOVERY_GROUP = 11, 12, 13
NODES = {ONE_WAY: "iqn.2016-06.io.gantry:oneway", MUTUAL: "iqn.2016-06.io.gantry:mutual"}
SECRET, TARGET_SECRET = "initiator-secret-1", "target-secret-22222"
DENIED = (AUTHENTICATION_FAILURE,)


@pytest.fixture(scope="module", autouse=True)
def nodes(iscsi):
    rpc = iscsi.daemon.rpc
    for group, name in NODES.items():
        secret = {"user": "user", "secret": SECRET}
        if group == MUTUAL:
            secret |= {"muser": "target", "msecret": TARGET_SECRET}
        rpc("iscsi_create_auth_group", tag=group, secrets=[secret])
        rpc("bdev_malloc_create", name=f"chap{group}", num_blocks=8192, block_size=512)
        rpc("iscsi_create_target_node", name=name, alias_name="x", queue_depth=16, require_chap=True,
            mutual_chap=group == MUTUAL, chap_group=group, pg_ig_maps=[{"pg_tag": 1, "ig_tag": 1}],
            luns=[{"bdev_name": f"chap{group}", "lun_id": 0}])


def login(iscsi, group, **how):
    return Session(iscsi.port, NODES[group], **how)


def refused(iscsi, group, chap, *statuses):
    with pytest.raises(LoginFailed) as e:
        login(iscsi, group, chap=chap)
    assert e.value.status in (statuses or DENIED), str(e.value)


@pytest.mark.parametrize("algorithm", [5, 6, 7, 8], ids=["MD5", "SHA1", "SHA-256", "SHA3-256"])
@pytest.mark.parametrize("mutual", [False, True], ids=["one way", "mutual"])
def test_right(iscsi, algorithm, mutual):
    """Who has the secret would not get in, or could not tell whether it talks to the right target."""
    chap = Chap("user", SECRET, *(("target", TARGET_SECRET) if mutual else ()), algorithms=(algorithm,))
    with login(iscsi, MUTUAL if mutual else ONE_WAY, chap=chap) as s:
        good(s.write(0, b"x" * 512))


def test_the_first_algorithm_that_both_know(iscsi):
    with login(iscsi, ONE_WAY, chap=Chap("user", SECRET, algorithms=(99, 7, 5))) as s:
        good(s.test_unit_ready())


def test_challenges_differ(iscsi):
    """An answer that was overheard could be used again."""
    seen = {offer(iscsi)[1].keys["CHAP_C"] for _ in range(5)}
    assert len(seen) == 5


@pytest.mark.parametrize("chap", [Chap("user", "wrong-secret-1234"), Chap("nobody", SECRET), Chap("USER", SECRET),
                                  Chap("user", ""), Chap("", SECRET), Chap("user", SECRET + "x"),
                                  Chap("user" * 60, SECRET)],
                         ids=["secret", "user", "case", "empty secret", "empty user", "longer", "long user"])
def test_wrong(iscsi, chap):
    """Who does not know the secret would be let in."""
    refused(iscsi, ONE_WAY, chap)
    iscsi.check_serves()


def test_no_chap_where_it_is_required(iscsi):
    """It would be enough to say nothing."""
    with pytest.raises(LoginFailed) as e:
        login(iscsi, ONE_WAY)
    assert e.value.status in (AUTHENTICATION_FAILURE, MISSING_PARAMETER, INITIATOR_ERROR)
    with iscsi.conn() as c:
        answer = c.login_step(SECURITY, FULL_FEATURE, first(ONE_WAY, "None"))
        assert answer.status == AUTHENTICATION_FAILURE
        c.expect_closed()


def test_one_way_where_both_are_required(iscsi):
    """The administrator wants the target to prove itself: who does not ask it to is not let in."""
    refused(iscsi, MUTUAL, Chap("user", SECRET), AUTHENTICATION_FAILURE, INITIATOR_ERROR)


def test_proof_that_the_target_has_no_secret_for(iscsi):
    refused(iscsi, ONE_WAY, Chap("user", SECRET, "target", TARGET_SECRET), AUTHENTICATION_FAILURE, INITIATOR_ERROR)


def first(group, method="CHAP"):
    return {"InitiatorName": INITIATOR, "SessionType": "Normal", "TargetName": NODES[group], "AuthMethod": method}


def offer(iscsi, group=ONE_WAY, algorithms="5"):
    c = iscsi.conn()
    assert c.login_step(SECURITY, OPERATIONAL, first(group), transit=False).keys["AuthMethod"] == "CHAP"
    answer = c.login_step(SECURITY, OPERATIONAL, {"CHAP_A": algorithms}, transit=False)
    return c, answer


def test_unknown_algorithms(iscsi):
    c, answer = offer(iscsi, algorithms="1,99")
    with c:
        assert answer.status in (AUTHENTICATION_FAILURE, INITIATOR_ERROR)
        c.expect_closed()


def proof(answer, secret=SECRET):
    chap = Chap("user", secret)
    return chap.answer(answer.keys)


@pytest.mark.parametrize("change", [
    {"CHAP_R": None}, {"CHAP_N": None}, {"CHAP_R": "0x"}, {"CHAP_R": "0x00"}, {"CHAP_R": "0x" + "00" * 16},
    {"CHAP_R": "nonsense"}, {"CHAP_R": "0x" + "ff" * 2000}, {"CHAP_R": "0b!!!!"}, {"CHAP_R": ""},
    {"CHAP_I": "5"}, {"CHAP_C": "0x1234567890abcdef1234567890abcdef"}, {"CHAP_A": "5"}],
    ids=lambda change: ",".join(f"{k}={str(v)[:12]}" for k, v in change.items()))
def test_answers_that_are_none(iscsi, change):
    """A malformed proof would be taken for one, or read beyond its end."""
    c, answer = offer(iscsi)
    with c:
        keys = {k: v for k, v in {**proof(answer), **change}.items() if v is not None}
        answer = c.login_step(SECURITY, OPERATIONAL, keys)
        assert answer.status in (AUTHENTICATION_FAILURE, INITIATOR_ERROR, MISSING_PARAMETER), hex(answer.status)
        c.expect_closed()
    iscsi.check_serves()


def test_our_own_challenge_reflected(iscsi):
    """With one secret for both ways, a target could be made to compute the answer to its own challenge."""
    c, answer = offer(iscsi, MUTUAL)
    with c:
        keys = proof(answer) | {"CHAP_I": answer.keys["CHAP_I"], "CHAP_C": answer.keys["CHAP_C"]}
        answer = c.login_step(SECURITY, OPERATIONAL, keys)
        assert answer.status in (AUTHENTICATION_FAILURE, INITIATOR_ERROR)
        assert "CHAP_R" not in dict(answer.pairs)
        c.expect_closed()


def test_on_without_a_proof(iscsi):
    """Asking for the next stage in the middle of CHAP would skip the rest."""
    for transit in (OPERATIONAL, FULL_FEATURE):
        c, answer = offer(iscsi)
        with c:
            answer = c.login_step(SECURITY, transit, {})
            assert answer.status != SUCCESS or not answer.transit
    with iscsi.conn() as c:
        c.login_step(SECURITY, OPERATIONAL, first(ONE_WAY), transit=False)
        answer = c.login_step(OPERATIONAL, FULL_FEATURE, {})
        assert answer.status in (INITIATOR_ERROR, AUTHENTICATION_FAILURE, 0x20b)
        c.expect_closed()
    c, answer = offer(iscsi)
    with c:
        answer = c.login_step(OPERATIONAL, FULL_FEATURE, {})
        assert answer.status in (INITIATOR_ERROR, AUTHENTICATION_FAILURE, 0x20b)
        c.expect_closed()


def test_another_target_after_the_proof(iscsi):
    """What was proved for one target would open another."""
    c, answer = offer(iscsi)
    with c:
        keys = proof(answer) | {"TargetName": iscsi.name}
        answer = c.login_step(SECURITY, OPERATIONAL, keys)
        assert answer.status != SUCCESS


def test_base64_response(iscsi):
    import base64
    c, answer = offer(iscsi)
    with c:
        keys = proof(answer)
        keys["CHAP_R"] = "0b" + base64.b64encode(number(keys["CHAP_R"])).decode()
        answer = c.login_step(SECURITY, FULL_FEATURE, keys)
        assert answer.status == SUCCESS and answer.transit and answer.tsih


def test_secrets_change(iscsi):
    """A secret that was taken away would open the door still."""
    rpc = iscsi.daemon.rpc
    rpc("iscsi_auth_group_add_secret", tag=ONE_WAY, user="second", secret="another-secret-12")
    login(iscsi, ONE_WAY, chap=Chap("second", "another-secret-12")).close()
    rpc("iscsi_auth_group_remove_secret", tag=ONE_WAY, user="second")
    refused(iscsi, ONE_WAY, Chap("second", "another-secret-12"))


def test_discovery_too(iscsi):
    """Everybody would be told what there is."""
    rpc = iscsi.daemon.rpc
    rpc("iscsi_create_auth_group", tag=DISCOVERY_GROUP, secrets=[{"user": "looker", "secret": "looker-secret-1"}])
    rpc("iscsi_set_discovery_auth", require_chap=True, chap_group=DISCOVERY_GROUP)
    try:
        with pytest.raises(LoginFailed):
            iscsi.discovery()
        with pytest.raises(LoginFailed):
            iscsi.discovery(chap=Chap("looker", "not-the-secret-1"))
        with iscsi.discovery(chap=Chap("looker", "looker-secret-1")) as s:
            assert iscsi.name in s.targets()
    finally:
        rpc("iscsi_set_discovery_auth", disable_chap=True)


def test_secrets_are_not_told(iscsi):
    """Everybody with access to the log would have them. (The configuration says them: it has to.)"""
    log = iscsi.daemon.log()
    assert SECRET not in log and TARGET_SECRET not in log
    with pytest.raises(RpcError) as e:
        iscsi.daemon.rpc("iscsi_create_auth_group", tag=ONE_WAY, secrets=[{"user": "u", "secret": "visible-secret-9"}])
    assert "visible-secret-9" not in str(e.value)
