"""What the children of ``loupe up`` read is what it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.config import SEPARATORS, Settings, environment_of

GIVEN = {
    "dataset_roots": "/data/a:/data/b",
    "allowed_hosts": "loupe.example,*.lab.example",
    "webhook_hosts": "hooks.example,*",
    "cors_origins": "https://a.example,http://localhost:3000",
    "root_path": "/loupe",
    "trusted_proxies": "10.0.0.0/8,::1",
    "api_key": "s3cret",
    "storage_path_style": True,
}


@pytest.mark.parametrize("given", [{}, GIVEN])
def test_every_setting_reaches_the_children_as_it_is(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path, _env_file=None, **given)
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None) == settings


def test_every_setting_that_is_a_list_has_its_separator() -> None:
    lists = {name for name, field in Settings.model_fields.items() if isinstance(field.default, tuple)}
    assert lists == SEPARATORS.keys()
