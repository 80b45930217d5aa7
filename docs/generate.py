"""Writes the documents that are made from the code: ``python -m docs.generate``."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from pydantic_core import PydanticUndefined

from app.api.scopes import NEEDS
from app.config import Settings
from app.job_queue import queue_for
from app.jobs.kinds.registry import KINDS
from app.main import create_app
from app.schemas.job_kinds import JOB_KINDS
from app.schemas.scopes import MEANINGS, SCOPES
from docs.cli_reference import cli_reference
from docs.http_reference import http_reference
from docs.training_reference import training_reference
from loupe import Loupe

ROOT = Path(__file__).resolve().parent.parent


def openapi() -> str:
    """The OpenAPI document of the HTTP API."""
    return json.dumps(create_app(Settings(_env_file=None)).openapi(), indent=1, ensure_ascii=False) + "\n"


def api() -> str:
    """The OpenAPI document as a page."""
    return http_reference(json.loads(openapi()))


def settings() -> str:
    """A table of every setting."""
    rows = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `LOUPE_{name.upper()}` | {_default(field.default)} | {field.description} |")
    return "\n".join(
        [
            "# Settings",
            "",
            "Read once at the start, from the environment or from a file `.env` in the current folder.",
            "",
            *rows,
            "",
        ]
    )


# Read by docker-compose.yml alone.
COMPOSE_VARIABLES = {
    "POSTGRES_PASSWORD": "Password of Compose's PostgreSQL, read at its first start. Unset: a random one.",
    "REDIS_PASSWORD": "Password of Compose's Redis. Unset: a random one.",
}
COMPOSE_LIMITS = {
    "API_MEMORY": ("0", "Memory that Compose gives to the API, such as 4g. 0: no limit."),
    "WORKER_MEMORY": ("0", "Memory that Compose gives to a worker for trainings. 0: no limit."),
    "TASKS_MEMORY": ("0", "Memory that Compose gives to the worker for other jobs. 0: no limit."),
    "POSTGRES_MEMORY": ("0", "Memory that Compose gives to its PostgreSQL. 0: no limit."),
    "REDIS_MEMORY": ("1g", "Memory that Compose gives to its Redis."),
}


def env_example() -> str:
    """Every setting as a line to uncomment."""
    lines = ["# Copy to .env and uncomment what you want to change.", ""]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, (), PydanticUndefined) else field.default
        lines += [f"# {field.description}", f"#LOUPE_{name.upper()}={default}", ""]
    for variable, description in COMPOSE_VARIABLES.items():
        lines += [f"# {description}", f"#{variable}=", ""]
    for variable, (default, description) in COMPOSE_LIMITS.items():
        lines += [f"# {description}", f"#{variable}={default}", ""]
    return "\n".join(lines)


def architecture() -> str:
    """The page as it is, with its tables of kinds and of layers made anew."""
    return _with_tables("docs/architecture.md", kinds=_kinds(), layers=_layers())


def access() -> str:
    """The page as it is, with its tables of scopes and of routes made anew."""
    return _with_tables("docs/access.md", scopes=_scopes(), routes=_routes())


def python() -> str:
    """The page as it is, with its table of verbs made anew."""
    return _with_tables("docs/python.md", verbs=_verbs())


def _with_tables(path: str, **tables: str) -> str:
    page = (ROOT / path).read_text(encoding="utf-8")
    for name, text in tables.items():
        before, _, rest = page.partition(f"<!-- {name} -->\n")
        after = rest.partition(f"<!-- end of {name} -->")[2]
        page = f"{before}<!-- {name} -->\n{text}<!-- end of {name} -->{after}"
    return page


def _kinds() -> str:
    rows = ["| kind | queue | abilities | its file says |", "|---|---|---|---|"]
    for name, kind in JOB_KINDS.items():
        queues = dict.fromkeys(queue_for(name, device) for device in ("auto", "gpu", "cpu"))
        abilities = [verb for verb in ("pause", "stop") if getattr(kind, f"can_{verb}")]
        module = sys.modules[type(KINDS[name]).__module__]
        says = (module.__doc__ or "").partition("\n")[0]
        rows.append(f"| `{name}` | {', '.join(queues)} | {', '.join(abilities) or '-'} | {says} |")
    return "\n".join(rows) + "\n"


OWNERS = ("products", "datasets", "jobs", "models")


def _verbs() -> str:
    rows = ["| verb | what it does |", "|---|---|"]
    with Loupe() as loupe:
        owners = {"loupe": loupe, **{f"loupe.{name}": getattr(loupe, name) for name in OWNERS}}
        for path, owner in owners.items():
            for name in vars(type(owner)):
                if not name.startswith("_") and name not in ("close", "server"):
                    verb = getattr(owner, name)
                    says = (verb.__doc__ or "").partition("\n")[0]
                    rows.append(f"| `{path}.{name}` | {says} |")
    return "\n".join(rows) + "\n"


def _scopes() -> str:
    rows = ["| scope | what a key with it may do |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{scope}` | {MEANINGS[scope]} |" for scope in SCOPES)]) + "\n"


def _routes() -> str:
    rows = ["| route | scope |", "|---|---|"]
    for (method, path), need in NEEDS.items():
        scope = "none: it is open" if need is None else f"`{need.scope}`" if need.scope else "any"
        rest = ", with a key that is bound to no product" if need and need.is_unbound else ""
        rows.append(f"| `{method} {path}` | {scope}{rest} |")
    return "\n".join(rows) + "\n"


def _layers() -> str:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = [each["layers"] for each in contracts["contracts"] if each["type"] == "layers"]
    return "\n".join(["```", *layers, "```"]) + "\n"


def _default(value: object) -> str:
    if value is None or value == ():
        return "unset"
    return f"`{value:,}`" if isinstance(value, int) and value >= 10_000 else f"`{value}`"


DOCUMENTS: dict[str, Callable[[], str]] = {
    "docs/openapi.json": openapi,
    "docs/api.md": api,
    "docs/cli.md": cli_reference,
    "docs/training-settings.md": training_reference,
    "docs/settings.md": settings,
    "docs/architecture.md": architecture,
    "docs/access.md": access,
    "docs/python.md": python,
    ".env.example": env_example,
}


def main() -> None:
    os.chdir(ROOT)
    for path, generate in DOCUMENTS.items():
        (ROOT / path).write_text(generate(), encoding="utf-8")


if __name__ == "__main__":
    main()
