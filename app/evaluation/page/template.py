"""The page's template, whose every value is escaped; only drawings and the style sheet are markup."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from app.evaluation.page.policy import META_POLICY, TEMPLATE
from app.evaluation.page.words import interval, number, share, shown


def render(*, style: str, **values: Any) -> str:
    """The whole page. ``style``: the style sheet as it is."""
    # No template is compiled from anything but the file beside this one.
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"share": share, "number": number, "interval": interval, "shown": shown}
    environment.filters |= {"drawing": Markup, "breakable": _breakable}
    template = environment.get_template(TEMPLATE.name)
    return template.render(style=Markup(style), policy=META_POLICY, **values)


def _breakable(name: str) -> Markup:
    """The name, escaped, that a line may break behind ``_``, ``-``, ``.`` and ``/``."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[_./-])", name))
