"""What the network looked at, under the mistakes of the page."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.artifacts import Artifact
from app.evaluation.page import maps, work
from app.evaluation.page.spec import PageSpec
from app.images.decode import decode_image
from app.images.resize import Fit, rule_for
from tests.evaluation.page.pages import make, spec_of


@pytest.fixture(scope="module", autouse=True)
def _any_memory() -> Iterator[None]:
    """The limit is of a process of its own; here it would be that of all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "limit_memory", lambda _: None)
        yield


def two_mistakes(folder: Path, model: Artifact, **changes: Any) -> PageSpec:
    fields: dict[str, Any] = {"artifact": model.folder, "artifact_digest": model.digest} | changes
    labels = model.manifest.labels
    return spec_of(folder, labels, [0, 0, 1], np.eye(len(labels), dtype=np.float32)[[0, 1, 0]], **fields)


def test_the_mistakes_have_maps_with_words(tmp_path: Path, packaged: Artifact) -> None:
    html, _ = make(tmp_path, two_mistakes(tmp_path, packaged))
    alternatives = re.findall(r'alt="([^"]+as the network saw it[^"]+)"', html)
    assert len(alternatives) == 2
    said = packaged.manifest.labels[1]
    assert f"what speaks most for {said} is " in alternatives[0]
    assert re.search("the line surrounds .* % of the image", alternatives[0])
    rows, columns = next(o.shape for o in packaged.manifest.outputs or () if o.shape)[:2]
    assert f"as coarse as {rows} x {columns} places" in html
    assert "not why" in html


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"artifact": None}, None),
        ({"artifact_digest": "0" * 64}, "files are damaged"),
        ({"memory_bytes": 1000}, "too large"),
    ],
)
def test_without_the_model_the_page_is_there(
    tmp_path: Path, packaged: Artifact, changes: dict[str, Any], words: str | None
) -> None:
    html, result = make(tmp_path, two_mistakes(tmp_path, packaged, **changes))
    assert result.images_missing == 0
    assert html.count("<img ") == 2
    assert "as coarse as" not in html
    assert ("is not shown for all" in html) == (words is not None)
    assert words is None or words in html


def test_a_model_without_maps_says_nothing_of_them(tmp_path: Path, artifact: Artifact) -> None:
    html, _ = make(tmp_path, two_mistakes(tmp_path, artifact))
    assert html.count("<img ") == 2
    assert "the network" not in html


def test_maps_that_take_too_long_are_left_out_with_a_word(
    tmp_path: Path, packaged: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "_SECONDS", -1.0)
    html, _ = make(tmp_path, two_mistakes(tmp_path, packaged))
    assert html.count("<img ") == 2
    assert "Only the first 0 were asked for" in html


def test_the_map_lies_on_what_the_network_saw() -> None:
    """A wide image between two bars of grey: the bars are part of what was seen."""
    data = io.BytesIO()
    Image.new("RGB", (400, 100), "white").save(data, "PNG")
    seen = decode_image(data.getvalue(), fit=Fit(rule_for("letterbox"), (40, 40)))
    found = np.zeros((4, 4), np.float32)
    found[0, 3] = 1
    drawn = maps.lay_over(seen, found)
    assert drawn is not None
    assert (drawn.width, drawn.height, drawn.where) == (192, 192, "at the upper right")
    pixels = np.asarray(Image.open(io.BytesIO(b64decode(drawn.source.partition(",")[2]))), np.int16)[..., 0]
    assert abs(pixels[10, 180] - 128) < 12  # grey in full light
    assert abs(pixels[180, 10] - 38) < 12  # grey, dimmed
    assert abs(pixels[96, 10] - 77) < 12  # white, dimmed
    # The line is white within and black without, on any ground.
    assert pixels[:48, 140:].max() > 220
    assert pixels[:60, 130:].min() < 30


def test_a_map_that_is_the_same_everywhere_is_none() -> None:
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "PNG")
    assert maps.lay_over(decode_image(data.getvalue()), np.ones((2, 2), np.float32)) is None


def test_noise_keeps_the_page_under_its_size() -> None:
    """24 maps of the worst of all images, beside 36 thumbnails like them."""
    noise = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "PNG")
    drawn = maps.lay_over(decode_image(data.getvalue()), np.eye(7, dtype=np.float32))
    assert drawn is not None
    assert 24 * len(drawn.source) < 700_000
