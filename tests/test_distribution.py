"""What is released is whole: built from a clean checkout, it has pages and migrations, and runs alone"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app import __version__
from docs.generate import ROOT

UV = shutil.which("uv") or str(ROOT / ".venv-uv" / "bin" / "uv")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path(UV).is_file(), reason="uv is not here: `make setup` fetches it"),
]

SERVE = """
import sys
from pathlib import Path
import app
assert Path(app.__file__).is_relative_to(sys.argv[1]), app.__file__
from fastapi.testclient import TestClient
from app import migrations
from app.config import Settings
from app.context import AppContext
from app.main import create_app
settings = Settings(home=Path(sys.argv[2]), _env_file=None)
context = AppContext.open(settings)
migrations.upgrade(context.db)
context.close()
with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
    assert client.post("/products", json={"id": "screws"}).status_code == 201
    page = client.get("/ui")
    assert page.status_code == 200
    script = page.text.split('src="')[1].split('"')[0]
    assert client.get(script).status_code == 200
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of a clean checkout, and the wheel that is built from that sdist."""
    folder = tmp_path_factory.mktemp("built")
    checkout = folder / "checkout"
    # What is tracked, as it is in the working tree: neither what was made here nor what git ignores.
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    subprocess.run([UV, "build", "--quiet", "--out-dir", str(folder)], cwd=checkout, check=True)
    return folder


def _wheel(built: Path) -> Path:
    [wheel] = built.glob("*.whl")
    return wheel


def test_the_wheel_holds_what_runs_and_the_sdist_what_it_is_made_of(built: Path) -> None:
    names = set(zipfile.ZipFile(_wheel(built)).namelist())
    assert {"app/main.py", "loupe/__init__.py", "loupe/py.typed", "app/ui/index.html"} <= names
    assert any(name.startswith("app/ui/assets/main-") for name in names)
    scripts = {path.name for path in (ROOT / "migrations/versions").glob("*.py")}
    assert {f"app/_migrations/versions/{name}" for name in scripts} <= names
    assert not [name for name in names if name.startswith(("tests/", "migrations/", "ui/", "benchmarks/"))]
    [sdist] = built.glob("*.tar.gz")
    listed = subprocess.run(["tar", "tzf", str(sdist)], capture_output=True, text=True, check=True).stdout
    assert "/ui/src/main.tsx" in listed
    assert "node_modules" not in listed


def test_alone_it_is_a_client_and_a_command(built: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    python = environment / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
    subprocess.run([UV, "pip", "install", "--quiet", "--python", str(python), str(_wheel(built))], check=True)
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True}
    version = subprocess.run([str(environment / "bin" / "loupe"), "--version"], **run)  # type: ignore[call-overload]
    assert __version__ in version.stdout
    imported = "import loupe, sys; loupe.Loupe('http://127.0.0.1:1').close(); print('numpy' in sys.modules)"
    assert subprocess.run([str(python), "-c", imported], **run).stdout.strip() == "False"  # type: ignore[call-overload]


def test_with_the_server_it_serves_and_migrates(built: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    zipfile.ZipFile(_wheel(built)).extractall(installed)
    subprocess.run(
        [sys.executable, "-c", SERVE, str(installed), str(tmp_path / "home")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        check=True,
    )
