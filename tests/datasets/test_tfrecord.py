from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.datasets.manifest import DatasetManifest, image_path, load_manifest, read_image
from app.datasets.tfrecord import RecordReader, ensure_records, find_damage, write_records
from app.errors import DatasetError
from app.images.decode import decode_image
from app.images.resize import FIRST_RULE, Fit

SIZE = (6, 9)
FIT = Fit(FIRST_RULE, SIZE)


@pytest.fixture
def dataset(importer: Any, write_zip: Any, two_classes: dict[str, bytes]) -> tuple[DatasetManifest, Path]:
    importer(write_zip({**two_classes, "schön/ü.png": two_classes["cat/0.png"]}))
    return load_manifest(importer.root / "dataset"), importer.images


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_records_are_read_back_at_random_as_the_pictures_they_were_made_of(
    dataset: tuple[DatasetManifest, Path], tmp_path: Path
) -> None:
    manifest, images = dataset
    write_records(manifest, images, SIZE, tmp_path / "records", shard_bytes=2000)
    assert len(list((tmp_path / "records").glob("*.tfrecord"))) > 1
    reader = RecordReader(tmp_path / "records")
    assert len(reader) == len(manifest.items)
    chosen = [8, 0, 3, 3, 7]
    pixels, labels = reader.read(chosen)
    assert pixels.shape == (5, *SIZE, 3)
    assert [pixels.dtype, labels.dtype] == [np.dtype(np.uint8), np.dtype(np.int32)]
    for row, index in enumerate(chosen):
        item = manifest.items[index]
        expected = decode_image(read_image(images, item), fit=FIT).pixels
        assert np.array_equal(pixels[row], expected)
        assert manifest.classes[labels[row]] == item.label
    assert reader.labels.tolist() == [manifest.classes.index(item.label) for item in manifest.items]
    pixels[:] = 0
    assert np.array_equal(
        reader.read([8])[0][0], decode_image(read_image(images, manifest.items[8]), fit=FIT).pixels
    )


@pytest.mark.slow
def test_tensorflow_reads_the_same_examples(dataset: tuple[DatasetManifest, Path], tmp_path: Path) -> None:
    manifest, images = dataset
    write_records(manifest, images, SIZE, tmp_path / "plain", shard_bytes=2000)
    write_records(manifest, images, SIZE, tmp_path / "compressed", shard_bytes=2000, compression="gzip")
    script = """
import json, sys
import tensorflow as tf
rows = []
shards = [sorted(tf.io.gfile.glob(sys.argv[1] + name)) for name in ("/plain/*.tfrecord", "/compressed/*.gz")]
plain = tf.data.TFRecordDataset(shards[0])
compressed = tf.data.TFRecordDataset(shards[1], compression_type="GZIP")
for record in plain.concatenate(compressed):
    feature = tf.train.Example.FromString(record.numpy()).features.feature
    integers = {key: feature[key].int64_list.value[0] for key in feature if feature[key].int64_list.value}
    texts = {key: feature[key].bytes_list.value[0].hex() for key in feature if feature[key].bytes_list.value}
    rows.append({**integers, **texts})
print(json.dumps(rows))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    rows = json.loads(ran.stdout)
    for row, item in zip(rows, manifest.items * 2, strict=True):
        pixels = decode_image(read_image(images, item), fit=FIT).pixels
        assert row == {
            "image/height": 6,
            "image/width": 9,
            "image/channels": 3,
            "image/class/label": manifest.classes.index(item.label),
            "image/class/text": item.label.encode().hex(),
            "image/filename": item.name.encode().hex(),
            "image/id": item.id.encode().hex(),
            "image/raw": pixels.tobytes().hex(),
        }


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_the_bytes_depend_on_the_dataset_alone(
    dataset: tuple[DatasetManifest, Path], tmp_path: Path, compression: Any
) -> None:
    for name, threads in (("a", 1), ("b", 4)):
        write_records(*dataset, SIZE, tmp_path / name, compression=compression, threads=threads)
    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "b")
    if compression:
        time_in_header = first["records-00000-of-00001.tfrecord.gz"][4:8]
        assert time_in_header == bytes(4)


def test_records_are_written_once_and_reused(dataset: tuple[DatasetManifest, Path], tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    folder = ensure_records(*dataset, SIZE, tmp_path / "cache", progress=lambda *at: calls.append(at))
    assert calls[-1] == (9, 9)
    calls.clear()
    again = ensure_records(*dataset, SIZE, tmp_path / "cache", progress=lambda *at: calls.append(at))
    assert (again, calls) == (folder, [])
    assert ensure_records(*dataset, (9, 6), tmp_path / "cache") != folder


@pytest.mark.parametrize("damage", ["flip", "cut", "index", "offsets", "missing"])
def test_damaged_records_are_found_and_written_again(
    dataset: tuple[DatasetManifest, Path], tmp_path: Path, damage: str
) -> None:
    folder = ensure_records(*dataset, SIZE, tmp_path)
    before = contents(folder)
    name = {"index": "records.json", "offsets": "offsets.npy"}.get(damage, "records-00000-of-00001.tfrecord")
    data = bytearray(before[name])
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data if damage != "cut" else data[:-1])
    if damage == "index":
        (folder / name).write_bytes(before[name][:-5])
    if damage == "missing":
        (folder / name).unlink()
    assert find_damage(folder)
    assert contents(ensure_records(*dataset, SIZE, tmp_path)) == before


def test_a_failure_leaves_no_records_behind(dataset: tuple[DatasetManifest, Path], tmp_path: Path) -> None:
    manifest, images = dataset
    image_path(images, manifest.items[-1].sha256).write_bytes(b"damaged")
    with pytest.raises(DatasetError, match="is damaged"):
        ensure_records(manifest, images, SIZE, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["home"]


def test_of_several_that_ask_at_once_one_writes(
    dataset: tuple[DatasetManifest, Path], tmp_path: Path
) -> None:
    written: list[tuple[int, int]] = []
    folders: list[Path] = []

    def ask() -> None:
        folders.append(ensure_records(*dataset, SIZE, tmp_path, progress=lambda *at: written.append(at)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(folders)) == 1
    assert len(folders) == 4
    assert len(written) == 9


def test_one_reader_serves_many_threads(dataset: tuple[DatasetManifest, Path], tmp_path: Path) -> None:
    reader = RecordReader(ensure_records(*dataset, SIZE, tmp_path))
    expected = reader.read(range(len(reader)))[0]
    wrong: list[int] = []

    def check(seed: int) -> None:
        for _ in range(50):
            chosen = np.random.default_rng(seed).integers(0, len(reader), 16)
            if not np.array_equal(reader.read(chosen)[0], expected[chosen]):
                wrong.append(seed)

    threads = [threading.Thread(target=check, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_compressed_or_missing_records_cannot_be_opened_at_random(
    dataset: tuple[DatasetManifest, Path], tmp_path: Path
) -> None:
    write_records(*dataset, SIZE, tmp_path / "records", compression="gzip")
    with pytest.raises(DatasetError, match="compressed"):
        RecordReader(tmp_path / "records")
    with pytest.raises(DatasetError, match="no readable records"):
        RecordReader(tmp_path / "nothing")


def test_reading_and_writing_records_does_not_load_tensorflow() -> None:
    script = "import sys, app.datasets.tfrecord; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
