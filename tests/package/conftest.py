# SPDX-License-Identifier: BSD-3-Clause
"""The guest of tests/interop, for this folder too."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))
