"""Shared layers: grouped convolution on both of its ways, and torch's paddings on small numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.networks.layers import GroupedConv2D, conv, max_pool, max_pool_ceil


def pictures(side: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, side, side, channels)).astype("float32")


def apply(layer: object, picture: np.ndarray, **settings: object) -> np.ndarray:
    """What a function that builds layers makes of one image."""
    image = keras.Input(picture.shape[1:])
    assert callable(layer)
    answer: np.ndarray = keras.Model(image, layer(image, **settings)).predict_on_batch(picture)
    return answer


@pytest.mark.parametrize(("strides", "padding"), [(1, "same"), (2, "valid")])
def test_grouped_convolution_equals_keras_own_with_the_same_weights(strides: int, padding: str) -> None:
    settings = {"strides": strides, "padding": padding, "groups": 4}
    ours, keras_own = GroupedConv2D(8, 3, **settings), keras.layers.Conv2D(8, 3, **settings)
    x = pictures(9, 12)
    expected = keras_own(x)
    ours.build(x.shape)
    ours.set_weights(keras_own.get_weights())
    np.testing.assert_allclose(ours(x), expected, atol=1e-5)


def test_grouped_convolution_answers_alike_with_and_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = GroupedConv2D(8, 3, groups=4)
    x = pictures(9, 12)
    split = layer(x)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _kind: ["GPU:0"])
    np.testing.assert_allclose(layer(x), split, atol=1e-5)


def test_the_gradient_of_a_grouped_convolution_needs_no_compiler() -> None:
    layer = GroupedConv2D(8, 3, groups=4)
    x = tf.constant(pictures(9, 12))

    @tf.function  # type: ignore[untyped-decorator]
    def gradient() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x) ** 2)
        return tape.gradient(loss, layer.kernel.value)

    layer(x)
    operations = gradient.get_concrete_function().graph.get_operations()
    compiled = [op for op in operations if op.node_def.attr["_XlaMustCompile"].b]
    assert not compiled
    assert np.isfinite(gradient()).all()


def test_a_convolution_at_stride_2_begins_one_pixel_outside() -> None:
    image = keras.Input((4, 4, 1))
    network = keras.Model(image, conv(image, 1, 3, strides=2, name="conv"))
    network.set_weights([np.arange(9, dtype="float32").reshape(3, 3, 1, 1)])
    corner = np.zeros((1, 4, 4, 1), np.float32)
    corner[0, 0, 0, 0] = 1
    # The window's middle, 4, lies on the first pixel; TensorFlow's "same" would lay its corner, 0, there.
    np.testing.assert_array_equal(network(corner)[0, :, :, 0], [[4, 0], [0, 0]])


@pytest.mark.parametrize(("side", "expected"), [(6, 3), (7, 3), (8, 4)])
def test_a_maximum_that_overhangs_the_edge_sees_the_last_pixel(side: int, expected: int) -> None:
    picture = np.arange(side * side, dtype="float32").reshape(1, side, side, 1)
    out = apply(max_pool_ceil, picture, name="pool")
    assert out.shape[1:3] == (expected, expected)
    assert out.max() == side * side - 1


def test_a_padded_maximum_begins_one_pixel_outside() -> None:
    picture = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(apply(max_pool, picture, name="pool")[0, :, :, 0], [[5, 7], [13, 15]])
