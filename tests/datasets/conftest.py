from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from app.datasets.importer import import_dataset
from app.datasets.manifest import DatasetManifest, Item, create_manifest, item_id
from app.datasets.sources import Limits
from app.schemas.import_choices import ImportChoices

Files = Mapping[str, bytes]


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Makes an encoded image: the same number, the same bytes."""

    def make(number: int, file_format: str = "PNG", size: tuple[int, int] = (12, 10)) -> bytes:
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, file_format)
        return buffer.getvalue()

    return make


@pytest.fixture
def two_classes(picture: Callable[..., bytes]) -> dict[str, bytes]:
    """Four images of cats and four of dogs, in class folders."""
    return {
        f"{label}/{number}.png": picture(10 * index + number)
        for index, label in enumerate(("cat", "dog"))
        for number in range(4)
    }


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[[Files], Path]:
    def write(files: Files, name: str = "upload") -> Path:
        for path, content in files.items():
            target = tmp_path / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return tmp_path / name

    return write


@pytest.fixture
def write_zip(tmp_path: Path) -> Callable[[Files], Path]:
    def write(files: Files, name: str = "upload.zip") -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in files.items():
                archive.writestr(path, content)
        return tmp_path / name

    return write


@pytest.fixture
def write_tar(tmp_path: Path) -> Callable[..., Path]:
    def write(
        files: Files, name: str = "upload.tar", mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w"
    ) -> Path:
        with tarfile.open(tmp_path / name, mode) as archive:
            for path, content in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return tmp_path / name

    return write


class Importer:
    """Runs imports into one store; keeps the result of the last."""

    def __init__(self, root: Path) -> None:
        self.root, self.images = root, root / "images"
        self.progress: list[tuple[int, float]] = []

    def __call__(
        self, source: Path, out: str = "dataset", choices: ImportChoices | None = None, **limits: Any
    ) -> dict[str, Any]:
        result = import_dataset(
            source,
            self.images,
            self.root / out,
            self.root / "scratch",
            Limits(**limits),
            lambda done, fraction: self.progress.append((done, fraction)),
            choices,
        )
        return result.model_dump(mode="json")

    @property
    def left_behind(self) -> list[str]:
        """Everything that imports left on disk but finished datasets and stored images."""
        return [
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if path.is_file() and "dataset" not in path.parts and self.images not in path.parents
        ] + [str(path) for path in self.root.rglob("*.part")]


@pytest.fixture
def importer(tmp_path: Path) -> Importer:
    return Importer(tmp_path / "home")


@pytest.fixture(scope="session")
def make_manifest() -> Callable[..., DatasetManifest]:
    """Makes a manifest without files: (label, content, split or None) for each item."""

    def make(rows: list[tuple[str, str, Any]]) -> DatasetManifest:
        items = []
        for number, (label, content, split) in enumerate(rows):
            name = "/".join(filter(None, (split, label, f"{number:06d}.png")))
            items.append(
                Item(item_id(label, split, name, content), name, label, split, 8, 8, "png", content, 100)
            )
        return create_manifest(items)

    return make
