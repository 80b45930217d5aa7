"""Multipart forms as they come from curl, scripts and browsers, not only as browsers send them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.invalid_requests import SEE_DOCS
from app.api.nearest import no_such
from app.api.text import check_text
from app.errors import FieldError, InvalidRequestError, TooLargeError

FILE = "file"
MAX_FIELDS = 20
MAX_NAME_BYTES = 1024


@asynccontextmanager
async def read_form(
    request: Request, *, fields: Collection[str], max_files: int, folder: Path
) -> AsyncIterator[FormData]:
    """The form of a request that may have ``fields`` beside its files. Raises InvalidRequestError.

    Large files lie in ``folder`` meanwhile, without a name: a process that is killed leaves nothing there.
    """
    parser = FileFormParser(request.headers, request.stream(), max_files=max_files, max_fields=MAX_FIELDS)
    parser.folder = str(folder)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise TooLargeError(
                f"The form has more files than the {max_files} that one request may hold.",
                hint="Send several requests.",
            ) from error
        raise InvalidRequestError(
            f"The form cannot be read: {error.message}",
            hint="Let the client write the form and its Content-Type: curl -F file=@FILE …",
        ) from error
    try:
        _check_fields(form, fields)
        await _check_files(form)
        yield form
    finally:
        await form.close()


class FileFormParser(MultiPartParser):
    """A part named ``file``, or one with an image's type, is a file also when it has no file name.

    Starlette would read it as a text field: of at most 1 MB, and changed by decoding. It would also keep
    large files in /tmp, which often is memory that nobody counts.
    """

    folder: str

    def on_headers_finished(self) -> None:
        part = self._current_part
        _, options = parse_options_header(part.content_disposition)
        types = [value for name, value in part.item_headers if name == b"content-type"]
        is_file = options.get(b"name") == FILE.encode() or any(one.startswith(b"image/") for one in types)
        if is_file and b"filename" not in options and part.content_disposition is not None:
            part.content_disposition += b'; filename=""'
        super().on_headers_finished()
        if part.file is not None:
            self._files_to_close_on_error.pop().close()
            spool = _open_spool(self.spool_max_size, self.folder)
            self._files_to_close_on_error.append(spool)
            part.file = UploadFile(spool, size=0, filename=part.file.filename, headers=part.file.headers)


def _open_spool(most_in_memory: int, folder: str) -> Any:
    return SpooledTemporaryFile(most_in_memory, dir=folder)


def _check_fields(form: FormData, known: Collection[str]) -> None:
    texts = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    names = [(name, part.filename or "") for name, part in form.multi_items() if isinstance(part, UploadFile)]
    check_text([*texts, *names])
    given = [name for name, _ in texts]
    errors = [
        FieldError(name, no_such("field", name, {FILE, *known}))
        for name in dict.fromkeys(given)
        if name not in known
    ]
    errors += [
        FieldError(name, f"given {given.count(name)} times, takes one value")
        for name in dict.fromkeys(given)
        if name in known and given.count(name) > 1
    ]
    if errors:
        raise InvalidRequestError(
            f"{errors[0].pointer}: {errors[0].message}",
            hint=f"A file is sent as curl -F {FILE}=@FILE. {SEE_DOCS}",
            errors=tuple(errors),
        )


async def _check_files(form: FormData) -> None:
    """Raises InvalidRequestError where a part has the name of a file instead of the file."""
    for name, part in form.multi_items():
        if not isinstance(part, UploadFile) or part.filename or not 0 < (part.size or 0) <= MAX_NAME_BYTES:
            continue
        data = await part.read()
        await part.seek(0)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            continue
        if text.isprintable():
            raise InvalidRequestError(
                f"The part {name!r} holds the text {text[:100]!r}, not a file.",
                hint=f"curl sends a file with an @ before its name: curl -F {name}=@FILE …",
                errors=(FieldError(name, "a text, not a file"),),
            )
