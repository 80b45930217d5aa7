"""docs/cli.md: every command with its arguments, options, defaults and examples, from the code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import typer
from rich.text import Text
from typer import _click

from app.cli.grammar import ON_THIS_MACHINE, PLURALS, WITH_A_SERVER
from app.cli.root import app
from docs.schema_words import cell, number, slug

INTRODUCTION = """\
# Command line

Every command, made from the commands themselves by `make docs`; `loupe COMMAND --help` says the same.

A group may be called by its plural: `loupe jobs` is `loupe job list`. `loupe --version` prints the version.
`loupe --install-completion` teaches the shell to complete what you type. Ctrl-C never ends a job: it only
ends the watching. A command ends with status 0, or with 1 and a line that says what is wrong and what to do.
"""
SHARED = ("--json", "--server")
"""Options that most commands have; where their words are the same, they are explained once."""


def walk_commands(tree: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it; groups are walked through."""
    tree = tree or typer.main.get_command(app)
    for name, command in tree.commands.items():
        if hasattr(command, "commands"):
            yield from walk_commands(command, (*path, name))
        elif not command.hidden:
            yield (*path, name), command


def cli_reference() -> str:
    """The page."""
    commands = list(walk_commands())
    shared = _shared(commands)
    lines = [INTRODUCTION, "## Options of many commands", ""]
    lines += ["| option | default | what it does |", "|---|---|---|"]
    lines += [_option(shared[name]) for name in SHARED]
    lines += ["", "Set `LOUPE_SERVER` to give the address once for all commands.", ""]
    for panel in (ON_THIS_MACHINE, WITH_A_SERVER):
        lines += [f"## {panel}", ""]
        for (group, *rest), members in _groups(commands, panel).items():
            plural = next((many for many, one in PLURALS.items() if one == group and many != group), None)
            if not rest and len(members) > 1:
                also = f" `loupe {plural}` lists." if plural else ""
                lines += [f"### loupe {group}", "", f"{_plain(_group_help(group))}{also}", ""]
            for path, command in members:
                lines += _command(path, command, shared, "####" if len(path) > 1 else "###")
    return "\n".join(lines).rstrip() + "\n"


def _groups(
    commands: list[tuple[tuple[str, ...], Any]], panel: str
) -> dict[tuple[str, ...], list[tuple[tuple[str, ...], Any]]]:
    tree: Any = typer.main.get_command(app)
    groups: dict[tuple[str, ...], list[tuple[tuple[str, ...], Any]]] = defaultdict(list)
    for path, command in commands:
        if tree.commands[path[0]].rich_help_panel == panel:
            groups[path[:1]].append((path, command))
    return groups


def _group_help(group: str) -> str:
    tree: Any = typer.main.get_command(app)
    return str(tree.commands[group].help or "")


def _shared(commands: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    return {
        name: param
        for _, command in commands
        for param in command.params
        for name in param.opts
        if name in SHARED
    }


def _command(path: tuple[str, ...], command: Any, shared: dict[str, Any], level: str) -> list[str]:
    words = " ".join(("loupe", *path))
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option" and not param.hidden]
    own = [param for param in options if not _is_shared(param, shared)]
    usage = " ".join([words, *(["[OPTIONS]"] if options else []), *map(_usage, arguments)])
    lines = [f"{level} {words}", "", f"```text\n{usage}\n```", "", _plain(command.help or ""), ""]
    if arguments:
        lines += ["| argument | default | what it is |", "|---|---|---|", *map(_argument, arguments), ""]
    if own:
        lines += ["| option | default | what it does |", "|---|---|---|", *map(_option, own), ""]
    if also := [f"`{param.opts[0]}`" for param in options if _is_shared(param, shared)]:
        anchor = slug("Options of many commands")
        lines += [f"Also {' and '.join(also)}, as [many commands](#{anchor}).", ""]
    if command.epilog:
        examples = [line for line in _plain(_text(command.epilog)).splitlines() if line.startswith("loupe ")]
        lines += ["```console", *examples, "```", ""]
    return lines


def _text(epilog: Any) -> str:
    return str(epilog() if callable(epilog) else epilog)


def _is_shared(param: Any, shared: dict[str, Any]) -> bool:
    alike = shared.get(param.opts[0])
    return alike is not None and param.help == alike.help


def _usage(argument: Any) -> str:
    return argument.metavar if argument.required else f"[{argument.metavar}]"


def _argument(param: Any) -> str:
    return f"| `{param.metavar}` | {_default(param)} | {cell(_plain(param.help or ''))} |"


def _option(param: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    values = "" if param.is_flag else f" `{param.metavar or _type(param)}`"
    often = " May be given often." if param.multiple and "often" not in param.help else ""
    says = cell(_plain(param.help) + often)
    return f"| {names}{values.replace('|', ' or ')} | {_default(param)} | {says} |"


def _type(param: Any) -> str:
    """As the help shows it, with the range of a number."""
    shown = str(param.display_type(_click.core.Context(typer.main.get_command(app)))).strip("<>")
    if param.min is None and param.max is None:
        return shown
    kind = shown.removesuffix(" range")
    if param.max is None:
        return f"{kind}, at least {number(param.min)}"
    return f"{kind}, {number(param.min or 0)} to {number(param.max)}"


def _default(param: Any) -> str:
    if param.required:
        return "required"
    if param.default in (None, False, ()):
        return "–"
    return f"`{param.default}`"


def _plain(markup: str) -> str:
    """Without Rich's marks."""
    return Text.from_markup(markup).plain.strip()
