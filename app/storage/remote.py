"""What a host shows to others and gets from them, and the object that stands in where there are no others.

Everything is named by its path in the home folder. A *whole thing* is a finished file or folder: it is seen
by other hosts all of it or not at all, and it never changes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path


class Remote(ABC):
    """The storage that several hosts share. Every verb may be repeated, and done by several at once.

    Unless it says otherwise it raises StorageUnavailableError while the storage does not answer.
    """

    @property
    @abstractmethod
    def failures(self) -> int:
        """How often the storage did not answer or refused, since the start of this process."""

    @abstractmethod
    def answering_seconds(self) -> float:
        """How long the storage has answered whenever this process asked it."""

    @abstractmethod
    def check(self) -> None:
        """Returns if the storage can be used. Raises StorageRefusedError with a hint when it refuses."""

    @abstractmethod
    def checks(self) -> dict[str, str]:
        """What ``/readyz`` says of it: each check with "ok" or what is wrong. Raises nothing."""

    @abstractmethod
    def upload(self, path: Path, source: Path | None = None) -> None:
        """Shows a whole thing to the other hosts; it lies at ``source`` if not at ``path``.

        It is there once this returns. Raises FileNotFoundError when it is not here.
        """

    @abstractmethod
    def download(self, path: Path) -> Path:
        """``path``, brought here if it is in the storage and not here yet. Raises StorageDamagedError."""

    @abstractmethod
    def download_again(self, path: Path) -> bool:
        """Puts the storage's copy in place of a damaged one here; False if no other host can have one."""

    @abstractmethod
    def has(self, path: Path) -> bool:
        """Whether the storage has the whole thing ``path``."""

    @abstractmethod
    def may_get(self, path: Path) -> bool:
        """Whether another host may have ``path``, or get it there later. Asks nobody, raises nothing."""

    @abstractmethod
    def remove(self, path: Path) -> None:
        """Deletes ``path`` from the storage with everything below it, whole or not."""

    @abstractmethod
    def list_whole(self, folder: Path) -> list[Path]:
        """The whole things anywhere below ``folder``, in order."""

    @abstractmethod
    def list_names(self, folder: Path) -> list[str]:
        """The names of what lies right below ``folder``, whole or not."""

    @abstractmethod
    def upload_dataset(self, dataset_id: str) -> None:
        """Shows an imported dataset; its images go first."""

    @abstractmethod
    def remove_dataset(self, dataset_id: str) -> None:
        """Deletes a dataset from the storage, its images last."""

    @abstractmethod
    def list_datasets(self) -> list[str]:
        """The ids of the datasets that the storage has something of, whole or not."""

    @abstractmethod
    def download_pictures(self, dataset_id: str) -> None:
        """Brings the dataset and those of its images that are not here whole.

        Raises StorageDamagedError, DatasetError.
        """

    @abstractmethod
    def download_picture(self, dataset_id: str, sha256: str) -> None:
        """Brings one image without the others, if it is not here.

        Raises StorageDamagedError, DatasetError.
        """

    @abstractmethod
    def upload_growing(self, path: Path) -> None:
        """Stores a file that still grows as it is now, in place of what was stored of it before."""

    @abstractmethod
    def download_grown(self, folder: Path) -> None:
        """Brings the growing files below ``folder`` that are longer in the storage than here."""


class NoRemote(Remote):
    """Nothing is shared: there is one home folder, and what is not in it is nowhere. Touches no file."""

    @property
    def failures(self) -> int:
        return 0

    def answering_seconds(self) -> float:
        return 0.0

    def check(self) -> None:
        pass

    def checks(self) -> dict[str, str]:
        return {}

    def upload(self, path: Path, source: Path | None = None) -> None:
        pass

    def download(self, path: Path) -> Path:
        return path

    def download_again(self, _path: Path) -> bool:
        return False

    def has(self, _path: Path) -> bool:
        return False

    def may_get(self, _path: Path) -> bool:
        return False

    def remove(self, path: Path) -> None:
        pass

    def list_whole(self, _folder: Path) -> list[Path]:
        return []

    def list_names(self, _folder: Path) -> list[str]:
        return []

    def upload_dataset(self, dataset_id: str) -> None:
        pass

    def remove_dataset(self, dataset_id: str) -> None:
        pass

    def list_datasets(self) -> list[str]:
        return []

    def download_pictures(self, dataset_id: str) -> None:
        pass

    def download_picture(self, dataset_id: str, sha256: str) -> None:
        pass

    def upload_growing(self, path: Path) -> None:
        pass

    def download_grown(self, folder: Path) -> None:
        pass


NO_REMOTE = NoRemote()
