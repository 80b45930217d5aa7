"""The home folder: whether it can be written to and synced, and whether there is room."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from sqlalchemy import func, select

from app.doctor.findings import Finding, Installation, failed, ok, warning
from app.models import Dataset, TrainedModel

GIB = 2**30
LEAST_BYTES = GIB
LEAST_FILES = 10_000
SLOW_SYNC_SECONDS = 0.5
# A record at the usual size; a training keeps one for each image of its dataset.
RECORD_BYTES = 224 * 224 * 3
# Two attempts' checkpoints, two of each, and a checkpoint is some three times its model.
CHECKPOINTS = 12


def check_home(installation: Installation) -> list[Finding]:
    """Writes a file, syncs and renames it, as checkpoints and models are; and takes it away."""
    home = installation.settings.home
    if not home.exists():
        return [
            failed("home", f"{home} does not exist.", "`loupe up` makes it. Another: LOUPE_HOME, --home.")
        ]
    if not home.is_dir():
        return [failed("home", f"{home} is not a folder.", "Set LOUPE_HOME to a folder.")]
    scratch, models = home / "scratch", home / "models"
    probe = scratch / f".doctor-{os.getpid()}"
    target = models / probe.name
    try:
        for folder in (scratch, models):
            folder.mkdir(exist_ok=True)
        began = time.perf_counter()
        with probe.open("wb") as file:
            file.write(os.urandom(2**20))
            file.flush()
            os.fsync(file.fileno())
        seconds = time.perf_counter() - began
        probe.rename(target)
    except OSError as error:
        where = error.filename or home
        hint = f"User {os.geteuid()} must own it and all below it, on one disk that is not full."
        return [failed("home", f"{where}: {error.strerror}.", hint)]
    finally:
        for path in (probe, target):
            with contextlib.suppress(OSError):
                path.unlink()
    detail = f"{home} can be written to; a MiB is on the disk after {seconds * 1000:.0f} ms."
    if seconds > SLOW_SYNC_SECONDS:
        return [warning("home", detail, "Checkpoints wait for that: use a local disk, or a faster one.")]
    return [ok("home", detail)]


def check_space(installation: Installation) -> list[Finding]:
    """What the next training on the largest dataset needs, by what is there already."""
    home = installation.settings.home
    usage = shutil.disk_usage(home)
    with installation.db.read() as session:
        items = session.scalar(select(func.max(Dataset.items))) or 0
        model = session.scalar(select(func.max(TrainedModel.bytes))) or 0
    needed = max(LEAST_BYTES, items * RECORD_BYTES + CHECKPOINTS * model)
    detail = f"{usage.free / GIB:.1f} GiB of {usage.total / GIB:.1f} are free at {home}"
    hint = f"Free some: {home / 'records'} is a cache, `loupe job delete` takes old models away."
    if usage.free < LEAST_BYTES:
        return [failed("space", f"{detail}.", hint)]
    if usage.free < needed:
        detail += f"; a training on the largest dataset takes up to {needed / GIB:.1f}"
        return [warning("space", f"{detail}.", hint)]
    return [_files_left(home) or ok("space", f"{detail}.")]


def _files_left(home: Path) -> Finding | None:
    """Every image is a file."""
    found = os.statvfs(home)
    if found.f_files and found.f_favail < LEAST_FILES:
        detail = f"Only {found.f_favail} more files fit at {home} (inodes)."
        return warning("space", detail, "Delete what is not needed, or use a disk made for more files.")
    return None
