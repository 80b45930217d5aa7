import threading

import pytest

from app.training.prefetch import prefetch


def test_results_come_in_the_order_of_their_keys() -> None:
    assert list(prefetch(lambda key: key * 2, range(10))) == list(range(0, 20, 2))
    assert list(prefetch(lambda key: key, [])) == []


def test_the_next_results_are_made_while_one_is_used() -> None:
    made = threading.Semaphore(0)

    def load(key: int) -> int:
        made.release()
        return key

    stream = prefetch(load, range(5), depth=2)
    assert next(stream) == 0
    assert all(made.acquire(timeout=10) for _ in range(3))
    stream.close()


def test_an_error_is_raised_where_its_result_would_have_come() -> None:
    stream = prefetch(lambda key: 1 // (2 - key), range(5))
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_leaving_early_ends_the_thread() -> None:
    others = set(threading.enumerate())
    stream = prefetch(lambda key: key, range(1000))
    next(stream)
    assert set(threading.enumerate()) - others
    stream.close()
    assert not set(threading.enumerate()) - others
