"""Figures as SVG that takes its colours from the page: in light, in dark and on paper.

matplotlib draws lines, axes and numbers alone. Words from outside, such as names of classes, stand in the
page's own text beside the figure: there they are escaped, wrap, and are found in the user's fonts.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

Scale = Literal["share", "rising share", "number"]
"""``share``: 0 to 100 %; ``rising share``: from 0 % as far as needed."""

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
# Colours that stand for a class of the style sheet until the drawing is done.
_INK, _MUTED, _GRID = "#010101", "#020202", "#030303"
_SERIES = ("#0a0a01", "#0a0a02", "#0a0a03", "#0a0a04", "#0a0a05", "#0a0a06", "#0a0a07")
_NAMES = {_INK: "ink", _MUTED: "muted", _GRID: "grid"} | {
    colour: f"s{number}" for number, colour in enumerate(_SERIES)
}
DASHES: tuple[Any, ...] = (
    "solid",
    (0, (6, 2)),
    (0, (2, 2)),
    (0, (8, 2, 2, 2)),
    (0, (10, 3)),
    (0, (1, 2)),
    (0, (4, 2, 1, 2, 1, 2)),
)
"""A line is known by its dashes too, never by its colour alone."""
DASH_ARRAYS = ("", "9 3", "3 3", "12 3 3 3", "15 4.5", "1.5 3", "6 3 1.5 3 1.5 3")
"""The same for the samples in the legend."""
_WIDTH, _HEIGHT = 3.6, 2.9
_SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "loupe",
    "text.parse_math": False,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "lines.linewidth": 1.5,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Line:
    """A series of a figure. ``style`` chooses colour and dashes, see ``DASHES``; ``marks``: a dot a point."""

    x: Sequence[float]
    y: Sequence[float]
    style: int
    is_stepped: bool = False
    marks: bool = False


@dataclass(frozen=True)
class Bar:
    """A bar from ``low`` to ``high`` on the abscissa with its height and that height's interval."""

    low: float
    high: float
    height: float
    interval: tuple[float, float]
    x: float


def draw_lines(
    name: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    x_scale: Scale = "share",
    y_scale: Scale = "share",
    chance: Sequence[tuple[float, float]] = (),
) -> str:
    """Lines as an SVG element. ``name``: unique in the page. ``chance``: a line to compare with."""
    with matplotlib.rc_context(_SETTINGS):
        figure, axes = _begin(x_label, y_label)
        if chance:
            axes.plot(*zip(*chance, strict=True), color=_MUTED, linewidth=1, linestyle=(0, (1, 3)))
        for line in lines:
            axes.plot(
                line.x,
                line.y,
                color=_SERIES[line.style],
                linestyle=DASHES[line.style],
                drawstyle="steps-post" if line.is_stepped else "default",
                marker="o" if line.marks else None,
                markersize=3,
            )
        _scale(axes, x_scale, y_scale)
        return _to_svg(figure, name)


def draw_bars(name: str, bars: Sequence[Bar], *, x_label: str, y_label: str) -> str:
    """Bars with intervals beside the diagonal, on which height and abscissa are equal."""
    with matplotlib.rc_context(_SETTINGS):
        figure, axes = _begin(x_label, y_label)
        axes.plot((0, 1), (0, 1), color=_MUTED, linewidth=1, linestyle=(0, (1, 3)))
        for bar in bars:
            axes.bar(
                bar.low,
                bar.height,
                bar.high - bar.low,
                align="edge",
                facecolor=_SERIES[0],
                edgecolor=_SERIES[0],
                alpha=0.35,
            )
            axes.plot((bar.x, bar.x), bar.interval, color=_INK, linewidth=1)
            axes.plot([bar.x], [bar.height], color=_INK, marker="o", markersize=3.5)
        _scale(axes, "share", "share")
        return _to_svg(figure, name)


def _begin(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    axes = figure.subplots()
    axes.patch.set_visible(False)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure, axes


def _scale(axes: Axes, x_scale: Scale, y_scale: Scale) -> None:
    for axis, scale, limit in ((axes.xaxis, x_scale, axes.set_xlim), (axes.yaxis, y_scale, axes.set_ylim)):
        highest = float(axis.get_data_interval()[1])
        if scale == "share":
            axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
            limit(-0.02, 1.02)
        elif scale == "rising share":
            axis.set_major_formatter(PercentFormatter(1, symbol=" %"))
            axis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
            limit(0, max(0.01, 1.05 * highest))
        elif axis is axes.xaxis:
            axis.set_major_locator(MaxNLocator(5, integer=True))
        else:
            axis.set_major_locator(MaxNLocator(5))
            limit(0, 1.05 * highest or 1)


def _to_svg(figure: Figure, name: str) -> str:
    """The drawing as an element to put into a page: its names are unique there, its colours are classes."""
    output = io.BytesIO()
    figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(output.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    for element in root.iter():
        _restyle(element)
        _rename(element, name)
        element.tag = element.tag.removeprefix(_SVG)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "class": "plot",
        "role": "img",
        "aria-labelledby": f"{name}-title",
        "aria-describedby": f"{name}-text",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _restyle(element: ElementTree.Element) -> None:
    """Attributes in place of a style, which the page's policy refuses; classes in place of colours."""
    classes = []
    for declaration in element.attrib.pop("style", "").split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if value in _NAMES:
            classes.append(f"{key[0]}-{_NAMES[value]}")
        elif key == "font":
            size = re.match(r"([0-9.]+)px", value)
            element.attrib["font-size"] = size[1] if size else "9"
        elif key.startswith(("text-", "fill", "stroke", "opacity", "clip")):
            element.attrib[key] = value
    if element.tag == f"{_SVG}text" and not any(each.startswith("f-") for each in classes):
        classes.append("f-ink")
    if classes:
        element.attrib["class"] = " ".join(classes)


def _rename(element: ElementTree.Element, name: str) -> None:
    if "id" in element.attrib:
        # Groups have names of their own, to which nothing refers.
        if element.tag == f"{_SVG}g":
            del element.attrib["id"]
        else:
            element.attrib["id"] = f"{name}-{element.attrib['id']}"
    if _LINK in element.attrib:
        element.attrib["href"] = f"#{name}-{element.attrib.pop(_LINK).removeprefix('#')}"
    if "clip-path" in element.attrib:
        element.attrib["clip-path"] = element.attrib["clip-path"].replace("url(#", f"url(#{name}-")
