"""The figures of the page: each a drawing, a legend, and a table of the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.evaluation.analysis.spec import Curves, Reliability
from app.evaluation.page.plots import DASH_ARRAYS, Bar, Line, draw_bars, draw_lines
from app.evaluation.page.spec import Training
from app.evaluation.page.tables import drawn_classes, sample
from app.evaluation.page.words import number, share, shown

_AT = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
_MOST_EPOCHS = 50
"""Rows of the table of epochs: of more, evenly chosen ones."""


@dataclass(frozen=True)
class Series:
    """An entry of the legend: ``style`` chooses colour and dashes."""

    name: str
    note: str
    style: int

    @property
    def dashes(self) -> str:
        return DASH_ARRAYS[self.style]


@dataclass(frozen=True)
class Figure:
    """``svg`` is made here and safe; all else is text to escape."""

    name: str
    title: str
    text: str
    svg: str
    legend: tuple[Series, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def draw_roc(curves: Curves) -> Figure | None:
    """None where no class has both images and others."""
    if curves.macro is None:
        return None
    lines, legend, heights = [], [], []
    averages = [("mean of the classes", curves.macro.roc)]
    if curves.micro is not None:
        averages.append(("all pairs of image and class", curves.micro.roc))
    single = [(shown(each.name, 30), each.roc) for each in drawn_classes(curves) if each.roc is not None]
    for style, (name, curve) in enumerate([*averages, *single]):
        x, y = curve.false_positive_rate, curve.true_positive_rate
        lines.append(Line(x, y, style))
        legend.append(Series(name, f"area {number(curve.area)}", style))
        heights.append(sample(x, y, _AT))
    return Figure(
        name="roc",
        title="Found against falsely found (ROC)",
        text="Share of a class's images that are found, against the share of other images that are taken for "
             "the class. On the dotted line the answers are chance.",
        svg=draw_lines("roc", lines[::-1], x_label="others taken for the class", y_label="found",
                       chance=((0, 0), (1, 1))),
        legend=tuple(legend),
        columns=("falsely found", *(entry.name for entry in legend)),
        rows=tuple(zip(map(share, _AT), *heights, strict=True)),
    )  # fmt: skip


def draw_precision_recall(curves: Curves) -> Figure | None:
    """None where no class has both images and others."""
    single = [
        (shown(each.name, 30), each.precision_recall, style)
        for style, each in enumerate(drawn_classes(curves), start=2)
        if each.precision_recall is not None
    ]
    if curves.macro is None:
        return None
    series = single
    if curves.micro is not None:
        series = [("all pairs of image and class", curves.micro.precision_recall, 1), *single]
    lines, legend, heights = [], [], []
    for name, curve, style in series:
        lines.append(Line(curve.recall, curve.precision, style, is_stepped=True))
        legend.append(Series(name, f"average precision {number(curve.average_precision)}", style))
        heights.append(sample(curve.recall, curve.precision, _AT, is_stepped=True))
    return Figure(
        name="precision-recall",
        title="Right among found, against found (precision and recall)",
        text="Share of the answers that are right, against the share of a class's images that are found. "
        f"Mean average precision of {curves.macro.classes} classes: "
        f"{number(curves.macro.average_precision)}.",
        svg=draw_lines(
            "precision-recall", lines[::-1], x_label="found (recall)", y_label="right (precision)"
        ),
        legend=tuple(legend),
        columns=("found", *(entry.name for entry in legend)),
        rows=tuple(zip(map(share, _AT), *heights, strict=True)),
    )


def draw_reliability(curves: Curves) -> tuple[Figure, ...]:
    """Of the served probabilities; of a calibrated model also of those before calibration."""
    title = "How sure, and how often right (reliability)"
    served = _draw_bins("reliability", title, curves.reliability)
    if curves.reliability_before is None:
        return (served,)
    return served, _draw_bins("reliability-before", "The same before calibration", curves.reliability_before)


def _draw_bins(name: str, title: str, reliability: Reliability) -> Figure:
    """Bins without images are left out."""
    bars, rows = [], []
    for each in reliability.bins:
        if each.confidence is None or each.accuracy is None:
            continue
        low, high = each.accuracy_low or 0.0, each.accuracy_high or 0.0
        bars.append(Bar(each.low, each.high, each.accuracy, (low, high), each.confidence))
        rows.append(
            (
                f"{share(each.low)} to {share(each.high)}",
                f"{each.items:,}",
                share(each.confidence),
                share(each.accuracy),
                f"{share(low)} to {share(high)}",
            )
        )
    return Figure(
        name=name,
        title=title,
        text="Bars: share of right answers among the images whose probability lies in the bar's range. Dot "
        "and line: the mean probability, and the 95 % interval of the share. On the dotted line both are "
        f"equal. Expected calibration error: {share(reliability.ece)}.",
        svg=draw_bars(name, bars, x_label="probability of the answer", y_label="right"),
        legend=(),
        columns=("probability", "images", "mean probability", "right", "95 % interval"),
        rows=tuple(rows),
    )


def draw_risk(curves: Curves) -> Figure:
    """The table is beside the figure for everybody, so it has none of its own."""
    curve = curves.risk_coverage
    return Figure(
        name="risk",
        title="Wrong among answered, against answered (risk and coverage)",
        text="If only the surest images are answered, the share of these answers that is wrong. Area under "
        f"the curve: {number(curve.area, 4)}; 0 is best.",
        svg=draw_lines(
            "risk",
            [Line(curve.coverage, curve.risk, 0)],
            x_label="answered (coverage)",
            y_label="wrong (risk)",
            y_scale="rising share",
        ),
        legend=(),
        columns=(),
        rows=(),
    )


def draw_training(training: Training | None) -> tuple[Figure, ...]:
    """Loss, accuracy and learning rate; nothing of a model that was trained elsewhere."""
    if training is None or not training.epochs:
        return ()
    epochs = training.epochs
    best = next((epoch.epoch for epoch in reversed(epochs) if epoch.is_best), None)
    kept = "" if best is None else f" The weights of epoch {best} were kept."
    shown_epochs = epochs[:: -(-len(epochs) // _MOST_EPOCHS)]
    loss = [("train", [(e.epoch, e.train_loss) for e in epochs])]
    loss.append(("valid", [(e.epoch, e.valid_loss) for e in epochs if e.valid_loss is not None]))
    accuracy = [("train", [(e.epoch, e.train_accuracy) for e in epochs])]
    accuracy.append(("valid", [(e.epoch, e.valid_accuracy) for e in epochs if e.valid_accuracy is not None]))
    return (
        Figure(
            name="loss",
            title="Loss",
            text=f"Mean loss of each epoch.{kept}",
            svg=_draw_epochs("loss", loss, y_label="loss", is_share=False),
            legend=_legend(loss),
            columns=("epoch", "train", "valid"),
            rows=tuple(
                (str(e.epoch), number(e.train_loss, 4), number(e.valid_loss, 4)) for e in shown_epochs
            ),
        ),
        Figure(
            name="accuracy",
            title="Accuracy",
            text=f"Share of right answers in each epoch.{kept}",
            svg=_draw_epochs("accuracy", accuracy, y_label="right", is_share=True),
            legend=_legend(accuracy),
            columns=("epoch", "train", "valid"),
            rows=tuple(
                (str(e.epoch), share(e.train_accuracy), share(e.valid_accuracy)) for e in shown_epochs
            ),
        ),
        *_draw_learning_rate(training),
    )


def _draw_learning_rate(training: Training) -> tuple[Figure, ...]:
    rates = training.learning_rates
    if not rates:
        return ()
    chosen = rates[:: -(-len(rates) // 20)]
    return (
        Figure(
            name="learning-rate",
            title="Learning rate",
            text="Learning rate of each step of the optimizer.",
            svg=draw_lines(
                "learning-rate",
                [Line([step for step, _ in rates], [rate for _, rate in rates], 0)],
                x_label="step",
                y_label="learning rate",
                x_scale="number",
                y_scale="number",
            ),
            legend=(),
            columns=("step", "learning rate"),
            rows=tuple((f"{step:,}", f"{rate:.2e}") for step, rate in chosen),
        ),
    )


def _draw_epochs(
    name: str, series: Sequence[tuple[str, Sequence[tuple[int, float]]]], *, y_label: str, is_share: bool
) -> str:
    lines = [
        Line([epoch for epoch, _ in points], [value for _, value in points], style, marks=len(points) < 20)
        for style, (_, points) in enumerate(series)
        if points
    ]
    return draw_lines(
        name,
        lines,
        x_label="epoch",
        y_label=y_label,
        x_scale="number",
        y_scale="share" if is_share else "number",
    )


def _legend(series: Sequence[tuple[str, Sequence[tuple[int, float]]]]) -> tuple[Series, ...]:
    return tuple(Series(name, "", style) for style, (name, points) in enumerate(series) if points)
