"""``loupe leaderboard``"""

from __future__ import annotations

from tests.cli.conftest import Run, Server, as_json

ROW = {
    "place": 1, "model": "mdl_2", "version": 2, "network": "resnet18", "job": "job_2", "aliases": [],
    "passed_gate": True, "accuracy": {"value": 0.95, "low": 0.9, "high": 0.98}, "items": 100,
    "common": {"value": 0.95, "low": 0.888, "high": 0.978}, "created_at": "2026-01-02T03:04:05.000Z",
    "against_champion": {
        "images": 100, "both_right": 70, "only_this_right": 25, "only_other_right": 0, "p_value": 6e-8,
        "verdict": "better",
    },
}  # fmt: skip
CHAMPION = {**ROW, "place": 2, "model": "mdl_1", "version": 1, "against_champion": None}
APART = {**ROW, "place": None, "model": "mdl_3", "common": None, "against_champion": None}


def test_it_says_who_is_better_than_the_champion_and_by_how_many_images(loupe: Run, server: Server) -> None:
    board = {"product": "screws", "champion": "mdl_1", "common_images": 100, "pairs": []}
    server.answer = lambda _: as_json({**board, "models": [ROW, CHAMPION, APART]})
    ended = loupe("leaderboard", "screws", "--server", server.url)
    assert ended.status == 0
    assert "better, 25 : 0" in " ".join(ended.out.split())
    assert "no images in common" in " ".join(ended.out.split())
    assert "100 that all models with a place" in ended.err


def test_without_models_it_says_what_to_do(loupe: Run, server: Server) -> None:
    board: dict[str, object] = {
        "product": "screws",
        "champion": None,
        "common_images": 0,
        "pairs": [],
        "models": [],
    }
    server.answer = lambda _: as_json(board)
    assert "loupe train screws" in loupe("leaderboard", "screws", "--server", server.url).err
