"""Every command, walked: help, plurals, headings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from app.cli.grammar import ON_THIS_MACHINE, PLURALS, WITH_A_SERVER
from app.cli.options import DEFAULT_SERVER
from app.cli.root import app
from tests.cli.conftest import Run, Server, as_json

TREE: Any = typer.main.get_command(app)
GROUPS = {name: command for name, command in TREE.commands.items() if hasattr(command, "commands")}


def _walk(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in tree.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from _walk(command, (*path, name))


WALKED = dict(_walk(TREE))
LEAVES = {path: command for path, command in WALKED.items() if not hasattr(command, "commands")}


@pytest.mark.parametrize("path", WALKED, ids=" ".join)
def test_every_command_and_group_says_in_one_sentence_what_it_is(path: tuple[str, ...]) -> None:
    sentence = WALKED[path].help.partition("\n\n")[0]

    assert sentence.endswith(".")
    assert len(sentence) < 120


def test_every_group_with_a_list_has_its_plural() -> None:
    assert set(PLURALS.values()) == {name for name, group in GROUPS.items() if "list" in group.commands}
    assert all(plural in (f"{name}s", f"{name}es", name) for plural, name in PLURALS.items())


@pytest.mark.parametrize("plural", PLURALS)
def test_a_plural_explains_itself_as_its_group_does(loupe: Run, plural: str) -> None:
    name = PLURALS[plural]
    for words in ([], *([verb] for verb in GROUPS[name].commands)):
        for option in ("--help", "-h"):
            ended = loupe(plural, *words, option)
            assert ended.status == 0
            assert ended.out == loupe(name, *words, option).out
            assert f"Usage: loupe {' '.join([name, *words])}" in ended.out


@pytest.mark.parametrize("plural", [plural for plural in PLURALS if plural != "weights"])
def test_a_plural_without_a_verb_lists(loupe: Run, server: Server, plural: str) -> None:
    empty = {"data": [], "has_more": False, "next_cursor": None}
    server.answer = lambda _: as_json([] if plural == "networks" else empty)

    bare = loupe(plural, "--server", server.url, "--json")
    whole = loupe(PLURALS[plural], "list", "--server", server.url, "--json")

    assert bare.status == whole.status == 0
    assert bare.out == whole.out
    first, second = server.requests
    assert first.path == second.path


@pytest.mark.parametrize("plural", PLURALS)
def test_a_plural_alone_lists(
    loupe: Run, server: Server, plural: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOUPE_SERVER", server.url)
    empty = {"data": [], "has_more": False, "next_cursor": None}
    server.answer = lambda _: as_json([] if plural == "networks" else empty)

    assert loupe(plural) == loupe(PLURALS[plural], "list")


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_what_asks_no_server_stands_under_a_heading_of_its_own(path: tuple[str, ...]) -> None:
    heading = WALKED[path[:1]].rich_help_panel
    options = {option.name: option.default for option in LEAVES[path].params}

    assert heading in (ON_THIS_MACHINE, WITH_A_SERVER)
    if path == ("demo",):
        # It starts the server that it talks to, and takes another only when told to.
        assert options.pop("server") is None
    assert options.get("server") == (DEFAULT_SERVER if heading == WITH_A_SERVER else None)
    assert ("server" in options) == (heading == WITH_A_SERVER)


@pytest.mark.parametrize("columns", [60, 80])
def test_the_first_help_fits_a_narrow_terminal(
    loupe: Run, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    lines = loupe("--help").out.splitlines()

    assert max(map(len, lines)) <= columns
    assert not [line for line in lines if "…" in line]
    for name in (ON_THIS_MACHINE, WITH_A_SERVER, "--install-completion"):
        assert any(name in line for line in lines)


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (("trian",), "'train'"),
        (("netwroks",), "'network'"),
        (("job", "lst"), "'list'"),
        (("jobs", "shwo"), "'show'"),
        (("train", "screws", "--epoch", "3"), "--epochs"),
        (("networks", "--jsn"), "--json"),
        (("aliases", "histroy"), "'history'"),
        (("job", "list", "--produt", "screws"), "--product"),
    ],
)
def test_what_is_misspelt_is_answered_with_the_nearest(
    loupe: Run, words: tuple[str, ...], nearest: str
) -> None:
    ended = loupe(*words)

    assert ended.status == 2
    assert nearest in ended.err


def test_worker_runs_one_and_workers_lists_them() -> None:
    assert "queue" in {option.name for option in TREE.commands["worker"].params}
    assert list(GROUPS["workers"].commands) == ["list"]
