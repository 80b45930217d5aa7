"""``POST /predict``"""

from __future__ import annotations

import base64
import hashlib
import io
import textwrap
from typing import Any

import pytest
from PIL import Image

from tests.conftest import Trained
from tests.pictures import make_picture
from tests.waiting import wait_for

RED = make_picture("red", 1000)


def as_format(image_format: str, **options: Any) -> bytes:
    output = io.BytesIO()
    Image.open(io.BytesIO(RED)).convert("P" if image_format == "GIF" else "RGB").save(
        output, image_format, **options
    )
    return output.getvalue()


def test_a_form_a_raw_body_and_json_are_answered_alike(trained: Trained) -> None:
    client = trained.client
    form = client.post(
        "/predict", files={"file": ("red.png", RED)}, data={"product": "squares", "top_k": "2"}
    )
    raw = client.post("/predict?product=squares&top_k=2", content=RED, headers={"content-type": "image/png"})
    inputs = [{"b64": base64.b64encode(RED).decode(), "name": "red.png"}]
    json = client.post("/predict", json={"product": "squares", "top_k": 2, "inputs": inputs})
    assert form.status_code == raw.status_code == json.status_code == 200
    assert form.json()["predictions"] == raw.json()["predictions"] == json.json()["predictions"]
    answer = form.json()
    assert len(answer["predictions"]) == 2
    assert answer["top"] == answer["predictions"][0]
    assert answer["predictions"][0]["probability"] >= answer["predictions"][1]["probability"]
    assert answer["image"]["format"] == "png"
    assert answer["model"]["alias"] == "champion"
    assert answer["results"][0]["predictions"] == answer["predictions"]


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
def test_base64_is_read_in_its_usual_forms_and_refused_by_its_place(trained: Trained, head: str) -> None:
    text = head + "\n".join(textwrap.wrap(base64.urlsafe_b64encode(RED).decode().rstrip("="), 76))
    body = {"product": "squares", "inputs": [{"b64": text}, {"b64": text}]}
    answer = trained.client.post("/predict", json=body)
    assert [item["image"]["format"] for item in answer.json()["results"]] == ["png", "png"]
    body["inputs"] = [{"b64": text}, {"b64": text[:40] + "*" + text[40:]}]
    refused = trained.client.post("/predict", json=body)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("/inputs/1/b64 is not base64: it has '*' at character 41")
    assert refused.json()["errors"][0]["pointer"] == "/inputs/1/b64"


