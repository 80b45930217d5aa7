"""A path that was allowed at the request is read as that, or not at all."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.context import AppContext
from app.datasets.folders import FolderSource
from app.datasets.roots import held
from app.datasets.sources import Limits
from app.errors import DatasetError
from tests.clients import local_client
from tests.pictures import make_files, make_zip, write_folder
from tests.running import run_queued


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """A root with a folder and an archive; beside it lies what nobody may read."""
    write_folder(tmp_path / "secret", make_files(2))
    (tmp_path / "secret.zip").write_bytes(make_zip(make_files(2)))
    write_folder(tmp_path / "roots/good", make_files(2))
    (tmp_path / "roots/good.zip").write_bytes(make_zip(make_files(2)))
    return tmp_path / "roots"


@pytest.fixture
def rooted(context: AppContext, roots: Path) -> Iterator[TestClient]:
    allowed = context.settings.model_copy(update={"dataset_roots": (roots,)})
    with local_client(allowed, raise_server_exceptions=False) as client:
        client.post("/products", json={"id": "p"}).raise_for_status()
        yield client


def import_path(client: TestClient, path: str) -> Any:
    return client.post("/products/p/datasets", json={"path": path})


def exchange(place: Path, target: Path) -> None:
    """Puts a link to ``target`` where a folder or file was."""
    place.rename(place.with_name("moved"))
    place.symlink_to(target)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "{roots}/..",
        "{roots}/../secret",
        "{roots}/out",
        "{roots}/loop",
        "{roots}/" + "x" * 300,
        "~nosuchuser/x",
    ],
)
def test_what_is_no_folder_under_a_root_is_refused_at_once(
    rooted: TestClient, roots: Path, path: str
) -> None:
    (roots / "out").symlink_to(roots.parent / "secret")
    (roots / "loop").symlink_to(roots / "loop")
    answer = import_path(rooted, path.format(roots=roots))
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/path"


def test_what_is_neither_file_nor_folder_is_refused_and_not_opened(rooted: TestClient, roots: Path) -> None:
    os.mkfifo(roots / "pipe")
    answer = import_path(rooted, str(roots / "pipe"))
    assert answer.status_code == 422
    assert "neither a file nor a folder" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("asked", "exchanged", "target"),
    [
        ("good", "good", "secret"),
        ("good.zip", "good.zip", "secret.zip"),
        ("sub/good", "sub", "outside"),
        ("good", "good", "roots/other"),
    ],
)
def test_a_folder_that_becomes_a_link_before_its_import_runs_is_refused(
    rooted: TestClient, context: AppContext, roots: Path, asked: str, exchanged: str, target: str
) -> None:
    write_folder(roots / "sub/good", make_files(2))
    write_folder(roots / "other", make_files(2))
    write_folder(roots.parent / "outside/good", make_files(2))
    answer = import_path(rooted, str(roots / asked))
    assert answer.status_code == 202, answer.text
    exchange(roots / exchanged, roots.parent / target)
    run_queued(context)
    dataset = rooted.get(answer.headers["location"]).json()
    assert dataset["status"] == "failed"
    assert dataset["error"]["code"] == "data_error"
    assert not dataset["error"]["retryable"]
    assert "link" in dataset["error"]["hint"]


def test_a_link_to_a_folder_under_a_root_is_imported(
    rooted: TestClient, context: AppContext, roots: Path
) -> None:
    (roots / "newest").symlink_to(roots / "good")
    answer = import_path(rooted, str(roots / "newest"))
    run_queued(context)
    assert rooted.get(answer.headers["location"]).json()["status"] == "ready"


@pytest.mark.parametrize("end", ["gone", "file"])
def test_a_root_that_is_gone_or_no_folder_any_more_fails_the_import(
    rooted: TestClient, context: AppContext, roots: Path, end: str
) -> None:
    answer = import_path(rooted, str(roots / "good"))
    shutil.rmtree(roots)
    if end == "file":
        roots.write_bytes(b"x")
    run_queued(context)
    error = rooted.get(answer.headers["location"]).json()["error"]
    assert (error["code"], error["retryable"]) == ("data_error", False)


def test_a_worker_whose_roots_are_others_refuses_the_path(roots: Path) -> None:
    with pytest.raises(DatasetError, match="not under a folder"), held(roots / "good", [roots / "other"]):
        pass


def test_a_folder_that_is_exchanged_once_it_is_held_stays_the_folder_that_it_was(roots: Path) -> None:
    with held(roots / "good", [roots]) as path:
        exchange(roots / "good", roots.parent / "secret.zip")
        assert path.is_dir()
        with FolderSource(path, Limits()) as source:
            assert len([file.read() for file in source.files()]) == 6


def test_a_file_that_is_exchanged_while_it_is_read_stays_the_file_that_it_was(roots: Path) -> None:
    with held(roots / "good.zip", [roots]) as path:
        before = path.read_bytes()
        exchange(roots / "good.zip", Path("/etc/passwd"))
        assert path.read_bytes() == before


def test_a_folder_inside_that_becomes_a_link_is_not_entered(tmp_path: Path) -> None:
    secret = write_folder(tmp_path / "secret", {"1.png": b"secret"})
    root = write_folder(tmp_path / "good", {"cat/inner/1.png": b"1", "dog/2.png": b"2"})
    with FolderSource(root, Limits()) as source:
        files = list(source.files())
        exchange(root / "cat/inner", secret)
        with pytest.raises(DatasetError, match="cannot be read"):
            files[0].read()
    root = write_folder(tmp_path / "again", {"cat/inner/1.png": b"1"})
    opened = FolderSource(root, Limits())
    with opened:
        walk = opened._walk()
        next(walk)
        exchange(root / "cat", secret)
        with pytest.raises(DatasetError, match="cannot be opened"):
            list(walk)


def test_pipes_sockets_and_endless_links_inside_are_listed_and_never_opened(
    write_folder: Callable[[dict[str, bytes]], Path],
) -> None:
    root = write_folder({"cat/1.png": b"1"})
    os.mkfifo(root / "cat/pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(root / "cat")  # a socket's path may have 108 bytes
        try:
            listening.bind("socket.png")
        finally:
            os.chdir(Path(__file__).parent)
    (root / "cat/loop.png").symlink_to("loop.png")
    (root / "cat/zero.png").symlink_to("/dev/zero")
    (root / "cat/root.png").symlink_to(root)
    (root / "cat/piped.png").symlink_to("pipe.png")
    with FolderSource(root, Limits()) as source:
        assert [file.name for file in source.files()] == ["cat/1.png"]
    assert {name for name, _ in source.skipped} == {
        f"cat/{name}.png" for name in ("pipe", "socket", "loop", "zero", "root", "piped")
    }


@pytest.fixture
def endless_folder(tmp_path: Path) -> Iterator[Path]:
    """A good file, and folders in folders: deeper than a path may be long, and than Python may recurse.

    They go with the test: pytest could not remove them, for that reason.
    """
    root = write_folder(tmp_path / "good", {"cat/1.png": b"1"})
    deep = os.open(root / "cat", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("abcd", dir_fd=deep)
        below = os.open("abcd", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    yield root
    subprocess.run(["rm", "-rf", root], check=True)


def test_folders_in_folders_without_end_are_left_out(endless_folder: Path) -> None:
    with FolderSource(endless_folder, Limits()) as source:
        assert [file.name for file in source.files()] == ["cat/1.png"]
    [(_, reason)] = source.skipped
    assert "its name has" in reason
