"""Near-duplicates of a dataset: found among its images, and told in its words."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.datasets.examination.examiner import Examiner
from app.datasets.examination.near_search import divide_groups, leave_out_stamps
from app.datasets.examination.report import (
    ExaminationReport,
    SuspectLabel,
    read_examination,
    write_examination,
)
from app.datasets.importer import import_dataset
from app.datasets.manifest import DatasetManifest, load_manifest
from app.datasets.near_duplicates.groups import Pair
from app.datasets.near_groups import load_dataset, with_near_groups, write_near_groups
from app.datasets.sources import Limits
from app.datasets.spec import ExaminationTools
from app.datasets.split import split_dataset
from app.datasets.wholes import find_wholes
from app.features.files import EXAMINATION, VECTORS
from app.schemas.hyperparameters import SplitSettings
from tests.datasets.near_duplicates.textures import make_texture
from tests.extractors import make_extractor

Write = Callable[[dict[str, bytes]], Path]


def encode(pixels: np.ndarray, file_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return buffer.getvalue()


@pytest.fixture
def dataset(write_folder: Write, tmp_path: Path) -> DatasetManifest:
    """Twenty textures in two classes; of two there are altered copies, and of one of these an exact copy."""
    files = {
        f"{label}/{number:02d}.png": encode(make_texture(100 * index + number))
        for index, label in enumerate(("fine", "scratched"))
        for number in range(10)
    }
    files["fine/saved-again.jpg"] = encode(make_texture(3), "JPEG")
    files["fine/saved-again-2.jpg"] = files["fine/saved-again.jpg"]
    files["scratched/cropped.png"] = encode(make_texture(5)[12:-9, 8:-15])
    source = write_folder(files)
    import_dataset(
        source, tmp_path / "images", tmp_path / "dataset", tmp_path / "scratch", Limits(), lambda *_: None
    )
    return load_manifest(tmp_path / "dataset")


def make_examiner(tmp_path: Path) -> Examiner:
    tools = ExaminationTools(
        extractor=tmp_path / "extractor", weights_root=tmp_path / "none", partial=tmp_path / "partial"
    )
    return Examiner(tools, tmp_path / "images", tmp_path / "examining", lambda *_: None, lambda: None)


def test_without_an_extractor_near_duplicates_are_found_and_it_says_what_is_missing(
    dataset: DatasetManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.features.making.get_published", lambda _: None)
    examined = make_examiner(tmp_path).examine(dataset, tmp_path / "dataset")
    names = {item.id: item.name for item in dataset.items}
    joined = load_dataset(tmp_path / "dataset")
    assert joined == examined.manifest
    assert joined.digest == dataset.digest
    groups: dict[str, set[str]] = {}
    for item in joined.items:
        if item.near_group is not None:
            groups.setdefault(item.near_group, set()).add(item.name)
    assert sorted(map(sorted, groups.values())) == [
        ["fine/03.png", "fine/saved-again-2.jpg", "fine/saved-again.jpg"],
        ["fine/05.png", "scratched/cropped.png"],
    ]
    report = read_examination(tmp_path / "dataset", load_manifest(tmp_path / "dataset"))
    assert report is not None
    assert [pair.reason for pair in report.near_duplicates.pairs] == ["points", "points"]
    assert {names[pair.first] for pair in report.near_duplicates.pairs} == {"fine/03.png", "fine/05.png"}
    assert "loupe weights download" in (report.missing or "")
    assert (report.judged, report.suspects) == (0, ())
    assert (examined.examination.network, examined.examination.near_groups) == (None, 2)
    assert examined.examination.near_images == 5
    assert not list(tmp_path.glob("partial*"))


def test_a_search_that_was_left_goes_on(
    dataset: DatasetManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Left(Exception):
        pass

    def leave(done: int, of: int) -> None:
        if done > of * 0.15:  # in the middle of the sketches
            raise Left

    monkeypatch.setattr("app.features.making.get_published", lambda _: None)
    examiner = make_examiner(tmp_path)
    with pytest.raises(Left):
        replace(examiner, progress=leave).examine(dataset, tmp_path / "dataset")
    first = next(item for item in dataset.items)
    image = tmp_path / "images" / first.sha256[:2] / first.sha256
    image.rename(image.with_name("away"))  # what is known needs no image
    assert examiner.examine(dataset, tmp_path / "dataset").examination.near_groups == 2


@pytest.mark.parametrize("seed", range(5))
def test_a_split_keeps_near_duplicates_on_one_side(dataset: DatasetManifest, seed: int) -> None:
    ids = {item.name: item.id for item in dataset.items}
    near = [
        [ids["fine/03.png"], ids["fine/saved-again.jpg"], ids["fine/saved-again-2.jpg"]],
        [ids["fine/05.png"], ids["scratched/cropped.png"]],
    ]
    joined = with_near_groups(dataset, near)
    split = split_dataset(joined, SplitSettings(), seed)
    assert all(len({split[each] for each in group}) == 1 for group in near)
    divided = [
        split_dataset(joined, SplitSettings(ignore_groups=True), each) for each in range(seed, seed + 5)
    ]
    assert any(len({split[each] for each in group}) > 1 for group in near for split in divided)


def test_without_an_extractor_the_vectors_that_are_there_stay_in_use(
    dataset: DatasetManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(make_extractor(), tmp_path / "extractor")
    before = tmp_path / "dataset"
    first = make_examiner(tmp_path).examine(dataset, before)
    assert first.examination.network == "efficientnet_lite0"
    shutil.rmtree(tmp_path / "extractor")
    monkeypatch.setattr("app.features.making.get_published", lambda _: None)
    for name in ("again", "anew", "lost"):
        (tmp_path / name).mkdir()
    examiner = replace(make_examiner(tmp_path), before=before)
    again = examiner.examine(dataset, tmp_path / "again")
    assert (again.examination, again.missing) == (first.examination, None)
    (before / EXAMINATION).unlink()  # all is judged anew, by the old vectors
    anew = examiner.examine(dataset, tmp_path / "anew")
    assert (anew.examination, anew.missing) == (first.examination, None)
    (before / VECTORS).write_bytes(b"damaged")
    lost = examiner.examine(dataset, tmp_path / "lost")
    assert lost.examination.network is None
    assert "loupe weights" in (lost.missing or "")


def test_groups_of_another_dataset_or_of_a_damaged_file_are_not_used(
    dataset: DatasetManifest, tmp_path: Path
) -> None:
    folder, ids = tmp_path / "dataset", [item.id for item in dataset.items]
    write_near_groups(folder, replace(dataset, digest="another"), [ids[:2]])
    assert load_dataset(folder) == dataset
    write_near_groups(folder, dataset, [ids[:2]])
    assert [item.near_group for item in load_dataset(folder).items][:3] == [ids[0], ids[0], None]
    path = folder / "near_groups.json"
    whole = path.read_bytes()
    damaged = [b"", b"[]", b"{}", whole[:-9], whole.replace(ids[1].encode(), ids[2].encode())]
    for content in damaged:
        path.write_bytes(content)
        assert load_dataset(folder) == dataset, content


def test_an_examination_of_another_dataset_or_of_a_damaged_file_is_not_believed(
    dataset: DatasetManifest, tmp_path: Path
) -> None:
    suspect = SuspectLabel(
        item=dataset.items[0].id, label="a", label_probability=0.1, suggested="b", suggested_probability=0.9
    )
    folder, report = tmp_path / "dataset", ExaminationReport(suspects=(suspect,))
    write_examination(folder, replace(dataset, digest="another"), report)
    assert read_examination(folder, dataset) is None
    write_examination(folder, dataset, report)
    found = read_examination(folder, dataset)
    assert found is not None
    assert found.suspects == report.suspects
    path = folder / EXAMINATION
    whole = path.read_bytes()
    for content in (b"", b"[]", whole[:-9], whole.replace(suspect.item.encode(), b"img_gone")):
        path.write_bytes(content)
        assert read_examination(folder, dataset) is None, content
    values = json.loads(whole)
    del values["sha256"], values["digest"]  # as earlier versions wrote it
    path.write_text(json.dumps(values))
    assert read_examination(folder, dataset) is not None


def test_groups_copies_and_near_duplicates_join_through_one_another(dataset: DatasetManifest) -> None:
    items = [
        replace(item, group=None, near_group=None, sha256=str(n)) for n, item in enumerate(dataset.items[:6])
    ]
    items[0] = replace(items[0], group="part 1")
    items[1] = replace(items[1], group="part 1", near_group="a")
    items[2] = replace(items[2], near_group="a", sha256="same")
    items[3] = replace(items[3], sha256="same")
    items[4] = replace(items[4], near_group="part 1")  # of another kind than the group of that name
    wholes = find_wholes(items)
    assert len(set(wholes[:4])) == 1
    assert len(set(wholes)) == 3


@pytest.mark.parametrize(
    ("labels", "is_kept"),
    [
        ("a" * 8, True),  # shots of one thing
        ("a" * 7 + "b", True),  # one of them under a wrong label
        ("abababab", False),  # different things on one background
        ("aabb", True),  # too few to say
    ],
)
def test_images_with_no_more_than_a_background_in_common_are_no_group(labels: str, is_kept: bool) -> None:
    group = tuple(range(len(labels)))
    others = ["a", "b"] * 40
    kept, backgrounds = divide_groups([group], [*labels, *others])
    assert (kept, backgrounds) == (([group], []) if is_kept else ([], [group]))


def test_different_labels_need_more_than_a_stamp_in_common() -> None:
    def pair(first: int, second: int, cover: float) -> Pair:
        return Pair(first, second, "points", 0.9, 40, 0, cover)

    stamped, copied, shots = pair(0, 3, 0.2), pair(1, 4, 0.8), pair(0, 1, 0.3)

    groups, pairs = leave_out_stamps([stamped, copied, shots], "aaabbb")

    assert pairs == [copied, shots]
    assert groups == ((0, 1, 4),)


def test_shots_of_one_part_in_a_fixture_are_kept_together_and_other_parts_are_not(
    write_folder: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.features.making.get_published", lambda _: None)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256] - 128
    files = {}
    for part in range(10):
        for shot in range(3):
            whole = np.where(y**2 + x**2 < 79**2, make_texture(part, 256), make_texture(999, 256))
            pixels = np.clip(whole * rng.uniform(0.95, 1.05) + rng.normal(0, 2, whole.shape), 0, 255)
            files[f"{'worn' if part % 2 else 'fine'}/{part}-{shot}.png"] = encode(pixels.astype(np.uint8))
    import_dataset(
        write_folder(files),
        tmp_path / "images",
        tmp_path / "dataset",
        tmp_path / "scratch",
        Limits(),
        lambda *_: None,
    )
    manifest = load_manifest(tmp_path / "dataset")
    examined = make_examiner(tmp_path).examine(manifest, tmp_path / "dataset")
    parts: dict[str | None, set[str]] = {}
    for item in examined.manifest.items:
        parts.setdefault(item.near_group, set()).add(item.name.split("/")[1][0])
    assert None not in parts
    assert sorted(map(sorted, parts.values())) == [[str(part)] for part in range(10)]
    report = read_examination(tmp_path / "dataset", load_manifest(tmp_path / "dataset"))
    assert report is not None
    assert [len(group) for group in report.near_duplicates.same_background] == [30]
    assert [each.code for each in report.diagnoses if each.level == "error"] == []
