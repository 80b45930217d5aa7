"""In twenty commits CI compares every network with its reference; in three it runs all chaos tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.networks.test_reference import RECORDINGS, SLOW
from tests.rotation import COMMITS, number_of_commit, turn


@pytest.mark.parametrize("first", [0, 1, 4711])
def test_twenty_commits_in_a_row_hold_every_recording(first: int) -> None:
    turns = [set(turn(SLOW, number)) for number in range(first, first + COMMITS)]
    assert set().union(*turns) == set(SLOW)
    assert max(map(len, turns)) <= -(-len(RECORDINGS) // COMMITS)
    assert {name for name, _ in SLOW} == {name for name, _ in RECORDINGS}, "each network has a slow one"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_commit_and_a_merge_count_as_one_each(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=n@example.org")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    def commit() -> None:
        git("commit", "--allow-empty", "--message", "m")

    git("init", "--initial-branch", "main")
    commit()
    git("switch", "--create", "branch")
    commit()
    commit()
    git("switch", "main")
    assert number_of_commit(tmp_path) == 1
    git("merge", "--no-ff", "--message", "m", "branch")
    assert number_of_commit(tmp_path) == 2


def test_outside_a_repository_it_is_always_the_first_turn(tmp_path: Path) -> None:
    assert number_of_commit(tmp_path) == 0
    assert number_of_commit(tmp_path / "nowhere") == 0


@pytest.mark.parametrize("commits", [1, 3, 20])
def test_each_case_has_one_turn_in_so_many_commits(commits: int) -> None:
    cases = list(range(25))
    turns = [case for number in range(7, 7 + commits) for case in turn(cases, number, commits)]
    assert sorted(turns) == cases
