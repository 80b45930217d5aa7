import numpy as np
import pytest

from app.training.data_order import augmentation_draws, count_steps, epoch_batches, epoch_order


@pytest.mark.parametrize("buffer", [None, 1, 7, 100, 1000])
def test_every_picture_comes_once_an_epoch(buffer: int | None) -> None:
    order = epoch_order(100, seed=3, epoch=1, shuffle_buffer=buffer)
    assert sorted(order.tolist()) == list(range(100))


def test_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return list(map(int, epoch_order(50, seed=seed, epoch=epoch)))

    first = order(1, 2)
    np.random.seed(5)
    assert order(1, 2) == first
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (1, 2, 3)}) == 6


def test_a_shuffle_buffer_emits_nothing_that_it_cannot_hold_yet() -> None:
    order = epoch_order(200, seed=0, epoch=1, shuffle_buffer=10)
    assert all(item < position + 10 for position, item in enumerate(order.tolist()))
    assert order.tolist() != list(range(200))
    assert epoch_order(5, seed=0, epoch=1, shuffle_buffer=1).tolist() == list(range(5))


@pytest.mark.parametrize(("items", "batch"), [(33, 32), (64, 32), (5, 32), (1000, 7)])
def test_no_batch_is_left_with_few_pictures(items: int, batch: int) -> None:
    batches = epoch_batches(items, batch, seed=0, epoch=1)
    sizes = [len(indices) for indices in batches]
    assert len(batches) == count_steps(items, batch)
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    assert np.concatenate(batches).tolist() == epoch_order(items, seed=0, epoch=1).tolist()


def test_draws_of_a_picture_do_not_repeat_over_epochs_pictures_or_the_order() -> None:
    draws = np.stack([augmentation_draws(40, 4, seed=0, epoch=epoch) for epoch in range(1, 4)])
    assert draws.dtype == np.float32
    assert draws.min() >= 0
    assert draws.max() < 1
    assert len(np.unique(draws.reshape(-1, 4), axis=0)) == 120
