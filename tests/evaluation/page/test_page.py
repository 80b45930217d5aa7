"""The page of an evaluation: whole by itself, safe, bounded, and honest about what it leaves out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.child import write_message
from app.evaluation.analysis.files import CURVES
from app.evaluation.analysis.spec import Curves
from app.evaluation.page import work
from app.evaluation.page.policy import META_POLICY, POLICY, STYLE
from app.evaluation.page.words import interval, share, shown
from app.schemas.message import parse_message
from tests.evaluation.page.pages import make, spec_of

VOID = {"meta", "link", "img", "wbr", "br", "path", "use"}
NASTY = "<script>alert(1)</script>\"'&amp; {{ 7 * 7 }} $x^2$ \u202egpj.exe\n"


@pytest.fixture(scope="module", autouse=True)
def _any_memory() -> Iterator[None]:
    """The limit is of a process of its own; here it would be that of all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "limit_memory", lambda _: None)
        yield


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A usual page."""
    folder = tmp_path_factory.mktemp("page")
    return make(folder, usual(folder))[0]


class Page(HTMLParser):
    """What is in a page: its elements with their attributes, its text, and whether they nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.elements if name == tag)


def probabilities(answers: list[int], classes: int, sure: float = 0.9) -> Any:
    """Rows that answer so."""
    rows = np.full((len(answers), classes), (1 - sure) / (classes - 1), np.float32)
    rows[np.arange(len(answers)), answers] = sure
    return rows


def usual(folder: Path, **changes: Any) -> Any:
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    return spec_of(
        folder, ("red", "green", "blue"), labels, probabilities([0, 0, 1, 1, 1, 1, 2, 0, 2], 3), **changes
    )


def test_the_page_needs_nothing_beside_itself(html: str) -> None:
    page = Page(html)
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            address = attributes.get(name)
            assert address is None or address.startswith(("data:", "#")), address
    assert "url(" not in re.sub(r"url\(#", "", html)
    assert "@import" not in html
    assert re.findall(r"https?://", html) == []


def test_names_within_the_page_are_unique_and_found(html: str) -> None:
    page = Page(html)
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert set(ids.values()) == {1}
    assert "Only the classes with the least areas" not in page.text
    wanted = {found for attributes in page.all("a") if (found := attributes["href"])}
    wanted |= {found for attributes in page.all("use") if (found := attributes["href"])}
    wanted |= {f"#{found}" for found in re.findall(r'aria-(?:labelledby|describedby)="([^"]+)"', html)}
    wanted |= set(re.findall(r"url\((#[^)]+)\)", html))
    assert {name.removeprefix("#") for name in wanted} <= set(ids)


def test_each_figure_has_words_and_numbers_for_who_cannot_see_it(html: str) -> None:
    page = Page(html)
    figures = re.findall(r"<figure aria-labelledby.*?</figure>", html, re.DOTALL)
    assert len(figures) == 7
    for figure in figures:
        assert '<svg viewBox="' in figure
        assert 'role="img"' in figure
        assert len(re.sub("<[^>]+>", "", figure.partition("<figcaption")[2])) > 20
        assert "<table>" in figure or 'id="risk-title"' in figure
    assert all(attributes["alt"] for attributes in page.all("img"))
    assert all(attributes.get("scope") for attributes in page.all("th"))


def test_the_policy_lets_the_style_sheet_in_and_nothing_else(html: str) -> None:
    policies = [attributes["content"] for attributes in Page(html).all("meta") if "http-equiv" in attributes]
    assert policies == [META_POLICY]
    assert POLICY.startswith(META_POLICY)
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    [style] = re.findall("<style>(.*?)</style>", html, re.DOTALL)
    assert style == STYLE


def test_names_from_uploads_are_text(tmp_path: Path) -> None:
    spec = usual(tmp_path)
    evil = spec_of(
        tmp_path,
        (NASTY, "b"),
        [0, 0, 1, 1, 2],
        probabilities([0, 1, 1, 1, 1], 2),
        unknown=(f"unknown {NASTY}",),
        product=NASTY,
        model=NASTY,
        findings=(spec.findings[0].model_copy(update={"text": NASTY, "advice": NASTY}),),
        training_findings=(
            spec.training_findings[0].model_copy(
                update=dict.fromkeys(("text", "evidence", "advice", "command"), NASTY)
            ),
        ),
        facts=(
            spec.facts[0].model_copy(
                update={
                    "heading": NASTY,
                    "facts": (spec.facts[0].facts[0].model_copy(update={"name": NASTY, "value": NASTY}),),
                }
            ),
        ),
    )
    evaluation = evil.evaluation.model_copy(update={"warnings": [NASTY], "dataset": NASTY, "id": NASTY})
    html, _ = make(tmp_path, evil.model_copy(update={"evaluation": evaluation}))
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.elements}
    assert "<script" not in html.lower()
    assert "alert(1)" in page.text
    assert "{{ 7 * 7 }}" in page.text
    # Names of classes and images are shown without what turns the text around or breaks lines.
    [cell, *_] = re.findall(r'<td class="text">(.*?)</td>', html, re.DOTALL)
    assert "\u202e" not in cell
    assert r"\u202e" in cell


@pytest.mark.parametrize("classes", [25, 100, 300])
def test_many_classes_fit_a_page_which_says_what_it_leaves_out(tmp_path: Path, classes: int) -> None:
    random = np.random.default_rng(classes)
    labels = np.arange(classes).repeat(3)
    answers = np.where(random.random(len(labels)) < 0.7, labels, random.integers(0, classes, len(labels)))
    names = tuple(f"class {number} {'x' * 200}" for number in range(classes))
    html, result = make(tmp_path, spec_of(tmp_path, names, labels, probabilities(answers.tolist(), classes)))
    page = Page(html)
    assert result.bytes == len(html.encode()) < 2_000_000
    rows = html.partition('aria-label="Table of classes"')[2].partition("</table>")[0].count("<tr>") - 1
    assert rows == (classes if classes <= 100 else 40)
    assert (f"{classes - 40} are left out here" in page.text) == (classes > 100)
    assert ("Confusion matrix" in html) == (classes <= 25)
    assert ("most frequent of" in page.text) == (classes > 25)
    assert "Only the classes with the least areas are drawn" in page.text


