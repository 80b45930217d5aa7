"""``loupe compare``"""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import Answer, Received, Run, Server, as_json

JOB: dict[str, Any] = {
    "id": "job_1", "kind": "training", "status": "succeeded", "stage": None, "product": "screws",
    "network": "resnet18", "dataset": {"id": "dst_1"}, "hyperparameters": {"epochs": 20, "seed": 0},
    "split": {"train": 0.7, "counts": {"train": 70}}, "class_map": None, "device": "auto", "gpus": 1,
    "best": {"epoch": 7, "metric": "valid_accuracy", "value": 0.9}, "model": "mdl_1", "gate": None,
    "started_at": "2026-01-02T03:04:05.000Z", "finished_at": "2026-01-02T03:05:35.000Z",
}  # fmt: skip
OTHER = {
    **JOB, "id": "job_2", "network": "mobilenet_v2", "hyperparameters": {"epochs": 5, "seed": 0},
    "split": {"train": 0.8, "counts": {"train": 80}}, "model": "mdl_2",
}  # fmt: skip
FAILED = {**JOB, "id": "job_3", "status": "failed", "model": None, "best": None, "finished_at": None}
IMPORT = {**JOB, "id": "job_4", "kind": "import"}
TEST = {"accuracy": {"value": 0.95, "low": 0.9, "high": 0.98}, "items": 100}
PAIR = {
    "first": "mdl_2", "second": "mdl_1", "images": 90, "both_right": 60, "only_this_right": 25,
    "only_other_right": 5, "p_value": 0.0003, "verdict": "better",
}  # fmt: skip


def answer_with(*pairs: dict[str, Any]) -> Any:
    jobs = {job["id"]: job for job in (JOB, OTHER, FAILED, IMPORT)}

    def answer(request: Received) -> Answer:
        path = request.path.partition("?")[0]
        if path.endswith("/leaderboard"):
            return as_json({"pairs": list(pairs)})
        if path.endswith("/metrics"):
            return as_json({"test": None if "job_3" in path else TEST})
        return as_json(jobs[path.rpartition("/")[2]])

    return answer


def words(text: str) -> str:
    return " ".join(text.split())


def test_it_shows_what_differs_the_figures_and_who_is_better(loupe: Run, server: Server) -> None:
    server.answer = answer_with(PAIR)
    ended = loupe("compare", "job_1", "job_2", "job_3", "--server", server.url)
    assert ended.status == 0, ended.err
    out = words(ended.out)
    assert "A job_1 resnet18 succeeded B job_2 mobilenet_v2 succeeded C job_3 resnet18 failed" in out
    assert "network resnet18 mobilenet_v2 resnet18 epochs 20 5 20 split.train 0.7 0.8 0.7" in out
    assert "seed" not in out
    assert "test accuracy 0.9500 (0.900 to 0.980) 0.9500 (0.900 to 0.980) -" in out
    assert "1 min 30 s" in out
    assert "B against A: better on 90 images that both were tested on" in out
    assert "25 : 5, p 0.0003" in out
    assert "Without a model, so not compared: C" in ended.err
    asked = [request.path for request in server.requests if "leaderboard" in request.path]
    assert asked == ["/products/screws/leaderboard?job=job_1&job=job_2"]


def test_accuracies_on_other_images_are_not_compared(loupe: Run, server: Server) -> None:
    server.answer = answer_with()
    out = words(loupe("compare", "job_1", "job_2", "--server", server.url).out)
    assert "A against B: no test images in common, so their accuracies cannot be compared." in out


def test_a_script_gets_all_of_it(loupe: Run, server: Server) -> None:
    server.answer = answer_with(PAIR)
    found = loupe("compare", "job_1", "job_2", "--json", "--server", server.url).json
    assert [job["id"] for job in found["jobs"]] == ["job_1", "job_2"]
    assert found["tests"]["job_1"]["items"] == 100
    assert found["pairs"] == [PAIR]


def test_one_job_and_what_is_no_training_are_refused(loupe: Run, server: Server) -> None:
    server.answer = answer_with()
    alone = loupe("compare", "job_1", "job_1", "--server", server.url)
    assert (alone.status, "Two to 10 different trainings" in alone.err) == (1, True)
    odd = loupe("compare", "job_1", "job_4", "--server", server.url)
    assert (odd.status, "job_4 is no training: its kind is import" in odd.err) == (1, True)
