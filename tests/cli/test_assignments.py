from __future__ import annotations

import json
from typing import Any

import pytest

from app.cli.assignments import parse_assignments, parse_shares, parse_value
from app.cli.client import CommandError
from app.schemas.hyperparameters import Hyperparameters, SplitSettings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20", 20),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("true", True),
        ("null", None),
        ("none", "none"),
        ("NaN", "NaN"),
        ("96x128", [96, 128]),
        ("[96, 128]", [96, 128]),
        ('{"patience": 5}', {"patience": 5}),
        ("cosine", "cosine"),
        ("", ""),
        ("0x10", [0, 10]),
    ],
)
def test_values_are_typed_as_json_types_them(text: str, value: Any) -> None:
    parsed = parse_value(text)

    assert parsed == value
    assert type(parsed) is type(value)


def test_dots_go_into_objects_and_split_stands_apart() -> None:
    hyperparameters, split = parse_assignments(
        ["epochs=5", "early_stopping.patience=3", "class_weights.a b=2", "split.train=0.8", "split.seed=1"]
    )

    assert hyperparameters == {"epochs": 5, "early_stopping": {"patience": 3}, "class_weights": {"a b": 2}}
    assert split == {"train": 0.8, "seed": 1}


@pytest.mark.parametrize("assignment", ["epochs", "=3", "a..b=1", ".a=1"])
def test_what_is_no_assignment_is_named(assignment: str) -> None:
    with pytest.raises(CommandError, match="is not name=value"):
        parse_assignments([assignment])


@pytest.mark.parametrize("assignments", [["a=1", "a.b=2"], ["split=1"]])
def test_a_value_cannot_also_be_an_object(assignments: list[str]) -> None:
    with pytest.raises(CommandError):
        parse_assignments(assignments)


def test_every_default_can_be_written_as_an_assignment() -> None:
    def written(value: Any) -> str:
        # 1 is no way to write true: 1 == True, so a lookup in a dictionary would find it.
        is_constant = value is None or isinstance(value, bool)
        return json.dumps(value) if is_constant else str(value)

    defaults = Hyperparameters().model_dump()
    hyperparameters, _ = parse_assignments([f"{name}={written(value)}" for name, value in defaults.items()])
    _, split = parse_assignments([f"split.{name}={written(value)}" for name, value in SplitSettings()])

    assert Hyperparameters(**hyperparameters) == Hyperparameters()
    assert SplitSettings(**split) == SplitSettings()


@pytest.mark.parametrize(
    ("text", "seed", "split"),
    [
        ("70/15/15", 0, {"train": 0.7, "valid": 0.15, "test": 0.15, "seed": 0}),
        ("0.7/0.15/0.15", None, {"train": 0.7, "valid": 0.15, "test": 0.15}),
        ("33.3/33.3/33.4", None, {"train": 0.333, "valid": 0.333, "test": 0.334}),
        ("80/20/0", None, {"train": 0.8, "valid": 0.2, "test": 0}),
        ("1000/200/200", 3, {"train": 1000, "valid": 200, "test": 200, "seed": 3}),
    ],
)
def test_shares_are_percentages_ratios_or_counts(text: str, seed: int | None, split: dict[str, Any]) -> None:
    parsed = parse_shares(text, seed=seed)

    assert parsed == pytest.approx(split)
    assert SplitSettings.model_validate(parsed).is_counts == (split["train"] >= 1)


@pytest.mark.parametrize("text", ["70/30", "a/b/c", "", "70/15/15/0", "70,15,15"])
def test_what_is_no_split_is_named(text: str) -> None:
    with pytest.raises(CommandError, match="is not a split") as caught:
        parse_shares(text, seed=None)
    assert "70/15/15" in (caught.value.hint or "")
