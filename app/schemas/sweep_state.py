"""What a sweep's row holds as JSON: its plan, which never changes, and how each candidate stands."""

from __future__ import annotations

from typing import Any, Literal

from app.schemas.class_map import ClassMap
from app.schemas.gate import GateRules
from app.schemas.job import Device
from app.schemas.message import Message

Standing = Literal["racing", "won", "lost", "failed", "cancelled"]
Keep = Literal["winner", "all"]


class Skipped(Message):
    """A network that was not tried, and why."""

    network: str
    reason: str


class SweepPlan(Message):
    """``cuts``: how often about half of the candidates leave before one is chosen. ``monitor``: what ranks.
    ``estimated_seconds``: None where a cost is not known. ``split``: as of a job.
    """

    keep: Keep
    monitor: Literal["valid_accuracy", "valid_loss"]
    cuts: int
    split: dict[str, Any]
    dataset_digest: str | None
    evaluation_dataset: str | None
    class_map: ClassMap | None
    gate_rules: GateRules
    device: Device
    gpus: int
    budget_seconds: float | None
    estimated_seconds: float | None
    skipped: tuple[Skipped, ...]
    metadata: dict[str, str]


class Score(Message):
    """A candidate's best validation so far."""

    epoch: int
    accuracy: float
    loss: float


class Candidate(Message):
    """One training of the sweep. ``settings``: in what it differs from the others, beside the network.

    ``rungs``: the epochs at which it is compared, the last one being all of its epochs. ``reached``: epochs
    trained. ``milliseconds`` and ``bytes``: the registry's figures. ``reason``: why it races no more.
    """

    number: int
    network: str
    settings: dict[str, Any]
    job: str
    rungs: tuple[int, ...]
    milliseconds: float | None
    bytes: int
    standing: Standing = "racing"
    reason: str | None = None
    score: Score | None = None
    reached: int = 0
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """Of the whole training."""
        return self.rungs[-1]

    def rung_at(self, cuts_done: int) -> int:
        """The epoch to which it trains until the next comparison."""
        return self.rungs[min(cuts_done, len(self.rungs) - 1)]
