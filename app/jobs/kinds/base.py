"""What a worker must know of a kind of job; clients and queues know ``app/schemas/job_kinds.py``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from app.context import AppContext
from app.jobs.claims import Claim

Spec = TypeVar("Spec")
Result = TypeVar("Result")


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

    @abstractmethod
    def finish(self, context: AppContext, claim: Claim, result: Result) -> None:
        """Publishes what the child made and ends the job, both under the claim. Raises ClaimLostError."""


AnyKind = Kind[Any, Any]
