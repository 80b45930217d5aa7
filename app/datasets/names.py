"""The names of an upload's files: made safe one by one, then told apart, and the odd ones listed.

A name that is only odd costs no image and no import. Two files never get one name, and which name a file
gets depends on the upload's files alone, not on their order or on the archive that they came in.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

SHOWN = 100
_ENDS_ODDLY = re.compile(r"[\s.]+$")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
_LONGEST_PART = 255


@dataclass(frozen=True)
class Found:
    """A file of an upload. ``name``: its safe path; ``raw``: as it came. ``sha256``: None if left out."""

    name: str
    raw: str
    sha256: str | None


@dataclass(frozen=True)
class OddName:
    """``name``: what the report and the dataset call the file; ``original``: the name as it came, to show."""

    name: str
    original: str
    reason: str


@dataclass(frozen=True)
class Settled:
    """``names``: in the order of the files; None for a file that is there twice with the same content.

    ``renamed_folders``: the new name of a folder → the one it came with, to show.
    """

    names: tuple[str | None, ...]
    odd: tuple[OddName, ...]
    renamed_folders: dict[str, str]


def show(name: str) -> str:
    """A name from outside, fit for a message: quoted, escaped and short."""
    text = ascii(name) if any(not character.isprintable() for character in name) else f"'{name}'"
    return text if len(text) <= SHOWN + 20 else f"{text[:SHOWN]}…"


def safe_part(part: str) -> str:
    """One part of a path in composed Unicode (NFC); odd bytes, control characters and backslashes as %XX."""
    if not any(map(_must_escape, part)):
        return unicodedata.normalize("NFC", part)
    escaped = "".join(_escape(c) if c == "%" or _must_escape(c) else c for c in part)
    return unicodedata.normalize("NFC", escaped)


def name_key(path: str) -> str:
    """Equal for paths that some system takes for one: in case, in blanks or dots at the end of a part."""
    return "/".join(map(_part_key, path.split("/")))


def settle_names(found: Sequence[Found]) -> Settled:
    """Gives each file a name of its own, and lists every name that is odd."""
    names: list[str | None] = list(_keep_folders_apart(found))
    reasons: dict[int, str] = {}
    taken = {name_key(name or "") for name in names}
    by_key: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        by_key[name_key(name or "")].append(index)
    for twins in by_key.values():
        if len(twins) > 1:
            _name_twins(sorted(twins, key=lambda i: _rank(found[i])), found, names, reasons, taken)
    odd = [
        OddName(name, show(file.raw), reason)
        for index, (file, name) in enumerate(zip(found, names, strict=True))
        if name is not None and (reason := reasons.get(index) or _why_odd(file))
    ]
    return Settled(tuple(names), (*odd, *_respelled_folders(found)), _renamed_folders(found, names))


def _renamed_folders(found: Sequence[Found], names: Sequence[str | None]) -> dict[str, str]:
    renamed: dict[str, str] = {}
    for file, name in zip(found, names, strict=True):
        if name is None or _is_plain(file.name, file.raw):
            continue
        for part, raw in zip(name.split("/")[:-1], _raw_parts(file.raw), strict=False):
            if part != unicodedata.normalize("NFC", raw):
                renamed[part] = show(raw)
    return renamed


def _name_twins(
    twins: list[int],
    found: Sequence[Found],
    names: list[str | None],
    reasons: dict[int, str],
    taken: set[str],
) -> None:
    """The first keeps its name; the others are called after their content."""
    first = names[twins[0]]
    seen = {(found[twins[0]].raw, found[twins[0]].sha256)}
    for index in twins[1:]:
        file, name = found[index], names[index] or ""
        if file.sha256 is None:
            continue  # It is only listed.
        if (file.raw, file.sha256) in seen:
            names[index] = None
            continue
        seen.add((file.raw, file.sha256))
        unused = names[index] = unused_name(name, f"{file.raw}\0{file.sha256}", taken)
        taken.add(name_key(unused))
        relation = "has the same name as" if name == first else "differs only by case, blanks or dots from"
        reasons[index] = f"{relation} {show(first or '')}: one of them is called after its content"


def class_name_problem(label: str) -> str | None:
    """Why a class cannot be called so, as the end of a sentence; an export makes a folder of it."""
    parts = label.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty part, or a dot for one"
    if any(part != part.strip() or safe_part(part) != part for part in parts):
        return "has a control character, a backslash, a decomposed letter, or a blank at an end"
    if any(len(part.encode()) > _LONGEST_PART for part in parts):
        return f"has a part of more than {_LONGEST_PART} bytes"
    return None


def unused_name(name: str, token: str, taken: Container[str]) -> str:
    """A name, called after ``token``, for a file that cannot keep its own; its key is not ``taken``."""
    digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
    path = PurePosixPath(name)
    number = 0
    while True:
        mark = digest[:8] if number == 0 else f"{digest[:8]}-{number}"
        renamed = str(path.with_name(f"{path.stem}~{mark}{path.suffix}"))
        if name_key(renamed) not in taken:
            return renamed
        number += 1


def _rank(file: Found) -> tuple[bool, bool, bool, str, str, str]:
    """An image before what is left out, a sound name before an odd one and one that was recomposed."""
    return (
        file.sha256 is None,
        _why_odd(file) is not None,
        file.name != file.raw,
        file.name,
        _printable(file.raw),
        file.sha256 or "",
    )


def _keep_folders_apart(found: Sequence[Found]) -> Iterable[str]:
    """The safe paths, so that an escaped folder is no other's that is called so."""
    plain = {prefix for file in found for prefix in _prefixes(file.name) if _is_plain(prefix, file.raw)}
    for file in found:
        if _is_plain(file.name, file.raw):
            yield file.name
            continue
        parts: list[str] = []
        for part, raw in zip(file.name.split("/"), _raw_parts(file.raw), strict=True):
            is_taken = part != unicodedata.normalize("NFC", raw) and "/".join([*parts, part]) in plain
            parts.append(f"{part}~{_digest(raw)}" if is_taken else part)
        yield "/".join(parts)


