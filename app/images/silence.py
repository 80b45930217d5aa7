"""Keeps decoders from writing into the log: what is wrong with an image is said once, by ``decode_image``.

libtiff writes a line for each scanline that is odd, past all of Python's logging: 17 MB for one image.
"""

from __future__ import annotations

import ctypes
import logging
import warnings
from functools import cache
from pathlib import Path

import PIL

_MAPS = Path("/proc/self/maps")
_HANDLERS = ("TIFFSetErrorHandler", "TIFFSetWarningHandler")


@cache
def silence_decoders() -> None:
    """For the whole process, once. Call it after Pillow's decoders were loaded."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    for path in _find_libtiff():
        library = ctypes.CDLL(path)
        for name in _HANDLERS:
            set_handler = getattr(library, name)
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)


def _find_libtiff() -> list[str]:
    """The libtiff that Pillow has loaded: its own copy, or the system's."""
    if _MAPS.exists():
        lines = _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        return sorted({line.split(maxsplit=5)[5] for line in lines if "/libtiff" in line})
    folder = Path(PIL.__file__).parent
    return [str(path) for path in (folder / ".dylibs").glob("libtiff*")]
