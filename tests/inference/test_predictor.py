"""A packaged model answers as the network it was made from, from many threads, or not at all."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.artifacts import Artifact, Decision, Input, Threshold
from app.errors import ArtifactError, ImageDecodeError
from app.images.decode import decode_image
from app.images.resize import FIRST_RULE, Fit
from app.inference.familiarity import Familiarity
from app.inference.predictor import Predictor

MakeArtifact = Callable[..., Artifact]


def pictures(count: int, size: tuple[int, int] = (16, 24)) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def test_answers_are_those_of_the_network_in_keras(artifact: Artifact, keras_model: Any) -> None:
    batch = pictures(20)
    expected = keras_model.predict_on_batch(batch.astype(np.float32))
    predictor = Predictor(artifact)
    answers = np.stack([predictor.predict(picture) for picture in batch])
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, expected, atol=1e-6)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("label", "colour"), [(0, "red"), (1, "lime"), (2, "blue")])
def test_the_answer_is_in_the_order_of_the_labels(artifact: Artifact, label: int, colour: str) -> None:
    data = io.BytesIO()
    Image.new("RGB", (50, 30), colour).save(data, "PNG")
    image, outcome = Predictor(artifact).answer_bytes(data.getvalue())
    assert (image.width, image.height, image.format) == (50, 30, "png")
    assert outcome.probabilities.argmax() == label


def test_an_image_of_any_size_is_fitted_by_the_rule_of_the_model(artifact: Artifact) -> None:
    predictor = Predictor(artifact)
    data = io.BytesIO()
    Image.fromarray(pictures(1, (240, 100))[0]).save(data, "PNG")
    image, outcome = predictor.answer_bytes(data.getvalue())
    assert (image.width, image.height, image.pixels.shape) == (100, 240, (16, 24, 3))
    fitted = decode_image(data.getvalue(), fit=Fit(FIRST_RULE, (16, 24))).pixels
    np.testing.assert_array_equal(outcome.probabilities, predictor.predict(fitted))
    with pytest.raises(ValueError, match="must be uint8"):
        predictor.predict(pictures(1, (240, 100))[0])


def test_an_answer_is_not_overwritten_by_the_next_one(artifact: Artifact) -> None:
    predictor = Predictor(artifact, interpreters=1)
    first = predictor.predict(np.full((16, 24, 3), (255, 0, 0), np.uint8))
    before = first.copy()
    predictor.predict(np.full((16, 24, 3), (0, 255, 0), np.uint8))
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize("interpreters", [1, 3])
def test_eight_threads_get_the_answers_that_one_thread_gets(artifact: Artifact, interpreters: int) -> None:
    predictor = Predictor(artifact, interpreters=interpreters)
    batch = pictures(400)
    expected = np.stack([predictor.predict(picture) for picture in batch])
    with ThreadPoolExecutor(8) as pool:
        answers = np.stack(list(pool.map(predictor.predict, batch)))
    np.testing.assert_array_equal(answers, expected)


def test_a_model_grows_with_the_interpreters_that_it_needs_and_no_further(artifact: Artifact) -> None:
    predictor = Predictor(artifact, interpreters=2)
    sizes = [predictor.nbytes]
    with predictor._interpreters.borrow():
        predictor.predict(pictures(1)[0])
        sizes.append(predictor.nbytes)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(predictor.predict, pictures(100)))
    assert sizes[0] < sizes[1] == predictor.nbytes


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("logits", "not a probability distribution"),
        ("nan", "not a probability distribution"),
        ("four_classes", r"output .*\(1, 4\).* instead of \(1, 3\)"),
    ],
)
def test_a_model_that_does_not_give_probabilities_of_its_labels_is_not_loaded(
    make_artifact: MakeArtifact, tmp_path: Path, model: str, message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        Predictor(make_artifact(tmp_path / "artifact", model))


def test_a_model_for_another_picture_size_is_not_loaded(make_artifact: MakeArtifact, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"input .*\(1, 16, 24, 3\).* instead of \(1, 24, 16, 3\)"):
        Predictor(make_artifact(tmp_path / "artifact", image_size=(24, 16)))


def test_nan_is_an_error_and_the_predictor_goes_on(make_artifact: MakeArtifact, tmp_path: Path) -> None:
    predictor = Predictor(make_artifact(tmp_path / "artifact", "nan_for_white"), interpreters=1)
    for _ in range(3):
        with pytest.raises(ArtifactError, match="not a probability distribution"):
            predictor.predict(np.full((16, 24, 3), 255, np.uint8))
    assert predictor.predict(np.full((16, 24, 3), (255, 255, 0), np.uint8)).tolist() == [0, 0, 1]


def test_a_model_trained_under_another_resize_rule_is_not_loaded(
    make_artifact: MakeArtifact, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match="resized by 'crop'"):
        Predictor(make_artifact(tmp_path / "artifact", resize_rule="crop"))


def test_a_file_that_changed_after_the_artifact_was_opened_is_not_served(artifact: Artifact) -> None:
    path = artifact.folder / "model.tflite"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"model\.tflite has changed"):
        Predictor(artifact)


def test_a_file_that_is_no_model_is_an_artifact_error(
    make_artifact: MakeArtifact, litert_models: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(litert_models, "junk", b"junk" * 100)
        broken = make_artifact(tmp_path / "artifact", "junk")
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        Predictor(broken)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((16, 24), np.uint8), np.zeros((16, 24, 4), np.uint8), np.zeros((16, 24, 3), np.float64)],
)
def test_pixels_of_another_kind_are_refused(artifact: Artifact, pixels: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        Predictor(artifact).predict(pixels)


def test_bytes_that_are_no_picture_are_refused(artifact: Artifact) -> None:
    with pytest.raises(ImageDecodeError):
        Predictor(artifact).answer_bytes(b"hello")


def test_serving_loads_neither_tensorflow_nor_scikit_learn() -> None:
    code = (
        "import sys, app.inference.cache\n"
        "sys.exit(str({'tensorflow', 'keras', 'sklearn', 'scipy', 'fastapi'} & set(sys.modules) or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_picture_of_16_bits_is_read_in_the_models_range(
    make_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    deep = np.random.default_rng(0).integers(0, 4096, (16, 24), np.uint16)
    data = io.BytesIO()
    Image.fromarray(deep).save(data, "PNG")
    artifact = make_artifact(tmp_path / "artifact", input=Input(FIRST_RULE.name, pixel_range=(0, 4095)))
    image, outcome = Predictor(artifact).answer_bytes(data.getvalue())
    assert np.array_equal(image.pixels[..., 0], np.floor(deep / 4095 * 255 + 0.5))
    np.testing.assert_array_equal(outcome.probabilities, Predictor(artifact).predict(image.pixels))


RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
DECISION = Decision(
    0.95,
    "valid",
    400,
    1,
    (Threshold(0.01, 0.9, 0.5, 320.0, 0.0), Threshold(0.05, 0.6, 0.9, 390.0, 9.0)),
    similarity=0.3,
    lost=0.02,
)


def filled(*colour: int) -> np.ndarray[Any, Any]:
    return np.full((16, 24, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("colour", "max_error", "reason"),
    [
        ((255, 0, 0), 0.01, None),
        ((0, 0, 255), 0.01, "out_of_distribution"),  # sure of it, and like nothing it knows
        ((240, 200, 0), 0.01, "ambiguous"),
        ((240, 200, 0), 0.05, None),  # of a product that promises less
        ((240, 200, 0), 0.002, "ambiguous"),  # as strict as the model can be
        ((140, 120, 90), 0.01, "low_confidence"),
    ],
)
def test_an_answer_is_accepted_by_similarity_and_by_the_threshold_of_the_promise(
    make_artifact: Callable[..., Artifact],
    tmp_path: Path,
    colour: tuple[int, int, int],
    max_error: float,
    reason: str | None,
) -> None:
    artifact = make_artifact(
        tmp_path / "artifact", "with_features", references=[RED, GREEN], decision=DECISION
    )
    predictor = Predictor(artifact)
    verdict = predictor.judge(predictor.answer(filled(*colour)), max_error)
    assert verdict is not None
    assert (verdict.reject_reason, verdict.is_accepted) == (reason, reason is None)


def test_similarity_is_the_mean_of_two_cosines_to_the_nearest_references(
    make_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    predictor = Predictor(make_artifact(tmp_path / "artifact", "with_features", references=[RED, GREEN]))
    outcome = predictor.answer(filled(3, 4, 0))
    # (0, 1, 0) as it is; from the mean, (0.5, 0.5, 0), it is (-0.5, 0.5, 0), and the image (2.5, 3.5, 0).
    from_mean = 0.5 / np.sqrt(0.5 * (2.5**2 + 3.5**2))
    assert outcome.similarity == pytest.approx((0.8 + from_mean) / 2, abs=1e-6)
    assert outcome.probabilities.tolist() == predictor.predict(filled(3, 4, 0)).tolist()


def test_a_model_without_thresholds_judges_nothing(artifact: Artifact) -> None:
    predictor = Predictor(artifact)
    outcome = predictor.answer(filled(255, 0, 0))
    assert (outcome.similarity, predictor.judge(outcome, 0.01)) == (None, None)


@pytest.mark.parametrize("references", [[], [(1.0, 0.0, float("nan"))]])
def test_reference_features_that_measure_nothing_are_refused(
    make_artifact: Callable[..., Artifact], tmp_path: Path, references: list[tuple[float, float, float]]
) -> None:
    artifact = make_artifact(tmp_path / "artifact", "with_features", references=references)
    with pytest.raises(ArtifactError, match="instead of finite float16"):
        Predictor(artifact)


def test_features_that_are_not_finite_compare_with_nothing() -> None:
    familiarity = Familiarity(np.eye(3, dtype=np.float32))
    for bad in (np.nan, np.inf):
        with pytest.raises(ArtifactError, match="not finite"), np.errstate(invalid="ignore"):
            familiarity.measure(np.array([bad, 0, 1], np.float32))
