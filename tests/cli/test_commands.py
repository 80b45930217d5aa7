"""What is printed can be typed: every command of every message, and none of the server's requests."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli import commands
from app.cli.commands import GROUPS, WITH_A_SERVER, WITHOUT_A_SERVER, for_terminal
from app.cli.grammar import PLURALS
from app.cli.grammar import WITH_A_SERVER as SERVER_HEADING
from tests.cli.conftest import Run, Server, as_json, as_problem
from tests.cli.test_grammar import TREE

APP = Path(commands.__file__).parents[1]
REQUEST = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) /")
# The protocol's own clients are no terminals, and a browser's pages are none.
OF_OTHERS = ("api/pages.py", "api/tensor_requests.py", "config.py", "cli/commands.py")


@pytest.fixture(autouse=True)
def _called_as_loupe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["loupe"])


def _texts(tree: ast.AST) -> Iterator[str]:
    """Every string of a module but its docstrings; ``x_1`` stands for what is filled in."""
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    documents |= {  # the sentence below a constant
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
    }
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "x_1" for part in node.values
            )
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documents | inside
        ):
            yield node.value


def _described(tree: ast.AST) -> set[str]:
    """What the document of the API says of its fields: clients read it, not the command line."""
    said: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "description":
            said.append(node.value)
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            said += [
                value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "description"
            ]
    return {text for node in said for text in _texts(node)}


MESSAGES = sorted(
    {
        text
        for path in APP.rglob("*.py")
        if str(path.relative_to(APP)) not in OF_OTHERS
        for tree in [ast.parse(path.read_text(encoding="utf-8"))]
        for text in set(_texts(tree)) - _described(tree)
        if REQUEST.search(text) or re.search(r"`loupe |: loupe |    [A-Z][^:]*: loupe ", text)
    }
)


def test_there_are_messages_to_walk() -> None:
    assert sum(REQUEST.search(text) is not None for text in MESSAGES) > 40
    assert sum("loupe " in text for text in MESSAGES) > 40


@pytest.mark.parametrize("text", MESSAGES)
def test_no_message_names_a_request_and_every_command_exists(text: str) -> None:
    shown = for_terminal(text)

    assert not REQUEST.search(shown)
    # In an f-string the sentence may go on behind what is filled in.
    for words in re.findall(r"(?:`|: )loupe ([a-z]+(?: [a-z]+)?)", shown):
        first, _, verb = words.partition(" ")
        group = TREE.commands.get(PLURALS.get(first, first))
        assert group is not None, words
        if first in GROUPS and verb:
            assert verb in group.commands, words


def test_the_lists_here_are_those_of_the_commands() -> None:
    served = {name for name, command in TREE.commands.items() if command.rich_help_panel == SERVER_HEADING}
    groups = {name for name, command in TREE.commands.items() if hasattr(command, "commands")}

    assert groups == GROUPS
    assert WITH_A_SERVER - PLURALS.keys() | (groups & WITH_A_SERVER) == served
    assert set(PLURALS) <= WITH_A_SERVER | WITHOUT_A_SERVER
    assert set(TREE.commands) - served == WITHOUT_A_SERVER


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("`GET /models?product=screws` lists them.", "`loupe model list --product screws` lists them."),
        (
            'Choose: `loupe job retry JOB --labels T`, or `POST /jobs/<id>/retry` {"labels": "T"}. Kept.',
            "Choose: `loupe job retry JOB --labels T`. Kept.",
        ),
        (
            'Have a worker make it: `POST /models/mdl_1/exports` with {"format": "onnx"}.',
            "Have a worker make it: `loupe model download mdl_1 --format onnx --output FILE`.",
        ),
        ("`PUT /products/p/aliases/champion`", "`loupe promote p MODEL`"),
        ("`PUT /products/p/aliases/<name>`", "`loupe promote p MODEL --alias NAME`"),
        ("A file /home/loupe train.png", "A file /home/loupe train.png"),
    ],
)
def test_a_request_of_a_hint_becomes_its_command(said: str, shown: str) -> None:
    assert for_terminal(said) == shown


def test_a_server_that_was_named_is_named_in_what_is_to_be_typed_next(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({"id": "screws"})

    made = loupe("product", "create", "screws", "--server", server.url)

    assert f"loupe dataset import screws FOLDER --server {server.url}\n" in made.err
    server.answer = lambda _: as_problem(404, "not_found", "No job.", hint="`GET /jobs` lists them.")
    missing = loupe("job", "show", "job_1", f"--server={server.url}")
    assert f"hint: `loupe job list --server {server.url}` lists them." in missing.err
    assert "`loupe doctor`" in for_terminal("`loupe doctor`")


def test_a_command_that_is_not_on_the_path_is_shown_as_it_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / ".venv" / "bin" / "loupe"
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setattr(sys, "argv", [str(script)])

    assert for_terminal("Next: loupe train p --follow") == "Next: .venv/bin/loupe train p --follow"
    monkeypatch.chdir("/usr")
    assert for_terminal("`loupe jobs`") == f"`{script} jobs`"
    monkeypatch.setenv("PATH", f"/usr/bin:{script.parent}")
    assert for_terminal("`loupe jobs`") == "`loupe jobs`"


@pytest.mark.parametrize("place", ["variable", "file"])
def test_the_port_of_the_service_is_the_port_of_every_command(
    loupe: Run, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    port = server.url.rpartition(":")[2]
    if place == "variable":
        monkeypatch.setenv("LOUPE_PORT", port)
    else:
        (tmp_path / ".env").write_text(f"LOUPE_PORT={port}\n")
    server.answer = lambda _: as_json({"data": [], "has_more": False, "next_cursor": None})

    assert loupe("jobs").status == 0
    assert loupe("jobs", "--server", "http://127.0.0.1:9").status == 1, "what is given goes before it"
    (tmp_path / ".env").unlink(missing_ok=True)
    monkeypatch.setenv("LOUPE_PORT", "a lot")
    ended = loupe("jobs")
    assert (ended.status, "LOUPE_PORT" in ended.err) == (1, True)
