"""The files of one Loupe: its home folder, and what other hosts see of it.

With a shared storage behind it the home folder of each host is a workplace and a cache: what others are to
see is uploaded, what is not here is downloaded. Without one there is one home folder, and nothing of that.
"""

from __future__ import annotations

import logging
from pathlib import Path

from app.config import Settings
from app.errors import StorageRefusedError, UnavailableError
from app.storage.object_store import ObjectStore
from app.storage.paths import HomeFolder
from app.storage.remote import NO_REMOTE, Remote
from app.storage.shared_remote import SharedRemote

logger = logging.getLogger(__name__)

STORAGE_ERRORS = "Times that the shared storage did not answer, or refused."


class Storage(HomeFolder):
    """A home folder; ``remote`` is the storage that it shares with those of other hosts."""

    def __init__(self, root: Path, remote: Remote = NO_REMOTE) -> None:
        super().__init__(root)
        self.remote = remote

    def discard(self, path: Path) -> None:
        """Deletes a file or folder here and in the shared storage; what that leaves is swept up later."""
        self.remove(path)
        try:
            self.remote.remove(path)
        except UnavailableError as error:
            logger.warning("%s is deleted here but not in the storage yet: %s", path, error.detail)

    def discard_dataset(self, dataset_id: str) -> None:
        """Deletes a dataset from the shared storage, its images too. Its folder here stays for the garbage
        collection of each host, which reads in it what images to look after.
        """
        try:
            self.remote.remove_dataset(dataset_id)
        except UnavailableError as error:
            logger.warning("dataset %s is not deleted in the storage yet: %s", dataset_id, error.detail)

    def siblings(self, folder: Path) -> list[Path]:
        """What lies beside ``folder``, here and in the shared storage."""
        found = set(folder.parent.glob("*"))
        try:
            found |= {folder.parent / name for name in self.remote.list_names(folder.parent)}
        except UnavailableError as error:
            logger.warning("what lies beside %s stays for the garbage collection: %s", folder, error.detail)
        return sorted(found - {folder})


def open_storage(settings: Settings) -> Storage:
    """The home folder of the settings, with the shared storage that they name if they name one."""
    if settings.storage_url is None:
        return Storage(settings.home)
    return Storage(settings.home, SharedRemote(HomeFolder(settings.home), ObjectStore(settings)))


def check_at_start(settings: Settings) -> None:
    """Raises StorageRefusedError, which says what to set, when the shared storage cannot be used as set.

    One that does not answer may come back: that alone is no reason not to start.
    """
    try:
        open_storage(settings).remote.check()
    except StorageRefusedError:
        raise
    except UnavailableError as error:
        logger.warning("%s: %s Loupe starts all the same.", settings.storage_url, error.detail)
