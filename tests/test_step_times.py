from __future__ import annotations

from app.step_times import StepTimes


def test_steps_lie_between_the_ends_of_their_epochs_in_equal_parts() -> None:
    times = StepTimes(1000.0, [(4, 8.0), (8, 4.0)])

    assert [times.at(step) for step in (0, 1, 4, 6, 8)] == [1000.0, 1002.0, 1008.0, 1010.0, 1012.0]


def test_a_step_of_the_epoch_that_runs_takes_as_long_as_one_before() -> None:
    assert StepTimes(1000.0, [(4, 8.0)]).at(6) == 1012.0
    assert StepTimes(1000.0, []).at(3) == 1000.0, "nothing is known of its seconds"
