"""Draws ``docs/demo.svg`` from a real run of the demo: ``python -m docs.record_demo``."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 100
TARGET = Path(__file__).with_name("demo.svg")


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        run = subprocess.run(
            [sys.executable, "-m", "app.cli", "demo", "--exit", "--home", home, "--port", "8765"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)},
        )
    # The walk's last chapter is full of this machine's paths.
    shown = re.split(r"\S*6\. Where to look next", run.stdout.replace(home, "…"))[0]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print("[bold]$ make demo[/bold]")
    console.print(Text.from_ansi(shown.rstrip()))
    drawing = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="make demo"), flags=re.DOTALL)
    TARGET.write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main()
