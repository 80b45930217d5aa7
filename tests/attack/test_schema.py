"""The published document, taken at its word by Schemathesis: all checks, no failure."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.attack.conftest import Attacks
from tests.attack.test_access import KEY, locked
from tests.conftest import Service

__all__ = ["locked"]

pytestmark = [pytest.mark.integration]

TOOL = Path(".venv-tools/bin/schemathesis")


def test_no_request_that_the_document_allows_or_forbids_is_answered_otherwise(
    locked: Service, attacks: Attacks, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if not request.config.getoption("--attack"):
        pytest.skip("left to `make attack`")
    assert TOOL.exists(), "`make attack` installs it"
    command = [
        *(str(TOOL.absolute()), "--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
        *("run", f"{locked.url}/openapi.json", "--header", f"Authorization: Bearer {KEY}"),
        *("--checks", "all", "--max-examples", "30", "--continue-on-failure", "--no-color"),
        *("--suppress-health-check", "all", "--warnings", "off"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    found = re.search(r"(\d+) generated", done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:]
    assert found is not None
    attacks.held("Schemathesis over the published document", "all checks, 0 failures", f"{found[1]} requests")
