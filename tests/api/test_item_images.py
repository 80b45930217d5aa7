"""``GET /datasets/{dataset}/items/{item}/image``: originals and thumbnails."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import ExifTags, Image

from app.config import Settings
from app.context import AppContext
from app.images.decode import decode_image
from app.inference import turns
from app.migrations import upgrade
from tests.api.test_problems import assert_problem
from tests.clients import local_client
from tests.running import import_pictures

every_bound = pytest.mark.parametrize("bound", ["waiting", "lanes"])


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def scene(width: int, height: int) -> Image.Image:
    """Large shapes, no two corners alike: a turned or mirrored one is another."""
    colours = np.array([[[250, 20, 20], [20, 250, 20]], [[20, 20, 250], [240, 240, 40]]], np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


FILES = {
    "a/photo.jpg": encode(scene(900, 600), "JPEG"),
    "a/turned.jpg": encode(scene(900, 600), "JPEG", exif=turned(6)),
    "a/small.png": encode(scene(24, 12), "PNG"),
    "a/line.png": encode(scene(3000, 1), "PNG"),
    "b/heavy.avif": encode(scene(400, 300), "AVIF"),  # which a process of its own decodes
    "b/clear.png": encode(Image.new("RGBA", (300, 200), (255, 0, 0, 0)), "PNG"),
    "b/deep.png": encode(
        Image.fromarray(np.linspace(0, 4095, 90_000).reshape(300, 300).astype(np.uint16)), "PNG"
    ),
}


class Imported(NamedTuple):
    client: TestClient
    context: AppContext
    urls: dict[str, str]
    """Of each image, by its name."""
    sha256: dict[str, str]

    def path_of(self, name: str) -> Path:
        sha256 = self.sha256[name]
        return self.context.storage.images / sha256[:2] / sha256


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    settings = Settings(home=tmp_path_factory.mktemp("thumbnails"), _env_file=None)
    context = AppContext.open(settings)
    upgrade(context.db)
    with local_client(settings, raise_server_exceptions=False) as client:
        path = f"/datasets/{import_pictures(client, context, 'p', FILES)}/items"
        rows = client.get(path).json()["data"]
        urls = {row["name"]: f"{path}/{row['id']}/image" for row in rows}
        yield Imported(client, context, urls, {row["name"]: row["sha256"] for row in rows})
    context.close()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [16, 100, 1024])
def test_a_thumbnail_is_a_jpeg_of_the_whole_upright_image(imported: Imported, name: str, size: int) -> None:
    answer = imported.client.get(imported.urls[name], params={"size": size})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    shown = Image.open(io.BytesIO(answer.content))
    assert shown.format == "JPEG"
    pixel_range = (0, 4095) if name == "b/deep.png" else None
    whole = decode_image(FILES[name], pixel_range=pixel_range)
    assert max(shown.size) == min(size, max(whole.width, whole.height))
    assert min(shown.size) == max(
        1, round(min(whole.width, whole.height) * max(shown.size) / max(whole.width, whole.height))
    )
    wanted = Image.fromarray(whole.pixels).resize(shown.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(shown, int) - np.asarray(wanted, int)).mean() < 10


@pytest.mark.parametrize("query", ["", "?size=64"])
@pytest.mark.parametrize("name", ["a/photo.jpg", "b/heavy.avif"])
def test_a_client_keeps_an_image_and_is_told_that_it_has_it(
    imported: Imported, name: str, query: str
) -> None:
    url = imported.urls[name] + query
    answer = imported.client.get(url)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    etag = answer.headers["etag"]
    assert etag.startswith('"')
    for known in (etag, f'"other", W/{etag}', "*"):
        again = imported.client.get(url, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
        assert again.headers["cache-control"] == answer.headers["cache-control"]
    assert imported.client.get(url, headers={"If-None-Match": '"other"'}).content == answer.content
    assert imported.client.head(url).headers["content-length"] == str(len(answer.content))


def test_what_was_not_asked_alike_has_another_etag(imported: Imported) -> None:
    urls = [imported.urls[name] + query for name in FILES for query in ("", "?size=16", "?size=17")]
    assert len({imported.client.get(url).headers["etag"] for url in urls}) == len(urls)


@pytest.mark.parametrize("size", ["0", "15", "1025", "-1", "1e2", "big", ""])
def test_a_size_that_is_none_is_refused(imported: Imported, size: str) -> None:
    problem = assert_problem(imported.client.get(f"{imported.urls['a/photo.jpg']}?size={size}"), 422)
    assert "size" in problem["errors"][0]["pointer"]


def test_an_item_that_is_not_there_is_a_404_with_a_hint(imported: Imported) -> None:
    path = imported.urls["a/photo.jpg"].rpartition("/img_")[0]
    for query in ("", "?size=64"):
        assert (
            "lists them" in assert_problem(imported.client.get(f"{path}/img_none/image{query}"), 404)["hint"]
        )
        assert_problem(imported.client.get(f"/datasets/dst_none/items/img_none/image{query}"), 404)


@pytest.mark.parametrize("damage", ["altered", "cut", "gone"])
def test_a_stored_image_that_is_damaged_is_named(imported: Imported, damage: str) -> None:
    name = "a/small.png"
    path, content = imported.path_of(name), FILES[name]
    mode = path.stat().st_mode
    path.chmod(0o644)
    try:
        match damage:
            case "altered":
                path.write_bytes(content[:-1] + b"\0")
            case "cut":
                path.write_bytes(content[:-1])
            case "gone":
                path.unlink()
        problem = assert_problem(imported.client.get(f"{imported.urls[name]}?size=64"), 500)
        assert problem["code"] == "storage_damaged"
        assert name in problem["detail"]
        assert "Import" in problem["hint"]
        if damage != "altered":  # an original is not read before it is sent
            assert_problem(imported.client.get(imported.urls[name]), 500)
    finally:
        path.write_bytes(content)
        path.chmod(mode)
    assert imported.client.get(f"{imported.urls[name]}?size=64").status_code == 200


def test_an_image_over_the_limit_of_today_is_not_decoded(imported: Imported) -> None:
    settings = imported.context.settings.model_copy(update={"max_pixels": 10_000})
    with local_client(settings, raise_server_exceptions=False) as client:
        assert assert_problem(client.get(f"{imported.urls['a/photo.jpg']}?size=64"), 413)
        assert client.get(f"{imported.urls['a/small.png']}?size=64").status_code == 200


def reach(bound: str, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no image has its turn: too many wait, or as many as can be worked on are read."""
    if bound == "waiting":
        monkeypatch.setattr(turns, "MOST_WAITING", 0)
    else:
        monkeypatch.setattr(turns, "TURN_SECONDS", 0.05)
        monkeypatch.setattr(client.app.state.turns, "_lanes", asyncio.Semaphore(0))  # type: ignore[attr-defined]


@every_bound
def test_a_thumbnail_waits_for_its_turn_as_a_prediction_does(
    imported: Imported, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    reach(bound, imported.client, monkeypatch)
    answer = imported.client.get(f"{imported.urls['a/photo.jpg']}?size=64")
    assert assert_problem(answer, 503)["code"] == "busy"
    assert answer.headers["retry-after"]
