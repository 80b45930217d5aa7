from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from app.errors import FeaturesUnavailableError
from app.features.extractor import DIMENSIONS, Extractor, read_note
from app.features.files import MODEL, NETWORK, NOTE
from app.features.making import require_extractor
from app.networks.pretrained.sources import get_published
from tests.extractors import make_extractor


@pytest.fixture(scope="module")
def folder() -> Path:
    return make_extractor()


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "extractor")


def test_alike_images_have_alike_vectors(folder: Path) -> None:
    extractor = Extractor(folder)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (224, 224, 3), np.uint8)
    brighter = np.clip(image.astype(int) + 10, 0, 255).astype(np.uint8)
    other = np.zeros_like(image)
    vectors = [extractor.embed(each) for each in (image, brighter, other)]
    assert all(vector.shape == (DIMENSIONS,) and vector.dtype == np.float32 for vector in vectors)
    near, far = (
        float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        for a, b in ((vectors[0], vectors[1]), (vectors[0], vectors[2]))
    )
    assert near > 0.95 > far


def test_several_threads_get_the_same_vectors_as_one(folder: Path) -> None:
    extractor = Extractor(folder)
    images = np.random.default_rng(1).integers(0, 256, (8, 224, 224, 3), np.uint8)
    alone = [extractor.embed(image) for image in images]
    together: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda n=n: together.update({n: extractor.embed(images[n])}))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(alone[n], together[n]) for n in range(8))


def test_its_note_says_what_it_is(folder: Path) -> None:
    note, published = read_note(folder), get_published(NETWORK)
    assert note is not None
    assert published is not None
    assert note.weights_sha256.startswith(published.sha256)
    assert (note.network, note.image_size, note.dimensions) == (NETWORK, (224, 224), DIMENSIONS)


def test_a_damaged_one_is_refused_and_made_anew(copy: Path, tmp_path: Path) -> None:
    before = (copy / MODEL).read_bytes()
    (copy / MODEL).write_bytes(before[:-100])
    with pytest.raises(FeaturesUnavailableError, match="is damaged"):
        Extractor(copy)
    require_extractor(copy, tmp_path / "none", tmp_path / "scratch", lambda: None)
    assert (copy / MODEL).read_bytes() == before  # the conversion gives the same bytes on one machine


@pytest.mark.parametrize("content", [b"", b'{"format_', b"{}", b"\xff"])
def test_one_whose_note_is_damaged_is_none(copy: Path, content: bytes) -> None:
    (copy / NOTE).write_bytes(content)
    assert read_note(copy) is None
    with pytest.raises(FeaturesUnavailableError):  # as of one that is missing, which is then made
        Extractor(copy)


def test_without_weights_it_says_which_command_brings_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.features.making.get_published", lambda _: None)
    with pytest.raises(FeaturesUnavailableError) as caught:
        require_extractor(tmp_path / "extractor", tmp_path / "none", tmp_path / "scratch", lambda: None)
    assert f"loupe weights download {NETWORK}" in (caught.value.hint or "")
    assert not (tmp_path / "extractor").exists()


def test_one_of_another_version_is_none(copy: Path) -> None:
    note = (copy / NOTE).read_text()
    (copy / NOTE).write_text(note.replace("stretch-2", "stretch-1"))
    assert read_note(copy) is None


def test_whoever_waits_for_it_can_leave(copy: Path, tmp_path: Path) -> None:
    class Left(Exception):
        pass

    def leave() -> None:
        raise Left

    shutil.rmtree(copy)
    with pytest.raises(Left):
        require_extractor(copy, tmp_path / "none", tmp_path / "scratch", leave)
    assert not copy.exists()
