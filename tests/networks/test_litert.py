"""Every network converts to LiteRT and answers there as in Keras."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from app.networks import create_network
from app.networks.pretrained.transplant import transplant
from app.training.export import convert_to_litert
from tests.networks.reference import NUM_CLASSES, load_recorded, make_pictures, make_state

RECORDED = load_recorded()

# What is not a plain convolution: ReLU6, hard swish and gates, channel shuffle, groups, scaled residuals.
FAST = {"mobilenet_v3_small", "resnext50_32x4d", "shufflenet_v2_x0_5"}
CASES = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in RECORDED]


@pytest.fixture(autouse=True)
def _fresh_keras() -> Iterator[None]:
    yield
    keras.backend.clear_session()


@pytest.mark.parametrize("name", CASES)
def test_a_converted_network_answers_as_in_keras(name: str) -> None:
    entry = RECORDED[name]
    side = min(entry["logits"])
    network = create_network(name, side, NUM_CLASSES, preprocessing=False)
    transplant(network, make_state(entry["tensors"], entry["gain"]))
    interpreter = Interpreter(model_content=convert_to_litert(network))
    interpreter.allocate_tensors()
    picture = make_pictures(side)[:1]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    logits = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    expected = network(picture, training=False).numpy()
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()
