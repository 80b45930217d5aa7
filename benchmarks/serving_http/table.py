"""The tables: medians over the rounds, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

from benchmarks.serving_http.contenders import CEILING, CONTENDERS
from benchmarks.serving_http.measure import Case, Figures, Start
from benchmarks.serving_http.servers import Memory

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
    "RSS MB",
    "PSS MB",
    "core-ms/request",
    "not 200",
    "wrong",
)


def render_figures(rounds: Mapping[Case, Sequence[Figures]]) -> str:
    """A table for each network and kind of images."""
    parts = []
    for network, images in dict.fromkeys((case.network, case.images) for case in rounds):
        chosen = {
            case: figures
            for case, figures in rounds.items()
            if (case.network, case.images) == (network, images)
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
        memory = _median_memory([one.memory for one in measured])
        processes = str(max(one.processes for one in measured))
        of_first = statistics.median(one.first_process_mb for one in measured)
        numbers = (
            f"{seconds:.2f}",
            f"{of_first:.0f}",
            f"{memory.rss_mb:.0f}",
            f"{memory.pss_mb:.0f}",
            processes,
        )
        rows.append((network, _TITLES[contender], *numbers))
    heads = (
        "network",
        "server",
        "first prediction after s",
        "first process RSS MB",
        "all RSS MB",
        "all PSS MB",
        "processes",
    )
    return _render_rows(heads, rows, text_columns=2)


def _render_one(rounds: Mapping[Case, Sequence[Figures]]) -> str:
    ceiling = next((figures for case, figures in rounds.items() if case.contender == CEILING), ())
    rows = []
    for case in sorted(rounds, key=lambda case: (case.connections, _ORDER.index(case.contender))):
        peers = [
            figures
            for other, figures in rounds.items()
            if other.contender in _PEERS and other.connections == case.connections
        ]
        best_peer = max(peers, key=lambda figures: _median(figures).requests_per_second, default=())
        one = _median(rounds[case])
        rows.append(
            (
                str(case.connections or "–"),
                _TITLES[case.contender],
                f"{one.requests_per_second:.1f}",
                _ratio(rounds[case], best_peer),
                _ratio(rounds[case], ceiling),
                f"{one.p50:.1f}",
                f"{one.p99:.1f}",
                f"{one.memory.rss_mb:.0f}",
                f"{one.memory.pss_mb:.0f}",
                f"{one.cpu_ms:.1f}",
                str(one.failed),
                str(one.wrong),
            )
        )
    return _render_rows(_HEADS, rows, text_columns=2)


def _ratio(rounds: Sequence[Figures], others: Sequence[Figures]) -> str:
    """The median over the rounds of what one is to the other: both met about the same machine."""
    ratios = [
        one.requests_per_second / other.requests_per_second
        for one, other in zip(rounds, others, strict=False)
        if other.requests_per_second
    ]
    return f"{statistics.median(ratios):.2f}" if ratios else "–"


def _median(rounds: Sequence[Figures]) -> Figures:
    """Of answers that failed or were wrong, the sum: a single one is worth a look."""
    values = {entry.name: [getattr(one, entry.name) for one in rounds] for entry in fields(Figures)}
    counted = {name: sum(values.pop(name)) for name in ("failed", "wrong")}
    memory = _median_memory(values.pop("memory"))
    medians = {name: statistics.median(each) for name, each in values.items()}
    return Figures(**medians, **counted, memory=memory)


def _median_memory(measured: Sequence[Memory]) -> Memory:
    return Memory(
        statistics.median(one.rss_mb for one in measured), statistics.median(one.pss_mb for one in measured)
    )


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
