"""Weights files are read without torch, and can do nothing but hold tensors."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import WeightsError
from app.networks.pretrained.state_dict import read_state_dict

KERNEL = np.arange(24, dtype="<f4").reshape(2, 3, 2, 2)
STEPS = np.array([7], dtype="<i8")


class Named:
    """Something that pickles as a global name, as torch's classes and functions do."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Call:
    """Something that pickles as a call of a global name."""

    def __init__(self, target: Named, *arguments: object) -> None:
        self.target, self.arguments = target, arguments


class StorageRef(tuple[Any, ...]):
    """Something that pickles as a persistent reference."""

    __slots__ = ()


class TorchPickler(pickle._Pickler):  # the one in Python lets a name be written that cannot be imported
    write: Callable[[bytes], object]

    def persistent_id(self, obj: Any) -> Any:
        return tuple(obj) if isinstance(obj, StorageRef) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        if isinstance(obj, Named):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
            return None
        if isinstance(obj, Call):
            self.save(obj.target)
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
            return None
        return super().save(obj, save_persistent_id)  # type: ignore[misc]  # typeshed leaves it out


def pickled(content: object) -> bytes:
    buffer = io.BytesIO()
    TorchPickler(buffer, 2).dump(content)
    return buffer.getvalue()


def tensor(
    key: str, array: np.ndarray, *, storage: str = "FloatStorage", shape: Any = None, strides: Any = None
) -> Call:
    reference = StorageRef(("storage", Named("torch", storage), key, "cpu", array.size))
    strides = strides or tuple(stride // array.itemsize for stride in array.strides)
    return Call(
        Named("torch._utils", "_rebuild_tensor_v2"),
        reference,
        0,
        shape or array.shape,
        strides,
        False,
        OrderedDict(),
    )


def write_zip(path: Path, content: object, storages: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(content))
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def write_legacy(path: Path, content: object, storages: dict[str, bytes]) -> Path:
    parts = [pickled(0x1950A86A20F9469CFC6C), pickled(1001), pickled({"little_endian": True})]
    parts += [pickled(content), pickled(list(storages))]
    sizes = {"0": KERNEL.size, "1": STEPS.size}
    parts += [struct.pack("<q", sizes[key]) + data for key, data in storages.items()]
    path.write_bytes(b"".join(parts))
    return path


def write_safetensors(path: Path, header: dict[str, Any], data: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


CONTENT = {
    "conv.weight": tensor("0", KERNEL),
    "bn.num_batches_tracked": tensor("1", STEPS, storage="LongStorage"),
}
STORAGES = {"0": KERNEL.tobytes(), "1": STEPS.tobytes()}

Writer = Callable[[Path, object, dict[str, bytes]], Path]


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize(
    "content", [CONTENT, {"state_dict": CONTENT, "epoch": 3}], ids=["bare", "checkpoint"]
)
def test_both_kinds_of_pth_give_their_tensors(write: Writer, content: object, tmp_path: Path) -> None:
    state = read_state_dict(write(tmp_path / "weights.pth", content, STORAGES))
    np.testing.assert_array_equal(state["conv.weight"], KERNEL)
    np.testing.assert_array_equal(state["bn.num_batches_tracked"], STEPS)


def test_a_transposed_tensor_is_read_through_its_strides(tmp_path: Path) -> None:
    matrix = np.arange(6, dtype="<f4").reshape(2, 3)
    content = {"fc.weight": tensor("0", matrix, shape=(3, 2), strides=(1, 3))}
    state = read_state_dict(write_zip(tmp_path / "weights.pth", content, {"0": matrix.tobytes()}))
    np.testing.assert_array_equal(state["fc.weight"], matrix.T)


def test_safetensors_give_their_tensors_and_halves_become_float32(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3, 2, 2], "data_offsets": [0, 96]},
        "b": {"dtype": "BF16", "shape": [2], "data_offsets": [96, 100]},
        "c": {"dtype": "F16", "shape": [2], "data_offsets": [100, 104]},
        "d": {"dtype": "I64", "shape": [], "data_offsets": [104, 112]},
    }
    upper = np.array([1.5, -2.0], "<f4").view("<u2")[1::2].tobytes()
    data = KERNEL.tobytes() + upper + np.array([0.5, -4.0], "<f2").tobytes() + STEPS.tobytes()
    state = read_state_dict(write_safetensors(tmp_path / "w.safetensors", header, data))
    np.testing.assert_array_equal(state["a"], KERNEL)
    np.testing.assert_array_equal(state["b"], np.array([1.5, -2.0], np.float32))
    np.testing.assert_array_equal(state["c"], np.array([0.5, -4.0], np.float32))
    assert [state[name].dtype for name in "abc"] == [np.float32] * 3
    assert state["d"] == 7
    assert state["d"].shape == ()


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("torch", "load"),
        ("numpy", "load"),
        ("collections", "Counter"),
    ],
)
def test_a_pickle_that_calls_anything_else_is_refused_and_does_nothing(
    write: Writer, module: str, name: str, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    content = {"conv.weight": Call(Named(module, name), f"touch {trace}")}
    with pytest.raises(WeightsError, match=f"refused: it wants to call {module}.{name}"):
        read_state_dict(write(tmp_path / "weights.pth", content, STORAGES))
    assert not trace.exists()


def test_a_plain_pickle_that_runs_a_command_is_refused(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'trace'}",)

    (tmp_path / "weights.pth").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(WeightsError, match="refused"):
        read_state_dict(tmp_path / "weights.pth")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((10**9,), (0,)), ((2, 3, 2, 3), (12, 4, 2, 1)), ((4,), (8,)), ((-2,), (1,)), ((2, 2), (1,))],
)
def test_a_tensor_that_reaches_outside_its_storage_is_refused(
    shape: tuple[int, ...], strides: tuple[int, ...], tmp_path: Path
) -> None:
    content = {"conv.weight": tensor("0", KERNEL, shape=shape, strides=strides)}
    with pytest.raises(WeightsError):
        read_state_dict(write_zip(tmp_path / "weights.pth", content, STORAGES))


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_file_cut_anywhere_is_refused(write: Writer, tmp_path: Path) -> None:
    whole = write(tmp_path / "weights.pth", CONTENT, STORAGES).read_bytes()
    for length in range(0, len(whole) - 1, 7):
        (tmp_path / "cut.pth").write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            read_state_dict(tmp_path / "cut.pth")


