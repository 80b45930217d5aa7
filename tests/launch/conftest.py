from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.launch.bare_api import TRACE, Api, running


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running(tmp_path_factory.mktemp("api"), DATASET_ROOTS="/") as api:
        yield api
        assert TRACE not in api.log.read_text(encoding="utf-8")
