"""How a finding of a dataset or of a training is printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.cli.commands import for_terminal
from app.cli.console import say

_STYLES = {"error": "red", "warning": "yellow", "note": None}


def say_headline(finding: Mapping[str, Any]) -> None:
    """How grave it is, and what was found."""
    say(f"{finding['level']}: {finding['finding']}.", style=_STYLES[finding["level"]])


def say_finding(finding: Mapping[str, Any]) -> None:
    """The same, then the numbers that show it, what to do, and the command that does it, if there is one."""
    say_headline(finding)
    say("  " + " ".join(filter(None, (finding.get("evidence"), finding["advice"]))))
    if finding.get("command"):
        say(f"  {for_terminal(finding['command'])}")
