"""In which encoding an upload's names are that declare none: told by the bytes, chosen, or judged.

Old programs store the bytes of their system's encoding without naming it. A wrong guess makes wrong classes,
so where two readings are likely the person who imports is asked.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import chardet

from app.datasets.names import show
from app.errors import ChoiceNeededError, FieldError
from app.schemas.import_choices import NAME_ENCODINGS, RARE_NAME_ENCODINGS

_CODECS = {"big5": "cp950"}  # where Python's codec has another name
_DETECTED = {"big5hkscs": "big5", "euc_jis_2004": "euc_jp"}  # where the detector has another name
_CANDIDATES = (*NAME_ENCODINGS, *RARE_NAME_ENCODINGS)
_MARGIN = 3.0
"""How much more likely than every other a reading must be. Measured on short words of eleven encodings: at 3
hardly any guess is wrong, at 2 several are."""
_MARGIN_OVER_ODD = 1 / 1.5
_MARGIN_OF_RARE, _MARGIN_OVER_RARE = 10.0, 1.5
"""A rare encoding must be far likelier than every other; a common one is asked about where a rare one is
nearly as likely, or where both read as Chinese characters, which the detector tells apart badly."""
_ODD_NAMES = 10
"""One name in so many may be unreadable in the encoding that was chosen."""
_MOST_LEGACY, _LEAST_WORDS = 4, 3
"""One name in so many may be no UTF-8 where so many words of UTF-8, for each other one, are no chance."""
_DETECTOR_BYTES = 100_000
_LETTERS = re.compile(r"[^\W\d_]{3,}")
_SHOWN_NAMES, _SHOWN_READINGS = 3, 4


@dataclass(frozen=True)
class ReadNames:
    """Names in their order. ``encoding``, ``reason``: None if there was nothing to judge."""

    names: tuple[str, ...]
    encoding: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class _Reading:
    """All undeclared names in one encoding. ``score``: how likely, compared with other readings."""

    encoding: str
    lines: tuple[str, ...]
    score: float
    is_odd: bool

    @property
    def is_rare(self) -> bool:
        return self.encoding in RARE_NAME_ENCODINGS

    @property
    def is_chinese(self) -> bool:
        return any("\u4e00" <= character <= "\u9fff" for line in self.lines for character in line)

    @property
    def folders(self) -> frozenset[str]:
        return frozenset(line.replace("\\", "/").rpartition("/")[0] for line in self.lines)


def decode_names(names: Sequence[bytes], encoding: str | None, entries: int) -> ReadNames:
    """Reads names that declare no encoding: in ``encoding``, else in the one they are judged to be in.

    ``entries``: how many files and folders the upload has. Raises ChoiceNeededError.
    """
    unknown = [name for name in names if not name.isascii()]
    if not unknown:
        return ReadNames(tuple(name.decode("ascii") for name in names))
    chosen, reason = (encoding, "it was chosen") if encoding else _judge(unknown)
    _ask_if_wrong(unknown, encoding, entries)
    decoded = tuple(_decode(name, chosen, is_chosen=encoding is not None) for name in names)
    return ReadNames(decoded, chosen, reason)


def _judge(names: list[bytes]) -> tuple[str, str]:
    """The encoding of all names together, and why. Raises ChoiceNeededError where two are likely."""
    legacy = [name for name in names if not can_read(name, "utf-8")]
    if not legacy:
        return "utf-8", "the names are valid UTF-8"
    if _are_mostly_utf8(names, legacy):
        return "utf-8", "nearly all names are valid UTF-8"
    # A short name can be valid UTF-8 by chance (猫 in GBK), so it is judged with the others.
    readings = _readings([name for name in names if not _is_surely_utf8(name)])
    plausible = [reading for reading in readings if not reading.is_odd] or readings
    best = max(plausible, key=lambda reading: reading.score / (_MARGIN_OF_RARE if reading.is_rare else 1))
    rivals = [
        reading
        for reading in readings
        if reading.folders != best.folders and reading.score * _margin(best, reading) > best.score
    ]
    have_one_meaning = len({reading.folders for reading in readings}) == 1
    if rivals or ((best.score <= 0 or best.is_odd) and not have_one_meaning):
        likely = [best, *rivals] if rivals else readings
        _ask("the upload does not say in which encoding its names are, and several are likely", likely)
    return best.encoding, f"the upload declares none, and they read best as {best.encoding}"


def _margin(best: _Reading, rival: _Reading) -> float:
    if rival.is_odd and not best.is_odd:
        return _MARGIN_OVER_ODD
    if best.is_rare:
        return _MARGIN_OF_RARE
    if rival.is_rare and not (best.is_chinese and rival.is_chinese):
        return _MARGIN_OVER_RARE
    return _MARGIN


def _decode(name: bytes, encoding: str, *, is_chosen: bool) -> str:
    if name.isascii():
        return name.decode("ascii")
    if not is_chosen and _is_surely_utf8(name):
        return name.decode("utf-8")
    try:
        return name.decode(_CODECS.get(encoding, encoding))
    except UnicodeDecodeError:
        # One that is written otherwise; what cannot be read is escaped later.
        return name.decode("utf-8" if encoding == "utf-8" else "ascii", "surrogateescape")


def _ask_if_wrong(names: list[bytes], chosen: str | None, entries: int) -> None:
    """Asks where many names cannot be read in the encoding that was chosen."""
    if chosen is None:
        return
    unreadable = [name for name in names if not can_read(name, chosen)]
    if len(unreadable) * _ODD_NAMES > entries:
        name = unreadable[0]
        _ask(f"the name {name!r} cannot be read as {chosen}", _readings([name]))


def can_read(name: bytes, encoding: str) -> bool:
    """Whether a name is one in this encoding."""
    try:
        name.decode(_CODECS.get(encoding, encoding))
    except UnicodeDecodeError:
        return False
    return True


def _are_mostly_utf8(names: list[bytes], legacy: list[bytes]) -> bool:
    """Whether a few names are written otherwise in an upload of UTF-8: many words cannot be so by chance."""
    words, odd = _words([name for name in names if can_read(name, "utf-8")]), _words(legacy)
    return len(words) >= _LEAST_WORDS * len(odd) and len(legacy) * _MOST_LEGACY <= len(names)


def _is_surely_utf8(name: bytes) -> bool:
    """Whether a name is UTF-8 with characters of three bytes, which no other encoding gives by chance."""
    return can_read(name, "utf-8") and any(character >= "\u0800" for character in name.decode("utf-8"))


def _readings(names: list[bytes]) -> list[_Reading]:
    """How the names read in each encoding that can hold them, the likeliest first; each text once."""
    words = b"\n".join(_words(names))[:_DETECTOR_BYTES]
    scores = {_DETECTED.get(name, name): score for name, score in _detect(words)}
    found: dict[tuple[str, ...], _Reading] = {}
    for encoding in _CANDIDATES:
        try:
            lines = tuple(name.decode(_CODECS.get(encoding, encoding)) for name in names)
        except UnicodeDecodeError:
            continue
        reading = _Reading(encoding, lines, scores.get(encoding, 0.0), any(map(_is_odd, lines)))
        if lines not in found or found[lines].score < reading.score:
            found[lines] = reading
    return sorted(found.values(), key=lambda reading: (reading.is_odd, -reading.score))


def _detect(words: bytes) -> list[tuple[str, float]]:
    known = {name: detected for detected, name in _DETECTED.items()}
    candidates = [known.get(name, name) for name in _CANDIDATES]
    results = chardet.detect_all(
        words, include_encodings=candidates, ignore_threshold=True, compat_names=False
    )
    return [(result["encoding"] or "", result["confidence"]) for result in results]


def _words(names: list[bytes]) -> list[bytes]:
    """The different words in the names: without digits and extensions, which would drown them."""
    parts = {part for name in names for part in name.split(b"/")}
    words = {re.sub(rb"\.[A-Za-z0-9]{1,5}$", b"", part) for part in parts if not part.isascii()}
    return sorted({re.sub(rb"[0-9]+", b"", word) for word in words if not word.isascii()})


def _is_odd(text: str) -> bool:
    """Whether nobody would write this: capitals inside words, scripts mixed in a word, symbols in it."""
    if any(
        not word.isascii() and word[:2].isupper() and word[2:3].islower() for word in _LETTERS.findall(text)
    ):
        return True
    before = ""
    for character in text:
        if not character.isascii() and _is_foreign_symbol(character):
            return True
        if before.isalpha() and character.isalpha() and not (before + character).isascii():
            one, other = _script(before), _script(character)
            if one == other != "" and before.islower() and character.isupper():
                return True
            if one != other and (
                (one and other) or any(c.isascii() and c.islower() for c in before + character)
            ):
                return True
        before = character
    return False


def _is_foreign_symbol(character: str) -> bool:
    category = unicodedata.category(character)
    if category in ("Cc", "Cf", "Cn", "Co"):
        return True
    return category[0] in "SPZN" and character < "\u3000" and character not in "’–—°№§"


def _script(letter: str) -> str:
    """The script of an alphabet's letter; empty for those of East Asia, which stand beside Latin ones."""
    name = unicodedata.name(letter, "").partition(" ")[0]
    return name if name in ("LATIN", "CYRILLIC", "GREEK", "HEBREW", "ARABIC", "THAI") else ""


def _ask(problem: str, readings: list[_Reading]) -> NoReturn:
    likely = readings[:_SHOWN_READINGS]
    shown = [f"{reading.encoding}: {_samples(reading, likely)}" for reading in likely]
    raise ChoiceNeededError(
        f"{problem}: {'; '.join(shown)}",
        hint="Choose the reading that is right: `loupe job retry JOB --name-encoding ENCODING`, or "
        '`POST /jobs/<id>/retry` {"name_encoding": "ENCODING"}. '
        f"Encodings: {', '.join(_CANDIDATES)}, or another one of Python's. The upload is kept.",
        errors=tuple(FieldError("/name_encoding", reading) for reading in shown),
    )


def _samples(reading: _Reading, likely: list[_Reading]) -> str:
    """Some names, folders before files, where the readings differ."""
    columns = zip(reading.lines, *(other.lines for other in likely), strict=True)
    differing = [line for line, *others in columns if len(set(others)) > 1] or list(reading.lines)
    folders = {folder: None for line in differing if (folder := line.replace("\\", "/").rpartition("/")[0])}
    return ", ".join(show(name) for name in list(folders or differing)[:_SHOWN_NAMES])
