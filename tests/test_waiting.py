"""Waiting ends with what was waited for, or with its name."""

from __future__ import annotations

import pytest

from tests.waiting import wait_for


def test_the_first_true_value_is_returned() -> None:
    values = iter([None, [], [3], [4]])
    assert wait_for(lambda: next(values), 10, "a number", every=0) == [3]


def test_what_did_not_come_in_time_is_named() -> None:
    with pytest.raises(AssertionError, match=r"the train did not come within 0\.1 s"):
        wait_for(lambda: None, 0.1, "the train", every=0.01)


def test_nobody_waits_for_one_that_has_ended() -> None:
    with pytest.raises(AssertionError, match="the train did not come: who could bring it has ended"):
        wait_for(lambda: None, 600, "the train", alive=lambda: False)
