"""``loupe job stop|pause|resume|cancel|retry|delete``: what a person asks of a job that exists."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.client import Client, quoted
from app.cli.console import note, say
from app.cli.options import DEFAULT_SERVER, ClassLevel, GroupBy, Labels, NameEncoding, Server, given_choices

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job, job_…")]


def stop_job(job: JobId, server: Server = DEFAULT_SERVER) -> None:
    """End a training early and keep its best epoch."""
    answer = Client(server).post(f"/jobs/{quoted(job)}/stop")
    say(f"{answer['id']} is {answer['status']} and ends with the best epoch so far.")


def pause_job(job: JobId, server: Server = DEFAULT_SERVER) -> None:
    """Checkpoint a training and let it rest; `loupe job resume` goes on where it was."""
    answer = Client(server).post(f"/jobs/{quoted(job)}/pause")
    is_paused = answer["status"] == "paused"
    say(f"{answer['id']} is {'paused' if is_paused else answer['status'] + ' and will pause'}.")


def resume_job(job: JobId, server: Server = DEFAULT_SERVER) -> None:
    """Go on with a paused training."""
    answer = Client(server).post(f"/jobs/{quoted(job)}/resume")
    say(f"{answer['id']} is {answer['status']}.")
    note(f"Watch it: loupe job follow {answer['id']}")


def cancel_job(job: JobId, server: Server = DEFAULT_SERVER) -> None:
    """End a job and keep nothing of it."""
    answer = Client(server).post(f"/jobs/{quoted(job)}/cancel")
    is_over = answer["status"] == "cancelled"
    say(f"{answer['id']} is {'cancelled' if is_over else answer['status'] + ' and will be cancelled'}.")


def retry_job(
    job: JobId,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Forget the checkpoints and start at step 0.")
    ] = False,
    name_encoding: NameEncoding = None,
    class_level: ClassLevel = None,
    group_by: GroupBy = None,
    labels: Labels = None,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Give a failed job another attempt, from its last checkpoint; an import takes its choice."""
    start = "beginning" if from_beginning else "checkpoint"
    choices = given_choices(
        name_encoding=name_encoding, class_level=class_level, group_by=group_by, labels=labels
    )
    answer = Client(server).post(f"/jobs/{quoted(job)}/retry", {"start": start, **choices})
    say(f"{answer['id']} is {answer['status']}.")
    note(f"Watch it: loupe job follow {answer['id']}")


def delete_job(job: JobId, server: Server = DEFAULT_SERVER) -> None:
    """Delete a job that has ended, with its model and files, unless an alias needs the model."""
    Client(server).delete(f"/jobs/{quoted(job)}")
    say(f"{job} is deleted.")
