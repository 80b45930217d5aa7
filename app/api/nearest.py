"""What somebody most likely meant by a name that does not exist."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches


def no_such(kind: str, name: str, known: Collection[str], needed: Sequence[str] = ()) -> str:
    """``no such field; did you mean 'epochs'? valid: batch_size, epochs``

    ``needed``: of the known ones, those that are missing. A single one is meant where none is close.
    """
    by_key = {_key(one): one for one in known}
    close = get_close_matches(_key(name), by_key, n=1)
    likely = [by_key[one] for one in close] or (list(needed) if len(needed) == 1 else [])
    meant = f"; did you mean {likely[0]!r}?" if likely else ""
    if not known:
        return f"no such {kind}; there are none here"
    return f"no such {kind}{meant or ';'} valid: {', '.join(sorted(known))}"


def _key(name: str) -> str:
    return name.strip().lower().replace("-", "_")
