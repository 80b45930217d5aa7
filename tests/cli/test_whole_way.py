"""The commands against a whole Loupe, from a folder of images to a prediction."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from app.cli import follow
from tests.cli.conftest import Run
from tests.conftest import Service
from tests.pictures import COLOURS, make_files, make_picture, make_zip, write_folder
from tests.ports import free_port
from tests.running import TINY
from tests.waiting import wait_for

pytestmark = [pytest.mark.integration]
SETTINGS = [argument for name, value in TINY.items() for argument in ("--set", f"{name}={value}")]

ODD = ("--true", "red", "--predicted", "blue", "--right")
"""What no image can be."""


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch, loupe: Run, service: Service) -> Run:
    """``loupe`` that finds the whole service through the environment."""
    monkeypatch.setenv("LOUPE_SERVER", service.url)
    return loupe


def test_the_walk_of_the_readme_works_pasted_as_a_whole(service: Service, tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (block,) = [text for text in re.findall(r"```console\n(.*?)```", readme, re.DOTALL) if "LOUPE=" in text]
    (tmp_path / "screws.zip").write_bytes(make_zip(make_files()))
    (tmp_path / "screw.jpg").write_bytes(make_picture("red", 99))
    # The one thing that is not as it stands there: a network that learns in seconds.
    asked, quick = (
        '{"product": "screws"}',
        {"product": "screws", "network": "tiny_cnn", "hyperparameters": TINY},
    )
    assert block.count(asked) == 1
    block = block.replace(asked, json.dumps(quick)).replace("http://localhost:8000", service.url)

    ended = subprocess.run(
        ["bash"], input=block, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=True
    )

    assert '"code":' not in ended.stdout, "no problem document"
    assert '"status":"ready"' in ended.stdout
    assert '"top":{"label":' in ended.stdout
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with service.client() as client:  # other documents make the same product
        client.delete("/products/screws", params={"force": True}).raise_for_status()


def test_from_a_folder_of_pictures_to_a_prediction(remote: Run, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures", {**make_files(), "red/notes.txt": b"no image"})
    unseen = write_folder(tmp_path / "unseen", {f"{label}.png": make_picture(label, 99) for label in COLOURS})
    (unseen / "broken.jpg").write_bytes(b"\xff\xd8\xff")

    assert remote("product", "create", "whole-way", "--network", "tiny_cnn").status == 0
    imported = remote("dataset", "import", "whole-way", folder)
    assert imported.status == 0, imported.err
    assert "36 images in 3 classes, 1 file left out" in imported.out
    assert "advice: " in imported.out
    (dataset,) = remote("dataset", "list", "whole-way", "--json").json["data"]
    assert dataset["source"] == "pictures.tar"
    assert "notes.txt" in remote("dataset", "report", dataset["id"]).out
    assert remote("dataset", "items", dataset["id"], "--json").json["data"][0]["format"] == "png"

    plan = remote("train", "whole-way", *SETTINGS, "--device", "gpu", "--gpus", 2, "--dry-run")
    assert "Nothing was started." in plan.err
    assert "2 GPUs" in plan.out
    trained = remote("train", "whole-way", *SETTINGS, "--epochs", 8, "--follow")
    assert trained.status == 0, trained.err
    assert re.findall(r"^epoch +(\d+)/8 ", trained.out, re.MULTILINE) == list("12345678"), trained.out
    assert "champion of whole-way" in trained.out
    (job,) = remote("job", "list", "--product", "whole-way", "--kind", "training", "--json").json["data"]

    metrics = remote("job", "metrics", job["id"], "--csv")
    assert len(list(csv.DictReader(io.StringIO(metrics.out)))) == 8
    assert remote("job", "logs", job["id"], "--tail", 2).out.count("\n") == 2
    assert remote("job", "events", job["id"], "--json").json["data"][-1]["data"]["status"] == "succeeded"
    assert job["model"] in remote("model", "list", "--product", "whole-way").out
    assert job["id"] in remote("model", "show", job["model"]).out

    evaluated = remote("evaluate", job["id"])
    assert evaluated.status == 0, evaluated.err
    assert "Confusion matrix" in evaluated.out
    report = tmp_path / "report.html"
    assert evaluated.out == remote("evaluate", job["id"], "--stored", "--report", report).out
    assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    rows = remote("job", "examples", job["id"], "--true", "red", "--json").json["data"]
    assert {row["true"] for row in rows} == {"red"}
    assert rows[0]["name"] in remote("job", "examples", job["id"], "--true", "red", "--limit", 1).out
    assert "No image was answered so." in remote("job", "examples", job["id"], *ODD).err
    assert "is a folder" in remote("evaluate", job["id"], "--stored", "--report", tmp_path).err

    predicted = remote("predict", "whole-way", unseen, "--json")
    assert predicted.status == 1
    answers = {Path(answer["name"]).stem: answer for answer in predicted.json["results"]}
    assert [answers[label]["top"]["label"] for label in COLOURS] == list(COLOURS)
    assert answers["broken"]["error"]["code"] == "undecodable_image"
    as_job, one_by_one = (
        remote("predict", "whole-way", unseen, "--top-k", 3, "--csv", how)
        for how in ("--batch", "--no-batch")
    )
    assert as_job.status == 1
    assert as_job.out == one_by_one.out


def test_an_exported_dataset_is_a_tar_with_the_original_files(remote: Run, tmp_path: Path) -> None:
    files = make_files(4)
    remote("product", "create", "exported")
    remote("dataset", "import", "exported", write_folder(tmp_path / "pictures", files))
    (dataset,) = remote("dataset", "list", "exported", "--json").json["data"]

    ended = remote("dataset", "export", dataset["id"], "--format", "folders", "--to", tmp_path / "out.tar")
    refused = remote("dataset", "export", dataset["id"], "--format", "tfrecord", "--to", tmp_path / "no.tar")
    divided = remote(
        *(
            "dataset",
            "export",
            dataset["id"],
            "--split",
            "50/25/25",
            "--seed",
            1,
            "--to",
            tmp_path / "split.tar",
        )
    )
    seed_alone = remote("dataset", "export", dataset["id"], "--seed", 1, "--to", tmp_path / "no.tar")

    assert ended.status == 0, ended.err
    with tarfile.open(tmp_path / "out.tar") as tar:
        contents = [tar.extractfile(entry) for entry in tar.getmembers() if entry.name.endswith(".png")]
        assert sorted(file.read() for file in contents if file) == sorted(files.values())
    assert divided.status == 0, divided.err
    with tarfile.open(tmp_path / "split.tar") as tar:
        assert {name.split("/")[0] for name in tar.getnames()} == {"train", "valid", "test"}
    assert refused.status == 1
    assert "image_size" in refused.err
    assert "--split 70/15/15" in seed_alone.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tar", "pictures", "split.tar"]


def test_a_job_that_fails_says_why_and_makes_the_status_1(remote: Run, tmp_path: Path) -> None:
    remote("product", "create", "bad-archive")
    (tmp_path / "pictures.zip").write_bytes(b"no archive")

    ended = remote("dataset", "import", "bad-archive", tmp_path / "pictures.zip")

    assert ended.status == 1
    error, hint, events = ended.err.splitlines()[-3:]
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert "loupe job events" in events
    assert "retry" not in events, "the same archive would fail again"


def test_ctrl_c_leaves_a_training_running(
    remote: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote("product", "create", "detached", "--network", "tiny_cnn")
    remote("dataset", "import", "detached", write_folder(tmp_path, make_files()))

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(follow, "time", SimpleNamespace(sleep=interrupt))
        ended = remote("train", "detached", *SETTINGS, "--epochs", 500, "--follow")
    (job,) = remote("job", "list", "--product", "detached", "--kind", "training", "--json").json["data"]

    assert ended.status == 130
    assert f"loupe job follow {job['id']}" in ended.err
    assert job["status"] in ("queued", "running")
    assert remote("job", "cancel", job["id"]).status == 0
    assert remote("job", "follow", job["id"]).status == 1
    assert "cancelled" in remote("job", "show", job["id"]).out


@pytest.mark.slow
def test_the_demo_starts_a_loupe_shows_everything_and_leaves_no_process(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "app.cli", "demo", "--home", str(home), "--exit", "--epochs", "2"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)

    assert done.returncode == 0, done.stderr
    assert "Confusion matrix" in done.stdout
    assert re.search(r"\d+ of 205 right", done.stdout)
    assert "/docs" in done.stdout
    assert _mentioning(home) == []


@pytest.mark.slow
def test_every_command_that_the_demo_prints_works_where_it_is_printed(tmp_path: Path) -> None:
    loupe = Path(sys.executable).with_name("loupe")
    command = [str(loupe), "demo", "--home", "home", "--epochs", "2"]
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LOUPE_EXAMINE_IMPORTS": "false"}

    with (tmp_path / "out").open("w") as out:
        demo = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env={**bare, "LOUPE_PORT": str(free_port())},
            start_new_session=True,
        )
    try:
        wait_for(lambda: "Ctrl-C ends it" in (tmp_path / "out").read_text(), 200, "the demo")
        _, _, printed = (tmp_path / "out").read_text().partition("6. Where to look next")
        lines = [line.strip() for line in printed.splitlines() if line.startswith("  ")]
        commands = [line for line in lines if not line.startswith("http") and "import screws" not in line]
        assert len([line for line in commands if line.startswith(str(loupe))]) == 7
        for line in commands[:-1]:  # without a training on images that are not there
            ended = subprocess.run(
                line,
                shell=True,
                cwd=tmp_path,
                env=bare,
                capture_output=True,
                text=True,
                timeout=200,
                check=False,
            )
            assert ended.returncode == 0, (line, ended.stderr)
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(timeout=60)


@pytest.mark.slow
def test_a_demo_that_is_told_to_end_takes_its_loupe_along(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "app.cli", "demo", "--home", str(home)]

    with (tmp_path / "out").open("w") as out:
        demo = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        wait_for(lambda: "A training of" in (tmp_path / "out").read_text(), 90, "the training")
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(timeout=60) == 130

    written = (tmp_path / "out").read_text()
    assert "Traceback" not in written
    assert "Ended early" in written
    assert _mentioning(home) == []


def _mentioning(home: Path) -> list[list[str]]:
    """Command lines of processes that belong to a home."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        command, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        if environment.get("LOUPE_HOME") == str(home) or str(home) in " ".join(command):
            found.append(command)
    return found


