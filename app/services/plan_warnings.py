"""What a training will do otherwise than whoever asks for it may think: pure, a sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from app.datasets.manifest import DatasetManifest, Split
from app.datasets.split import SplitMap
from app.schemas.hyperparameters import SplitSettings
from app.words import count

_DRAWN: tuple[Split, ...] = ("valid", "test")


@dataclass(frozen=True)
class PassedOver:
    """A newer dataset than the one that is trained on, and why it was not taken."""

    dataset: str
    reason: str


def warn_of_dataset(taken: str, passed_over: Sequence[PassedOver]) -> list[str]:
    """``taken``: the dataset that is trained on, since none was named."""
    return [
        f"Dataset {one.dataset} is newer, but {one.reason.rstrip('.')}. The training takes {taken}."
        for one in passed_over
    ]


def warn_of_start(network: str, brings: str) -> str:
    """That a training starts from nothing; the weights of ``brings`` would be a better start."""
    other = "" if brings == network else f", and trains {network}"
    return (
        f"The ImageNet weights of {brings} are not on the server, so the training starts from "
        f"nothing{other}. On few images it learns much less so. `loupe weights download {brings}` "
        "brings them; then start it again."
    )


def warn_of_split(manifest: DatasetManifest, asked: SplitSettings, splits: SplitMap) -> list[str]:
    """Where images that came divided are divided otherwise than the settings say, or than they came."""
    if not manifest.is_split:
        return []
    came = {item.split for item in manifest.items if item.split is not None}
    counts = Counter(splits.values())
    drawn = [name for name in _DRAWN if name not in came and counts[name]]
    warnings = []
    shares, usual = ((one.train, one.valid, one.test) for one in (asked, SplitSettings()))
    if not drawn and shares != usual:
        warnings.append(
            "The split that was asked for is not used: the images came divided, and stay as they came."
        )
    warnings += [
        f"The images came without a {name} split: "
        f"{count(counts[name], 'image', 'images')} of train {'was' if counts[name] == 1 else 'were'} taken "
        "for it."
        for name in drawn
    ]
    if left := len(manifest.items) - len(splits):
        images = count(left, "image is", "images are")
        warnings.append(
            f"{images} left out of the splits that the images came with: identical ones, or ones of the same "
            "group, are in another split."
        )
    return warnings
