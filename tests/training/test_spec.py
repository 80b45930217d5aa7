"""What a training is told: resolved settings, from this release, the first one, or a person."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.child import ExitCode
from app.errors import InvalidRequestError
from app.images.resize import FIRST_RULE, rule_for
from app.training.handwritten import resolve_spec
from app.training.spec import Identity, parse_spec
from tests.training.test_exact_resume import end, read_lines, start

Spec = dict[str, Any]

# As a worker of the first release wrote it, for a job that asked for nothing but its image size.
FIRST_RELEASE = """{
  "job_id": "job_1", "product": "p", "network": "tiny_cnn",
  "hyperparameters": {
    "pretrained": "none", "epochs": 100, "freeze_epochs": 0, "batch_size": 32, "image_size": [32, 48],
    "optimizer": "adamw", "learning_rate": 0.001, "backbone_learning_rate_factor": 1.0,
    "batch_norm": "updated", "learning_rate_schedule": "cosine", "warmup_epochs": 1.0,
    "decay_epochs": 10.0, "decay_rate": 0.1, "momentum": 0.9,
    "weight_decay": 0.0001, "label_smoothing": 0.0, "dropout": 0.0, "augmentation": "light",
    "horizontal_flip": true, "class_weights": "none", "validation_freq": 1, "monitor": "valid_accuracy",
    "early_stopping": null, "min_accuracy": 0.0, "shuffle_buffer": null, "mixed_precision": null,
    "deterministic": null, "seed": 0
  },
  "dataset": "/home/datasets/dst_1", "image_root": "/home/images", "split": "/home/jobs/job_1/split.json",
  "records_root": "/home/records", "checkpoint_root": "/home/jobs/job_1/checkpoints/0001", "resume_from": [],
  "logs": "/home/jobs/job_1/logs/0001", "out": "/home/jobs/job_1/attempt-0001/artifact",
  "devices": {"kind": "cpu", "count": 1, "is_required": false}, "weights_root": "/home/weights",
  "initial_model": null, "reported_step": 0, "checkpoint_seconds": 60.0
}"""


def test_a_spec_that_a_worker_of_the_first_release_wrote_is_understood() -> None:
    spec = parse_spec(json.loads(FIRST_RELEASE))
    assert spec.image_size == (32, 48)
    assert spec.hyperparameters.epochs == 100
    read = spec.hyperparameters.model_dump(mode="json", exclude={"resize", "method"})
    assert read == json.loads(FIRST_RELEASE)["hyperparameters"]
    assert spec.resize_rule == FIRST_RULE


def test_a_checkpoint_of_the_first_release_is_that_of_the_same_training(pictures: Any) -> None:
    """The digest that the first release wrote for this configuration."""
    spec = parse_spec(json.loads(FIRST_RELEASE))
    configuration = {
        "network": spec.network,
        "image_size": spec.image_size,
        "hyperparameters": {
            name: value
            for name, value in json.loads(FIRST_RELEASE)["hyperparameters"].items()
            if name != "min_accuracy"
        },
        "initial_weights": None,
    }
    written = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()
    split = {"train": [0], "valid": [1], "test": [2]}
    assert Identity.of(spec, pictures.manifest, split, None).configuration == written
    newer = replace(spec, resize=rule_for("stretch").name)
    assert Identity.of(newer, pictures.manifest, split, None).configuration != written


@pytest.mark.parametrize("name", ["epochs", "pretrained", "dropout"])
def test_a_setting_that_is_left_open_is_no_longer_guessed(make_spec: Callable[..., Spec], name: str) -> None:
    spec = make_spec(hyperparameters={})
    spec["hyperparameters"][name] = None
    with pytest.raises(InvalidRequestError, match=f"hyperparameters/{name}"):
        parse_spec(spec)


def test_a_spec_written_by_hand_gets_the_defaults_of_a_job(make_spec: Callable[..., Spec]) -> None:
    spec = make_spec(hyperparameters={"learning_rate": 0.5})
    del spec["hyperparameters"]["epochs"]
    settings = parse_spec(resolve_spec(spec)).hyperparameters
    assert (settings.epochs, settings.learning_rate, settings.pretrained) == (100, 0.5, "none")


def test_a_person_can_train_without_a_service(make_spec: Callable[..., Spec], tmp_path: Path) -> None:
    spec = {**make_spec(hyperparameters={}), "hyperparameters": {"epochs": 1, "image_size": 16}}
    folder = tmp_path / "run"
    assert end(start(spec, folder, "--resolve")) == ExitCode.SUCCEEDED
    assert read_lines(folder, "plan")[0]["epochs"] == 1
