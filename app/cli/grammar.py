"""The command line's grammar: groups in the singular, their plurals, and the two headings of the help."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

ON_THIS_MACHINE = "On this machine (no server needed)"
WITH_A_SERVER = "Work with a running Loupe"

# Every group that has a `list`, under the plural that people type. Two have no other name: `weights` is the
# field's word, and `loupe worker` is taken: it runs a worker process, and compose files and scripts say so.
PLURALS = {
    "products": "product",
    "datasets": "dataset",
    "jobs": "job",
    "models": "model",
    "networks": "network",
    "workers": "workers",
    "weights": "weights",
}


class CommandTree(TyperGroup):
    """Takes a plural for its group, and without a verb for the group's `list`."""

    # Any here: typer carries a click of its own, whose types it does not publish.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, *rest = args
        if name in PLURALS:
            args = [PLURALS[name], *_with_verb(rest, ctx)]
        return super().resolve_command(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        for param in params:
            # Typer writes <bool> beside a flag; on 60 columns that cuts the options' names.
            if param.is_flag:
                param.metavar = ""
        return params


def _with_verb(rest: list[str], ctx: Any) -> list[str]:
    if rest:
        is_option = rest[0].startswith("-") and rest[0] not in ctx.help_option_names
        return ["list", *rest] if is_option else rest
    # A shell that completes `loupe jobs …` wants the verbs.
    return [] if ctx.resilient_parsing else ["list"]
