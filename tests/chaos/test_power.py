"""A loss of power costs no accepted job, no recorded checkpoint and no model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import Chaos, Undisturbed, assert_ended_as
from tests.chaos.driver import PRODUCT, remove
from tests.chaos.power import PoweredLoupe
from tests.pictures import make_files
from tests.running import upload_pictures
from tests.waiting import wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.timeout(7200)]


@pytest.fixture
def powered(tmp_path: Path) -> Iterator[PoweredLoupe]:
    loupe = PoweredLoupe(tmp_path / "home")
    yield loupe
    loupe.stop()
    remove(loupe)


def test_after_losses_of_power_everything_told_is_still_there(
    powered: PoweredLoupe, undisturbed: Undisturbed, chaos: Chaos
) -> None:
    dataset = upload_pictures(powered.http, PRODUCT, make_files(171))["id"]
    powered.lose_power()
    wait_for(lambda: powered.get(f"/datasets/{dataset}")["status"] != "importing", 120, "the import")
    imported = powered.get(f"/datasets/{dataset}")
    assert imported["status"] == "ready", imported["error"]
    powered.lose_power()
    chaos.saw("loss of power after an upload, after an import", "nothing lost")
    for _ in range(chaos.times(1, 5)):
        powered.arm("train.step", "*sleep 0.04")
        job = powered.submit()
        powered.lose_power()
        chaos.saw("loss of power after a submit", "same weights")
        for attempt in range(1, 4 if chaos.n else 2):
            powered.wait_for_attempt(job, attempt)
            time.sleep(chaos.generator.uniform(0.0, 8.0))
            if powered.job(job)["status"] != "running":
                break
            powered.lose_power()
            chaos.saw("loss of power while training", "same weights")
        powered.end(job)
        powered.lose_power()
        assert_ended_as(undisturbed, powered, job)
        assert powered.predict().status_code == 200
        chaos.saw("loss of power after a training", "model, evaluation and logs are there")
