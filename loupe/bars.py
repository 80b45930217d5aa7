"""A bar for a job that is waited for, by rich where it is."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loupe.records import Job


class Bar:
    """``is_shown``: False makes it do nothing."""

    def __init__(self, *, is_shown: bool) -> None:
        self._progress: Any = None
        self._task: Any = None
        if is_shown:
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
            )

    def __enter__(self) -> Bar:
        if self._progress is not None:
            self._progress.start()
            self._task = self._progress.add_task("waiting", total=1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, job: Job) -> None:
        if self._progress is None:
            return
        words = job.stage or job.status
        epoch, epochs = (job.data["progress"].get(name) for name in ("epoch", "epochs"))
        if epoch and epochs:
            words += f", epoch {epoch} of {epochs}"
        self._progress.update(self._task, completed=job.fraction, description=words)
