"""What somebody most likely meant by a name that does not exist."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def no_such(kind: str, name: str, known: Collection[str]) -> str:
    """``no such field; did you mean 'epochs'? valid: batch_size, epochs``"""
    by_key = {_key(one): one for one in known}
    close = get_close_matches(_key(name), by_key, n=1)
    meant = f"; did you mean {by_key[close[0]]!r}?" if close else ""
    if not known:
        return f"no such {kind}; there are none here"
    return f"no such {kind}{meant or ';'} valid: {', '.join(sorted(known))}"


def _key(name: str) -> str:
    return name.strip().lower().replace("-", "_")
