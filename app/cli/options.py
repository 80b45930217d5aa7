"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.errors import FieldError, LoupeError

if TYPE_CHECKING:
    from app.config import Address

DEFAULT_SERVER = "http://127.0.0.1:8000"


class AddressError(LoupeError):
    """LOUPE_HOST or LOUPE_PORT names no address."""

    code, title = "command_failed", "The command failed"


def local_address() -> Address:
    """Where the `loupe up` of this environment and of the .env file here listens. Raises AddressError."""
    # Here and not above: `loupe --help` need not wait for it.
    from pydantic import ValidationError

    from app.config import Address

    try:
        return Address()
    except ValidationError as error:
        raise AddressError(
            "The address of the server is not valid.",
            hint="It comes from LOUPE_HOST and LOUPE_PORT, or from the .env file here.",
            errors=tuple(
                FieldError(f"LOUPE_{str(item['loc'][0]).upper()}", item["msg"]) for item in error.errors()
            ),
        ) from error


def local_server() -> str:
    """Where the `loupe up` of this environment and of the .env file here answers. Raises AddressError."""
    try:
        from app.config import local_url
    except ModuleNotFoundError:
        # The client alone is installed: no `loupe up` of this installation could have read more.
        from loupe.http_requests import local_server as server_of_environment

        return server_of_environment()
    address = local_address()
    return local_url(address.host, address.port)


def _choose_server(context: typer.Context, parameter: typer.CallbackParam, value: str) -> str:
    """The address that was given, by option or variable; else where `loupe up` would listen."""
    source: Any = context.get_parameter_source(str(parameter.name))
    return local_server() if source is not None and source.name == "DEFAULT" else value


Server = Annotated[
    str,
    typer.Option(
        "--server",
        envvar="LOUPE_SERVER",
        metavar="URL",
        callback=_choose_server,
        help="The Loupe to talk to, with its path where a proxy gives it one; LOUPE_PORT gives another port "
        "of this machine. LOUPE_API_KEY is sent along where it is set.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the server's answer as JSON, for scripts.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Most rows to show.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Folder for the database, images, models and logs."),
]
NameEncoding = Annotated[
    str | None,
    typer.Option(
        "--name-encoding",
        metavar="ENCODING",
        help="Encoding of names that declare none, for example shift_jis; else it is detected.",
    ),
]
ClassLevel = Annotated[
    Literal["top", "leaf", "path"] | None,
    typer.Option("--class-level", help="Which of several levels of folders are the classes."),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="folder|REGEX",
        help="Images that belong together, such as all of one part, stay in one split: those of a folder "
        "inside a class, or those for which (…) of the expression finds the same in the name.",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="folders|TABLE",
        help="What says the classes: the folders, or a CSV or JSON lines file among them, such as "
        "labels.csv. Not given: folders if they are class folders, else the tables.",
    ),
]
DatasetId = Annotated[str, typer.Argument(metavar="DATASET", help="Id of the dataset, dst_…")]


def given_choices(**choices: str | bool | None) -> dict[str, str | bool]:
    """What an import or its retry is told; only what was given."""
    return {name: value for name, value in choices.items() if value not in (None, False)}


def examples(*lines: str) -> str:
    """The epilog of a command's help."""
    return "[bold]Examples[/bold]\n\n" + "\n\n".join(f"[cyan]{line}[/cyan]" for line in lines)
