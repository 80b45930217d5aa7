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
_SAME = {
    "shift_jis": "cp932",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "cp950": "big5",
    "big5hkscs": "big5",
    "euc_kr": "cp949",
    "iso8859-1": "cp1252",
}
"""Encodings that the ones above contain, by Python's names for them."""


def _known_encoding(value: str) -> str:
    try:
        name = codecs.lookup(value.strip()).name
    except (LookupError, ValueError):
        name = value
    name = _SAME.get(name, name)
    if name not in NAME_ENCODINGS:
        raise ValueError(f"{value!r} is none of {', '.join(NAME_ENCODINGS)}")
    return name


NameEncoding = Annotated[
    str,
    AfterValidator(_known_encoding),
    Field(
        max_length=40,
        description="Encoding of the names in a zip that declares none: "
        f"{'; '.join(f'`{name}` ({what})' for name, what in NAME_ENCODINGS.items())}. "
        "Null: it is detected, and the import asks where two are likely.",
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
        {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}
    ),
]


class ImportChoices(Message):
    """Null: not chosen."""

    name_encoding: NameEncoding | None = None
    class_level: ClassLevel | None = None
    strict: Strict | None = None
    pixel_range: PixelRange | None = None
