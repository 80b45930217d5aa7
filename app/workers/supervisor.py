"""Runs one claimed job: beats its lease, stores its progress, passes on requests, settles its end."""

from __future__ import annotations

import contextlib
import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

from app import child
from app.context import AppContext
from app.errors import (
    LimitReachedError,
    LoupeError,
    StalledError,
    StorageFullError,
    UnavailableError,
    UploadMissingError,
)
from app.host import failpoints
from app.jobs import claims, progress
from app.jobs.claims import Claim, ClaimLostError, Requests
from app.jobs.kinds.base import NotPreparedError
from app.jobs.kinds.registry import KINDS
from app.schemas.progress_lines import AnyLine, CheckpointLine, StepLine
from app.services import job_lifecycle
from app.workers.background import run_in_background
from app.workers.child_process import ChildProcess
from app.workers.exit_cause import as_loupe_error
from app.workers.further_children import FurtherChildren
from app.workers.metrics import RunningJob, WorkerMetrics
from app.workers.shared_progress import open_progress

logger = logging.getLogger(__name__)

T = TypeVar("T")

ROUND_SECONDS = 0.2
REPORT_SECONDS = 0.5
POLL_SECONDS = 1.0
STALL_STEPS = 20
# The database does not answer, or its disk is full: either way the training can go on meanwhile.
OUTAGES = (UnavailableError, StorageFullError)
# Another attempt meets the same until a person makes room, or starts the host that has the upload.
WAIT_FOR_A_PERSON = (LimitReachedError.code, StorageFullError.code, UploadMissingError.code)


class _AskedToLeaveError(Exception):
    """The worker is to end, or the client wants the job to: nothing has been started yet."""


