"""``labels`` of an import: a table says the classes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.config import Settings
from app.context import AppContext
from tests.clients import local_client
from tests.pictures import COLOURS, make_picture, make_zip, write_folder
from tests.running import TINY, run_queued


def flat(*tables: str) -> dict[str, bytes]:
    """Twelve images of each colour in one folder, and tables that name them."""
    images = {
        f"{label}_{number}.png": make_picture(label, number) for label in COLOURS for number in range(12)
    }
    rows = "".join(f"{name},{name.split('_')[0]},part{number // 3}\n" for number, name in enumerate(images))
    return images | {table: f"file_name,label,group\n{rows}".encode() for table in tables}


def test_a_product_is_trained_from_a_flat_folder_and_a_table(client: TestClient, context: AppContext) -> None:
    client.post("/products", json={"id": "p"})
    archive = {"file": ("flat.zip", make_zip(flat("labels.csv")))}
    dataset = client.post("/products/p/datasets", files=archive).raise_for_status().json()
    run_queued(context)
    found = client.get(f"/datasets/{dataset['id']}").json()
    assert {entry["name"]: entry["count"] for entry in found["classes"]} == dict.fromkeys(sorted(COLOURS), 12)
    report = client.get(f"/datasets/{dataset['id']}/report").json()
    assert report["labels_from"] == ["labels.csv"]
    assert report["groups"]["count"] == 12
    body = {"product": "p", "network": "tiny_cnn", "hyperparameters": TINY}
    job = client.post("/jobs", json=body).raise_for_status().json()
    run_queued(context)
    assert client.get(f"/jobs/{job['id']}").json()["status"] == "succeeded"


@pytest.mark.parametrize("way", ["form", "query", "json", "retry"])
def test_the_table_is_chosen_in_every_way_in(
    settings: Settings, context: AppContext, tmp_path: Any, way: str
) -> None:
    files, chosen = flat("a.csv", "b.csv"), {"labels": "b.csv"}
    folder = write_folder(tmp_path / "roots" / "flat", files)
    with local_client(settings.model_copy(update={"dataset_roots": (tmp_path / "roots",)})) as client:
        client.post("/products", json={"id": "p"})
        path, archive = "/products/p/datasets", {"file": ("flat.zip", make_zip(files))}
        match way:
            case "form":
                dataset = client.post(path, files=archive, data=chosen).raise_for_status().json()
            case "query":
                dataset = client.post(path, files=archive, params=chosen).raise_for_status().json()
            case "json":
                dataset = client.post(path, json={"path": str(folder), **chosen}).raise_for_status().json()
            case "retry":
                dataset = client.post(path, files=archive).raise_for_status().json()
                run_queued(context)
                failed = client.get(f"/datasets/{dataset['id']}").json()["error"]
                assert failed["code"] == "choice_needed"
                assert [error["message"] for error in failed["errors"]] == ["a.csv", "b.csv"]
                client.post(f"/jobs/{dataset['job']}/retry", json=chosen).raise_for_status()
        run_queued(context)
        assert client.get(f"/datasets/{dataset['id']}/report").json()["labels_from"] == ["b.csv"]


def test_the_text_files_of_digits_become_a_table_as_the_document_says(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[2] / "docs/coming-from.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(cd ~/my-images\nawk .*?)loupe dataset import[^\n]*\n```", page, re.DOTALL)
    files = {
        f"{label}/{n} of 8.png": make_picture(label.split()[-1], n)
        for label in ("blue", "dark red")
        for n in range(8)
    }
    folder = write_folder(tmp_path / "my-images", files)
    lines = [f"{folder / name} {int(name.startswith('dark'))}\n" for name in sorted(files)]
    (folder / "labels.txt").write_text("blue\ndark red\n")
    (folder / "train.txt").write_text("".join(lines[0:6] + lines[8:14]))
    (folder / "val.txt").write_text("".join(lines[6:8] + lines[14:16]))

    subprocess.run(["bash", "-ec", block], env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=True)

    client.post("/products", json={"id": "p"})
    archive = {"file": ("x.zip", make_zip(files | {"labels.csv": (folder / "labels.csv").read_bytes()}))}
    asked = client.post("/products/p/datasets", files=archive, data={"labels": "labels.csv"})
    dataset = asked.raise_for_status().json()["id"]
    run_queued(context)
    classes = client.get(f"/datasets/{dataset}").json()["classes"]
    assert {entry["name"]: entry["count"] for entry in classes} == {"blue": 8, "dark red": 8}
    items = client.get(f"/datasets/{dataset}/items").json()["data"]
    assert sorted(item["split"] for item in items) == ["train"] * 12 + ["valid"] * 4
