"""Base64 as clients write it"""

from __future__ import annotations

import base64
import textwrap
from contextlib import suppress

import pytest

from app.api.base64_pictures import NotBase64Error, decode_base64

DATA = bytes(range(256)) + b"\xfb\xff\xfe"
PLAIN = base64.b64encode(DATA).decode()
SAFE = base64.urlsafe_b64encode(DATA).decode()


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        SAFE,
        PLAIN.rstrip("="),
        SAFE.rstrip("="),
        f"data:image/png;base64,{PLAIN}",
        f"data:image/svg+xml;charset=utf-8;base64,{PLAIN}",
        f"data:;base64,{SAFE.rstrip('=')}",
        f"DATA:image/PNG;BASE64,{PLAIN}",
        f"  data:image/png;base64,\n{PLAIN}\n",
        f"data:image/png;base64,{PLAIN.replace('+', '%2B').replace('=', '%3D')}",
        "\n".join(textwrap.wrap(PLAIN, 76)) + "\n",
        "\r\n".join(textwrap.wrap(PLAIN, 64)),
        f"\t{PLAIN} ",
        " ".join(textwrap.wrap(PLAIN, 76)),
        "\n".join("    " + line for line in textwrap.wrap(SAFE, 76)),
    ],
)
def test_every_usual_form_is_read(text: str) -> None:
    assert decode_base64(text) == DATA


@pytest.mark.parametrize("size", range(1, 8))
def test_any_number_of_bytes_is_read_with_and_without_padding(size: int) -> None:
    text = base64.b64encode(DATA[-size:]).decode()
    assert decode_base64(text) == decode_base64(text.rstrip("=")) == DATA[-size:]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("====", "it is empty"),
        ("data:image/png;base64,", "nothing after the data URL's head"),
        ("data:image/png,AAAA", "does not begin as data:image/png;base64,"),
        ("data:image/png;base64", "does not begin as data:image/png;base64,"),
        ("AAA*AAAA", "'*' at character 4"),
        ("data:image/png;base64,AAAA!", "'!' at character 27"),
        ("AAAA\x07", "U+0007 at character 5"),
        ("AAAAé", "'é' at character 5"),
        ("YWI=YWI=", "padding ('=') before its end, at character 4"),
        ("AAAA=====", "ends with 5 '='"),
        ("AAAAA", "5 characters are no whole number of bytes"),
        ("{'b64': 'AAAA'}", "'{' at character 1"),
        (PLAIN.replace("+", " "), "a blank at character 84 and nowhere a '+'"),
        (PLAIN.rstrip("=").replace("+", " "), "nowhere a '+'"),
        ("AAA ", "a blank at character 4 and nowhere a '+'"),
        (" AAA", "a blank at character 1 and nowhere a '+'"),
        ("AA =", "a blank at character 3 and nowhere a '+'"),
        ("A A=", "a blank at character 2 and nowhere a '+'"),
        ("AAAA  ", "nowhere a '+'"),
        ("AA AAA", "nowhere a '+'"),
        ("AAAA\n AAA", "a blank at character 6 and nowhere a '+'"),
        ("data:image/png;base64,AA  AAAA", "a blank at character 25 and nowhere a '+'"),
    ],
)
def test_what_is_not_base64_is_refused_with_the_part_that_is_wrong(text: str, why: str) -> None:
    with pytest.raises(NotBase64Error) as caught:
        decode_base64(text)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "text", ["AAAA ", " AAAA", "AAAA\n AAAA", "AA==  ", "AA AA AAA=\n", "data:;base64, AAAA"]
)
def test_blanks_are_dropped_where_none_of_them_can_have_been_a_plus(text: str) -> None:
    assert not any(decode_base64(text))


def test_a_text_whose_plus_became_blanks_never_gives_other_bytes() -> None:
    for size in range(1, 40):
        for data in (b"\xfb\xef\xbe" * size, bytes(size) + b"\xfb\xef\xbe", b"\xf8" * size, DATA[-size:]):
            for padding in ("=", ""):
                text = base64.b64encode(data).decode().rstrip("=" if not padding else "")
                with suppress(NotBase64Error):
                    assert decode_base64(text.replace("+", " ")) == data
