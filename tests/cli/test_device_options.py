"""``loupe train``: its device, GPUs and classes, and what ``loupe job show`` says, against the real API."""

from __future__ import annotations

from fastapi.testclient import TestClient

from app.context import AppContext
from tests.api.test_evaluation_dataset import others, upload_now
from tests.cli.conftest import Answer, Received, Run, Server
from tests.pictures import make_files
from tests.running import TINY, import_pictures


def test_a_training_that_asks_for_gpus_shows_what_it_waits_for(
    loupe: Run, server: Server, client: TestClient, context: AppContext
) -> None:
    other = import_pictures(client, context, "squares", others())
    upload_now(client, context, make_files(), "squares")

    def answer(request: Received) -> Answer:
        got = client.request(
            request.method, request.path, content=request.body, headers={"content-type": "application/json"}
        )
        return got.status_code, got.headers["content-type"], got.content

    server.answer = answer
    to = ("--server", server.url)
    settings = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]
    train = ("train", "squares", "--network", "tiny_cnn", *settings, *to)
    refused = loupe(*train, "--device", "cpu", "--gpus", 2)
    assert (refused.status, "device is cpu" in refused.err) == (1, True), refused
    started = loupe(*train, "--gpus", 2)
    assert started.status == 0, started.err
    shown = loupe("job", "show", started.out.strip(), *to).out
    assert "2 GPUs" in shown
    assert "A worker with a GPU: none is running." in shown
    chosen = loupe(*train, "--drop", "blue", "--merge", "warm=red,green", "--dry-run")
    assert "one class only, warm" in chosen.err
    chosen = loupe(*train, "--keep", "blue", "--merge", "warm=red,green", "--dry-run")
    assert "keep blue; red, green become warm" in chosen.out, chosen.err
    tested = loupe(*train, "--evaluation-dataset", "dst_none", "--set", "split.test=0", "--dry-run")
    assert "no dataset 'dst_none'" in tested.err
    tested = loupe(*train, "--evaluation-dataset", other, "--set", "split.test=0", "--dry-run")
    assert other in tested.out, tested.err
    assert "test 0" in tested.out
    started = loupe(*train, "--evaluation-dataset", other)
    assert other in loupe("job", "show", started.out.strip(), *to).out
    started = loupe(*train, "--keep", "blue", "--merge", "warm=red,green")
    assert "keep blue; red, green become warm" in loupe("job", "show", started.out.strip(), *to).out
    assert "NEW=OLD" in loupe(*train, "--merge", "warm", "--dry-run").err
    plan = loupe(*train, "--device", "cpu", "--dry-run").out
    assert "device" in plan
    assert "cpu" in plan
