"""Which GPUs this process may use, told without TensorFlow: NVIDIA's own tool lists them in a moment."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from app.errors import DeviceError

# Windows' Linux keeps the driver's tools where no PATH leads.
_TOOL_FOLDERS = ("/usr/lib/wsl/lib",)
# A driver that hangs must not hang the worker; a GPU that slept takes seconds to answer.
_TOOL_SECONDS = 30.0
_QUERY = ("--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits")
_LOAD_QUERY = (
    "--query-gpu=uuid,name,memory.total,memory.used,utilization.gpu",
    "--format=csv,noheader,nounits",
)
NONE = "none"


@dataclass(frozen=True)
class Gpu:
    """``id``: what CUDA_VISIBLE_DEVICES takes. ``index``: nvidia-smi's number; None for a slice (MIG)."""

    id: str
    name: str = "GPU"
    index: int | None = None
    memory_bytes: int | None = None

    @property
    def key(self) -> str:
        """A name that no other GPU has, on whatever machine, and the same in every container of this one."""
        return self.id if self.id.startswith(("GPU-", "MIG-")) else f"{_boot_id()}/{self.id}"


def find_gpus(choice: str | None = None, environment: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """The GPUs to use. ``choice``: the setting LOUPE_GPUS; None takes all that this process may see.

    Raises DeviceError when a GPU is named that is not there. Where nothing can be detected the names are
    believed: a training that then sees no GPU says so.
    """
    if choice is not None and choice.strip().lower() == NONE:
        return ()
    detected = detect_gpus()
    if choice is not None:
        return _choose(choice, detected)
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    return detected if visible is None else _visible(visible, detected)


def detect_gpus() -> tuple[Gpu, ...]:
    """Every GPU that the driver shows; none where there is no driver, or it does not answer."""
    tool = _find_tool()
    if tool is None:
        return ()
    gpus = []
    slices = _parse_slices(_ask(tool, "-L"))
    for line in _ask(tool, *_QUERY).splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 4 or not fields[0].isdigit():
            continue  # "No devices were found", or a GPU that has failed
        index, uuid, name, megabytes = fields
        # CUDA does not open a GPU that is cut in slices, only the slices.
        memory = int(megabytes) * 2**20 if megabytes.isdigit() else None
        gpus += slices.get(uuid) or [Gpu(uuid, name, int(index), memory)]
    return tuple(gpus)


@dataclass(frozen=True)
class GpuLoad:
    """What a whole GPU does now. ``utilization``: share of the last second in which it computed, 0 to 1."""

    id: str
    name: str
    memory_bytes: int | None
    memory_used_bytes: int | None
    utilization: float | None


def read_gpu_loads() -> tuple[GpuLoad, ...]:
    """Of every GPU that the driver shows; what it does not tell, as of one cut in slices, is None."""
    tool = _find_tool()
    loads = []
    for line in _ask(tool, *_LOAD_QUERY).splitlines() if tool else ():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 5 and fields[0].startswith("GPU-"):
            total, used, busy = (int(text) if text.isdigit() else None for text in fields[2:])
            loads.append(
                GpuLoad(
                    id=fields[0],
                    name=fields[1],
                    memory_bytes=None if total is None else total * 2**20,
                    memory_used_bytes=None if used is None else used * 2**20,
                    utilization=None if busy is None else busy / 100,
                )
            )
    return tuple(loads)


def _find_tool() -> str | None:
    return shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path=os.pathsep.join(_TOOL_FOLDERS))


def _parse_slices(listing: str) -> dict[str, list[Gpu]]:
    """The slices (MIG) of each GPU by its UUID, from ``nvidia-smi -L``."""
    slices: dict[str, list[Gpu]] = {}
    whole = name = ""
    for line in listing.splitlines():
        title, _, uuid = line.strip().removesuffix(")").rpartition(" (UUID: ")
        if line.startswith("GPU "):
            whole, name = uuid, title.partition(": ")[2]
        elif title.startswith("MIG "):
            slices.setdefault(whole, []).append(Gpu(uuid, f"{name} {title.partition('  ')[0]}"))
    return slices


def _choose(choice: str, detected: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    chosen: list[Gpu] = []
    for name in filter(None, (part.strip() for part in choice.split(","))):
        gpu = _named(name, detected)
        if gpu is None:
            if detected or not (name.isdigit() or name.startswith(("GPU-", "MIG-"))):
                there = ", ".join(
                    f"{gpu.index} ({gpu.id})" if gpu.index is not None else gpu.id for gpu in detected
                )
                raise DeviceError(
                    f"LOUPE_GPUS names {name!r}, which is no GPU of this machine.",
                    hint=f"It has {there}."
                    if there
                    else "Give numbers or UUIDs as `nvidia-smi -L` lists them, or none.",
                )
            gpu = Gpu(name, index=int(name) if name.isdigit() else None)
        if gpu not in chosen:
            chosen.append(gpu)
    return tuple(chosen)


def _visible(visible: str, detected: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """What CUDA makes of the variable: it reads up to the first name without a meaning, such as -1."""
    chosen: list[Gpu] = []
    for name in visible.split(","):
        gpu = _named(name.strip(), detected)
        if gpu is None:
            break
        if gpu not in chosen:
            chosen.append(gpu)
    return tuple(chosen)


def _named(name: str, gpus: tuple[Gpu, ...]) -> Gpu | None:
    """The GPU of this number, UUID, or beginning of a UUID."""
    for gpu in gpus:
        if name == str(gpu.index) or (name.startswith(("GPU-", "MIG-")) and gpu.id.startswith(name)):
            return gpu
    return None


def _ask(tool: str, *arguments: str) -> str:
    try:
        return subprocess.run(
            [tool, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TOOL_SECONDS,
            check=True,
            text=True,
        ).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""


def _boot_id() -> str:
    """Tells machines apart, and no containers of one machine."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text(encoding="ascii").strip() if boot.exists() else f"{psutil.boot_time():.0f}"
