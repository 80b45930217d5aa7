from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FeaturesUnavailableError
from app.features.files import HEADER, VECTORS
from app.features.partial import PartialVectors
from app.features.vectors import load_vectors, read_header, write_vectors

IMAGES = ["a", "b", "c"]
ROWS = np.arange(12, dtype=np.float16).reshape(3, 4)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_vectors(tmp_path, IMAGES, ROWS, extractor="e", network="n")
    return tmp_path


def test_vectors_are_read_back_mapped_into_memory(written: Path) -> None:
    vectors = load_vectors(written, IMAGES)
    assert isinstance(vectors, np.memmap)
    assert np.array_equal(vectors, ROWS)
    header = read_header(written)
    assert header is not None
    assert (header.rows, header.dimensions, header.extractor) == (3, 4, "e")


@pytest.mark.parametrize("damage", ["cut", "altered", "header", "gone", "no header", "other images", "shape"])
def test_a_file_that_is_not_what_it_says_is_refused(written: Path, damage: str) -> None:
    images, content = IMAGES, (written / VECTORS).read_bytes()
    match damage:
        case "cut":
            (written / VECTORS).write_bytes(content[:-3])
        case "altered":
            (written / VECTORS).write_bytes(content[:-1] + b"\xff")
        case "header":
            (written / HEADER).write_text("{}")
        case "gone":
            (written / VECTORS).unlink()
        case "no header":
            (written / HEADER).unlink()
        case "other images":
            images = ["a", "c", "b"]
        case "shape":
            np.save(written / VECTORS, ROWS.astype(np.float32))
    with pytest.raises(FeaturesUnavailableError) as caught:
        load_vectors(written, images)
    assert "loupe dataset examine" in (caught.value.hint or "")


@given(written=st.integers(0, 600), lost=st.integers(0, 40), more=st.integers(0, 300))
def test_rows_that_were_written_before_a_kill_are_there_after_it(written: int, lost: int, more: int) -> None:
    import tempfile

    rows = np.random.default_rng(0).random((written + more, 4)).astype(np.float16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "partial"
        first = PartialVectors(path, "0" * 64, 4)
        for row in rows[:written]:
            first.append(row)
        first.close()
        content = path.read_bytes()
        path.write_bytes(content[: max(0, len(content) - lost)])  # as a kill may leave it
        second = PartialVectors(path, "0" * 64, 4)
        kept = len(second.rows)
        assert kept == max(0, len(content) - lost - 64) // 8
        assert np.array_equal(second.rows, rows[:kept])
        for row in rows[kept:]:
            second.append(row)
        second.close()
        third = PartialVectors(path, "0" * 64, 4)
        assert np.array_equal(third.rows, rows)
        third.finish()
        assert not path.exists()


def test_the_rows_of_other_images_are_forgotten(tmp_path: Path) -> None:
    first = PartialVectors(tmp_path / "partial", "0" * 64, 4)
    first.append(ROWS[0])
    first.close()
    second = PartialVectors(tmp_path / "partial", "1" * 64, 4)
    assert not len(second.rows)
    second.finish()
