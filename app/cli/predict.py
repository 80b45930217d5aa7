"""``loupe predict``"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from app.cli.client import Client, CommandError, ServerError
from app.cli.console import (
    add_row,
    count_progress,
    make_table,
    note,
    out,
    printable,
    say_json,
    show,
)
from app.cli.options import DEFAULT_SERVER, Server, examples
from app.cli.packing import display_name, find_pictures

BATCH_FILES, BATCH_BYTES = 16, 16 * 2**20
# The server answers a request on one core; a few at once use more of them.
REQUESTS_AT_ONCE = 4
WIDEST_RANKS = 10
# Where a lone picture's answer is an error about the picture, not about the request.
PICTURE_ERRORS = frozenset({"undecodable_image", "image_too_large", "too_large"})

predict_epilog = examples(
    "loupe predict screws picture.jpg",
    "loupe predict screws ~/new-pictures --csv > answers.csv",
    "loupe predict screws@3 picture.jpg",
    "loupe predict screws picture.jpg --job job_… --top-k 3",
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
        typer.Argument(metavar="FILES_OR_FOLDER…", help="Pictures, and folders that are searched for some."),
    ],
    job: Annotated[str | None, typer.Option("--job", help="Ask the model of this job instead.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Ask this model instead.")] = None,
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=1000, help="How many labels to show.")] = 1,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the server's answers as JSON.")] = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Say what is on pictures.

    Folders are searched at any depth.
    A picture that cannot be read is a row with its error; the status is then 1.
    """
    if as_csv and as_json:
        raise CommandError("--csv and --json exclude each other.")
    pictures = find_pictures(paths)
    fields = {"product": product, "job": job, "model": model, "top_k": str(top_k)}
    given = {name: value for name, value in fields.items() if value is not None}
    answers = predict_files(Client(server), pictures, given)
    print_answers = _print_csv if as_csv else _print_json if as_json else _print_table
    failed = print_answers(answers, top_k)
    if failed:
        note(f"{failed:,} of {len(pictures):,} pictures could not be predicted.", style="red")
        raise typer.Exit(1)


def predict_files(
    client: Client, pictures: Sequence[Path], fields: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The answers in the order of ``pictures``, with the answering ``model`` in each, as they come in."""

    def ask(batch: Sequence[Path]) -> list[dict[str, Any]]:
        return _ask(client, batch, fields)

    batches = _batches(pictures)
    with count_progress() as progress, ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        bar = progress.add_task("predicting", total=len(pictures))
        futures = [pool.submit(ask, batch) for batch in batches]
        try:
            for batch, future in zip(batches, futures, strict=True):
                yield from future.result()
                progress.advance(bar, len(batch))
        finally:
            pool.shutdown(cancel_futures=True)


def _ask(client: Client, batch: Sequence[Path], fields: dict[str, str]) -> list[dict[str, Any]]:
    """One request; where the server finds it too large, several smaller ones."""
    readable, results = [], {}
    for path in batch:
        try:
            readable.append((path, path.read_bytes()))
        except OSError as error:
            results[path] = {"error": {"code": "unreadable_file", "detail": error.strerror or str(error)}}
    if readable:
        try:
            answer = client.post_files(
                "/predict", fields, [(printable(display_name(path)), data) for path, data in readable]
            )
            for (path, _), result in zip(readable, answer["results"], strict=True):
                results[path] = {**result, "model": answer["model"]}
        except ServerError as error:
            if len(readable) > 1 and error.problem["status"] == 413:
                middle = len(batch) // 2
                return [*_ask(client, batch[:middle], fields), *_ask(client, batch[middle:], fields)]
            if len(readable) > 1 or error.problem.get("code") not in PICTURE_ERRORS:
                raise
            results[readable[0][0]] = {"error": dict(error.problem)}
    return [{**results[path], "name": display_name(path)} for path in batch]


def _batches(pictures: Sequence[Path]) -> list[list[Path]]:
    batches: list[list[Path]] = []
    room = 0
    for path in pictures:
        size = _size(path)
        if not batches or len(batches[-1]) >= BATCH_FILES or size > room:
            batches.append([])
            room = BATCH_BYTES
        batches[-1].append(path)
        room -= size
    return batches


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _print_table(answers: Iterator[dict[str, Any]], top_k: int) -> int:
    results = list(answers)
    failed = sum(answer.get("error") is not None for answer in results)
    ranks = min(top_k, WIDEST_RANKS)
    table = make_table("picture", *(("label", ">probability") * ranks), *(["error"] if failed else []))
    for answer in results:
        if error := answer.get("error"):
            add_row(
                table, answer["name"], *([""] * (2 * ranks)), Text(printable(error["detail"]), style="red")
            )
            continue
        cells = (
            cell
            for entry in answer["predictions"][:ranks]
            for cell in (entry["label"], f"{entry['probability']:.4f}")
        )
        add_row(table, answer["name"], *cells)
    show(table)
    if model := next((answer["model"] for answer in results if "model" in answer), None):
        alias = f", {model['alias']}" if model["alias"] else ""
        note(f"answered by {model['id']}, version {model['version']}{alias} of {model['product']}")
    return failed


def _print_csv(answers: Iterator[dict[str, Any]], top_k: int) -> int:
    ranks = range(1, top_k + 1)
    names = [name for rank in ranks for name in (f"label_{rank}", f"probability_{rank}")] if top_k > 1 else []
    writer = csv.writer(out.file, lineterminator="\n")
    writer.writerow(["picture", *(names or ["label", "probability"]), "error"])
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
        writer.writerow([answer["name"], *cells, error["detail"] if error else ""])
    return failed


def _print_json(answers: Iterator[dict[str, Any]], _top_k: int) -> int:
    results = list(answers)
    failed = sum(answer.get("error") is not None for answer in results)
    say_json({"results": results, "errors": failed})
    return failed
