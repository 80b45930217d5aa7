"""The work of the child that makes the page of an evaluation."""

from __future__ import annotations

import time
from base64 import b64encode
from dataclasses import dataclass, replace
from pathlib import Path

from app import __version__
from app.child import Reporter, StopSignal
from app.datasets.pictures import decode_item
from app.errors import DatasetError
from app.evaluation.analysis.files import CURVES
from app.evaluation.analysis.spec import Curves
from app.evaluation.page import figures, tables
from app.evaluation.page.maps import Map, draw_maps
from app.evaluation.page.policy import STYLE
from app.evaluation.page.spec import PAGE, Example, PageResult, PageSpec
from app.evaluation.page.template import render
from app.evaluation.page.words import share, shown
from app.host.files import write_aside
from app.images.memory_limit import limit_memory
from app.images.thumbnails import MEDIA_TYPE, encode_thumbnail, fit_within
from app.schemas.message import parse_message

THUMBNAIL_PIXELS = 192
_IMAGE_SECONDS = 20.0
"""For the images of a page: later ones are left out, such as behind some that take seconds each."""


@dataclass(frozen=True)
class Card:
    """An example as it is shown. ``source``: the thumbnail as a data URL; else ``missing`` says why not.

    ``map``: what the network looked at, where that is known.
    """

    name: str
    true: str
    predicted: str
    probability: str
    of_true: str
    source: str | None
    missing: str | None
    width: int
    height: int
    map: Map | None


def make_page(spec: PageSpec, folder: Path, _: Reporter, __: StopSignal) -> PageResult:
    """Leaves report.html in ``folder``."""
    limit_memory(spec.memory_bytes)
    curves = parse_message(Curves, (spec.analysis / CURVES).read_bytes(), CURVES)
    deadline = time.monotonic() + _IMAGE_SECONDS
    mistakes = [_make_card(spec, example, deadline) for example in spec.mistakes]
    doubtful = [_make_card(spec, example, deadline) for example in spec.doubtful]
    maps = draw_maps(spec, spec.mistakes)
    mistakes = [replace(card, map=drawn) for card, drawn in zip(mistakes, maps.drawn, strict=True)]
    classes, classes_left_out = tables.list_classes(spec.evaluation, curves)
    confusions, total_confusions = tables.list_confusions(spec.evaluation)
    text = render(
        style=STYLE,
        version=__version__,
        spec=spec,
        evaluation=spec.evaluation,
        curves=curves,
        right=_count_right(spec),
        classes=classes,
        classes_left_out=classes_left_out,
        matrix=tables.fill_matrix(spec.evaluation),
        confusions=confusions,
        total_confusions=total_confusions,
        mistakes=mistakes,
        maps=maps,
        doubtful=doubtful,
        drawn_classes=tables.DRAWN_CLASSES,
        roc=figures.draw_roc(curves),
        precision_recall=figures.draw_precision_recall(curves),
        reliability=figures.draw_reliability(curves),
        risk=figures.draw_risk(curves),
        risks=tables.list_risks(curves.risk_coverage),
        training=figures.draw_training(spec.training),
    )
    with write_aside(folder / PAGE) as aside:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")
    return PageResult(
        bytes=(folder / PAGE).stat().st_size,
        images_missing=sum(card.source is None for card in (*mistakes, *doubtful)),
    )


def _make_card(spec: PageSpec, example: Example, deadline: float) -> Card:
    source, missing, size = None, None, (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS)
    if example.image is None:
        missing = "This image is not in the dataset any more."
    elif time.monotonic() > deadline:
        missing = "Left out: the images before it took too long to read."
    else:
        item = example.image
        fit = fit_within(item.width, item.height, THUMBNAIL_PIXELS)
        try:
            jpeg = encode_thumbnail(decode_item(spec.images, item, spec.pixel_range, fit))
            source = f"data:{MEDIA_TYPE};base64,{b64encode(jpeg).decode()}"
            size = fit.size
        except DatasetError:
            missing = "The file of this image is missing or damaged."
        except MemoryError:
            missing = "This image takes too much memory to read."
    return Card(
        name=shown(example.name),
        true=shown(example.true),
        predicted=shown(example.predicted),
        probability=share(example.probability),
        of_true=share(example.of_true),
        source=source,
        missing=missing,
        width=size[1],
        height=size[0],
        map=None,
    )


def _count_right(spec: PageSpec) -> int:
    counts = spec.evaluation.confusion_matrix["counts"]
    return sum(row[index] for index, row in enumerate(counts))
