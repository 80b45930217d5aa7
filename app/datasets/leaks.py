"""Whether a model can be tested on another dataset: only on images that it did not learn from."""

from __future__ import annotations

from app.datasets.manifest import DatasetManifest
from app.datasets.split import SplitMap
from app.errors import FieldError, InvalidRequestError, LeakError

SHOWN = 20
NAMED = 3
_FIELD = "/evaluation_dataset"


def check_evaluation_dataset(
    dataset_id: str, tested: DatasetManifest, trained: DatasetManifest, splits: SplitMap
) -> None:
    """``tested``: the evaluation dataset; ``trained``: what is split. Both with the classes that are learned.

    Raises LeakError for images that are in train or valid too, by the SHA-256 of their bytes, and
    InvalidRequestError when no image could be answered rightly.
    """
    if not set(tested.classes) & set(trained.classes):
        raise InvalidRequestError(
            f"Evaluation dataset {dataset_id} has no image of a class that the training learns.",
            hint=f"The training learns: {', '.join(trained.classes)}.",
            errors=(FieldError(_FIELD, "no class in common"),),
        )
    learned = {
        item.sha256: (item.name, split)
        for item in trained.items
        if (split := splits.get(item.id)) in ("train", "valid")
    }
    leaks = [item for item in tested.items if item.sha256 in learned]
    if not leaks:
        return
    named = ", ".join(item.name for item in leaks[:NAMED])
    images, are = ("image", "is") if len(leaks) == 1 else ("images", "are")
    raise LeakError(
        f"{len(leaks):,} {images} of evaluation dataset {dataset_id} {are} also in train or valid: {named}"
        f"{f' and {len(leaks) - NAMED:,} more' if len(leaks) > NAMED else ''}.",
        hint="An accuracy on them would say nothing. Import the evaluation dataset without them, or train on "
        "a dataset without them.",
        errors=tuple(
            FieldError(_FIELD, "{} is {} in {}".format(item.name, *learned[item.sha256]))
            for item in leaks[:SHOWN]
        ),
    )
