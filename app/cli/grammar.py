"""The command line's grammar: groups in the singular, their plurals, and the two headings of the help."""

from __future__ import annotations

from difflib import get_close_matches
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
    "aliases": "alias",
    "networks": "network",
    "keys": "key",
    "webhooks": "webhook",
    "sweeps": "sweep",
    "workers": "workers",
    "weights": "weights",
}


class CommandTree(TyperGroup):
    """Takes a plural for its group, and without a verb for the group's `list`."""

    # Any here: typer carries a click of its own, whose types it does not publish.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, *rest = args
        if name in PLURALS:
            group = self.get_command(ctx, PLURALS[name])
            args = [PLURALS[name], *_with_verb(rest, group, ctx)]
        return super().resolve_command(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        for param in params:
            # Typer writes <bool> beside a flag; on 60 columns that cuts the options' names.
            if param.is_flag:
                param.metavar = ""
        return params


def _with_verb(rest: list[str], group: Any, ctx: Any) -> list[str]:
    if rest:
        is_option = rest[0].startswith("-") and rest[0] not in ctx.help_option_names
        return ["list", *rest] if is_option or _is_argument(rest[0], group) else rest
    # A shell that completes `loupe jobs …` wants the verbs.
    return [] if ctx.resilient_parsing else ["list"]


def _is_argument(word: str, group: Any) -> bool:
    """Whether ``word`` is something that the group's list takes, and no verb, not even a misspelt one."""
    takes_some = any(param.param_type_name == "argument" for param in group.commands["list"].params)
    return takes_some and not word.startswith("-") and not get_close_matches(word, group.commands)
