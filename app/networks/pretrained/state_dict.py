"""Read a torch state dict without torch: .pth files (zip and the older plain pickle) and .safetensors.

A pickle can call anything it names. Here it can name an ordered dict, tensors and their storages, no more;
every size it states is checked against the file before memory is taken.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from app.errors import WeightsError

Array = np.ndarray[Any, Any]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_HEADER_BYTES = 100_000_000

_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
_SAFETENSORS = {
    "F32": "<f4",
    "F64": "<f8",
    "F16": "<f2",
    "BF16": "bfloat16",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "?",
}


def read_state_dict(path: Path) -> dict[str, Array]:
    """The tensors of a file by name, fractions as float32; a checkpoint's ``state_dict`` is unwrapped.

    Raises WeightsError when the file is none of the three kinds, is damaged, or wants more than tensors.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
            file.seek(0)
            if start.startswith(b"PK\x03\x04"):
                return _read_zip(file)
            if start[8:9] == b"{":
                return _read_safetensors(file)
            return _read_legacy(file, path.stat().st_size)
    except WeightsError as error:
        raise WeightsError(f"{path.name}: {error.detail}") from error
    except (OSError, ImportError):
        raise
    # A damaged pickle fails in as many ways as there are opcodes; none of them is worth telling apart.
    except Exception as error:
        raise WeightsError(f"{path.name} is not a readable weights file ({type(error).__name__})") from error


@dataclass(frozen=True)
class _StorageType:
    dtype: str

    @property
    def item_bytes(self) -> int:
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class _Storage:
    kind: _StorageType
    key: str
    count: int

    @property
    def size(self) -> int:
        return self.count * self.kind.item_bytes


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise WeightsError("a tensor without a storage")
    shape, strides = tuple(shape), tuple(strides)
    if len(shape) != len(strides) or any(
        not isinstance(number, int) or number < 0 for number in (offset, *shape, *strides)
    ):
        raise WeightsError("a tensor with an impossible shape")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    count = _product(shape)
    # A stride of 0 repeats a value: no weight needs it, and it would make a large tensor of a small file.
    if count > storage.count or (count and last >= storage.count):
        raise WeightsError("a tensor that is larger than its storage")
    return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(data: _Tensor, *_: object) -> _Tensor:
    return data


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGES.items()},
}


class _TensorUnpickler(pickle.Unpickler):
    """Knows tensors and their storages, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise WeightsError(f"refused: it wants to call {module}.{name}, which no weights need") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _location, count, *_ = pid
        if (
            kind != "storage"
            or not isinstance(storage_type, _StorageType)
            or not isinstance(key, str)
            or not isinstance(count, int)
            or count < 0
        ):
            raise WeightsError("refused: a reference to something that is not a storage")
        return _Storage(storage_type, key, count)


def _read_zip(file: BinaryIO) -> dict[str, Array]:
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise WeightsError("a zip archive without one data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
            raise WeightsError("big-endian tensors are not read")
        if archive.getinfo(pickles[0]).file_size > _MAX_HEADER_BYTES:
            raise WeightsError("its list of tensors is too large")

        def read_storage(storage: _Storage) -> bytes:
            entry = archive.getinfo(f"{root}data/{storage.key}")
            # torch never compresses: what claims to be small and unpacks to much is not from torch.
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != storage.size:
                raise WeightsError(f"the storage {storage.key!r} has not the size it states")
            return archive.read(entry)

        with archive.open(pickles[0]) as data:
            return _resolve(_TensorUnpickler(data).load(), read_storage)


def _read_legacy(file: BinaryIO, size: int) -> dict[str, Array]:
    """Four pickles (magic number, protocol, machine, tensors), the storages' keys, then their bytes in that
    order."""
    if _TensorUnpickler(file).load() != _LEGACY_MAGIC:
        raise WeightsError("not a torch file")
    if _TensorUnpickler(file).load() != _LEGACY_PROTOCOL:
        raise WeightsError("written by an unknown version of torch")
    if not _TensorUnpickler(file).load()["little_endian"]:
        raise WeightsError("big-endian tensors are not read")
    content = _TensorUnpickler(file).load()
    keys = _TensorUnpickler(file).load()
    places: dict[str, tuple[int, int]] = {}
    item_bytes = {tensor.storage.key: tensor.storage.kind.item_bytes for tensor in _tensors(content).values()}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        places[key] = file.tell(), count
        end = file.tell() + count * item_bytes[key]
        if count < 0 or end > size:
            raise WeightsError("the file ends before its tensors do")
        file.seek(end)

    def read_storage(storage: _Storage) -> bytes:
        place, count = places[storage.key]
        if count != storage.count:
            raise WeightsError(f"the storage {storage.key!r} has not the size it states")
        file.seek(place)
        return file.read(storage.size)

    return _resolve(content, read_storage)


def _read_safetensors(file: BinaryIO) -> dict[str, Array]:
    # Comes with the training, as Keras does: the API imports this module to check digests alone.
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(file.read())  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise WeightsError(f"not a whole safetensors file: {error}") from error
    tensors = {}
    for name, entry in entries:
        if entry["dtype"] not in _SAFETENSORS:
            raise WeightsError(f"the tensor {name!r} has the type {entry['dtype']}, which is not read")
        values = _decode(entry["data"], _StorageType(_SAFETENSORS[entry["dtype"]]))
        tensors[name] = _as_float32(values.reshape(entry["shape"]))
    return tensors


def _tensors(content: object) -> Mapping[str, _Tensor]:
    """The tensors of what a pickle held: a state dict, or a checkpoint around one."""
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise WeightsError("it holds no state dict")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise WeightsError(f"its entry {name!r} is no tensor")
    return content


def _resolve(content: object, read_storage: Callable[[_Storage], bytes]) -> dict[str, Array]:
    """Tensors with their values, each storage read once."""
    storages: dict[str, Array] = {}
    tensors = {}
    for name, tensor in _tensors(content).items():
        key = tensor.storage.key
        if key not in storages:
            storages[key] = _decode(read_storage(tensor.storage), tensor.storage.kind)
        values = storages[key][tensor.offset :]
        strides = [stride * values.itemsize for stride in tensor.strides]
        view = np.lib.stride_tricks.as_strided(values, tensor.shape, strides, writeable=False)
        tensors[name] = _as_float32(view)
    return tensors


def _decode(data: bytes, kind: _StorageType) -> Array:
    if kind.dtype != "bfloat16":
        return np.frombuffer(data, kind.dtype)
    # bfloat16 is the upper half of a float32.
    return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")


def _as_float32(values: Array) -> Array:
    return np.array(values, np.float32 if values.dtype.kind == "f" else values.dtype)


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        if not isinstance(size, int) or size < 0:
            raise WeightsError("a tensor with an impossible shape")
        product *= size
    return product
