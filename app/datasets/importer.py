"""Imports an upload: decodes every image once, stores the originals, writes manifest and report."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from app.datasets.archives import open_archive
from app.datasets.concurrency import ordered_map
from app.datasets.depth import Depth, read_depth
from app.datasets.folders import FolderSource
from app.datasets.groups import find_groups
from app.datasets.labels import MOST_TABLE_BYTES, READ_TABLES, read_table
from app.datasets.layout import UNLABELLED, Layout, read_layout
from app.datasets.manifest import (
    Item,
    create_manifest,
    image_path,
    item_id,
)
from app.datasets.names import Found, Settled, settle_names
from app.datasets.publishing import Examine, publish_dataset, summarise
from app.datasets.report import Findings, create_report
from app.datasets.sources import HIDDEN, DamagedEntryError, LeftOut, Limits, Source
from app.datasets.spec import ImportResult
from app.datasets.table_layout import (
    Disagreement,
    Files,
    TableLayout,
    find_disagreements,
    read_table_layout,
)
from app.datasets.tables import choose_tables, find_tables, mention_tables
from app.errors import (
    ChoiceNeededError,
    DatasetError,
    FieldError,
    ImageDecodeError,
    ImageTooLargeError,
    StrictImportError,
)
from app.host.files import touch, write_aside
from app.images.decode import decode_image
from app.images.formats import is_meant_as_image
from app.schemas.import_choices import FOLDERS, ImportChoices

Progress = Callable[[int, float], None]
_Content = tuple[str, str, Path, bytes | DamagedEntryError]
"""Of a file: its name, its name as it came, where to keep it, what it holds."""
_THREADS = 2
_ADVICE_IN_RESULT = 20
_TAKE_FOLDERS = (
    "If the folders are the classes: `loupe dataset import PRODUCT PATH --labels folders`, or the field "
    "`labels` with the value `folders`."
)


@dataclass(frozen=True)
class _Picture:
    """A decoded image, its bytes waiting in a file of ours. ``raw``: its name as it came."""

    name: str
    raw: str
    staged: Path
    sha256: str
    bytes: int
    width: int
    height: int
    format: str
    mode: str
    notes: tuple[str, ...]
    largest: int | None
    largest_high_byte: int | None


@dataclass(frozen=True)
class _Rejected:
    """``is_expected``: whether it is no image at all, such as a text file. ``table``: where its content waits
    if it may say the classes of images.
    """

    name: str
    raw: str
    reason: str
    is_corrupt: bool
    is_expected: bool = False
    table: Path | None = None


def import_dataset(
    source: Path,
    image_root: Path,
    out: Path,
    scratch: Path,
    limits: Limits,
    progress: Progress,
    choices: ImportChoices | None = None,
    examine: Examine | None = None,
) -> ImportResult:
    """Imports a folder or an archive into the dataset folder ``out``, which appears when it is complete.

    ``scratch`` is a folder for our own use, on the file system of ``image_root``. ``progress`` is called
    after each file with their number and the fraction done. ``examine`` looks at the images then. Returns the
    result for the parent process. Raises DatasetError and its kinds for an upload that cannot become a
    dataset; nothing of it is then kept.
    """
    choices = choices or ImportChoices()
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        with _open_source(source, limits, choices) as opened:
            pictures, rejected = _decode_all(opened, scratch, progress)
            settled = _settle(pictures, rejected)
            pictures, again = _rename(pictures, settled)
            opened.skipped += again
            tables = find_tables([file.name for file in rejected if not file.is_corrupt])
            folders = _all_folders(opened, pictures, rejected)
            told = _read_layout(pictures, rejected, folders, choices, tables)
            layout = told.layout
            used = [picture for picture in pictures if picture.name in layout.places]
            depth = read_depth(
                [picture.largest for picture in used],
                choices.pixel_range,
                [picture.largest_high_byte for picture in used],
            )
            groups = told.groups | find_groups(layout.places, choices.group_by)
            findings = _to_findings(pictures, rejected, opened, told, settled, depth, groups)
        _check_usable(findings, tables, choices)
        if choices.strict:
            _check_strictly(findings, rejected)
        for picture in pictures:
            if picture.name in layout.places:
                _store(picture, image_root)
        os.sync()  # once instead of an fsync each: the images must survive what their manifest survives
        report, examination = publish_dataset(
            out,
            findings.manifest,
            lambda manifest: create_report(replace(findings, manifest=manifest)),
            examine,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    left_out = len(findings.skipped) + len(findings.corrupt)
    return summarise(findings.manifest, report, skipped=left_out, examination=examination)


def _open_source(path: Path, limits: Limits, choices: ImportChoices) -> Source:
    if path.is_dir():
        return FolderSource(path, limits, choices.name_encoding)
    if not path.is_file():
        raise DatasetError(f"{path} is neither a file nor a folder", hint="Check the path.")
    return open_archive(path, limits, choices.name_encoding)


def _decode_all(source: Source, scratch: Path, progress: Progress) -> tuple[list[_Picture], list[_Rejected]]:
    pictures: list[_Picture] = []
    rejected: list[_Rejected] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        outcomes = ordered_map(pool, _decode, _read_all(source, scratch), ahead=2 * _THREADS)
        for done, outcome in enumerate(outcomes, start=1):
            if isinstance(outcome, _Picture):
                pictures.append(outcome)
            else:
                rejected.append(outcome)
            progress(done, min(source.progress(), 0.999))  # reading runs ahead of decoding
    progress(len(pictures) + len(rejected), 1.0)
    return pictures, rejected


def _settle(pictures: list[_Picture], rejected: list[_Rejected]) -> Settled:
    found = [Found(picture.name, picture.raw, picture.sha256) for picture in pictures]
    return settle_names([*found, *(Found(file.name, file.raw, None) for file in rejected)])


def _rename(pictures: list[_Picture], settled: Settled) -> tuple[list[_Picture], list[LeftOut]]:
    """The images under names that no two share, and those that the upload holds a second time."""
    named = list(zip(pictures, settled.names, strict=False))  # the names of what was rejected come after
    again = "there a second time, with the same content"
    return (
        [replace(picture, name=name) for picture, name in named if name is not None],
        [LeftOut(picture.name, again) for picture, name in named if name is None],
    )


def _read_all(source: Source, scratch: Path) -> Iterator[_Content]:
    for number, file in enumerate(source.files()):
        content: bytes | DamagedEntryError
        try:
            content = file.read()
        except DamagedEntryError as error:
            content = error
        yield file.name, file.raw, scratch / f"{number:08d}", content


def _decode(job: _Content) -> _Picture | _Rejected:
    name, raw, staged, content = job
    if isinstance(content, DamagedEntryError):
        return _Rejected(name, raw, content.detail, is_corrupt=True)
    try:
        image = decode_image(content)
    except ImageTooLargeError as error:
        return _Rejected(name, raw, error.detail, is_corrupt=False)
    except ImageDecodeError as error:
        is_picture = is_meant_as_image(name, content)
        table = None
        if not is_picture and name.casefold().endswith(READ_TABLES) and len(content) <= MOST_TABLE_BYTES:
            staged.write_bytes(content)
            table = staged
        return _Rejected(
            name, raw, error.detail, is_corrupt=is_picture, is_expected=not is_picture, table=table
        )
    staged.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return _Picture(
        name=name,
        raw=raw,
        staged=staged,
        sha256=digest,
        bytes=len(content),
        width=image.width,
        height=image.height,
        format=image.format,
        mode=image.mode,
        notes=image.notes,
        largest=image.largest,
        largest_high_byte=image.largest_high_byte,
    )


def _all_folders(source: Source, pictures: list[_Picture], rejected: list[_Rejected]) -> set[str]:
    folders = set(source.folders)
    for name in [picture.name for picture in pictures] + [file.name for file in rejected]:
        parts = name.split("/")[:-1]
        folders.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))
    return folders


def _to_findings(
    pictures: list[_Picture],
    rejected: list[_Rejected],
    source: Source,
    told: TableLayout,
    settled: Settled,
    depth: Depth,
    groups: Mapping[str, str],
) -> Findings:
    layout = told.layout
    items, modes = [], {}
    for picture in pictures:
        place = layout.places.get(picture.name)
        if place is None:
            continue
        identifier = item_id(place.label, place.split, place.name, picture.sha256)
        modes[identifier] = picture.mode
        items.append(
            Item(
                id=identifier,
                name=place.name,
                label=place.label,
                split=place.split,
                width=picture.width,
                height=picture.height,
                format=picture.format,
                sha256=picture.sha256,
                bytes=picture.bytes,
                notes=depth.correct(picture.notes),
                group=groups.get(picture.name),
            )
        )
    others = [LeftOut(file.name, file.reason) for file in rejected if not file.is_corrupt]
    without_class = [LeftOut(name, reason) for name, reason in layout.skipped.items()]
    return Findings(
        manifest=create_manifest(items, depth.pixel_range),
        depth=depth,
        modes=modes,
        corrupt=[LeftOut(file.name, file.reason) for file in rejected if file.is_corrupt],
        skipped=[*source.skipped, *others, *without_class],
        empty_classes=layout.empty_classes,
        odd_names=settled.odd,
        renamed_folders=settled.renamed_folders,
        tables=find_tables([file.name for file in others]),
        similar_classes=layout.similar_classes,
        labels_from=told.tables,
        disagreements=told.disagreements,
        name_encoding=source.name_encoding,
        encoding_reason=source.encoding_reason,
    )


def _read_layout(
    pictures: list[_Picture],
    rejected: list[_Rejected],
    folders: set[str],
    choices: ImportChoices,
    tables: tuple[str, ...],
) -> TableLayout:
    """Where each image belongs. Folders of two classes and more go before tables."""
    staged = {file.name: file.table for file in rejected if file.table is not None}
    if choices.labels not in (None, FOLDERS):
        return _read_tables(pictures, rejected, staged, choices)
    try:
        layout = read_layout([picture.name for picture in pictures], folders, choices.class_level)
    except ChoiceNeededError:
        raise
    except DatasetError as error:
        if staged and choices.labels is None:
            return _read_tables(pictures, rejected, staged, choices)
        raise DatasetError(error.detail + mention_tables(tables), hint=error.hint) from error
    if not staged or choices.labels is not None:
        return TableLayout(layout)
    if len({place.label for place in layout.places.values()}) > 1:
        return TableLayout(layout, disagreements=_compare_tables(pictures, rejected, staged, layout))
    try:
        return _read_tables(pictures, rejected, staged, choices)
    except ChoiceNeededError:
        raise
    except DatasetError as error:
        instead = f" {_TAKE_FOLDERS}" if layout.places else ""
        raise DatasetError(error.detail, hint=f"{error.hint}{instead}", errors=error.errors) from error


def _read_tables(
    pictures: list[_Picture],
    rejected: list[_Rejected],
    staged: Mapping[str, Path],
    choices: ImportChoices,
) -> TableLayout:
    chosen = choose_tables(staged, choices.labels)
    tables = [read_table(name, staged[name].read_bytes()) for name in chosen]
    return read_table_layout(_name_files(pictures, rejected), tables)


def _compare_tables(
    pictures: list[_Picture], rejected: list[_Rejected], staged: Mapping[str, Path], layout: Layout
) -> tuple[Disagreement, ...]:
    """What tables beside class folders say otherwise. A file that is no such table says nothing."""
    tables = []
    for name, path in staged.items():
        try:
            tables.append(read_table(name, path.read_bytes()))
        except DatasetError:
            continue
    return find_disagreements(_name_files(pictures, rejected), tables, layout)


def _name_files(pictures: list[_Picture], rejected: list[_Rejected]) -> Files:
    return Files(
        images={picture.name: picture.sha256 for picture in pictures},
        others={file.name for file in rejected},
        raw={picture.raw: picture.name for picture in pictures},
    )


def _check_usable(findings: Findings, tables: tuple[str, ...], choices: ImportChoices) -> None:
    manifest = findings.manifest
    if not manifest.items:
        left_out = [*findings.skipped, *findings.corrupt]
        seen = "; ".join(f"{name}: {reason}" for name, reason in left_out[:3])
        raise DatasetError(
            f"there is no image in a class folder{f' ({seen})' if seen else ''}{mention_tables(tables)}",
            hint="Upload a folder for each class with its images inside: CLASS/image.jpg.",
        )
    if len(manifest.classes) < 2 and tables and not findings.labels_from and choices.labels is None:
        raise DatasetError(
            f"there is one class only, '{manifest.classes[0]}'{mention_tables(tables)}",
            hint=f"Arrange them as CLASS/image.jpg. {_TAKE_FOLDERS}",
        )


def _check_strictly(findings: Findings, rejected: list[_Rejected]) -> None:
    """Raises StrictImportError if an image is left out, or is not called what it was called."""
    on_purpose = {(file.name, file.reason) for file in rejected if file.is_expected}
    problems = [FieldError(name.name, f"{name.original} {name.reason}") for name in findings.odd_names]
    problems += [FieldError(" and ".join(names), "are alike") for names in findings.similar_classes]
    problems += [
        FieldError(name, reason)
        for name, reason in (*findings.corrupt, *findings.skipped)
        if reason not in (HIDDEN, UNLABELLED) and (name, reason) not in on_purpose
    ]
    if problems:
        problems.sort(key=lambda problem: problem.pointer)
        raise StrictImportError(problems)


def _store(picture: _Picture, image_root: Path) -> None:
    """Moves an image into the store, unless its sound copy is there; safe while others do the same."""
    target = image_path(image_root, picture.sha256)
    if _is_sound(target, picture.sha256):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        picture.staged.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with write_aside(target, is_shared=True, is_durable=False) as aside:
            shutil.copyfile(picture.staged, aside)


def _is_sound(target: Path, sha256: str) -> bool:
    """Whether an image is in the store. From then on it stays there until the manifest that names it does:
    it is young, and what is young is not collected (``app/jobs/deleted_datasets.py``).
    """
    try:
        return touch(target) and hashlib.sha256(target.read_bytes()).hexdigest() == sha256
    except FileNotFoundError:  # collected between the two
        return False
