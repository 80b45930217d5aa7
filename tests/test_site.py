"""The site of the documents: every page has a place in it, and a link that leads nowhere is found"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from docs import site
from docs.generate import ROOT


def _named(entries: list[object]) -> set[str]:
    names: set[str] = set()
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            names |= _named(value) if isinstance(value, list) else {str(value)}
    return names


def test_every_page_is_in_the_navigation_and_the_links_of_all_hold(tmp_path: Path) -> None:
    site.gather(tmp_path / "pages")
    pages = {str(page.relative_to(tmp_path / "pages")) for page in (tmp_path / "pages").rglob("*.md")}
    decisions = {page for page in pages if page.startswith("decisions/0")}
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]

    assert _named(nav) == pages - decisions
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    unlisted = {page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name}" not in index}
    assert unlisted == {"README.md"}
    assert len(decisions) > 20
    listed = (tmp_path / "pages/decisions/index.md").read_text(encoding="utf-8")
    assert all(f"({Path(page).name})" in listed for page in decisions)
    for name in pages:
        page = tmp_path / "pages" / name
        text = re.sub(r"`[^`\n]+`", "", page.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text):
            assert (page.parent / target).is_file(), f"{name}: {target}"


def test_a_link_that_leads_nowhere_and_a_script_from_elsewhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<h1 id="here">x</h1><a href="other.html#there">a</a><a href="#here">b</a><a href="gone.html">c</a>'
        '<a href="other.html#gone">d</a><script src="https://cdn.example/x.js"></script>'
    )
    (tmp_path / "other.html").write_text('<h2 id="there">y</h2><a href="https://elsewhere.example">e</a>')

    assert site.problems(tmp_path) == [
        "index.html loads https://cdn.example/x.js",
        "index.html: gone.html",
        "index.html: other.html#gone has no such heading",
    ]
