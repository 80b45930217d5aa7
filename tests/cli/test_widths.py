"""Every command that lists something, on terminals of 80 and of 60 columns."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from rich.cells import cell_len

from app.cli import console, tables
from app.cli.reports import show_confusions
from tests.cli.answers import NAME, answer_everything
from tests.cli.conftest import Received, Run, Server, as_json
from tests.cli.test_grammar import LEAVES

ID = "{}_01m8fry18mj0xmpn6rfs6tkgma"
LISTS = (
    "aliases screws",
    "alias history screws champion",
    "audit",
    "compare job_1 job_2",
    "dataset diff dst_1 dst_2",
    "dataset examine dst_1",
    "dataset items dst_1",
    "dataset list",
    "dataset list screws",
    "dataset report dst_1",
    "dataset show dst_1",
    "job events job_1",
    "job examples job_1",
    "job list",
    "job list --all",
    "job metrics job_1",
    "job show job_1",
    "key list",
    "key show key_1",
    "leaderboard screws",
    "model list",
    "model show mdl_1",
    "networks",
    "product list",
    "product show screws",
    "sweep list",
    "sweep show swp_1",
    "webhook deliveries whk_1",
    "webhook list",
    "webhook show whk_1",
    "weights list",
    "workers list",
)
WORDS = {
    "name": "brushed steel",
    "network": "efficientnet_lite0",
    "product": "steel-strip",
    "kind": "training",
}
REPORT = {
    "classes": [
        {
            "name": "brushed steel", "count": 1200, "splits": {"train": 800, "valid": 200, "test": 200},
            "width": {"min": 640, "max": 4096}, "height": {"min": 480, "max": 3072}, "bytes": 123456789,
            "formats": {"jpeg": 1100, "png": 100},
        }
    ],
    "duplicates": [["a/1.png", "a/2.png"]],
    "conflicting_labels": [{"sha256": "0", "names": ["a/1.png", "b/1.png"], "labels": ["a", "b"]}],
    "across_splits": [], "wrong_extensions": [], "corrupt": [], "skipped": [], "odd_names": [],
    "totals": {"duplicates": 1, "conflicting_labels": 1},
    "advice": ["Look at them."],
}  # fmt: skip
"""What stands in a table of a real Loupe, as long as it is there."""


def _fill(value: Any, name: str = "", kind: str = "job") -> Any:
    """The answer with ids of their real length, and words in place of the made-up name."""
    if isinstance(value, dict):
        named = {WORDS["name"] if key == NAME else key: entry for key, entry in value.items()}
        return {key: _fill(entry, key, kind) for key, entry in named.items()}
    if isinstance(value, list):
        return [_fill(entry, name, kind) for entry in value]
    if value == NAME:
        if name in ("id", "item", "job", "dataset", "model", "from_model", "to_model", "champion", "thing"):
            return ID.format({"id": kind, "item": "img"}.get(name, name[:3]))
        return WORDS.get(name, "on line 2")
    return value


@pytest.fixture(params=[80, 60])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Both streams are terminals so wide."""
    for stream in (console.out, console.err):
        monkeypatch.setattr(stream, "_force_terminal", True)
        monkeypatch.setattr(stream, "_width", request.param)
        monkeypatch.setattr(stream, "_color_system", None)
    return int(request.param)


def test_every_command_named_list_is_walked() -> None:
    walked = {" ".join(words.split()[:2]) for words in LISTS}
    lists = {" ".join(path) for path in LEAVES if path[-1] == "list"}

    assert lists <= walked | {"alias list", "network list"}, "add it to LISTS"


@pytest.mark.parametrize("command", LISTS)
def test_a_list_fits_and_cuts_no_id_and_no_word(loupe: Run, server: Server, width: int, command: str) -> None:
    def answer(request: Received) -> Any:
        made = answer_everything(request)
        if made[1] != "application/json":
            return made
        filled = _fill(json.loads(made[2]), kind=command.split()[-1][:3] if "_" in command else "job")
        if request.path.endswith("/report"):
            filled = REPORT
        if "/metrics" in request.path:
            filled["test"] = None
        for each in [filled, *(filled.get("data", []) if isinstance(filled, dict) else [])]:
            if isinstance(each, dict) and "gate_rules" in each:
                each["status"] = "succeeded"
        return as_json(filled)

    server.answer = answer
    where = () if command == "weights list" else ("--server", server.url)

    ended = loupe(*command.split(), *where)

    assert ended.status == 0, ended.err
    lines = ended.out.splitlines()
    assert lines
    assert not [line for line in lines if "…" in line]
    for line in lines:
        # What is no table, such as a sentence, is left to the terminal to wrap.
        if "  " in line.strip():
            assert cell_len(line.rstrip()) <= width, line
    for found in re.findall(r"\b[a-z]{3}_[0-9a-z]{3,}", ended.out):
        assert len(found) == 30 or found.endswith("_1") or found[4:] in ("1", "2"), f"{found} is cut"
    # Broken letter by letter: several lines after each other with hardly anything on them.
    short = [0 < len(line.strip()) <= 2 for line in lines]
    assert not any(all(short[at : at + 3]) for at in range(len(short) - 2)), ended.out


def test_columns_leave_in_the_order_that_is_stated() -> None:
    def make() -> tables.FittedTable:
        table = console.make_table("!id", "status", "network", ">age", drops=("age", "network"))
        console.add_row(table, ID.format("job"), "succeeded", "efficientnet_lite0", "5 min")
        return table

    assert tables.fit(make(), 80) == []
    assert tables.fit(make(), 65) == ["age"]
    assert tables.fit(make(), 45) == ["age", "network"]
    narrow = make()
    assert tables.fit(narrow, 35) == ["age", "network"]
    assert not tables.fits(narrow, 35)
    assert [str(column.header) for column in narrow.columns] == ["id", "status"]
    without = console.make_table("!id", "status", "network")
    console.add_row(without, ID.format("job"), "succeeded", "efficientnet_lite0")
    assert tables.fit(without, 45) == ["network"]


def test_a_matrix_is_whole_or_a_list(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    for classes in (3, 16):
        labels = [f"c{number}" for number in range(classes)]
        counts = [[2 if row == column else 1 for column in labels] for row in labels]
        show_confusions({"labels": labels, "counts": counts})

    shown = capsys.readouterr().out
    assert "Confusion matrix" in shown
    if width == 60:
        assert "Most frequent confusions (30 of 240)" in shown
    else:
        assert shown.splitlines()[-1].split()[-16:] == [*15 * ["1"], "2"]


def test_words_are_not_broken_and_paths_are() -> None:
    table = console.make_table("name", "labels")
    console.add_row(table, "a/" * 40, "scratched surface, inclusion, pitted surface")

    tables.fit(table, 60)

    first, second = (column.width or 0 for column in table.columns)
    assert first + second + tables.BETWEEN <= 60
    assert second >= len("inclusion,")
