from __future__ import annotations

from typing import Any

import pytest

from app.datasets.class_map import apply_class_map, check_class_map
from app.errors import InvalidRequestError
from app.schemas.class_map import ClassMap

ROWS = [(label, f"{label}{n}", None) for label in ("a", "b", "c", "d") for n in range(3)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"a": 3, "b": 3, "c": 3, "d": 3}),
        ({"keep": ["a", "b"]}, {"a": 3, "b": 3}),
        ({"drop": ["a"]}, {"b": 3, "c": 3, "d": 3}),
        ({"merge": {"x": ["a", "b"]}}, {"c": 3, "d": 3, "x": 6}),
        ({"merge": {"a": ["a", "b"]}}, {"a": 6, "c": 3, "d": 3}),
        ({"keep": ["c"], "merge": {"x": ["a", "b"]}}, {"c": 3, "x": 6}),
        ({"drop": ["d"], "merge": {"x": ["a", "b"]}}, {"c": 3, "x": 6}),
        ({"merge": {"b": ["a"], "a": ["b"]}}, {"a": 3, "b": 3, "c": 3, "d": 3}),
    ],
)
def test_classes_leave_and_become_one(
    make_manifest: Any, given: dict[str, Any], expected: dict[str, int]
) -> None:
    whole = make_manifest(ROWS)
    check_class_map(ClassMap(**given), whole.classes)
    chosen = apply_class_map(whole, ClassMap(**given))
    assert chosen.class_counts == expected
    assert {item.id for item in chosen.items} <= {item.id for item in whole.items}
    assert (chosen.digest == whole.digest) == (chosen.items == whole.items)


@pytest.mark.parametrize(
    "given",
    [
        {"keep": ["a"], "drop": ["b"]},
        {"drop": ["a"], "merge": {"x": ["a", "b"]}},
        {"drop": ["a"], "merge": {"a": ["b"]}},
        {"merge": {"x": ["a", "b"], "y": ["b", "c"]}},
        {"merge": {" ": ["a", "b"]}},
        {"merge": {"x": []}},
        {"keep": []},
        {"other": 1},
    ],
)
def test_a_map_that_contradicts_itself_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ClassMap"):
        ClassMap(**given)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"keep": ["a", "z"]}, "does not have: z"),
        ({"drop": ["z"]}, "does not have: z"),
        ({"merge": {"x": ["a", "z"]}}, "does not have: z"),
        ({"merge": {"c": ["a", "b"]}}, "'c', which is a class"),
    ],
)
def test_a_map_that_does_not_fit_the_dataset_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidRequestError, match=match) as caught:
        check_class_map(ClassMap(**given), ("a", "b", "c", "d"))
    assert caught.value.hint


def test_another_dataset_may_lack_the_classes_and_have_the_new_name(make_manifest: Any) -> None:
    other = make_manifest([("x", "1", None), ("a", "2", None), ("q", "3", None)])
    chosen = apply_class_map(other, ClassMap(keep=["c"], merge={"x": ["a", "b"]}))
    assert chosen.class_counts == {"x": 2}
