"""The ceiling: the same work in a bare loop, one thread a core, without a server.

Reads the images of the folder in ``PEER_IMAGES``. For each line of standard input, the seconds to run, it
prints a JSON object: the milliseconds of each image.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from benchmarks.serving_http.peers.model import LiteRtModel


def main() -> None:
    images = [path.read_bytes() for path in sorted(Path(os.environ["PEER_IMAGES"]).glob("*.jpg"))]
    model = LiteRtModel()
    print(json.dumps([model.answer(image)["top"] for image in images]), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(model, images, float(line))), flush=True)


def run(model: LiteRtModel, images: list[bytes], seconds: float) -> list[float]:
    durations: list[list[float]] = [[] for _ in range(os.cpu_count() or 1)]
    end = time.perf_counter() + seconds

    def work(mine: list[float]) -> None:
        before = time.perf_counter()
        while before < end:
            model.answer(images[len(mine) % len(images)])
            after = time.perf_counter()
            mine.append((after - before) * 1000)
            before = after

    threads = [threading.Thread(target=work, args=(mine,)) for mine in durations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for mine in durations for one in mine]


if __name__ == "__main__":
    main()
