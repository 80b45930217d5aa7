"""Predictions over many images against the same work in a bare loop: ``python -m benchmarks.batches``.

The job's child as a worker starts it, over a dataset and over a tar, and a loop of decoding, resizing and
inference on one thread a core, without a file read or a line written. All see the same images, one after the
other in each round, so that a machine that slows down slows down all of them. The loop has them in memory.
On a busy machine the core-milliseconds say more than the speed.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from app.artifacts import open_artifact
from app.batches.files import FINISHED, RESULTS
from app.child import PROGRESS, RESULT, SPEC
from app.datasets.manifest import Item, create_manifest, image_path, write_manifest
from app.host.machine import count_cores
from app.inference.predictor import Predictor
from benchmarks.serving_http.images import KINDS, make_images

THREADS = count_cores()
MODEL = "mdl_benchmark"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", default="mobilenet_v2")
    parser.add_argument("--images", type=int, default=1500, help="How many each round answers.")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="batches-") as name:
        folder = Path(name)
        kind = KINDS["110kB"]
        images = make_images(kind)
        (folder / "images").mkdir()
        for number, image in enumerate(images):
            (folder / "images" / f"{number:03d}.jpg").write_bytes(image)
        package = ["-m", "benchmarks.serving_http.package", options.network]
        subprocess.run(
            [sys.executable, *package, str(folder / "images"), str(folder / "model")],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        # No two files are alike, so that a job reads as many as it answers; the decoder ignores what follows.
        files = [images[n % len(images)] + n.to_bytes(4, "big") for n in range(options.images)]
        sources = {"dataset": _as_dataset(folder, files), "tar": _as_tar(folder, files)}
        _measure(folder, files, sources, options.rounds)


@dataclass(frozen=True)
class Run:
    """``seconds`` and processor seconds (``core_seconds``) of one run over all images."""

    seconds: float
    core_seconds: float


def _measure(folder: Path, files: list[bytes], sources: dict[str, Any], rounds: int) -> None:
    artifact = folder / "model/artifact"
    predictor = Predictor(open_artifact(artifact), interpreters=THREADS)
    runs: dict[str, list[Run]] = {}
    for _ in range(rounds):
        runs.setdefault("bare loop", []).append(_bare_loop(predictor, files))
        for name, source in sources.items():
            whole, working = _run_job(folder, artifact, source, len(files))
            runs.setdefault(f"job over a {name}", []).append(working)
            runs.setdefault(f"job over a {name}, with its start", []).append(whole)
    count, size = len(files), len(files[0]) // 1000
    print(f"{count} JPEGs of about {size} kB, {THREADS} threads, {rounds} rounds, medians\n")
    print(
        "| what | images/s | of the loop | core-ms an image | the loop's share of it |\n|---|---|---|---|---|"
    )
    fastest, least = _medians(runs["bare loop"])
    for name, measured in runs.items():
        seconds, core_seconds = _medians(measured)
        cells = [
            f"{count / seconds:.0f}",
            f"{fastest / seconds:.2f}",
            f"{1000 * core_seconds / count:.2f}",
            f"{least / core_seconds:.2f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def _medians(runs: list[Run]) -> tuple[float, float]:
    return (
        statistics.median(run.seconds for run in runs),
        statistics.median(run.core_seconds for run in runs),
    )


def _bare_loop(predictor: Predictor, files: list[bytes]) -> Run:
    numbers = iter(range(len(files)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            predictor.answer_bytes(files[number])

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    began, core_began = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Run(time.perf_counter() - began, time.process_time() - core_began)


def _run_job(folder: Path, artifact: Path, source: dict[str, Any], count: int) -> tuple[Run, Run]:
    """The whole process, and the part of it after it was ready to answer."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        job = Path(name)
        spec = {
            "model": MODEL,
            "artifact": str(artifact),
            "artifact_digest": open_artifact(artifact, verify=False).digest,
            "top_k": 5,
            "source": source,
            "threads": THREADS,
            "checkpoint_root": str(job / "checkpoints"),
            "checkpoint_seconds": 5.0,
        }
        (job / SPEC).write_text(json.dumps(spec), encoding="utf-8")
        began, began_at = time.perf_counter(), time.time()
        ready_core = 0.0
        core_began = _core_seconds_of_children()
        with subprocess.Popen(
            [sys.executable, "-m", "app.batches", str(job)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        ) as child:
            process = psutil.Process(child.pid)
            while not ready_core and child.poll() is None:
                if b'"predicting"' in _read(job / PROGRESS):
                    ready_core = sum(process.cpu_times()[:2])
                time.sleep(0.02)
            assert child.wait() == 0
        whole = time.perf_counter() - began
        core = _core_seconds_of_children() - core_began
        assert json.loads((job / RESULT).read_bytes())["images"] == count
        assert (job / FINISHED / RESULTS).read_bytes().count(b"\n") == count
        lines = [json.loads(line) for line in (job / PROGRESS).read_text(encoding="utf-8").splitlines()]
        ready = next(line["time"] for line in lines if line.get("stage") == "predicting")
        return Run(whole, core), Run(whole - (ready - began_at), core - ready_core)


def _core_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _as_dataset(folder: Path, files: list[bytes]) -> dict[str, Any]:
    items = []
    for number, data in enumerate(files):
        sha256 = hashlib.sha256(data).hexdigest()
        path = image_path(folder / "store", sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        items.append(
            Item(f"img_{number}", f"{number:06d}.jpg", "a", None, 800, 600, "jpeg", sha256, len(data))
        )
    (folder / "dataset").mkdir()
    write_manifest(folder / "dataset", create_manifest(items))
    return {"kind": "dataset", "dataset": str(folder / "dataset"), "image_root": str(folder / "store")}


def _as_tar(folder: Path, files: list[bytes]) -> dict[str, Any]:
    with tarfile.open(folder / "images.tar", "w") as tar:
        for number, data in enumerate(files):
            info = tarfile.TarInfo(f"{number:06d}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return {"kind": "archive", "path": str(folder / "images.tar")}


if __name__ == "__main__":
    main()
