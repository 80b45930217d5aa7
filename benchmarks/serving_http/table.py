"""The tables: medians over the rounds, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

from benchmarks.serving_http.contenders import CEILING, CONTENDERS
from benchmarks.serving_http.measure import Case, Figures, Start

_TITLES = {contender.name: contender.title for contender in CONTENDERS} | {CEILING: "bare loop, no server"}
_PEERS = frozenset(contender.name for contender in CONTENDERS if contender.is_peer)
_ORDER = list(_TITLES)
_HEADS = (
    "connections",
    "server",
    "requests/s",
    "× best peer",
    "× bare loop",
    "p50 ms",
    "p99 ms",
    "memory MB",
    "core-ms/request",
    "not 200",
    "wrong",
)


def render_figures(rounds: Mapping[Case, Sequence[Figures]]) -> str:
    """A table for each network and kind of images."""
    medians = {case: _median(figures) for case, figures in rounds.items()}
    parts = []
    for network, images in dict.fromkeys((case.network, case.images) for case in medians):
        chosen = {
            case: one for case, one in medians.items() if (case.network, case.images) == (network, images)
        }
        parts.append(f"**{network}, {images}**\n\n{_render_one(chosen)}")
    return "\n\n".join(parts)


def render_starts(starts: Mapping[tuple[str, str], Sequence[Start]]) -> str:
    """From the start of the process to the first prediction, and the memory then."""
    rows = []
    for (network, contender), measured in sorted(
        starts.items(), key=lambda item: (item[0][0], _ORDER.index(item[0][1]))
    ):
        seconds = statistics.median(one.seconds for one in measured)
        memory = statistics.median(one.memory_mb for one in measured)
        processes = str(max(one.processes for one in measured))
        rows.append((network, _TITLES[contender], f"{seconds:.2f}", f"{memory:.0f}", processes))
    heads = ("network", "server", "first prediction after s", "memory then MB", "processes")
    return _render_rows(heads, rows, text_columns=2)


def _render_one(medians: Mapping[Case, Figures]) -> str:
    ceiling = next(
        (one.requests_per_second for case, one in medians.items() if case.contender == CEILING), 0.0
    )
    rows = []
    for case in sorted(medians, key=lambda case: (case.connections, _ORDER.index(case.contender))):
        one = medians[case]
        best_peer = max(
            (
                other.requests_per_second
                for peer, other in medians.items()
                if peer.contender in _PEERS and peer.connections == case.connections
            ),
            default=0.0,
        )
        rows.append(
            (
                str(case.connections or "–"),
                _TITLES[case.contender],
                f"{one.requests_per_second:.1f}",
                _ratio(one.requests_per_second, best_peer),
                _ratio(one.requests_per_second, ceiling),
                f"{one.p50:.1f}",
                f"{one.p99:.1f}",
                f"{one.memory_mb:.0f}",
                f"{one.cpu_ms:.1f}",
                str(one.failed),
                str(one.wrong),
            )
        )
    return _render_rows(_HEADS, rows, text_columns=2)


def _median(rounds: Sequence[Figures]) -> Figures:
    """Of answers that failed and that were wrong, all: a single one is worth a look."""
    values = {entry.name: [getattr(one, entry.name) for one in rounds] for entry in fields(Figures)}
    counted = {name: sum(values.pop(name)) for name in ("failed",)} | {"wrong": max(values.pop("wrong"))}
    return Figures(**{name: statistics.median(each) for name, each in values.items()}, **counted)


def _ratio(value: float, other: float) -> str:
    return f"{value / other:.2f}" if other else "–"


def _render_rows(heads: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int) -> str:
    """Aligned, so that a terminal shows it as well as a page."""
    cells = [tuple(heads), *map(tuple, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if column < text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        "-" * (width + 2) if column < text_columns else "-" * (width + 1) + ":"
        for column, width in enumerate(widths)
    )
    return "\n".join([line(cells[0]), f"|{rule}|", *map(line, cells[1:])])
