"""``loupe evaluate``"""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.client import Client, quoted
from app.cli.console import note, say_json
from app.cli.follow import follow_job
from app.cli.job_end import require_success
from app.cli.options import DEFAULT_SERVER, AsJson, Server, examples
from app.cli.reports import show_evaluation

evaluate_epilog = examples(
    "loupe evaluate job_…", "loupe evaluate job_… --stored", "loupe evaluate job_… --dataset dst_…"
)


def evaluate(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id of a training that made a model.")],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="All images of another dataset. Not given, or the job's own: what the job was tested on.",
        ),
    ] = None,
    stored: Annotated[
        bool, typer.Option("--stored", help="Show the evaluation that is there, and measure nothing anew.")
    ] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Evaluate a training's model: scores with intervals, per class, and the confusion matrix.

    Every image goes through the same code as a prediction, from its original file.
    """
    client = Client(server)
    path = f"/jobs/{quoted(job)}"
    if not stored:
        evaluation = client.post(f"{path}/evaluations", {} if dataset is None else {"dataset": dataset})
        require_success(follow_job(client, evaluation["id"], label="evaluating"))
    answer = client.get(f"{path}/evaluation", dataset=dataset)
    if as_json:
        say_json(answer)
        return
    show_evaluation(answer)
    if answer["mistakes"]:
        note(f"{len(answer['mistakes']):,} wrong images: loupe job logs {job} test_result.log")
