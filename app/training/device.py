"""What computes: device, precision and determinism of this process, and the versions of its libraries."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from app import __version__
from app.errors import DeviceError
from app.schemas.hyperparameters import Hyperparameters
from app.training.spec import Devices

VIRTUAL_DEVICES = "LOUPE_VIRTUAL_DEVICES"
"""Set by tests on machines without GPUs: the processor, in as many parts, stands in for those asked for."""


@dataclass(frozen=True)
class Device:
    """``threads``: cores that the process may use, on which the order of floating-point sums depends.

    ``replicas``: what batches are divided among, as TensorFlow names it; ``names``: as people do.
    """

    kind: Literal["cpu", "gpu"]
    names: tuple[str, ...]
    replicas: tuple[str, ...]
    threads: int
    precision: str
    is_deterministic: bool

    def environment(self) -> dict[str, Any]:
        """All that must stay the same for a resumed run to end with the same bits."""
        return {
            "device": self.kind,
            "device_name": self.names[0],
            **({"devices": len(self.replicas)} if len(self.replicas) > 1 else {}),
            "threads": self.threads,
            "precision": self.precision,
            "deterministic": self.is_deterministic,
            **library_versions(),
        }


def set_up_device(settings: Hyperparameters, asked: Devices | None = None) -> Device:
    """Configures TensorFlow and Keras for the whole process; call once, before anything is computed.

    Raises DeviceError where GPUs are required that TensorFlow does not see.
    Op determinism is on by default on CPU. Weights are always float32; 16-bit computation, float16 on a GPU
    and bfloat16 on a CPU, is on by default only on a GPU with tensor cores.
    """
    gpus = _choose_gpus(asked)
    count = asked.count if asked is not None else 1
    replicas = tuple(f"GPU:{number}" for number in range(len(gpus)))
    if not gpus:
        replicas = _divide_processor(count)
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    is_deterministic = settings.deterministic if settings.deterministic is not None else not gpus
    if is_deterministic:
        tf.config.experimental.enable_op_determinism()
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    mixed = settings.mixed_precision
    if mixed is None:
        mixed = details.get("compute_capability", (0, 0)) >= (7, 0)
    precision = "float32" if not mixed else "mixed_float16" if gpus else "mixed_bfloat16"
    keras.config.set_dtype_policy(precision)
    return Device(
        kind="gpu" if gpus else "cpu",
        names=tuple(map(_gpu_name, gpus)) or (_cpu_name(),),
        replicas=replicas,
        threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        precision=precision,
        is_deterministic=is_deterministic,
    )


def _choose_gpus(asked: Devices | None) -> list[Any]:
    gpus: list[Any] = tf.config.list_physical_devices("GPU")
    if asked is None:
        gpus = gpus[:1]
    elif asked.kind == "cpu" or VIRTUAL_DEVICES in os.environ:
        gpus = []
    elif len(gpus) >= asked.count:
        gpus = gpus[: asked.count]
    elif asked.is_required:
        raise DeviceError(
            f"The job asks for {'a GPU' if asked.count == 1 else f'{asked.count} GPUs'}; "
            f"TensorFlow sees {len(gpus) or 'none'} of {os.environ.get('CUDA_VISIBLE_DEVICES', 'them')}.",
            hint="CUDA's libraries come with loupe-classifier[gpu], or with docker-compose.gpu.yml; the log "
            "of the job's process says what TensorFlow missed. Device auto trains on the processor where "
            "there is no GPU.",
        )
    tf.config.set_visible_devices(gpus, "GPU")
    return gpus


def _divide_processor(count: int) -> tuple[str, ...]:
    if VIRTUAL_DEVICES in os.environ and count > 1:
        processor = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        tf.config.set_logical_device_configuration(processor, parts)
        return tuple(f"CPU:{number}" for number in range(count))
    return ("CPU:0",)


def library_versions() -> dict[str, str]:
    """The versions that a training's result may depend on."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "loupe": __version__,
    }


def _gpu_name(gpu: Any) -> str:
    return str(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU"))


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
