from __future__ import annotations

import re
from pathlib import Path

from tests.chaos.__main__ import GROUPS
from tests.chaos.mutations import MUTATIONS, ROOT


def test_make_chaos_leaves_no_fault_out() -> None:
    named = [name for names in GROUPS.values() for name in names]
    for path in sorted(Path("tests/chaos").glob("test_*.py")):
        if path.name != Path(__file__).name:
            for function in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
                assert {str(path), f"{path}::{function}"} & set(named), f"{path}::{function}"


def test_every_mutation_still_finds_what_it_breaks() -> None:
    for mutation in MUTATIONS:
        for edit in mutation.edits:
            text = (ROOT / edit.file).read_text(encoding="utf-8")
            assert text.count(edit.before) == 1, (mutation.what, edit.before)


def test_the_document_lists_every_mutation() -> None:
    text = (ROOT / "docs" / "durability.md").read_text(encoding="utf-8")
    assert [
        f"| {each.what} | {each.notices} |"
        for each in MUTATIONS
        if f"| {each.what} | {each.notices} |" not in text
    ] == []
