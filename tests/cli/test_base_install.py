"""Without the extras the package is a client and a command line: neither needs what the server is made of"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from docs.generate import ROOT
from tests.cli.answers import answer_everything
from tests.cli.conftest import Server
from tests.cli.test_path_prefix import VERBS

RUN = """
import contextlib, io, json, sys
allowed, commands = json.loads(sys.argv[1])
known = {*sys.stdlib_module_names, "app", "loupe", *allowed}

class Absent:
    '''Finds nothing of what a small installation lacks.'''
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in known and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from app.cli import main
ended = {}
for command in commands:
    sys.argv = ["loupe", *command]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit:
            pass
        except ModuleNotFoundError as error:
            err.write(f"escaped: {error}")
    ended[" ".join(command)] = err.getvalue()
print(json.dumps(ended))
"""


def _modules_of_base() -> set[str]:
    """The import names of the dependencies without extras, and of theirs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting, seen = list(project["dependencies"]), set()
    while waiting:
        text = waiting.pop()
        name = re.match(r"[A-Za-z0-9_.-]+", text)
        if name is None or "extra ==" in text or _normal(name[0]) in seen:
            continue
        seen.add(_normal(name[0]))
        try:
            waiting += metadata.requires(name[0]) or []
        except metadata.PackageNotFoundError:  # of another platform
            continue
    found = metadata.packages_distributions()
    return {module for module, owners in found.items() if seen & set(map(_normal, owners))}


def _normal(name: str) -> str:
    """The names of the index's packages are the same in any case, with `-` or `_`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(commands: list[list[str]], environment: dict[str, str] | None = None) -> dict[str, str]:
    allowed = sorted(_modules_of_base())
    ended = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([allowed, commands])],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    written: dict[str, str] = json.loads(ended.stdout.splitlines()[-1])
    return written


def test_every_verb_of_a_client_runs_without_the_server(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(b"x")
    server.answer = answer_everything
    verbs = [verb for verb in VERBS if verb != "network list"]
    written = _run([[*verb.format(file=file).split(), "--server", server.url] for verb in verbs])
    assert len(written) == len(verbs)
    assert not [command for command, err in written.items() if "escaped" in err or "loupe-classifier[" in err]
    assert len(server.requests) >= len(verbs)


def test_without_an_address_it_asks_this_machine(server: Server) -> None:
    server.answer = answer_everything
    port = server.url.rpartition(":")[2]
    [(command, err)] = _run([["product", "list"]], {"LOUPE_PORT": port}).items()
    assert (command, err) == ("product list", "")
    assert [request.path.partition("?")[0] for request in server.requests] == ["/products"]


def test_what_needs_the_server_says_which_extra_brings_it() -> None:
    written = _run([["up"], ["doctor"], ["migrate"], ["worker"], ["api"]])
    for command, err in written.items():
        assert "pip install 'loupe-classifier[server]'" in err, (command, err)
