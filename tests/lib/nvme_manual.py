# SPDX-License-Identifier: BSD-3-Clause
"""The tables of docs/NVME.md, for tests that compare them with what a controller says."""
import re
from pathlib import Path

MANUAL = Path(__file__).parents[2] / "docs" / "NVME.md"
LIMITS = ("with ", "every ", "unless ", "a namespace has", "only")


def table_of(heading):
    """Number: is it always there? Of the table below a heading."""
    rows = re.findall(r"^\| ([0-9A-F]{2})h \|(.*)\|$", MANUAL.read_text().split(f"## {heading}\n")[1].split("\n## ")[0],
                      re.M)
    return {int(number, 16): not any(limit in rest.split("|")[-1] or f": {limit}" in rest or f": where {limit}" in rest
                                     for limit in LIMITS) for number, rest in rows}


def check_table(heading, said):
    rows = table_of(heading)
    assert said <= set(rows), f"{heading}: not in docs/NVME.md: {[hex(n) for n in said - set(rows)]}"
    missing = {n for n in rows if rows[n]} - said
    assert not missing, f"{heading}: docs/NVME.md says more: {[hex(n) for n in missing]}"
