from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from app.cli.digits import draw_picture, write_digits


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_every_digit_is_uploaded_or_held_out_and_none_is_both(tmp_path: Path) -> None:
    folders = write_digits(tmp_path / "digits")

    uploaded, held_out = _files(folders.uploaded), _files(folders.held_out)
    assert len(uploaded) + len(held_out) == 1797
    assert not set(uploaded) & set(held_out)
    per_class = Counter(name.partition("/")[0] for name in held_out)
    assert set(per_class) == set("0123456789")
    assert all(19 <= count <= 21 for count in per_class.values())


def test_writing_again_gives_the_same_bytes_and_leaves_nothing_of_before(tmp_path: Path) -> None:
    first = _files(write_digits(tmp_path / "digits").uploaded)
    (tmp_path / "digits" / "pictures" / "0" / "strange.png").write_bytes(b"x")

    assert _files(write_digits(tmp_path / "digits").uploaded) == first


def test_the_darkest_and_the_brightest_ink_are_black_and_white(tmp_path: Path) -> None:
    folders = write_digits(tmp_path / "digits")

    with Image.open(folders.held_out / "0" / "000.png") as image:
        assert image.size == (8, 8)
        assert image.mode == "L"
    everything = np.concatenate(
        [np.asarray(Image.open(path)).ravel() for path in folders.held_out.rglob("*.png")]
    )
    assert (everything.min(), everything.max()) == (0, 255)


def test_a_picture_is_drawn_with_two_blocks_a_pixel(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255, 128], [60, 200, 0]], np.uint8)).save(tmp_path / "p.png")

    assert [line.plain for line in draw_picture(tmp_path / "p.png")] == ["  ██▒▒", "░░▓▓  "]