def _is_plain(prefix: str, raw: str) -> bool:
    """Whether the start of a path needed no escape."""
    depth = prefix.count("/") + 1
    return prefix == "/".join(unicodedata.normalize("NFC", part) for part in _raw_parts(raw)[:depth])


def _prefixes(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _raw_parts(raw: str) -> list[str]:
    return [part for part in raw.split("/") if part not in ("", ".")] or [""]


def _respelled_folders(found: Sequence[Found]) -> Iterable[OddName]:
    """Folders that are there in composed and in decomposed Unicode: the text is one, so is the folder."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for file in found:
        if not file.name.isascii():
            parts = _raw_parts(file.raw)[:-1]
            for depth, prefix in enumerate(_prefixes(file.name), start=1):
                if _is_plain(prefix, file.raw):
                    spellings[prefix].add("/".join(parts[:depth]))
    for prefix, raws in sorted(spellings.items()):
        for raw in sorted(raws - {prefix}) if len(raws) > 1 else ():
            yield OddName(
                prefix, ascii(raw), "the folder is there in two spellings of Unicode, read as one folder"
            )


def _why_odd(file: Found) -> str | None:
    raw = file.raw
    if any("\ud800" <= character <= "\udfff" for character in raw):
        return "the name is not valid UTF-8: an import writes other bytes as %XX"
    if "\\" in raw:
        return "the name has a backslash, which some systems take for a separator: an import writes it as %5C"
    if any(map(_must_escape, raw)):
        return "the name has control characters, which an import writes as %XX"
    for part in file.name.split("/"):
        if part != part.strip() or part.endswith("."):
            return "a part of the name begins or ends with a blank or a dot, which some systems drop"
        if _RESERVED.match(part):
            return "a part of the name is reserved on some systems"
        if len(part) > _LONGEST_PART // 4 and len(part.encode()) > _LONGEST_PART:
            return f"a part of the name is longer than {_LONGEST_PART} bytes, which most systems refuse"
    return None


def _part_key(part: str) -> str:
    folded = part.casefold()
    if not folded.isascii():
        visible = "".join(c for c in folded if unicodedata.category(c) != "Cf")
        folded = unicodedata.normalize("NFC", visible)
    return _ENDS_ODDLY.sub("", folded.strip()) or part


def _must_escape(character: str) -> bool:
    if character.isascii():
        return character == "\\" or not character.isprintable()
    return not character.isprintable() and unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that Python kept so
        return f"%{ord(character) - 0xDC00:02X}"
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _digest(text: str) -> str:
    return hashlib.sha256(_printable(text).encode()).hexdigest()[:8]


def _printable(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("latin-1")
