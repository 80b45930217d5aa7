"""Moving a Loupe to a shared storage, with nothing but the database taken along."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.clients import local_client
from tests.conftest import Trained
from tests.pictures import make_files


def test_what_was_pushed_is_all_that_another_home_needs(
    trained: Trained, loupe: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = trained.context.settings
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("LOUPE_STORAGE_URL", f"file://{tmp_path / 'shared'}")
    for _ in range(2):
        ended = loupe("storage", "push", "--home", settings.home)
        assert ended.status == 0, ended.err
        assert f"file://{tmp_path / 'shared'} has all of it." in " ".join(ended.out.split())

    new = settings.model_copy(
        update={
            "home": tmp_path / "new",
            "database_url": settings.resolved_database_url,
            "storage_url": f"file://{tmp_path / 'shared'}",
        }
    )
    with local_client(new, raise_server_exceptions=False) as client:
        picture = next(iter(make_files(1).values()))
        headers = {"content-type": "image/png"}
        for path in ("/predict?product=squares", f"/predict?job={trained.job}"):
            assert client.post(path, content=picture, headers=headers).status_code == 200
        items = client.get(f"/datasets/{trained.dataset}/items?job={trained.job}").json()["data"]
        assert {item["split"] for item in items} == {"train", "valid", "test"}
        shown = client.get(f"/datasets/{trained.dataset}/items/{items[0]['id']}/image")
        assert shown.content in make_files().values()
        for path in ("logs/training_result_step.log", "logs/test_result.log", "evaluation/predictions"):
            there, here = (one.get(f"/jobs/{trained.job}/{path}") for one in (client, trained.client))
            assert (there.status_code, there.text) == (200, here.text)


def test_what_is_not_here_is_told(
    trained: Trained, loupe: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("LOUPE_STORAGE_URL", f"file://{tmp_path / 'shared'}")
    monkeypatch.setenv("LOUPE_DATABASE_URL", trained.context.settings.resolved_database_url)
    ended = loupe("storage", "push", "--home", tmp_path / "empty")
    assert ended.status == 1
    assert "not in" in ended.err
    shutil.rmtree(tmp_path / "shared")
    assert "no folder" in loupe("storage", "push", "--home", tmp_path / "empty").err


def test_without_a_storage_there_is_nowhere_to_push_to(loupe: Run, tmp_path: Path) -> None:
    ended = loupe("storage", "push", "--home", tmp_path)
    assert ended.status != 0
    assert "LOUPE_STORAGE_URL" in ended.err
