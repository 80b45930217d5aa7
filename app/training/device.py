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
from app.schemas.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Device:
    """``threads``: cores that the process may use, on which the order of floating-point sums depends."""

    kind: Literal["cpu", "gpu"]
    name: str
    threads: int
    precision: str
    is_deterministic: bool

    def environment(self) -> dict[str, Any]:
        """All that must stay the same for a resumed run to end with the same bits."""
        return {
            "device": self.kind,
            "device_name": self.name,
            "threads": self.threads,
            "precision": self.precision,
            "deterministic": self.is_deterministic,
            **library_versions(),
        }


def set_up_device(settings: Hyperparameters) -> Device:
    """Configures TensorFlow and Keras for the whole process; call once, before anything is computed.

    Op determinism is on by default on CPU. Weights are always float32; 16-bit computation, float16 on a GPU
    and bfloat16 on a CPU, is on by default only on a GPU with tensor cores.
    """
    gpus = tf.config.list_physical_devices("GPU")
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
        name=details.get("device_name", "GPU") if gpus else _cpu_name(),
        threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        precision=precision,
        is_deterministic=is_deterministic,
    )


def library_versions() -> dict[str, str]:
    """The versions that a training's result may depend on."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "loupe": __version__,
    }


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
