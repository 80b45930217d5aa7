"""A claimed job is watched to its end: what becomes of its row, its attempts, its events, its processes.

The child is ``small_child``. Its kind of job, ``small``, is registered as any other: a class and two lines.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy.orm import Session

from app.child import ExitCode
from app.config import Settings
from app.context import AppContext
from app.errors import NotFoundError, UnavailableError
from app.jobs import claims
from app.jobs.claims import Claim
from app.jobs.kinds.base import Kind, NotPreparedError, Preparation, RunChild
from app.jobs.kinds.registry import KINDS
from app.models import Job
from app.schemas.job_kinds import JOB_KINDS, JobKind
from app.schemas.progress_lines import AnyLine
from app.workers import child_process, exit_cause, supervisor
from app.workers.metrics import RunningJob, WorkerMetrics
from app.workers.supervisor import Supervisor
from tests.services.rows import add_job, change_job, dump, events, read_job
from tests.workers.small_child import SmallResult, SmallSpec


class Small(Kind[SmallSpec, SmallResult]):
    name = "small"
    module = "tests.workers.small_child"
    result_type = SmallResult

    def download_inputs(self, context: AppContext, claim: Claim) -> None:
        """It has none."""

    def build_spec(self, context: AppContext, claim: Claim) -> SmallSpec:
        payload = claims.read_claimed(context, claim).payload
        time.sleep(payload.get("spec_seconds", 0))
        return SmallSpec(acts=payload["acts"])

    def upload_results(self, context: AppContext, claim: Claim, result: SmallResult) -> None:
        """It makes no files."""

    def prepare_end(self, context: AppContext, claim: Claim, _result: SmallResult) -> Preparation | None:
        """By a further child that acts as ``payload["prepares"]`` says, once for each of them."""
        acts = claims.read_claimed(context, claim).payload.get("prepares", [])
        done = list(context.storage.attempt(claim.job_id, claim.fence).glob("further-*"))
        if len(done) >= len(acts):
            return None

        def prepare(run: RunChild) -> None:
            run(Small.module, SmallSpec(acts=tuple(acts[len(done)])), SmallResult)

        return prepare

    def finish(self, context: AppContext, claim: Claim, result: SmallResult) -> None:
        if self.prepare_end(context, claim, result) is not None:
            raise NotPreparedError
        with context.db.write() as session:
            if (job := claims.hold_to_finish(session, claim)) is not None:
                claims.complete(session, job, finishes=result.finishes)


@pytest.fixture(autouse=True)
def _small_jobs_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, Small.name, Small())
    monkeypatch.setitem(JOB_KINDS, Small.name, JobKind(Small.name, "a small job", "small jobs"))
    monkeypatch.setattr(supervisor, "ROUND_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "REPORT_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.05)


@pytest.fixture(autouse=True)
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the kernel counts what it has killed for memory: not what this machine does meanwhile."""
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 3\n")
    monkeypatch.setattr(exit_cause, "OOM_COUNTERS", (counter,))
    return counter


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", heartbeat_seconds=0.2, _env_file=None)