class Supervisor:
    """One claim, one child. ``shutdown`` is set when the worker process is asked to end."""

    def __init__(
        self,
        context: AppContext,
        claim: Claim,
        shutdown: threading.Event,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._context = context
        self._claim = claim
        self._kind = KINDS[claim.kind]
        self._shutdown = shutdown
        self._folder = context.storage.attempt(claim.job_id, claim.fence)
        self._child = ChildProcess(self._folder)
        self._progress = open_progress(context, claim, self._folder / child.PROGRESS)
        self._last_progress = self._last_report = self._last_poll = time.monotonic()
        self._progress_bytes = 0
        self._step_times: deque[float] = deque(maxlen=101)
        self._has_checkpoint = False
        self._metrics = metrics or WorkerMetrics()
        self._job = RunningJob(claim.kind)
        self._outcome = "lost"
        self._name = f"job {claim.job_id} ({claim.kind})"

    def run(self) -> None:
        """Supervises to the end. Returns quietly when the claim is lost: another worker has the job."""
        try:
            with self._metrics.running(self._claim.job_id, self._job):
                if self._download_inputs():
                    self._start()
                    self._watch()
        except ClaimLostError:
            self._outcome = "lost"
            logger.warning("job %s: the claim is lost, its child is ended", self._claim.job_id)
        except Exception as error:
            # An error of Loupe's own says what is wrong; of any other one wants to see where.
            trace = not isinstance(error, LoupeError)
            logger.error("job %s: %s", self._claim.job_id, error, exc_info=trace)
            self._child.kill()
            with contextlib.suppress(ClaimLostError):
                self._fail(as_loupe_error(error).as_dict())
        finally:
            self._child.kill()
            self._metrics.ended(self._claim.kind, self._outcome)
            logger.info("%s: attempt %d ended: %s", self._name, self._claim.attempt, self._outcome)
            self._progress.close()
            self._context.storage.remove(self._folder)
            with contextlib.suppress(*OUTAGES):
                job_lifecycle.clean_up(self._context, self._claim.job_id)

    # --- The start ---------------------------------------------------------------------------------------

    def _download_inputs(self) -> bool:
        """False when the job was given back instead: what it needs may be long in coming."""
        try:
            download = partial(self._kind.download_inputs, self._context, self._claim)
            self._persist(lambda: self._progress.exchange(download, self._beat_or_leave))
        except _AskedToLeaveError:
            self._release()
            return False
        return True

    def _beat_or_leave(self) -> None:
        requests = self._beat()
        if self._shutdown.is_set() or (requests is not None and (requests.cancel or requests.pause)):
            raise _AskedToLeaveError

    def _start(self) -> None:
        spec = self._persist(lambda: self._kind.build_spec(self._context, self._claim))
        log = self._context.storage.job(self._claim.job_id) / self._log_name
        environment = {**self._environment(), **_devices(self._claim)}
        self._job.pid = self._child.start(self._kind.module, spec, log, environment)
        # What came before, files that came in or an outage, may have taken longer than a child may be silent.
        self._last_progress = time.monotonic()
        logger.info("%s: attempt %d runs as process %d", self._name, self._claim.attempt, self._job.pid)

    @property
    def _log_name(self) -> str:
        return f"process-{self._claim.attempt:04d}.log"

    def _environment(self) -> dict[str, str]:
        """The child reads no settings: its log is to look like ours and to name the job."""
        settings = self._context.settings
        return {
            child.LOG_LEVEL: settings.log_level,
            child.LOG_FORMAT: settings.log_format,
            child.JOB_ID: self._claim.job_id,
            child.MAX_PIXELS: str(settings.max_pixels),
        }

    # --- While it runs -----------------------------------------------------------------------------------

    def _watch(self) -> None:
        while self._child.is_running:
            time.sleep(ROUND_SECONDS)
            self._pass_on_shutdown()
            now = time.monotonic()
            if now - self._last_report < REPORT_SECONDS:
                continue
            if self._progress.size() > self._progress_bytes:
                self._progress_bytes, self._last_progress = self._progress.size(), now
            requests = self._exchange_lines(self._progress.read(), now)
            if requests is not None and requests.cancel:
                self._child.kill()
                self._outcome = "cancelled"
                self._persist(lambda: claims.cancelled(self._context, self._claim))
                return
            if requests is not None and requests.pause:
                self._child.ask_to_leave()
            if requests is not None and requests.stop:
                self._child.finish_early()
            limit = self._stall_seconds()
            if now - self._last_progress > limit:
                self._child.kill()
                self._fail(StalledError(f"No progress for {limit:.0f} seconds.").as_dict())
                return
        self._drain()
        self._settle()

    def _pass_on_shutdown(self) -> None:
        if self._shutdown.is_set():
            self._child.ask_to_leave()
        if self._child.is_late:
            self._child.kill()

    def _beat(self) -> Requests | None:
        """Extends the lease when it is time, while no child reports."""
        return self._exchange_lines([], time.monotonic())

    def _exchange_lines(self, lines: list[AnyLine], now: float) -> Requests | None:
        """Passes on new lines, or beats the lease, or at least reads what the client asks.

        None while the database does not answer: the child works on and the lines stay in their file.
        """
        try:
            if lines or now - self._last_report >= self._context.settings.heartbeat_seconds:
                self._child.sample_memory()
                self._last_report = self._last_poll = time.monotonic()
                requests = self._report(lines)
                self._step_times += [line.time for line in lines if isinstance(line, StepLine)]
                return requests
            if now - self._last_poll >= POLL_SECONDS:
                self._last_poll = time.monotonic()
                return claims.poll(self._context, self._claim)
        except OUTAGES as error:
            self._metrics.met(error.code)
            logger.warning("job %s: %s The child works on.", self._claim.job_id, error.detail)
        return None

    def _report(self, lines: list[AnyLine]) -> Requests:
        has_checkpoint = any(isinstance(line, CheckpointLine) for line in lines)
        if has_checkpoint:
            failpoints.pass_by("report.before")
        requests = progress.report(self._context, self._claim, lines)
        self._job.beaten_at = time.monotonic()
        self._metrics.reported(self._job, lines)
        if has_checkpoint:
            failpoints.pass_by("report.after")
            self._forget_old_checkpoints()
        if lines:
            self._progress.confirm()
        return requests

    def _forget_old_checkpoints(self) -> None:
        """This attempt has its own now: of the earlier ones the newest is enough to fall back on."""
        if self._has_checkpoint:
            return
        self._has_checkpoint = True
        root = self._context.storage.job_checkpoints(self._claim.job_id)
        saved = {folder.parent for folder in root.glob("*/checkpoint-*")}
        for folder in sorted(saved - {root / f"{self._claim.fence:04d}"})[:-1]:
            self._context.storage.remove(folder)

    def _stall_seconds(self) -> float:
        """How long silence is normal: a big network's step may take minutes."""
        steps = [after - before for before, after in pairwise(self._step_times)]
        usual = statistics.median(steps) if steps else 0.0
        return max(self._context.settings.stall_seconds, STALL_STEPS * usual)

    # --- The end -----------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Stores the last lines, however long the database takes to come back."""
        while lines := self._progress.read():
            self._persist(partial(self._report, lines))

    def _settle(self) -> None:
        """The child has ended by itself, or on our request to leave."""
        code = self._child.exit_code
        self._upload_the_rest(code)
        if code == child.ExitCode.SUCCEEDED:
            self._outcome = "succeeded"
            self._finish(self._child.read_result(self._kind.result_type))
        elif code == child.ExitCode.FAILED and (error := self._child.read_error()) is not None:
            self._fail(error)
        elif code == child.ExitCode.RELEASED or self._child.was_asked_to_leave:
            self._release()
        else:
            cause = self._child.explain_exit(f"jobs/{self._claim.job_id}/{self._log_name}")
            self._fail(cause.as_dict(), is_from_outside=self._child.was_killed_from_outside)

    def _upload_the_rest(self, code: int) -> None:
        """Before the job's end, or before others take it up, they see its logs and its last checkpoint."""
        exchange, upload_logs = self._progress.exchange, self._progress.upload_logs
        if code == child.ExitCode.SUCCEEDED:
            self._persist(lambda: exchange(upload_logs, self._beat))
            return
        exchange(lambda: self._progress.wait_until_uploaded(self._is_late), self._beat_to_the_deadline)
        self._drain()
        with contextlib.suppress(*OUTAGES):
            exchange(upload_logs, self._beat)

    def _beat_to_the_deadline(self) -> None:
        self._beat()
        self._pass_on_shutdown()

    def _is_late(self) -> bool:
        """Whether this process has to end now, uploaded or not."""
        return self._shutdown.is_set() and self._child.is_late

    def _release(self) -> None:
        """Gives the job back; the attempt is not held against it."""
        self._outcome = "released"
        self._persist(lambda: claims.release(self._context, self._claim))

    def _fail(self, error: dict[str, Any], *, is_from_outside: bool = False) -> None:
        """Another attempt may end differently after a crash."""
        self._outcome = error["code"]
        end: Callable[[AppContext, Claim, dict[str, Any]], object] = claims.fail
        if error["retryable"] and error["code"] not in WAIT_FOR_A_PERSON:
            end = partial(claims.retry_or_fail, is_from_outside=is_from_outside)
        self._persist(lambda: end(self._context, self._claim, error))

    def _finish(self, result: Any) -> None:
        ends = (self._context, self._claim, result)
        upload = partial(self._kind.upload_results, *ends)
        try:
            self._prepare_end(result)
            self._persist(lambda: self._progress.exchange(upload, self._beat))
            while not self._write_end(result):
                self._prepare_end(result)
        except _AskedToLeaveError:
            self._release()
            return
        failpoints.pass_by("finish.committed")

    def _write_end(self, result: Any) -> bool:
        """False when something has changed on which it depends."""
        try:
            self._persist(lambda: self._kind.finish(self._context, self._claim, result))
        except NotPreparedError:
            return False
        return True

    def _prepare_end(self, result: Any) -> None:
        """Whoever asks the job to leave meanwhile does not wait: what was prepared is prepared again."""
        ends = (self._context, self._claim, result)
        preparation = self._persist(lambda: self._kind.prepare_end(*ends))
        if preparation is None:
            return
        children = FurtherChildren(
            self._folder,
            self._context.storage.job(self._claim.job_id) / f"process-{self._claim.attempt:04d}-end.log",
            {**self._environment(), **NO_DEVICES},
            self._context.settings.stall_seconds,
        )
        try:
            self._persist(lambda: run_in_background(lambda: preparation(children.run), self._beat_or_leave))
        finally:
            children.close()

    def _persist(self, write: Callable[[], T]) -> T:
        """Repeats ``write`` until the database answers; raises ClaimLostError if the job moved on."""
        while True:
            try:
                return write()
            except OUTAGES as error:
                self._metrics.met(error.code)
                self._pass_on_shutdown()
                if self._is_late():
                    raise ClaimLostError(self._claim.job_id) from error
                time.sleep(1)


NO_DEVICES = {"CUDA_VISIBLE_DEVICES": "-1"}


def _devices(claim: Claim) -> dict[str, str]:
    """The child sees the GPUs that were leased for it, and nothing but a training has any."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(claim.gpus) or "-1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
