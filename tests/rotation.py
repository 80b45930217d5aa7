"""Which slow tests continuous integration runs at a commit: another part of them at each."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

Case = TypeVar("Case")

COMMITS = 20
"""In so many commits every recording of a network has its turn."""


def turn(cases: Sequence[Case], number: int, commits: int = COMMITS) -> Sequence[Case]:
    """The cases whose turn it is at the commit with that number; each has one in ``commits`` commits."""
    return cases[number % commits :: commits]


def number_of_commit(folder: Path) -> int:
    """How many commits the branch checked out in ``folder`` has; 0 without git or outside a repository."""
    # First parents alone: a merge is one step, whatever number of commits it brings.
    command = ["git", "-C", str(folder), "rev-list", "--count", "--first-parent", "HEAD"]
    try:
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return 0