class Watcher(WorkerMetrics):
    """Does something once, as soon as the child's first line is stored, and keeps the child's pid."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__()
        self._then: Callable[[], object] | None = then
        self.job: RunningJob | None = None

    @contextlib.contextmanager
    def running(self, job_id: str, job: RunningJob) -> Iterator[None]:
        self.job = job
        with super().running(job_id, job):
            yield

    def reported(self, job: RunningJob, lines: Sequence[AnyLine]) -> None:
        super().reported(job, lines)
        if lines and self._then is not None:
            then, self._then = self._then, None
            then()


@dataclass
class Ran:
    """A job whose supervisor has come back."""

    context: AppContext
    id: str
    metrics: Watcher

    @property
    def job(self) -> Job:
        return read_job(self.context, self.id)

    @property
    def last(self) -> dict[str, Any]:
        """The last change of its state."""
        return events(self.context, self.id, "status")[-1]

    @property
    def said(self) -> list[str]:
        return [event["message"] for event in events(self.context, self.id, "warning")]

    @property
    def outcome(self) -> str:
        (sample,) = (
            sample
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "loupe_worker_attempts_total"
        )
        return str(sample.labels["outcome"])


def run(
    context: AppContext,
    *acts: str,
    then: Callable[[str], object] = lambda _: None,
    shutdown: threading.Event | None = None,
    spec_seconds: float = 0,
    prepares: Sequence[Sequence[str]] = (),
    **fields: Any,
) -> Ran:
    """Runs a small job under a supervisor, which must leave neither a process nor a folder."""
    payload = {"acts": acts, "spec_seconds": spec_seconds, "prepares": prepares}
    job_id = add_job(context, kind=Small.name, payload=payload, **fields)
    claim = claims.claim(context, job_id, "here")
    assert claim is not None
    metrics = Watcher(lambda: then(job_id))
    Supervisor(context, claim, shutdown or threading.Event(), metrics).run()
    assert metrics.job is not None
    assert metrics.job.pid is not None
    assert has_ended(metrics.job.pid)
    assert not context.storage.attempt(job_id, claim.fence).exists()
    return Ran(context, job_id, metrics)


def has_ended(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True


def in_a_hurry(context: AppContext, **values: Any) -> AppContext:
    return replace(context, settings=context.settings.model_copy(update=values))


class Outage:
    """The database answers nobody between ``begin`` and ``end``."""

    def __init__(self, context: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused = 0
        self._until = 0.0
        for name in ("read", "write"):
            monkeypatch.setattr(context.db, name, self._refuse_or(getattr(context.db, name)))

    def begin(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def end(self) -> None:
        self._until = 0.0

    def _refuse_or(
        self, answer: Callable[[], contextlib.AbstractContextManager[Session]]
    ) -> Callable[[], contextlib.AbstractContextManager[Session]]:
        def ask() -> contextlib.AbstractContextManager[Session]:
            if time.monotonic() < self._until:
                self.refused += 1
                raise UnavailableError("The database does not answer.")
            return answer()

        return ask


# --- Each end of a child ---------------------------------------------------------------------------------


def test_a_success_is_published_by_its_kind(any_context: AppContext) -> None:
    ran = run(any_context, "say hello", "step 1")
    assert (ran.job.status, ran.job.error, ran.job.attempt) == ("succeeded", None, 1)
    assert ran.last == {"status": "succeeded", "finishes": 0}
    assert (ran.said, ran.outcome) == (["hello"], "succeeded")
    assert (any_context.storage.job(ran.id) / "process-0001.log").exists()


@pytest.mark.parametrize(
    ("act", "code", "counts"),
    [
        ("exit 3", "crashed", True),
        ("raise", "crashed", True),
        (f"signal {int(signal.SIGSEGV)}", "crashed", True),
        (f"signal {int(signal.SIGKILL)}", "crashed", False),
    ],
)
def test_a_crash_is_tried_again_and_counts_unless_somebody_killed_it(
    any_context: AppContext, act: str, code: str, counts: bool
) -> None:
    ran = run(any_context, "say hello", act)
    assert (ran.job.status, ran.job.error) == ("queued", None)
    assert ran.job.attempts_without_checkpoint == int(counts)
    assert ran.job.lease_owner is None
    assert (ran.last["reason"], ran.last["counted"]) == (code, counts)
    assert (ran.said, ran.outcome) == (["hello"], code)


def test_a_kill_for_lack_of_memory_is_named_so_and_counts(context: AppContext, counter: Path) -> None:
    ran = run(
        context,
        "say hello",
        "sleep 0.3",
        f"signal {int(signal.SIGKILL)}",
        then=lambda _: counter.write_text("oom_kill 4\n"),
    )
    assert (ran.job.status, ran.job.attempts_without_checkpoint) == ("queued", 1)
    assert (ran.last["reason"], ran.last["counted"]) == ("out_of_memory", True)


@pytest.mark.parametrize("act", ["exit 3", f"exit {ExitCode.FAILED}"])
def test_the_last_attempt_that_crashes_fails_the_job_and_says_where_to_look(
    context: AppContext, act: str
) -> None:
    ran = run(context, act, attempts_without_checkpoint=2)
    assert ran.job.status == "failed"
    assert ran.job.error is not None
    assert ran.job.error["hint"] == f"See jobs/{ran.id}/process-0001.log."
    assert ran.last["error"] == ran.outcome == "crashed"


def test_a_kill_from_outside_is_not_the_last_attempt(context: AppContext) -> None:
    ran = run(context, f"signal {int(signal.SIGKILL)}", attempts_without_checkpoint=2)
    assert (ran.job.status, ran.job.attempts_without_checkpoint) == ("queued", 2)


def test_a_checkpoint_gives_a_job_that_then_crashes_all_its_attempts_back(context: AppContext) -> None:
    ran = run(context, "checkpoint /nowhere", "exit 3", attempts_without_checkpoint=2)
    assert (ran.job.status, ran.job.attempts_without_checkpoint) == ("queued", 0)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("fail", "training_failed"),
        ("fill", "disk_full"),
        (f"exit {ExitCode.DISK_FULL}", "disk_full"),
        ("scribble", "invalid_request"),
    ],
)
def test_what_another_attempt_would_not_change_fails_the_job_with_its_reason(
    context: AppContext, act: str, code: str
) -> None:
    ran = run(context, "say hello", act)
    assert (ran.job.status, ran.last["error"], ran.outcome) == ("failed", code, code)
    assert ran.job.error is not None
    assert ran.job.error["code"] == code
    assert ran.job.finished_at is not None
    assert ran.said == ["hello"]


def test_one_that_leaves_by_itself_gives_its_job_back_uncounted(any_context: AppContext) -> None:
    ran = run(any_context, f"exit {ExitCode.RELEASED}")
    assert (ran.job.status, ran.job.attempts_without_checkpoint) == ("queued", 0)
    assert (ran.last["reason"], ran.outcome) == ("released", "released")


def test_a_success_without_a_result_is_a_crash(context: AppContext) -> None:
    ran = run(context, f"exit {ExitCode.SUCCEEDED}")
    assert (ran.job.status, ran.last["reason"]) == ("queued", "crashed")
    assert "result.json" in ran.last["detail"]


# --- Stall -----------------------------------------------------------------------------------------------


def test_silence_past_the_limit_ends_the_child_and_all_that_it_started(context: AppContext) -> None:
    ran = run(in_a_hurry(context, stall_seconds=2), "start", "hang")
    assert (ran.job.status, ran.job.attempts_without_checkpoint) == ("queued", 1)
    assert (ran.last["reason"], ran.last["detail"]) == ("stalled", "No progress for 2 seconds.")
    assert all(has_ended(int(pid)) for pid in ran.said)
    assert ran.outcome == "stalled"


def test_the_last_attempt_that_stalls_fails_the_job(context: AppContext) -> None:
    ran = run(in_a_hurry(context, stall_seconds=1), "hang", attempts_without_checkpoint=2)
    assert (ran.job.status, ran.last["error"]) == ("failed", "stalled")


def test_lines_that_keep_coming_are_no_stall(context: AppContext) -> None:
    acts = ("say on", "sleep 0.7") * 4
    ran = run(in_a_hurry(context, stall_seconds=2), *acts)
    assert (ran.job.status, ran.said) == ("succeeded", ["on"] * 4)


def test_lines_that_no_database_takes_are_no_stall(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurried, outage = in_a_hurry(context, stall_seconds=2), Outage(context, monkeypatch)
    acts = ("say on", "sleep 0.7") * 4
    ran = run(hurried, *acts, then=lambda _: outage.begin(2.5))
    assert (ran.job.status, ran.said) == ("succeeded", ["on"] * 4)


def test_steps_that_are_usually_slow_may_be_slow(context: AppContext) -> None:
    # By the child's clock each step took a second: it may be silent for twenty.
    ran = run(in_a_hurry(context, stall_seconds=2), "step 1", "step 2", "step 3", "sleep 3")
    assert ran.job.status == "succeeded"


def test_what_came_before_the_child_is_not_its_silence(context: AppContext) -> None:
    ran = run(in_a_hurry(context, stall_seconds=2), "say hello", spec_seconds=2.2)
    assert ran.job.status == "succeeded"


# --- Drain -----------------------------------------------------------------------------------------------


def test_lines_written_just_before_the_end_are_stored(
    any_context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "REPORT_SECONDS", 60.0)
    ran = run(any_context, "say one", "say two", "exit 3")
    assert ran.said == ["one", "two"]
    assert ran.job.status == "queued"


def test_lines_written_while_the_database_is_away_are_stored_once_and_in_order(
    any_context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(any_context, monkeypatch)
    ran = run(
        any_context, "say 1", "sleep 0.3", "say 2", "say 3", "sleep 0.3", "say 4",
        then=lambda _: outage.begin(2),
    )  # fmt: skip
    assert outage.refused > 2
    assert ran.said == ["1", "2", "3", "4"]
    assert (ran.job.status, ran.job.attempt) == ("succeeded", 1)


# --- Requests --------------------------------------------------------------------------------------------


def test_a_shutdown_asks_once_and_gives_the_job_back_uncounted(any_context: AppContext) -> None:
    shutdown = threading.Event()
    ran = run(any_context, "say hello", "leave", then=lambda _: shutdown.set(), shutdown=shutdown)
    assert ran.said == ["hello", "asked-1"], "what it wrote on leaving is stored as well"
    assert (ran.job.status, ran.job.attempts_without_checkpoint) == ("queued", 0)
    assert (ran.last["reason"], ran.outcome) == ("released", "released")


def test_a_child_deaf_to_a_shutdown_is_killed_with_all_that_it_started(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "RELEASE_SECONDS", 0.3)
    shutdown = threading.Event()
    ran = run(context, "start", "hang", then=lambda _: shutdown.set(), shutdown=shutdown)
    assert has_ended(int(ran.said[0]))
    assert (ran.job.status, ran.job.attempts_without_checkpoint) == ("queued", 0)
    assert ran.last["reason"] == "released"


def test_a_cancel_kills_the_child_and_all_that_it_started(any_context: AppContext) -> None:
    ran = run(
        any_context, "start", "hang", then=lambda job: change_job(any_context, job, cancel_requested=True)
    )
    assert has_ended(int(ran.said[0]))
    assert (ran.job.status, ran.last, ran.outcome) == ("cancelled", {"status": "cancelled"}, "cancelled")


def test_a_stop_asks_once_for_an_early_end(context: AppContext) -> None:
    ran = run(context, "say hello", "finish", then=lambda job: change_job(context, job, stop_requested=True))
    assert ran.last == {"status": "succeeded", "finishes": 1}


def test_a_stop_that_was_asked_before_the_start_waits_until_the_child_listens(context: AppContext) -> None:
    ran = run(context, "finish", stop_requested=True)
    assert ran.last == {"status": "succeeded", "finishes": 1}


def test_a_pause_lets_the_child_leave_and_the_job_rest(context: AppContext) -> None:
    ran = run(context, "say hello", "leave", then=lambda job: change_job(context, job, pause_requested=True))
    assert ran.said == ["hello", "asked-1"]
    assert (ran.job.status, ran.job.pause_requested) == ("paused", False)
    assert ran.job.attempts_without_checkpoint == 0


# --- What goes wrong in the worker -----------------------------------------------------------------------


def test_a_lost_claim_ends_the_child_and_writes_nothing(any_context: AppContext) -> None:
    after_the_loss = {}

    def lose(job: str) -> None:
        change_job(any_context, job, fence=2, attempt=2, lease_owner="there")
        after_the_loss.update(dump(any_context))

    ran = run(any_context, "start", "say unheard", "hang", then=lose)
    assert dump(any_context) == after_the_loss
    assert has_ended(int(ran.said[0]))
    assert (ran.job.status, ran.job.lease_owner, ran.outcome) == ("running", "there", "lost")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(NotFoundError("The row is gone."), "failed", "not_found"), (RuntimeError("odd"), "queued", "crashed")],
)
def test_an_error_of_the_supervisor_is_the_jobs_and_leaves_no_process(
    context: AppContext, error: Exception, status: str, code: str
) -> None:
    def break_down(_: str) -> None:
        raise error

    ran = run(context, "start", "hang", then=break_down)
    assert (ran.job.status, ran.outcome) == (status, code)
    assert str(error) in ran.last["detail"]
    assert has_ended(int(ran.said[0]))


def test_a_shutdown_after_the_childs_end_waits_for_no_database(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "RELEASE_SECONDS", 0.3)
    shutdown, outage = threading.Event(), Outage(context, monkeypatch)

    def leave_alone(_: str) -> None:
        outage.begin(10)
        threading.Timer(1, shutdown.set).start()

    began = time.monotonic()
    ran = run(context, "say hello", "exit 3", then=leave_alone, shutdown=shutdown)
    assert time.monotonic() - began < 8
    outage.end()
    assert (ran.job.status, ran.outcome) == ("running", "lost"), "the reaper gives it to another worker"


def test_a_crash_just_before_a_shutdown_still_counts(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutdown, outage = threading.Event(), Outage(context, monkeypatch)

    def leave_alone(_: str) -> None:
        outage.begin(2)
        threading.Timer(1, shutdown.set).start()

    ran = run(context, "say hello", "sleep 0.2", "say bye", "exit 3", then=leave_alone, shutdown=shutdown)
    assert ran.said == ["hello", "bye"]
    assert (ran.job.status, ran.job.attempts_without_checkpoint) == ("queued", 1)
    assert ran.last["reason"] == "crashed"


# --- What the end depends on -----------------------------------------------------------------------------


def test_an_end_is_prepared_again_until_it_can_be_written(context: AppContext) -> None:
    ran = run(context, prepares=[["sleep 0.1"], ["sleep 0.1"], ["sleep 0.1"]])
    assert (ran.job.status, ran.outcome, ran.job.attempt) == ("succeeded", "succeeded", 1)


def test_the_lease_is_beaten_while_the_end_is_prepared(any_context: AppContext) -> None:
    lent: list[float | None] = []
    hurried = in_a_hurry(any_context, lease_seconds=1.0)

    def note(job_id: str) -> None:
        def look() -> None:
            for _ in range(2):
                lent.append(read_job(any_context, job_id).lease_until)
                time.sleep(1.0)

        threading.Thread(target=look, daemon=True).start()

    ran = run(hurried, "say hello", then=note, prepares=[["sleep 3"]])
    assert ran.job.status == "succeeded"
    assert lent[0] is not None
    assert lent[1] is not None
    assert lent[1] > lent[0]


@pytest.mark.parametrize(
    ("column", "status"), [("cancel_requested", "cancelled"), ("pause_requested", "paused")]
)
def test_who_asks_the_job_to_leave_while_its_end_is_prepared_does_not_wait(
    context: AppContext, column: str, status: str
) -> None:
    def ask(job_id: str) -> None:
        threading.Timer(1.5, change_job, (context, job_id), {column: True}).start()

    began = time.monotonic()
    ran = run(context, "say hello", then=ask, prepares=[["hang"]])
    assert ran.job.status == status
    assert time.monotonic() - began < 30
    folder = str(context.storage.job(ran.id))
    left = [process for process in psutil.Process().children() if folder in " ".join(process.cmdline())]
    assert not left, "the further child is left"


def test_a_worker_that_ends_gives_a_job_back_whose_end_it_prepares(context: AppContext) -> None:
    shutdown = threading.Event()
    ran = run(
        context,
        "say hello",
        then=lambda _: threading.Timer(1.5, shutdown.set).start(),
        shutdown=shutdown,
        prepares=[["hang"]],
    )
    assert (ran.job.status, ran.outcome, ran.last["reason"]) == ("queued", "released", "released")
    claim = claims.claim(context, ran.id, "another")
    assert claim is not None
    change_job(context, ran.id, payload={"acts": ["say again"]})
    Supervisor(context, claim, threading.Event()).run()
    assert ran.job.status == "succeeded"
