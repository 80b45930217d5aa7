from app.training.selection import BestEpoch, EarlyStoppingCounter


def test_higher_accuracy_wins() -> None:
    best = BestEpoch("valid_accuracy")
    assert best.offer(1, accuracy=0.8, loss=0.5)
    assert not best.offer(2, accuracy=0.7, loss=0.1)
    assert best.offer(3, accuracy=0.9, loss=0.9)
    assert (best.epoch, best.value) == (3, 0.9)


def test_equal_accuracy_goes_to_the_lower_loss_and_then_to_the_earlier_epoch() -> None:
    best = BestEpoch("valid_accuracy")
    best.offer(1, accuracy=0.8, loss=0.5)
    assert best.offer(2, accuracy=0.8, loss=0.4)
    assert not best.offer(3, accuracy=0.8, loss=0.4)
    assert not best.offer(4, accuracy=0.8, loss=0.45)
    assert best.epoch == 2


def test_lower_loss_wins_when_loss_is_monitored() -> None:
    best = BestEpoch("valid_loss")
    best.offer(1, accuracy=0.8, loss=0.5)
    assert not best.offer(2, accuracy=0.9, loss=0.5)
    assert best.offer(3, accuracy=0.1, loss=0.4)
    assert (best.epoch, best.value) == (3, 0.4)


def stops(counter: EarlyStoppingCounter, accuracies: list[float]) -> list[bool]:
    return [counter.is_exhausted_by(accuracy=value, loss=1 - value) for value in accuracies]


def test_patience_counts_validations_since_the_last_improvement() -> None:
    counter = EarlyStoppingCounter("valid_accuracy", patience=2)
    assert stops(counter, [0.5, 0.5, 0.6, 0.6, 0.55]) == [False, False, False, False, True]


def test_a_change_within_min_delta_is_no_improvement() -> None:
    counter = EarlyStoppingCounter("valid_accuracy", patience=2, min_delta=0.1)
    assert stops(counter, [0.5, 0.55, 0.59]) == [False, False, True]


def test_a_falling_loss_is_an_improvement_when_loss_is_monitored() -> None:
    counter = EarlyStoppingCounter("valid_loss", patience=1)
    assert stops(counter, [0.5, 0.6, 0.7, 0.65]) == [False, False, False, True]
