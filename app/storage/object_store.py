"""The storage that several hosts share: a bucket on an S3 server, or a folder that all of them mount.

Objects appear under their keys whole or not at all. Whatever the storage does not answer, or refuses, leaves
here as one of two errors, so that it is counted and logged in one place.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ulid import ULID

from app.config import Settings
from app.errors import LoupeError, StorageRefusedError, StorageUnavailableError, is_disk_full

logger = logging.getLogger(__name__)

MARKER = "loupe.json"
"""Written at the first start; reading it proves that the storage answers and is this Loupe's."""
CONNECT_SECONDS = 2
READ_SECONDS = 10
TRIES = 2
# After the storage failed to answer nobody waits for it again for so long: a burst of requests waits once.
PAUSE_SECONDS = 1.0
PART_BYTES = 16 * 2**20
PARTS_AT_ONCE = 4
CONNECTIONS = 32

_HINTS = {
    "NoSuchBucket": "Make the bucket, or name another in LOUPE_STORAGE_URL.",
    "InvalidBucketName": "Correct the bucket's name in LOUPE_STORAGE_URL.",
    "ParamValidationError": "Correct the bucket's name in LOUPE_STORAGE_URL.",
    "InvalidAccessKeyId": "Correct LOUPE_STORAGE_ACCESS_KEY (or AWS_ACCESS_KEY_ID).",
    "SignatureDoesNotMatch": "Correct LOUPE_STORAGE_SECRET_KEY (or AWS_SECRET_ACCESS_KEY).",
    "AccessDenied": "Allow this key to list the bucket, and to get, put and delete its objects.",
    "AuthorizationHeaderMalformed": "Set LOUPE_STORAGE_REGION to the bucket's region.",
    "PermanentRedirect": "Set LOUPE_STORAGE_REGION to the bucket's region.",
    "RequestTimeTooSkewed": "Set the clock of this machine, or of the storage's.",
    "InvalidToken": "Renew AWS_SESSION_TOKEN.",
    "ExpiredToken": "Renew AWS_SESSION_TOKEN.",
    "NoCredentialsError": "Set LOUPE_STORAGE_ACCESS_KEY and LOUPE_STORAGE_SECRET_KEY.",
    "PartialCredentialsError": "Set LOUPE_STORAGE_ACCESS_KEY and LOUPE_STORAGE_SECRET_KEY together.",
    "InvalidEndpoint": "Correct LOUPE_STORAGE_ENDPOINT_URL: http://HOST:PORT or https://HOST.",
}
_CLIENTS = ("botocore", "aiobotocore", "aiohttp", "s3fs", "fsspec")


