"""Names in zips that do not say in which encoding they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.datasets.archives import open_archive
from app.datasets.name_encodings import _is_odd
from app.datasets.sources import Limits, Source
from app.errors import ChoiceNeededError
from app.schemas.import_choices import ImportChoices
from tests.pictures import make_legacy_zip

SHIFT_JIS = [f"{label}/{number}.jpg" for label in ("表良", "表傷", "裏面") for number in range(4)]


def legacy(tmp_path: Path, names: list[str], encoding: str, unicode_path: bytes | None = None) -> Path:
    path = tmp_path / "upload.zip"
    path.write_bytes(make_legacy_zip(dict.fromkeys(names, b"1"), encoding, unicode_path))
    return path


def read(path: Path, name_encoding: str | None = None) -> tuple[list[str], Source]:
    with open_archive(path, Limits(), name_encoding) as source:
        return [file.name for file in source.files()], source


def guess(path: Path) -> object:
    """The names as they are read, or the reading that the import thinks the likeliest of several."""
    try:
        return read(path)[0]
    except ChoiceNeededError as error:
        assert len(error.errors) > 1  # noqa: PT017 - either outcome is right
        return error.errors[0].message


def test_a_backslash_inside_a_character_of_shift_jis_separates_nothing(tmp_path: Path) -> None:
    names, source = read(legacy(tmp_path, SHIFT_JIS, "cp932"))
    assert names == SHIFT_JIS
    assert source.name_encoding == "cp932"
    assert source.encoding_reason


def test_a_backslash_between_characters_of_shift_jis_separates_folders(tmp_path: Path) -> None:
    names = [name.replace("/", "\\") for name in SHIFT_JIS]
    assert read(legacy(tmp_path, names, "cp932"))[0] == SHIFT_JIS


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp932", ["ソフト", "能力"]),
        ("cp932", ["合格", "キズ"]),
        ("gb18030", ["合格", "不合格"]),
        ("gb18030", ["猫", "狗"]),
        ("gb18030", ["苹果", "香蕉"]),
        ("big5", ["正常", "裂紋"]),
        ("big5", ["貓", "狗"]),
        ("big5", ["功能", "許可"]),
        ("cp949", ["정상", "불량"]),
        ("cp949", ["양품", "스크래치"]),
        ("cp866", ["брак", "годные"]),
        ("cp866", ["дом", "кот"]),
        ("cp1251", ["брак", "годные"]),
        ("cp1251", ["Норма", "Дефект"]),
        ("cp437", ["schön", "häßlich"]),
        ("cp850", ["maçã", "não"]),
        ("cp852", ["żółty", "zielony", "pęknięcie"]),
        ("cp1250", ["żółty", "zielony", "pęknięcie"]),
        ("cp1252", ["café", "thé"]),
    ],
)
def test_short_words_are_read_rightly_or_the_choice_is_asked_for_and_taken(
    tmp_path: Path, encoding: str, words: list[str]
) -> None:
    names = [f"{word}/{number}.jpg" for word in words for number in range(2)]
    path = legacy(tmp_path, names, encoding)
    assert guess(path) in (names, f"{encoding}: {', '.join(map(repr, words))}")
    assert read(path, encoding)[0] == names


def test_two_likely_readings_are_both_shown(tmp_path: Path) -> None:
    with pytest.raises(ChoiceNeededError) as asked:
        read(legacy(tmp_path, ["猫/1.jpg", "狗/1.jpg"], "gb18030"))
    assert "gb18030: '猫', '狗'" in asked.value.detail
    assert "big5: '癡', '僩'" in asked.value.detail
    assert "name_encoding" in str(asked.value.hint)
    assert not asked.value.retryable


def test_a_choice_that_the_names_do_not_fit_asks_again(tmp_path: Path) -> None:
    with pytest.raises(ChoiceNeededError, match="cannot be read as cp949: cp932: '表良'"):
        read(legacy(tmp_path, SHIFT_JIS, "cp932"), "cp949")


def test_names_of_pictures_alone_are_never_asked_about(tmp_path: Path) -> None:
    names, source = read(legacy(tmp_path, ["cat/猫.jpg", "dog/狗.jpg"], "gb18030"))
    assert [name.partition("/")[0] for name in names] == ["cat", "dog"]
    assert source.encoding_reason


@pytest.mark.parametrize("encoding", ["ascii", "cp932"])
def test_a_unicode_path_is_believed_when_its_checksum_fits(tmp_path: Path, encoding: str) -> None:
    names = ["良品/1.jpg", "不良/1.jpg"] if encoding == "cp932" else ["cat/1.jpg", "dog/1.jpg"]
    read_names, source = read(legacy(tmp_path, names, encoding, b""))
    assert (read_names, source.name_encoding) == (names, None)


def test_a_unicode_path_of_another_name_is_not_believed(tmp_path: Path) -> None:
    names, source = read(legacy(tmp_path, SHIFT_JIS, "cp932", b"an older name"))
    assert (names, source.name_encoding) == (SHIFT_JIS, "cp932")


def test_ascii_and_utf8_need_no_judgement(tmp_path: Path) -> None:
    names, source = read(legacy(tmp_path, ["cat/1.jpg", "dog/1.jpg"], "ascii"))
    assert (names, source.name_encoding) == (["cat/1.jpg", "dog/1.jpg"], None)
    names, source = read(legacy(tmp_path, ["猫/1.jpg", "schön/1.jpg"], "utf-8"))
    assert (names, source.name_encoding) == (["猫/1.jpg", "schön/1.jpg"], "utf-8")


def test_a_short_name_that_is_utf8_by_chance_is_judged_with_the_others(tmp_path: Path) -> None:
    names = ["猫/1.jpg", "合格/1.jpg", "不合格/1.jpg"]  # 猫 alone is è in UTF-8
    assert read(legacy(tmp_path, names, "gb18030"), "gb18030")[0] == names
    names.append("裂纹/1.jpg")
    assert read(legacy(tmp_path, names, "gb18030"))[0] == names


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("euc_jp", ["表良", "表傷", "裏面"]),
        ("euc_jp", ["良品", "不良品"]),
        ("euc_jp", ["りんご", "みかん"]),
        ("koi8-r", ["хорошо", "плохо", "брак"]),
        ("koi8-r", ["царапина", "вмятина"]),
        ("cp737", ["καλό", "κακό", "γρατζουνιά"]),
        ("cp1253", ["γάτα", "σκύλος"]),
        ("cp857", ["çizik", "kırık"]),
        ("cp1254", ["çizik", "kırık"]),
        ("cp862", ["טוב", "רע"]),
        ("cp1255", ["כלב", "חתול"]),
        ("cp1256", ["جيد", "سيئ"]),
        ("cp874", ["ดี", "เสีย"]),
        ("mac-roman", ["Köpfe", "Schräg"]),
    ],
)
def test_rarer_encodings_are_read_rightly_or_their_reading_is_among_the_choices(
    tmp_path: Path, encoding: str, words: list[str]
) -> None:
    names = [f"{word}/{number}.jpg" for word in words for number in range(2)]
    path = legacy(tmp_path, names, encoding)
    try:
        assert read(path)[0] == names
    except ChoiceNeededError as asked:
        readings = [error.message for error in asked.errors]
        assert any(all(repr(word) in reading for word in words) for reading in readings)
    assert read(path, encoding)[0] == names


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp932", ["表良", "表傷", "裏面"]),
        ("cp932", ["犬", "猫"]),
        ("cp437", ["Köpfe", "Schräg"]),
        ("cp850", ["Größe", "Käfer", "Öl"]),
        ("cp1252", ["Köpfe", "Schräg"]),
        ("cp866", ["хорошо", "плохо", "брак"]),
        ("cp1251", ["хорошо", "плохо", "брак"]),
        ("gb18030", ["良品", "划伤", "污点"]),
        ("big5", ["良品", "刮傷", "功能"]),
        ("cp949", ["정상", "불량"]),
        ("cp852", ["dobre", "złe", "pęknięcie"]),
        ("cp1250", ["dobre", "złe", "pęknięcie"]),
    ],
)
def test_clear_words_are_not_asked_about(tmp_path: Path, encoding: str, words: list[str]) -> None:
    names = [f"{word}/{number}.jpg" for word in words for number in range(2)]
    assert read(legacy(tmp_path, names, encoding))[0] == names


@pytest.mark.parametrize("odd", ["KÜpfe", "бШбц", "кŠ", "a─b", "шт█"])
def test_a_reading_that_nobody_would_write_is_odd(odd: str) -> None:
    assert _is_odd(odd)


@pytest.mark.parametrize("fine", ["Köpfe", "ÄÖ", "USÄ", "Дом", "表良A", "良品_NG", "GRÖSSE", "Öl", "καλό"])
def test_a_reading_that_people_write_is_not_odd(fine: str) -> None:
    assert not _is_odd(fine)


def test_names_that_only_a_missing_encoding_explains_are_asked_about(tmp_path: Path) -> None:
    names = ["Норма/1.jpg", "Дефект/1.jpg"]
    path = legacy(tmp_path, names, "mac_cyrillic")
    with pytest.raises(ChoiceNeededError):
        read(path)
    assert read(path, "mac-cyrillic")[0] == names


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("EUC-JP", "euc_jp"), ("koi8_r", "koi8-r"), ("macroman", "mac-roman"), ("cp1255", "cp1255"),
        ("iso-8859-7", "iso8859-7"), ("shift_jis", "cp932"), ("GBK", "gb18030"), ("utf8", "utf-8"),
    ],
)  # fmt: skip
def test_every_encoding_that_contains_ascii_can_be_chosen(given: str, known: str) -> None:
    assert ImportChoices(name_encoding=given).name_encoding == known


@pytest.mark.parametrize(
    "wrong",
    [
        "klingon", "utf-16", "utf-32-le", "utf-7", "rot13", "base64", "hex", "zip", "idna", "punycode",
        "cp037", "unicode_escape", "raw_unicode_escape", "undefined", "hz", "", "a\0b",
    ],
)  # fmt: skip
def test_what_is_no_encoding_of_names_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError):
        ImportChoices(name_encoding=wrong)
