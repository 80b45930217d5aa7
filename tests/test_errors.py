"""Errors that name what is not there say how to find what is."""

from __future__ import annotations

import ast
from pathlib import Path

APP = Path(__file__).parent.parent / "app"


def test_each_error_about_what_is_not_there_has_a_hint() -> None:
    calls = [
        (path.relative_to(APP), node)
        for path in APP.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "NotFoundError"
    ]
    assert len(calls) > 10
    without = [
        f"{path}:{call.lineno}"
        for path, call in calls
        if not any(keyword.arg == "hint" for keyword in call.keywords)
    ]
    assert without == []
