"""``loupe predict``"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.progress import Progress
from rich.text import Text

from app.cli.batch_predict import BATCH_FROM, begin_batch, read_answers, unreadable, wait_for_batch
from app.cli.client import Client, CommandError, ServerError
from app.cli.console import (
    count_progress,
    note,
    out,
    printable,
    say_above,
    say_json,
)
from app.cli.options import DEFAULT_SERVER, Server, examples
from app.cli.packing import describe_left_out, display_name, find_pictures, require_readable
from app.cli.promises import decision_text
from app.csv_cells import safe_row
from app.datasets.concurrency import ordered_map

BATCH_FILES, BATCH_BYTES = 16, 16 * 2**20
# The server answers a request on one core; a few at once use more of them.
REQUESTS_AT_ONCE = 4
WIDEST_RANKS = 10
# Where a lone image's answer is an error about the image, not about the request.
IMAGE_ERRORS = frozenset({"undecodable_image", "image_too_large", "too_large"})

predict_epilog = examples(
    "loupe predict screws image.jpg",
    "loupe predict screws ~/new-images --csv > answers.csv",
    "loupe predict screws ~/many-images --batch --csv > answers.csv",
    "loupe predict screws@3 image.jpg",
    "loupe predict screws image.jpg --job job_… --top-k 3",
)


def predict(
    product: Annotated[
        str,
        typer.Argument(
            metavar="PRODUCT",
            help="Id of the product; its champion answers. `PRODUCT@ALIAS` or `PRODUCT@3`, a version, "
            "is another model.",
        ),
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILES_OR_FOLDER…", help="Images, and folders that are searched for some."),
    ],
    job: Annotated[str | None, typer.Option("--job", help="Ask the model of this job instead.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Ask this model instead.")] = None,
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=1000, help="How many labels to show.")] = 1,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the server's answers as JSON.")] = False,
    batch: Annotated[
        bool | None,
        typer.Option(
            "--batch/--no-batch",
            help="Send all images as one job for the workers, or ask one by one. "
            f"From {BATCH_FROM} images on they are a job.",
            show_default=False,
        ),
    ] = None,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Say what is on images.

    Folders are searched at any depth; what is no image by its name or its content is left out and named.
    An image that cannot be read is a row with its error; the status is then 1.
    """
    if as_csv and as_json:
        raise CommandError("--csv and --json exclude each other.")
    found = find_pictures(paths)
    for line in describe_left_out(found.left_out):
        note(line)
    pictures = list(found.pictures)
    fields = {"product": product, "job": job, "model": model, "top_k": str(top_k)}
    given = {name: value for name, value in fields.items() if value is not None}
    client = Client(server)
    job_of_all = None
    if batch or (batch is None and len(pictures) >= BATCH_FROM):
        job_of_all = begin_batch(client, pictures, given, may_refuse=batch is None)
    if job_of_all is not None:
        wait_for_batch(client, job_of_all)
    # Lines of CSV on a terminal show the progress themselves, and a bar would break them.
    with count_progress(is_hidden=as_csv and out.is_terminal) as progress:
        if job_of_all is not None:
            answers = read_answers(client, job_of_all, progress)
        else:
            answers = predict_files(client, pictures, given, progress)
        if as_csv:
            failed = _print_csv(answers, top_k)
        elif as_json:
            failed = _print_json(answers, found.left_out)
        else:
            failed = _print_rows(answers, pictures, top_k, progress)
    if failed:
        note(f"{failed:,} of {len(pictures):,} images could not be predicted.", style="red")
        raise typer.Exit(1)


def predict_files(
    client: Client, pictures: Sequence[Path], fields: Mapping[str, str], progress: Progress
) -> Iterator[dict[str, Any]]:
    """The answers in the order of ``pictures``, with the answering ``model`` in each, as they come in.

    However many images there are, those of a few requests are in memory.
    """

    def ask_batch(batch: Sequence[Path]) -> list[dict[str, Any]]:
        return _ask(client, batch, fields)

    bar = progress.add_task("predicting", total=len(pictures))
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        for answers in ordered_map(pool, ask_batch, make_batches(pictures), ahead=2 * REQUESTS_AT_ONCE):
            yield from answers
            progress.advance(bar, len(answers))


