"""Which test images are new to models that may come from other datasets."""

from __future__ import annotations

from dataclasses import replace

from app.datasets.manifest import Item
from app.datasets.unseen import find_learned, leave_out_learned


def image(number: int, **changes: str) -> Item:
    item = Item(f"img_{number}", f"a/{number}.png", "a", None, 8, 8, "png", f"{number:064x}", 100)
    return replace(item, **changes)  # type: ignore[arg-type]


def unseen(tested: list[Item], *learned: Item) -> list[str]:
    return [item.id for item, _ in leave_out_learned(tested, learned)]


def test_train_and_valid_are_learned_and_test_is_not() -> None:
    items = [image(number) for number in range(4)]
    split = {"img_0": "train", "img_1": "valid", "img_2": "test"}
    assert [item.id for item in find_learned(items, split)] == ["img_0", "img_1"]


def test_the_same_bytes_under_another_name_and_label_are_left_out() -> None:
    tested = [image(0), image(1)]
    assert unseen(tested, replace(image(0), id="img_9", name="b/x.png", label="b")) == ["img_1"]


def test_images_of_a_group_or_near_one_that_was_learned_are_left_out() -> None:
    tested = [image(0, group="part7"), image(1, group="part8"), image(2, near_group="img_5"), image(3)]
    learned = [image(4, group="part7"), image(5, near_group="img_5")]
    assert unseen(tested, *learned) == ["img_1", "img_3"]


def test_groups_and_near_duplicates_join_over_others() -> None:
    """One shows what a learned image shows, and is of the group of another."""
    tested = [image(0, group="part7"), image(1, group="part7", near_group="img_5")]
    assert unseen(tested, image(5, near_group="img_5")) == []


def test_those_that_belong_together_share_a_key() -> None:
    tested = [image(0, group="part7"), image(1, group="part7"), image(2)]
    wholes = [whole for _, whole in leave_out_learned(tested, [])]
    assert wholes[0] == wholes[1] != wholes[2]
