"""Training that starts from weights: what is loaded, what stands still, what a resume must not change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from app.artifacts import open_artifact
from app.child import Released, StopSignal
from app.errors import ArtifactError, WeightsError
from app.networks.create import create_network
from app.networks.pretrained.sources import get_published
from app.training.augmentation import PARAMETERS
from app.training.fit import read_values
from app.training.initial_weights import find_initial_weights
from app.training.schedule import LearningRateSchedule
from app.training.spec import Identity, load_split, parse_spec
from app.training.steps import build_train_step
from app.training.trainee import Trainee
from tests.training.conftest import store_pictures
from tests.training.settings import make_settings
from tests.training.test_fit import Attempt, equal_bits, make_attempt, strip
from tests.training.test_pipeline import SETTINGS, run

__all__ = ["make_attempt"]
Spec = dict[str, Any]
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def take_step(model: keras.Model, *, is_frozen: bool = False, **settings: Any) -> dict[str, np.ndarray]:
    """How far each variable moves in one step, by path."""
    resolved = make_settings("imagenet", augmentation="none", weight_decay=0, **settings)
    step = build_train_step(Trainee(model, resolved), resolved, is_frozen=is_frozen)
    random = np.random.default_rng(0)
    images = random.integers(256, size=(6, 16, 16, 3), dtype=np.uint8)
    before = read_values(model.weights)
    labels, weights = np.arange(6, dtype=np.int32) % 3, np.ones(6, np.float32)
    step(images, labels, weights, np.zeros((6, PARAMETERS), np.float32), np.float32(0.01))
    changes = zip(model.weights, before, read_values(model.weights), strict=True)
    return {variable.path: np.abs(new - old).max() for variable, old, new in changes}


def test_while_the_backbone_is_frozen_only_the_classifier_changes() -> None:
    moved = take_step(create_network("tiny_cnn", 16, 3), is_frozen=True)
    assert {path for path, change in moved.items() if change > 0} == {"logits/kernel", "logits/bias"}


@pytest.mark.parametrize("batch_norm", ["frozen", "updated"])
def test_frozen_batch_norm_keeps_its_statistics_and_still_learns_scale_and_offset(batch_norm: str) -> None:
    moved = take_step(create_network("tiny_cnn", 16, 3), batch_norm=batch_norm)
    statistics = [change for path, change in moved.items() if "moving" in path]
    assert all((change > 0) == (batch_norm == "updated") for change in statistics)
    assert all(change > 0 for path, change in moved.items() if path.endswith(("gamma", "beta", "kernel")))


def test_the_backbone_takes_steps_of_its_own_rate() -> None:
    network = create_network("tiny_cnn", 16, 3)
    moved = take_step(network, optimizer="adam", backbone_learning_rate_factor=0.1)
    # Adam's first step is as long as the rate in every direction.
    assert moved["logits/kernel"] == pytest.approx(0.01, rel=1e-3)
    assert moved["conv0/kernel"] == pytest.approx(0.001, rel=1e-3)


def test_each_phase_warms_up_and_only_the_second_decays() -> None:
    rate = LearningRateSchedule("cosine", 0.4, 10, 20, warmup_epochs=1, freeze_epochs=2)
    assert [rate(step) for step in (5, 10, 11, 20)] == pytest.approx([0.2, 0.4, 0.4, 0.4])
    assert [rate(step) for step in (21, 25, 30)] == pytest.approx([0.04, 0.2, 0.4])
    assert rate(30 + 86) == pytest.approx(0.2, rel=1e-2)
    assert 0 < rate(200) < 1e-3


def test_a_fine_tuning_released_in_both_phases_ends_with_the_bits_of_an_undisturbed_one(
    make_attempt: Callable[..., Attempt],
) -> None:
    settings = {"pretrained": "imagenet", "epochs": 3, "freeze_epochs": 1, "batch_norm": "frozen"}
    whole = make_attempt("whole", **settings)
    whole.run()
    per_epoch = whole.fit.steps_per_epoch
    steps, last = [], None
    # While frozen, after the last frozen step, in the first steps of the backbone, never.
    for number, step in enumerate([2, per_epoch, per_epoch + 2, None]):
        attempt = make_attempt(f"part-{number}", **settings)
        if last is not None:
            for variable in attempt.fit.model.variables:
                variable.assign(variable + 1)
            attempt.fit.restore(last.newest())
        if step is None:
            attempt.run()
        else:
            attempt.signals[step] = "release"
            with pytest.raises(Released):
                attempt.run()
        steps += attempt.lines("step")
        last = attempt
    assert last is not None
    assert strip(steps, "images_per_second") == strip(whole.lines("step"), "images_per_second")
    for values in ("model.variables", "trainee.optimizer_variables"):
        owner, name = values.split(".")
        ends = [read_values(getattr(getattr(one.fit, owner), name)) for one in (last, whole)]
        assert equal_bits(*ends)


@pytest.fixture(scope="module")
def first(make_lasting_spec: Callable[..., Spec]) -> Spec:
    """The result of a training from nothing."""
    spec = make_lasting_spec(hyperparameters={**SETTINGS, "epochs": 6})
    return run(spec, Path(spec["logs"]).parent / "run")


def test_a_model_of_ones_own_is_continued_and_another_start_is_another_training(
    first: Spec, make_spec: Callable[..., Spec], tmp_path: Path
) -> None:
    settings = {**SETTINGS, "epochs": 1, "learning_rate": 1e-7, "pretrained": "mdl_1"}
    spec = make_spec(hyperparameters=settings, initial_model=first["artifact"])
    result = run(spec, tmp_path / "run")
    expected = first["evaluation"]["metrics"]["accuracy"]
    assert result["evaluation"]["metrics"]["accuracy"] == expected
    assert open_artifact(Path(result["artifact"])).manifest.hyperparameters["freeze_epochs"] == 0

    (tmp_path / "second").mkdir()
    other = make_spec(
        "attempt-2",
        hyperparameters=settings,
        initial_model=result["artifact"],
        resume_from=[spec["checkpoint_root"]],
    )
    stop = StopSignal()
    stop.release = True
    with pytest.raises(Released):
        run(other, tmp_path / "second", stop)
    assert "another configuration" in (tmp_path / "second" / "progress.jsonl").read_text()


def test_another_networks_or_a_damaged_or_a_missing_model_is_refused(
    first: Spec, make_spec: Callable[..., Spec], tmp_path: Path
) -> None:
    def find(**fields: Any) -> Any:
        spec = make_spec(hyperparameters={"pretrained": "mdl_1", "image_size": 32}, **fields)
        return find_initial_weights(parse_spec(spec), ["blue", "green", "red"])

    assert find(initial_model=first["artifact"]).keeps_head
    with pytest.raises(WeightsError, match="is gone"):
        find()
    with pytest.raises(WeightsError, match="is a tiny_cnn, not a resnet18"):
        find(initial_model=first["artifact"], network="resnet18")
    with pytest.raises(ArtifactError):
        find(initial_model=str(tmp_path))
    with pytest.raises(ArtifactError, match="has changed since the model was registered"):
        find(initial_model=first["artifact"], initial_model_digest="0" * 64)


def test_weights_for_other_classes_leave_the_classifier_as_it_was_drawn(
    first: Spec, make_spec: Callable[..., Spec]
) -> None:
    spec = make_spec(hyperparameters={"pretrained": "mdl_1"}, initial_model=first["artifact"])
    start = find_initial_weights(parse_spec(spec), ["a", "b", "c", "d"])
    assert not start.keeps_head
    network = create_network("tiny_cnn", 16, 4)
    drawn = network.get_layer("logits").kernel.numpy()
    conv = network.get_layer("conv0").kernel.numpy()
    start.load_into(network)
    assert np.array_equal(network.get_layer("logits").kernel.numpy(), drawn)
    assert not np.array_equal(network.get_layer("conv0").kernel.numpy(), conv)


def test_a_resume_knows_the_weights_it_started_from(make_spec: Callable[..., Spec], pictures: Any) -> None:
    spec = parse_spec(make_spec(hyperparameters={}))
    manifest = pictures.manifest
    split = load_split(spec.split, manifest)
    identities = [Identity.of(spec, manifest, split, digest) for digest in ("a", "a", "b")]
    assert identities[0].differences(identities[1].to_json()) == []
    assert identities[0].differences(identities[2].to_json()) == ["configuration"]


@pytest.mark.slow
def test_published_weights_beat_fresh_ones_on_few_pictures(
    make_spec: Callable[..., Spec], tmp_path: Path
) -> None:
    published = get_published("efficientnet_lite0")
    assert published is not None
    if published.locate() is None:
        pytest.skip(f"{published.distribution} is not installed")
    digits = load_digits(n_class=5)
    drawn = [
        (str(label), f"{index:03d}", np.repeat((image * 15).astype(np.uint8)[..., None], 3, axis=2))
        for index, (image, label) in enumerate(zip(digits.images[:150], digits.target[:150], strict=True))
    ]
    root = store_pictures(tmp_path / "digits", drawn, 64).root
    accuracy = {}
    for start in ("none", "imagenet"):
        spec = make_spec(
            start,
            network="efficientnet_lite0",
            hyperparameters={"pretrained": start, "epochs": 8, "image_size": 64, "horizontal_flip": False},
            dataset=str(root / "dataset"),
            image_root=str(root / "images"),
            split=str(root / "split.json"),
            records_root=str(root / "records"),
        )
        result = run(spec, tmp_path / start)
        accuracy[start] = result["evaluation"]["metrics"]["accuracy"]["value"]
    assert accuracy["imagenet"] > 0.8
    assert accuracy["imagenet"] > accuracy["none"] + 0.2
