"""Commands in what is printed: as they work in this terminal, and in place of the server's HTTP requests.

A server's hint names requests, since most of its clients send some. Whoever reads it here types commands.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

GROUPS = frozenset(
    {
        "alias", "dataset", "job", "key", "model", "network", "product", "storage", "sweep", "webhook",
        "weights", "workers",
    }
)  # fmt: skip
"""The first words that a verb follows."""
WITH_A_SERVER = frozenset(
    {
        "audit", "compare", "evaluate", "leaderboard", "predict", "promote", "rollback", "tensorboard",
        "train", "watch",
        *(GROUPS - {"storage", "weights"}),
        "aliases", "datasets", "jobs", "keys", "models", "networks", "products", "sweeps", "webhooks",
    }
)  # fmt: skip
"""The first words of commands that take ``--server``."""
WITHOUT_A_SERVER = frozenset({"api", "demo", "doctor", "migrate", "storage", "up", "weights", "worker"})

_COMMAND = re.compile(
    r"(?<![\w/.-])loupe (?P<first>[a-z]+|COMMAND|(?=--))(?P<rest>[^`\n]*?)(?=`|\.?$|\n|;|  )", re.MULTILINE
)
"""To a backtick, else to the end of its sentence, or of its column."""
_REQUEST = re.compile(
    r"`(?P<method>GET|POST|PUT|PATCH|DELETE) (?P<path>/[^`? ]*)(?:\?(?P<query>[^`]*))?`"
    r"(?: with)?(?: (?P<body>\{[^{}]*\}))?"
)
_ALSO_A_REQUEST = re.compile(r"(`loupe [^`]*`), or " + _REQUEST.pattern)
_PART = r"([^/]+)"

Make = Callable[[Sequence[str], str, str], str]
"""A command from the parts of a path, the query and the body of a request."""


def for_terminal(text: str) -> str:
    """``text`` with each request as the command for it, and each command as it works here.

    ``loupe`` becomes the path of the command where the shell would not find it, and ``--server`` is added
    where this command was given one.
    """
    text = _ALSO_A_REQUEST.sub(r"\1", text)
    text = _REQUEST.sub(_as_command, text)
    return _COMMAND.sub(_as_called, text)


def command_name() -> str:
    """How ``loupe`` is called from this terminal: ``loupe``, or a path, quoted for a shell."""
    called = Path(sys.argv[0])
    if called.name != "loupe":  # `python -m app.cli`, or another program that uses this one
        called = Path(sys.executable).with_name("loupe")
        if not called.exists():
            return "loupe"
    elif os.sep not in sys.argv[0]:
        return "loupe"
    found = shutil.which("loupe")
    if found is not None and Path(found).resolve() == called.resolve():
        return "loupe"
    relative = os.path.relpath(called.absolute())
    return shlex.quote(str(called.absolute()) if relative.startswith("..") else relative)


def given_server() -> str | None:
    """The address that this command was given with ``--server``; None where it found one by itself."""
    words = sys.argv[1:]
    for index, word in enumerate(words):
        if word == "--server" and index + 1 < len(words):
            return words[index + 1]
        if word.startswith("--server="):
            return word.partition("=")[2]
    return None


def _as_called(match: re.Match[str]) -> str:
    first = match["first"]
    if first not in WITH_A_SERVER | WITHOUT_A_SERVER | {"COMMAND", ""}:
        return match[0]
    # Alone, only a plural is a command; `loupe watch` is then the name of one.
    is_whole = match["rest"].strip() or first.endswith("s")
    server = given_server() if first in WITH_A_SERVER and is_whole else None
    option = "" if server is None else f" --server {shlex.quote(server)}"
    return f"{command_name()} {first}{match['rest']}{option}"


def _as_command(match: re.Match[str]) -> str:
    method, path = match["method"], match["path"]
    for (known, pattern), make in _COMMANDS.items():
        if method == known and (parts := re.fullmatch(pattern, path)):
            names = [_as_name(part) for part in parts.groups()]
            return f"`loupe {make(names, match['query'] or '', match['body'] or '')}`"
    return match[0]


def _as_name(part: str) -> str:
    """``JOB`` for a part that stands for one, such as ``<job>`` or ``{id}``; else an id, as it is."""
    return part[1:-1].upper() if part[0] in "<{" else part


def _plain(words: str) -> Make:
    return lambda parts, _query, _body: words.format(*parts)


def _listed(words: str, *options: str) -> Make:
    """A list; of the query, what it has an option for."""

    def make(parts: Sequence[str], query: str, _body: str) -> str:
        asked = dict(entry.partition("=")[::2] for entry in query.split("&") if entry)
        given = [f"--{name} {asked[name]}" for name in options if name in asked]
        return " ".join([words.format(*parts), *given])

    return make


def _exported(parts: Sequence[str], _query: str, body: str) -> str:
    wanted = re.search(r'"format": "(\w+)"', body)
    form = f" --format {wanted[1]}" if wanted else ""
    return f"model download {parts[0]}{form} --output FILE"


def _aliased(parts: Sequence[str], _query: str, _body: str) -> str:
    product, alias = parts
    return f"promote {product} MODEL" + ("" if alias == "champion" else f" --alias {alias}")


_COMMANDS: dict[tuple[str, str], Make] = {
    ("GET", "/docs"): _plain("COMMAND --help"),
    ("GET", "/products"): _plain("product list"),
    ("POST", "/products"): _plain("product create NAME"),
    ("GET", f"/products/{_PART}/datasets"): _plain("dataset list {0}"),
    ("POST", f"/products/{_PART}/datasets"): _plain("dataset import {0} FOLDER"),
    ("GET", f"/products/{_PART}/aliases"): _plain("alias list {0}"),
    ("PUT", f"/products/{_PART}/aliases/{_PART}"): _aliased,
    ("GET", f"/datasets/{_PART}"): _plain("dataset show {0}"),
    ("DELETE", f"/datasets/{_PART}"): _plain("dataset delete {0}"),
    ("GET", f"/datasets/{_PART}/items"): _plain("dataset items {0}"),
    ("POST", f"/datasets/{_PART}/examinations"): _plain("dataset examine {0}"),
    ("POST", f"/datasets/{_PART}/versions"): _plain("dataset edit {0}"),
    ("GET", "/networks"): _plain("networks"),
    ("GET", "/jobs"): _listed("job list", "product", "status", "kind"),
    ("POST", "/jobs"): _plain("train PRODUCT"),
    ("GET", f"/jobs/{_PART}"): _plain("job show {0}"),
    ("POST", f"/jobs/{_PART}/cancel"): _plain("job cancel {0}"),
    ("POST", f"/jobs/{_PART}/retry"): _plain("job retry {0}"),
    ("GET", f"/jobs/{_PART}/evaluation"): _plain("evaluate {0} --stored"),
    ("POST", f"/jobs/{_PART}/evaluations"): _plain("evaluate {0}"),
    ("GET", "/models"): _listed("model list", "product", "job"),
    ("GET", f"/models/{_PART}"): _plain("model show {0}"),
    ("POST", f"/models/{_PART}/exports"): _exported,
    ("GET", f"/predictions/{_PART}"): _plain("job follow {0}"),
    ("GET", "/sweeps"): _listed("sweep list", "product", "status"),
    ("POST", f"/sweeps/{_PART}/cancel"): _plain("sweep cancel {0}"),
    ("GET", "/workers"): _plain("workers list"),
    ("GET", "/webhooks"): _plain("webhook list"),
    ("PATCH", f"/webhooks/{_PART}"): _plain("webhook update {0} --enable"),
    ("GET", f"/webhooks/{_PART}/deliveries"): _plain("webhook deliveries {0}"),
    ("GET", "/api-keys"): _plain("key list"),
    ("GET", f"/api-keys/{_PART}"): _plain("key show {0}"),
}
