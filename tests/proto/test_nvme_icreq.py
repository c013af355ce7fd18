# SPDX-License-Identifier: BSD-3-Clause
"""The first PDU of a connection."""
import pytest

from nvme_tcp import (AT_DGST, AT_FLAGS, AT_HLEN, AT_HPDA, AT_PDO, AT_PFV, AT_PLEN, CMD, H2CDATA, INVALID_HEADER,
                      SEQUENCE, UNSUPPORTED, Conn, make_icreq, make_pdu)

ROWS = [
    # what is wrong,               FES, FEI
    ({"pfv": 1},                   UNSUPPORTED, AT_PFV),
    ({"hpda": 32},                 INVALID_HEADER, AT_HPDA),
    ({"dgst": 4},                  INVALID_HEADER, AT_DGST),
    ({"exact_flags": 1},           INVALID_HEADER, AT_FLAGS),
    ({"hlen": 127},                INVALID_HEADER, AT_HLEN),
    ({"pdo": 128},                 INVALID_HEADER, AT_PDO),
    ({"plen": 129},                INVALID_HEADER, AT_PLEN),
    ({"plen": 127},                INVALID_HEADER, AT_PLEN),
    ({"plen": 0},                  INVALID_HEADER, AT_PLEN),
]


@pytest.mark.parametrize("wrong, fes, fei", ROWS, ids=lambda x: "-".join(f"{k}_{v:x}" for k, v in x.items())
                         if isinstance(x, dict) else "")
def test_wrong_icreq(served, serves, wrong, fes, fei):
    """A host of a future version would be believed, or left without a reason."""
    with Conn(served.port, handshake=False) as conn:
        conn.send(make_icreq(**wrong))
        conn.expect_term(fes, fei)
    serves()


def test_icreq_twice(served, serves):
    """Digests could be switched off in the middle of a connection."""
    with Conn(served.port) as conn:
        conn.send(make_icreq())
        conn.expect_term(SEQUENCE)
    serves()


@pytest.mark.parametrize("kind", [CMD, H2CDATA])
def test_anything_before_icreq(served, serves, kind):
    """A command would be executed before digests were agreed on."""
    with Conn(served.port, handshake=False) as conn:
        conn.send(make_pdu(kind, bytes(64 if kind == CMD else 16)))
        conn.expect_term(SEQUENCE)
    serves()


def test_command_right_behind_icreq(served):
    """A host that does not wait for ICResp breaks the order; whatever is answered, we live."""
    with Conn(served.port, handshake=False) as conn:
        conn.send(make_icreq() + make_pdu(CMD, bytes(64)))
        conn.on_icresp(conn.recv_pdu())
        assert conn.recv_pdu().type in (3, 5)


def test_maxr2t_of_all_sizes(served):
    """MAXR2T is 0's based: its largest value would wrap to none."""
    for maxr2t in (0, 1, 0xffffffff):
        with Conn(served.port, maxr2t=maxr2t) as conn:
            assert conn.maxh2cdata >= 4096