def test_the_matrix_has_counts_and_shares_of_rows(html: str) -> None:
    matrix = html.partition('aria-label="Confusion matrix"')[2].partition("</table>")[0]
    cells = re.findall(r'<td class="(\S+ ?\S*)">([0-9·]+)(?:<small>(.*?)</small>)?</td>', matrix)
    assert [(count, of_row) for _, count, of_row in cells] == [
        *(("2", "66.7 %"), ("1", "33.3 %"), ("·", "")),
        *(("·", ""), ("3", "100 %"), ("·", "")),
        *(("1", "33.3 %"), ("·", ""), ("2", "66.7 %")),
    ]
    assert [kind.startswith("right") for kind, _, _ in cells] == [True, False, False, False] * 2 + [True]


def test_mistakes_are_shown_as_images(tmp_path: Path) -> None:
    html, result = make(tmp_path, usual(tmp_path))
    images = list(Page(html).all("img"))
    assert result.images_missing == 0
    assert [attributes["alt"] for attributes in images] == [
        "red/2.png: an image of red, answered with green",
        "blue/7.png: an image of blue, answered with red",
    ]
    assert {(attributes["width"], attributes["height"]) for attributes in images} == {("192", "128")}
    assert all(str(attributes["src"]).startswith("data:image/jpeg;base64,") for attributes in images)


def test_an_image_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    spec = usual(tmp_path)
    gone, unlisted = spec.mistakes
    assert gone.image is not None
    (path,) = (tmp_path / "images").glob(f"*/{gone.image.sha256}")
    path.unlink()
    html, result = make(
        tmp_path, spec.model_copy(update={"mistakes": (gone, unlisted.model_copy(update={"image": None}))})
    )
    page = Page(html)
    assert result.images_missing == 2
    assert list(page.all("img")) == []
    assert "The file of this image is missing or damaged." in page.text
    assert "This image is not in the dataset any more." in page.text


def test_a_calibrated_model_shows_what_that_gained_and_what_it_promises(tmp_path: Path) -> None:
    spec = usual(tmp_path)
    curves = parse_message(Curves, (tmp_path / CURVES).read_bytes(), CURVES)
    before = curves.reliability.model_copy(update={"ece": 0.4321})
    write_message(tmp_path / CURVES, curves.model_copy(update={"reliability_before": before}))
    selection: dict[str, Any] = {
        "max_error": 0.01,
        "promised": None,
        "accepted": 6,
        "wrong": 1,
        "coverage": {"value": 6 / 9, "low": 0.3, "high": 0.9},
        "error": {"value": 1 / 6, "low": 0.01, "high": 0.6},
        "rejected": {"low_confidence": 3, "ambiguous": 0},
    }
    for promised, words in (
        (None, "The validation images are too few to promise anything."),
        (0.05, "The validation images can promise 5.0 %, at 95 % confidence."),
    ):
        evaluation = spec.evaluation.model_copy(update={"selection": {**selection, "promised": promised}})
        text = " ".join(
            Page(make(tmp_path, spec.model_copy(update={"evaluation": evaluation}))[0]).text.split()
        )
        assert words in text
        assert "43.2 % before calibration" in text
        assert "The same before calibration" in text
        assert "6 were accepted, 66.7 % (30.0 % to 90.0 %), and 1 of them were wrong" in text
        assert "Rejected: low confidence 3." in text


def test_images_that_take_too_long_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_IMAGE_SECONDS", -1.0)
    html, result = make(tmp_path, usual(tmp_path))
    assert result.images_missing == 2
    assert "Left out: the images before it took too long to read." in html


def test_without_mistakes_the_page_says_so(tmp_path: Path) -> None:
    html, _ = make(
        tmp_path, spec_of(tmp_path, ("red", "blue"), [0, 0, 1], probabilities([0, 0, 1], 2), training=None)
    )
    page = Page(html)
    assert "No image was answered wrongly." in page.text
    assert 'id="training"' not in html
    assert "100 % right" in page.text


def test_one_class_alone_and_one_without_images_make_a_page(tmp_path: Path) -> None:
    html, _ = make(tmp_path, spec_of(tmp_path, ("red", "blue"), [0, 0], probabilities([0, 1], 2)))
    assert "there is nothing to tell apart" in Page(html).text
    html, _ = make(
        tmp_path,
        spec_of(tmp_path, ("a", "b", "c"), [0, 0, 1, 1], probabilities([0, 1, 1, 2], 3)),
    )
    table = html.partition('aria-label="Table of classes"')[2].partition("</table>")[0]
    [row] = re.findall(r'<tr><td class="text">c</td>(.*?)</tr>', table, re.DOTALL)
    assert re.findall("<td>(.*?)</td>", row) == ["0", *["–"] * 5]


def test_numbers_are_never_rounded_to_all_or_nothing() -> None:
    assert [share(value) for value in (0, 1e-9, 0.0005, 0.5, 0.9994, 0.99999, 1, None)] == [
        *("0 %", "< 0.1 %", "0.1 %", "50.0 %", "99.9 %", "> 99.9 %", "100 %", "–"),
    ]
    assert interval({"value": 1.0, "low": None, "high": None}) == "no interval"
    assert shown("a" * 40 + "b" * 40, 11) == "aaaaa…bbbbb"