def test_a_dataset_is_edited_into_a_new_one_and_compared(remote: Run, tmp_path: Path) -> None:
    remote("product", "create", "edited")
    remote("dataset", "import", "edited", write_folder(tmp_path / "pictures", make_files(4)))
    (dataset,) = remote("dataset", "list", "edited", "--json").json["data"]
    more = write_folder(tmp_path / "more", {"red/new.png": make_picture("red", 60)})
    (tmp_path / "edits.json").write_text(json.dumps({"remove": ["blue/blue_000.png"]}))

    made = remote(
        *("dataset", "edit", dataset["id"], "--add", more, "--edits", tmp_path / "edits.json"),
        *("--relabel", "red/red_000.png=green", "--merge", "cold=blue"),
    )
    assert made.status == 0, made.err
    assert "1 image added, 1 image removed, 4 images relabelled" in made.err
    newest = remote("dataset", "list", "edited", "--json").json["data"][0]
    assert "new version of" in remote("dataset", "show", newest["id"]).out
    differences = remote("dataset", "diff", dataset["id"], newest["id"])
    assert "red/new.png" in differences.out
    assert "No image differs." in remote("dataset", "diff", newest["id"], newest["id"]).out
    wrong = remote("dataset", "edit", dataset["id"], "--relabel", "red")
    assert wrong.status == 1
    assert "IMAGE=CLASS" in wrong.err
