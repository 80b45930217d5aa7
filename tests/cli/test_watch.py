"""``loupe watch``"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.cli import patience, watcher
from app.cli.watched_folder import Look, Version, WatchedFolder
from app.host.renames import rename_exclusively
from tests.cli.conftest import Answer, Ended, Received, Run, Server, as_json, as_problem
from tests.cli.watching import MODEL, Labeller, files_below, read_rows, watching
from tests.ports import free_port
from tests.waiting import wait_for

ODD_NAMES = (
    b"line\nbreak.png",
    b"latin-\xe4.png",
    b"-rf.png",
    b"=cmd|' A0.png",
    b'a,"b".png',
    b"\x1b[2J.png",
    " Größe 日本.png".encode(),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def labeller(server: Server) -> Labeller:
    server.answer = labeller = Labeller()
    return labeller


@pytest.fixture
def once(loupe: Run, server: Server, folder: Path) -> Callable[..., Ended]:
    """Predicts what is in the folder, without waiting for it to settle."""

    def run(*options: object) -> Ended:
        return loupe(
            "watch", folder, "--product", "screws", "--once", "--settle", 0, "--server", server.url, *options
        )

    return run


Once = Callable[..., Ended]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_every_image_is_a_row_and_none_is_asked_a_second_time(
    once: Once, labeller: Labeller, folder: Path, ending: str
) -> None:
    out = folder.parent / f"rows.{ending}"
    for index in range(20):
        (folder / f"{index:02d}.png").write_bytes(b"bad" if index == 7 else f"class{index}".encode())

    first = once("--out", out, "--top-k", 2)
    second = once("--out", out, "--top-k", 2)

    rows = read_rows(out)
    assert (first.status, second.status) == (1, 0)
    assert sorted(row["name"] for row in rows) == [f"{index:02d}.png" for index in range(20)]
    assert set(labeller.answered.values()) == {1}
    good = next(row for row in rows if row["name"] == "03.png")
    assert good["label"] == "class3"
    assert float(good["probability"]) == 0.75
    assert good["sha256"] == hashlib.sha256(b"class3").hexdigest()
    assert good["model"] == "mdl_1"
    bad = next(row for row in rows if row["name"] == "07.png")
    assert bad["error"] == "no image" if ending == "csv" else bad["error"]["detail"] == "no image"
    assert not bad["label"]
    assert "20 images predicted, 1 of them with an error." in first.err
    assert "03.png  class3  0.7500" in first.out
    assert "0 images predicted." in second.err
    assert second.out == ""


@pytest.mark.usefixtures("labeller")
def test_the_rows_lie_beside_the_folder_unless_named(once: Once, folder: Path) -> None:
    (folder / "a.png").write_bytes(b"cat")

    assert once().status == 0

    assert [row["label"] for row in read_rows(folder.parent / "in.predictions.csv")] == ["cat"]
    assert list(files_below(folder)) == ["a.png"]


def test_a_time_that_no_calendar_has_is_left_out(
    once: Once, labeller: Labeller, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.png").write_bytes(b"cat")
    look = WatchedFolder.look

    def look_at_year_10000(watched: WatchedFolder) -> Look:
        found = look(watched)
        found.whole = [replace(version, modified_ns=10**21) for version in found.whole]
        return found

    monkeypatch.setattr(WatchedFolder, "look", look_at_year_10000)
    monkeypatch.setattr(Version, "read", lambda version: version.path.read_bytes())

    assert once().status == 0
    assert read_rows(folder.parent / "in.predictions.csv")[0]["modified_at"] == ""
    assert labeller.answered == {"cat": 1}


def test_what_changes_is_predicted_again_and_what_only_failed_is_not(
    once: Once, labeller: Labeller, folder: Path
) -> None:
    (folder / "a.png").write_bytes(b"bad one")
    (folder / "b.png").write_bytes(b"cat")
    statuses = [once().status, once().status]
    (folder / "a.png").write_bytes(b"dog")
    statuses.append(once().status)
    os.utime(folder / "b.png", ns=(1, 1))
    statuses.append(once().status)

    assert statuses == [1, 0, 0, 0]
    assert labeller.answered == {"bad one": 1, "dog": 1, "cat": 2}
    rows = read_rows(folder.parent / "in.predictions.csv")
    assert [(row["name"], row["label"]) for row in rows[2:]] == [("a.png", "dog"), ("b.png", "cat")]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_odd_names_are_rows_of_one_line_and_are_moved_as_they_are(
    once: Once, labeller: Labeller, folder: Path, ending: str
) -> None:
    for number, name in enumerate(ODD_NAMES):
        (folder / os.fsdecode(name)).write_bytes(f"cat{number % 2}".encode())
    out, moved = folder.parent / f"rows.{ending}", folder.parent / "sorted"

    assert once("--out", out).status == 0
    assert once("--out", out, "--move-to", moved).status == 0

    rows = read_rows(out)
    assert len(rows) == len({row["key"] for row in rows}) == len(ODD_NAMES)
    names = {row["name"] for row in rows}
    assert {"-rf.png", 'a,"b".png', "latin-\ufffd.png"} <= {name.removeprefix("'") for name in names}
    assert ("'=cmd|' A0.png" if ending == "csv" else "=cmd|' A0.png") in names
    assert sum(labeller.answered.values()) == len(ODD_NAMES)
    assert not any(folder.iterdir())
    found = {os.fsencode(path.name): path.parent.name for path in moved.rglob("*.png")}
    assert found == {name: f"cat{number % 2}" for number, name in enumerate(ODD_NAMES)}


@pytest.mark.usefixtures("labeller")
def test_images_go_into_a_folder_per_label_and_take_nobodys_place(once: Once, folder: Path) -> None:
    moved = folder / "sorted"
    for name, content in {"a.png": b"cat", "b.png": b"bad", "c": b"GIF89a", "sub/a.png": b"cat"}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    (moved / "cat").mkdir(parents=True)
    (moved / "cat/a.png").write_bytes(b"an older one")

    ended = once("--move-to", moved, "--recursive")
    again = once("--move-to", moved, "--recursive")

    assert (ended.status, again.status) == (1, 0)
    assert files_below(folder) == {
        "b.png": b"bad",
        "sorted/GIF89a/c": b"GIF89a",
        "sorted/cat/a.png": b"an older one",
        "sorted/cat/a-2.png": b"cat",
        "sorted/cat/a-3.png": b"cat",
    }
    assert "4 images predicted, 1 of them with an error, 3 moved." in ended.err
    assert "0 images predicted." in again.err


@pytest.mark.usefixtures("labeller")
def test_a_row_is_on_the_disk_before_its_image_moves(
    once: Once, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, synced = folder.parent / "rows.jsonl", [0]
    fsync = os.fsync

    def sync_and_note(descriptor: int) -> None:
        fsync(descriptor)
        if out.exists() and os.path.samestat(os.fstat(descriptor), out.stat()):
            synced.append(out.stat().st_size)

    def rename_after_rows(source: Path, target: Path) -> None:
        assert source.name in out.read_bytes()[: synced[-1]].decode()
        rename_exclusively(source, target)

    monkeypatch.setattr(os, "fsync", sync_and_note)
    monkeypatch.setattr("app.cli.label_folders.rename_exclusively", rename_after_rows)
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"cat")

    assert once("--out", out, "--move-to", folder.parent / "sorted").status == 0
    assert not any(folder.iterdir())


def test_links_pipes_hidden_and_unfinished_files_are_left_alone(
    once: Once, labeller: Labeller, folder: Path
) -> None:
    secret = folder.parent / "secret.png"
    secret.write_bytes(b"secret")
    (folder / "link.png").symlink_to(secret)
    (folder / "up").symlink_to(folder.parent)
    os.mkfifo(folder / "pipe.png")
    for name in (".hidden.png", "copied.png.part", "b.png~", "Thumbs.db", "notes.txt", "c.JPG.tmp"):
        (folder / name).write_bytes(b"GIF89a" if name != "notes.txt" else b"text")
    before = files_below(folder)

    ended = once("--recursive", "--move-to", folder.parent / "sorted")

    assert ended.status == 0
    assert not labeller.answered
    assert files_below(folder) == before
    assert "2 left out, a link: " in ended.err
    assert "1 left out, not a regular file: pipe.png" in ended.err
    assert "1 left out, no image: notes.txt" in ended.err


def test_rows_inside_the_watched_folder_are_no_input(once: Once, labeller: Labeller, folder: Path) -> None:
    (folder / "a.png").write_bytes(b"cat")

    ended = [once("--out", folder / "GIF89a.csv") for _ in range(2)]

    assert [one.status for one in ended] == [0, 0]
    assert "left out" not in ended[1].err
    assert labeller.answered == {"cat": 1}


def test_the_model_is_asked_for_as_predict_asks(loupe: Run, server: Server, folder: Path) -> None:
    server.answer = Labeller()
    (folder / "a.png").write_bytes(b"cat")
    common = ("watch", folder, "--once", "--settle", 0, "--server", server.url)

    assert loupe(*common, "--job", "job_1", "--top-k", 3).status == 0

    looked, asked = server.requests
    assert looked.path == "/jobs/job_1"
    assert b'name="job"\r\n\r\njob_1\r\n' in asked.body
    assert b'name="top_k"\r\n\r\n3\r\n' in asked.body
    assert "--product" in loupe(*common).err
    loupe(*common, "--product", "screws@canary")
    assert server.requests[-1].path == "/products/screws"


def test_a_product_that_is_not_there_is_said_before_anything_is_waited_for(
    once: Once, server: Server, folder: Path
) -> None:
    server.answer = lambda _: as_problem(404, "not_found", "There is no product 'screws'.")

    ended = once()

    assert ended.status == 1
    assert ended.err == "error: There is no product 'screws'.\n"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_key_that_may_only_predict_is_enough(once: Once, server: Server, folder: Path) -> None:
    (folder / "a.png").write_bytes(b"cat")
    labeller = Labeller()
    server.answer = lambda request: (
        as_problem(403, "forbidden", "No.") if request.method == "GET" else labeller(request)
    )

    assert once().status == 0
    assert labeller.answered == {"cat": 1}


@pytest.mark.usefixtures("labeller")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--out", "rows.txt"), "End --out in .csv or .jsonl"),
        (("--move-to", "."), "is the watched folder"),
        (("--move-to", ".."), "or holds it"),
    ],
)
def test_what_would_come_in_again_or_has_no_form_is_refused(
    once: Once,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(folder)

    ended = once(*options)

    assert ended.status == 1
    assert said in " ".join(ended.err.split())


def test_a_folder_that_is_not_there_is_an_error(loupe: Run, folder: Path) -> None:
    ended = loupe("watch", folder / "no", "--product", "screws", "--once")

    assert ended.status == 1
    assert "There is no folder" in ended.err


def test_an_image_at_which_the_server_fails_does_not_hold_up_the_others(
    once: Once, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "PAUSE_OF_FAILING_SECONDS", 0.01)
    labeller = Labeller()
    server.answer = lambda request: (
        as_problem(500, "internal", "A fault.") if b"poison" in request.body else labeller(request)
    )
    for name in ("a", "poison", "z"):
        (folder / f"{name}.png").write_bytes(name.encode())

    ended = once()

    rows = {row["name"]: row for row in read_rows(folder.parent / "in.predictions.csv")}
    assert ended.status == 1
    assert rows["poison.png"]["error"] == "A fault."
    assert labeller.answered == {"a": 1, "z": 1}


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_patience_gets_it(
    once: Once, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("app.cli.patience.time.sleep", slept.append)
    labeller, refusals = Labeller(), [status] * 3

    def answer(request: Received) -> Answer:
        if request.method == "POST" and refusals:
            return as_problem(refusals.pop(), "busy", "Too much to do.")
        return labeller(request)

    server.answer, server.headers = answer, {"Retry-After": "7"}
    (folder / "a.png").write_bytes(b"cat")

    ended = once()

    assert ended.status == 0
    assert slept[-3:] == [7, 7, 7]
    assert ended.err.count("Too much to do. Waiting") == 1
    assert ended.err.count("is back after") == 1


def test_a_key_that_may_ask_little_at_once_is_asked_little(
    once: Once, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.patience.time.sleep", lambda _: None)
    labeller = Labeller()
    server.answer = lambda request: (
        as_problem(429, "limit_reached", "The key may have 3 predictions a minute.")
        if request.body.count(b'name="file"') > 3
        else labeller(request)
    )
    for index in range(20):
        (folder / f"{index}.png").write_bytes(f"class{index}".encode())

    ended = once()

    assert ended.status == 0
    assert set(labeller.answered.values()) == {1}
    assert len(labeller.answered) == 20
    assert "From now on 2 at once" in ended.err
    refused = sum(request.body.count(b'name="file"') > 3 for request in server.requests)
    assert refused == 2 * 3, "what is too much is not found out anew for each request"


def test_a_folder_for_labels_that_is_away_is_not_made_again(loupe: Run, server: Server, folder: Path) -> None:
    moved, labeller = folder.parent / "share", Labeller()

    def unmount(request: Received) -> Answer:
        if request.method == "POST":
            moved.rename(folder.parent / "unmounted")
        return labeller(request)

    server.answer = unmount
    (folder / "a.png").write_bytes(b"cat")
    options = ("--product", "screws", "--once", "--settle", 0, "--server", server.url, "--move-to", moved)
    ended = loupe("watch", folder, *options)

    assert ended.status == 1
    assert "a.png cannot be moved: No such file or directory" in ended.err
    assert "1 could not be read or moved" in ended.err
    assert list(files_below(folder)) == ["a.png"]
    (folder.parent / "unmounted").rename(moved)
    assert loupe("watch", folder, *options).status == 0
    assert files_below(moved) == {"cat/a.png": b"cat"}
    assert labeller.answered == {"cat": 1}


def test_ctrl_c_does_not_wait_for_an_answer(server: Server, folder: Path) -> None:
    (folder / "a.png").write_bytes(b"cat")
    leave = threading.Event()

    def answer(request: Received) -> Answer:
        if request.method == "POST":
            leave.wait(20)
            return 0, "", b""  # nobody is there to read it
        return as_json({})

    server.answer = answer
    with watching(server, folder, "--settle", 0) as process:
        wait_for(lambda: len(server.requests) > 1, 20, "the question")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
        took = time.monotonic() - began
    leave.set()

    assert process.returncode == 0
    assert took < 3
    assert "0 images predicted." in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_waits_for_the_server_to_come_can_be_ended(folder: Path, number: signal.Signals) -> None:
    with watching(f"http://127.0.0.1:{free_port()}", folder) as process:
        assert "Waiting until it can go on." in process.stdout.readline()
        process.send_signal(number)
        said, _ = process.communicate(timeout=20)

    assert (process.returncode, said) == (0, "")


def test_once_does_not_wait_for_ever(loupe: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 1000)
    server = f"http://127.0.0.1:{free_port()}"

    ended = loupe("watch", folder, "--product", "screws", "--once", "--server", server)

    assert ended.status == 1
    assert "No Loupe answers" in ended.err


def test_a_file_that_cannot_be_read_now_is_no_row_and_fails_the_run(
    once: Once, labeller: Labeller, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.png").write_bytes(b"cat")
    opened = os.open

    def refuse(path: object, *arguments: int) -> int:
        if str(path).endswith("a.png"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        ended = once()

    assert ended.status == 1
    assert "a.png cannot be read: Permission denied" in ended.err
    assert once().status == 0
    assert labeller.answered == {"cat": 1}


def test_a_file_that_grows_slowly_is_predicted_once_and_whole(
    server: Server, labeller: Labeller, folder: Path
) -> None:
    out = folder.parent / "in.predictions.csv"
    with watching(server, folder, "--settle", 0.6, "--every", 0.1) as process:
        wait_for(out.exists, 20, "the results", alive=lambda: process.poll() is None)
        with (folder / "a.png").open("wb", buffering=0) as growing:
            for letter in b"growing":
                growing.write(bytes([letter]))
                time.sleep(0.25)
        (folder / "b.png.part").write_bytes(b"renamed")
        (folder / "b.png.part").rename(folder / "b.png")
        wait_for(lambda: len(labeller.answered) > 1, 20, "both answers")
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)

    assert process.returncode == 0
    assert "2 images predicted." in said
    assert labeller.answered == {"growing": 1, "renamed": 1}
    assert len(read_rows(out)) == 2


def test_once_leaves_what_is_still_being_written(
    loupe: Run, server: Server, labeller: Labeller, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.png").write_bytes(b"cat")
    (folder / "b.png").write_bytes(b"half")
    slept = time.sleep

    def write_on(seconds: float) -> None:
        (folder / "b.png").write_bytes(b"whole")
        slept(seconds)

    monkeypatch.setattr("app.cli.watch.time.sleep", write_on)
    ended = loupe("watch", folder, "--product", "screws", "--once", "--settle", 0.2, "--server", server.url)

    assert ended.status == 0
    assert "1 still being written, left for the next run" in ended.err
    assert labeller.answered == {"cat": 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_away_is_waited_for_and_the_end_is_clean(
    server: Server, folder: Path, number: signal.Signals
) -> None:
    labeller, away = Labeller(), [True]
    server.answer = lambda request: (0, "", b"") if away and request.method == "POST" else labeller(request)
    for index in range(3):
        (folder / f"{index}.png").write_bytes(f"class{index}".encode())

    with watching(server, folder, "--settle", 0, "--every", 0.1) as process:
        wait_for(lambda: len(server.requests) > 2, 20, "a second try")
        away.clear()
        wait_for(lambda: labeller.answered, 20, "the answers")
        time.sleep(0.2)
        process.send_signal(number)
        said, _ = process.communicate(timeout=20)

    assert process.returncode == 0
    assert said.count("Waiting until it can go on.") == 1
    assert said.count("is back after") == 1
    assert said.rstrip().splitlines()[-1].startswith("3 images predicted.")
    assert len(read_rows(folder.parent / "in.predictions.csv")) == 3


def test_a_folder_that_is_away_is_waited_for(server: Server, labeller: Labeller, folder: Path) -> None:
    with watching(server, folder, "--settle", 0, "--every", 0.1) as process:
        out = folder.parent / "in.predictions.csv"
        wait_for(out.exists, 20, "the results", alive=lambda: process.poll() is None)
        time.sleep(0.3)
        folder.rename(folder.with_name("unmounted"))
        time.sleep(0.5)
        folder.with_name("unmounted").rename(folder)
        (folder / "a.png").write_bytes(b"cat")
        wait_for(lambda: labeller.answered, 20, "the answer")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)

    assert said.count("No such file or directory. Waiting") == 1
    assert said.count("is back after") == 1


@pytest.mark.usefixtures("labeller")
def test_two_do_not_write_one_file(once: Once, server: Server, folder: Path) -> None:
    out = folder.parent / "in.predictions.csv"
    with watching(server, folder) as process:
        wait_for(out.exists, 20, "the results", alive=lambda: process.poll() is None)
        time.sleep(0.2)
        ended = once()

    assert ended.status == 1
    assert "Another `loupe watch` writes" in ended.err


def test_answers_of_the_server_are_rows_in_full(once: Once, server: Server, folder: Path) -> None:
    error = {"code": "undecodable_image", "detail": "line\nbreak", "instance": "x"}
    server.answer = lambda _: as_json(
        {
            "model": MODEL,
            "results": [{"error": error}, {"predictions": [{"label": "=1+1\n", "probability": 1}]}],
        }
    )
    for index in range(2):
        (folder / f"{index}.png").write_bytes(b"x")
        os.utime(folder / f"{index}.png", (index, index))

    assert once("--out", folder.parent / "a.csv").status == 1
    assert once("--out", folder.parent / "a.jsonl").status == 1

    rows = read_rows(folder.parent / "a.csv")
    assert [(row["label"], row["error"]) for row in rows] == [("", "line\\nbreak"), ("'=1+1\\n", "")]
    lines = read_rows(folder.parent / "a.jsonl")
    assert lines[0]["error"] == error
    assert lines[1] == {**lines[1], "label": "=1+1\n", "bytes": 1, "modified_at": "1970-01-01T00:00:01.000Z"}
    assert json.dumps(lines[0]["image"]) == "null"


OLDER = b"name,sha256,label,probability,error,model,predicted_at,modified_at,bytes,key\n"
"""The columns before answers were accepted or rejected."""


@pytest.mark.usefixtures("labeller")
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_images_whose_answer_was_rejected_go_into_a_folder_of_their_own(
    once: Once, folder: Path, ending: str
) -> None:
    out, sorted_ = folder.parent / f"rows.{ending}", folder.parent / "sorted"
    (folder / "sure.png").write_bytes(b"cat")
    (folder / "unsure.png").write_bytes(b"doubtful")
    once("--out", out)
    assert {row["name"]: row["decision"] for row in read_rows(out)} == {
        "sure.png": "accept",
        "unsure.png": "reject",
    }
    # Without being asked again: the rows say it.
    once("--out", out, "--move-to", sorted_)
    assert list(files_below(sorted_)) == ["_rejected/unsure.png", "cat/sure.png"]


@pytest.mark.usefixtures("labeller")
def test_a_table_that_an_older_loupe_began_keeps_its_columns(once: Once, folder: Path) -> None:
    out, sorted_ = folder.parent / "rows.csv", folder.parent / "sorted"
    out.write_bytes(OLDER)
    (folder / "a.png").write_bytes(b"cat")
    (folder / "b.png").write_bytes(b"doubtful")
    once("--out", out, "--move-to", sorted_)
    assert out.read_bytes().startswith(OLDER)
    assert [row["label"] for row in read_rows(out)] == ["cat", "doubtful"]
    assert list(files_below(sorted_)) == ["_rejected/b.png", "cat/a.png"]
