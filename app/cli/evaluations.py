"""``loupe evaluate``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.client import Client, quoted
from app.cli.console import note, say_json
from app.cli.follow import follow_job
from app.cli.job_end import require_success
from app.cli.options import DEFAULT_SERVER, AsJson, Server, examples
from app.cli.reports import show_evaluation
from app.cli.transfers import download, require_target
from app.words import count

evaluate_epilog = examples(
    "loupe evaluate job_…",
    "loupe evaluate job_… --report report.html",
    "loupe evaluate job_… --stored --report report.html",
    "loupe evaluate job_… --dataset dst_…",
    "loupe evaluate job_… --dataset dst_… --include-trained",
)


def evaluate(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id of a training that made a model.")],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="Another dataset, without images that the model trained on. Not given, or the job's own: "
            "what the job was tested on.",
        ),
    ] = None,
    include_trained: Annotated[
        bool,
        typer.Option("--include-trained", help="With --dataset: count images that the model trained on too."),
    ] = False,
    stored: Annotated[
        bool, typer.Option("--stored", help="Show the evaluation that is there, and measure nothing anew.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write the evaluation as one HTML file too, with curves and images; it needs no network.",
        ),
    ] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Evaluate a training's model: scores with intervals, per class, and the confusion matrix.

    Every image goes through the same code as a prediction, from its original file.
    """
    if report is not None:
        require_target(report, "Name a file: --report report.html")
    client = Client(server)
    path = f"/jobs/{quoted(job)}"
    if not stored:
        asked: dict[str, Any] = {} if dataset is None else {"dataset": dataset}
        if include_trained:
            asked["include_trained"] = True
        evaluation = client.post(f"{path}/evaluations", asked)
        require_success(follow_job(client, evaluation["id"], label="evaluating"))
    answer = client.get(f"{path}/evaluation", dataset=dataset)
    if report is not None:
        download(client, f"{path}/evaluation/report", report, dataset=dataset)
    if as_json:
        say_json(answer)
        return
    show_evaluation(answer)
    of_dataset = "" if dataset is None else f" --dataset {dataset}"
    if answer["mistakes"]:
        wrong = count(len(answer["mistakes"]), "wrong image", "wrong images")
        note(f"{wrong}: loupe job examples {job} --mistakes{of_dataset}")
    if report is None:
        note(
            f"With curves and images, as a file: loupe evaluate {job}{of_dataset} --stored --report FILE.html"
        )
    else:
        note(f"The report: {report}")
