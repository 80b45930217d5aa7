"""This machine: versions, devices, who may reach it, limits."""

from __future__ import annotations

import importlib.metadata
import platform
import resource
import subprocess
import sys
from pathlib import Path

from sqlalchemy import func, select

from app import __version__
from app.doctor.findings import Finding, Installation, failed, ok, warning
from app.errors import DeviceError
from app.host.gpus import find_gpus
from app.host.machine import Machine
from app.launch.api import UnprotectedError, check_protected
from app.launch.connections import files_wanted
from app.models import ApiKey
from app.words import count

LEAST_KEY_LENGTH = 16
GIB = 2**30
DRIVER_DEVICE = Path("/dev/nvidia0")


def check_versions(_: Installation) -> list[Finding]:
    tensorflow = _version_of("tensorflow") or _version_of("tensorflow-cpu")
    detail = f"Loupe {__version__}, Python {platform.python_version()}"
    if tensorflow is None:
        hint = (
            "Fine for the API and for imports; a machine that trains needs requirements/train.txt or gpu.txt."
        )
        return [warning("versions", f"{detail}, no TensorFlow.", hint)]
    return [ok("versions", f"{detail}, TensorFlow {tensorflow}, LiteRT {_version_of('ai-edge-litert')}.")]


def check_devices(installation: Installation) -> list[Finding]:
    choice = installation.settings.gpus
    try:
        machine = Machine.of_this_process(find_gpus(choice))
    except DeviceError as error:
        return [failed("devices", error.detail, error.hint or "See `nvidia-smi -L`.")]
    detail = f"{machine.cpu_cores} cores, {machine.memory_bytes / GIB:.1f} GiB of memory"
    if machine.gpus:
        return [ok("devices", f"{detail}, GPUs: {', '.join(gpu.name for gpu in machine.gpus)}.")]
    if choice is None and DRIVER_DEVICE.exists():
        hint = "Does `nvidia-smi` work? Is CUDA_VISIBLE_DEVICES empty? Containers need NVIDIA's toolkit."
        return [warning("devices", f"{detail}; there is a GPU, and its driver shows none.", hint)]
    return [ok("devices", f"{detail}, no GPU.")]


def check_tensorflow(installation: Installation) -> list[Finding]:
    """Loads TensorFlow in a process of its own."""
    code = (
        "import tensorflow as tf; "
        "print(tf.__version__, len(tf.config.list_physical_devices('GPU')), float(tf.reduce_sum(tf.ones(3))))"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if ended.returncode != 0:
        last = (ended.stderr.strip().splitlines() or ["nothing"])[-1][:300]
        return [
            failed("tensorflow", f"It cannot be loaded: {last}", "Install requirements/train.txt or gpu.txt.")
        ]
    version, seen, _sum = ended.stdout.split()
    detail = f"TensorFlow {version} computes here and sees {seen} GPU(s)."
    try:
        shown = len(find_gpus(installation.settings.gpus))
    except DeviceError:
        shown = 0  # told above
    if shown > int(seen):
        hint = "Install requirements/gpu.txt (CUDA's libraries), or a newer driver."
        return [failed("tensorflow", f"{detail} Loupe is to use {shown}.", hint)]
    return [ok("tensorflow", detail)]


def check_access(installation: Installation) -> list[Finding]:
    settings = installation.settings
    try:
        check_protected(settings)
    except UnprotectedError as error:
        return [failed("access", error.detail, error.hint or "Set LOUPE_API_KEY.")]
    host = settings.published_host or settings.host
    if settings.api_key is None:
        return [ok("access", f"The API listens on {host} alone, without LOUPE_API_KEY.")]
    if len(settings.api_key.get_secret_value()) < LEAST_KEY_LENGTH:
        hint = "`openssl rand -hex 32` makes one."
        return [warning("access", f"LOUPE_API_KEY is shorter than {LEAST_KEY_LENGTH} characters.", hint)]
    return [ok("access", f"The API listens on {host} and asks for its key.")]


def check_keys(installation: Installation) -> list[Finding]:
    with installation.db.read() as session:
        keys = session.scalar(select(func.count(ApiKey.id))) or 0
    if not keys and installation.settings.api_key is None:
        return [ok("keys", "There are none: the API asks for none.")]
    return [ok("keys", f"The API asks for one; the database has {count(keys, 'key', 'keys')}.")]


def check_open_files(installation: Installation) -> list[Finding]:
    """By the hard limit: the API raises the soft one itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files_wanted(installation.settings)
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        most = "any number of" if hard == resource.RLIM_INFINITY else f"{hard:,}"
        return [ok("open files", f"A process may open {most} files; the API needs up to {wanted:,}.")]
    detail = f"A process may open {hard:,} files, and LOUPE_MAX_CONNECTIONS needs up to {wanted:,}."
    hint = f"`ulimit -Hn {wanted}` before the start, or LimitNOFILE= in its unit; or allow fewer connections."
    return [warning("open files", detail, hint)]


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
