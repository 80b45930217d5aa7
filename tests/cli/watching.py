"""``loupe watch`` as a process, and a server that answers what an image holds."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.conftest import Answer, Received, Server, as_json, as_problem

MODEL = {"id": "mdl_1", "product": "screws", "version": 3, "alias": "champion", "digest": "d"}


class Labeller:
    """Answers each image with its content as the label, `bad` in it with an error; counts what it answers.

    An answer to `doubtful` content is rejected.
    """

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()

    def __call__(self, request: Received) -> Answer:
        if request.method == "GET":
            return as_json({})
        contents = [
            part.partition(b"\r\n\r\n")[2].strip().decode()
            for part in request.body.split(b"--")[1:]
            if b'name="file"' in part
        ]
        self.answered.update(contents)
        if len(contents) == 1 and "bad" in contents[0]:
            return as_problem(422, "undecodable_image", "no image")
        return as_json({"model": MODEL, "results": [_answer(content) for content in contents]})


def _answer(content: str) -> dict[str, Any]:
    if "bad" in content:
        return {"error": {"code": "undecodable_image", "detail": "no image"}, "predictions": []}
    predictions = [
        {"label": content, "index": 0, "probability": 0.75},
        {"label": "other, one", "index": 1, "probability": 0.25},
    ]
    image = {"width": 1, "height": 1, "format": "png", "sha256": "not that of the bytes"}
    judged: dict[str, Any] = {"decision": "accept", "reject_reason": None}
    if "doubtful" in content:
        judged = {"decision": "reject", "reject_reason": "ambiguous"}
    return {"predictions": predictions, "image": image, "warnings": [], **judged}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of either form; each is one line of the file."""
    lines = path.read_bytes().decode("utf-8").split("\n")
    assert lines.pop() == "", "the last line has an end"
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in lines]
    rows = list(csv.DictReader(lines))
    assert len(rows) == len(lines) - 1
    return rows


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextmanager
def watching(server: Server | str, folder: Path, *options: object, **environment: str) -> Iterator[Any]:
    """``loupe watch`` as a process; killed at the end unless it has ended."""
    url = server if isinstance(server, str) else server.url
    arguments = ["watch", folder, "--product", "screws", "--server", url, *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        if process.stdout and not process.stdout.closed:
            process.communicate()
