"""All attacks at full size, and one table: ``python -m tests.attack``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pytest", "tests/attack", "--attack", "-p", "no:cacheprovider"]
        code = subprocess.run(
            [*command, *sys.argv[1:]], env={**os.environ, "ATTACK_REPORT": str(report)}, check=False
        ).returncode
        lines = json.loads(report.read_text(encoding="utf-8")) if report.exists() else []
    print("\n| attack | may cost at most | cost |\n|---|---|---|")
    print("\n".join(lines))
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"\n{len(lines)} attacks held, in {minutes} min {seconds} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