@pytest.mark.parametrize(
    "entry",
    [
        {"data_offsets": [0, 92]},
        {"data_offsets": [96, 192]},
        {"shape": [-2, -12]},
        {"shape": [2**62, 4, 2, 2]},
    ],
)
def test_safetensors_that_lie_about_a_size_are_refused(entry: dict[str, Any], tmp_path: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [2, 3, 2, 2], "data_offsets": [0, 96]} | entry}
    with pytest.raises(WeightsError, match=r"w\.safetensors: not a whole safetensors file: "):
        read_state_dict(write_safetensors(tmp_path / "w.safetensors", header, KERNEL.tobytes()))


def test_safetensors_cut_anywhere_are_refused(tmp_path: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [2, 3, 2, 2], "data_offsets": [0, 96]}}
    whole = write_safetensors(tmp_path / "w.safetensors", header, KERNEL.tobytes()).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"cut\.safetensors"):
            read_state_dict(tmp_path / "cut.safetensors")


def test_safetensors_of_a_type_that_no_weights_have_are_refused(tmp_path: Path) -> None:
    header = {"a": {"dtype": "F8_E4M3", "shape": [96], "data_offsets": [0, 96]}}
    with pytest.raises(WeightsError, match="'a' has the type F8_E4M3, which is not read"):
        read_state_dict(write_safetensors(tmp_path / "w.safetensors", header, KERNEL.tobytes()))


def test_a_state_dict_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="'lr' is no tensor"):
        read_state_dict(write_zip(tmp_path / "weights.pth", CONTENT | {"lr": 0.1}, STORAGES))
