"""The page about the Open Inference Protocol: its curl and program run, and the public client is answered."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx2 as httpx
import numpy as np
import pytest

from app.schemas.inference_protocol import InputName, OutputName
from docs.generate import ROOT
from tests.conftest import Trained
from tests.pictures import make_picture
from tests.ports import free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

PAGE = (ROOT / "docs/inference-protocol.md").read_text(encoding="utf-8")
CLIENT = ROOT / "tests/api/protocol_client.py"
TOOLS = ROOT / ".venv-tools/bin/python"


@dataclass
class Asked:
    """A server with the champion of ``squares``, and a folder with image files."""

    address: str
    folder: Path
    predictions: list[dict[str, Any]]
    """What ``POST /predict`` answers about ``a.png`` and ``b.jpg``."""

    @property
    def probabilities(self) -> str:
        rows = [
            [entry["probability"] for entry in sorted(item["predictions"], key=lambda entry: entry["index"])]
            for item in self.predictions
        ]
        return np.array(rows, "<f4").tobytes().hex()


@pytest.fixture(scope="module")
def asked(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("asked")
    files = {"a.png": make_picture("red", 5), "b.jpg": make_picture("blue", 6, 90, "JPEG")}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    port = free_port()
    address = f"127.0.0.1:{port}"
    settings = {"LOUPE_HOME": str(trained.context.settings.home), "LOUPE_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-m", "app.launch.api"],
        env={**{k: v for k, v in os.environ.items() if not k.startswith("LOUPE_")}, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def is_ready() -> bool:
        try:
            return httpx.get(f"http://{address}/v2/health/ready").is_success
        except httpx.TransportError:
            return False

    try:
        wait_for(is_ready, 60, "the API", alive=lambda: process.poll() is None, every=0.2)
        answer = httpx.post(
            f"http://{address}/predict?product=squares",
            files=[("file", (name, data)) for name, data in files.items()],
        )
        yield Asked(address, folder, answer.raise_for_status().json()["results"])
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def tools() -> Path:
    found = TOOLS.exists() and subprocess.run([TOOLS, "-c", "import tritonclient.http"], check=False)
    if not found or found.returncode:
        pytest.skip("the public client of the Open Inference Protocol did NOT run: `make tools` installs it")
    return TOOLS


def block(kind: str, asked: Asked, image: str) -> str:
    """A block of the page, for this server, product and image."""
    found = re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    text = found[1].replace("localhost:8000", asked.address)
    return text.replace("screws", "squares").replace("screw.jpg", image)


def test_its_tables_are_what_the_code_takes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `", PAGE, re.MULTILINE)
    assert rows == [*get_args(InputName), *get_args(OutputName)]


def test_its_curl_is_answered(asked: Asked) -> None:
    done = subprocess.run(
        ["bash", "-c", block("console", asked, "a.png")],
        cwd=asked.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    outputs = {output["name"]: output["data"] for output in json.loads(done.stdout)["outputs"]}
    assert outputs["label"] == ["red"]
    assert max(outputs["probabilities"]) == asked.predictions[0]["top"]["probability"]


def test_its_program_is_answered(asked: Asked, tools: Path) -> None:
    program = asked.folder / "program.py"
    program.write_text(block("python", asked, ""), encoding="utf-8")
    command = [str(tools), str(program), "a.png", "b.jpg"]
    done = subprocess.run(command, cwd=asked.folder, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[b'red' b'blue'] [[")


def test_the_public_client_gets_what_predict_answers(asked: Asked, tools: Path) -> None:
    command = [str(tools), str(CLIENT), asked.address, "squares", "16", "a.png", "b.jpg"]
    done = subprocess.run(command, cwd=asked.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["live"], found["ready"], found["models_ready"]) == (True, True, [True, True, False])
    assert found["server"]["extensions"] == ["binary_tensor_data", "classification"]
    assert found["metadata"]["inputs"][1] == {"name": "pixels", "datatype": "UINT8", "shape": [-1, 16, 16, 3]}
    labels = [item["top"]["label"] for item in asked.predictions]
    assert list(found["image"].values()) == [[labels, asked.probabilities]] * 5
    uint8, fp32, as_json = found["pixels"].values()
    assert uint8 == fp32 == as_json
    best = [item["top"] for item in asked.predictions]
    texts = [f"{one['probability']}:{one['index']}:{one['label']}" for one in best]
    assert found["chosen"] == ["42", labels, texts]
    assert [status for status, _ in found["errors"]] == ["404", "422", "422", "415", "404"]
    assert "'nothing'" in found["errors"][0][1]
    assert "priority" in found["errors"][2][1]
