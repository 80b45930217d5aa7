"""Models in memory: the least recently used go, one load a model, and no load holds up another model."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from app.artifacts import Artifact, open_artifact
from app.errors import ArtifactError, BusyError
from app.inference.cache import ModelCache, Open
from app.inference.predictor import Predictor

MakeArtifact = Callable[..., Artifact]


@pytest.fixture
def folders(make_artifact: MakeArtifact, tmp_path: Path) -> dict[str, Path]:
    return {name: make_artifact(tmp_path / name, metrics={"name": name}).folder for name in "abcd"}


@pytest.fixture
def opens(folders: dict[str, Path]) -> dict[str, Open]:
    return {name: partial(open_artifact, folder) for name, folder in folders.items()}


def get(cache: ModelCache, model_id: str, open_: Open) -> Predictor:
    return cache.load(model_id, open_).result(timeout=60)


def most_bytes(open_: Open) -> int:
    """Of a model with one interpreter."""
    return get(ModelCache(interpreters=1), "any", open_).most_bytes


def block_reading(path: Path) -> None:
    """Makes a pipe of a file, so that whoever opens it waits until somebody writes."""
    path.unlink()
    os.mkfifo(path)


def test_a_model_is_loaded_once_and_is_the_one_of_its_folder(opens: dict[str, Open]) -> None:
    cache = ModelCache()
    first = get(cache, "a", opens["a"])
    assert get(cache, "a", opens["a"]) is first
    assert first.artifact.manifest.metrics == {"name": "a"}
    assert get(cache, "b", opens["b"]).artifact.manifest.metrics == {"name": "b"}


def test_the_least_recently_used_models_go_when_they_take_too_much_memory(opens: dict[str, Open]) -> None:
    cache = ModelCache(max_bytes=2 * most_bytes(opens["a"]), interpreters=1)
    for name in ("a", "b", "a", "c"):
        get(cache, name, opens[name])
    assert cache.loaded() == ("a", "c")
    assert cache.peek("a") is not None
    get(cache, "d", opens["d"])
    assert cache.loaded() == ("a", "d")
    assert (cache.loads, cache.evictions) == (4, 2)


def test_room_is_made_for_all_interpreters_that_a_model_may_come_to_have(opens: dict[str, Open]) -> None:
    cache = ModelCache(max_bytes=2 * most_bytes(opens["a"]), interpreters=2)
    for name in "ab":
        get(cache, name, opens[name])
    assert cache.loaded() == ("b",)


def test_the_last_model_stays_though_it_alone_is_too_large(opens: dict[str, Open]) -> None:
    cache = ModelCache(max_bytes=1)
    kept = get(cache, "a", opens["a"])
    assert get(cache, "a", opens["a"]) is kept
    get(cache, "b", opens["b"])
    assert cache.loaded() == ("b",)


def test_pinned_models_stay_and_what_does_not_fit_beside_them_is_refused(opens: dict[str, Open]) -> None:
    size = most_bytes(opens["a"])
    cache = ModelCache(max_bytes=2 * size, interpreters=1)
    cache.pin({"a"})
    for name in "abc":
        get(cache, name, opens[name])
    assert cache.loaded() == ("a", "c")
    cache.pin({"a", "c"})
    with pytest.raises(BusyError, match="model b"):
        get(cache, "b", opens["b"])
    assert cache.loaded() == ("a", "c")


def test_a_dropped_model_goes_on_answering_whoever_holds_it(opens: dict[str, Open]) -> None:
    cache = ModelCache()
    held = get(cache, "a", opens["a"])
    cache.drop("a")
    cache.drop("never seen")
    assert cache.loaded() == ()
    assert held.predict(np.zeros((16, 24, 3), np.uint8)).shape == (3,)
    assert get(cache, "a", opens["a"]) is not held


def test_threads_that_ask_at_once_share_one_load_which_holds_up_no_other_model(
    folders: dict[str, Path], opens: dict[str, Open]
) -> None:
    cache = ModelCache()
    pipe = folders["a"] / "manifest.json"
    manifest = pipe.read_bytes()
    block_reading(pipe)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(get, cache, "a", opens["a"]) for _ in range(4)]
        assert get(cache, "b", opens["b"]).labels == ("red", "green", "blue")
        assert cache.loaded() == ("b",)
        assert not any(future.done() for future in waiting)
        # The pipe gives its content to one reader only: a second load would never end.
        pipe.write_bytes(manifest)
        assert len({id(future.result(timeout=30)) for future in waiting}) == 1


def test_a_model_dropped_while_it_loads_is_answered_but_not_kept(
    folders: dict[str, Path], opens: dict[str, Open]
) -> None:
    cache = ModelCache()
    pipe = folders["a"] / "manifest.json"
    manifest = pipe.read_bytes()
    block_reading(pipe)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(get, cache, "a", opens["a"])
        with pipe.open("wb") as writer:  # returns once the load has opened the other end
            cache.drop("a")
            writer.write(manifest)
        assert future.result(timeout=30).labels == ("red", "green", "blue")
    assert cache.loaded() == ()


def test_a_failed_load_is_an_error_for_all_who_waited_and_is_tried_anew(
    make_artifact: MakeArtifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ModelCache()
    opened = []

    def open_() -> Artifact:
        opened.append("a")
        return open_artifact(tmp_path / "a")

    errors = []
    for _ in range(20):
        with pytest.raises(ArtifactError, match=r"manifest\.json") as raised:
            get(cache, "a", open_)
        errors.append(raised.value)
    assert opened == ["a"]  # a damaged model is not read for each who asks for it
    assert len({id(error) for error in errors}) == 20  # none holds the trace of another
    assert errors[0].hint == errors[-1].hint
    assert cache.loaded() == ()
    make_artifact(tmp_path / "a")
    monkeypatch.setattr("app.inference.cache.FAILED_SECONDS", 0)
    assert get(cache, "a", open_).labels == ("red", "green", "blue")


def test_a_model_that_is_dropped_is_read_at_once(make_artifact: MakeArtifact, tmp_path: Path) -> None:
    cache = ModelCache()
    with pytest.raises(ArtifactError):
        get(cache, "a", partial(open_artifact, tmp_path / "a"))
    make_artifact(tmp_path / "a")
    cache.drop("a")
    assert get(cache, "a", partial(open_artifact, tmp_path / "a")).labels == ("red", "green", "blue")


def test_whatever_a_load_raises_reaches_all_who_wait_and_only_damage_is_remembered(
    opens: dict[str, Open],
) -> None:
    class OddError(Exception):
        """Cannot be made again from its ``args``, as errors of some libraries cannot."""

        def __init__(self, first: str, second: str) -> None:
            super().__init__(first)
            self.second = second

    def fail() -> Artifact:
        raise OddError("one", "two")

    cache = ModelCache()
    with pytest.raises(OddError):
        get(cache, "a", fail)
    assert get(cache, "a", opens["a"]).labels == ("red", "green", "blue")
