"""A process that decodes images which could cost much: ``python -m app.images.decoder``.

Once it says that it is ready, it reads a frame (see ``app.images.frames``) with an image and how to fit it,
says what memory that will take, waits for leave, and answers with the fitted pixels or the error. The kernel
ends it when one image takes more than its time, whatever the decoder does; what it may allocate is limited.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from app.errors import ImageDecodeError
from app.images.cost import estimate_bytes, estimate_opening_bytes
from app.images.decode import DecodedImage, decode_opened
from app.images.frames import LENGTHS, pack_head
from app.images.memory_limit import limit_memory
from app.images.opening import check_size, open_image
from app.images.resize import Fit, get_rule

_SPARE_BYTES = 96 * 2**20
"""What the estimate leaves out: the decoder's own tables, the interpreter."""
_NICE = 5
"""Short predictions go first where cores are scarce."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    _write({"ready": True}, b"")
    while (frame := _read(sys.stdin.buffer)) is not None:
        head, data = frame
        with _limits(head["seconds"], len(data)):
            answer, pixels = _work(head, data)
        _write(answer, pixels)


def _work(head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        image = _decode(head, data)
    except ImageDecodeError as error:
        return {"error": {"code": error.code, "detail": error.detail, "hint": error.hint}}, b""
    except MemoryError:
        return {"out_of_memory": True}, b""
    about = {name: value for name, value in vars(image).items() if name != "pixels"}
    return {"image": about}, image.pixels.tobytes()


def _decode(head: dict[str, Any], data: bytes) -> DecodedImage:
    fit = Fit(get_rule(head["rule"]), (head["size"][0], head["size"][1]))
    cost = estimate_opening_bytes(data)
    if cost:
        check_size(data, head["max_pixels"])
        _ask_for(cost, data)
        file = open_image(data, head["max_pixels"])
    else:
        file = open_image(data, head["max_pixels"])
        _ask_for(estimate_bytes(file, fit), data)
    pixel_range = head["pixel_range"]
    return decode_opened(file, data, pixel_range=pixel_range and (pixel_range[0], pixel_range[1]), fit=fit)


def _ask_for(cost: int, data: bytes) -> None:
    """Waits for leave to take so many bytes."""
    _write({"cost": cost}, b"")
    if _read(sys.stdin.buffer) is None:
        sys.exit()  # nobody waits any more
    limit_memory(cost + len(data) + _SPARE_BYTES)


@contextmanager
def _limits(seconds: float, data_bytes: int) -> Iterator[None]:
    # The timer counts the processor time of all threads; its signal is not handled, so that it ends us.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    limit_memory(2 * data_bytes + _SPARE_BYTES)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        limit_memory(None)


def _read(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head_bytes, body_bytes = LENGTHS.unpack(lengths)
    return json.loads(stream.read(head_bytes)), stream.read(body_bytes)


def _write(head: dict[str, Any], body: bytes) -> None:
    sys.stdout.buffer.write(pack_head(head, len(body)))
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
