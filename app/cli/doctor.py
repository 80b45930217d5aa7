"""``loupe doctor``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from app.cli.console import err, printable, say, say_json
from app.cli.options import Home, examples
from app.cli.service import load_settings

SYMBOLS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("–", "dim")}
doctor_epilog = examples("loupe doctor", "loupe doctor --deep", "docker compose exec worker loupe doctor")


def doctor(
    deep: Annotated[
        bool, typer.Option("--deep", help="Load TensorFlow too, in a process of its own; takes seconds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON, for scripts.")] = False,
    home: Home = None,
) -> None:
    """Look at this installation and say what to do: ✓ well, ! worth a look, ✗ broken.

    It reads the same settings as the service, needs no running API, and changes nothing. The status is 1 when
    something is broken.
    """
    settings = load_settings(home=home)
    from app.doctor import diagnose

    findings = []
    with err.status("Looking…"):
        for finding in diagnose(settings, is_deep=deep):
            findings.append(finding)
            if not as_json:
                _say(finding.check, finding.status, finding.detail, finding.hint)
    broken = sum(finding.status == "failed" for finding in findings)
    if as_json:
        say_json({"ok": not broken, "findings": [finding.as_dict() for finding in findings]})
    if broken:
        raise typer.Exit(1)


def _say(check: str, status: str, detail: str, hint: str | None) -> None:
    symbol, style = SYMBOLS[status]
    say(Text.assemble((symbol, style), " ", (f"{check:<11}", "bold"), " ", printable(detail)))
    if hint:
        say(Text.assemble(" " * 14, ("→ ", "cyan"), printable(hint)))
