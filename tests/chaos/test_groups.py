from __future__ import annotations

import re
from pathlib import Path

from tests.chaos.__main__ import GROUPS


def test_make_chaos_leaves_no_fault_out() -> None:
    named = [name for names in GROUPS.values() for name in names]
    for path in sorted(Path("tests/chaos").glob("test_*.py")):
        if path.name != Path(__file__).name:
            for function in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
                assert {str(path), f"{path}::{function}"} & set(named), f"{path}::{function}"
