"""Every command, request and anchor that the documents show exists: the pages are walked, not sampled"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer import _click

from app.cli.root import app
from app.schemas.hyperparameters import EarlyStopping, Hyperparameters, SplitSettings
from docs.cli_reference import walk_commands
from docs.generate import ROOT
from docs.schema_words import slug

PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHELLS = ("console", "sh")
# No commands: words for what a reader fills in, and the seed of the pictures that check an artifact.
NO_COMMANDS = {"COMMAND", "GROUP", "…", "probe"}


def _outside_blocks(text: str) -> str:
    return FENCE.sub("", text)


def _shell_lines(text: str) -> Iterator[str]:
    """The lines of blocks that are typed into a shell, continued lines joined."""
    for language, block in FENCE.findall(text):
        if language in SHELLS:
            yield from block.replace("\\\n", " ").splitlines()


def _loupe_commands(text: str) -> Iterator[str]:
    """Each call of `loupe` in blocks and in inline code, without what a shell does with it."""
    inline = re.findall(r"(?<!`)`([^`]+)`(?!`)", _outside_blocks(text))
    for line in (*_shell_lines(text), *(" ".join(code.split()) for code in inline)):
        for call in re.findall(r"(?:^\s*|\$\(|bin/|exec \w+ |&& |; )(loupe .*)", line):
            words = _words(call)
            if words and words[0] not in NO_COMMANDS:
                yield shlex.join(words)


def _words(call: str) -> list[str]:
    """Those after `loupe`, up to a comment or another command."""
    lexer = shlex.shlex(call, posix=True, punctuation_chars="|;&<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words = []
    for word in list(lexer)[1:]:
        if word[0] in "|;&<>":
            break
        words.append(word.removesuffix(")") if "(" not in word else word)
    return words


def _calls() -> list[Any]:
    found: dict[tuple[str, str], None] = {}
    for page in PAGES:
        for call in _loupe_commands(page.read_text(encoding="utf-8")):
            found[str(page.relative_to(ROOT)), call] = None
    return [pytest.param(call, id=f"{page}: {call}") for page, call in found]


@cache
def _tree() -> Any:
    return typer.main.get_command(app)


def _problem(call: str) -> str | None:
    """What is wrong with a call, or None: its command, each option, and how many arguments there are."""
    command, words = _tree(), shlex.split(call)
    while words and hasattr(command, "commands"):
        context = _click.core.Context(command, info_name="loupe")
        if words[0].startswith("-"):
            options = {name for param in command.get_params(context) for name in param.opts}
            return None if words[0] in options | {"-h"} else f"no option {words[0]}"
        try:
            if command is not _tree():  # a group may take something else than its verbs
                command.parse_args(context, words)
                words = [*context._protected_args, *context.args]
            _, command, words = command.resolve_command(context, words)
        except _click.exceptions.UsageError as error:
            return str(error.format_message())
    return None if hasattr(command, "commands") else _wrong_option(command, words)


SETTINGS = {
    *Hyperparameters.model_fields,
    *(f"early_stopping.{name}" for name in EarlyStopping.model_fields),
    *(f"split.{name}" for name in SplitSettings.model_fields),
}


def _wrong_value(option: Any, value: str) -> str | None:
    """What is wrong with the value of an option that takes only some."""
    choices = option.type_descriptor.choices if option.type_descriptor.is_choice else None
    if choices and value not in map(str, choices):
        return f"{option.opts[0]} takes no {value}"
    if option.opts[0] in ("--set", "--grid"):
        name = value.partition("=")[0]
        is_class = name.startswith("class_weights.")
        if not (name in SETTINGS or name == "NAME" or is_class):
            return f"{option.opts[0]}: no setting {name}"
    return None


def _wrong_option(command: Any, words: list[str]) -> str | None:
    options = {name: param for param in command.params for name in (*param.opts, *param.secondary_opts)}
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    given, values = 0, iter(words)
    for word in values:
        name, _, joined = word.partition("=")
        if name in ("--help", "-h"):
            return None
        if not word.startswith("--") or word == "--":
            given += 1
        elif name not in options:
            return f"no option {name}"
        elif not options[name].is_flag:
            value = joined or next(values, None)
            if value and (problem := _wrong_value(options[name], value)):
                return problem
    most = None if any(param.nargs == -1 for param in arguments) else len(arguments)
    if most is not None and given > most:
        return f"{given} arguments, at most {most}"
    return None


def test_every_call_of_loupe_in_the_documents_is_one_that_the_command_takes() -> None:
    calls = _calls()
    assert len(calls) > 200
    wrong = [f"{call.id}: {problem}" for call in calls if (problem := _problem(str(call.values[0])))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "call",
    [
        "jbos",
        "train screws --epoch 3",
        "train screws other",
        "jobs --every",
        "--vers",
        "train screws --device tpu",
        "train screws --set epoch=3",
    ],
)
def test_a_call_that_the_command_would_refuse_is_found(call: str) -> None:
    assert _problem(call)


def _requests(text: str) -> Iterator[tuple[str, str]]:
    """The method and the path of each curl line to a Loupe."""
    for line in _shell_lines(text):
        for call in re.findall(r"curl [^|;]*", line):
            url = re.search(r"(?:\$LOUPE|(?:https?://)?(?:localhost|127\.0\.0\.1):8000)(/[^\s'\"?)]*)", call)
            if url is None:
                continue
            named = re.search(r"(?:-X|--request) (\w+)", call)
            posts = re.search(r" (?:--json|-d|--data\S*|-F|--form) ", call)
            yield named[1] if named else "POST" if posts else "GET", url[1]


def test_every_curl_line_in_the_documents_asks_for_a_route() -> None:
    paths = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))["paths"]
    routes = [
        (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path)))
        for path, operations in paths.items()
        for method in operations
    ]
    asked = [(page, *each) for page in PAGES for each in _requests(page.read_text(encoding="utf-8"))]
    assert len(asked) > 20
    wrong = [
        f"{page.name}: {method} {path}"
        for page, method, path in asked
        if not any(method == known and route.fullmatch(path) for known, route in routes)
    ]
    assert not wrong, "\n".join(wrong)


def _anchors(page: Path) -> set[str]:
    text = _outside_blocks(page.read_text(encoding="utf-8"))
    return {slug(heading.replace("`", "")) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_every_link_to_a_heading_finds_it() -> None:
    known = {page: _anchors(page) for page in PAGES}
    wrong = []
    for page in PAGES:
        text = _outside_blocks(page.read_text(encoding="utf-8"))
        for target, anchor in re.findall(r"\]\(((?!https?://)[^)#\s]*)#([^)\s]+)\)", text):
            to = (page.parent / target).resolve() if target else page
            if to in known and anchor not in known[to]:
                wrong.append(f"{page.name}: {target}#{anchor}")
    assert not wrong, "\n".join(wrong)


def test_every_option_and_argument_says_what_it_is() -> None:
    silent = [
        f"{' '.join(path)} {param.opts[0]}"
        for path, command in walk_commands()
        for param in command.params
        if not param.help
    ]
    assert not silent


def test_every_example_of_json_is_valid() -> None:
    blocks = [
        (page.name, block)
        for page in PAGES
        for language, block in FENCE.findall(page.read_text(encoding="utf-8"))
        if language == "json"
    ]
    assert blocks
    for name, block in blocks:
        assert isinstance(json.loads(block), dict), name


RUN_BY = {
    "docs/artifacts.md": "tests/inference/test_documentation.py",
    "docs/coming-from.md": "tests/client/test_client.py",
    "docs/inference-protocol.md": "tests/test_inference_protocol_page.py",
    "docs/python.md": "tests/client/test_client.py",
    "docs/tutorial.md": "tests/cli/test_tutorial.py",
    "docs/webhooks.md": "tests/test_webhooks_page.py",
}
"""The test that runs the Python of a page."""


def test_the_python_of_every_page_is_run_by_a_test() -> None:
    with_python = {
        str(page.relative_to(ROOT)): page
        for page in PAGES
        if "python" in {language for language, _ in FENCE.findall(page.read_text(encoding="utf-8"))}
    }
    assert set(with_python) == set(RUN_BY)
    for page, test in RUN_BY.items():
        assert Path(page).name in (ROOT / test).read_text(encoding="utf-8"), test


def test_the_reference_of_the_command_line_has_every_command() -> None:
    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert {f"loupe {' '.join(path)}" for path, _ in walk_commands()} <= set(
        re.findall(r"^#+ (loupe .+)$", text, re.MULTILINE)
    )
