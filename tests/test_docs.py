"""The documents say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from app.config import Settings
from app.images.formats import FORMATS, READABLE
from app.main import create_app
from docs.generate import DOCUMENTS, ROOT

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md")
PROSE = (*PAGES, *sorted((ROOT / "docs").rglob("*.md")))

# Idioms that name no subject or mean something else to a reader whose first language is another.
MISLEADING = (
    "are told",
    "be told",
    "believes in",
    "each thing",
    "goes on on",
    "held against",
    "hurts",
    "is told",
    "nothing need be",
    "says so",
    "such things",
    "tells of",
    "told of",
    "whole things",
)


@pytest.mark.parametrize("path", sorted(DOCUMENTS))
def test_a_generated_document_is_what_the_code_gives_now(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == DOCUMENTS[path](), "run `make docs`"


def test_every_link_between_documents_leads_somewhere() -> None:
    for document in PROSE:
        text = re.sub(r"`[^`\n]+`", "", document.read_text(encoding="utf-8"))  # brackets in code link nowhere
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_documents_have_none_of_the_phrases_that_mislead() -> None:
    # A line may break inside a phrase.
    phrases = re.compile(r"\b(" + "|".join(MISLEADING).replace(" ", r"\s+") + r")\b", re.IGNORECASE)
    found = []
    for document in PROSE:
        text = document.read_text(encoding="utf-8")
        for match in phrases.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{document.relative_to(ROOT)}:{line}: {' '.join(match[0].split())}")
    assert not found, "\n".join(sorted(found))


def test_the_make_targets_that_the_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for document in PROSE:
        text = document.read_text(encoding="utf-8")
        assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets, document.name


def test_every_operation_and_every_field_of_a_request_is_described() -> None:
    document = create_app(Settings(_env_file=None)).openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), f"{method} {path}"
    for name in (
        "JobCreate",
        "ProductCreate",
        "Hyperparameters",
        "SplitSettings",
        "WebhookCreate",
        "WebhookUpdate",
    ):
        for field, schema in document["components"]["schemas"][name]["properties"].items():
            assert "description" in schema or "$ref" in schema or "allOf" in schema, f"{name}.{field}"


def test_the_locks_hold_hashes_and_name_no_index() -> None:
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    names = {"api", "train", "gpu", "dev", "ui", "tools", "peers", "site", "tensorboard"}
    names |= {"mlflow", "mlflow-test"}
    assert {path.stem for path in locks} == names
    for path in locks:
        text = path.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text
    assert "tensorflow" not in Path(ROOT / "requirements/api.txt").read_text(encoding="utf-8")


def test_the_api_document_is_valid_json_with_one_error_shape() -> None:
    document = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))
    for operations in document["paths"].values():
        for operation in operations.values():
            content = operation["responses"]["default"]["content"]
            assert content["application/problem+json"]["schema"]["$ref"] == "#/components/schemas/Problem"
    assert "Problem" in document["components"]["schemas"]


def test_every_reference_in_the_api_document_resolves() -> None:
    text = (ROOT / "docs/openapi.json").read_text(encoding="utf-8")
    schemas = json.loads(text)["components"]["schemas"]
    references = set(re.findall(r'"\$ref": "([^"]+)"', text))
    assert references
    assert references <= {f"#/components/schemas/{name}" for name in schemas}


def test_the_formats_and_extensions_in_the_documents_are_those_that_are_read() -> None:
    text = (ROOT / "docs/datasets.md").read_text(encoding="utf-8")
    assert READABLE in text
    rows = re.findall(r"^\| (\w+) \| ([a-z, ]+) \|$", text, re.MULTILINE)
    assert [row for row in rows if row[0] != "format"] == [
        (entry.label, ", ".join(entry.extensions)) for entry in FORMATS
    ]
