"""The arrays of a ``model.keras``, read without believing the file: nothing in it is built or run.

Keras' own reader makes the layers that a file describes, which can run code, and follows links to other
files. Here the file only fills places that are known before: those of a network of the registry.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.datasets.archives import check_entry_count
from app.errors import ArchiveError, WeightsError

Array = np.ndarray[Any, Any]

WEIGHTS = "model.weights.h5"
_MOST_ENTRIES = 16
_ROOM = 2**20
"""Versions of HDF5 differ in what they write around the arrays."""
_CHUNK = 2**20


@dataclass(frozen=True)
class Place:
    """Where one array belongs: its shape, and its type as NumPy names it."""

    shape: tuple[int, ...]
    dtype: str


def read_places(path: Path) -> dict[str, Place]:
    """The arrays of a file that we wrote, by their path in it."""
    import h5py

    places: dict[str, Place] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            places[name] = Place(tuple(item.shape), item.dtype.str)

    with h5py.File(path, "r") as file:
        file.visititems(note)
    return places


def unpack_weights(keras_file: Path, target: Path, most_bytes: int) -> None:
    """Copies the file of weights out of a ``model.keras``. Raises WeightsError."""
    try:
        check_entry_count(keras_file, _MOST_ENTRIES)
        with zipfile.ZipFile(keras_file) as archive:
            found = [info for info in archive.infolist() if info.filename == WEIGHTS]
            if len(found) != 1:
                raise WeightsError(f"{keras_file.name} has {len(found)} files {WEIGHTS}, not one.")
            if found[0].file_size > most_bytes + _ROOM:
                raise WeightsError(
                    f"The weights in {keras_file.name} have {found[0].file_size:,} bytes; "
                    f"those of the network have {most_bytes:,}."
                )
            # zipfile ends with an error where there is more than the entry declares.
            with archive.open(found[0]) as source, target.open("wb") as copy:
                while chunk := source.read(_CHUNK):
                    copy.write(chunk)
    except (WeightsError, MemoryError):
        raise
    except ArchiveError as error:
        raise WeightsError(f"{keras_file.name} cannot be read: {error.detail}") from error
    # zipfile raises nearly every exception on headers that were made to harm.
    except Exception as error:
        raise WeightsError(f"{keras_file.name} cannot be read: {error or type(error).__name__}") from error


def read_arrays(path: Path, places: Mapping[str, Place]) -> dict[str, Array]:
    """Exactly the arrays of these places, finite. Raises WeightsError for any other file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _check_groups(file, places)
            return {name: _read(file, name, place) for name, place in places.items()}
    # h5py raises what the C library's error looks most like.
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise WeightsError(f"{WEIGHTS} cannot be read: {error}") from error


def _check_groups(file: Any, places: Mapping[str, Place]) -> None:
    """Every name on the way to a place is in the file itself: a link may lead to a file of this machine.

    No group may have more names than lead to places. Groups are walked by our own paths, so that a group
    that contains itself is no walk without end.
    """
    import h5py

    children: dict[str, set[str]] = {}
    for name in places:
        parts = name.split("/")
        for depth, part in enumerate(parts):
            children.setdefault("/".join(parts[:depth]), set()).add(part)
    for path, wanted in children.items():
        group = file[path] if path else file
        if not isinstance(group, h5py.Group):
            raise WeightsError(f"{WEIGHTS} has an array at {path!r} where others should be.")
        for name in wanted:
            link = group.get(name, getlink=True)
            if link is None:
                raise WeightsError(f"{WEIGHTS} lacks {f'{path}/{name}'.strip('/')!r}.")
            if not isinstance(link, h5py.HardLink):
                raise WeightsError(f"{WEIGHTS} has a link at {f'{path}/{name}'.strip('/')!r}.")
        if len(group) > len(wanted) and _has_arrays(group, wanted):
            raise WeightsError(f"{WEIGHTS} has more arrays in {path or '/'!r} than the network.")


def _has_arrays(group: Any, wanted: set[str]) -> bool:
    """Whether a name that leads to no place holds anything: Keras writes empty groups for some layers."""
    import h5py

    for name in group:
        if name not in wanted:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                return True
            other = group[name]
            if not isinstance(other, h5py.Group) or any(_leads_on(other, inner) for inner in other):
                return True
    return False


def _leads_on(group: Any, name: str) -> bool:
    """``vars`` of a layer without weights is an empty group."""
    import h5py

    inner = group.get(name, getclass=True, getlink=True)
    return inner is not h5py.HardLink or not isinstance(group[name], h5py.Group) or len(group[name]) > 0


def _read(file: Any, name: str, place: Place) -> Array:
    import h5py

    array = file[name]
    if not isinstance(array, h5py.Dataset):
        raise WeightsError(f"{WEIGHTS} has no array at {name!r}.")
    if (array.shape, array.dtype.str) != (place.shape, place.dtype):
        raise WeightsError(
            f"{WEIGHTS} has {array.dtype.str} {array.shape} at {name!r}; the network needs {place.dtype} "
            f"{place.shape}."
        )
    # Compressed, virtual or external arrays could be larger than the file, or come from another one.
    is_plain = array.chunks is None and array.external is None and not array.is_virtual
    if not is_plain or array.id.get_storage_size() != array.nbytes:
        raise WeightsError(f"{WEIGHTS} does not hold all of {name!r} as plain numbers.")
    values: Array = array[()]
    if not np.isfinite(values).all():
        raise WeightsError(f"{WEIGHTS} has numbers at {name!r} that are not finite.")
    return values
