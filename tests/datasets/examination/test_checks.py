"""The dataset doctor: each finding from evidence made for it, and none from sound evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.datasets.examination.checks.evidence import Evidence
from app.datasets.examination.doctor import CHECKS, diagnose
from app.datasets.examination.honesty import Judged, count_shared, estimate, judge_honestly
from app.datasets.examination.indexed import index_dataset
from app.datasets.examination.looks import look_at
from app.datasets.examination.report import ExaminationReport, NearDuplicates, OutlierImage, SuspectLabel
from app.datasets.examination.split_difference import measure_difference
from app.datasets.examination.twins import find_twins
from app.datasets.manifest import DatasetManifest, Item, Split, create_manifest, item_id
from app.datasets.near_groups import with_near_groups
from app.features.label_audit import audit_labels

SIZE = 50


def make_items(label: str, number: int = SIZE, split: Split | None = None, **changes: Any) -> list[Item]:
    items = []
    for each in range(number):
        name = f"{label}/{split or 'all'}-{each:03d}.png"
        sha256 = f"{label}{split}{each}"
        item = Item(
            id=item_id(label, split, name, sha256),
            name=name,
            label=label,
            split=split,
            width=100 + each % 7,
            height=80,
            format="png",
            sha256=sha256,
            bytes=1000,
        )
        items.append(replace(item, **changes))
    return items


def make_evidence(items: Sequence[Item], **changes: Any) -> Evidence:
    """Of images whose looks say nothing about their class, and which a classifier takes for what they are."""
    manifest = create_manifest(items)
    rng = np.random.default_rng(0)
    number = len(items)
    colours = rng.integers(60, 200, (number, 3), np.uint8)
    thumbnails = rng.integers(0, 256, (number, 32, 32), np.uint8)
    labels = index_dataset(manifest).labels
    evidence = Evidence(
        manifest=manifest,
        report=ExaminationReport(judged=number),
        looks=look_at(manifest.items, colours, thumbnails),
        judged=Judged(np.arange(number), labels, None),
        difference=None,
    )
    return replace(evidence, **changes)


def find(evidence: Evidence, code: str) -> Any:
    """The one finding, which must come first."""
    found = diagnose(evidence)
    assert found, "nothing found"
    assert found[0].code == code
    return found[0]


TWO = [*make_items("nuts"), *make_items("screws")]


def test_sound_images_give_no_finding() -> None:
    assert diagnose(make_evidence(TWO)) == ()
    assert diagnose(make_evidence([*TWO, *make_items("bolts")], difference=0.6)) == ()
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS) == 13


def test_one_content_and_one_thing_under_two_labels_are_contradictions() -> None:
    copy = replace(TWO[0], id="img_copy", label="screws", name="screws/copy.png")
    found = find(make_evidence([*TWO, copy]), "contradiction")
    assert (found.level, found.classes, found.number) == ("error", ("nuts", "screws"), 2)
    assert set(found.items) == {TWO[0].id, "img_copy"}
    evidence = make_evidence(TWO)
    near = with_near_groups(evidence.manifest, [[TWO[0].id, TWO[SIZE].id], [TWO[1].id, TWO[2].id]])
    assert find(replace(evidence, manifest=near), "contradiction").number == 2


def test_test_images_of_what_training_shows_are_found() -> None:
    items = [
        each
        for label in ("nuts", "screws")
        for split, number in (("train", 40), ("test", 20))
        for each in make_items(label, number, split)  # type: ignore[arg-type]
    ]
    evidence = make_evidence(items)
    assert diagnose(evidence) == ()
    trained, tested = items[0], items[45]
    near = with_near_groups(evidence.manifest, [[trained.id, tested.id]])
    found = find(replace(evidence, manifest=near), "shared_splits")
    assert (found.level, found.items) == ("error", (tested.id,))
    within = with_near_groups(evidence.manifest, [[items[0].id, items[1].id]])
    assert diagnose(replace(evidence, manifest=within)) == ()


def test_a_class_without_test_images_is_found() -> None:
    items = [
        *make_items("nuts", 40, "train"),
        *make_items("nuts", 20, "test"),
        *make_items("screws", 40, "train"),
    ]
    assert find(make_evidence(items), "missing_class").classes == ("screws",)


@pytest.mark.parametrize(
    ("what", "level"),
    [
        ("size", "error"),
        ("file format", "error"),
        ("file size for its pixels", "warning"),
        ("brightness or mean colour", "warning"),
        ("border", "warning"),
    ],
)
def test_a_class_that_is_told_by_what_has_nothing_to_do_with_it_is_found(what: str, level: str) -> None:
    items = [*TWO, *make_items("bolts")]
    evidence = make_evidence(items)
    own = np.array([item.label == "nuts" for item in evidence.manifest.items])
    rng = np.random.default_rng(1)
    colours = rng.integers(60, 200, (len(items), 3), np.uint8)
    thumbnails = rng.integers(0, 256, (len(items), 32, 32), np.uint8)
    changed = list(evidence.manifest.items)
    if what == "size":
        changed = [replace(item, width=150) if item.label == "nuts" else item for item in changed]
    elif what == "file format":
        changed = [replace(item, format="bmp") if item.label == "nuts" else item for item in changed]
    elif what == "file size for its pixels":
        changed = [replace(item, bytes=2500) if item.label == "nuts" else item for item in changed]
    elif what == "border":
        thumbnails[own, :2] = 255
    else:
        colours[own] = colours[own] // 4
    looks = look_at(changed, colours, thumbnails)
    found = find(replace(evidence, looks=looks), "shortcut")
    assert (found.level, found.classes) == (level, ("nuts",))
    assert ("nothing is wrong" in found.advice) == (level == "warning")
    assert f"by the {what} of the images alone" in found.finding


def test_a_thin_frame_around_images_of_all_kinds_of_light_is_found() -> None:
    items = [*TWO, *make_items("bolts")]
    evidence = make_evidence(items)
    own = np.array([item.label == "nuts" for item in evidence.manifest.items])
    rng = np.random.default_rng(1)
    levels = rng.integers(0, 200, (len(items), 1, 1))
    thumbnails = (levels + rng.integers(0, 56, (len(items), 32, 32))).astype(np.uint8)
    for side in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        framed = thumbnails[own]
        framed[side] = 29  # blue
        thumbnails[own] = framed
    colours = np.repeat(levels.reshape(-1, 1), 3, axis=1).astype(np.uint8)
    looks = look_at(evidence.manifest.items, colours, thumbnails)
    found = find(replace(evidence, looks=looks), "shortcut")
    assert (found.classes, "border" in found.finding) == (("nuts",), True)


def test_a_class_that_is_nearly_all_of_the_dataset_is_not_told_by_its_looks() -> None:
    codes = [
        each.code for each in diagnose(make_evidence([*make_items("nuts", 400), *make_items("screws", 20)]))
    ]
    assert codes == ["imbalance"]


@pytest.mark.parametrize(("number", "level"), [(2, "error"), (7, "warning"), (19, "warning"), (20, None)])
def test_a_class_of_few_images_is_found(number: int, level: str | None) -> None:
    items = [*make_items("nuts"), *make_items("screws", number)]
    evidence = make_evidence(items)
    if level is None:
        assert diagnose(evidence) == ()
    else:
        found = find(evidence, "small_class")
        assert (found.level, found.classes) == (level, ("screws",))
        assert "138 test images" in found.advice


def test_near_duplicates_count_once_in_a_class() -> None:
    evidence = make_evidence(TWO)
    shots = [item.id for item in TWO if item.label == "screws"][:35]
    near = with_near_groups(evidence.manifest, [shots])
    found = find(replace(evidence, manifest=near), "small_class")
    assert "16 of screws" in found.finding


def test_one_class_under_two_names_is_found() -> None:
    items = [*make_items("nuts"), *make_items("screws"), *make_items("screws_new")]
    evidence = make_evidence(items)
    labels = index_dataset(evidence.manifest).labels
    answers = labels.copy()
    answers[SIZE:] = np.random.default_rng(0).integers(1, 3, 2 * SIZE)
    found = find(replace(evidence, judged=Judged(np.arange(len(items)), answers, None)), "twins")
    assert found.classes == ("screws", "screws_new")


def test_a_class_that_is_overlooked_is_no_twin() -> None:
    labels = np.repeat([0, 1], [200, 12])
    assert find_twins(np.zeros(212, np.int64), labels) == []
    weak = np.where(np.random.default_rng(0).random(212) < 0.2, 1 - labels, labels)
    assert find_twins(weak, labels) == []


def test_blank_images_are_found_and_are_no_contradiction() -> None:
    items = [*TWO, replace(TWO[0], id="img_copy", label="screws", name="screws/copy.png")]
    evidence = make_evidence(items)
    is_blank = np.array([item.sha256 == TWO[0].sha256 for item in evidence.manifest.items])
    found = find(replace(evidence, looks=replace(evidence.looks, is_blank=is_blank)), "blank")
    assert found.number == 2


def suspect(item: Item) -> SuspectLabel:
    return SuspectLabel(
        item=item.id, label=item.label, label_probability=0.1, suggested="x", suggested_probability=0.9
    )


@pytest.mark.parametrize(
    ("suspects", "errors", "level"),
    [(1, 0.0, "warning"), (1, 0.1, "note"), (5, 0.1, "warning"), (0, 0.5, None)],
)
def test_suspect_labels_are_many_if_a_classifier_seldom_errs(
    suspects: int, errors: float, level: str | None
) -> None:
    evidence = make_evidence(TWO)
    labels = index_dataset(evidence.manifest).labels
    answers = labels.copy()
    answers[: round(errors * len(labels))] ^= 1
    report = ExaminationReport(judged=100, suspects=tuple(suspect(item) for item in TWO[:suspects]))
    judged = Judged(np.arange(len(labels)), answers, None)
    found = [
        each for each in diagnose(replace(evidence, report=report, judged=judged)) if each.code != "twins"
    ]
    assert [(each.code, each.level) for each in found] == ([("suspect_labels", level)] if level else [])


def test_outliers_backgrounds_and_many_near_duplicates_are_told() -> None:
    evidence = make_evidence(TWO)
    ids = [item.id for item in TWO]
    report = ExaminationReport(
        outliers=(OutlierImage(item=ids[3], similarity=0.1),),
        near_duplicates=NearDuplicates(same_background=(tuple(ids[10:20]),)),
    )
    groups = [[ids[n], ids[n + 1]] for n in range(20, 46, 2)]
    evidence = replace(evidence, report=report, manifest=with_near_groups(evidence.manifest, groups))
    found = {each.code: (each.level, each.number) for each in diagnose(evidence)}
    assert found == {
        "outliers": ("note", 1),
        "same_background": ("note", 10),
        "near_duplicates": ("note", 26),
    }


def test_a_test_that_looks_otherwise_is_found() -> None:
    assert find(make_evidence(TWO, difference=0.9), "different_test").level == "warning"


def make_vectors(manifest: DatasetManifest, *, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    labels = index_dataset(manifest).labels
    vectors = rng.normal(size=(labels.max() + 1, 32))[labels] + rng.normal(size=(len(labels), 32))
    vectors[[item.split == "test" for item in manifest.items], :4] += shift
    return vectors.astype(np.float16)


def test_how_much_test_images_differ_is_measured_within_classes() -> None:
    # Shares of classes differ between train and test, which is no difference of the images.
    shares: list[tuple[str, Split, int]] = [
        *(("a", "train", 100), ("a", "test", 20)),
        *(("b", "train", 30), ("b", "test", 60)),
    ]
    manifest = create_manifest(
        [each for label, split, number in shares for each in make_items(label, number, split)]
    )
    known = index_dataset(manifest)

    def measure(shift: float) -> float:
        found = measure_difference(manifest, known, make_vectors(manifest, shift=shift), lambda: None)
        assert found is not None
        return found

    assert measure(0.0) < 0.65
    assert measure(2.0) > 0.9
    whole = create_manifest(TWO)
    assert measure_difference(whole, index_dataset(whole), make_vectors(whole), lambda: None) is None


def judge(manifest: DatasetManifest, vectors: np.ndarray) -> Judged | None:
    half, known = vectors.astype(np.float16), index_dataset(manifest)
    thumbnails = np.random.default_rng(1).integers(0, 256, (len(half), 32, 32), np.uint8)
    audit = audit_labels(half, known.labels, known.keys, thumbnails)
    return judge_honestly(manifest, known, half, audit, lambda: None)


def test_the_honesty_figure_says_what_a_random_split_claims_and_what_is_true() -> None:
    """Images come in shots of three; the classifier knows a shot again, and nothing else."""
    manifest = create_manifest(TWO)
    order = [item.id for item in manifest.items]
    groups = [order[start : start + 3] for start in range(0, 48, 3)]
    groups += [order[start : start + 3] for start in range(50, 98, 3)]
    joined = with_near_groups(manifest, groups)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(order), 256))
    for start in (*range(0, 48, 3), *range(50, 98, 3)):
        vectors[start : start + 3] = vectors[start] + 0.05 * rng.normal(size=(3, 256))
    judged = judge(joined, vectors)
    assert judged is not None
    assert judged.honesty is not None
    claimed, true = judged.honesty.claimed, judged.honesty.true
    assert claimed.value > 0.8
    assert true.value < 0.6
    assert true.high < claimed.value
    tested, shared = count_shared(joined)
    assert (judged.honesty.test_images, judged.honesty.shared_images) == (tested, shared)
    assert 0.5 * tested < shared <= tested
    alone = judge(manifest, vectors)
    assert alone is not None
    assert alone.honesty is None
    assert count_shared(manifest)[1] == 0


def test_images_of_one_group_count_less_in_an_interval() -> None:
    right = np.repeat(np.arange(60) % 5 > 0, 5)
    single, grouped = estimate(right, np.arange(300)), estimate(right, np.repeat(np.arange(60), 5))
    assert single.value == grouped.value == 0.8
    assert grouped.high - grouped.low > 1.8 * (single.high - single.low)
    perfect = estimate(np.ones(300, bool), np.repeat(np.arange(60), 5))
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert 0.9 < perfect.low < 0.95  # as of sixty images
