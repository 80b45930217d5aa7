"""Wherever the version stands, it is the same, and the changelog has a section for it"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from datetime import date

import pytest
import yaml
from fastapi.testclient import TestClient

from app import __version__
from app.cli import main
from docs.generate import ROOT


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_the_same_wherever_it_stands(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["loupe", "--version"])
    with pytest.raises(SystemExit):
        main()
    compose = _text("docker-compose.yml") + _text("docker-compose.gpu.yml")
    found = {
        "pyproject.toml": {tomllib.loads(_text("pyproject.toml"))["project"]["version"]},
        "loupe --version": {capsys.readouterr().out.split()[-1]},
        "GET /version": {client.get("/version").json()["version"]},
        "docs/openapi.json": {json.loads(_text("docs/openapi.json"))["info"]["version"]},
        "CITATION.cff": {yaml.safe_load(_text("CITATION.cff"))["version"]},
        "the images' labels": set(
            re.findall(r"^ARG VERSION=(.+)$", _text("docker/Dockerfile"), re.MULTILINE)
        ),
        "the images' tags": set(re.findall(r"loupe-[a-z-]+:([\w.]+)", compose + _text("docker/Dockerfile"))),
    }
    assert {place: versions for place, versions in found.items() if versions != {__version__}} == {}
    assert not re.findall(r"image: loupe-[a-z-]+$", compose, re.MULTILINE), "an image without a tag"


def test_the_changelog_has_a_section_for_each_release_the_newest_first() -> None:
    headings = re.findall(r"^## (.+)$", _text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    released = [re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)", heading) for heading in headings[1:]]
    assert all(released), headings
    versions = [each[1] for each in released if each]
    days = [date.fromisoformat(each[2]) for each in released if each]
    assert versions[0] == __version__
    numbers = [tuple(int(part) for part in version.split(".")) for version in versions]
    assert numbers == sorted(numbers, reverse=True)
    assert days == sorted(days, reverse=True)
    assert yaml.safe_load(_text("CITATION.cff"))["date-released"] == days[0]


def test_the_citation_names_the_licence_of_the_project() -> None:
    citation = yaml.safe_load(_text("CITATION.cff"))
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    assert citation["license"] == project["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
