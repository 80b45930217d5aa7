"""What stands out in a training, as the commands that show a job print it."""

from __future__ import annotations

from typing import Any

from app.cli.client import Client, ServerError, quoted
from app.cli.findings import say_finding


def show_findings(client: Client, job: dict[str, Any], *, with_notes: bool = True) -> None:
    """The findings of a training that has begun, the worst first."""
    if job["kind"] != "training" or job["started_at"] is None:
        return
    try:
        found = client.get(f"/jobs/{quoted(job['id'])}/findings")["data"]
    except ServerError as error:
        if error.problem["status"] == 404:  # a server of an earlier release
            return
        raise
    for each in found:
        if with_notes or each["level"] != "note":
            say_finding(each)
