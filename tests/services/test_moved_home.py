"""A home folder that was copied or moved is used as the first one was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.context import AppContext
from app.models import Job
from tests.clients import local_client
from tests.running import run_queued, upload_pictures


@pytest.mark.parametrize("is_old_row", [False, True])
def test_an_upload_is_found_in_a_copied_home(
    client: TestClient, context: AppContext, tmp_path: Path, is_old_row: bool
) -> None:
    """Once to be imported there, once to be deleted with its job."""
    imported, refused = (
        upload_pictures(client, name, files)["job"] for name, files in (("a", None), ("b", {}))
    )
    for job in (imported, refused):
        with context.db.write() as session:
            row = session.get_one(Job, job)
            assert row.payload["source"].startswith("scratch/upload-")
            if is_old_row:
                row.payload = {**row.payload, "source": str(context.storage.root / row.payload["source"])}
    copied = context.settings.model_copy(update={"home": tmp_path / "copy"})
    shutil.copytree(context.settings.home, copied.home)
    shutil.rmtree(context.settings.home)
    other = AppContext.open(copied)
    with local_client(copied, raise_server_exceptions=False) as there:
        run_queued(other)
        assert there.get(f"/jobs/{imported}").json()["status"] == "succeeded"
        assert there.get(f"/jobs/{refused}").json()["status"] == "failed"
        for job in (imported, refused):
            assert there.delete(f"/jobs/{job}").status_code == 204
        assert there.get(f"/jobs/{refused}").status_code == 404
    assert list(other.storage.scratch.glob("upload-*")) == []
    other.close()
