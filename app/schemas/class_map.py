"""Which classes of a dataset a training learns, and under which names."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ClassNames = Annotated[tuple[str, ...], Field(min_length=1, max_length=10_000)]


class ClassMap(BaseModel):
    """First classes leave, by ``keep`` or ``drop``; then classes become one, by ``merge``."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"drop": ["unclear"], "merge": {"scratch": ["deep", "fine"]}}]},
    )

    keep: ClassNames | None = Field(
        None, description="Classes that stay, beside those in merge; all others leave. Null: all stay."
    )
    drop: ClassNames | None = Field(None, description="Classes that leave; not together with keep.")
    merge: dict[str, ClassNames] = Field(
        default_factory=dict, description="The new name of several classes that become one: {new: [old, …]}."
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.keep and self.drop:
            raise ValueError("give keep or drop, not both")
        merged = Counter(old for names in self.merge.values() for old in set(names))
        if twice := sorted(name for name, count in merged.items() if count > 1):
            raise ValueError(f"{', '.join(map(repr, twice))} cannot become two classes")
        if both := sorted(set(self.drop or ()) & set(merged)):
            raise ValueError(f"{', '.join(map(repr, both))} cannot be dropped and merged")
        if again := sorted(set(self.merge) & set(self.drop or ())):
            raise ValueError(f"{', '.join(map(repr, again))} cannot be dropped and be the name of others")
        if any(not name.strip() for name in self.merge):
            raise ValueError("the new name of a class cannot be blank")
        return self

    @property
    def old_names(self) -> tuple[str, ...]:
        """Every class of the dataset that is named."""
        merged = [old for names in self.merge.values() for old in names]
        return tuple(dict.fromkeys([*(self.keep or ()), *(self.drop or ()), *merged]))

    def apply(self, name: str) -> str | None:
        """What a class is called then; None if it leaves."""
        for new, old in self.merge.items():
            if name in old:
                return new
        if self.keep is not None and name not in self.keep and name not in self.merge:
            return None
        return None if name in (self.drop or ()) else name
