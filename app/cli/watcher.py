"""The rounds of ``loupe watch``: look, ask, write the rows, move."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from app.cli.batch_predict import unreadable
from app.cli.client import Client, CommandError, ServerError, is_away
from app.cli.console import note, out, printable, say
from app.cli.label_folders import LabelFolders
from app.cli.packing import describe_left_out, display_name
from app.cli.patience import Patience
from app.cli.predict import BATCH_FILES, ask, make_batches
from app.cli.promises import decision_text
from app.cli.stop_signals import StopSignals
from app.cli.watch_results import Results
from app.cli.watched_folder import ChangedError, Look, Version, WatchedFolder
from app.host import failpoints

RETRY_SECONDS = 30.0
"""After which a file that could not be read or moved is tried again."""
# An image at which the server fails must not hold up the others for ever.
TRIES_OF_FAILING, PAUSE_OF_FAILING_SECONDS = 3, 1.0


class _TooManyError(Exception):
    """The server refuses as many images at once, also after the time for which it asked."""


@dataclass
class Counts:
    """``errors``: rows that have one. ``unfinished``: files that a single run leaves, since they grow."""

    rows: int = 0
    errors: int = 0
    moved: int = 0
    unfinished: int = 0


class Watcher:
    """``at_most``: how many seconds it waits for a server or a folder that is away; None: for ever."""

    def __init__(
        self,
        client: Client,
        fields: Mapping[str, str],
        folder: WatchedFolder,
        results: Results,
        labels: LabelFolders | None,
        stop: StopSignals,
        *,
        at_most: float | None,
    ) -> None:
        self._client, self._fields = client, fields
        self._folder, self._results, self._labels, self._stop = folder, results, labels, stop
        self._server_patience = server_patience(client, at_most)
        self._folder_patience = Patience(
            str(folder.folder), lambda error: isinstance(error, OSError), at_most=at_most
        )
        self._not_before: dict[str, float] = {}
        self._at_once = BATCH_FILES
        self.counts = Counts()

    @property
    def put_off(self) -> int:
        """Files that could not be read or moved so far."""
        return len(self._not_before)

    def look(self) -> Look:
        look = self._folder_patience.insist(self._folder.look)
        for line in describe_left_out(look.left_out):
            note(line)
        return look

    def work_off(self, versions: Sequence[Version]) -> None:
        """Predicts what has no row, and moves what has one."""
        now, there = time.monotonic(), {version.key for version in versions}
        self._not_before = {key: when for key, when in self._not_before.items() if key in there}
        due = [version for version in versions if self._not_before.get(version.key, 0.0) <= now]
        known = self._results.destinations
        for version in due:
            if version.key in known:
                with self._stop.held():
                    self._move(version, known[version.key], is_resumed=True)
        fresh = {version.path: version for version in due if version.key not in known}
        for paths in make_batches(fresh):
            self._predict([fresh[path] for path in paths])

    def _predict(self, versions: Sequence[Version]) -> None:
        contents, answers = dict[Version, bytes](), dict[Version, Mapping[str, Any]]()
        for version in versions:
            try:
                contents[version] = version.read()
            except (ChangedError, FileNotFoundError):
                continue  # the next look sees what it is now
            except CommandError as error:
                answers[version] = unreadable(error.detail)
            except OSError as error:
                self._put_off(version, f"cannot be read: {error.strerror}")
        answers |= zip(contents, self._ask([(_shown(v), data) for v, data in contents.items()]), strict=True)
        rows = [
            _make_row(version, contents.get(version), answers[version])
            for version in versions
            if version in answers
        ]
        failpoints.pass_by("watch.answered")
        if rows:
            with self._stop.held():
                self._record(rows, [version for version in versions if version in answers])

    def _record(self, rows: Sequence[Mapping[str, Any]], versions: Sequence[Version]) -> None:
        # Rows first: of a file that was moved without one, nobody would know the answer.
        self._results.append(rows)
        failpoints.pass_by("watch.recorded")
        for row, version in zip(rows, versions, strict=True):
            self._not_before.pop(version.key, None)
            self.counts.rows += 1
            self.counts.errors += row["error"] is not None
            say(_line(row))
            self._move(version, self._results.destinations[version.key], is_resumed=False)
        out.file.flush()

    def _ask(self, images: Sequence[tuple[str, bytes]]) -> list[Mapping[str, Any]]:
        answers: list[Mapping[str, Any]] = []
        while len(answers) < len(images):
            some = images[len(answers) : len(answers) + self._at_once]
            try:
                answers += self._ask_at_once(some)
            except _TooManyError:
                self._at_once = len(some) // 2
                note(f"From now on {self._at_once:,} at once are asked at most.", style="yellow")
        return answers

    def _ask_at_once(self, images: Sequence[tuple[str, bytes]]) -> Sequence[Mapping[str, Any]]:
        refusals = 0

        def attempt() -> Sequence[Mapping[str, Any]]:
            nonlocal refusals
            try:
                return ask(self._client, images, self._fields)
            except ServerError as error:
                refusals += error.problem["status"] == 429
                # More than a key may ask in a minute is refused however long one waits.
                if refusals > 1 and len(images) > 1:
                    raise _TooManyError from error
                raise

        for tries in range(1, TRIES_OF_FAILING + 1):
            try:
                return self._server_patience.insist(attempt)
            except ServerError as error:
                if error.problem["status"] != 500:
                    raise
                if len(images) > 1:
                    break
                if tries == TRIES_OF_FAILING:
                    return [{"error": dict(error.problem)}]
                time.sleep(PAUSE_OF_FAILING_SECONDS)
        return [answer for image in images for answer in self._ask_at_once([image])]

    def _move(self, version: Version, destination: str | None, *, is_resumed: bool) -> None:
        if self._labels is None or destination is None:
            return
        try:
            self._labels.move(version, destination, is_resumed=is_resumed)
        except ChangedError:
            return
        except OSError as error:
            self._put_off(version, f"cannot be moved: {error.strerror}")
        else:
            self.counts.moved += 1
            self._not_before.pop(version.key, None)

    def _put_off(self, version: Version, reason: str) -> None:
        if version.key not in self._not_before:
            note(f"{_shown(version)} {reason}", style="red")
        self._not_before[version.key] = time.monotonic() + RETRY_SECONDS


def server_patience(client: Client, at_most: float | None) -> Patience:
    return Patience(client.server, is_away, at_most=at_most)


def _make_row(version: Version, content: bytes | None, answer: Mapping[str, Any]) -> dict[str, Any]:
    """In the form of a line of `GET /predictions/{id}/results`, and what makes it the record of its file."""
    predictions = answer.get("predictions") or []
    image = {name: value for name, value in (answer.get("image") or {}).items() if name != "sha256"}
    return {
        "name": _shown(version),
        "sha256": None if content is None else hashlib.sha256(content).hexdigest(),
        "label": predictions[0]["label"] if predictions else None,
        "probability": predictions[0]["probability"] if predictions else None,
        "predictions": predictions,
        "image": image or None,
        "warnings": answer.get("warnings") or [],
        "error": answer.get("error"),
        "model": answer["model"]["id"] if "model" in answer else None,
        **{name: answer.get(name) for name in ("decision", "reject_reason", "scores")},
        "predicted_at": _timestamp(time.time()),
        "modified_at": _timestamp(version.modified_ns / 1e9),
        "bytes": version.size,
        "key": version.key,
    }


def _line(row: Mapping[str, Any]) -> Text:
    name = printable(row["name"])
    if row["error"] is None:
        line = Text(f"{name}  {printable(row['label'])}  {row['probability']:.4f}")
        if reason := decision_text(row):
            line.append(f"  {reason}", style="yellow")
        return line
    line = Text(f"{name}  ")
    line.append(f"error: {printable(row['error']['detail'])}", style="red")
    return line


def _shown(version: Version) -> str:
    return display_name(Path(version.name))


def _timestamp(seconds: float) -> str | None:
    try:
        time_there = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # a file may be of the year 10,000
        return None
    return time_there.isoformat(timespec="milliseconds").replace("+00:00", "Z")
