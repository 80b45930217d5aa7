"""docs/training-settings.md: every setting of a training, with its unit, range and default."""

from __future__ import annotations

from typing import Any

from app.cli.root import app as command
from app.schemas.hyperparameters import EarlyStopping, Hyperparameters, SplitSettings
from docs.schema_words import Schema, cell, default_words, range_words, type_words

INTRODUCTION = """\
# Training settings

Every setting of a training, made from the code by `make docs`. `loupe train screws --set NAME=VALUE` sets
one, as does the field `hyperparameters` of `POST /jobs`; those of the split have the prefix `split.` on the
command line, and a field `split` of their own over HTTP. `loupe train screws --dry-run` shows all with the
values that a training would take, and starts nothing. [Training](training.md) explains how a training works,
and what to choose when.
"""
DECIDED = """\
A dash as default means null: Loupe decides the value by the data, the network, the start or the machine. [The
table of decisions](training.md#defaults-that-depend-on-the-data) says how.
"""

_FRACTION = "fraction"
UNITS = {
    "epochs": "epochs",
    "freeze_epochs": "epochs",
    "batch_size": "images",
    "image_size": "pixels",
    "learning_rate": "",
    "backbone_learning_rate_factor": "factor",
    "warmup_epochs": "epochs",
    "decay_epochs": "epochs",
    "decay_rate": "factor",
    "momentum": "factor",
    "weight_decay": "",
    "label_smoothing": "probability",
    "dropout": "probability",
    "class_weights": "factor",
    "validation_freq": "epochs",
    "min_accuracy": _FRACTION,
    "shuffle_buffer": "images",
    "seed": "",
    "patience": "validations",
    "min_delta": "of the monitored value",
    "train": f"{_FRACTION}, or images",
    "valid": f"{_FRACTION}, or images",
    "test": f"{_FRACTION}, or images",
}
"""What a number counts or measures; a numeric setting without a line here is an error."""


def training_reference() -> str:
    """The page."""
    flags = _flags()
    parts: list[tuple[str, dict[str, Any], str]] = [
        ("Hyperparameters", Hyperparameters.model_json_schema(), ""),
        ("EarlyStopping", EarlyStopping.model_json_schema(), "early_stopping."),
        ("Split", SplitSettings.model_json_schema(), "split."),
    ]
    lines = [INTRODUCTION, DECIDED]
    for heading, schema, prefix in parts:
        lines += [f"## {heading}", "", schema["description"], ""]
        lines += ["| setting | values | unit | default | what it is |", "|---|---|---|---|---|"]
        for name, field in schema["properties"].items():
            flag = f" (`{flags[name]}`)" if not prefix and name in flags else ""
            default = default_words(field, is_required=False)
            row = (
                f"`{prefix}{name}`{flag}",
                _values(field),
                _unit(name, field),
                default,
                field["description"],
            )
            lines.append("| " + " | ".join(cell(each) for each in row) + " |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _flags() -> dict[str, str]:
    """The options of ``loupe train`` that stand for a setting."""
    import typer

    tree: Any = typer.main.get_command(command)
    options = {param.name: param.opts[0] for param in tree.commands["train"].params if param.opts}
    return {name: flag for name, flag in options.items() if name in Hyperparameters.model_fields}


def _values(field: Schema) -> str:
    if "$ref" in field or any("$ref" in each for each in field.get("anyOf", ())):
        return "true, false, a patience, or an [EarlyStopping](#earlystopping)"
    return type_words(field).removesuffix(" or null")


def _unit(name: str, field: Schema) -> str:
    kinds = {each.get("type") for each in (field, *field.get("anyOf", ()))}
    is_number = bool(kinds & {"integer", "number"}) or bool(range_words(field))
    return UNITS[name] if is_number else UNITS.get(name, "")