def ask(
    client: Client, images: Sequence[tuple[str, bytes]], fields: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The answers for names and contents, with the ``model`` in each that has one.

    It takes one request; where the server finds that too large, several smaller ones.
    """
    if not images:
        return []
    try:
        answer = client.post_files("/predict", fields, [(printable(name), data) for name, data in images])
        answers = [{**result, "model": answer["model"]} for result in answer["results"]]
    except ServerError as error:
        if len(images) > 1 and error.problem["status"] == 413:
            middle = len(images) // 2
            return [*ask(client, images[:middle], fields), *ask(client, images[middle:], fields)]
        if len(images) > 1 or error.problem.get("code") not in IMAGE_ERRORS:
            raise
        return [{"error": dict(error.problem)}]
    if len(answers) != len(images):
        raise CommandError("The answers of the server are not those of the images that were sent.")
    return answers


def make_batches(pictures: Iterable[Path]) -> Iterator[list[Path]]:
    """What goes into one request each, read from the disk only once it is sent."""
    batch: list[Path] = []
    room = BATCH_BYTES
    for path in pictures:
        size = _size(path)
        if batch and (len(batch) >= BATCH_FILES or size > room):
            yield batch
            batch, room = [], BATCH_BYTES
        batch.append(path)
        room -= size
    if batch:
        yield batch


def _ask(client: Client, batch: Sequence[Path], fields: Mapping[str, str]) -> list[dict[str, Any]]:
    readable, results = [], {}
    for path in batch:
        try:
            readable.append((path, _read(path)))
        except OSError as error:
            results[path] = unreadable(error.strerror or str(error))
        except CommandError as error:
            results[path] = unreadable(error.detail)
    answers = ask(client, [(display_name(path), data) for path, data in readable], fields)
    results |= {path: answer for (path, _), answer in zip(readable, answers, strict=True)}
    return [{**results[path], "name": display_name(path)} for path in batch]


def _read(path: Path) -> bytes:
    require_readable(path)
    return path.read_bytes()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _print_rows(
    answers: Iterator[dict[str, Any]], pictures: Sequence[Path], top_k: int, progress: Progress
) -> int:
    """A row for each image as it comes; the labels of each few rows decide how wide their column is."""
    ranks = min(top_k, WIDEST_RANKS)
    widest = out.width // 2 if out.is_terminal else out.width
    name_width = min(widest, max(cell_len(printable(display_name(path))) for path in pictures))
    label_width, failed, rejected, model = len("label"), 0, 0, None
    has_header = False
    while rows := list(islice(answers, BATCH_FILES)):
        labels = [entry["label"] for row in rows for entry in row.get("predictions", ())[:ranks]]
        label_width = max([label_width, *(cell_len(printable(label)) for label in labels)])
        if not has_header:
            header = _line("image", name_width, [("label", "probability")] * ranks, label_width)
            say_above(progress, Text(header.rstrip(), style="bold"))
            has_header = True
        for row in rows:
            name = printable(row["name"])
            if error := row.get("error"):
                failed += 1
                line = Text(_padded(name, name_width) + "  ")
                line.append(f"error: {printable(error['detail'])}", style="red")
            else:
                model = model or row["model"]
                best = [
                    (printable(entry["label"]), f"{entry['probability']:.4f}")
                    for entry in row["predictions"][:ranks]
                ]
                line = Text(_line(name, name_width, best, label_width))
                if reason := decision_text(row):
                    rejected += 1
                    line.append(f"  {reason}", style="yellow")
            say_above(progress, line)
    if model:
        alias = f", {model['alias']}" if model["alias"] else ""
        note(f"answered by {model['id']}, version {model['version']}{alias} of {model['product']}")
    if rejected:
        note(
            f"{rejected} of {len(pictures)} rejected: look at them yourself. "
            "`loupe model show MODEL` says why"
        )
    return failed


def _line(name: str, name_width: int, ranks: Iterable[tuple[str, str]], label_width: int) -> str:
    cells = "".join(f"  {_padded(label, label_width)}  {value:>11}" for label, value in ranks)
    return _padded(name, name_width) + cells


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


_JUDGED, _ANSWERED_BY = ("decision", "reject_reason"), ("model", "version")


def _print_csv(answers: Iterator[dict[str, Any]], top_k: int) -> int:
    ranks = range(1, top_k + 1)
    names = [name for rank in ranks for name in (f"label_{rank}", f"probability_{rank}")] if top_k > 1 else []
    writer = csv.writer(out.file, lineterminator="\n")
    writer.writerow(["picture", *(names or ["label", "probability"]), "error", *_JUDGED, *_ANSWERED_BY])
    failed = 0
    for answer in answers:
        error = answer.get("error")
        failed += error is not None
        cells = [
            cell
            for entry in answer.get("predictions", ())
            for cell in (entry["label"], f"{entry['probability']:.9g}")
        ]
        cells += [""] * (2 * top_k - len(cells))
        judged = [answer.get(name) or "" for name in _JUDGED]
        model = answer.get("model") or {}
        by = [model.get(name, "") for name in ("id", "version")]
        writer.writerow(safe_row([answer["name"], *cells, error["detail"] if error else "", *judged, *by]))
    return failed


def _print_json(answers: Iterator[dict[str, Any]], left_out: Mapping[str, list[str]]) -> int:
    results = list(answers)
    failed = sum(answer.get("error") is not None for answer in results)
    say_json({"results": results, "errors": failed, "left_out": left_out})
    return failed
