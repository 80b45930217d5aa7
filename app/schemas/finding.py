"""Findings: what stands out in a dataset or a training, with what shows it and what to do about it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

Level = Literal["error", "warning", "note"]
"""The worst first."""

Code = Literal[
    "rate_too_high",
    "rate_too_low",
    "one_class",
    "not_learning",
    "few_test_images",
    "few_valid_images",
    "different_test",
    "overfitting",
    "early_end",
    "too_short",
    "not_examined",
]
"""What a training itself shows. Findings of its dataset keep the code that the examination gave them."""


class Finding(BaseModel):
    """Something to act upon."""

    code: str = Field(description="For programs; the finding is for people.")
    level: Level
    finding: str = Field(description="What is wrong, in a sentence.")
    evidence: str = Field(description="The numbers that show it.")
    advice: str = Field(description="What to do.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Hyperparameters that another training should have, by name."
    )
    command: str | None = Field(
        None, description="The command line that does it; null where no single command does."
    )
    classes: list[str] = Field(default_factory=list, description="The classes concerned.")
    dataset: str | None = Field(None, description="The dataset that it is about; null: the training itself.")


class JobFindings(BaseModel):
    """What stands out in a training, the worst first."""

    job: str
    status: str
    epochs: int = Field(description="Epochs that were looked at.")
    is_tested: bool = Field(
        description="Whether the answers to the test images were looked at too; they come when it ends."
    )
    data: list[Finding]
