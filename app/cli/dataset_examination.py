"""``loupe dataset examine``, and what it found"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.cli.client import Client, quoted
from app.cli.console import add_row, make_table, note, say, say_json, show
from app.cli.findings import say_finding, say_headline
from app.cli.follow import follow_job
from app.cli.job_end import require_success
from app.cli.options import DEFAULT_SERVER, AsJson, DatasetId, Server, examples
from app.words import count

LISTED = 20
_NAMED = 4
examine_epilog = examples("loupe dataset examine dst_…")


def examine_dataset(dataset: DatasetId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Look at all images of a dataset: which show the same thing, which labels look wrong, what else is odd.

    What was computed before is not computed again.
    """
    client = Client(server)
    path = f"/datasets/{quoted(dataset)}"
    require_success(follow_job(client, client.post(f"{path}/examinations")["id"], label="examining"))
    found = client.get(f"{path}/examination")
    if as_json:
        say_json(found)
    else:
        show_examination(found)


def show_examination(found: Mapping[str, Any]) -> None:
    """Near-duplicates, suspect labels and outliers, the worst first."""
    near, suspects, outliers = found["near_duplicates"], found["suspects"], found["outliers"]
    _show_diagnoses(found["diagnoses"])
    _show_groups(near)
    _show_honesty(found["honesty"])
    if suspects:
        table = make_table("name", "label", "looks like", ">probability", title="Labels that look wrong")
        for each in suspects[:LISTED]:
            probability = f"{each['suggested_probability']:.2f}"
            add_row(table, each["name"], each["label"], each["suggested"], probability)
        show(table)
        _tell_more(len(suspects))
    if outliers:
        table = make_table("name", "label", ">nearest", title="Images unlike all others of their class")
        for each in outliers[:LISTED]:
            add_row(table, each["name"], each["label"], f"{each['similarity']:.2f}")
        show(table)
        _tell_more(len(outliers))
    if found["missing"]:
        note(f"Labels were not judged: {found['missing']}")
    elif not suspects and not outliers:
        say(f"No label of {found['judged']:,} looks wrong, and no image is unlike all others of its class.")
    if suspects or outliers or any(len(group["labels"]) > 1 for group in near["groups"]):
        note(
            f"Look at them, then mend: loupe dataset edit {found['dataset']} --relabel IMAGE=CLASS "
            "--remove IMAGE"
        )


def warn_of_findings(client: Client, dataset: Mapping[str, Any]) -> None:
    """The errors and warnings of a dataset, if its import has examined it, a line each."""
    if dataset["examination"] is None:
        return
    for each in client.get(f"/datasets/{dataset['id']}/examination")["diagnoses"]:
        if each["level"] != "note":
            say_headline(each)


def _show_diagnoses(diagnoses: Sequence[Mapping[str, Any]]) -> None:
    if not diagnoses:
        say("Nothing is wrong with the dataset, as far as Loupe can see.")
    for each in diagnoses:
        say_finding(each)
        if each["images"]:
            say(f"  {_names_of(each['images'], each['number'])}")


def _show_honesty(honesty: Mapping[str, Any] | None) -> None:
    if honesty is None:
        return
    claimed, true = (
        f"{each['value']:.4f} ({each['low']:.4f} to {each['high']:.4f})"
        for each in (honesty["claimed"], honesty["true"])
    )
    say(
        f"A random split would share {honesty['shared_images']:,} of its {honesty['test_images']:,} test "
        f"images with training. A quick classifier gets {claimed} by such a split, {true} on images that "
        "show other things."
    )


def _show_groups(near: Mapping[str, Any]) -> None:
    if not near["groups"]:
        say("No two images show the same thing.")
    else:
        groups = count(near["total_groups"], "group", "groups")
        title = f"{groups} of images that show the same thing"
        table = make_table(">images", "labels", "names", title=title)
        for group in near["groups"][:LISTED]:
            add_row(
                table, f"{len(group['images']):,}", ", ".join(group["labels"]), _names_of(group["images"])
            )
        show(table)
        _tell_more(near["total_groups"])
        note("A split keeps each group on one side; split.ignore_groups divides them.")
    for group in near["same_background"]:
        note(
            f"{len(group['images']):,} images, such as {_names_of(group['images'])}, have the same "
            "background, and were compared by what is in front of it."
        )


def _names_of(images: Sequence[Mapping[str, Any]], total: int | None = None) -> str:
    names, total = ", ".join(image["name"] for image in images[:_NAMED]), total or len(images)
    return names if total <= _NAMED else f"{names} and {total - _NAMED:,} more"


def _tell_more(total: int) -> None:
    if total > LISTED:
        note(f"and {total - LISTED:,} more: --json shows them")
