"""Jobs that cannot go well, clients that change their minds, disks that are full and bits that flip."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.artifacts import open_artifact
from app.errors import ArtifactError
from app.training.checkpoints import CheckpointError, find_checkpoints, read_checkpoint
from tests.chaos.conftest import Chaos, Undisturbed, assert_ended_as
from tests.chaos.driver import Loupe, kill, remove
from tests.pictures import make_files, make_zip
from tests.waiting import wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.timeout(7200)]

CANCEL_SECONDS = 10.0


@pytest.mark.parametrize(
    ("place", "action", "code"),
    [("child.started", "segfault", "crashed"), ("records.writing", "memory", "out_of_memory")],
)
def test_a_training_that_always_dies_fails_with_its_reason_and_the_worker_lives(
    loupe: Loupe, chaos: Chaos, place: str, action: str, code: str
) -> None:
    for _ in range(chaos.times(1 if action == "segfault" else 0, 5)):
        worker = loupe.worker().pid
        loupe.arm(place, f"*{action}")
        job = loupe.submit()
        ended = loupe.end(job)
        loupe.disarm()
        assert (ended["status"], ended["attempt"]) == ("failed", 3)
        assert ended["error"]["code"] == code
        assert ended["error"]["hint"]
        assert ended["error"]["retryable"]
        following = loupe.submit(epochs=1)
        assert loupe.end(following)["status"] == "succeeded"
        assert loupe.worker().pid == worker
        chaos.saw(f"child that always ends by {action}", f"failed as {code} after 3 attempts, the next ran")


def test_a_cancelled_job_is_gone_in_ten_seconds_and_never_comes_back(loupe: Loupe, chaos: Chaos) -> None:
    cancelled = []
    moments: dict[str, Callable[[str], None]] = {
        "running": lambda job: loupe.wait_for_step(job, 20),
        "resuming": lambda job: _lose_child(loupe, job),
        "finishing": lambda job: _reach_the_end(loupe, job),
    }
    for _ in range(chaos.times(1, 15)):
        for moment, reach in moments.items():
            if moment == "finishing":
                loupe.arm("finish.published", "sleep 3")
            running = loupe.submit()
            if moment == "running":
                queued = loupe.submit()
                _cancel(loupe, chaos, queued, "queued")
                cancelled.append(queued)
            reach(running)
            _cancel(loupe, chaos, running, moment)
            cancelled.append(running)
    time.sleep(5)  # in which the reaper and its announcements come round
    for job in cancelled:
        assert loupe.job(job)["status"] == "cancelled"
        assert loupe.get(f"/models?job={job}")["data"] == []
        assert not list(loupe.home.glob(f"jobs/{job}/checkpoints"))
        assert not list(loupe.home.glob(f"models/{job.replace('job_', 'mdl_')}/*"))
    assert loupe.child() is None


def _cancel(loupe: Loupe, chaos: Chaos, job: str, moment: str) -> None:
    began = time.monotonic()
    answer = loupe.ask("POST", f"/jobs/{job}/cancel")
    assert answer.status_code == 202, answer.text
    wait_for(lambda: loupe.job(job)["status"] == "cancelled", CANCEL_SECONDS, f"the cancel while {moment}")
    chaos.saw(f"cancel while {moment}", "cancelled for good", seconds=time.monotonic() - began)


def _lose_child(loupe: Loupe, job: str) -> None:
    loupe.wait_for_step(job, 30)
    kill(loupe.child())
    loupe.wait_for_attempt(job, 2)


def _reach_the_end(loupe: Loupe, job: str) -> None:
    models = loupe.home / "models" / job.replace("job_", "mdl_")
    wait_for(lambda: models.is_dir() and any(models.iterdir()), 120, "the published files")


def test_a_full_disk_is_named_and_the_job_goes_on_once_there_is_space(
    loupe: Loupe, undisturbed: Undisturbed, chaos: Chaos
) -> None:
    for _ in range(chaos.times(0, 3)):
        loupe.arm("checkpoint.writing", "skip", "skip", "full")
        job = loupe.submit()
        for place in ("checkpoint.writing", "export.writing", "finish.publishing"):
            if place != "checkpoint.writing":
                loupe.arm(place, "full")
                assert loupe.ask("POST", f"/jobs/{job}/retry").status_code == 202
            ended = loupe.end(job)
            assert (ended["status"], ended["error"]["code"]) == ("failed", "disk_full"), (
                place,
                ended["error"],
            )
            assert ended["error"]["retryable"]
            assert ended["error"]["hint"]
            good = next(find_checkpoints((loupe.home / "jobs" / job / "checkpoints").iterdir()))
            assert read_checkpoint(good).state["position"]["step"] > 0
            chaos.saw(f"disk full at {place}", "failed as disk_full, checkpoint intact, went on when retried")
        assert loupe.ask("POST", f"/jobs/{job}/retry").status_code == 202
        assert_ended_as(undisturbed, loupe, job)


def test_a_full_disk_stops_no_other_kind_of_job_for_good(
    loupe: Loupe, undisturbed: Undisturbed, chaos: Chaos
) -> None:
    # A product of its own: the others' trainings take the newest dataset of theirs.
    loupe.ask("POST", "/products", json={"id": "few"})
    for _ in range(chaos.times(0, 5)):
        archive = {"file": ("p.zip", make_zip(make_files(4)))}
        dataset = loupe.job(undisturbed.job)["dataset"]["id"]
        requests: dict[str, tuple[str, dict[str, Any]]] = {
            "import": ("/products/few/datasets", {"files": archive}),
            "evaluation": (f"/jobs/{undisturbed.job}/evaluations", {"json": {}}),
            "export": (f"/datasets/{dataset}/exports", {"json": {"format": "folders"}}),
        }
        for kind, (path, body) in requests.items():
            loupe.arm("child.started", "full")
            job = _start(loupe, kind, path, body)
            ended = loupe.end(job)
            assert (ended["status"], ended["error"]["code"]) == ("failed", "disk_full"), ended["error"]
            assert loupe.ask("POST", f"/jobs/{job}/retry").status_code == 202
            assert loupe.end(job)["status"] == "succeeded"
            chaos.saw(f"disk full in an {kind}", "failed as disk_full, went well when retried")


def _start(loupe: Loupe, kind: str, path: str, body: dict[str, Any]) -> str:
    answer = loupe.ask("POST", path, **body)
    assert answer.status_code == 202, answer.text
    job: str = loupe.get(f"/jobs?kind={kind}&limit=1")["data"][0]["id"]
    return job


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_other_files_fill_stops_nothing_for_good(small_disk: Path, chaos: Chaos) -> None:
    home = small_disk / "home"
    home.mkdir()
    tries = chaos.times(0, 3)
    loupe = Loupe(home)
    loupe.import_pictures(60)
    expected = loupe.submit()
    assert loupe.end(expected)["status"] == "succeeded"
    for _ in range(tries):
        loupe.arm("train.step", "*sleep 0.1")
        job = loupe.submit()
        loupe.wait_for_step(job, chaos.generator.randrange(1, 30))
        ballast = small_disk / "ballast"
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            assert loupe.job(job)["status"] in ("running", "failed")
            assert loupe.predict().status_code == 200
            refused = loupe.http.post("/products", json={"id": "further"})
            assert (refused.status_code, refused.json()["code"]) == (507, "disk_full")
            time.sleep(0.5)
        ballast.unlink()
        ended = loupe.end(job)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "disk_full")
        assert loupe.ask("POST", f"/jobs/{job}/retry").status_code == 202
        assert loupe.end(job)["status"] == "succeeded"
        assert loupe.weights(job) == loupe.weights(expected)
        chaos.saw(
            "disk filled by other files",
            "disk_full, requests 507, predict went on, same weights when retried",
        )
    loupe.stop()
    remove(loupe)


def flip_a_bit(path: Path, generator: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    path.write_bytes(data)


def test_a_flipped_bit_in_a_checkpoint_is_noticed_and_the_one_before_is_used(
    loupe: Loupe, undisturbed: Undisturbed, chaos: Chaos, tmp_path: Path
) -> None:
    loupe.arm("train.step", "*sleep 0.15")  # or it may end before it can be paused
    job = loupe.submit()
    loupe.wait_for_step(job, 40)
    loupe.ask("POST", f"/jobs/{job}/pause")
    wait_for(lambda: loupe.job(job)["status"] == "paused", 30, "the pause")
    newest, before, *_ = find_checkpoints((loupe.home / "jobs" / job / "checkpoints").iterdir())
    for number in range(chaos.times(6, 1000)):
        copy = shutil.copytree(newest, tmp_path / str(number))
        flip_a_bit(chaos.generator.choice(sorted(copy.iterdir())), chaos.generator)
        with pytest.raises(CheckpointError):
            read_checkpoint(copy)
        shutil.rmtree(copy)
        chaos.saw("one bit flipped in a checkpoint", "detected")
    flip_a_bit(newest / "model.npz", chaos.generator)
    loupe.ask("POST", f"/jobs/{job}/resume")
    ended = loupe.end(job)
    assert ended["status"] == "succeeded"
    assert loupe.weights(job) == undisturbed.weights
    warning, *_ = loupe.events(job, "warning")
    assert newest.name in warning["data"]["message"]
    assert before.parent == newest.parent
    chaos.saw("one bit flipped in the newest checkpoint of a job", "the one before used, same weights")


def test_a_flipped_bit_in_a_model_is_noticed_and_never_served(
    loupe: Loupe, undisturbed: Undisturbed, chaos: Chaos, tmp_path: Path
) -> None:
    model = loupe.get(f"/models?job={undisturbed.job}")["data"][0]
    (folder,) = (loupe.home / "models" / model["id"]).iterdir()
    assert open_artifact(folder, digest=model["digest"])
    for number in range(chaos.times(6, 1000)):
        copy = shutil.copytree(folder, tmp_path / str(number))
        flip_a_bit(chaos.generator.choice(sorted(copy.iterdir())), chaos.generator)
        with pytest.raises(ArtifactError):
            open_artifact(copy, digest=model["digest"])
        shutil.rmtree(copy)
        chaos.saw("one bit flipped in a model", "detected")
    damages: dict[str, tuple[str, Callable[[Path], object]]] = {
        "a label of a model changed on disk": ("manifest.json", _rename_a_label),
        "one bit flipped in the model that is to answer": (
            "model.tflite",
            lambda path: flip_a_bit(path, chaos.generator),
        ),
    }
    picture = {"content": next(iter(make_files(1).values())), "headers": {"content-type": "image/png"}}

    def answers(model: str) -> bool:
        return bool(loupe.ask("POST", f"/predict?model={model}", **picture).status_code == 200)

    for fault, (name, damage) in damages.items():
        whole = (folder / name).read_bytes()
        damage(folder / name)
        kill(loupe.api())  # or it answers from the model that it has in memory
        answer = loupe.ask("POST", f"/predict?model={model['id']}", **picture)
        (folder / name).write_bytes(whole)
        assert (answer.status_code, answer.json().get("code")) == (500, "artifact_damaged")
        # A load that failed is not tried anew for a second.
        wait_for(lambda: answers(model["id"]), 10, "an answer of the model that is whole again")
        chaos.saw(fault, "refused, not served")


def _rename_a_label(manifest: Path) -> None:
    whole = manifest.read_bytes()
    manifest.write_bytes(whole.replace(b'"blue"', b'"clue"'))
    assert manifest.read_bytes() != whole
