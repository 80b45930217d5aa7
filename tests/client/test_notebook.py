"""docs/notebook.ipynb runs from its first cell to its last, and stands in git without what it printed"""

from __future__ import annotations

import json
import re
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from docs.generate import ROOT
from tests.conftest import Service

NOTEBOOK = ROOT / "docs/notebook.ipynb"

pytestmark = pytest.mark.filterwarnings("ignore")  # of Jupyter's own packages


def test_the_notebook_stands_without_outputs_as_jupyter_writes_it() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    notebook = json.loads(text)

    nbformat.validate(notebook)
    assert text == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not [cell["id"] for cell in codes if cell["outputs"] or cell["execution_count"] is not None]


@pytest.mark.integration
def test_every_cell_runs_and_shows_what_the_text_promises(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOUPE_SERVER", service.url)
    monkeypatch.delenv("LOUPE_API_KEY", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)

    NotebookClient(notebook, timeout=240, kernel_name="python3").execute()

    shown = [_text(cell) for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert any(re.search(r"circle\s+40", text) for text in shown), "images of each class"
    curves = next(text for text in shown if "valid_accuracy" in text)
    assert curves.count("\n") >= 8, "four epochs of two trainings"
    assert any("image/png" in output.get("data", {}) for output in _outputs(notebook)), "the plot"
    assert any("is champion" in text for text in shown)
    assert any("predicted" in text for text in shown), "the confusion matrix"
    answers = next(text for text in shown if "probability" in text)
    assert answers.count("triangle") >= 2


def _outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def _text(cell: Any) -> str:
    return "\n".join(output.get("data", {}).get("text/plain", "") for output in cell.outputs)
