"""``loupe compare``"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer

from app.cli.client import Client, CommandError, quoted
from app.cli.console import add_row, format_seconds, make_table, note, say, say_json, show
from app.cli.job_states import describe_status
from app.cli.leaderboard import VERDICTS
from app.cli.options import DEFAULT_SERVER, AsJson, Server, examples

MOST = 10
_LETTERS = "ABCDEFGHIJ"
_PLACES = ("split", "class_map")
"""Parts of a job that hold settings of their own."""

epilog = examples("loupe compare job_… job_…", "loupe compare job_… job_… --json")


@dataclass(frozen=True)
class Compared:
    """``letter``: what the tables call it. ``test``: the figures of its final test, if there are any."""

    letter: str
    job: Mapping[str, Any]
    test: Mapping[str, Any] | None


def compare(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB...", help="Ids of two to ten trainings, job_…")],
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Compare trainings: the settings that differ, the figures, and who is better on the same test images.

    Two test accuracies can be compared only on the images that both were tested on; the last lines do that.
    """
    wanted = list(dict.fromkeys(jobs))
    if not 2 <= len(wanted) <= MOST:
        raise CommandError(
            f"Two to {MOST} different trainings can be compared, not {len(wanted)}.",
            hint="`loupe job list` shows their ids.",
        )
    client = Client(server)
    compared = [_read(client, letter, job) for letter, job in zip(_LETTERS, wanted, strict=False)]
    pairs = _read_pairs(client, compared)
    if as_json:
        tests = {one.job["id"]: one.test for one in compared}
        say_json({"jobs": [one.job for one in compared], "tests": tests, "pairs": pairs})
        return
    _show_who(compared)
    _show_rows(compared, _differences(compared), "The settings that differ")
    _show_rows(compared, _figures(compared), "The figures")
    _show_pairs(compared, pairs)


def _read(client: Client, letter: str, job_id: str) -> Compared:
    job = client.get(f"/jobs/{quoted(job_id)}")
    if job["kind"] != "training":
        raise CommandError(
            f"{job_id} is no training: its kind is {job['kind']}.", hint="`loupe job list` lists trainings."
        )
    test = client.get(f"/jobs/{quoted(job_id)}/metrics", max_points=2)["test"]
    return Compared(letter, job, test)


def _read_pairs(client: Client, compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """Each two that were tested on the same images, by product: others are never about the same thing."""
    found: list[dict[str, Any]] = []
    for product in dict.fromkeys(one.job["product"] for one in compared):
        tested = [one.job["id"] for one in compared if one.job["product"] == product and one.job["model"]]
        if len(tested) > 1:
            answer = client.get(f"/products/{quoted(product)}/leaderboard", job=tested)
            found += answer["pairs"]
    return found


def _show_who(compared: Sequence[Compared]) -> None:
    table = make_table("", "!job", "network", "status", drops=("status", "network"))
    for one in compared:
        add_row(table, one.letter, one.job["id"], one.job["network"] or "", describe_status(one.job))
    show(table)


def _differences(compared: Sequence[Compared]) -> dict[str, list[str]]:
    """By setting, the value of each job; only those that are not the same for all."""
    settings = [_settings(one.job) for one in compared]
    names = dict.fromkeys(itertools.chain.from_iterable(settings))
    values = {name: [_text(each.get(name)) for each in settings] for name in names}
    return {name: texts for name, texts in values.items() if len(set(texts)) > 1}


def _settings(job: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "product": job["product"],
        "network": job["network"],
        "dataset": (job["dataset"] or {}).get("id"),
        "evaluation dataset": (job.get("evaluation_dataset") or {}).get("id"),
        **(job["hyperparameters"] or {}),
        "device": job["device"],
        "gpus": job["gpus"],
    }
    for place in _PLACES:
        for name, value in (job.get(place) or {}).items():
            if name != "counts":
                found[f"{place}.{name}"] = value
    return found


def _figures(compared: Sequence[Compared]) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for one in compared:
        best, test, job = one.job["best"] or {}, one.test or {}, one.job
        figures = {
            "best epoch": best.get("epoch"),
            str(best.get("metric", "valid_accuracy")).replace("_", " "): _number(best.get("value")),
            "test accuracy": _estimate(test.get("accuracy")),
            "test images": test.get("items"),
            "time": _duration(job["started_at"], job["finished_at"]),
            "model": job["model"],
        }
        for name in figures:
            rows.setdefault(name, [""] * len(compared))
        for name, value in figures.items():
            rows[name][compared.index(one)] = _text(value)
    return rows


def _show_rows(compared: Sequence[Compared], rows: Mapping[str, Sequence[str]], title: str) -> None:
    say()
    if not rows:
        say("No setting differs.")
        return
    table = make_table("", *(one.letter for one in compared), title=title)
    for name, values in rows.items():
        add_row(table, name, *values)
    show(table)


def _show_pairs(compared: Sequence[Compared], pairs: Sequence[Mapping[str, Any]]) -> None:
    letters = {one.job["model"]: one.letter for one in compared if one.job["model"]}
    known = {(pair["first"], pair["second"]): pair for pair in pairs}
    say()
    for first, second in itertools.combinations(letters, 2):
        pair, is_turned = known.get((first, second)), False
        if pair is None:
            pair, is_turned = known.get((second, first)), True
        who = f"{letters[first]} against {letters[second]}"
        if pair is None:
            say(f"{who}: no test images in common, so their accuracies cannot be compared.")
            continue
        if is_turned:
            who = f"{letters[second]} against {letters[first]}"
        say(
            f"{who}: {VERDICTS[pair['verdict']]} on {pair['images']} images that both were tested on; right "
            f"where the other is wrong {pair['only_this_right']} : {pair['only_other_right']}, "
            f"p {pair['p_value']:.2g}."
        )
    missing = [one.letter for one in compared if not one.job["model"]]
    if missing:
        note(f"Without a model, so not compared: {', '.join(missing)}")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_text(entry)}" for name, entry in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _estimate(found: Mapping[str, Any] | None) -> str | None:
    if found is None:
        return None
    if found.get("low") is None:
        return _number(found["value"])
    return f"{found['value']:.4f} ({found['low']:.3f} to {found['high']:.3f})"


def _duration(started: str | None, finished: str | None) -> str | None:
    if started is None or finished is None:
        return None
    taken = datetime.fromisoformat(finished) - datetime.fromisoformat(started)
    return format_seconds(taken.total_seconds())
