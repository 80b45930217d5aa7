"""What Loupe is made of can be looked up: every lock is audited, every image has a bill of materials."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from docs.generate import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TOOLS = ROOT / ".venv-tools"


def _locked(lock: str) -> set[str]:
    text = (ROOT / f"requirements/{lock}.txt").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==", text, re.MULTILINE))


def test_every_lock_that_an_image_installs_has_a_bill_of_materials() -> None:
    files = [ROOT / "docker/Dockerfile", *ROOT.glob("docker-compose*.yml")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    installed = set(re.findall(r"requirements/(\w+)\.txt|REQUIREMENTS[=:] ?(\w+)", text))
    [shipped] = re.findall(r"^SHIPPED := (.*)$", MAKEFILE, re.MULTILINE)
    # Node only makes the pages: nothing of it comes into an image.
    assert {"".join(names) for names in installed} - {"ui"} == set(shipped.split())


def test_every_lock_is_audited_and_an_unknown_package_does_not_pass() -> None:
    assert "for lock in requirements/*.txt; do" in MAKEFILE
    [audit] = re.findall(r"^AUDIT := (.*)$", MAKEFILE, re.MULTILINE)
    assert "--strict" in audit.split()


@pytest.mark.parametrize(
    ("own", "packages"),
    [("tools", {"cyclonedx-bom", "pip-audit", "tritonclient"}), ("peers", {"bentoml", "litserve"})],
)
def test_tools_and_peers_are_in_no_environment_of_loupe(own: str, packages: set[str]) -> None:
    for lock in ("api", "train", "gpu", "dev"):
        assert not packages & _locked(lock)
    assert packages <= _locked(own)


@pytest.mark.slow
@pytest.mark.skipif(not TOOLS.exists(), reason="`make sbom` has not made the tools' environment")
def test_a_bill_of_materials_is_valid_whole_and_the_same_each_time(tmp_path: Path) -> None:
    made = []
    for name in ("first", "second"):
        subprocess.run(["make", "--silent", "sbom", f"SBOM={tmp_path / name}"], cwd=ROOT, check=True)
        made.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert made[0] == made[1]
    assert set(made[0]) == {f"{name}.cdx.json" for name in ("api", "train", "gpu", "mlflow")}
    for name, content in made[0].items():
        bill = json.loads(content)
        assert bill["metadata"]["component"]["name"] == "loupe-classifier"
        listed = {component["name"].lower().replace("_", "-") for component in bill["components"]}
        assert listed == _locked(name.removesuffix(".cdx.json"))
        assert all(component["purl"].startswith("pkg:pypi/") for component in bill["components"])


def test_what_the_pages_are_made_of_is_locked_with_hashes_and_names_no_address() -> None:
    lock = json.loads((ROOT / "ui/package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not [name for name, package in packages.items() if "resolved" in package]
