"""``loupe dataset examine``, and what the report and an import say of it, against a real service."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.cli.client import Client
from app.cli.dataset_examination import warn_of_findings
from tests.cli.conftest import Run
from tests.conftest import Service
from tests.datasets.near_duplicates.textures import make_texture
from tests.extractors import give_extractor


def write_images(folder: Path) -> Path:
    """Seven images in each of two classes: the seventh of one is a part of an image of the other."""
    images = {
        (label, n): make_texture(100 * i + n) for i, label in enumerate(("fine", "worn")) for n in range(6)
    }
    images["worn", 6] = images["fine", 2][9:-8, 14:-5]
    images["fine", 6] = images["fine", 3][:, ::-1]
    for (label, number), pixels in images.items():
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
        path = folder / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
    return folder


def test_what_an_examination_finds_is_shown(
    loupe: Run, service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    give_extractor(service.home)
    server = ("--server", service.url)
    loupe("product", "create", "textures", *server)
    imported = loupe(
        "dataset", "import", "textures", write_images(tmp_path / "images"), "--json", *server
    ).json
    dataset = imported["id"]
    assert "shown under" not in loupe("dataset", "report", dataset, *server).out

    examined = loupe("dataset", "examine", dataset, *server)
    assert examined.status == 0, examined.err
    assert (
        "error: 1 thing is shown under different labels, such as 'fine/2.png' and 'worn/6.png'."
        in examined.out
    )
    assert "warning: few different images of 'fine', 'worn'" in examined.out
    words = " ".join(examined.out.split())  # the title of a narrow table has several lines
    assert "2 groups of images that show the same thing" in words
    assert "fine/3.png, fine/6.png" in words
    assert f"loupe dataset edit {dataset} --relabel IMAGE=CLASS" in examined.err

    shown = loupe("dataset", "report", dataset, *server)
    assert examined.out in shown.out
    found = loupe("dataset", "examine", dataset, "--json", *server).json
    assert [each["code"] for each in found["diagnoses"]][:2] == ["contradiction", "small_class"]

    client = Client(service.url)
    warn_of_findings(client, client.get(f"/datasets/{dataset}"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "warning"]
    warn_of_findings(client, imported)  # which nothing had examined yet
    assert not capsys.readouterr().out
