"""What a worker must know of a kind of job; clients and queues know ``app/schemas/job_kinds.py``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from app.context import AppContext
from app.jobs.claims import Claim

Spec = TypeVar("Spec")
Result = TypeVar("Result")
Answer = TypeVar("Answer")


class ChildFailedError(Exception):
    """A further child of a job has not done its work; the text says why."""


class NotPreparedError(Exception):
    """The end of a job depends on something that has changed since it was prepared."""


class RunChild(Protocol):
    """Runs ``python -m module`` on a spec once the job's own child has ended, and returns its answer.

    Raises ChildFailedError.
    """

    def __call__(self, module: str, spec: Any, result_type: type[Answer], /) -> Answer: ...


Preparation = Callable[[RunChild], object]


class Kind(ABC, Generic[Spec, Result]):
    """A kind of job, without state: one object serves all jobs of it.

    Every verb but ``finish`` may be called again after an outage, and raises UnavailableError in one.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    """Run as ``python -m MODULE FOLDER``, by the protocol of ``app/child.py``."""
    result_type: type[Result]

    @abstractmethod
    def download_inputs(self, context: AppContext, claim: Claim) -> None:
        """Brings what the child reads from the shared storage into this host's home folder.

        Not called where hosts share nothing: what every job needs belongs into ``build_spec``.

        Raises StorageDamagedError.
        """

    @abstractmethod
    def build_spec(self, context: AppContext, claim: Claim) -> Spec:
        """What the child is told."""

    @abstractmethod
    def upload_results(self, context: AppContext, claim: Claim, result: Result) -> None:
        """Shows to other hosts what the child made, before a row refers to it."""

    def prepare_end(self, _context: AppContext, _claim: Claim, _result: Result) -> Preparation | None:
        """What has to be done before the end can be written, beside which the lease is beaten.

        None where there is nothing to do, or it was done before.
        """
        return None

    @abstractmethod
    def finish(self, context: AppContext, claim: Claim, result: Result) -> None:
        """Publishes what the child made and ends the job, both under the claim.

        Raises ClaimLostError, and NotPreparedError to be called again after ``prepare_end``.
        """


AnyKind = Kind[Any, Any]
