"""The promise across processes: killed and released at will, the weights end as an undisturbed run's do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.child import ExitCode
from app.host.files import write_json
from app.training.checkpoints import find_checkpoints
from tests.waiting import wait_for

Spec = dict[str, Any]
SETTINGS = {"epochs": 5, "batch_size": 8, "dropout": 0.4, "augmentation": "strong", "learning_rate": 0.01}


def start(spec: Spec, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    folder.mkdir()
    write_json(folder / "spec.json", spec)
    with (folder / "process.log").open("wb") as log:
        command = [sys.executable, "-m", "app.training", *options, str(folder)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)


def read_lines(folder: Path, kind: str) -> list[Spec]:
    path = folder / "progress.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.is_file() else ""
    return [line for line in map(json.loads, whole.splitlines()) if line["kind"] == kind]


def wait_for_step(process: subprocess.Popen[bytes], folder: Path, step: int) -> None:
    wait_for(
        lambda: any(line["step"] >= step for line in read_lines(folder, "step")),
        120,
        f"step {step} (see {folder}/process.log)",
        alive=lambda: process.poll() is None,
        every=0.01,
    )


def end(process: subprocess.Popen[bytes]) -> int:
    # Not communicate(): it closes the pipe first, by which the child knows that its parent lives.
    status = process.wait(timeout=120)
    assert process.stdin is not None
    process.stdin.close()
    return status


def test_kills_releases_and_a_damaged_checkpoint_change_no_bit(
    make_spec: Callable[..., Spec], tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    assert end(start(make_spec("whole", hyperparameters=SETTINGS), whole)) == ExitCode.SUCCEEDED

    spec = make_spec("attempt-1", hyperparameters=SETTINGS)
    process = start(spec, tmp_path / "1")
    wait_for_step(process, tmp_path / "1", 5)
    process.send_signal(signal.SIGTERM)
    assert end(process) == ExitCode.RELEASED
    released_at = read_lines(tmp_path / "1", "step")[-1]["step"]
    known = [spec["checkpoint_root"]]

    spec = make_spec("attempt-2", hyperparameters=SETTINGS, resume_from=known, checkpoint_seconds=0)
    process = start(spec, tmp_path / "2")
    wait_for_step(process, tmp_path / "2", released_at + 20)
    process.kill()
    end(process)
    resumed = read_lines(tmp_path / "2", "resumed")[0]
    assert (resumed["step"], resumed["exact"]) == (released_at, True)
    newest = next(find_checkpoints([Path(spec["checkpoint_root"])])) / "model.npz"
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    newest.write_bytes(damaged)

    known = [spec["checkpoint_root"], *known]
    spec = make_spec("attempt-3", hyperparameters=SETTINGS, resume_from=known, reported_step=released_at)
    last = tmp_path / "3"
    assert end(start(spec, last)) == ExitCode.SUCCEEDED
    assert newest.parent.name in read_lines(last, "warning")[0]["message"]
    assert read_lines(last, "resumed")[0]["step"] > released_at

    expected, found = (json.loads((folder / "result.json").read_text()) for folder in (whole, last))
    assert found["weights_sha256"] == expected["weights_sha256"]
    assert found["best"] == expected["best"]
    assert found["evaluation"]["metrics"] == expected["evaluation"]["metrics"]
    assert found["is_exact"] is True
    steps = read_lines(tmp_path / "1", "step") + read_lines(last, "step")
    assert [losses(line) for line in steps] == [losses(line) for line in read_lines(whole, "step")]
    log = (tmp_path / "logs" / "training_result_step.log").read_text().splitlines()
    assert [line.partition(", loss")[0] for line in log] == [
        f"epoch {line['epoch']}/5, step {(line['step'] - 1) % (len(log) // 5) + 1}/{len(log) // 5}"
        for line in steps
    ]


def losses(line: Spec) -> tuple[Any, ...]:
    return line["step"], line["epoch"], line["loss"], line["accuracy"], line["learning_rate"]


def test_it_ends_when_its_parent_does(make_spec: Callable[..., Spec], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(make_spec(hyperparameters={**SETTINGS, "epochs": 1000}), folder)
    wait_for_step(process, folder, 1)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=30) == ExitCode.ORPHANED
