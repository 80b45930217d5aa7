from __future__ import annotations

from tests.cli.conftest import Run, Server, as_json

WORKER = {
    "id": "wrk_01", "status": "alive", "host": "box", "pid": 7, "queue": "training", "concurrency": 2,
    "version": "0.1.0", "started_at": "2026-01-01T00:00:00.000Z", "last_beat_at": "2026-01-01T00:00:00.000Z",
    "beat_age_seconds": 3.2,
    "devices": {
        "cpu_cores": 8, "memory_bytes": 2**36,
        "gpus": [{"index": 0, "name": "NVIDIA A30", "id": "GPU-1", "memory_bytes": 24 * 2**30}],
    },
    "jobs": [{"id": "job_01", "kind": "training", "product": "p", "stage": "training", "fraction": 0.25}],
}  # fmt: skip


def test_workers_are_shown_with_their_devices_and_what_they_run(loupe: Run, server: Server) -> None:
    page = {"data": [WORKER, {**WORKER, "id": "wrk_00", "status": "lost", "jobs": []}]}
    server.answer = lambda _: as_json({**page, "has_more": False, "next_cursor": None})

    ended = loupe("workers", "--server", server.url)

    assert ended.status == 0
    _, alive, lost = ended.out.splitlines()
    assert alive.split()[:6] == ["wrk_01", "alive", "box", "7", "training", "1/2"]
    assert "8 cores, 64.0 GiB, NVIDIA A30 (24.0 GiB)" in alive
    assert "training job_01 25%" in alive
    assert lost.split()[:6] == ["wrk_00", "lost", "box", "7", "training", "0/2"]


def test_without_a_worker_it_says_how_to_start_one(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({"data": [], "has_more": False, "next_cursor": None})

    assert "loupe worker --queue" in loupe("workers", "--server", server.url).err