class ObjectStore:
    """Keys are paths relative to the home folder. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        url = urlsplit(settings.storage_url or "")
        self.url = settings.storage_url or ""
        self.failures = 0
        """How often the storage did not answer or refused, since the start of this process."""
        self._is_folder = url.scheme == "file"
        self._root = url.path.rstrip("/") if self._is_folder else f"{url.netloc}{url.path}".rstrip("/")
        self._paused_until = 0.0
        self._answering_since = time.monotonic()
        self._lock = threading.Lock()
        self._fs: Any = _local_files() if self._is_folder else _s3_files(settings)

    def put_file(self, source: Path, key: str) -> None:
        """Uploads one file; an object that is there already is replaced."""
        with self._answering():
            if self._is_folder:
                aside = f"{self._root}/.part-{ULID()}"
                try:
                    self._fs.put_file(str(source), aside)
                    self._move(aside, key)
                finally:
                    Path(aside).unlink(missing_ok=True)
            else:
                more = {"chunksize": PART_BYTES, "max_concurrency": PARTS_AT_ONCE}
                self._fs.put_file(str(source), self._path(key), **more)

    def write(self, key: str, data: bytes) -> None:
        """Stores ``data`` as one object."""
        with self._answering():
            if self._is_folder:
                aside = f"{self._root}/.part-{ULID()}"
                self._fs.pipe_file(aside, data)
                self._move(aside, key)
            else:
                self._fs.pipe_file(self._path(key), data)

    def read(self, key: str, start: int = 0, end: int | None = None) -> bytes | None:
        """The bytes from ``start`` to before ``end`` of an object that is not empty; None without one."""
        with contextlib.suppress(FileNotFoundError), self._answering():
            data: bytes = self._fs.cat_file(self._path(key), start=start, end=end)
            return data
        return None

    def get_file(self, key: str, target: Path) -> bool:
        """Downloads one object to the path ``target``; False if there is none."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError), self._answering():
            self._fs.get_file(self._path(key), str(target))
            return True
        return False

    def list_keys(self, prefix: str) -> dict[str, int]:
        """The keys below the folder ``prefix``, and the bytes of each."""
        with self._answering():
            found = self._fs.find(self._path(prefix), detail=True)
            return {self._key(path): int(entry["size"]) for path, entry in found.items()}

    def list_names(self, prefix: str) -> list[str]:
        """The names of the objects and folders right below ``prefix``."""
        with contextlib.suppress(FileNotFoundError), self._answering():
            entries = self._fs.ls(self._path(prefix), detail=True)
            return sorted(PurePosixPath(entry["name"]).name for entry in entries)
        return []

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes objects; those that are gone already are no error."""
        with self._answering():
            if self._is_folder:
                for key in keys:
                    self._unlink(Path(self._path(key)))
            elif keys:
                self._fs.rm([self._path(key) for key in keys])

    def check(self) -> None:
        """Reads or writes the marker. Raises StorageUnavailableError, or StorageRefusedError with a hint."""
        if self.read(MARKER) is None:
            self.write(MARKER, b'{"format_version": 1}\n')

    def answering_seconds(self) -> float:
        """How long it has answered whenever it was asked."""
        return time.monotonic() - self._answering_since

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}" if key else self._root

    def _key(self, path: str) -> str:
        return path.removeprefix(self._root + "/")

    def _unlink(self, path: Path) -> None:
        """Deletes a file and the folders that it leaves empty: as in a bucket, there are no empty folders."""
        if not path.is_dir():
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                while (path := path.parent) != Path(self._root):
                    path.rmdir()

    def _move(self, aside: str, key: str) -> None:
        target = Path(self._path(key))
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(aside).replace(target)

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Lets FileNotFoundError and a full disk of our own through, and translates the rest."""
        if time.monotonic() < self._paused_until:
            raise _does_not_answer()
        if self._is_folder and not Path(self._root).is_dir():
            raise self._failed(
                StorageRefusedError(
                    f"There is no folder {self._root}.", hint="Mount the shared folder there."
                )
            )
        try:
            yield
        except Exception as error:
            translated = _translate(error)
            if translated is None:
                raise
            raise self._failed(translated, error) from error

    def _failed(self, error: LoupeError, cause: Exception | None = None) -> LoupeError:
        with self._lock:
            self.failures += 1
            self._answering_since = time.monotonic()
            if not isinstance(error, StorageRefusedError):
                self._paused_until = time.monotonic() + PAUSE_SECONDS
        logger.warning("storage %s: %s %s", self.url, error.detail, cause or "")
        return error


def _s3_files(settings: Settings) -> Any:
    # Loaded only where it is used: a Loupe on one machine needs none of it.
    import s3fs

    secret = settings.storage_secret_key
    path_style = settings.storage_path_style
    if path_style is None:
        path_style = settings.storage_endpoint_url is not None
    files = s3fs.S3FileSystem(
        key=settings.storage_access_key,
        secret=secret.get_secret_value() if secret else None,
        endpoint_url=settings.storage_endpoint_url,
        client_kwargs={"region_name": settings.storage_region} if settings.storage_region else {},
        config_kwargs={
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "max_pool_connections": CONNECTIONS,
            "retries": {"total_max_attempts": 1},  # s3fs itself tries again
            "s3": {"addressing_style": "path" if path_style else "virtual"},
            # Newer checksums are unknown to many servers; every download is checked against our own.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    files.retries = TRIES
    return files


def _local_files() -> Any:
    from fsspec.implementations.local import LocalFileSystem

    return LocalFileSystem(auto_mkdir=True)


def _translate(error: Exception) -> LoupeError | None:
    """What the error means to callers; None for one that is not the storage's."""
    code = _s3_code(error)
    if code in _HINTS:
        detail = (
            "The storage has no such bucket." if code == "NoSuchBucket" else f"The storage refuses: {code}."
        )
        return StorageRefusedError(detail, hint=_HINTS[code])
    if isinstance(error, FileNotFoundError) or is_disk_full(error):
        return None
    if isinstance(error, PermissionError):
        return StorageRefusedError(f"The storage refuses: {error}.", hint=_HINTS["AccessDenied"])
    module = type(error).__module__.partition(".")[0]
    if isinstance(error, OSError | TimeoutError) or module in _CLIENTS:
        return _does_not_answer()
    return None


def _s3_code(error: Exception) -> str:
    """What the server named as the reason, or the client's own reason not to ask it."""
    for cause in (error, error.__cause__):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    if isinstance(error, ValueError) and "endpoint" in str(error).lower():
        return "InvalidEndpoint"
    return type(error).__name__


def _does_not_answer() -> StorageUnavailableError:
    return StorageUnavailableError(
        "The storage does not answer.", hint="It may be restarting; try again in a few seconds."
    )
