"""No cell of a CSV that Loupe gives is computed by a spreadsheet."""

from __future__ import annotations

import ast
import csv
from pathlib import Path

import pytest

from app.csv_cells import holds_formulas, is_formula, safe_lines, safe_row

APP = Path(__file__).parents[1] / "app"


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "-"]
)
def test_a_cell_that_would_be_computed_has_an_apostrophe(cell: str) -> None:
    assert safe_row([cell]) == [f"'{cell}"]
    assert not is_formula(safe_row([cell])[0])


@pytest.mark.parametrize(
    "cell", [-0.5, 3, None, True, "-0.25", "+3", "-1e-05", "-.5", "cat", "a=b", "", "1-2"]
)
def test_numbers_and_names_stay_as_they_are(cell: object) -> None:
    assert safe_row([cell]) == [cell]


def test_a_file_of_an_older_release_is_made_harmless_on_its_way(tmp_path: Path) -> None:
    rows = [
        ["item", "name", "label", "=class"],
        ["a1", "x,=1.png", '=HYPERLINK("http://evil")', "0.5"],
        ["a2", "cat/1.png", "cat", "-0.5"],
    ]
    path = tmp_path / "old.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    assert holds_formulas(path)
    found = list(csv.reader(safe_lines(path)))
    assert found[0][3] == "'=class"
    assert found[1] == ["a1", "x,=1.png", '\'=HYPERLINK("http://evil")', "0.5"]
    assert found[2] == rows[2]


def test_a_file_without_formulas_is_given_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("item,name,label,'=class\na1,cat/1.png,cat,9.9e-05\n", encoding="utf-8")
    assert not holds_formulas(path)


def test_every_module_that_writes_csv_makes_its_rows_safe() -> None:
    for path in APP.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        writes = any(ast.unparse(call.func) in ("csv.writer", "csv.DictWriter") for call in calls)
        assert not writes or "safe_row(" in text, path
