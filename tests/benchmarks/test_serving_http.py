"""Loupe beside other servers: the images, the load, the answers that are compared, the table"""

from __future__ import annotations

import ast
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.artifacts import Artifact
from app.inference.predictor import Predictor
from benchmarks.serving_http import contenders
from benchmarks.serving_http.__main__ import MARKS, PAGE, put_into
from benchmarks.serving_http.contenders import CEILING, CONTENDERS
from benchmarks.serving_http.images import KINDS, make_images
from benchmarks.serving_http.load import ask, build_requests, run_load
from benchmarks.serving_http.loupe import launch_guarded
from benchmarks.serving_http.measure import Case, Figures, ImageSet, measure_contender
from benchmarks.serving_http.servers import Memory, Server
from benchmarks.serving_http.table import render_figures
from tests.pictures import make_picture
from tests.ports import free_port


def test_images_are_the_same_each_time_and_all_different_and_of_the_wanted_size() -> None:
    kind = replace(KINDS["110kB"], count=3)
    images = make_images(kind)
    assert images == make_images(kind)
    assert len(set(images)) == 3
    assert all(0.9 * kind.wanted_bytes < len(image) <= kind.wanted_bytes for image in images)


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """The load leaves in the middle of its last requests."""


@contextmanager
def server(status_of: Callable[[int], int]) -> Iterator[int]:
    """Answers the n-th request with this status; 0: closes the connection."""
    numbers = itertools.count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status = status_of(next(numbers))
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with _Quiet(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield http.server_address[1]
        finally:
            http.shutdown()
            thread.join()


@pytest.mark.parametrize("bad", [503, 0])
def test_what_is_refused_or_cut_off_is_counted_and_never_timed(bad: int) -> None:
    images = [b"x" * 300_000, b"y" * 10]
    with server(lambda number: bad if number % 4 == 3 else 200) as port:
        requests = build_requests(images, port, "/predict", {})
        load = run_load(port, requests, connections=3, warm_seconds=0.1, seconds=0.5, server_cpu=lambda: 0.0)
    assert load.failed > 0
    assert len(load.milliseconds) == pytest.approx(3 * load.failed, abs=4)
    assert all(0 < one < 500 for one in load.milliseconds)
    assert load.client_cpu_seconds > 0
    assert load.machine_cpu_seconds > 0


def test_the_peers_import_nothing_of_loupe() -> None:
    peers = sorted(Path(contenders.__file__).with_name("peers").glob("*.py"))
    assert len(peers) > 4
    for path in peers:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.split(".")[0] == "app"], path.name
            ours = [name for name in names if name.startswith("benchmarks")]
            assert ours in ([], ["benchmarks.serving_http.peers.model"]), path.name


@pytest.mark.integration
def test_loupe_is_measured_and_wrong_answers_are_counted(
    make_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    artifact = make_artifact(tmp_path / "package" / "artifact")
    images = ImageSet("tiny", tmp_path, [make_picture("red", 1), make_picture("blue", 1)])
    _, outcome = Predictor(artifact).answer_bytes(images.images[0])
    red = {"label": "red", "probability": float(outcome.probabilities[0])}
    start, [(case, figures)] = measure_contender(
        CONTENDERS[0], "tiny", tmp_path / "package", [(images, [red, red])], [2], 2.0
    )
    assert start.processes == 2  # the API and its Redis
    assert 50 < start.first_process_mb < 300
    assert case == Case("tiny", "tiny", 2, CONTENDERS[0].name)
    assert (figures.failed, figures.wrong) == (0, 1)
    assert figures.requests_per_second > 0


@pytest.mark.integration
def test_the_guarded_loupe_asks_for_a_key_and_leaves_no_process_behind(
    make_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    make_artifact(tmp_path / "package" / "artifact")
    port = free_port()
    launch = launch_guarded(tmp_path / "package", tmp_path / "home", port)
    server = Server(launch, port, tmp_path / "log")
    try:
        [request] = build_requests([make_picture("red", 1)], port, launch.path, launch.headers)
        [keyless] = build_requests([make_picture("red", 1)], port, launch.path, {})
        server.first_answer(request)
        assert ask(port, keyless).status == 401
    finally:
        server.stop()
    assert server.processes() == 0


def test_the_table_compares_within_each_round_with_the_best_peer_and_the_bare_loop() -> None:
    def figures(*rates: float) -> list[Figures]:
        return [
            Figures(rate, 1, 2, Memory(3, 2), cpu_ms=4, failed=1, wrong=0, client_cpu_ms=0, other_load=0)
            for rate in rates
        ]

    table = render_figures(
        {
            Case("net", "110kB", 0, CEILING): figures(400, 200, 500),
            Case("net", "110kB", 8, "loupe"): figures(200, 100, 300),
            Case("net", "110kB", 8, "litserve"): figures(250, 100, 300),
            Case("net", "110kB", 8, "bentoml"): figures(50, 400, 50),
            Case("net", "110kB", 8, "bare"): figures(900, 900, 900),
        }
    )
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[4:]]
    rows = {row[1]: row for row in cells}
    assert rows["Loupe"][2:5] == ["200.0", "1.00", "0.50"]
    assert rows["Loupe"][10] == "3"  # each failure of every round counts
    assert rows["LitServe"][3:5] == ["1.00", "0.60"]
    assert rows["bare FastAPI"][3] == "3.60"


def test_the_page_has_a_place_for_the_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    written = put_into(page, "| new |")
    assert f"{MARKS[0]}\n| new |\n{MARKS[1]}" in written
    assert put_into(written, "| new |") == written
    assert written.startswith(page.partition(MARKS[0])[0])
