"""What only the person who imports can know: how names are read, what the classes are, how strict to be."""

from __future__ import annotations

import codecs
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from app.schemas.message import Message

NAME_ENCODINGS = {
    "utf-8": "Unicode",
    "cp932": "Japanese, Shift-JIS",
    "gb18030": "simplified Chinese, also GBK and GB 2312",
    "big5": "traditional Chinese",
    "cp949": "Korean, also EUC-KR",
    "cp866": "Cyrillic, DOS",
    "cp1251": "Cyrillic, Windows",
    "cp437": "Western Europe, DOS, United States",
    "cp850": "Western Europe, DOS",
    "cp852": "Central Europe, DOS",
    "cp1250": "Central Europe, Windows",
    "cp1252": "Western Europe, Windows",
}
RARE_NAME_ENCODINGS = {
    "euc_jp": "Japanese, Unix",
    "koi8-r": "Cyrillic, Unix",
    "cp737": "Greek, DOS",
    "cp1253": "Greek, Windows",
    "cp857": "Turkish, DOS",
    "cp1254": "Turkish, Windows",
    "cp862": "Hebrew, DOS",
    "cp1255": "Hebrew, Windows",
    "cp1256": "Arabic, Windows",
    "cp874": "Thai",
    "mac-roman": "Western Europe, older Macs",
}
"""These are judged with the ones above, and are taken only where nothing else comes near."""
_SAME = {
    "utf-8-sig": "utf-8",
    "shift_jis": "cp932",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "cp950": "big5",
    "big5hkscs": "big5",
    "euc_kr": "cp949",
    "iso8859-1": "cp1252",
}
"""Encodings that the ones above contain, by Python's names for them."""
_NO_ENCODINGS_OF_NAMES = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined"})


def _known_encoding(value: str) -> str:
    name = value.strip()
    try:
        name = codecs.lookup(name).name
    except (LookupError, ValueError):
        pass
    else:
        name = _SAME.get(name, name)
        if name in NAME_ENCODINGS or _is_like_ascii(name):
            return name
    known = ", ".join([*NAME_ENCODINGS, *RARE_NAME_ENCODINGS])
    raise ValueError(
        f"{value!r} is no encoding of names that Python knows and that contains ASCII, such as {known}"
    )


def _is_like_ascii(encoding: str) -> bool:
    """Whether it is an encoding of text, and each byte of ASCII alone is itself: a ``/`` must stay one."""
    if encoding.replace("_", "-") in _NO_ENCODINGS_OF_NAMES:
        return False
    try:
        return all(bytes([byte]).decode(encoding) == chr(byte) for byte in range(0x20, 0x7F))
    except (LookupError, ValueError):  # a codec of bytes, or one that needs more bytes for a character
        return False


_DETECTED = {**NAME_ENCODINGS, **RARE_NAME_ENCODINGS}
NameEncoding = Annotated[
    str,
    AfterValidator(_known_encoding),
    Field(
        max_length=40,
        description="Encoding of the names in an upload that declares none: "
        f"{'; '.join(f'`{name}` ({what})' for name, what in _DETECTED.items())}; "
        "or another one that contains ASCII, by Python's name for it. "
        "Null: it is detected among those named, and the import asks where two are likely.",
    ),
]
ClassLevel = Annotated[
    Literal["top", "leaf", "path"],
    Field(
        description="Which of several levels of folders are the classes: `top`, the outermost; `leaf`, the "
        "ones that hold the images; `path`, all of them, joined by '/'. Null: the import asks if need be."
    ),
]


Strict = Annotated[
    bool,
    Field(
        description="Whether to refuse the upload if an image is damaged, has an odd name, or would be left "
        "out: the error lists all of them. Null or false: they are left out or renamed, and the report lists "
        "them."
    ),
]


_NO_RANGE = "give the values of black and white, from 0 to 65535: 0-4095"


def _read_range(value: Any) -> Any:
    """``4095``, ``"0-4095"`` or ``[0, 4095]``; a form and a query have only text."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(?:([0-9]{1,5})\s*-)?\s*([0-9]{1,5})\s*", value)
        value = [found[1] or 0, found[2]] if found else []
    value = value if isinstance(value, (list, tuple)) else [0, value]
    if len(value) != 2:
        raise ValueError(_NO_RANGE)
    return value


def _is_range(value: tuple[int, int]) -> tuple[int, int]:
    low, high = value
    if not 0 <= low < high <= 65535:
        raise ValueError(_NO_RANGE)
    return value


PixelRange = Annotated[
    tuple[int, int],
    BeforeValidator(_read_range),
    AfterValidator(_is_range),
    Field(
        description="The values of 16-bit greyscale images that become black and white: `0-4095`, `4095`, "
        "or `[0, 4095]`. Null: 0 to 1023, 4095 or 16383 if all images stay within it and one uses over "
        "half of it, else 0 to 65535. It does not concern other images."
    ),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0, "maximum": 65535},
                    "minItems": 2,
                    "maxItems": 2,
                },
            ]
        }
    ),
]


FOLDER = "folder"
_LONGEST_PATTERN = 500
_MOST_PATTERN_BYTES = 2**20


def compile_group_pattern(pattern: str) -> Any:
    """By RE2, whose search takes time in proportion to the text, whatever the pattern. Raises ValueError."""
    import re2  # The command line starts without it.

    options = re2.Options()
    options.max_mem, options.log_errors = _MOST_PATTERN_BYTES, False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        said = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"{pattern!r} is no regular expression: {said}") from None
    if compiled.groups != 1:
        raise ValueError(
            f"{pattern!r} has {compiled.groups} pairs of brackets that capture; the one must say what is the "
            f"group, such as (part[0-9]+). Or give {FOLDER!r}"
        )
    return compiled


def _is_group_by(value: str) -> str:
    if value != FOLDER:
        compile_group_pattern(value)
    return value


GroupBy = Annotated[
    str,
    AfterValidator(_is_group_by),
    Field(
        min_length=1,
        max_length=_LONGEST_PATTERN,
        description="What images share that must stay in one split, such as one part or one patient: "
        f"`{FOLDER}`, the folder of the image inside its class folder; or a regular expression (RE2) that is "
        "searched in the image's name and whose one capturing group is the key, such as `(part[0-9]+)_`. "
        "Null: there are no groups.",
    ),
]


Labels = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1000,
        description="What says the class of each image: `folders`, or the name of a table in the upload, "
        "such as `labels.csv`. Null: the folders if they are class folders, else the tables.",
    ),
]
FOLDERS = "folders"


class ImportChoices(Message):
    """Null: not chosen."""

    name_encoding: NameEncoding | None = None
    class_level: ClassLevel | None = None
    strict: Strict | None = None
    pixel_range: PixelRange | None = None
    group_by: GroupBy | None = None
    labels: Labels | None = None
