"""docs/networks.md says what the registry says."""

from __future__ import annotations

import json

from app.networks.measured import MEASURED
from benchmarks.networks import PAGE, render


def test_the_page_of_networks_is_the_generated_one() -> None:
    assert PAGE.read_text() == render(json.loads(MEASURED.read_text())), (
        "run python -m benchmarks.networks --write"
    )
