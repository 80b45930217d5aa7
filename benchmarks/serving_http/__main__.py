"""Loupe beside other servers, over HTTP: ``make bench-serving``.

Each server gets the same weights, the same images and the same form. They take turns, one at a time, round
after round: one is started, asked for every image, compared with the bare loop, loaded and ended. The figures
are medians over the rounds. A quick run of two minutes:

    make bench-serving ARGS="--networks mobilenet_v2 --images 110kB --connections 8 --rounds 2"

Other work on the machine changes the order: the system gives each process its share, and servers have one to
six of them. Core-milliseconds a request change least.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.serving_http.contenders import CEILING, CONTENDERS, PEERS_PYTHON
from benchmarks.serving_http.images import KINDS, make_images
from benchmarks.serving_http.measure import (
    Case,
    Figures,
    ImageSet,
    Start,
    measure_ceiling,
    measure_contender,
)
from benchmarks.serving_http.servers import StartError
from benchmarks.serving_http.table import render_figures, render_starts

NETWORKS = ("mobilenet_v2", "resnet50", "efficientnet_b0")
CONNECTIONS = (1, 8, 32)
PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
MARKS = ("<!-- figures -->", "<!-- end of figures -->")
VERSIONS = ("ai-edge-litert", "bentoml", "fastapi", "litserve", "pillow", "tensorflow", "uvicorn")


def main() -> None:
    arguments = _parse_arguments()
    if not PEERS_PYTHON.exists():
        sys.exit(f"{PEERS_PYTHON} is missing: `make bench-serving` makes it.")
    kept = arguments.folder
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory() as folder:
        tables = run(arguments, Path(folder))
    print(tables)
    if arguments.write:
        PAGE.write_text(put_into(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")


def put_into(page: str, tables: str) -> str:
    """The page with these tables between its marks."""
    begin, end = MARKS
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{tables}\n{end}{after}"


def run(arguments: argparse.Namespace, folder: Path) -> str:
    """Measures, and returns the tables."""
    calibrated = _images(next(iter(KINDS)), folder)
    sets = [_images(name, folder) for name in arguments.images]
    chosen = [one for one in CONTENDERS if not arguments.only or one.name in arguments.only]
    figures: dict[Case, list[Figures]] = defaultdict(list)
    starts: dict[tuple[str, str], list[Start]] = defaultdict(list)
    failures: list[str] = []
    for network in arguments.networks:
        package = _package(network, calibrated, folder)
        for number in range(arguments.rounds):
            _say(f"{network}, round {number + 1} of {arguments.rounds}: {CEILING}")
            expected: list[tuple[ImageSet, list[Any]]] = []
            for images in sets:
                case, ceiling, answers = measure_ceiling(network, package, images, arguments.seconds)
                figures[case].append(ceiling)
                expected.append((images, answers))
            # Another one begins each round: whatever warms up or tires the machine meets all alike.
            first = number % len(chosen)
            for contender in chosen[first:] + chosen[:first]:
                _say(f"{network}, round {number + 1} of {arguments.rounds}: {contender.name}")
                try:
                    start, measured = measure_contender(
                        contender, network, package, expected, arguments.connections, arguments.seconds
                    )
                except (OSError, StartError) as error:
                    # The others' figures are worth their half hour all the same.
                    failures.append(f"{contender.title} ended on {network}: {error}")
                    _say(failures[-1])
                    continue
                starts[network, contender.name].append(start)
                for case, one in measured:
                    figures[case].append(one)
    return "\n\n".join(
        (
            _conditions(arguments, [one for each in figures.values() for one in each]),
            "\n".join(f"- {one.title}: {one.configuration}." for one in chosen),
            render_figures(figures),
            render_starts(starts),
            *failures,
        )
    )


def _images(name: str, folder: Path) -> ImageSet:
    place = folder / "images" / name
    if not place.exists():
        _say(f"making the images of {name}")
        images = make_images(KINDS[name])
        place.mkdir(parents=True)
        for number, image in enumerate(images):
            (place / f"{number:03d}.jpg").write_bytes(image)
    return ImageSet.read(name, place)


def _package(network: str, images: ImageSet, folder: Path) -> Path:
    place = folder / network
    if not place.exists():
        _say(f"packaging {network}")
        command = [sys.executable, "-m", "benchmarks.serving_http.package", network]
        done = subprocess.run(
            [*command, str(images.folder), str(place)], stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stderr)
    return place


def _conditions(arguments: argparse.Namespace, figures: list[Figures]) -> str:
    client = max(one.client_cpu_ms for one in figures)
    others = [100 * one.other_load for one in figures]
    code = (
        "import importlib.metadata as m, sys; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    )
    asked = subprocess.run(
        [str(PEERS_PYTHON), "-c", code, *VERSIONS], capture_output=True, text=True, check=True
    )
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python "
        f"{platform.python_version()}, {asked.stdout.strip()}; medians of {arguments.rounds} rounds of "
        f"{arguments.seconds:g} s. The load took at most {client:.2f} core-ms a request of the same "
        f"cores. Other work took {median(others):.0f} % of the machine (median; at most {max(others):.0f} %)."
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving_http",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="names that `loupe networks` lists")
    parser.add_argument("--images", nargs="+", choices=KINDS, default=tuple(KINDS))
    parser.add_argument("--connections", nargs="+", type=int, default=CONNECTIONS)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement (default: 3)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in CONTENDERS], help="these alone")
    parser.add_argument(
        "--folder", type=Path, help="keeps images and packaged networks here, and uses those that it holds"
    )
    parser.add_argument("--write", action="store_true", help=f"writes the tables into docs/{PAGE.name} too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
