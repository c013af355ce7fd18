# SPDX-License-Identifier: BSD-3-Clause
"""PDUs whose header is wrong. A row: the PDU's type, what is wrong with it; the FES and FEI that must come back."""
import struct

import pytest

from nvme_tcp import (AT_FLAGS, AT_HLEN, AT_PDO, AT_PLEN, AT_TYPE, C2HDATA, C2HTERM, CMD, DDGSTF, H2CDATA, H2CTERM,
                      HDGSTF, ICRESP, INVALID_HEADER, IO_WRITE, LAST, LIMIT_EXCEEDED, R2T, RSP, SUCCESS, rw,
                      sgl_in_capsule)

COMMAND = rw(IO_WRITE, 0, 8, sgl=sgl_in_capsule(4096))
DATA = bytes(4096)
LIE = {                                    # header after the first eight bytes
    CMD: COMMAND, H2CDATA: bytes(16),
}
ROWS = [
    # type,    data, what is wrong,                                         FES, FEI
    (0x08,     b"",  {},                                                    INVALID_HEADER, AT_TYPE),
    (0x0a,     b"",  {},                                                    INVALID_HEADER, AT_TYPE),
    (0x0b,     b"",  {},                                                    INVALID_HEADER, AT_TYPE),
    (0xff,     b"",  {},                                                    INVALID_HEADER, AT_TYPE),
    (ICRESP,   b"",  {},                                                    INVALID_HEADER, AT_TYPE),
    (C2HTERM,  b"",  {},                                                    INVALID_HEADER, AT_TYPE),
    (RSP,      b"",  {},                                                    INVALID_HEADER, AT_TYPE),
    (C2HDATA,  b"",  {},                                                    INVALID_HEADER, AT_TYPE),
    (R2T,      b"",  {},                                                    INVALID_HEADER, AT_TYPE),
    (CMD,      b"",  {"exact_flags": LAST},                                 INVALID_HEADER, AT_FLAGS),
    (CMD,      b"",  {"exact_flags": SUCCESS},                              INVALID_HEADER, AT_FLAGS),
    (CMD,      b"",  {"exact_flags": 0x80},                                 INVALID_HEADER, AT_FLAGS),
    (CMD,      b"",  {"exact_flags": HDGSTF},                               INVALID_HEADER, AT_FLAGS),
    (CMD,      DATA, {"exact_flags": DDGSTF},                               INVALID_HEADER, AT_FLAGS),
    (H2CDATA,  DATA, {"exact_flags": SUCCESS},                              INVALID_HEADER, AT_FLAGS),
    (CMD,      b"",  {"hlen": 71},                                          INVALID_HEADER, AT_HLEN),
    (CMD,      b"",  {"hlen": 0},                                           INVALID_HEADER, AT_HLEN),
    (CMD,      b"",  {"hlen": 255},                                         INVALID_HEADER, AT_HLEN),
    (H2CDATA,  DATA, {"hlen": 32},                                          INVALID_HEADER, AT_HLEN),
    (CMD,      DATA, {"pdo": 0},                                            INVALID_HEADER, AT_PDO),
    (CMD,      DATA, {"pdo": 68},                                           INVALID_HEADER, AT_PDO),
    (CMD,      DATA, {"pdo": 73},                                           INVALID_HEADER, AT_PDO),
    (CMD,      DATA, {"pdo": 252, "plen": 100},                             INVALID_HEADER, AT_PDO),
    (H2CDATA,  DATA, {"pdo": 20},                                           INVALID_HEADER, AT_PDO),
    (CMD,      b"",  {"plen": 0},                                           INVALID_HEADER, AT_PLEN),
    (CMD,      b"",  {"plen": 71},                                          INVALID_HEADER, AT_PLEN),
    (H2CDATA,  b"",  {"plen": 8},                                           INVALID_HEADER, AT_PLEN),
    (CMD,      b"",  {"pdo": 72, "plen": 0xffffffff},                       LIMIT_EXCEEDED, 0),
    (CMD,      b"",  {"pdo": 72, "plen": 72 + (1 << 20)},                   LIMIT_EXCEEDED, 0),
    (H2CDATA,  b"",  {"pdo": 24, "plen": 0x80000000},                       LIMIT_EXCEEDED, 0),
]


def row_name(row):
    kind, data, wrong, _, _ = row
    return "-".join([f"type{kind:02x}", "data" if data else "bare", *(f"{k}_{v:x}" for k, v in wrong.items())])


@pytest.mark.parametrize("row", ROWS, ids=row_name)
def test_is_answered_with_what_is_wrong(host, serves, row):
    """A host's author could not find out what we did not like; or a wrong length would be believed."""
    kind, data, wrong, fes, fei = row
    host.io.send_pdu(kind, LIE.get(kind, bytes(64)), data, **wrong)
    host.io.expect_term(fes, fei, quoting=bytes([kind]))
    serves()


def test_header_that_lacks_only_its_rest_is_answered(host):
    """A PDU that cannot be right would be waited for: its first eight bytes are enough to tell."""
    host.io.send(struct.pack("<BBBBI", CMD, 0, 99, 0, 72))
    host.io.expect_term(INVALID_HEADER, AT_HLEN)


@pytest.mark.parametrize("plen", [24, 24 + 72, 24 + 128, 24 + 4096, 8, 0])
def test_termreq_is_not_answered(host, serves, plen):
    """Two sides that terminate each other would do so for ever."""
    quoted = bytes(max(0, min(plen, 152) - 24))
    host.io.send_pdu(H2CTERM, struct.pack("<HI10x", 1, 4), exact_flags=0, plen=plen)
    host.io.send(quoted)
    host.io.expect_closed()
    serves()