@pytest.mark.parametrize("part", ['name="file"', 'name="image"\r\nContent-Type: image/png'])
def test_a_picture_in_a_part_without_a_file_name_is_a_picture(trained: Trained, part: str) -> None:
    """More than the 1 MB that a text field may have, and bytes that no text decoding may touch."""
    data = RED + b"\0" * 2**21
    head = f"--xyz\r\nContent-Disposition: form-data; {part}\r\n\r\n".encode()
    answer = trained.client.post(
        "/predict?product=squares",
        content=head + data + b"\r\n--xyz--\r\n",
        headers={"content-type": "multipart/form-data; boundary=xyz"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["image"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert answer.json()["name"] is None


def test_large_images_of_a_form_do_not_lie_in_tmp(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    files = [("file", (f"{number}.png", RED + bytes(3_000_000))) for number in range(3)]
    answer = trained.client.post("/predict", files=files, data={"product": "squares"})
    assert answer.status_code == 200, answer.text


def test_of_several_files_one_bad_one_is_an_error_in_its_own_place(trained: Trained) -> None:
    files = [("file", ("a.png", RED)), ("file", ("b.png", b"not an image")), ("file", ("c.png", RED))]
    answer = trained.client.post("/predict", files=files, data={"product": "squares"}).json()
    assert [item["name"] for item in answer["results"]] == ["a.png", "b.png", "c.png"]
    assert answer["errors"] == 1
    assert answer["results"][1]["error"]["code"] == "undecodable_image"
    assert answer["results"][0]["predictions"] == answer["results"][2]["predictions"]


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n", RED[:200], b"GIF89a", b"<svg/>", b"%PDF-1.7"])
def test_a_single_picture_that_cannot_be_decoded_is_a_422(trained: Trained, data: bytes) -> None:
    answer = trained.client.post("/predict", files={"file": ("x.png", data)}, data={"product": "squares"})
    assert answer.status_code == 422
    assert answer.json()["code"] == "undecodable_image"


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(trained: Trained) -> None:
    output = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(output, "PNG")
    answer = trained.client.post(
        "/predict", files={"file": ("x.png", output.getvalue())}, data={"product": "squares"}
    )
    assert answer.status_code == 413


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_every_format_is_decoded_whatever_its_name_says(trained: Trained, image_format: str) -> None:
    data = as_format(image_format)
    answer = trained.client.post("/predict", files={"file": ("x.png", data)}, data={"product": "squares"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["image"]["format"] == image_format.lower()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 422),
        ({"product": "nothing"}, 404),
        ({"job": "job_nothing"}, 404),
        ({"model": "mdl_nothing"}, 404),
        ({"product": "squares@night-shift"}, 404),
        ({"product": "squares", "top_k": "0"}, 422),
        ({"product": "squares", "top_k": "many"}, 422),
    ],
)
def test_a_question_to_no_model_is_refused(trained: Trained, query: dict[str, str], status: int) -> None:
    answer = trained.client.post("/predict", files={"file": ("red.png", RED)}, data=query)
    assert answer.status_code == status
    assert answer.json()["hint"] or answer.json()["errors"]


def test_a_form_without_a_picture_and_one_with_too_many_are_refused(trained: Trained) -> None:
    client = trained.client
    empty = client.post("/predict", files={"product": (None, "squares")})
    assert empty.status_code == 422
    assert "no image" in empty.json()["detail"]
    named_otherwise = client.post("/predict", files={"image": ("red.png", RED)}, data={"product": "squares"})
    assert named_otherwise.status_code == 200
    many = [
        ("file", (f"{index}.png", RED)) for index in range(trained.context.settings.max_predict_files + 1)
    ]
    answer = client.post("/predict", files=many, data={"product": "squares"})
    assert answer.status_code == 413


def test_a_damaged_model_is_not_served(trained: Trained) -> None:
    """The last guard: one flipped bit in the artifact, and it answers nothing."""
    client, context = trained.client, trained.context
    model = client.get(f"/models?job={trained.job}").json()["data"][0]["id"]
    file = next((context.storage.models / model).rglob("model.tflite"))
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    client.app.state.model_cache.drop(model)  # type: ignore[attr-defined]
    file.write_bytes(damaged)
    try:
        answer = client.post("/predict", files={"file": ("red.png", RED)}, data={"model": model})
        assert answer.status_code == 500
        assert answer.json()["code"] == "artifact_damaged"
    finally:
        file.write_bytes(whole)

    def answers() -> bool:
        again = client.post("/predict", files={"file": ("red.png", RED)}, data={"model": model})
        return again.status_code == 200

    wait_for(answers, 10, "the next try of the load")


def test_the_answer_says_how_long_each_stage_took(trained: Trained) -> None:
    pictures = [("file", ("red.png", RED))] * 2
    answer = trained.client.post("/predict?product=squares", files=pictures)
    parts = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert list(parts) == ["queue", "decode", "inference", "total"]
    decode = sum(item["timing"]["decode_ms"] for item in answer.json()["results"])
    assert float(parts["decode"]) == pytest.approx(decode, abs=0.01)
    # Two threads may answer at once: the total is that of a clock, the stages are sums.
    slowest = max(item["timing"]["inference_ms"] for item in answer.json()["results"])
    assert float(parts["total"]) > slowest > 0
    assert float(parts["inference"]) >= slowest


@pytest.mark.parametrize("name", ["product", "job", "model"])
def test_a_name_that_nothing_can_have_is_refused_before_it_is_looked_up_or_kept(
    trained: Trained, name: str
) -> None:
    """The first answered with one that was as long, and each question is kept in memory."""
    long = "x" * 2_000
    body = {name: long, "inputs": [{"b64": base64.b64encode(RED).decode()}]}
    for sent in ({"json": body}, {"files": {"file": RED}, "data": {name: long}}):
        answer = trained.client.post("/predict", **sent)
        assert answer.status_code == 422
        assert len(answer.content) < 1_000


def test_a_path_that_ends_in_a_control_character_is_no_route(trained: Trained) -> None:
    for path in ("/predict%0A", "/v1/predict%0A", "/healthz%0A", "/predict%00"):
        assert (
            trained.client.post(path, content=RED, headers={"content-type": "image/png"}).status_code == 404
        )
