"""What a decoding process and its parent say to each other: a JSON head, and bytes after it.

No pickle: a decoder that a hostile image has taken over can then say no more than an image or an error.
"""

from __future__ import annotations

import json
import struct
from typing import Any

LENGTHS = struct.Struct("<II")
MOST_HEAD_BYTES = 2**20


def pack_head(head: dict[str, Any], body_bytes: int = 0) -> bytes:
    """The beginning of a frame whose body has ``body_bytes``."""
    text = json.dumps(head).encode()
    return LENGTHS.pack(len(text), body_bytes) + text
