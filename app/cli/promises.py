"""What a product promises of accepted answers, and what a model makes of it, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def promise_text(max_error: float) -> str:
    return f"of accepted answers at most {max_error:.3g} wrong"


def explain_promise(model: dict[str, Any]) -> Iterator[str]:
    """Lines about a model as ``GET /models/{model}`` shows it."""
    promise = model.get("promise")
    if promise is None:
        yield "An older Loupe made it: probabilities are not calibrated, and predictions have no decision."
        return
    accepted = f"{promise['coverage']:.1%} of the validation images are accepted"
    if promise["promised"] is None:
        yield (
            f"Its validation images are too few to promise anything: {promise['images_needed']:,} accepted "
            f"ones without an error would promise {promise['max_error']:.3g}. Unlike images are rejected."
        )
    elif promise["promised"] > promise["max_error"]:
        yield (
            f"It can promise that {promise_text(promise['promised'])}, not {promise['max_error']:.3g}: that "
            f"takes {promise['images_needed']:,} accepted validation images without an error. {accepted}."
        )
    else:
        yield f"It promises, at 95 % confidence: {promise_text(promise['max_error'])}. {accepted}."


def decision_text(answer: Mapping[str, Any]) -> str:
    """`accept`, or why not; nothing for a model without thresholds."""
    reason = answer.get("reject_reason")
    return f"rejected, {reason.replace('_', ' ')}" if reason else ""
