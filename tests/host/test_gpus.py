"""GPUs without TensorFlow: a stand-in for nvidia-smi prints what the real one prints on such machines."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import DeviceError
from app.host import gpus
from app.host.gpus import Gpu, detect_gpus, find_gpus

FIRST = "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77"
SECOND = "GPU-8f6a2f0e-7c11-4c4b-a3a8-5d1f6f1f2b03"
SLICES = ("MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb")
TWO = f"0, {FIRST}, NVIDIA L40S, 46068\n1, {SECOND}, NVIDIA L40S, 46068\n"
LIST = f"GPU 0: NVIDIA L40S (UUID: {FIRST})\nGPU 1: NVIDIA L40S (UUID: {SECOND})\n"
SLICED = f"""\
GPU 0: NVIDIA L40S (UUID: {FIRST})
  MIG 1g.5gb      Device  0: (UUID: {SLICES[0]})
  MIG 2g.10gb     Device  1: (UUID: {SLICES[1]})
GPU 1: NVIDIA L40S (UUID: {SECOND})
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts an nvidia-smi first in PATH that prints these."""

    def install(query: str = TWO, listing: str = LIST, *, status: int = 0) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(
            "#!/bin/sh\n"
            f"case $1 in -L) cat <<'END'\n{listing}END\n;; *) cat <<'END'\n{query}END\n;; esac\n"
            f"exit {status}\n"
        )
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


@pytest.fixture
def without_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpus, "_TOOL_FOLDERS", (str(tmp_path),))


def ids(gpus: tuple[Gpu, ...]) -> list[str]:
    return [gpu.id for gpu in gpus]


def test_gpus_are_told_by_the_driver_with_name_and_memory(install: Install) -> None:
    install()
    gpu = Gpu(FIRST, "NVIDIA L40S", 0, 46068 * 2**20)
    assert detect_gpus() == (gpu, Gpu(SECOND, gpu.name, 1, gpu.memory_bytes))
    assert gpu.key == FIRST


def test_a_gpu_that_is_cut_in_slices_is_its_slices(install: Install) -> None:
    install(listing=SLICED)
    assert ids(detect_gpus()) == [*SLICES, SECOND]
    assert [gpu.name for gpu in detect_gpus()] == [
        "NVIDIA L40S MIG 1g.5gb",
        "NVIDIA L40S MIG 2g.10gb",
        "NVIDIA L40S",
    ]


@pytest.mark.parametrize(
    ("query", "status"),
    [("No devices were found\n", 6), ("", 9), (TWO, 15), ("[Unknown Error], , ,\nno\n", 0)],
)
def test_a_driver_that_fails_shows_no_gpu(install: Install, query: str, status: int) -> None:
    install(query, status=status)
    assert detect_gpus() == ()


def test_a_driver_that_hangs_is_left_after_a_while(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    tool = Path(os.environ["PATH"].split(os.pathsep)[0]) / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(gpus, "_TOOL_SECONDS", 0.1)
    assert detect_gpus() == ()


@pytest.mark.usefixtures("without_tool")
def test_without_a_driver_there_is_none() -> None:
    assert find_gpus(environment={}) == ()


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("1", [SECOND]),
        ("1,0", [SECOND, FIRST]),
        (f"{FIRST[:12]}", [FIRST]),
        ("0,0", [FIRST]),
        ("0,7,1", [FIRST]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_an_inherited_cuda_visible_devices_is_honoured(
    install: Install, visible: str, found: list[str]
) -> None:
    install()
    assert ids(find_gpus(environment={"CUDA_VISIBLE_DEVICES": visible})) == found


def test_the_setting_names_some_of_them_or_none(install: Install) -> None:
    install()
    assert ids(find_gpus("1")) == [SECOND]
    assert ids(find_gpus(f" {SECOND} , 0 ")) == [SECOND, FIRST]
    assert find_gpus("none") == find_gpus(" None ") == ()
    assert ids(find_gpus(None, {})) == [FIRST, SECOND]
    # Named on purpose, so it goes before what the environment happens to hold.
    assert ids(find_gpus("1", {"CUDA_VISIBLE_DEVICES": "0"})) == [SECOND]


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(install: Install) -> None:
    install()
    with pytest.raises(DeviceError, match="'2'") as caught:
        find_gpus("0,2")
    assert FIRST in (caught.value.hint or "")


@pytest.mark.usefixtures("without_tool")
def test_where_nothing_can_be_detected_names_are_believed_and_nonsense_is_not() -> None:
    first, second = find_gpus("0,1")
    assert (first.id, second.index) == ("0", 1)
    assert first.key != second.key
    assert first.key.endswith("/0")
    with pytest.raises(DeviceError, match="'gpu0'"):
        find_gpus("gpu0")
