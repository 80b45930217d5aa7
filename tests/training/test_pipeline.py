"""Whole trainings in this process, from a spec to an artifact that answers as the network did."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.artifacts import open_artifact, weights_sha256
from app.child import Released, Reporter, StopSignal
from app.datasets.manifest import create_manifest, load_manifest, write_manifest
from app.errors import DatasetError, InvalidRequestError, OutOfMemoryError, ParityError
from app.inference.predictor import Predictor
from app.training.pipeline import naming_lack_of_memory, run_training
from app.training.spec import parse_spec
from app.training.verify import Replay, ReplayProcess, compare_answers
from tests.services import rows

Spec = dict[str, Any]

# Keras 3.15 converts its own variables so when it saves a model; NumPy 2 deprecates that.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

# Determinism cannot be turned off again in a process that runs other tests.
SETTINGS = {"epochs": 4, "learning_rate": 0.02, "augmentation": "none", "deterministic": False}


def run(spec: Spec, folder: Path, stop: StopSignal | None = None) -> Spec:
    folder.mkdir(exist_ok=True)
    reporter = Reporter(folder / "progress.jsonl")
    try:
        result = run_training(parse_spec(spec), folder, reporter, stop or StopSignal())
        return result.model_dump(mode="json")
    finally:
        reporter.close()


def read_lines(folder: Path, kind: str) -> list[Spec]:
    lines = map(json.loads, (folder / "progress.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


@pytest.fixture(scope="module")
def trained(make_lasting_spec: Callable[..., Spec]) -> tuple[Spec, Spec, Path]:
    """(spec, result, folder) of one training that all tests look at."""
    spec = make_lasting_spec(hyperparameters=SETTINGS)
    folder = Path(spec["logs"]).parent
    return spec, run(spec, folder / "run"), folder


def test_the_stages_come_in_order_and_the_plan_before_the_steps(trained: Any) -> None:
    _, result, folder = trained
    stages = [line["stage"] for line in read_lines(folder / "run", "stage")]
    assert stages == ["preparing", "training", "evaluating", "exporting", "verifying"]
    plan = read_lines(folder / "run", "plan")[0]
    steps = read_lines(folder / "run", "step")
    assert plan["steps"] == plan["epochs"] * plan["steps_per_epoch"] == len(steps)
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert read_lines(folder / "run", "device")[0]["device"] == "cpu"
    assert result["stop_reason"] == "completed"
    assert result["epochs_run"] == SETTINGS["epochs"]


def test_the_numbers_reported_are_those_of_the_packaged_model(trained: Any) -> None:
    spec, result, folder = trained
    artifact = open_artifact(Path(result["artifact"]))
    assert result["evaluation"]["artifact_digest"] == artifact.digest
    assert result["evaluation"]["metrics"] == artifact.manifest.metrics
    assert result["parity"] == artifact.manifest.serving.parity
    assert result["parity"]["labels_equal"] == result["parity"]["items"] == result["evaluation"]["items"]
    assert result["parity"]["max_probability_difference"] < 1e-4
    again = replay_final_test_of(spec, artifact.folder, folder / "again")
    assert asdict(again.evaluation.metrics) == result["evaluation"]["metrics"]


def replay_final_test_of(spec: Spec, artifact: Path, folder: Path) -> Any:
    reporter = Reporter(folder.with_suffix(".jsonl"))
    try:
        with ReplayProcess(folder) as process:
            return process.replay_final_test(artifact, parse_spec(spec), reporter, StopSignal())
    finally:
        reporter.close()


def test_both_forms_of_the_model_take_raw_pictures_and_give_the_same_probabilities(
    trained: Any, pictures: Any
) -> None:
    _, result, _ = trained
    artifact = open_artifact(Path(result["artifact"]))
    images, labels = pictures.reader.read(pictures.split["test"])
    model = keras.models.load_model(artifact.path("model.keras"))
    expected = model(images.astype(np.float32), training=False).numpy()
    predictor = Predictor(artifact)
    served = np.stack([predictor.predict(image) for image in images])
    assert np.allclose(expected.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(served, expected, atol=1e-5)
    assert result["evaluation"]["metrics"]["accuracy"]["value"] == np.mean(served.argmax(axis=1) == labels)
    assert artifact.manifest.labels == ("blue", "green", "red")


def test_the_digest_of_the_weights_can_be_checked_on_the_saved_model(trained: Any) -> None:
    _, result, _ = trained
    artifact = open_artifact(Path(result["artifact"]))
    model = keras.models.load_model(artifact.path("model.keras"))
    found = weights_sha256(variable.numpy() for variable in model.variables)
    assert found == result["weights_sha256"] == artifact.manifest.weights_sha256


def test_the_logs_have_their_names_and_a_line_for_everything(trained: Any) -> None:
    spec, result, folder = trained
    logs = Path(spec["logs"])
    steps = len(read_lines(folder / "run", "step"))
    assert len((logs / "training_result_step.log").read_text().splitlines()) == steps
    assert len((logs / "training_result.log").read_text().splitlines()) == SETTINGS["epochs"]
    assert (logs / "test_result.log").read_text() == (
        Path(result["verification"]) / "test_result.log"
    ).read_text()


def test_under_the_least_accuracy_the_artifact_is_left_all_the_same(
    make_spec: Callable[..., Spec], tmp_path: Path
) -> None:
    spec = make_spec(hyperparameters={**SETTINGS, "epochs": 1, "learning_rate": 1e-9, "min_accuracy": 1.0})
    result = run(spec, tmp_path / "run")
    assert 0 <= result["evaluation"]["metrics"]["accuracy"]["value"] < 1
    artifact = open_artifact(Path(result["artifact"]))
    assert artifact.manifest.metrics == result["evaluation"]["metrics"]


def test_a_finished_training_that_is_resumed_trains_no_further_and_gives_the_same_weights(
    trained: Any, tmp_path: Path
) -> None:
    spec, result, _ = trained
    again = {
        **spec,
        "resume_from": [spec["checkpoint_root"]],
        "checkpoint_root": str(tmp_path / "checkpoints"),
    }
    again |= {"out": str(tmp_path / "artifact"), "logs": str(tmp_path / "logs")}
    repeated = run(again, tmp_path / "run")
    assert read_lines(tmp_path / "run", "step") == []
    assert repeated["weights_sha256"] == result["weights_sha256"]
    assert repeated["best"] == result["best"]
    resumed = read_lines(tmp_path / "run", "resumed")[0]
    assert resumed["exact"] is False
    assert "determinism is off" in read_lines(tmp_path / "run", "warning")[0]["message"]


def test_a_checkpoint_of_another_training_is_refused_and_training_starts_anew(
    trained: Any, make_spec: Callable[..., Spec], tmp_path: Path
) -> None:
    spec, _, _ = trained
    stop = StopSignal()
    stop.release = True
    other = make_spec(
        hyperparameters={**SETTINGS, "learning_rate": 0.01}, resume_from=[spec["checkpoint_root"]]
    )
    with pytest.raises(Released):
        run(other, tmp_path / "run", stop)
    messages = [line["message"] for line in read_lines(tmp_path / "run", "warning")]
    assert len(messages) == 3
    assert all("another configuration" in message for message in messages[:2])
    assert "starts from step 0" in messages[2]
    assert read_lines(tmp_path / "run", "resumed") == []


def test_a_training_is_tested_on_all_images_of_another_dataset_and_resumes_exactly_as_far(
    trained: Any, pictures: Any, make_spec: Callable[..., Spec], tmp_path: Path
) -> None:
    """Of the same pictures without their test split; the other dataset holds those, and a class beside."""
    spec, plain, _ = trained
    held = set(pictures.split["test"].tolist())
    items = [
        replace(item, label="strange" if position == min(held) else item.label)
        for position, item in enumerate(pictures.manifest.items)
        if position in held
    ]
    (tmp_path / "other").mkdir()
    write_manifest(tmp_path / "other", create_manifest(items, (0, 1023)))
    assigned = json.loads(Path(spec["split"]).read_text())
    split = tmp_path / "split.json"
    split.write_text(json.dumps({item: name for item, name in assigned.items() if name != "test"}))
    with_other = {"split": str(split), "evaluation_dataset": str(tmp_path / "other")}
    first = make_spec(hyperparameters=SETTINGS, **with_other)
    result = run(first, tmp_path / "run")
    assert result["weights_sha256"] == plain["weights_sha256"]
    assert result["evaluation"]["subset"] == "all"
    assert result["evaluation"]["items"] == result["parity"]["items"] == len(held)
    assert result["evaluation"]["unknown_classes"] == [{"name": "strange", "items": 1}]
    digest = load_manifest(tmp_path / "other").digest
    assert result["evaluation"]["dataset_digest"] == digest
    artifact = open_artifact(Path(result["artifact"]))
    assert artifact.manifest.evaluation_dataset_digest == digest
    assert artifact.manifest.labels == ("blue", "green", "red")
    assert artifact.manifest.metrics == result["evaluation"]["metrics"]
    assert open_artifact(Path(plain["artifact"])).manifest.evaluation_dataset_digest is None

    again = make_spec(
        "attempt-2", hyperparameters=SETTINGS, resume_from=[first["checkpoint_root"]], **with_other
    )
    repeated = run(again, tmp_path / "again")
    assert read_lines(tmp_path / "again", "step") == []
    assert repeated["weights_sha256"] == result["weights_sha256"]
    assert repeated["evaluation"]["metrics"] == result["evaluation"]["metrics"]


def test_an_empty_split_says_which_and_what_to_do(make_spec: Callable[..., Spec], tmp_path: Path) -> None:
    spec = make_spec(hyperparameters=SETTINGS)
    assigned = json.loads(Path(spec["split"]).read_text())
    path = tmp_path / "split.json"
    path.write_text(json.dumps({item: name for item, name in assigned.items() if name != "valid"}))
    with pytest.raises(DatasetError, match="valid split has no images") as error:
        run({**spec, "split": str(path)}, tmp_path / "run")
    assert error.value.hint


def test_a_spec_without_a_field_says_which(make_spec: Callable[..., Spec], tmp_path: Path) -> None:
    spec = make_spec(hyperparameters=SETTINGS)
    del spec["dataset"]
    with pytest.raises(InvalidRequestError, match="dataset"):
        run(spec, tmp_path / "run")


def exhaust_numpy() -> None:
    np.zeros(2**50)


def exhaust_tensorflow() -> None:
    # What its allocators raise, without the ten seconds for which they first try again.
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[32,112,112,64]")


@pytest.mark.parametrize("exhaust", [exhaust_numpy, exhaust_tensorflow])
def test_a_lack_of_memory_has_a_name_and_advice(
    make_spec: Callable[..., Spec], exhaust: Callable[[], None]
) -> None:
    spec = parse_spec(make_spec(hyperparameters=SETTINGS))
    with pytest.raises(OutOfMemoryError, match="16 images of 16 x 16") as raised:  # noqa: SIM117
        with naming_lack_of_memory(spec):
            exhaust()
    assert "batch_size" in str(raised.value.hint)


def test_a_training_in_16_bits_ships_a_model_in_32(make_spec: Callable[..., Spec], tmp_path: Path) -> None:
    spec = make_spec(hyperparameters={**SETTINGS, "mixed_precision": True})
    try:
        result = run(spec, tmp_path / "run")
    finally:
        keras.config.set_dtype_policy("float32")
    model = keras.models.load_model(open_artifact(Path(result["artifact"])).path("model.keras"))
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert result["parity"]["max_probability_difference"] < 1e-4
    assert result["evaluation"]["metrics"]["accuracy"]["value"] > 0.5


LABELS = rows.EVALUATION.confusion_matrix.labels
EXPECTED = np.array([[0.7, 0.3], [0.50004, 0.49996], [0.1, 0.9]], np.float32)


def make_replay(probabilities: np.ndarray) -> Replay:
    return Replay(Path(), rows.EVALUATION, ("c", "b", "a"), probabilities[::-1])


def test_parity_compares_picture_by_picture_and_lets_ties_fall_either_way() -> None:
    served = EXPECTED.copy()
    served[1] = served[1, ::-1]
    assert compare_answers(make_replay(served), ["a", "b", "c"], LABELS, EXPECTED).model_dump() == {
        "items": 3,
        "labels_equal": 2,
        "max_probability_difference": pytest.approx(8e-5, rel=1e-2),
    }


@pytest.mark.parametrize("change", [0.002, 0.6, float("nan")])
def test_another_answer_than_the_networks_is_an_error(change: float) -> None:
    served = EXPECTED.copy()
    served[0] += [-change, change]
    with pytest.raises(ParityError, match=r"1 of 3 test images .*, a first"):
        compare_answers(make_replay(served), ["a", "b", "c"], LABELS, EXPECTED)


def test_a_replay_of_other_pictures_is_an_error() -> None:
    with pytest.raises(ParityError):
        compare_answers(make_replay(EXPECTED), ["a", "b", "d"], LABELS, EXPECTED)
