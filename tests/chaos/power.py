"""A loss of power at its worst: of the files that Loupe wrote only what was synced is left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.chaos.driver import Loupe

HOOKS = Path(__file__).parent / "platter"


class PoweredLoupe(Loupe):
    """A service whose power can fail.

    SQLite syncs by itself, each commit before it is told of: its files stay as they are, which is the worst
    that can happen, for they promise most. No name and no content is written back but by an fsync.
    """

    def __init__(self, home: Path, **environment: str) -> None:
        home.mkdir(parents=True)
        self._platter = home.parent / f"{home.name}-platter"
        self._platter.mkdir()
        hooks = {
            "PYTHONPATH": os.pathsep.join([str(HOOKS), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            "CHAOS_PLATTER": str(self._platter),
            "CHAOS_HOME": str(home),
        }
        super().__init__(home, **environment, **hooks)

    def lose_power(self) -> None:
        """Everything stops at once, and starts again with what was on the disk."""
        self.kill_everything()
        left = self.home.with_name(f"{self.home.name}-left")
        self._restore(f"{self.home.stat().st_ino}.names", left)
        for path in self.home.glob("loupe.db*"):
            shutil.copyfile(path, left / path.name)
        for gone in (self.home, self._platter):
            shutil.rmtree(gone)
        self._platter.mkdir()
        left.rename(self.home)
        # What was read from the disk is on it.
        subprocess.run(
            [sys.executable, "-c", "import os; os.sync()"], env={**os.environ, **self.environment}, check=True
        )
        self.start()

    def _restore(self, key: str, target: Path) -> None:
        """Makes ``target`` with the names, and below them the contents, that were last synced."""
        noted = self._platter / key
        if key.endswith(".content"):
            # A name without content: as file systems do, an empty file.
            target.write_bytes(noted.read_bytes() if noted.exists() else b"")
            return
        target.mkdir()
        for name, inside in json.loads(noted.read_bytes() if noted.exists() else "{}").items():
            self._restore(inside, target / name)
