"""The documents as a site: ``python -m docs.site`` gathers the pages, builds them and checks every link.

The pages stay plain Markdown that reads well as files. Those beside docs/ (CHANGELOG.md and its like) get a
place among the others, and links to code, which no site has, become plain text.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "dist/site-pages"
SITE = ROOT / "dist/site"
BESIDE = ("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE", "SECURITY.md")
"""Pages that lie above docs/. The front page is docs/README.md; that of the repository has no place here."""
BUILD = ROOT / ".venv-site/bin/zensical"

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def gather(to: Path = PAGES) -> None:
    """Copies every page to a folder, with links that hold there."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(ROOT / "docs", to, ignore=shutil.ignore_patterns("*.py", "__pycache__", "README.md"))
    sources = {to / name: ROOT / name for name in BESIDE if (ROOT / name).is_file()}
    sources[to / "index.md"] = ROOT / "docs/README.md"
    sources |= {page: ROOT / "docs" / page.relative_to(to) for page in to.rglob("*.md")}
    places = {source: page for page, source in sources.items()} | {
        ROOT / "docs" / each.relative_to(to): each for each in to.rglob("*") if each.is_file()
    }
    places[ROOT / "README.md"] = to / "index.md"
    places[ROOT / "docs/decisions"] = to / "decisions/index.md"
    for page, source in sources.items():
        text = source.read_text(encoding="utf-8")
        page.write_text(_relink(text, source, page, places), encoding="utf-8")
    _list_decisions(to / "decisions")


def _relink(text: str, source: Path, page: Path, places: dict[Path, Path]) -> str:
    def replace(found: re.Match[str]) -> str:
        mark, words, target, anchor = found.groups()
        place = places.get((source.parent / target).resolve())
        if place is None:
            return words
        return f"{mark}[{words}]({os.path.relpath(place, page.parent)}{anchor or ''})"

    return _LINK.sub(replace, text)


def _list_decisions(folder: Path) -> None:
    lines = ["# Decisions", "", "Why Loupe is built this way, one page a decision.", ""]
    for page in sorted(folder.glob("[0-9]*.md")):
        title = page.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"- [{title}]({page.name})")
    (folder / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


class _Page(HTMLParser):
    """What a page of the site links to and loads, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("img", "script") and "src" in given:
            self.loads.append(given["src"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.append(given.get("href", ""))


def problems(site: Path = SITE) -> list[str]:
    """Links that lead nowhere, and whatever a page would load from another host."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name} loads {url}" for url in page.loads if urlsplit(url).netloc]
        if path.name == "404.html":  # its links count from the address at which the site is served
            continue
        for url in page.links:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            to = to / "index.html" if to.is_dir() else to
            anchor = unquote(parts.fragment)
            if not to.is_file():
                found.append(f"{name}: {url}")
            elif anchor and to in pages and anchor not in pages[to].anchors:
                found.append(f"{name}: {url} has no such heading")
    return found


def main() -> None:
    gather()
    shutil.rmtree(SITE, ignore_errors=True)
    subprocess.run([BUILD, "build", "--clean", "--strict"], cwd=ROOT, check=True)
    if found := problems():
        sys.exit("\n".join(found))
    sys.stdout.write(f"The documents: {SITE / 'index.html'}\n")


if __name__ == "__main__":
    main()
