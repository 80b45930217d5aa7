"""Which images belong together, as the person who imports them says: of one part, one patient, one video."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from app.datasets.layout import Place
from app.datasets.manifest import Item
from app.datasets.names import show
from app.errors import ChoiceNeededError, FieldError
from app.schemas.import_choices import FOLDER, compile_group_pattern

_LISTED = 20


def find_groups(places: Mapping[str, Place], group_by: str | None) -> dict[str, str]:
    """The group of each image that has one, by its full name.

    Raises ChoiceNeededError if no image has one: then something else was meant.
    """
    if group_by is None:
        return {}
    if group_by == FOLDER:
        found = {name: place.folder for name, place in places.items() if place.folder}
    else:
        search = compile_group_pattern(group_by).search
        matches = {name: search(place.name) for name, place in places.items()}
        found = {name: key for name, match in matches.items() if match and (key := match[1])}
    if places and not found:
        seen = ", ".join(show(place.name) for place in list(places.values())[:3])
        missing = "lies in a folder inside its class" if group_by == FOLDER else f"matches {group_by}"
        raise ChoiceNeededError(
            f"no image {missing}, so there would be no groups; names are, for example, {seen}",
            hint="Choose another: `loupe job retry JOB --group-by GROUP_BY`, or `POST /jobs/<id>/retry` "
            '{"group_by": "…"}; the upload is kept. Without groups: import again without group_by.',
            errors=(FieldError("/group_by", "no image has such a group"),),
        )
    return found


def describe_groups(items: Iterable[Item]) -> dict[str, Any] | None:
    """The groups of a dataset, for its report; None if there are none."""
    items = list(items)
    sizes = Counter(item.group for item in items if item.group is not None)
    if not sizes:
        return None
    without = [item.name for item in items if item.group is None]
    homes: dict[str, set[str]] = defaultdict(set)
    for item in items:
        if item.group is not None and item.split is not None:
            homes[item.group].add(item.split)
    crossing = {group for group, splits in homes.items() if len(splits) > 1}
    largest = sorted(sizes.items(), key=lambda each: (-each[1], each[0]))[:_LISTED]
    return {
        "count": len(sizes),
        "largest": [{"group": group, "images": images} for group, images in largest],
        "images_without": len(without),
        "without": without[:_LISTED],
        "across_splits": sorted(crossing)[:_LISTED],
        "total_across_splits": len(crossing),
        "test_images_shared": sum(
            item.split == "test" and item.group is not None and homes[item.group] != {"test"}
            for item in items
        ),
    }
