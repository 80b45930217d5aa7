"""Writes the documents that are made from the code: ``python -m docs.generate``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from pydantic_core import PydanticUndefined

from app.config import Settings
from app.main import create_app

ROOT = Path(__file__).resolve().parent.parent


def openapi() -> str:
    """The OpenAPI document of the HTTP API."""
    return json.dumps(create_app(Settings(_env_file=None)).openapi(), indent=1, ensure_ascii=False) + "\n"


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


def env_example() -> str:
    """Every setting as a line to uncomment."""
    lines = ["# Copy to .env and uncomment what you want to change.", ""]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, (), PydanticUndefined) else field.default
        lines += [f"# {field.description}", f"#LOUPE_{name.upper()}={default}", ""]
    for variable, description in COMPOSE_VARIABLES.items():
        lines += [f"# {description}", f"#{variable}=", ""]
    return "\n".join(lines)


def _default(value: object) -> str:
    if value is None or value == ():
        return "unset"
    return f"`{value:,}`" if isinstance(value, int) and value >= 10_000 else f"`{value}`"


DOCUMENTS: dict[str, Callable[[], str]] = {
    "docs/openapi.json": openapi,
    "docs/settings.md": settings,
    ".env.example": env_example,
}


def main() -> None:
    os.chdir(ROOT)
    for path, generate in DOCUMENTS.items():
        (ROOT / path).write_text(generate(), encoding="utf-8")


if __name__ == "__main__":
    main()
