"""What decoding costs: memory against the estimate, and what a decoding process adds to the time.

``python -m benchmarks.decoding``. Images of one size, by format: the estimate and the measured peak in bytes
a pixel beside the file, and the milliseconds in this process and in a decoding process.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from app.images.cost import estimate_bytes
from app.images.decode import MAX_PIXELS, decode_image, decode_opened
from app.images.decoder_pool import DecoderPool
from app.images.memory_budget import MemoryBudget
from app.images.opening import open_image
from app.images.resize import Fit, get_rule, rule_for

KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "JPEG": ("RGB", "JPEG", {"quality": 90}),
    "JPEG, progressive": ("RGB", "JPEG", {"quality": 90, "progressive": True}),
    "PNG": ("RGB", "PNG", {}),
    "PNG, transparent": ("RGBA", "PNG", {}),
    "WebP, lossless": ("RGB", "WEBP", {"lossless": True, "method": 0}),
    "WebP": ("RGB", "WEBP", {"quality": 90, "method": 0}),
    "TIFF, LZW": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "TIFF, 16 bits": ("I;16", "TIFF", {}),
    "GIF": ("P", "GIF", {}),
    "AVIF": ("RGB", "AVIF", {"speed": 10}),
}
SIZE = (224, 224)


def main() -> None:
    arguments = _parse_arguments()
    if arguments.peak is not None:
        print(_peak_of(arguments.peak, arguments.rule))
        return
    fit = Fit(get_rule(arguments.rule), SIZE)
    table = Table(
        "Format",
        "file, MB",
        "estimate, B/px",
        "peak, B/px",
        "here, ms",
        "in a process, ms",
        title=arguments.rule,
    )
    with TemporaryDirectory() as folder:
        for name, (mode, kind, options) in KINDS.items():
            path = Path(folder) / "image"
            path.write_bytes(_encode(arguments.side, mode, kind, options))
            data, pixels = path.read_bytes(), arguments.side**2
            here, there = asyncio.run(_time(data, fit, arguments.rounds))
            table.add_row(
                name,
                f"{len(data) / 1e6:.1f}",
                f"{estimate_bytes(open_image(data, MAX_PIXELS), fit) / pixels:.1f}",
                f"{_measure_peak(path, arguments.rule) / pixels:.1f}",
                f"{here:.1f}",
                f"{there:.1f}",
            )
    Console(width=120).print(table)


def _encode(side: int, mode: str, kind: str, options: dict[str, Any]) -> bytes:
    blocks = np.random.default_rng(0).integers(0, 256, (side // 20, side // 20, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((side, side), Image.Resampling.BICUBIC)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200)
    else:
        image = image.convert(mode)
        if mode == "RGBA":
            image.putalpha(128)
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def _measure_peak(path: Path, rule: str) -> int:
    command = [sys.executable, "-m", "benchmarks.decoding", "--rule", rule, "--peak", str(path)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _peak_of(path: Path, rule: str) -> int:
    """Bytes beyond what the process has before it decodes; for a process of its own."""
    data, fit = path.read_bytes(), Fit(get_rule(rule), SIZE)
    file = open_image(data, MAX_PIXELS)
    before = _status("VmRSS")
    decode_opened(file, data, fit=fit)
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


async def _time(data: bytes, fit: Fit, rounds: int) -> tuple[float, float]:
    pool = DecoderPool(processes=1, budget=MemoryBudget(2**30))

    async def there() -> None:
        await pool.decode(data, max_pixels=MAX_PIXELS, pixel_range=None, fit=fit, turn_seconds=60)

    await there()
    here_ms, there_ms = [], []
    for _ in range(rounds):
        here_ms.append(_milliseconds(lambda: decode_image(data, fit=fit)))
        began = time.perf_counter()
        await there()
        there_ms.append((time.perf_counter() - began) * 1000)
    await pool.close()
    return statistics.median(here_ms), statistics.median(there_ms)


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=3000, help="width and height in pixels (default: 3000)")
    parser.add_argument("--rule", default=rule_for("stretch").name, help="resize rule (default: the newest)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
