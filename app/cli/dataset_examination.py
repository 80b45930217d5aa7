"""``loupe dataset examine``, and what it found"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.cli.client import Client, quoted
from app.cli.console import add_row, make_table, note, say, say_json, show
from app.cli.follow import follow_job
from app.cli.job_end import require_success
from app.cli.options import DEFAULT_SERVER, AsJson, DatasetId, Server, examples

LISTED = 20
examine_epilog = examples("loupe dataset examine dst_…")


def examine_dataset(dataset: DatasetId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Look at all images of a dataset with a pretrained network: which labels look wrong?

    What was computed before is not computed again.
    """
    client = Client(server)
    path = f"/datasets/{quoted(dataset)}"
    require_success(follow_job(client, client.post(f"{path}/examinations")["id"], label="examining"))
    findings = client.get(f"{path}/examination")
    if as_json:
        say_json(findings)
    else:
        show_findings(findings)


def show_findings(findings: Mapping[str, Any]) -> None:
    """Suspect labels and outliers, the worst first."""
    suspects, outliers = findings["suspects"], findings["outliers"]
    if not suspects and not outliers:
        say(f"No label of {findings['judged']:,} looks wrong, and no image unlike all others of its class.")
        return
    if suspects:
        table = make_table("name", "label", "looks like", ">probability", title="Labels that look wrong")
        for each in suspects[:LISTED]:
            probability = f"{each['suggested_probability']:.2f}"
            add_row(table, each["name"], each["label"], each["suggested"], probability)
        show(table)
        _tell_more(suspects)
    if outliers:
        table = make_table("name", "label", ">nearest", title="Images unlike all others of their class")
        for each in outliers[:LISTED]:
            add_row(table, each["name"], each["label"], f"{each['similarity']:.2f}")
        show(table)
        _tell_more(outliers)
    note(
        f"Look at them, then mend: loupe dataset edit {findings['dataset']} --relabel IMAGE=CLASS "
        "--remove IMAGE"
    )


def _tell_more(entries: list[Any]) -> None:
    if len(entries) > LISTED:
        note(f"and {len(entries) - LISTED:,} more: --json shows all")
